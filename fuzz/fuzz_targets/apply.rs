//! libFuzzer's way into [`fuzz::apply`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::apply(data));
