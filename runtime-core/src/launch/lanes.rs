//! The parent lane: what the caller does while the child mounts.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

use super::failure::init_frame;
use super::{Child, idmap, network};
use crate::child::ops::Point;
use crate::error::{Error, Result};
use crate::plan::{IdMaps, LaunchPlan, MountIdMap, ParentOp};
use crate::sys::{mount, process};

/// What the parent lane needs from the container that is being made.
pub(crate) trait ParentLane {
    /// Makes the systemd unit with the init in it, if the plan says so.
    fn start_unit(&mut self, _pid: i32) -> Result<()> {
        Ok(())
    }
    /// Puts the init into the cgroups that clone3 could not.
    fn join_cgroup(&mut self, pid: i32) -> Result<()>;
    /// Writes the limits.
    fn apply_limits(&mut self) -> Result<()>;
    /// Loads and attaches the device program.
    fn attach_devices(&mut self) -> Result<()>;
    /// Puts the process into its class of service.
    fn join_resctrl(&mut self, pid: i32) -> Result<()>;
    /// Whether the caller may write any id map itself.
    fn privileged(&self) -> bool;
    /// Does what belongs to a point and need not wait until the child has reached it.
    fn prepare(&mut self, _point: Point, _child: &Child<'_>) -> Result<()> {
        Ok(())
    }
    /// Does what has to be done before the program of an exec runs.
    fn before_program(&mut self, _child: &mut Child<'_>) -> Result<()> {
        Ok(())
    }
    /// Does what belongs to a point (hooks); the descriptors go to the child, one by one.
    fn reached(&mut self, point: Point, child: &Child<'_>) -> Result<Vec<OwnedFd>>;
}

/// Runs the parent lane to its end.
pub(crate) fn run(plan: &LaunchPlan, child: &mut Child<'_>, lane: &mut dyn ParentLane) -> Result<()> {
    plan.parent.iter().try_for_each(|op| {
        // What the init said has its own.
        step(plan, op, child, lane).map_err(|error| match (error.launch_frame(), frame(plan, op)) {
            (None, Some(frame)) => error.frame(frame),
            _ => error,
        })?;
        child.mark(|| op.explain());
        Ok(())
    })
}

/// Where a failure belongs to, in runc's words.
fn frame(plan: &LaunchPlan, op: &ParentOp) -> Option<String> {
    let in_init = |what: &str| format!("{}: {what}", init_frame(plan, None));
    match op {
        ParentOp::StartUnit | ParentOp::JoinCgroup => Some("unable to apply cgroup configuration".to_owned()),
        ParentOp::ApplyLimits | ParentOp::AttachDevices => {
            Some(in_init("error setting cgroup config for procHooks process"))
        }
        ParentOp::JoinResctrl => Some("unable to apply Intel RDT configuration".to_owned()),
        ParentOp::MakeNetwork { .. } | ParentOp::Answer(Point::NetworkDevices) => {
            Some("error creating network interfaces".to_owned())
        }
        ParentOp::SendTree { origin, .. } | ParentOp::Rlimit { origin, .. } => {
            Some(init_frame(plan, Some(origin)))
        }
        ParentOp::OomScoreAdj { .. } => None,
        ParentOp::LetRun | ParentOp::Answer(_) => Some(init_frame(plan, None)),
    }
}

fn step(plan: &LaunchPlan, op: &ParentOp, child: &mut Child<'_>, lane: &mut dyn ParentLane) -> Result<()> {
    match op {
        ParentOp::StartUnit => lane.start_unit(child.pid())?,
        ParentOp::JoinCgroup => lane.join_cgroup(child.pid())?,
        ParentOp::ApplyLimits => lane.apply_limits()?,
        ParentOp::AttachDevices => lane.attach_devices()?,
        ParentOp::JoinResctrl => lane.join_resctrl(child.pid())?,
        ParentOp::MakeNetwork { sysfs } => {
            network::make(*sysfs, |network| {
                let mut fds = vec![network.namespace.as_raw_fd()];
                fds.extend(network.sysfs.as_ref().map(AsRawFd::as_raw_fd));
                child.release(&fds)
            })?;
        }
        ParentOp::SendTree { source, recursive, nofollow, mounted_by_child, idmap, origin } => {
            let request = TreeRequest {
                source,
                recursive: *recursive,
                nofollow: *nofollow,
                mounts_of: mounted_by_child.then(|| child.pid()),
            };
            let tree = tree(&request, idmap.as_ref(), child).map_err(|error| error.origin(origin.clone()))?;
            child.release(&[tree.as_raw_fd()])?;
        }
        ParentOp::Rlimit { resource, soft, hard, origin } => {
            process::set_limit(child.pid(), *resource, (*soft, *hard)).map_err(|errno| {
                Error::system(format!("set resource limit {resource} to {soft}:{hard}"), errno)
                    .origin(origin.clone())
            })?;
        }
        ParentOp::OomScoreAdj { value, origin } => {
            let path = format!("/proc/{}/oom_score_adj", child.pid());
            std::fs::write(&path, value.to_string()).map_err(|error| {
                Error::io(format!("write {value} to {path}"), &error).origin(origin.clone())
            })?;
        }
        ParentOp::LetRun => {
            child.expect_reports()?;
            lane.before_program(child)?;
            child.release(&[])?;
        }
        ParentOp::Answer(Point::IdMaps) => {
            child.expect(Point::IdMaps)?;
            if let Some(maps) = &plan.id_maps {
                idmap::write(child.pid(), maps, lane.privileged())?;
            }
            child.release(&[])?;
        }
        ParentOp::Answer(point) => {
            lane.prepare(*point, child)?;
            child.expect(*point)?;
            let given = lane.reached(*point, child)?;
            child.release(&[])?;
            for fd in given {
                child.release(&[fd.as_raw_fd()])?;
            }
        }
    }
    Ok(())
}

/// A tree to clone.
struct TreeRequest<'a> {
    source: &'a str,
    recursive: bool,
    nofollow: bool,
    /// The process in whose mount namespace the path is taken; else the caller's.
    mounts_of: Option<i32>,
}

