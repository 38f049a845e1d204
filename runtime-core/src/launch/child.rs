//! The conversation with the tiny init.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;

use super::clone::{ChildMemory, Cloned};
use super::failure::{StepText, describe, init_frame};
use super::listener::{self, Receiver};
use super::times::Times;
use crate::child::ops::{Op, Point};
use crate::child::report::{GO, REPORT_BYTES, Report, STEP_CLONE};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::LaunchPlan;
use crate::sys::{process, retry, socket};

/// How long the end of a killed child is waited for.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How long one step of the child lane may take: file systems of an image can hang (FUSE), and the
/// runtime must not hang with them.
const STEP_LIMIT: Duration = Duration::from_secs(60);

/// A child that runs the init. Dropping it kills and reaps the child, unless [`Child::keep`] has
/// taken it out.
#[derive(Debug)]
pub(crate) struct Child<'a> {
    plan: &'a LaunchPlan,
    pid: i32,
    pidfd: Option<OwnedFd>,
    socket: OwnedFd,
    /// How many reports have come.
    reports: usize,
    /// The pidfd is that of the process behind the fork already.
    forked: bool,
    /// The process that was cloned, when it has forked.
    first: Option<OwnedFd>,
    /// Freed after the first message, or with the child: then that has left it.
    memory: Option<ChildMemory>,
    console: Option<OwnedFd>,
    times: Option<Times>,
}

/// A child that has become a container's process.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) console: Option<OwnedFd>,
}

impl<'a> Child<'a> {
    pub(super) fn new(plan: &'a LaunchPlan, cloned: Cloned, socket: OwnedFd, times: Option<Times>) -> Self {
        let Cloned { pid, pidfd, memory } = cloned;
        Self {
            plan,
            pid,
            pidfd: Some(pidfd),
            socket,
            reports: 0,
            forked: false,
            first: None,
            memory: Some(memory),
            console: None,
            times,
        }
    }

    /// Pid in the caller's pid namespace.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// The user namespace of the container. The child may not have joined the one that the plan
    /// names yet.
    pub(crate) fn user_namespace(&self) -> Result<OwnedFd> {
        match self.plan.joins.iter().find(|join| join.kind == libc::CLONE_NEWUSER as u32) {
            Some(join) => super::open_join(join),
            None => super::lanes::user_namespace_of(self.pid),
        }
    }

    /// The master of its terminal, when it has sent one; the first call takes it.
    pub(crate) fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// Tells of a step of the parent lane, if anybody wants to know.
    pub(super) fn mark(&self, step: impl FnOnce() -> String) {
        super::mark(self.times.as_ref(), step);
    }

    /// Takes the process out: from now on its owner ends it.
    pub(crate) fn keep(mut self) -> Result<Kept> {
        let pidfd = self.pidfd.take().ok_or_else(|| Error::system("keep the init", Errno::ECHILD))?;
        if let Some(times) = self.times.take() {
            times.collect(self.plan)?;
        }
        Ok(Kept { pid: self.pid, pidfd, console: self.console.take() })
    }

