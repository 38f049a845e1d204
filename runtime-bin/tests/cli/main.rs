//! The command-line contract: what engines and users see of the program.

#[path = "../support/mod.rs"]
mod support;

mod args;
mod descriptors;
mod events;
mod lifecycle;
mod log;
mod mounts;
mod rootfs;
mod run;
mod terminal;
mod update;
