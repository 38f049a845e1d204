//! The conversation with stage 0 and the init.

#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::fstat;

use super::failure::{StepText, describe, frame_of, init_frame};
use super::idmap;
use super::listener::{self, Receiver};
use super::maps_at_clone;
use super::stage::{END_LIMIT, Said, Stage};
use super::times::Shared;
use super::wait::{STEP_LIMIT, await_readable};
use crate::deadline;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::plan::LaunchPlan;
use crate::sys::process::{self, Ended};
use crate::sys::socket;
use runtime_init::ops::{FileOp, NamespaceOp, Op, Point, ProgramOp, Slot, WaitOp};
use runtime_init::report::{GO, REPORT_BYTES, Report};

/// A launch under way: stage 0, and the init from when stage 0 has cloned it. Dropping it kills and reaps both, unless
/// [`Child::keep`] has taken the init out.
#[derive(Debug)]
pub(crate) struct Child<'a> {
    plan: &'a LaunchPlan,
    /// Until it has come to its end.
    stage: Option<Stage>,
    /// From when it is known to have been cloned.
    init: Option<Init>,
    /// The init has been known: then its pid need not be looked for.
    known: bool,
    socket: OwnedFd,
    /// How many reports have come.
    reports: usize,
    /// All reports before the program have come.
    reported: bool,
    /// The init is the process behind its fork already.
    forked: bool,
    /// The process that stage 0 has cloned, when that has forked.
    first: Option<OwnedFd>,
    console: Option<OwnedFd>,
    /// The number of the descriptor by which `start` lets the init go on, if it waits behind its filter.
    hold: Option<i32>,
    shared: Shared,
}

/// The process that runs the init.
#[derive(Debug)]
struct Init {
    pid: i32,
    /// None when its end has been seen.
    pidfd: Option<OwnedFd>,
}

/// A child that has become a container's process.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) console: Option<OwnedFd>,
}

impl<'a> Child<'a> {
    pub(super) fn new(plan: &'a LaunchPlan, stage: Stage, socket: OwnedFd, shared: Shared) -> Self {
        let hold = plan.child.holds().then(|| Slot::HOLD.number(stage.base()));
        Self {
            plan,
            stage: Some(stage),
            init: None,
            known: false,
            socket,
            reports: 0,
            reported: false,
            forked: false,
            first: None,
            console: None,
            hold,
            shared,
        }
    }

    /// Pid in the caller's pid namespace; it waits until stage 0 has cloned the init.
    pub(crate) fn pid(&mut self) -> Result<i32> {
        self.init().map(|init| init.pid)
    }

    fn init(&mut self) -> Result<&Init> {
        while self.init.is_none() {
            self.hear_stage(Some(deadline::after(STEP_LIMIT)))?;
        }
        self.init.as_ref().ok_or_else(protocol_error)
    }

    /// Writes the id maps of a user namespace that the clone makes; the init waits for them.
    pub(super) fn map_ids(&mut self, privileged: bool) -> Result<()> {
        match self.plan.id_maps.as_ref().filter(|_| maps_at_clone(self.plan)) {
            None => Ok(()),
            Some(maps) => {
                idmap::write(self.pid()?, maps, privileged)?;
                self.release(&[])
            }
        }
    }

    /// The master of its terminal, when it has sent one; the first call takes it.
    pub(crate) fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// The number of the userfaultfd of an init that waits for `start` behind its filter.
    pub(crate) fn hold(&self) -> Option<i32> {
        self.hold
    }

    /// Tells of a step of the caller's lane, if anybody wants to know.
    pub(super) fn mark(&self, step: impl FnOnce() -> String) {
        self.shared.mark(step);
    }

    /// Takes the process out: from now on its owner ends it.
    pub(crate) fn keep(mut self) -> Result<Kept> {
        self.finish_stage()?;
        self.shared.collect(self.plan)?;
        let lost = || Error::system("keep the init", Errno::ECHILD);
        let Some(Init { pid, pidfd: Some(pidfd) }) = self.init.take() else { return Err(lost()) };
        Ok(Kept { pid, pidfd, console: self.console.take() })
    }

