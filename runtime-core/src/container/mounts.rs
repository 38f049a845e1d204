//! Mounts that are added to a running container, and removed again.
//!
//! A mount is made detached, outside. An errand, a process that shares nothing with the caller, visits the container's mount
//! namespace and puts it onto a descriptor that openat2(2) resolved below the container's root; no path of the host
//! is looked up inside, and nothing of the container is executed. The visit has a limit of time: a file
//! system of the container may never answer.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::Container;
use crate::confinement::Explained;
use crate::error::{Error, ErrorKind, Result};
use crate::launch;
use crate::spec::{Mount, mount_options as attribute, parse_mounts};
use crate::state::{AddedMount, Record, Status};
use crate::sys::mount;

impl Container {
    /// Adds mounts to the running container: `mounts` is a JSON array in the form of `mounts` in
    /// `config.json`. Bind mounts, whose sources are paths of the host, and new tmpfs can be added.
    ///
    /// # Errors
    ///
    /// The list is malformed; the container does not run; a mount fails: those before it stay.
    pub fn add_mounts(&self, mounts: &[u8]) -> Result<()> {
        self.change_mounts(mounts, |visit, record, wanted| {
            let tree = detached(wanted, visit.locked)?;
            let id = mount_id(&tree).map_err(|error| error.origin(wanted.origin()))?;
            visit.attach(&tree, wanted)?;
            record.added_mounts.push(AddedMount { destination: wanted.destination.clone(), id });
            Ok(())
        })
    }

    /// Removes mounts that [`add_mounts`](Self::add_mounts) has added; of `mounts` the destinations
    /// count.
    ///
    /// # Errors
    ///
    /// As above, and for a mount that was not added or is not at its place any more: a container must
    /// not be able to have what protects the host, such as a masked path, removed in its place.
    pub fn remove_mounts(&self, mounts: &[u8]) -> Result<()> {
        self.change_mounts(mounts, |visit, record, wanted| {
            let refused = |reason: &'static str| {
                Error::new(ErrorKind::WrongState, format!("unmount {:?}", wanted.destination))
                    .reason(reason)
                    .origin(wanted.origin())
            };
            let added = |mount: &AddedMount| mount.destination == wanted.destination;
            let Some(position) = record.added_mounts.iter().rposition(added) else {
                return Err(refused("it was not added to the container"));
            };
            let target = visit.open(wanted)?;
            let expected = record.added_mounts.get(position).map(|mount| mount.id);
            if Some(mount_id(&target)?) != expected {
                return Err(refused("what is mounted there is not what was added"));
            }
            visit.detach(&target, wanted)?;
            record.added_mounts.remove(position);
            Ok(())
        })
    }

    fn change_mounts(
        &self,
        mounts: &[u8],
        change: impl FnMut(&Visit, &mut Record, &Mount) -> Result<()>,
    ) -> Result<()> {
        self.change_each(mounts, change).explained()
    }

    fn change_each(
        &self,
        mounts: &[u8],
        mut change: impl FnMut(&Visit, &mut Record, &Mount) -> Result<()>,
    ) -> Result<()> {
        let lock = self.lock()?;
        let mut record = self.entry.record()?;
        let spec = self.spec()?;
        let status = self.status_under(&lock, &record)?;
        if !matches!(status, Status::Running | Status::Paused | Status::Created) {
            return Err(self.wrong_state("cannot change the mounts of a stopped container"));
        }
        if !spec.namespaces.makes(crate::spec::Kind::Mount) {
            // In a joined one the container's mounts are not its own.
            return Err(Error::invalid(
                "linux.namespaces",
                "the container has no mount namespace of its own",
            ));
        }
        let wanted = parse_mounts(mounts, &spec.namespaces)?;
        wanted.iter().try_for_each(check)?;
        let stopped = || self.wrong_state("cannot change the mounts of a stopped container");
        let init = self.live_init(&record)?.ok_or_else(stopped)?;
        let visit = Visit { init, locked: spec.namespaces.has(crate::spec::Kind::User) };
        for mount in &wanted {
            let changed = change(&visit, &mut record, mount);
            // What has been done is remembered even if the next one fails.
            self.entry.write_record(&record)?;
            changed?;
        }
        Ok(())
    }
}

fn check(wanted: &Mount) -> Result<()> {
    let refused = |reason: &'static str| Err(Error::invalid(wanted.origin(), reason));
    let options = &wanted.options;
    if options.remount || options.idmap.is_some() || !wanted.uid_map.is_empty() || options.copy_up {
        return refused("remounts, id-mapped mounts and tmpcopyup are not possible in a running container");
    }
    if options.copy_symlink || options.destination_nofollow {
        return refused("copy-symlink and dest-nofollow are not possible in a running container");
    }
    if options.bind.is_none() && wanted.kind != "tmpfs" {
        return refused("only bind mounts and tmpfs can be added to a running container");
    }
    if options.bind.is_some() && !wanted.source.starts_with('/') {
        return refused("the source must be an absolute path of the host");
    }
    if options.propagation.iter().any(|(flags, _)| flags & libc::MS_SHARED != 0) {
        return refused("a mount of a running container cannot share its mounts with the host");
    }
    Ok(())
}

