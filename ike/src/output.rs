//! What an [`Endpoint`](crate::Endpoint) gives out: datagrams, actions and events, in one ordered queue.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::attempt::Attempt;
use crate::config::{Child, Connection, Interfaces, Lease, Mode};
use crate::crypto::{ChildKeyMaterial, EspSuite};
use crate::eap::Relayed;
use crate::identity::Identity;
use crate::pki::{Certificate, Constraints, TrustStore};
use crate::redirect::Gateway;
use crate::selector::TrafficSelector;
use crate::status::{ChildSaStatus, IkeSaStatus};
use crate::wire::registry::Spi;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Names an IKE SA in commands, events and listings. Never used twice.
    IkeSaId
}
number! {
    /// Names a CHILD_SA. Never used twice.
    ChildSaId
}
number! {
    /// Ties an [`Action`] to its [`Outcome`]; unique within an endpoint.
    ActionId
}
number! {
    /// Ties a [`Command`](crate::Command) to its completion; chosen by who gives the command.
    RequestId
}

/// Where a datagram came from and where it arrived, or from where to where it is to go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Path {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

/// One thing that leaves an endpoint.
pub enum Output {
    /// A datagram to send, complete with its non-ESP marker where the port asks for one.
    Transmit(Transmit),
    /// Something to do; exactly one [`Outcome`] comes back by `handle_outcome`.
    Action(ActionId, Action),
    /// Something that happened.
    Event(Event),
}

/// A UDP payload and its way.
pub struct Transmit {
    /// From where to where.
    pub path: Path,
    /// The Differentiated Services codepoint it is sent with (RFC 2474 §3): six bits.
    pub dscp: u8,
    /// The payload.
    pub datagram: Vec<u8>,
}

/// Something the outside must do for an SA, which waits for the [`Outcome`] named with each.
pub enum Action {
    /// Set an inbound ESP SPI aside: [`Outcome::Spi`].
    ReserveSpi {
        /// For whom.
        child_sa: ChildSaId,
    },
    /// Make both directions of a CHILD_SA work: [`Outcome::Done`].
    InstallChild(Box<ChildInstall>),
    /// Send with a CHILD_SA that was installed with [`Outbound::Held`], instead of the one that was there before:
    /// [`Outcome::Done`].
    UseChild {
        /// Which.
        child_sa: ChildSaId,
    },
    /// The peer's or our own address has changed, or whether there is a NAT: [`Outcome::Done`].
    UpdateChild {
        /// Which.
        child_sa: ChildSaId,
        /// The outer addresses; their ports where ESP is encapsulated.
        path: Path,
        /// ESP goes in UDP (RFC 3948) from now on.
        encapsulated: bool,
    },
    /// Find out between which addresses packets can go to a peer: [`Outcome::Paths`].
    FindPaths {
        /// The path that is used now.
        current: Path,
        /// Where the peer may be reached, the best first.
        remotes: Vec<IpAddr>,
    },
    /// Take a CHILD_SA down, or give back a reserved SPI: [`Outcome::Done`].
    RemoveChild {
        /// Which.
        child_sa: ChildSaId,
    },
    /// Tell when the CHILD_SAs last carried a packet: [`Outcome::Used`].
    QueryUse {
        /// Which.
        child_sas: Vec<ChildSaId>,
    },
    /// Bring a packet of a peer's EAP to the server that judges it: [`Outcome::Relayed`]. The first of a conversation
    /// says the peer's name; the next are what the peer answers to what came back.
    RelayEap(Box<EapRelay>),
    /// Take addresses for a peer from pools: [`Outcome::Lease`].
    Lease {
        /// For whom.
        ike_sa: IkeSaId,
        /// Pools in the order of the configuration.
        pools: Vec<String>,
        /// Who asks.
        identity: Identity,
        /// What it asks for: one entry per address, unspecified for any of that family.
        requested: Vec<IpAddr>,
    },
    /// Give addresses back: [`Outcome::Done`].
    ReleaseLease {
        /// Pools in the order of the configuration.
        pools: Vec<String>,
        /// Who had them.
        identity: Identity,
        /// Which.
        addresses: Vec<IpAddr>,
    },
    /// Find out from where to where an IKE SA is opened with another gateway: [`Outcome::Path`].
    FindPath {
        /// What it is opened for.
        connection: Arc<Connection>,
        /// The peer.
        gateway: Gateway,
    },
    /// May this peer have (another) IKE SA? Others of the same identities are found wherever they live, and
    /// ended where the policy says so: [`Outcome::Unique`].
    CheckUnique {
        /// The one that asks.
        ike_sa: IkeSaId,
        /// Its connection, with the policy.
        connection: Arc<Connection>,
        /// Our identity.
        local_id: Identity,
        /// The peer's identity, that of EAP where it has one.
        remote_id: Identity,
        /// Where the peer is. With another IKE SA from there the peer may be authenticating again, and needs the old
        /// one until the new one stands.
        remote: IpAddr,
        /// The peer says that it has no other (RFC 7296 §2.4).
        initial_contact: bool,
    },
    /// Is this the certificate of whom the peer says it is, as far as authorities vouch for it? The peer holds its
    /// private key: that much is proven, and that it carries the identity. [`Outcome::Done`], or [`Outcome::Failed`] with
    /// the rule that was broken and by whose certificate.
    VerifyCertificate(Box<CertificateCheck>),
    /// As a client: put virtual IPs on an interface: [`Outcome::Done`].
    InstallVirtualIps {
        /// For whom.
        ike_sa: IkeSaId,
        /// The outer path, which tells the interface.
        path: Path,
        /// Addresses and attributes that the gateway assigned.
        lease: Lease,
    },
    /// As a client: take them away: [`Outcome::Done`].
    RemoveVirtualIps {
        /// For whom.
        ike_sa: IkeSaId,
        /// What was assigned.
        lease: Lease,
    },
}

