//! What hosts are made of: a gateway and a client that fit together, and everything about them that a story changes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::aaa::Account;
use crate::auth::rules::SignatureRules;
use crate::config::{
    AddressPattern, AuthClass, Child, ChildAction, Childless, Configuration, Connection, CopyDscp,
    EapMethods, Fragmentation, InBandOcsp, Labels, LocalAuth, Mode, Offload, OwnResponse, PolicySettings,
    Processing, RemoteAuth, SecretKind, SendCert, Settings, SharedSecret, SpiPrefix, Unique, Version, Volume,
};
use crate::crypto::Secret;
use crate::crypto::signature::PrivateKey;
use crate::identity::Identity;
use crate::lease::{Pool, parse_attribute};
use crate::pki::{Certificate, Constraints, TrustStore};
use crate::proposal::Proposal;
use crate::selector::SelectorPattern;
use crate::wire::registry::ProtocolId;

/// The pre-shared key that gateway and client have where nothing else is said.
pub const PSK: &str = "what only the two of them know";

/// A host to be: connections, secrets, pools, settings.
///
/// Its methods change one thing and give it back, and are for stories and tests: what does not parse is a mistake in
/// them, and panics.
pub struct Setup {
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) settings: Settings,
    pub(super) spi_prefix: SpiPrefix,
    pub(super) configuration: Configuration,
    pub(super) pools: Vec<Pool>,
    pub(super) aaa: Option<Account>,
}

/// A gateway `gw` at 192.0.2.1 that lets everybody in who knows the [`PSK`], to 10.1.0.0/16.
#[must_use]
pub fn gateway() -> Setup {
    Setup::new("gw", "192.0.2.1")
        .connection(|connection| {
            connection.local = vec![psk_auth(Some("gw.example.org"))];
            connection.remote = vec![remote_auth("%any")];
        })
        .ts("10.1.0.0/16", "dynamic")
}

/// A client `rw` at 198.51.100.7 that connects to the gateway.
#[must_use]
pub fn client() -> Setup {
    Setup::new("rw", "198.51.100.7")
        .connection(|connection| {
            connection.remote_addrs = vec![AddressPattern::Host(address("192.0.2.1"))];
            connection.local = vec![psk_auth(Some("rw.example.org"))];
            connection.remote = vec![remote_auth("gw.example.org")];
        })
        .ts("dynamic", "10.1.0.0/16")
}

impl Setup {
    fn new(name: &str, at: &str) -> Self {
        let setup = Self {
            name: name.into(),
            address: address(at),
            settings: Settings::default(),
            spi_prefix: SpiPrefix::default(),
            configuration: Configuration {
                connections: vec![Arc::new(connection(name))],
                ..Default::default()
            },
            pools: vec![],
            aaa: None,
        };
        setup.psk(PSK)
    }

