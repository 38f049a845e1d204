//! Create and run OCI containers from a Rust program.

#![deny(unsafe_code)]

pub mod cgroup;
mod child;
mod container;
mod error;
mod id;
mod launch;
pub mod plan;
mod state;
mod sys;

pub use error::{Error, ErrorKind, Result};
pub use id::ContainerId;
