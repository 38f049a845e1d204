//! Making the directories, and enabling v2 controllers on the way to them.

use std::sync::Arc;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::directory::{Directory, failed};
use super::hierarchy::{Hierarchies, Mode, Version};
use super::location::Place;
use super::plan::CgroupPlan;
use super::remove::{BUSY_LIMIT, remove_single, remove_tree};
use super::{Cgroup, Member};
use crate::deadline;
use crate::error::{Error, ErrorKind, Result};

/// How often a directory is made anew because another manager removed its parent in between.
const RACES: u32 = 8;

impl Cgroup {
    /// Makes the cgroup in every hierarchy and enables the v2 controllers that the plan needs. No limit
    /// is written yet ([`apply`](Self::apply)) and no process is in it.
    ///
    /// An existing cgroup is taken if nothing runs in it. The hierarchies must be those that the plan's
    /// view came from.
    ///
    /// Without permission to make it, an unprivileged caller (by user id, by user namespace, or a root without
    /// CAP_SYS_ADMIN) gets [`Cgroup::none`], provided that neither limits nor a cgroups path were asked for.
    ///
    /// # Errors
    ///
    /// Kind [`ErrorKind::Cgroup`]; whatever was made by then is removed.
    pub fn create(hierarchies: &Hierarchies, plan: &CgroupPlan) -> Result<Self> {
        Self::make(hierarchies, plan, Check::Unused)
    }

    /// As [`create`](Self::create), for a cgroup that another manager has made in the hierarchies that he
    /// knows, with processes in it: what he left out is made. [`undo`](Self::undo) removes only that.
    pub(crate) fn complete(hierarchies: &Hierarchies, plan: &CgroupPlan) -> Result<Self> {
        Self::make(hierarchies, plan, Check::Nothing)
    }

    fn make(hierarchies: &Hierarchies, plan: &CgroupPlan, check: Check) -> Result<Self> {
        let mut cgroup =
            Self { mode: plan.location.mode, members: Vec::with_capacity(plan.location.places.len()) };
        match cgroup.make_all(hierarchies, plan, check) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                cgroup.undo();
                Err(error)
            }
        }
    }

    /// Removes the directories that [`create`](Self::create) made, and only those, deepest first.
    ///
    /// For a container that did not come to be: best effort, since the first error is the one to
    /// report. A directory that somebody uses by now stays.
    pub fn undo(self) {
        for member in self.members.iter().rev() {
            unmake(&member.root, &member.place, &member.made);
        }
    }

    fn make_all(&mut self, hierarchies: &Hierarchies, plan: &CgroupPlan, check: Check) -> Result<()> {
        for place in &plan.location.places {
            let root = hierarchies.root(&place.mount).ok_or_else(|| {
                Error::new(ErrorKind::Cgroup, format!("open {:?}", place.mount))
                    .reason("the hierarchy is not mounted here")
            })?;
            match make_member(root, place, plan) {
                Ok(member) => {
                    self.members.push(member);
                    self.check_last(plan, check)?;
                }
                Err(failure) => may_do_without(place, plan, failure)?,
            }
        }
        Ok(())
    }

    /// Refuses a cgroup if anything runs in it or below it, or if it is frozen: nothing would start
    /// there (runtime-spec: "fit for purpose").
    pub(crate) fn check_unused(&self) -> Result<()> {
        self.members.iter().try_for_each(Member::check_unused)
    }

    /// Refuses a cgroup that was there already if it is in use, and enables controllers.
    fn check_last(&mut self, plan: &CgroupPlan, check: Check) -> Result<()> {
        let Some(member) = self.members.last_mut() else {
            return Ok(());
        };
        if check == Check::Unused && !member.made.contains(&member.place.path) {
            member.check_unused()?;
        }
        if member.is_unified() {
            let needed = plan.needed();
            enable(member, &needed, &plan.accounting)?;
            member.enabled = needed.into_iter().map(str::to_owned).collect();
        }
        Ok(())
    }

    /// Enables the v2 controllers that the writes of `plan` need and [`create`](Self::create) has not
    /// seen to: those of limits that come later, and all of a cgroup that systemd has made.
    pub(super) fn enable_for(&self, plan: &CgroupPlan) -> Result<()> {
        let Some(member) = self.unified() else {
            return Ok(());
        };
        let mut needed: Vec<&str> = Vec::new();
        for write in &plan.writes {
            let name = write.controller.as_ref();
            if member.holds(name)
                && !member.enabled.iter().any(|done| done == name)
                && !needed.contains(&name)
            {
                needed.push(name);
            }
        }
        let wished: &[&str] = if member.made.is_empty() { &plan.accounting } else { &[] };
        enable(member, &needed, wished)
    }
}

impl Member {
    fn check_unused(&self) -> Result<()> {
        let count = self.processes(true)?.len();
        let unfit = |reason: String| {
            let operation = format!("create cgroup {:?}", self.directory.text());
            Err(Error::new(ErrorKind::Cgroup, operation).reason(reason))
        };
        if count > 0 {
            return unfit(format!("container's cgroup is not empty: {count} process(es) found"));
        }
        if self.is_frozen()? {
            return unfit("container's cgroup unexpectedly frozen".to_owned());
        }
        Ok(())
    }
}

