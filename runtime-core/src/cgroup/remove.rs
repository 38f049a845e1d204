//! Removing the cgroup.

use std::ops::ControlFlow;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::NixPath;
use nix::errno::Errno;

use super::Cgroup;
use super::directory::{Directory, failed};
use super::walk::{Visit, walk};
use crate::deadline;
use crate::error::Result;

/// How long a cgroup may stay busy: killed processes need a moment to leave it.
pub(super) const BUSY_LIMIT: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Removes the cgroup from every hierarchy, with the sub-cgroups that the container made. What has
    /// gone already is fine; directories above it stay, since others may use them by now.
    ///
    /// # Errors
    ///
    /// `EBUSY` if processes are still in it after two seconds: kill them first. Every hierarchy is
    /// tried before the first error is returned.
    pub fn remove(&self) -> Result<()> {
        let mut result = Ok(());
        let deadline = deadline::after(BUSY_LIMIT);
        for member in &self.members {
            let removed = remove_tree(&member.root, &member.place.path, deadline)
                .map_err(|errno| failed(format!("rmdir {:?}", member.directory.text()), errno));
            if result.is_ok() {
                result = removed;
            }
        }
        result
    }

    /// Removes the cgroup if nobody and nothing is in it; false if it is still there. Nothing is killed and
    /// nothing waited for.
    pub fn remove_if_empty(&self) -> bool {
        self.members.iter().all(|member| {
            matches!(
                remove_single(&member.root, &member.place.path),
                Ok(()) | Err(Errno::ENOENT | Errno::ENODEV)
            )
        })
    }
}

/// Removes the directory `path` below `root` and all below it, waiting until `deadline` for processes
/// to leave.
pub(super) fn remove_tree(root: &Directory, path: &str, deadline: Instant) -> nix::Result<()> {
    let (parent, name) = match parent_of(root, path) {
        Err(Errno::ENOENT) => return Ok(()),
        other => other?,
    };
    let parent = parent.as_ref().unwrap_or(root);
    let mut pause = Duration::from_micros(50);
    loop {
        match remove_now(parent, name) {
            // ENOTEMPTY and EBUSY are told apart badly by kernfs: both may mean sub-cgroups or processes.
            Err(Errno::EBUSY | Errno::ENOTEMPTY) if Instant::now() < deadline => {
                sleep(pause);
                pause = pause.saturating_mul(2).min(Duration::from_millis(10));
            }
            other => return other,
        }
    }
}

/// Removes the directory `path` below `root` if it is empty.
pub(super) fn remove_single(root: &Directory, path: &str) -> nix::Result<()> {
    let (parent, name) = parent_of(root, path)?;
    parent.as_ref().unwrap_or(root).rmdir(name)
}

/// The directory above `path` (`None`: the root) and the last component.
fn parent_of<'a>(root: &Directory, path: &'a str) -> nix::Result<(Option<Directory>, &'a str)> {
    match path.rsplit_once('/') {
        Some((parent, name)) => Ok((Some(root.open_dir(parent)?), name)),
        None => Ok((None, path)),
    }
}

/// One attempt, bottom up; the usual one is a single rmdir.
fn remove_now(parent: &Directory, name: &str) -> nix::Result<()> {
    match remove_one(parent, name) {
        Err(Errno::EBUSY | Errno::ENOTEMPTY) => {}
        other => return other,
    }
    match parent.open_dir(name) {
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
        other => remove_below(&other?)?,
    }
    remove_one(parent, name)
}

/// Removes all below the directory that nobody is in. What is still in use shows when its parent is removed.
fn remove_below(directory: &Directory) -> nix::Result<()> {
    walk(directory, |visit| {
        match visit {
            Visit::Enter(_) => {}
            Visit::Leave(parent, name) => match remove_one(parent, name.as_c_str()) {
                Err(Errno::EBUSY | Errno::ENOTEMPTY) => {}
                other => other?,
            },
        }
        Ok(ControlFlow::Continue(()))
    })
}

fn remove_one<P: ?Sized + NixPath>(parent: &Directory, name: &P) -> nix::Result<()> {
    match parent.rmdir(name) {
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
        other => other,
    }
}
