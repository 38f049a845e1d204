//! The one error type of the library.
//!
//! An error says which operation failed (with its arguments), where in `config.json` the request
//! came from, the errno, and, where there is one, a hint. It is made once, at the place that knows
//! all of this, and returned; the library never logs.

use std::borrow::Cow;
use std::fmt;

use nix::errno::Errno;

/// What went wrong, for callers that react to it.
///
/// ```no_run
/// use runtime_core::ErrorKind;
///
/// # fn delete(runtime: &runtime_core::Runtime) -> runtime_core::Result<()> {
/// match runtime.container("web-1").and_then(|container| container.delete()) {
///     Err(error) if error.kind() == ErrorKind::NotFound => {} // it has gone already
///     other => other?,
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// `config.json`, an id or another input is malformed; nothing was done.
    InvalidInput,
    /// A container with this id exists already.
    AlreadyExists,
    /// No container has this id; or a file that the caller has named, such as a bundle, is not there.
    NotFound,
    /// The container is not in a state that allows the operation.
    WrongState,
    /// The program to run does not exist in the container.
    ProgramNotFound,
    /// The program to run exists, but may not be executed.
    ProgramNotExecutable,
    /// The kernel or this build cannot do what was asked.
    Unsupported,
    /// A hook failed or ran out of time.
    Hook,
    /// The runtime's [`Executor`](crate::executor::Executor) refused the process, with an error that says no kind.
    Executor,
    /// A cgroup could not be made, limited or removed.
    Cgroup,
    /// Something did not happen within its limit of time, or within the caller's [`Deadline`](crate::Deadline).
    Timeout,
    /// The caller has cancelled the call: see [`Canceller`](crate::Canceller).
    Cancelled,
    /// A system call failed.
    System,
}

/// An error: operation, origin, errno and hint.
///
/// `Display` gives `operation: errno text (origin); hint: …` in one line, lower case, without a
/// final full stop.
///
/// The error of another crate that this one comes from is that of [`get_ref`](Self::get_ref). Its text is in the text of this
/// error already, so [`source`](std::error::Error::source) is not that error but the next one behind it, as with
/// [`std::io::Error`]: who prints an error with all its sources prints nothing twice.
///
/// ```
/// use runtime_core::{Bundle, ErrorKind};
///
/// let error = Bundle::from_bytes("/bundle", r#"{"ociVersion": "1.2.0", "root": {}}"#).expect_err("it has no path");
/// assert_eq!((error.kind(), error.errno()), (ErrorKind::InvalidInput, None));
/// for finding in error.findings() {
///     println!("{}: {}", finding.path, finding.reason);
/// }
/// ```
pub struct Error(Box<Inner>);

#[derive(Debug, thiserror::Error)]
#[error("{operation}{}{}{}{}",
    Part(": ", reason.as_ref(), ""),
    Part(": ", errno.map(errno_text), ""),
    Part(" (", origin.as_ref(), ")"),
    Part("; hint: ", hint.as_ref(), ""))]
struct Inner {
    kind: ErrorKind,
    operation: Cow<'static, str>,
    reason: Option<Cow<'static, str>>,
    errno: Option<Errno>,
    origin: Option<Cow<'static, str>>,
    hint: Option<Cow<'static, str>>,
    frame: Option<Cow<'static, str>>,
    call: Option<Call>,
    findings: Vec<Finding>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A part of the text, if there is one, between what separates it from the others.
struct Part<T>(&'static str, Option<T>, &'static str);

impl<T: fmt::Display> fmt::Display for Part<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part(before, Some(part), after) => write!(f, "{before}{part}{after}"),
            Part(_, None, _) => Ok(()),
        }
    }
}

/// One of the things that are wrong with a configuration or a process.
///
/// The fields are those of the runtime specification, config.md.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The JSON path of the field, such as `process.args`; empty if it is about no single field.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Finding {
    pub(crate) fn new(path: String, reason: String) -> Self {
        Self { path, reason }
    }
}

/// A call that other code reacts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// The clone of stage 0 or of the container's init.
    Clone,
    /// The end of the init by SIGKILL, which it said nothing before.
    Kill,
}