    /// Another name in transcripts. The connection has it too.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self.connection(|connection| connection.name = name.into())
    }

    /// At another address.
    #[must_use]
    pub fn at(mut self, at: &str) -> Self {
        self.address = address(at);
        self
    }

    /// Connecting to another address, or to be reached from there only.
    #[must_use]
    pub fn peer_at(self, at: &str) -> Self {
        self.connection(|connection| connection.remote_addrs = vec![AddressPattern::Host(address(at))])
    }

    /// With another identity.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.connection(|connection| connection.local = vec![psk_auth(Some(id))])
    }

    /// Without an identity of its own: its address serves.
    #[must_use]
    pub fn no_id(self) -> Self {
        self.connection(|connection| connection.local = vec![psk_auth(None)])
    }

    /// Expecting another identity of the peer; a pattern.
    #[must_use]
    pub fn peer_id(self, id: &str) -> Self {
        self.connection(|connection| connection.remote = vec![remote_auth(id)])
    }

    /// With this pre-shared key for everybody, and no other secret.
    #[must_use]
    pub fn psk(mut self, secret: &str) -> Self {
        self.configuration.secrets = vec![Arc::new(shared_secret(SecretKind::Ike, secret, &[]))];
        self
    }

    /// With a further pre-shared key, for these identities.
    #[must_use]
    pub fn psk_for(mut self, secret: &str, owners: &[&str]) -> Self {
        self.configuration.secrets.push(Arc::new(shared_secret(SecretKind::Ike, secret, owners)));
        self
    }

    /// With a password of EAP, for these identities.
    #[must_use]
    pub fn password(mut self, secret: &str, owners: &[&str]) -> Self {
        self.configuration.secrets.push(Arc::new(shared_secret(SecretKind::Eap, secret, owners)));
        self
    }

    /// Proving itself by EAP.
    #[must_use]
    pub fn eap(self, methods: EapMethods, eap_id: Option<&str>) -> Self {
        self.connection(|connection| {
            for auth in &mut connection.local {
                auth.class = AuthClass::Eap(methods);
                auth.eap_id = eap_id.map(identity);
            }
        })
    }

    /// Letting peers prove themselves by EAP, with an identity that fits this one.
    #[must_use]
    pub fn peer_eap(self, methods: EapMethods, eap_id: Option<&str>) -> Self {
        self.connection(|connection| {
            for auth in &mut connection.remote {
                auth.class = Some(AuthClass::Eap(methods));
                auth.eap_id = eap_id.map(identity);
            }
        })
    }

    /// With a server elsewhere that judges EAP, and what it knows.
    #[must_use]
    pub fn aaa(mut self, account: Account) -> Self {
        self.aaa = Some(account);
        self
    }

    /// For peers in one of these groups alone.
    #[must_use]
    pub fn peer_groups(self, groups: &[&str]) -> Self {
        self.connection(|connection| {
            for auth in &mut connection.remote {
                auth.groups = groups.iter().map(|group| identity(group)).collect();
            }
        })
    }

    /// Proving itself with this certificate and private key, both in DER.
    #[must_use]
    pub fn certificate(mut self, certificate: &[u8], key: &[u8]) -> Self {
        let certificate = Certificate::from_der(certificate).expect("the story's certificate is one");
        let key = PrivateKey::from_der(key).expect("the story's key is one");
        self.configuration.private_keys.push(Arc::new(key));
        self.connection(|connection| {
            for auth in &mut connection.local {
                auth.class = AuthClass::PublicKey;
                auth.certificates.push(certificate.clone());
            }
        })
    }

    /// Proving nothing (RFC 7619).
    #[must_use]
    pub fn null(self) -> Self {
        self.connection(|connection| {
            for auth in &mut connection.local {
                (auth.class, auth.id) = (AuthClass::Null, None);
            }
        })
    }

    /// Taking anybody, who proves nothing.
    #[must_use]
    pub fn peer_null(self) -> Self {
        self.connection(|connection| {
            for auth in &mut connection.remote {
                (auth.class, auth.id) = (Some(AuthClass::Null), Identity::any());
            }
        })
    }

    /// Proving itself with the raw public key of this private key, in DER.
    #[must_use]
    pub fn raw_key(mut self, key: &[u8]) -> Self {
        let key = PrivateKey::from_der(key).expect("the story's key is one");
        let public = key.public().clone();
        self.configuration.private_keys.push(Arc::new(key));
        self.connection(|connection| {
            for auth in &mut connection.local {
                auth.class = AuthClass::PublicKey;
                auth.public_keys.push(public.clone());
            }
        })
    }

    /// Having peers prove themselves with the raw public key of this private key, in DER, or another that was said before.
    #[must_use]
    pub fn peer_raw_key(self, key: &[u8]) -> Self {
        let public = PrivateKey::from_der(key).expect("the story's key is one").public().clone();
        self.connection(|connection| {
            for auth in &mut connection.remote {
                auth.class = Some(AuthClass::PublicKey);
                auth.public_keys.push(public.clone());
            }
        })
    }

    /// Proving itself in a further round (RFC 4739), which is like the last but for this.
    #[must_use]
    pub fn another_round(self, change: impl FnOnce(&mut LocalAuth)) -> Self {
        self.connection(|connection| {
            let mut another = connection.local.last().expect("a setup has a round").clone();
            change(&mut another);
            connection.local.push(another);
        })
    }

    /// Having peers prove themselves in a further round, which is like the last but for this.
    #[must_use]
    pub fn another_peer_round(self, change: impl FnOnce(&mut RemoteAuth)) -> Self {
        self.connection(|connection| {
            let mut another = connection.remote.last().expect("a setup has a round").clone();
            change(&mut another);
            connection.remote.push(another);
        })
    }

    /// Letting peers prove themselves by certificate.
    #[must_use]
    pub fn peer_certificate(self) -> Self {
        self.connection(|connection| {
            for auth in &mut connection.remote {
                auth.class = Some(AuthClass::PublicKey);
            }
        })
    }

    /// With a further certificate that is loaded: an authority that is trusted, or one between.
    #[must_use]
    pub fn trusting(mut self, certificate: &[u8]) -> Self {
        let certificate = Certificate::from_der(certificate).expect("the story's certificate is one");
        let mut trust = TrustStore::clone(&self.configuration.trust);
        trust.add(certificate);
        self.configuration.trust = Arc::new(trust);
        self
    }

    /// With an OCSP response about one of its certificates.
    #[must_use]
    pub fn ocsp_response(mut self, certificate: &[u8], response: &[u8]) -> Self {
        let certificate = Certificate::from_der(certificate).expect("the story's certificate is one");
        self.configuration.ocsp_responses.push(OwnResponse { certificate, der: response.to_vec() });
        self
    }

    /// Signing as these rules say, and taking only signatures of peers that are made so.
    #[must_use]
    pub fn signing(self, rules: &str) -> Self {
        let rules = SignatureRules::parse(rules).expect("the story's rules parse").chain;
        self.connection(|connection| {
            for auth in &mut connection.local {
                auth.rules = rules.clone();
            }
            for auth in &mut connection.remote {
                auth.rules = rules.clone();
            }
        })
    }

    /// Without any secret.
    #[must_use]
    pub fn no_psk(mut self) -> Self {
        self.configuration.secrets.clear();
        self
    }

    /// With virtual IPs for peers from a pool that is named as its addresses are.
    #[must_use]
    pub fn pool(self, addrs: &str) -> Self {
        self.pool_with(addrs, &[])
    }

    /// The same, with attributes of the pool: `("dns", "192.0.2.53")`.
    #[must_use]
    pub fn pool_with(mut self, addrs: &str, attributes: &[(&str, &str)]) -> Self {
        let attributes = attributes
            .iter()
            .map(|(name, text)| parse_attribute(name, text).expect("the story's attribute parses"))
            .collect();
        let pool = Pool::parse(addrs, addrs).expect("the story's pool parses").with_attributes(attributes);
        self.pools.push(pool);
        self.connection(|connection| connection.pools.push(addrs.into()))
    }

    /// Asking for these virtual IPs.
    #[must_use]
    pub fn vips(self, vips: &[&str]) -> Self {
        self.connection(|connection| connection.vips = vips.iter().map(|vip| address(vip)).collect())
    }

    /// With these proposals for IKE.
    #[must_use]
    pub fn ike(self, proposals: &[&str]) -> Self {
        self.connection(|connection| connection.proposals = self::proposals(ProtocolId::IKE, proposals))
    }

    /// With these proposals for ESP.
    #[must_use]
    pub fn esp(self, proposals: &[&str]) -> Self {
        self.child(|child| child.esp_proposals = self::proposals(ProtocolId::ESP, proposals))
    }

    /// With one selector at each end.
    #[must_use]
    pub fn ts(self, local: &str, remote: &str) -> Self {
        self.child(|child| {
            child.local_ts = vec![selector(local)];
            child.remote_ts = vec![selector(remote)];
        })
    }

    /// Sending messages in fragments, in IP datagrams of at most so many octets. What is not said here is small.
    #[must_use]
    pub fn fragments(self, size: usize) -> Self {
        self.fragmentation(Fragmentation::Yes).settings(|settings| {
            (settings.fragment_size_v4, settings.fragment_size_v6) = (size, size);
        })
    }

    /// Another policy on fragments.
    #[must_use]
    pub fn fragmentation(self, fragmentation: Fragmentation) -> Self {
        self.connection(|connection| connection.fragmentation = fragmentation)
    }

    /// Asking whether the peer lives after so long.
    #[must_use]
    pub fn dpd(self, delay: Duration) -> Self {
        self.connection(|connection| connection.dpd_delay = Some(delay))
    }

    /// Both ends may change their addresses (RFC 4555).
    #[must_use]
    pub fn mobike(self) -> Self {
        self.connection(|connection| connection.mobike = true)
    }

    /// With another policy on several IKE SAs of a peer.
    #[must_use]
    pub fn unique(self, unique: Unique) -> Self {
        self.connection(|connection| connection.unique = unique)
    }

    /// Changes the settings.
    #[must_use]
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Changes the newest connection.
    #[must_use]
    pub fn connection(mut self, change: impl FnOnce(&mut Connection)) -> Self {
        let newest = self.configuration.connections.last_mut().expect("a setup has a connection");
        change(Arc::make_mut(newest));
        self
    }

    /// Changes the first child of the newest connection.
    #[must_use]
    pub fn child(self, change: impl FnOnce(&mut Child)) -> Self {
        self.connection(|connection| {
            let child = connection.children.first_mut().expect("a connection has a child");
            change(Arc::make_mut(child));
        })
    }

    /// Adds a connection like the newest, with another name; what follows changes that one.
    #[must_use]
    pub fn another(mut self, name: &str) -> Self {
        let newest = self.configuration.connections.last().expect("a setup has a connection");
        let another = Connection { name: name.into(), ..Connection::clone(newest) };
        self.configuration.connections.push(Arc::new(another));
        self
    }

    /// The connections and secrets alone, for `Command::Configure`.
    #[must_use]
    pub fn into_configuration(self) -> Configuration {
        self.configuration
    }
}

