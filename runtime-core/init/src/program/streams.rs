//! The standard streams that a caller gives.

use core::ffi::CStr;

use crate::abi::{
    O_ACCMODE, O_APPEND, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
};
use crate::ops::Slot;
use crate::program::{At, Init, Step, file};
use crate::report::Detail;
use crate::sys::file::stat;
use crate::sys::{Fd, Owned, dup_onto, set_status_flags, status_flags};

/// Devices of the major number 1 that are the same everywhere, by their minor numbers.
const NODES: [(u32, &CStr); 5] =
    [(3, c"dev/null"), (5, c"dev/zero"), (7, c"dev/full"), (8, c"dev/random"), (9, c"dev/urandom")];

/// `OwnStreams`. With the node of the host as a stream, the container could change the mode and the owner of that
/// (CAP_FOWNER and CAP_CHOWN are among Docker's defaults), and CRIU cannot dump it.
///
/// A container without such a node, or with another file in its place, keeps what the caller gave: it works as the
/// caller wants it to, and a file of the image must not take the place of a device.
pub(crate) fn own(init: &Init) -> Step {
    for stream in 0..3 {
        let given = Fd::numbered(stream);
        if let Some(node) = node_of(given)
            && let Some(own) = opened(init.fd(Slot::ROOT), node, given)
        {
            dup_onto(own.fd(), stream, 0).at(Detail::Dup)?;
        }
    }
    Ok(())
}

/// The path of the memory device that a stream is on.
fn node_of(fd: Fd<'_>) -> Option<&'static CStr> {
    let stat = stat(fd, c"").ok()?;
    NODES.into_iter().find(|(minor, _)| stat.is_character_device(1, *minor)).map(|(_, path)| path)
}

/// The node below the root, opened as the stream is. To open a device can have effects, so it is looked at first;
/// what another process puts there meanwhile is no device that the container could not open itself.
fn opened(root: Fd<'_>, node: &'static CStr, stream: Fd<'_>) -> Option<Owned> {
    let flags = status_flags(stream).ok()? & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_PATH);
    let resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    let open = |flags: u32| {
        let opened = file::open(root, node, flags, 0, resolve).ok()?;
        (node_of(opened.fd()) == Some(node)).then_some(opened)
    };
    let looked_at = open(O_PATH | O_NOFOLLOW)?;
    if flags & O_PATH != 0 {
        return Some(looked_at);
    }
    drop(looked_at);
    let own = open(flags | O_NOCTTY | O_NONBLOCK)?;
    if flags & O_NONBLOCK == 0 {
        set_status_flags(own.fd(), flags).ok();
    }
    Some(own)
}
