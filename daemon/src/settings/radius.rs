//! `plugins.eap-radius`: servers that judge EAP and keep accounts, and what is told to and taken from them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ferry_radius::{AttributeType, Vendor, microsoft};
use ferry_vici::settings::{BadValue, Setting};
use zeroize::Zeroizing;

use super::lookup::Lookup;

/// RFC 2865 §3 and RFC 2866 §3.
const AUTH_PORT: u16 = 1812;
const ACCT_PORT: u16 = 1813;
/// RFC 5176 §2.3.
const DAE_PORT: u16 = 3799;

const PORT: &str = "a port, 1 to 65535";

/// What `plugins.eap-radius` says.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Radius {
    /// In the order of the file; none: there is no RADIUS.
    pub(crate) servers: Vec<RadiusServer>,
    /// `None` keeps no accounts.
    pub(crate) accounting: Option<Accounting>,
    /// Who may end sessions, and where they say so.
    pub(crate) dae: Option<DynamicAuthorization>,
    /// A Class is a group.
    pub(crate) class_group: bool,
    /// A Filter-Id is a group, in the company of Tunnel-Type = ESP.
    pub(crate) filter_id: bool,
    /// The server is to ask for the identity: conversations begin with EAP-Start.
    pub(crate) eap_start: bool,
    /// Stands in front of identities.
    pub(crate) id_prefix: String,
    /// All IKE SAs are deleted when no server answers.
    pub(crate) close_all_on_timeout: bool,
    /// Stations are told with their ports.
    pub(crate) station_id_with_port: bool,
    /// Attributes of peers that servers are told.
    pub(crate) ike_to_radius: Vec<Forwarded>,
    /// Attributes of servers that peers are told.
    pub(crate) radius_to_ike: Vec<Forwarded>,
}

/// A kind of attribute that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forwarded {
    /// Of RADIUS's own.
    Standard(AttributeType),
    /// Of a vendor's.
    Of(Vendor, u8),
}

impl Forwarded {
    /// The most that is passed on of the attributes: with a vendor, its number in front of one of its own.
    pub(crate) fn is(self, kind: AttributeType, value: &[u8]) -> bool {
        match self {
            Self::Standard(wanted) => kind == wanted,
            // With others beside it in the same attribute, it is not that kind alone.
            Self::Of(vendor, wanted) => match value.split_first_chunk() {
                Some((id, rest @ [own, length, ..])) if kind == AttributeType::VENDOR_SPECIFIC => {
                    u32::from_be_bytes(*id) == vendor.0
                        && *own == wanted
                        && usize::from(*length) == rest.len()
                }
                _ => false,
            },
        }
    }
}

/// Accounts (RFC 2866).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Accounting {
    /// Between two interim records where the server says nothing else; `None` for none.
    pub(crate) interval: Option<Duration>,
    /// An IKE SA ends when no server takes its record.
    pub(crate) close_on_timeout: bool,
    /// Peers without a virtual IP have no account.
    pub(crate) requires_vip: bool,
    /// What the server has said as Class is said in records.
    pub(crate) sends_class: bool,
}

/// Dynamic authorization (RFC 5176).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DynamicAuthorization {
    /// Where it is listened.
    pub(crate) listen: IpAddr,
    /// On which port.
    pub(crate) port: u16,
    /// What clients of it share with us.
    pub(crate) secret: ServerSecret,
}

/// A server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RadiusServer {
    /// Its name in the file.
    pub(crate) name: String,
    /// An address, or a name that is looked up.
    pub(crate) address: String,
    /// What it shares with us.
    pub(crate) secret: ServerSecret,
    /// Where it authenticates.
    pub(crate) auth_port: u16,
    /// Where it keeps accounts.
    pub(crate) acct_port: u16,
    /// Who we say we are.
    pub(crate) nas_identifier: String,
    /// How many sockets share the work: 256 requests can be out by each.
    pub(crate) sockets: usize,
    /// Higher ones are asked first.
    pub(crate) preference: i64,
    /// Our address; `None` for what the route says.
    pub(crate) source: Option<IpAddr>,
    /// How often a request is sent.
    pub(crate) tries: u32,
    /// How long the first is waited for.
    pub(crate) timeout: Duration,
    /// How much longer each that follows.
    pub(crate) base: f64,
}

