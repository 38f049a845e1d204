//! Command lines that engines send, word by word: each must have its effect, its exit code, and print what the
//! engine can read.
//!
//! The lines are from the engines' sources, named in each module. Docker, containerd, Podman, Buildah and conmon
//! also run for real (`tests/engines`); what is here needs no engine, and so runs in every view of cgroups.

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the command line use more of it")]
mod support;

mod conmon;
mod conmonrs;
mod crio;
mod engine;
mod kubernetes;
mod node;
mod podman;
mod shim;
