//! See `gateway::fuzzing::client_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::fuzzing::client_frames(data));
