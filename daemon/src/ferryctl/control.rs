//! Commands that change SAs or the daemon: a request, perhaps some log meanwhile, and success or a reason.

use std::process::ExitCode;

use anyhow::Result;
use ferry_vici::Message;

use crate::ferryctl::exit::REFUSED;
use crate::ferryctl::monitor::log_lines;
use crate::ferryctl::options::{
    FlushCerts, Initiate, Policy, Progress, Redirect, Rekey, Selector, Terminate,
};
use crate::ferryctl::output::{Format, print};
use crate::ferryctl::session::{Session, Status};

pub(crate) fn initiate(session: &mut Session, options: &Initiate) -> Result<ExitCode> {
    let arguments = Message::new()
        .with_some("child", options.child.as_deref())
        .with_some("ike", options.ike.as_deref())
        .with_progress(&options.progress);
    followed(session, "initiate", &arguments)
}

pub(crate) fn terminate(session: &mut Session, options: &Terminate) -> Result<ExitCode> {
    let arguments = Message::new()
        .with_selector(&options.selector)
        .with_flag("force", options.force)
        .with_progress(&options.progress);
    followed(session, "terminate", &arguments)
}

pub(crate) fn rekey(session: &mut Session, options: &Rekey) -> Result<ExitCode> {
    let arguments = Message::new().with_selector(&options.selector).with_flag("reauth", options.reauth);
    plain(session, "rekey", &arguments)
}

pub(crate) fn redirect(session: &mut Session, options: &Redirect) -> Result<ExitCode> {
    let arguments = Message::new()
        .with_some("ike", options.ike.as_deref())
        .with_some("ike-id", options.ike_id)
        .with_some("peer-ip", options.peer_ip.as_deref())
        .with_some("peer-id", options.peer_id.as_deref())
        .with_some("gateway", options.gateway.as_deref());
    plain(session, "redirect", &arguments)
}

/// `command` is `install` or `uninstall`.
pub(crate) fn policy(session: &mut Session, command: &str, options: &Policy) -> Result<ExitCode> {
    let arguments =
        Message::new().with_some("child", options.child.as_deref()).with_some("ike", options.ike.as_deref());
    plain(session, command, &arguments)
}

pub(crate) fn flush_certs(session: &mut Session, options: &FlushCerts) -> Result<ExitCode> {
    let arguments = Message::new().with_some("type", options.kind.as_deref());
    quiet(session, "flush-certs", &arguments)
}

pub(crate) fn reload_settings(session: &mut Session) -> Result<ExitCode> {
    quiet(session, "reload-settings", &Message::new())
}

/// A command whose log is shown while it runs.
fn followed(session: &mut Session, command: &str, arguments: &Message) -> Result<ExitCode> {
    let reply = session.stream((command, "control-log", "log"), arguments, log_lines)?;
    conclude(session, command, &reply)
}

/// A command that only succeeds or fails.
fn plain(session: &mut Session, command: &str, arguments: &Message) -> Result<ExitCode> {
    let reply = session.show(command, arguments, |_| String::new())?;
    conclude(session, command, &reply)
}

/// A command that says nothing when it succeeds.
fn quiet(session: &mut Session, command: &str, arguments: &Message) -> Result<ExitCode> {
    let reply = session.show(command, arguments, |_| String::new())?;
    match Status::of(&reply) {
        Status::Success => Ok(ExitCode::SUCCESS),
        Status::Failed(_) => conclude(session, command, &reply),
    }
}

/// Says how it ended. Who has the raw reply judges for himself.
pub(crate) fn conclude(session: &Session, command: &str, reply: &Message) -> Result<ExitCode> {
    if session.format != Format::Human {
        return Ok(ExitCode::SUCCESS);
    }
    match Status::of(reply) {
        Status::Success => {
            print(&format!("{command} completed successfully\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Status::Failed(reason) => {
            eprintln!("{command} failed: {reason}");
            Ok(ExitCode::from(REFUSED))
        }
    }
}

/// Arguments that several commands have.
pub(crate) trait Arguments {
    fn with_selector(self, selector: &Selector) -> Self;
    fn with_progress(self, progress: &Progress) -> Self;
}

impl Arguments for Message {
    fn with_selector(self, selector: &Selector) -> Self {
        self.with_some("child", selector.child.as_deref())
            .with_some("ike", selector.ike.as_deref())
            .with_some("child-id", selector.child_id)
            .with_some("ike-id", selector.ike_id)
    }

    /// The timeout travels in milliseconds and is left out where it is 0, which waits for ever.
    fn with_progress(self, progress: &Progress) -> Self {
        let timeout = (progress.timeout != 0).then(|| i64::from(progress.timeout) * 1000);
        self.with_some("timeout", timeout).with("loglevel", progress.loglevel.to_string())
    }
}

#[cfg(test)]
mod tests {
    use ferry_vici::dump;

    use super::*;

    #[test]
    fn arguments_travel_as_swanctl_sends_them() {
        let selector =
            Selector { child: Some("x".into()), ike: Some("b".into()), child_id: Some(6), ike_id: Some(5) };
        let progress = Progress { timeout: 2, loglevel: 0 };
        let arguments =
            Message::new().with_selector(&selector).with_flag("force", true).with_progress(&progress);
        assert_eq!(
            dump::raw("terminate", &arguments),
            "terminate {child=x ike=b child-id=6 ike-id=5 force=yes timeout=2000 loglevel=0}"
        );
        let progress = |timeout| Message::new().with_progress(&Progress { timeout, loglevel: -1 });
        assert_eq!(dump::raw("initiate", &progress(0)), "initiate {loglevel=-1}");
        assert_eq!(dump::raw("initiate", &progress(-1)), "initiate {timeout=-1000 loglevel=-1}");
    }
}