    /// Lets the init go on, with descriptors.
    pub(crate) fn release(&mut self, fds: &[RawFd]) -> Result<()> {
        match socket::send(self.socket.as_fd(), &[GO], fds) {
            Ok(()) => Ok(()),
            // The init has ended: what it said last tells why.
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.last_words()),
            Err(errno) => Err(Error::system("send to the init", errno)),
        }
    }

    /// Waits until the init is at `point`.
    pub(crate) fn expect(&mut self, point: Point) -> Result<()> {
        let ops = self.plan.child.ops();
        self.expect_step(|step| {
            ops.get(step).is_some_and(
                |op| matches!(op, Op::Wait(WaitOp::Sync { point: reached }) if *reached == point),
            )
        })?;
        self.reap_first()
    }

    /// Waits for all that the init has to report before it runs its program: what would fail here fails while
    /// it still waits.
    pub(crate) fn expect_reports(&mut self) -> Result<()> {
        let last = |op: &Op| !matches!(brought_by(op), Brought::Nothing);
        if std::mem::replace(&mut self.reported, true) {
            return Ok(());
        }
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

    /// Waits for the end of the init's lane: the socket closes when the program is executed. A seccomp
    /// listener goes to `receiver` before that.
    pub(crate) fn expect_executed(&mut self, receiver: Option<&Receiver<'_>>) -> Result<()> {
        let mut handed_over = receiver.is_none();
        while let Some(report) = self.next()? {
            match (self.plan.child.ops().get(report.step as usize), receiver) {
                (None, _) => return Err(protocol_error()),
                (Some(Op::Wait(WaitOp::AnnounceListener)), Some(receiver)) => {
                    handed_over |= receiver.hand_over(&self.as_listener_init()?, report.detail)?;
                }
                (Some(_), _) => {}
            }
        }
        if handed_over { Ok(()) } else { Err(listener::lost()) }
    }

    /// Waits until the init has loaded its filter, and gives the listener to `receiver`: then the init waits for `start`.
    pub(crate) fn expect_handed_over(&mut self, receiver: &Receiver<'_>) -> Result<()> {
        while let Some(report) = self.next()? {
            if let Some(Op::Wait(WaitOp::AnnounceListener)) = self.plan.child.ops().get(report.step as usize)
                && receiver.hand_over(&self.as_listener_init()?, report.detail)?
            {
                return Ok(());
            }
        }
        Err(self.ended())
    }

    fn as_listener_init(&self) -> Result<listener::Init<'_>> {
        let init = self.init.as_ref().ok_or_else(protocol_error)?;
        let pidfd = init.pidfd.as_ref().ok_or_else(protocol_error)?.as_fd();
        let deadline = deadline::after(STEP_LIMIT);
        Ok(listener::Init { pid: init.pid, pidfd, socket: self.socket.as_fd(), deadline })
    }

    /// Waits until stage 0 has done all: what fails there is an error here.
    pub(crate) fn finish_stage(&mut self) -> Result<()> {
        while self.stage.is_some() {
            self.hear_stage(Some(deadline::after(STEP_LIMIT)))?;
        }
        Ok(())
    }

    /// Takes what stage 0 says next; a failure of it is an error.
    fn hear_stage(&mut self, deadline: Option<Instant>) -> Result<()> {
        let Some(stage) = &self.stage else { return Err(self.without_init()) };
        match stage.hear(deadline)? {
            Said::End => {
                let error = self.init.is_none().then(|| stage.ended());
                self.find_init();
                // It has closed its socket, so it is at its end.
                self.stage = None;
                error.map_or(Ok(()), Err)
            }
            Said::Report(report, _) if report.errno != 0 => Err(self.failed(report, None)),
            Said::Report(report, pidfd) if !self.known => {
                let pid = i32::try_from(report.detail).map_err(|_| protocol_error())?;
                let pidfd = match pidfd {
                    Some(pidfd) => pidfd,
                    // It was cloned by clone(2). It is a child of this process, not waited for, so nobody else has its pid.
                    None => process::pidfd_open(pid)
                        .map_err(|errno| Error::system("pidfd_open of the container's init", errno))?,
                };
                self.init = Some(Init { pid, pidfd: Some(pidfd) });
                self.known = true;
                self.shared.mark(|| "know the init".to_owned());
                Ok(())
            }
            Said::Report(..) => Err(protocol_error()),
        }
    }

    /// The error to tell when a step of the caller's own has failed: that of stage 0 or of the init, if one of them failed
    /// before.
    pub(super) fn first_reason(&mut self, error: Error) -> Error {
        if let Err(first) = self.init() {
            return first;
        }
        match await_readable(&[self.socket.as_fd()], Some(Instant::now())) {
            Ok(_) => self.next().err().unwrap_or(error),
            Err(_) => error,
        }
    }

    /// The error for an init that is not there and will not be.
    fn without_init(&self) -> Error {
        Error::new(ErrorKind::System, "start the container's init").reason("its first stage has ended")
    }

    /// A report of a failure in words.
    fn failed(&self, report: Report, output: Option<OwnedFd>) -> Error {
        let step = StepText::of(self.plan, report.step as usize);
        let error = describe(report, step.as_ref(), output);
        match frame_of(self.plan, report.step as usize) {
            Some(frame) => error.frame(frame),
            None => error,
        }
    }

    /// The next report of the init; a failure of it or of stage 0 is an error, the end of the stream is `None`.
    fn next(&mut self) -> Result<Option<Report>> {
        let deadline = hook_time(self.plan).map(|extra| deadline::after(STEP_LIMIT.saturating_add(extra)));
        self.await_init(deadline)?;
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
        self.reports = self.reports.saturating_add(1);
        if received.len != REPORT_BYTES || self.reports > self.plan.child.ops().len().saturating_add(1) {
            return Err(protocol_error());
        }
        let report = Report::from_bytes(&bytes);
        let mut fds = received.fds;
        if report.errno != 0 {
            return Err(self.failed(report, fds.pop()));
        }
        if let Some(op) = self.plan.child.ops().get(report.step as usize) {
            match brought_by(op) {
                Brought::Terminal => self.console = Some(master(fds.pop())?),
                Brought::Fork => self.follow_fork(received.pid)?,
                Brought::Nothing => {}
            }
        }
        Ok(Some(report))
    }

    /// Waits until the init says something or has ended, and takes what stage 0 says meanwhile.
    fn await_init(&mut self, deadline: Option<Instant>) -> Result<()> {
        while let Some(stage) = &self.stage {
            let ready = await_readable(&[stage.socket(), self.socket.as_fd()], deadline)?;
            match ready.as_slice() {
                [true, ..] => self.hear_stage(deadline)?,
                // What the init says is understood when it is known.
                _ if self.init.is_none() => self.hear_stage(deadline)?,
                _ => return Ok(()),
            }
        }
        await_readable(&[self.socket.as_fd()], deadline).map(drop)
    }

    /// The process that goes on is a child of the one that was cloned, and of ours.
    ///
    /// A process of the container that may trace the init can say anything over its socket: a second
    /// fork would have us wait for the end of the one that lives.
    fn follow_fork(&mut self, pid: Option<i32>) -> Result<()> {
        let pid = pid.filter(|pid| *pid > 0 && !self.forked).ok_or_else(protocol_error)?;
        let Some(init) = &mut self.init else { return Err(protocol_error()) };
        self.forked = true;
        let pidfd = process::pidfd_open(pid).map_err(|errno| Error::system("pidfd_open", errno))?;
        self.first = init.pidfd.replace(pidfd);
        init.pid = pid;
        Ok(())
    }

    /// Reaps the process that forked, if one has. It exits at once, unless the container freezes the cgroup
    /// that it is in; nobody waits for that meanwhile.
    fn reap_first(&mut self) -> Result<()> {
        // It stays in its field until it has ended: a wait that fails or is cancelled leaves it to the drop.
        let Some(first) = &self.first else { return Ok(()) };
        await_readable(&[first.as_fd()], Some(deadline::after(STEP_LIMIT)))?;
        process::reap(first);
        self.first = None;
        Ok(())
    }

    /// What the init said before it ended, or how it ended.
    fn last_words(&mut self) -> Error {
        loop {
            match self.next() {
                Ok(Some(_)) => {}
                Ok(None) => return self.ended(),
                Err(error) => return error,
            }
        }
    }

    /// The init ended without a word. If stage 0 has failed, that is why.
    fn ended(&mut self) -> Error {
        if let Err(error) = self.finish_stage() {
            return error;
        }
        let pidfd = self.init.as_ref().and_then(|init| init.pidfd.as_ref());
        let status = pidfd.map(|pidfd| {
            // One that has only closed its socket is ended by the drop.
            await_readable(&[pidfd.as_fd()], Some(deadline::after(END_LIMIT))).ok();
            process::ended(pidfd.as_fd(), false)
        });
        if let (Some(Ok(Some(_))), Some(init)) = (&status, &mut self.init) {
            init.pidfd = None;
        }
        let error = Error::new(ErrorKind::System, "start the container's init");
        let error = error.frame(init_frame(self.plan, None));
        match status {
            Some(Ok(Some(Ended::Exited(status)))) => error.reason(format!("it exited with status {status}")),
            Some(Ok(Some(Ended::Killed(signal)))) => {
                let error = error.reason(format!("it was killed by signal {signal}"));
                if signal == libc::SIGKILL { error.call(Call::Kill) } else { error }
            }
            Some(Ok(Some(Ended::Unknown) | None) | Err(_)) | None => error.reason("it ended"),
        }
    }

    /// Learns of processes that were made and not told of: the maker was killed. The kernel has written their pids, and they
    /// count only if they are children of this process.
    fn find_init(&mut self) {
        let [init, _] = self.shared.pids();
        if let (false, Some(pid)) = (self.known, init)
            && let Some(pidfd) = process::own_child(pid)
        {
            self.init = Some(Init { pid, pidfd: Some(pidfd) });
            self.known = true;
        }
    }

    /// All processes of the launch but stage 0.
    fn processes(&mut self) -> Vec<OwnedFd> {
        self.find_init();
        let [_, forked] = self.shared.pids();
        let untold = forked.filter(|_| !self.forked).and_then(process::own_child);
        let init = self.init.as_mut().and_then(|init| init.pidfd.take());
        self.first.take().into_iter().chain(init).chain(untold).collect()
    }

    /// Ends stage 0, so that it makes nothing more, and takes what it has said.
    fn end_stage(&mut self) {
        let Some(stage) = &self.stage else { return };
        stage.kill();
        // The failure that led here is the one to tell. All that stage 0 has said is here: its end is not waited for, since an
        // init that is frozen at its first instruction holds the socket open, too.
        while self.stage.is_some() && self.hear_stage(Some(Instant::now())).is_ok() {}
        self.stage = None;
    }
}

