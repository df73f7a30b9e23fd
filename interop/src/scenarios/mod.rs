//! What must come true between ferryd and real peers: one function each, all of them listed by [`all`].
//!
//! Every scenario takes the daemon under test as a parameter. With [`Daemon::Charon`] in its place a scenario runs
//! strongSwan against itself, which shows that the scenario asks for nothing charon does not do.

mod badinput;
mod certificates;
mod children;
mod clients;
mod eap;
mod eap_tls;
mod ferryctl;
mod flood;
mod fragmentation;
mod handshake;
mod judged;
mod kernel;
mod libreswan;
mod lifecycle;
mod loss;
mod machine;
mod many;
mod mobility;
mod openiked;
mod operator;
mod radius;
mod refusal;
mod rekeying;
mod reload;
mod revocation;
pub(crate) mod roadwarrior;
mod rounds;
mod routing;
mod site;
mod strangers;
mod suites;
mod swanctl;
pub(crate) mod topology;
mod tunnels;
mod uniqueness;
mod updown;
mod vici;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::lab::Lab;
use crate::peer::Daemon;

/// Something that must come true in the lab.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line and of its folder.
    pub name: String,
    /// What it proves, in one sentence.
    pub claim: &'static str,
    /// How long it may take on a busy machine.
    pub limit: Duration,
    /// Beside which others it is played.
    pub company: Company,
    run: Run,
}

/// Beside which others a scenario is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// A limited number of others: it keeps the machine busy.
    Few,
    /// All others: it takes long and does little.
    All,
    /// None: it is about how much ferryd can do.
    None,
}

/// Who plays which part.
#[derive(Clone, Copy, Debug)]
struct Roles {
    initiator: Daemon,
    responder: Daemon,
}

type WithOurs = fn(&Lab, Daemon) -> Result<()>;
type WithRoles = fn(&Lab, Roles) -> Result<()>;
type Alone = fn(&Lab) -> Result<()>;

#[derive(Clone, Copy, Debug)]
enum Run {
    /// The scenario gives the daemon under test its part.
    Once(WithOurs),
    /// The daemon under test initiates to this one.
    Initiating(WithRoles, Daemon),
    /// This one initiates to the daemon under test.
    Responding(WithRoles, Daemon),
    /// The scenario is about ferryd, and about nothing charon claims.
    FerrydAlone(Alone),
    /// The scenario gives the daemon under test its part, with a daemon that is not strongSwan's at the other end.
    WithStranger(WithOurs),
}

impl Scenario {
    /// Plays the scenario in `lab` with `ours` as the daemon under test.
    ///
    /// # Errors
    /// When it did not come true; the error says what was found instead and where to look.
    pub fn play(&self, lab: Lab, ours: Daemon) -> Result<()> {
        let play = || match self.run {
            Run::Once(run) | Run::WithStranger(run) => run(&lab, ours),
            Run::Initiating(run, peer) => run(&lab, Roles { initiator: ours, responder: peer }),
            Run::Responding(run, peer) => run(&lab, Roles { initiator: peer, responder: ours }),
            Run::FerrydAlone(run) => run(&lab),
        };
        let result = match catch_unwind(AssertUnwindSafe(play)) {
            Ok(result) => result,
            Err(panic) => Err(anyhow!("it panicked: {}", panic_text(panic.as_ref()))),
        };
        match result {
            Ok(()) => lab.close(),
            Err(error) => Err(error.context(format!("what was seen lies in {}", lab.describe().display()))),
        }
    }

    /// Whether the scenario can be played with `ours` as the daemon under test.
    pub fn suits(&self, ours: Daemon) -> bool {
        ours == Daemon::Ferryd || !matches!(self.run, Run::FerrydAlone(_))
    }

    /// Whether a daemon in a root file system of its own takes part.
    pub fn needs_charon6(&self) -> bool {
        matches!(self.run, Run::Initiating(_, Daemon::Charon6) | Run::Responding(_, Daemon::Charon6))
    }

    /// Whether a daemon of the root file system with strangers takes part.
    pub fn needs_strangers(&self) -> bool {
        matches!(self.run, Run::WithStranger(_))
    }

