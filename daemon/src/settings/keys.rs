//! All keys of strongswan.conf that charon knows, and what we do with each.
//!
//! What is honoured needs no word; what is not yet honoured is reported where it is set to something else
//! than what we do anyway; what belongs to charon's own building (which plugins to load and how large their
//! buffers are) is passed over; what nobody knows is reported too, for it may be a slip of the pen.

use ferry_vici::settings::{Setting, Settings as Text};

use super::lookup::NAMESPACES;

/// Programs that share strongswan.conf with charon.
const OTHER_PROGRAMS: &[&str] = &[
    "aikgen",
    "attest",
    "charon-cmd",
    "charon-nm",
    "charon-svc",
    "charon-tkm",
    "checksum",
    "conftest",
    "ferryctl",
    "imv_policy_manager",
    "ipsec",
    "libimcv",
    "libtls",
    "manager",
    "medcli",
    "medsrv",
    "pacman",
    "pki",
    "pool",
    "pt-tls-client",
    "scepclient",
    "sec-updater",
    "starter",
    "sw-collector",
    "swanctl",
    "tnc",
];

/// What becomes of a key.
#[derive(Clone, Copy)]
enum Standing {
    /// It has the effect it has on charon.
    Honoured,
    /// It has none yet; said unless its value is the one we act by anyway.
    NotYet { unless: &'static str, why: &'static str },
    /// It is about how charon is built, and means nothing here.
    Charons,
}

use Standing::{Charons, Honoured};

const fn not_yet(unless: &'static str, why: &'static str) -> Standing {
    Standing::NotYet { unless, why }
}

const IKEV1: &str = "IKEv1 is not spoken";
const CERTIFICATES: &str = "certificates are judged in one way only";
const EAP: &str = "this method of EAP has no settings";
const INTERFACES: &str = "all interfaces are listened on";
const DELAYS: &str = "messages are never delayed on purpose";
const KERNEL: &str = "there is no such choice in our kernel data plane";
const SIDE_SOCKET: &str = "VICI is the only socket";
const PKCS11: &str = "there is no PKCS#11";
const POOLS: &str = "addresses come from the pools of swanctl.conf alone";
const TLS: &str = "TLS takes ECDHE with AES-GCM or ChaCha20-Poly1305, and nothing weaker, whatever is listed";

