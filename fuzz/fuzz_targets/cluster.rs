#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quorate::sim::fuzz::cluster(data));
