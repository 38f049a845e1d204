//! The texts that the init reads and writes: pure functions over bytes, without a system call.

pub mod dirents;
pub mod keyring;
pub mod lines;
pub mod mountinfo;
pub mod number;
pub mod passwd;
pub mod path;
