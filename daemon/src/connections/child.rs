//! `connections.<name>.children.<child>`.

use std::time::Duration;

use ferry_ike::config::{
    Child, ChildAction, CopyDscp, Labels, Mode, Offload, PolicySettings, Processing, Volume,
};
use ferry_ike::selector::{Ports, SelectorPattern};

use super::Defaults;
use super::connection::{nonzero, number};
use super::error::ConfigError;
use super::proposals::{self, What};
use super::schema::{Inner, Item, Items, Key, List};
use super::values;
use crate::dataplane::Abilities;

/// The widest anti-replay window, in packets: the kernel's limit.
const WIDEST_WINDOW: u32 = 4096;

/// What an interface ID may be.
pub(super) const INTERFACE: &str = "an interface ID, %unique or %unique-dir";

/// The kernel's limit on the name of an interface, in octets.
const LONGEST_NAME: usize = 15;

const NO_POLICIES: &str = "the userspace data plane has policies of its own";
const NO_MARKS: &str = "packets cannot be marked";
pub(super) const NO_INTERFACES: &str = "there are no XFRM interfaces";

/// Reads a child.
pub(super) fn parse(
    section: &Inner<'_>,
    defaults: &Defaults,
    remarks: &mut Vec<String>,
) -> Result<Child, ConfigError> {
    if section.name.is_empty() {
        return Err(section.problem("a child needs a name"));
    }
    let mut draft = Draft::new(section.name, defaults, remarks);
    for item in Items::of(section.section, &section.path) {
        match item {
            Item::Value(key) => draft.value(&key)?,
            Item::List(list) => draft.list(&list)?,
            Item::Section(inner) => return Err(inner.unknown()),
        }
    }
    let child = draft.finish();
    if child.processing == Processing::Pass && defaults.plane.passes_by_route && !is_of_addresses(&child) {
        let why = format!(
            "the {} data plane lets whole addresses pass, and cannot tell protocols and ports apart in mode = pass",
            defaults.plane.name
        );
        return Err(section.problem(&why));
    }
    Ok(child)
}

/// Whether its selectors are about addresses alone.
fn is_of_addresses(child: &Child) -> bool {
    child.local_ts.iter().chain(&child.remote_ts).all(|pattern| match pattern {
        SelectorPattern::Dynamic { protocol, ports } => *protocol == 0 && *ports == Ports::ANY,
        SelectorPattern::Fixed(selector) => selector.protocol == 0 && selector.ports() == Ports::ANY,
    })
}

/// What was read so far: a child with its defaults, and what depends on other keys.
struct Draft<'r> {
    child: Child,
    rekey_time: Option<Duration>,
    life_time: Option<Duration>,
    rand_time: Option<Duration>,
    bytes: Amounts,
    packets: Amounts,
    plane: Abilities,
    remarks: &'r mut Vec<String>,
}

impl<'r> Draft<'r> {
    fn new(name: &str, defaults: &Defaults, remarks: &'r mut Vec<String>) -> Self {
        let child = Child {
            name: name.to_owned(),
            esp_proposals: Vec::new(), // empty: strongSwan's default
            local_ts: Vec::new(),      // empty: dynamic
            remote_ts: Vec::new(),     // empty: dynamic
            processing: Processing::Protect(Mode::Tunnel),
            rekey_time: None,
            life_time: None,
            rand_time: Duration::ZERO,
            bytes: Volume::default(),
            packets: Volume::default(),
            inactivity: None,
            start_action: ChildAction::None,
            close_action: ChildAction::None,
            dpd_action: ChildAction::None,
            replay_window: defaults.replay_window,
            reqid: None,
            copy_df: true,
            copy_ecn: true,
            copy_dscp: CopyDscp::Out, // what is inside may choose its class; what is outside may not reach in
            offload: Offload::No,
            labels: Labels::default(),
            policies: PolicySettings::default(),
            updown: None,
            host_access: false,
        };
        let (bytes, packets) = Default::default();
        let plane = defaults.plane;
        Self { child, rekey_time: None, life_time: None, rand_time: None, bytes, packets, plane, remarks }
    }