    fn new(name: String, claim: &'static str, run: Run) -> Self {
        Self { name, claim, limit: Duration::from_secs(180), company: Company::Few, run }
    }

    /// A scenario in both roles: the daemon under test as initiator, and as responder, with `peer` at the other end.
    fn in_both_roles(entry: &Entry<WithRoles>, peer: Daemon) -> [Self; 2] {
        let &(name, claim, run) = entry;
        let generation = if peer == Daemon::Charon6 { "-6" } else { "" };
        [("initiator", Run::Initiating(run, peer)), ("responder", Run::Responding(run, peer))]
            .map(|(role, run)| Self::new(format!("{name}-{role}{generation}"), claim, run))
    }
}

/// A scenario's name, its claim, and how it is played.
type Entry<Play> = (&'static str, &'static str, Play);

/// Scenarios with a part for the daemon under test.
const ONCE: &[Entry<WithOurs>] = &[
    (
        "two-behind-one-nat",
        "Two clients behind one NAT have an address and a working tunnel each.",
        clients::two_behind_one_nat,
    ),
    (
        "killed-gateway",
        "A gateway killed without warning starts again over what it left behind, and serves its client again.",
        clients::killed_gateway,
    ),
    (
        "stopped-gateway",
        "A gateway that is stopped deletes its SAs with its peers, removes its routes and exits with 0.",
        clients::stopped_gateway,
    ),
    (
        "cut-line",
        "Liveness checks keep an idle SA and end one whose peer is gone, with its lease and route.",
        clients::cut_line,
    ),
    (
        "uniqueness",
        "A second SA of one identity is treated as the connection's policy and INITIAL_CONTACT ask for.",
        uniqueness::policies,
    ),
    (
        "nat-rebinding",
        "When the NAT before a client forgets its mappings, the gateway follows the client to the new ones.",
        mobility::nat_rebinding,
    ),
    ("keepalive", "A client behind a NAT sends keepalives while nothing else is sent.", loss::keepalive),
    (
        "swanctl-credentials",
        "swanctl loads certificates and keys from every folder, with their passphrases, and lists them in charon's words.",
        swanctl::credentials,
    ),
    (
        "swanctl-load-all",
        "swanctl --load-all prints and returns what it does with charon.",
        swanctl::load_all,
    ),
    (
        "swanctl-list-conns",
        "swanctl --list-conns and --list-pools show a configuration as they do with charon.",
        swanctl::list_configuration,
    ),
    (
        "swanctl-inform",
        "swanctl --list-algs, --stats, --version and --log work and tell the truth.",
        swanctl::inform,
    ),
    (
        "list-pols",
        "swanctl --install, --uninstall and --list-pols do and show what they do with charon.",
        children::list_policies,
    ),
    (
        "radius",
        "A client that FreeRADIUS accepts has its address and DNS server from there, traffic flows, and the accounts say \
         what it was.",
        radius::accepted,
    ),
    (
        "radius-reject",
        "A client that FreeRADIUS rejects, or that is in none of the groups asked for, does not come in.",
        radius::rejected,
    ),
    (
        "radius-unaccounted",
        "A session of which no server keeps an account any more ends.",
        radius::unaccounted,
    ),
    (
        "radius-session-timeout",
        "A client whose session FreeRADIUS limits authenticates again in time.",
        radius::session_timeout,
    ),
    (
        "radius-coa",
        "A session is limited while it lasts by a CoA-Request, and the client authenticates again.",
        radius::limited,
    ),
    (
        "radius-disconnect",
        "A Disconnect-Request ends the session that it names, and no other; who has not the secret is not answered.",
        radius::disconnected,
    ),
    (
        "bird",
        "BIRD learns the route to a client from table 220, and withdraws it when the client leaves.",
        routing::learned_by_bird,
    ),
    ("site-with-itself", "Two gateways of one make join networks of both IP versions.", site::with_itself),
    (
        "small-devices",
        "TCP gets through a tunnel whose packets the gateways' devices take in fragments alone.",
        site::on_small_devices,
    ),
];

