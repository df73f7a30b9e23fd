//! What the daemon tells an [`Endpoint`](crate::Endpoint) to do.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::config::{Child, Configuration, Connection};
use crate::output::{ChildSaId, IkeSaId, Path, RequestId};
use crate::redirect::Gateway;
use crate::selector::TrafficSelector;

/// An order to an endpoint.
///
/// Orders that take time carry a [`RequestId`] of the giver's choice; exactly one
/// [`Event::Completed`](crate::output::Event::Completed) with it follows, unless the order itself is refused.
pub enum Command {
    /// Use these connections and secrets from now on. SAs keep what they were made from.
    Configure(Arc<Configuration>),
    /// Make an IKE SA, and a CHILD_SA if one is named, as initiator; or just the child, where an IKE SA of
    /// that connection stands already.
    Initiate {
        /// Whom to tell.
        request: RequestId,
        /// With whom.
        connection: Arc<Connection>,
        /// What to protect; `None` makes an IKE SA alone.
        child: Option<Arc<Child>>,
        /// The packet that wants it, if a trap has caught one.
        trigger: Option<Trigger>,
        /// From where to where.
        path: Path,
    },
    /// Make the successor of an IKE SA (RFC 7296 §1.3.2). It is completed when the successor stands.
    RekeyIkeSa {
        /// Whom to tell.
        request: RequestId,
        /// Which.
        ike_sa: IkeSaId,
    },
    /// Make an IKE SA anew from the initial exchanges on, with its children and addresses (RFC 7296 §2.8.3). It is
    /// completed when the new one stands.
    ReauthenticateIkeSa {
        /// Whom to tell.
        request: RequestId,
        /// Which.
        ike_sa: IkeSaId,
    },
    /// Make the successor of a CHILD_SA (RFC 7296 §1.3.3). It is completed when the successor is in use.
    RekeyChildSa {
        /// Whom to tell.
        request: RequestId,
        /// Which.
        child_sa: ChildSaId,
    },
    /// Send the peer of an IKE SA to another gateway (RFC 5685 §5). It is completed when the peer has heard it; the peer
    /// then ends the IKE SA, or we do if it takes its time.
    Redirect {
        /// Whom to tell.
        request: RequestId,
        /// Which.
        ike_sa: IkeSaId,
        /// Where to.
        gateway: Gateway,
    },
    /// Let the peer of an IKE SA stay so long from now without authenticating again; it is told (RFC 4478), and the IKE SA
    /// ends if it does not.
    LimitSession {
        /// Which.
        ike_sa: IkeSaId,
        /// How long.
        lifetime: Duration,
    },
    /// Delete an IKE SA and all its children.
    TerminateIkeSa {
        /// Whom to tell.
        request: RequestId,
        /// Which.
        ike_sa: IkeSaId,
        /// Do not wait for the peer's answer.
        force: bool,
    },
    /// Delete a CHILD_SA.
    TerminateChildSa {
        /// Whom to tell.
        request: RequestId,
        /// Which.
        child_sa: ChildSaId,
    },
    /// The data plane decrypted a packet of a CHILD_SA that came from elsewhere than before.
    MappingChanged {
        /// Which.
        child_sa: ChildSaId,
        /// Where the packet came from.
        remote: SocketAddr,
    },
    /// Addresses of this host have changed, or the ways from it to others.
    NetworkChanged {
        /// The addresses that peers may be told of, the best first: neither virtual IPs nor those that are no good to
        /// anybody else.
        addresses: Vec<IpAddr>,
    },
    /// The data plane decrypted the first packet of a CHILD_SA that was installed with
    /// [`Outbound::Held`](crate::output::Outbound::Held): the peer sends with it.
    FirstReceived {
        /// Which.
        child_sa: ChildSaId,
    },
    /// The data plane can carry no more with a CHILD_SA: its sequence numbers, octets or packets are used up. It goes as
    /// if its time were up.
    ChildSaExhausted {
        /// Which.
        child_sa: ChildSaId,
    },
    /// Delete all IKE SAs and take no new ones: the daemon is going down.
    Shutdown {
        /// Whom to tell when nothing is left.
        request: RequestId,
    },
}

/// A packet that a trap has caught (RFC 4301 §4.4.1), by which a CHILD_SA is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its protocol, our address and port.
    pub local: TrafficSelector,
    /// Its protocol, the peer's address and port.
    pub remote: TrafficSelector,
    /// The reqid of the trap, which the CHILD_SA gets; `None` for the next free one.
    pub reqid: Option<u32>,
}

/// Why an order was refused; nothing was changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommandError {
    /// There is no such IKE SA here.
    #[error("there is no IKE_SA #{0}")]
    NoSuchIkeSa(IkeSaId),
    /// There is no such CHILD_SA here.
    #[error("there is no CHILD_SA #{0}")]
    NoSuchChildSa(ChildSaId),
    /// The child's traffic passes or is dropped; there is nothing to negotiate for it.
    #[error("child '{0}' is no CHILD_SA: its traffic passes or is dropped without one")]
    NoSa(String),
    /// The endpoint is going down.
    #[error("shutting down")]
    ShuttingDown,
}
