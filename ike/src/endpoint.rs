//! The endpoint: four doors in, two ways out.

#[cfg(feature = "sim")]
use std::collections::BTreeMap;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ring::digest;
use tracing::{debug, info, info_span};

use crate::attempt::Attempt;
use crate::command::{Command, CommandError};
use crate::config::{AddressPattern, Connection, EndpointConfig, IkeSaTotal, Unique};
use crate::context::{Cx, House, draw_ike_spi};
use crate::cookie::{Admission, CookieJar, HalfOpen};
use crate::crypto::{CryptoProvider, Role};
use crate::natt::{self, Encapsulated};
use crate::output::{Action, ActionId, ChildSaId, Event, IkeSaId, Outcome, Output, Path, RequestId};
use crate::sa::{self, Cleartext, Core, IkeSa, State, Wanted};
use crate::status::{Counters, IkeSaStatus};
use crate::unknown_spi::{self, Allowance, Hint};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::header::Header;
use crate::wire::registry::{ExchangeType, IkeSpi, MessageId, NotifyType};
use crate::wire::{self, PayloadWriter};

/// A set of IKE SAs and everything that happens to them.
///
/// Inputs do all the work; outputs are drained afterwards until there are none. `now` never goes backwards.
/// The same configuration, randomness and inputs give the same outputs.
pub struct Endpoint {
    house: House,
    /// By the SPI we chose.
    sas: HashMap<IkeSpi, Held>,
    by_id: HashMap<IkeSaId, IkeSpi>,
    /// IKE SAs that peers opened, by the message that did it (RFC 7296 §2.1): two peers behind a NAT may choose
    /// the same SPI.
    by_first_message: HashMap<FirstMessage, IkeSpi>,
    deadlines: BTreeSet<(Instant, IkeSpi)>,
    /// Established IKE SAs by the name of their connection.
    standing: HashMap<String, usize>,
    /// Made with the first request of a stranger, as is the next.
    cookies: Option<CookieJar>,
    half_open: HalfOpen,
    /// IKE SAs of all endpoints.
    total: Arc<IkeSaTotal>,
    /// Notices to whoever sends to SPIs that we do not have.
    notices: Allowance,
    /// Refused peers that may still ask for their answer again.
    refused: usize,
    /// Who waits for all SAs to go.
    shutdown: Option<RequestId>,
    is_going_down: bool,
}

/// The most refused peers whose answer is kept. Making one costs a stranger a key exchange and nothing else, and the
/// limits on what is half open do not count it any more.
const MOST_REFUSED: usize = 256;

struct Held {
    sa: IkeSa,
    /// Its entry in `deadlines`.
    deadline: Option<Instant>,
    /// What it counts for among the half-open SAs.
    half_open_from: Option<IpAddr>,
    /// Its entry in `by_first_message`.
    opened_by: Option<FirstMessage>,
    /// It counts among `standing`.
    stands: bool,
    /// It counts among `refused`.
    is_refused: bool,
    /// It counts in the total of all endpoints.
    counts: bool,
}

/// An IKE_SA_INIT request, known again by its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct FirstMessage([u8; 32]);

impl FirstMessage {
    fn new(octets: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, octets);
        let mut first_message = Self([0; 32]);
        first_message.0.iter_mut().zip(hash.as_ref()).for_each(|(octet, hashed)| *octet = *hashed);
        first_message
    }
}

impl Endpoint {
    /// An endpoint without SAs.
    #[must_use]
    pub fn new(config: EndpointConfig, crypto: Arc<CryptoProvider>) -> Self {
        let mut key = [0; 16];
        crypto.random(&mut key);
        let half_open = HalfOpen::new(config.settings.half_open, key, config.half_open.clone());
        let total = config.ike_sas.clone();
        Self {
            house: House::new(config, crypto),
            sas: HashMap::new(),
            by_id: HashMap::new(),
            by_first_message: HashMap::new(),
            deadlines: BTreeSet::new(),
            standing: HashMap::new(),
            cookies: None,
            half_open,
            total,
            notices: Allowance::default(),
            refused: 0,
            shutdown: None,
            is_going_down: false,
        }
    }

