//! Create and run OCI containers from a Rust program.

#![deny(unsafe_code)]

mod error;
pub mod host;

pub use error::{Error, ErrorKind, Result};

mod child;
pub mod plan;
pub mod spec;
mod sys;