/// Keys by their path below the namespace. `*` stands for any one name, `**` for any number of names; the
/// first match counts.
const KEYS: &[(&str, Standing)] = &[
    // Ours alone.
    ("shards", Honoured),
    ("dataplane", Honoured),
    ("metrics.listen", Honoured),
    ("tun_name", Honoured),
    ("xfrm_interfaces", Honoured),
    ("offload", Honoured),
    ("pid_file", Honoured),
    ("leases", Honoured),
    ("unknown_spi_notices", Honoured),
    // Which of charon's plugins are loaded: ours are built in.
    ("load", Charons),
    ("load_modular", Charons),
    ("plugins.*.load", Charons),
    // Network and transport.
    ("port", Honoured),
    ("port_nat_t", Honoured),
    ("max_packet", Honoured),
    ("keep_alive", Honoured),
    ("keep_alive_dpd_margin", not_yet("0s", "liveness is checked by dpd_delay alone")),
    ("fragment_size", Honoured),
    ("fragment_size_v4", Honoured),
    ("fragment_size_v6", Honoured),
    ("interfaces_use", not_yet("", INTERFACES)),
    ("interfaces_ignore", not_yet("", INTERFACES)),
    ("prefer_temporary_addrs", not_yet("no", "the system chooses source addresses")),
    ("prefer_best_path", Honoured),
    ("check_current_path", Honoured),
    ("host_resolver.*", Charons),
    ("plugins.socket-default.use_ipv4", Honoured),
    ("plugins.socket-default.use_ipv6", Honoured),
    (
        "plugins.socket-default.set_source",
        not_yet("yes", "answers always leave from the address that was asked"),
    ),
    ("plugins.socket-default.set_sourceif", not_yet("no", "the system chooses the interface")),
    ("plugins.socket-default.fwmark", not_yet("", "datagrams carry no mark")),
    ("send_delay*", not_yet("0", DELAYS)),
    ("receive_delay*", not_yet("0", DELAYS)),
    // Retransmission.
    ("retransmit_timeout", Honoured),
    ("retransmit_base", Honoured),
    ("retransmit_tries", Honoured),
    ("retransmit_jitter", Honoured),
    ("retransmit_limit", Honoured),
    // Limits.
    ("dos_protection", Honoured),
    ("cookie_threshold", Honoured),
    ("cookie_threshold_ip", Honoured),
    ("block_threshold", Honoured),
    ("init_limit_half_open", Honoured),
    ("init_limit_job_load", not_yet("0", "there is no queue of jobs to measure")),
    ("half_open_timeout", Honoured),
    ("ikesa_limit", Honoured),
    ("initiator_only", Honoured),
    ("ikesa_table_size", Charons),
    ("ikesa_table_segments", Charons),
    // IKE.
    ("accept_private_algs", Honoured),
    ("prefer_configured_proposals", Honoured),
    ("send_vendor_id", not_yet("no", "no vendor ID is sent")),
    ("multiple_authentication", Honoured),
    ("signature_authentication", Honoured),
    ("signature_authentication_constraints", not_yet("yes", "rules without ike: are for AUTH too")),
    ("rsa_pss", Honoured),
    ("rsa_pss_trailerfield", not_yet("no", "the trailer field has its default, which is left out")),
    ("follow_redirects", Honoured),
    ("reuse_ikesa", Honoured),
    ("make_before_break", Honoured),
    ("close_ike_on_child_failure", Honoured),
    ("inactivity_close_ike", Honoured),
    ("delete_rekeyed", not_yet("no", IKEV1)),
    ("delete_rekeyed_delay", Honoured),
    ("retry_initiate_interval", Honoured),
    ("force_eap_only_authentication", not_yet("no", "EAP-only authentication is for peers that announce it")),
    ("hash_and_url", not_yet("no", "certificates are sent, not where to look for them")),
    ("cisco_flexvpn", not_yet("no", "no vendor ID is sent")),
    ("cisco_unity", not_yet("no", IKEV1)),
    ("max_ikev1_exchanges", not_yet("3", IKEV1)),
    ("i_dont_care_about_security_and_use_aggressive_mode_psk", not_yet("no", IKEV1)),
    ("accept_unencrypted_mainmode_messages", not_yet("no", IKEV1)),
    ("flush_auth_cfg", not_yet("no", CERTIFICATES)),
    ("rdn_matching", not_yet("strict", "distinguished names are matched strictly")),
    ("reject_trusted_end_entity", not_yet("no", CERTIFICATES)),
    ("cache_crls", not_yet("no", CERTIFICATES)),
    ("cert_cache", not_yet("yes", CERTIFICATES)),
    ("ocsp_nonce_len", not_yet("32", CERTIFICATES)),
    ("x509.enforce_critical", not_yet("yes", CERTIFICATES)),
    ("plugins.revocation.enable_ocsp", Honoured),
    ("plugins.revocation.enable_crl", Honoured),
    ("plugins.revocation.timeout", Honoured),
    ("spi_mask", not_yet("0", "IKE SPIs carry no label")),
    ("spi_label", not_yet("0", "IKE SPIs carry no label")),
    // SAs, policies, routes.
    ("replay_window", Honoured),
    ("spi_min", Honoured),
    ("spi_max", Honoured),
    ("reqid_base", not_yet("1", "reqids count from 1")),
    ("ignore_acquire_ts", not_yet("no", "there are no traps")),
    ("install_routes", Honoured),
    ("routing_table", Honoured),
    ("routing_table_prio", Honoured),
    ("ignore_routing_tables", Honoured),
    ("process_route", Honoured),
    ("install_virtual_ip", Honoured),
    ("install_virtual_ip_on", Honoured),
    ("iptfs.*", not_yet("", "there is no IP-TFS")),
    ("plugins.kernel-netlink.buflen", Charons),
    ("plugins.kernel-netlink.receive_buffer_size", Charons),
    ("plugins.kernel-netlink.force_receive_buffer_size", Charons),
    ("plugins.kernel-netlink.parallel_route", Charons),
    ("plugins.kernel-netlink.parallel_xfrm", Charons),
    ("plugins.kernel-netlink.retries", Charons),
    ("plugins.kernel-netlink.timeout", Charons),
    ("plugins.kernel-netlink.ignore_retransmit_errors", Charons),
    ("plugins.kernel-netlink.mtu", not_yet("0", "routes get no MTU")),
    ("plugins.kernel-netlink.mss", not_yet("0", "routes get no MSS")),
    ("plugins.kernel-netlink.roam_events", Honoured),
    ("plugins.kernel-netlink.**", not_yet("", KERNEL)),
    (
        "plugins.kernel-libipsec.allow_peer_ts",
        not_yet("no", "traffic to the peer itself is not tunnelled in userspace"),
    ),
    ("plugins.kernel-libipsec.**", not_yet("", "there is no such choice in our userspace data plane")),
    ("plugins.kernel-pfkey.**", Charons),
    ("plugins.kernel-pfroute.**", Charons),
    ("plugins.updown.dns_handler", Honoured),
    ("plugins.resolve.**", not_yet("", "the resolver's configuration is not changed")),
    // The process.
    ("user", Honoured),
    ("group", Honoured),
    ("threads", Charons),
    ("processor.**", Charons),
    ("dlopen_use_rtld_now", Charons),
    ("start-scripts.*", not_yet("", "no scripts are run")),
    ("stop-scripts.*", not_yet("", "no scripts are run")),
    ("integrity_test", Charons),
    ("leak_detective.*", Charons),
    ("crypto_test.*", Charons),
    ("dh_exponent_ansi_x9_42", Charons),
    ("plugins.vici.socket", Honoured),
    // Attributes.
    ("dns1", Honoured),
    ("dns2", Honoured),
    ("nbns1", Honoured),
    ("nbns2", Honoured),
    ("plugins.attr.*", Honoured),
    ("plugins.attr-sql.**", not_yet("", POOLS)),
    ("plugins.sql.**", not_yet("", "connections come over VICI alone")),
    ("plugins.dhcp.**", not_yet("", POOLS)),
    ("plugins.p-cscf.**", not_yet("", "no P-CSCF servers are asked for")),
    // Logging.
    ("filelog.*.path", Honoured),
    ("filelog.*.append", Honoured),
    ("filelog.*.flush_line", Honoured),
    ("filelog.*.ike_name", Honoured),
    ("filelog.*.log_level", Honoured),
    ("filelog.*.time_format", Honoured),
    ("filelog.*.time_precision", Honoured),
    ("filelog.*.time_add_ms", Honoured),
    ("filelog.*.json", not_yet("no", "log lines are text")),
    ("filelog.*.{level}", Honoured),
    ("journal.{level}", Honoured),
    ("syslog.**", not_yet("", "there is no syslog; use filelog, the journal or standard error")),
    // Plugins for what we have in another form, or have not.
    ("plugins.eap-radius.server", Honoured),
    ("plugins.eap-radius.secret", Honoured),
    ("plugins.eap-radius.port", Honoured),
    ("plugins.eap-radius.source", Honoured),
    ("plugins.eap-radius.nas_identifier", Honoured),
    ("plugins.eap-radius.sockets", Honoured),
    ("plugins.eap-radius.retransmit_tries", Honoured),
    ("plugins.eap-radius.retransmit_timeout", Honoured),
    ("plugins.eap-radius.retransmit_base", Honoured),
    ("plugins.eap-radius.servers.*.address", Honoured),
    ("plugins.eap-radius.servers.*.secret", Honoured),
    ("plugins.eap-radius.servers.*.port", Honoured),
    ("plugins.eap-radius.servers.*.auth_port", Honoured),
    ("plugins.eap-radius.servers.*.acct_port", Honoured),
    ("plugins.eap-radius.servers.*.source", Honoured),
    ("plugins.eap-radius.servers.*.nas_identifier", Honoured),
    ("plugins.eap-radius.servers.*.sockets", Honoured),
    ("plugins.eap-radius.servers.*.preference", Honoured),
    ("plugins.eap-radius.servers.*.retransmit_tries", Honoured),
    ("plugins.eap-radius.servers.*.retransmit_timeout", Honoured),
    ("plugins.eap-radius.servers.*.retransmit_base", Honoured),
    ("plugins.eap-radius.accounting", Honoured),
    ("plugins.eap-radius.accounting_interval", Honoured),
    ("plugins.eap-radius.accounting_close_on_timeout", Honoured),
    ("plugins.eap-radius.accounting_requires_vip", Honoured),
    ("plugins.eap-radius.accounting_send_class", Honoured),
    ("plugins.eap-radius.class_group", Honoured),
    ("plugins.eap-radius.filter_id", Honoured),
    ("plugins.eap-radius.eap_start", Honoured),
    ("plugins.eap-radius.id_prefix", Honoured),
    ("plugins.eap-radius.close_all_on_timeout", Honoured),
    ("plugins.eap-radius.station_id_with_port", Honoured),
    ("plugins.eap-radius.dae.enable", Honoured),
    ("plugins.eap-radius.dae.listen", Honoured),
    ("plugins.eap-radius.dae.port", Honoured),
    ("plugins.eap-radius.dae.secret", Honoured),
    ("plugins.eap-radius.forward.ike_to_radius", Honoured),
    ("plugins.eap-radius.forward.radius_to_ike", Honoured),
    ("plugins.eap-radius.xauth.**", not_yet("", IKEV1)),
    ("plugins.eap-tls.fragment_size", Honoured),
    ("plugins.eap-tls.max_message_count", Honoured),
    ("plugins.eap-tls.include_length", Honoured),
    ("plugins.eap-ttls.phase2_tnc_method", Charons), // phase2_tnc is refused
    ("plugins.eap-ttls.*", Honoured),
    ("plugins.eap-peap.*", Honoured),
    ("plugins.eap-dynamic.preferred", Honoured),
    ("plugins.eap-dynamic.prefer_user", Honoured),
    ("plugins.eap-*.**", not_yet("", EAP)),
    ("plugins.radattr.**", not_yet("", "RADIUS attributes are not passed between peers and servers")),
    ("plugins.ext-auth.**", not_yet("", "no scripts are run")),
    ("plugins.xauth-*.**", not_yet("", IKEV1)),
    ("plugins.unity.**", not_yet("", IKEV1)),
    ("plugins.stroke.**", not_yet("", SIDE_SOCKET)),
    ("plugins.duplicheck.**", not_yet("", SIDE_SOCKET)),
    ("plugins.lookip.**", not_yet("", SIDE_SOCKET)),
    ("plugins.error-notify.**", not_yet("", SIDE_SOCKET)),
    ("plugins.whitelist.**", not_yet("", SIDE_SOCKET)),
    ("plugins.load-tester.**", not_yet("", "there is no load tester in the daemon")),
    ("plugins.bypass-lan.**", not_yet("", "no bypass policies are installed")),
    ("plugins.forecast.**", not_yet("", "multicast is not forwarded")),
    ("plugins.farp.**", not_yet("", "ARP is not answered for virtual IPs")),
    ("plugins.connmark.**", not_yet("", "connections are not marked")),
    ("plugins.ha.**", not_yet("", "there is no standby gateway")),
    ("plugins.led.**", not_yet("", "no LED is lit")),
    ("plugins.coupling.**", not_yet("", CERTIFICATES)),
    ("plugins.certexpire.**", not_yet("", CERTIFICATES)),
    ("plugins.systime-fix.**", not_yet("", CERTIFICATES)),
    ("plugins.addrblock.**", not_yet("", CERTIFICATES)),
    ("plugins.dnscert.**", not_yet("", CERTIFICATES)),
    ("plugins.ipseckey.**", not_yet("", CERTIFICATES)),
    ("plugins.unbound.**", not_yet("", CERTIFICATES)),
    ("plugins.save-keys.**", not_yet("no", "keys are not written down")),
    ("plugins.pkcs11.**", not_yet("", PKCS11)),
    ("plugins.tpm.**", not_yet("", "there is no TPM")),
    ("plugins.tnc-*.**", not_yet("", "there is no Trusted Network Connect")),
    ("plugins.tnccs-*.**", not_yet("", "there is no Trusted Network Connect")),
    ("plugins.imc-*.**", not_yet("", "there is no Trusted Network Connect")),
    ("plugins.imv-*.**", not_yet("", "there is no Trusted Network Connect")),
    ("imcv.**", not_yet("", "there is no Trusted Network Connect")),
    ("tnc.**", not_yet("", "there is no Trusted Network Connect")),
    ("tls.version_min", Honoured),
    ("tls.version_max", Honoured),
    ("tls.send_certreq_authorities", Honoured),
    ("tls.**", not_yet("", TLS)),
    ("plugins.openssl.**", Charons),
    ("plugins.wolfssl.**", Charons),
    ("plugins.botan.**", Charons),
    ("plugins.gcrypt.**", Charons),
    ("plugins.random.**", Charons),
    ("plugins.drbg.**", Charons),
    ("plugins.ntru.**", Charons),
    ("plugins.bliss.**", Charons),
    ("plugins.curl.**", Charons),
    ("plugins.android_log.**", Charons),
    ("plugins.osx-attr.**", Charons),
];