/// The mount, attached nowhere. With `locked` the attributes of the
/// host's mounts stay as they are, whatever the container's capabilities in its user namespace.
fn detached(wanted: &Mount, locked: bool) -> Result<OwnedFd> {
    let failed = |errno| {
        Error::system(format!("mount {:?} for {:?}", wanted.source, wanted.destination), errno)
            .origin(wanted.origin())
    };
    let options = &wanted.options;
    let tree = match options.bind {
        Some(recursive) => {
            let source = CString::new(wanted.source.as_str()).map_err(|_| failed(Errno::EINVAL))?;
            let tree = match locked {
                false => mount::clone_tree(&source, recursive, options.source_nofollow),
                true => launch::locked_tree(&wanted.source, recursive, options.source_nofollow)?,
            };
            let tree = tree.map_err(failed)?;
            mount::make_private(tree.as_fd()).map_err(failed)?;
            set_attributes(&tree, wanted, locked).map_err(failed)?;
            tree
        }
        None => tmpfs(wanted).map_err(failed)?,
    };
    if options.set_all != 0 || options.clear_all != 0 {
        mount::change(tree.as_fd(), options.set_all, options.clear_all, 0, true).map_err(failed)?;
    }
    Ok(tree)
}

/// A bind mount has the attributes that its options name, if they name any, as at create. Of a locked one
/// only those that the options clear are cleared, which the kernel refuses for the host's.
fn set_attributes(tree: &OwnedFd, wanted: &Mount, locked: bool) -> Result<(), Errno> {
    let options = &wanted.options;
    if !options.names_attributes() {
        return Ok(());
    }
    let (set_atime, clear_atime) = options.atime_change();
    let set = options.set | set_atime;
    // The kernel does not lock the one of symbolic links.
    let clear = if locked { options.clear & attribute::ALL | attribute::NOSYMFOLLOW } else { attribute::ALL };
    let clear = clear & !set | clear_atime & (attribute::ATIME | !set);
    mount::change(tree.as_fd(), set, clear, 0, false)
}

fn tmpfs(wanted: &Mount) -> Result<OwnedFd, Errno> {
    let text = |text: &str| CString::new(text).map_err(|_| Errno::EINVAL);
    let mut parameters = vec![(text("source")?, Some(text("tmpfs")?))];
    for flag in &wanted.options.superblock {
        parameters.push((text(flag)?, None));
    }
    for parameter in &wanted.options.data {
        match parameter.split_once('=') {
            Some((key, value)) => parameters.push((text(key)?, Some(text(value)?))),
            None => parameters.push((text(parameter)?, None)),
        }
    }
    let parameters: Vec<_> =
        parameters.iter().map(|(key, value)| (key.as_c_str(), value.as_deref())).collect();
    mount::filesystem(c"tmpfs", &parameters, wanted.options.attributes())
}

/// The number of the mount that a descriptor is on.
fn mount_id(file: &OwnedFd) -> Result<u64> {
    let path = format!("/proc/thread-self/fdinfo/{}", file.as_raw_fd());
    let text = std::fs::read_to_string(&path).map_err(|error| Error::io(format!("read {path:?}"), &error))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")).and_then(|id| id.trim().parse().ok());
    id.ok_or_else(|| Error::system(format!("understand {path:?}"), Errno::EINVAL))
}

/// The way into the container's mount namespace.
struct Visit {
    init: OwnedFd,
    /// The container is in a user namespace.
    locked: bool,
}

impl Visit {
    fn open(&self, wanted: &Mount) -> Result<OwnedFd> {
        launch::open_in(self.init.as_fd(), &wanted.destination).map_err(failed(wanted, "open"))
    }

    fn attach(&self, tree: &OwnedFd, wanted: &Mount) -> Result<()> {
        launch::attach_in(self.init.as_fd(), tree.as_fd(), &wanted.destination)
            .map_err(failed(wanted, "mount on"))
    }

    fn detach(&self, target: &OwnedFd, wanted: &Mount) -> Result<()> {
        launch::unmount_in(self.init.as_fd(), target.as_fd()).map_err(failed(wanted, "unmount"))
    }
}

/// The errand that failed as what it was for.
fn failed(wanted: &Mount, verb: &str) -> impl FnOnce(Error) -> Error {
    let operation = format!("{verb} {:?} in the container", wanted.destination);
    let origin = wanted.origin();
    move |error| match error.raw_errno() {
        Some(errno) => Error::system(operation, errno).origin(origin),
        None => error.context(operation).origin(origin),
    }
}

/// Where a link of the container leads is known only here: not to the root, which a mount would cover,
/// and not to a procfs (see `spec::mount`).
pub(super) fn verify(root: impl AsFd, target: &OwnedFd) -> Result<(), Errno> {
    let (root, place) = (fstat(root)?, fstat(target)?);
    if (root.st_dev, root.st_ino) == (place.st_dev, place.st_ino) {
        return Err(Errno::EINVAL);
    }
    match fstatfs(target)?.filesystem_type() == PROC_SUPER_MAGIC {
        true => Err(Errno::EPERM),
        false => Ok(()),
    }
}