/// What a cgroup that is there already has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// Without processes, and not frozen.
    Unused,
    Nothing,
}

/// A failure, and whether it is for lack of permission.
struct Failure {
    errno: Errno,
    error: Error,
}

impl Failure {
    fn new(operation: String, errno: Errno) -> Self {
        Self { errno, error: failed(operation, errno) }
    }
}

/// Takes the failure to make one hierarchy's directory as "goes without", or returns it.
fn may_do_without(place: &Place, plan: &CgroupPlan, failure: Failure) -> Result<()> {
    let permission = matches!(failure.errno, Errno::EACCES | Errno::EPERM | Errno::EROFS);
    let error = failure.error;
    if !permission {
        return Err(error);
    }
    let limit = plan.writes.iter().find(|write| {
        write.controller == "cgroup" || place.controllers.iter().any(|held| *held == write.controller)
    });
    // The cgroup2 hierarchy beside those of v1 is rarely delegated with them, and limits nothing.
    let beside = plan.location.mode == Mode::Hybrid && place.version == Version::V2;
    if !is_unprivileged() || (plan.placed && !beside) {
        return Err(error.with_hint(match failure.errno {
            Errno::EROFS => {
                "cgroups are read-only in an unprivileged container: give the outer one a writable \
                 /sys/fs/cgroup, or use CgroupDriver::None"
            }
            _ => "run as root, or delegate the cgroup to this user",
        }));
    }
    match limit {
        None => Ok(()),
        Some(write) => Err(error
            .origin(write.origin.clone())
            .with_hint("rootless needs no limits + no cgrouppath when no permission is granted for cgroups")),
    }
}

/// Whether the caller is not the host's root: by its user, by a user namespace, or as root of an
/// unprivileged container. Device rules cannot be missed then: such a process cannot make device nodes, or
/// no container but in a user namespace, where nobody can.
pub(super) fn is_unprivileged() -> bool {
    let admin = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN);
    if !nix::unistd::geteuid().is_root() || !admin.unwrap_or(true) {
        return true;
    }
    let initial = |map: &str| map.split_whitespace().eq(["0", "0", "4294967295"]);
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !initial(&map))
}

fn make_member(root: &Arc<Directory>, place: &Place, plan: &CgroupPlan) -> Result<Member, Failure> {
    let mut made = Vec::new();
    let directory = make_path(root, place, plan, &mut made);
    match directory.and_then(|directory| if made.is_empty() { may_join(directory) } else { Ok(directory) }) {
        Ok(directory) => {
            Ok(Member { place: place.clone(), root: root.clone(), directory, made, enabled: Vec::new() })
        }
        Err(failure) => {
            unmake(root, place, &made);
            Err(failure)
        }
    }
}

/// A directory that was there already may be another's, by chance of the name: one where the caller may put
/// no process is as good as none.
fn may_join(directory: Directory) -> Result<Directory, Failure> {
    match directory.open_file("cgroup.procs", OFlag::O_WRONLY) {
        Err(errno @ (Errno::EACCES | Errno::EPERM | Errno::EROFS)) => {
            Err(Failure::new(format!("open {:?}", directory.path_of("cgroup.procs")), errno))
        }
        _ => Ok(directory),
    }
}

/// Removes the directories `made` on the way to `place`. Only in the last one may there be cgroups of
/// the container; an upper one that has others by now stays.
fn unmake(root: &Directory, place: &Place, made: &[String]) {
    let deadline = deadline::after(BUSY_LIMIT);
    for path in made.iter().rev() {
        let removed =
            if *path == place.path { remove_tree(root, path, deadline) } else { remove_single(root, path) };
        if removed.is_err() {
            return;
        }
    }
}

/// Makes every missing directory of the path and opens the last; `made` gets the paths of new ones.
fn make_path(
    root: &Directory,
    place: &Place,
    plan: &CgroupPlan,
    made: &mut Vec<String>,
) -> Result<Directory, Failure> {
    let is_cpuset = place.version == Version::V1 && place.controllers.iter().any(|held| held == "cpuset");
    let mut race = 0u32;
    loop {
        // Usually all but the last component exist: one open, one mkdir, one open. New cpusets must be
        // filled level by level, so they take the walk.
        let (parent, mut done) = match place.path.rsplit_once('/') {
            Some((parent, _)) if !is_cpuset => match root.open_dir(parent) {
                Ok(directory) => (Some(directory), parent.len().saturating_add(1)),
                Err(_) => (None, 0),
            },
            _ => (None, 0),
        };
        let mut current = parent;
        let result = loop {
            let rest = place.path.get(done..).unwrap_or_default();
            let name = rest.split('/').next().unwrap_or_default();
            let end = done.saturating_add(name.len());
            let path = place.path.get(..end).unwrap_or_default();
            let base = current.as_ref().unwrap_or(root);
            match base.mkdir(name) {
                Ok(()) if made.iter().any(|known| known == path) => {}
                Ok(()) => made.push(path.to_owned()),
                Err(Errno::EEXIST) => {}
                Err(errno) => break Err(Failure::new(format!("mkdir {:?}", base.path_of(name)), errno)),
            }
            let child = match base.open_dir(name) {
                Ok(child) => child,
                Err(errno) => break Err(Failure::new(format!("open {:?}", base.path_of(name)), errno)),
            };
            if is_cpuset {
                let is_last = end == place.path.len();
                if let Err(failure) = fill_cpuset(base, &child, if is_last { Some(plan) } else { None }) {
                    break Err(failure);
                }
            }
            if end == place.path.len() {
                break Ok(child);
            }
            done = end.saturating_add(1);
            current = Some(child);
        };
        match result {
            Err(failure) if failure.errno == Errno::ENOENT && race < RACES => race = race.saturating_add(1),
            other => return other,
        }
    }
}

