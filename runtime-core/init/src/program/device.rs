//! Device nodes and links below the root.

use core::ffi::CStr;

use crate::abi::{
    AT_SYMLINK_NOFOLLOW, MOUNT_ATTR_RDONLY, OPEN_TREE_CLONE, S_IFBLK, S_IFCHR, S_IFMT, Stat, errno, major,
    minor,
};
use crate::ops::{Slot, Str};
use crate::parse::path::{relative, split};
use crate::program::{At, Failure, Init, Step, file, mount};
use crate::report::Detail;
use crate::sys::file::{fchownat, mknodat, readlinkat, stat, symlinkat};
use crate::sys::mount::open_tree;
use crate::sys::{Fd, Owned};

/// A node to make.
pub(crate) struct Node {
    pub(crate) path: Str,
    pub(crate) mode: u32,
    pub(crate) device: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) bind: bool,
}

impl Node {
    /// Whether a file is this node.
    fn is(&self, stat: &Stat) -> bool {
        let same_number = (stat.device_major, stat.device_minor) == (major(self.device), minor(self.device));
        let number_counts = matches!(self.mode & S_IFMT, S_IFCHR | S_IFBLK);
        stat.kind() == self.mode & S_IFMT && (same_number || !number_counts)
    }
}

/// `MakeDevice`.
pub(crate) fn make(init: &mut Init, node: &Node) -> Step {
    let host = init.plan.text(node.path);
    let (parent, name) = parent(init, relative(host))?;
    match node.bind {
        true => bind(node, host, parent, name),
        false => make_node(node, parent, name),
    }
}

/// The directory of the last node or link, which [`Init`] holds until an operation comes that is neither: nearly
/// all are in /dev.
pub(crate) struct Directory {
    path: &'static [u8],
    fd: Owned,
}

/// The directory of a path, made when missing, and the last component.
fn parent<'a>(init: &'a mut Init, path: &'static CStr) -> Step<(Fd<'a>, &'static CStr)> {
    let (head, name) = split(path);
    if init.directory.as_ref().is_none_or(|known| known.path != head) {
        let (fd, _) = file::real_parent(init.fd(Slot::ROOT), path, 0o755)?;
        init.directory = Some(Directory { path: head, fd });
    }
    Ok((init.directory.as_ref().map_or(Fd::NONE, |directory| directory.fd.fd()), name))
}

/// mknod(2), or the equal node that is there already.
fn make_node(node: &Node, parent: Fd<'_>, name: &CStr) -> Step {
    match mknodat(parent, name, node.mode, node.device) {
        // The node is new, in a directory that only the init has: its name is what it made.
        Ok(()) if (node.uid, node.gid) != (0, 0) => {
            fchownat(parent, name, node.uid, node.gid, AT_SYMLINK_NOFOLLOW).at(Detail::Chown)
        }
        Ok(()) => Ok(()),
        Err(errno::EEXIST) => match node.is(&stat(parent, name).at(Detail::Stat)?) {
            true => Ok(()),
            false => Err(Failure::new(errno::EEXIST, Detail::NotTheRequestedNode)),
        },
        Err(errno) => Err(Failure::new(errno, Detail::Mknod)),
    }
}

/// The host's node, verified to be the requested one, on an empty file.
fn bind(node: &Node, host: &CStr, parent: Fd<'_>, name: &'static CStr) -> Step {
    if stat(parent, name).is_ok_and(|stat| node.is(&stat)) {
        return Ok(());
    }
    let tree = open_tree(Fd::WORKING_DIRECTORY, host, OPEN_TREE_CLONE).at(Detail::OpenTree)?;
    if !node.is(&stat(tree.fd(), c"").at(Detail::Stat)?) {
        return Err(Failure::new(errno::EINVAL, Detail::NotTheRequestedNode));
    }
    // Devices on a read-only mount can be written. Their mode and owner cannot be changed: it is the node of the
    // host, and a user namespace may map that one's owner.
    mount::attributes(tree.fd(), MOUNT_ATTR_RDONLY, 0, 0, false)?;
    let target = file::regular(parent, name)?;
    mount::move_to(tree.fd(), target.fd())
}

/// `MakeSymlink`.
pub(crate) fn symlink(init: &mut Init, path: Str, target: Str, keep: bool) -> Step {
    let path = relative(init.plan.text(path));
    let target = init.plan.text(target);
    let (parent, name) = parent(init, path)?;
    match symlinkat(target, parent, name) {
        Err(errno::EEXIST) if keep || links_to(parent, name, target.to_bytes()) => Ok(()),
        other => other.at(Detail::Symlink),
    }
}

/// Makes a link below the root that is equal to `link`, a descriptor of one; an equal one is left.
pub(crate) fn copy_symlink(root: Fd<'_>, path: &'static CStr, link: Fd<'_>) -> Step {
    let mut text = [0u8; 512];
    let len = readlinkat(link, c"", &mut text).at(Detail::Read)?;
    // There is no room for a NUL, or not for all of it.
    let too_long = Failure::new(errno::ENAMETOOLONG, Detail::TooLong);
    let target = text.get(..=len).and_then(|text| CStr::from_bytes_with_nul(text).ok()).ok_or(too_long)?;
    let (head, name) = split(path);
    let parent = file::directory(root, head, 0o755)?;
    match symlinkat(target, parent.fd(), name) {
        Err(errno::EEXIST) if links_to(parent.fd(), name, target.to_bytes()) => Ok(()),
        other => other.at(Detail::Symlink),
    }
}

/// Whether `name` is a link to `target`.
fn links_to(parent: Fd<'_>, name: &CStr, target: &[u8]) -> bool {
    let mut text = [0u8; 512];
    match readlinkat(parent, name, &mut text) {
        Ok(len) => text.get(..len) == Some(target),
        Err(_) => false,
    }
}
