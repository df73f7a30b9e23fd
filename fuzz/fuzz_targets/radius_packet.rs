//! RADIUS packets of anybody, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferry_fuzz::radius_packet::radius_packet(data));
