//! Pools of addresses and their leases.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use ferry_vici::Message;

use super::field;
use crate::ferryctl::options::ListPools;
use crate::ferryctl::session::Session;

pub(crate) fn list(session: &mut Session, options: &ListPools) -> Result<ExitCode> {
    let arguments =
        Message::new().with_flag("leases", options.leases).with_some("name", options.name.as_deref());
    session.show("get-pools", &arguments, render)?;
    Ok(ExitCode::SUCCESS)
}

fn render(reply: &Message) -> String {
    let mut text = String::new();
    for (name, pool) in reply.sections() {
        let used = ["online", "offline", "size"].map(|key| field(pool, key)).join(" / ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<20} {:<30} {used:>16}", field(pool, "base"));
        for (_, lease) in pool.section("leases").into_iter().flat_map(Message::sections) {
            let [address, status, identity] = ["address", "status", "identity"].map(|key| field(lease, key));
            let _ = writeln!(text, "  {address:<30} {status:<8} '{identity}'");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ferryctl::listing::golden::check;

    #[test]
    fn pools_with_and_without_leases() {
        let messages = "\
get-pools reply {
  clients {
    base = 10.9.0.1
    size = 254
    online = 1
    offline = 1
    leases {
      0 {
        address = 10.9.0.4
        identity = alice
        status = online
      }
      1 {
        address = 10.9.0.5
        identity = C=XX, CN=bob
        status = offline
      }
    }
  }
  six {
    base = fd00:9::
    size = 2147483647
    online = 0
    offline = 0
  }
}
";
        let text = "\
clients              10.9.0.1                            1 / 1 / 254
  10.9.0.4                       online   'alice'
  10.9.0.5                       offline  'C=XX, CN=bob'
six                  fd00:9::                       0 / 0 / 2147483647
";
        check(render, messages, text);
        check(render, "get-pools reply {\n}\n", "");
    }
}
