//! Which processes are in the cgroup.

use std::ops::ControlFlow;

use nix::errno::Errno;

use super::directory::{Directory, failed};
use super::walk::{Visit, walk};
use super::{Cgroup, Member};
use crate::error::{Error, ErrorKind, Result};

const LIST: &str = "cgroup.procs";

impl Cgroup {
    /// The processes in the cgroup, as seen from the caller's pid namespace (without those it does not
    /// see), in ascending order; with `recursive` also those in sub-cgroups.
    pub fn processes(&self, recursive: bool) -> Result<Vec<i32>> {
        self.principal().map_or(Ok(Vec::new()), |member| member.processes(recursive))
    }
}

impl Member {
    pub(super) fn processes(&self, recursive: bool) -> Result<Vec<i32>> {
        let mut texts = Vec::new();
        let read = walk(&self.directory, |visit| {
            if let Visit::Enter(directory) = visit {
                texts.extend(list(directory)?);
            }
            Ok(if recursive { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        });
        read.map_err(|errno| failed(format!("read {:?}", self.directory.path_of(LIST)), errno))?;
        let mut pids = Vec::new();
        for line in texts.iter().flat_map(|text| text.lines()) {
            pids.extend(self.pid(line)?);
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// The cgroup at or below this one that a process is in.
    pub(super) fn directory_of(&self, pid: i32) -> Result<Option<Directory>> {
        let mut found = None;
        let wanted = pid.to_string();
        let read = walk(&self.directory, |visit| {
            if let Visit::Enter(directory) = visit
                && list(directory)?.is_some_and(|text| text.lines().any(|line| line.trim() == wanted))
            {
                found = Some(directory.open_dir("")?);
            }
            Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        read.map_err(|errno| failed(format!("read {:?}", self.directory.path_of(LIST)), errno))?;
        Ok(found)
    }

    /// The number in a line; 0 stands for a process outside the caller's pid namespace.
    fn pid(&self, line: &str) -> Result<Option<i32>> {
        match line.trim().parse() {
            Ok(0) => Ok(None),
            Ok(pid) => Ok(Some(pid)),
            Err(_) => Err(Error::new(ErrorKind::Cgroup, format!("read {:?}", self.directory.path_of(LIST)))
                .reason(format!("{line:?} is not a process id"))),
        }
    }
}

/// The list of processes of one cgroup; `None` if that has gone.
fn list(directory: &Directory) -> nix::Result<Option<String>> {
    let text = match directory.read(LIST) {
        // A threaded cgroup knows threads only.
        Err(Errno::EOPNOTSUPP) => directory.read("cgroup.threads"),
        other => other,
    };
    match text {
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
        other => other.map(Some),
    }
}
