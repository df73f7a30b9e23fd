//! EAP packets for both ends of a conversation, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferry_fuzz::eap_tls::eap_inside(data));
