//! The place for a restore: a mount namespace in which the root file system is a mount, as CRIU wants
//! it, and has all mount points.
//!
//! The namespace is that of a thread which ends, and then of CRIU alone: the caller's mounts never
//! change, and nothing is left to unmount, whatever happens.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, SFlag, fstat};

use crate::container::mounts::verify;
use crate::error::{Error, Result};
use crate::spec::Mount;
use crate::sys::{self, fs, namespace};

/// A root file system that is ready.
pub(super) struct Place {
    /// Its path.
    pub(super) root: String,
    /// Bind mounts: where in the container, without links, and what on the host.
    pub(super) binds: Vec<(String, String)>,
}

/// Gives the calling thread a mount namespace and prepares the root in it.
pub(super) fn prepare(rootfs: &Path, bundle: &Path, mounts: &[Mount]) -> Result<Place> {
    let failed = |call: &'static str| move |errno| Error::system(call, errno);
    namespace::unshare(CloneFlags::CLONE_NEWNS.bits()).map_err(failed("unshare of the mount namespace"))?;
    let slave = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, slave, None::<&str>)
        .map_err(failed("make the new namespace's mounts slaves"))?;
    let rootfs = rootfs.canonicalize().map_err(|error| Error::io(format!("find {rootfs:?}"), &error))?;
    let root = mount_on_itself(&rootfs)?;
    let mut builder = Builder { root: root.as_fd(), rootfs: &rootfs, bundle, mounted: Vec::new() };
    let binds = builder.all(mounts)?;
    let root = rootfs.to_string_lossy().into_owned();
    builder.unmount()?;
    Ok(Place { root, binds })
}

fn mount_on_itself(rootfs: &Path) -> Result<OwnedFd> {
    let failed = |errno| Error::system(format!("mount {rootfs:?} on itself"), errno).origin("root.path");
    // A slave as the mount that it is of: CRIU gives the container's root the propagation that it finds here,
    // and takes none from a private mount.
    let tree = clone_tree(rootfs).map_err(failed)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let target = open(rootfs, flags, Mode::empty()).map_err(failed)?;
    sys::mount::attach(tree.as_fd(), target.as_fd()).map_err(failed)?;
    Ok(tree)
}

fn clone_tree(path: &Path) -> Result<OwnedFd, Errno> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    sys::mount::clone_tree(&path, true, false)
}

struct Builder<'a> {
    root: BorrowedFd<'a>,
    rootfs: &'a Path,
    bundle: &'a Path,
    mounted: Vec<OwnedFd>,
}

impl Builder<'_> {
    fn all(&mut self, mounts: &[Mount]) -> Result<Vec<(String, String)>> {
        let mut binds = Vec::new();
        for mount in mounts.iter().filter(|mount| mount.kind != "cgroup") {
            // What is on a tmpfs is in the image.
            if is_on_tmpfs(&mount.destination, mounts) {
                if mount.options.bind.is_some() {
                    let source = self.source(mount)?;
                    binds.push((mount.destination.clone(), source.to_string_lossy().into_owned()));
                }
                continue;
            }
            match mount.options.bind {
                Some(_) => binds.push(self.bind(mount)?),
                None => drop(self.mount_point(mount, true)?),
            }
        }
        Ok(binds)
    }

    /// Without links and dots: CRIU takes the name in its directory from it.
    fn source(&self, mount: &Mount) -> Result<PathBuf> {
        let path = self.bundle.join(&mount.source);
        path.canonicalize()
            .map_err(|error| Error::io(format!("find {path:?}"), &error).origin(mount.origin()))
    }

    /// Makes the mount point of a bind mount and mounts it, so that those below it can be made.
    fn bind(&mut self, mount: &Mount) -> Result<(String, String)> {
        let source = self.source(mount)?;
        let failed = |errno| {
            Error::system(format!("bind mount {source:?} on {:?}", mount.destination), errno)
                .origin(mount.origin())
        };
        let tree = clone_tree(&source).map_err(failed)?;
        sys::mount::make_private(tree.as_fd()).map_err(failed)?;
        let stat = fstat(&tree).map_err(failed)?;
        let directory = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
        let target = self.mount_point(mount, directory)?;
        let resolved = self.resolved(&target, &mount.destination);
        sys::mount::attach(tree.as_fd(), target.as_fd()).map_err(failed)?;
        self.mounted.push(tree);
        Ok((resolved, source.to_string_lossy().into_owned()))
    }

    fn mount_point(&self, mount: &Mount, directory: bool) -> Result<OwnedFd> {
        let made = fs::open_or_make(self.root, &mount.destination, directory);
        // As at create: a link of the image may lead to the root itself.
        made.and_then(|target| verify(self.root, &target).map(|()| target)).map_err(|errno| {
            Error::system(format!("make the mount point {:?}", mount.destination), errno)
                .origin(mount.origin())
        })
    }

    /// The path in the container without links.
    fn resolved(&self, target: &OwnedFd, written: &str) -> String {
        let link = std::fs::read_link(format!("/proc/thread-self/fd/{}", target.as_raw_fd())).ok();
        let inside = link.as_ref().and_then(|link| link.strip_prefix(self.rootfs).ok());
        inside.map_or_else(|| written.to_owned(), |path| format!("/{}", path.to_string_lossy()))
    }

    /// Takes the bind mounts away again: CRIU makes its own.
    fn unmount(self) -> Result<()> {
        for mount in self.mounted.into_iter().rev() {
            // By its descriptor: the path in the root may have changed by now.
            let path = format!("/proc/thread-self/fd/{}", mount.as_raw_fd());
            umount2(path.as_str(), MntFlags::MNT_DETACH)
                .map_err(|errno| Error::system("unmount a prepared bind mount", errno))?;
        }
        Ok(())
    }
}

fn is_on_tmpfs(path: &str, mounts: &[Mount]) -> bool {
    let below = |parent: &str| path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'));
    mounts.iter().any(|mount| mount.kind == "tmpfs" && below(&mount.destination))
}
