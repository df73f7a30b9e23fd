//! Stories about RFC 4806: what OCSP says of certificates, shown in IKE.
#![expect(clippy::unwrap_used, reason = "a story that is not as told fails")]

#[path = "../rfc7670/refused.rs"]
mod refused;
mod responder;

use ferry_ike::config::{EapMethods, InBandOcsp};
use ferry_ike::eap::Method;
use ferry_ike::identity::Identity;
use ferry_ike::pki::Revocation;
use ferry_ike::sim::{Setup, World, client, gateway};

use crate::refused::fails;
use crate::responder::{Authority, Word};

const P256: &[u8] = include_bytes!("../../src/sim/keys/p256.p8");

/// A client and a gateway of this authority. Each wants to know that the other's certificate is good, and has what
/// `words`, the client's and the gateway's, say of its own.
fn pair(authority: &Authority, words: [Option<Word>; 2]) -> (Setup, Setup) {
    let end = |setup: Setup, name: &str, word: Option<Word>| {
        let own = authority.certificate(name, P256);
        let setup = setup.no_psk().certificate(&own, P256).peer_certificate().trusting(&authority.der);
        let setup = match word {
            Some(word) => setup.ocsp_response(&own, &authority.says(word, &own)),
            None => setup,
        };
        strict(asking(setup, InBandOcsp::Both))
    };
    let [of_client, of_gateway] = words;
    (end(client(), "rw.example.org", of_client), end(gateway(), "gw.example.org", of_gateway))
}

fn asking(setup: Setup, ocsp: InBandOcsp) -> Setup {
    setup.connection(|connection| connection.ocsp = ocsp)
}

fn judging(setup: Setup, revocation: Revocation) -> Setup {
    setup.connection(|connection| {
        connection.remote.iter_mut().for_each(|remote| remote.trust.revocation = revocation);
    })
}

fn strict(setup: Setup) -> Setup {
    judging(setup, Revocation::Strict)
}

const NOT_KNOWN: &str = "is revoked is not known";

/// RFC 4806 §5.1.
#[test]
fn each_end_asks_and_shows() {
    let (client, gateway) = pair(&Authority::new("CA"), [Some(Word::Good); 2]);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    assert_eq!(world.deliver(), "gw --> rw: HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*), CERTREQ, CERTREQ");
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, CERT, CERT, N(INITIAL_CONTACT), CERTREQ, CERTREQ, IDr, AUTH, SAi2, TSi, TSr}"
    );
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, CERT, CERT, AUTH, SAr2, TSi, TSr}");
    world.assert_connected(rw, gw);
}

/// RFC 4806 §4: whoever is not asked shows nothing, and whoever does not show is asked in vain.
#[test]
fn it_takes_one_that_asks_and_one_that_shows() {
    use InBandOcsp::{Both, Never, Reply, Request};
    let authority = Authority::new("CA");
    for asks in [Never, Reply, Request, Both] {
        for shows in [Never, Reply, Request, Both] {
            // The gateway judges, then the client.
            let (client, gateway) = pair(&authority, [Some(Word::Good); 2]);
            let client = judging(asking(client, shows), Revocation::Relaxed);
            let is_known = asks.requests() && shows.replies();
            if is_known {
                let (mut world, rw, gw) = World::of(client, asking(gateway, asks));
                world.connect(rw, gw, "net");
            } else {
                fails(client, asking(gateway, asks), true, NOT_KNOWN);
            }
            let (client, gateway) = pair(&authority, [Some(Word::Good); 2]);
            let gateway = judging(asking(gateway, shows), Revocation::Relaxed);
            if is_known {
                let (mut world, rw, gw) = World::of(asking(client, asks), gateway);
                world.connect(rw, gw, "net");
            } else {
                fails(asking(client, asks), gateway, false, NOT_KNOWN);
            }
        }
    }
}

#[test]
fn who_has_nothing_to_show_shows_nothing() {
    let authority = Authority::new("CA");
    let (client, gateway) = pair(&authority, [None, Some(Word::Good)]);
    fails(client, gateway, true, NOT_KNOWN);
    let (client, gateway) = pair(&authority, [Some(Word::Good), None]);
    fails(client, gateway, false, NOT_KNOWN);

    let (client, gateway) = pair(&authority, [None; 2]);
    let (client, gateway) = (judging(client, Revocation::Relaxed), judging(gateway, Revocation::Relaxed));
    let (mut world, rw, gw) = World::of(client, gateway);
    world.connect(rw, gw, "net");
}

