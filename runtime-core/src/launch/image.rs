//! Sealed memory files: the init's program and its plan, and the program of a handler.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod};

use runtime_init::IMAGE;

use crate::error::{Error, Result};
use crate::sys::memfd::{self, Purpose};
use crate::sys::mount;

/// The program that a process of a container starts as: in memory, so that the host's runtime file
/// is never reachable from a container (CVE-2019-5736).
///
/// Each launch has one of its own. Seals keep the bytes, but not the owner, the access list and the
/// file capabilities of the inode, and a container reaches that by a script whose interpreter is
/// "/proc/self/exe": a shared one could be made useless for the containers after it.
#[derive(Debug)]
pub(super) struct InitImage(OwnedFd);

impl InitImage {
    /// Makes the memory file; where the machine has none that may be executed (vm.memfd_noexec=2), a
    /// file on a tmpfs that is mounted nowhere.
    pub(super) fn new() -> Result<Self> {
        executable(IMAGE, Purpose::Program).map(Self)
    }
}

/// A sealed file with a program: in memory or, where there is none that may be executed, on a tmpfs that is mounted nowhere.
pub(super) fn executable(bytes: &[u8], purpose: Purpose) -> Result<OwnedFd> {
    match sealed(bytes, purpose) {
        Err(error) if error.raw_errno() == Some(Errno::EACCES) => {
            mounted(bytes, if purpose == Purpose::Handler { memfd::HANDLER_SHOWN } else { memfd::INIT })
        }
        other => other,
    }
}

/// A file with `bytes` on a tmpfs of its own, which is read-only and has no place in any mount namespace: like
/// a sealed memory file it cannot be written by a container that finds it as /proc/self/exe, nor, since the
/// whole file system is read-only, change its owner or its mode. The mount goes with the last descriptor.
fn mounted(bytes: &[u8], name: &CStr) -> Result<OwnedFd> {
    const ATTRIBUTES: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let failed = |call: &'static str| {
        move |errno: Errno| {
            let error = Error::system(call, errno);
            match errno {
                Errno::EPERM | Errno::EACCES => error.with_hint(
                    "with vm.memfd_noexec=2 there is no memory to execute, and a tmpfs instead of that needs \
                     CAP_SYS_ADMIN: run as root, or set the sysctl to 1",
                ),
                _ => error,
            }
        }
    };
    let size = CString::new(bytes.len().next_multiple_of(1 << 20).to_string()).unwrap_or_default();
    let options = [(c"mode", Some(c"700")), (c"nr_inodes", Some(c"2")), (c"size", Some(size.as_c_str()))];
    let tmpfs =
        mount::filesystem(c"tmpfs", &options, ATTRIBUTES).map_err(failed("mount a tmpfs for a program"))?;
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = openat(&tmpfs, name, flags, Mode::from_bits_truncate(0o500))
        .map_err(failed("make a program's file"))?;
    write_all(&file, bytes).map_err(failed("write a program's file"))?;
    // By then it may be another user's, to whom root of the container is mapped. The umask has no say.
    fchmod(&file, Mode::from_bits_truncate(0o555)).map_err(failed("make a program's file executable"))?;
    drop(file);
    mount::freeze(tmpfs.as_fd()).map_err(failed("make a program's tmpfs read-only"))?;
    mount::change(tmpfs.as_fd(), libc::MOUNT_ATTR_RDONLY, 0, 0, false)
        .map_err(failed("make a program's mount read-only"))?;
    openat(&tmpfs, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(failed("open a program's file"))
}

fn write_all(file: &OwnedFd, bytes: &[u8]) -> std::result::Result<(), Errno> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = nix::unistd::write(file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
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
    write_all(&file, bytes).map_err(failed("write of a memory file"))?;
    memfd::seal(file.as_fd(), purpose).map_err(failed("seal a memory file"))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_init_is_small() {
        assert!(IMAGE.len() < 100 * 1024, "{} bytes", IMAGE.len());
    }

    /// Control: a tmpfs that was not made read-only takes the same.
    #[test]
    fn a_mounted_file_cannot_be_written_or_given_away() {
        use std::os::fd::AsRawFd;
        let file = match mounted(b"#!/nothing", c"program") {
            Ok(file) => file,
            Err(error) if !nix::unistd::geteuid().is_root() => {
                println!("skipped, needs root: {error}");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let written = std::fs::OpenOptions::new().write(true).open(&path);
        assert_eq!(written.unwrap_err().raw_os_error(), Some(libc::EROFS));
        let changed = std::os::unix::fs::chown(&path, Some(4242), None);
        assert_eq!(changed.unwrap_err().raw_os_error(), Some(libc::EROFS));
        let control = tempfile::tempfile().unwrap();
        let control = format!("/proc/self/fd/{}", control.as_raw_fd());
        assert!(std::fs::OpenOptions::new().write(true).open(control).is_ok());
    }

    #[test]
    fn a_sealed_file_cannot_be_written() {
        let file = sealed(b"plan", Purpose::Data).unwrap();
        assert_eq!(nix::unistd::write(&file, b"x"), Err(Errno::EPERM));
        assert_eq!(nix::unistd::ftruncate(&file, 1), Err(Errno::EPERM));
    }
}
