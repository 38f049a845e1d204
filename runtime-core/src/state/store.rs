//! The state root: one directory a container.
//!
//! `<root>/<id>/` holds `state.json`, `config.json` as it was at create, `resources.json` once limits
//! have been updated, and the start gate. Files are opened below a directory descriptor, without symbolic links; they are private to the owner.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2, renameat};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use nix::sys::stat::{Mode, fstat, fstatat, lstat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::record::{SCHEMA, SCHEMA_HELD};
use super::standstill::MARK;
use super::{Record, holder};
use crate::deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::sys::file::LockFile;

const STATE: &str = "state.json";
const NEW_STATE: &str = "state.json.new";
const CONFIG: &str = "config.json";
const RESOURCES: &str = "resources.json";
const NEW_RESOURCES: &str = "resources.json.new";
const GATE: &str = "start.sock";

/// Mode bits by which group and others could plant a state.
const OTHERS_WRITE: u32 = 0o022;
/// A state or configuration file is never larger.
const FILE_LIMIT: u64 = 64 << 20;
/// Room for a common state file, read in one call.
const READ_EXPECTED: usize = 8 << 10;
/// How long one call waits for another on the same container.
const LOCK_LIMIT: Duration = Duration::from_secs(30);
/// How long it waits without a word.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The state root.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
}

/// One container's directory.
#[derive(Debug)]
pub(crate) struct Entry {
    path: PathBuf,
    directory: OwnedFd,
}

/// What there is of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Its state file.
    Whole,
    /// It has gone, or a call that holds the lock is making or removing it.
    Passing,
    /// A directory without a state file that nobody has locked.
    Left,
}

/// The hint of an entry that no other call can do anything with.
const LEFT: &str = "a forced deletion removes what is left of the container";

/// The lock of a container, held until dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not used")] LockFile);

impl Store {
    /// A store at `path`, which is made when the first container is.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn root(&self) -> Result<Option<OwnedFd>> {
        match open(&self.path, OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(root) => Ok(Some(root)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::system(format!("open the state root {:?}", self.path), errno)),
        }
    }

    /// Makes the directory of a new container.
    pub(crate) fn create(&self, id: &ContainerId) -> Result<(Entry, Lock)> {
        let call =
            |errno| Error::system(format!("make the state directory of {id} in {:?}", self.path), errno);
        let root = match self.root()? {
            Some(root) => root,
            None => {
                make_root(&self.path)?;
                self.root()?.ok_or_else(|| call(Errno::ENOENT))?
            }
        };
        let taken = || {
            Error::new(ErrorKind::AlreadyExists, format!("container with given ID already exists: {id}"))
                .with_hint("delete it, or choose another id")
        };
        match mkdirat(&root, id.as_str(), Mode::S_IRWXU) {
            Err(Errno::EEXIST) => return Err(taken()),
            other => other.map_err(call)?,
        }
        let opened = self.open(&root, id).and_then(|entry| {
            let lock = entry.lock(&|_| ())?;
            // A forced deletion may have removed the directory before it was locked, and another call have made it again: who
            // comes second finds the state of the first.
            match fstatat(&entry.directory, STATE, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::ENOENT) => Ok((entry, lock)),
                Ok(_) => Err(taken()),
                Err(errno) => Err(call(errno)),
            }
        });
        opened.inspect_err(|_| {
            // Made above, and empty: only this call may know of it. The first error is the one to tell.
            unlinkat(&root, id.as_str(), UnlinkatFlags::RemoveDir).ok();
        })
    }

    /// Opens the directory of a container.
    pub(crate) fn entry(&self, id: &ContainerId) -> Result<Entry> {
        let root = self.root()?.ok_or_else(|| missing(id.as_str()))?;
        self.open(&root, id).map_err(|error| match error.raw_errno() {
            Some(Errno::ENOENT) => missing(id.as_str()),
            _ => error,
        })
    }

    fn open(&self, root: &OwnedFd, id: &ContainerId) -> Result<Entry> {
        let path = self.path.join(id.as_str());
        let directory = below(root.as_fd(), id.as_str(), OFlag::O_DIRECTORY | OFlag::O_RDONLY, Mode::empty())
            .map_err(|errno| Error::system(format!("open the state directory {path:?}"), errno))?;
        check_owner(&path, &directory)?;
        Ok(Entry { path, directory })
    }

    /// The ids of all containers, sorted. What is no container's directory is left out.
    pub(crate) fn ids(&self) -> Result<Vec<ContainerId>> {
        let failed =
            |error: &std::io::Error| Error::io(format!("list the state root {:?}", self.path), error);
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed(&error))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir())
                && let Some(id) = entry.file_name().to_str().and_then(|name| ContainerId::new(name).ok())
            {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }
}

