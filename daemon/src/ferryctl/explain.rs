//! `ferryctl explain`: why peers could not connect, and what to do about it.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use ferry_vici::Message;

use crate::ferryctl::listing::field;
use crate::ferryctl::options::Explain;
use crate::ferryctl::session::Session;

pub(crate) fn explain(session: &mut Session, options: &Explain) -> Result<ExitCode> {
    let whom = options.whom.as_deref();
    let arguments = Message::new().with_some("name", whom);
    session.show("explain", &arguments, |reply| render(reply, whom))?;
    Ok(ExitCode::SUCCESS)
}

fn render(reply: &Message, whom: Option<&str>) -> String {
    let mut text = String::new();
    for (_, attempt) in reply.sections() {
        let [time, times, local, local_port, remote, remote_port] =
            ["time", "times", "local-host", "local-port", "remote-host", "remote-port"]
                .map(|key| field(attempt, key));
        let times = if times == "1" { String::new() } else { format!(", {times} times") };
        let (from, to) = ((remote, remote_port), (local, local_port));
        let (from, to) = if attempt.bool("initiator") == Some(true) { (to, from) } else { (from, to) };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{time}{times}: {}[{}] to {}[{}]", from.0, from.1, to.0, to.1);
        let lines = [
            ("connection", "connection"),
            ("peer", "remote-id"),
            ("wanted", "for"),
            ("child", "child"),
            ("failed", "reason"),
        ];
        for (label, key) in lines {
            if let Some(value) = attempt.str(key) {
                let _ = writeln!(text, "  {label}: {value}");
            }
        }
        for proposal in attempt.list("offered").into_iter().flatten() {
            let _ = writeln!(text, "  offered: {}", proposal.str().unwrap_or("?"));
        }
        for (name, passed) in attempt.section("passed-over").into_iter().flat_map(Message::sections) {
            let _ = writeln!(text, "  not '{name}': {}", field(passed, "why"));
        }
        let _ = writeln!(text, "  to do: {}", field(attempt, "remedy"));
    }
    if text.is_empty() {
        let whom = whom.map(|whom| format!(" of '{whom}'")).unwrap_or_default();
        let _ =
            writeln!(text, "no attempt{whom} to establish an IKE_SA or a CHILD_SA is known to have failed");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_told_with_what_explains_them() {
        let passed = Message::new().with_section("road", Message::new().with("why", "it is for 'bob'"));
        let attempt = Message::new()
            .with("time", "2026-11-27 22:30:01")
            .with("times", 3)
            .with("initiator", "no")
            .with("local-host", "192.0.2.1")
            .with("local-port", 500)
            .with("remote-host", "192.0.2.2")
            .with("remote-port", 1025)
            .with("remote-id", "alice")
            .with("for", "CHILD_SA")
            .with("child", "net")
            .with("reason", "authentication failed")
            .with_list("offered", ["IKE:A", "IKE:B"])
            .with_section("passed-over", passed)
            .with("remedy", "Change it.");
        assert_eq!(
            render(&Message::new().with_section("1", attempt), None),
            "2026-11-27 22:30:01, 3 times: 192.0.2.2[1025] to 192.0.2.1[500]\n  peer: alice\n  wanted: CHILD_SA\n  child: net\n  \
             failed: authentication failed\n  offered: IKE:A\n  offered: IKE:B\n  not 'road': it is for 'bob'\n  to do: Change it.\n"
        );
        let nothing = "no attempt of 'bob' to establish an IKE_SA or a CHILD_SA is known to have failed\n";
        assert_eq!(render(&Message::new(), Some("bob")), nothing);
    }
}