/// Scenarios to be played twice, with the daemon under test as initiator and as responder.
const IN_BOTH_ROLES: &[Entry<WithRoles>] = &[
    (
        "road-warrior",
        "A client behind a NAT gets a virtual address and DNS from the gateway's pool, traffic flows both ways, and \
         after a break it gets the same address again.",
        roadwarrior::behind_nat,
    ),
    (
        "road-warrior-ipv6",
        "A client gets virtual addresses of both IP versions and reaches the LAN with either.",
        roadwarrior::with_both_families,
    ),
    ("site", "Two gateways join their networks, and either end may begin and end it.", site::to_site),
    ("ipv6-outside", "Gateways that speak IPv6 join networks of both IP versions.", site::ipv6_outside),
    ("ipv6-inside", "Gateways that speak IPv4 join IPv6 networks.", site::ipv6_inside),
    (
        "narrowing",
        "Where one end asks for more than the other gives, both use what they share.",
        site::narrows,
    ),
    (
        "wrong-key",
        "A wrong pre-shared key is refused and both logs say so; the right one then works.",
        refusal::wrong_key,
    ),
    (
        "no-common-ike-proposal",
        "Without a common IKE proposal nothing is set up; one log tells both sides' proposals, the other the refusal.",
        refusal::no_common_ike_proposal,
    ),
    (
        "no-common-esp-proposal",
        "Without a common ESP proposal the IKE SA stays without a child, and both logs say why.",
        refusal::no_common_esp_proposal,
    ),
    (
        "wrong-identity",
        "A client that expects another gateway than the one answering gets nowhere.",
        refusal::wrong_identity,
    ),
    (
        "cookie",
        "A gateway with half-open SAs asks for a cookie, and a client that returns it gets in.",
        handshake::cookie,
    ),
    (
        "invalid-ke",
        "A key exchange method guessed wrong is corrected by INVALID_KE_PAYLOAD.",
        handshake::invalid_ke,
    ),
    (
        "narrow-line",
        "Over a line that drops large datagrams and IP fragments, IKE_AUTH passes in fragments of its own; without \
         them it fails, and the log says so.",
        fragmentation::narrow_line,
    ),
    (
        "killed-client",
        "A client killed without warning comes back, gets the same address, and its old SA is gone.",
        clients::killed_client,
    ),
    (
        "lossy-line",
        "Over a line that loses every third datagram each way, SAs come up, agree and go down.",
        loss::lossy_line,
    ),
    (
        "swanctl-list-sas",
        "swanctl --list-sas shows one SA in the same lines at its charon end and at its other end.",
        swanctl::list_sas,
    ),
    (
        "moving-client",
        "A client that changes its address and then its uplink under load keeps its SAs, and traffic flows again \
         within a round trip of the update.",
        mobility::moving_client,
    ),
    (
        "eap",
        "A client proves itself by EAP-MSCHAPv2, -MD5 and -GTC to a gateway with a pre-shared key, and has an address and \
         traffic under its EAP identity.",
        eap::by_password,
    ),
    (
        "eap-wrong-password",
        "A client with a wrong EAP password is refused, whatever the method, and the gateway's log says who.",
        eap::wrong_password,
    ),
    (
        "certificates",
        "Both ends prove themselves by certificates: with RSA by PKCS#1 and by PSS, ECDSA on three curves, and Ed25519.",
        certificates::every_key,
    ),
    (
        "certificates-classic",
        "With a peer that does not know RFC 7427, signatures are made in the older way.",
        certificates::classic,
    ),
    (
        "certificates-intermediate",
        "Authorities in between are sent along, and lead to the one that both ends trust.",
        certificates::intermediate,
    ),
    (
        "raw-keys",
        "Both ends know each other's keys without certificates, by path and by value, under names and under none; another key \
         is refused.",
        certificates::raw_keys,
    ),
    (
        "certificates-renewed",
        "A renewed certificate with another key is loaded under a standing tunnel, which nothing happens to; the next \
         authentication is made with it.",
        certificates::renewed,
    ),
    (
        "certificates-refused",
        "Certificates that have expired, that another authority has signed, or that are for somebody else, set nothing up.",
        certificates::refusals,
    ),
    (
        "revocation",
        "Whom a list fetched over HTTP calls revoked is refused; with revocation = strict, so is whoever no list is about.",
        revocation::by_list,
    ),
    (
        "revocation-ocsp",
        "Whom OpenSSL's OCSP responder calls revoked is refused; with the responder down, revocation = strict and ifuri refuse \
         and relaxed lets in.",
        revocation::by_ocsp,
    ),
    (
        "certificates-eap",
        "A gateway with a certificate lets a client in that proves itself by EAP-MSCHAPv2, -MD5 and -GTC.",
        certificates::with_eap,
    ),
    (
        "rounds",
        "A client proves itself in two rounds, by certificate, pre-shared key or EAP and then as somebody else; with one of \
         them nothing is set up.",
        rounds::of_client,
    ),
    (
        "eap-tls",
        "A client proves itself by EAP-TLS and EAP-TTLS, in fragments, to a gateway with a certificate, in IKE and by EAP \
         alone.",
        eap_tls::in_turn,
    ),
    (
        "eap-tls-refused",
        "A client whose certificate is for somebody else, or of another authority, is refused by EAP-TLS.",
        eap_tls::refusals,
    ),
    (
        "reauthentication",
        "A client that reauthenticates keeps its address, and with make before break its gateway loses no packet.",
        lifecycle::make_before_break,
    ),
    (
        "reauthentication-break",
        "A client that deletes its IKE SA before it makes it anew has its child and its address again.",
        lifecycle::break_before_make,
    ),
    (
        "auth-lifetime",
        "A gateway says when its client must authenticate again, and the client does.",
        lifecycle::auth_lifetime,
    ),
    ("inactivity", "A child that carries nothing is deleted, and its IKE SA stays.", lifecycle::inactivity),
    (
        "childless",
        "An IKE SA is made without a child, with its address, and the child follows.",
        lifecycle::childless,
    ),
    ("redirect", "A client goes to the other gateway that its gateway names.", lifecycle::redirect),
    (
        "restart",
        "What is to be up comes up again after the peer has closed it, and after the peer was gone.",
        lifecycle::restart,
    ),
    (
        "protocols",
        "A child for one protocol carries that, and nothing else, which does not leave in the clear either.",
        children::protocols,
    ),
    (
        "updown",
        "A script is told of a child that comes and goes, in the same words at both ends, and nobody waits for it.",
        updown::told_at_both_ends,
    ),
    ("suites", "Every algorithm, for IKE and for ESP, carries pings both ways.", suites::each_in_turn),
];