/// The library's result.
///
/// ```
/// fn name() -> runtime_core::Result<runtime_core::ContainerId> {
///     runtime_core::ContainerId::new("web-1")
/// }
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the caller's own, for an [`Executor`](crate::executor::Executor) that says of which kind its refusal is. It has
    /// the text of `error`, which [`get_ref`](Self::get_ref) gives.
    ///
    /// ```
    /// let error = runtime_core::Error::other(runtime_core::ErrorKind::Unsupported, "no machine of this kind");
    /// assert_eq!(error.to_string(), "no machine of this kind");
    /// ```
    pub fn other(kind: ErrorKind, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let error = error.into();
        let mut new = Self::new(kind, error.to_string());
        new.0.cause = Some(error);
        new
    }

    /// An error of `kind` in `operation`; the operation is a call with its arguments, such as
    /// `mount "proc" on "/proc"`.
    pub(crate) fn new(kind: ErrorKind, operation: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            operation: operation.into(),
            reason: None,
            errno: None,
            origin: None,
            hint: None,
            frame: None,
            call: None,
            findings: Vec::new(),
            cause: None,
        }))
    }

    /// A failed system call, with its errno.
    pub(crate) fn system(operation: impl Into<Cow<'static, str>>, errno: Errno) -> Self {
        Self::new(ErrorKind::System, operation).with_errno(errno)
    }

    /// A failed operation of the standard library; keeps its errno.
    pub(crate) fn io(operation: impl Into<Cow<'static, str>>, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(raw) => Self::system(operation, Errno::from_raw(raw)),
            None => Self::new(ErrorKind::System, operation)
                .because_of(error.to_string(), std::io::Error::new(error.kind(), error.to_string())),
        }
    }

    /// What code of the caller says of `operation`; the errno is kept if it is that of an [`std::io::Error`].
    pub(crate) fn foreign(
        kind: ErrorKind,
        operation: impl Into<Cow<'static, str>>,
        error: Box<dyn std::error::Error + Send + Sync>,
    ) -> Self {
        match error.downcast_ref::<std::io::Error>() {
            Some(io) if io.raw_os_error().is_some() => Self::io(operation, io).kind_of(kind),
            _ => Self::new(kind, operation).because_of(error.to_string(), error),
        }
    }

    /// Bad input: what is wrong (`reason`) and with which field (`origin`, a JSON path).
    pub(crate) fn invalid(
        origin: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(ErrorKind::InvalidInput, origin).reason(reason)
    }

    /// JSON that could not be read or written.
    pub(crate) fn json(what: impl Into<Cow<'static, str>>, error: serde_json::Error) -> Self {
        Self::new(ErrorKind::InvalidInput, what).because_of(error.to_string(), error)
    }

    /// Several errors as one: the texts one after the other, the kind of the first.
    pub(crate) fn all(errors: Vec<Error>) -> Self {
        let mut errors = errors.into_iter();
        let Some(first) = errors.next() else {
            return Self::new(ErrorKind::System, "fail without an error");
        };
        errors.fold(first, |all, error| {
            let kind = all.kind();
            Self::new(kind, format!("{all}; {error}"))
        })
    }

    /// Changes the kind.
    #[must_use]
    pub(crate) fn kind_of(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Says which call it was, for code that reacts to that.
    #[must_use]
    pub(crate) fn call(mut self, call: Call) -> Self {
        self.0.call = Some(call);
        self
    }

    /// Whether it is the error of this call, and not yet of a larger operation.
    pub(crate) fn is_of(&self, call: Call) -> bool {
        self.0.call == Some(call)
    }

    /// Adds the errno.
    #[must_use]
    pub(crate) fn with_errno(mut self, errno: Errno) -> Self {
        self.0.errno = Some(errno);
        self.0.cause = Some(std::io::Error::from(errno).into());
        self
    }

    /// Adds the error of another crate, with what it says. Where there is an errno, that stays the cause.
    #[must_use]
    pub(crate) fn because_of(
        mut self,
        reason: impl Into<Cow<'static, str>>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        if self.0.errno.is_none() {
            self.0.cause = Some(cause.into());
        }
        self.reason(reason)
    }

    /// Adds what went wrong in words, for failures that have no errno or where the words say more.
    #[must_use]
    pub(crate) fn reason(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.0.reason = Some(reason.into());
        self
    }

    /// Adds the place in `config.json` that asked for the operation, such as `mounts[1].options[3]`.
    #[must_use]
    pub(crate) fn origin(mut self, origin: impl Into<Cow<'static, str>>) -> Self {
        self.0.origin = Some(origin.into());
        self
    }

    /// Changes the place, if there is one and `change` has another for it.
    #[must_use]
    pub(crate) fn with_origin(mut self, change: impl FnOnce(&str) -> Option<String>) -> Self {
        if let Some(other) = self.0.origin.as_deref().and_then(change) {
            self.0.origin = Some(other.into());
        }
        self
    }

    /// Adds advice for the user.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds what may be so instead of what the hint says, if there is one.
    pub(crate) fn or_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        let hint = hint.into();
        self.0.hint = Some(match self.0.hint.take() {
            Some(first) => format!("{first}; or {hint}").into(),
            None => hint,
        });
        self
    }

    /// Puts a larger operation before this one: `step: operation: …`.
    #[must_use]
    pub(crate) fn context(mut self, step: impl fmt::Display) -> Self {
        self.0.operation = format!("{step}: {}", self.0.operation).into();
        self.0.call = None;
        self
    }

    /// Puts the words that runc has for the larger step before those that are there already.
    #[must_use]
    pub(crate) fn frame(mut self, words: impl Into<Cow<'static, str>>) -> Self {
        let words = words.into();
        self.0.frame = Some(match self.0.frame.take() {
            Some(inner) => format!("{words}: {inner}").into(),
            None => words,
        });
        self
    }

    /// As [`frame`](Self::frame), in place of the words that are there.
    #[must_use]
    pub(crate) fn framed(mut self, words: &'static str) -> Self {
        self.0.frame = Some(words.into());
        self
    }

    /// How far the launch of a process was, in runc's words, such as `unable to start container
    /// process: error during container init: error mounting "proc" to rootfs at "/proc"`; `None` for a
    /// failure before it. Not part of the text: it is for programs that are read in runc's place.
    pub fn launch_frame(&self) -> Option<&str> {
        self.0.frame.as_deref()
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The number of the errno (errno(3)), if a system call failed.
    pub fn errno(&self) -> Option<i32> {
        self.0.errno.map(|errno| errno as i32)
    }

    /// What failed: a call with its arguments, such as `mount "proc" on "/proc"`, or the file or field that is wrong.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// The place in `config.json` that asked for it, a JSON path such as `mounts[1].options[3]`, if one did.
    pub fn path(&self) -> Option<&str> {
        self.0.origin.as_deref()
    }

    /// What a user can do about it, if that is known.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// All that is wrong with a configuration or a process, in the order of its fields; empty for other errors.
    pub fn findings(&self) -> &[Finding] {
        &self.0.findings
    }

    pub(crate) fn with_findings(mut self, findings: Vec<Finding>) -> Self {
        self.0.findings = findings;
        self
    }

    /// The error of another crate that this one comes from, to be downcast: a [`std::io::Error`] wherever there is an
    /// [`errno`](Self::errno), the [`serde_json::Error`] of a malformed text, or what code of the caller returned, such as an
    /// [`Executor`](crate::executor::Executor).
    pub fn get_ref(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }

    /// The errno, if a system call failed.
    pub(crate) fn raw_errno(&self) -> Option<Errno> {
        self.0.errno
    }
}

