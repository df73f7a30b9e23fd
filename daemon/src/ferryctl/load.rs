//! Loading a swanctl.conf: what is in it is loaded, what the daemon has beyond it is unloaded.
//!
//! All files are read before the daemon hears of anything. A configuration that cannot be read or understood changes
//! nothing. Everything together is loaded as one [`transaction`], if the daemon has such. Of parts of it, and with
//! charon, one object that cannot be loaded fails alone, as with swanctl: it keeps what the daemon has under its name, and
//! its phase is the last one. Credentials never fail their phase.

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::Result;
use ferry_vici::swanctl::{self, Object, Step};
use ferry_vici::{ClientError, Message};

use crate::ferryctl::exit::{INVALID, NOT_CLEARED};
use crate::ferryctl::options::{Load, Shared};
use crate::ferryctl::output::{Format, print};
use crate::ferryctl::session::{Session, Status};
use crate::ferryctl::transaction;
use crate::swanctl_conf::{ALL, Phase, Plan, default_file};

pub(crate) fn load(phases: &[Phase], options: &Load, clear: bool, shared: &Shared) -> Result<ExitCode> {
    let path = options.file.clone().unwrap_or_else(default_file);
    if shared.debug >= 2 {
        eprintln!("reading {}", path.display());
    }
    let Plan { steps, warnings } = Plan::read(phases, &path)?;
    for warning in warnings {
        eprintln!("ferryctl: warning: {warning}");
    }
    let mut session = Session::open(shared)?;
    if phases == ALL
        && let Some(code) = transaction::load(&mut session, &steps, clear, &path)?
    {
        return Ok(ExitCode::from(code));
    }
    let code = Loading { session }.phases(&steps, clear)?;
    Ok(ExitCode::from(code))
}

/// A session in which objects are loaded.
struct Loading {
    session: Session,
}

/// How a phase ended: well, or with this exit code.
type Ended = Result<(), u8>;

impl Loading {
    /// Goes through the phases until one fails, and returns the exit code.
    fn phases(&mut self, plan: &[(Phase, Vec<Step>)], clear: bool) -> Result<u8> {
        for (phase, steps) in plan {
            let ended = match phase {
                Phase::Credentials => self.credentials(steps, clear)?,
                Phase::Authorities | Phase::Pools | Phase::Connections => self.objects(*phase, steps)?,
            };
            if let Err(code) = ended {
                return Ok(code);
            }
        }
        Ok(0)
    }

    fn credentials(&mut self, steps: &[Step], clear: bool) -> Result<Ended> {
        if clear {
            let reply = self.request("clear-creds", &Message::new())?;
            if let (Status::Failed(reason), Format::Human) = (Status::of(&reply), self.session.format) {
                eprintln!("clear-creds failed: {reason}");
                return Ok(Err(NOT_CLEARED));
            }
        }
        let mut keys = names(&self.request("get-keys", &Message::new())?, "keys");
        let mut secrets = names(&self.request("get-shared", &Message::new())?, "keys");
        // The daemon names keys by their fingerprint, which a key that fails does not tell. It may be one of those that
        // are there, so then none of them is unloaded.
        let mut all_keys_known = true;
        for step in steps {
            let reply = self.object(step)?;
            match (swanctl::object(step), reply) {
                (Object::Key { .. } | Object::TokenKey(_), Some(reply)) => match reply.str("id") {
                    Some(id) => keys.retain(|key| key != id),
                    None => all_keys_known = false,
                },
                (Object::Key { .. } | Object::TokenKey(_) | Object::Container(_), None) => {
                    all_keys_known = false;
                }
                (Object::Secret { name, .. }, _) => secrets.retain(|secret| secret != name),
                (
                    Object::Certificate(_)
                    | Object::Container(_)
                    | Object::UnknownSecret(_)
                    | Object::Authority(_)
                    | Object::Pool(_)
                    | Object::Connection(_),
                    _,
                ) => {}
            }
        }
        if all_keys_known {
            for key in &keys {
                self.unload("unload-key", "id", key, "private key")?;
            }
        }
        for secret in &secrets {
            self.unload("unload-shared", "id", secret, "shared secret")?;
        }
        Ok(Ok(()))
    }

