//! What an operator configures, typed: connections, children, secrets and the endpoint's own settings.
//!
//! Values here cannot hold nonsense; whoever makes them (the daemon, from VICI messages) has already said no
//! to what does not fit. They are shared as immutable snapshots: an SA keeps the [`Connection`] it was made
//! from, whatever is loaded later.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::auth::rules::SignatureRules;
use crate::cookie::{HalfOpenLimits, HalfOpenTotal};
use crate::crypto::Secret;
use crate::crypto::signature::{KeyId, PrivateKey};
use crate::eap::{Method, Passwords, TlsSettings};
use crate::identity::Identity;
use crate::pki::{Certificate, Constraints, TrustStore};
use crate::proposal::Proposal;
use crate::selector::SelectorPattern;
use crate::wire::registry::CfgAttributeType;

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
    /// RSA keys sign by RSASSA-PSS where nothing else is configured.
    pub rsa_pss: bool,
    /// How methods of EAP speak TLS.
    pub tls: Arc<TlsSettings>,
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
            rsa_pss: false,
            tls: Arc::default(),
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

/// Connections, secrets, keys and certificates, as loaded at one moment.
#[derive(Default)]
pub struct Configuration {
    /// In load order, which breaks ties.
    pub connections: Vec<Arc<Connection>>,
    /// In load order; searched newest first.
    pub secrets: Vec<Arc<SharedSecret>>,
    /// Our private keys.
    pub private_keys: Vec<Arc<PrivateKey>>,
    /// Certificates that are trusted, and others that chains may need. Ours may be among them.
    pub trust: Arc<TrustStore>,
}

/// What a shared secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// Pre-shared keys of IKE (RFC 7296 §2.15).
    Ike,
    /// EAP passwords.
    Eap,
    /// NT hashes of EAP passwords.
    Ntlm,
    /// Post-quantum pre-shared keys (RFC 8784).
    Ppk,
}

/// A secret two parties share.
pub struct SharedSecret {
    /// Its name in the configuration, if it has one.
    pub id: Option<String>,
    /// What it is for.
    pub kind: SecretKind,
    /// Who may use it; nobody named means everybody.
    pub owners: Vec<Identity>,
    /// The octets.
    pub secret: Secret,
}

impl Configuration {
    /// The secret of `kind` that fits us and the peer best: by the peer's identity first, then by ours, the
    /// newest where that leaves a choice.
    #[must_use]
    pub fn shared_secret(
        &self,
        kind: SecretKind,
        ours: &Identity,
        peers: &Identity,
    ) -> Option<&SharedSecret> {
        let mut best: Option<((u8, u8), &SharedSecret)> = None;
        for secret in self.secrets.iter().rev().filter(|s| s.kind == kind) {
            let quality = |who: &Identity| match secret.owners.as_slice() {
                [] => 1, // as an owner of %any
                owners => owners.iter().filter_map(|owner| who.matches(owner)).max().unwrap_or(0),
            };
            let score = (quality(peers), quality(ours));
            if score != (0, 0) && best.is_none_or(|(so_far, _)| score > so_far) {
                best = Some((score, secret));
            }
        }
        best.map(|(_, secret)| secret)
    }
}

impl Configuration {
    /// The secret of `kind` that the client of an EAP conversation owns: the one that fits it best, then the server. A
    /// secret that fits the server alone is somebody else's.
    fn client_secret(&self, kind: SecretKind, client: &Identity, server: &Identity) -> Option<&Secret> {
        let quality = |secret: &SharedSecret, who: &Identity| match secret.owners.as_slice() {
            [] => Some(1), // as an owner of %any
            owners => owners.iter().filter_map(|owner| who.matches(owner)).max(),
        };
        self.secrets
            .iter() // max_by_key keeps the last of equals: the newest
            .filter(|secret| secret.kind == kind)
            .filter_map(|secret| Some(((quality(secret, client)?, quality(secret, server)), secret)))
            .max_by_key(|(quality, _)| *quality)
            .map(|(_, secret)| &secret.secret)
    }
}

