//! Attacks that container runtimes fell to, tried on this one.
//!
//! Every module is a group of mechanisms. A probe proves something only if it can fail, so each test
//! also runs its probe where it must succeed: against another runtime (Debian's runc), or in a
//! weakened set-up; a comment at the test says which. Probes aim at decoys, never at the machine.
//!
//! The whole process is a careless caller: descriptors of "/" without close-on-exec are open in it.
//! `SECURITY_RUNS` is the number of runs of the tests that race (default 200).

#[path = "../support/apart.rs"]
mod apart;
mod capabilities;
mod cgroups;
mod config;
mod cwd;
mod descriptors;
mod devices;
mod exe;
mod ids;
mod masked;
mod mounts;
mod namespaces;
mod opens;
mod proc_sys;
mod races;
mod state;
mod support;
mod terminal;
mod trace;
