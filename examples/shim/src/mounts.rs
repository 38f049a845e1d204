//! The mounts of a root file system, which containerd's snapshotter has prepared and the shim makes.

mod mapped;
mod options;

use std::path::{Path, PathBuf};

use containerd_shim_protos::types::mount::Mount;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::fault::Fault;
use options::{Data, PAGE, Parsed};

/// Mounts everything onto `rootfs`, one over the other; after an error nothing is left.
pub(crate) fn mount_all(mounts: &[Mount], rootfs: &Path) -> Result<(), Fault> {
    for (index, wanted) in mounts.iter().enumerate() {
        let made = mount_one(wanted, rootfs)
            .map_err(|fault| fault.during(&format!("failed to mount rootfs component (rootfs[{index}])")));
        if let Err(fault) = made {
            unmount_all(rootfs);
            return Err(fault);
        }
    }
    Ok(())
}

/// Takes away whatever is mounted on `rootfs`.
pub(crate) fn unmount_all(rootfs: &Path) {
    loop {
        match umount2(rootfs, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // Nothing is mounted, or there is no such directory.
            Err(Errno::EINVAL | Errno::ENOENT) => return,
            Err(errno) => {
                crate::log::warn(&format!("umount {rootfs:?}: {errno}"));
                return;
            }
        }
    }
}

fn mount_one(wanted: &Mount, rootfs: &Path) -> Result<(), Fault> {
    let Mount { type_: kind, source, target, options, special_fields: _ } = wanted;
    let target = below(rootfs, target)?;
    let parsed = Parsed::new(options)?;
    let wanted = Wanted { kind, source, target: &target, parsed: &parsed };
    match parsed.maps()? {
        Some((uids, gids)) => mapped::mount(&wanted, uids, gids),
        None => wanted.mount(parsed.compact()),
    }
}

/// One mount, as containerd asks for it.
struct Wanted<'a> {
    kind: &'a str,
    source: &'a str,
    target: &'a Path,
    parsed: &'a Parsed<'a>,
}

impl Wanted<'_> {
    /// Makes the mount at its target, with these options for the file system.
    fn mount(&self, data: Data) -> Result<(), Fault> {
        let Data { text, directory } = data;
        let call = format!("mount {:?} on {:?} type {:?} with {text:?}", self.source, self.target, self.kind);
        if text.len() >= PAGE {
            let hint = "fewer layers, or a shorter path of containerd's root, take less";
            return Err(Fault::invalid(format!(
                "{call}: the options have {} bytes, a page is the most; {hint}",
                text.len()
            )));
        }
        let parsed = self.parsed;
        let work = || {
            let data = (!text.is_empty()).then_some(text.as_str());
            let kind = (!self.kind.is_empty()).then_some(self.kind);
            mount(Some(self.source), self.target, kind, parsed.first_flags(), data)?;
            match parsed.is_bind() && parsed.flags.contains(MsFlags::MS_RDONLY) {
                true => remount_bind(self.target, parsed.flags & !MsFlags::MS_REC),
                false => Ok(()),
            }
        };
        in_directory(directory.as_deref(), work)?.map_err(|errno: Errno| Fault::system(call, errno))
    }
}

/// Gives a bind mount its flags. In a user namespace it keeps those of its source: the kernel has locked them.
fn remount_bind(target: &Path, flags: MsFlags) -> nix::Result<()> {
    let remount = |flags| {
        let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
        mount(None::<&str>, target, None::<&str>, again, None::<&str>)
    };
    match remount(flags) {
        Err(Errno::EPERM) => remount(flags | locked(statvfs(target)?.flags())),
        other => other,
    }
}

fn locked(of: FsFlags) -> MsFlags {
    let pairs = [
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    pairs.into_iter().filter(|(has, _)| of.contains(*has)).map(|(_, flag)| flag).collect()
}

/// A target that is no name below the root is none of containerd's.
fn below(rootfs: &Path, target: &str) -> Result<PathBuf, Fault> {
    let relative = Path::new(target.trim_start_matches('/'));
    if relative.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(Fault::invalid(format!("mount target {target:?} leaves the root")));
    }
    Ok(rootfs.join(relative).components().collect())
}

/// Calls with another working directory. A thread makes the call, since the directory of this process is everybody's.
fn in_directory<T: Send>(directory: Option<&Path>, call: impl FnOnce() -> T + Send) -> Result<T, Fault> {
    let Some(directory) = directory else { return Ok(call()) };
    let work = || {
        let moved = nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)
            .and_then(|()| nix::unistd::chdir(directory));
        moved.map(|()| call()).map_err(|errno| Fault::system(format!("enter {directory:?}"), errno))
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(Fault::system("mount", "the thread has panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_stays_below_the_root() {
        assert_eq!(below(Path::new("/b/rootfs"), "").unwrap(), Path::new("/b/rootfs"));
        assert_eq!(below(Path::new("/b/rootfs"), "/dir").unwrap(), Path::new("/b/rootfs/dir"));
        assert!(below(Path::new("/b/rootfs"), "a/../..").is_err());
    }
}
