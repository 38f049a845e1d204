//! The mounts of a root file system, which containerd's snapshotter has prepared and the shim makes.

use std::path::{Path, PathBuf};

use containerd_shim_protos::types::mount::Mount;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::fault::Fault;

/// mount(2) takes one page of options.
const PAGE: usize = 4096;

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
    let (data, directory) = parsed.compact();
    let call = format!("mount {source:?} on {target:?} type {kind:?} with {data:?}");
    if data.len() >= PAGE {
        let hint = "fewer layers, or a shorter path of containerd's root, take less";
        return Err(Fault::invalid(format!(
            "{call}: the options have {} bytes, a page is the most; {hint}",
            data.len()
        )));
    }
    let work = || {
        let data = (!data.is_empty()).then_some(data.as_str());
        let kind = (!kind.is_empty()).then_some(kind.as_str());
        mount(Some(source.as_str()), &target, kind, parsed.first_flags(), data)?;
        if parsed.is_bind() && parsed.flags.contains(MsFlags::MS_RDONLY) {
            let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | (parsed.flags & !MsFlags::MS_REC);
            mount(None::<&str>, &target, None::<&str>, again, None::<&str>)?;
        }
        Ok(())
    };
    in_directory(directory.as_deref(), work)?.map_err(|errno: Errno| Fault::system(call, errno))
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
fn in_directory<T: Send>(directory: Option<&str>, call: impl FnOnce() -> T + Send) -> Result<T, Fault> {
    let Some(directory) = directory else { return Ok(call()) };
    let work = || {
        let moved = nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)
            .and_then(|()| nix::unistd::chdir(directory));
        moved.map(|()| call()).map_err(|errno| Fault::system(format!("enter {directory:?}"), errno))
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(Fault::system("mount", "the thread has panicked")))
}

/// Options of mount(8) in the two parts that mount(2) takes.
struct Parsed<'a> {
    flags: MsFlags,
    data: Vec<&'a str>,
}

impl<'a> Parsed<'a> {
    fn new(options: &'a [String]) -> Result<Self, Fault> {
        let mut parsed = Self { flags: MsFlags::empty(), data: Vec::new() };
        for option in options {
            match flag(option) {
                Some((true, flag)) => parsed.flags |= flag,
                Some((false, flag)) => parsed.flags &= !flag,
                None if is_unknown(option) => {
                    return Err(Fault::invalid(format!(
                        "mount option {option:?}: this shim has no such mount"
                    )));
                }
                None => parsed.data.push(option),
            }
        }
        Ok(parsed)
    }

    fn is_bind(&self) -> bool {
        self.flags.contains(MsFlags::MS_BIND)
    }

    /// A bind mount takes the flags of its source; read-only comes with a second call.
    fn first_flags(&self) -> MsFlags {
        if self.is_bind() { self.flags - MsFlags::MS_RDONLY } else { self.flags }
    }

    /// The data. Where it would be over a page, the layers of an overlay are named relative to the directory that all of them
    /// are in, which comes second.
    fn compact(&self) -> (String, Option<String>) {
        let whole = self.data.join(",");
        if whole.len() < PAGE {
            return (whole, None);
        }
        let layers = self.data.iter().find_map(|option| option.strip_prefix("lowerdir="));
        let Some(directory) = layers.and_then(common_directory) else { return (whole, None) };
        let shorten = |option: &&str| match option.strip_prefix("lowerdir=") {
            None => (*option).to_owned(),
            Some(layers) => {
                let short = layers.split(':').map(|layer| layer.strip_prefix(&directory).unwrap_or(layer));
                format!("lowerdir={}", short.collect::<Vec<_>>().join(":"))
            }
        };
        (self.data.iter().map(shorten).collect::<Vec<_>>().join(","), Some(directory))
    }
}

/// Mounts that need more than mount(2): a loop device, and the id-mapped layers of newer snapshotters.
fn is_unknown(option: &str) -> bool {
    option == "loop"
        || option.starts_with("uidmap=")
        || option.starts_with("gidmap=")
        || option.starts_with("X-")
}