/// For functions that return [`std::io::Result`]: the kind is that of the errno, and the error is inside.
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind =
            error.errno().map_or(std::io::ErrorKind::Other, |errno| Self::from_raw_os_error(errno).kind());
        Self::new(kind, error)
    }
}

/// The words of strerror(3), where those of nix are others: people search for them, and engines compare with them.
fn usual_text(errno: Errno) -> &'static str {
    match errno {
        Errno::EIO => "input/output error",
        Errno::EBADF => "bad file descriptor",
        Errno::EAGAIN => "resource temporarily unavailable",
        Errno::ENOMEM => "cannot allocate memory",
        Errno::EXDEV => "invalid cross-device link",
        Errno::ENFILE => "too many open files in system",
        Errno::ENOTTY => "inappropriate ioctl for device",
        Errno::EDOM => "numerical argument out of domain",
        Errno::ERANGE => "numerical result out of range",
        Errno::EDEADLK => "resource deadlock avoided",
        Errno::ENOLCK => "no locks available",
        Errno::ELOOP => "too many levels of symbolic links",
        Errno::ENETRESET => "network dropped connection on reset",
        Errno::EBADMSG => "bad message",
        Errno::EILSEQ => "invalid or incomplete multibyte or wide character",
        Errno::EOPNOTSUPP => "operation not supported",
        Errno::EDQUOT => "disk quota exceeded",
        other => other.desc(),
    }
}

