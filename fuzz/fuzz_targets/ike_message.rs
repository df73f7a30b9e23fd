//! The decoder of IKE messages, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferry_fuzz::ike_message::ike_message(data));
