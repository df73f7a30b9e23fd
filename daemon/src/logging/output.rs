//! Files, standard streams and the journal.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use super::journal::Journal;
use super::line::{Level, Line};
use super::{Destination, FileLog, Levels, LogSettings};
use crate::system::local_time;

/// All that lines are written to.
#[derive(Default)]
pub(super) struct Outputs {
    files: Vec<FileOutput>,
    journal: Option<Journal>,
    /// Why lines for the journal go to standard error instead.
    no_journal: Option<io::Error>,
}

struct FileOutput {
    settings: FileLog,
    writer: Mutex<Box<dyn Write + Send>>,
}

impl Outputs {
    /// Opens everything; fails if a file cannot be opened, and names it. Where there is no journal, as in a
    /// container, its lines go to standard error.
    pub(super) fn open(settings: &LogSettings) -> io::Result<Self> {
        let mut files: Vec<_> = settings.files.iter().map(FileOutput::open).collect::<io::Result<_>>()?;
        let (mut journal, mut no_journal) = (None, None);
        if let Some(levels) = settings.journal.filter(|levels| *levels != Levels::all(Level::SILENT)) {
            match Journal::open(levels) {
                Ok(opened) => journal = Some(opened),
                Err(error) => {
                    let stderr = FileLog { levels, ..FileLog::new(Destination::Stderr) };
                    files.push(FileOutput::open(&stderr)?);
                    no_journal = Some(error);
                }
            }
        }
        Ok(Self { files, journal, no_journal })
    }

    /// Why there is no journal although there should be.
    pub(super) fn no_journal(&self) -> Option<&io::Error> {
        self.no_journal.as_ref()
    }

    /// The levels of each.
    pub(super) fn levels(&self) -> impl Iterator<Item = &Levels> {
        self.files.iter().map(|file| &file.settings.levels).chain(self.journal.iter().map(Journal::levels))
    }

    /// Writes a line to all that want it.
    pub(super) fn write(&self, line: &Line) {
        for file in self.files.iter().filter(|file| line.level <= file.settings.levels.of(line.group)) {
            file.write(line);
        }
        if let Some(journal) = self.journal.as_ref().filter(|to| line.level <= to.levels().of(line.group)) {
            journal.write(line);
        }
    }

    /// Writes out what is in buffers.
    pub(super) fn flush(&self) {
        for file in &self.files {
            // A disk that is full cannot be complained about in the log that is on it.
            let _ = file.writer.lock().unwrap_or_else(PoisonError::into_inner).flush();
        }
    }
}

impl FileOutput {
    fn open(settings: &FileLog) -> io::Result<Self> {
        let writer: Box<dyn Write + Send> = match &settings.destination {
            Destination::Stdout => Box::new(io::stdout()),
            Destination::Stderr => Box::new(io::stderr()),
            Destination::File(path) => {
                let append = settings.append;
                let opened: io::Result<File> =
                    OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path);
                let file = opened.map_err(|error| {
                    io::Error::new(
                        error.kind(),
                        format!("cannot write the log file {}: {error}", path.display()),
                    )
                })?;
                if settings.flush_line { Box::new(file) } else { Box::new(BufWriter::new(file)) }
            }
        };
        Ok(Self { settings: settings.clone(), writer: Mutex::new(writer) })
    }

    fn write(&self, line: &Line) {
        let text = format(line, &self.settings);
        // See `flush`.
        let _ = self.writer.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes());
    }
}

/// `[time ]TT[GRP] [<conn|id> ]text`, once for every line of the text.
fn format(line: &Line, settings: &FileLog) -> String {
    let mut prefix = String::new();
    if let Some(time_format) = &settings.time_format {
        prefix.push_str(&local_time(line.time, time_format));
        let fraction = line.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Writing into a String cannot fail, here and below.
        let _ = match settings.time_precision {
            3 => write!(prefix, ".{:03}", fraction.subsec_millis()),
            6 => write!(prefix, ".{:06}", fraction.subsec_micros()),
            _whole_seconds => Ok(()),
        };
        prefix.push(' ');
    }
    let _ = write!(prefix, "{:02}[{}", line.thread, line.group.name());
    if settings.log_level {
        let _ = write!(prefix, "{}", line.level.number());
    }
    prefix.push_str("] ");
    if let Some(name) = line.connection_name().filter(|_| settings.ike_name) {
        let _ = write!(prefix, "<{name}|{}> ", line.ike_sa.unwrap_or_default());
    }
    let mut text = String::new();
    for part in line.text.split('\n') {
        text.push_str(&prefix);
        text.push_str(part);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::logging::Group;

    fn line() -> Line {
        Line {
            time: UNIX_EPOCH + Duration::from_micros(86_400_000_000 * 40 + 1_234_567),
            group: Group::Ike,
            level: Level::AUDIT,
            thread: 7,
            connection: Some("road".to_owned()),
            ike_sa: Some(4),
            text: "peer is alive\nstill".to_owned(),
        }
    }

    #[test]
    fn lines_look_like_charons() {
        let mut settings = FileLog::new(Destination::Stderr);
        assert_eq!(format(&line(), &settings), "07[IKE] peer is alive\n07[IKE] still\n");
        settings.ike_name = true;
        settings.log_level = true;
        settings.time_format = Some(c"%Y".to_owned());
        settings.time_precision = 3;
        let expected = "1970.234 07[IKE0] <road|4> peer is alive\n1970.234 07[IKE0] <road|4> still\n";
        assert_eq!(format(&line(), &settings), expected);
        settings.time_precision = 6;
        assert!(format(&line(), &settings).starts_with("1970.234567 "));
    }

    #[test]
    fn a_file_gets_what_its_levels_let_through() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "old\n").unwrap();
        let mut file = FileLog::new(Destination::File(path.clone()));
        file.levels.set(Group::Net, Level::SILENT);
        file.flush_line = true;
        let outputs = Outputs::open(&LogSettings { files: vec![file.clone()], journal: None }).unwrap();
        outputs.write(&line());
        outputs.write(&Line { group: Group::Net, ..line() });
        outputs.write(&Line { level: Level::DETAIL, ..line() });
        let expected = "old\n07[IKE] peer is alive\n07[IKE] still\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);

        file.append = false;
        file.flush_line = false;
        let outputs = Outputs::open(&LogSettings { files: vec![file], journal: None }).unwrap();
        outputs.write(&line());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "", "still in the buffer");
        outputs.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "07[IKE] peer is alive\n07[IKE] still\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let file = FileLog::new(Destination::File("/no/such/directory/log".into()));
        let error = Outputs::open(&LogSettings { files: vec![file], journal: None }).map(drop).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot write the log file /no/such/directory/log: "),
            "{error}"
        );
    }
}
