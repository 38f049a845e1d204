//! Thin system-call wrappers.
#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod seccomp;