/// The time that the hooks of the init's lane may take; `None` when one of them has no limit.
fn hook_time(plan: &LaunchPlan) -> Option<Duration> {
    plan.child.ops().iter().try_fold(Duration::ZERO, |sum, op| match op {
        Op::Program(ProgramOp::Hook { timeout: 0, .. }) => None,
        Op::Program(ProgramOp::Hook { timeout, .. }) => {
            Some(sum.saturating_add(Duration::from_millis(u64::from(*timeout))))
        }
        _ => Some(sum),
    })
}

/// What comes with the report of an operation.
enum Brought {
    /// The report is all.
    Nothing,
    /// The descriptor of a terminal's master.
    Terminal,
    /// The init goes on in the process that has sent the report.
    Fork,
}

fn brought_by(op: &Op) -> Brought {
    match op {
        Op::File(FileOp::Console { .. }) => Brought::Terminal,
        Op::File(
            FileOp::MakeDirectory { .. }
            | FileOp::MakeDevice { .. }
            | FileOp::MakeSymlink { .. }
            | FileOp::MakeWorkingDirectory { .. }
            | FileOp::TakeTerminal
            | FileOp::StdioOwner { .. }
            | FileOp::OwnStreams,
        ) => Brought::Nothing,
        Op::Namespace(NamespaceOp::ForkIntoPidNamespace) => Brought::Fork,
        Op::Namespace(
            NamespaceOp::OpenProc
            | NamespaceOp::JoinNamespaces { .. }
            | NamespaceOp::BecomeRoot
            | NamespaceOp::Unshare { .. }
            | NamespaceOp::TimeNamespace { .. }
            | NamespaceOp::JoinCgroups
            | NamespaceOp::LoopbackUp
            | NamespaceOp::HostName { .. }
            | NamespaceOp::DomainName { .. }
            | NamespaceOp::Sysctl { .. },
        ) => Brought::Nothing,
        Op::Stage(_) | Op::Wait(_) | Op::Mount(_) | Op::Process(_) | Op::Program(_) => Brought::Nothing,
    }
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
        deadline::suspended(|| self.end_all());
    }
}

impl Child<'_> {
    /// Kills and reaps all processes of the launch that have not been taken out.
    fn end_all(&mut self) {
        self.end_stage();
        let ends = self.processes();
        // An end that has already come is as good.
        for pidfd in &ends {
            process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).ok();
        }
        // A frozen v1 cgroup holds a killed process back; who removes that cgroup thaws it.
        for pidfd in ends {
            let limit = Some(deadline::after(END_LIMIT));
            if await_readable(&[pidfd.as_fd()], limit).is_ok() {
                process::reap(&pidfd);
            }
        }
    }
}
