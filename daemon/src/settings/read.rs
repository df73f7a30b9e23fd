//! Every setting we honour, with its default beside it.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ferry_ike::config::{DynamicEap, Ports, Retransmission};
use ferry_ike::cookie::HalfOpenLimits;
use ferry_ike::eap::Method;
use ferry_ike::lease::{Attribute, parse_attribute};
use ferry_vici::settings::BadValue;

use super::lookup::Lookup;
use super::{DataPlaneChoice, Families, Routing, Settings};
use super::{logging, radius, tls};
use crate::net::SocketUri;
use crate::revocation::Methods;

/// Where charon's clients look.
const DEFAULT_VICI_SOCKET: &str = "/var/run/charon.vici";

/// charon's, so that neither starts while the other runs.
const DEFAULT_PID_FILE: &str = "/var/run/charon.pid";

/// Where a service's state belongs that outlives the machine's.
const DEFAULT_LEASES: &str = "/var/lib/ferryd/leases.redb";

const PORT: &str = "a port, 0 to 65535";
const COUNT: &str = "a whole number, 0 or more";

/// Reads everything.
pub(super) fn settings(from: &Lookup<'_>) -> Result<Settings, BadValue> {
    Ok(Settings {
        ike: ike(from)?,
        ports: ports(from)?,
        families: Families {
            v4: from.bool("plugins.socket-default.use_ipv4", true)?,
            v6: from.bool("plugins.socket-default.use_ipv6", true)?,
        },
        shards: Some(
            from.number("shards", 0, "a number of shards up to 256, 0 for one per core", |n| *n <= 256)?,
        )
        .filter(|shards| *shards != 0),
        data_plane: data_plane(from)?,
        tun_name: tun_name(from)?,
        makes_interfaces: from.bool("xfrm_interfaces", false)?,
        offload: from.bool("offload", true)?,
        esp_spis: esp_spis(from)?,
        replay_window: from.number("replay_window", 32, COUNT, |_| true)?,
        retry_initiate: Some(from.time("retry_initiate_interval", Duration::ZERO)?)
            .filter(|interval| !interval.is_zero()),
        routing: routing(from)?,
        updown_dns: from.bool("plugins.updown.dns_handler", false)?,
        attributes: attributes(from)?,
        radius: radius::read(from)?,
        revocation: revocation(from)?,
        vici_socket: vici_socket(from)?,
        metrics: metrics(from)?,
        leases: Some(from.text("leases")?.unwrap_or(DEFAULT_LEASES))
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        pid_file: from.text("pid_file")?.unwrap_or(DEFAULT_PID_FILE).into(),
        user: from.text("user")?.map(str::to_owned),
        group: from.text("group")?.map(str::to_owned),
        logging: logging::read(from)?,
    })
}

fn revocation(from: &Lookup<'_>) -> Result<Methods, BadValue> {
    let default = Methods::default();
    let timeout = from.time("plugins.revocation.timeout", default.timeout)?;
    if timeout.is_zero()
        && let Some(setting) = from.setting("plugins.revocation.timeout")
    {
        return Err(setting.bad("a time above zero, such as 10s"));
    }
    Ok(Methods {
        ocsp: from.bool("plugins.revocation.enable_ocsp", default.ocsp)?,
        crl: from.bool("plugins.revocation.enable_crl", default.crl)?,
        timeout,
    })
}

