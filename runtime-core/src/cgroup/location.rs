//! Where a container's cgroup is: what the state file keeps.

use serde::{Deserialize, Serialize};

use super::hierarchy::{Mode, Version, View};
use crate::error::{Error, Result};

/// The longest name of one cgroup, NAME_MAX.
const NAME_MAX: usize = 255;

/// A cgroup in every hierarchy it has a directory in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The arrangement of the machine.
    pub mode: Mode,
    /// One place for each hierarchy; none for a container without a cgroup.
    pub places: Vec<Place>,
}

/// A cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// v1 or v2.
    pub version: Version,
    /// The controllers of the hierarchy.
    pub controllers: Vec<String>,
    /// The mount point.
    pub mount: String,
    /// The path below the mount point: no leading slash, no `.` or `..`, never empty.
    pub path: String,
}

impl Place {
    /// The absolute path.
    pub fn absolute(&self) -> String {
        format!("{}/{}", self.mount.trim_end_matches('/'), self.path)
    }
}

impl Location {
    /// The place that holds `controller`.
    pub fn place_of(&self, controller: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.controllers.iter().any(|held| held == controller))
    }

    /// The place in the cgroup2 hierarchy.
    pub fn unified(&self) -> Option<&Place> {
        self.places.iter().find(|place| place.version == Version::V2)
    }

    /// Refuses paths that could leave the hierarchy: a state file may have been edited.
    pub(super) fn validate(&self) -> Result<()> {
        match self.places.iter().find(|place| clean(&place.path) != place.path || place.path.is_empty()) {
            Some(place) => {
                Err(Error::invalid("cgroup", format!("{:?} is not a clean cgroup path", place.path)))
            }
            None => Ok(()),
        }
    }

    /// The place for `cgroups_path` in every hierarchy of `view`. Without one it is `/id`; on pure v2, if
    /// the view knows the own cgroup, `id` beside that.
    pub(crate) fn compile(view: &View, cgroups_path: Option<&str>, id: &str) -> Result<Self> {
        let given = cgroups_path.filter(|path| !path.is_empty());
        let (origin, path) = match given {
            Some(path) => ("linux.cgroupsPath", path.to_owned()),
            None if view.mode == Mode::Unified && view.hierarchies.iter().all(|one| one.own.is_some()) => {
                ("id", id.to_owned())
            }
            None => ("id", format!("/{id}")),
        };
        let inner = clean(&path);
        check_path(origin, &inner)?;
        let mut places = Vec::with_capacity(view.hierarchies.len());
        for hierarchy in &view.hierarchies {
            let parent = match (path.starts_with('/'), &hierarchy.own) {
                (true, _) => String::new(),
                (false, Some(own)) => parent_for_relative(hierarchy.version, view.mode, own),
                (false, None) => {
                    return Err(Error::invalid(
                        origin,
                        "the own cgroup, which a relative path is below, is not known",
                    ));
                }
            };
            places.push(Place {
                version: hierarchy.version,
                // On v2 the list only says what may be enabled.
                controllers: hierarchy.controllers.clone(),
                mount: hierarchy.mount.clone(),
                path: clean(&format!("{parent}/{inner}")),
            });
        }
        Ok(Self { mode: view.mode, places })
    }
}

/// Where a relative path begins. On pure v2 beside the own cgroup, because below it no controller can
/// be enabled while the runtime itself is in it (cgroups(7), "no internal processes"); else below it.
fn parent_for_relative(version: Version, mode: Mode, own: &str) -> String {
    match (version, mode) {
        (Version::V2, Mode::Unified) => {
            own.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned())
        }
        _ => own.to_owned(),
    }
}

/// Resolves `.`, `..` and repeated slashes as if `path` were absolute; the result has no leading
/// slash, and `..` never leads above the root.
pub(super) fn clean(path: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    components.join("/")
}

fn check_path(origin: &'static str, path: &str) -> Result<()> {
    let reason = if path.is_empty() {
        "must name a cgroup below the root"
    } else if path.contains(['\0', '\n']) {
        "must not contain a NUL or a newline"
    } else if path.split('/').any(|name| name.len() > NAME_MAX) || path.len() >= 4096 {
        "is too long"
    } else if path.split('/').any(|name| name.starts_with("cgroup.")) {
        "must not name a control file of the cgroup"
    } else {
        return Ok(());
    };
    Err(Error::invalid(origin, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(view: &View, path: Option<&str>) -> Result<Vec<String>, String> {
        let location = Location::compile(view, path, "web").map_err(|error| error.to_string())?;
        Ok(location.places.iter().map(Place::absolute).collect())
    }

    #[test]
    fn paths_never_leave_the_mount() {
        let view = View::new(Mode::Unified, &[], &[]);
        let one = |path: &str| at(&view, Some(path)).map(|mut all| all.remove(0));
        assert_eq!(at(&view, None).unwrap(), ["/sys/fs/cgroup/web"]);
        assert_eq!(at(&view, Some("")).unwrap(), ["/sys/fs/cgroup/web"]);
        assert_eq!(one("/a//b/./c/").unwrap(), "/sys/fs/cgroup/a/b/c");
        assert_eq!(one("/../../etc").unwrap(), "/sys/fs/cgroup/etc");
        assert_eq!(one("/a/../../b").unwrap(), "/sys/fs/cgroup/b");
        for bad in ["/", "/..", "/a/..", "/a\nb", "/a\0", "/cgroup.procs"] {
            assert!(one(bad).is_err(), "{bad:?}");
        }
        assert!(one(&format!("/{}", "x".repeat(256))).is_err());
    }

    #[test]
    fn relative_paths_begin_at_the_own_cgroup() {
        let mut view = View::new(Mode::Unified, &[], &[]);
        assert!(at(&view, Some("x")).is_err());
        view.hierarchies[0].own = Some("user/session".to_owned());
        assert_eq!(at(&view, Some("x")).unwrap(), ["/sys/fs/cgroup/user/x"]);
        assert_eq!(at(&view, None).unwrap(), ["/sys/fs/cgroup/user/web"]);
        assert_eq!(at(&view, Some("../../x")).unwrap(), ["/sys/fs/cgroup/user/x"]);
        let mut view = View::new(Mode::Legacy, &["memory"], &[]);
        view.hierarchies[0].own = Some("user/session".to_owned());
        assert_eq!(at(&view, Some("x")).unwrap(), ["/sys/fs/cgroup/memory/user/session/x"]);
        assert_eq!(at(&view, None).unwrap(), ["/sys/fs/cgroup/memory/web"]);
    }

    #[test]
    fn an_edited_state_is_refused() {
        let mut location = Location::compile(&View::new(Mode::Unified, &[], &[]), None, "web").unwrap();
        assert!(location.validate().is_ok());
        for bad in ["../x", "", "/x", "a/../b"] {
            location.places[0].path = bad.to_owned();
            assert!(location.validate().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn survives_the_state_file() {
        let location =
            Location::compile(&View::new(Mode::Hybrid, &["cpu,cpuacct"], &["hugetlb"]), None, "web").unwrap();
        let text = serde_json::to_string(&location).unwrap();
        assert_eq!(serde_json::from_str::<Location>(&text).unwrap(), location);
    }
}
