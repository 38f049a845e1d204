//! The launch: from a plan to a process.
//!
//! `stage` makes stage 0 by `clone` and `kid`; `child` is the conversation with stage 0 and the init, `lanes` runs the
//! caller's part of the plan meanwhile. `errand` has stage 0 do something without an init.

#![allow(unsafe_code)]

mod child;
mod clone;
mod errand;
mod failure;
mod gate;
mod head_start;
mod hooks;
mod idmap;
mod image;
mod kid;
mod lanes;
mod listener;
mod net_devices;
mod stage;
mod times;
mod undo;
mod wait;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::stat::Mode;

pub(crate) use child::{Child, Kept};
pub(crate) use errand::{attach_in, locked_tree, open_in, unmount_in};
pub(crate) use failure::StepText;
pub(crate) use gate::{Handover, open_gate};
pub use head_start::HeadStart;
pub(crate) use hooks::{hook_files, run_hooks, run_poststop};
pub(crate) use image::sealed;
pub(crate) use lanes::{ParentLane, run};
pub(crate) use listener::Receiver;
pub(crate) use net_devices::{Moved, give as give_net_devices, require as require_net_devices};
pub(crate) use undo::Guard;

use crate::error::{Error, Result};
use crate::plan::{Join, LaunchPlan};
use crate::sys::memfd::Purpose;
use crate::sys::{namespace, process, socket};
use crate::timings::Timings;
use runtime_init::ops::{Op, Slot};
use stage::Stage;
use times::Shared;

/// What a launch takes beside its plan.
pub(crate) struct Inputs<'a> {
    /// Standard streams; `None` is the caller's own, or /dev/null when the caller has closed it.
    pub(crate) stdio: [Option<BorrowedFd<'a>>; 3],
    /// Number of the caller's descriptors from 3 on that the container gets.
    pub(crate) preserved: u32,
    /// Directory of the cgroup (v2) to start in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// Files by which the init enters cgroups that it is not cloned into.
    pub(crate) tasks: Vec<OwnedFd>,
    /// Listening socket of the start gate.
    pub(crate) gate: Option<BorrowedFd<'a>>,
    /// The pidfd of the container's init, for exec.
    pub(crate) target: Option<BorrowedFd<'a>>,
    /// The caller may write id maps itself.
    pub(crate) privileged: bool,
    /// Where the ends of the steps are to be told.
    pub(crate) timings: Option<&'a Arc<Timings>>,
}

impl Inputs<'_> {
    /// Those of a launch of which nothing else is known yet.
    fn of_caller(preserved: u32) -> Self {
        Self {
            stdio: [None; 3],
            preserved,
            cgroup: None,
            tasks: Vec::new(),
            gate: None,
            target: None,
            privileged: false,
            timings: None,
        }
    }
}

/// Makes stage 0, unless a head start has, and gives it the plan: it clones the init, which runs its lane. The caller's lane
/// is the caller's next step ([`run`]).
pub(crate) fn spawn<'a>(
    plan: &'a LaunchPlan,
    inputs: &Inputs<'_>,
    head_start: Option<HeadStart>,
) -> Result<Child<'a>> {
    let base = base(inputs.preserved)?;
    let shared = Shared::new(plan, inputs.timings)?;
    let joins = plan.joins.iter().map(open_join).collect::<Result<Vec<_>>>()?;
    let forks = plan.child.ops().iter().any(|op| matches!(op, Op::ForkIntoPidNamespace));
    let (ours, theirs) = socket::pair(forks).map_err(|errno| Error::system("socketpair", errno))?;
    let null = missing_stdio(inputs)?;
    let stage = match head_start.and_then(|head_start| head_start.fit(plan, inputs)) {
        Some(stage) => stage,
        None => Stage::spawn(streams(inputs, null.as_ref()), base, false)?,
    };
    shared.mark(|| "make the init's first stage".to_owned());

    let mut gives = vec![(Slot::SYNC, theirs.as_fd()), (Slot::SHARED, shared.as_fd())];
    gives.extend(inputs.gate.map(|fd| (Slot::GATE, fd)));
    gives.extend(inputs.target.map(|fd| (Slot::TARGET, fd)));
    gives.extend(inputs.cgroup.map(|fd| (Slot::PLACE, fd)));
    gives.extend(plan.joins.iter().zip(&joins).map(|(join, fd)| (join.slot, fd.as_fd())));
    let tasks = inputs.tasks.iter().zip(0..Slot::TASKS_COUNT);
    gives.extend(tasks.map(|(fd, at)| (Slot(Slot::TASKS.0 + at), fd.as_fd())));
    let filled = gives.iter().fold(Slot::PLAN.bit(), |bits, (slot, _)| bits | slot.bit());
    let image = plan.child.image(stage.base(), filled, inputs.timings.is_some());
    let image = sealed(&image, Purpose::Data)?;
    gives.push((Slot::PLAN, image.as_fd()));
    stage.send(gives)?;
    shared.mark(|| "send the plan".to_owned());
    drop(theirs);
    let mut child = Child::new(plan, stage, ours, shared);
    child.map_ids(inputs.privileged)?;
    Ok(child)
}

