//! One port of one server: requests go out, are repeated, and meet their answers (RFC 2865 §2.5, RFC 5080 §2.2.1).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ferry_ike::crypto::CryptoProvider;
use ferry_radius::{Code, DecodeError, Draft, Forged, Packet, TooLarge, authenticator};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use crate::settings::RadiusServer;

/// Identifiers of a socket: so many requests can be out by it.
const IDENTIFIERS: usize = 256;

/// What a port is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    Authentication,
    Accounting,
}

/// Why there is no answer: a sentence without its subject.
#[derive(Debug, Error)]
pub(super) enum NoAnswer {
    #[error("does not answer, after {0} tries")]
    Silent(u32),
    #[error("has nobody listening there")]
    Refused,
    #[error("cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    #[error("cannot be asked: {0}")]
    TooLarge(#[from] TooLarge),
}

/// An answer that was verified, and the authenticator of its request, with which keys in it are hidden.
pub(super) struct Answer {
    octets: Zeroizing<Vec<u8>>,
    pub(super) request: [u8; 16],
}

impl Answer {
    pub(super) fn packet(&self) -> Option<Packet<'_>> {
        Packet::decode(&self.octets).ok() // as it was when it was verified
    }
}

/// A port of a server. Its sockets are opened when they are needed, and anew when the server has been silent: its name
/// may lead elsewhere then.
pub(super) struct Port {
    purpose: Purpose,
    port: u16,
    settings: RadiusServer,
    crypto: Arc<CryptoProvider>,
    open: tokio::sync::Mutex<Option<Arc<Sockets>>>,
}

impl Port {
    pub(super) fn new(purpose: Purpose, settings: &RadiusServer, crypto: Arc<CryptoProvider>) -> Self {
        let port = match purpose {
            Purpose::Authentication => settings.auth_port,
            Purpose::Accounting => settings.acct_port,
        };
        Self { purpose, port, settings: settings.clone(), crypto, open: tokio::sync::Mutex::default() }
    }

    /// Asks, again and again, until there is an answer or it has been asked often enough. `gives_way`: the news that
    /// nobody listens there are believed at once, since another server is there to be asked.
    pub(super) async fn ask(&self, draft: Draft, gives_way: bool) -> Result<Answer, NoAnswer> {
        let sockets = self.sockets().await?;
        let result = sockets.ask(self, draft, gives_way).await;
        if matches!(result, Err(NoAnswer::Silent(_) | NoAnswer::Refused | NoAnswer::Unreachable(_))) {
            self.open.lock().await.take_if(|open| Arc::ptr_eq(open, &sockets));
        }
        result
    }

    async fn sockets(&self) -> io::Result<Arc<Sockets>> {
        let mut open = self.open.lock().await;
        if let Some(sockets) = &*open {
            return Ok(Arc::clone(sockets));
        }
        let sockets = Arc::new(Sockets::open(self).await?);
        *open = Some(Arc::clone(&sockets));
        Ok(sockets)
    }
}

/// Sockets to one port of a server, connected: what comes from elsewhere does not arrive.
struct Sockets {
    all: Vec<Arc<Connected>>,
    /// As many as there are free identifiers.
    room: Semaphore,
    readers: Vec<JoinHandle<()>>,
}

struct Connected {
    socket: UdpSocket,
    waiting: Mutex<Waiting>,
    /// Counts the times that nobody was listening.
    refusals: watch::Sender<u64>,
}

#[derive(Default)]
struct Waiting {
    /// Identifiers in use, and what they stand for as long as it has no answer.
    by_identifier: HashMap<u8, Option<Expected>>,
    /// The identifier to use next: the longer one is not used again, the better.
    next: u8,
}

/// The request that an identifier stands for at the moment. What answers an earlier one with the same identifier does not
/// fit its authenticator.
struct Expected {
    request: [u8; 16],
    answer: oneshot::Sender<Zeroizing<Vec<u8>>>,
}

/// An identifier in use; free again when dropped.
struct Held<'a> {
    connected: &'a Connected,
    identifier: u8,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.connected.waiting().by_identifier.remove(&self.identifier);
    }
}

