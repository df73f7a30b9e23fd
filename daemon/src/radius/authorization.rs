//! Dynamic authorization (RFC 5176): a server ends sessions (Disconnect-Request), or limits them (CoA-Request).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferry_ike::output::IkeSaId;
use ferry_ike::status::{IkeSaState, IkeSaStatus};
use ferry_radius::{AttributeType, Code, Draft, ErrorCause, Packet, authenticator};
use tokio::net::UdpSocket;
use tracing::{debug, error, info, warn};
use zeroize::Zeroizing;

use super::attributes::station;
use super::{Known, Radius};
use crate::settings::{DynamicAuthorization, ServerSecret};
use crate::shard::Shards;

/// RFC 5176 §6.3: older requests are replayed ones.
const WINDOW: Duration = Duration::from_secs(300);

/// Answers that are kept, should they have been lost (RFC 5176 §2.3).
const ANSWERS: usize = 64;

/// Listens. What cannot be listened to is an error in the log: peers can do without.
pub(super) async fn listen(settings: &DynamicAuthorization, radius: Radius, shards: Shards) {
    let at = SocketAddr::new(settings.listen, settings.port);
    match UdpSocket::bind(at).await {
        Ok(socket) => {
            info!(target: "cfg", "listening for RADIUS requests on {at}");
            let secret = settings.secret.clone();
            let listener = Listener { socket, secret, radius, shards, answered: VecDeque::new() };
            // Ends with the runtime; who asks then asks again.
            tokio::spawn(listener.run());
        }
        Err(error) => {
            error!(target: "cfg", "no RADIUS requests are taken, listening on {at} failed: {error}")
        }
    }
}

struct Listener {
    socket: UdpSocket,
    secret: ServerSecret,
    radius: Radius,
    shards: Shards,
    /// What was answered to whom, the oldest first.
    answered: VecDeque<(SocketAddr, Asked, Zeroizing<Vec<u8>>)>,
}

/// What tells a request from others, and not from its repetitions.
type Asked = (u8, [u8; 16]);

impl Listener {
    async fn run(mut self) {
        let mut buffer = vec![0; ferry_radius::packet::MAX_LEN + 1];
        loop {
            let (length, from) = match self.socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    debug!(target: "cfg", "receiving RADIUS requests failed: {error}");
                    continue;
                }
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            let Some(answer) = self.take(datagram, from).await else { continue };
            if let Err(error) = self.socket.send_to(&answer, from).await {
                warn!(target: "cfg", "answering {from} failed: {error}");
            }
        }
    }

    /// The answer; `None` to what is not genuine.
    async fn take(&mut self, datagram: &[u8], from: SocketAddr) -> Option<Zeroizing<Vec<u8>>> {
        let packet = match Packet::decode(datagram) {
            Ok(packet) => packet,
            Err(error) => {
                debug!(target: "cfg", "ignoring what {from} sent as a RADIUS request: {error}");
                return None;
            }
        };
        let (code, asked) = (packet.code(), (packet.identifier(), *packet.authenticator()));
        if !matches!(code, Code::DISCONNECT_REQUEST | Code::COA_REQUEST) {
            debug!(target: "cfg", "ignoring a RADIUS {code} from {from}");
            return None;
        }
        if let Err(error) = authenticator::verify_signed_request(&packet, self.secret.octets()) {
            debug!(target: "cfg", "ignoring a RADIUS {code} from {from}: {error}");
            return None;
        }
        if let Some((.., answer)) = self.answered.iter().find(|(who, what, _)| (*who, *what) == (from, asked))
        {
            return Some(answer.clone());
        }
        if !is_fresh(&packet) {
            info!(target: "cfg", "ignoring a RADIUS {code} from {from}: it is not of this time");
            return None;
        }
        let result = self.carry_out(&packet).await;
        match &result {
            Ok(count) => info!(target: "cfg", "RADIUS {code} from {from}: {count} IKE_SAs"),
            Err(cause) => info!(target: "cfg", "RADIUS {code} from {from} is refused: {cause}"),
        }
        let answer = answer(&packet, result.err()).into_response(&packet, self.secret.octets()).ok()?;
        if self.answered.len() == ANSWERS {
            self.answered.pop_front();
        }
        self.answered.push_back((from, asked, answer.clone()));
        Some(answer)
    }

    /// How many IKE SAs it was about.
    async fn carry_out(&self, packet: &Packet<'_>) -> Result<usize, ErrorCause> {
        let wanted = Wanted::of(packet)?;
        let inner = &self.radius.0;
        if let Some(name) = packet.get(AttributeType::NAS_IDENTIFIER) {
            let is_ours = |server: &crate::settings::RadiusServer| server.nas_identifier.as_bytes() == name;
            if !inner.settings.servers.iter().any(is_ours) {
                return Err(ErrorCause::NAS_IDENTIFICATION_MISMATCH);
            }
        }
        let found: Vec<IkeSaId> = self
            .shards
            .list()
            .await
            .iter()
            .filter(|sa| sa.state == IkeSaState::Established || sa.state == IkeSaState::Rekeying)
            .filter(|sa| {
                let known = inner.peers().get(&sa.id).map(super::Peer::known);
                wanted.is(sa, known.as_ref(), inner.settings.station_id_with_port)
            })
            .map(|sa| sa.id)
            .collect();
        if found.is_empty() {
            return Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND);
        }
        for ike_sa in &found {
            let (shards, ike_sa) = (self.shards.clone(), *ike_sa);
            match wanted.lifetime {
                Some(lifetime) => shards.limit_session(ike_sa, lifetime).await,
                // It takes an exchange with the peer, which the server need not wait for.
                None => drop(tokio::spawn(async move { shards.terminate_ike(ike_sa, false).await })),
            }
        }
        Ok(found.len())
    }
}

