//! Judges any OCI runtime binary by the normative statements of the runtime specification 1.3.
//!
//! The statements are tables (`statements/`, one file for each section); each row either has a
//! check or says why none is possible. A check gets a `Case`: a bundle, an id and
//! a state root of its own, whose container's only program is the embedded test process
//! (`probe/probe.rs`), which reports what it sees from inside.
//!
//! The suite knows only the runc command line (create, start, state, kill, delete); it never
//! links the runtime that it judges.

mod call;
mod case;
mod cgroup;
mod coverage;
mod differences;
mod fairness;
mod holder;
mod page;
mod report;
mod socket;
mod statements;
mod suite;
mod tree;
mod verdict;

pub use page::{html, introduction};
pub use report::{inventory, junit, markdown, summary, tap_line};
pub use suite::{Options, run};
pub use verdict::{Record, Verdict};
