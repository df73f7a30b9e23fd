//! Methods with TLS inside IKE_AUTH (RFC 7296 §2.16, RFC 5998), between simulated peers: who is vouched for, and that
//! nothing is said before it is known.

use std::time::Duration;

use ferry_ike::config::EapMethods;
use ferry_ike::eap::Method;
use ferry_ike::sim::{ActionKind, HostId, Manner, Setup, World, client, gateway};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

use crate::talk::alternative;

/// An authority of certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn der(&self) -> Vec<u8> {
        self.0.as_ref().der().to_vec()
    }

    /// A certificate for `name` and its key.
    fn issue(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.subject_alt_names.push(alternative(name));
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().der().to_vec(), key.serialize_der())
    }
}

/// A gateway that proves itself by EAP alone, with a certificate.
fn eap_gateway(method: Method, ca: &Authority) -> Setup {
    let (certificate, key) = ca.issue("gw.example.org");
    gateway()
        .no_psk()
        .certificate(&certificate, &key)
        .trusting(&ca.der())
        .eap(EapMethods::One(method), None)
        .peer_eap(EapMethods::One(method), Some("%any"))
        .password("a password", &["alice@example.org"])
}

/// A client that is alice, with a certificate if it wants one.
fn alice(method: Method, ca: &Authority) -> Setup {
    let (certificate, key) = ca.issue("alice@example.org");
    let client = client().no_psk();
    let client = if method == Method::Tls { client.certificate(&certificate, &key) } else { client };
    client
        .trusting(&ca.der())
        .eap(EapMethods::One(method), Some("alice@example.org"))
        .peer_eap(EapMethods::Any, None)
        .password("a password", &["alice@example.org"])
}

fn down(world: &mut World, host: HostId) -> String {
    let told = world.events(host);
    told.into_iter().find(|line| line.contains(" down: ")).unwrap()
}

#[test]
fn both_ends_prove_themselves_by_eap_alone() {
    for method in [Method::Tls, Method::Ttls, Method::Peap] {
        let ca = Authority::new("CA");
        let (mut world, rw, gw) = World::of(alice(method, &ca), eap_gateway(method, &ca));
        world.connect(rw, gw, "net");
        assert_eq!(world.ike_sas(gw)[0].remote_eap_id.as_ref().unwrap().to_string(), "alice@example.org");
    }
}

/// The class of CVE-2023-26463 too: a certificate that nobody vouches for is not believed for having come by TLS.
#[test]
fn cve_class_eap_tls_certificate_of_another_authority() {
    let (ca, other) = (Authority::new("CA"), Authority::new("another CA"));
    // It believes the gateway, but has its certificate from elsewhere.
    let client = alice(Method::Tls, &other).trusting(&ca.der());
    let (mut world, rw, gw) = World::of(client, eap_gateway(Method::Tls, &ca));
    world.initiate(rw, "net");
    world.run();
    let why = down(&mut world, gw);
    assert!(why.contains("the client is not believed: certificate \"CN=alice@example.org\""), "{why}");
    assert!(world.ike_sas(rw).is_empty() && world.ike_sas(gw).is_empty());
}

#[test]
fn a_gateway_of_another_authority_is_not_believed() {
    for method in [Method::Tls, Method::Ttls, Method::Peap] {
        let (ca, other) = (Authority::new("CA"), Authority::new("another CA"));
        let gateway = eap_gateway(method, &other).trusting(&ca.der());
        let (mut world, rw, _) = World::of(alice(method, &ca), gateway);
        world.initiate(rw, "net");
        world.run();
        let why = down(&mut world, rw);
        assert!(why.contains("the EAP server is not believed: certificate \"CN=gw.example.org\""), "{why}");
        assert!(world.ike_sas(rw).is_empty());
    }
}

/// The class of CVE-2022-4967: what a certificate says is who somebody is.
#[test]
fn cve_class_eap_tls_identity_not_in_the_certificate() {
    let ca = Authority::new("CA");
    let boss = alice(Method::Tls, &ca).eap(EapMethods::One(Method::Tls), Some("boss@example.org"));
    let (mut world, rw, gw) = World::of(boss, eap_gateway(Method::Tls, &ca));
    world.initiate(rw, "net");
    world.run();
    let why = down(&mut world, gw);
    assert!(why.ends_with("the certificate \"CN=alice@example.org\" is not for 'boss@example.org'"), "{why}");
    assert!(world.ike_sas(rw).is_empty() && world.ike_sas(gw).is_empty());
}

#[test]
fn a_gateway_of_another_name_is_not_believed() {
    let ca = Authority::new("CA");
    let client = alice(Method::Ttls, &ca).connection(|connection| {
        for auth in &mut connection.local {
            auth.aaa_id = Some(crate::talk::id("aaa.example.org"));
        }
    });
    let (mut world, rw, _) = World::of(client, eap_gateway(Method::Ttls, &ca));
    world.initiate(rw, "net");
    world.run();
    let why = down(&mut world, rw);
    assert!(why.ends_with("the certificate \"CN=gw.example.org\" is not for 'aaa.example.org'"), "{why}");
}

#[test]
fn nothing_is_said_before_it_is_known_who_is_believed() {
    for method in [Method::Tls, Method::Ttls] {
        let ca = Authority::new("CA");
        let (mut world, rw, gw) = World::of(alice(method, &ca), eap_gateway(method, &ca));
        world.deal(rw, ActionKind::VerifyCertificate, Manner::Late(Duration::from_secs(5)));
        world.initiate(rw, "net");
        world.run_for(Duration::from_secs(4));
        // The handshake is over for the client, which waits; and so the gateway has let nobody in.
        assert!(world.ike_sas(gw).iter().all(|sa| sa.remote_eap_id.is_none()));
        world.run_for(Duration::from_secs(2));
        world.assert_connected(rw, gw);
    }
}
