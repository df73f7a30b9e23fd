//! One IKE SA: what it has in every state ([`Core`]), and the state it is in.
//!
//! Read `state` for the life of an SA, `exchange` for what each message means, `window` for message IDs,
//! `child` for the CHILD_SAs it carries.

mod child;
mod collision;
mod established;
mod exchange;
mod fragment;
mod mobike;
mod mode;
mod notices;
mod opened;
mod renewal;
mod state;
mod task;
mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info};

pub(crate) use self::exchange::init::{answer as answer_init, reject as reject_init};
use self::exchange::redirect::Redirects;
use self::fragment::Reassembly;
pub(crate) use self::mobike::Whereabouts;
pub(crate) use self::opened::Cleartext;
use self::renewal::Heritage;
pub(crate) use self::renewal::Word;
pub(crate) use self::state::{IkeSa, State};
pub(crate) use self::task::Wanted;
use self::window::Window;
use crate::config::{Connection, Interfaces, Lease};
use crate::context::Cx;
use crate::crypto::{IkeSuite, Opener, Role, Sealer};
use crate::error::Failure;
use crate::identity::Identity;
use crate::natt::NatSituation;
use crate::output::{ActionId, ChildSaId, IkeSaId, Path, RequestId};
use crate::timer::{Timer, Timers};
use crate::wire::header::{Flags, HeaderFields};
use crate::wire::registry::{ExchangeType, IkeSpi, MessageId, Spi};
use crate::wire::{self, PayloadWriter};

/// What an IKE SA has in every state.
pub(crate) struct Core {
    pub(crate) id: IkeSaId,
    pub(crate) role: Role,
    pub(crate) spi_i: IkeSpi,
    pub(crate) spi_r: IkeSpi,
    /// Where the peer was last heard from, authenticated, and where we send to.
    pub(crate) path: Path,
    pub(crate) nat: NatSituation,
    /// The peer does NAT traversal: NATs are found, and port 4500 is there.
    pub(crate) nat_t: bool,
    /// We pretended to be behind a NAT.
    pub(crate) nat_fake: bool,
    pub(crate) connection: Option<Arc<Connection>>,
    /// As its connection wants it, once that is certain.
    pub(crate) interfaces: Option<Interfaces>,
    pub(crate) suite: Option<IkeSuite>,
    pub(crate) protection: Option<Protection>,
    pub(crate) local_id: Option<Identity>,
    pub(crate) remote_id: Option<Identity>,
    /// Who the peer says it is, before it has proven it.
    pub(crate) claimed: Option<Identity>,
    /// Who the peer has proven to be by EAP.
    pub(crate) remote_eap_id: Option<Identity>,
    /// How long who has authenticated the peer lets it stay without doing so again; taken when the SA stands.
    pub(crate) granted_lifetime: Option<Duration>,
    pub(crate) window: Window,
    pub(crate) reassembly: Reassembly,
    /// Large messages are sent in fragments: both ends have said that they can, and we are to.
    pub(crate) fragments: bool,
    pub(crate) timers: Timers,
    /// Commands to be told when the SA stands or fails.
    pub(crate) requests: Vec<RequestId>,
    /// Further CHILD_SAs to make as soon as the SA stands.
    pub(crate) wanted: Vec<Wanted>,
    /// What it has from the IKE SA that it is made in the place of.
    pub(crate) heritage: Option<Heritage>,
    /// As initiator: the gateways that have sent us on.
    pub(crate) redirects: Redirects,
    /// As responder: the peer goes where it is sent.
    pub(crate) can_be_redirected: bool,
    pub(crate) held_response: Option<HeldResponse>,
    /// When a new authenticated message last came.
    pub(crate) heard: Instant,
}

/// Keys in use, with their directions fixed.
pub(crate) struct Protection {
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
}

/// A response that waits for the data plane.
pub(crate) struct HeldResponse {
    after: Vec<ActionId>,
    path: Path,
}

/// A CHILD_SA we mean to make together with the IKE SA.
pub(crate) struct PlannedChild {
    pub(crate) id: ChildSaId,
    pub(crate) wanted: Wanted,
    pub(crate) spi_in: Spi,
}

/// Addresses that go back to where they came from when the SA ends.
pub(crate) enum HeldLease {
    /// None.
    Nothing,
    /// The peer has them from our pools.
    Given(Lease),
    /// The peer gave them to us.
    Taken {
        /// What it gave.
        lease: Lease,
        /// The IKE SA they were installed for, which may have been rekeyed since.
        installed_for: IkeSaId,
    },
}

