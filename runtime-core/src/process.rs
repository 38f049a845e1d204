//! A process of a container, owned by its pidfd.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Result};
use crate::launch::Kept;
use crate::stdio::Pipes;
use crate::sys::process::{self, Ended};
use crate::terminal::Terminal;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It has ended, and nobody can tell how: something else in this program, such as a reaper that waits for every child,
    /// has taken its status, and the kernel (before Linux 6.15) does not keep it.
    Unknown,
}

impl Exit {
    /// Whether it exited with status 0.
    pub fn success(self) -> bool {
        self == Exit::Code(0)
    }

    /// The status as shells have it: the exit status, or 128 and the signal's number; 255 if it is unknown.
    pub fn shell_status(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
            Exit::Unknown => 255,
        }
    }
}

/// Gives SIGCHLD its default disposition in the calling process.
///
/// Where a process inherited "ignore" the kernel reaps its children itself, so that no exit status is
/// left to wait for. The library leaves its caller's dispositions alone; a program that waits for
/// containers, runs hooks or maps ids without privilege calls this when it starts.
pub fn reset_child_signal() -> Result<()> {
    process::reset_child_signal().map_err(|errno| Error::system("reset SIGCHLD", errno))
}

/// A process that this library started in a container: its init or one of `exec`.
///
/// It is a child of the calling process. Its descriptor ([`AsFd`]) is a pidfd, readable when the
/// process ends, so any event loop can wait for it. Dropping a `Process` neither ends nor reaps
/// it.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    pidfd: OwnedFd,
    terminal: Option<Terminal>,
    pipes: Pipes,
    warnings: Vec<String>,
}

impl Process {
    pub(crate) fn new(kept: Kept, warnings: Vec<String>) -> Self {
        let Kept { pid, pidfd, console } = kept;
        Self { pid, pidfd, terminal: console.map(Terminal::new), pipes: Pipes::default(), warnings }
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
        self.pid
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

    /// Sends a signal, by number.
    pub fn signal(&self, signal: i32) -> Result<()> {
        process::pidfd_send_signal(self.pidfd.as_fd(), signal)
            .map_err(|errno| Error::system(format!("send signal {signal} to process {}", self.pid), errno))
    }

    /// Waits for its end and reaps it. If a reaper of the caller's own is first, the answer is the same, or
    /// [`Exit::Unknown`] on older kernels.
    pub fn wait(&self) -> Result<Exit> {
        self.reap(true)?.ok_or_else(|| self.failed(Errno::ECHILD))
    }

    /// Reaps it if it has ended.
    pub fn try_wait(&self) -> Result<Option<Exit>> {
        self.reap(false)
    }

    /// Waits for its end at most `limit`; `None` if it still runs.
    pub fn wait_timeout(&self, limit: Duration) -> Result<Option<Exit>> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)], left) {
                Ok(0) => return Ok(None),
                Ok(_) => return self.reap(true),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(self.failed(errno)),
            }
        }
    }

    fn reap(&self, block: bool) -> Result<Option<Exit>> {
        let ended = process::ended(self.pidfd.as_fd(), block).map_err(|errno| self.failed(errno))?;
        Ok(ended.map(|ended| match ended {
            Ended::Exited(code) => Exit::Code(code),
            Ended::Killed(signal) => Exit::Signal(signal),
            Ended::Unknown => Exit::Unknown,
        }))
    }

    fn failed(&self, errno: Errno) -> Error {
        Error::system(format!("wait for process {}", self.pid), errno)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl AsRawFd for Process {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}
