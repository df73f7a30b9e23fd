//! Section 1.2, The Initial Exchanges.

use ferry_ike::sim::{Datagram, Puppet, Setup, World, client, gateway};
use ferry_ike::status::{ChildSaState, IkeSaState};
use ferry_ike::wire;
use ferry_ike::wire::registry::{ExchangeType, KeMethod, NotifyType};

use crate::{said, seconds};

#[test]
fn two_exchanges_make_an_ike_sa_and_a_child_sa() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    let request = world.initiate(rw, "net");
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Connecting);

    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.ike_sa(gw).state, IkeSaState::Connecting);
    assert_eq!(world.ike_sa(gw).connection, None);

    assert_eq!(world.deliver(), said::INIT_ANSWER);
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Connecting);
    assert_eq!(world.ike_sa(rw).spi_r, world.ike_sa(gw).spi_r);

    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, AUTH, SAi2, TSi, TSr}");
    let sa = world.ike_sa(gw);
    assert_eq!(sa.state, IkeSaState::Established);
    assert_eq!(sa.connection.as_deref(), Some("gw"));
    assert_eq!(sa.remote_id.unwrap().to_string(), "rw.example.org");
    assert_eq!(sa.children[0].state, ChildSaState::Installed);
    assert_eq!(world.events(gw), ["IKE_SA gw up", "CHILD_SA net up"]);

    assert_eq!(world.deliver(), said::AUTH_ANSWER);
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Established);
    assert_eq!(world.events(rw), ["IKE_SA rw up", "CHILD_SA net up", &format!("request {request} done")]);
    assert!(world.in_air().is_empty());
    assert_eq!((world.due(rw), world.due(gw)), (None, None));
    world.assert_connected(rw, gw);
    assert!(world.ping(rw) && world.ping(gw));

    let sa = world.ike_sa(rw);
    world.terminate(rw, sa.id);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {}");
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

#[test]
fn a_gateway_can_be_the_initiator_too() {
    let site = |setup: Setup, peer: &str| setup.peer_at(peer).peer_id("%any");
    let (mut world, rw, gw) = World::of(
        site(client(), "192.0.2.1").ts("10.2.0.0/16", "10.1.0.0/16"),
        site(gateway(), "198.51.100.7").ts("10.1.0.0/16", "10.2.0.0/16"),
    );
    world.connect(gw, rw, "net");
    assert!(world.ike_sa(gw).is_initiator && !world.ike_sa(rw).is_initiator);
    assert!(world.ping(rw) && world.ping(gw));
}

#[test]
fn an_ike_sa_can_be_made_without_a_child_sa() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    let request = world.initiate(rw, "rw");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, AUTH}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH}");
    assert_eq!(world.events(rw), ["IKE_SA rw up".to_owned(), format!("request {request} done")]);
    assert_eq!(world.events(gw), ["IKE_SA gw up"]);
    assert!(world.ike_sa(rw).children.is_empty() && world.ike_sa(gw).children.is_empty());
    // There is nothing to do the next time.
    let again = world.initiate(rw, "rw");
    assert_eq!(world.events(rw), [format!("request {again} done")]);
    assert_eq!(world.ike_sas(rw).len(), 1);
}

#[test]
fn every_suite_for_ike_works() {
    let ciphers = [
        "aes128-sha1",
        "aes192-sha256",
        "aes256-sha384",
        "aes128-sha512",
        "aes128gcm16",
        "aes192gcm16",
        "aes256gcm16",
        "chacha20poly1305",
    ];
    let prfs = ["prfsha1", "prfsha256", "prfsha384", "prfsha512", "prfaesxcbc", "prfaescmac"];
    let methods = ["x25519", "ecp256", "ecp384", "ecp521", "modp2048", "modp3072", "modp4096"];
    for round in 0..ciphers.len() {
        let proposal =
            format!("{}-{}-{}", ciphers[round], prfs[round % prfs.len()], methods[round % methods.len()]);
        let (mut world, rw, gw) = World::of(client().ike(&[&proposal]), gateway().ike(&[&proposal]));
        world.connect(rw, gw, "net");
        let suite = world.ike_sa(rw).suite.unwrap();
        assert_eq!(world.ike_sa(gw).suite, Some(suite), "{proposal}");
        let sa = world.ike_sa(gw).id;
        world.terminate(gw, sa);
        world.run_out(seconds(400));
        world.assert_nothing_left();
    }
}

#[test]
fn every_suite_for_esp_works() {
    for proposal in [
        "aes128-sha1",
        "aes192-sha256",
        "aes256-sha384",
        "aes128-sha512",
        "aes128gcm16",
        "aes192gcm16",
        "aes256gcm16",
        "chacha20poly1305",
        "aes128gcm16-esn",
        "aes256-sha256-esn",
    ] {
        // A key exchange of its own has no place in IKE_AUTH.
        let with_ke = format!("{proposal}-x25519");
        let (mut world, rw, gw) = World::of(client().esp(&[&with_ke]), gateway().esp(&[proposal]));
        world.connect(rw, gw, "net");
        let suite = world.ike_sa(rw).children[0].suite.unwrap();
        assert_eq!(suite.esn(), proposal.contains("esn"));
        assert_eq!(suite.ke(), None);
    }
}