impl TreeRequest<'_> {
    fn clone_tree(&self) -> Result<OwnedFd> {
        let call = || format!("clone the tree at {:?}", self.source);
        let path = CString::new(self.source).map_err(|_| Error::system(call(), Errno::EINVAL))?;
        let clone = || mount::clone_tree(&path, self.recursive, self.nofollow);
        let tree = match self.mounts_of {
            None => clone(),
            Some(pid) => {
                let namespace = namespace_of(pid, "mnt")?;
                in_mount_namespace(namespace.as_fd(), clone)
            }
        };
        tree.map_err(|errno| Error::system(call(), errno))
    }
}

/// Does something in another mount namespace: in a thread of its own, which shares neither the
/// namespace nor the working directory with the caller's, and ends with it.
fn in_mount_namespace<T: Send>(
    namespace: BorrowedFd<'_>,
    act: impl FnOnce() -> nix::Result<T> + Send,
) -> nix::Result<T> {
    let enter = || {
        unshare(CloneFlags::CLONE_FS)?;
        setns(namespace, CloneFlags::CLONE_NEWNS)?;
        act()
    };
    let result = std::thread::scope(|scope| {
        std::thread::Builder::new().spawn_scoped(scope, enter).map(|thread| thread.join())
    });
    match result {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Errno::ECANCELED),
        Err(_) => Err(Errno::EAGAIN),
    }
}

/// A detached tree of the host, with its id map.
fn tree(request: &TreeRequest<'_>, map: Option<&MountIdMap>, child: &Child<'_>) -> Result<OwnedFd> {
    let source = request.source;
    let tree = request.clone_tree()?;
    let mapped = |recursive: bool, userns: OwnedFd| {
        mount::idmap(tree.as_fd(), userns.as_fd(), recursive).map_err(|errno| {
            let error = Error::system(format!("give the tree at {source:?} an id map"), errno);
            match errno {
                Errno::EINVAL => error.hint("the file system may not support idmapped mounts"),
                _ => error,
            }
        })
    };
    match map {
        None => {}
        Some(MountIdMap::Container { recursive }) => mapped(*recursive, child.user_namespace()?)?,
        Some(MountIdMap::Own { uid, gid, recursive }) => {
            let maps = IdMaps { uid: uid.clone(), gid: gid.clone(), deny_setgroups: false };
            mapped(*recursive, user_namespace(&maps)?)?;
        }
    }
    Ok(tree)
}

pub(super) fn user_namespace_of(pid: i32) -> Result<OwnedFd> {
    namespace_of(pid, "user")
}

fn namespace_of(pid: i32, kind: &str) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/{kind}");
    std::fs::File::open(&path).map(OwnedFd::from).map_err(|error| Error::io(format!("open {path:?}"), &error))
}

/// A user namespace with these maps, held by its descriptor only.
fn user_namespace(maps: &IdMaps) -> Result<OwnedFd> {
    held(0, |pid| idmap::write(pid, maps, true).and_then(|()| user_namespace_of(pid)))
}

/// Clones a tree of the host for a container that is in a user namespace: from a copy of the mount
/// namespace that belongs to another user namespace, where the kernel has locked the attributes of the
/// host's mounts (mount_namespaces(7)). The container cannot take them back then, nor uncover what is
/// below a mount of the tree.
pub(crate) fn locked_tree(source: &CStr, recursive: bool, nofollow: bool) -> Result<nix::Result<OwnedFd>> {
    let namespace = held(libc::CLONE_NEWNS, |pid| namespace_of(pid, "mnt"))?;
    Ok(in_mount_namespace(namespace.as_fd(), || mount::clone_tree(source, recursive, nofollow)))
}

/// What `take` gets of a process in new namespaces, which ends then.
fn held(more: i32, take: impl FnOnce(i32) -> Result<OwnedFd>) -> Result<OwnedFd> {
    let holder = super::clone::pause_in_user_namespace(more)?;
    let namespace = take(holder.pid);
    process::pidfd_send_signal(holder.pidfd.as_fd(), libc::SIGKILL)
        .and_then(|()| process::wait(holder.pidfd.as_fd(), true))
        .map_err(|errno| Error::system("end the holder of a user namespace", errno))?;
    namespace
}
