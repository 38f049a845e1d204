//! Cgroups as the kernel shows them, in any of the views: v1, hybrid, v2.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Outcome, Stop, directories, eventually, same};

const ROOT: &str = "/sys/fs/cgroup";

/// Whether there is one hierarchy, of version 2.
pub(crate) fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.procs").exists()
}

/// The roots of all cgroup hierarchies.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from(ROOT);
    if is_unified() { vec![root] } else { directories(&root) }
}

/// Removes the top cgroups whose name matches, with all that is below them.
pub(super) fn sweep(matches: impl Fn(&str) -> bool) {
    for cgroup in hierarchies().iter().flat_map(|root| directories(root)) {
        if cgroup.file_name().and_then(OsStr::to_str).is_some_and(&matches) {
            remove_cgroup(&cgroup);
        }
    }
}

/// Removes a cgroup and those below it. Processes of a killed PID namespace may take a moment to go.
fn remove_cgroup(path: &Path) {
    for below in directories(path) {
        remove_cgroup(&below);
    }
    let gone = eventually(Duration::from_secs(2), || match fs::remove_dir(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::ResourceBusy => Err(error.into()),
        // Not a cgroup: a runtime took a plain directory for one.
        Err(error) => Err(Stop::Skipped(error.to_string())),
    });
    if let Err(Stop::Failed(why) | Stop::Skipped(why)) = gone {
        println!("warning: {} stays: {why}", path.display());
    }
}

/// Removes those cgroups of a subtree in which nothing is.
pub(crate) fn remove_empty(path: &Path) {
    directories(path).iter().for_each(|below| remove_empty(below));
    // One in use stays: that is its answer, and no failure.
    fs::remove_dir(path).ok();
}

/// Where a controller of a process's cgroup is, by `/proc/PID/cgroup`.
///
/// Skips if the machine (or its cgroup view) has no such controller.
pub(crate) fn cgroup_of(pid: u32, controller: &str) -> Result<PathBuf, Stop> {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let unified = is_unified();
    for line in table.lines() {
        let [_, names, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if unified && names.is_empty() {
            let cgroup = Path::new(ROOT).join(path);
            let controllers = fs::read_to_string(cgroup.join("cgroup.controllers"))?;
            if controllers.split_whitespace().any(|name| name == controller) {
                return Ok(cgroup);
            }
        } else if !unified && names.split(',').any(|name| name == controller) {
            return Ok(Path::new(ROOT).join(controller).join(path));
        }
    }
    Err(Stop::Skipped(format!("no cgroup controller {controller:?} here")))
}

/// Skips if one of the controllers is missing.
///
/// `ctr` and Podman with root set CPU shares or a process limit for each container, so without these
/// controllers no container of theirs starts, with any runtime.
pub(crate) fn controllers(names: &[&str]) -> Outcome {
    let list = fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).unwrap_or_default();
    let has =
        |name: &&&str| list.split_whitespace().any(|it| it == **name) || Path::new(ROOT).join(name).is_dir();
    match names.iter().find(|name| !has(name)) {
        Some(name) => Err(Stop::Skipped(format!("no cgroup controller {name:?} here"))),
        None => Ok(()),
    }
}

/// Fails unless a program that an engine runs in a container is in the cgroups of the container's init.
pub(crate) fn exec_joins_cgroup(sh: impl Fn(&str) -> Result<String, Stop>) -> Outcome {
    // In the v2 view of a machine that also has v1 hierarchies, those say nothing.
    let shown = |pid: &str| {
        let table = sh(&format!("cat /proc/{pid}/cgroup"))?;
        let lines = table.lines().filter(|line| !is_unified() || line.starts_with("0::"));
        Ok::<_, Stop>(lines.map(str::to_owned).collect::<Vec<_>>())
    };
    same("exec's cgroups", shown("self")?, shown("1")?)
}

/// A file of a process's cgroup: the first name is of v1, the second of v2.
pub(crate) fn cgroup_value(pid: u32, controller: &str, v1: &str, v2: &str) -> Result<String, Stop> {
    let cgroup = cgroup_of(pid, controller)?;
    let name = if Path::new("/sys/fs/cgroup/cgroup.procs").exists() { v2 } else { v1 };
    let path = cgroup.join(name);
    let value = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(value.trim_end().to_owned())
}
