//! seccomp(2).

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::seccomp::{FLAG_NEW_LISTENER, Instruction};

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

/// Loads a filter for the calling thread; the listener if `flags` ask for one.
pub(crate) fn set_filter(filter: &[Instruction], flags: u32) -> Result<Option<OwnedFd>> {
    let operation = || format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {} instructions)", filter.len());
    let len = u16::try_from(filter.len()).map_err(|_| Error::system(operation(), Errno::EINVAL))?;
    let program = Program { len, filter: filter.as_ptr() };
    // SAFETY: `program` and the `len` instructions behind it are borrowed for the whole call and the kernel
    // only reads them; `Instruction` is laid out as `struct sock_filter`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::c_ulong::from(flags),
            std::ptr::from_ref(&program),
        )
    };
    if result < 0 {
        let errno = Errno::last();
        let error = Error::system(operation(), errno);
        return Err(match errno {
            Errno::EACCES => {
                error.hint("set no_new_privs first, or have CAP_SYS_ADMIN in the user namespace")
            }
            _ => error,
        });
    }
    if flags & FLAG_NEW_LISTENER != 0 {
        // SAFETY: with NEW_LISTENER the result is a new descriptor (TSYNC is only ever combined with
        // TSYNC_ESRCH then, so that it cannot be a thread id), and nobody else knows it.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(result as RawFd) }));
    }
    if result > 0 {
        return Err(Error::system(operation(), Errno::ESRCH)
            .reason(format!("thread {result} has a filter of its own and cannot be synchronised")));
    }
    Ok(None)
}
