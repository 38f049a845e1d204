//! The socket to the parent.

use core::ffi::c_void;

use crate::child::ops::Slot;
use crate::child::report::{Detail, GO, REPORT_BYTES, Report};
use crate::child::syscall::nr;
use crate::file;
use crate::{At, Failure, Init, Step, call, errno};

const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
const MSG_DONTWAIT: usize = 0x40;

/// How often a message is looked for before the wait for it. Most of the parent's answers take it a few
/// microseconds, on another CPU; to sleep and be woken takes longer than that.
pub const LOOKS: u32 = 24;

/// `struct iovec`.
#[repr(C)]
struct IoVec {
    base: *mut c_void,
    len: usize,
}

/// `struct msghdr`.
#[repr(C)]
struct Message {
    name: *mut c_void,
    name_len: u32,
    vectors: *mut IoVec,
    vector_count: usize,
    control: *mut c_void,
    control_len: usize,
    flags: i32,
}

/// How many descriptors one message of the parent carries at most.
const DESCRIPTORS: usize = 4;

/// A control message with descriptors: `struct cmsghdr` and its data.
#[repr(C)]
struct Rights {
    len: usize,
    level: i32,
    kind: i32,
    fds: [i32; DESCRIPTORS],
}

/// Length of a control message with `count` descriptors.
const fn rights_len(count: usize) -> usize {
    16 + 4 * count
}

/// Sends a report, with a descriptor unless that is -1. A report that did not go out must not be
/// waited for: the parent waits as well.
pub fn send(socket: i32, report: Report, fd: i32) -> Step {
    let mut bytes = report.to_bytes();
    let mut vector = IoVec { base: bytes.as_mut_ptr().cast(), len: REPORT_BYTES };
    let mut rights = Rights { len: rights_len(1), level: SOL_SOCKET, kind: SCM_RIGHTS, fds: [fd; DESCRIPTORS] };
    let with_rights = fd >= 0;
    let message = Message {
        name: core::ptr::null_mut(),
        name_len: 0,
        vectors: &raw mut vector,
        vector_count: 1,
        control: if with_rights { (&raw mut rights).cast() } else { core::ptr::null_mut() },
        control_len: if with_rights { size_of::<Rights>() - 4 * (DESCRIPTORS - 2) } else { 0 },
        flags: 0,
    };
    call!(nr::SENDMSG, socket, &raw const message, MSG_NOSIGNAL).at(Detail::Send).map(drop)
}

/// Receives one byte and up to [`DESCRIPTORS`] descriptors; `None` at the end of the stream.
fn receive_message(socket: i32, mut looks: u32) -> Step<Option<(u8, Rights)>> {
    let mut byte = 0u8;
    let mut vector = IoVec { base: (&raw mut byte).cast(), len: 1 };
    let mut rights = Rights { len: 0, level: 0, kind: 0, fds: [-1; DESCRIPTORS] };
    let mut message = Message {
        name: core::ptr::null_mut(),
        name_len: 0,
        vectors: &raw mut vector,
        vector_count: 1,
        control: (&raw mut rights).cast(),
        control_len: size_of::<Rights>(),
        flags: 0,
    };
    loop {
        let wait = if looks > 0 { MSG_DONTWAIT } else { 0 };
        match call!(nr::RECVMSG, socket, &raw mut message, MSG_CMSG_CLOEXEC | wait) {
            Err(errno::EAGAIN) if looks > 0 => {
                looks -= 1;
                // With one CPU for both it is the parent's turn. (For a deadline task it would be that until
                // the next period: it does not look.)
                call!(nr::SCHED_YIELD).ok();
            }
            Err(errno::EINTR) => {}
            Ok(0) => return Ok(None),
            Err(errno) => return Err(errno).at(Detail::Receive),
            Ok(_) => return Ok(Some((byte, rights))),
        }
    }
}

/// Waits for the parent's word; without a parent there is nothing to live for.
fn await_word(socket: i32, looks: u32) -> Step {
    match receive_message(socket, looks)? {
        Some((GO, _)) => Ok(()),
        _ => crate::exit(crate::EXIT_FAILED),
    }
}

/// `CloseHost`.
pub fn close_host(init: &mut Init) -> Step {
    close_all_but(init, &[Slot::SYNC, Slot::GATE, Slot::STATE]);
    Ok(())
}

fn close_all_but(init: &mut Init, kept: &[Slot]) {
    for slot in (0..Slot::COUNT as u16).map(Slot).filter(|slot| !kept.contains(slot)) {
        init.set(slot, -1);
    }
}

/// `Sync`.
pub fn reach(init: &Init) -> Step {
    let socket = init.fd(Slot::SYNC);
    send(socket, Report { step: init.step, errno: 0, detail: 0 }, -1)?;
    await_word(socket, init.looks)
}

/// `AwaitWord`.
pub fn word(init: &Init) -> Step {
    await_word(init.fd(Slot::SYNC), init.looks)
}

/// The wait for the id maps: an unprivileged parent may write them only while this process is
/// dumpable, and nothing of a container is shared yet.
pub fn await_id_maps(init: &Init) -> Step {
    call!(nr::PRCTL, crate::PR_SET_DUMPABLE, 1).at(Detail::Prctl)?;
    let reached = reach(init);
    call!(nr::PRCTL, crate::PR_SET_DUMPABLE, 0).at(Detail::Prctl)?;
    reached
}

/// `Receive`.
pub fn receive(init: &mut Init, into: Slot, count: u32) -> Step {
    let Some((_, rights)) = receive_message(init.fd(Slot::SYNC), init.looks)? else { crate::exit(crate::EXIT_FAILED) };
    let malformed = Failure { errno: errno::EPROTO, detail: Detail::Receive as u32 };
    if count as usize > DESCRIPTORS || rights.len != rights_len(count as usize) || rights.kind != SCM_RIGHTS {
        return Err(malformed);
    }
    for (at, fd) in rights.fds.iter().enumerate().take(count as usize) {
        init.set(Slot(into.0 + at as u16), *fd);
    }
    Ok(())
}

/// `AwaitStart`. While the container is `created`, processes of it may see this one: nothing of the
/// host stays open but the gate and what hooks need.
pub fn await_start(init: &mut Init) -> Step {
    let gate = init.fd(Slot::GATE);
    crate::exec::end_on_request()?;
    close_all_but(init, &[Slot::GATE, Slot::STATE, Slot::HOOK_STDOUT, Slot::HOOK_STDERR]);
    let connection = loop {
        match call!(nr::ACCEPT4, gate, 0, 0, file::O_CLOEXEC) {
            // A connection that was gone before it was taken.
            Err(errno::EINTR | 103) => {}
            other => break other.at(Detail::Accept)? as i32,
        }
    };
    init.set(Slot::SYNC, connection);
    init.set(Slot::GATE, -1);
    await_word(connection, init.looks)
}

/// `AnnounceListener`. The kernel takes the lowest free number for a new descriptor.
pub fn announce_listener(init: &Init) -> Step {
    const F_DUPFD_CLOEXEC: usize = 1030;
    let socket = init.fd(Slot::SYNC);
    let free = call!(nr::FCNTL, socket, F_DUPFD_CLOEXEC, 0).at(Detail::Dup)?;
    file::close(free as i32);
    send(socket, Report { step: init.step, errno: 0, detail: free as u32 }, -1)
}
