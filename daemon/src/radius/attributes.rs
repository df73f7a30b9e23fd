//! What servers are told of a peer, and what they say of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ferry_ike::eap::group;
use ferry_ike::identity::Identity;
use ferry_ike::lease::Attribute;
use ferry_ike::output::{IkeSaId, Path};
use ferry_ike::wire::registry::CfgAttributeType;
use ferry_radius::{AttributeType, Draft, Packet, Vendor, microsoft};

use crate::settings::Radius as Settings;

/// Service-Type (RFC 2865 §5.6): the peer gets an address, or packets of its own carried.
const FRAMED: u32 = 2;
/// NAS-Port-Type (RFC 2865 §5.41): it is connected over something else.
const VIRTUAL: u32 = 5;
/// Tunnel-Type (RFC 2868 §3.1).
const ESP: u32 = 9;

/// What identifies a peer's IKE SA to servers.
pub(super) struct Port<'a> {
    pub(super) ike_sa: IkeSaId,
    /// The connection's name.
    pub(super) connection: &'a str,
    pub(super) path: Path,
    /// The accounting session.
    pub(super) session: &'a str,
}

impl Port<'_> {
    /// Tells a server of it.
    pub(super) fn describe(&self, settings: &Settings, draft: &mut Draft) {
        draft.add_number(AttributeType::SERVICE_TYPE, FRAMED);
        draft.add_number(AttributeType::NAS_PORT_TYPE, VIRTUAL);
        // Of a number that is larger, the lower half tells apart what is there at one time.
        draft.add_number(
            AttributeType::NAS_PORT,
            u32::try_from(self.ike_sa.0 & 0xffff_ffff).unwrap_or(u32::MAX),
        );
        draft.add(AttributeType::NAS_PORT_ID, self.connection.as_bytes());
        let (v4, v6) = (AttributeType::NAS_IP_ADDRESS, AttributeType::NAS_IPV6_ADDRESS);
        draft.add_address(v4, v6, self.path.local.ip());
        let station = |address| station(address, settings.station_id_with_port);
        draft.add(AttributeType::CALLED_STATION_ID, station(self.path.local).as_bytes());
        draft.add(AttributeType::CALLING_STATION_ID, station(self.path.remote).as_bytes());
        draft.add(AttributeType::ACCT_SESSION_ID, self.session.as_bytes());
    }
}

/// A station as charon names it: `192.0.2.1[500]`.
pub(super) fn station(address: SocketAddr, with_port: bool) -> String {
    if with_port { format!("{}[{}]", address.ip(), address.port()) } else { address.ip().to_string() }
}

/// What an Access-Accept gives to a peer besides letting it in.
#[derive(Clone, Default, Debug, PartialEq)]
pub(super) struct Given {
    /// Addresses for it, at most one of each family as they are asked for.
    pub(super) addresses: Vec<IpAddr>,
    /// What goes with an address.
    pub(super) attributes: Vec<Attribute>,
    /// What is said of it in records: its name, where the server knows a better one.
    pub(super) user: Option<Vec<u8>>,
    /// And what the server wants to hear again.
    pub(super) class: Vec<Vec<u8>>,
    /// Between two interim records.
    pub(super) interim: Option<Duration>,
}

impl Given {
    pub(super) fn by(accept: &Packet<'_>) -> Self {
        // RFC 2865 §5.8: the peer, or we, should choose one.
        let is_real =
            |address: &Ipv4Addr| *address < Ipv4Addr::new(255, 255, 255, 254) && !address.is_unspecified();
        let v4 = accept.ipv4(AttributeType::FRAMED_IP_ADDRESS).filter(is_real).map(IpAddr::V4);
        let v6 = accept.ipv6(AttributeType::FRAMED_IPV6_ADDRESS).map(IpAddr::V6);
        let interim = accept.number(AttributeType::ACCT_INTERIM_INTERVAL);
        Self {
            addresses: v4.chain(v6).collect(),
            attributes: attributes(accept),
            user: accept.get(AttributeType::USER_NAME).map(<[u8]>::to_vec),
            class: accept.all(AttributeType::CLASS).map(<[u8]>::to_vec).collect(),
            interim: interim
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Duration::from_secs(seconds.into())),
        }
    }
}

