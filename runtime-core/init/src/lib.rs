//! The tiny init of the runtime: the first process of every container, and stage 0, the process that clones it.
//!
//! This is one source with two halves. The library half has what the runtime needs to give a process its work: the
//! operations ([`ops`]), the reports ([`report`]) and the bytes of the program ([`IMAGE`]). The program half walks the
//! operations. `build.rs` compiles both halves together, with `--cfg program`, into a static program without libc; the
//! library contains the program half only in tests and for clippy.
//!
//! This package is a part of `runtime-core`, and its interface changes with it.

#![cfg_attr(not(test), no_std)]
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
#![cfg_attr(program, no_main)]
#![cfg_attr(program, allow(dead_code, reason = "the program does not use all of the library half"))]

pub mod abi;
pub mod arena;
pub mod hold;
pub mod ops;
pub mod parse;
pub mod report;
pub mod sys;

#[cfg(any(program, test, clippy))]
mod program;

/// The program: a static executable file (ELF) for the target of this build, to be executed by execveat(2) from a
/// sealed memory file.
#[cfg(not(program))]
pub static IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));
