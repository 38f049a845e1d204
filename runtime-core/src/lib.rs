//! Create and run OCI containers from a Rust program.

#![deny(unsafe_code)]

pub mod cgroup;
mod error;
pub mod seccomp;
mod sys;

pub use error::{Error, ErrorKind, Result};
