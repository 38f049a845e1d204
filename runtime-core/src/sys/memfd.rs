//! memfd_create(2) and its seals.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// What a memory file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The init's program.
    Program,
    /// A program that is executed in the place of one of the container.
    Handler,
    /// Data to map or read.
    Data,
}

/// The name of the init's program: what it is called in `/proc/PID/exe`.
pub(crate) const INIT: &CStr = c"runtime-init";
/// That of a handler's.
const HANDLER: &CStr = c"runtime-handler";
/// How the kernel shows a handler's memory file: a file that stands for one has this name.
pub(crate) const HANDLER_SHOWN: &CStr = c"memfd:runtime-handler";

/// Since Linux 6.3; without it the sysctl vm.memfd_noexec decides.
const MFD_EXEC: libc::c_uint = 0x10;
/// Since Linux 6.3. With vm.memfd_noexec=2 there are no other memory files.
const MFD_NOEXEC_SEAL: libc::c_uint = 8;
/// Since Linux 6.3.
const F_SEAL_EXEC: libc::c_int = 0x20;

/// A new, close-on-exec memory file that can be sealed. With vm.memfd_noexec=2 there is none to execute: EACCES.
pub(crate) fn create(purpose: Purpose) -> Result<OwnedFd, Errno> {
    let (name, extra) = match purpose {
        Purpose::Program => (INIT, MFD_EXEC),
        Purpose::Handler => (HANDLER, MFD_EXEC),
        Purpose::Data => (c"runtime-data", MFD_NOEXEC_SEAL),
    };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    match create_with(name, flags | extra) {
        // A kernel that does not know the flag.
        Err(Errno::EINVAL) => create_with(name, flags),
        other => other,
    }
}

fn create_with(name: &CStr, flags: libc::c_uint) -> Result<OwnedFd, Errno> {
    // SAFETY: the name is a C string; the call makes a new descriptor that nobody else owns.
    unsafe { Errno::result(libc::memfd_create(name.as_ptr(), flags)).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// Forbids every further change of the file.
pub(crate) fn seal(file: BorrowedFd<'_>, purpose: Purpose) -> Result<(), Errno> {
    let all = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    match purpose {
        Purpose::Program | Purpose::Handler => match add_seals(file, all | F_SEAL_EXEC) {
            // A kernel that does not know the seal.
            Err(Errno::EINVAL) => add_seals(file, all),
            other => other,
        },
        Purpose::Data => add_seals(file, all),
    }
}

fn add_seals(file: BorrowedFd<'_>, seals: libc::c_int) -> Result<(), Errno> {
    // SAFETY: a plain call on an open descriptor.
    Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) }).map(drop)
}

/// Whether a program, as `/proc/PID/exe` names it, is that of a handler.
pub(crate) fn is_handler(program: &[u8]) -> bool {
    program.strip_prefix(b"/").is_some_and(|name| name.starts_with(HANDLER_SHOWN.to_bytes()))
}

/// Whether a descriptor is a memory file, or one of a tmpfs: only they have seals, and reading them
/// never waits for anyone.
pub(crate) fn is_in_memory(file: BorrowedFd<'_>) -> bool {
    // SAFETY: a plain call on an open descriptor.
    Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) }).is_ok()
}
