//! The standard streams that a caller gives.

use core::ffi::CStr;

use crate::ops::Slot;
use crate::program::file::{
    self, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
};
use crate::program::{At, Init, Step, call};
use crate::report::Detail;
use crate::syscall::nr;

/// Devices of the major number 1 that are the same everywhere, by their minor numbers.
const NODES: [(u32, &CStr); 5] =
    [(3, c"dev/null"), (5, c"dev/zero"), (7, c"dev/full"), (8, c"dev/random"), (9, c"dev/urandom")];

const F_GETFL: usize = 3;
const F_SETFL: usize = 4;
const O_ACCMODE: usize = 3;
const O_APPEND: usize = 0o2000;

/// `OwnStreams`. With the node of the host as a stream, the container could change the mode and the owner of that
/// (CAP_FOWNER and CAP_CHOWN are among Docker's defaults), and CRIU cannot dump it.
///
/// A container without such a node, or with another file in its place, keeps what the caller gave: it works as the
/// caller wants it to, and a file of the image must not take the place of a device.
pub(crate) fn own(init: &Init) -> Step {
    for stream in 0..3 {
        if let Some(node) = node_of(stream)
            && let Some(own) = opened(init.fd(Slot::ROOT), node, stream)
        {
            let put = call!(nr::DUP3, own, stream, 0).at(Detail::Dup);
            file::close(own);
            put?;
        }
    }
    Ok(())
}

/// The path of the memory device that a stream is on.
fn node_of(fd: i32) -> Option<&'static CStr> {
    NODES.into_iter().find(|(minor, _)| is_device(fd, *minor)).map(|(_, path)| path)
}

fn is_device(fd: i32, minor: u32) -> bool {
    file::stat(fd, c"").is_ok_and(|stat| {
        stat.kind() == file::S_IFCHR && (stat.device_major, stat.device_minor) == (1, minor)
    })
}

/// The node below the root, opened as the stream is. To open a device can have effects, so it is looked at first;
/// what another process puts there meanwhile is no device that the container could not open itself.
fn opened(root: i32, node: &'static CStr, stream: i32) -> Option<i32> {
    let flags = call!(nr::FCNTL, stream, F_GETFL).ok()? & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_PATH);
    let resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    let open = |flags: usize| {
        let fd = file::open(root, node, flags, 0, resolve).ok()?;
        if node_of(fd) == Some(node) {
            return Some(fd);
        }
        file::close(fd);
        None
    };
    let looked_at = open(O_PATH | O_NOFOLLOW)?;
    if flags & O_PATH != 0 {
        return Some(looked_at);
    }
    file::close(looked_at);
    let own = open(flags | O_NOCTTY | O_NONBLOCK)?;
    if flags & O_NONBLOCK == 0 {
        call!(nr::FCNTL, own, F_SETFL, flags).ok();
    }
    Some(own)
}
