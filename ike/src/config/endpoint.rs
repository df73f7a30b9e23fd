//! What an endpoint is told when it is made: strongswan.conf's part, and what endpoints share.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{Configuration, Interfaces, Label};
use crate::cookie::{HalfOpenLimits, HalfOpenTotal};
use crate::eap::{Method, TlsSettings};

/// Everything an [`Endpoint`](crate::Endpoint) is told when it is made.
pub struct EndpointConfig {
    /// Local UDP ports, as they were really bound.
    pub ports: Ports,
    /// How this endpoint behaves towards everybody.
    pub settings: Settings,
    /// Bits that every IKE SPI of this endpoint starts with.
    pub spi_prefix: SpiPrefix,
    /// Where numbers for IKE and CHILD SAs come from.
    pub unique_ids: Arc<UniqueIds>,
    /// Half-open IKE SAs of all endpoints, which the thresholds are about.
    pub half_open: Arc<HalfOpenTotal>,
    /// IKE SAs of all endpoints, which the limit is about.
    pub ike_sas: Arc<IkeSaTotal>,
    /// The connections and secrets to begin with.
    pub configuration: Arc<Configuration>,
}

/// The two UDP ports of IKE (RFC 7296 §2.23).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Where messages have no non-ESP marker: 500.
    pub ike: u16,
    /// Where messages have the non-ESP marker, and ESP arrives too: 4500.
    pub nat_t: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { ike: 500, nat_t: 4500 }
    }
}

/// The leading bits of the SPIs an endpoint chooses, so that a datagram finds its endpoint by its SPI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpiPrefix {
    /// How many bits are fixed: 0 to 8.
    pub bits: u8,
    /// Their value, right-aligned.
    pub value: u8,
}

impl SpiPrefix {
    /// Puts the prefix over the first octet of a freshly drawn SPI.
    #[must_use]
    pub fn apply(self, first: u8) -> u8 {
        match self.bits.min(8) {
            0 => first,
            8 => self.value,
            bits => (self.value << (8 - bits)) | (first & (0xff >> bits)),
        }
    }
}

/// Numbers for IKE SAs and CHILD_SAs, unique over all endpoints that share this value.
#[derive(Debug, Default)]
pub struct UniqueIds {
    ike_sa: AtomicU64,
    child_sa: AtomicU64,
    reqid: AtomicU32,
    label: AtomicU32,
}