    fn objects(&mut self, phase: Phase, steps: &[Step]) -> Result<Ended> {
        let (noun, nouns) = phase.nouns();
        let present = match phase {
            Phase::Connections => names(&self.request("get-conns", &Message::new())?, "conns"),
            Phase::Authorities => names(&self.request("get-authorities", &Message::new())?, "authorities"),
            Phase::Pools => {
                let pools = self.request("get-pools", &Message::new())?;
                pools.sections().map(|(name, _)| name.to_owned()).collect()
            }
            Phase::Credentials => Vec::new(),
        };
        let mut loaded = 0;
        for step in steps {
            loaded += usize::from(self.object(step)?.is_some());
        }
        let wanted: HashSet<_> = steps.iter().filter_map(|step| swanctl::object(step).name()).collect();
        let mut unloaded = 0;
        let command = match phase {
            Phase::Connections => "unload-conn",
            Phase::Authorities => "unload-authority",
            Phase::Pools | Phase::Credentials => "unload-pool",
        };
        for name in present.iter().filter(|name| !wanted.contains(name.as_str())) {
            unloaded += usize::from(self.unload(command, "name", name, noun)?);
        }
        let failed = steps.len() - loaded;
        if failed > 0 {
            if self.session.format == Format::Human {
                eprintln!(
                    "loaded {loaded} of {} {nouns}, {failed} failed to load, {unloaded} unloaded",
                    steps.len()
                );
            }
            return Ok(Err(INVALID));
        }
        if self.session.format == Format::Human {
            let summary = if steps.is_empty() {
                format!("no {nouns} found, {unloaded} unloaded\n")
            } else {
                format!("successfully loaded {loaded} {nouns}, {unloaded} unloaded\n")
            };
            print(&summary)?;
        }
        Ok(Ok(()))
    }

    /// Loads one object and says how it went. The reply, if the daemon took it; in raw mode that is for others to judge.
    fn object(&mut self, step: &Step) -> Result<Option<Message>> {
        let request = match step {
            Ok(request) => request,
            Err(problem) => {
                eprintln!("{problem}");
                return Ok(None);
            }
        };
        let reply = match self.request(request.command(), &request.message) {
            Err(error) if matches!(error.downcast_ref(), Some(ClientError::Encode(_))) => {
                eprintln!("loading {} failed: {error}", request.object);
                return Ok(None);
            }
            reply => reply?,
        };
        if self.session.format != Format::Human {
            return Ok(Some(reply));
        }
        match Status::of(&reply) {
            Status::Success => {
                let keyid = match request.object {
                    Object::TokenKey(_) => format!(" [keyid: {}]", reply.str("id").unwrap_or_default()),
                    _ => String::new(),
                };
                print(&format!("loaded {}{keyid}\n", request.object))?;
                Ok(Some(reply))
            }
            Status::Failed(reason) => {
                eprintln!("loading {} failed: {reason}", request.object);
                Ok(None)
            }
        }
    }

    /// Unloads one object; whether the daemon did.
    fn unload(&mut self, command: &str, key: &str, name: &str, noun: &str) -> Result<bool> {
        let reply = self.request(command, &Message::new().with(key, name))?;
        match Status::of(&reply) {
            Status::Success => Ok(true),
            Status::Failed(reason) => {
                if self.session.format == Format::Human {
                    eprintln!("unloading {noun} '{name}' failed: {reason}");
                }
                Ok(false)
            }
        }
    }

    /// Requests a command; its reply is dumped where dumps are wanted.
    fn request(&mut self, command: &str, arguments: &Message) -> Result<Message> {
        self.session.show(command, arguments, |_| String::new())
    }
}

