//! The target of `runtime_core::fuzz` that has the name of this program, under libFuzzer.

#![no_main]

use std::sync::LazyLock;

use runtime_core::fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let found = TARGETS.into_iter().find(|(name, _)| *name == env!("CARGO_BIN_NAME"));
    found.expect("a target for each program").1
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (*TARGET)(bytes));
