//! Which cgroup hierarchies this machine has, and where.
//!
//! A pure v2 machine is known by one fstatfs of `/sys/fs/cgroup`. Else the directories below it are
//! the v1 hierarchies, each named after its controllers (`cpu,cpuacct`), and `unified` is the cgroup2
//! mount of a hybrid machine. `/proc/self/mountinfo` is read only when these names do not say enough.

use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, fstatfs};
use serde::{Deserialize, Serialize};

use super::directory::{Directory, failed};
use super::location::{Location, Place};
use super::mountinfo;
use crate::error::{Error, ErrorKind, Result};

/// Where cgroups are mounted by convention (file-hierarchy(7)).
const MOUNT: &str = "/sys/fs/cgroup";

/// The v1 controllers of the kernel. A directory of another name needs mountinfo to tell what it is.
const V1_CONTROLLERS: [&str; 14] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

/// The way the machine arranges its cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// cgroup v2 only.
    Unified,
    /// v1 controllers, and a cgroup2 mount beside them.
    Hybrid,
    /// cgroup v1 only.
    Legacy,
}

impl Mode {
    /// The name for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Unified => "unified (v2)",
            Mode::Hybrid => "hybrid",
            Mode::Legacy => "legacy (v1)",
        }
    }
}

/// The version of the hierarchy that holds a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// cgroup v1.
    V1,
    /// cgroup v2.
    V2,
}

/// The facts of one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// v1 or v2.
    pub version: Version,
    /// v1: the controllers mounted together, or one `name=…`; v2: what the root's
    /// `cgroup.controllers` lists.
    pub controllers: Vec<String>,
    /// The mount point.
    pub mount: String,
    /// The cgroup of this process below the mount point, without a leading slash; known only if
    /// [`Hierarchies::detect_for`] needed it.
    pub own: Option<String>,
}

impl Hierarchy {
    /// Whether the hierarchy holds `controller`.
    pub fn holds(&self, controller: &str) -> bool {
        self.controllers.iter().any(|held| held == controller)
    }
}

/// What a plan is compiled for: plain facts, so that plans for any machine can be made anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The arrangement.
    pub mode: Mode,
    /// The hierarchies.
    pub hierarchies: Vec<Hierarchy>,
}

impl View {
    /// A view made from lists, such as `View::new(Mode::Hybrid, &["cpu,cpuacct", "memory"], &["hugetlb"])`.
    ///
    /// `v1` names the v1 hierarchies by their directories under `/sys/fs/cgroup`, `v2` the controllers
    /// of the cgroup2 hierarchy; `v1` counts only if the mode has v1, `v2` only if it has v2.
    pub fn new(mode: Mode, v1: &[&str], v2: &[&str]) -> Self {
        let mut hierarchies = Vec::new();
        if mode != Mode::Unified {
            hierarchies.extend(v1.iter().map(|name| Hierarchy {
                version: Version::V1,
                controllers: controllers_of(name).unwrap_or_else(|| vec![format!("name={name}")]),
                mount: format!("{MOUNT}/{name}"),
                own: None,
            }));
        }
        if mode != Mode::Legacy {
            let mount = if mode == Mode::Unified { MOUNT.to_owned() } else { format!("{MOUNT}/unified") };
            let controllers = v2.iter().map(|&name| name.to_owned()).collect();
            hierarchies.push(Hierarchy { version: Version::V2, controllers, mount, own: None });
        }
        Self { mode, hierarchies }
    }

    /// The version of the hierarchy that holds `controller` (by its name in that version: `blkio`
    /// is v1, `io` v2), or `None`.
    pub fn version_of(&self, controller: &str) -> Option<Version> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.holds(controller))
            .map(|hierarchy| hierarchy.version)
    }

    /// The cgroup2 hierarchy.
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2)
    }
}

/// The hierarchies of this machine, each with a descriptor of its root.
#[derive(Debug)]
pub struct Hierarchies {
    view: View,
    roots: Vec<Arc<Directory>>,
}

impl Hierarchies {
    /// Finds the hierarchies.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if no cgroup file system is mounted.
    pub fn detect() -> Result<Self> {
        let root = match Directory::open_absolute(MOUNT) {
            Ok(root) => root,
            Err(Errno::ENOENT) => return Self::from_mountinfo(),
            Err(errno) => return Err(failed(format!("open {MOUNT:?}"), errno)),
        };
        let mut found = Found::default();
        if magic(&root)? == CGROUP2_SUPER_MAGIC {
            found.add_unified(root)?;
            return Ok(found.finish(Mode::Unified));
        }
        if found.add_children(&root)? && !found.hierarchies.is_empty() {
            let mode = found.mode();
            return Ok(found.finish(mode));
        }
        Self::from_mountinfo()
    }

