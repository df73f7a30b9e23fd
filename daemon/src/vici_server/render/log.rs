//! Log lines as events.

use ferry_vici::Message;

use crate::logging::Line;

/// `control-log`: what a client sees of its own command.
pub(in crate::vici_server) fn control(line: &Line) -> Message {
    render(line, None)
}

/// `log`: what everybody sees.
pub(in crate::vici_server) fn broadcast(line: &Line) -> Message {
    render(line, Some(line.thread))
}

fn render(line: &Line, thread: Option<u32>) -> Message {
    Message::new()
        .with("group", line.group.name())
        .with("level", i64::from(line.level.number()))
        .with_some("thread", thread)
        .with_some("ikesa-name", line.connection_name())
        .with_some("ikesa-uniqueid", line.ike_sa)
        .with("msg", line.text.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use ferry_vici::dump;

    use super::*;
    use crate::logging::{Group, Level};

    #[test]
    fn only_the_broadcast_tells_the_thread() {
        let mut line = Line {
            time: SystemTime::UNIX_EPOCH,
            group: Group::Ike,
            level: Level::AUDIT,
            thread: 12,
            connection: Some("gw".to_owned()),
            ike_sa: Some(3),
            text: "up".to_owned(),
        };
        let control_log = dump::raw("log", &control(&line));
        assert_eq!(control_log, "log {group=IKE level=0 ikesa-name=gw ikesa-uniqueid=3 msg=up}");
        line.connection = None;
        let log = dump::raw("log", &broadcast(&line));
        assert_eq!(log, "log {group=IKE level=0 thread=12 ikesa-name=(unnamed) ikesa-uniqueid=3 msg=up}");
        line.ike_sa = None;
        assert_eq!(dump::raw("log", &control(&line)), "log {group=IKE level=0 msg=up}");
    }
}
