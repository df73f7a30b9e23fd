//! The decoders of what the kernel tells of SAs and policies, under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferry_fuzz::xfrm_message::xfrm_message(data));