/// The sessions that a request is about, and what is to become of them.
#[derive(Default)]
struct Wanted<'a> {
    /// All of these must be so.
    claims: Vec<(AttributeType, &'a [u8])>,
    /// So long they may last; `None` ends them.
    lifetime: Option<Duration>,
}

impl<'a> Wanted<'a> {
    /// RFC 5176 §3: what is not understood could be what makes a difference.
    fn of(packet: &Packet<'a>) -> Result<Self, ErrorCause> {
        let mut wanted = Self::default();
        for (kind, value) in packet.attributes() {
            match kind {
                AttributeType::USER_NAME
                | AttributeType::ACCT_SESSION_ID
                | AttributeType::FRAMED_IP_ADDRESS
                | AttributeType::FRAMED_IPV6_ADDRESS
                | AttributeType::CALLED_STATION_ID
                | AttributeType::CALLING_STATION_ID
                | AttributeType::NAS_PORT
                | AttributeType::NAS_PORT_ID
                | AttributeType::NAS_IP_ADDRESS
                | AttributeType::NAS_IPV6_ADDRESS => wanted.claims.push((kind, value)),
                AttributeType::SESSION_TIMEOUT if packet.code() == Code::COA_REQUEST => {
                    let seconds = packet.number(kind).ok_or(ErrorCause::INVALID_ATTRIBUTE_VALUE)?;
                    wanted.lifetime = Some(Duration::from_secs(seconds.into()));
                }
                AttributeType::NAS_IDENTIFIER
                | AttributeType::MESSAGE_AUTHENTICATOR
                | AttributeType::EVENT_TIMESTAMP
                | AttributeType::PROXY_STATE
                | AttributeType::REPLY_MESSAGE
                | AttributeType::CLASS
                | AttributeType::ACCT_TERMINATE_CAUSE => {}
                other => {
                    info!(target: "cfg", "{other} in a RADIUS {} is not supported", packet.code());
                    return Err(ErrorCause::UNSUPPORTED_ATTRIBUTE);
                }
            }
        }
        let names_gateway = |kind: &AttributeType| {
            matches!(*kind, AttributeType::NAS_IP_ADDRESS | AttributeType::NAS_IPV6_ADDRESS)
        };
        let names_session = wanted.claims.iter().any(|(kind, _)| !names_gateway(kind));
        let says_what = packet.code() == Code::DISCONNECT_REQUEST || wanted.lifetime.is_some();
        if names_session && says_what { Ok(wanted) } else { Err(ErrorCause::MISSING_ATTRIBUTE) }
    }