    /// As [`detect`](Self::detect); also finds the cgroup of this process if `cgroups_path` is
    /// relative, since such a path is below it.
    pub fn detect_for(cgroups_path: Option<&str>) -> Result<Self> {
        let mut found = Self::detect()?;
        if cgroups_path.is_some_and(|path| !path.is_empty() && !path.starts_with('/')) {
            found.locate_self()?;
        }
        Ok(found)
    }

    fn from_mountinfo() -> Result<Self> {
        let mut found = Found::default();
        for mount in mountinfo::cgroup_mounts(&mountinfo::own_mounts()?) {
            if found.hierarchies.iter().any(|known| mount.is_same(known)) {
                continue;
            }
            let Ok(root) = Directory::open_absolute(&mount.mount_point) else {
                continue;
            };
            match mount.version {
                Version::V1 => found.add_legacy(mount.controllers, root),
                Version::V2 => found.add_unified(root)?,
            }
        }
        if found.hierarchies.is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, "find cgroups")
                .reason("no cgroup file system is mounted")
                .with_hint("mount cgroup2 on /sys/fs/cgroup"));
        }
        let mode = found.mode();
        Ok(found.finish(mode))
    }

    /// Where this process is: what a container without cgroups of its own is in.
    pub(crate) fn own_location() -> Result<Location> {
        let mut found = Self::detect()?;
        found.locate_self()?;
        let place = |hierarchy: &Hierarchy| {
            let Hierarchy { version, controllers, mount, own } = hierarchy.clone();
            Some(Place { version, controllers, mount, path: own? })
        };
        Ok(Location { mode: found.mode(), places: found.view.hierarchies.iter().filter_map(place).collect() })
    }

    /// The facts, for [`CgroupPlan::compile`](super::CgroupPlan::compile).
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The arrangement.
    pub fn mode(&self) -> Mode {
        self.view.mode
    }

    /// The root of the hierarchy mounted on `mount`.
    pub(crate) fn root(&self, mount: &str) -> Option<&Arc<Directory>> {
        let position = self.view.hierarchies.iter().position(|hierarchy| hierarchy.mount == mount)?;
        self.roots.get(position)
    }

    /// Fills in the own cgroup of this process in each hierarchy.
    fn locate_self(&mut self) -> Result<()> {
        let own = mountinfo::read("/proc/self/cgroup")?;
        let mounts = mountinfo::cgroup_mounts(&mountinfo::own_mounts()?);
        for hierarchy in &mut self.view.hierarchies {
            let path = match hierarchy.version {
                Version::V2 => mountinfo::own_cgroup(&own, ""),
                Version::V1 => {
                    hierarchy.controllers.iter().find_map(|name| mountinfo::own_cgroup(&own, name))
                }
            };
            // Without a cgroup namespace of its own, a nested runtime sees host paths, while the mount
            // shows only what lies below its root.
            let root = mounts
                .iter()
                .rfind(|mount| mount.mount_point == hierarchy.mount)
                .map_or("/", |mount| mount.root.as_str());
            let path = path.map(own_path).transpose()?;
            hierarchy.own = path.map(|path| mountinfo::below(path, root).trim_matches('/').to_owned());
        }
        Ok(())
    }
}

/// A location is text; another name would be that of another cgroup.
pub(super) fn own_path(path: &[u8]) -> Result<&str> {
    std::str::from_utf8(path).map_err(|_| {
        Error::new(ErrorKind::Unsupported, "find the cgroup of a process")
            .reason(format!("{:?} is not UTF-8", String::from_utf8_lossy(path)))
            .with_hint("give an absolute linux.cgroupsPath, or start the runtime in another cgroup")
    })
}

/// Hierarchies on their way to [`Hierarchies`].
#[derive(Default)]
struct Found {
    hierarchies: Vec<Hierarchy>,
    roots: Vec<Arc<Directory>>,
}

impl Found {
    fn add_unified(&mut self, root: Directory) -> Result<()> {
        let listed = root
            .read("cgroup.controllers")
            .map_err(|errno| failed(format!("read {:?}", root.path_of("cgroup.controllers")), errno))?;
        let controllers = listed.split_whitespace().map(str::to_owned).collect();
        self.add(Version::V2, controllers, root);
        Ok(())
    }

    fn add_legacy(&mut self, controllers: Vec<String>, root: Directory) {
        self.add(Version::V1, controllers, root);
    }

    fn add(&mut self, version: Version, controllers: Vec<String>, root: Directory) {
        self.hierarchies.push(Hierarchy { version, controllers, mount: root.text().to_owned(), own: None });
        self.roots.push(Arc::new(root));
    }

