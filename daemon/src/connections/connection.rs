//! `connections.<name>`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ferry_ike::config::{
    AddressPattern, Child, Childless, Connection, Fragmentation, InBandOcsp, Label, Ports, RemoteAuth,
    SendCert, Unique, Version,
};
use ferry_ike::proposal::Proposal;
use ferry_vici::Section;

use super::error::ConfigError;
use super::proposals::{self, What};
use super::schema::{Inner, Item, Items, Key, List};
use super::values;
use super::{Defaults, Parsed, addresses, auth, child};

const SECONDS_PER_HOUR: u64 = 60 * 60;

/// Reads a connection.
pub(crate) fn parse(name: &str, section: &Section, defaults: &Defaults) -> Result<Parsed, ConfigError> {
    let path = format!("connections.{name}");
    if name.is_empty() {
        return Err(ConfigError::Problem { path, problem: "a connection needs a name".to_owned() });
    }
    let mut draft = Draft::default();
    for item in Items::of(section, &path) {
        match item {
            Item::Value(key) => draft.value(&key, defaults)?,
            Item::List(list) => draft.list(&list)?,
            Item::Section(inner) => draft.section(inner, defaults)?,
        }
    }
    draft.finish(name, &path)
}

/// What was read so far; `None` where the default depends on other keys.
struct Draft<'a> {
    version: Version,
    local_addrs: Vec<AddressPattern>,
    remote_addrs: Vec<AddressPattern>,
    local_port: u16,
    remote_port: u16,
    proposals: Vec<Proposal>,
    vips: Vec<IpAddr>,
    encap: bool,
    dscp: u8,
    fragmentation: Fragmentation,
    mobike: bool,
    dpd_delay: Duration,
    dpd_timeout: Duration,
    keyingtries: u32,
    unique: Unique,
    childless: Childless,
    send_cert: SendCert,
    send_certreq: bool,
    ocsp: InBandOcsp,
    reauth_time: Option<Duration>,
    rekey_time: Option<Duration>,
    over_time: Option<Duration>,
    rand_time: Option<Duration>,
    pools: Vec<String>,
    local: Vec<Inner<'a>>,
    remote: Vec<Inner<'a>>,
    children: Vec<Arc<Child>>,
    /// What children have where they do not say otherwise.
    interface_in: Option<Label>,
    interface_out: Option<Label>,
    remarks: Vec<String>,
}

impl Default for Draft<'_> {
    fn default() -> Self {
        Self {
            version: Version::Any,
            local_addrs: Vec::new(),  // empty: %any
            remote_addrs: Vec::new(), // empty: %any
            local_port: 0,            // the endpoint's own
            remote_port: 500,         // RFC 7296 §2
            proposals: Vec::new(),    // empty: strongSwan's default
            vips: Vec::new(),
            encap: false,
            dscp: 0,
            fragmentation: Fragmentation::Yes,
            mobike: true,
            dpd_delay: Duration::ZERO,
            dpd_timeout: Duration::ZERO,
            keyingtries: 1,
            unique: Unique::No,
            childless: Childless::Allow,
            send_cert: SendCert::IfAsked,
            send_certreq: true,
            ocsp: InBandOcsp::Reply, // that of strongSwan 6.0; whoever does not ask sees no difference
            reauth_time: None,
            rekey_time: None,
            over_time: None,
            rand_time: None,
            pools: Vec::new(),
            local: Vec::new(),
            remote: Vec::new(),
            children: Vec::new(),
            interface_in: None,
            interface_out: None,
            remarks: Vec::new(),
        }
    }
}

