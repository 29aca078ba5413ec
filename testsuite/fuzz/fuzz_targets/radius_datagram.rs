#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| charon::radius::fuzzing::datagram(data));
