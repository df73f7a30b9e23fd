//! What the kernel tells of its SAs and policies: packets that want an SA, SAs and policies at the
//! end of their life, peers elsewhere, and what others removed.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use rustix::net::sockopt;
use tracing::debug;

use crate::error::{Error, Failure};
use crate::handle::{Channel, Port, Protocol};
use crate::message::event::read;
use crate::message::frames;
use crate::migration::Migration;
use crate::policy::{PolicyEntry, PolicyId, PolicyKind, Templates};
use crate::sa::{IpsecProtocol, Mark, Sa, SaId, Usage};
use crate::selector::Selector;

/// Multicast groups to listen to (`XFRMNLGRP_*`): acquires, expiries, SAs, policies, migrations,
/// mappings. Not the counters of each SA's packets, which nobody could keep up with.
const GROUPS: [u32; 6] = [1, 2, 3, 4, 7, 8];

/// Octets of kernel memory for events not yet read. An acquire takes less than one of its KiB.
const RECEIVE_QUEUE: usize = 8 << 20;

/// Something that happened in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A packet wants an SA that is not there.
    Acquire(Box<Acquire>),
    /// An SA reached a limit.
    Expired(Box<Expired>),
    /// A policy reached a limit.
    PolicyExpired(Box<PolicyExpired>),
    /// A peer behind a NAT is heard from elsewhere. Told again and again until the SA is changed.
    Moved(Moved),
    /// Somebody else removed an SA.
    SaRemoved(Box<Sa>),
    /// Somebody else removed all SAs of this protocol.
    SasFlushed(IpsecProtocol),
    /// Somebody else removed a policy.
    PolicyRemoved(Box<PolicyId>),
    /// Somebody else removed all policies of this kind.
    PoliciesFlushed(PolicyKind),
    /// SAs and their policy moved to other addresses. The kernel does not say on whose request.
    Migrated(Box<Migration>),
    /// More happened than the kernel could hold for us: look at all SAs and policies anew.
    Lost,
}

/// A packet that wants an SA. Until one is installed that answers it, or the larval SA behind it is
/// removed or ends, no other packet of the same policy asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquire {
    /// Number to answer it by ([`Sa::acquire`]).
    pub number: u32,
    /// The SA's source.
    pub source: IpAddr,
    /// The SA's destination.
    pub destination: IpAddr,
    /// ESP or AH.
    pub protocol: IpsecProtocol,
    /// The packet: the selector of just its addresses, protocol, ports, and the interface it would
    /// leave by.
    pub packet: Selector,
    /// The policy's number in the kernel.
    pub policy_index: u32,
    /// The policy's priority.
    pub policy_priority: u32,
    /// What the policy wants done, among it the reqid that a connection is known by.
    pub templates: Templates,
    /// The packet's mark, as far as the policy looks at it.
    pub mark: Option<Mark>,
    /// The xfrm interface it goes through.
    pub interface_id: Option<NonZeroU32>,
    /// The CPU that wants an SA of its own (RFC 9611).
    pub cpu: Option<u32>,
}

/// An SA at a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The SA. Larval ones have no SPI.
    pub sa: Sa,
    /// What went through it.
    pub usage: Usage,
    /// Whether it is gone; else it is time for another one.
    pub is_hard: bool,
}

/// A policy at a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyExpired {
    /// The policy.
    pub entry: PolicyEntry,
    /// Whether it is gone.
    pub is_hard: bool,
}

/// A peer that is heard from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// The inbound SA.
    pub id: SaId,
    /// Its number.
    pub reqid: u32,
    /// Where the peer was.
    pub from: SocketAddr,
    /// Where it is.
    pub to: SocketAddr,
}

/// A subscription to the events of one network namespace.
pub struct Events {
    channel: Channel,
    own: Vec<Port>,
    pending: VecDeque<Result<Event, Error>>,
}

impl Events {
    /// Subscribes, in the calling thread's network namespace. What these sockets ask for
    /// ([`crate::Sad::port`], [`crate::Spd::port`]) is not told. Needs a tokio runtime and
    /// CAP_NET_ADMIN.
    ///
    /// # Errors
    /// When the kernel has no XFRM or refuses.
    pub async fn subscribe(own: &[Port]) -> Result<Self, Error> {
        let attempt = |source| Failure::Socket(source).during("subscribe to events of SAs and policies");
        let mut channel = Channel::open(Protocol::Xfrm)?;
        let socket = channel.socket_mut();
        if sockopt::set_socket_recv_buffer_size_force(&*socket, RECEIVE_QUEUE).is_err() {
            debug!("the queue of IPsec events stays at the system's default size");
        }
        // A socket without an address of its own hears nothing, whatever groups it is in.
        socket.bind_auto().map_err(attempt)?;
        for group in GROUPS {
            socket.add_membership(group).map_err(attempt)?;
        }
        Ok(Self { channel, own: own.to_vec(), pending: VecDeque::new() })
    }

    /// The next event. Dropping the future midway loses nothing.
    ///
    /// # Errors
    /// When the netlink socket fails for another reason than an overrun, and for an event that does
    /// not parse; those behind it are not lost.
    pub async fn next(&mut self) -> Result<Event, Error> {
        const ATTEMPT: &str = "hear of events of SAs and policies";
        loop {
            if let Some(event) = self.pending.pop_front() {
                return event;
            }
            match self.channel.receive().await {
                Ok(datagram) => self.pending.extend(events(datagram, &self.own)),
                Err(Failure::Socket(source)) if source.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Event::Lost);
                }
                Err(failure) => return Err(failure.during(ATTEMPT)),
            }
        }
    }
}

/// The events a datagram of the kernel tells of, as captures of netlink have them.
pub fn decode(datagram: &[u8]) -> Vec<Result<Event, Error>> {
    events(datagram, &[]).collect()
}

fn events<'a>(datagram: &'a [u8], own: &'a [Port]) -> impl Iterator<Item = Result<Event, Error>> + 'a {
    frames(datagram).filter_map(|frame| {
        let event = frame.and_then(|frame| {
            let is_ours = own.contains(&Port(frame.port));
            Ok(read(&frame)?.filter(|event| !is_ours || event.is_unasked()))
        });
        event.map_err(|malformed| Failure::from(malformed).during("read an event of IPsec")).transpose()
    })
}

impl Event {
    /// Whether it is told whoever asked for it, if anybody did.
    fn is_unasked(&self) -> bool {
        match self {
            Self::Acquire(_) | Self::Expired(_) | Self::PolicyExpired(_) | Self::Moved(_) | Self::Lost => {
                true
            }
            Self::SaRemoved(_)
            | Self::SasFlushed(_)
            | Self::PolicyRemoved(_)
            | Self::PoliciesFlushed(_)
            | Self::Migrated(_) => false,
        }
    }
}
