//! The launch, seen from the program that makes it: nothing of that program enters a container, and nothing that a
//! container does reaches that program.
//!
//! `LAUNCH_RUNS` is the number of rounds of the tests that race (default 200).

mod deadlines;
mod descriptors;
mod dumpable;
mod ending;
mod engine;
mod frozen;
mod kill;
mod labels;
mod memory;
mod own;
mod place;
mod reaper;
mod seen;
mod signals;
mod specs;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod together;
mod waits;

use support::views;

/// The test `engine` is a program that embeds the library, for the tests that kill it or that need one elsewhere.
#[test]
fn engine() {
    engine::main();
}

/// The test `worker` makes one call of the library, under a tracer.
#[test]
fn worker() {
    support::worker::main();
}

/// How often a race is run.
fn runs() -> u32 {
    std::env::var("LAUNCH_RUNS").map_or(200, |text| text.parse().expect("a number"))
}
