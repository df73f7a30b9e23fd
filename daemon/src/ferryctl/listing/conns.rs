//! Loaded connections.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use ferry_vici::{Element, Message, Section};

use super::sas::label_text;
use super::{field, joined};
use crate::ferryctl::session::Session;

pub(crate) fn list(session: &mut Session) -> Result<ExitCode> {
    session.stream(("list-conns", "list-conn", "list-conn event"), &Message::new(), render)?;
    Ok(ExitCode::SUCCESS)
}

fn render(event: &Message) -> String {
    event.sections().map(|(name, connection)| render_connection(name, connection)).collect()
}

// Writing to a String cannot fail, so what `writeln!` returns below is dropped.

fn render_connection(name: &str, connection: &Section) -> String {
    let mut text = String::new();
    let version = field(connection, "version");
    let seconds = |key: &str| connection.int(key).unwrap_or(0);
    let is_v1 = version == "IKEv1"; // which rekeys by authenticating anew
    let reauth = match (seconds("reauth_time"), seconds("rekey_time")) {
        (0, rekey) if is_v1 => rekey,
        (reauth, _) => reauth,
    };
    let _ = write!(text, "{name}: {version}, {}", every(reauth, "no reauthentication", "reauthentication"));
    if !is_v1 {
        let _ = write!(text, ", {}", every(seconds("rekey_time"), "no rekeying", "rekeying"));
    }
    let dpd_delay = connection.int("dpd_delay").filter(|delay| *delay != 0);
    if let Some(delay) = dpd_delay {
        let _ = write!(text, ", dpd delay {delay}s");
    }
    text.push('\n');

    let ppk_required = connection.bool("ppk_required") == Some(true);
    if ppk_required || connection.contains("ppk_id") {
        let id = connection.str("ppk_id").map(|id| format!("{id}, ")).unwrap_or_default();
        let _ = writeln!(text, "  ppk: {id}{}required", if ppk_required { "" } else { "not " });
    }
    for (label, addresses, port) in
        [("local: ", "local_addrs", "local_port"), ("remote:", "remote_addrs", "remote_port")]
    {
        let port = connection.str(port).map(|port| format!("[{port}]")).unwrap_or_default();
        for address in connection.strs(addresses) {
            let _ = writeln!(text, "  {label} {address}{port}");
        }
    }
    for (name, section) in connection.sections() {
        match name {
            _ if name.starts_with("local") => round("local", section, &mut text),
            _ if name.starts_with("remote") => round("remote", section, &mut text),
            "children" => {
                for (name, child) in section.sections() {
                    render_child(name, child, dpd_delay.is_some(), &mut text);
                }
            }
            _ => {} // what newer daemons may add
        }
    }
    text
}

fn every(seconds: i64, never: &str, what: &str) -> String {
    if seconds == 0 { never.to_owned() } else { format!("{what} every {seconds}s") }
}

/// An authentication round of one side.
fn round(side: &str, round: &Section, text: &mut String) {
    let class = match round.str("class") {
        Some("EAP") => round.str("eap-type").unwrap_or("EAP"),
        Some(class) => class,
        None => "unspecified",
    };
    let _ = writeln!(text, "  {side} {class} authentication:");
    for key in ["id", "ca_id", "eap_id", "xauth_id", "aaa_id"] {
        for element in round {
            if let Element::Value { name, value } = element
                && name == key
                && let Some(value) = value.str()
            {
                let _ = writeln!(text, "    {key}: {value}");
            }
        }
    }
    for (key, label) in
        [("groups", "groups"), ("cert_policy", "cert policy"), ("certs", "certs"), ("cacerts", "cacerts")]
    {
        if round.strs(key).next().is_some() {
            let _ = writeln!(text, "    {label}: {}", joined(round, key));
        }
    }
}

fn render_child(name: &str, child: &Section, has_dpd: bool, text: &mut String) {
    let mode = field(child, "mode");
    let limits = [("rekey_time", "s"), ("rekey_bytes", " bytes"), ("rekey_packets", " packets")];
    let limits = limits.iter().filter_map(|(key, unit)| {
        let limit = child.int(key).filter(|limit| *limit != 0)?;
        Some(format!("{limit}{unit}"))
    });
    let limits: Vec<_> = limits.collect();
    let is_shunt = matches!(mode, "PASS" | "DROP");
    let rekeying = if limits.is_empty() || is_shunt {
        "no rekeying".to_owned()
    } else {
        format!("rekeying every {}", limits.join(" or "))
    };
    let dpd_action =
        if has_dpd { format!(", dpd action is {}", field(child, "dpd_action")) } else { String::new() };
    let _ = writeln!(text, "  {name}: {mode}, {rekeying}{dpd_action}");
    if let Some(label) = child.str("label") {
        let _ = writeln!(text, "    label:  {}", label_text(label));
    }
    let _ = writeln!(text, "    local:  {}", joined(child, "local-ts"));
    let _ = writeln!(text, "    remote: {}", joined(child, "remote-ts"));
    for key in ["interface", "priority"] {
        if let Some(value) = child.str(key) {
            let _ = writeln!(text, "    {key}: {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ferryctl::listing::golden::check;

    #[test]
    fn connections_of_every_kind() {
        check(
            render,
            include_str!("../golden/list-conns.message"),
            include_str!("../golden/list-conns.text"),
        );
    }
}
