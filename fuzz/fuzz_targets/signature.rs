//! AUTH data with signatures, and keys, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferry_fuzz::signature::signature(data));
