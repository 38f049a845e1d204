//! Which users and groups there are in a user namespace.
//!
//! In a new user namespace (user_namespaces(7)) a command has ids of its own: an [`IdMap`] says which id of the host each of
//! them is. Files that the command makes belong to the ids of the host; ids that are not in the map are nobody there.
//!
//! ```
//! use runtime_core::idmap::IdMap;
//!
//! // Root of the sandbox is user 1000 of the host; 1 to 65536 are subordinate ids of that user (subuid(5)).
//! let map = IdMap::single(0, 1000).and(1, 100_000, 65_536);
//! assert_eq!(map.to_string(), "0 1000 1\n1 100000 65536\n");
//! assert_eq!("0:1000:1,1:100000:65536".parse::<IdMap>()?, map);
//! // What the kernel would refuse is refused here.
//! assert!("0 1000 1\n0 2000 1".parse::<IdMap>().is_err());
//! # Ok::<(), runtime_core::Error>(())
//! ```
//!
//! A user becomes root of a sandbox, and stays itself for the host:
//!
//! ```no_run
//! use runtime_core::Sandbox;
//! use runtime_core::namespaces::Namespaces;
//!
//! let process = Sandbox::new("/usr/bin/id").namespaces(Namespaces::USER).spawn()?;
//! process.wait()?;
//! # Ok::<(), runtime_core::Error>(())
//! ```
//!
//! An engine that mounts root file systems itself shows the files of an image with the ids that a container's root has, without
//! a copy of them, by an [`IdMapping`].
//!
//! **Privilege.** Without a map, id 0 is the caller's own id and no other exists: any user may have that. Other maps take
//! CAP_SETUID and CAP_SETGID, or ranges that `/etc/subuid` and `/etc/subgid` grant to the user; newuidmap(1) and
//! newgidmap(1) write those.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::plan::IdRange;
use crate::spec::check_id_map;
use crate::{launch, sys};

/// An id map of a user namespace: extents of ids, each with as many on the inside as on the outside.
///
/// It has id 0: a namespace without root could not be set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap(Vec<IdRange>);

impl IdMap {
    /// One id: `inside` is `outside` of the host.
    #[must_use]
    pub fn single(inside: u32, outside: u32) -> Self {
        Self::range(inside, outside, 1)
    }

    /// `count` ids from `inside` on are those from `outside` on of the host.
    #[must_use]
    pub fn range(inside: u32, outside: u32, count: u32) -> Self {
        Self(vec![IdRange { container: inside, host: outside, size: count }])
    }

    /// Adds an extent. What the kernel does not take is found by [`check`](Self::check), and by the launch.
    #[must_use]
    pub fn and(mut self, inside: u32, outside: u32, count: u32) -> Self {
        self.0.push(IdRange { container: inside, host: outside, size: count });
        self
    }

    /// The extents, as they were given.
    #[must_use]
    pub fn ranges(&self) -> &[IdRange] {
        &self.0
    }

    /// Whether the kernel would take the map: extents of at least one id that end below 4294967295, no id twice on either
    /// side, at most 340 extents in less than 4096 bytes of text; and id 0 inside.
    ///
    /// # Errors
    ///
    /// All that is wrong, each with the number of its extent.
    pub fn check(&self) -> Result<()> {
        self.checked("id map").map(drop)
    }

    /// The extents with adjacent ones merged.
    pub(crate) fn checked(&self, field: &'static str) -> Result<Vec<IdRange>> {
        check_id_map(field, &self.0)
    }
}

/// The text of `/proc/PID/uid_map`: a line of first id inside, first id outside and number for each extent.
impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&IdRange::lines(&self.0))
    }
}

/// Reads `inside outside count` for each extent, with spaces or colons between the numbers and line ends or commas between
/// the extents: the text of `/proc/PID/uid_map`, and that of options such as `--uidmap` of Podman.
///
/// # Errors
///
/// A text of another form, or a map that [`IdMap::check`] refuses.
impl FromStr for IdMap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let lines = text.split(['\n', ',']).map(str::trim).filter(|line| !line.is_empty());
        let map = Self(lines.map(extent).collect::<Result<_>>()?);
        map.check()?;
        Ok(map)
    }
}

