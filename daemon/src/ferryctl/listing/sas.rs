//! IKE SAs and their CHILD SAs.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use ferry_vici::{Message, Section};

use super::{field, joined};
use crate::ferryctl::control::Arguments as _;
use crate::ferryctl::options::ListSas;
use crate::ferryctl::session::Session;

pub(crate) fn list(session: &mut Session, options: &ListSas) -> Result<ExitCode> {
    let arguments = Message::new().with_selector(&options.selector).with_flag("noblock", options.noblock);
    session.stream(("list-sas", "list-sa", "list-sa event"), &arguments, render)?;
    Ok(ExitCode::SUCCESS)
}

/// A list-sa, ike-updown or child-updown event.
pub(crate) fn render(event: &Message) -> String {
    event.sections().map(|(name, ike)| ike_sa(name, ike)).collect()
}

// Writing to a String cannot fail, so what `writeln!` returns below is dropped.

fn ike_sa(name: &str, ike: &Section) -> String {
    let mut text = String::new();
    let is_initiator = ike.bool("initiator") == Some(true);
    let own = |is_own| if is_own { "*" } else { "" };
    let _ = writeln!(
        text,
        "{name}: #{}, {}, IKEv{}, {}_i{} {}_r{}",
        field(ike, "uniqueid"),
        field(ike, "state"),
        field(ike, "version"),
        field(ike, "initiator-spi"),
        own(is_initiator),
        field(ike, "responder-spi"),
        own(!is_initiator),
    );
    let _ = writeln!(text, "  local  {}{}", host(ike, "local"), virtual_ips(ike, "local-vips"));
    let eap = ike.str("remote-eap-id").map(|id| format!(" EAP: '{id}'")).unwrap_or_default();
    let xauth = ike.str("remote-xauth-id").map(|id| format!(" XAuth: '{id}'")).unwrap_or_default();
    let _ = writeln!(text, "  remote {}{eap}{xauth}{}", host(ike, "remote"), virtual_ips(ike, "remote-vips"));
    if ike.contains("encr-alg") {
        let ppk = if ike.bool("ppk") == Some(true) { "/PPK" } else { "" };
        let _ = writeln!(text, "  {}{ppk}", algorithms(ike));
    }
    if let Some(established) = ike.str("established") {
        let _ = write!(text, "  established {established}s ago");
        for (key, words) in
            [("rekey-time", "rekeying in"), ("reauth-time", "reauth in"), ("life-time", "expires in")]
        {
            text.push_str(&time(ike, key, words));
        }
        text.push('\n');
    }
    for (key, label) in
        [("tasks-queued", "queued: "), ("tasks-active", "active: "), ("tasks-passive", "passive:")]
    {
        if ike.list(key).is_some() {
            let _ = writeln!(text, "  {label} {}", joined(ike, key));
        }
    }
    for (name, child) in ike.section("child-sas").into_iter().flat_map(Message::sections) {
        text.push_str(&child_sa(name, child));
    }
    text
}

/// `section` is the name of its section, which stands in where the SA has no name of its own.
fn child_sa(section: &str, child: &Section) -> String {
    let mut text = String::new();
    let cpu = match child.bool("per-cpu-sas") {
        Some(true) => format!(", cpu {}", child.str("cpu").unwrap_or("-")),
        Some(false) | None => String::new(),
    };
    let encap = if child.bool("encap") == Some(true) { "-in-UDP" } else { "" };
    let _ = write!(
        text,
        "  {}: #{}, reqid {}{cpu}, {}, {}{encap}",
        child.str("name").unwrap_or(section),
        field(child, "uniqueid"),
        field(child, "reqid"),
        field(child, "state"),
        field(child, "mode"),
    );
    // Before it is installed and after it is gone, an SA has neither keys nor counters.
    if let Some(protocol) = child.str("protocol") {
        let esn = if child.bool("esn") == Some(true) { "/ESN" } else { "" };
        let _ = writeln!(text, ", {protocol}:{}{esn}", algorithms(child));
        let _ = writeln!(
            text,
            "    installed {}s ago{}{}",
            field(child, "install-time"),
            time(child, "rekey-time", "rekeying in"),
            time(child, "life-time", "expires in"),
        );
        let _ = writeln!(text, "    in  {}", traffic(child, "in"));
        let _ = writeln!(text, "    out {}", traffic(child, "out"));
    } else {
        text.push('\n');
    }
    if let Some(label) = child.str("label") {
        let _ = writeln!(text, "    label  {}", label_text(label));
    }
    let _ = writeln!(text, "    local  {}", joined(child, "local-ts"));
    let _ = writeln!(text, "    remote {}", joined(child, "remote-ts"));
    text
}

