//! A procfs of a PID namespace that this process is not in.
//!
//! A procfs shows the PID namespace that its maker is in, and a process there is seen by those of a container, which may be
//! allowed to trace it. So the maker has nothing that is worth that: its root is an empty file system, it holds one socket,
//! and its filter lets it make and send a context of a file system and end.

use core::ffi::CStr;

use crate::abi::{
    AUDIT_ARCH, CAP_SYS_ADMIN, CLONE_NEWPID, SECCOMP_DATA_ARCH, SECCOMP_DATA_NR, SECCOMP_RET_ALLOW,
    SECCOMP_RET_KILL_PROCESS, SIGCHLD, errno, nr,
};
use crate::ops::{Slot, Str};
use crate::program::{At, EXIT_FAILED, Failure, Init, Step, capability, exit, sync};
use crate::report::{Detail, REPORT_BYTES, Report};
use crate::sys::file::{chroot, fchdir};
use crate::sys::process::{self, Cloned, setns};
use crate::sys::{Fd, Owned, close_range, dup_onto, mount, signal, socket};

/// `MakeProc`: the configured context of a procfs of the PID namespace in `namespace`, in [`Slot::PROCFS`].
pub(crate) fn make(init: &mut Init, namespace: Slot, source: Str) -> Step {
    let (own, other) = socket::pair().at(Detail::Socket)?;
    match process::clone(u64::from(SIGCHLD), None).at(Detail::Fork)? {
        Cloned::Child => leave(enter(init.fd(namespace), init.plan.text(source), &other)),
        Cloned::Parent { pid, .. } => {
            drop(other);
            let received = receive(own.fd());
            signal::wait_pid(pid).at(Detail::Wait)?;
            init.set(Slot::PROCFS, received?);
            Ok(())
        }
    }
}

/// The context that the maker has sent, or its failure.
fn receive(socket: Fd<'_>) -> Step<Owned> {
    let mut room = [0; REPORT_BYTES];
    let message = loop {
        match socket::receive::<1>(socket, &mut room, 0) {
            Err(errno::EINTR) => {}
            other => break other.at(Detail::Receive)?,
        }
    };
    let [context] = message.fds;
    match (message.len, Report::from_bytes(&room)) {
        (REPORT_BYTES, Report { errno: 0, .. }) => {
            context.ok_or(Failure::new(errno::EPROTO, Detail::Receive))
        }
        (REPORT_BYTES, report) => Err(Failure { errno: report.errno, detail: report.detail }),
        // The maker was killed, such as with its PID namespace.
        _ => Err(Failure::new(errno::ESRCH, Detail::Fork)),
    }
}

/// Prepares the maker, outside of the namespace, and forks it into that. Both processes end in here or come back to end.
fn enter(namespace: Fd<'_>, source: &CStr, socket: &Owned) -> Step {
    /// The only descriptor of the maker.
    const SOCKET: i32 = 0;
    let prepared = confine(namespace, socket, SOCKET);
    // SAFETY: the number is that of the socket's duplicate, which `confine` has made, and of nothing if it failed before: then
    // the report does not arrive, and the end of the socket tells.
    let socket = unsafe { Owned::from_number(SOCKET) };
    let made = prepared.and_then(|()| match process::clone(u64::from(SIGCHLD), None).at(Detail::Fork)? {
        Cloned::Child => leave(report(socket.fd(), context(source))),
        Cloned::Parent { pid, .. } => signal::wait_pid(pid).at(Detail::Wait).map(drop),
    });
    let told = match made {
        Ok(()) => Ok(()),
        Err(failure) => report(socket.fd(), Err(failure)),
    };
    // The filter has no close(2).
    socket.into_number();
    told
}

fn leave(done: Step) -> ! {
    exit(if done.is_ok() { 0 } else { EXIT_FAILED })
}

/// Takes away all that the maker does not need; `number` is what its socket gets.
fn confine(namespace: Fd<'_>, socket: &Owned, number: i32) -> Step {
    setns(namespace, CLONE_NEWPID).at(Detail::Setns)?;
    dup_onto(socket.fd(), number, 0).at(Detail::Dup)?;
    enter_empty_root()?;
    close_range((number as u32).saturating_add(1), u32::MAX, 0).at(Detail::CloseRange)?;
    capability::set(CAP_SYS_ADMIN, CAP_SYS_ADMIN, 0)?;
    process::no_new_privileges().at(Detail::Prctl)?;
    process::set_filter(0, &filter()).at(Detail::Seccomp).map(drop)
}

/// Leaves the host's root for a file system that is mounted nowhere, and has nothing in it.
fn enter_empty_root() -> Step {
    let context = mount::fsopen(c"tmpfs").at(Detail::Fsopen)?;
    mount::fsconfig_create(context.fd()).at(Detail::FsconfigCreate)?;
    let empty = mount::fsmount(context.fd(), 0).at(Detail::Fsmount)?;
    fchdir(empty.fd()).at(Detail::Fchdir)?;
    chroot(c".").at(Detail::Chroot)
}

/// In the namespace.
fn context(source: &CStr) -> Step<Owned> {
    let context = mount::fsopen(c"proc").at(Detail::Fsopen)?;
    mount::fsconfig_string(context.fd(), c"source", source).at(Detail::Fsconfig)?;
    mount::fsconfig_create(context.fd()).at(Detail::FsconfigCreate)?;
    Ok(context)
}

fn report(socket: Fd<'_>, made: Step<Owned>) -> Step {
    match made {
        Ok(context) => {
            let sent = sync::send(socket, Report { step: 0, errno: 0, detail: 0 }, Some(context.fd()));
            // The filter has no close(2).
            context.into_number();
            sent
        }
        Err(Failure { errno, detail }) => sync::send(socket, Report { step: 0, errno, detail }, None),
    }
}

/// What the maker may call.
const ALLOWED: [usize; 7] =
    [nr::CLONE, nr::FSOPEN, nr::FSCONFIG, nr::SENDMSG, nr::WAITID, nr::EXIT_GROUP, nr::EXIT];
const INSTRUCTIONS: usize = ALLOWED.len() + 6;

/// A filter of seccomp(2): [`ALLOWED`] of this architecture, and the end of the process for all else.
fn filter() -> [u8; INSTRUCTIONS * 8] {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let mut bytes = [0; INSTRUCTIONS * 8];
    let mut rest = bytes.chunks_exact_mut(8);
    // `struct sock_filter`.
    let mut push = |code: u16, jump: [u8; 2], k: u32| {
        if let Some(place) = rest.next() {
            let ([c0, c1], [yes, no], [k0, k1, k2, k3]) = (code.to_ne_bytes(), jump, k.to_ne_bytes());
            place.copy_from_slice(&[c0, c1, yes, no, k0, k1, k2, k3]);
        }
    };
    push(LOAD, [0, 0], SECCOMP_DATA_ARCH);
    push(JUMP_IF_EQUAL, [1, 0], AUDIT_ARCH);
    push(RETURN, [0, 0], SECCOMP_RET_KILL_PROCESS);
    push(LOAD, [0, 0], SECCOMP_DATA_NR);
    for (over, number) in (1..=ALLOWED.len() as u8).rev().zip(ALLOWED) {
        // Over the rest of the comparisons and the refusal.
        push(JUMP_IF_EQUAL, [over, 0], number as u32);
    }
    push(RETURN, [0, 0], SECCOMP_RET_KILL_PROCESS);
    push(RETURN, [0, 0], SECCOMP_RET_ALLOW);
    bytes
}