/// What goes into the Configuration payload beside addresses.
fn attributes(accept: &Packet<'_>) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    for netmask in accept.ipv4(AttributeType::FRAMED_IP_NETMASK) {
        attributes.push((CfgAttributeType::INTERNAL_IP4_NETMASK, netmask.octets().to_vec()));
    }
    for (kind, attribute) in [
        (microsoft::PRIMARY_DNS_SERVER, CfgAttributeType::INTERNAL_IP4_DNS),
        (microsoft::SECONDARY_DNS_SERVER, CfgAttributeType::INTERNAL_IP4_DNS),
        (microsoft::PRIMARY_NBNS_SERVER, CfgAttributeType::INTERNAL_IP4_NBNS),
        (microsoft::SECONDARY_NBNS_SERVER, CfgAttributeType::INTERNAL_IP4_NBNS),
    ] {
        let servers = accept.vendor(Vendor::MICROSOFT, kind).filter(|value| value.len() == 4);
        attributes.extend(servers.map(|value| (attribute, value.to_vec())));
    }
    for server in accept.ipv6(AttributeType::DNS_SERVER_IPV6_ADDRESS) {
        attributes.push((CfgAttributeType::INTERNAL_IP6_DNS, server.octets().to_vec()));
    }
    attributes
}

/// The groups that an Access-Accept puts a peer into, as far as the settings take its attributes for that.
pub(super) fn groups(accept: &Packet<'_>, settings: &Settings) -> Vec<Identity> {
    let mut groups = Vec::new();
    if settings.class_group {
        groups.extend(accept.all(AttributeType::CLASS).filter_map(group));
    }
    // RFC 2868 §3.1: a tag stands before the number.
    let is_esp = accept.number(AttributeType::TUNNEL_TYPE).is_some_and(|kind| kind & 0x00ff_ffff == ESP);
    if settings.filter_id && is_esp {
        groups.extend(accept.all(AttributeType::FILTER_ID).filter_map(group));
    }
    groups
}

/// The value of an attribute that a peer has sent whole, if it is one that servers are told.
pub(super) fn for_server<'a>(whole: &'a [u8], settings: &Settings) -> Option<(AttributeType, &'a [u8])> {
    let (&[kind, length], value) = whole.split_first_chunk()?;
    let kind = AttributeType(kind);
    let is_told = usize::from(length) == whole.len()
        && settings.ike_to_radius.iter().any(|forwarded| forwarded.is(kind, value));
    is_told.then_some((kind, value))
}

/// The attributes of a server that a peer is told, whole.
pub(super) fn for_peer(packet: &Packet<'_>, settings: &Settings) -> Vec<Vec<u8>> {
    let told = packet
        .attributes()
        .filter(|(kind, value)| settings.radius_to_ike.iter().any(|forwarded| forwarded.is(*kind, value)));
    told.map(|(kind, value)| {
        let length = u8::try_from(value.len() + 2).unwrap_or(u8::MAX); // it came in an attribute
        [&[kind.0, length], value].concat()
    })
    .collect()
}

/// What a server says to people, for the log.
pub(super) fn reply_message(packet: &Packet<'_>) -> Option<String> {
    let message: String = packet
        .all(AttributeType::REPLY_MESSAGE)
        .flat_map(|text| String::from_utf8_lossy(text).chars().collect::<Vec<_>>())
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    (!message.is_empty()).then_some(message)
}

#[cfg(test)]
mod tests {
    use ferry_radius::Code;

    use super::*;

    fn accept(fill: impl FnOnce(&mut Draft)) -> Vec<u8> {
        let mut draft = Draft::new(Code::ACCESS_ACCEPT);
        fill(&mut draft);
        draft.into_request(1, &[0; 16], b"s").unwrap().to_vec()
    }

