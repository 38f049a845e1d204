//! The seccomp compiler under libFuzzer.

#![no_main]

#[path = "../entry/seccomp.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    entry::run(bytes);
});