impl Configuration {
    /// The private key of a certificate.
    #[must_use]
    pub fn private_key(&self, certificate: &Certificate) -> Option<&Arc<PrivateKey>> {
        self.private_keys.iter().find(|key| key.public().info_id() == *certificate.key_hash())
    }

    /// The certificate that we prove `id` with as `auth` says, and its key: the first that an authority of `asked` has
    /// vouched for, or else the first. `asked` are hashes of authorities' keys (RFC 7296 §3.7).
    #[must_use]
    pub fn credential(
        &self,
        auth: &LocalAuth,
        id: &Identity,
        asked: &[KeyId],
    ) -> Option<(Certificate, Arc<PrivateKey>)> {
        let configured = auth.certificates.iter();
        let mut usable: Vec<_> = if auth.certificates.is_empty() {
            self.trust.end_entities().iter().filter(|certificate| certificate.carries(id)).collect()
        } else {
            configured.collect()
        };
        usable.retain(|certificate| self.private_key(certificate).is_some());
        let is_asked = |certificate: &&&Certificate| {
            std::iter::once((**certificate).clone())
                .chain(self.authorities_above(certificate, true))
                .any(|authority| asked.contains(authority.key_hash()))
        };
        let certificate = usable.iter().find(is_asked).or_else(|| usable.first())?;
        Some(((*certificate).clone(), self.private_key(certificate)?.clone()))
    }

    /// The authorities that stand above a certificate, from its issuer up; those that vouch for themselves only if they
    /// are wanted.
    #[must_use]
    pub fn authorities_above(&self, certificate: &Certificate, with_anchor: bool) -> Vec<Certificate> {
        const MOST: usize = 10; // no chain is longer
        let mut above = Vec::new();
        let mut last = certificate.clone();
        while above.len() < MOST && !last.is_self_issued() {
            let Some(issuer) = self.trust.authorities().find(|authority| last.names_as_issuer(authority))
            else {
                break;
            };
            if issuer.is_self_issued() && !with_anchor {
                break;
            }
            above.push(issuer.clone());
            last = issuer.clone();
        }
        above
    }
}

impl Passwords for Configuration {
    fn password(&self, client: &Identity, server: &Identity) -> Option<&Secret> {
        self.client_secret(SecretKind::Eap, client, server)
    }

    fn nt_hash(&self, client: &Identity, server: &Identity) -> Option<&Secret> {
        self.client_secret(SecretKind::Ntlm, client, server)
    }
}

/// Which versions of IKE a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Not said: IKEv2 is what we speak.
    Any,
    /// IKEv2 alone.
    V2,
}

/// An address, or addresses, as `local_addrs` and `remote_addrs` have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressPattern {
    /// `%any`.
    Any,
    /// `%any4`.
    AnyV4,
    /// `%any6`.
    AnyV6,
    /// One address.
    Host(IpAddr),
    /// A prefix and its length.
    Subnet(IpAddr, u8),
    /// From one address to another, both included.
    Range(IpAddr, IpAddr),
    /// A DNS name, and the addresses it had when the snapshot was made.
    Name(String, Vec<IpAddr>),
}

impl AddressPattern {
    /// How well an address fits: 129 for the host itself, prefix length + 1 in a subnet, 1 for a range or any.
    #[must_use]
    pub fn matches(&self, addr: IpAddr) -> Option<u32> {
        match self {
            Self::Any => Some(1),
            Self::AnyV4 => addr.is_ipv4().then_some(1),
            Self::AnyV6 => addr.is_ipv6().then_some(1),
            Self::Host(host) => (*host == addr).then_some(129),
            Self::Subnet(network, length) => {
                prefix_contains(*network, *length, addr).then_some(u32::from(*length) + 1)
            }
            Self::Range(from, to) => {
                (from.is_ipv4() == addr.is_ipv4() && *from <= addr && addr <= *to).then_some(1)
            }
            Self::Name(_, addresses) => addresses.contains(&addr).then_some(129),
        }
    }
}

fn prefix_contains(network: IpAddr, length: u8, addr: IpAddr) -> bool {
    match (network, addr) {
        (IpAddr::V4(n), IpAddr::V4(a)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            n.to_bits() & mask == a.to_bits() & mask
        }
        (IpAddr::V6(n), IpAddr::V6(a)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            n.to_bits() & mask == a.to_bits() & mask
        }
        _ => false,
    }
}

