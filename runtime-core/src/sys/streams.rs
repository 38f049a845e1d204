//! The standard streams of a program that begins without Rust's own start, and the size of a terminal.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::retry;

/// Does for the standard streams what Rust's start does before `main`: a stream that the caller has closed becomes
/// /dev/null, so that no file which is opened later gets its number, and a write to a closed pipe is an
/// error instead of SIGPIPE.
///
/// For a program whose entry point is C's `main`. A library's caller has done it.
pub fn guard_standard_streams() -> std::io::Result<()> {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: three entries, which outlive the call; it does not wait.
    retry(|| Errno::result(unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) }))?;
    for stream in streams.iter().filter(|stream| stream.revents & libc::POLLNVAL != 0) {
        open_null(stream.fd)?;
    }
    // SAFETY: SIG_IGN runs no code of ours.
    match unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) } {
        libc::SIG_ERR => Err(Errno::last().into()),
        _ => Ok(()),
    }
}

/// Opens /dev/null as `fd`, the lowest number that is free.
fn open_null(fd: i32) -> std::io::Result<()> {
    // SAFETY: a text that ends with a zero byte; the new descriptor stays open, like every standard stream.
    let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
    if Errno::result(opened)? == fd { Ok(()) } else { Err(Errno::EBADF.into()) }
}

/// TIOCSWINSZ (ioctl_tty(2)).
pub(crate) fn set_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call reads a structure of this type, which outlives it.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}
