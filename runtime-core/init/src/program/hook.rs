//! Hooks of the child lane: createContainer and startContainer.

use crate::abi::{CLD_EXITED, SIGCHLD, SIGKILL, errno};
use crate::ops::{Slice, Slot, Str};
use crate::program::exec::{Pointers, mark_from};
use crate::program::{At, Failure, Init, Step, sync};
use crate::report::{Detail, Report};
use crate::sys::file::{fchdir, memfd_create, rewind};
use crate::sys::process::{Cloned, clone, execve, umask};
use crate::sys::signal::{Ended, kill, readable_within, wait_pid};
use crate::sys::{Fd, dup_onto, pidfd_open};

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
    let output = memfd_create(c"hook-output").at(Detail::Memory)?;
    let result = run_with(init, hook, timeout, output.fd());
    if let Err(failure) = result {
        // Sent here because only this message carries the output; main's own report then finds the
        // parent satisfied.
        let report = Report { step: init.step, errno: failure.errno, detail: failure.detail };
        sync::send(init.fd(Slot::SYNC), report, Some(output.fd())).ok();
    }
    result
}

fn run_with(init: &Init, hook: &Hook, timeout: u32, output: Fd<'_>) -> Step {
    let state = init.fd(Slot::STATE);
    rewind(state).at(Detail::Read)?;
    match clone(u64::from(SIGCHLD), None).at(Detail::Fork)? {
        Cloned::Parent { pid, pidfd: _ } => wait(pid, timeout),
        Cloned::Child => {
            let printed = |slot: Slot| if init.has(slot) { init.fd(slot) } else { output };
            let streams = [state, printed(Slot::HOOK_STDOUT), printed(Slot::HOOK_STDERR)];
            let errno = become_hook(init, hook, streams).map_or_else(|errno| errno, |()| 0);
            // The parent of the hook sees the errno as the status above 128: nothing else is left.
            crate::program::exit(if errno == errno::ENOENT { 127 } else { 126 });
        }
    }
}

/// In the hook's process: streams and directory, then execve. Before the root changes that is the root file
/// system, as with runc, and then the program's: the directory of the caller is no business of the container's.
fn become_hook(init: &Init, hook: &Hook, streams: [Fd<'_>; 3]) -> Result<(), i32> {
    for (stream, fd) in (0..).zip(streams) {
        dup_onto(fd, stream, 0)?;
    }
    if init.has(Slot::ROOT) {
        fchdir(init.fd(Slot::ROOT))?;
    }
    mark_from(3, init.plan.base)?;
    umask(init.umask)?;
    let argv = Pointers::of(init, hook.args, 0).map_err(|failure| failure.errno)?;
    let envp = Pointers::environment(init, hook.env, hook.home_uid).map_err(|failure| failure.errno)?;
    // SAFETY: pointers to texts with a NUL, of the plan or behind the pointers, and a null after them.
    unsafe { execve(init.plan.text(hook.path), argv.start(), envp.start()) }
}

/// Waits for the hook's end, `timeout` milliseconds at most unless that is 0.
fn wait(pid: u32, timeout: u32) -> Step {
    let mut late = false;
    if timeout > 0 {
        let pidfd = pidfd_open(pid).at(Detail::Wait)?;
        late = !readable_within(pidfd.fd(), timeout).at(Detail::Wait)?;
        if late {
            kill(pid, SIGKILL).at(Detail::Wait)?;
        }
    }
    let ended = loop {
        match wait_pid(pid) {
            Err(errno::EINTR) => {}
            other => break other.at(Detail::Wait)?,
        }
    };
    match (late, ended) {
        (true, _) => Err(Failure::new(errno::ETIMEDOUT, Detail::HookTimeout)),
        (false, Ended { code: CLD_EXITED, status: 0 }) => Ok(()),
        // The status travels in the upper half of the detail.
        (false, Ended { code, status }) => {
            let signalled = if code == CLD_EXITED { 0 } else { 0x100 };
            Err(Failure {
                errno: errno::EPERM,
                detail: Detail::HookStatus as u32 | ((status as u32 & 0xff) | signalled) << 16,
            })
        }
    }
}