    fn value(&mut self, key: &Key<'_>) -> Result<(), ConfigError> {
        match key.name {
            "rekey_time" => self.rekey_time = Some(key.time()?),
            "life_time" => self.life_time = Some(key.time()?),
            "rand_time" => self.rand_time = Some(key.time()?),
            "rekey_bytes" => self.bytes.rekey = Some(key.octets()?),
            "life_bytes" => self.bytes.life = Some(key.octets()?),
            "rand_bytes" => self.bytes.rand = Some(key.octets()?),
            "rekey_packets" => self.packets.rekey = Some(key.number("a number of packets")?),
            "life_packets" => self.packets.life = Some(key.number("a number of packets")?),
            "rand_packets" => self.packets.rand = Some(key.number("a number of packets")?),
            "inactivity" => self.child.inactivity = nonzero(key.time()?),
            "start_action" => self.child.start_action = action(key)?,
            "close_action" => self.child.close_action = action(key)?,
            "dpd_action" => self.child.dpd_action = action(key)?,
            "replay_window" => {
                let expected = format!("a number of packets, 0 to {WIDEST_WINDOW}");
                self.child.replay_window = key.read(&expected, |text| {
                    u32::try_from(values::number(text)?).ok().filter(|n| *n <= WIDEST_WINDOW)
                })?;
            }
            "reqid" => {
                self.child.reqid =
                    Some(key.number("a whole number up to 4294967295")?).filter(|reqid| *reqid != 0);
            }
            "copy_df" => self.child.copy_df = key.bool()?,
            "copy_ecn" => self.child.copy_ecn = key.bool()?,
            "copy_dscp" => {
                let choices = [
                    ("out", CopyDscp::Out),
                    ("in", CopyDscp::In),
                    ("yes", CopyDscp::Both),
                    ("no", CopyDscp::No),
                ];
                self.child.copy_dscp = key.choice(&choices)?;
            }
            "mode" => self.child.processing = processing(key, self.plane)?,
            "updown" => {
                self.child.updown = Some(key.text()?.trim().to_owned()).filter(|text| !text.is_empty())
            }
            "hostaccess" => self.child.host_access = key.bool()?,
            _another if self.remark(key)? || self.label(key)? || self.policy(key)? => {}
            _another => refuse(key)?,
        }
        Ok(())
    }

    /// Keys that nobody is worse protected without. False if it is none of these.
    fn remark(&mut self, key: &Key<'_>) -> Result<bool, ConfigError> {
        let mut remark = |asks: bool, why: &str| {
            if asks {
                self.remarks.push(key.remark(why));
            }
        };
        match key.name {
            // Nothing without a label, which is refused.
            "label_mode" => key.choice(&[("system", ()), ("simple", ()), ("selinux", ())])?,
            "policies_fwd_out" => remark(key.bool()?, "forwarding has no policies"),
            "ipcomp" => remark(key.bool()?, "packets are not compressed"),
            "per_cpu_sas" => {
                let choices = [
                    ("no", false),
                    ("false", false),
                    ("disabled", false),
                    ("0", false),
                    ("yes", true),
                    ("true", true),
                    ("enabled", true),
                    ("1", true),
                    ("encap", true),
                ];
                remark(key.choice(&choices)?, "one SA serves all CPUs");
            }
            "hw_offload" => {
                let choices = [
                    ("no", Some(Offload::No)),
                    ("auto", Some(Offload::Auto)),
                    ("yes", Some(Offload::Crypto)),
                    ("crypto", Some(Offload::Crypto)),
                    ("packet", None),
                ];
                match key.choice(&choices)? {
                    wanted if !self.plane.offload => {
                        remark(
                            !matches!(wanted, Some(Offload::No | Offload::Auto)),
                            "ESP is done in software",
                        );
                    }
                    Some(wanted) => self.child.offload = wanted,
                    None => return Err(key.unsupported("no policies are put on network cards; use crypto")),
                }
            }
            "icmp" => remark(key.bool()?, "ICMP errors pass where a selector lets them"),
            _none_of_these => return Ok(false),
        }
        Ok(true)
    }