/// Those of them to be played with strongSwan's next generation, too.
const WITH_CHARON6: &[&str] = &["road-warrior", "site", "narrowing", "wrong-key", "narrow-line"];

/// Scenarios to be played in both roles with strongSwan's next generation alone: the older one lacks what they are about.
const WITH_CHARON6_ALONE: &[Entry<WithRoles>] = &[
    (
        "eap-tls-1.3",
        "EAP-TLS and EAP-TTLS with TLS 1.3, whose keys and commitment are those of RFC 9190.",
        eap_tls::with_tls_1_3,
    ),
    (
        "ocsp-in-band",
        "Both ends show each other what their OCSP responders say of their certificates, where neither can ask the other's; who \
         shows nothing, or that it is revoked, is refused.",
        revocation::in_band,
    ),
];

/// Scenarios in which strongSwan of either generation is compared with the daemon under test, which plays the same part.
const COMPARED: &[Entry<WithRoles>] = &[
    (
        "vici",
        "Python's vici asks charon and ferryd for everything, and the answers differ in nothing but what is known and why.",
        vici::by_python,
    ),
    (
        "swanctl",
        "Every command of swanctl says of charon and of ferryd the same, and exits alike, but for what is known and why.",
        vici::by_swanctl,
    ),
];

/// Scenarios to be played in both roles and with both generations of strongSwan, beside all others.
const LASTING: &[Entry<WithRoles>] = &[(
    "rekeying",
    "While both ends rekey child and IKE SA every few seconds, each packet of a minute arrives, and arrives once.",
    rekeying::without_loss,
)];

/// Scenarios about how much the daemon under test can do, to be played by themselves.
const MEASURING: &[Entry<WithOurs>] = &[
    (
        "flood",
        "In a flood of 20000 spoofed first messages a second the gateway demands cookies, remembers nobody, and lets a \
         client in within two seconds.",
        flood::spoofed,
    ),
    (
        "many",
        "Of 5000 IKE SAs twenty listings at once are there within a second, while new clients connect without a \
         retransmission.",
        many::listed,
    ),
];

