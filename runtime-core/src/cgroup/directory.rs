//! One cgroup directory: a descriptor, and its path for messages only.

use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat, write};

use crate::error::{Error, ErrorKind, Result};
use crate::sys::fs::{Entry, open_beneath, read_dir};

/// The most that is read of one control file. `cgroup.procs` is the only one that a container can
/// make long: 16 MiB hold two million processes.
const READ_LIMIT: u64 = 16 << 20;

/// An O_PATH descriptor of a directory of a cgroup file system.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    text: String,
}

impl Directory {
    /// Opens a directory by its absolute path. Only for mount points, which no container names.
    pub(crate) fn open_absolute(path: &str) -> nix::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self { fd: openat(AT_FDCWD, path, flags, Mode::empty())?, text: path.to_owned() })
    }

    /// Opens the directory `path` below this one; the empty path is this directory again.
    pub(crate) fn open_dir(&self, path: &str) -> nix::Result<Self> {
        let fd = if path.is_empty() {
            self.fd
                .try_clone()
                .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EMFILE)))?
        } else {
            open_beneath(self.fd.as_fd(), path, OFlag::O_PATH | OFlag::O_DIRECTORY)?
        };
        Ok(Self { fd, text: self.path_of(path) })
    }

    /// Opens the directory `name` in this one, as it was read: any bytes.
    pub(crate) fn child(&self, name: &CStr) -> nix::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let text = format!("{}/...", self.text.trim_end_matches("/..."));
        Ok(Self { fd: openat(&self.fd, name, flags, Mode::empty())?, text })
    }

    /// Opens a directory below by a path of any bytes and any length, one name at a time.
    pub(super) fn descendant(&self, path: &[u8]) -> nix::Result<Self> {
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        names.map(CString::new).try_fold(self.open_dir("")?, |directory, name| {
            directory.child(name.map_err(|_| Errno::EINVAL)?.as_c_str())
        })
    }

    /// Opens the directory above. Only for a walk, which knows that it came from there.
    pub(super) fn parent(&self) -> nix::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self { fd: openat(&self.fd, "..", flags, Mode::empty())?, text: self.text.clone() })
    }

    /// The path, for messages. Below a cgroup that a container filled, it ends in dots.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The path of `name` in this directory, for messages.
    pub(crate) fn path_of(&self, name: &str) -> String {
        if name.is_empty() {
            self.text.clone()
        } else {
            format!("{}/{name}", self.text.trim_end_matches('/'))
        }
    }

    /// Makes the directory `name` (one component), mode 0755 as every cgroup manager does.
    pub(crate) fn mkdir(&self, name: &str) -> nix::Result<()> {
        mkdirat(&self.fd, name, Mode::from_bits_truncate(0o755))
    }

    /// Removes the directory `name` (one component).
    pub(crate) fn rmdir<P: ?Sized + NixPath>(&self, name: &P) -> nix::Result<()> {
        unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir)
    }

    /// Opens the control file `name`.
    pub(crate) fn open_file(&self, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        openat(&self.fd, name, flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
    }

    /// Writes `value` in one write(2), as the kernel wants it.
    pub(crate) fn write(&self, name: &str, value: &str) -> nix::Result<()> {
        let file = self.open_file(name, OFlag::O_WRONLY)?;
        loop {
            match write(&file, value.as_bytes()) {
                Err(Errno::EINTR) => {}
                Ok(length) if length < value.len() => return Err(Errno::EIO),
                other => return other.map(drop),
            }
        }
    }

    /// Reads the control file `name`.
    pub(crate) fn read(&self, name: &str) -> nix::Result<String> {
        let file = std::fs::File::from(self.open_file(name, OFlag::O_RDONLY)?);
        let mut text = String::new();
        file.take(READ_LIMIT)
            .read_to_string(&mut text)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EILSEQ)))?;
        Ok(text)
    }

    /// Whether the control file `name` exists.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.open_file(name, OFlag::O_PATH).is_ok()
    }

    /// The names in the directory.
    pub(crate) fn entries(&self) -> nix::Result<Vec<Entry>> {
        let fd =
            openat(&self.fd, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        read_dir(fd.as_fd())
    }

    /// The names of the cgroups directly below.
    pub(crate) fn children(&self) -> nix::Result<Vec<CString>> {
        Ok(self.entries()?.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect())
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A failed call on a cgroup file or directory.
pub(crate) fn failed(operation: String, errno: Errno) -> Error {
    Error::new(ErrorKind::Cgroup, operation).with_errno(errno)
}

/// `Ok(None)` for a cgroup that has gone: ENOENT, or ENODEV from a descriptor opened before.
pub(crate) fn unless_gone<T>(
    result: nix::Result<T>,
    operation: impl FnOnce() -> String,
) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
        Err(errno) => Err(failed(operation(), errno)),
    }
}
