#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| charon::config::fuzzing::load_conn(data));
