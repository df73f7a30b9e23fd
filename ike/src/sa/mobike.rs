//! MOBIKE (RFC 4555): what an IKE SA knows of the addresses of both ends, and how it is said.
//!
//! The end that made the first of the IKE SAs decides between which addresses traffic goes; the other follows it and
//! tells it where else it can be reached. What follows from a change is in `established::moving`.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::Core;
use super::exchange::init::{detect_nat, write_nat_detection};
use crate::config::Connection;
use crate::context::Cx;
use crate::error::Failure;
use crate::natt::{HASH_LEN, NatSituation};
use crate::output::{ActionId, Path};
use crate::wire::registry::NotifyType;
use crate::wire::{PayloadWriter, Payloads};

/// The most addresses we tell a peer of, or remember of it. Each may be tried when the peer does not answer.
const MOST_ADDRESSES: usize = 8;

/// Octets of the COOKIE2 notifies we send: between 8 and 64 (RFC 4555 §4.2.5).
const COOKIE_LEN: usize = 16;

/// The longest a packet is under way.
const LATEST: Duration = Duration::from_secs(5);

/// What both ends may change about the addresses of an IKE SA.
#[derive(Clone, Default)]
pub(crate) struct Mobility {
    /// We made the first of the IKE SAs, and decide which addresses are used (RFC 4555 §1.3, its "initiator").
    pub(in crate::sa) decides: bool,
    /// Where else the peer can be reached, as it says.
    pub(in crate::sa) peer_addresses: Vec<IpAddr>,
    /// Where the peer last answered, while we wait for an answer from elsewhere.
    pub(in crate::sa) heard_at: Option<IpAddr>,
    /// Where else we can be reached, as the peer knows it.
    pub(in crate::sa) told: Vec<IpAddr>,
    /// The look for paths that is under way.
    pub(in crate::sa) looking: Option<Look>,
    /// Paths that the request in flight was sent over, beside the one in use.
    pub(in crate::sa) tried: Vec<Path>,
    /// COOKIE2 of the request in flight.
    pub(in crate::sa) cookie: Option<[u8; COOKIE_LEN]>,
    /// The peer does not want these.
    pub(in crate::sa) refused: Vec<Path>,
    /// How often in a row the peer has answered UNEXPECTED_NAT_DETECTED.
    pub(in crate::sa) surprises: u32,
    /// Where the peer was before its updates, and until when packets from there are late rather than news.
    pub(in crate::sa) left: Vec<(SocketAddr, Instant)>,
    /// It has had an update of its own: what its predecessor still hears is older.
    pub(in crate::sa) was_updated: bool,
    /// How the peer last saw us: its NAT_DETECTION_DESTINATION_IP.
    pub(in crate::sa) seen_as: Option<[u8; HASH_LEN]>,
}

/// A look for paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(in crate::sa) action: ActionId,
    pub(in crate::sa) purpose: Purpose,
    /// Something has changed since: it is worth another one.
    pub(in crate::sa) is_stale: bool,
}

/// What paths are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// The request in flight is not answered: it is to be sent over all there are.
    Probe,
    /// Our addresses or routes have changed: perhaps the one in use is gone.
    Roam,
    /// The one in use is no good, any other may be.
    Leave,
}

/// Where the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    pub(in crate::sa) path: Path,
    /// What it found out about NATs, if it does NAT traversal.
    pub(in crate::sa) nat: Option<NatSituation>,
}

impl Mobility {
    /// What the peer says about itself in IKE_AUTH. `None` if it, or the connection, wants no MOBIKE.
    pub(in crate::sa) fn agreed(
        payloads: &Payloads<'_>,
        connection: &Connection,
        decides: bool,
    ) -> Option<Self> {
        payloads.notify(NotifyType::MOBIKE_SUPPORTED).filter(|_| connection.mobike)?;
        tracing::info!(target: "ike", "peer supports MOBIKE");
        let peer_addresses = additional_addresses(payloads).unwrap_or_default();
        Some(Self { decides, peer_addresses, ..Self::default() })
    }

