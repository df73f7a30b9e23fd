//! Stories about PEAP, version 0 (draft-kamath-pppext-peapv0).

use ferry_ike::crypto::Secret;
use ferry_ike::eap::{Method, TlsVersion};

use crate::talk::{Password, Talk, believes_no_early_success, notices_changes};

fn talk(inside: Method) -> Talk {
    Talk::new(Method::Peap).with(|settings| settings.peap.phase2 = inside)
}

#[test]
fn every_method_works_inside() {
    for max in [TlsVersion::V1_2, TlsVersion::V1_3] {
        for piggyback in [false, true] {
            for method in [Method::MsChapV2, Method::Md5, Method::Gtc] {
                let talk = talk(method).with(|settings| {
                    settings.max = max;
                    settings.peap.piggyback = piggyback;
                });
                talk.go().assert_success(Method::Peap, "alice@example.org");
            }
        }
    }
}

#[test]
fn a_wrong_password_fails_at_both_ends() {
    for method in [Method::MsChapV2, Method::Md5, Method::Gtc] {
        let mut talk = talk(method);
        talk.clients_password = Password("alice@example.org", Secret::new(b"sixteen letters?".to_vec()));
        let (server, client) = talk.go().failures();
        assert!(server.ends_with("verification of 'alice@example.org' failed"), "{server}");
        assert_eq!(client, "the server says that EAP_PEAP has failed");
    }
}

#[test]
fn success_counts_only_after_the_result() {
    for max in [TlsVersion::V1_2, TlsVersion::V1_3] {
        believes_no_early_success(|| talk(Method::MsChapV2).with(|settings| settings.max = max));
    }
}

#[test]
fn what_is_changed_on_the_way_is_noticed() {
    notices_changes(|| talk(Method::MsChapV2));
}
