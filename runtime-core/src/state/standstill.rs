//! Moments in which the runtime itself has frozen a container: the container is not paused then, and must not
//! stay frozen when the runtime is killed in such a moment.
//!
//! A file in the container's state says so, with a lock on it for as long as somebody works. Who finds
//! a container frozen and the file without a lock lets the container go on.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::write;

use super::Entry;
use crate::deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::file::LockFile;

pub(super) const MARK: &str = "standstill";

/// How long somebody may take who freezes the container, or clears away what a killed runtime has left.
const CLEAR_LIMIT: Duration = Duration::from_secs(15);

/// A mark that says: frozen, but not paused.
#[derive(Debug)]
pub(crate) struct Standstill {
    file: LockFile,
    /// Whether who made it is still at work.
    pub(crate) going_on: bool,
}

impl Entry {
    /// Says that the container is going to be frozen; [`Entry::end_standstill`] once it is thawed again, or
    /// frozen for good. Nobody else has the mark until then. One that is dropped before stays, as after a crash.
    pub(crate) fn begin_standstill(&self) -> Result<Standstill> {
        let deadline = deadline::after(CLEAR_LIMIT);
        loop {
            let file = self
                .below(MARK, OFlag::O_RDWR | OFlag::O_CREAT, Mode::S_IRUSR | Mode::S_IWUSR)
                .map(LockFile::new)
                .map_err(self.call("make", MARK))?;
            match file.try_lock() {
                Ok(()) if fstat(&file).map_err(self.call("stat", MARK))?.st_nlink > 0 => {
                    // Before that it means nothing: it has to be made before it can be locked.
                    write(&file, b"frozen").map_err(self.call("write", MARK))?;
                    return Ok(Standstill { file, going_on: true });
                }
                Ok(()) => {}
                // Somebody clears it away, or works under it.
                Err(Errno::EWOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(Errno::EWOULDBLOCK) => {
                    return Err(Error::new(ErrorKind::Timeout, format!("lock {:?}", self.path_of(MARK)))
                        .reason("another call on this container is still running"));
                }
                Err(errno) => return Err(self.call("lock", MARK)(errno)),
            }
        }
    }

    /// The mark, if there is one.
    pub(crate) fn standstill(&self) -> Result<Option<Standstill>> {
        let file = match self.below(MARK, OFlag::O_RDONLY, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            other => LockFile::new(other.map_err(self.call("open", MARK))?),
        };
        match file.try_lock() {
            Err(Errno::EWOULDBLOCK) => return Ok(Some(Standstill { file, going_on: true })),
            other => other.map_err(self.call("lock", MARK))?,
        }
        let status = fstat(&file).map_err(self.call("stat", MARK))?;
        // Its maker has ended it since it was opened, or has not begun.
        let is_one = status.st_nlink > 0 && status.st_size > 0;
        Ok(is_one.then_some(Standstill { file, going_on: false }))
    }

    /// Takes the mark away, unless it is another's.
    pub(crate) fn end_standstill(&self, mark: Standstill) -> Result<()> {
        match mark.file.try_lock() {
            Ok(()) => self.unlink(MARK),
            Err(Errno::EWOULDBLOCK) => Ok(()),
            Err(errno) => Err(self.call("lock", MARK)(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use crate::id::ContainerId;

    #[test]
    fn a_mark_without_its_maker_is_told_from_one_with() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().join("root"));
        let (entry, _lock) = store.create(&ContainerId::new("id").unwrap()).unwrap();
        let going_on = || entry.standstill().unwrap().map(|mark| mark.going_on);
        assert_eq!(going_on(), None);

        let mark = entry.begin_standstill().unwrap();
        assert_eq!(going_on(), Some(true));
        entry.end_standstill(mark).unwrap();
        assert_eq!(going_on(), None);

        // Somebody has made the file and not yet locked it.
        std::fs::write(directory.path().join("root/id/standstill"), "").unwrap();
        assert_eq!(going_on(), None);

        drop(entry.begin_standstill().unwrap());
        let left = entry.standstill().unwrap().unwrap();
        assert!(!left.going_on);
        entry.end_standstill(left).unwrap();
        assert_eq!(going_on(), None);

        drop(entry.begin_standstill().unwrap());
        entry.remove().unwrap();
    }
}