impl UniqueIds {
    pub(crate) fn ike_sa(&self) -> u64 {
        self.ike_sa.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn child_sa(&self) -> u64 {
        self.child_sa.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The next free reqid.
    pub fn reqid(&self) -> u32 {
        self.reqid.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// The next free number for marks and interfaces, none of which is zero.
    pub fn label(&self) -> NonZeroU32 {
        let next = || self.label.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        NonZeroU32::new(next()).or_else(|| NonZeroU32::new(next())).unwrap_or(NonZeroU32::MIN)
    }

    /// The interfaces of an IKE SA that is to have these.
    pub(crate) fn interfaces(&self, inbound: Option<Label>, outbound: Option<Label>) -> Interfaces {
        let is_by_direction = [inbound, outbound].contains(&Some(Label::UniqueDirection));
        let mut common = None;
        let mut number = |label| match label {
            Label::Fixed(number) => NonZeroU32::new(number),
            Label::Unique | Label::UniqueDirection if is_by_direction => Some(self.label()),
            Label::Unique | Label::UniqueDirection => Some(*common.get_or_insert_with(|| self.label())),
            // There is nobody that it could have it from.
            Label::OfIkeSa | Label::Same => None,
        };
        Interfaces { inbound: inbound.and_then(&mut number), outbound: outbound.and_then(&mut number) }
    }
}

/// How many IKE SAs all endpoints together have that share this value. One that has a successor, or is over and only
/// answers what comes again, is none of them: rekeying neither counts twice nor is kept from anybody.
#[derive(Debug, Default)]
pub struct IkeSaTotal(AtomicUsize);

impl IkeSaTotal {
    /// How many there are now.
    #[must_use]
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn increase(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn decrease(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How an endpoint behaves towards everybody; strongswan.conf's part.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// When requests are sent again, and when we give up.
    pub retransmission: Retransmission,
    /// When strangers must prove their address, and when they are not heard at all.
    pub half_open: HalfOpenLimits,
    /// How long an IKE SA we answer may take to be established.
    pub half_open_timeout: Duration,
    /// Interval of NAT keepalives while we are behind a NAT (RFC 3948 §4); `None` sends none.
    pub keep_alive: Option<Duration>,
    /// The data plane can only do ESP in UDP: pretend a NAT to the peer, so that both ends encapsulate.
    pub force_encapsulation: bool,
    /// Our order of proposals wins over the peer's.
    pub prefer_configured_proposals: bool,
    /// Algorithms with private numbers (1024 and up) may be negotiated with anybody.
    pub accept_private_algorithms: bool,
    /// Requests to make an IKE SA are ignored.
    pub initiator_only: bool,
    /// With so many IKE SAs, those of all endpoints counted, strangers are not answered; `None` for no limit.
    pub ike_sa_limit: Option<usize>,
    /// The largest message that is looked at, in octets, whether it comes in one datagram or in fragments.
    pub max_datagram: usize,
    /// The largest IP datagram of ours over IPv4 when messages are fragmented, in octets.
    pub fragment_size_v4: usize,
    /// The same over IPv6.
    pub fragment_size_v6: usize,
    /// Whoever sends to an IKE SPI that we do not have is told so, with an unprotected INVALID_IKE_SPI.
    pub unknown_spi_notices: bool,
    /// A CHILD_SA is made in an IKE SA of its connection that stands already.
    pub reuse_ike_sa: bool,
    /// After a change of addresses or routes, ask whether the peer can still be reached even where the path is as it was.
    pub check_current_path: bool,
    /// How long a rekeyed CHILD_SA still accepts packets after both ends have deleted it; zero until its lifetime
    /// ends, if it has one.
    pub delete_rekeyed_delay: Duration,
    /// An IKE SA whose first CHILD_SA comes to nothing is deleted.
    pub close_ike_on_child_failure: bool,
    /// As a client we go to another gateway where ours sends us (RFC 5685).
    pub follow_redirects: bool,
    /// An IKE SA that is to authenticate again is deleted when the new one stands, not before.
    pub make_before_break: bool,
    /// An IKE SA is deleted when its last CHILD_SA has been idle for too long.
    pub inactivity_close_ike: bool,
    /// Signatures say how they were made, if the peer wants that too (RFC 7427).
    pub signature_authentication: bool,
    /// There may be several rounds of authentication, where connections have them (RFC 4739).
    pub multiple_authentication: bool,
    /// RSA keys sign by RSASSA-PSS where nothing else is configured.
    pub rsa_pss: bool,
    /// How methods of EAP speak TLS.
    pub tls: Arc<TlsSettings>,
    /// Which methods of EAP come first where any will do.
    pub eap_dynamic: DynamicEap,
}

/// In which order methods of EAP are offered where a connection leaves it to client and server
/// ([`EapMethods::Dynamic`](super::EapMethods::Dynamic)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamicEap {
    /// These come first, in this order.
    pub preferred: Vec<Method>,
    /// Of what a client names when it refuses one, the first it names comes next, not the first of ours.
    pub follows_client: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retransmission: Retransmission::default(),
            half_open: HalfOpenLimits::default(),
            half_open_timeout: Duration::from_secs(30), // charon.half_open_timeout
            keep_alive: Some(Duration::from_secs(20)),  // charon.keep_alive; RFC 3948 §4 has 20 s too
            force_encapsulation: false,
            prefer_configured_proposals: true,
            accept_private_algorithms: false,
            initiator_only: false,
            ike_sa_limit: None,
            max_datagram: 10_000,   // charon.max_packet
            fragment_size_v4: 1280, // charon.fragment_size
            fragment_size_v6: 1280,
            unknown_spi_notices: false,                   // charon says nothing
            reuse_ike_sa: true,                           // charon.reuse_ikesa
            check_current_path: false,                    // charon.check_current_path
            delete_rekeyed_delay: Duration::from_secs(5), // charon.delete_rekeyed_delay
            close_ike_on_child_failure: false,
            follow_redirects: true,  // charon.follow_redirects
            make_before_break: true, // charon's since 6.0: nothing is lost on the way
            inactivity_close_ike: false,
            signature_authentication: true,
            multiple_authentication: true, // charon.multiple_authentication
            rsa_pss: false,
            tls: Arc::default(),
            eap_dynamic: DynamicEap::default(),
        }
    }
}

/// The schedule of retransmissions (RFC 7296 §2.4 leaves it to us; this is charon's).
///
/// The n-th retransmission, counted from zero, follows `timeout * base^n` after what was sent before.
#[derive(Clone, Debug, PartialEq)]
pub struct Retransmission {
    /// Wait before the first retransmission.
    pub timeout: Duration,
    /// Growth of the wait from one to the next.
    pub base: f64,
    /// Retransmissions before the peer is given up.
    pub tries: u32,
    /// The most, in percent, that a wait is shortened at random: 0 to 20.
    pub jitter_percent: u8,
    /// The longest wait; `None` for no limit.
    pub limit: Option<Duration>,
}

impl Default for Retransmission {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(4), base: 1.8, tries: 5, jitter_percent: 0, limit: None }
    }
}

impl Retransmission {
    /// The wait after sending for the `sent`-th time (zero: the original); `jitter` is a draw in `0..=255`.
    #[must_use]
    pub fn wait(&self, sent: u32, jitter: u8) -> Duration {
        const LONGEST: f64 = 86_400.0; // a day: keeps absurd settings finite
        let exponent = i32::try_from(sent).unwrap_or(i32::MAX);
        let mut seconds = (self.timeout.as_secs_f64() * self.base.powi(exponent)).clamp(0.0, LONGEST);
        if let Some(limit) = self.limit {
            seconds = seconds.min(limit.as_secs_f64());
        }
        let share = f64::from(self.jitter_percent.min(20)) / 100.0 * f64::from(jitter) / 255.0;
        Duration::from_secs_f64(seconds * (1.0 - share))
    }
}