    fn is(&self, sa: &IkeSaStatus, known: Option<&Known>, with_port: bool) -> bool {
        self.claims.iter().all(|(kind, value)| match *kind {
            AttributeType::USER_NAME => {
                let is_said = known.is_some_and(|known| known.user == *value);
                is_said || sa.peer().is_some_and(|peer| peer.to_string().as_bytes() == *value)
            }
            AttributeType::ACCT_SESSION_ID => known.is_some_and(|known| known.session.as_bytes() == *value),
            AttributeType::FRAMED_IP_ADDRESS | AttributeType::FRAMED_IPV6_ADDRESS => {
                sa.remote_vips.iter().any(|address| is_address(*address, value))
            }
            AttributeType::NAS_IP_ADDRESS | AttributeType::NAS_IPV6_ADDRESS => {
                is_address(sa.local.ip(), value)
            }
            AttributeType::CALLED_STATION_ID => station(sa.local, with_port).as_bytes() == *value,
            AttributeType::CALLING_STATION_ID => station(sa.remote, with_port).as_bytes() == *value,
            AttributeType::NAS_PORT => <[u8; 4]>::try_from(*value)
                .is_ok_and(|port| u64::from(u32::from_be_bytes(port)) == sa.id.0 & 0xffff_ffff),
            AttributeType::NAS_PORT_ID => {
                sa.connection.as_ref().is_some_and(|name| name.as_bytes() == *value)
            }
            _ => false, // nothing else is a claim
        })
    }
}

fn is_address(address: std::net::IpAddr, octets: &[u8]) -> bool {
    match address {
        std::net::IpAddr::V4(address) => address.octets() == *octets,
        std::net::IpAddr::V6(address) => address.octets() == *octets,
    }
}

/// RFC 5176 §6.3: a time that is said must be about now.
fn is_fresh(packet: &Packet<'_>) -> bool {
    let Some(said) = packet.number(AttributeType::EVENT_TIMESTAMP) else { return true };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.abs_diff(Duration::from_secs(said.into())) <= WINDOW
}

