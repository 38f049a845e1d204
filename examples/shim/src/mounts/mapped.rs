//! Id-mapped mounts: root of the container owns what root owns in the image, and no file is copied.
//!
//! An overlay cannot be id-mapped itself; its layers are. They have to be mounted somewhere while the overlay is made, and that
//! is a mount namespace that one thread has for as long as that takes: nothing of it is ever seen on the host, and nothing
//! is left when the shim is killed.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::mount::{MsFlags, mount as mount2};
use nix::sched::{CloneFlags, unshare};
use runtime_core::idmap::{IdMap, IdMapping};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::Wanted;
use crate::fault::Fault;

/// Makes a mount that shows other ids, or an overlay of such.
pub(super) fn mount(wanted: &Wanted<'_>, uids: IdMap, gids: IdMap) -> Result<(), Fault> {
    let mapping = IdMapping::new(&uids, &gids)?;
    let made = std::thread::scope(|scope| scope.spawn(|| detached(wanted, &mapping)).join())
        .unwrap_or_else(|_| Err(Fault::system("mount", "the thread has panicked")))?;
    attach(&made, wanted.target)
}

/// The mount, which is mounted nowhere that the host sees. The thread that calls this ends afterwards.
fn detached(wanted: &Wanted<'_>, mapping: &IdMapping) -> Result<OwnedFd, Fault> {
    unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| {
            mount2(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        })
        .map_err(|errno| Fault::system("make a mount namespace for an id-mapped mount", errno))?;
    if wanted.kind != "overlay" {
        wanted.mount(wanted.parsed.compact())?;
        return Ok(mapping.tree(wanted.target, true)?);
    }
    let layers = wanted.parsed.layers().ok_or_else(|| Fault::invalid("an overlay without lowerdir"))?;
    // The target is in nobody's way in this namespace, and the layers' new names are short.
    mount2(Some("layers"), wanted.target, Some("tmpfs"), MsFlags::empty(), None::<&str>)
        .map_err(|errno| Fault::system(format!("mount tmpfs on {:?}", wanted.target), errno))?;
    let mut names = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let (name, place) = (index.to_string(), wanted.target.join(index.to_string()));
        fs::create_dir(&place).map_err(|error| Fault::system(format!("make {place:?}"), error))?;
        attach(&mapping.tree(layer.as_ref(), false)?, &place)?;
        names.push(name);
    }
    wanted.mount(wanted.parsed.with_layers(&names, wanted.target))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, wanted.target, flags)
        .map_err(|errno| Fault::system(format!("open_tree {:?}", wanted.target), errno))
}

/// Puts a detached mount to a directory.
fn attach(mount: &OwnedFd, target: &Path) -> Result<(), Fault> {
    move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|errno| Fault::system(format!("move_mount to {target:?}"), errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use containerd_shim_protos::types::mount::Mount;
    use std::os::unix::fs::MetadataExt;

    /// Runs in a mount namespace of its own.
    fn apart(body: impl FnOnce() + Send) {
        if !nix::unistd::geteuid().is_root() {
            return println!("skipped: needs root");
        }
        let work = || {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount2(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            body();
        };
        std::thread::scope(|scope| scope.spawn(work).join().unwrap());
    }

    fn wanted(kind: &str, source: &str, options: &[String]) -> Mount {
        let maps = ["uidmap=0:100000:65536", "gidmap=0:200000:65536"].map(str::to_owned);
        Mount {
            type_: kind.to_owned(),
            source: source.to_owned(),
            options: [&maps, options].concat(),
            ..Mount::default()
        }
    }

    fn owner(path: &Path) -> (u32, u32) {
        let metadata = fs::metadata(path).unwrap();
        (metadata.uid(), metadata.gid())
    }

    #[test]
    fn an_overlay_of_mapped_layers() {
        apart(|| {
            let dir = tempfile::tempdir().unwrap();
            let path = |name: &str| dir.path().join(name);
            for name in ["a", "b", "upper", "work", "rootfs"] {
                fs::create_dir(path(name)).unwrap();
            }
            fs::write(path("a/below"), "a").unwrap();
            fs::write(path("b/above"), "b").unwrap();
            std::os::unix::fs::chown(path("upper"), Some(100_000), Some(200_000)).unwrap();
            std::os::unix::fs::chown(path("a/below"), Some(7), Some(8)).unwrap();
            let option = |name: &str, text: String| format!("{name}={text}");
            let text = |name: &str| path(name).display().to_string();
            let layers = format!("{}:{}", text("b"), text("a"));
            let options = [
                option("upperdir", text("upper")),
                option("workdir", text("work")),
                option("lowerdir", layers),
            ];
            let rootfs = path("rootfs");
            super::super::mount_all(&[wanted("overlay", "overlay", &options)], &rootfs).unwrap();
            assert_eq!(owner(&rootfs.join("above")), (100_000, 200_000));
            assert_eq!(owner(&rootfs.join("below")), (100_007, 200_008));
            assert_eq!(owner(&path("b/above")), (0, 0), "the layer itself");
            // What is written goes to the upper layer, as whoever writes it.
            fs::write(rootfs.join("below"), "new").unwrap();
            assert_eq!(fs::read_to_string(path("upper/below")).unwrap(), "new");
            assert_eq!(owner(&path("upper/below")), (100_007, 200_008));
            let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let mine: Vec<_> = table.lines().filter(|line| line.contains(&text("rootfs"))).collect();
            assert_eq!(mine.len(), 1, "the overlay alone is seen: {mine:?}");
            super::super::unmount_all(&rootfs);
            assert_eq!(fs::read_dir(&rootfs).unwrap().count(), 0);
        });
    }

    #[test]
    fn a_mapped_bind_mount() {
        apart(|| {
            let dir = tempfile::tempdir().unwrap();
            let (source, rootfs) = (dir.path().join("source"), dir.path().join("rootfs"));
            for path in [&source, &rootfs] {
                fs::create_dir(path).unwrap();
            }
            fs::write(source.join("file"), "").unwrap();
            let options = ["rbind", "ro"].map(str::to_owned);
            let mount = wanted("bind", &source.display().to_string(), &options);
            super::super::mount_all(&[mount], &rootfs).unwrap();
            assert_eq!(owner(&rootfs.join("file")), (100_000, 200_000));
            let refused = fs::write(rootfs.join("file"), "x").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
            super::super::unmount_all(&rootfs);
        });
    }

    /// After an error nothing is mounted.
    #[test]
    fn a_layer_that_is_not_there() {
        apart(|| {
            let dir = tempfile::tempdir().unwrap();
            let options = ["lowerdir=/no/such/layer".to_owned()];
            let mounts = [wanted("overlay", "overlay", &options)];
            let fault = super::super::mount_all(&mounts, dir.path()).unwrap_err();
            assert!(
                fault.message.contains("rootfs[0]") && fault.message.contains("/no/such/layer"),
                "{fault}"
            );
            let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            assert!(!table.contains(&dir.path().display().to_string()));
        });
    }
}