/// What happens when a peer that has an IKE SA makes another (swanctl.conf `unique`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// Both stay, even when the peer says INITIAL_CONTACT.
    Never,
    /// Both stay, unless the peer says INITIAL_CONTACT.
    No,
    /// The new one takes the old one's place.
    Replace,
    /// The new one is refused.
    Keep,
}

/// Whether large messages travel in fragments (RFC 7383, swanctl.conf `fragmentation`). Those of a peer are always
/// put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragmentation {
    /// In both directions.
    Yes,
    /// The peer may, we do not.
    Accept,
    /// The peer is not told that it may.
    No,
}

/// Whether we send our certificates (swanctl.conf `send_cert`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendCert {
    /// If the peer asks for certificates.
    IfAsked,
    /// Always.
    Always,
    /// Never: the peer has them.
    Never,
}

/// How an end proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthClass {
    /// A pre-shared key.
    Psk,
    /// A signature, with the key of a certificate.
    PublicKey,
    /// EAP (RFC 7296 §2.16): the initiator as its client, the responder as its server.
    Eap(EapMethods),
}

/// Which methods of EAP may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EapMethods {
    /// Any we have.
    Any,
    /// Any we have: the server offers one after the other.
    Dynamic,
    /// This one.
    One(Method),
    /// Whatever a server elsewhere uses (RADIUS): we pass its packets on, and believe what it concludes. As the
    /// responder alone.
    Relay,
}

impl EapMethods {
    /// The methods, the best first.
    #[must_use]
    pub fn in_order(self) -> Vec<Method> {
        match self {
            Self::Any | Self::Dynamic => Method::ALL.to_vec(),
            Self::One(method) => vec![method],
            Self::Relay => vec![],
        }
    }
}

/// One round of our own authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAuth {
    /// How we prove it.
    pub class: AuthClass,
    /// Certificates to prove it with, the first choice first; of those that are loaded one with our identity, if there
    /// are none.
    pub certificates: Vec<Certificate>,
    /// How we may sign.
    pub rules: SignatureRules,
    /// Who we say we are; `None` for our address.
    pub id: Option<Identity>,
    /// Who we say we are in EAP; `None` for the same.
    pub eap_id: Option<Identity>,
    /// Who the server must be in EAP methods that tell; a pattern. `None` for anybody, or the peer where nothing else
    /// proves it.
    pub aaa_id: Option<Identity>,
}

impl LocalAuth {
    /// Who we say we are, if that does not depend on anything else: who was configured, or the subject of our
    /// certificate.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        let of_certificate = || self.certificates.first().map(|certificate| certificate.subject().clone());
        self.id.clone().or_else(of_certificate)
    }
}

/// One round of the peer's authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAuth {
    /// How it must prove it; `None` for any way.
    pub class: Option<AuthClass>,
    /// How it may sign.
    pub rules: SignatureRules,
    /// What its certificate and the chain to its trust anchor have to be.
    pub trust: Constraints,
    /// Who it may be; a pattern.
    pub id: Identity,
    /// Who it may be in EAP, where it is asked for its identity; a pattern. `None` does not ask.
    pub eap_id: Option<Identity>,
    /// Groups of which it must be in one, as who has authenticated it says; none for anybody.
    pub groups: Vec<Identity>,
}

/// What we do of our own accord with a child: at load, when the peer closes it, when the peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildAction {
    /// Nothing.
    None,
    /// Let a trap wait for a packet that needs it.
    Trap,
    /// Make it.
    Start,
    /// Both.
    TrapAndStart,
}

impl ChildAction {
    /// A trap is to be there.
    #[must_use]
    pub const fn traps(self) -> bool {
        matches!(self, Self::Trap | Self::TrapAndStart)
    }

    /// The child is to be made.
    #[must_use]
    pub const fn starts(self) -> bool {
        matches!(self, Self::Start | Self::TrapAndStart)
    }
}

