//! A process of a container, owned by its pidfd.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::children::{self, Stop, Tracked};
use crate::error::{Error, Result};
use crate::exits::{Exit, ExitSource};
use crate::launch::Kept;
use crate::signal::Signal;
use crate::state::Identity;
use crate::stdio::Pipes;
use crate::sys::process;
use crate::terminal::Terminal;

/// How long the drop of a process waits that it has killed: the end of one that is not held in the kernel takes much less.
const DROP_LIMIT: Duration = Duration::from_millis(200);

/// A process of a container: its init or one of `exec`.
///
/// Its descriptor ([`AsFd`], [`AsRawFd`]) is a pidfd, readable when the process ends, so any event loop can wait for it;
/// then [`try_wait`](Self::try_wait) has the status. Its status is kept: all handles of the process have it, as often as
/// they ask, also when [`Container::delete`](crate::Container::delete) has reaped the process.
///
/// Dropping a `Process` does not end the process, unless [`kill_on_drop`](Self::kill_on_drop) is set. The library reaps it
/// later: with the next process that is started, and with each call that waits for its container or deletes that.
///
/// ```no_run
/// use std::io::Read as _;
///
/// use runtime_core::{Sandbox, Stdio};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut process = Sandbox::new("/bin/date").stdout(Stdio::piped()).spawn()?;
/// let mut text = String::new();
/// if let Some(mut stdout) = process.take_stdout() {
///     stdout.read_to_string(&mut text)?;
/// }
/// println!("{text} {:?}", process.wait()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Process {
    tracked: Arc<Tracked>,
    terminal: Option<Terminal>,
    pipes: Pipes,
    warnings: Vec<String>,
    kill_on_drop: bool,
}

impl Process {
    /// A new child of this process, of the container with the init `container`.
    pub(crate) fn new(
        kept: Kept,
        warnings: Vec<String>,
        container: Identity,
        source: Option<ExitSource>,
    ) -> Self {
        let Kept { pid, pidfd, console } = kept;
        let tracked = children::add(pid, pidfd, container, source);
        let mut process = Self::found(tracked);
        process.terminal = console.map(Terminal::new);
        process.warnings = warnings;
        process
    }

    /// A process that was made elsewhere, or that there is another handle of.
    pub(crate) fn found(tracked: Arc<Tracked>) -> Self {
        Self { tracked, terminal: None, pipes: Pipes::default(), warnings: Vec::new(), kill_on_drop: false }
    }

    pub(crate) fn tracked(&self) -> &Arc<Tracked> {
        &self.tracked
    }

    pub(crate) fn with_pipes(mut self, pipes: Pipes) -> Self {
        self.pipes = pipes;
        self
    }

    /// What the user of an `exec` should know, such as capabilities that could not be granted and
    /// were left out; not again what the container's own process was warned of. For a container's init, what was found while it was made; the others are those of the plan.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Pid in the caller's pid namespace.
    pub fn pid(&self) -> i32 {
        self.tracked.pid()
    }

    /// Its terminal, when it has one; the first call takes it.
    pub fn take_terminal(&mut self) -> Option<Terminal> {
        self.terminal.take()
    }

    /// The end of the pipe that its standard input reads from, with [`Stdio::piped`](crate::Stdio::piped); the first call
    /// takes it. Dropping it is the end of that input.
    pub fn take_stdin(&mut self) -> Option<PipeWriter> {
        self.pipes.stdin.take()
    }

    /// The end of the pipe that its standard output is written to, with [`Stdio::piped`](crate::Stdio::piped); the first call
    /// takes it.
    pub fn take_stdout(&mut self) -> Option<PipeReader> {
        self.pipes.stdout.take()
    }

    /// The end of the pipe that its standard error output is written to, with [`Stdio::piped`](crate::Stdio::piped); the
    /// first call takes it.
    pub fn take_stderr(&mut self) -> Option<PipeReader> {
        self.pipes.stderr.take()
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// Those of pidfd_send_signal(2), such as ESRCH for a process that has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        process::pidfd_send_signal(self.as_fd(), signal.number())
            .map_err(|errno| Error::system(format!("send signal {signal} to process {}", self.pid()), errno))
    }

    /// Whether dropping this handle kills the process (SIGKILL), as an engine wants that gives up. Not so by default.
    ///
    /// ```no_run
    /// # fn given_up(mut process: runtime_core::Process) {
    /// process.kill_on_drop(true);
    /// # }
    /// ```
    pub fn kill_on_drop(&mut self, kill: bool) {
        self.kill_on_drop = kill;
    }

    /// Waits for its end and reaps it. It may be called again, and by several threads at once.
    ///
    /// The status is [`Exit::Unknown`] where something else has taken it: see [`docs::reaping`](crate::docs::reaping).
    ///
    /// # Errors
    ///
    /// Those of waitid(2) and poll(2), and those of a [`Deadline`](crate::Deadline).
    pub fn wait(&self) -> Result<Exit> {
        self.until(None)?.ok_or_else(|| self.failed(Errno::ECHILD))
    }

    /// How it ended, and reaps it; `None` if it still runs.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn try_wait(&self) -> Result<Option<Exit>> {
        self.tracked.try_exit().map_err(|errno| self.failed(errno))
    }

    /// Waits for its end at most `limit`; `None` if it still runs. A limit such as [`Duration::MAX`] is none.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, limit: Duration) -> Result<Option<Exit>> {
        self.until(Instant::now().checked_add(limit))
    }

    fn until(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        self.tracked.wait_in_call(deadline).map_err(|stop| match stop {
            Stop::Errno(errno) => self.failed(errno),
            Stop::Caller(error) => error.context(format!("wait for process {}", self.pid())),
        })
    }

    fn failed(&self, errno: Errno) -> Error {
        Error::system(format!("wait for process {}", self.pid()), errno)
    }
}

impl Drop for Process {
    /// It reaps nothing: a program that ends now leaves the process, or its zombie with the status, to the parent that the
    /// process gets then, such as the shim that has started this program.
    fn drop(&mut self) {
        // One that has ended is as good.
        if self.kill_on_drop
            && !self.try_wait().is_ok_and(|exit| exit.is_some())
            && self.signal(Signal::KILL).is_ok()
        {
            self.wait_timeout(DROP_LIMIT).ok();
        }
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tracked.pidfd()
    }
}

impl AsRawFd for Process {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