/// One sentence for each setting that has no effect although somebody may think it has.
pub(super) fn remarks(text: &Text) -> Vec<String> {
    let mut remarks = Vec::new();
    for namespace in NAMESPACES {
        for setting in text.leaves() {
            let Some(path) = below(setting.path(), namespace) else { continue };
            let standing =
                KEYS.iter().find(|(pattern, _)| matches(pattern, path)).map(|(_, standing)| *standing);
            remarks.extend(remark(&setting, standing));
        }
    }
    for stray in text.root().settings() {
        remarks.push(format!("{}: {} stands outside of any section", stray.position(), stray.path()));
    }
    for section in text.root().sections() {
        let name = section.name();
        if !NAMESPACES.contains(&name) && !OTHER_PROGRAMS.contains(&name) {
            let place = section.position().map(|position| format!("{position}: ")).unwrap_or_default();
            remarks.push(format!("{place}section {name} belongs to no program of strongSwan's, or to ours"));
        }
    }
    remarks
}

fn remark(setting: &Setting<'_>, standing: Option<Standing>) -> Option<String> {
    let what = match standing {
        Some(Honoured | Charons) => return None,
        Some(Standing::NotYet { unless, why }) if !means_the_same(setting, unless) => {
            format!("has no effect yet: {why}")
        }
        Some(Standing::NotYet { .. }) => return None,
        None => "is not a setting that anybody knows".to_owned(),
    };
    Some(format!("{}: {} {what}", setting.position(), setting.path()))
}

