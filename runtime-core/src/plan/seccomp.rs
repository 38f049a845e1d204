//! The system call filter.

use super::lanes::Lanes;
use crate::error::{Error, ErrorKind, Result};
use crate::executor::Handler;
use crate::seccomp::{Architecture, Call, FLAG_TSYNC, Filter};
use crate::spec::ValidSpec;
use runtime_init::ops::{Op, ProcessOp, WaitOp};

const ORIGIN: &str = "linux.seccomp";
const LISTENER: &str = "linux.seccomp.listenerPath";

/// The filter of a container, compiled.
pub(super) fn filter(lanes: &mut Lanes, spec: &ValidSpec) -> Result<Option<Filter>> {
    if let Some(bare) = &spec.bare {
        return Ok(bare.filter.clone());
    }
    let Some(profile) = &spec.seccomp else { return Ok(None) };
    let filter = Filter::from_profile(profile).map_err(|error| error.origin(ORIGIN))?;
    lanes.notes.extend(filter.warnings().iter().map(|warning| format!("{ORIGIN}: {warning}")));
    // runc's words; TSYNC says nothing where there is one thread.
    lanes.notes.push(format!("seccomp filter flags: {}", filter.flags() & !FLAG_TSYNC));
    Ok(Some(filter))
}

/// Loads the filter. With a listener, the parent takes that from the init's descriptor table and hands it
/// to the agent before the program runs; see [`crate::seccomp::handover`].
pub(super) fn load(lanes: &mut Lanes, filter: &Filter) -> Result<()> {
    if !filter.needs_listener() {
        let program = lanes.child.instructions(&filter.to_bytes());
        lanes.push_from(Op::Process(ProcessOp::Seccomp { flags: filter.flags(), program }), ORIGIN);
        return Ok(());
    }
    let filter = filter.with_handover().map_err(|error| error.origin(ORIGIN))?;
    let program = lanes.child.instructions(&filter.to_bytes());
    lanes.push_from(Op::Wait(WaitOp::AnnounceListener), LISTENER);
    lanes.push_from(Op::Process(ProcessOp::Seccomp { flags: filter.flags(), program }), ORIGIN);
    lanes.push_from(Op::Wait(WaitOp::AwaitHandover), LISTENER);
    Ok(())
}

/// Whether the filter lets through, unconditionally, all that a process does between the load of the filter and
/// execve(2) if it forks into a PID namespace in between. Then it can be loaded by the process outside, which loses
/// the privilege for that before the other one is seen.
pub(super) fn allows_fork(filter: &Filter, gate: bool, handler: bool) -> bool {
    let allows = |call| {
        action(filter, call)
            .is_some_and(|action| [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG].contains(&action))
    };
    !filter.needs_listener() && calls_around_fork(gate, handler).into_iter().all(allows)
}

/// What the filter does with a call of this machine.
fn action(filter: &Filter, (number, arguments): (libc::c_long, [u64; 6])) -> Option<u32> {
    let call = Call { number: number as u32, arch: Architecture::native()?.audit_token(), arguments };
    Some(filter.verdict(&call) & libc::SECCOMP_RET_ACTION_FULL)
}

/// No flag, pointer or number that a profile would name.
const ANY: u64 = 0x5a5a_5a5a_5a5a_5a50;

/// The call by which a handler is executed: a descriptor, an empty path, arguments, environment and a flag.
const EXECUTE_HANDLER: (libc::c_long, [u64; 6]) =
    (libc::SYS_execveat, [ANY, ANY, ANY, ANY, libc::AT_EMPTY_PATH as u64, ANY]);

/// Fails if the filter denies the call by which a handler is executed, or leaves it to a tracer, which no launch has: it would
/// fail when nobody can be told any more.
pub(super) fn check_handler(filter: &Filter, handler: &Handler) -> Result<()> {
    /// An agent may allow it.
    const PASSES: [u32; 3] = [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG, libc::SECCOMP_RET_USER_NOTIF];
    let reason = match action(filter, EXECUTE_HANDLER) {
        Some(action) if PASSES.contains(&action) => return Ok(()),
        // ENOSYS without one.
        Some(libc::SECCOMP_RET_TRACE) => "the filter leaves execveat(2) to a tracer (SCMP_ACT_TRACE)",
        _ => "the filter denies execveat(2)",
    };
    Err(Error::new(ErrorKind::Unsupported, format!("execute handler {:?}", handler.name()))
        .reason(reason)
        .origin(ORIGIN)
        .with_hint("allow execveat where execve is allowed: a handler has no path that execve could take"))
}

/// Those calls with the arguments that are known; a condition on another one is met by chance only, so such an argument has a
/// value that no condition allows on purpose.
///
/// With a gate, those of the wait for `start` are among them.
fn calls_around_fork(gate: bool, handler: bool) -> Vec<(libc::c_long, [u64; 6])> {
    let flags = (libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::SIGCHLD) as u64;
    let any = [ANY; 6];
    let (get, set) = (libc::SYS_capget, libc::SYS_capset);
    let terminal = [0, libc::TIOCSCTTY, 0, ANY, ANY, ANY];
    let mut calls: Vec<_> = [get, set, libc::SYS_exit_group, libc::SYS_sendmsg, libc::SYS_recvmsg]
        .into_iter()
        .chain([
            libc::SYS_madvise,
            libc::SYS_setsid,
            libc::SYS_sched_yield,
            libc::SYS_clock_gettime,
            libc::SYS_execve,
        ])
        .map(|number| (number, any))
        .collect();
    if gate {
        let wait = [libc::SYS_rt_sigaction, libc::SYS_accept4, libc::SYS_close];
        calls.extend(wait.map(|number| (number, any)));
    }
    if handler {
        calls.push(EXECUTE_HANDLER);
    }
    calls.extend([(libc::SYS_clone, [flags, 0, ANY, 0, 0, ANY]), (libc::SYS_ioctl, terminal)]);
    calls
}
