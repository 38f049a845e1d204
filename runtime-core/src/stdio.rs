//! The standard streams of a container's process, and other descriptors that it gets.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Error, Result};
use crate::launch;

/// Where a standard stream of a container's process leads to.
///
/// The process gets its descriptors between clone(2) and execve(2). The caller's own descriptors stay as they are, so any
/// number of threads may start processes with different streams at the same time.
///
/// ```
/// use std::fs::File;
/// use runtime_core::Stdio;
///
/// # fn main() -> std::io::Result<()> {
/// # let directory = std::env::temp_dir().join(format!("runtime-core-stdio-{}", std::process::id()));
/// let log = File::create(&directory)?;
/// let (output, error) = (Stdio::from(log.try_clone()?), Stdio::from(log));
/// # std::fs::remove_file(&directory)?;
/// # drop((output, error));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Stdio(Kind);

#[derive(Debug, Default)]
enum Kind {
    #[default]
    Inherit,
    Null,
    Piped,
    Given(OwnedFd),
}

impl Stdio {
    /// The caller's own stream. One that the caller has closed, or has set to close on execve(2), is as [`Stdio::null`].
    /// This is the default.
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// The container's own `/dev/null` (null(4)).
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// A new pipe (pipe(7)), whose other end the [`Process`](crate::Process) has.
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Self(Kind::Given(fd))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Self::from(OwnedFd::from(file))
    }
}

impl From<PipeReader> for Stdio {
    fn from(pipe: PipeReader) -> Self {
        Self::from(OwnedFd::from(pipe))
    }
}

impl From<PipeWriter> for Stdio {
    fn from(pipe: PipeWriter) -> Self {
        Self::from(OwnedFd::from(pipe))
    }
}

/// The functions of a builder with a field `descriptors` that choose the streams and descriptors of its process.
macro_rules! setters {
    () => {
        /// Where the standard input of the process comes from.
        #[must_use]
        pub fn stdin(mut self, stdio: impl Into<$crate::Stdio>) -> Self {
            self.descriptors.stdin = stdio.into();
            self
        }

        /// Where the standard output of the process goes to.
        #[must_use]
        pub fn stdout(mut self, stdio: impl Into<$crate::Stdio>) -> Self {
            self.descriptors.stdout = stdio.into();
            self
        }

        /// Where the standard error output of the process goes to.
        #[must_use]
        pub fn stderr(mut self, stdio: impl Into<$crate::Stdio>) -> Self {
            self.descriptors.stderr = stdio.into();
            self
        }

        /// Gives the process a descriptor, as number `number` (3 or more). Unlike the `preserve_fds` of options this does not
        /// depend on the numbers that the caller's descriptors have, so each thread may use it. Of two descriptors with the
        /// same number, this one counts.
        #[must_use]
        pub fn pass_fd(mut self, fd: impl Into<std::os::fd::OwnedFd>, number: i32) -> Self {
            self.descriptors.pass(fd.into(), number);
            self
        }
    };
}
pub(crate) use setters;

/// What a caller gives to a process that it is going to start.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
    passed: Vec<(OwnedFd, i32)>,
}

impl Descriptors {
    /// Adds a descriptor, which is number `number` in the container.
    pub(crate) fn pass(&mut self, fd: OwnedFd, number: i32) {
        self.passed.push((fd, number));
    }

    /// Makes the pipes.
    ///
    /// # Errors
    ///
    /// Streams beside a terminal, or a number that is a standard stream's or is given twice.
    pub(crate) fn open(self, terminal: bool) -> Result<(Given, Pipes)> {
        let Self { stdin, stdout, stderr, passed } = self;
        let inherits = |stdio: &Stdio| matches!(stdio.0, Kind::Inherit);
        if terminal && ![&stdin, &stdout, &stderr].into_iter().all(inherits) {
            return Err(Error::invalid(
                "process.terminal",
                "a terminal takes the place of all three streams",
            ));
        }
        check_numbers(&passed)?;
        let (stdin, to_stdin) = input(stdin)?;
        let (stdout, from_stdout) = output(stdout)?;
        let (stderr, from_stderr) = output(stderr)?;
        let pipes = Pipes { stdin: to_stdin, stdout: from_stdout, stderr: from_stderr };
        Ok((Given { stdio: [stdin, stdout, stderr], passed }, pipes))
    }
}

fn check_numbers(passed: &[(OwnedFd, i32)]) -> Result<()> {
    let mut known = std::collections::BTreeSet::new();
    let wrong =
        |number: &i32, reason| Err(Error::invalid(format!("pass a descriptor as number {number}"), reason));
    for (_, number) in passed {
        if *number < 3 {
            return wrong(number, "the numbers of others than the standard streams begin at 3");
        }
        if !known.insert(number) {
            return wrong(number, "another descriptor has this number");
        }
    }
    Ok(())
}

fn input(stdio: Stdio) -> Result<(Option<OwnedFd>, Option<PipeWriter>)> {
    match stdio.0 {
        Kind::Inherit => Ok((None, None)),
        Kind::Null => Ok((Some(launch::null()?), None)),
        Kind::Piped => new_pipe().map(|(read, write)| (Some(read.into()), Some(write))),
        Kind::Given(fd) => Ok((Some(fd), None)),
    }
}

fn output(stdio: Stdio) -> Result<(Option<OwnedFd>, Option<PipeReader>)> {
    match stdio.0 {
        Kind::Inherit => Ok((None, None)),
        Kind::Null => Ok((Some(launch::null()?), None)),
        Kind::Piped => new_pipe().map(|(read, write)| (Some(write.into()), Some(read))),
        Kind::Given(fd) => Ok((Some(fd), None)),
    }
}

fn new_pipe() -> Result<(PipeReader, PipeWriter)> {
    pipe().map_err(|error| Error::io("pipe2", &error))
}

/// The descriptors of a process, open, until it has them.
#[derive(Debug, Default)]
pub(crate) struct Given {
    stdio: [Option<OwnedFd>; 3],
    passed: Vec<(OwnedFd, i32)>,
}

impl Given {
    /// The standard streams; `None` is the caller's own.
    pub(crate) fn stdio(&self) -> [Option<BorrowedFd<'_>>; 3] {
        let [stdin, stdout, stderr] = &self.stdio;
        [stdin, stdout, stderr].map(|stream| stream.as_ref().map(AsFd::as_fd))
    }

    /// The others, with their numbers in the container.
    pub(crate) fn passed(&self) -> Vec<(BorrowedFd<'_>, i32)> {
        self.passed.iter().map(|(fd, number)| (fd.as_fd(), *number)).collect()
    }
}

/// The caller's ends of the pipes.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<PipeWriter>,
    pub(crate) stdout: Option<PipeReader>,
    pub(crate) stderr: Option<PipeReader>,
}
