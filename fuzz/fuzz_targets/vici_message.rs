//! The decoders of VICI messages, packets and frames, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferry_fuzz::vici_message::vici_message(data));
