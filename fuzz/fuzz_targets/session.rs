//! A gateway past IKE_SA_INIT, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferry_fuzz::session::session(data));