    /// What the IKE SA that takes the place of this one inherits. What is under way is begun anew.
    pub(in crate::sa) fn inherit(&self) -> Self {
        Self {
            decides: self.decides,
            peer_addresses: self.peer_addresses.clone(),
            heard_at: self.heard_at,
            told: self.told.clone(),
            refused: self.refused.clone(),
            left: self.left.clone(),
            ..Self::default()
        }
    }

    /// The peer went `from` one place to another, as it says. Packets it sent before are still under way.
    pub(in crate::sa) fn note_departure(&mut self, from: SocketAddr, to: SocketAddr, now: Instant) {
        self.left.retain(|(place, until)| *place != to && *place != from && now < *until);
        self.left.truncate(MOST_ADDRESSES - 1);
        self.left.push((from, now + LATEST));
    }

    /// A packet that comes from `place` may have been sent before the peer left it.
    pub(in crate::sa) fn may_be_late(&self, place: SocketAddr, now: Instant) -> bool {
        self.left.iter().any(|(left, until)| *left == place && now < *until)
    }

    /// We look for the peer `elsewhere` than `here`, where it has not said that it is no more. Who does not decide goes
    /// where the peer's next update says, and has nowhere to come back to.
    pub(in crate::sa) fn leave_for(&mut self, elsewhere: IpAddr, here: IpAddr) {
        if self.decides && elsewhere != here {
            self.heard_at.get_or_insert(here);
            if !self.peer_addresses.contains(&here) {
                self.peer_addresses.insert(0, here);
            }
        }
    }

    /// Everywhere the peer can be, where it is now first.
    pub(in crate::sa) fn remotes(&self, core: &Core) -> Vec<IpAddr> {
        let now = core.path.remote.ip();
        [now].into_iter().chain(self.peer_addresses.iter().copied().filter(|other| *other != now)).collect()
    }
}

impl Whereabouts {
    /// What a message says about where it comes from.
    pub(in crate::sa) fn of(payloads: &Payloads<'_>, path: Path, core: &Core) -> Self {
        let nat = core.nat_t.then(|| detect_nat(payloads, core.spi_i, core.spi_r, path)).flatten();
        Self { path, nat }
    }

    /// RFC 4555 §3.5 leaves to our policy which addresses are acceptable: all that a host can have.
    pub(in crate::sa) fn is_acceptable(self, ours: &[IpAddr]) -> bool {
        let Path { local, remote } = self.path;
        let address = remote.ip();
        remote.port() != 0
            && !address.is_unspecified()
            && !address.is_multicast()
            && !ours.contains(&address)
            && local.is_ipv4() == remote.is_ipv4()
    }
}

impl Core {
    /// Our addresses beside the one in use, as many as a peer is told of.
    pub(in crate::sa) fn other_addresses(&self, cx: &Cx<'_>) -> Vec<IpAddr> {
        let in_use = self.path.local.ip();
        cx.addresses.iter().copied().filter(|address| *address != in_use).take(MOST_ADDRESSES).collect()
    }

    /// What goes with a request that may change addresses: hashes that show NATs, or where there is no NAT traversal,
    /// that no NAT is allowed (RFC 4555 §3.9).
    pub(in crate::sa) fn write_path(&self, payloads: &mut PayloadWriter, path: Path, cx: &Cx<'_>) {
        if self.nat_t {
            write_nat_detection(payloads, self.spi_i, self.spi_r, path, self.fakes_nat(cx));
        } else {
            payloads.notify(NotifyType::NO_NATS_ALLOWED, &no_nats_allowed(path));
        }
    }

    /// A NAT is pretended so that the peer encapsulates too.
    pub(in crate::sa) fn fakes_nat(&self, cx: &Cx<'_>) -> bool {
        cx.settings.force_encapsulation || self.connection.as_ref().is_some_and(|connection| connection.encap)
    }
}

