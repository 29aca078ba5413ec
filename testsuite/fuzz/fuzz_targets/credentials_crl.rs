#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strongswan::credentials::fuzzing::crl(data));