fn connection(name: &str) -> Connection {
    Connection {
        name: name.into(),
        version: Version::V2,
        local_addrs: vec![AddressPattern::Any],
        remote_addrs: vec![AddressPattern::Any],
        local_port: 0,
        remote_port: 500,
        proposals: proposals(ProtocolId::IKE, &["aes128gcm16-prfsha256-x25519"]),
        vips: vec![],
        encap: false,
        dscp: 0,
        fragmentation: Fragmentation::Yes,
        mobike: false,
        dpd_delay: None,
        keyingtries: 1,
        unique: Unique::No,
        childless: Childless::Allow,
        send_cert: SendCert::IfAsked,
        send_certreq: true,
        ocsp: InBandOcsp::Reply,
        rekey_time: None,
        reauth_time: None,
        over_time: Duration::ZERO,
        rand_time: Duration::ZERO,
        pools: vec![],
        interface_in: None,
        interface_out: None,
        local: vec![psk_auth(None)],
        remote: vec![remote_auth("%any")],
        children: vec![Arc::new(child())],
    }
}

fn child() -> Child {
    Child {
        name: "net".into(),
        esp_proposals: proposals(ProtocolId::ESP, &["aes128gcm16"]),
        local_ts: vec![SelectorPattern::DYNAMIC],
        remote_ts: vec![SelectorPattern::DYNAMIC],
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
        replay_window: 32,
        reqid: None,
        copy_df: true,
        copy_ecn: true,
        copy_dscp: CopyDscp::Out,
        offload: Offload::No,
        labels: Labels::default(),
        policies: PolicySettings::default(),
        updown: None,
        host_access: false,
    }
}

