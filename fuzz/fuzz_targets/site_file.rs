//! libFuzzer's way into [`fuzz::site_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::site_file(data));