/// Whether IKE SAs are made without a CHILD_SA at first (RFC 6023).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Childless {
    /// As responder, and as initiator where there is no child to make.
    Allow,
    /// The same, and as initiator with every peer that takes it.
    Prefer,
    /// In either role, or not at all.
    Force,
    /// Not as responder.
    Never,
}

/// One peer, or a kind of peer: swanctl.conf's `connections.<name>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// Versions of IKE.
    pub version: Version,
    /// Addresses of ours it is for; at least one pattern.
    pub local_addrs: Vec<AddressPattern>,
    /// Addresses of the peer; at least one pattern.
    pub remote_addrs: Vec<AddressPattern>,
    /// Local port when we initiate; zero for the endpoint's own.
    pub local_port: u16,
    /// The peer's port when we initiate.
    pub remote_port: u16,
    /// Proposals for the IKE SA, at least one, the best first.
    pub proposals: Vec<Proposal>,
    /// Virtual IPs to ask for; unspecified addresses ask for any.
    pub vips: Vec<IpAddr>,
    /// Pretend a NAT so that ESP is encapsulated in UDP.
    pub encap: bool,
    /// The Differentiated Services codepoint of IKE messages (RFC 2474 §3): six bits.
    pub dscp: u8,
    /// Large messages in fragments.
    pub fragmentation: Fragmentation,
    /// Either end may change its addresses, if the peer wants that too (RFC 4555).
    pub mobike: bool,
    /// Ask whether the peer lives after so long without a sign of it; `None` never asks.
    pub dpd_delay: Option<Duration>,
    /// Whole sequences of retransmissions when initiating; zero for no end.
    pub keyingtries: u32,
    /// Several IKE SAs with the same peer.
    pub unique: Unique,
    /// IKE SAs without a CHILD_SA at first.
    pub childless: Childless,
    /// Whether our certificates are sent.
    pub send_cert: SendCert,
    /// Whether the peer is asked for certificates, and told which authorities we trust.
    pub send_certreq: bool,
    /// When the IKE SA is to be rekeyed; `None` for never.
    pub rekey_time: Option<Duration>,
    /// When the IKE SA is to be made anew with authentication; `None` for never.
    pub reauth_time: Option<Duration>,
    /// How long after the earlier of these the IKE SA ends at the latest.
    pub over_time: Duration,
    /// The most that is taken off these at random.
    pub rand_time: Duration,
    /// Pools that virtual IPs for the peer come from, in order.
    pub pools: Vec<String>,
    /// Our rounds of authentication; at least one.
    pub local: Vec<LocalAuth>,
    /// The peer's rounds of authentication; at least one.
    pub remote: Vec<RemoteAuth>,
    /// Its children, in load order.
    pub children: Vec<Arc<Child>>,
}

impl Connection {
    /// The child of that name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Arc<Child>> {
        self.children.iter().find(|child| child.name == name)
    }

    /// How well a pair of addresses fits this connection as responder, in charon's measure; `None`: not at all.
    #[must_use]
    pub fn matches(&self, local: IpAddr, remote: IpAddr) -> Option<u32> {
        let best = |patterns: &[AddressPattern], addr| patterns.iter().filter_map(|p| p.matches(addr)).max();
        let explicit = u32::from(self.version == Version::V2) * 4;
        Some(best(&self.local_addrs, local)? * 8 + best(&self.remote_addrs, remote)? * 16 + explicit)
    }
}

/// How the inner packet is carried (RFC 7296 §1.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Packets inside packets.
    Tunnel,
    /// Packets of the two ends themselves, whose IP header stays.
    Transport,
    /// Packets of one address at each end: the headers of tunnel mode without carrying them (Bound End-to-End Tunnel,
    /// strongSwan's own).
    Beet,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tunnel => "tunnel",
            Self::Transport => "transport",
            Self::Beet => "BEET",
        })
    }
}

/// What becomes of packets that a child's selectors take (RFC 4301 §4.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processing {
    /// They are protected by a CHILD_SA: PROTECT.
    Protect(Mode),
    /// They pass as they are, whatever else would protect them: BYPASS.
    Pass,
    /// They are dropped, unless something else protects them: DISCARD.
    Drop,
}