impl<'a> Draft<'a> {
    fn value(&mut self, key: &Key<'_>, defaults: &Defaults) -> Result<(), ConfigError> {
        const PORT: &str = "a port, 0 to 65535";
        match key.name {
            "version" => self.version = version(key)?,
            "local_port" => self.local_port = local_port(key, defaults)?,
            "remote_port" => self.remote_port = key.number(PORT)?,
            "encap" => self.encap = key.bool()?,
            "fragmentation" => {
                let choices = [
                    ("yes", Fragmentation::Yes),
                    ("accept", Fragmentation::Accept),
                    // Means something else for IKEv1 alone: RFC 7383 §2.3 has both ends say that they can.
                    ("force", Fragmentation::Yes),
                    ("no", Fragmentation::No),
                ];
                self.fragmentation = key.choice(&choices)?;
            }
            "mobike" => self.mobike = key.bool()?,
            "dpd_delay" => self.dpd_delay = key.time()?,
            "dpd_timeout" => self.dpd_timeout = key.time()?, // of IKEv1; retransmission decides in IKEv2
            "keyingtries" => self.keyingtries = key.number("a number of tries, 0 for no end")?,
            "unique" => {
                let choices = [
                    ("never", Unique::Never),
                    ("no", Unique::No),
                    ("replace", Unique::Replace),
                    ("keep", Unique::Keep),
                ];
                self.unique = key.choice(&choices)?;
            }
            "childless" => {
                let choices = [
                    ("allow", Childless::Allow),
                    ("prefer", Childless::Prefer),
                    ("force", Childless::Force),
                    ("never", Childless::Never),
                ];
                self.childless = key.choice(&choices)?;
            }
            "send_cert" => {
                let choices = [
                    ("ifasked", SendCert::IfAsked),
                    ("always", SendCert::Always),
                    ("never", SendCert::Never),
                ];
                self.send_cert = key.choice(&choices)?;
            }
            "send_certreq" => self.send_certreq = key.bool()?,
            "ocsp" => {
                let choices = [
                    ("never", InBandOcsp::Never),
                    ("reply", InBandOcsp::Reply),
                    ("request", InBandOcsp::Request),
                    ("both", InBandOcsp::Both),
                ];
                self.ocsp = key.choice(&choices)?;
            }
            "reauth_time" => self.reauth_time = Some(key.time()?),
            "rekey_time" => self.rekey_time = Some(key.time()?),
            "over_time" => self.over_time = Some(key.time()?),
            "rand_time" => self.rand_time = Some(key.time()?),
            "if_id_in" => self.interface_in = Self::interface(key, defaults)?,
            "if_id_out" => self.interface_out = Self::interface(key, defaults)?,
            _another => self.without_effect(key)?,
        }
        Ok(())
    }

    /// Keys that nothing is made of: checked all the same, and refused or remarked on where they ask for
    /// something.
    fn without_effect(&mut self, key: &Key<'_>) -> Result<(), ConfigError> {
        match key.name {
            // For IKEv1 alone.
            "aggressive" | "pull" => drop(key.bool()?),
            "dscp" => self.dscp = key.read("six binary digits", values::dscp)?,
            "ppk_id" => return Err(key.unsupported("there are no post-quantum pre-shared keys")),
            "ppk_required" | "mediation" => {
                if key.bool()? {
                    return Err(key.unsupported("there is no such thing"));
                }
            }
            "mediated_by" | "mediation_peer" => return Err(key.unsupported("there is no mediation")),
            _none_of_these => return Err(key.unknown()),
        }
        Ok(())
    }

    /// The interface ID of children that do not say otherwise.
    fn interface(key: &Key<'_>, defaults: &Defaults) -> Result<Option<Label>, ConfigError> {
        let label = key.read(child::INTERFACE, values::interface_id)?;
        match label {
            Some(_) if !defaults.plane.labels => Err(key.unsupported(child::NO_INTERFACES)),
            label => Ok(label),
        }
    }

    fn list(&mut self, list: &List<'_>) -> Result<(), ConfigError> {
        match list.name {
            "local_addrs" => self.local_addrs.extend(list.read(addresses::parse)?),
            "remote_addrs" => self.remote_addrs.extend(list.read(addresses::parse)?),
            "proposals" => {
                self.proposals.extend(proposals::parse(list, What::Ike, &mut self.remarks)?);
            }
            "vips" => {
                let any = [
                    ("%any", Ipv4Addr::UNSPECIFIED.into()),
                    ("%any4", Ipv4Addr::UNSPECIFIED.into()),
                    ("%any6", Ipv6Addr::UNSPECIFIED.into()),
                ];
                self.vips.extend(list.addresses(&any)?);
            }
            "pools" => self.pools.extend(list.read(|name| Ok(name.to_owned()))?),
            _none_of_these => return Err(list.unknown()),
        }
        Ok(())
    }

