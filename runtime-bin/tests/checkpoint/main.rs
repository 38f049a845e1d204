//! checkpoint and restore: the conversation with CRIU against a program that speaks its protocol, and
//! the real thing where the machine's CRIU knows its kernel.
//!
//! The file's own program is the other side: `criu` in a directory of the test is a script that runs
//! the test `fake::speaks` of this very program with the socket in `FAKE_CRIU_SOCKET`.

#[path = "../support/streams.rs"]
mod streams;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the command line use more of it")]
mod support;

mod errors;
mod fake;
mod real;
mod spoken;