/// An EAP packet on its way to the server that judges it.
pub struct EapRelay {
    /// The IKE SA it comes by, which also names the conversation.
    pub ike_sa: IkeSaId,
    /// The connection.
    pub connection: Arc<Connection>,
    /// Our address and the peer's.
    pub path: Path,
    /// The peer's EAP identity: what it has said, or the identity it has in IKE.
    pub identity: Identity,
    /// The octets of it.
    pub name: Vec<u8>,
    /// It is the first of the conversation.
    pub is_first: bool,
    /// The packet: a response of the peer's.
    pub packet: Vec<u8>,
    /// RADIUS attributes that the peer has sent since the packet before, whole: type, length and value, if it is true to
    /// that.
    pub attributes: Vec<Vec<u8>>,
}

/// A certificate that somebody has to vouch for.
pub struct CertificateCheck {
    /// The IKE SA it is for.
    pub ike_sa: IkeSaId,
    /// Whose rules count.
    pub connection: Arc<Connection>,
    /// Its round that the peer is in, counted from zero.
    pub round: usize,
    /// Who the peer says it is.
    pub id: Identity,
    /// The peer's certificate.
    pub certificate: Certificate,
    /// Further certificates that it has sent, as they came.
    pub sent: Vec<Certificate>,
    /// OCSP responses about these that it has sent (RFC 4806), as they came: nobody has looked into them. None where the
    /// connection does not ask for them.
    pub responses: Vec<Vec<u8>>,
    /// Whom we trust.
    pub trust: Arc<TrustStore>,
}

impl CertificateCheck {
    /// What the certificate and the chain to its trust anchor have to be.
    #[must_use]
    pub fn constraints(&self) -> Constraints {
        self.connection.remote.get(self.round).map(|remote| remote.trust.clone()).unwrap_or_default()
    }
}

/// A CHILD_SA to install: both directions.
pub struct ChildInstall {
    /// Its number.
    pub child_sa: ChildSaId,
    /// The IKE SA it belongs to.
    pub ike_sa: IkeSaId,
    /// The connection's name.
    pub connection: String,
    /// What it was configured as.
    pub child: Arc<Child>,
    /// The reqid that ties SAs and policies; kept over rekeys.
    pub reqid: u32,
    /// The mode that was agreed on.
    pub mode: Mode,
    /// We opened the exchange that made it.
    pub is_initiator: bool,
    /// Inbound SPI: the one that was reserved.
    pub spi_in: Spi,
    /// Outbound SPI: the peer's.
    pub spi_out: Spi,
    /// The outer addresses; with their ports where ESP is encapsulated.
    pub path: Path,
    /// ESP goes in UDP (RFC 3948).
    pub encapsulated: bool,
    /// What was negotiated.
    pub suite: EspSuite,
    /// Keys for what we receive.
    pub inbound: ChildKeyMaterial,
    /// Keys for what we send.
    pub outbound: ChildKeyMaterial,
    /// Traffic on our side.
    pub local_ts: Vec<TrafficSelector>,
    /// Traffic on the peer's side.
    pub remote_ts: Vec<TrafficSelector>,
    /// Virtual IPs we were assigned: source addresses to prefer.
    pub virtual_ips: Vec<IpAddr>,
    /// The interfaces of its IKE SA.
    pub interfaces: Interfaces,
    /// When to begin to send with it. What it receives is to be accepted at once.
    pub outbound_use: Outbound,
}