impl RadiusServer {
    /// How long an answer is waited for after sending for the `sent`-th time, counted from zero.
    pub(crate) fn wait(&self, sent: u32) -> Duration {
        const LONGEST: f64 = 600.0; // keeps absurd settings finite
        let exponent = i32::try_from(sent).unwrap_or(i32::MAX);
        Duration::from_secs_f64((self.timeout.as_secs_f64() * self.base.powi(exponent)).clamp(0.0, LONGEST))
    }
}

/// A secret of the file: wiped, and not to be seen.
#[derive(Clone)]
pub(crate) struct ServerSecret(Arc<Zeroizing<Vec<u8>>>);

impl ServerSecret {
    /// Lends the octets.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for ServerSecret {
    /// To see what a reload changes; nobody can choose what is compared.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a secret)")
    }
}

/// Reads it.
pub(super) fn read(from: &Lookup<'_>) -> Result<Radius, BadValue> {
    Ok(Radius {
        servers: servers(from)?,
        accounting: accounting(from)?,
        dae: dynamic_authorization(from)?,
        class_group: bool(from, "class_group", false)?,
        filter_id: bool(from, "filter_id", false)?,
        eap_start: bool(from, "eap_start", false)?,
        id_prefix: from.text(&path("id_prefix"))?.unwrap_or_default().to_owned(),
        close_all_on_timeout: bool(from, "close_all_on_timeout", false)?,
        station_id_with_port: bool(from, "station_id_with_port", true)?,
        ike_to_radius: forwarded(from, "forward.ike_to_radius")?,
        radius_to_ike: forwarded(from, "forward.radius_to_ike")?,
    })
}

/// A list of attributes, by name or number, those of vendors with their number in front: `Reply-Message, 311:26`.
fn forwarded(from: &Lookup<'_>, key: &str) -> Result<Vec<Forwarded>, BadValue> {
    const EXPECTED: &str = "attributes by name or number, such as Reply-Message, 18 or 36906:1, but for those that EAP,                             its keys and the conversation itself are in";
    /// What is not anybody's to pass on.
    const OURS: [AttributeType; 4] = [
        AttributeType::STATE,
        AttributeType::PROXY_STATE,
        AttributeType::EAP_MESSAGE,
        AttributeType::MESSAGE_AUTHENTICATOR,
    ];
    let Some(setting) = from.setting(&path(key)) else { return Ok(vec![]) };
    let read = |word: &str| {
        if let Some((vendor, own)) = word.split_once(':') {
            let (vendor, own) = (Vendor(vendor.parse().ok()?), own.parse().ok()?);
            let is_key = [microsoft::MPPE_SEND_KEY, microsoft::MPPE_RECV_KEY].contains(&own);
            return (vendor != Vendor::MICROSOFT || !is_key).then_some(Forwarded::Of(vendor, own));
        }
        let kind = AttributeType::named(word).or_else(|| word.parse().ok().map(AttributeType))?;
        let is_whole = kind.0 != 0 && kind != AttributeType::VENDOR_SPECIFIC;
        (is_whole && !OURS.contains(&kind)).then_some(Forwarded::Standard(kind))
    };
    let text = setting.str().unwrap_or_default();
    let words = text.split([',', ' ', '\t']).filter(|word| !word.is_empty());
    words.map(|word| read(word).ok_or_else(|| setting.bad(EXPECTED))).collect()
}

fn path(key: &str) -> String {
    format!("plugins.eap-radius.{key}")
}

fn bool(from: &Lookup<'_>, key: &str, default: bool) -> Result<bool, BadValue> {
    from.bool(&path(key), default)
}

fn accounting(from: &Lookup<'_>) -> Result<Option<Accounting>, BadValue> {
    let accounting = Accounting {
        interval: Some(from.time(&path("accounting_interval"), Duration::ZERO)?)
            .filter(|interval| !interval.is_zero()),
        close_on_timeout: bool(from, "accounting_close_on_timeout", true)?,
        requires_vip: bool(from, "accounting_requires_vip", false)?,
        sends_class: bool(from, "accounting_send_class", false)?,
    };
    Ok(bool(from, "accounting", false)?.then_some(accounting))
}