impl Core {
    pub(crate) fn new(
        id: IkeSaId,
        role: Role,
        spi_i: IkeSpi,
        spi_r: IkeSpi,
        path: Path,
        now: Instant,
    ) -> Self {
        Self {
            id,
            role,
            spi_i,
            spi_r,
            path,
            nat: NatSituation::default(),
            nat_t: false,
            nat_fake: false,
            connection: None,
            interfaces: None,
            suite: None,
            protection: None,
            local_id: None,
            remote_id: None,
            remote_eap_id: None,
            claimed: None,
            granted_lifetime: None,
            window: Window::new(),
            reassembly: Reassembly::default(),
            fragments: false,
            timers: Timers::default(),
            requests: Vec::new(),
            wanted: Vec::new(),
            heritage: None,
            redirects: Redirects::default(),
            can_be_redirected: false,
            held_response: None,
            heard: now,
        }
    }

    /// The SPI we chose.
    pub(crate) fn own_spi(&self) -> IkeSpi {
        match self.role {
            Role::Initiator => self.spi_i,
            Role::Responder => self.spi_r,
        }
    }

    /// Gives it the interfaces that its connection wants it to have, unless it has them.
    pub(crate) fn take_interfaces(&mut self, cx: &Cx<'_>) {
        if let (None, Some(connection)) = (self.interfaces, &self.connection) {
            let of = (connection.interface_in, connection.interface_out);
            self.interfaces = Some(cx.unique_ids.interfaces(of.0, of.1));
        }
    }

    /// Who the peer is to those who give out addresses and count SAs: its EAP identity where it has one.
    pub(crate) fn peer(&self) -> Option<&Identity> {
        self.remote_eap_id.as_ref().or(self.remote_id.as_ref())
    }

    /// The connection's name, for the log.
    pub(crate) fn name(&self) -> &str {
        self.connection.as_ref().map_or("(unnamed)", |connection| &connection.name)
    }

    pub(crate) fn fields(
        &self,
        exchange: ExchangeType,
        message_id: MessageId,
        response: bool,
    ) -> HeaderFields {
        HeaderFields {
            spi_i: self.spi_i,
            spi_r: self.spi_r,
            exchange,
            flags: Flags { initiator: self.role == Role::Initiator, response, version: false },
            message_id,
        }
    }

    fn seal(
        &mut self,
        fields: HeaderFields,
        payloads: &PayloadWriter,
        path: Path,
        cx: &Cx<'_>,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let protection = self.protection.as_mut().ok_or(Failure::Ended("the IKE_SA has no keys"))?;
        let room = self.fragments.then(|| fragment::room(path, cx));
        let messages = fragment::seal(&mut protection.sealer, fields, payloads, room, cx.crypto)?;
        if messages.len() > 1 {
            let octets = protection.sealer.sealed_len(payloads.octets().len());
            info!(target: "enc", "splitting IKE message ({octets} bytes) into {} fragments", messages.len());
        }
        Ok(messages)
    }

    /// Sends a request under our keys; one may be in flight.
    pub(crate) fn request(
        &mut self,
        exchange: ExchangeType,
        payloads: &PayloadWriter,
        cx: &mut Cx<'_>,
    ) -> Result<(), Failure> {
        let id = self.window.next_request().ok_or(Failure::Exhausted)?;
        let messages = self.seal(self.fields(exchange, id, false), payloads, self.path, cx)?;
        self.dispatch(exchange, id, messages, cx);
        Ok(())
    }

    /// Sends IKE_SA_INIT, the request that has no keys yet, and gives its octets back for AUTH.
    pub(crate) fn request_in_clear(&mut self, payloads: &PayloadWriter, cx: &mut Cx<'_>) -> Vec<u8> {
        let id = MessageId(0);
        let message = wire::build(self.fields(ExchangeType::IKE_SA_INIT, id, false), payloads);
        self.dispatch(ExchangeType::IKE_SA_INIT, id, vec![message.clone()], cx);
        message
    }

    fn dispatch(&mut self, exchange: ExchangeType, id: MessageId, messages: Vec<Vec<u8>>, cx: &mut Cx<'_>) {
        for message in &messages {
            debug!(target: "net", "sending {exchange} request {id} to {} ({} octets)", self.path.remote, message.len());
            cx.transmit(self.path, message);
        }
        cx.counters.exchange(exchange).requests_out += 1;
        self.window.sent(id, messages);
        self.arm_retransmit(0, cx);
    }