    #[test]
    fn what_a_server_gives() {
        let octets = accept(|draft| {
            draft.add(AttributeType::FRAMED_IP_ADDRESS, &[10, 9, 0, 7]);
            draft.add(AttributeType::FRAMED_IP_NETMASK, &[255, 255, 255, 0]);
            draft.add(AttributeType::FRAMED_IPV6_ADDRESS, &[0xfd; 16]);
            draft.add_vendor(Vendor::MICROSOFT, microsoft::PRIMARY_DNS_SERVER, &[10, 1, 0, 53]);
            draft.add_vendor(Vendor::MICROSOFT, microsoft::SECONDARY_NBNS_SERVER, &[10, 1, 0, 54]);
            draft.add_vendor(Vendor::MICROSOFT, microsoft::SECONDARY_DNS_SERVER, &[10, 1, 0]);
            draft.add(AttributeType::CLASS, b"staff");
            draft.add(AttributeType::USER_NAME, b"alice@lab");
            draft.add_number(AttributeType::ACCT_INTERIM_INTERVAL, 60);
        });
        let given = Given::by(&Packet::decode(&octets).unwrap());
        let addresses: Vec<String> = given.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.9.0.7", "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd"]);
        let kinds: Vec<u16> = given.attributes.iter().map(|(kind, _)| kind.0).collect();
        assert_eq!(kinds, [2, 3, 4]);
        assert_eq!((given.class, given.user), (vec![b"staff".to_vec()], Some(b"alice@lab".to_vec())));
        assert_eq!(given.interim, Some(Duration::from_secs(60)));
    }

    #[test]
    fn an_address_that_somebody_else_is_to_choose_is_none() {
        for address in [[255, 255, 255, 255], [255, 255, 255, 254], [0, 0, 0, 0]] {
            let octets = accept(|draft| draft.add(AttributeType::FRAMED_IP_ADDRESS, &address));
            assert_eq!(Given::by(&Packet::decode(&octets).unwrap()).addresses, Vec::<IpAddr>::new());
        }
    }

    #[test]
    fn groups_are_what_the_settings_take_for_groups() {
        let named = |tunnel: u32| {
            accept(|draft| {
                draft.add(AttributeType::CLASS, b"staff");
                draft.add(AttributeType::FILTER_ID, b"vpn");
                draft.add_number(AttributeType::TUNNEL_TYPE, tunnel);
            })
        };
        for (class_group, filter_id, tunnel, expected) in [
            (false, false, ESP, &[][..]),
            (true, false, ESP, &["staff"]),
            (false, true, 0x0100_0009, &["vpn"]),
            (false, true, 3, &[]),
            (true, true, ESP, &["staff", "vpn"]),
        ] {
            let settings = Settings { class_group, filter_id, ..Settings::default() };
            let groups = groups(&Packet::decode(&named(tunnel)).unwrap(), &settings);
            assert_eq!(groups.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn what_is_configured_is_passed_on_and_nothing_else() {
        use crate::settings::Forwarded;
        let reply = vec![Forwarded::Standard(AttributeType::REPLY_MESSAGE)];
        let settings = Settings { ike_to_radius: reply.clone(), radius_to_ike: reply, ..Settings::default() };
        let told = |whole: &[u8]| for_server(whole, &settings).map(|(kind, value)| (kind.0, value.to_vec()));
        assert_eq!(told(&[18, 4, b'h', b'i']), Some((18, b"hi".to_vec())));
        assert_eq!(told(&[18, 2]), Some((18, vec![])));
        for whole in [&[18, 3, b'h', b'i'][..], &[18, 5, b'h', b'i'], &[1, 4, b'h', b'i'], &[18], &[]] {
            assert_eq!(told(whole), None, "{whole:?}");
        }
        let octets = accept(|draft| {
            draft.add(AttributeType::CLASS, b"staff");
            draft.add(AttributeType::REPLY_MESSAGE, b"welcome");
        });
        let packet = Packet::decode(&octets).unwrap();
        assert_eq!(for_peer(&packet, &settings), [[&[18, 9], &b"welcome"[..]].concat()]);
        assert!(for_peer(&packet, &Settings::default()).is_empty());
    }

    #[test]
    fn stations_have_their_port_if_they_are_to() {
        let address = "192.0.2.1:4500".parse().unwrap();
        assert_eq!(station(address, true), "192.0.2.1[4500]");
        assert_eq!(station(address, false), "192.0.2.1");
    }
}