fn dynamic_authorization(from: &Lookup<'_>) -> Result<Option<DynamicAuthorization>, BadValue> {
    let listen = match from.setting(&path("dae.listen")) {
        None => Ipv4Addr::UNSPECIFIED.into(),
        Some(setting) => address(&setting)?,
    };
    let port = from.number(&path("dae.port"), DAE_PORT, PORT, |port| *port != 0)?;
    let is_enabled = bool(from, "dae.enable", false)?;
    let Some(enable) = from.setting(&path("dae.enable")).filter(|_| is_enabled) else { return Ok(None) };
    let secret = from.setting(&path("dae.secret"));
    let secret = secret.and_then(secret_of).ok_or_else(|| enable.bad("dae.secret beside it"))?;
    Ok(Some(DynamicAuthorization { listen, port, secret }))
}

/// One by the keys of the section itself, or those in `servers`.
fn servers(from: &Lookup<'_>) -> Result<Vec<RadiusServer>, BadValue> {
    if let Some(address) = from.setting(&path("server")) {
        return Ok(vec![server(from, "primary", &path(""), &address, &path("port"))?]);
    }
    let names = from.sections(&path("servers"));
    let read = |name: &String| {
        let prefix = path(&format!("servers.{name}."));
        let address = from.setting(&format!("{prefix}address"))?;
        let of_both = format!("{prefix}auth_port");
        let port = if from.setting(&of_both).is_some() { of_both } else { format!("{prefix}port") };
        Some(server(from, name, &prefix, &address, &port))
    };
    names.iter().filter_map(read).collect()
}

fn server(
    from: &Lookup<'_>,
    name: &str,
    prefix: &str,
    address: &Setting<'_>,
    auth_port: &str,
) -> Result<RadiusServer, BadValue> {
    // A key of the server's own, or the one for all of them.
    let key = |key: &str| {
        let own = format!("{prefix}{key}");
        if from.setting(&own).is_some() { own } else { path(key) }
    };
    let secret = from.setting(&format!("{prefix}secret")).and_then(secret_of);
    let source = from.setting(&key("source"));
    let base = from.setting(&key("retransmit_base"));
    let base = match &base {
        None => 1.4,
        Some(setting) => setting
            .float()
            .ok()
            .filter(|base| *base > 0.0)
            .ok_or_else(|| setting.bad("a number above zero, such as 1.4"))?,
    };
    Ok(RadiusServer {
        name: name.to_owned(),
        address: address.str().ok_or_else(|| address.bad("an address or a name"))?.to_owned(),
        secret: secret.ok_or_else(|| address.bad("the server's secret beside it"))?,
        auth_port: from.number(auth_port, AUTH_PORT, PORT, |port| *port != 0)?,
        acct_port: from.number(&format!("{prefix}acct_port"), ACCT_PORT, PORT, |port| *port != 0)?,
        nas_identifier: from.text(&key("nas_identifier"))?.unwrap_or("strongSwan").to_owned(),
        sockets: from
            .number(&key("sockets"), 1, "a number of sockets, 1 to 256", |n| (1..=256).contains(n))?,
        preference: from.number(&format!("{prefix}preference"), 0, "a whole number", |_| true)?,
        source: source.as_ref().map(self::address).transpose()?,
        tries: from.number(&key("retransmit_tries"), 4, "a number of tries, 1 or more", |n| *n >= 1)?,
        timeout: from.seconds(&key("retransmit_timeout"), Duration::from_secs(2))?,
        base,
    })
}

fn address(setting: &Setting<'_>) -> Result<IpAddr, BadValue> {
    setting.str().and_then(|text| text.parse().ok()).ok_or_else(|| setting.bad("an IP address"))
}

