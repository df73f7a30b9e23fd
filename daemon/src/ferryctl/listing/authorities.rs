//! Certification authorities.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use ferry_vici::Message;

use super::field;
use crate::ferryctl::options::ListAuthorities;
use crate::ferryctl::session::Session;

pub(crate) fn list(session: &mut Session, options: &ListAuthorities) -> Result<ExitCode> {
    let arguments = Message::new().with_some("name", options.name.as_deref());
    session.stream(("list-authorities", "list-authority", "list-authorities event"), &arguments, render)?;
    Ok(ExitCode::SUCCESS)
}

fn render(event: &Message) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for (name, authority) in event.sections() {
        let _ = writeln!(text, "{name}:\n  cacert: {}", field(authority, "cacert"));
        for (index, uri) in authority.strs("crl_uris").enumerate() {
            let _ = writeln!(text, "  {} {uri}", if index == 0 { "crl_uris: " } else { "          " });
        }
        for uri in authority.strs("ocsp_uris") {
            let _ = writeln!(text, "  ocsp_uris: {uri}"); // named each time, unlike the others
        }
        if let Some(base) = authority.str("cert_uri_base") {
            let _ = writeln!(text, "  cert_uri_base: {base}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_stand_below_each_other() {
        use ferry_vici::Section;

        let authority = Section::new()
            .with("cacert", "CN=ca")
            .with_list("crl_uris", ["http://a/x.crl", "http://b/y.crl"])
            .with_list("ocsp_uris", ["http://c/", "http://d/"])
            .with("cert_uri_base", "http://e/");
        let text = "\
au:
  cacert: CN=ca
  crl_uris:  http://a/x.crl
             http://b/y.crl
  ocsp_uris: http://c/
  ocsp_uris: http://d/
  cert_uri_base: http://e/
";
        assert_eq!(render(&Message::new().with_section("au", authority)), text);
    }
}