/// What IKE_AUTH says of MOBIKE (RFC 4555 §3.2, §3.4), and which addresses the peer is told of by that.
pub(in crate::sa) fn announce(payloads: &mut PayloadWriter, core: &Core, cx: &Cx<'_>) -> Vec<IpAddr> {
    payloads.notify(NotifyType::MOBIKE_SUPPORTED, &[]);
    let others = core.other_addresses(cx);
    for address in &others {
        write_additional_address(payloads, *address);
    }
    others
}

/// The whole list of our other addresses: it replaces what was said before (RFC 4555 §3.6).
pub(in crate::sa) fn write_additional_addresses(payloads: &mut PayloadWriter, others: &[IpAddr]) {
    if others.is_empty() {
        payloads.notify(NotifyType::NO_ADDITIONAL_ADDRESSES, &[]);
    }
    for address in others {
        write_additional_address(payloads, *address);
    }
}

fn write_additional_address(payloads: &mut PayloadWriter, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => payloads.notify(NotifyType::ADDITIONAL_IP4_ADDRESS, &v4.octets()),
        IpAddr::V6(v6) => payloads.notify(NotifyType::ADDITIONAL_IP6_ADDRESS, &v6.octets()),
    };
}

/// The peer's other addresses, if the message says anything about them. Those that no host can have are left out.
pub(in crate::sa) fn additional_addresses(payloads: &Payloads<'_>) -> Option<Vec<IpAddr>> {
    let mut says_so = false;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for notify in payloads.notifies() {
        let address = match notify.kind {
            NotifyType::ADDITIONAL_IP4_ADDRESS => <[u8; 4]>::try_from(notify.data).ok().map(IpAddr::from),
            NotifyType::ADDITIONAL_IP6_ADDRESS => <[u8; 16]>::try_from(notify.data).ok().map(IpAddr::from),
            NotifyType::NO_ADDITIONAL_ADDRESSES => None,
            _ => continue,
        };
        says_so = true;
        let is_host = |a: &IpAddr| {
            !a.is_unspecified() && !a.is_multicast() && !a.is_loopback() && !addresses.contains(a)
        };
        if let Some(address) = address.filter(is_host).filter(|_| addresses.len() < MOST_ADDRESSES) {
            addresses.push(address);
        }
    }
    says_so.then_some(addresses)
}

/// The data of NO_NATS_ALLOWED (RFC 4555 §4.2.6).
fn no_nats_allowed(path: Path) -> Vec<u8> {
    let octets = |addr: SocketAddr| match addr.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let Path { local, remote } = path;
    [octets(local), octets(remote), local.port().to_be_bytes().into(), remote.port().to_be_bytes().into()]
        .concat()
}

/// RFC 4555 §3.9: what the peer wants to have come through no NAT did not.
///
/// # Errors
///
/// If it did.
pub(in crate::sa) fn check_no_nat(payloads: &Payloads<'_>, path: Path) -> Result<(), Failure> {
    let Path { local, remote } = path;
    let as_sent = no_nats_allowed(Path { local: remote, remote: local });
    match payloads.notify(NotifyType::NO_NATS_ALLOWED) {
        Some(notify) if notify.data != as_sent => Err(Failure::UnexpectedNat),
        _ => Ok(()),
    }
}

/// COOKIE2 is given back as it came (RFC 4555 §3.7), if it is one.
pub(in crate::sa) fn return_cookie(payloads: &Payloads<'_>, reply: &mut PayloadWriter) {
    if let Some(cookie) = payloads.notify(NotifyType::COOKIE2).filter(|c| (8..=64).contains(&c.data.len())) {
        reply.notify(NotifyType::COOKIE2, cookie.data);
    }
}

