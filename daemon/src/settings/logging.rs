//! `filelog` and `journal`.

use std::ffi::CString;

use ferry_vici::settings::{BadValue, Setting};

use super::lookup::Lookup;
use crate::logging::{Destination, FileLog, Group, Level, Levels, LogSettings};

const LEVEL: &str = "a level, -1 to 4";

/// Where lines go; to standard error if nothing is said.
pub(super) fn read(from: &Lookup<'_>) -> Result<LogSettings, BadValue> {
    let names = from.sections("filelog");
    let files = names.iter().map(|name| file(from, name)).collect::<Result<Vec<_>, _>>()?;
    // An empty section is what Debian ships; it says nothing.
    let has_journal = from.layers("journal").iter().any(|section| !section.settings().is_empty());
    let journal = if has_journal { Some(levels(from, "journal")?) } else { None };
    if files.is_empty() && journal.is_none() {
        return Ok(LogSettings::to_stderr());
    }
    Ok(LogSettings { files, journal })
}

fn file(from: &Lookup<'_>, name: &str) -> Result<FileLog, BadValue> {
    let key = |key: &str| format!("filelog.{name}.{key}");
    let destination = match from.text(&key("path"))?.unwrap_or(name) {
        "stdout" => Destination::Stdout,
        "stderr" => Destination::Stderr,
        path => Destination::File(path.into()),
    };
    let time_precision = match from.setting(&key("time_precision")) {
        None if from.bool(&key("time_add_ms"), false)? => 3,
        None => 0,
        Some(setting) => match setting.str() {
            Some("ms") => 3,
            Some("us") => 6,
            Some(_) | None => return Err(setting.bad("ms or us")),
        },
    };
    let time_format = from.setting(&key("time_format")).map(time_format).transpose()?;
    Ok(FileLog {
        destination,
        levels: levels(from, &format!("filelog.{name}"))?,
        append: from.bool(&key("append"), true)?,
        flush_line: from.bool(&key("flush_line"), false)?,
        ike_name: from.bool(&key("ike_name"), false)?,
        log_level: from.bool(&key("log_level"), false)?,
        time_format,
        time_precision,
    })
}

fn time_format(setting: Setting<'_>) -> Result<CString, BadValue> {
    CString::new(setting.bytes()).map_err(|_| setting.bad("a strftime format"))
}

fn levels(from: &Lookup<'_>, section: &str) -> Result<Levels, BadValue> {
    let level = |key: &str| -> Result<Option<Level>, BadValue> {
        let Some(setting) = from.setting(&format!("{section}.{key}")) else { return Ok(None) };
        let level = setting.int().ok().and_then(Level::new).ok_or_else(|| setting.bad(LEVEL))?;
        Ok(Some(level))
    };
    let mut levels = Levels::all(level("default")?.unwrap_or(Level::CONTROL));
    for group in Group::ALL {
        if let Some(level) = level(&group.name().to_ascii_lowercase())? {
            levels.set(*group, level);
        }
    }
    Ok(levels)
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    fn logging(text: &str) -> LogSettings {
        parse(text).map(|loaded| loaded.settings.logging).unwrap()
    }

    #[test]
    fn files_of_all_sections_are_opened() {
        let logging = logging(
            "charon-systemd { journal { } filelog { own { path = /tmp/own\n default = 2\n ike = 3\n net = -1
                 append = no\n flush_line = yes\n ike_name = yes\n log_level = 1\n time_format = %b %e %T
                 time_precision = us } } }
             charon { filelog { stderr { default = 0 } } }",
        );
        let mut levels = Levels::all(Level::DETAIL);
        levels.set(Group::Ike, Level::RAW);
        levels.set(Group::Net, Level::SILENT);
        let own = FileLog {
            destination: Destination::File("/tmp/own".into()),
            levels,
            append: false,
            flush_line: true,
            ike_name: true,
            log_level: true,
            time_format: Some(c"%b %e %T".to_owned()),
            time_precision: 6,
        };
        let stderr = FileLog { levels: Levels::all(Level::AUDIT), ..FileLog::new(Destination::Stderr) };
        assert_eq!(logging, LogSettings { files: vec![own, stderr], journal: None });
    }

    #[test]
    fn an_empty_journal_section_says_nothing_and_a_silent_one_is_silence() {
        assert_eq!(logging("charon-systemd { journal { } }"), LogSettings::to_stderr());
        let silent = LogSettings { files: vec![], journal: Some(Levels::all(Level::SILENT)) };
        assert_eq!(logging("charon-systemd { journal { default = -1 } }"), silent);
    }

    #[test]
    fn levels_out_of_range_are_named() {
        let error = parse("charon { filelog { x { ike = 5 } } }").map(drop).unwrap_err().to_string();
        assert!(error.ends_with("charon.filelog.x.ike = 5: expected a level, -1 to 4"), "{error}");
    }
}