/// Scenarios about ferryd alone.
const FERRYD_ALONE: &[Entry<Alone>] = &[
    (
        "moving-client-of-ours",
        "Between two of ours, a client that moves keeps its CHILD_SAs too.",
        mobility::moving_client_of_ours,
    ),
    (
        "garbage",
        "Garbage on both ports, however well it imitates an SA's packets, is counted and harms nothing.",
        badinput::garbage,
    ),
    (
        "unusable-configuration",
        "ferryctl names file and line, or the full key, of what it cannot use, and changes nothing.",
        badinput::unusable_configuration,
    ),
    (
        "ferryctl",
        "ferryctl loads, begins, lists and ends as swanctl does, in the same words.",
        ferryctl::same_as_swanctl,
    ),
    (
        "kept-leases",
        "A client has the address again that it had before its gateway was killed, though another one comes first.",
        clients::kept_leases,
    ),
    (
        "reload",
        "Of 50 connections one is changed at a time, 100 times, under traffic: it is made anew before it goes, and nothing \
         happens to the others.",
        reload::under_traffic,
    ),
    (
        "metrics",
        "Metrics tell of a client that fails and why, of one that connects, and of what it carries.",
        operator::metrics,
    ),
    (
        "check",
        "ferryctl check finds no error in what works, and names file, line and remedy of one.",
        operator::check,
    ),
    (
        "explain",
        "ferryctl explain tells of a wrong secret, identity or proposal, and of a CHILD_SA that is refused, what to do about each.",
        operator::explain,
    ),
    (
        "unread-log",
        "A gateway whose log goes to a full pipe that nobody reads serves a client, and what was logged is not lost.",
        operator::unread_log,
    ),
    (
        "eap-psk-only",
        "Client and gateway prove themselves by EAP-PSK alone, and traffic flows; with another key nothing is set up.",
        eap::psk_only,
    ),
    (
        "trap",
        "A trap makes the SA that the first packet needs and keeps the packet until then; nothing leaves in the clear.",
        children::trap,
    ),
    (
        "shunts",
        "What a policy lets pass leaves as it is, and what one drops does not leave, beside an SA that protects.",
        children::shunts,
    ),
    (
        "radius-fail-over",
        "While the first RADIUS server is silent, or gone, the second one serves.",
        radius::fail_over,
    ),
    (
        "eap-psk-hostapd",
        "A client of ours proves itself by EAP-PSK to hostapd's RADIUS server through our gateway, and traffic flows.",
        radius::psk_by_hostapd,
    ),
    (
        "eap-psk-eapol-test",
        "wpa_supplicant's client accepts our EAP-PSK server and has the same key; with another key neither accepts.",
        radius::psk_by_eapol_test,
    ),
    (
        "eap-tunnels-eapol-test",
        "wpa_supplicant's client accepts our EAP-TLS, TTLS and PEAP servers and has the same keys; with a wrong password or \
         certificate neither accepts.",
        tunnels::before_eapol_test,
    ),
    (
        "eap-tunnels-hostapd",
        "A client of ours proves itself by TTLS and PEAP to hostapd's RADIUS server through our gateway, which has a \
         certificate; with a wrong password, or another server, nothing is set up.",
        tunnels::before_hostapd,
    ),
    (
        "certificates-openssl",
        "OpenSSL and we believe the same chains of certificates; where we do not, there is a reason.",
        judged::chains,
    ),
    (
        "service-manager",
        "A service manager is told when ferryd serves and when it ends.",
        ferryctl::service_manager,
    ),
    (
        "occupied-port",
        "An occupied port is one clear sentence and a non-zero exit status.",
        badinput::occupied_port,
    ),
    (
        "missing-tun",
        "A missing TUN device is one clear sentence and a non-zero exit status.",
        badinput::missing_tun,
    ),
    (
        "missing-privilege",
        "Missing privileges are one clear sentence and a non-zero exit status.",
        badinput::missing_privilege,
    ),
];

