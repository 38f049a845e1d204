//! The child lane: its operations, its reports and the tiny init that runs them.
//!
//! `ops` and `report` are the language between the library and the init; `init/` is the init's
//! source, compiled by `build.rs` into a static program without libc and embedded here.

#[allow(dead_code, reason = "the init reads what the library only writes")]
#[allow(unreachable_pub, reason = "public for the init, which takes the same file as its own")]
pub(crate) mod ops;
#[allow(dead_code, reason = "the init makes what the library only names")]
#[allow(unreachable_pub, reason = "as ops")]
pub(crate) mod report;
#[allow(dead_code, missing_docs, unreachable_pub, reason = "as ops; the names are the kernel's")]
pub(crate) mod syscall;
