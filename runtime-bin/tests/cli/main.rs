//! The command-line contract: what engines and users see of the program.

#[path = "../support/mod.rs"]
mod support;

mod args;
mod caller;
mod cgroup;
mod cgroup_mount;
mod choice;
mod chroot;
mod compatible;
mod crun;
mod descriptors;
mod events;
mod extras;
mod frame;
mod lifecycle;
mod log;
mod memory;
mod mounts;
mod namespaces;
mod no_exec_memory;
mod notify;
mod process;
mod propagation;
mod refused;
mod rootfs;
mod rootless;
mod run;
mod running_mounts;
mod seccomp_agent;
mod seccomp_notify;
mod streams;
mod terminal;
mod timings;
mod update;
