//! Create and run OCI containers from a Rust program.
//!
//! A program that embeds this crate needs no runtime beside it: it makes the namespaces, the cgroup, the root file system and
//! the process itself, by the runtime specification 1.3. It is not an engine: it pulls no images and makes no networks.
//!
//! # A container's life
//!
//! 1. A [`Bundle`] is a checked configuration: [`Bundle::open`] reads that of a directory, [`Bundle::from_bytes`] and
//!    [`Bundle::from_spec`] take one from memory, [`ContainerSpec`] puts one together by calls.
//! 2. [`Runtime::plan`] computes every step and touches nothing. The [`CreatePlan`] also takes the streams ([`Stdio`]) and
//!    descriptors of the container.
//! 3. [`Runtime::create`] gives a [`Container`] whose init waits for [`Container::start`]; [`Runtime::run`] does both. They
//!    succeed, or leave nothing.
//! 4. [`Container::exec`], or [`Container::plan_exec`] and [`ExecPlan::start`], run more processes ([`ProcessSpec`]).
//! 5. [`Process::wait`] and [`Container::wait`] wait for the end, [`Container::delete`] removes the container and reaps what
//!    this program has started in it.
//!
//! The README of the project has all of that in one example.
//!
//! # Threads, signals and children
//!
//! Handles are `Send` and `Sync`: calls on different containers run at the same time, calls that change one container wait
//! for each other, also between programs. Nothing of the caller is changed: neither its signals, its working directory nor its
//! standard streams. [`docs::reaping`] tells whose children the processes are, and what a program that
//! reaps every child itself has to do. A [`Deadline`] limits and cancels what a call waits for.
//!
//! # Errors
//!
//! An [`Error`] has a kind, the operation with its arguments, the errno, the JSON path of the field that asked for it, a hint,
//! and, for a configuration, all findings. [`Error::get_ref`] gives the
//! [`std::io::Error`] of the call.
//!
//! # Modules
//!
//! Parts of a container work without one, for a command that [`Sandbox`] starts; each module says how it is used alone and
//! what it is with the others:
//!
//! | module | what a command gets |
//! |---|---|
//! | [`namespaces`] | processes, mounts, a network, host names of its own |
//! | [`rootfs`] | another root, and mounts |
//! | [`capabilities`] | a part of root's power |
//! | [`idmap`] | users and groups of its own |
//! | [`seccomp`] | a filter of system calls |
//! | [`cgroup`] | limits, and one handle on all that it starts |
//!
//! The others: [`spec`] checks configurations, [`plan`] has the options of plans, [`events`] a container's statistics in
//! intervals and its lack of memory, [`executor`] runs other programs than those of the image, such as one for WebAssembly, [`host`] facts about the kernel and the caller, [`timings`] how long the steps of a launch
//! take, [`program`] what a program does for itself at its start.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `systemd` | yes | [`CgroupDriver::Systemd`]: the container's cgroup is a scope of systemd. It adds no crate |
//! | `checkpoint` | yes | `Container::checkpoint` and `Runtime::restore`, by the program CRIU |
//! | `resctrl` | yes | `linux.intelRdt` |
//! | `seccompiler` | no | [`seccomp::Filter`] from a program of that crate, and the reverse |
//! | `cgroups-rs` | no | [`cgroup::Cgroup`] from one of that crate, and the reverse. It brings some 70 crates |
//!
//! Without one of the first three, a configuration or a container that needs it is an error of kind
//! [`Unsupported`](ErrorKind::Unsupported), which names the feature.
//!
//! # Security and platforms
//!
//! A container gets no descriptor, memory or file of the program that makes it; SECURITY.md of the project says what is
//! defended. It runs on Linux 5.15 or newer, on x86_64, as root or as any user.

#![deny(unsafe_code)]
#![cfg_attr(
    not(all(feature = "systemd", feature = "checkpoint", feature = "resctrl")),
    allow(dead_code, unused_imports, reason = "some of it is for these features alone")
)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::panic,
        clippy::unreachable,
        clippy::allow_attributes_without_reason,
        reason = "no input may end the program"
    )
)]

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(test)]
#[path = "../fuzz/driver.rs"]
mod fuzz_driver;
#[cfg(test)]
#[path = "../fuzz/json.rs"]
mod fuzz_json;

mod bundle;
pub mod capabilities;
pub mod cgroup;
mod children;
mod confinement;
mod container;
mod container_spec;
mod deadline;
#[cfg(any(doc, doctest))]
pub mod docs;
mod error;
pub mod events;
pub mod executor;
mod exits;
mod held;
pub mod host;
mod id;
pub mod idmap;
mod launch;
pub mod namespaces;
mod origin;
pub mod plan;
mod process;
mod process_spec;
pub mod program;
#[cfg(feature = "resctrl")]
mod resctrl;
#[cfg(not(feature = "resctrl"))]
#[path = "without_resctrl.rs"]
mod resctrl;
pub mod rootfs;
mod runtime;
mod sandbox;
pub mod seccomp;
mod signal;
pub mod spec;
mod state;
mod stdio;
mod sys;
mod terminal;
pub mod timings;

/// The types of `config.json`, in the version that [`spec`] converts from.
pub use oci_spec;

pub use bundle::{Bundle, UnparsedBundle};
#[cfg(feature = "checkpoint")]
pub use container::{CgroupsMode, CheckpointOptions, CriuOptions, NetworkLock, RestoreOptions};
pub use container::{Container, CreatePlan, ExecPlan};
pub use container_spec::ContainerSpec;
pub use deadline::{Canceller, Deadline};
pub use error::{Error, ErrorKind, Finding, Result};
pub use exits::{Exit, ExitSource};
pub use id::ContainerId;
pub use launch::HeadStart;
pub use process::Process;
pub use process_spec::ProcessSpec;
pub use runtime::{CgroupDriver, DEFAULT_STATE_ROOT, Listed, Runtime, RuntimeBuilder};
pub use sandbox::Sandbox;
pub use signal::Signal;
pub use state::{OCI_VERSION, State, Status};
pub use stdio::Stdio;
pub use terminal::Terminal;

/// Handles may go to other threads, and be used by several at once.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Runtime>();
    shared::<Container>();
    shared::<Process>();
    shared::<CreatePlan>();
    shared::<ExecPlan>();
    shared::<HeadStart>();
    shared::<Bundle>();
    shared::<ContainerSpec>();
    shared::<ProcessSpec>();
    shared::<Stdio>();
    shared::<Terminal>();
    shared::<ExitSource>();
    shared::<Deadline>();
    shared::<Canceller>();
    shared::<events::Events>();
    shared::<Error>();
};

/// The examples of the README of the project are compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Those of the crate's own too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct CrateReadme;
