//! Certificate revocation lists, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferry_fuzz::pki::crl(data));
