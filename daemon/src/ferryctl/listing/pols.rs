//! Installed trap and shunt policies.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use ferry_vici::Message;

use super::sas::label_text;
use super::{field, joined};
use crate::ferryctl::options::ListPols;
use crate::ferryctl::session::Session;

pub(crate) fn list(session: &mut Session, options: &ListPols) -> Result<ExitCode> {
    let no_kind = !(options.trap || options.drop || options.pass);
    let arguments = Message::new()
        .with_some("child", options.child.as_deref())
        .with_flag("trap", options.trap || no_kind)
        .with_flag("drop", options.drop || no_kind)
        .with_flag("pass", options.pass || no_kind);
    session.stream(("list-policies", "list-policy", "list-policy event"), &arguments, render)?;
    Ok(ExitCode::SUCCESS)
}

fn render(event: &Message) -> String {
    let mut text = String::new();
    for (name, policy) in event.sections() {
        // Writing to a String cannot fail.
        let reqid = policy.str("reqid").map(|reqid| format!(", reqid {reqid}")).unwrap_or_default();
        let _ = writeln!(text, "{name}{reqid}, {}", field(policy, "mode"));
        if let Some(label) = policy.str("label") {
            let _ = writeln!(text, "  label:  {}", label_text(label));
        }
        let _ = writeln!(text, "  local:  {}", joined(policy, "local-ts"));
        let _ = writeln!(text, "  remote: {}", joined(policy, "remote-ts"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ferryctl::listing::golden::check;

    #[test]
    fn traps_and_shunts() {
        let messages = "\
list-policy event {
  site/trap1 {
    child = trap1
    reqid = 3
    ike = site
    mode = TUNNEL
    label = 61
    local-ts = [
      10.1.0.0/16
      10.2.0.0/16[tcp/http]
    ]
    remote-ts = [
      dynamic
    ]
  }
}
list-policy event {
  lan {
    child = lan
    mode = PASS
    local-ts = [
    ]
    remote-ts = [
      10.2.0.0/16
    ]
  }
}
";
        let text = "\
site/trap1, reqid 3, TUNNEL
  label:  a
  local:  10.1.0.0/16 10.2.0.0/16[tcp/http]
  remote: dynamic
lan, PASS
  local:  
  remote: 10.2.0.0/16
";
        check(render, messages, text);
    }
}