/// Whether the certificate itself is asked for or not is another matter.
#[test]
fn a_certificate_that_is_here_already_may_have_been_revoked() {
    let authority = Authority::new("CA");
    let (client, gateway) = pair(&authority, [Some(Word::Good); 2]);
    let own = authority.certificate("rw.example.org", P256);
    let certificate = ferry_ike::pki::Certificate::from_der(&own).unwrap();
    let gateway = gateway.connection(|connection| {
        connection.send_certreq = false;
        connection.remote.iter_mut().for_each(|remote| remote.trust.certificates = vec![certificate.clone()]);
    });
    let client = client.connection(|connection| {
        connection.local.iter_mut().for_each(|local| local.certificates = vec![certificate.clone()]);
    });
    let client = client.ocsp_response(&own, &authority.says(Word::Good, &own));
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    assert_eq!(world.deliver(), "gw --> rw: HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*), CERTREQ");
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, CERT, N(INITIAL_CONTACT), CERTREQ, CERTREQ, IDr, AUTH, SAi2, TSi, TSr}"
    );
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn who_shows_that_it_is_revoked_is_refused() {
    let authority = Authority::new("CA");
    let (client, gateway) = pair(&authority, [Some(Word::Revoked), Some(Word::Good)]);
    let gateway = judging(gateway, Revocation::Relaxed);
    fails(client, gateway, true, "\"CN=rw.example.org\" is revoked");
    let (client, gateway) = pair(&authority, [Some(Word::Good), Some(Word::Revoked)]);
    fails(client, gateway, false, "\"CN=gw.example.org\" is revoked");
}

/// RFC 4806 §4.1: what is shown counts as what a responder says, if the issuer has signed it, of this certificate, now.
#[test]
fn what_is_shown_is_not_believed_for_being_shown() {
    let (authority, other) = (Authority::new("CA"), Authority::new("CA"));
    let own = authority.certificate("rw.example.org", P256);
    let sibling = authority.certificate("other.example.org", P256);
    let right = authority.says(Word::Good, &own);
    let mut altered = right.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    for response in [
        other.says(Word::Good, &own),
        authority.says(Word::Good, &sibling),
        authority.says(Word::Outdated, &own),
        altered,
        right[..right.len() - 1].to_vec(),
        [&right[..], &[0]].concat(),
        vec![],
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        vec![0xff; 3000],
    ] {
        let client = || {
            let setup = client().no_psk().certificate(&own, P256).peer_certificate().trusting(&authority.der);
            asking(setup.ocsp_response(&own, &response), InBandOcsp::Reply)
        };
        let (_, gateway) = pair(&authority, [None; 2]);
        fails(client(), gateway, true, NOT_KNOWN);
        let (_, gateway) = pair(&authority, [None; 2]);
        let (mut world, rw, gw) = World::of(client(), judging(gateway, Revocation::Relaxed));
        world.connect(rw, gw, "net");
    }
}

/// The request goes out before it is known who comes. What answers it counts where the connection asks.
#[test]
fn a_connection_that_does_not_ask_takes_nobodys_word() {
    let authority = Authority::new("CA");
    let (client, gateway) = pair(&authority, [Some(Word::Good); 2]);
    let of = |setup: Setup, id: &str| {
        let id = Identity::parse(id).unwrap();
        setup.connection(|connection| connection.remote.iter_mut().for_each(|remote| remote.id = id.clone()))
    };
    let gateway = of(of(gateway, "other.example.org").another("second"), "rw.example.org");
    fails(client, asking(gateway, InBandOcsp::Reply), true, NOT_KNOWN);
}

/// RFC 4806 §3.2: a response says itself which certificate it is about.
#[test]
fn certificates_between_have_responses_of_their_own() {
    let root = Authority::new("root");
    let between = root.intermediate("between");
    let own = between.certificate("rw.example.org", P256);
    let client = || {
        let setup = client().no_psk().certificate(&own, P256).peer_certificate();
        let setup = setup.trusting(&root.der).trusting(&between.der);
        setup.ocsp_response(&own, &between.says(Word::Good, &own))
    };
    let (_, gateway) = pair(&root, [None; 2]);
    fails(client(), gateway, true, "whether \"CN=between\" is revoked is not known");
    let (_, gateway) = pair(&root, [None; 2]);
    let client = client().ocsp_response(&between.der, &root.says(Word::Good, &between.der));
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    world.run();
    world.assert_connected(rw, gw);
}

/// RFC 4806 §5.2.
#[test]
fn a_gateway_shows_it_to_a_client_of_eap() {
    let authority = Authority::new("CA");
    let method = EapMethods::One(Method::MsChapV2);
    let (_, gateway) = pair(&authority, [None, Some(Word::Good)]);
    let gateway = gateway.peer_eap(method, None).password("Ar3etTnp", &["carol"]);
    let client = client().no_psk().peer_certificate().trusting(&authority.der);
    let client = client.eap(method, Some("carol")).password("Ar3etTnp", &["carol"]);
    let client = strict(asking(client, InBandOcsp::Request));
    let (mut world, rw, gw) = World::of(client, gateway);
    world.connect(rw, gw, "net");
}