    /// Marks and interface IDs. False if the key is none of these.
    fn label(&mut self, key: &Key<'_>) -> Result<bool, ConfigError> {
        const MARK: &str = "a mark such as 0x10/0xff, %unique or %unique-dir";
        const SET_MARK: &str = "a mark such as 0x10/0xff, or %same";
        let labels = &mut self.child.labels;
        match key.name {
            "mark_in" => labels.mark_in = key.read(MARK, values::mark)?,
            "mark_out" => labels.mark_out = key.read(MARK, values::mark)?,
            "mark_in_sa" => labels.is_mark_in_on_sa = key.bool()?,
            "set_mark_in" => labels.set_mark_in = key.read(SET_MARK, values::set_mark)?,
            "set_mark_out" => labels.set_mark_out = key.read(SET_MARK, values::set_mark)?,
            "if_id_in" => labels.interface_in = key.read(INTERFACE, values::interface_id)?,
            "if_id_out" => labels.interface_out = key.read(INTERFACE, values::interface_id)?,
            _none_of_these => return Ok(false),
        }
        if *labels != Labels::default() && !self.plane.labels {
            let why = if key.name.starts_with("if_id") { NO_INTERFACES } else { NO_MARKS };
            return Err(key.unsupported(why));
        }
        Ok(true)
    }

    /// How policies are installed. False if the key is none of these.
    fn policy(&mut self, key: &Key<'_>) -> Result<bool, ConfigError> {
        let policies = &mut self.child.policies;
        match key.name {
            "policies" => policies.are_left_out = !key.bool()?,
            "priority" => {
                policies.priority =
                    Some(key.number("a whole number up to 4294967295")?).filter(|number| *number != 0);
            }
            "interface" => {
                let is_name = |text: &&str| {
                    text.len() <= LONGEST_NAME
                        && !text.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
                };
                let expected = format!("the name of an interface, {LONGEST_NAME} characters at most");
                let name = key.read(&expected, |text| Some(text).filter(is_name).map(str::to_owned))?;
                policies.interface = Some(name).filter(|name| !name.is_empty());
            }
            _none_of_these => return Ok(false),
        }
        if *policies != PolicySettings::default() && !self.plane.labels {
            return Err(key.unsupported(NO_POLICIES));
        }
        Ok(true)
    }

    fn list(&mut self, list: &List<'_>) -> Result<(), ConfigError> {
        let selector = |text: &str| {
            SelectorPattern::parse(text).map_err(|error| format!("a traffic selector ({error})"))
        };
        match list.name {
            "esp_proposals" => {
                self.child.esp_proposals.extend(proposals::parse(list, What::Esp(self.plane), self.remarks)?);
            }
            "ah_proposals" if list.is_empty() => {}
            "ah_proposals" => return Err(list.unsupported("there is no AH; use esp_proposals")),
            "local_ts" => self.child.local_ts.extend(list.read(selector)?),
            "remote_ts" => self.child.remote_ts.extend(list.read(selector)?),
            _none_of_these => return Err(list.unknown()),
        }
        Ok(())
    }

    fn finish(self) -> Child {
        let mut child = self.child;
        child.esp_proposals = if child.esp_proposals.is_empty() {
            proposals::default_esp(self.plane)
        } else {
            number(child.esp_proposals)
        };
        for selectors in [&mut child.local_ts, &mut child.remote_ts] {
            if selectors.is_empty() {
                selectors.push(SelectorPattern::DYNAMIC);
            }
        }
        let times = Times::of(self.rekey_time, self.life_time, self.rand_time);
        child.rekey_time = nonzero(times.rekey);
        child.life_time = nonzero(times.life);
        child.rand_time = times.rand;
        child.bytes = self.bytes.volume();
        child.packets = self.packets.volume();
        child
    }
}

/// Keys that ask for something which would change what is protected.
fn refuse(key: &Key<'_>) -> Result<(), ConfigError> {
    let refused = match key.name {
        "sha256_96" => key.bool()?.then_some("HMAC-SHA2-256 is truncated to 128 bits"),
        "label" => Some("there are no security labels"),
        "tfc_padding" => {
            let is_asked = key.read("a number of octets, or mtu", |text| match text {
                "mtu" => Some(true),
                number => values::number(number).map(|octets| octets != 0),
            })?;
            is_asked.then_some("packets are not padded to hide their size")
        }
        _none_of_these => return Err(key.unknown()),
    };
    refused.map_or(Ok(()), |reason| Err(key.unsupported(reason)))
}