    /// Takes a UDP payload as it came in, non-ESP marker and all.
    pub fn handle_datagram(&mut self, datagram: &[u8], path: Path, now: Instant) {
        let octets = if path.local.port() == self.house.ports.nat_t {
            match natt::classify(datagram) {
                Encapsulated::Ike(message) => message,
                Encapsulated::Keepalive => return,
                Encapsulated::Esp(_) => {
                    debug!(target: "net", "ESP packet from {} is not for IKE", path.remote);
                    return;
                }
                Encapsulated::Malformed => {
                    self.house.counters.invalid += 1;
                    return;
                }
            }
        } else {
            datagram
        };
        if octets.len() > self.house.settings.max_datagram {
            self.house.counters.invalid += 1;
            return;
        }
        let message = match wire::decode(octets) {
            Ok(message) => message,
            Err(error) => {
                self.house.counters.invalid += 1;
                debug!(target: "enc", "ignoring a datagram from {}: {error}", path.remote);
                self.answer_undecodable(octets, &error, path, now);
                return;
            }
        };
        let cleartext = Cleartext { message, path };
        let header = &cleartext.message.header;
        let is_first = header.exchange == ExchangeType::IKE_SA_INIT && header.spi_r.is_zero();
        if is_first && header.flags.initiator && !header.flags.response {
            self.handle_first_message(&cleartext, now);
            return;
        }
        // It has no SPIs that mean anything (RFC 7296 §1.5).
        if Hint::of(&cleartext.message) == Some(Hint::Child) {
            self.follow_hint(path, now);
            return;
        }
        // The flag says which of the two SPIs the sender chose; the other is ours.
        let own_spi = if header.flags.initiator { header.spi_r } else { header.spi_i };
        if self.sas.contains_key(&own_spi) {
            self.with_sa(own_spi, now, |sa, cx| sa.handle_message(&cleartext, cx));
        } else {
            self.house.counters.invalid_spi += 1;
            debug!(target: "net", "received a message from {} for unknown IKE_SA {own_spi}, ignored", path.remote);
            if self.house.settings.unknown_spi_notices
                && let Some(notice) = unknown_spi::notice(&cleartext.message)
                && self.notices.take(now)
            {
                debug!(target: "net", "sending INVALID_IKE_SPI notify to {}", path.remote);
                self.house.cx(now).transmit(path, &notice);
            }
        }
    }

