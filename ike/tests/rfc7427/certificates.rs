//! CERT and CERTREQ (RFC 7296 §3.6, §3.7), and who vouches for whom.

use std::time::Duration;

use ferry_ike::config::SendCert;
use ferry_ike::pki::Certificate;
use ferry_ike::sim::{ActionKind, Manner, Setup, World, client, gateway};

use crate::lab::{Lab, P256};
use crate::{connects, is_not_believed, is_refused, nothing_stays, pair};

fn pinning(setup: Setup, certificate: &[u8]) -> Setup {
    let certificate = Certificate::from_der(certificate).unwrap();
    setup.connection(|connection| connection.remote[0].trust.certificates.push(certificate))
}

#[test]
fn intermediates_are_sent_along() {
    let root = Lab::new("root");
    let intermediate = root.intermediate("intermediate");
    let own = intermediate.certificate("rw.example.org", P256);
    let client = || client().no_psk().certificate(&own, P256).peer_certificate().trusting(&root.der);
    let (_, gateway) = pair(&root, P256, P256);
    let (mut world, rw, gw) = World::of(client().trusting(&intermediate.der), gateway);
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, CERT, CERT, N(INITIAL_CONTACT), CERTREQ, IDr, AUTH, SAi2, TSi, TSr}"
    );
    world.run();
    world.assert_connected(rw, gw);

    let (_, gateway) = pair(&root, P256, P256);
    is_refused(client(), gateway, "rw.example.org");
    let (_, gateway) = pair(&root, P256, P256);
    connects(client(), gateway.trusting(&intermediate.der));
}

#[test]
fn another_authority_does_not_count() {
    let (lab, other) = (Lab::new("CA"), Lab::new("CA"));
    let (client, _) = pair(&lab, P256, P256);
    let (_, gateway) = pair(&other, P256, P256);
    let always = |setup: Setup| setup.connection(|connection| connection.send_cert = SendCert::Always);
    is_refused(always(client), always(gateway), "authentication failed: ");
}

#[test]
fn an_expired_certificate_does_not_count() {
    let lab = Lab::new("CA");
    let (_, gateway) = pair(&lab, P256, P256);
    let own = lab.certificate_until("rw.example.org", P256, 2026);
    let client = client().no_psk().certificate(&own, P256).peer_certificate().trusting(&lab.der);
    is_refused(client, gateway, "expired");
}

#[test]
fn the_identity_has_to_be_in_the_certificate() {
    let lab = Lab::new("CA");
    let (_, gateway) = pair(&lab, P256, P256);
    let own = lab.certificate("other.example.org", P256);
    let client = client().no_psk().certificate(&own, P256).peer_certificate().trusting(&lab.der);
    is_refused(client, gateway, "is not for 'rw.example.org'");

    let (client, _) = pair(&lab, P256, P256);
    let gateway = crate::gateway().no_psk().certificate(&own, P256).peer_certificate().trusting(&lab.der);
    is_not_believed(client, gateway, "is not for 'gw.example.org'");
}

#[test]
fn a_certificate_that_is_here_already_need_not_be_sent() {
    let lab = Lab::new("CA");
    let own = lab.certificate("rw.example.org", P256);
    let never = |setup: Setup| setup.connection(|connection| connection.send_cert = SendCert::Never);
    let (client, gateway) = pair(&lab, P256, P256);
    connects(never(client), pinning(gateway, &own));
    let (client, gateway) = pair(&lab, P256, P256);
    is_refused(
        never(client),
        gateway,
        "no trusted certificate of 'rw.example.org' is here, and it has sent none",
    );
    let (client, gateway) = pair(&lab, P256, P256);
    is_refused(
        client,
        pinning(gateway, &lab.certificate("other.example.org", P256)),
        "authentication failed: ",
    );
}

#[test]
fn certificates_are_sent_if_they_are_asked_for() {
    let lab = Lab::new("CA");
    let own = lab.certificate("rw.example.org", P256);
    let (client, gateway) = pair(&lab, P256, P256);
    let gateway = pinning(gateway, &own).connection(|connection| connection.send_certreq = false);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    assert_eq!(world.deliver(), "gw --> rw: HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*)");
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), CERTREQ, IDr, AUTH, SAi2, TSi, TSr}"
    );
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn the_connection_whose_authority_has_signed_is_taken() {
    let (lab, other) = (Lab::new("CA"), Lab::new("another CA"));
    let (client, _) = pair(&lab, P256, P256);
    let own = lab.certificate("gw.example.org", P256);
    let authority = |setup: Setup, lab: &Lab| {
        let authority = Certificate::from_der(&lab.der).unwrap();
        setup.connection(|connection| connection.remote[0].trust.authorities = vec![authority])
    };
    let gateway = gateway().no_psk().certificate(&own, P256).peer_certificate();
    let gateway = authority(gateway.trusting(&lab.der).trusting(&other.der), &other);
    let gateway = authority(gateway.another("second"), &lab);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.run();
    assert_eq!(world.ike_sa(gw).connection.as_deref(), Some("second"));
    world.assert_connected(rw, gw);
}

#[test]
fn nothing_follows_before_somebody_has_vouched() {
    let lab = Lab::new("CA");
    for late_end in [true, false] {
        let (client, gateway) = pair(&lab, P256, P256);
        let (mut world, rw, gw) = World::of(client, gateway);
        let late = if late_end { rw } else { gw };
        world.deal(late, ActionKind::VerifyCertificate, Manner::Late(Duration::from_secs(5)));
        world.initiate(rw, "net");
        world.run_for(Duration::from_secs(4));
        let is_up = |world: &mut World| world.events(late).iter().any(|line| line.contains(" up"));
        assert!(!is_up(&mut world), "{}", world.transcript());
        world.run_for(Duration::from_secs(10));
        world.assert_connected(rw, gw);
    }
}

#[test]
fn nobody_who_vouches_is_a_no() {
    let lab = Lab::new("CA");
    for failing_end in [true, false] {
        let (client, gateway) = pair(&lab, P256, P256);
        let (mut world, rw, gw) = World::of(client, gateway);
        world.deal(if failing_end { rw } else { gw }, ActionKind::VerifyCertificate, Manner::Fails);
        world.initiate(rw, "net");
        world.run();
        nothing_stays(world, rw, gw);
    }
}