fn answer(packet: &Packet<'_>, refusal: Option<ErrorCause>) -> Draft {
    let is_disconnect = packet.code() == Code::DISCONNECT_REQUEST;
    let mut answer = Draft::new(match (is_disconnect, refusal) {
        (true, None) => Code::DISCONNECT_ACK,
        (true, Some(_)) => Code::DISCONNECT_NAK,
        (false, None) => Code::COA_ACK,
        (false, Some(_)) => Code::COA_NAK,
    });
    if let Some(cause) = refusal {
        answer.add_number(AttributeType::ERROR_CAUSE, cause.0);
    }
    // RFC 5176 §3.1: those on the way find back by these.
    for state in packet.all(AttributeType::PROXY_STATE) {
        answer.add(AttributeType::PROXY_STATE, state);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::super::attributes::Given;
    use super::*;
    use crate::control::tests::ike_sa;

    fn request(code: Code, attributes: &[(AttributeType, &[u8])]) -> Zeroizing<Vec<u8>> {
        let mut draft = Draft::new(code);
        for (kind, value) in attributes {
            draft.add(*kind, value);
        }
        draft.into_signed_request(1, b"secret").unwrap()
    }

    fn alice() -> (IkeSaStatus, Known) {
        let mut sa = ike_sa(7, "road", vec![]);
        sa.remote_vips = vec!["10.9.0.1".parse().unwrap(), "fd09::1".parse().unwrap()];
        let known = Known { session: "123-7".to_owned(), user: b"alice".to_vec(), given: Given::default() };
        (sa, known)
    }

    #[test]
    fn a_session_is_found_by_all_that_is_said_of_it() {
        let (sa, known) = alice();
        for (kind, right, wrong) in [
            (AttributeType::USER_NAME, &b"alice"[..], &b"alic"[..]),
            (AttributeType::ACCT_SESSION_ID, b"123-7", b"123-70"),
            (AttributeType::FRAMED_IP_ADDRESS, &[10, 9, 0, 1], &[10, 9, 0, 2]),
            (AttributeType::CALLING_STATION_ID, b"192.0.2.2[500]", b"192.0.2.2"),
            (AttributeType::CALLED_STATION_ID, b"192.0.2.1[500]", b"192.0.2.2[500]"),
            (AttributeType::NAS_PORT, &[0, 0, 0, 7], &[7]),
            (AttributeType::NAS_PORT_ID, b"road", b"roa"),
        ] {
            let is = |attributes: &[(AttributeType, &[u8])]| {
                let octets = request(Code::DISCONNECT_REQUEST, attributes);
                let packet = Packet::decode(&octets).unwrap();
                Wanted::of(&packet).unwrap().is(&sa, Some(&known), true)
            };
            assert!(is(&[(kind, right)]), "{kind}");
            assert!(!is(&[(kind, wrong)]), "{kind}");
            assert!(!is(&[(kind, right), (AttributeType::USER_NAME, b"bob")]), "{kind} of bob");
            let elsewhere = (AttributeType::NAS_IP_ADDRESS, &[192, 0, 2, 9][..]);
            assert!(!is(&[(kind, right), elsewhere]), "{kind} at another gateway");
        }
    }

    #[test]
    fn what_names_nobody_or_is_not_understood_is_refused() {
        let refusal = |code, attributes: &[(AttributeType, &[u8])]| {
            let octets = request(code, attributes);
            Wanted::of(&Packet::decode(&octets).unwrap()).err()
        };
        let alice = (AttributeType::USER_NAME, &b"alice"[..]);
        let (missing, unsupported) = (ErrorCause::MISSING_ATTRIBUTE, ErrorCause::UNSUPPORTED_ATTRIBUTE);
        let here = (AttributeType::NAS_IP_ADDRESS, &[192, 0, 2, 1][..]);
        assert_eq!(refusal(Code::DISCONNECT_REQUEST, &[]), Some(missing));
        assert_eq!(refusal(Code::DISCONNECT_REQUEST, &[here]), Some(missing));
        assert_eq!(refusal(Code::COA_REQUEST, &[alice]), Some(missing), "nothing is to change");
        let filter = (AttributeType::FILTER_ID, &b"x"[..]);
        assert_eq!(refusal(Code::DISCONNECT_REQUEST, &[alice, filter]), Some(unsupported));
        let timeout = (AttributeType::SESSION_TIMEOUT, &[0, 0, 1][..]);
        assert_eq!(refusal(Code::COA_REQUEST, &[alice, timeout]), Some(ErrorCause::INVALID_ATTRIBUTE_VALUE));
        assert_eq!(refusal(Code::DISCONNECT_REQUEST, &[alice, timeout]), Some(unsupported));
        assert_eq!(refusal(Code::DISCONNECT_REQUEST, &[alice, here]), None);
    }

    #[test]
    fn replayed_requests_are_of_another_time() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for (ago, is) in [(0, true), (200, true), (400, false)] {
            let at = u32::try_from(now - ago).unwrap().to_be_bytes();
            let octets = request(Code::DISCONNECT_REQUEST, &[(AttributeType::EVENT_TIMESTAMP, &at)]);
            assert_eq!(is_fresh(&Packet::decode(&octets).unwrap()), is, "{ago} s ago");
        }
    }

    #[test]
    fn answers_find_back_by_what_those_on_the_way_have_added() {
        let octets = request(
            Code::DISCONNECT_REQUEST,
            &[(AttributeType::PROXY_STATE, b"1"), (AttributeType::PROXY_STATE, b"2")],
        );
        let packet = Packet::decode(&octets).unwrap();
        for (refusal, code) in
            [(None, Code::DISCONNECT_ACK), (Some(ErrorCause::INVALID_REQUEST), Code::DISCONNECT_NAK)]
        {
            let octets = answer(&packet, refusal).into_response(&packet, b"secret").unwrap();
            let answer = Packet::decode(&octets).unwrap();
            authenticator::verify_response(&answer, packet.authenticator(), b"secret").unwrap();
            assert_eq!(answer.code(), code);
            assert_eq!(answer.all(AttributeType::PROXY_STATE).collect::<Vec<_>>(), [b"1", b"2"]);
            assert_eq!(answer.number(AttributeType::ERROR_CAUSE), refusal.map(|cause| cause.0));
        }
    }
}