fn ike(from: &Lookup<'_>) -> Result<ferry_ike::config::Settings, BadValue> {
    let default = ferry_ike::config::Settings::default();
    let limits = HalfOpenLimits::default();
    let retransmission = Retransmission::default();
    let keep_alive = from.time("keep_alive", default.keep_alive.unwrap_or_default())?;
    let half_open_timeout = from.time("half_open_timeout", default.half_open_timeout)?;
    Ok(ferry_ike::config::Settings {
        retransmission: Retransmission {
            timeout: from.seconds("retransmit_timeout", retransmission.timeout)?,
            base: retransmit_base(from, retransmission.base)?,
            tries: from.number("retransmit_tries", retransmission.tries, COUNT, |_| true)?,
            // charon caps what is above 20.
            jitter_percent: from
                .number("retransmit_jitter", 0_u8, "a percentage, 0 to 100", |n| *n <= 100)?
                .min(20),
            limit: Some(from.seconds("retransmit_limit", Duration::ZERO)?).filter(|limit| !limit.is_zero()),
        },
        half_open: HalfOpenLimits {
            dos_protection: from.bool("dos_protection", limits.dos_protection)?,
            cookie_threshold: from.number("cookie_threshold", limits.cookie_threshold, COUNT, |_| true)?,
            cookie_threshold_ip: from.number(
                "cookie_threshold_ip",
                limits.cookie_threshold_ip,
                COUNT,
                |_| true,
            )?,
            block_threshold: from.number("block_threshold", limits.block_threshold, COUNT, |_| true)?,
            init_limit_half_open: from.number(
                "init_limit_half_open",
                limits.init_limit_half_open,
                COUNT,
                |_| true,
            )?,
        },
        half_open_timeout,
        keep_alive: Some(keep_alive).filter(|interval| !interval.is_zero()),
        prefer_configured_proposals: from
            .bool("prefer_configured_proposals", default.prefer_configured_proposals)?,
        accept_private_algorithms: from.bool("accept_private_algs", default.accept_private_algorithms)?,
        initiator_only: from.bool("initiator_only", default.initiator_only)?,
        ike_sa_limit: Some(from.number("ikesa_limit", 0_usize, COUNT, |_| true)?).filter(|limit| *limit != 0),
        max_datagram: from.number(
            "max_packet",
            default.max_datagram,
            "a number of octets, 576 to 65535",
            |n| (576..=65_535).contains(n), // RFC 7296 §2 wants at least 1280, and 3000 taken; 576 is IPv4's least
        )?,
        // RFC 7383 §2.5.1 has the least ones.
        fragment_size_v4: fragment_size(from, "fragment_size_v4", 576)?,
        fragment_size_v6: fragment_size(from, "fragment_size_v6", 1280)?,
        unknown_spi_notices: from.bool("unknown_spi_notices", default.unknown_spi_notices)?,
        reuse_ike_sa: from.bool("reuse_ikesa", default.reuse_ike_sa)?,
        check_current_path: from.bool("check_current_path", default.check_current_path)?,
        delete_rekeyed_delay: from.seconds("delete_rekeyed_delay", default.delete_rekeyed_delay)?,
        close_ike_on_child_failure: from
            .bool("close_ike_on_child_failure", default.close_ike_on_child_failure)?,
        follow_redirects: from.bool("follow_redirects", default.follow_redirects)?,
        make_before_break: from.bool("make_before_break", default.make_before_break)?,
        signature_authentication: from.bool("signature_authentication", default.signature_authentication)?,
        multiple_authentication: from.bool("multiple_authentication", default.multiple_authentication)?,
        rsa_pss: from.bool("rsa_pss", default.rsa_pss)?,
        inactivity_close_ike: from.bool("inactivity_close_ike", default.inactivity_close_ike)?,
        tls: tls::read(from)?.into(),
        eap_dynamic: eap_dynamic(from)?,
        ..default
    })
}

/// Methods are named as in `auth`, with or without `eap-`, or by number. Those that are not here are passed over, as charon
/// does without their plugins.
fn eap_dynamic(from: &Lookup<'_>) -> Result<DynamicEap, BadValue> {
    let text = from.text("plugins.eap-dynamic.preferred")?.unwrap_or_default();
    let read = |word: &str| {
        let word = word.strip_prefix("eap-").unwrap_or(word);
        let number = word.parse().ok();
        Method::named(word)
            .or_else(|| Method::ALL.into_iter().find(|method| Some(method.eap_type().0) == number))
    };
    Ok(DynamicEap {
        preferred: text.split([',', ' ']).filter_map(read).collect(),
        follows_client: from.bool("plugins.eap-dynamic.prefer_user", false)?,
    })
}

/// The largest IP datagram of one family when messages are fragmented; zero stands for the least that every path of
/// the family carries.
fn fragment_size(from: &Lookup<'_>, of_family: &str, least: usize) -> Result<usize, BadValue> {
    const DEFAULT: usize = 1280;
    // Headers, initialization vector and checksum take up to 140 octets. Something of the message must fit too.
    const EXPECTED: &str = "a number of octets, 200 to 65535, or 0";
    let fits = |n: &usize| *n == 0 || (200..=65_535).contains(n);
    let of_both = from.number("fragment_size", DEFAULT, EXPECTED, fits)?;
    let size = from.number(of_family, of_both, EXPECTED, fits)?;
    Ok(if size == 0 { least } else { size })
}

