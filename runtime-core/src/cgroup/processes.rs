//! Which processes are in the cgroup.

use nix::errno::Errno;

use super::directory::{Directory, failed, unless_gone};
use super::{Cgroup, Member};
use crate::error::{Error, ErrorKind, Result};

/// Levels of sub-cgroups that are followed. The kernel has no limit of its own by default; a container
/// that nests deeper is still killed by `cgroup.kill`.
pub(super) const DEPTH: u32 = 128;

impl Cgroup {
    /// The processes in the cgroup, as seen from the caller's pid namespace (without those it does not
    /// see), in ascending order; with `recursive` also those in sub-cgroups.
    pub fn processes(&self, recursive: bool) -> Result<Vec<i32>> {
        self.principal().map_or(Ok(Vec::new()), |member| member.processes(recursive))
    }
}

impl Member {
    pub(super) fn processes(&self, recursive: bool) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        collect(&self.directory, if recursive { DEPTH } else { 0 }, &mut pids)?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }
}

fn collect(directory: &Directory, depth: u32, pids: &mut Vec<i32>) -> Result<()> {
    let text = match directory.read("cgroup.procs") {
        // A threaded cgroup knows threads only.
        Err(Errno::EOPNOTSUPP) => directory.read("cgroup.threads"),
        other => other,
    };
    let Some(text) = unless_gone(text, || format!("read {:?}", directory.path_of("cgroup.procs")))? else {
        return Ok(());
    };
    for line in text.lines() {
        match line.trim().parse() {
            // 0 stands for a process outside the caller's pid namespace.
            Ok(0) => {}
            Ok(pid) => pids.push(pid),
            Err(_) => {
                return Err(Error::new(
                    ErrorKind::Cgroup,
                    format!("read {:?}", directory.path_of("cgroup.procs")),
                )
                .reason(format!("{line:?} is not a process id")));
            }
        }
    }
    if depth == 0 {
        return Ok(());
    }
    let children = unless_gone(directory.children(), || format!("read {:?}", directory.text()))?;
    for name in children.unwrap_or_default() {
        match directory.open_dir(&name) {
            Ok(child) => collect(&child, depth - 1, pids)?,
            Err(Errno::ENOENT | Errno::ENODEV) => {}
            Err(errno) => return Err(failed(format!("open {:?}", directory.path_of(&name)), errno)),
        }
    }
    Ok(())
}