/// Every scenario that is played in userspace.
pub fn all() -> Vec<Scenario> {
    let once = ONCE.iter().map(|&(name, claim, run)| Scenario::new(name.to_owned(), claim, Run::Once(run)));
    let measuring = MEASURING
        .iter()
        .map(|&(name, claim, run)| Scenario::new(name.to_owned(), claim, Run::Once(run)))
        .map(|scenario| Scenario { company: Company::None, ..scenario });
    let twice = IN_BOTH_ROLES.iter().flat_map(|entry| Scenario::in_both_roles(entry, Daemon::Charon));
    let again = IN_BOTH_ROLES.iter().filter(|(name, ..)| WITH_CHARON6.contains(name));
    let again = again.flat_map(|entry| Scenario::in_both_roles(entry, Daemon::Charon6));
    let compared = COMPARED.iter().flat_map(|&(name, claim, run)| {
        [(name.to_owned(), Daemon::Charon), (format!("{name}-6"), Daemon::Charon6)]
            .map(|(name, charon)| Scenario::new(name, claim, Run::Initiating(run, charon)))
    });
    let newer = WITH_CHARON6_ALONE.iter().flat_map(|entry| Scenario::in_both_roles(entry, Daemon::Charon6));
    let lasting = LASTING.iter().flat_map(|entry| {
        [Daemon::Charon, Daemon::Charon6].into_iter().flat_map(|peer| Scenario::in_both_roles(entry, peer))
    });
    let lasting = lasting.map(|scenario| Scenario { company: Company::All, ..scenario });
    let alone = FERRYD_ALONE.iter();
    let alone = alone.map(|&(name, claim, run)| Scenario::new(name.to_owned(), claim, Run::FerrydAlone(run)));
    lasting
        .chain(twice)
        .chain(again)
        .chain(newer)
        .chain(compared)
        .chain(once)
        .chain(alone)
        .chain(measuring)
        .collect()
}

/// Those that are played on the ESP of a kernel too, by their names without roles.
const IN_KERNEL: &[&str] = &[
    "rekeying",
    "site",
    "road-warrior",
    "road-warrior-ipv6",
    "ipv6-outside",
    "ipv6-inside",
    "narrowing",
    "suites",
    "protocols",
    "moving-client",
    "moving-client-of-ours",
    "reauthentication",
    "inactivity",
    "cut-line",
    "nat-rebinding",
    "two-behind-one-nat",
    "killed-gateway",
    "stopped-gateway",
    "shunts",
];

/// Scenarios that take the ESP of a kernel.
const OF_KERNEL: &[Entry<WithRoles>] = &[
    ("transport", "Two hosts protect what they say to each other in transport mode.", kernel::transport),
    (
        "wide-window",
        "With extended sequence numbers and a window of 1024 packets, traffic flows both ways.",
        kernel::wide_window,
    ),
    (
        "marked",
        "Of two packets alike, the one with the child's mark is protected and counted, and gets the mark of what is sealed.",
        kernel::marked,
    ),
    (
        "interfaces",
        "SAs and policies have the interface IDs of their child, fixed or of their own, and no routes lead to them.",
        kernel::interfaces,
    ),
    (
        "interfaces-of-ike-sa",
        "Children have the interface IDs that their IKE SA has for itself, as long as it has successors.",
        kernel::interfaces_of_ike_sa,
    ),
    (
        "offload",
        "With hw_offload = auto, ESP is done in software where no network card does it; with crypto there is no child.",
        kernel::offloaded,
    ),
    (
        "limited-octets",
        "A child that has carried as many octets as it should has a successor; at its limit it ends.",
        kernel::limited_octets,
    ),
    (
        "limited-packets",
        "A child that has carried as many packets as it should has a successor; at its limit it ends.",
        kernel::limited_packets,
    ),
    (
        "placed",
        "A child's policies have the priority and the interface that it asks for, or it has none, and no route.",
        kernel::placed,
    ),
    (
        "trap-for-anybody",
        "Of three hosts with a trap for anybody, each makes an SA with whom it speaks to; nothing leaves in the clear.",
        kernel::trap_for_anybody,
    ),
    (
        "flushed",
        "Policies and SAs that somebody else removes from the kernel are back at once, and nothing leaks.",
        kernel::flushed,
    ),
    (
        "kernel-trap",
        "A trap makes the SA that the first packet needs, which is answered; nothing leaves in the clear.",
        kernel::trapped,
    ),
];

