//! Files and standard streams, written by threads of their own.
//!
//! Who logs never waits: a disk that is busy, or a pipe that nobody reads, would stop the IKE SAs of a shard.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::line::Line;
use super::{Destination, FileLog, Levels};
use crate::system::local_time;

/// Lines that may wait to be written. Those that come when so many do are lost, and counted.
const CAPACITY: usize = 4096;

/// So long is waited for what is still to be written when the daemon ends.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way to a file.
pub(super) struct FileOutput {
    levels: Levels,
    orders: mpsc::Sender<Order>,
    lost: Arc<AtomicU64>,
    /// Until it is started.
    writer: Mutex<Option<Writer>>,
}

enum Order {
    Write(Arc<Line>),
    Flush(oneshot::Sender<()>),
}

/// Owns the file. It ends when nobody can order any more.
struct Writer {
    settings: FileLog,
    file: Box<dyn Write + Send>,
    orders: mpsc::Receiver<Order>,
    lost: Arc<AtomicU64>,
}

impl FileOutput {
    /// Opens the file. What is written waits until it is started.
    pub(super) fn open(settings: &FileLog) -> io::Result<Self> {
        let file: Box<dyn Write + Send> = match &settings.destination {
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
        let (sender, orders) = mpsc::channel(CAPACITY);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer { settings: settings.clone(), file, orders, lost: Arc::clone(&lost) };
        Ok(Self { levels: settings.levels, orders: sender, lost, writer: Mutex::new(Some(writer)) })
    }

    /// Lets a thread write it, which has the rights of the caller's.
    pub(super) fn start(&self) -> io::Result<()> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        match writer {
            Some(writer) => thread::Builder::new().name("log".to_owned()).spawn(|| writer.run()).map(drop),
            None => Ok(()),
        }
    }

    pub(super) fn levels(&self) -> &Levels {
        &self.levels
    }

    /// Lets a line be written after those before it, unless too many wait.
    pub(super) fn write(&self, line: &Arc<Line>) {
        if self.orders.try_send(Order::Write(Arc::clone(line))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all of it is written, but not for ever.
    pub(super) async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        let flush = async {
            if self.orders.send(Order::Flush(done)).await.is_ok() {
                let _ = is_done.await; // it has ended: nothing waits any more
            }
        };
        let _ = timeout(PATIENCE, flush).await; // whoever does not read does not get it
    }
}

impl Writer {
    fn run(mut self) {
        while let Some(order) = self.next() {
            match order {
                Order::Write(line) => self.write(&line),
                Order::Flush(done) => {
                    // A disk that is full cannot be complained about in the log that is on it; the same for lines.
                    let _ = self.file.flush();
                    let _ = done.send(());
                }
            }
        }
        let _ = self.file.flush();
    }

    /// Waits for the next order. When there is none, it is time to tell what did not fit.
    fn next(&mut self) -> Option<Order> {
        match self.orders.try_recv() {
            Ok(order) => return Some(order),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.write(&Line::about_log(format!(
                "{lost} lines were lost: they came faster than they could be written here"
            )));
        }
        self.orders.blocking_recv()
    }

    fn write(&mut self, line: &Line) {
        let text = format(line, &self.settings);
        let _ = self.file.write_all(text.as_bytes());
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
    use std::io::Read;
    use std::time::Duration;

    use super::*;
    use crate::logging::output::Outputs;
    use crate::logging::{Group, Level, LogSettings};

    fn line() -> Arc<Line> {
        Arc::new(Line {
            time: UNIX_EPOCH + Duration::from_micros(86_400_000_000 * 40 + 1_234_567),
            group: Group::Ike,
            level: Level::AUDIT,
            thread: 7,
            connection: Some("road".to_owned()),
            ike_sa: Some(4),
            text: "peer is alive\nstill".to_owned(),
        })
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

    #[tokio::test]
    async fn a_file_gets_what_its_levels_let_through() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "old\n").unwrap();
        let mut file = FileLog::new(Destination::File(path.clone()));
        file.levels.set(Group::Net, Level::SILENT);
        let outputs = Outputs::open(&LogSettings { files: vec![file.clone()], journal: None }).unwrap();
        outputs.write(&line());
        outputs.write(&Arc::new(Line { group: Group::Net, ..(*line()).clone() }));
        outputs.write(&Arc::new(Line { level: Level::DETAIL, ..(*line()).clone() }));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\n", "nobody writes yet");
        outputs.start().unwrap();
        outputs.flush().await;
        let expected = "old\n07[IKE] peer is alive\n07[IKE] still\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);

        file.append = false;
        let outputs = Outputs::open(&LogSettings { files: vec![file], journal: None }).unwrap();
        outputs.start().unwrap();
        outputs.write(&line());
        outputs.flush().await;
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "07[IKE] peer is alive\n07[IKE] still\n");
    }

    #[tokio::test]
    async fn a_pipe_that_nobody_reads_loses_lines_and_says_how_many() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        // Who reads and writes need not wait for who writes.
        let mut pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut file = FileLog::new(Destination::File(path));
        file.flush_line = true;
        let outputs = Outputs::open(&LogSettings { files: vec![file], journal: None }).unwrap();
        outputs.start().unwrap();
        let long = Arc::new(Line { text: "x".repeat(100), ..(*line()).clone() });
        // A pipe holds 64 KiB.
        for _ in 0..CAPACITY + 1000 {
            outputs.write(&long);
        }
        let (mut read, mut octets) = (String::new(), [0; 4096]);
        while !read.contains(" lost") {
            let count = pipe.read(&mut octets).unwrap();
            read.push_str(std::str::from_utf8(&octets[..count]).unwrap());
        }
        let written = read.lines().filter(|line| line.ends_with("xxx")).count();
        let told = read.lines().last().unwrap();
        let lost = CAPACITY + 1000 - written;
        assert!(lost > 0 && told.contains(&format!("{lost} lines were lost")), "{written} written, {told}");
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
