//! libFuzzer's way into [`fuzz::joining`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::joining(data));
