//! The error of a request: a code that containerd reacts to, and a text that its user reads.

use containerd_shim_protos::ttrpc::proto::Code;
use runtime_core::{Error, ErrorKind};

/// Why a request failed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// No such task or process. The code's name ends the text: `ctr` and Docker show it.
    pub(crate) fn not_found(message: impl AsRef<str>) -> Self {
        Self::new(Code::NOT_FOUND, format!("{}: not found", message.as_ref()))
    }

    pub(crate) fn exists(message: impl AsRef<str>) -> Self {
        Self::new(Code::ALREADY_EXISTS, format!("{}: already exists", message.as_ref()))
    }

    pub(crate) fn state(message: impl AsRef<str>) -> Self {
        Self::new(Code::FAILED_PRECONDITION, format!("{}: failed precondition", message.as_ref()))
    }

    pub(crate) fn invalid(message: impl AsRef<str>) -> Self {
        Self::new(Code::INVALID_ARGUMENT, format!("{}: invalid argument", message.as_ref()))
    }

    /// A failed call of the standard library or of nix.
    pub(crate) fn system(step: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self::new(Code::UNKNOWN, format!("{step}: {error}"))
    }

    /// Puts a step before the text.
    #[must_use]
    pub(crate) fn during(mut self, step: &str) -> Self {
        self.message = format!("{step}: {}", self.message);
        self
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::NotFound => Code::NOT_FOUND,
            ErrorKind::AlreadyExists => Code::ALREADY_EXISTS,
            ErrorKind::InvalidInput => Code::INVALID_ARGUMENT,
            ErrorKind::WrongState => Code::FAILED_PRECONDITION,
            ErrorKind::Unsupported => Code::UNIMPLEMENTED,
            ErrorKind::Timeout => Code::DEADLINE_EXCEEDED,
            _ => Code::UNKNOWN,
        };
        let text = match error.launch_frame() {
            Some(frame) => format!("{frame}: {error}"),
            None => error.to_string(),
        };
        Self::new(code, text)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