    /// Adds the hierarchies mounted below `root`; false if a name does not tell its controllers.
    fn add_children(&mut self, root: &Directory) -> Result<bool> {
        let mut names = root.children().map_err(|errno| failed(format!("read {:?}", root.text()), errno))?;
        names.sort_unstable();
        // No mount of a hierarchy has another name.
        for name in names.iter().filter_map(|name| name.to_str().ok()) {
            // A mount point is crossed here on purpose, so this is not Directory::open_dir.
            let Ok(child) = Directory::open_absolute(&root.path_of(name)) else {
                continue;
            };
            let kind = magic(&child)?;
            if kind == CGROUP2_SUPER_MAGIC {
                self.add_unified(child)?;
            } else if kind == CGROUP_SUPER_MAGIC {
                let Some(controllers) = controllers_of(name) else {
                    return Ok(false);
                };
                self.add_legacy(controllers, child);
            }
        }
        Ok(true)
    }

    fn mode(&self) -> Mode {
        let has = |version| self.hierarchies.iter().any(|hierarchy| hierarchy.version == version);
        match (has(Version::V1), has(Version::V2)) {
            (true, true) => Mode::Hybrid,
            (true, false) => Mode::Legacy,
            _ => Mode::Unified,
        }
    }

    fn finish(self, mode: Mode) -> Hierarchies {
        Hierarchies { view: View { mode, hierarchies: self.hierarchies }, roots: self.roots }
    }
}

/// The controllers that a v1 directory name stands for; `None` if it does not say.
fn controllers_of(name: &str) -> Option<Vec<String>> {
    if name == "systemd" {
        return Some(vec!["name=systemd".to_owned()]);
    }
    name.split(',').map(|part| V1_CONTROLLERS.contains(&part).then(|| part.to_owned())).collect()
}

fn magic(directory: &Directory) -> Result<FsType> {
    let stat =
        fstatfs(directory).map_err(|errno| failed(format!("fstatfs {:?}", directory.text()), errno))?;
    Ok(stat.filesystem_type())
}

/// Refuses a directory that is not on a cgroup file system of `version`: the mount may have changed
/// since the state file was written.
pub(super) fn verify(directory: &Directory, version: Version) -> Result<()> {
    let wanted = match version {
        Version::V1 => CGROUP_SUPER_MAGIC,
        Version::V2 => CGROUP2_SUPER_MAGIC,
    };
    if magic(directory)? == wanted {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Cgroup, format!("open {:?}", directory.text()))
        .reason("it is not a cgroup file system of the version that the container was made with"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names_tell_the_controllers() {
        assert_eq!(controllers_of("cpu,cpuacct").unwrap(), ["cpu", "cpuacct"]);
        assert_eq!(controllers_of("systemd").unwrap(), ["name=systemd"]);
        assert_eq!(controllers_of("elogind"), None);
        assert_eq!(controllers_of("cpu,other"), None);
    }

    #[test]
    fn a_view_knows_the_version_of_each_controller() {
        let view = View::new(Mode::Hybrid, &["cpu,cpuacct", "blkio"], &["hugetlb"]);
        assert_eq!(view.version_of("cpuacct"), Some(Version::V1));
        assert_eq!(view.version_of("hugetlb"), Some(Version::V2));
        assert_eq!(view.version_of("io"), None);
        assert_eq!(view.unified().unwrap().mount, "/sys/fs/cgroup/unified");
    }

    #[test]
    fn names_and_mountinfo_agree() {
        let (Ok(by_name), Ok(by_mountinfo)) = (Hierarchies::detect(), Hierarchies::from_mountinfo()) else {
            return;
        };
        let facts = |found: &Hierarchies| {
            let mut facts: Vec<_> = found
                .view
                .hierarchies
                .iter()
                .map(|one| (one.mount.clone(), one.controllers.clone()))
                .collect();
            facts.sort();
            (found.mode(), facts)
        };
        assert_eq!(facts(&by_name), facts(&by_mountinfo));
    }

    #[test]
    fn the_own_cgroup_is_found_when_needed() {
        let Ok(found) = Hierarchies::detect_for(Some("relative")) else {
            return;
        };
        assert!(found.view.hierarchies.iter().all(|one| one.own.is_some()), "{found:?}");
        let found = Hierarchies::detect_for(Some("/absolute")).unwrap();
        assert!(found.view.hierarchies.iter().all(|one| one.own.is_none()));
    }

    #[test]
    fn this_machine_is_recognised() {
        if let Ok(found) = Hierarchies::detect() {
            assert_eq!(found.view.hierarchies.len(), found.roots.len());
            assert!(found.view.hierarchies.iter().all(|one| found.root(&one.mount).is_some()));
        }
    }
}
