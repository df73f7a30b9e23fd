//! OCSP responses, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferry_fuzz::pki::ocsp_response(data));