/// `'identity' @ address[port]`
fn host(ike: &Section, side: &str) -> String {
    let [id, host, port] = ["id", "host", "port"].map(|key| field(ike, &format!("{side}-{key}")));
    format!("'{id}' @ {host}[{port}]")
}

fn virtual_ips(ike: &Section, key: &str) -> String {
    if ike.list(key).is_some() { format!(" [{}]", joined(ike, key)) } else { String::new() }
}

/// `AES_CBC-128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519/KE1_ML_KEM_768`, as far as it applies.
fn algorithms(sa: &Section) -> String {
    let mut parts = Vec::new();
    for (algorithm, keysize) in [("encr-alg", "encr-keysize"), ("integ-alg", "integ-keysize")] {
        if let Some(algorithm) = sa.str(algorithm) {
            let keysize = sa.str(keysize).map(|bits| format!("-{bits}")).unwrap_or_default();
            parts.push(format!("{algorithm}{keysize}"));
        }
    }
    parts.extend(["prf-alg", "dh-group"].iter().filter_map(|key| sa.str(key)).map(str::to_owned));
    for number in 1..=7 {
        if let Some(method) = sa.str(&format!("ake{number}")) {
            parts.push(format!("KE{number}_{method}"));
        }
    }
    parts.join("/")
}

/// `, words Ns`
fn time(sa: &Section, key: &str, words: &str) -> String {
    sa.str(key).map(|seconds| format!(", {words} {seconds}s")).unwrap_or_default()
}

/// SPI, marks and counters of one direction.
fn traffic(child: &Section, direction: &str) -> String {
    let key = |name: &str| child.str(&format!("{name}-{direction}"));
    let cpi = key("cpi").map(|cpi| format!("/{cpi}")).unwrap_or_default();
    let mark = key("mark").map(|mark| {
        let mask = key("mark-mask").map(|mask| format!("/0x{mask}")).unwrap_or_default();
        format!("0x{mark}{mask}")
    });
    let if_id = key("if-id").map(|if_id| format!("|0x{if_id}"));
    let marks = match (mark, if_id) {
        (None, None) => String::new(),
        (mark, if_id) => {
            format!(" ({}{})", mark.as_deref().unwrap_or("-"), if_id.as_deref().unwrap_or_default())
        }
    };
    let last_use = key("use").map(|seconds| format!(", {seconds:>5}s ago")).unwrap_or_default();
    let [spi, bytes, packets] = ["spi", "bytes", "packets"].map(|name| key(name).unwrap_or("?"));
    format!("{spi}{cpi}{marks}, {bytes:>6} bytes, {packets:>5} packets{last_use}")
}

/// A security label travels in hexadecimal, for it may be any octets. Shown as text where it is, else as it came.
pub(super) fn label_text(label: &str) -> String {
    let octets: Option<Vec<u8>> = label
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let text = octets.and_then(|octets| String::from_utf8(octets).ok());
    let text = text.map(|text| text.trim_end_matches('\0').to_owned());
    text.filter(|text| !text.contains(char::is_control)).unwrap_or_else(|| label.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ferryctl::listing::golden::check;

    #[test]
    fn established_installed_half_open_and_every_option() {
        check(render, include_str!("../golden/list-sas.message"), include_str!("../golden/list-sas.text"));
    }

    #[test]
    fn an_incomplete_event_is_shown_as_far_as_it_goes() {
        let event = Message::new().with("up", "yes").with_section("road", Section::new());
        assert_eq!(
            render(&event),
            "road: #?, ?, IKEv?, ?_i ?_r*\n  local  '?' @ ?[?]\n  remote '?' @ ?[?]\n"
        );
    }

    #[test]
    fn labels() {
        assert_eq!(label_text("73797374656d5f753a00"), "system_u:");
        assert_eq!(label_text("ff00"), "ff00");
        assert_eq!(label_text("0a"), "0a");
        assert_eq!(label_text("xyz"), "xyz");
    }
}
