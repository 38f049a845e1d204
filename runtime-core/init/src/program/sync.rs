//! The socket to the parent.

use core::ffi::c_void;

use crate::ops::Slot;
use crate::program::file;
use crate::program::{At, Failure, Init, Step, call, errno};
use crate::report::{Detail, GO, Report};
use crate::syscall::nr;

const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
const MSG_DONTWAIT: usize = 0x40;
const AF_UNIX: usize = 1;
const SOCK_SEQPACKET_CLOEXEC: usize = 5 | file::O_CLOEXEC;

/// How often a message is looked for before the wait for it. Most of the parent's answers take it a few
/// microseconds, on another CPU; to sleep and be woken takes longer than that.
pub(crate) const LOOKS: u32 = 24;

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

impl Message {
    /// One vector, and control data unless that is null.
    fn new(vector: *mut IoVec, control: *mut c_void, control_len: usize) -> Self {
        Self {
            name: core::ptr::null_mut(),
            name_len: 0,
            vectors: vector,
            vector_count: 1,
            control,
            control_len,
            flags: 0,
        }
    }
}

/// How many descriptors one message carries at most, but for the first one to stage 0.
pub(crate) const DESCRIPTORS: usize = 4;

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

/// A connected pair that keeps message borders.
pub(crate) fn pair() -> Step<(i32, i32)> {
    let mut ends = [-1i32; 2];
    call!(nr::SOCKETPAIR, AF_UNIX, SOCK_SEQPACKET_CLOEXEC, 0, ends.as_mut_ptr()).at(Detail::Socket)?;
    Ok((ends[0], ends[1]))
}

/// Sends a report, with a descriptor unless that is -1. A report that did not go out must not be
/// waited for: the parent waits as well.
pub(crate) fn send(socket: i32, report: Report, fd: i32) -> Step {
    let fds = [fd];
    send_bytes(socket, &report.to_bytes(), if fd >= 0 { &fds } else { &[] })
}

/// Sends the word to go on, with descriptors.
pub(crate) fn send_word(socket: i32, fds: &[i32]) -> Step {
    send_bytes(socket, &[GO], fds)
}

fn send_bytes(socket: i32, bytes: &[u8], fds: &[i32]) -> Step {
    let mut vector = IoVec { base: bytes.as_ptr().cast_mut().cast(), len: bytes.len() };
    let count = fds.len().min(DESCRIPTORS);
    let mut rights =
        Rights { len: rights_len(count), level: SOL_SOCKET, kind: SCM_RIGHTS, fds: [-1; DESCRIPTORS] };
    rights.fds[..count].copy_from_slice(&fds[..count]);
    // As CMSG_SPACE(3): the data takes whole words.
    let message = Message::new(
        &raw mut vector,
        if count > 0 { (&raw mut rights).cast() } else { core::ptr::null_mut() },
        if count > 0 { 16 + (4 * count).next_multiple_of(8) } else { 0 },
    );
    call!(nr::SENDMSG, socket, &raw const message, MSG_NOSIGNAL).at(Detail::Send).map(drop)
}

/// The first message to stage 0: a set of slots, and their descriptors in order. `None` at the end of the stream.
pub(crate) fn receive_many(socket: i32, fds: &mut [i32; Slot::INHERITED]) -> Step<Option<(u64, usize)>> {
    /// As [`Rights`].
    #[repr(C)]
    struct Many {
        len: usize,
        level: i32,
        kind: i32,
        fds: [i32; Slot::INHERITED],
    }
    let mut bits = 0u64;
    let mut vector = IoVec { base: (&raw mut bits).cast(), len: size_of::<u64>() };
    let mut rights = Many { len: 0, level: 0, kind: 0, fds: [-1; Slot::INHERITED] };
    let mut message = Message::new(&raw mut vector, (&raw mut rights).cast(), size_of::<Many>());
    let received = loop {
        match call!(nr::RECVMSG, socket, &raw mut message, MSG_CMSG_CLOEXEC) {
            Err(errno::EINTR) => {}
            // It was closed with something unread: the caller is gone.
            Err(errno::ECONNRESET) => break 0,
            other => break other.at(Detail::Receive)?,
        }
    };
    if received == 0 {
        return Ok(None);
    }
    let count = rights.len.saturating_sub(16) / 4;
    if received != size_of::<u64>() || rights.kind != SCM_RIGHTS || count > Slot::INHERITED {
        return Err(Failure { errno: errno::EPROTO, detail: Detail::Receive as u32 });
    }
    *fds = rights.fds;
    Ok(Some((bits, count)))
}