/// How the sender of a message sees us.
pub(in crate::sa) fn seen_as(payloads: &Payloads<'_>) -> Option<[u8; HASH_LEN]> {
    payloads.notify(NotifyType::NAT_DETECTION_DESTINATION_IP)?.data.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::decode_payloads;

    fn path(local: &str, remote: &str) -> Path {
        Path { local: local.parse().unwrap(), remote: remote.parse().unwrap() }
    }

    fn read<T>(payloads: &PayloadWriter, look: impl FnOnce(&Payloads<'_>) -> T) -> T {
        look(&decode_payloads(payloads.first(), payloads.octets()).unwrap())
    }

    #[test]
    fn the_list_of_addresses_is_all_or_nothing() {
        let mut payloads = PayloadWriter::new();
        payloads.notify(NotifyType::MOBIKE_SUPPORTED, &[]);
        assert_eq!(read(&payloads, additional_addresses), None);
        let mut payloads = PayloadWriter::new();
        write_additional_addresses(&mut payloads, &[]);
        assert_eq!(read(&payloads, additional_addresses), Some(vec![]));
        let both = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let mut payloads = PayloadWriter::new();
        write_additional_addresses(&mut payloads, &both);
        assert_eq!(read(&payloads, additional_addresses), Some(both.to_vec()));
    }

    #[test]
    fn what_no_host_can_have_is_left_out_and_few_are_kept() {
        let mut payloads = PayloadWriter::new();
        for octets in [
            &[0, 0, 0, 0][..],
            &[224, 0, 0, 1],
            &[127, 0, 0, 1],
            &[1, 2, 3],
            &[192, 0, 2, 7],
            &[192, 0, 2, 7],
        ] {
            payloads.notify(NotifyType::ADDITIONAL_IP4_ADDRESS, octets);
        }
        assert_eq!(read(&payloads, additional_addresses), Some(vec!["192.0.2.7".parse().unwrap()]));
        for last in 0..100 {
            payloads.notify(NotifyType::ADDITIONAL_IP4_ADDRESS, &[192, 0, 2, last]);
        }
        assert_eq!(read(&payloads, additional_addresses).unwrap().len(), MOST_ADDRESSES);
    }

    #[test]
    fn where_the_peer_was_is_remembered_by_who_decides() {
        let [here, elsewhere] = ["192.0.2.1", "192.0.2.99"].map(|text| text.parse::<IpAddr>().unwrap());
        for decides in [true, false] {
            let mut mobility = Mobility { decides, peer_addresses: vec![elsewhere], ..Mobility::default() };
            mobility.leave_for(here, here);
            assert_eq!(mobility.heard_at, None);
            mobility.leave_for(elsewhere, here);
            assert_eq!(mobility.heard_at, decides.then_some(here));
            assert_eq!(mobility.peer_addresses.contains(&here), decides);
        }
    }

    /// RFC 4555 §4.2.6: 12 octets for IPv4, 36 for IPv6.
    #[test]
    fn no_nats_allowed_holds_the_addresses_as_they_were_sent() {
        let sent = path("198.51.100.7:500", "192.0.2.1:4500");
        assert_eq!(no_nats_allowed(sent), [198, 51, 100, 7, 192, 0, 2, 1, 0x01, 0xf4, 0x11, 0x94]);
        assert_eq!(no_nats_allowed(path("[2001:db8::1]:500", "[2001:db8::2]:500")).len(), 36);
        let mut payloads = PayloadWriter::new();
        payloads.notify(NotifyType::NO_NATS_ALLOWED, &no_nats_allowed(sent));
        let check = |local, remote| read(&payloads, |p| check_no_nat(p, path(local, remote))).is_ok();
        assert!(check("192.0.2.1:4500", "198.51.100.7:500"));
        assert!(!check("192.0.2.1:4500", "198.51.100.7:501"));
        assert!(!check("192.0.2.1:4500", "198.51.100.8:500"));
        assert!(!check("[2001:db8::1]:4500", "[2001:db8::2]:500"));
        assert!(read(&PayloadWriter::new(), |p| check_no_nat(p, sent)).is_ok());
    }

    #[test]
    fn a_cookie_has_between_8_and_64_octets() {
        for (length, is_returned) in [(0, false), (7, false), (8, true), (64, true), (65, false)] {
            let (mut request, mut reply) = (PayloadWriter::new(), PayloadWriter::new());
            request.notify(NotifyType::COOKIE2, &vec![7; length]);
            read(&request, |payloads| return_cookie(payloads, &mut reply));
            assert_eq!(!reply.is_empty(), is_returned, "{length} octets");
        }
    }
}