    /// Lets the child go on, with descriptors.
    pub(crate) fn release(&mut self, fds: &[RawFd]) -> Result<()> {
        match socket::send(self.socket.as_fd(), &[GO], fds) {
            Ok(()) => Ok(()),
            // The child has ended: what it said last tells why.
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.last_words()),
            Err(errno) => Err(Error::system("send to the init", errno)),
        }
    }

    /// Waits until the child is at `point`.
    pub(crate) fn expect(&mut self, point: Point) -> Result<()> {
        let ops = self.plan.child.ops();
        self.expect_step(|step| matches!(ops[step], Op::Sync { point: reached } if reached == point))?;
        self.reap_first()
    }

    /// Waits for all that the child has to report before it runs its program: what would fail here fails while
    /// it still waits.
    pub(crate) fn expect_reports(&mut self) -> Result<()> {
        let last = |op: &Op| matches!(op, Op::ForkIntoPidNamespace | Op::Console { .. });
        if let Some(last) = self.plan.child.ops().iter().rposition(last) {
            self.expect_step(|step| step == last)?;
        }
        self.reap_first()
    }

    fn expect_step(&mut self, is_it: impl Fn(usize) -> bool) -> Result<()> {
        loop {
            let Some(report) = self.next()? else {
                return Err(self.ended());
            };
            match report.step as usize {
                step if step >= self.plan.child.ops().len() => return Err(protocol_error()),
                step if is_it(step) => return Ok(()),
                // The console and the fork report too; `next` has taken what they brought.
                _ => {}
            }
        }
    }

    /// Waits for the end of the child lane: the socket closes when the program is executed. A seccomp
    /// listener goes to `receiver` before that.
    pub(crate) fn expect_executed(&mut self, receiver: Option<&Receiver<'_>>) -> Result<()> {
        let mut handed_over = receiver.is_none();
        while let Some(report) = self.next()? {
            match (self.plan.child.ops().get(report.step as usize), receiver) {
                (None, _) => return Err(protocol_error()),
                (Some(Op::AnnounceListener), Some(receiver)) => {
                    handed_over |= receiver.hand_over(&self.as_init()?, report.detail)?;
                }
                (Some(_), _) => {}
            }
        }
        if handed_over { Ok(()) } else { Err(listener::lost()) }
    }

    fn as_init(&self) -> Result<listener::Init<'_>> {
        let pidfd = self.pidfd.as_ref().ok_or_else(protocol_error)?.as_fd();
        let deadline = Instant::now() + STEP_LIMIT;
        Ok(listener::Init { pid: self.pid, pidfd, socket: self.socket.as_fd(), deadline })
    }

    /// The next report; a failure of the child is an error, the end of the stream is `None`.
    fn next(&mut self) -> Result<Option<Report>> {
        let deadline = hook_time(self.plan).map(|extra| Instant::now() + STEP_LIMIT + extra);
        await_readable(self.socket.as_fd(), deadline)?;
        let mut bytes = [0; REPORT_BYTES];
        let received = match socket::receive(self.socket.as_fd(), &mut bytes) {
            // It has not read the word to go on.
            Err(Errno::ECONNRESET) => return Err(self.ended()),
            other => other.map_err(|errno| Error::system("receive from the init", errno))?,
        };
        if received.len == 0 {
            return Ok(None);
        }
        // Each step reports once at most: who says more is not the init.
        self.reports += 1;
        if received.len != REPORT_BYTES || self.reports > self.plan.child.ops().len() + 1 {
            return Err(protocol_error());
        }
        let report = Report::from_bytes(&bytes);
        if report.step != STEP_CLONE {
            self.memory = None;
        }
        let mut fds = received.fds;
        if report.errno != 0 {
            let step = StepText::of(self.plan, report.step as usize);
            let frame = init_frame(self.plan, step.as_ref().and_then(|step| step.origin.as_deref()));
            return Err(describe(report, step.as_ref(), fds.pop()).frame(frame));
        }
        match self.plan.child.ops().get(report.step as usize) {
            Some(Op::Console { .. }) => self.console = Some(master(fds.pop())?),
            Some(Op::ForkIntoPidNamespace) => self.follow_fork(received.pid)?,
            _ => {}
        }
        Ok(Some(report))
    }

    /// The process that goes on is a child of the one that was cloned, and of ours.
    ///
    /// A process of the container that may trace the init can say anything over its socket: a second
    /// fork would have us wait for the end of the one that lives.
    fn follow_fork(&mut self, pid: Option<i32>) -> Result<()> {
        let pid = pid.filter(|pid| *pid > 0 && !self.forked).ok_or_else(protocol_error)?;
        self.forked = true;
        let pidfd = process::pidfd_open(pid).map_err(|errno| Error::system("pidfd_open", errno))?;
        self.first = self.pidfd.replace(pidfd);
        self.pid = pid;
        Ok(())
    }

    /// Reaps the process that forked, if one has. It exits at once, unless the container freezes the cgroup
    /// that it is in; nobody waits for that meanwhile.
    fn reap_first(&mut self) -> Result<()> {
        let Some(first) = self.first.take() else { return Ok(()) };
        await_readable(first.as_fd(), Some(Instant::now() + STEP_LIMIT))?;
        process::wait(first.as_fd(), true).map_err(|errno| Error::system("waitid", errno)).map(drop)
    }

    /// What the child said before it ended, or how it ended.
    fn last_words(&mut self) -> Error {
        loop {
            match self.next() {
                Ok(Some(_)) => {}
                Ok(None) => return self.ended(),
                Err(error) => return error,
            }
        }
    }

    /// The child ended without a word.
    fn ended(&mut self) -> Error {
        let status = self.pidfd.as_ref().map(|pidfd| {
            // One that has only closed its socket is ended by the drop.
            await_readable(pidfd.as_fd(), Some(Instant::now() + END_LIMIT)).ok();
            process::wait(pidfd.as_fd(), false)
        });
        if matches!(status, Some(Ok(Some(_)))) {
            self.pidfd = None;
        }
        let error = Error::new(ErrorKind::System, "start the container's init");
        let error = error.frame(init_frame(self.plan, None));
        match status {
            Some(Ok(Some((libc::CLD_EXITED, status)))) => {
                error.reason(format!("it exited with status {status}"))
            }
            Some(Ok(Some((_, libc::SIGKILL)))) => error
                .reason("it was killed by signal 9")
                .hint("the memory limit may be too low for the process to start"),
            Some(Ok(Some((_, signal)))) => error.reason(format!("it was killed by signal {signal}")),
            _ => error.reason("it ended"),
        }
    }
}

