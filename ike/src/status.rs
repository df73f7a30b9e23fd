//! SAs as an operator sees them: plain values, no secrets.

use std::net::{IpAddr, SocketAddr};
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Instant;

use crate::attempt::Cause;
use crate::config::{Child, Connection, Interfaces, Mode};
use crate::crypto::{EspSuite, IkeSuite};
use crate::identity::Identity;
use crate::output::{ChildSaId, IkeSaId};
use crate::selector::TrafficSelector;
use crate::wire::registry::{ExchangeType, IkeSpi, Spi};

/// Where an IKE SA stands. The names are charon's, which scripts know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IkeSaState {
    /// Made, nothing sent.
    Created,
    /// IKE_SA_INIT or IKE_AUTH under way.
    Connecting,
    /// Both ends have authenticated.
    Established,
    /// A successor is being negotiated.
    Rekeying,
    /// A successor has taken over; this one waits for its DELETE.
    Rekeyed,
    /// A DELETE is under way.
    Deleting,
}

impl IkeSaState {
    /// In capitals, as VICI has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Connecting => "CONNECTING",
            Self::Established => "ESTABLISHED",
            Self::Rekeying => "REKEYING",
            Self::Rekeyed => "REKEYED",
            Self::Deleting => "DELETING",
        }
    }
}

/// Where a CHILD_SA stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildSaState {
    /// Being negotiated.
    Created,
    /// Being installed.
    Installing,
    /// In use.
    Installed,
    /// A successor is being negotiated.
    Rekeying,
    /// A successor is installed; this one waits for its DELETE.
    Rekeyed,
    /// A DELETE is under way.
    Deleting,
    /// Both ends have deleted it; packets that are late are still accepted.
    Deleted,
}

impl ChildSaState {
    /// In capitals, as VICI has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Installing => "INSTALLING",
            Self::Installed => "INSTALLED",
            Self::Rekeying => "REKEYING",
            Self::Rekeyed => "REKEYED",
            Self::Deleting => "DELETING",
            Self::Deleted => "DELETED",
        }
    }
}

/// One IKE SA.
#[derive(Clone, Debug, PartialEq)]
pub struct IkeSaStatus {
    /// Its number.
    pub id: IkeSaId,
    /// The connection's name; `None` while a responder does not know it yet.
    pub connection: Option<String>,
    /// The same as it was when the IKE_SA was made: what is loaded under its name may be another by now.
    pub made_by: Option<Arc<Connection>>,
    /// Where it stands.
    pub state: IkeSaState,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// Our identity; `None` before authentication.
    pub local_id: Option<Identity>,
    /// The peer's identity; `None` before authentication.
    pub remote_id: Option<Identity>,
    /// The peer's EAP identity; `None` where EAP has proven none.
    pub remote_eap_id: Option<Identity>,
    /// We opened it.
    pub is_initiator: bool,
    /// The original initiator's SPI.
    pub spi_i: IkeSpi,
    /// The original responder's SPI.
    pub spi_r: IkeSpi,
    /// A NAT is before us.
    pub nat_local: bool,
    /// A NAT is before the peer.
    pub nat_remote: bool,
    /// We pretended a NAT.
    pub nat_fake: bool,
    /// What was negotiated.
    pub suite: Option<IkeSuite>,
    /// When both ends had authenticated.
    pub established: Option<Instant>,
    /// When it is to be rekeyed.
    pub rekeys: Option<Instant>,
    /// When it is to be made anew with authentication.
    pub reauthenticates: Option<Instant>,
    /// When it ends at the latest.
    pub expires: Option<Instant>,
    /// Its XFRM interfaces.
    pub interfaces: Interfaces,
    /// Virtual IPs the peer gave us.
    pub local_vips: Vec<IpAddr>,
    /// DNS servers the peer told us of.
    pub dns: Vec<IpAddr>,
    /// Virtual IPs we gave the peer.
    pub remote_vips: Vec<IpAddr>,
    /// What waits for its turn, by charon's task names.
    pub tasks_queued: Vec<&'static str>,
    /// Our exchange in flight.
    pub tasks_active: Vec<&'static str>,
    /// The peer's exchange that we are answering.
    pub tasks_passive: Vec<&'static str>,
    /// Its children.
    pub children: Vec<ChildSaStatus>,
}

impl IkeSaStatus {
    /// Who the peer is where SAs of one peer are compared: its EAP identity where it has one.
    #[must_use]
    pub fn peer(&self) -> Option<&Identity> {
        self.remote_eap_id.as_ref().or(self.remote_id.as_ref())
    }
}

/// One CHILD_SA.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildSaStatus {
    /// Its number.
    pub id: ChildSaId,
    /// The name it is configured by.
    pub name: String,
    /// As it was configured.
    pub child: Arc<Child>,
    /// The number that ties its SAs and policies; zero before it is assigned.
    pub reqid: u32,
    /// Where it stands.
    pub state: ChildSaState,
    /// The mode that was agreed on.
    pub mode: Mode,
    /// ESP goes in UDP.
    pub encapsulated: bool,
    /// Inbound SPI.
    pub spi_in: Option<Spi>,
    /// Outbound SPI.
    pub spi_out: Option<Spi>,
    /// What was negotiated.
    pub suite: Option<EspSuite>,
    /// When it was installed.
    pub installed: Option<Instant>,
    /// When it is to be rekeyed.
    pub rekeys: Option<Instant>,
    /// When it ends at the latest.
    pub expires: Option<Instant>,
    /// Traffic on our side.
    pub local_ts: Vec<TrafficSelector>,
    /// Traffic on the peer's side.
    pub remote_ts: Vec<TrafficSelector>,
}

