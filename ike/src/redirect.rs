//! Where a client is sent by its gateway (RFC 5685 §9).
//!
//! ```text
//! +---------------+---------------+-------------------------------+
//! | GW Ident Type |  GW Ident Len |   New Responder GW Identity   ~
//! +---------------+---------------+-------------------------------+
//! ~                          Nonce Data                           ~
//! +---------------------------------------------------------------+
//! ```

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Another gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// By its address.
    Address(IpAddr),
    /// By its DNS name.
    Name(String),
}

const IPV4: u8 = 1;
const IPV6: u8 = 2;
const FQDN: u8 = 3;

/// The longest name DNS has (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;

impl Gateway {
    /// The data of a REDIRECT or REDIRECTED_FROM notify, without a nonce.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, identity) = match self {
            Self::Address(IpAddr::V4(address)) => (IPV4, address.octets().to_vec()),
            Self::Address(IpAddr::V6(address)) => (IPV6, address.octets().to_vec()),
            Self::Name(name) => (FQDN, name.as_bytes().to_vec()),
        };
        // A name has at most 253 octets.
        let length = u8::try_from(identity.len()).unwrap_or(u8::MAX);
        [kind, length].into_iter().chain(identity).collect()
    }

    /// Reads the data of a REDIRECT notify: the gateway, and the nonce behind it. `None` if it is none.
    #[must_use]
    pub fn decode(data: &[u8]) -> Option<(Self, &[u8])> {
        let (&[kind, length], rest) = data.split_first_chunk()?;
        let (identity, nonce) = rest.split_at_checked(length.into())?;
        let gateway = match kind {
            IPV4 => Self::Address(<[u8; 4]>::try_from(identity).ok()?.into()),
            IPV6 => Self::Address(<[u8; 16]>::try_from(identity).ok()?.into()),
            FQDN => Self::Name(std::str::from_utf8(identity).ok().filter(|name| is_name(name))?.to_owned()),
            _ => return None,
        };
        Some((gateway, nonce))
    }
}

/// A name that can be looked up, and written to a log.
fn is_name(name: &str) -> bool {
    let is_letter = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_letter);
    name.len() <= LONGEST_NAME
        && name.bytes().any(|c| c.is_ascii_alphabetic())
        && name.strip_suffix('.').unwrap_or(name).split('.').all(is_label)
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The text is neither an address nor a DNS name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an IPv4 or IPv6 address or a DNS name")]
pub struct NoGateway;

impl FromStr for Gateway {
    type Err = NoGateway;

    fn from_str(text: &str) -> Result<Self, NoGateway> {
        match text.parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(_) if is_name(text) => Ok(Self::Name(text.to_owned())),
            Err(_) => Err(NoGateway),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in ["192.0.2.1", "2001:db8::1", "gw.example.org", "gw"] {
            let gateway: Gateway = text.parse().unwrap();
            assert_eq!(gateway.to_string(), text);
            let data = [gateway.encode(), b"a nonce of some octets".to_vec()].concat();
            assert_eq!(Gateway::decode(&data), Some((gateway, &b"a nonce of some octets"[..])));
        }
    }

    #[test]
    fn what_is_none_is_not_read() {
        let data: [&[u8]; 10] = [
            &[],
            &[1],
            &[1, 4, 192, 0, 2],
            &[1, 5, 192, 0, 2, 1, 1],
            &[2, 4, 192, 0, 2, 1],
            &[3, 0],
            &[3, 3, b'a', b' ', b'b'],
            &[3, 2, 0xc3, 0x28],
            &[3, 4, b'a', b'.', b'.', b'b'],
            &[4, 4, 192, 0, 2, 1],
        ];
        for data in data {
            assert_eq!(Gateway::decode(data), None, "{data:?}");
        }
        for text in ["", "a b", "1.2.3.4.5", "-\n", &"a.".repeat(200)] {
            assert!(text.parse::<Gateway>().is_err(), "{text:?}");
        }
    }
}