impl Sockets {
    async fn open(port: &Port) -> io::Result<Self> {
        let settings = &port.settings;
        let like =
            |address: &SocketAddr| settings.source.is_none_or(|source| source.is_ipv4() == address.is_ipv4());
        let mut found = tokio::net::lookup_host((settings.address.as_str(), port.port)).await?;
        let server = found.find(like).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", settings.address))
        })?;
        let any: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let (mut all, mut readers) = (Vec::new(), Vec::new());
        for _ in 0..settings.sockets {
            // A port of its own for each, chosen by the system.
            let socket = UdpSocket::bind((settings.source.unwrap_or(any), 0)).await?;
            socket.connect(server).await?;
            let connected =
                Arc::new(Connected { socket, waiting: Mutex::default(), refusals: watch::Sender::new(0) });
            let reader = Arc::clone(&connected);
            let (name, secret, purpose) = (settings.name.clone(), settings.secret.clone(), port.purpose);
            readers.push(tokio::spawn(async move { reader.read(&name, secret.octets(), purpose).await }));
            all.push(connected);
        }
        let room = Semaphore::new(IDENTIFIERS * all.len());
        Ok(Self { all, room, readers })
    }

    async fn ask(&self, port: &Port, draft: Draft, gives_way: bool) -> Result<Answer, NoAnswer> {
        let settings = &port.settings;
        // Never closed.
        let _room = self.room.acquire().await.map_err(|_| NoAnswer::Silent(0))?;
        let (held, answer) = self.take_identifier().ok_or(NoAnswer::Silent(0))?;
        let code = draft.code();
        let packet = match port.purpose {
            Purpose::Authentication => {
                let mut authenticator = [0; 16];
                port.crypto.random(&mut authenticator);
                draft.into_request(held.identifier, &authenticator, settings.secret.octets())?
            }
            Purpose::Accounting => draft.into_signed_request(held.identifier, settings.secret.octets())?,
        };
        let request = *Packet::decode(&packet).map_err(|_| NoAnswer::Silent(0))?.authenticator();
        held.connected.expect(held.identifier, request, answer.0);
        let mut refusals = held.connected.refusals.subscribe();
        let mut answer = answer.1;
        let mut was_refused = false;
        for sent in 0..settings.tries {
            if sent == 0 {
                debug!(target: "cfg", "sending RADIUS {code} to server '{}'", settings.name);
            } else {
                info!(target: "cfg", "retransmit {sent} of RADIUS {code} to server '{}'", settings.name);
            }
            match held.connected.socket.send(&packet).await {
                Ok(_) => {}
                // The news about an earlier one.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => was_refused = true,
                Err(error) if gives_way => return Err(error.into()),
                Err(error) => {
                    warn!(target: "cfg", "RADIUS server '{}' cannot be reached: {error}", settings.name)
                }
            }
            let mut wait = std::pin::pin!(tokio::time::sleep(settings.wait(sent)));
            loop {
                if was_refused && gives_way {
                    return Err(NoAnswer::Refused);
                }
                tokio::select! {
                    octets = &mut answer => match octets {
                        Ok(octets) => return Ok(Answer { octets, request }),
                        Err(_) => return Err(NoAnswer::Silent(sent + 1)),
                    },
                    () = &mut wait => break,
                    Ok(()) = refusals.changed() => was_refused = true,
                }
            }
        }
        Err(if was_refused { NoAnswer::Refused } else { NoAnswer::Silent(settings.tries) })
    }

    /// One that nobody uses: the socket with the fewest requests has it.
    fn take_identifier(&self) -> Option<(Held<'_>, Channel)> {
        let mut all: Vec<&Arc<Connected>> = self.all.iter().collect();
        all.sort_by_key(|connected| connected.waiting().by_identifier.len());
        all.into_iter().find_map(|connected| {
            let channel = oneshot::channel();
            let identifier = connected.waiting().reserve()?;
            Some((Held { connected, identifier }, channel))
        })
    }
}

