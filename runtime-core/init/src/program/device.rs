//! Device nodes and links below the root.

use crate::ops::{Slot, Str};
use crate::parse::path::{relative, split};
use crate::program::file::{self, AT_FDCWD, O_CLOEXEC};
use crate::program::{At, Failure, Init, Step, call, errno, mount};
use crate::report::Detail;
use crate::syscall::{common, nr};

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
    /// Major number, as makedev(3) packs it.
    fn major(&self) -> u32 {
        ((self.device >> 8) & 0xfff) as u32 | ((self.device >> 32) & 0xffff_f000) as u32
    }

    /// Minor number.
    fn minor(&self) -> u32 {
        (self.device & 0xff) as u32 | ((self.device >> 12) & 0xffff_ff00) as u32
    }

    /// Whether a file is this node.
    fn is(&self, stat: &file::Stat) -> bool {
        let same_number = (stat.device_major, stat.device_minor) == (self.major(), self.minor());
        let number_counts = matches!(self.mode & file::S_IFMT, file::S_IFCHR | 0o060000);
        stat.kind() == self.mode & file::S_IFMT && (same_number || !number_counts)
    }
}

/// `MakeDevice`.
pub(crate) fn make(init: &mut Init, node: &Node) -> Step {
    let path = relative(init.plan.text(node.path));
    let (parent, name) = parent(init, path)?;
    match node.bind {
        true => bind(init, node, parent, name),
        false => make_node(node, parent, name),
    }
}

/// The directory of the last node or link, which [`Init`] holds until an operation comes that is neither: nearly
/// all are in /dev.
pub(crate) struct Directory {
    path: &'static [u8],
    fd: i32,
}

impl Drop for Directory {
    fn drop(&mut self) {
        file::close(self.fd);
    }
}

/// The directory of a path, made when missing, and the last component.
fn parent(init: &mut Init, path: &'static core::ffi::CStr) -> Step<(i32, &'static core::ffi::CStr)> {
    let (head, name) = split(path);
    if let Some(known) = init.directory.as_ref().filter(|known| known.path == head) {
        return Ok((known.fd, name));
    }
    let (fd, name) = file::real_parent(init.fd(Slot::ROOT), path, 0o755)?;
    init.directory = Some(Directory { path: head, fd });
    Ok((fd, name))
}

/// mknod(2), or the equal node that is there already.
fn make_node(node: &Node, parent: i32, name: &core::ffi::CStr) -> Step {
    match call!(nr::MKNODAT, parent, name.as_ptr(), node.mode, node.device) {
        Ok(_) => {
            // The node is new, in a directory that only the init has: its name is what it made.
            if (node.uid, node.gid) != (0, 0) {
                const NOFOLLOW: usize = file::AT_SYMLINK_NOFOLLOW;
                call!(nr::FCHOWNAT, parent, name.as_ptr(), node.uid, node.gid, NOFOLLOW).at(Detail::Chown)?;
            }
            Ok(())
        }
        Err(errno::EEXIST) => {
            let stat = file::stat(parent, name).at(Detail::Stat)?;
            match node.is(&stat) {
                true => Ok(()),
                false => Err(Failure { errno: errno::EEXIST, detail: Detail::NotTheRequestedNode as u32 }),
            }
        }
        Err(errno) => Err(errno).at(Detail::Mknod),
    }
}

/// The host's node, verified to be the requested one, on an empty file.
fn bind(init: &Init, node: &Node, parent: i32, name: &'static core::ffi::CStr) -> Step {
    const OPEN_TREE_CLONE: usize = 1;
    if file::stat(parent, name).is_ok_and(|stat| node.is(&stat)) {
        return Ok(());
    }
    let host = init.plan.text(node.path);
    let tree = call!(common::OPEN_TREE, AT_FDCWD, host.as_ptr(), OPEN_TREE_CLONE | O_CLOEXEC)
        .at(Detail::OpenTree)? as i32;
    let bound = bind_tree(node, tree, parent, name);
    file::close(tree);
    bound
}

fn bind_tree(node: &Node, tree: i32, parent: i32, name: &'static core::ffi::CStr) -> Step {
    if !node.is(&file::stat(tree, c"").at(Detail::Stat)?) {
        return Err(Failure { errno: errno::EINVAL, detail: Detail::NotTheRequestedNode as u32 });
    }
    // Devices on a read-only mount can be written. Their mode and owner cannot be changed: it is the node of the
    // host, and a user namespace may map that one's owner.
    mount::attributes(tree, mount::MOUNT_ATTR_RDONLY, 0, 0, false)?;
    let target = file::regular(parent, name)?;
    let moved = mount::move_to(tree, target);
    file::close(target);
    moved
}

/// `MakeSymlink`.
pub(crate) fn symlink(init: &mut Init, path: Str, target: Str, keep: bool) -> Step {
    let path = relative(init.plan.text(path));
    let target = init.plan.text(target);
    let (parent, name) = parent(init, path)?;
    match call!(nr::SYMLINKAT, target.as_ptr(), parent, name.as_ptr()) {
        Err(errno::EEXIST) if keep || links_to(parent, name, target.to_bytes()) => Ok(()),
        other => other.at(Detail::Symlink).map(drop),
    }
}

/// Makes a link below the root that is equal to `link`, a descriptor of one; an equal one is left.
pub(crate) fn copy_symlink(root: i32, path: &'static core::ffi::CStr, link: i32) -> Step {
    let mut text = [0u8; 512];
    // The last byte stays NUL.
    let len =
        call!(nr::READLINKAT, link, c"".as_ptr(), text.as_mut_ptr(), text.len() - 1).at(Detail::Read)?;
    if len == text.len() - 1 {
        return Err(Failure { errno: errno::ENAMETOOLONG, detail: Detail::TooLong as u32 });
    }
    let (head, name) = split(path);
    let parent = file::directory(root, head, 0o755)?;
    let made = match call!(nr::SYMLINKAT, text.as_ptr(), parent, name.as_ptr()) {
        Err(errno::EEXIST) if links_to(parent, name, &text[..len]) => Ok(()),
        other => other.at(Detail::Symlink).map(drop),
    };
    file::close(parent);
    made
}

/// Whether `name` is a link to `target`.
fn links_to(parent: i32, name: &core::ffi::CStr, target: &[u8]) -> bool {
    let mut text = [0u8; 512];
    match call!(nr::READLINKAT, parent, name.as_ptr(), text.as_mut_ptr(), text.len()) {
        Ok(len) => text.get(..len) == Some(target),
        Err(_) => false,
    }
}