/// The numbers of the standard streams to give; -1 for one that there is not.
fn streams(inputs: &Inputs<'_>, null: Option<&OwnedFd>) -> [i32; 3] {
    let stream = |number: usize| {
        let own = is_inheritable(number as i32).then_some(number as i32);
        let given = inputs.stdio.get(number).copied().flatten().map(|fd| fd.as_raw_fd());
        given.or(own).or(null.map(AsRawFd::as_raw_fd)).unwrap_or(-1)
    };
    [stream(0), stream(1), stream(2)]
}

/// Whether the clone makes the user namespace; otherwise the init does, after joining others.
fn maps_at_clone(plan: &LaunchPlan) -> bool {
    plan.id_maps.is_some() && plan.clone_flags & libc::CLONE_NEWUSER as u64 != 0
}

/// Opens a namespace to join and verifies that it is one, of the right kind.
fn open_join(join: &Join) -> Result<OwnedFd> {
    let call = || format!("open namespace {:?}", join.path);
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = open(join.path.as_str(), flags, Mode::empty())
        .map_err(|errno| Error::system(call(), errno).origin(join.origin.clone()))?;
    match namespace::kind(file.as_fd()) {
        Ok(kind) if kind == join.kind => Ok(file),
        Ok(_) => Err(Error::invalid(
            join.origin.clone(),
            format!("{:?} is a namespace of another type", join.path),
        )),
        Err(errno) => Err(Error::system(call(), errno).reason("not a namespace").origin(join.origin.clone())),
    }
}

/// Whether the caller has this descriptor to give: it is open, and not close-on-exec. The library's
/// own are all close-on-exec, and may have taken the number that a caller left free: a container
/// must not find the state directory as its standard input.
fn is_inheritable(fd: i32) -> bool {
    // SAFETY: the borrow ends with the call, which only asks about the number.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let closed_on_exec = FdFlag::FD_CLOEXEC.bits();
    fcntl(fd, FcntlArg::F_GETFD).is_ok_and(|flags| flags & closed_on_exec == 0)
}

/// The first number above the preserved descriptors. Numbers that are closed stay closed, as with runc and crun:
/// Podman passes `--preserve-fds 3` for number 5 alone.
fn base(preserved: u32) -> Result<i32> {
    if preserved == 0 {
        return Ok(3);
    }
    let end = i32::try_from(preserved).ok().and_then(|count| count.checked_add(3)).unwrap_or(i32::MAX);
    let open = process::open_descriptors().map_err(|error| Error::io("list \"/proc/self/fd\"", &error))?;
    let last = open.into_iter().filter(|fd| (3..end).contains(fd) && is_inheritable(*fd)).max();
    Ok(last.map_or(3, |last| last + 1))
}

/// /dev/null, when a standard stream of the caller is needed and closed.
fn missing_stdio(inputs: &Inputs<'_>) -> Result<Option<OwnedFd>> {
    let missing = (0..3).any(|stream| inputs.stdio[stream].is_none() && !is_inheritable(stream as i32));
    if !missing {
        return Ok(None);
    }
    open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .map(Some)
        .map_err(|errno| Error::system("open \"/dev/null\"", errno))
}
