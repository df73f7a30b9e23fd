//! Fuzz targets, and the replay of their corpora on a stable toolchain.
//!
//! A target is a function that takes any octets and panics if something is wrong. It stands in a module of its own
//! here, in [`TARGETS`], and in `fuzz_targets/` with a `[[bin]]` in `Cargo.toml`, which is where cargo-fuzz looks;
//! its corpus is `corpus/` and its name. `cargo test` replays every file of every corpus; new ones are found by
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run --features libfuzzer ike_message
//! ```
//!
//! What makes a target panic is kept as a file in its corpus.

pub mod config_text;
pub mod eap;
pub mod eap_tls;
pub mod esp;
pub mod ike_message;
pub mod pki;
pub mod radius_packet;
pub mod session;
pub mod signature;
pub mod vici_message;
pub mod xfrm_message;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All targets, by the name of their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("certificate", pki::certificate), // certificates of peers, and the chains they claim
    ("config_text", config_text::config_text), // swanctl.conf and strongswan.conf
    ("crl", pki::crl),                 // certificate revocation lists
    ("eap_inside", eap_tls::eap_inside), // what comes through tunnels of TTLS and PEAP
    ("eap_packet", eap::eap_packet),   // both ends of an EAP conversation
    ("eap_tls", eap_tls::eap_tls),     // both ends of methods with TLS
    ("esp_open", esp::esp_open),       // ESP packets, opened and admitted
    ("ike_message", ike_message::ike_message), // the decoder of IKE messages
    ("ocsp_response", pki::ocsp_response), // what OCSP responders answer
    ("radius_packet", radius_packet::radius_packet), // RADIUS packets and the keys in them
    ("session", session::session),     // a gateway past IKE_SA_INIT
    ("signature", signature::signature), // AUTH data with signatures, and keys
    ("vici_message", vici_message::vici_message), // messages, packets and frames
    ("xfrm_message", xfrm_message::xfrm_message), // what the kernel tells of SAs and policies
];