/// The errno's text in the lower case that engines compare with.
pub(crate) fn errno_text(errno: Errno) -> String {
    let text = usual_text(errno);
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        // "RFS specific error" keeps its capitals.
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref()?.source()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_with_every_part() {
        let error =
            Error::system("mount \"proc\" on \"/proc\"", Errno::EPERM).origin("mounts[1]").with_hint("ask");
        assert_eq!(
            error.to_string(),
            "mount \"proc\" on \"/proc\": operation not permitted (mounts[1]); hint: ask"
        );
    }

    #[test]
    fn each_part_can_be_asked_for() {
        let error = Error::system("mount \"proc\"", Errno::EPERM).origin("mounts[1]").with_hint("ask");
        assert_eq!((error.kind(), error.errno()), (ErrorKind::System, Some(libc::EPERM)));
        assert_eq!((error.operation(), error.path()), ("mount \"proc\"", Some("mounts[1]")));
        assert_eq!((error.hint(), error.findings()), (Some("ask"), [].as_slice()));
        let wrong = crate::spec::ValidProcess::parse(br#"{"args": [], "cwd": "x"}"#).unwrap_err();
        let paths: Vec<_> = wrong.findings().iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["args", "cwd"], "{wrong}");
    }

    #[test]
    fn the_error_of_another_crate_can_be_asked_for() {
        let io = |error: &Error| {
            error.get_ref().and_then(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind)
        };
        assert_eq!(io(&Error::system("open", Errno::ENOENT)), Some(std::io::ErrorKind::NotFound));
        let short = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "short");
        assert_eq!(io(&Error::io("read", &short)), Some(std::io::ErrorKind::UnexpectedEof));
        let wrong = crate::spec::ValidSpec::parse(b"{").unwrap_err();
        assert!(wrong.get_ref().is_some_and(|cause| cause.is::<serde_json::Error>()), "{wrong}");
        assert!(Error::invalid("id", "empty").get_ref().is_none());
        // Wherever there is an errno, whatever else was said.
        let denied = || std::io::Error::from_raw_os_error(libc::EACCES);
        for error in [
            Error::system("open", Errno::EACCES).because_of("why", "words"),
            Error::new(ErrorKind::Hook, "open").because_of("why", "words").with_errno(Errno::EACCES),
            Error::io("open", &denied()),
            Error::foreign(ErrorKind::System, "open", denied().into()),
        ] {
            let found = (error.errno(), io(&error));
            assert_eq!(found, (Some(libc::EACCES), Some(std::io::ErrorKind::PermissionDenied)), "{error}");
        }
    }

    /// Who prints an error with its sources, as `{:#}` of anyhow does, says everything once.
    #[test]
    fn no_source_says_what_the_error_says() {
        use std::error::Error as _;
        #[derive(Debug, thiserror::Error)]
        #[error("no room")]
        struct Outer(#[source] std::fmt::Error);
        let foreign = || Box::new(Outer(std::fmt::Error));
        let errors = [
            (Error::system("open", Errno::ENOENT), "open: no such file or directory"),
            (Error::foreign(ErrorKind::Executor, "choose", foreign()), "choose: no room"),
            (Error::other(ErrorKind::Executor, foreign()), "no room"),
        ];
        let behind = errors.map(|(error, text)| {
            assert_eq!(error.to_string(), text);
            error.source().map(ToString::to_string)
        });
        let next = Some(std::fmt::Error.to_string());
        assert_eq!(behind, [None, next.clone(), next]);
        let text = crate::spec::ValidSpec::parse(b"{").unwrap_err();
        assert!(text.source().is_none(), "{text}");
    }

    #[test]
    fn frames_nest_and_stay_out_of_the_text() {
        let error = Error::system("mount", Errno::EPERM).frame("error mounting").frame("during init");
        assert_eq!(error.launch_frame(), Some("during init: error mounting"));
        assert_eq!(error.to_string(), "mount: operation not permitted");
        assert_eq!(Error::invalid("a", "b").launch_frame(), None);
    }

    #[test]
    fn engines_compare_lower_case_texts() {
        assert_eq!(errno_text(Errno::ENOENT), "no such file or directory");
        assert_eq!(errno_text(Errno::EACCES), "permission denied");
        assert_eq!(errno_text(Errno::EISDIR), "is a directory");
        assert_eq!(errno_text(Errno::ERANGE), "numerical result out of range");
        assert_eq!(errno_text(Errno::ENOTTY), "inappropriate ioctl for device");
    }

    /// The words of the machine's own library, as it has them for each errno, are the usual ones.
    #[cfg(target_env = "gnu")]
    #[test]
    fn errors_have_their_usual_words() {
        for number in 1..134 {
            let errno = Errno::from_raw(number);
            if errno == Errno::UnknownErrno {
                continue;
            }
            let text = std::io::Error::from_raw_os_error(number).to_string();
            let usual = text.split(" (os error").next().unwrap_or_default();
            assert!(errno_text(errno).eq_ignore_ascii_case(usual), "{errno:?}: {usual}");
        }
    }
}