    /// Does what is due. Early or repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, spi)) = self.deadlines.first() {
            if at > now {
                return;
            }
            self.deadlines.pop_first();
            if let Some(held) = self.sas.get_mut(&spi) {
                held.deadline = None;
            }
            self.with_sa(spi, now, IkeSa::handle_timeout);
        }
    }

    /// Takes an order.
    ///
    /// # Errors
    ///
    /// Says why the order is refused; nothing was changed then, and nothing follows.
    pub fn handle_command(&mut self, command: Command, now: Instant) -> Result<(), CommandError> {
        match command {
            Command::Configure(configuration) => self.house.configuration = configuration,
            Command::Initiate { request, connection, child, trigger, path } => {
                if self.is_going_down {
                    return Err(CommandError::ShuttingDown);
                }
                if let Some(child) = child.as_ref().filter(|child| child.mode().is_none()) {
                    return Err(CommandError::NoSa(child.name.clone()));
                }
                let wanted = child.map(|child| Wanted::new(child, trigger, Some(request)));
                self.initiate(request, connection, wanted, path, now);
            }
            Command::RekeyIkeSa { request, ike_sa } => {
                let spi = *self.by_id.get(&ike_sa).ok_or(CommandError::NoSuchIkeSa(ike_sa))?;
                self.with_sa(spi, now, |sa, cx| sa.rekey(request, cx));
            }
            Command::ReauthenticateIkeSa { request, ike_sa } => {
                let spi = *self.by_id.get(&ike_sa).ok_or(CommandError::NoSuchIkeSa(ike_sa))?;
                self.with_sa(spi, now, |sa, cx| sa.reauthenticate(request, cx));
            }
            Command::RekeyChildSa { request, child_sa } => {
                let spi = self.spi_of_child(child_sa).ok_or(CommandError::NoSuchChildSa(child_sa))?;
                self.with_sa(spi, now, |sa, cx| sa.rekey_child(child_sa, request, cx));
            }
            Command::Redirect { request, ike_sa, gateway } => {
                let spi = *self.by_id.get(&ike_sa).ok_or(CommandError::NoSuchIkeSa(ike_sa))?;
                self.with_sa(spi, now, |sa, cx| sa.redirect(gateway, request, cx));
            }
            Command::LimitSession { ike_sa, lifetime } => {
                let spi = *self.by_id.get(&ike_sa).ok_or(CommandError::NoSuchIkeSa(ike_sa))?;
                self.with_sa(spi, now, |sa, cx| sa.limit_session(lifetime, cx));
            }
            Command::TerminateIkeSa { request, ike_sa, force } => {
                let spi = *self.by_id.get(&ike_sa).ok_or(CommandError::NoSuchIkeSa(ike_sa))?;
                self.with_sa(spi, now, |sa, cx| sa.terminate(request, force, cx));
            }
            Command::TerminateChildSa { request, child_sa } => {
                let spi = self.spi_of_child(child_sa).ok_or(CommandError::NoSuchChildSa(child_sa))?;
                self.with_sa(spi, now, |sa, cx| sa.terminate_child(child_sa, request, cx));
            }
            Command::MappingChanged { child_sa, remote } => {
                let spi = self.spi_of_child(child_sa).ok_or(CommandError::NoSuchChildSa(child_sa))?;
                self.with_sa(spi, now, |sa, cx| sa.mapping_changed(remote, cx));
            }
            Command::NetworkChanged { addresses } => {
                self.house.addresses = addresses;
                for spi in self.spis_by_age() {
                    self.with_sa(spi, now, IkeSa::network_changed);
                }
            }
            Command::FirstReceived { child_sa } => {
                let spi = self.spi_of_child(child_sa).ok_or(CommandError::NoSuchChildSa(child_sa))?;
                self.with_sa(spi, now, |sa, cx| sa.first_received(child_sa, cx));
            }
            Command::ChildSaExhausted { child_sa } => {
                let spi = self.spi_of_child(child_sa).ok_or(CommandError::NoSuchChildSa(child_sa))?;
                self.with_sa(spi, now, |sa, cx| sa.child_exhausted(child_sa, cx));
            }
            Command::Shutdown { request } => {
                self.shutdown = Some(request);
                self.is_going_down = true;
                for spi in self.spis_by_age() {
                    self.with_sa(spi, now, IkeSa::shut_down);
                }
                self.finish_shutdown();
            }
        }
        Ok(())
    }

    /// Takes what came of an action. An outcome that nobody waits for any more is undone.
    pub fn handle_outcome(&mut self, id: ActionId, outcome: Outcome, now: Instant) {
        let Some(waiting) = self.house.outputs.settle(id) else { return };
        match self.by_id.get(&waiting.asker) {
            Some(&spi) => self.with_sa(spi, now, |sa, cx| sa.handle_outcome(id, outcome, cx)),
            None => {
                if let (Some(undo), Outcome::Lease(lease)) = (waiting.undo, outcome)
                    && !lease.addresses.is_empty()
                {
                    let (pools, identity) = (undo.pools, undo.identity);
                    let addresses = lease.addresses;
                    self.house
                        .outputs
                        .ask(waiting.asker, Action::ReleaseLease { pools, identity, addresses });
                }
            }
        }
    }

    /// The next thing that leaves, in order; `None` when all is drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.house.outputs.pop()
    }

    /// When [`Self::handle_timeout`] is to be called next, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// All IKE SAs, oldest first.
    #[must_use]
    pub fn ike_sas(&self) -> Vec<IkeSaStatus> {
        let mut sas: Vec<_> = self.sas.values().filter_map(|held| held.sa.listing()).collect();
        sas.sort_unstable_by_key(|status| status.id);
        sas
    }

    /// What was counted since the beginning.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.house.counters
    }

    /// IKE SAs that are not established yet, in both roles.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.sas.values().filter(|held| held.sa.is_half_open()).count()
    }

    fn initiate(
        &mut self,
        request: RequestId,
        connection: Arc<Connection>,
        wanted: Option<Wanted>,
        path: Path,
        now: Instant,
    ) {
        if self.house.settings.reuse_ike_sa
            && let Some(spi) = self.to_the_same_peer(&connection, wanted.is_some(), path)
        {
            self.with_sa(spi, now, |sa, cx| sa.reuse(wanted, request, cx));
            return;
        }
        let id = IkeSaId(self.house.unique_ids.ike_sa());
        let spi_i = self.fresh_spi();
        let mut core = Core::new(id, Role::Initiator, spi_i, IkeSpi::ZERO, path, now);
        core.requests.push(request);
        core.connection = Some(connection.clone());
        self.insert(IkeSa { core, state: State::Gone }, None);
        self.with_sa(spi_i, now, |sa, cx| sa.initiate(connection, wanted, cx));
    }

    /// The oldest IKE SA of a connection with the same peer that stands, or comes to stand.
    fn to_the_same_peer(&self, connection: &Connection, for_child: bool, path: Path) -> Option<IkeSpi> {
        let is_for_one = matches!(connection.remote_addrs.as_slice(), [AddressPattern::Host(_)]);
        let is_for_many = connection.remote_addrs.iter().any(AddressPattern::is_of_many);
        self.sas
            .iter()
            .filter(|(_, held)| {
                let core = &held.sa.core;
                held.sa.is_reusable(for_child)
                    // Where we move with the peer, or it has moved, it may be elsewhere than the connection says.
                    && (core.path.remote.ip() == path.remote.ip()
                        || is_for_one
                        || (!is_for_many && held.sa.decides_addresses()))
                    // One that was made by other settings is not what is asked for.
                    && core.connection.as_ref().is_some_and(|ours| {
                        ours.name == connection.name && ours.is_same_but_for_children(connection)
                    })
            })
            .min_by_key(|(_, held)| held.sa.core.id)
            .map(|(spi, _)| *spi)
    }

    /// IKE_SA_INIT from a stranger: nothing is kept before it is admitted (RFC 7296 §2.6).
    fn handle_first_message(&mut self, cleartext: &Cleartext<'_>, now: Instant) {
        let header = &cleartext.message.header;
        let source = cleartext.path.remote;
        // RFC 7296 §2.2, §3.1.
        if header.spi_i.is_zero() || header.message_id != MessageId(0) {
            self.house.counters.invalid += 1;
            return;
        }
        if self.sas.get(&header.spi_i).is_some_and(|held| held.sa.core.role == Role::Initiator) {
            // Our own request: without this, whoever sends our messages back could make us talk to ourselves.
            self.house.counters.invalid += 1;
            debug!(target: "net", "ignoring IKE_SA_INIT from {source}: it is our own, reflected");
            return;
        }
        let first_message = FirstMessage::new(cleartext.message.octets);
        if let Some(spi) = self.by_first_message.get(&first_message).copied() {
            self.with_sa(spi, now, |sa, cx| sa.repeat_init_answer(cleartext.path, cx));
            return;
        }
        if self.house.settings.initiator_only || self.is_going_down {
            return;
        }
        if let Err(error) = wire::rules::check(header.exchange, false, &cleartext.message.payloads) {
            self.house.counters.invalid += 1;
            debug!(target: "enc", "ignoring IKE_SA_INIT from {source}: {error}");
            return;
        }
        self.house.counters.ike_sa_init.requests_in += 1;
        if !self.admit(cleartext, now) {
            return;
        }
        if self.house.settings.ike_sa_limit.is_some_and(|limit| self.total.get() >= limit) {
            self.house.counters.dropped_half_open += 1;
            debug!(target: "net", "ignoring IKE_SA_INIT from {source}: charon.ikesa_limit is reached");
            return;
        }
        let id = IkeSaId(self.house.unique_ids.ike_sa());
        let span = info_span!("ike_sa", conn = "(unnamed)", id = id.0);
        let _entered = span.enter();
        info!(target: "ike", "{} is initiating an IKE_SA", source.ip());
        let spi_r = self.fresh_spi();
        let mut cx = self.house.cx(now);
        match sa::answer_init(id, spi_r, cleartext, &mut cx) {
            Ok((core, state)) => {
                self.insert(IkeSa { core, state }, Some(first_message));
                self.with_sa(spi_r, now, |_, _| {});
            }
            Err(failure) => {
                if let Some(cause) = failure.cause() {
                    cx.counters.handshakes.fail(cause);
                }
                cx.tell_attempt(Attempt::at(id, Role::Responder, cleartext.path, &failure));
                info!(target: "ike", "IKE_SA_INIT of {source} refused: {failure}");
                if let Some((kind, data)) = failure.notify() {
                    sa::reject_init(cleartext, kind, &data, &mut cx);
                }
            }
        }
    }

    /// Somebody at that address says that it does not know our packets (RFC 7296 §2.21.4).
    fn follow_hint(&mut self, path: Path, now: Instant) {
        let concerned = self.sas.iter().filter(|(_, held)| held.sa.core.path.remote.ip() == path.remote.ip());
        let mut concerned: Vec<_> = concerned.map(|(spi, held)| (held.sa.core.id, *spi)).collect();
        concerned.sort_unstable_by_key(|(id, _)| *id);
        for (_, spi) in concerned {
            self.with_sa(spi, now, IkeSa::take_hint);
        }
    }

    /// Whether a stranger is heard, or must show first that it receives at its address.
    fn admit(&mut self, cleartext: &Cleartext<'_>, now: Instant) -> bool {
        let source = cleartext.path.remote.ip();
        let spi_i = cleartext.message.header.spi_i;
        let payloads = &cleartext.message.payloads;
        let nonce = payloads.nonce().unwrap_or_default();
        let crypto = &self.house.crypto;
        let draw = || {
            let mut secret = [0; crate::cookie::SECRET_LEN];
            crypto.random(&mut secret);
            secret
        };
        let jar = self.cookies.get_or_insert_with(|| CookieJar::new(draw(), now));
        let has_cookie = payloads
            .notify(NotifyType::COOKIE)
            .is_some_and(|cookie| jar.accepts(cookie.data, nonce, source, spi_i, now));
        match self.half_open.decide(source, has_cookie, now) {
            Admission::Accept => true,
            Admission::DemandCookie => {
                let cookie = jar.bake(nonce, source, spi_i, now, draw);
                self.house.counters.cookies_demanded += 1;
                debug!(target: "net", "sending COOKIE notify to {source}");
                let mut cx = self.house.cx(now);
                sa::reject_init(cleartext, NotifyType::COOKIE, &cookie, &mut cx);
                false
            }
            Admission::Drop(reason) => {
                self.house.counters.dropped_half_open += 1;
                debug!(target: "net", "ignoring IKE_SA_INIT from {source}: {reason:?}");
                false
            }
        }
    }

    /// Most of what does not parse is met with silence, as RFC 7296 §2.21.1 allows. Two things a stranger is told.
    fn answer_undecodable(&mut self, octets: &[u8], error: &DecodeError, path: Path, now: Instant) {
        let mut reader = Reader::new(wire::codec::Part::Header, octets);
        let Ok(header) = Header::read(&mut reader) else { return };
        let is_first =
            header.exchange == ExchangeType::IKE_SA_INIT && header.spi_r.is_zero() && header.flags.initiator;
        let (kind, data) = match error {
            _ if header.flags.response => return,
            // RFC 7296 §2.5: who speaks a later version is told ours.
            DecodeError::UnsupportedMajorVersion(3..) => (NotifyType::INVALID_MAJOR_VERSION, vec![]),
            // The same section: who insists on a payload is told that it is not understood.
            DecodeError::UnsupportedCriticalPayload(kind) if is_first => {
                (NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![kind.0])
            }
            _ => return,
        };
        let mut reply = PayloadWriter::new();
        reply.notify(kind, &data);
        let message = wire::build(unknown_spi::answer_to(&header), &reply);
        let mut cx = self.house.cx(now);
        cx.transmit(path, &message);
    }

    fn fresh_spi(&self) -> IkeSpi {
        loop {
            let spi = draw_ike_spi(&self.house.crypto, self.house.spi_prefix);
            if !self.sas.contains_key(&spi) {
                return spi;
            }
        }
    }

    fn insert(&mut self, sa: IkeSa, opened_by: Option<FirstMessage>) {
        let spi = sa.core.own_spi();
        if let Some(first_message) = opened_by {
            self.by_first_message.insert(first_message, spi);
        }
        self.by_id.insert(sa.core.id, spi);
        self.sas.insert(
            spi,
            Held {
                sa,
                deadline: None,
                half_open_from: None,
                opened_by,
                stands: false,
                counts: false,
                is_refused: false,
            },
        );
    }

    fn spis_by_age(&self) -> Vec<IkeSpi> {
        let mut spis: Vec<_> = self.by_id.iter().map(|(id, spi)| (*id, *spi)).collect();
        spis.sort_unstable_by_key(|(id, _)| *id);
        spis.into_iter().map(|(_, spi)| spi).collect()
    }

    fn spi_of_child(&self, child_sa: ChildSaId) -> Option<IkeSpi> {
        self.sas.iter().find(|(_, held)| held.sa.has_child(child_sa)).map(|(spi, _)| *spi)
    }

    /// Lends an SA everything it needs for one input, and then puts the endpoint's books in order.
    fn with_sa(&mut self, spi: IkeSpi, now: Instant, input: impl FnOnce(&mut IkeSa, &mut Cx<'_>)) {
        let Some(held) = self.sas.get_mut(&spi) else { return };
        let span = info_span!("ike_sa", conn = held.sa.core.name(), id = held.sa.core.id.0);
        let _entered = span.enter();
        let mut cx = self.house.cx(now);
        // RFC 7296 §2.4: what INITIAL_CONTACT says, as far as we know.
        cx.is_first_contact = held.sa.core.connection.as_ref().is_some_and(|connection| {
            connection.unique != Unique::Never && !self.standing.contains_key(&connection.name)
        });
        cx.dscp = held.sa.core.connection.as_ref().map_or(0, |connection| connection.dscp);
        input(&mut held.sa, &mut cx);
        self.keep_books(spi, now);
        for sa in std::mem::take(&mut self.house.born) {
            let spi = sa.core.own_spi();
            self.insert(sa, None);
            self.with_sa(spi, now, IkeSa::work);
        }
        self.forward(now);
        self.pass_words_on(now);
    }

    /// Passes on what IKE SAs have heard for those that took their place.
    fn forward(&mut self, now: Instant) {
        for (spi, whereabouts) in std::mem::take(&mut self.house.forwarded) {
            self.with_sa(spi, now, |sa, cx| sa.peer_is_at(whereabouts, cx));
        }
    }

    /// What IKE SAs had to say to each other.
    fn pass_words_on(&mut self, now: Instant) {
        for (listener, word) in std::mem::take(&mut self.house.words) {
            match self.by_id.get(&listener) {
                Some(&spi) => self.with_sa(spi, now, |sa, cx| sa.hear(word, cx)),
                None => word.unheard(&mut self.house.cx(now)),
            }
        }
    }

    fn keep_books(&mut self, spi: IkeSpi, now: Instant) {
        let Some(mut held) = self.sas.remove(&spi) else { return };
        let is_refused = held.sa.is_refused();
        if is_refused && !held.is_refused && self.refused >= MOST_REFUSED {
            held.sa.forget();
        }
        let is_gone = held.sa.is_gone();
        match (held.is_refused, is_refused && !is_gone) {
            (false, true) => self.refused += 1,
            (true, false) => self.refused = self.refused.saturating_sub(1),
            (false, false) | (true, true) => {}
        }
        held.is_refused = is_refused && !is_gone;
        // Half open or not any more. What we open ourselves says nothing about strangers.
        let is_half_open = held.sa.is_half_open() && held.sa.core.role == Role::Responder;
        match held.half_open_from {
            None if is_half_open => {
                let source = held.sa.core.path.remote.ip();
                held.half_open_from = Some(source);
                self.half_open.opened(source, now);
            }
            Some(source) if !is_half_open => {
                held.half_open_from = None;
                self.half_open.closed(source, now);
            }
            _ => {}
        }
        let stands = held.sa.stands();
        if stands != held.stands {
            held.stands = stands;
            self.count_standing(held.sa.core.name(), stands);
        }
        let counts = stands || held.sa.is_half_open();
        if counts != held.counts {
            held.counts = counts;
            if counts { self.total.increase() } else { self.total.decrease() }
        }
        // The next deadline.
        let deadline = if is_gone { None } else { held.sa.core.timers.earliest() };
        let own_spi = held.sa.core.own_spi(); // a fresh attempt has a fresh one
        if deadline != held.deadline || own_spi != spi {
            if let Some(at) = held.deadline {
                self.deadlines.remove(&(at, spi));
            }
            if let Some(at) = deadline {
                self.deadlines.insert((at, own_spi));
            }
            held.deadline = deadline;
        }
        if is_gone {
            if let Some(first_message) = held.opened_by {
                self.by_first_message.remove(&first_message);
            }
            self.by_id.remove(&held.sa.core.id);
        } else {
            self.by_id.insert(held.sa.core.id, own_spi);
            self.sas.insert(own_spi, held);
        }
        self.finish_shutdown();
    }

    fn count_standing(&mut self, connection: &str, stands: bool) {
        if stands {
            *self.standing.entry(connection.to_owned()).or_default() += 1;
        } else if let Some(count) = self.standing.get_mut(connection) {
            *count -= 1;
            if *count == 0 {
                self.standing.remove(connection);
            }
        }
    }

    fn finish_shutdown(&mut self) {
        if self.shutdown.is_none() {
            return;
        }
        let is_empty = self.sas.values().all(|held| held.sa.is_over());
        if is_empty && let Some(request) = self.shutdown.take() {
            self.house.outputs.tell(Event::Completed { request, result: Ok(()) });
        }
    }
}