/// A new v1 cpuset is empty, and nothing can join it: give it what its parent has. What the plan
/// writes anyway is left to it.
fn fill_cpuset(parent: &Directory, child: &Directory, plan: Option<&CgroupPlan>) -> Result<(), Failure> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if plan.is_some_and(|plan| plan.writes.iter().any(|write| write.file == file)) {
            continue;
        }
        let read = |from: &Directory| {
            from.read(file).map_err(|errno| Failure::new(format!("read {:?}", from.path_of(file)), errno))
        };
        if read(child)?.trim().is_empty() {
            let list = read(parent)?;
            child.write(file, list.trim()).map_err(|errno| {
                Failure::new(format!("write {:?} to {:?}", list.trim(), child.path_of(file)), errno)
            })?;
        }
    }
    Ok(())
}

/// Enables `needed` controllers for the member, from the root down, and `wished` ones where it can.
///
/// The member's own `cgroup.controllers` says whether all is done already: the usual case below an
/// engine's cgroup, at the price of one read.
fn enable(member: &Member, needed: &[&str], wished: &[&str]) -> Result<()> {
    // What the root lists is all there can be.
    let wished: Vec<&str> = wished.iter().copied().filter(|name| member.holds(name)).collect();
    if needed.is_empty() && wished.is_empty() {
        return Ok(());
    }
    let listed = member.directory.read("cgroup.controllers").map_err(|errno| {
        failed(format!("read {:?}", member.directory.path_of("cgroup.controllers")), errno)
    })?;
    let is_missing = |name: &&str| !listed.split_whitespace().any(|held| held == *name);
    let missing: Vec<&str> = needed.iter().copied().filter(is_missing).collect();
    let wished: Vec<&str> =
        wished.into_iter().filter(is_missing).filter(|name| !missing.contains(name)).collect();
    if missing.is_empty() && wished.is_empty() {
        return Ok(());
    }

    let mut level =
        member.root.open_dir("").map_err(|errno| failed(format!("open {:?}", member.root.text()), errno))?;
    let mut wished = wished;
    for name in member.place.path.split('/') {
        enable_at(&level, &missing)?;
        // For statistics only: what a level does not grant, the ones below go without.
        if !wished.is_empty() && level.write(SUBTREE, &plus(&wished)).is_err() {
            wished.retain(|name| level.write(SUBTREE, &plus(&[*name])).is_ok() || grants(&level, &[*name]));
        }
        level =
            level.open_dir(name).map_err(|errno| failed(format!("open {:?}", level.path_of(name)), errno))?;
    }
    Ok(())
}

/// What a cgroup gives to those below it.
const SUBTREE: &str = "cgroup.subtree_control";

/// `+a +b`, as `cgroup.subtree_control` takes it.
fn plus(controllers: &[&str]) -> String {
    controllers.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ")
}

fn enable_at(level: &Directory, controllers: &[&str]) -> Result<()> {
    if controllers.is_empty() {
        return Ok(());
    }
    let value = plus(controllers);
    let errno = match level.write(SUBTREE, &value) {
        Ok(()) => return Ok(()),
        Err(errno) => errno,
    };
    let permission = matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EROFS);
    // A subtree that was delegated to this user begins somewhere below: what is above has been done.
    if permission && grants(level, controllers) {
        return Ok(());
    }
    let error = failed(format!("write {value:?} to {:?}", level.path_of(SUBTREE)), errno);
    Err(match errno {
        _ if permission => error.with_hint(format!(
            "delegate the controllers to this user: with systemd, \"Delegate={}\" in user@.service",
            controllers.join(" ")
        )),
        Errno::EBUSY => {
            error.with_hint("processes are in this cgroup itself: move them into a cgroup below it")
        }
        Errno::ENOENT => error.with_hint("the parent cgroup does not grant the controller"),
        Errno::EOPNOTSUPP => {
            error.with_hint("the cgroup is threaded: no domain controller can be enabled in it")
        }
        _ => error,
    })
}

/// Whether the sub-cgroups of `level` have the controllers already.
fn grants(level: &Directory, controllers: &[&str]) -> bool {
    let listed = level.read(SUBTREE).unwrap_or_default();
    controllers.iter().all(|name| listed.split_whitespace().any(|held| held == *name))
}
