//! §2.5: the octet that says the server has let the client in.

use ferry_ike::eap::{Method, TlsVersion};

use crate::talk::{Talk, believes_no_early_success};

fn talk() -> Talk {
    Talk::new(Method::Tls).with(|settings| settings.max = TlsVersion::V1_3)
}

#[test]
fn success_counts_only_after_the_commitment() {
    believes_no_early_success(talk);
}

#[test]
fn nothing_is_no_commitment() {
    // In its place comes an empty packet, which a client of TLS 1.2 would not take for more either; then Success.
    let ended = talk().run(|at, packet| match at {
        6 => *packet = vec![1, packet[1], 0, 6, 13, 0],
        8 => *packet = vec![3, packet[1], 0, 4],
        _ => {}
    });
    assert_eq!(ended.client.map(drop).unwrap_err(), "EAP-Success before EAP_TLS has concluded");
}
