//! Commands that run until they are interrupted, and the daemon's log as text.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use ferry_vici::Message;

use crate::ferryctl::listing::sas;
use crate::ferryctl::session::Session;
use crate::ferryctl::stop;

/// Follows the log.
pub(crate) fn log(session: &mut Session) -> Result<ExitCode> {
    stop::exit_on_signals()?;
    session.follow(&["log"], |_| "log".into(), log_lines)?;
    Ok(ExitCode::SUCCESS)
}

/// Follows IKE and CHILD SAs as they come and go.
pub(crate) fn sas(session: &mut Session) -> Result<ExitCode> {
    stop::exit_on_signals()?;
    session.follow(&["ike-updown", "child-updown"], |event| format!("{event} event"), sas::render)?;
    Ok(ExitCode::SUCCESS)
}

/// A log event: `NN[GRP] text` for each of its lines. A control-log event has no thread and so no number.
pub(crate) fn log_lines(event: &Message) -> String {
    let group = event.str("group").unwrap_or("?");
    let thread = event.int("thread").map(|thread| format!("{thread:02}")).unwrap_or_default();
    // Taken as octets: a message of several lines is not printable as a whole.
    let message = String::from_utf8_lossy(event.get("msg").unwrap_or_default());
    let mut text = String::new();
    for line in message.lines() {
        let line = line.replace(|c: char| c.is_control() && c != '\t', "?");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{thread}[{group}] {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_events() {
        let event = |thread: Option<u32>, text: &str| {
            let event = Message::new().with("group", "IKE").with("level", 1).with_some("thread", thread);
            log_lines(&event.with("ikesa-name", "road").with("msg", text))
        };
        assert_eq!(event(None, "peer is alive"), "[IKE] peer is alive\n");
        assert_eq!(event(Some(7), "first\nsecond"), "07[IKE] first\n07[IKE] second\n");
        assert_eq!(event(Some(16), "\x1b[31mred\ttab"), "16[IKE] ?[31mred\ttab\n");
        assert_eq!(event(Some(16), ""), "");
    }
}
