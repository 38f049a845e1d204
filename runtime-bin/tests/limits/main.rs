//! The limits of cgroup v2: each field as the kernel has it, and as the processes of a container feel it.
//!
//! They need a machine that has cgroup v2 alone, with every controller: the virtual machine of
//! `.ci/vm test` is one. Elsewhere they skip; with `REQUIRE_CONTROLLERS=1` they fail.

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

mod boundary;
mod controllers;
mod cpu;
mod fields;
mod huge;
mod io;
mod memory;
mod pids;
mod refused;
mod scene;
mod user;