/// The same about ferryd alone.
const OF_KERNEL_ALONE: &[Entry<Alone>] =
    &[("beet", "Two hosts protect what they say under their inner addresses in BEET mode.", kernel::beet)];

/// The same with a part for the daemon under test.
const OF_KERNEL_ONCE: &[Entry<WithOurs>] = &[(
    "same-traffic",
    "Of two peers with the same traffic the one that came last has it, and when that goes, the other one again.",
    kernel::same_traffic,
)];

/// Scenarios with daemons that know no ESP but a kernel's.
const WITH_STRANGERS: &[Entry<WithOurs>] = &[
    (
        "libreswan",
        "With libreswan and a pre-shared key, either end begins, rekeys and ends, and traffic flows all along.",
        libreswan::with_a_key,
    ),
    (
        "libreswan-certificates",
        "With libreswan and certificates, RSA's and ECDSA's, either end begins, and traffic flows.",
        libreswan::with_certificates,
    ),
    (
        "libreswan-nat",
        "Through a NAT, a client of ours has an address from libreswan's pool, and libreswan one from ours.",
        libreswan::behind_nat,
    ),
    (
        "libreswan-null",
        "With libreswan, neither end proves who it is (RFC 7619), and traffic flows; who expects somebody refuses nobody.",
        libreswan::with_nobody,
    ),
    (
        "openiked",
        "With OpenIKED and a pre-shared key, either end begins and rekeys, and traffic flows all along.",
        openiked::with_a_key,
    ),
    (
        "openiked-certificates",
        "With OpenIKED and certificates, RSA's and ECDSA's, either end begins, and traffic flows.",
        openiked::with_certificates,
    ),
    (
        "openiked-nat",
        "Through a NAT, a client of ours has an address from OpenIKED's pool, and OpenIKED one from ours.",
        openiked::behind_nat,
    ),
];

/// Every scenario that is played on the ESP of a kernel.
pub fn in_kernel() -> Vec<Scenario> {
    let roles = ["-initiator", "-responder", ""];
    let wanted = |scenario: &Scenario| {
        IN_KERNEL.iter().any(|name| roles.iter().any(|role| scenario.name == format!("{name}{role}")))
    };
    let of_kernel = OF_KERNEL.iter().flat_map(|entry| Scenario::in_both_roles(entry, Daemon::Charon));
    let once = OF_KERNEL_ONCE.iter();
    let once = once.map(|&(name, claim, run)| Scenario::new(name.to_owned(), claim, Run::Once(run)));
    let alone = OF_KERNEL_ALONE.iter();
    let alone = alone.map(|&(name, claim, run)| Scenario::new(name.to_owned(), claim, Run::FerrydAlone(run)));
    let strangers = WITH_STRANGERS.iter();
    let strangers =
        strangers.map(|&(name, claim, run)| Scenario::new(name.to_owned(), claim, Run::WithStranger(run)));
    all().into_iter().filter(wanted).chain(of_kernel).chain(once).chain(alone).chain(strangers).collect()
}

/// Scenarios that take a kernel's XFRM interfaces, or its firewall's rules about IPsec.
const OF_MACHINE: &[Entry<WithRoles>] = &[
    (
        "firewall",
        "Rules about packets that came by IPsec, and by this SA, count exactly those that were decrypted, and no others.",
        machine::counted_by_firewall,
    ),
    (
        "route-based",
        "Through an XFRM interface, a tunnel for any traffic carries what is routed there and nothing else.",
        machine::route_based,
    ),
    (
        "made-interfaces",
        "ferryd makes XFRM interfaces and removes them, also those of a ferryd that was killed, and leaves what others made.",
        machine::made_interfaces,
    ),
];

/// Every scenario that is played in a virtual machine. Each is played once: who begins is proved where that is quicker.
pub fn in_machine() -> Vec<Scenario> {
    let scenarios = OF_MACHINE.iter().zip([Run::Initiating, Run::Responding].into_iter().cycle());
    let scenarios = scenarios
        .map(|(&(name, claim, run), role)| Scenario::new(name.to_owned(), claim, role(run, Daemon::Charon)));
    scenarios.collect()
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}
