//! What a later round says leads to another connection.

use ferry_ike::config::{AuthClass, EapMethods};
use ferry_ike::pki::Certificate;
use ferry_ike::sim::{Setup, World, client, gateway};

use crate::lab::Lab;
use crate::{MD5, PASSWORD, another_name, as_alice, by_eap, id, is_refused, machine_and_user};

/// A machine that has the pre-shared key, and then says that it is `name`, by the same key.
fn as_user(name: &str) -> Setup {
    client().another_round(|auth| auth.id = Some(id(name)))
}

/// A gateway that has a connection for admins and one for guests.
fn for_admins_and_guests() -> Setup {
    let admins = gateway().named("admins").another_peer_round(another_name("admin"));
    admins.another("guests").connection(|connection| {
        connection.remote.last_mut().unwrap().id = id("guest");
    })
}

fn leads_to(client: Setup, gateway: Setup, connection: &str) {
    let (mut world, rw, gw) = World::of(client, gateway);
    world.connect(rw, gw, "net");
    assert_eq!(world.ike_sa(gw).connection.as_deref(), Some(connection));
}

#[test]
fn by_the_identity_of_the_second_round() {
    leads_to(as_user("admin"), for_admins_and_guests(), "admins");
    leads_to(as_user("guest"), for_admins_and_guests(), "guests");
    is_refused(as_user("nobody"), for_admins_and_guests(), "round 2 is not for 'nobody'");
}

#[test]
fn by_how_the_second_round_is_done() {
    let gateway = || {
        let with_eap = for_admins_and_guests().another("eap").password(PASSWORD, &["alice"]);
        with_eap.connection(|connection| {
            let second = connection.remote.last_mut().unwrap();
            second.id = id("%any");
            by_eap(MD5)(second);
        })
    };
    let alice = || client().another_round(as_alice(MD5)).password(PASSWORD, &["alice"]);
    leads_to(alice(), gateway(), "eap");
    leads_to(as_user("guest"), gateway(), "guests");
    is_refused(alice(), for_admins_and_guests(), "round 2 is not");
}

#[test]
fn by_the_number_of_rounds() {
    // After EAP, it is said whether another round follows.
    let gateway = || {
        let one =
            gateway().named("one").peer_eap(EapMethods::Dynamic, Some("%any")).password(PASSWORD, &["alice"]);
        one.another("two").another_peer_round(|auth| {
            auth.class = Some(AuthClass::Psk);
            auth.eap_id = None;
        })
    };
    let alice = |setup: Setup| {
        setup
            .connection(|connection| as_alice(MD5)(connection.local.first_mut().unwrap()))
            .password(PASSWORD, &["alice"])
    };
    // A client that knows of no rounds is for the first alone.
    leads_to(alice(client()), gateway(), "one");
    leads_to(alice(client().another_round(|_| {})), gateway(), "two");
}

/// What was vouched for by the rules of one connection is not vouched for by those of another.
#[test]
fn not_to_one_with_other_rules_for_the_first_round() {
    let (lab, other) = (Lab::new("CA"), Lab::new("another CA"));
    let (client, gateway) = machine_and_user(&lab);
    let lax = gateway.named("lax").connection(|connection| {
        connection.remote.last_mut().unwrap().id = id("bob@example.org");
    });
    let strict = lax.another("strict").trusting(&other.der).connection(|connection| {
        connection.remote.first_mut().unwrap().trust.authorities =
            vec![Certificate::from_der(&other.der).unwrap()];
        connection.remote.last_mut().unwrap().id = id("alice@example.org");
    });
    is_refused(client, strict, "connection 'lax' does not take it: round 2 is not for 'alice@example.org'");
}
