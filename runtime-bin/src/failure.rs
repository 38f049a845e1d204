//! Why the program fails, and with which exit code.

use runtime_core::{Error, ErrorKind};

/// The exit code of a failure.
const FAILURE: u8 = 1;
/// The exit code of an exec that could not start its process; the process's own codes are below.
const EXEC_FAILURE: u8 = 255;

/// An error on its way to the log.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The whole text.
    pub(crate) message: String,
    /// The exit code of the program.
    pub(crate) code: u8,
    /// What went wrong.
    pub(crate) kind: ErrorKind,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { message: error.to_string(), code: FAILURE, kind: error.kind() }
    }
}

impl Failure {
    /// A failure of `exec`.
    pub(crate) fn exec(error: Error) -> Self {
        Self { code: EXEC_FAILURE, ..Self::from(error.context("exec failed")) }
    }
}
