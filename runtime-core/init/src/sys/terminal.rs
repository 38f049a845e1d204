//! ioctl(2) of terminals and of network interfaces.

use super::{Fd, Owned, Result, call};
use crate::abi::{self, nr};

/// TIOCSPTLCK: unlocks the slave of a master.
pub fn unlock(master: Fd<'_>) -> Result {
    let locked = 0i32;
    // SAFETY: the kernel reads one int, during the call alone.
    unsafe { call!(nr::IOCTL, master.number(), abi::TIOCSPTLCK, &raw const locked) }.map(drop)
}

/// TIOCGPTPEER: the slave of a master, opened with these flags of open(2) and close-on-exec.
pub fn slave(master: Fd<'_>, flags: u32) -> Result<Owned> {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::IOCTL, master.number(), abi::TIOCGPTPEER, flags | abi::O_CLOEXEC) }.map(Owned::made)
}

/// TIOCSWINSZ: the size in characters.
pub fn set_size(terminal: Fd<'_>, rows: u16, columns: u16) -> Result {
    let size = [rows, columns, 0, 0];
    // SAFETY: the kernel reads `struct winsize`, four shorts, during the call alone.
    unsafe { call!(nr::IOCTL, terminal.number(), abi::TIOCSWINSZ, size.as_ptr()) }.map(drop)
}

/// TIOCSCTTY: makes it the controlling terminal of the session.
pub fn control(terminal: Fd<'_>) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::IOCTL, terminal.number(), abi::TIOCSCTTY, 0) }.map(drop)
}

/// SIOCGSKNS: the network namespace of a socket.
pub fn network_of(socket: Fd<'_>) -> Result<Owned> {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::IOCTL, socket.number(), abi::SIOCGSKNS, 0) }.map(Owned::made)
}

/// SIOCSIFFLAGS: brings the loopback interface of a socket's network namespace up.
pub fn loopback_up(socket: Fd<'_>) -> Result {
    // `struct ifreq`: the name in 16 bytes, then the flags.
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16] = abi::IFF_UP;
    // SAFETY: the kernel reads and writes `struct ifreq`, 40 bytes, which are borrowed alone.
    unsafe { call!(nr::IOCTL, socket.number(), abi::SIOCSIFFLAGS, request.as_mut_ptr()) }.map(drop)
}