/// When a CHILD_SA is sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// As soon as it is installed.
    Now,
    /// As soon as no other that carries the same traffic is sent with, at the latest with [`Action::UseChild`]: the peer
    /// cannot receive on it before it has our response, but it can on one that it has already.
    Behind,
    /// Not before [`Action::UseChild`]: the peer may not be ready to receive on it (RFC 7296 §2.8). Until then, the
    /// CHILD_SA it takes the place of is sent with.
    Held,
}

/// What came of an [`Action`].
pub enum Outcome {
    /// It was done.
    Done,
    /// The inbound SPI.
    Spi(Spi),
    /// What the server that judges a peer's EAP says.
    Relayed {
        /// To EAP.
        relayed: Relayed,
        /// RADIUS attributes that the peer is to have with it, whole.
        attributes: Vec<Vec<u8>>,
    },
    /// The addresses, possibly fewer than asked for, possibly none.
    Lease(Lease),
    /// Whether the IKE SA may stand.
    Unique {
        /// True if it may.
        is_allowed: bool,
        /// Another one of the same ends is there and stays for now: the peer may be authenticating again.
        has_other: bool,
    },
    /// Ways to a peer.
    Paths {
        /// The current path is as good as it was, as far as this host can tell.
        is_current_usable: bool,
        /// Between which addresses packets can go, the best first; ours and then the peer's.
        pairs: Vec<(IpAddr, IpAddr)>,
    },
    /// From where to where.
    Path(Path),
    /// When each of the CHILD_SAs last carried a packet. Those that are gone are left out.
    Used(Vec<LastUse>),
    /// It could not be done; the sentence says why.
    Failed(String),
}

/// When a CHILD_SA last carried a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// Which.
    pub child_sa: ChildSaId,
    /// How long ago it received one; `None` if never.
    pub received: Option<Duration>,
    /// How long ago it sent one; `None` if never.
    pub sent: Option<Duration>,
}

/// Something that happened and asks for nothing.
pub enum Event {
    /// An IKE SA is established.
    IkeSaUp(Box<IkeSaStatus>),
    /// An IKE SA, established or not, is gone.
    IkeSaDown {
        /// As it was.
        status: Box<IkeSaStatus>,
        /// Why, as a sentence.
        reason: String,
        /// At whose wish.
        cause: ChildDown,
    },
    /// The addresses or ports of an IKE SA have changed; `status` has the old ones.
    IkeSaMoved {
        /// As it was.
        status: Box<IkeSaStatus>,
        /// The new path.
        path: Path,
    },
    /// A CHILD_SA is installed.
    ChildSaUp {
        /// Its IKE SA.
        ike_sa: Box<IkeSaStatus>,
        /// Itself.
        child_sa: Box<ChildSaStatus>,
    },
    /// A CHILD_SA is gone.
    ChildSaDown {
        /// Its IKE SA.
        ike_sa: Box<IkeSaStatus>,
        /// As it was.
        child_sa: Box<ChildSaStatus>,
        /// Why.
        reason: ChildDown,
    },
    /// A CHILD_SA has taken the place of another: same policies, same reqid, other keys. Neither is told as up or
    /// down for it.
    ChildRekeyed {
        /// Their IKE SA.
        ike_sa: Box<IkeSaStatus>,
        /// The one that goes.
        old: Box<ChildSaStatus>,
        /// The one that stays.
        new: Box<ChildSaStatus>,
    },
    /// An IKE SA has taken the place of another, with its children and addresses. Neither is told as up or down for
    /// it.
    IkeSaRekeyed {
        /// The one that goes.
        old: Box<IkeSaStatus>,
        /// The one that stays; a new number, and the children.
        new: Box<IkeSaStatus>,
    },
    /// An IKE SA is gone that was to be made anew, and the new one has come to nothing.
    NotRenewed {
        /// The connection's name.
        connection: String,
        /// The names of the children that it had.
        children: Vec<String>,
    },
    /// An attempt at an IKE SA has failed. Where it was the last one, [`Event::IkeSaDown`] follows.
    Failed(Box<Attempt>),
    /// A command has come to its end.
    Completed {
        /// The command's number.
        request: RequestId,
        /// How: a sentence where it failed.
        result: Result<(), String>,
    },
}

/// Why a CHILD_SA went, or an IKE SA: the configured action depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildDown {
    /// We were told to end it, or its IKE SA.
    Terminated,
    /// The peer deleted it, or its IKE SA.
    Closed,
    /// The peer no longer answers.
    PeerDead,
    /// Its time was up.
    Expired,
}