fn processing(key: &Key<'_>, plane: Abilities) -> Result<Processing, ConfigError> {
    let choices = [
        ("tunnel", Some(Processing::Protect(Mode::Tunnel))),
        ("transport", Some(Processing::Protect(Mode::Transport))),
        ("transport_proxy", None),
        ("iptfs", None),
        ("beet", Some(Processing::Protect(Mode::Beet))),
        ("pass", Some(Processing::Pass)),
        ("drop", Some(Processing::Drop)),
    ];
    match key.choice(&choices)? {
        Some(Processing::Protect(mode)) if plane.modes.contains(&mode) => Ok(Processing::Protect(mode)),
        Some(shunt @ (Processing::Pass | Processing::Drop)) => Ok(shunt),
        Some(Processing::Protect(_)) => {
            Err(key.unsupported(format!("the {} data plane does tunnel mode only", plane.name)))
        }
        None => Err(key.unsupported("only tunnel, transport, beet, pass and drop are")),
    }
}

fn action(key: &Key<'_>) -> Result<ChildAction, ConfigError> {
    let (mut traps, mut starts) = (false, false);
    for word in key.text()?.split('|') {
        match word.trim().to_ascii_lowercase().as_str() {
            "none" | "clear" => {}
            "start" | "restart" => starts = true,
            "trap" | "route" => traps = true,
            _another => return Err(key.invalid("none, trap, start or trap|start")),
        }
    }
    Ok(match (traps, starts) {
        (false, false) => ChildAction::None,
        (true, false) => ChildAction::Trap,
        (false, true) => ChildAction::Start,
        (true, true) => ChildAction::TrapAndStart,
    })
}

/// Limits on traffic as they are written; those that are not follow from the others.
#[derive(Default)]
struct Amounts {
    rekey: Option<u64>,
    life: Option<u64>,
    rand: Option<u64>,
}

impl Amounts {
    fn volume(&self) -> Volume {
        let share = |amount: u64, by: u64, of: u64| (amount / of).saturating_mul(by) + amount % of * by / of;
        // Unlike time, traffic is not limited where nothing is said.
        let rekey = self.rekey.or(self.life.map(|life| share(life, 10, 11))).unwrap_or(0);
        let life = self.life.unwrap_or_else(|| share(rekey, 11, 10));
        let rand = self.rand.unwrap_or_else(|| life.saturating_sub(rekey));
        let nonzero = |amount: u64| (amount != 0).then_some(amount);
        Volume { rekey: nonzero(rekey), life: nonzero(life), rand }
    }
}

/// When a CHILD_SA is rekeyed and when it ends; zero for never.
#[derive(Debug, PartialEq, Eq)]
struct Times {
    rekey: Duration,
    life: Duration,
    rand: Duration,
}

impl Times {
    fn of(rekey: Option<Duration>, life: Option<Duration>, rand: Option<Duration>) -> Self {
        // Whole seconds, as charon counts.
        let tenths =
            |time: Duration, by: u64, of: u64| Duration::from_secs(time.as_secs().saturating_mul(by) / of);
        // An hour is short against what the algorithms can take, and long against the cost of a rekey.
        let rekey = match (rekey, life) {
            (Some(rekey), _) => rekey,
            (None, Some(life)) => tenths(life, 10, 11),
            (None, None) => Duration::from_secs(60 * 60),
        };
        let life = life.unwrap_or_else(|| tenths(rekey, 11, 10));
        let rand = rand.unwrap_or_else(|| life.saturating_sub(rekey));
        Self { rekey, life, rand }
    }
}

#[cfg(test)]
mod tests {
    use ferry_ike::config::{Label, Mark};
    use ferry_vici::Section;

    use super::*;

    const DEFAULTS: Defaults = Defaults { replay_window: 64, ..crate::store::tests::DEFAULTS };

    fn read(section: &Section) -> Result<(Child, Vec<String>), ConfigError> {
        let mut remarks = Vec::new();
        let inner = Inner { name: "lan", path: "connections.gw.children.lan".to_owned(), section };
        parse(&inner, &DEFAULTS, &mut remarks).map(|child| (child, remarks))
    }