/// Whether DSCP is copied between inner and outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyDscp {
    /// Inner to outer when sealing.
    Out,
    /// Outer to inner when opening.
    In,
    /// Both.
    Both,
    /// Neither.
    No,
}

/// A number by which a data plane tells the packets of one CHILD_SA from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// This one.
    Fixed(u32),
    /// One that each CHILD_SA has for itself, and its successors after it.
    Unique,
    /// Two, one for each direction.
    UniqueDirection,
    /// The one of the packets that were not processed yet.
    Same,
}

/// A firewall mark, and its bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The mark.
    pub value: Label,
    /// Its bits that count.
    pub mask: u32,
}

/// What tells a child's packets from others beside its selectors. It is the data plane's alone; peers do not know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// The mark of packets that come in, after they were opened.
    pub mark_in: Option<Mark>,
    /// The same mark is on them before, too.
    pub is_mark_in_on_sa: bool,
    /// The mark of packets that are to be sealed.
    pub mark_out: Option<Mark>,
    /// The mark that opened packets get.
    pub set_mark_in: Option<Mark>,
    /// The mark that sealed packets get.
    pub set_mark_out: Option<Mark>,
    /// The XFRM interface that opened packets come by.
    pub interface_in: Option<Label>,
    /// The XFRM interface that packets leave by to be sealed.
    pub interface_out: Option<Label>,
}

/// How much traffic a CHILD_SA may carry in each direction, in octets or in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// After so much it is to be rekeyed; `None` for never.
    pub rekey: Option<u64>,
    /// After so much it carries no more; `None` for no limit.
    pub life: Option<u64>,
    /// The most that is taken off `rekey` at random.
    pub rand: u64,
}

/// One kind of CHILD_SA: swanctl.conf's `children.<name>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its name.
    pub name: String,
    /// Proposals for ESP, at least one, the best first.
    pub esp_proposals: Vec<Proposal>,
    /// Traffic on our side; at least one.
    pub local_ts: Vec<SelectorPattern>,
    /// Traffic on the peer's side; at least one.
    pub remote_ts: Vec<SelectorPattern>,
    /// What becomes of that traffic.
    pub processing: Processing,
    /// When it is to be rekeyed; `None` for never.
    pub rekey_time: Option<Duration>,
    /// When it ends; `None` for never.
    pub life_time: Option<Duration>,
    /// The most that is taken off `rekey_time` at random.
    pub rand_time: Duration,
    /// How many octets of inner packets each direction may carry.
    pub bytes: Volume,
    /// How many packets each direction may carry.
    pub packets: Volume,
    /// It ends when it has carried nothing for so long; `None` for never.
    pub inactivity: Option<Duration>,
    /// What happens when it is loaded.
    pub start_action: ChildAction,
    /// What happens when the peer closes it.
    pub close_action: ChildAction,
    /// What happens when the peer is found dead.
    pub dpd_action: ChildAction,
    /// Packets the anti-replay window spans; zero turns it off.
    pub replay_window: u32,
    /// A reqid set by hand; `None` for the next free one.
    pub reqid: Option<u32>,
    /// Copy the DF bit to the outer header.
    pub copy_df: bool,
    /// Carry ECN as RFC 6040 has it.
    pub copy_ecn: bool,
    /// Carry DSCP.
    pub copy_dscp: CopyDscp,
    /// Marks and interfaces of its packets.
    pub labels: Labels,
}

impl Child {
    /// The mode its CHILD_SAs are to have; `None` if it has none, since its traffic passes or is dropped.
    #[must_use]
    pub const fn mode(&self) -> Option<Mode> {
        match self.processing {
            Processing::Protect(mode) => Some(mode),
            Processing::Pass | Processing::Drop => None,
        }
    }
}

/// Addresses and attributes that a peer got from our pools, or that we got from a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Virtual IPs, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Further attributes of the configuration payload (RFC 7296 §3.15.1), DNS servers and the like.
    pub attributes: Vec<(CfgAttributeType, Vec<u8>)>,
}

/// The address that asks for any of a family.
#[must_use]
pub fn any_address(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}