/// The longest directory, with its slash, that all layers are below.
fn common_directory(layers: &str) -> Option<String> {
    let first = layers.split(':').next()?;
    let mut length = first.len();
    for layer in layers.split(':') {
        let same =
            first.as_bytes().iter().zip(layer.as_bytes()).take_while(|(one, other)| one == other).count();
        length = length.min(same);
    }
    let end = first.as_bytes().get(..length)?.iter().rposition(|byte| *byte == b'/')?;
    (end > 0).then(|| first.get(..=end).unwrap_or_default().to_owned())
}

/// Whether an option sets or clears a flag, and which.
fn flag(option: &str) -> Option<(bool, MsFlags)> {
    Some(match option {
        "ro" => (true, MsFlags::MS_RDONLY),
        "rw" => (false, MsFlags::MS_RDONLY),
        "bind" => (true, MsFlags::MS_BIND),
        "rbind" => (true, MsFlags::MS_BIND | MsFlags::MS_REC),
        "async" => (false, MsFlags::MS_SYNCHRONOUS),
        "sync" => (true, MsFlags::MS_SYNCHRONOUS),
        "dirsync" => (true, MsFlags::MS_DIRSYNC),
        "atime" => (false, MsFlags::MS_NOATIME),
        "noatime" => (true, MsFlags::MS_NOATIME),
        "diratime" => (false, MsFlags::MS_NODIRATIME),
        "nodiratime" => (true, MsFlags::MS_NODIRATIME),
        "relatime" => (true, MsFlags::MS_RELATIME),
        "norelatime" => (false, MsFlags::MS_RELATIME),
        "strictatime" => (true, MsFlags::MS_STRICTATIME),
        "nostrictatime" => (false, MsFlags::MS_STRICTATIME),
        "dev" => (false, MsFlags::MS_NODEV),
        "nodev" => (true, MsFlags::MS_NODEV),
        "exec" => (false, MsFlags::MS_NOEXEC),
        "noexec" => (true, MsFlags::MS_NOEXEC),
        "suid" => (false, MsFlags::MS_NOSUID),
        "nosuid" => (true, MsFlags::MS_NOSUID),
        "defaults" => (true, MsFlags::empty()),
        "remount" => (true, MsFlags::MS_REMOUNT),
        "mand" => (true, MsFlags::MS_MANDLOCK),
        "nomand" => (false, MsFlags::MS_MANDLOCK),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn flags_and_data() {
        let given = options("rbind ro nosuid suid index=off");
        let parsed = Parsed::new(&given).unwrap();
        assert_eq!(parsed.flags, MsFlags::MS_BIND | MsFlags::MS_REC | MsFlags::MS_RDONLY);
        assert_eq!(parsed.compact(), ("index=off".to_owned(), None));
        assert!(Parsed::new(&options("uidmap=0:1:2")).err().unwrap().message.contains("uidmap=0:1:2"));
    }

    #[test]
    fn many_layers_are_named_relative_to_their_directory() {
        let root = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots";
        let layers: Vec<_> = (1..=60).map(|number| format!("{root}/{number}/fs")).collect();
        let given = [format!("upperdir={root}/99/fs"), format!("lowerdir={}", layers.join(":"))];
        let parsed = Parsed::new(&given).unwrap();
        let (data, directory) = parsed.compact();
        assert_eq!(directory.as_deref(), Some(format!("{root}/").as_str()));
        assert!(
            data.starts_with(&format!("upperdir={root}/99/fs,lowerdir=1/fs:2/fs:")) && data.len() < PAGE,
            "{data}"
        );
    }

    #[test]
    fn a_target_stays_below_the_root() {
        assert_eq!(below(Path::new("/b/rootfs"), "").unwrap(), Path::new("/b/rootfs"));
        assert_eq!(below(Path::new("/b/rootfs"), "/dir").unwrap(), Path::new("/b/rootfs/dir"));
        assert!(below(Path::new("/b/rootfs"), "a/../..").is_err());
    }
}