    #[test]
    fn an_empty_child_has_charons_defaults() {
        let (child, remarks) = read(&Section::new()).unwrap();
        assert_eq!(child.name, "lan");
        assert_eq!(child.esp_proposals, proposals::default_esp(DEFAULTS.plane));
        assert_eq!(child.local_ts, [SelectorPattern::DYNAMIC]);
        assert_eq!(child.remote_ts, [SelectorPattern::DYNAMIC]);
        assert_eq!(child.rekey_time, Some(Duration::from_secs(3600)));
        assert_eq!(child.life_time, Some(Duration::from_secs(3960)));
        assert_eq!(child.rand_time, Duration::from_secs(360));
        assert_eq!(child.replay_window, 64);
        assert_eq!(child.reqid, None);
        assert_eq!(child.copy_dscp, CopyDscp::Out);
        assert!(child.copy_df && child.copy_ecn);
        assert_eq!(remarks, Vec::<String>::new());
    }

    #[test]
    fn what_is_said_is_taken() {
        let section = Section::new()
            .with_list("esp_proposals", ["aes128gcm16", "aes256-sha256-esn"])
            .with_list("local_ts", ["10.1.0.0/16", "dynamic"])
            .with_list("remote_ts", ["fd00::/64"])
            .with("rekey_time", "10m")
            .with("start_action", "start")
            .with("close_action", "none")
            .with("dpd_action", "restart")
            .with("replay_window", "0")
            .with("reqid", "7")
            .with("inactivity", "5m")
            .with("copy_df", "no")
            .with("copy_dscp", "in")
            .with("mode", "TUNNEL")
            .with("hw_offload", "auto");
        let (child, remarks) = read(&section).unwrap();
        assert_eq!(child.esp_proposals.iter().map(|p| p.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(child.local_ts.len(), 2);
        assert_eq!(child.life_time, Some(Duration::from_secs(660)));
        assert_eq!(child.start_action, ChildAction::Start);
        assert_eq!(child.dpd_action, ChildAction::Start);
        assert_eq!(child.replay_window, 0);
        assert_eq!(child.reqid, Some(7));
        assert_eq!(child.inactivity, Some(Duration::from_secs(300)));
        assert!(!child.copy_df);
        assert_eq!(child.copy_dscp, CopyDscp::In);
        assert_eq!(remarks, Vec::<String>::new());
    }

    #[test]
    fn times_follow_from_each_other() {
        let seconds = |n| Some(Duration::from_secs(n));
        let expect = |rekey, life, rand| Times {
            rekey: Duration::from_secs(rekey),
            life: Duration::from_secs(life),
            rand: Duration::from_secs(rand),
        };
        assert_eq!(Times::of(None, None, None), expect(3600, 3960, 360));
        assert_eq!(Times::of(seconds(0), None, None), expect(0, 0, 0));
        assert_eq!(Times::of(None, seconds(1100), None), expect(1000, 1100, 100));
        assert_eq!(Times::of(seconds(100), seconds(50), None), expect(100, 50, 0));
        assert_eq!(Times::of(seconds(100), None, seconds(3)), expect(100, 110, 3));
    }

    #[test]
    fn what_changes_protection_is_refused() {
        let cases = [
            ("mode", "transport", "the userspace data plane does tunnel mode only"),
            ("mode", "beet", "the userspace data plane does tunnel mode only"),
            ("mode", "transport_proxy", "only tunnel, transport, beet, pass and drop are"),
            ("mark_in", "%unique", NO_MARKS),
            ("if_id_out", "0x2a", "there are no XFRM interfaces"),
            ("label", "secret", "there are no security labels"),
            ("policies", "no", NO_POLICIES),
            ("priority", "5", NO_POLICIES),
            ("interface", "eth0", NO_POLICIES),
            ("tfc_padding", "mtu", "packets are not padded to hide their size"),
            ("sha256_96", "yes", "HMAC-SHA2-256 is truncated to 128 bits"),
        ];
        for (key, value, reason) in cases {
            let error = read(&Section::new().with(key, value)).map(drop).unwrap_err().to_string();
            let expected =
                format!("connections.gw.children.lan.{key} = {value} is not supported yet: {reason}");
            assert_eq!(error, expected);
        }
        let error =
            read(&Section::new().with_list("ah_proposals", ["sha256"])).map(drop).unwrap_err().to_string();
        assert!(error.ends_with("there is no AH; use esp_proposals"), "{error}");
    }

    #[test]
    fn ciphers_are_those_of_the_data_plane() {
        let section = Section::new().with_list("esp_proposals", ["aes128ctr-sha256", "aes128gmac"]);
        let error = read(&section).map(drop).unwrap_err().to_string();
        let lacking = "AES_CTR_128, NULL_AES_GMAC_128";
        assert!(error.ends_with(&format!("we have no {lacking} in the userspace data plane")), "{error}");
        let inner = Inner { name: "lan", path: "connections.gw.children.lan".to_owned(), section: &section };
        let defaults = Defaults { plane: Abilities::KERNEL, ..DEFAULTS };
        assert_eq!(parse(&inner, &defaults, &mut Vec::new()).unwrap().esp_proposals.len(), 2);
        // There is no reason to tell of a data plane what none has.
        let error = read(&Section::new().with_list("esp_proposals", ["3des-sha1"])).map(drop).unwrap_err();
        assert!(error.to_string().ends_with("we have no 3DES_CBC"), "{error}");
    }

    #[test]
    fn packets_are_labelled_where_the_data_plane_can() {
        let section = Section::new()
            .with("mark_out", "7/0xff")
            .with("if_id_in", "%unique")
            .with("set_mark_in", "%same");
        let inner = Inner { name: "lan", path: "connections.gw.children.lan".to_owned(), section: &section };
        let defaults = Defaults { plane: Abilities::KERNEL, ..DEFAULTS };
        let labels = parse(&inner, &defaults, &mut Vec::new()).unwrap().labels;
        assert_eq!(labels.mark_out, Some(Mark { value: Label::Fixed(7), mask: 0xff }));
        assert_eq!((labels.interface_in, labels.interface_out), (Some(Label::Unique), None));
        assert_eq!(labels.set_mark_in, Some(Mark { value: Label::Same, mask: u32::MAX }));
    }

    #[test]
    fn policies_are_installed_as_is_said() {
        let section = Section::new()
            .with("priority", "1000")
            .with("interface", "eth0")
            .with("policies", "no")
            .with("updown", "/usr/lib/ipsec/_updown iptables")
            .with("hostaccess", "yes");
        let inner = Inner { name: "lan", path: "connections.gw.children.lan".to_owned(), section: &section };
        let defaults = Defaults { plane: Abilities::KERNEL, ..DEFAULTS };
        let child = parse(&inner, &defaults, &mut Vec::new()).unwrap();
        let policies =
            PolicySettings { are_left_out: true, priority: Some(1000), interface: Some("eth0".to_owned()) };
        assert_eq!(child.policies, policies);
        assert_eq!(child.updown.as_deref(), Some("/usr/lib/ipsec/_updown iptables"));
        assert!(child.host_access);
        let long = Section::new().with("interface", "an interface with a name");
        let inner = Inner { section: &long, ..inner };
        let error = parse(&inner, &defaults, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("the name of an interface, 15 characters at most"), "{error}");
    }

    #[test]
    fn the_same_keys_with_their_defaults_are_accepted() {
        let section = Section::new()
            .with("policies", "yes")
            .with("priority", "0")
            .with("mark_in", "0/0xff")
            .with("mark_in_sa", "no")
            .with("set_mark_out", "0")
            .with("if_id_in", "0")
            .with("tfc_padding", "0")
            .with("sha256_96", "no")
            .with("ipcomp", "no")
            .with("inactivity", "0s")
            .with("rekey_bytes", "0")
            .with("hostaccess", "yes")
            .with("label_mode", "system")
            .with("start_action", "clear");
        assert_eq!(read(&section).unwrap().1, Vec::<String>::new());
    }

    #[test]
    fn what_nobody_is_worse_protected_without_is_remarked_on() {
        let section = Section::new()
            .with("ipcomp", "yes")
            .with("hw_offload", "yes")
            .with_list("esp_proposals", ["aes128ctr-sha256", "aes256gcm16"]);
        let (child, remarks) = read(&section).unwrap();
        assert_eq!(child.esp_proposals.len(), 1);
        assert_eq!(remarks.len(), 3, "{remarks:?}");
        assert_eq!(
            remarks[0],
            "connections.gw.children.lan.ipcomp = yes has no effect yet: packets are not compressed"
        );
    }

    #[test]
    fn network_cards_are_asked_where_the_plane_can() {
        let read = |value, plane| {
            let section = Section::new().with("hw_offload", value);
            let inner =
                Inner { name: "lan", path: "connections.gw.children.lan".to_owned(), section: &section };
            let mut remarks = Vec::new();
            let child = parse(&inner, &Defaults { plane, ..DEFAULTS }, &mut remarks);
            child.map(|child| (child.offload, remarks.len())).map_err(|error| error.to_string())
        };
        for (value, kernels, ours) in [
            ("no", Offload::No, 0),
            ("auto", Offload::Auto, 0),
            ("yes", Offload::Crypto, 1),
            ("crypto", Offload::Crypto, 1),
        ] {
            assert_eq!(read(value, Abilities::KERNEL), Ok((kernels, 0)), "{value}");
            assert_eq!(read(value, Abilities::USERSPACE), Ok((Offload::No, ours)), "{value}");
        }
        assert_eq!(read("packet", Abilities::USERSPACE), Ok((Offload::No, 1)));
        let error = read("packet", Abilities::KERNEL).unwrap_err();
        assert!(error.ends_with("no policies are put on network cards; use crypto"), "{error}");
        assert!(read("hardware", Abilities::KERNEL).is_err());
    }

    #[test]
    fn limits_on_traffic_follow_from_each_other() {
        let child = |section| read(&section).unwrap().0;
        let none = child(Section::new());
        assert_eq!((none.bytes, none.packets), (Volume::default(), Volume::default()));
        let both = child(Section::new().with("rekey_bytes", "500m").with("life_packets", "1100"));
        let bytes = 500 << 20;
        assert_eq!(both.bytes, Volume { rekey: Some(bytes), life: Some(bytes / 10 * 11), rand: bytes / 10 });
        assert_eq!(both.packets, Volume { rekey: Some(1000), life: Some(1100), rand: 100 });
        let all =
            child(Section::new().with("rekey_bytes", "1k").with("life_bytes", "4k").with("rand_bytes", "0"));
        assert_eq!(all.bytes, Volume { rekey: Some(1024), life: Some(4096), rand: 0 });
    }

    #[test]
    fn encryption_without_integrity_is_not_offered() {
        let error =
            read(&Section::new().with_list("esp_proposals", ["aes128"])).map(drop).unwrap_err().to_string();
        assert!(error.ends_with("encryption without integrity protects nothing"), "{error}");
    }

    #[test]
    fn every_key_of_charons_is_known() {
        for key in [
            "updown",
            "hostaccess",
            "mode",
            "policies",
            "policies_fwd_out",
            "replay_window",
            "rekey_time",
            "life_time",
            "rand_time",
            "rekey_bytes",
            "life_bytes",
            "rand_bytes",
            "rekey_packets",
            "life_packets",
            "rand_packets",
            "dpd_action",
            "start_action",
            "close_action",
            "ipcomp",
            "inactivity",
            "reqid",
            "mark_in",
            "mark_in_sa",
            "mark_out",
            "set_mark_in",
            "set_mark_out",
            "tfc_padding",
            "priority",
            "interface",
            "hw_offload",
            "sha256_96",
            "copy_df",
            "copy_ecn",
            "copy_dscp",
            "icmp",
            "if_id_in",
            "if_id_out",
            "label",
            "label_mode",
            "per_cpu_sas",
        ] {
            // A script may be called anything.
            if let Err(error) = read(&Section::new().with(key, "\u{1}")) {
                assert!(!matches!(error, ConfigError::Unknown { .. }), "{error}");
            }
        }
        for list in ["ah_proposals", "esp_proposals", "local_ts", "remote_ts"] {
            read(&Section::new().with_list(list, Vec::<&str>::new())).unwrap();
        }
    }
}