/// Whether a value says what we do anyway.
fn means_the_same(setting: &Setting<'_>, expected: &str) -> bool {
    match expected {
        "yes" => setting.bool() == Ok(true),
        "no" => setting.bool() == Ok(false),
        _text => setting.str() == Some(expected),
    }
}

/// The path below a section.
fn below<'a>(path: &'a str, section: &str) -> Option<&'a str> {
    path.strip_prefix(section)?.strip_prefix('.')
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut names) = (pattern.split('.'), path.split('.'));
    loop {
        match (patterns.next(), names.next()) {
            (Some("**"), Some(_)) => return true,
            (Some(pattern), Some(name)) if matches_name(pattern, name) => {}
            (None, None) => return true,
            _differ => return false,
        }
    }
}

fn matches_name(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None if pattern == "{level}" => name == "default" || crate::logging::Group::from_key(name).is_some(),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    fn remarks_on(text: &str) -> Vec<String> {
        let remarks = parse(text).unwrap().remarks;
        remarks
            .iter()
            .map(|remark| remark.split_once(".conf:").map_or("", |(_, rest)| rest).to_owned())
            .collect()
    }

    #[test]
    fn what_debian_ships_needs_no_remark() {
        let text = "charon {\n load_modular = yes\n plugins {\n aes { load = yes }\n eap-radius { load = yes\n dae { } }
             socket-default { load = yes }\n kernel-libipsec { load = no }\n certexpire { load = yes\n csv { } } }
             crypto_test { }\n start-scripts { } }\n charon-systemd { journal { } }\n swanctl { load = pem }";
        assert_eq!(remarks_on(text), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_supported_yet_is_reported_once_with_its_reason() {
        let text =
            "charon {\n syslog { daemon { default = 2 } }\n send_vendor_id = yes\n cert_cache = yes\n}";
        let expected = [
            "3:2: charon.send_vendor_id has no effect yet: no vendor ID is sent",
            "2:20: charon.syslog.daemon.default has no effect yet: there is no syslog; use filelog, the journal or \
             standard error",
        ];
        assert_eq!(remarks_on(text), expected);
    }

    #[test]
    fn slips_of_the_pen_are_reported() {
        let text =
            "charon {\n retransmit_trys = 3\n filelog { x { ikee = 2 } }\n}\ncharn { port = 5 }\n port = 7";
        let expected = [
            "2:2: charon.retransmit_trys is not a setting that anybody knows",
            "3:16: charon.filelog.x.ikee is not a setting that anybody knows",
            "6:2: port stands outside of any section",
            "5:1: section charn belongs to no program of strongSwan's, or to ours",
        ];
        assert_eq!(remarks_on(text), expected);
    }

    #[test]
    fn patterns() {
        assert!(matches("plugins.*.load", "plugins.aes.load"));
        assert!(matches("plugins.eap-*.**", "plugins.eap-tls.a.b"));
        assert!(!matches("plugins.eap-*.**", "plugins.eap-tls"));
        assert!(matches("send_delay*", "send_delay_type"));
        assert!(!matches("port", "port.x") && !matches("port.x", "port"));
    }
}
