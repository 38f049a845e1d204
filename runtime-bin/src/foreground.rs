//! Waiting for a process in the foreground: signals, the terminal and the end.
//!
//! All signals are blocked and read from a signalfd, so that none is lost between the creation
//! and the wait and none leaves the caller's terminal raw. The end of the process is seen on its
//! pidfd: it stays readable, so an early end cannot be missed (a foreground run that waits for
//! SIGCHLD can hang for ever, runc issue 5208).

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};

use runtime_core::Signal;

use crate::error::{Error, Result};
use crate::log::Log;
use crate::terminal::Relay;

/// How long a container's terminal that has hung up is left alone, in milliseconds.
const HANGUP_PAUSE: u16 = 100;

/// The process to wait for.
pub(crate) trait Target {
    /// Its pidfd.
    fn pidfd(&self) -> BorrowedFd<'_>;
    /// Its process id in the caller's namespace, to tell it from orphans.
    fn pid(&self) -> i32;
    /// Sends it a signal.
    fn signal(&self, signal: Signal) -> Result<()>;
}

/// The signals of the program, blocked from the moment of its making.
pub(crate) struct Foreground {
    signals: SignalFd,
}

impl Foreground {
    /// Blocks all signals of this process and collects them. With `adopt` the process becomes
    /// the parent of the container's orphans and reaps them.
    pub(crate) fn begin(adopt: bool) -> Result<Self> {
        let all = SigSet::all();
        all.thread_set_mask().map_err(|errno| Error::system("block signals", errno))?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&all, flags).map_err(|errno| Error::system("signalfd", errno))?;
        if adopt {
            nix::sys::prctl::set_child_subreaper(true)
                .map_err(|errno| Error::system("prctl(PR_SET_CHILD_SUBREAPER)", errno))?;
        }
        Ok(Self { signals })
    }

    /// Passes signals and the terminal's bytes on until the process has ended; its status is
    /// left for the caller.
    pub(crate) fn wait(&self, target: &dyn Target, mut relay: Option<Relay>, log: &Log) -> Result<()> {
        loop {
            let ready = self.poll(target, relay.as_ref())?;
            if ready.signals {
                self.pass_signals(target, relay.as_ref(), log, ready.ended)?;
            }
            if let Some(relay) = &mut relay {
                if relay.hung_up() {
                    relay.retry();
                }
                relay.step(ready.stdin, ready.stdout, ready.master);
            }
            if ready.ended {
                if let Some(relay) = &mut relay {
                    relay.drain();
                }
                return Ok(());
            }
        }
    }

    fn poll(&self, target: &dyn Target, relay: Option<&Relay>) -> Result<Ready> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let interest = relay.map(Relay::interest);
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(target.pidfd(), PollFlags::POLLIN),
        ];
        let mut slots = Slots::default();
        if let (Some(relay), Some(interest)) = (relay, &interest) {
            let mut add = |wanted: bool, fd, flags| {
                let slot = fds.len();
                fds.extend(wanted.then(|| PollFd::new(fd, flags)));
                wanted.then_some(slot)
            };
            slots.stdin = add(interest.stdin, stdin.as_fd(), PollFlags::POLLIN);
            slots.stdout = add(interest.stdout, stdout.as_fd(), PollFlags::POLLOUT);
            slots.master = add(!interest.master.is_empty(), relay.master(), interest.master);
        }
        let paused = relay.is_some_and(Relay::hung_up);
        let timeout = if paused { PollTimeout::from(HANGUP_PAUSE) } else { PollTimeout::NONE };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::system("poll", errno)),
        }
        let events = |slot: Option<usize>| {
            slot.and_then(|slot| fds.get(slot)?.revents()).unwrap_or(PollFlags::empty())
        };
        Ok(Ready {
            signals: !events(Some(0)).is_empty(),
            ended: !events(Some(1)).is_empty(),
            stdin: !events(slots.stdin).is_empty(),
            stdout: !events(slots.stdout).is_empty(),
            master: events(slots.master),
        })
    }

    fn pass_signals(&self, target: &dyn Target, relay: Option<&Relay>, log: &Log, ended: bool) -> Result<()> {
        loop {
            let info = match self.signals.read_signal() {
                Ok(Some(info)) => info,
                Ok(None) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::system("read signalfd", errno)),
            };
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            match number {
                // At the end of the process this program's own is near, and the orphans get another parent.
                libc::SIGCHLD if ended => {}
                libc::SIGCHLD => reap_orphans(target.pid()),
                libc::SIGWINCH if relay.is_some() => {
                    if let Some(relay) = relay {
                        relay.resize();
                    }
                }
                // Made by a write of our own to a reader that has gone.
                libc::SIGPIPE => {}
                number => {
                    let signal = Signal::new(number).unwrap_or(Signal::NONE);
                    log.debug(|| format!("passing {signal} on to process {}", target.pid()));
                    // The process may have ended at this moment; the pidfd says so next.
                    if let Err(error) = target.signal(signal) {
                        log.debug(|| error.to_string());
                    }
                }
            }
        }
    }
}

#[derive(Default)]
struct Slots {
    stdin: Option<usize>,
    stdout: Option<usize>,
    master: Option<usize>,
}

struct Ready {
    signals: bool,
    ended: bool,
    stdin: bool,
    stdout: bool,
    master: PollFlags,
}

/// Reaps the children that have ended, but not the container's process, whose status is wanted
/// later. On a kernel without the list of children the orphans wait for the end of the program.
fn reap_orphans(process: i32) {
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for pid in children.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid).filter(|_| pid != process) {
            // A child that still runs gives None, one that is gone ECHILD: both are fine.
            if rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG).is_err() {}
        }
    }
}