    fn section(&mut self, inner: Inner<'a>, defaults: &Defaults) -> Result<(), ConfigError> {
        let starts_with = |prefix: &str| {
            inner.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if inner.name == "children" {
            for item in Items::of(inner.section, &inner.path) {
                match item {
                    Item::Section(section) => {
                        if self.children.iter().any(|child| child.name == section.name) {
                            return Err(section.problem("there is another child of this name"));
                        }
                        let child = child::parse(&section, defaults, &mut self.remarks)?;
                        self.children.push(Arc::new(child));
                    }
                    Item::Value(key) => return Err(key.unknown()),
                    Item::List(list) => return Err(list.unknown()),
                }
            }
        } else if starts_with("local") {
            self.local.push(inner);
        } else if starts_with("remote") {
            self.remote.push(inner);
        } else {
            return Err(inner.unknown());
        }
        Ok(())
    }

    fn finish(mut self, name: &str, path: &str) -> Result<Parsed, ConfigError> {
        let of_ike_sa = |label| match label {
            Label::Unique | Label::UniqueDirection => Label::OfIkeSa,
            label => label,
        };
        for child in self.children.iter_mut().filter(|child| child.mode().is_some()) {
            let labels = &mut Arc::make_mut(child).labels;
            labels.interface_in = labels.interface_in.or(self.interface_in.map(of_ike_sa));
            labels.interface_out = labels.interface_out.or(self.interface_out.map(of_ike_sa));
        }
        let times = Times::of(self.rekey_time, self.reauth_time, self.over_time, self.rand_time);
        let or_any = |addrs: Vec<_>| if addrs.is_empty() { vec![AddressPattern::Any] } else { addrs };
        let mut remarks = self.remarks;
        if let [_, _, ..] = self.vips.iter().filter(|vip| vip.is_ipv4()).collect::<Vec<_>>().as_slice() {
            remarks.push(format!("{path}.vips: one IPv4 address is asked for, not several"));
        }
        if let [_, _, ..] = self.vips.iter().filter(|vip| vip.is_ipv6()).collect::<Vec<_>>().as_slice() {
            remarks.push(format!("{path}.vips: one IPv6 address is asked for, not several"));
        }
        let connection = Connection {
            name: name.to_owned(),
            version: self.version,
            local_addrs: or_any(self.local_addrs),
            remote_addrs: or_any(self.remote_addrs),
            local_port: self.local_port,
            remote_port: self.remote_port,
            proposals: if self.proposals.is_empty() {
                proposals::default_ike()
            } else {
                number(self.proposals)
            },
            vips: self.vips,
            encap: self.encap,
            dscp: self.dscp,
            fragmentation: self.fragmentation,
            mobike: self.mobike,
            dpd_delay: nonzero(self.dpd_delay),
            keyingtries: self.keyingtries,
            unique: self.unique,
            childless: self.childless,
            send_cert: self.send_cert,
            send_certreq: self.send_certreq,
            ocsp: self.ocsp,
            rekey_time: nonzero(times.rekey),
            reauth_time: nonzero(times.reauth),
            over_time: times.over,
            rand_time: times.rand,
            pools: self.pools,
            interface_in: self.interface_in,
            interface_out: self.interface_out,
            local: auth::local(&self.local, path, &mut remarks)?,
            remote: auth::remote(&self.remote, &mut remarks)?,
            children: self.children,
        };
        auth::check_null(&connection)
            .map_err(|problem| ConfigError::Problem { path: path.to_owned(), problem })?;
        let has_nobody = connection.remote.iter().any(RemoteAuth::is_null);
        let connection = match connection.dpd_delay {
            // RFC 7619 §2.3: who proves nothing cannot replace what it has left behind, so that is looked for.
            None if has_nobody => Connection { dpd_delay: Some(NOBODYS_DPD_DELAY), ..connection },
            _ => connection,
        };
        Ok(Parsed { connection, dpd_timeout: self.dpd_timeout, remarks })
    }
}

/// How often peers that prove nothing are asked whether they live, where `dpd_delay` does not say.
const NOBODYS_DPD_DELAY: Duration = Duration::from_secs(60);

fn version(key: &Key<'_>) -> Result<Version, ConfigError> {
    match key.number::<u8>("0, 1 or 2")? {
        0 => Ok(Version::Any),
        1 => Err(key.unsupported("IKEv1 is not spoken; use 2, or 0 for any")),
        2 => Ok(Version::V2),
        _no_version => Err(key.invalid("0, 1 or 2")),
    }
}

fn local_port(key: &Key<'_>, defaults: &Defaults) -> Result<u16, ConfigError> {
    let port = key.number("a port, 0 to 65535")?;
    if [0, defaults.ports.ike, defaults.ports.nat_t].contains(&port) {
        Ok(port)
    } else {
        let Ports { ike, nat_t } = defaults.ports;
        Err(key.unsupported(format!("messages are sent from port {ike} or {nat_t}")))
    }
}

/// Proposals of several lists of the same name, numbered through (RFC 7296 §3.3.1).
pub(super) fn number(mut proposals: Vec<Proposal>) -> Vec<Proposal> {
    ferry_ike::proposal::number(&mut proposals);
    proposals
}

pub(super) fn nonzero(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

/// When an IKE SA is made anew and when it ends; zero for never.
#[derive(Debug, PartialEq, Eq)]
struct Times {
    rekey: Duration,
    reauth: Duration,
    over: Duration,
    rand: Duration,
}

impl Times {
    fn of(
        rekey: Option<Duration>,
        reauth: Option<Duration>,
        over: Option<Duration>,
        rand: Option<Duration>,
    ) -> Self {
        let (rekey, reauth) = match (rekey, reauth) {
            // Long enough not to matter, short enough to limit what one key protects.
            (None, None) => (Duration::from_secs(4 * SECONDS_PER_HOUR), Duration::ZERO),
            (rekey, reauth) => (rekey.unwrap_or_default(), reauth.unwrap_or_default()),
        };
        // Whole seconds, as charon counts.
        let part = |time: Duration, divisor: u64| Duration::from_secs(time.as_secs() / divisor);
        let over = over.unwrap_or_else(|| part(rekey.max(reauth), 10));
        let relevant =
            if rekey.is_zero() || reauth.is_zero() { rekey.max(reauth) } else { rekey.min(reauth) };
        let rand = rand.unwrap_or_else(|| over.min(part(relevant, 2)));
        Self { rekey, reauth, over, rand }
    }
}

#[cfg(test)]
mod tests {
    use ferry_ike::config::AuthClass;

    use super::*;
    use crate::store::tests::DEFAULTS;

    fn psk() -> Section {
        Section::new().with_section("local", Section::new().with("auth", "psk"))
    }

    fn connection(section: Section) -> Connection {
        parse("gw", &section, &DEFAULTS).unwrap().connection
    }

    fn error(section: Section) -> String {
        parse("gw", &section, &DEFAULTS).unwrap_err().to_string()
    }

    #[test]
    fn the_least_connection_has_charons_defaults() {
        let connection = connection(psk());
        assert_eq!(connection.name, "gw");
        assert_eq!(connection.version, Version::Any);
        assert_eq!(connection.local_addrs, [AddressPattern::Any]);
        assert_eq!(connection.remote_addrs, [AddressPattern::Any]);
        assert_eq!((connection.local_port, connection.remote_port), (0, 500));
        assert_eq!(connection.proposals, proposals::default_ike());
        assert_eq!(connection.rekey_time, Some(Duration::from_secs(14_400)));
        assert_eq!(connection.reauth_time, None);
        assert_eq!(connection.over_time, Duration::from_secs(1440));
        assert_eq!(connection.rand_time, Duration::from_secs(1440));
        assert_eq!(connection.unique, Unique::No);
        assert_eq!(connection.keyingtries, 1);
        assert_eq!(connection.local[0].class, AuthClass::Psk);
        assert_eq!(connection.local[0].id, None);
        assert_eq!(connection.remote[0].class, None);
        assert!(connection.remote[0].id.is_any());
        assert!(connection.children.is_empty());
    }

    #[test]
    fn what_is_said_is_taken() {
        let section = psk()
            .with("version", "2")
            .with_list("local_addrs", ["192.0.2.1"])
            .with_list("remote_addrs", ["gw.example.net", "192.0.2.0/28"])
            .with("remote_port", "0x1f4")
            .with_list("proposals", ["aes256gcm16-prfsha384-x25519"])
            .with_list("vips", ["0.0.0.0", "%any6"])
            .with_list("pools", ["v4", "v6"])
            .with("encap", "yes")
            .with("dscp", "101110")
            .with("fragmentation", "accept")
            .with("dpd_delay", "30s")
            .with("dpd_timeout", "2m")
            .with("keyingtries", "0")
            .with("unique", "Replace")
            .with("mobike", "yes")
            .with_section("remote-1", Section::new().with("auth", "PSK").with("id", "*.example.net"));
        let parsed = parse("gw", &section, &DEFAULTS).unwrap();
        assert_eq!(parsed.remarks, Vec::<String>::new());
        assert_eq!(parsed.dpd_timeout, Duration::from_secs(120));
        let connection = parsed.connection;
        assert_eq!(connection.version, Version::V2);
        assert_eq!(connection.remote_addrs[0], AddressPattern::Name("gw.example.net".to_owned(), vec![]));
        assert_eq!(connection.proposals.len(), 1);
        assert_eq!(
            connection.vips,
            [ferry_ike::config::any_address(false), ferry_ike::config::any_address(true)]
        );
        assert_eq!(connection.pools, ["v4", "v6"]);
        assert!(connection.encap);
        assert_eq!(connection.dscp, 46);
        assert_eq!(connection.fragmentation, Fragmentation::Accept);
        assert_eq!(connection.dpd_delay, Some(Duration::from_secs(30)));
        assert_eq!(connection.keyingtries, 0);
        assert_eq!(connection.unique, Unique::Replace);
        assert_eq!(connection.remote[0].class, Some(AuthClass::Psk));
        assert_eq!(connection.remote[0].id.to_string(), "*.example.net");
    }

    #[test]
    fn times_follow_from_each_other() {
        let seconds = |n| Some(Duration::from_secs(n));
        let times = |rekey, reauth, over, rand| Times::of(rekey, reauth, over, rand);
        let expect = |rekey, reauth, over, rand| Times {
            rekey: Duration::from_secs(rekey),
            reauth: Duration::from_secs(reauth),
            over: Duration::from_secs(over),
            rand: Duration::from_secs(rand),
        };
        assert_eq!(times(None, None, None, None), expect(14_400, 0, 1440, 1440));
        assert_eq!(times(None, seconds(3600), None, None), expect(0, 3600, 360, 360));
        assert_eq!(times(seconds(0), None, None, None), expect(0, 0, 0, 0));
        assert_eq!(times(seconds(100), seconds(3600), None, None), expect(100, 3600, 360, 50));
        assert_eq!(times(seconds(105), None, seconds(7), None), expect(105, 0, 7, 7));
        assert_eq!(times(seconds(105), None, None, seconds(0)), expect(105, 0, 10, 0));
    }

    #[test]
    fn who_proves_nothing_has_little() {
        let end = |auth: &str| Section::new().with("auth", auth);
        let site = |local: &str, remote: Section, ts: &str| {
            let child = Section::new().with_list("remote_ts", [ts]);
            Section::new()
                .with_section("local", end(local))
                .with_section("remote", remote)
                .with_section("children", Section::new().with_section("net", child))
        };
        let of_nobody = connection(site("null", end("null"), "dynamic"));
        assert!(
            of_nobody.remote.iter().all(RemoteAuth::is_null)
                && of_nobody.local[0].identity().unwrap().is_null()
        );
        assert_eq!(of_nobody.dpd_delay, Some(Duration::from_secs(60)));
        let asked = site("null", end("null"), "dynamic").with("dpd_delay", "5");
        assert_eq!(connection(asked).dpd_delay, Some(Duration::from_secs(5)));
        let fixed = site("null", end("null"), "10.3.0.0/24");
        connection(fixed.clone().with_list("remote_addrs", ["192.0.2.1"]));
        assert_eq!(
            error(fixed),
            "connections.gw: anybody may come with auth = null, and children.net.remote_ts would give them traffic of \
             others: use dynamic"
        );
        assert_eq!(
            error(site("psk", end("null").with("id", "alice"), "dynamic")),
            "connections.gw.remote: with auth = null nobody proves who they are: leave id out"
        );
        for (local, remote) in [("null", "eap-mschapv2"), ("eap-mschapv2", "null")] {
            assert_eq!(
                error(site(local, end(remote), "dynamic")),
                "connections.gw: one end has auth = null and the other EAP: clients would prove themselves to nobody"
            );
        }
        let rounds = site("psk", end("null"), "dynamic").with_section("remote-2", end("psk"));
        assert_eq!(
            error(rounds),
            "connections.gw.remote: auth = null stands alone: what else is proven makes it needless"
        );
    }

    #[test]
    fn errors_name_the_key_by_its_full_path() {
        let cases: [(Section, &str); 13] = [
            (psk().with("versoin", "2"), "there is no key connections.gw.versoin"),
            (psk().with("proposals", "aes128"), "there is no key connections.gw.proposals"),
            (psk().with_list("version", ["2"]), "there is no list connections.gw.version"),
            (psk().with_section("child", Section::new()), "there is no section connections.gw.child"),
            (psk().with("version", "3"), "connections.gw.version = 3: expected 0, 1 or 2"),
            (
                psk().with("version", "1"),
                "connections.gw.version = 1 is not supported yet: IKEv1 is not spoken; use 2, or 0 for any",
            ),
            (
                psk().with("dpd_delay", "soon"),
                "connections.gw.dpd_delay = soon: expected a time such as 30, 30s, 5m, 4h or 1d",
            ),
            (
                psk().with("unique", "yes"),
                "connections.gw.unique = yes: expected one of never, no, replace, keep",
            ),
            (
                psk().with_list("local_addrs", ["192.0.2.1", "192.0.2.300"]),
                "connections.gw.local_addrs = 192.0.2.300: expected an IP address, a subnet, a range, a DNS name or %any",
            ),
            (
                psk().with("local_port", "501"),
                "connections.gw.local_port = 501 is not supported yet: messages are sent from port 500 or 4500",
            ),
            (
                psk().with_section("remote", Section::new().with("auth", "eap-sim")),
                "connections.gw.remote.auth = eap-sim is not supported yet: psk is, null, pubkey, rsa and ecdsa, and eap with md5, \
                 gtc, mschapv2, psk, tls, ttls, peap, dynamic or radius",
            ),
            (
                psk().with_section("remote", Section::new().with_list("certs", [&[0x30, 0x82]])),
                "connections.gw.remote.certs = (2 octets): expected a certificate in DER or PEM, but this is no X.509 \
                 certificate in DER: ASN.1 DER message is incomplete: expected 3, actual 2 at DER byte 2",
            ),
            (
                psk().with_section("local-2", Section::new().with("auth", "psk").with("round", "second")),
                "connections.gw.local-2.round = second: expected a whole number",
            ),
        ];
        for (section, expected) in cases {
            assert_eq!(error(section), expected);
        }
    }

    #[test]
    fn children_without_interfaces_of_their_own_have_the_connections() {
        let children = Section::new()
            .with_section("own", Section::new().with("if_id_out", "%unique"))
            .with_section("common", Section::new());
        let section =
            psk().with("if_id_in", "7").with("if_id_out", "%unique").with_section("children", children);
        let defaults = Defaults { plane: crate::dataplane::Abilities::KERNEL, ..DEFAULTS };
        let connection = parse("gw", &section, &defaults).unwrap().connection;
        assert_eq!(connection.interface_out, Some(Label::Unique));
        let out = |name| connection.child(name).unwrap().labels.interface_out;
        assert_eq!((out("own"), out("common")), (Some(Label::Unique), Some(Label::OfIkeSa)));
        assert_eq!(connection.child("own").unwrap().labels.interface_in, Some(Label::Fixed(7)));
    }

    #[test]
    fn what_changes_protection_is_refused() {
        for (key, value) in
            [("ppk_id", "k"), ("ppk_required", "yes"), ("if_id_in", "5"), ("mediation", "yes")]
        {
            let error = error(psk().with(key, value));
            assert!(
                error.starts_with(&format!("connections.gw.{key} = {value} is not supported yet: ")),
                "{error}"
            );
        }
        connection(psk().with("ppk_required", "no").with("if_id_in", "0").with("mediation", "no"));
    }

    #[test]
    fn every_key_of_charons_is_known() {
        for key in [
            "version",
            "aggressive",
            "pull",
            "dscp",
            "encap",
            "mobike",
            "dpd_delay",
            "dpd_timeout",
            "fragmentation",
            "childless",
            "send_certreq",
            "send_cert",
            "ocsp",
            "keyingtries",
            "unique",
            "local_port",
            "remote_port",
            "reauth_time",
            "rekey_time",
            "over_time",
            "rand_time",
            "ppk_id",
            "ppk_required",
            "if_id_in",
            "if_id_out",
            "mediation",
            "mediated_by",
            "mediation_peer",
        ] {
            let error = parse("gw", &psk().with(key, "\u{1}"), &DEFAULTS).unwrap_err();
            assert!(!matches!(error, ConfigError::Unknown { .. }), "{error}");
        }
        for list in ["local_addrs", "remote_addrs", "proposals", "vips", "pools"] {
            connection(psk().with_list(list, Vec::<&str>::new()));
        }
    }

    #[test]
    fn children_have_names_of_their_own() {
        let children = Section::new().with_section("lan", Section::new()).with_section("lan", Section::new());
        let error = error(psk().with_section("children", children));
        assert_eq!(error, "connections.gw.children.lan: there is another child of this name");
    }
}