type Channel = (oneshot::Sender<Zeroizing<Vec<u8>>>, oneshot::Receiver<Zeroizing<Vec<u8>>>);

impl Drop for Sockets {
    fn drop(&mut self) {
        self.readers.iter().for_each(JoinHandle::abort);
    }
}

impl Waiting {
    /// Sets the next free identifier aside.
    fn reserve(&mut self) -> Option<u8> {
        for _ in 0..IDENTIFIERS {
            let identifier = self.next;
            self.next = self.next.wrapping_add(1);
            if let std::collections::hash_map::Entry::Vacant(place) = self.by_identifier.entry(identifier) {
                place.insert(None);
                return Some(identifier);
            }
        }
        None
    }
}

impl Waiting {
    /// Takes a datagram of the server. What is not the genuine answer to what is asked changes nothing, and the genuine
    /// one may still come.
    fn take(&mut self, datagram: &[u8], secret: &[u8], purpose: Purpose) -> Result<(), Ignored> {
        let packet = Packet::decode(datagram)?;
        let (code, identifier) = (packet.code(), packet.identifier());
        let expected = self.by_identifier.get_mut(&identifier).and_then(Option::take);
        let Some(expected) = expected else { return Err(Ignored::NotAsked(code)) };
        if let Err(why) = verify(&packet, &expected.request, secret, purpose) {
            self.by_identifier.insert(identifier, Some(expected));
            return Err(Ignored::Forged(code, why));
        }
        debug!(target: "cfg", "received RADIUS {code}");
        // Who has asked may have gone; then the identifier goes with it.
        let _ = expected.answer.send(Zeroizing::new(packet.octets().to_vec()));
        Ok(())
    }
}

/// Why a datagram changes nothing.
#[derive(Debug, Error, PartialEq, Eq)]
enum Ignored {
    #[error("what is no packet: {0}")]
    NoPacket(#[from] DecodeError),
    #[error("a RADIUS {0}: nothing is asked")]
    NotAsked(Code),
    #[error("a RADIUS {0}: {1}")]
    Forged(Code, Forged),
}

impl Ignored {
    fn tell(&self, server: &str) {
        match self {
            // The operator must act: the server is too old, or set so.
            Self::Forged(_, Forged::Unprotected) => {
                warn!(target: "cfg", "ignoring from RADIUS server '{server}' {self}")
            }
            Self::Forged(..) => info!(target: "cfg", "ignoring from RADIUS server '{server}' {self}"),
            Self::NoPacket(_) | Self::NotAsked(_) => {
                debug!(target: "cfg", "ignoring from RADIUS server '{server}' {self}")
            }
        }
    }
}

impl Connected {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, identifier: u8, request: [u8; 16], answer: oneshot::Sender<Zeroizing<Vec<u8>>>) {
        self.waiting().by_identifier.insert(identifier, Some(Expected { request, answer }));
    }

