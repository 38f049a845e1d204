//! Visiting all cgroups below one.
//!
//! A container with a writable cgroup chooses their names, which are bytes, and how deep they are: the kernel
//! has no limit. So the walk keeps neither a stack frame, nor a descriptor, nor a path for each level.
//! It goes down by one name at a time and up by `..`; a cgroup never changes its parent, and the walk
//! checks that.

use std::ffi::CString;
use std::ops::ControlFlow;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::stat::fstat;

use super::directory::Directory;

/// What the walk has come to.
pub(super) enum Visit<'a> {
    /// A cgroup, before those below it. The first one is the one where the walk begins.
    Enter(&'a Directory),
    /// All below a cgroup has been visited: its parent and its name. The first one has no such visit.
    Leave(&'a Directory, &'a CString),
}

/// A cgroup above the present one.
struct Level {
    identity: Identity,
    /// The name of the cgroup that the walk went down to.
    name: CString,
    /// Names of cgroups in it that are still to be visited.
    rest: Vec<CString>,
}

/// Device and inode number of a directory.
type Identity = (u64, u64);

/// Visits `top` and all cgroups below it. What disappears meanwhile is left out.
///
/// `visit` ends the walk by [`ControlFlow::Break`].
pub(super) fn walk(
    top: &Directory,
    mut visit: impl FnMut(Visit<'_>) -> nix::Result<ControlFlow<()>>,
) -> nix::Result<()> {
    if visit(Visit::Enter(top))?.is_break() {
        return Ok(());
    }
    let mut rest = children(top)?;
    if rest.is_empty() {
        return Ok(());
    }
    let mut current = top.open_dir("")?;
    let mut above: Vec<Level> = Vec::new();
    loop {
        let flow = match (rest.pop(), above.pop()) {
            (Some(name), level) => {
                above.extend(level);
                let Some(child) = unless_gone(current.child(&name))? else { continue };
                let flow = visit(Visit::Enter(&child))?;
                let below = children(&child)?;
                above.push(Level {
                    identity: identity(&current)?,
                    name,
                    rest: std::mem::replace(&mut rest, below),
                });
                current = child;
                flow
            }
            (None, Some(level)) => {
                current = parent(&current, level.identity)?;
                rest = level.rest;
                visit(Visit::Leave(&current, &level.name))?
            }
            (None, None) => return Ok(()),
        };
        if flow.is_break() {
            return Ok(());
        }
    }
}

fn children(directory: &Directory) -> nix::Result<Vec<CString>> {
    unless_gone(directory.children()).map(Option::unwrap_or_default)
}

fn parent(directory: &Directory, expected: Identity) -> nix::Result<Directory> {
    let parent = directory.parent()?;
    match identity(&parent)? == expected {
        true => Ok(parent),
        false => Err(Errno::ESTALE),
    }
}

fn identity(directory: &Directory) -> nix::Result<Identity> {
    fstat(directory.as_fd()).map(|found| (found.st_dev, found.st_ino))
}

fn unless_gone<T>(result: nix::Result<T>) -> nix::Result<Option<T>> {
    match result {
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    /// Any file system has directories: what is special about cgroups is not needed here.
    fn tree() -> (tempfile::TempDir, Directory) {
        let tree = tempfile::tempdir().unwrap();
        for path in [&b"a/b"[..], b"a/c", b"\xff\xfe/d"] {
            std::fs::create_dir_all(tree.path().join(std::ffi::OsStr::from_bytes(path))).unwrap();
        }
        let top = Directory::open_absolute(tree.path().to_str().unwrap()).unwrap();
        (tree, top)
    }

    #[test]
    fn every_cgroup_is_entered_and_left_after_those_below() {
        let (_tree, top) = tree();
        let (mut entered, mut left) = (0, Vec::new());
        walk(&top, |visit| {
            match visit {
                Visit::Enter(_) => entered += 1,
                Visit::Leave(parent, name) => {
                    assert!(parent.child(name).is_ok());
                    left.push(name.as_bytes().to_vec());
                }
            }
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        assert_eq!((entered, left.len()), (6, 5));
        let place = |name: &[u8]| left.iter().position(|one| one == name);
        assert!(place(b"a") > place(b"b") && place(b"a") > place(b"c"));
        assert!(place(b"\xff\xfe") > place(b"d"));
    }

    #[test]
    fn what_is_removed_meanwhile_does_not_end_the_walk() {
        let (tree, top) = tree();
        let mut left = 0;
        walk(&top, |visit| {
            match visit {
                Visit::Enter(_) => std::fs::remove_dir(tree.path().join("a/b")).unwrap_or_default(),
                Visit::Leave(..) => left += 1,
            }
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        assert_eq!(left, 4);
    }

    #[test]
    fn a_walk_ends_where_it_is_told_to() {
        let (_tree, top) = tree();
        let mut visits = 0;
        walk(&top, |_| {
            visits += 1;
            Ok(if visits == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .unwrap();
        assert_eq!(visits, 2);
    }
}