fn retransmit_base(from: &Lookup<'_>, default: f64) -> Result<f64, BadValue> {
    let Some(setting) = from.setting("retransmit_base") else { return Ok(default) };
    let base = setting.float()?;
    if base > 0.0 { Ok(base) } else { Err(setting.bad("a number above zero, such as 1.8")) }
}

fn ports(from: &Lookup<'_>) -> Result<Ports, BadValue> {
    let default = Ports::default();
    let ports = Ports {
        ike: from.number("port", default.ike, PORT, |_| true)?,
        nat_t: from.number("port_nat_t", default.nat_t, PORT, |_| true)?,
    };
    match from.setting("port_nat_t").or_else(|| from.setting("port")) {
        Some(setting) if ports.ike != 0 && ports.ike == ports.nat_t => {
            Err(setting.bad("port and port_nat_t to be two different ports"))
        }
        _they_differ => Ok(ports),
    }
}

fn data_plane(from: &Lookup<'_>) -> Result<DataPlaneChoice, BadValue> {
    let Some(setting) = from.setting("dataplane") else { return Ok(DataPlaneChoice::Auto) };
    match setting.str() {
        Some("auto") => Ok(DataPlaneChoice::Auto),
        Some("kernel") => Ok(DataPlaneChoice::Kernel),
        Some("userspace") => Ok(DataPlaneChoice::Userspace),
        Some(_) | None => Err(setting.bad("auto, kernel or userspace")),
    }
}

fn tun_name(from: &Lookup<'_>) -> Result<String, BadValue> {
    const LONGEST: usize = 15; // IFNAMSIZ without its nul
    let Some(setting) = from.setting("tun_name") else { return Ok("ferry0".to_owned()) };
    let fits = |name: &&str| name.len() <= LONGEST && name.bytes().all(|c| c.is_ascii_graphic() && c != b'/');
    let name = setting.str().filter(fits).ok_or_else(|| setting.bad("the name of a network device"))?;
    Ok(name.to_owned())
}

fn esp_spis(from: &Lookup<'_>) -> Result<RangeInclusive<u32>, BadValue> {
    const EXPECTED: &str = "an SPI of at least 256";
    let is_spi = |spi: &u32| *spi >= 256; // RFC 4303 §2.1 reserves those below
    let first = from.number("spi_min", 0xc000_0000, EXPECTED, is_spi)?;
    let last = from.number("spi_max", 0xcfff_ffff, EXPECTED, is_spi)?;
    match from.setting("spi_max").or_else(|| from.setting("spi_min")) {
        Some(setting) if first > last => Err(setting.bad("spi_min to be no more than spi_max")),
        _a_range => Ok(first..=last),
    }
}

fn routing(from: &Lookup<'_>) -> Result<Routing, BadValue> {
    Ok(Routing {
        install_routes: from.bool("install_routes", true)?,
        table: from.number("routing_table", 220, COUNT, |_| true)?,
        priority: from.number("routing_table_prio", 220, COUNT, |_| true)?,
        ignored_tables: ignored_tables(from)?,
        roams: from.bool("plugins.kernel-netlink.roam_events", true)?,
        follows_routes: from.bool("process_route", true)?,
        prefer_best_path: from.bool("prefer_best_path", false)?,
        install_virtual_ip: from.bool("install_virtual_ip", true)?,
        virtual_ip_interface: from.text("install_virtual_ip_on")?.map(str::to_owned),
    })
}

fn ignored_tables(from: &Lookup<'_>) -> Result<Vec<u32>, BadValue> {
    let Some(setting) = from.setting("ignore_routing_tables") else { return Ok(Vec::new()) };
    let text = setting.str().unwrap_or_default();
    let tables = text.split_whitespace().map(str::parse).collect::<Result<_, _>>();
    tables.map_err(|_| setting.bad("numbers of routing tables with spaces between them"))
}

/// Whoever can reach it reads it, so that over TCP it is for this host alone.
fn metrics(from: &Lookup<'_>) -> Result<Option<SocketUri>, BadValue> {
    let Some(setting) = from.setting("metrics.listen") else { return Ok(None) };
    let uri = setting.str().and_then(|text| text.parse().ok()).filter(|uri| match uri {
        SocketUri::Unix(_) => true,
        SocketUri::Tcp(address) => {
            address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
        }
    });
    uri.map(Some).ok_or_else(|| setting.bad("unix:///path, or tcp:// and a loopback address with its port"))
}