/// Message counts, by the names of VICI's `get-counters`, and what was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams and messages that do not parse.
    pub invalid: u64,
    /// Messages for an IKE SPI we do not have.
    pub invalid_spi: u64,
    /// Messages whose integrity check failed.
    pub unauthentic: u64,
    /// IKE_SA_INIT requests not answered because too much is half open.
    pub dropped_half_open: u64,
    /// COOKIE demanded.
    pub cookies_demanded: u64,
    /// Requests of ours that were sent again.
    pub retransmits: u64,
    /// IKE SAs that were rekeyed at our wish.
    pub ike_rekeyed_by_us: u64,
    /// IKE SAs that were rekeyed at the peer's.
    pub ike_rekeyed_by_peer: u64,
    /// CHILD_SAs that were rekeyed.
    pub children_rekeyed: u64,
    /// IKE SAs that were to be made.
    pub handshakes: Handshakes,
    /// By exchange: requests in, responses in, requests out, responses out. Retransmissions not counted.
    pub ike_sa_init: ExchangeCounters,
    /// As above.
    pub ike_auth: ExchangeCounters,
    /// As above.
    pub create_child_sa: ExchangeCounters,
    /// As above.
    pub informational: ExchangeCounters,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.invalid += other.invalid;
        self.invalid_spi += other.invalid_spi;
        self.unauthentic += other.unauthentic;
        self.dropped_half_open += other.dropped_half_open;
        self.cookies_demanded += other.cookies_demanded;
        self.retransmits += other.retransmits;
        self.ike_rekeyed_by_us += other.ike_rekeyed_by_us;
        self.ike_rekeyed_by_peer += other.ike_rekeyed_by_peer;
        self.children_rekeyed += other.children_rekeyed;
        self.handshakes += other.handshakes;
        self.ike_sa_init += other.ike_sa_init;
        self.ike_auth += other.ike_auth;
        self.create_child_sa += other.create_child_sa;
        self.informational += other.informational;
    }
}

impl AddAssign for ExchangeCounters {
    fn add_assign(&mut self, other: Self) {
        self.requests_in += other.requests_in;
        self.responses_in += other.responses_in;
        self.requests_out += other.requests_out;
        self.responses_out += other.responses_out;
    }
}

impl Counters {
    /// The counters of one exchange; those of types we never take part in are counted with INFORMATIONAL.
    pub(crate) fn exchange(&mut self, exchange: ExchangeType) -> &mut ExchangeCounters {
        match exchange {
            ExchangeType::IKE_SA_INIT => &mut self.ike_sa_init,
            ExchangeType::IKE_AUTH => &mut self.ike_auth,
            ExchangeType::CREATE_CHILD_SA => &mut self.create_child_sa,
            _ => &mut self.informational,
        }
    }
}

/// IKE SAs that were to be made, by what became of them. Those that take another's place are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshakes {
    /// They stand.
    pub established: u64,
    /// No connection is for the addresses.
    pub no_connection: u64,
    /// No proposal suited both.
    pub no_proposal: u64,
    /// Either end could not prove who it is.
    pub unauthenticated: u64,
    /// The peer refused otherwise.
    pub refused: u64,
    /// The peer did not answer, or did not go on.
    pub unanswered: u64,
    /// The peer broke the protocol.
    pub malformed: u64,
    /// Anything else, of ours or of those who gave up.
    pub other: u64,
}

impl AddAssign for Handshakes {
    fn add_assign(&mut self, other: Self) {
        self.established += other.established;
        self.no_connection += other.no_connection;
        self.no_proposal += other.no_proposal;
        self.unauthenticated += other.unauthenticated;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.malformed += other.malformed;
        self.other += other.other;
    }
}

impl Handshakes {
    /// One has failed.
    pub(crate) fn fail(&mut self, cause: Cause) {
        let counter = match cause {
            Cause::NoConnection => &mut self.no_connection,
            Cause::NoProposal => &mut self.no_proposal,
            Cause::NoCandidate | Cause::Unauthenticated => &mut self.unauthenticated,
            Cause::Refused => &mut self.refused,
            Cause::Unanswered => &mut self.unanswered,
            Cause::Malformed => &mut self.malformed,
            Cause::NoSelectors | Cause::Other | Cause::Ended => &mut self.other,
        };
        *counter += 1;
    }
}

/// Messages of one exchange type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExchangeCounters {
    /// Requests received.
    pub requests_in: u64,
    /// Responses received.
    pub responses_in: u64,
    /// Requests sent.
    pub requests_out: u64,
    /// Responses sent.
    pub responses_out: u64,
}