/// Waits for the init's socket or pidfd.
fn await_readable(fd: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<()> {
    loop {
        let left = match deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], left) {
            Ok(0) => {
                return Err(Error::new(ErrorKind::Timeout, "wait for the init")
                    .reason(format!("nothing for {} s", STEP_LIMIT.as_secs()))
                    .hint("a file system of the bundle may hang, or the container's cgroup may be frozen"));
            }
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::system("poll", errno)),
        }
    }
}

/// The time that the hooks of the child lane may take; `None` when one of them has no limit.
fn hook_time(plan: &LaunchPlan) -> Option<Duration> {
    plan.child.ops().iter().try_fold(Duration::ZERO, |sum, op| match op {
        Op::Hook { timeout: 0, .. } => None,
        Op::Hook { timeout, .. } => Some(sum + Duration::from_millis(u64::from(*timeout))),
        _ => Some(sum),
    })
}

/// The descriptor that came with the report of the console, verified to be the master of one: a
/// process of the container that may trace the init can send another.
fn master(fd: Option<OwnedFd>) -> Result<OwnedFd> {
    let fd = fd.ok_or_else(protocol_error)?;
    let stat = fstat(&fd).map_err(|errno| Error::system("fstat of the terminal", errno))?;
    let is_master = stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == libc::makedev(5, 2);
    if is_master { Ok(fd) } else { Err(protocol_error()) }
}

fn protocol_error() -> Error {
    Error::system("understand the init", Errno::EPROTO)
}

impl Drop for Child<'_> {
    fn drop(&mut self) {
        let ends: Vec<OwnedFd> = self.first.take().into_iter().chain(self.pidfd.take()).collect();
        // An end that has already come is as good.
        for pidfd in &ends {
            process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).ok();
        }
        // A frozen v1 cgroup holds a killed process back; who removes that cgroup thaws it.
        let limit = PollTimeout::try_from(END_LIMIT).unwrap_or(PollTimeout::MAX);
        for pidfd in ends {
            retry(|| poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], limit)).ok();
            process::wait(pidfd.as_fd(), false).ok();
        }
    }
}