fn vici_socket(from: &Lookup<'_>) -> Result<SocketUri, BadValue> {
    let Some(setting) = from.setting("plugins.vici.socket") else {
        return Ok(SocketUri::Unix(DEFAULT_VICI_SOCKET.into()));
    };
    let uri = setting.str().and_then(|text| text.parse().ok());
    uri.ok_or_else(|| setting.bad("unix:///path or tcp://address:port"))
}

/// Servers by their own keys, and whatever `plugins.attr` says.
fn attributes(from: &Lookup<'_>) -> Result<Vec<Attribute>, BadValue> {
    let mut attributes = Vec::new();
    for (key, name) in [("dns1", "dns"), ("dns2", "dns"), ("nbns1", "nbns"), ("nbns2", "nbns")] {
        let Some(setting) = from.setting(key) else { continue };
        let address = setting.str().filter(|text| text.parse::<IpAddr>().is_ok());
        let address = address.ok_or_else(|| setting.bad("an IP address"))?;
        attributes.push(parse_attribute(name, address).map_err(|error| setting.bad(error.to_string()))?);
    }
    let mut seen: Vec<&str> = Vec::new();
    for setting in from.layers("plugins.attr").iter().flat_map(|section| section.settings()) {
        if setting.name() == "load" || seen.contains(&setting.name()) {
            continue; // `load` is charon's for every plugin; a nearer section decides
        }
        seen.push(setting.name());
        let items = setting.str().ok_or_else(|| setting.bad("text in UTF-8"))?;
        let name = setting.name().replace('-', "_"); // pools write the same names with underscores
        for item in items.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            attributes.push(parse_attribute(&name, item).map_err(|error| setting.bad(error.to_string()))?);
        }
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    fn settings(inside_charon: &str) -> Settings {
        parse(&format!("charon {{ {inside_charon} }}")).map(|loaded| loaded.settings).unwrap()
    }

    fn error(inside_charon: &str) -> String {
        parse(&format!("charon {{ {inside_charon} }}")).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn revocation_is_looked_into_as_with_charon() {
        assert_eq!(settings("").revocation, Methods::default());
        let off = "plugins { revocation { enable_ocsp = no\n enable_crl = no\n timeout = 3s } }";
        let expected = Methods { ocsp: false, crl: false, timeout: Duration::from_secs(3) };
        assert_eq!(settings(off).revocation, expected);
    }

    #[test]
    fn zero_turns_off_what_can_be_turned_off() {
        let settings = settings("keep_alive = 0\n ikesa_limit = 0\n retransmit_limit = 0");
        assert_eq!(settings.ike.keep_alive, None);
        assert_eq!(settings.ike.ike_sa_limit, None);
        assert_eq!(settings.ike.retransmission.limit, None);
    }

    #[test]
    fn retransmission_is_read_with_fractions() {
        let settings = settings(
            "retransmit_timeout = 2.5\n retransmit_base = 1.4\n retransmit_tries = 3\n retransmit_jitter = 55
             retransmit_limit = 20",
        );
        let expected = Retransmission {
            timeout: Duration::from_millis(2500),
            base: 1.4,
            tries: 3,
            jitter_percent: 20,
            limit: Some(Duration::from_secs(20)),
        };
        assert_eq!(settings.ike.retransmission, expected);
        assert!(error("retransmit_base = 0").ends_with("expected a number above zero, such as 1.8"));
        assert!(error("retransmit_timeout = -1").ends_with("expected a number of seconds, such as 4.0"));
    }

    #[test]
    fn fragments_have_a_size_for_each_family() {
        let sizes = |text| {
            let ike = settings(text).ike;
            (ike.fragment_size_v4, ike.fragment_size_v6)
        };
        assert_eq!(sizes(""), (1280, 1280));
        assert_eq!(sizes("fragment_size = 0"), (576, 1280));
        assert_eq!(sizes("fragment_size = 1400"), (1400, 1400));
        assert_eq!(sizes("fragment_size = 1400\n fragment_size_v4 = 0"), (576, 1400));
        assert_eq!(sizes("fragment_size_v6 = 1300"), (1280, 1300));
        assert!(error("fragment_size = 100").ends_with("expected a number of octets, 200 to 65535, or 0"));
    }

    #[test]
    fn numbers_are_checked_against_their_range() {
        assert!(error("port = 65536").ends_with("charon.port = 65536: expected a port, 0 to 65535"));
        assert!(error("port = 4500").ends_with("expected port and port_nat_t to be two different ports"));
        assert!(error("spi_min = 0x10").ends_with("expected an SPI of at least 256"));
        assert!(error("spi_max = 0x100").ends_with("expected spi_min to be no more than spi_max"));
        assert_eq!(settings("spi_min = 0x1000\n spi_max = 0x1fff").esp_spis, 0x1000..=0x1fff);
        assert_eq!(settings("port = 0\n port_nat_t = 0").ports, Ports { ike: 0, nat_t: 0 });
    }

    #[test]
    fn our_own_keys() {
        let loaded =
            parse("ferryd { shards = 3\n dataplane = userspace\n tun_name = esp7\n offload = no\n pid_file = /x\n unknown_spi_notices = yes }").unwrap();
        assert_eq!(loaded.settings.shards, Some(3));
        assert_eq!(loaded.settings.data_plane, DataPlaneChoice::Userspace);
        assert_eq!(loaded.settings.tun_name, "esp7");
        assert!(!loaded.settings.offload && settings("").offload);
        assert!(loaded.settings.ike.unknown_spi_notices && !settings("").ike.unknown_spi_notices);
        assert_eq!(loaded.settings.pid_file, std::path::Path::new("/x"));
        let leases = |text: &str| settings(text).leases.map(|path| path.display().to_string());
        assert_eq!(leases("").as_deref(), Some("/var/lib/ferryd/leases.redb"));
        assert_eq!(leases("leases = /y").as_deref(), Some("/y"));
        assert_eq!(leases("leases = \"\""), None);
        assert_eq!(settings("").shards, None);
        assert!(error("dataplane = fast").ends_with("expected auto, kernel or userspace"));
    }

    #[test]
    fn tables_that_do_not_count() {
        assert_eq!(settings("ignore_routing_tables = 51820 7").routing.ignored_tables, [51_820, 7]);
        assert!(error("ignore_routing_tables = main").contains("expected numbers of routing tables"));
    }

    #[test]
    fn attributes_are_servers_and_whatever_the_plugin_says() {
        let settings = settings(
            "dns1 = 10.0.0.53\n nbns2 = fd00::5
             plugins { attr { load = yes\n split-include = 10.0.0.0/8, 10.2.0.0/16\n 25 = example.org } }",
        );
        let numbers: Vec<_> = settings.attributes.iter().map(|(kind, _)| kind.0).collect();
        assert_eq!(numbers, [3, 11, 28676, 28676, 25]);
        assert!(error("dns1 = ns.example.org").ends_with("expected an IP address"));
        assert!(error("plugins { attr { dsn = 10.0.0.1 } }").contains("charon.plugins.attr.dsn"));
    }

    #[test]
    fn metrics_are_for_this_host() {
        let inside = |uri: &str| format!("metrics {{ listen = {uri} }}");
        assert_eq!(settings("").metrics, None);
        assert_eq!(settings(&inside("unix:///run/m")).metrics, Some(SocketUri::Unix("/run/m".into())));
        for address in ["127.0.0.1:9500", "[::1]:9500"] {
            let uri = settings(&inside(&format!("tcp://{address}"))).metrics;
            assert_eq!(uri, Some(SocketUri::Tcp(address.to_owned())));
        }
        for elsewhere in ["tcp://0.0.0.0:9500", "tcp://localhost:9500", "127.0.0.1:9500"] {
            let error = error(&inside(elsewhere));
            assert!(error.contains("metrics.listen = ") && error.contains("a loopback address"), "{error}");
        }
    }

    #[test]
    fn the_socket_is_an_address() {
        let inside = |uri: &str| format!("plugins {{ vici {{ socket = {uri} }} }}");
        assert_eq!(settings(&inside("unix:///run/x")).vici_socket, SocketUri::Unix("/run/x".into()));
        let error = error(&inside("udp://x"));
        assert!(error.contains("charon.plugins.vici.socket = udp://x: expected"), "{error}");
    }

    #[test]
    fn what_is_offered_first_in_eap() {
        let read = |inside: &str| {
            let text = format!("charon {{ plugins {{ eap-dynamic {{ {inside} }} }} }}");
            parse(&text).unwrap().settings.ike.eap_dynamic
        };
        assert_eq!(read(""), DynamicEap::default());
        let told = read("preferred = mschapv2, aka, eap-tls,4\n prefer_user = yes");
        assert_eq!(told.preferred, [Method::MsChapV2, Method::Tls, Method::Md5]);
        assert!(told.follows_client);
    }
}
