//! Why the program fails, and with which exit code.

use runtime_core::ErrorKind;

use crate::error::Error;
use crate::name;

/// The exit code of a failure.
const FAILURE: u8 = 1;
/// The exit code of an exec that could not start its process; the process's own codes are below.
const EXEC_FAILURE: u8 = 255;

/// Puts before an error what failed as a whole, and how far it was: people and engines look for these words.
fn framed(what: String, error: Error) -> Error {
    let frame = error.launch_frame().map(|frame| format!("{what}: {frame}"));
    error.context(frame.unwrap_or(what))
}

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
    /// A failure of a command that makes a container: runc's words up to the step, then ours.
    pub(crate) fn of(command: &str, error: Error) -> Self {
        Self::from(framed(format!("{} {command} failed", name::program()), error))
    }

    /// A failure of `exec`.
    pub(crate) fn exec(error: Error) -> Self {
        Self { code: EXEC_FAILURE, ..Self::from(framed("exec failed".to_owned(), error)) }
    }
}
