//! §5.2: whose certificate it is.

use ferry_ike::eap::Method;

use crate::talk::{Card, Talk};

/// The class of CVE-2022-4967: connections and addresses are given by the EAP identity, so that a certificate of one must
/// not give the rights of another.
#[test]
fn cve_class_eap_tls_identity_not_in_the_certificate() {
    let mut talk = Talk::new(Method::Tls);
    talk.identity = "boss@example.org";
    let (server, client) = talk.go().failures();
    assert_eq!(server, "the certificate \"CN=rcgen self signed cert\" is not for 'boss@example.org'");
    assert_eq!(client, "the peer sends the TLS alert BadCertificate");
}

#[test]
fn the_server_must_be_the_one_that_is_expected() {
    let mut talk = Talk::new(Method::Tls);
    talk.expects = "aaa.example.org";
    let (server, client) = talk.go().failures();
    assert_eq!(client, "the certificate \"CN=rcgen self signed cert\" is not for 'aaa.example.org'");
    assert_eq!(server, "the peer sends the TLS alert BadCertificate");
}

#[test]
fn a_certificate_is_nothing_without_its_key() {
    let mut talk = Talk::new(Method::Tls);
    let mallory = Card::of("mallory@example.org", 0);
    if let Some(alice) = &mut talk.alice {
        alice.key = mallory.key;
    }
    let (server, client) = talk.go().failures();
    assert_eq!(server, "TLS: invalid peer certificate: BadSignature");
    assert_eq!(client, "the peer sends the TLS alert DecryptError");
}
