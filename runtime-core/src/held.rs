//! Namespaces of a process by descriptors, which stay when the process ends and its number becomes that of another.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::error::{Error, Result};
use crate::namespaces::Namespaces;
use crate::spec::Kind;

/// A namespace to join that is open already.
#[derive(Debug, Clone)]
pub(crate) struct HeldNamespace {
    pub(crate) kind: Kind,
    /// The path that it was opened by.
    pub(crate) path: String,
    pub(crate) file: Arc<OwnedFd>,
}

impl PartialEq for HeldNamespace {
    fn eq(&self, other: &Self) -> bool {
        let Self { kind, path, file } = self;
        (kind, path) == (&other.kind, &other.path) && Arc::ptr_eq(file, &other.file)
    }
}

impl HeldNamespace {
    /// Opens the namespaces of a process. procfs knows it by a number only, so afterwards its pidfd has to have that number
    /// still: then nothing else can have had it in between.
    pub(crate) fn of(pid: i32, pidfd: BorrowedFd<'_>, kinds: Namespaces) -> Result<Vec<Self>> {
        let held = kinds.kinds().map(|kind| Self::open(pid, kind)).collect::<Result<_>>()?;
        match number(pidfd)? {
            number if number == pid => Ok(held),
            _ => Err(Error::system(format!("join namespaces of process {pid}"), Errno::ESRCH)
                .reason("it has ended, or /proc is that of another PID namespace")),
        }
    }

    fn open(pid: i32, kind: Kind) -> Result<Self> {
        let path = format!("/proc/{pid}/ns/{}", kind.file_name());
        let file =
            open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| {
                let error = Error::system(format!("open namespace {path:?}"), errno);
                match errno {
                    Errno::ENOENT | Errno::ESRCH => error.with_hint("the process has ended"),
                    _ => error,
                }
            })?;
        Ok(Self { kind, path, file: Arc::new(file) })
    }
}

/// The number that procfs has for the process of a pidfd; -1 when it has been reaped (pidfd_open(2)).
fn number(pidfd: BorrowedFd<'_>) -> Result<i32> {
    let path = format!("/proc/thread-self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(&path).map_err(|error| Error::io(format!("read {path:?}"), &error))?;
    let number =
        text.lines().find_map(|line| line.strip_prefix("Pid:")).and_then(|pid| pid.trim().parse().ok());
    number.ok_or_else(|| Error::system(format!("understand {path:?}"), Errno::EINVAL))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::process::pidfd_open;

    fn own() -> i32 {
        std::process::id().try_into().unwrap()
    }

    #[test]
    fn namespaces_of_a_process_that_lives() {
        let held = HeldNamespace::of(own(), pidfd_open(own()).unwrap().as_fd(), Namespaces::all())
            .expect("they are its own");
        assert_eq!(held.len(), Namespaces::all().kinds().count());
        for one in &held {
            let name = one.kind.file_name();
            let own = std::fs::metadata(format!("/proc/self/ns/{name}")).unwrap();
            let same = nix::sys::stat::fstat(one.file.as_fd()).unwrap().st_ino;
            assert_eq!(std::os::unix::fs::MetadataExt::ino(&own), same, "{name}");
            assert_eq!(*one, one.clone());
        }
        assert_ne!(held[0], held[1]);
    }

    /// The number of a process that has been reaped is that of a stranger now: here of this process.
    #[test]
    fn the_namespaces_of_a_stranger_are_not_joined() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = child.id().try_into().unwrap();
        let pidfd = pidfd_open(pid).unwrap();
        assert!(HeldNamespace::of(pid, pidfd.as_fd(), Namespaces::NETWORK).is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
        let error = HeldNamespace::of(own(), pidfd.as_fd(), Namespaces::NETWORK).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ESRCH), "{error}");
        assert!(error.to_string().contains("it has ended"), "{error}");
    }
}