fn names(reply: &Message, list: &str) -> Vec<String> {
    reply.strs(list).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;
    use ferry_vici::settings::NoFiles;
    use ferry_vici::{Settings, dump};

    use super::*;
    use crate::ferryctl::session::fake;

    /// Loads a text into a daemon that has one of each kind already and refuses what is called `bad`. Returns the exit
    /// code and what the daemon was asked for.
    fn load_text(text: &str, directory: &Path, clear: bool) -> (u8, Vec<String>) {
        let settings = Settings::parse(text, "swanctl.conf", &NoFiles).unwrap();
        let plan = Plan::of(ALL, &settings, directory);
        let (session, daemon) = fake::session(|command, arguments| match command {
            "get-keys" => Message::new().with_list("keys", ["aa11", "bb22"]),
            "get-shared" => Message::new().with_list("keys", ["ike-old", "ike-1"]),
            "get-authorities" => Message::new().with_list("authorities", ["old"]),
            "get-pools" => Message::new().with_section("old", Message::new()),
            "get-conns" => Message::new().with_list("conns", ["old", "site", "bad", "broken"]),
            "load-key" if arguments.str("data") == Some("key") => {
                Message::new().with("success", "yes").with("id", "aa11")
            }
            _ if arguments.section("bad").is_some() || arguments.str("data") == Some("damaged") => {
                Message::new().with("success", "no").with("errmsg", "no good")
            }
            _ => Message::new().with("success", "yes"),
        });
        let code = Loading { session }.phases(&plan, clear).unwrap();
        let requests = daemon.join().unwrap();
        (code, requests.iter().map(|(command, arguments)| dump::raw(command, arguments)).collect())
    }

    fn key_directory(contents: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("private")).unwrap();
        std::fs::write(directory.path().join("private/key.pem"), contents).unwrap();
        directory
    }

    #[test]
    fn what_the_file_has_is_loaded_and_the_rest_unloaded() {
        let text = "connections { site { version = 2\n } }\n pools { clients { addrs = 10.0.0.0/24\n } }
            secrets { ike-1 { secret = x\n } }";
        let (code, requests) = load_text(text, key_directory("key").path(), true);
        assert_eq!(code, 0);
        assert_eq!(
            requests,
            [
                "clear-creds {}",
                "get-keys {}",
                "get-shared {}",
                "load-key {type=any data=key}",
                "load-shared {id=ike-1 type=ike data=x owners=[]}",
                "unload-key {id=bb22}",
                "unload-shared {id=ike-old}",
                "get-authorities {}",
                "unload-authority {name=old}",
                "get-pools {}",
                "load-pool {clients {addrs=10.0.0.0/24}}",
                "unload-pool {name=old}",
                "get-conns {}",
                "load-conn {site {version=2}}",
                "unload-conn {name=old}",
                "unload-conn {name=bad}",
                "unload-conn {name=broken}",
            ]
        );
    }

    #[test]
    fn an_object_that_fails_keeps_what_is_there_and_ends_its_phase() {
        let text = "connections { bad { }\n site { }\n broken { local { certs = gone.pem\n } } }";
        let (code, requests) = load_text(text, Path::new("/nonexistent"), false);
        assert_eq!(code, INVALID);
        assert!(requests.contains(&"load-conn {site {}}".to_owned()));
        let unloaded: Vec<_> = requests.iter().filter(|line| line.starts_with("unload-conn")).collect();
        assert_eq!(unloaded, ["unload-conn {name=old}"]);

        let (code, requests) = load_text("pools { bad { addrs = x\n } }", Path::new("/nonexistent"), false);
        assert_eq!(code, INVALID);
        assert!(!requests.contains(&"get-conns {}".to_owned()), "the phases after it are left alone");
    }

    #[test]
    fn no_key_is_unloaded_while_one_is_unknown() {
        let locked = include_str!("../../../ike/src/pki/files/samples/pkcs8-aes256.pem");
        for contents in ["damaged", locked] {
            let (code, requests) = load_text("", key_directory(contents).path(), false);
            assert_eq!(code, 0, "credentials never fail");
            assert!(!requests.iter().any(|line| line.starts_with("unload-key")), "{requests:?}");
            assert!(requests.contains(&"unload-shared {id=ike-1}".to_owned()));
        }
    }

    #[test]
    fn a_secret_with_an_error_is_not_unloaded() {
        let (code, requests) =
            load_text("secrets { ike-1 { secret = 0xzz\n } }", Path::new("/nonexistent"), false);
        assert_eq!(code, 0);
        let about_secrets: Vec<_> = requests.iter().filter(|line| line.contains("-shared {i")).collect();
        assert_eq!(about_secrets, ["unload-shared {id=ike-old}"]);
    }

    #[test]
    fn names_that_vici_cannot_carry_fail_alone() {
        let (code, requests) =
            load_text("connections { caf\u{e9} { }\n site { } }", Path::new("/nonexistent"), false);
        assert_eq!(code, INVALID);
        assert!(requests.contains(&"load-conn {site {}}".to_owned()));
    }

    #[test]
    fn a_file_in_error_is_noticed_before_the_daemon_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("swanctl.conf");
        std::fs::write(&file, "connections {\n site { version 2 }").unwrap();
        let options = crate::ferryctl::options::Options::try_parse_from([
            "ferryctl".as_ref(),
            "--load-all".as_ref(),
            "--uri=unix:///nonexistent".as_ref(),
            "--file".as_ref(),
            file.as_os_str(),
        ]);
        let options = options.unwrap();
        let Some(crate::ferryctl::options::Command::LoadAll(load_all)) = &options.command else { panic!() };
        let shared = options.shared(&load_all.load.common);
        let error = load(ALL, &load_all.load, load_all.clear, &shared).unwrap_err().to_string();
        assert!(
            error.ends_with("swanctl.conf:2:17: expected '=', '{' or ':' after 'version', found '2'"),
            "{error}"
        );
    }
}
