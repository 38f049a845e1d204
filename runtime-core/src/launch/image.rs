//! Sealed memory files: the init's program and its plan.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::sys::memfd::{self, Purpose};

/// The tiny init, compiled by `build.rs`.
static INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// The program that a process of a container starts as: in memory, so that the host's runtime file
/// is never reachable from a container (CVE-2019-5736).
///
/// Each launch has one of its own. Seals keep the bytes, but not the owner, the access list and the
/// file capabilities of the inode, and a container reaches that by a script whose interpreter is
/// "/proc/self/exe": a shared one could be made useless for the containers after it.
#[derive(Debug)]
pub(super) struct InitImage(OwnedFd);

impl InitImage {
    /// Makes the memory file.
    pub(super) fn new() -> Result<Self> {
        sealed(INIT, Purpose::Program).map(Self)
    }
}

impl AsFd for InitImage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A sealed memory file with `bytes`.
pub(crate) fn sealed(bytes: &[u8], purpose: Purpose) -> Result<OwnedFd> {
    let failed = |call: &'static str| move |errno: Errno| Error::system(call, errno);
    let file = memfd::create(purpose).map_err(failed("memfd_create"))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = nix::unistd::write(&file, rest).map_err(failed("write of a memory file"))?;
        rest = &rest[written..];
    }
    memfd::seal(file.as_fd(), purpose).map_err(failed("seal a memory file"))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_init_is_small() {
        assert!(INIT.len() < 100 * 1024, "{} bytes", INIT.len());
    }

    #[test]
    fn a_sealed_file_cannot_be_written() {
        let file = sealed(b"plan", Purpose::Data).unwrap();
        assert_eq!(nix::unistd::write(&file, b"x"), Err(Errno::EPERM));
        assert_eq!(nix::unistd::ftruncate(&file, 1), Err(Errno::EPERM));
    }
}