#[cfg(feature = "sim")]
impl Endpoint {
    /// How many there are of everything that is kept: what should not grow with time.
    #[must_use]
    pub fn kept(&self) -> BTreeMap<&'static str, usize> {
        let mut kept = BTreeMap::from([
            ("IKE_SAs", self.sas.len()),
            ("IKE_SAs by number", self.by_id.len()),
            ("IKE_SAs by first message", self.by_first_message.len()),
            ("deadlines", self.deadlines.len()),
            ("connections with IKE_SAs", self.standing.len()),
            ("actions without outcome", self.house.outputs.count_waiting()),
            ("IKE_SAs to be taken in", self.house.born.len()),
        ]);
        for held in self.sas.values() {
            held.sa.count_kept(&mut |what, count| *kept.entry(what).or_default() += count);
        }
        kept
    }

    /// Opens a message that is addressed to one of our SAs, for a transcript. Nothing is changed by it.
    pub(crate) fn overhear<T>(
        &self,
        spi: IkeSpi,
        message: &wire::Message<'_>,
        look: impl FnOnce(&wire::Payloads<'_>) -> T,
    ) -> Option<T> {
        let protection = self.sas.get(&spi)?.sa.core.protection.as_ref()?;
        let opened = protection.opener.open(message.octets).ok()?;
        wire::decode_payloads(opened.first, &opened.plaintext).ok().map(|payloads| look(&payloads))
    }
}
