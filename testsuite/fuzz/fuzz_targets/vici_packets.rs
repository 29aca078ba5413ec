#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vici::fuzzing::packets(data));
