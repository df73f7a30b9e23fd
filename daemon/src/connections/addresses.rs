//! `local_addrs` and `remote_addrs`.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ferry_ike::config::{AddressPattern, Connection};

/// How long a name server may take before we go on without its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads one pattern, or says what was expected. A name is not looked up.
pub(crate) fn parse(text: &str) -> Result<AddressPattern, String> {
    match text {
        "%any" => return Ok(AddressPattern::Any),
        "%any4" | "0.0.0.0" => return Ok(AddressPattern::AnyV4),
        "%any6" | "::" => return Ok(AddressPattern::AnyV6),
        _other => {}
    }
    if let Ok(address) = text.parse() {
        return Ok(AddressPattern::Host(address));
    }
    if let Some((network, length)) = text.split_once('/') {
        return subnet(network, length).ok_or_else(|| "a subnet such as 192.0.2.0/24".to_owned());
    }
    if let Some((from, to)) = text.split_once('-')
        && let (Ok(from), Ok(to)) = (from.trim().parse::<IpAddr>(), to.trim().parse::<IpAddr>())
    {
        let is_range = from.is_ipv4() == to.is_ipv4() && from <= to;
        return if is_range {
            Ok(AddressPattern::Range(from, to))
        } else {
            Err("a range from a lower to a higher address of the same family".to_owned())
        };
    }
    if is_name(text) {
        Ok(AddressPattern::Name(text.to_owned(), Vec::new()))
    } else {
        Err("an IP address, a subnet, a range, a DNS name or %any".to_owned())
    }
}

fn subnet(network: &str, length: &str) -> Option<AddressPattern> {
    let network: IpAddr = network.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    let longest = if network.is_ipv4() { 32 } else { 128 };
    (length <= longest).then_some(AddressPattern::Subnet(network, length))
}

/// Whether this may be a DNS name. What has only digits and dots is an address with a slip in it.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c))
    };
    let labels = text.strip_suffix('.').unwrap_or(text);
    labels.len() <= 253 && labels.split('.').all(is_label) && text.bytes().any(|c| c.is_ascii_alphabetic())
}

/// A pattern as it is written in a configuration.
pub(crate) fn display(pattern: &AddressPattern) -> impl fmt::Display {
    fmt::from_fn(move |f| match pattern {
        AddressPattern::Any => f.write_str("%any"),
        AddressPattern::AnyV4 => f.write_str("%any4"),
        AddressPattern::AnyV6 => f.write_str("%any6"),
        AddressPattern::Host(address) => write!(f, "{address}"),
        AddressPattern::Subnet(network, length) => write!(f, "{network}/{length}"),
        AddressPattern::Range(from, to) => write!(f, "{from}-{to}"),
        AddressPattern::Name(name, _) => f.write_str(name),
    })
}

/// Why names are looked up: that tells how loud a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Somebody wants it now.
    Asked,
    /// The time has come to do it again.
    Routine,
}

/// The connection with its names looked up. A name that cannot be looked up in time keeps the addresses it
/// had.
pub(crate) async fn resolve(mut connection: Connection, occasion: Occasion) -> Connection {
    let name = connection.name.clone();
    for pattern in connection.local_addrs.iter_mut().chain(&mut connection.remote_addrs) {
        let AddressPattern::Name(host, addresses) = pattern else { continue };
        let problem = match tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), 0))).await
        {
            Ok(Ok(found)) => {
                let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
                found.dedup();
                *addresses = found;
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        match occasion {
            Occasion::Asked => {
                tracing::warn!(target: "cfg", "connection {name}: looking up {host} failed: {problem}");
            }
            Occasion::Routine => {
                tracing::debug!(target: "cfg", "connection {name}: looking up {host} failed: {problem}");
            }
        }
    }
    connection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_and_shown_as_they_are_written() {
        let texts = [
            "%any",
            "%any4",
            "%any6",
            "192.0.2.1",
            "fd00::1",
            "192.0.2.0/24",
            "fd00::/64",
            "10.0.0.1-10.0.0.9",
            "gw-1.example.net",
            "localhost",
        ];
        for text in texts {
            assert_eq!(display(&parse(text).unwrap()).to_string(), text);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let texts = [
            "",
            "10.0.0.300",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.9-10.0.0.1",
            "a..b",
            "a b",
            "10.0.0.1-fd00::1",
        ];
        for text in texts {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