fn secret_of(setting: Setting<'_>) -> Option<ServerSecret> {
    let octets = setting.bytes();
    (!octets.is_empty()).then(|| ServerSecret(Arc::new(Zeroizing::new(octets.to_vec()))))
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    fn radius(inside: &str) -> Radius {
        let text = format!("charon {{ plugins {{ eap-radius {{ {inside} }} }} }}");
        parse(&text).map(|loaded| loaded.settings.radius).unwrap()
    }

    fn error(inside: &str) -> String {
        let text = format!("charon {{ plugins {{ eap-radius {{ {inside} }} }} }}");
        parse(&text).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn nothing_said_is_no_radius() {
        let nothing = radius("");
        assert!(nothing.servers.is_empty() && nothing.accounting.is_none() && nothing.dae.is_none());
        assert!(nothing.station_id_with_port && !nothing.eap_start);
    }

    #[test]
    fn one_server_by_the_keys_of_the_section() {
        let one = radius(
            "server = 192.0.2.9\n secret = testing123\n port = 1645\n sockets = 4\n nas_identifier = gw",
        );
        let [server] = one.servers.as_slice() else { panic!("{one:?}") };
        assert_eq!((server.name.as_str(), server.address.as_str()), ("primary", "192.0.2.9"));
        assert_eq!((server.auth_port, server.acct_port, server.sockets), (1645, 1813, 4));
        assert_eq!(server.nas_identifier, "gw");
        assert_eq!(server.secret.octets(), b"testing123");
        assert!(!format!("{one:?}").contains("testing123"));
        let waits: Vec<u128> = (0..4).map(|sent| server.wait(sent).as_millis()).collect();
        assert_eq!(waits, [2000, 2800, 3920, 5488]);
    }

    #[test]
    fn several_servers_with_what_they_share() {
        let several = radius(
            "retransmit_tries = 2\n nas_identifier = all
             servers {
               b { address = 192.0.2.8\n secret = b\n preference = 7\n auth_port = 1\n acct_port = 2 }
               a { address = radius.test\n secret = a\n nas_identifier = own\n retransmit_timeout = 0.5\n source = ::1 }
               idle { }
             }",
        );
        let seen: Vec<_> = several
            .servers
            .iter()
            .map(|s| {
                (s.name.as_str(), s.preference, s.auth_port, s.acct_port, s.nas_identifier.as_str(), s.tries)
            })
            .collect();
        assert_eq!(seen, [("b", 7, 1, 2, "all", 2), ("a", 0, 1812, 1813, "own", 2)]);
        assert_eq!(several.servers[1].timeout, Duration::from_millis(500));
        assert_eq!(several.servers[1].source, Some("::1".parse().unwrap()));
    }

    #[test]
    fn accounts_and_who_may_end_sessions() {
        let both = radius(
            "accounting = yes\n accounting_interval = 5m\n accounting_close_on_timeout = no
             dae { enable = yes\n listen = 127.0.0.1\n secret = s }",
        );
        let accounting = both.accounting.unwrap();
        assert_eq!(accounting.interval, Some(Duration::from_secs(300)));
        assert!(!accounting.close_on_timeout && !accounting.requires_vip);
        let dae = both.dae.unwrap();
        assert_eq!((dae.listen.to_string().as_str(), dae.port), ("127.0.0.1", 3799));
        assert!(radius("accounting_interval = 5m\n dae { secret = s }").accounting.is_none());
    }

    #[test]
    fn what_is_passed_on() {
        let both = radius("forward { ike_to_radius = Reply-Message, 311:26\n radius_to_ike = 18 class }");
        assert_eq!(
            both.ike_to_radius,
            [Forwarded::Standard(AttributeType::REPLY_MESSAGE), Forwarded::Of(Vendor::MICROSOFT, 26)]
        );
        assert_eq!(both.radius_to_ike.len(), 2);
        for word in ["Nonsense", "0", "256", "26", "79", "State", "311:16", "311:17", ":", "1:"] {
            let error = error(&format!("forward {{ radius_to_ike = \"{word}\" }}"));
            assert!(error.contains("attributes by name or number"), "{word}: {error}");
        }
        let one = Forwarded::Of(Vendor::MICROSOFT, 26);
        assert!(one.is(AttributeType::VENDOR_SPECIFIC, &[0, 0, 1, 55, 26, 3, 9]));
        for value in [
            &[0, 0, 1, 55, 26, 3, 9, 27, 3, 9][..],
            &[0, 0, 1, 55, 27, 3, 9],
            &[0, 0, 1, 56, 26, 3, 9],
            &[0, 0, 1, 55, 26],
            &[],
        ] {
            assert!(!one.is(AttributeType::VENDOR_SPECIFIC, value), "{value:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let without = error("servers { a { address = 192.0.2.9 } }");
        assert!(
            without.ends_with(
                "charon.plugins.eap-radius.servers.a.address = 192.0.2.9: expected the server's secret beside it"
            ),
            "{without}"
        );
        assert!(error("dae { enable = yes }").ends_with("dae.enable = yes: expected dae.secret beside it"));
        assert!(error("dae { listen = here }").ends_with("dae.listen = here: expected an IP address"));
        let zero = error("server = a\n secret = s\n retransmit_tries = 0");
        assert!(zero.ends_with("expected a number of tries, 1 or more"), "{zero}");
    }
}
