//! The socket to the parent.

use crate::abi::{MSG_DONTWAIT, errno};
use crate::ops::Slot;
use crate::program::{At, Failure, Init, Step, signals};
use crate::report::{Detail, GO, Report};
use crate::sys::process::{sched_yield, set_dumpable};
use crate::sys::socket::{self, Received};
use crate::sys::{Fd, Owned, dup_above};

/// How often a message is looked for before the wait for it. Most of the parent's answers take it a few
/// microseconds, on another CPU; to sleep and be woken takes longer than that.
pub(crate) const LOOKS: u32 = 24;

/// How many descriptors one message carries at most, but for the first one to stage 0.
pub(crate) const DESCRIPTORS: usize = 4;

/// Sends a report, with a descriptor if there is one. A report that did not go out must not be
/// waited for: the parent waits as well.
pub(crate) fn send(socket: Fd<'_>, report: Report, fd: Option<Fd<'_>>) -> Step {
    socket::send::<DESCRIPTORS>(socket, &report.to_bytes(), fd.as_slice()).at(Detail::Send)
}

/// Sends the word to go on, with descriptors.
pub(crate) fn send_word(socket: Fd<'_>, fds: &[Fd<'_>]) -> Step {
    socket::send::<DESCRIPTORS>(socket, &[GO], fds).at(Detail::Send)
}

/// The first message to stage 0: a set of slots, and their descriptors in order. `None` at the end of the stream.
pub(crate) fn receive_many(socket: Fd<'_>) -> Step<Option<(u64, Received<{ Slot::INHERITED }>)>> {
    let mut bits = [0u8; size_of::<u64>()];
    let message = loop {
        match socket::receive(socket, &mut bits, 0) {
            Err(errno::EINTR) => {}
            // It was closed with something unread: the caller is gone.
            Err(errno::ECONNRESET) => return Ok(None),
            other => break other.at(Detail::Receive)?,
        }
    };
    match message.len {
        0 => Ok(None),
        len if len == bits.len() && message.count > 0 => Ok(Some((u64::from_ne_bytes(bits), message))),
        _ => Err(Failure::new(errno::EPROTO, Detail::Receive)),
    }
}

/// Receives one byte and up to [`DESCRIPTORS`] descriptors; `None` at the end of the stream.
fn receive_message(socket: Fd<'_>, mut looks: u32) -> Step<Option<(u8, Received<DESCRIPTORS>)>> {
    let mut byte = [0u8];
    loop {
        let wait = if looks > 0 { MSG_DONTWAIT } else { 0 };
        match socket::receive(socket, &mut byte, wait) {
            // The other side has ended without reading all that was sent to it.
            Err(errno::ECONNRESET) => return Ok(None),
            Err(errno::EAGAIN) if looks > 0 => {
                looks = looks.saturating_sub(1);
                // With one CPU for both it is the parent's turn. (For a deadline task it would be that until
                // the next period: it does not look.)
                sched_yield(0).ok();
            }
            Err(errno::EINTR) => {}
            Err(errno) => return Err(Failure::new(errno, Detail::Receive)),
            Ok(message) if message.len == 0 => return Ok(None),
            Ok(message) => return Ok(Some((byte[0], message))),
        }
    }
}

/// Waits for the other side's word; without that side there is nothing to live for.
pub(crate) fn await_word(socket: Fd<'_>, looks: u32) -> Step {
    match receive_message(socket, looks)? {
        Some((GO, _)) => Ok(()),
        _ => crate::program::exit(crate::program::EXIT_FAILED),
    }
}

/// `CloseHost`.
pub(crate) fn close_host(init: &mut Init) -> Step {
    close_all_but(init, &[Slot::SYNC, Slot::GATE, Slot::STATE, Slot::HANDLER]);
    Ok(())
}

pub(crate) fn close_all_but(init: &mut Init, kept: &[Slot]) {
    for slot in (0..Slot::COUNT as u16).map(Slot).filter(|slot| !kept.contains(slot)) {
        init.clear(slot);
    }
}

/// `Sync`.
pub(crate) fn reach(init: &Init) -> Step {
    let socket = init.fd(Slot::SYNC);
    send(socket, Report { step: init.step, errno: 0, detail: 0 }, None)?;
    await_word(socket, init.looks)
}

/// `AwaitWord`.
pub(crate) fn word(init: &Init) -> Step {
    await_word(init.fd(Slot::SYNC), init.looks)
}

/// The wait for the id maps: an unprivileged parent may write them only while this process is
/// dumpable, and nothing of a container is shared yet.
pub(crate) fn await_id_maps(init: &Init) -> Step {
    set_dumpable(true).at(Detail::Prctl)?;
    let reached = reach(init);
    set_dumpable(false).at(Detail::Prctl)?;
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
    let Some((_, message)) = receive_message(init.fd(from), init.looks)? else {
        crate::program::exit(crate::program::EXIT_FAILED)
    };
    if message.count != count as usize {
        return Err(Failure::new(errno::EPROTO, Detail::Receive));
    }
    for (slot, fd) in (into.0..).map(Slot).zip(message.fds.into_iter().flatten()) {
        init.set(slot, fd);
    }
    Ok(())
}

/// `AwaitStart`. While the container is `created`, processes of it may see this one: nothing of the
/// host stays open but the gate and what hooks need.
pub(crate) fn await_start(init: &mut Init) -> Step {
    signals::end_on_request()?;
    close_all_but(init, &[Slot::GATE, Slot::STATE, Slot::HOOK_STDOUT, Slot::HOOK_STDERR, Slot::HANDLER]);
    let connection = loop {
        match socket::accept(init.fd(Slot::GATE)) {
            // A connection that was gone before it was taken.
            Err(errno::EINTR | errno::ECONNABORTED) => {}
            other => break other.at(Detail::Accept)?,
        }
    };
    init.set(Slot::SYNC, connection);
    init.clear(Slot::GATE);
    await_word(init.fd(Slot::SYNC), init.looks)
}

/// `AnnounceListener`. The kernel takes the lowest free number for a new descriptor.
pub(crate) fn announce_listener(init: &Init) -> Step {
    let socket = init.fd(Slot::SYNC);
    let free = dup_above(socket, 0).map(|free: Owned| free.number()).at(Detail::Dup)?;
    send(socket, Report { step: init.step, errno: 0, detail: free as u32 }, None)
}
