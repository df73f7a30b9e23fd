//! Loading everything at once: all of it, or nothing if anything is wrong with it.

use std::path::Path;

use anyhow::Result;
use ferry_vici::swanctl::{self, Object, Step};
use ferry_vici::{ClientError, Message};

use crate::ferryctl::exit::INVALID;
use crate::ferryctl::output::{Format, print};
use crate::ferryctl::session::{Session, Status};
use crate::swanctl_conf::Phase;

/// Loads everything in one transaction and returns the exit code. `None` if the daemon has no transactions.
///
/// What the daemon has beyond it goes, as with swanctl; the daemon sees to that.
pub(super) fn load(
    session: &mut Session,
    plan: &[(Phase, Vec<Step>)],
    clear: bool,
    file: &Path,
) -> Result<Option<u8>> {
    let begin = Message::new().with_flag("clear", clear);
    let begin = match std::path::absolute(file)?.to_str() {
        Some(file) => begin.with("file", file),
        None => begin, // it cannot be told, so the daemon cannot read it again of its own accord
    };
    match session.request("begin-transaction", &begin) {
        Err(error) if matches!(error.downcast_ref(), Some(ClientError::UnknownCommand(_))) => {
            return Ok(None);
        }
        reply => reply?,
    };
    let mut loaded = Vec::new();
    let mut failed = 0;
    for (phase, steps) in plan {
        for step in steps {
            match object(session, step)? {
                Ok(line) => loaded.push((*phase, line)),
                Err(why) => {
                    failed += 1;
                    eprintln!("{why}");
                }
            }
        }
    }
    if failed > 0 {
        session.request("abort-transaction", &Message::new())?;
        eprintln!(
            "{failed} of {} failed to load, so nothing is loaded and all stays as it was",
            failed + loaded.len()
        );
        return Ok(Some(INVALID));
    }
    let reply = session.show("commit-transaction", &Message::new(), |_| String::new())?;
    if let Status::Failed(reason) = Status::of(&reply) {
        eprintln!("nothing is loaded and all stays as it was: {reason}");
        return Ok(Some(INVALID));
    }
    if session.format == Format::Human {
        for (phase, steps) in plan {
            for (_, line) in loaded.iter().filter(|(of, _)| of == phase) {
                print(line)?;
            }
            print(&summary(*phase, steps.len(), &reply))?;
        }
    }
    Ok(Some(0))
}

/// Hands one object in. What to say once it is loaded, or why it cannot be.
fn object(session: &mut Session, step: &Step) -> Result<Result<String, String>> {
    let request = match step {
        Ok(request) => request,
        Err(problem) => return Ok(Err(problem.to_string())),
    };
    let reply = match session.show(request.command(), &request.message, |_| String::new()) {
        Err(error) if matches!(error.downcast_ref(), Some(ClientError::Encode(_))) => {
            return Ok(Err(format!("loading {} failed: {error}", request.object)));
        }
        reply => reply?,
    };
    Ok(match Status::of(&reply) {
        Status::Success => {
            let keyid = match swanctl::object(step) {
                Object::TokenKey(_) => format!(" [keyid: {}]", reply.str("id").unwrap_or_default()),
                _ => String::new(),
            };
            Ok(format!("loaded {}{keyid}\n", request.object))
        }
        Status::Failed(reason) => Err(format!("loading {} failed: {reason}", request.object)),
    })
}

/// How a phase ended, in swanctl's words.
fn summary(phase: Phase, count: usize, reply: &Message) -> String {
    let (_, nouns) = phase.nouns();
    if phase == Phase::Credentials {
        return String::new();
    }
    let unloaded = reply.section("unloaded").and_then(|unloaded| unloaded.str(nouns)).unwrap_or("0");
    match count {
        0 => format!("no {nouns} found, {unloaded} unloaded\n"),
        _ => format!("successfully loaded {count} {nouns}, {unloaded} unloaded\n"),
    }
}

#[cfg(test)]
mod tests {
    use ferry_vici::settings::NoFiles;
    use ferry_vici::{Settings, dump};

    use super::*;
    use crate::ferryctl::session::fake;
    use crate::swanctl_conf::{ALL, Plan};

    /// Loads a text into a daemon that refuses what is called `bad`. Returns the exit code, and what the daemon was asked
    /// for.
    fn load_text(text: &str) -> (Option<u8>, Vec<String>) {
        let settings = Settings::parse(text, "swanctl.conf", &NoFiles).unwrap();
        let plan = Plan::of(ALL, &settings, Path::new("/nonexistent"));
        let (mut session, daemon) = fake::session(|_, arguments| match arguments.section("bad") {
            Some(_) => Message::new().with("success", "no").with("errmsg", "no good"),
            None => Message::new().with("success", "yes"),
        });
        let code = load(&mut session, &plan, true, Path::new("/etc/swanctl/swanctl.conf")).unwrap();
        drop(session);
        let requests = daemon.join().unwrap();
        (code, requests.iter().map(|(command, arguments)| dump::raw(command, arguments)).collect())
    }

    #[test]
    fn everything_is_handed_in_between_begin_and_commit() {
        let text = "connections { site { version = 2\n } }\n pools { clients { addrs = 10.0.0.0/24\n } }";
        let (code, requests) = load_text(text);
        assert_eq!(code, Some(0));
        assert_eq!(
            requests,
            [
                "begin-transaction {clear=yes file=/etc/swanctl/swanctl.conf}",
                "load-pool {clients {addrs=10.0.0.0/24}}",
                "load-conn {site {version=2}}",
                "commit-transaction {}",
            ]
        );
    }

    #[test]
    fn one_that_is_refused_is_enough() {
        for text in [
            "connections { bad { }\n site { } }",
            "connections { site { }\n a { local { certs = gone.pem\n } } }",
        ] {
            let (code, requests) = load_text(text);
            assert_eq!(code, Some(INVALID));
            assert!(
                requests.contains(&"load-conn {site {}}".to_owned()),
                "all that is wrong is told at once"
            );
            assert_eq!(requests.last().unwrap(), "abort-transaction {}");
        }
    }
}
