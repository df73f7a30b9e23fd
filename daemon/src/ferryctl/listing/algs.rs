//! Algorithms, by class.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use ferry_vici::{Element, Message};

use crate::ferryctl::session::Session;

pub(crate) fn list(session: &mut Session) -> Result<ExitCode> {
    session.show("get-algorithms", &Message::new(), render)?;
    Ok(ExitCode::SUCCESS)
}

fn render(reply: &Message) -> String {
    let mut text = String::new();
    for (class, algorithms) in reply.sections() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{class}:");
        for algorithm in algorithms {
            if let Element::Value { name, value } = algorithm {
                let _ = writeln!(text, "  {name}[{}]", value.str().unwrap_or("?"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ferryctl::listing::golden::check;

    #[test]
    fn classes_and_their_algorithms() {
        let messages = "\
get-algorithms reply {
  encryption {
    AES_CBC = ring
    NULL = esp
  }
  ke {
  }
}
";
        check(render, messages, "encryption:\n  AES_CBC[ring]\n  NULL[esp]\nke:\n");
    }
}