    /// Reads answers. Ended with its sockets; what is lost then nobody waits for.
    async fn read(&self, name: &str, secret: &[u8], purpose: Purpose) {
        let mut buffer = Zeroizing::new(vec![0; ferry_radius::packet::MAX_LEN + 1]);
        loop {
            match self.socket.recv(&mut buffer).await {
                Ok(length) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    if let Err(why) = self.waiting().take(datagram, secret, purpose) {
                        why.tell(name);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.refusals.send_modify(|count| *count += 1);
                }
                Err(error) => {
                    debug!(target: "cfg", "receiving from RADIUS server '{name}' failed: {error}");
                    // No error of a connected socket lasts; a loop without a pause must not either.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn verify(packet: &Packet<'_>, request: &[u8; 16], secret: &[u8], purpose: Purpose) -> Result<(), Forged> {
    match (purpose, packet.code()) {
        (Purpose::Authentication, Code::ACCESS_ACCEPT | Code::ACCESS_REJECT | Code::ACCESS_CHALLENGE) => {
            authenticator::verify_access_response(packet, request, secret)
        }
        (Purpose::Accounting, Code::ACCOUNTING_RESPONSE) => {
            authenticator::verify_response(packet, request, secret)
        }
        (Purpose::Authentication | Purpose::Accounting, _) => Err(Forged::Authenticator),
    }
}

#[cfg(test)]
mod tests {
    use ferry_radius::AttributeType;

    use super::*;

    const SECRET: &[u8] = b"secret";

    type Receiver = oneshot::Receiver<Zeroizing<Vec<u8>>>;

    /// A request is out; its octets, and where its answer goes.
    fn ask(waiting: &mut Waiting, seed: u8) -> (u8, Vec<u8>, Receiver) {
        let identifier = waiting.reserve().unwrap();
        let mut draft = Draft::new(Code::ACCESS_REQUEST);
        draft.add(AttributeType::USER_NAME, b"alice");
        let request = draft.into_request(identifier, &[seed; 16], SECRET).unwrap().to_vec();
        let (answer, receiver) = oneshot::channel();
        waiting.by_identifier.insert(identifier, Some(Expected { request: [seed; 16], answer }));
        (identifier, request, receiver)
    }

    fn answer(request: &[u8], code: Code, secret: &[u8]) -> Vec<u8> {
        Draft::new(code).into_response(&Packet::decode(request).unwrap(), secret).unwrap().to_vec()
    }

    fn take(waiting: &mut Waiting, datagram: &[u8]) -> Result<(), Ignored> {
        waiting.take(datagram, SECRET, Purpose::Authentication)
    }

    #[test]
    fn the_genuine_answer_is_taken_once() {
        let mut waiting = Waiting::default();
        let (_, request, mut receiver) = ask(&mut waiting, 1);
        let genuine = answer(&request, Code::ACCESS_REJECT, SECRET);
        assert_eq!(take(&mut waiting, &genuine), Ok(()));
        assert_eq!(*receiver.try_recv().unwrap(), genuine);
        assert_eq!(take(&mut waiting, &genuine), Err(Ignored::NotAsked(Code::ACCESS_REJECT)));
    }

    #[test]
    fn what_is_forged_does_not_keep_the_genuine_answer_out() {
        let mut waiting = Waiting::default();
        let (_, request, mut receiver) = ask(&mut waiting, 1);
        for forged in [
            answer(&request, Code::ACCESS_ACCEPT, b"another"),
            answer(&request, Code::ACCOUNTING_RESPONSE, SECRET),
            answer(&request, Code::ACCESS_REQUEST, SECRET),
        ] {
            assert!(matches!(take(&mut waiting, &forged), Err(Ignored::Forged(..))));
        }
        assert!(matches!(take(&mut waiting, b"nonsense"), Err(Ignored::NoPacket(_))));
        assert!(receiver.try_recv().is_err());
        assert_eq!(take(&mut waiting, &answer(&request, Code::ACCESS_CHALLENGE, SECRET)), Ok(()));
        assert!(receiver.try_recv().is_ok());
    }

    /// Identifiers come again; what answers the request that had one before does not fit the one that has it now.
    #[test]
    fn a_late_answer_does_not_fit_the_next_request_with_its_identifier() {
        let mut waiting = Waiting::default();
        let (identifier, earlier, _) = ask(&mut waiting, 1);
        waiting.by_identifier.remove(&identifier);
        waiting.next = identifier;
        let (again, _, mut receiver) = ask(&mut waiting, 2);
        assert_eq!(again, identifier);
        let late = answer(&earlier, Code::ACCESS_ACCEPT, SECRET);
        let verdict = take(&mut waiting, &late);
        assert_eq!(verdict, Err(Ignored::Forged(Code::ACCESS_ACCEPT, Forged::Authenticator)));
        assert!(receiver.try_recv().is_err());
    }

    #[test]
    fn no_identifier_is_given_twice_at_a_time() {
        let mut waiting = Waiting::default();
        let mut all: Vec<u8> = (0..IDENTIFIERS).map(|_| waiting.reserve().unwrap()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), waiting.reserve()), (IDENTIFIERS, None));
        waiting.by_identifier.remove(&77);
        assert_eq!(waiting.reserve(), Some(77));
    }
}