    /// Answers a request under our keys, towards where it came from (RFC 7296 §2.11).
    pub(crate) fn respond(
        &mut self,
        exchange: ExchangeType,
        id: MessageId,
        payloads: &PayloadWriter,
        path: Path,
        cx: &mut Cx<'_>,
    ) -> Result<(), Failure> {
        self.prepare_response(exchange, id, payloads, path, cx)?;
        self.send_response(Vec::new(), path, cx);
        Ok(())
    }

    /// Makes the response to a request; [`send_response`](Self::send_response) sends it.
    pub(crate) fn prepare_response(
        &mut self,
        exchange: ExchangeType,
        id: MessageId,
        payloads: &PayloadWriter,
        path: Path,
        cx: &mut Cx<'_>,
    ) -> Result<(), Failure> {
        let messages = self.seal(self.fields(exchange, id, true), payloads, path, cx)?;
        for message in &messages {
            debug!(target: "net", "sending {exchange} response {id} to {} ({} octets)", path.remote, message.len());
        }
        cx.counters.exchange(exchange).responses_out += 1;
        self.window.answered(id, messages);
        Ok(())
    }

    /// Sends the response that was made last as soon as the data plane has done what it was told: once the peer has
    /// the answer to its DELETE, it receives nothing more on what it has deleted, and what we still sent there would be
    /// lost though another CHILD_SA is there for it. Should the peer ask again before, it is answered.
    pub(crate) fn send_response(&mut self, after: Vec<ActionId>, path: Path, cx: &mut Cx<'_>) {
        if after.is_empty() {
            self.answer_again(path, cx);
        } else {
            self.held_response = Some(HeldResponse { after, path });
        }
    }

    /// The data plane has done something; a response may have waited for that.
    fn release_response(&mut self, done: ActionId, cx: &mut Cx<'_>) {
        if let Some(HeldResponse { after, path }) = &mut self.held_response {
            after.retain(|id| *id != done);
            let (path, is_free) = (*path, after.is_empty());
            if is_free {
                self.send_response(Vec::new(), path, cx);
            }
        }
    }

    /// We have answered more than the first message of a peer.
    fn has_refused(&self) -> bool {
        self.role == Role::Responder && self.window.answered_last().is_some_and(|id| id > MessageId(0))
    }

    /// Sends the response to the request answered last again, to where it was asked for.
    pub(crate) fn answer_again(&mut self, path: Path, cx: &mut Cx<'_>) {
        self.held_response = None;
        for message in self.window.last_answer() {
            cx.transmit(path, message);
        }
    }

    /// Sends the request in flight again, or gives the peer up.
    pub(crate) fn retransmit(&mut self, cx: &mut Cx<'_>) -> Result<(), Failure> {
        let tries = cx.settings.retransmission.tries;
        let (messages, sent) = self.window.retransmit(tries).ok_or(Failure::Unanswered(tries))?;
        info!(target: "ike", "retransmit {sent} of request to {}", self.path.remote);
        for message in messages {
            cx.transmit(self.path, message);
        }
        cx.counters.retransmits += 1;
        self.arm_retransmit(sent, cx);
        Ok(())
    }

    /// Sends the request in flight over the path there is now, which it has not been sent over before.
    pub(crate) fn resend(&mut self, cx: &mut Cx<'_>) {
        let Some(messages) = self.window.again() else { return };
        tracing::info!(target: "ike", "sending the request in flight to {} by way of {}", self.path.remote, self.path.local.ip());
        for message in messages {
            cx.transmit(self.path, message);
        }
        cx.counters.retransmits += 1;
        self.arm_retransmit(0, cx);
    }

    fn arm_retransmit(&mut self, sent: u32, cx: &Cx<'_>) {
        let [jitter] = cx.random::<1>();
        self.timers.arm(Timer::Retransmit, cx.now + cx.settings.retransmission.wait(sent, jitter));
    }

    /// The request in flight was answered.
    pub(crate) fn settle(&mut self) {
        self.window.settle();
        self.timers.disarm(Timer::Retransmit);
    }

    /// Takes what NAT detection has found. We pretend a NAT where there is none before us.
    pub(crate) fn take_nat(&mut self, nat: NatSituation, fakes: bool) {
        if nat.local_behind_nat && !self.nat.local_behind_nat {
            info!(target: "ike", "local host is behind NAT, sending keep alives");
        }
        if nat.remote_behind_nat && !self.nat.remote_behind_nat {
            info!(target: "ike", "remote host is behind NAT");
        }
        self.nat = nat;
        self.nat_t = true;
        self.nat_fake = fakes && !nat.local_behind_nat;
    }

    /// ESP must go in UDP (RFC 7296 §2.23).
    pub(crate) fn is_encapsulated(&self) -> bool {
        self.nat.any() || self.nat_fake
    }
}