#[test]
fn the_default_proposals_fit_each_other() {
    let (mut world, rw, gw) = World::of(client().ike(&["default"]), gateway().ike(&["default"]));
    world.connect(rw, gw, "net");
}

#[test]
fn the_order_of_the_responder_decides_unless_it_leaves_it_to_the_peer() {
    let offer = || client().ike(&["aes128gcm16-prfsha256-x25519", "aes256gcm16-prfsha384-x25519"]);
    let choice = || gateway().ike(&["aes256gcm16-prfsha384-x25519", "aes128gcm16-prfsha256-x25519"]);
    let (mut world, rw, gw) = World::of(offer(), choice());
    world.connect(rw, gw, "net");
    assert_eq!(world.ike_sa(rw).suite.unwrap().key_bits(), 256);
    let polite = choice().settings(|settings| settings.prefer_configured_proposals = false);
    let (mut world, rw, gw) = World::of(offer(), polite);
    world.connect(rw, gw, "net");
    assert_eq!(world.ike_sa(rw).suite.unwrap().key_bits(), 128);
}

#[test]
fn without_a_common_proposal_there_is_no_ike_sa() {
    let (mut world, rw, gw) = World::of(client().ike(&["aes256-sha256-ecp256"]), gateway());
    let request = world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert!(world.ike_sas(gw).is_empty());
    assert_eq!(world.deliver(), "gw --> rw: HDR, N(NO_PROPOSAL_CHOSEN)");
    assert_eq!(world.wait_for_deadline(), seconds(1)); // it need not be the gateway who says so
    let why = "the peer answered NO_PROPOSAL_CHOSEN";
    assert_eq!(
        world.events(rw),
        [format!("IKE_SA rw down: {why}"), format!("request {request} failed: {why}")]
    );
    assert!(world.events(gw).is_empty());
    world.assert_nothing_left();
}

#[test]
fn without_a_connection_for_the_address_there_is_no_ike_sa() {
    let (mut world, rw, _) = World::of(client(), gateway().peer_at("203.0.113.5"));
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.deliver(), "gw --> rw: HDR, N(NO_PROPOSAL_CHOSEN)");
    world.wait_for_deadline();
    world.assert_nothing_left();
}

#[test]
fn without_a_common_esp_proposal_the_ike_sa_stands_alone() {
    let (mut world, rw, gw) = World::of(client().esp(&["aes256-sha256"]), gateway());
    let request = world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(world.deliver(), said::AUTH);
    assert_eq!(world.events(gw), ["IKE_SA gw up"]);
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, N(NO_PROPOSAL_CHOSEN)}");
    assert_eq!(
        world.events(rw),
        [
            "IKE_SA rw up".to_owned(),
            format!(
                "request {request} failed: establishing CHILD_SA failed: the peer answered NO_PROPOSAL_CHOSEN"
            ),
        ]
    );
    let sa = world.ike_sa(rw);
    assert_eq!(sa.state, IkeSaState::Established);
    world.terminate(rw, sa.id);
    world.run_out(seconds(400));
    world.assert_nothing_left();
    assert!(world.ike_sas(gw).is_empty());
}

/// ```text
/// HDR, SAi1, KEi(x25519), Ni  -->
///                             <--  HDR, N(INVALID_KE_PAYLOAD, modp2048)
/// HDR, SAi1, KEi(modp2048), Ni  -->
/// ```
#[test]
fn the_responder_may_ask_for_another_key_exchange() {
    let (mut world, rw, gw) = World::of(
        client().ike(&["aes128gcm16-prfsha256-x25519-modp2048"]),
        gateway().ike(&["aes128gcm16-prfsha256-modp2048"]),
    );
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert!(world.ike_sas(gw).is_empty());
    assert_eq!(world.deliver(), "gw --> rw: HDR, N(INVALID_KE_PAYLOAD)");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    world.run();
    world.assert_connected(rw, gw);
    assert_eq!(world.ike_sa(rw).suite.unwrap().ke(), KeMethod::MODP_2048);
}

#[test]
fn a_key_exchange_that_was_not_offered_is_not_granted() {
    let (mut world, rw, _) = World::of(client(), gateway().at("192.0.2.2"));
    world.keep_mail(crate::GATEWAY_IP);
    let puppet = Puppet::responder("192.0.2.1:500", "198.51.100.7:500", "aes128gcm16-prfsha256-x25519", 1);
    world.initiate(rw, "net");
    world.run();
    let request = world.mail(crate::GATEWAY_IP).unwrap();
    for wanted in [[KeMethod::MODP_2048, KeMethod(0), KeMethod::CURVE_25519]; 4].concat() {
        world.inject(puppet.refuse(&request, NotifyType::INVALID_KE_PAYLOAD, &wanted.0.to_be_bytes()));
        assert!(world.in_air().is_empty());
        assert_eq!(world.ike_sa(rw).state, IkeSaState::Connecting);
    }
}

