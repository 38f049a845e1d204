//! The errors of the program: those of the library, in the words of the command line, and its own.

use std::fmt;
use std::io;

use runtime_core::ErrorKind;

/// The result of a part of the program.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What an option is called in the errors of the library, and on the command line.
const OPTIONS: [(&str, &str); 8] = [
    ("CheckpointOptions::parent_path", "--parent-path"),
    ("CheckpointOptions::pre_dump", "--pre-dump"),
    ("CriuOptions::answer_limit", "--criu-timeout"),
    ("CriuOptions::image_path", "--image-path"),
    ("CriuOptions::lazy_pages", "--lazy-pages"),
    ("CgroupDriver::None", "--cgroup-manager disabled"),
    ("Container::remove_mounts", "`mounts remove`"),
    ("ExecOptions::ignore_paused", "--ignore-paused"),
];

/// An error of the library or of the program: `step: operation: reason: errno (origin); hint: …`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Error(Box<Inner>);

#[derive(Debug, thiserror::Error)]
#[error("{steps}{what}{hint}")]
struct Inner {
    /// Larger operations, each with a colon after it.
    steps: String,
    what: What,
    hint: String,
}

#[derive(Debug, thiserror::Error)]
enum What {
    #[error("{}", in_words_of_the_command_line(.0))]
    Library(#[from] runtime_core::Error),
    #[error("{operation}{reason}{origin}")]
    Own { kind: ErrorKind, operation: String, reason: String, origin: String },
}

impl From<runtime_core::Error> for Error {
    fn from(error: runtime_core::Error) -> Self {
        Self::of(error.into())
    }
}

impl Error {
    fn of(what: What) -> Self {
        Self(Box::new(Inner { steps: String::new(), what, hint: String::new() }))
    }

    /// An error of `kind` in `operation`.
    pub(crate) fn new(kind: ErrorKind, operation: impl Into<String>) -> Self {
        let (reason, origin) = (String::new(), String::new());
        Self::of(What::Own { kind, operation: operation.into(), reason, origin })
    }

    /// Adds what went wrong, to an error of the program.
    pub(crate) fn reason(mut self, text: impl fmt::Display) -> Self {
        if let What::Own { reason, .. } = &mut self.0.what {
            *reason = format!(": {text}");
        }
        self
    }

    /// Bad input: what is wrong (`reason`) with which option or file.
    pub(crate) fn invalid(what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::new(ErrorKind::InvalidInput, what).reason(reason)
    }

    /// A failed operation of the system.
    pub(crate) fn io(operation: impl Into<String>, error: &io::Error) -> Self {
        Self::new(ErrorKind::System, operation).reason(errno_text(error))
    }

    /// A failed system call.
    pub(crate) fn system(operation: impl Into<String>, errno: impl Into<io::Error>) -> Self {
        Self::io(operation, &errno.into())
    }

    /// Adds the option that asked for it. An error of the library has its own place.
    pub(crate) fn origin(mut self, option: &str) -> Self {
        if let What::Own { origin, .. } = &mut self.0.what {
            *origin = format!(" ({option})");
        }
        self
    }

    /// Adds what a user can do about it.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        let first = match &self.0.what {
            What::Library(error) => error.hint().is_none(),
            What::Own { .. } => true,
        };
        let front = if first && self.0.hint.is_empty() { "; hint: " } else { "; " };
        self.0.hint += &format!("{front}{hint}");
        self
    }

    /// Puts a larger operation before this one.
    pub(crate) fn context(mut self, step: impl fmt::Display) -> Self {
        self.0.steps = format!("{step}: {}", self.0.steps);
        self
    }

    /// What went wrong.
    pub(crate) fn kind(&self) -> ErrorKind {
        match &self.0.what {
            What::Library(error) => error.kind(),
            What::Own { kind, .. } => *kind,
        }
    }

    /// How far the launch of a process was, in runc's words.
    pub(crate) fn launch_frame(&self) -> Option<&str> {
        match &self.0.what {
            What::Library(error) => error.launch_frame(),
            What::Own { .. } => None,
        }
    }
}

fn in_words_of_the_command_line(error: &runtime_core::Error) -> String {
    OPTIONS.iter().fold(error.to_string(), |text, (library, option)| text.replace(library, option))
}

/// The text of an error of the system in the lower case that engines compare with, without its number.
fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_with_every_part() {
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let error =
            Error::io("open \"x\"", &denied).origin("--log").hint("ask").hint("or wait").context("run");
        assert_eq!(error.to_string(), "run: open \"x\": permission denied (--log); hint: ask; or wait");
        assert_eq!(error.kind(), ErrorKind::System);
        let short = io::Error::new(io::ErrorKind::UnexpectedEof, "short");
        assert_eq!(Error::io("read", &short).to_string(), "read: short");
    }

    #[test]
    fn an_error_of_the_library_keeps_what_it_is() {
        let library = || runtime_core::ContainerId::new("a/b").expect_err("it has a slash");
        let error = Error::from(library()).context("create");
        assert_eq!(error.to_string(), format!("create: {}", library()));
        assert_eq!(error.kind(), library().kind());
    }

    /// A name that the library changes is found here, not by a user who reads it.
    #[test]
    fn each_option_of_the_library_is_one() {
        use runtime_core::plan::ExecOptions;
        use runtime_core::{CgroupDriver, CheckpointOptions, Container};
        let options = CheckpointOptions::new("x");
        let _ =
            (&options.parent_path, &options.pre_dump, &options.criu.answer_limit, &options.criu.image_path);
        let _ = (
            &options.criu.lazy_pages,
            CgroupDriver::None,
            Container::remove_mounts,
            ExecOptions::ignore_paused,
        );
    }
}