fn extent(line: &str) -> Result<IdRange> {
    let mut numbers = line.split([' ', '\t', ':']).filter(|part| !part.is_empty()).map(str::parse);
    match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(container)), Some(Ok(host)), Some(Ok(size)), None) => Ok(IdRange { container, host, size }),
        _ => Err(Error::invalid("id map", format!("{line:?} is not \"INSIDE OUTSIDE COUNT\""))),
    }
}

/// Other owners for the files of the host: a mount shows a file that belongs to an id inside of the maps as one of the id
/// outside (mount_setattr(2), `MOUNT_ATTR_IDMAP`), and writes that come through the mount are translated back.
///
/// ```no_run
/// use runtime_core::idmap::{IdMap, IdMapping};
///
/// let map: IdMap = "0:100000:65536".parse()?;
/// let mapping = IdMapping::new(&map, &map)?;
/// // What belongs to root in the layer belongs to user 100000 in this mount, which is nowhere yet: move_mount(2) puts it
/// // to a directory.
/// let mount = mapping.tree("/var/lib/layers/1".as_ref(), false)?;
/// # Ok::<(), runtime_core::Error>(())
/// ```
///
/// It keeps a user namespace for as long as it lives; mounts that were made with it stay as they are.
#[derive(Debug)]
pub struct IdMapping(OwnedFd);

impl IdMapping {
    /// A mapping with these maps, of users and of groups.
    ///
    /// # Errors
    ///
    /// Maps that [`IdMap::check`] refuses, and those that the kernel does not let the caller write: that takes CAP_SETUID and
    /// CAP_SETGID for the ids outside, whatever `/etc/subuid` says.
    pub fn new(uids: &IdMap, gids: &IdMap) -> Result<Self> {
        let (uids, gids) = (uids.checked("uids of an id mapping")?, gids.checked("gids of an id mapping")?);
        launch::user_namespace(&uids, &gids).map(Self)
    }

    /// A copy of the tree of mounts at `path`, of the mount there alone unless it is `recursive`, with other owners. The copy
    /// is private (mount_namespaces(7)) and mounted nowhere; it ends with its last descriptor. A link at the end of the path is
    /// followed.
    ///
    /// # Errors
    ///
    /// open_tree(2) or mount_setattr(2): a path that is not there, no CAP_SYS_ADMIN over the file system, or a file system that
    /// has no id-mapped mounts (EINVAL), which before Linux 5.19 are overlays.
    pub fn tree(&self, path: &Path, recursive: bool) -> Result<OwnedFd> {
        let text = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::invalid("id mapping", format!("the path {path:?} contains a NUL byte")))?;
        let tree = sys::mount::clone_tree(&text, recursive, false)
            .map_err(|errno| Error::system(format!("open_tree {path:?}"), errno))?;
        sys::mount::map_ids(tree.as_fd(), self.0.as_fd(), recursive).map_err(|errno| {
            let error = Error::system(format!("mount_setattr MOUNT_ATTR_IDMAP of {path:?}"), errno);
            match errno {
                Errno::EINVAL => error.with_hint("the file system has no id-mapped mounts, or a mount below has none"),
                Errno::EPERM => error.with_hint(
                    "it takes CAP_SYS_ADMIN in the user namespace of the file system, and a mount that is not id-mapped \
                     already",
                ),
                _ => error,
            }
        })?;
        Ok(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::IdMap;

    #[test]
    fn maps_are_checked() {
        let refused = |text: &str| text.parse::<IdMap>().unwrap_err().to_string();
        assert!(refused("0 1000").contains("INSIDE OUTSIDE COUNT"));
        assert!(refused("0 x 1").contains("INSIDE OUTSIDE COUNT"));
        assert!(refused("0 1000 0").contains("id map[0]: size is 0"));
        assert!(refused("0 1000 5,4 2000 1").contains("4 is mapped twice"));
        assert!(refused("1 1000 1").contains("id 0"));
        assert!(refused("").contains("id 0"));
        assert!(IdMap::single(0, 5).and(0, 6, 1).check().is_err());
        assert!(IdMap::range(0, 100_000, 65_536).check().is_ok());
    }
}