#[test]
fn a_responder_that_wants_ever_other_key_exchanges_is_not_believed_forever() {
    let offer = client().ike(&["aes128gcm16-prfsha256-x25519-ecp256"]);
    let (mut world, rw, _) = World::of(offer, gateway().at("192.0.2.2"));
    world.keep_mail(crate::GATEWAY_IP);
    let puppet = Puppet::responder("192.0.2.1:500", "198.51.100.7:500", "aes128gcm16-prfsha256-x25519", 1);
    world.initiate(rw, "net");
    let mut wanted = [KeMethod::ECP_256, KeMethod::CURVE_25519].into_iter().cycle();
    for _ in 0..6 {
        world.run();
        let request = world.mail(crate::GATEWAY_IP).unwrap();
        let method = wanted.next().unwrap();
        world.inject(puppet.refuse(&request, NotifyType::INVALID_KE_PAYLOAD, &method.0.to_be_bytes()));
    }
    world.run();
    let told = world.events(rw);
    assert_eq!(told[0], "IKE_SA rw down: the peer broke the protocol: it keeps asking to start over");
    world.assert_nothing_left();
}

#[test]
fn a_choice_that_was_not_offered_ends_the_attempt() {
    let (mut world, rw, _) = World::of(client(), gateway().at("192.0.2.2"));
    world.keep_mail(crate::GATEWAY_IP);
    for (proposal, why) in [
        ("aes256gcm16-prfsha256-x25519", "it chose a proposal that we did not offer"),
        ("aes128gcm16-prfsha256-ecp256", "it chose a proposal that we did not offer"),
    ] {
        let mut puppet = Puppet::responder("192.0.2.1:500", "198.51.100.7:500", proposal, 1);
        puppet.use_key_exchange(KeMethod::CURVE_25519);
        world.initiate(rw, "net");
        world.run();
        let request = world.mail(crate::GATEWAY_IP).unwrap();
        let answer = puppet.init_response(&request, |_| {});
        world.inject(answer);
        assert_eq!(world.events(rw)[0], format!("IKE_SA rw down: the peer broke the protocol: {why}"));
    }
    world.assert_nothing_left();
}

#[test]
fn a_public_value_that_is_none_is_refused() {
    let (mut world, _, gw) = World::of(client(), gateway());
    let mut puppet =
        Puppet::initiator("198.51.100.66:500", "192.0.2.1:500", "aes128gcm16-prfsha256-x25519", 1);
    let mut request = puppet.init_request(None, |_| {});
    // A point of small order: everybody would know the secret.
    let public = wire::decode(&request.octets).unwrap().payloads.ke().unwrap().data.to_vec();
    let at = request.octets.windows(32).position(|octets| octets == public).unwrap();
    request.octets[at..at + 32].fill(0);
    world.inject(request);
    assert_eq!(world.deliver(), "gw --> 198.51.100.66:500: HDR, N(INVALID_SYNTAX)");
    assert!(world.ike_sas(gw).is_empty());
}

#[test]
fn what_answers_ike_sa_init_is_ike_sa_init() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.initiate(rw, "net");
    let request = world.take();
    let puppet = Puppet::responder("192.0.2.1:500", "198.51.100.7:500", "aes128gcm16-prfsha256-x25519", 1);
    let mut forged = puppet.refuse(&request, NotifyType::AUTHENTICATION_FAILED, &[]);
    for exchange in [ExchangeType::IKE_AUTH, ExchangeType::INFORMATIONAL, ExchangeType::CREATE_CHILD_SA] {
        forged.octets[18] = exchange.0;
        world.inject(forged.clone());
        assert_eq!(world.ike_sa(rw).state, IkeSaState::Connecting);
    }
    world.inject(request);
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn an_answer_from_elsewhere_is_ignored() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    let answer = world.take();
    let elsewhere = Datagram { from: "203.0.113.5:500".parse().unwrap(), ..answer.clone() };
    world.inject(elsewhere);
    assert!(world.in_air().is_empty());
    world.inject(answer);
    world.run();
    world.assert_connected(rw, gw);
}

/// The CHILD_SA comes to nothing. The IKE SA stands, unless an end is set to do without it then.
#[test]
fn an_ike_sa_without_its_child_is_kept_or_closed() {
    let misfit = || client().esp(&["aes256gcm16"]);
    let strict = |setup: Setup| setup.settings(|settings| settings.close_ike_on_child_failure = true);
    for (client, gateway, is_kept) in [
        (misfit(), gateway(), true),
        (strict(misfit()), gateway(), false),
        (misfit(), strict(gateway()), false),
        (strict(misfit()), strict(gateway()), false),
    ] {
        let (mut world, rw, gw) = World::of(client, gateway);
        let request = world.initiate(rw, "net");
        world.run();
        assert_eq!([rw, gw].map(|host| world.ike_sas(host).len()), [usize::from(is_kept); 2]);
        let failed = format!(
            "request {request} failed: establishing CHILD_SA failed: the peer answered NO_PROPOSAL_CHOSEN"
        );
        assert!(world.events(rw).contains(&failed));
        for sa in world.ike_sas(rw) {
            world.terminate(rw, sa.id);
        }
        world.run_out(seconds(400));
        world.assert_nothing_left();
    }
}
