//! libFuzzer's way into [`fuzz::resources`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::resources(data));