fn missing(id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("container {id:?}")).reason("container does not exist")
}

/// A state names hooks to run and processes to kill: only the caller's own are believed, that nobody
/// else can write.
fn check_owner(path: &Path, directory: &OwnedFd) -> Result<()> {
    let operation = || format!("trust the state directory {path:?}");
    let found = fstat(directory).map_err(|errno| Error::system(operation(), errno))?;
    let own = geteuid().as_raw();
    if found.st_uid != own {
        return Err(Error::system(operation(), Errno::EPERM)
            .reason(format!("it belongs to user {}, not to user {own}", found.st_uid))
            .with_hint("use the container as the user that made it, or choose another state root"));
    }
    if found.st_mode & OTHERS_WRITE != 0 {
        return Err(Error::system(operation(), Errno::EPERM)
            .reason(format!("others can write it: its mode is {:o}", found.st_mode & 0o7777))
            .with_hint("find out who changed it; then `chmod 700`"));
    }
    Ok(())
}

/// Makes the state root with its parents; only the last component is private.
fn make_root(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let call = |error: std::io::Error| {
        Error::io(format!("make the state root {path:?}"), &error).with_hint("choose another state root")
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(call)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        // Another call was first.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(call),
    }
}

/// Opens a name in a directory; no links, no way out.
fn below(directory: BorrowedFd<'_>, name: &str, flags: OFlag, mode: Mode) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    );
    loop {
        match openat2(directory, name, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
}

impl Entry {
    pub(super) fn call(&self, verb: &str, name: &str) -> impl FnOnce(Errno) -> Error {
        let operation = format!("{verb} {:?}", self.path_of(name));
        move |errno| Error::system(operation, errno)
    }

    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a file of the container's.
    pub(super) fn below(&self, name: &str, flags: OFlag, mode: Mode) -> Result<OwnedFd, Errno> {
        below(self.directory.as_fd(), name, flags, mode)
    }

    /// Takes the lock; another call on the same container is waited for. If that takes long, `waiting` is
    /// called once with who it is, in words.
    ///
    /// Kind [`ErrorKind::NotFound`] if the container has been deleted meanwhile, also if another one has its id by now.
    pub(crate) fn lock(&self, waiting: &dyn Fn(&str)) -> Result<Lock> {
        let lock = self.lock_within(LOCK_LIMIT, LOCK_PATIENCE, waiting)?;
        if self.has_gone() { Err(self.missing()) } else { Ok(lock) }
    }

    fn lock_within(&self, limit: Duration, patience: Duration, waiting: &dyn Fn(&str)) -> Result<Lock> {
        let begin = Instant::now();
        let file = self.lock_file().map_err(|errno| self.unless_gone(self.call("open", "")(errno)))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(Errno::EWOULDBLOCK) => {}
                Err(errno) => return Err(self.call("lock", "")(errno)),
            }
            let waited = begin.elapsed();
            if waited >= limit {
                let holder = holder::of(&file);
                return Err(Error::new(ErrorKind::Timeout, format!("lock {:?}", self.path))
                    .reason(format!(
                        "another call on this container is still running after {} s: {holder}",
                        limit.as_secs()
                    ))
                    .with_hint("end that process, or what it waits for, and try again"));
            }
            if waited >= patience && !std::mem::replace(&mut told, true) {
                waiting(&holder::of(&file));
            }
            deadline::check("lock the container")?;
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A lock belongs to an open file description: a new one for each.
    fn lock_file(&self) -> Result<LockFile, Errno> {
        below(self.directory.as_fd(), ".", OFlag::O_DIRECTORY | OFlag::O_RDONLY, Mode::empty())
            .map(LockFile::new)
    }

    /// What there is of the container, for a caller without its lock that has missed a file.
    pub(crate) fn presence(&self) -> Result<Presence> {
        let has_state = match fstatat(&self.directory, STATE, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => true,
            Err(Errno::ENOENT) => false,
            Err(errno) => return Err(self.call("stat", STATE)(errno)),
        };
        match () {
            () if has_state => Ok(Presence::Whole),
            () if self.has_gone() || self.is_locked()? => Ok(Presence::Passing),
            () => Ok(Presence::Left),
        }
    }

    /// Whether the directory has been removed; another one may have its name by now.
    fn has_gone(&self) -> bool {
        match (fstat(&self.directory), lstat(&self.path)) {
            (Ok(own), Ok(found)) => (own.st_dev, own.st_ino) != (found.st_dev, found.st_ino),
            (_, Err(errno)) => errno == Errno::ENOENT,
            (Err(_), Ok(_)) => false,
        }
    }

    /// The error of a container that does not exist.
    pub(crate) fn missing(&self) -> Error {
        missing(&self.path.file_name().unwrap_or_default().to_string_lossy())
    }

    /// The error, unless its reason is that the container has been deleted since it was found.
    fn unless_gone(&self, error: Error) -> Error {
        match error.raw_errno() {
            Some(Errno::ENOENT) if self.has_gone() => self.missing(),
            Some(Errno::ENOENT) => error.with_hint(LEFT),
            _ => error,
        }
    }

    /// Whether another call holds the lock now.
    pub(crate) fn is_locked(&self) -> Result<bool> {
        let file = match self.lock_file() {
            // Removed since it was opened.
            Err(Errno::ENOENT) => return Ok(false),
            other => other.map_err(self.call("open", ""))?,
        };
        // Shared: of two who look at the same moment, neither takes the other for a call on the container.
        match file.try_share() {
            Ok(()) => Ok(false),
            Err(Errno::EWOULDBLOCK) => Ok(true),
            Err(errno) => Err(self.call("lock", "")(errno)),
        }
    }

    /// Reads the state file.
    pub(crate) fn record(&self) -> Result<Record> {
        let bytes = self.read(STATE).map_err(|error| self.unless_gone(error))?;
        let damaged = |reason: String| {
            Error::system(format!("understand {:?}", self.path.join(STATE)), Errno::EINVAL)
                .reason(reason)
                .with_hint(LEFT)
        };
        let record: Record = serde_json::from_slice(&bytes)
            .map_err(|error| damaged(String::new()).because_of(error.to_string(), error))?;
        match record.schema {
            SCHEMA | SCHEMA_HELD => Ok(record),
            other => {
                Err(damaged(format!("it has version {other} of the layout, not {SCHEMA} or {SCHEMA_HELD}")))
            }
        }
    }

    /// Writes the state file; a reader sees the old one or the new one.
    pub(crate) fn write_record(&self, record: &Record) -> Result<()> {
        self.prepare_record(record)?;
        self.publish_record()
    }

    /// Writes the new state file, which nobody sees before [`publish_record`](Self::publish_record).
    pub(crate) fn prepare_record(&self, record: &Record) -> Result<()> {
        let bytes = serde_json::to_vec(record).map_err(|error| Error::json("write the state", error))?;
        self.write(NEW_STATE, &bytes)
    }

    /// Puts the state that was prepared in the place of the old one.
    pub(crate) fn publish_record(&self) -> Result<()> {
        renameat(&self.directory, NEW_STATE, &self.directory, STATE).map_err(self.call("rename to", STATE))
    }

    /// The configuration as it was at create.
    pub(crate) fn config(&self) -> Result<Vec<u8>> {
        self.read(CONFIG)
    }

    /// Keeps the configuration: later changes of the bundle do not change the container.
    pub(crate) fn write_config(&self, bytes: &[u8]) -> Result<()> {
        self.write(CONFIG, bytes)
    }

    /// The resources as the last update left them; `None` if there was none.
    pub(crate) fn resources(&self) -> Result<Option<Vec<u8>>> {
        match self.read(RESOURCES) {
            Err(error) if error.raw_errno() == Some(Errno::ENOENT) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Keeps the resources of an update; a reader sees the old ones or the new ones.
    pub(crate) fn write_resources(&self, bytes: &[u8]) -> Result<()> {
        self.write(NEW_RESOURCES, bytes)?;
        renameat(&self.directory, NEW_RESOURCES, &self.directory, RESOURCES)
            .map_err(self.call("rename to", RESOURCES))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let file = below(self.directory.as_fd(), name, OFlag::O_RDONLY, Mode::empty())
            .map_err(self.call("open", name))?;
        let mut bytes = Vec::with_capacity(READ_EXPECTED);
        std::fs::File::from(file)
            .take(FILE_LIMIT)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::io(format!("read {:?}", self.path.join(name)), &error))?;
        Ok(bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
        let file = below(self.directory.as_fd(), name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(self.call("open", name))?;
        std::fs::File::from(file)
            .write_all(bytes)
            .map_err(|error| Error::io(format!("write {:?}", self.path.join(name)), &error))
    }

    /// The address of the gate: by descriptor, since socket paths are short and this one need not be.
    fn gate_address(&self) -> Result<UnixAddr> {
        let path = format!("/proc/thread-self/fd/{}/{GATE}", self.directory.as_raw_fd());
        UnixAddr::new(path.as_str()).map_err(self.call("address", GATE))
    }

    /// Makes the start gate: a listening socket that the init holds and `start` connects to.
    pub(crate) fn make_gate(&self) -> Result<OwnedFd> {
        let gate = gate_socket().map_err(self.call("make", GATE))?;
        let address = self.gate_address()?;
        bind(gate.as_raw_fd(), &address).map_err(self.call("bind", GATE))?;
        let backlog = Backlog::new(1).map_err(self.call("listen on", GATE))?;
        listen(&gate, backlog).map_err(self.call("listen on", GATE))?;
        Ok(gate)
    }

    /// Whether the start gate is still there: the container has not been started.
    pub(crate) fn has_gate(&self) -> Result<bool> {
        match fstatat(&self.directory, GATE, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(self.call("stat", GATE)(errno)),
        }
    }

    /// Connects to the gate.
    pub(crate) fn open_gate(&self) -> Result<OwnedFd, Errno> {
        let gate = gate_socket()?;
        let address = self.gate_address().map_err(|error| error.raw_errno().unwrap_or(Errno::EINVAL))?;
        connect(gate.as_raw_fd(), &address)?;
        Ok(gate)
    }

    /// Takes the gate away: from now on the container counts as started.
    pub(crate) fn remove_gate(&self) -> Result<()> {
        self.unlink(GATE)
    }

    pub(super) fn unlink(&self, name: &str) -> Result<()> {
        match unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.call("unlink", name)(errno)),
        }
    }

    /// Removes the directory with all that the store has put there. The state goes first: a call
    /// killed on the way leaves no state without the configuration that belongs to it.
    pub(crate) fn remove(&self) -> Result<()> {
        self.unlink(STATE)?;
        self.unlink(CONFIG)?;
        // The name may be that of another container by now.
        if self.has_gone() {
            return Ok(());
        }
        let rmdir = || unlinkat(nix::fcntl::AT_FDCWD, &self.path, UnlinkatFlags::RemoveDir);
        let removed = match rmdir() {
            // What most containers have not, or no longer.
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {
                [NEW_STATE, GATE, NEW_RESOURCES, RESOURCES, MARK]
                    .iter()
                    .try_for_each(|name| self.unlink(name))?;
                rmdir()
            }
            other => other,
        };
        match removed {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.call("rmdir", "")(errno)),
        }
    }
}

fn gate_socket() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A handle of a container that has been deleted, whose id another one has by now.
    #[test]
    fn a_handle_from_before_leaves_the_next_container_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().join("root"));
        let id = ContainerId::new("id").unwrap();
        let (entry, lock) = store.create(&id).unwrap();
        let before = store.entry(&id).unwrap();
        entry.remove().unwrap();
        drop(lock);
        assert_eq!(before.lock(&|_| ()).err().map(|error| error.kind()), Some(ErrorKind::NotFound));
        let (next, _lock) = store.create(&id).unwrap();
        assert_eq!(before.lock(&|_| ()).err().map(|error| error.kind()), Some(ErrorKind::NotFound));
        before.remove().unwrap();
        assert!(!next.has_gone(), "the directory of the next container is removed");
    }

    #[test]
    fn who_waits_for_a_lock_learns_who_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().join("root"));
        let (entry, lock) = store.create(&ContainerId::new("id").unwrap()).unwrap();
        let told = RefCell::new(Vec::new());
        let tell = |holder: &str| told.borrow_mut().push(holder.to_owned());
        let error = entry.lock_within(Duration::from_millis(20), Duration::ZERO, &tell).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let holder = format!("process {} (", std::process::id());
        assert!(error.to_string().contains(&holder), "{error}");
        assert!(matches!(&told.borrow()[..], [one] if one.contains(&holder)), "{told:?}");
        drop(lock);
        entry.lock_within(Duration::ZERO, Duration::ZERO, &|_| panic!("nobody is waited for")).unwrap();
    }

    /// Control: the file that the link leads to is read by its own name.
    #[test]
    fn links_in_the_state_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().join("root"));
        let id = ContainerId::new("id").unwrap();
        let (entry, _lock) = store.create(&id).unwrap();
        let outside = directory.path().join("outside");
        std::fs::write(&outside, "outside").unwrap();
        let config = entry.path_of(CONFIG);
        for target in [outside.as_path(), Path::new("../../outside"), Path::new("/proc/self/exe")] {
            std::os::unix::fs::symlink(target, &config).unwrap();
            assert_eq!(entry.config().unwrap_err().raw_errno(), Some(Errno::ELOOP), "{target:?}");
            assert_eq!(
                entry.write_config(b"changed").unwrap_err().raw_errno(),
                Some(Errno::ELOOP),
                "{target:?}"
            );
            std::fs::remove_file(&config).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "outside");
        std::fs::rename(&outside, &config).unwrap();
        assert_eq!(entry.config().unwrap(), b"outside");
        // A directory that is a link is not a container's.
        std::os::unix::fs::symlink("id", store.path().join("link")).unwrap();
        let error = store.entry(&ContainerId::new("link").unwrap()).unwrap_err();
        assert_eq!(error.raw_errno(), Some(Errno::ELOOP));
    }
}
