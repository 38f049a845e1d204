//! Hooks of the child lane: createContainer and startContainer.

use crate::ops::{Slice, Slot, Str};
use crate::program::exec::{Pointers, mark_from};
use crate::program::file;
use crate::program::{At, Failure, Init, Step, call, errno, sync};
use crate::report::{Detail, Report};
use crate::syscall::{common, nr};

const SIGCHLD: usize = 17;
const SIGKILL: usize = 9;
const P_PID: usize = 1;
const WEXITED: usize = 4;
const POLLIN: u16 = 1;
const CLD_EXITED: i32 = 1;

/// What a hook runs.
pub(crate) struct Hook {
    pub(crate) path: Str,
    pub(crate) args: Slice,
    pub(crate) env: Slice,
    pub(crate) home_uid: u32,
}

/// `Hook`. What it prints goes to the files that were received for it, else to a memory file, which a
/// failure carries to the parent.
pub(crate) fn run(init: &Init, hook: &Hook, timeout: u32) -> Step {
    const MFD_CLOEXEC: usize = 1;
    let output = call!(nr::MEMFD_CREATE, c"hook-output".as_ptr(), MFD_CLOEXEC).at(Detail::Memory)? as i32;
    let result = run_with(init, hook, timeout, output);
    if let Err(failure) = result {
        // Sent here because only this message carries the output; main's own report then finds the
        // parent satisfied.
        sync::send(
            init.fd(Slot::SYNC),
            Report { step: init.step, errno: failure.errno, detail: failure.detail },
            output,
        )
        .ok();
    }
    file::close(output);
    result
}

fn run_with(init: &Init, hook: &Hook, timeout: u32, output: i32) -> Step {
    const SEEK_SET: usize = 0;
    let state = init.fd(Slot::STATE);
    call!(nr::LSEEK, state, 0, SEEK_SET).at(Detail::Read)?;
    let pid = call!(nr::CLONE, SIGCHLD, 0, 0, 0, 0).at(Detail::Fork)?;
    if pid == 0 {
        let printed = |file: Slot| if init.fd(file) < 0 { output } else { init.fd(file) };
        let streams = [state, printed(Slot::HOOK_STDOUT), printed(Slot::HOOK_STDERR)];
        let errno = become_hook(init, hook, streams).map_or_else(|errno| errno, |()| 0);
        // The parent of the hook sees the errno as the status above 128: nothing else is left.
        crate::program::exit(if errno == errno::ENOENT { 127 } else { 126 });
    }
    wait(pid, timeout)
}

/// In the hook's process: streams and directory, then execve. Before the root changes that is the root file
/// system, as with runc, and then the program's: the directory of the caller is no business of the container's.
fn become_hook(init: &Init, hook: &Hook, streams: [i32; 3]) -> Result<(), i32> {
    for (stream, fd) in streams.into_iter().enumerate() {
        call!(nr::DUP3, fd, stream, 0)?;
    }
    if init.fd(Slot::ROOT) >= 0 {
        call!(nr::FCHDIR, init.fd(Slot::ROOT))?;
    }
    mark_from(3, init.plan.base)?;
    call!(nr::UMASK, init.umask)?;
    let argv = Pointers::of(init, hook.args, 0).map_err(|failure| failure.errno)?;
    let envp = Pointers::environment(init, hook.env, hook.home_uid).map_err(|failure| failure.errno)?;
    call!(nr::EXECVE, init.plan.text(hook.path).as_ptr(), argv.start(), envp.start()).map(drop)
}

/// Waits for the hook's end, `timeout` milliseconds at most unless that is 0.
fn wait(pid: usize, timeout: u32) -> Step {
    let mut late = false;
    if timeout > 0 {
        let pidfd = call!(common::PIDFD_OPEN, pid, 0).at(Detail::Wait)? as i32;
        late = !ends_within(pidfd, timeout)?;
        file::close(pidfd);
        if late {
            call!(nr::KILL, pid, SIGKILL).at(Detail::Wait)?;
        }
    }
    let mut info = [0i32; 32];
    loop {
        match call!(nr::WAITID, P_PID, pid, info.as_mut_ptr(), WEXITED, 0) {
            Err(errno::EINTR) => {}
            other => break other.at(Detail::Wait).map(drop)?,
        }
    }
    // siginfo_t: code is the third word, status the seventh.
    match (late, info[2], info[6]) {
        (true, ..) => Err(Failure { errno: errno::ETIMEDOUT, detail: Detail::HookTimeout as u32 }),
        (_, CLD_EXITED, 0) => Ok(()),
        // The status travels in the upper half of the detail.
        (_, code, status) => {
            let signalled = if code == CLD_EXITED { 0 } else { 0x100 };
            Err(Failure {
                errno: errno::EPERM,
                detail: Detail::HookStatus as u32 | ((status as u32 & 0xff) | signalled) << 16,
            })
        }
    }
}

/// Whether the process ends in time.
fn ends_within(pidfd: i32, timeout: u32) -> Step<bool> {
    /// `struct pollfd`.
    #[repr(C)]
    struct PollFd {
        fd: i32,
        events: u16,
        revents: u16,
    }
    let mut poll = PollFd { fd: pidfd, events: POLLIN, revents: 0 };
    let limit = [(timeout / 1000) as i64, (timeout % 1000) as i64 * 1_000_000];
    let ready = call!(nr::PPOLL, &raw mut poll, 1, limit.as_ptr(), 0, 0).at(Detail::Wait)?;
    Ok(ready > 0)
}
