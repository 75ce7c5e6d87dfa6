//! libFuzzer's way into [`fuzz::leaf`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::leaf(data));