fn psk_auth(id: Option<&str>) -> LocalAuth {
    LocalAuth {
        class: AuthClass::Psk,
        certificates: vec![],
        public_keys: vec![],
        rules: SignatureRules::default(),
        id: id.map(identity),
        eap_id: None,
        aaa_id: None,
    }
}

fn remote_auth(id: &str) -> RemoteAuth {
    RemoteAuth {
        class: Some(AuthClass::Psk),
        rules: SignatureRules::default(),
        trust: Constraints::default(),
        public_keys: vec![],
        id: identity(id),
        eap_id: None,
        groups: vec![],
    }
}

pub(super) fn shared_secret(kind: SecretKind, secret: &str, owners: &[&str]) -> SharedSecret {
    SharedSecret {
        id: None,
        kind,
        owners: owners.iter().map(|owner| identity(owner)).collect(),
        secret: Secret::new(secret.into()),
    }
}

pub(super) fn identity(text: &str) -> Identity {
    Identity::parse(text).expect("the story's identity parses")
}

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().expect("the story's address parses")
}

fn selector(text: &str) -> SelectorPattern {
    SelectorPattern::parse(text).expect("the story's selector parses")
}

fn proposals(protocol: ProtocolId, texts: &[&str]) -> Vec<Proposal> {
    texts
        .iter()
        .flat_map(|text| Proposal::parse(protocol, text).expect("the story's proposal parses"))
        .collect()
}
