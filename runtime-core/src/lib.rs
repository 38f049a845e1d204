//! Create and run OCI containers from a Rust program.
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

#![deny(unsafe_code)]

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
mod exits;
pub mod host;
mod id;
pub mod idmap;
mod launch;
pub mod namespaces;
mod origin;
pub mod plan;
mod process;
mod process_spec;
mod resctrl;
pub mod rootfs;
mod runtime;
mod sandbox;
pub mod seccomp;
pub mod spec;
mod state;
mod stdio;
mod sys;
mod terminal;
pub mod timings;

/// The types of `config.json`, in the version that [`spec`] converts from.
pub use oci_spec;

pub use bundle::{Bundle, UnparsedBundle};
pub use container::{
    CgroupsMode, CheckpointOptions, Container, CreatePlan, CriuOptions, ExecPlan, NetworkLock, RestoreOptions,
};
pub use container_spec::ContainerSpec;
pub use deadline::{Canceller, Deadline};
pub use error::{Error, ErrorKind, Finding, Result};
pub use exits::{Exit, ExitSource};
pub use id::ContainerId;
pub use launch::HeadStart;
pub use process::{Process, reset_child_signal};
pub use process_spec::ProcessSpec;
pub use runtime::{DEFAULT_STATE_ROOT, Listed, Runtime, RuntimeBuilder};
pub use sandbox::Sandbox;
pub use state::{OCI_VERSION, State, Status};
pub use stdio::Stdio;
pub use sys::memory::prefault;
pub use sys::streams::guard_standard_streams;
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

/// The example of the README is compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
