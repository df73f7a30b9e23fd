//! ESP packets, opened and admitted, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferry_fuzz::esp::esp_open(data));