/// Receives one byte and up to [`DESCRIPTORS`] descriptors; `None` at the end of the stream.
fn receive_message(socket: i32, mut looks: u32) -> Step<Option<(u8, Rights)>> {
    let mut byte = 0u8;
    let mut vector = IoVec { base: (&raw mut byte).cast(), len: 1 };
    let mut rights = Rights { len: 0, level: 0, kind: 0, fds: [-1; DESCRIPTORS] };
    let mut message = Message::new(&raw mut vector, (&raw mut rights).cast(), size_of::<Rights>());
    loop {
        let wait = if looks > 0 { MSG_DONTWAIT } else { 0 };
        match call!(nr::RECVMSG, socket, &raw mut message, MSG_CMSG_CLOEXEC | wait) {
            // The other side has ended without reading all that was sent to it.
            Err(errno::ECONNRESET) => return Ok(None),
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

/// Waits for the other side's word; without that side there is nothing to live for.
pub(crate) fn await_word(socket: i32, looks: u32) -> Step {
    match receive_message(socket, looks)? {
        Some((GO, _)) => Ok(()),
        _ => crate::program::exit(crate::program::EXIT_FAILED),
    }
}

/// `CloseHost`.
pub(crate) fn close_host(init: &mut Init) -> Step {
    close_all_but(init, &[Slot::SYNC, Slot::GATE, Slot::STATE]);
    Ok(())
}

pub(crate) fn close_all_but(init: &mut Init, kept: &[Slot]) {
    for slot in (0..Slot::COUNT as u16).map(Slot).filter(|slot| !kept.contains(slot)) {
        init.set(slot, -1);
    }
}

/// `Sync`.
pub(crate) fn reach(init: &Init) -> Step {
    let socket = init.fd(Slot::SYNC);
    send(socket, Report { step: init.step, errno: 0, detail: 0 }, -1)?;
    await_word(socket, init.looks)
}

/// `AwaitWord`.
pub(crate) fn word(init: &Init) -> Step {
    await_word(init.fd(Slot::SYNC), init.looks)
}

/// The wait for the id maps: an unprivileged parent may write them only while this process is
/// dumpable, and nothing of a container is shared yet.
pub(crate) fn await_id_maps(init: &Init) -> Step {
    call!(nr::PRCTL, crate::program::PR_SET_DUMPABLE, 1).at(Detail::Prctl)?;
    let reached = reach(init);
    call!(nr::PRCTL, crate::program::PR_SET_DUMPABLE, 0).at(Detail::Prctl)?;
    reached
}

/// `AskStage`. Without stage 0 the message that comes next does not come.
pub(crate) fn ask_stage(init: &Init) -> Step {
    send_word(init.fd(Slot::LANES), &[]).or_else(|failure| match failure.errno {
        errno::EPIPE | errno::ECONNRESET => Ok(()),
        _ => Err(failure),
    })
}

/// `Receive`. Without the other side there is nothing to live for: it has told the caller why.
pub(crate) fn receive(init: &mut Init, from: Slot, into: Slot, count: u32) -> Step {
    let Some((_, rights)) = receive_message(init.fd(from), init.looks)? else {
        crate::program::exit(crate::program::EXIT_FAILED)
    };
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
pub(crate) fn await_start(init: &mut Init) -> Step {
    let gate = init.fd(Slot::GATE);
    crate::program::exec::end_on_request()?;
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
pub(crate) fn announce_listener(init: &Init) -> Step {
    const F_DUPFD_CLOEXEC: usize = 1030;
    let socket = init.fd(Slot::SYNC);
    let free = call!(nr::FCNTL, socket, F_DUPFD_CLOEXEC, 0).at(Detail::Dup)?;
    file::close(free as i32);
    send(socket, Report { step: init.step, errno: 0, detail: free as u32 }, -1)
}
