//! Signals, and the end of processes.

use super::{Fd, Result, call};
use crate::abi::{self, nr};

/// The size of the kernel's signal set.
const SET_BYTES: usize = 8;

/// `struct sigaction` of the kernel.
#[repr(C)]
#[derive(Debug)]
struct Action {
    handler: usize,
    flags: usize,
    #[cfg(target_arch = "x86_64")]
    restorer: usize,
    mask: u64,
}

fn set_action(signal: u32, action: &Action) -> Result {
    // SAFETY: the kernel reads the structure during the call; no old one is asked for. The handler is none or a function
    // that lives as long as the program.
    unsafe { call!(nr::RT_SIGACTION, signal, &raw const *action, 0, SET_BYTES) }.map(drop)
}

/// rt_sigaction(2): the default disposition.
fn set_default(signal: u32) -> Result {
    let action = Action {
        handler: 0,
        flags: 0,
        #[cfg(target_arch = "x86_64")]
        restorer: 0,
        mask: 0,
    };
    set_action(signal, &action)
}

/// rt_sigaction(2) for every signal that has a disposition: the default one.
pub fn set_all_default() -> Result {
    for signal in (1..=abi::SIGNALS).filter(|signal| !matches!(*signal, abi::SIGKILL | abi::SIGSTOP)) {
        set_default(signal)?;
    }
    Ok(())
}

/// rt_sigaction(2): a handler that does not come back.
pub fn set_last_handler(signal: u32, handler: extern "C" fn(i32) -> !) -> Result {
    /// There is no way back from the handler, but x86 wants to know it.
    const SA_RESTORER: usize = if cfg!(target_arch = "x86_64") { 0x0400_0000 } else { 0 };
    let handler = handler as usize;
    let action = Action {
        handler,
        flags: SA_RESTORER,
        #[cfg(target_arch = "x86_64")]
        restorer: handler,
        mask: 0,
    };
    set_action(signal, &action)
}

/// rt_sigprocmask(2): no signal is blocked.
pub fn unblock_all() -> Result {
    let none = 0u64;
    // SAFETY: the kernel reads one set during the call; the old one is not asked for.
    unsafe { call!(nr::RT_SIGPROCMASK, abi::SIG_SETMASK, &raw const none, 0, SET_BYTES) }.map(drop)
}

/// kill(2).
pub fn kill(pid: u32, signal: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::KILL, pid, signal) }.map(drop)
}

/// pidfd_send_signal(2).
pub fn send(pidfd: Fd<'_>, signal: u32) -> Result {
    // SAFETY: the pointer to a siginfo is null, which the call allows.
    unsafe { call!(nr::PIDFD_SEND_SIGNAL, pidfd.number(), signal, 0, 0) }.map(drop)
}

/// How a process ended: `code` is CLD_*, `status` the exit status or the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// CLD_EXITED, CLD_KILLED or CLD_DUMPED.
    pub code: i32,
    /// The exit status, or the signal.
    pub status: i32,
}

/// waitid(2) for the end of a child by its pid.
pub fn wait_pid(pid: u32) -> Result<Ended> {
    wait(abi::P_PID, pid as usize, abi::WEXITED)
}

/// waitid(2) for the end of a child by its pidfd, whatever signal it ends with.
pub fn wait_pidfd(pidfd: Fd<'_>) -> Result<Ended> {
    wait(abi::P_PIDFD, pidfd.number() as usize, abi::WEXITED | abi::WALL)
}

fn wait(kind: u32, id: usize, options: u32) -> Result<Ended> {
    // `siginfo_t` has 128 bytes: code is the third word, status the seventh.
    let mut info = [0i32; 32];
    // SAFETY: the kernel writes 128 bytes; the pointer to resources is null, which the call allows.
    unsafe { call!(nr::WAITID, kind, id, info.as_mut_ptr(), options, 0) }?;
    Ok(Ended { code: info[2], status: info[6] })
}

/// ppoll(2) of one descriptor: whether it can be read within `milliseconds`.
pub fn readable_within(fd: Fd<'_>, milliseconds: u32) -> Result<bool> {
    /// `struct pollfd`.
    #[repr(C)]
    struct PollFd {
        fd: i32,
        events: u16,
        revents: u16,
    }
    let mut poll = PollFd { fd: fd.number(), events: abi::POLLIN, revents: 0 };
    let limit = [i64::from(milliseconds / 1000), i64::from(milliseconds % 1000).saturating_mul(1_000_000)];
    // SAFETY: the kernel reads and writes one pollfd and a timespec, which are borrowed alone; there is no mask.
    unsafe { call!(nr::PPOLL, &raw mut poll, 1, limit.as_ptr(), 0, 0) }.map(|ready| ready > 0)
}

/// ppoll(2) of nothing: until a signal.
pub fn pause() -> Result {
    // SAFETY: there are no descriptors, no limit and no mask: all pointers are null.
    unsafe { call!(nr::PPOLL, 0, 0, 0, 0, 0) }.map(drop)
}

/// exit_group(2). It comes back where a filter denies it.
pub fn exit_group(status: u32) {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::EXIT_GROUP, status) }.ok();
}

/// exit(2) of this thread. It comes back where a filter denies it.
pub fn exit_thread(status: u32) {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::EXIT, status) }.ok();
}
