//! The launch: from a plan to a process.
//!
//! `clone` makes the child, `kid` is what the child does until it runs the tiny init, `child` is the
//! conversation with the init, `lanes` runs the parent's half of the plan meanwhile.

#![allow(unsafe_code)]

mod child;
mod clone;
mod failure;
mod gate;
mod hooks;
mod idmap;
mod image;
mod kid;
mod lanes;
mod listener;
mod net_devices;
mod network;
mod times;
mod undo;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::stat::Mode;

pub(crate) use child::{Child, Kept};
pub(crate) use failure::StepText;
pub(crate) use gate::{Handover, open_gate};
pub(crate) use hooks::{hook_files, run_hooks, run_poststop};
use image::InitImage;
pub(crate) use image::sealed;
pub(crate) use lanes::{ParentLane, locked_tree, run};
pub(crate) use listener::Receiver;
pub(crate) use net_devices::{Moved, give as give_net_devices, require as require_net_devices};
pub(crate) use undo::Guard;

use crate::child::ops::{Op, Slot};
use crate::error::{Error, Result};
use crate::plan::{Join, LaunchPlan};
use crate::sys::memfd::Purpose;
use crate::sys::{namespace, process, socket};
use crate::timings::Timings;
use clone::Request;
use kid::Give;
use times::Times;

/// What a launch takes beside its plan.
pub(crate) struct Inputs<'a> {
    /// Standard streams; `None` is the caller's own, or /dev/null when the caller has closed it.
    pub(crate) stdio: [Option<BorrowedFd<'a>>; 3],
    /// Number of the caller's descriptors from 3 on that the container gets.
    pub(crate) preserved: u32,
    /// Directory of the cgroup (v2) to start in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// Listening socket of the start gate.
    pub(crate) gate: Option<BorrowedFd<'a>>,
    /// The pidfd of the container's init, for exec.
    pub(crate) target: Option<BorrowedFd<'a>>,
    /// The caller may write id maps itself.
    pub(crate) privileged: bool,
    /// Where the ends of the steps are to be told.
    pub(crate) timings: Option<&'a Arc<Timings>>,
}

/// Clones the child and lets it run the tiny init with the plan's child lane. The parent lane is the
/// caller's next step ([`run`]).
pub(crate) fn spawn<'a>(plan: &'a LaunchPlan, inputs: &Inputs<'_>) -> Result<Child<'a>> {
    let base = base(inputs.preserved)?;
    let times = inputs.timings.map(|timings| Times::new(timings, plan)).transpose()?;
    let joins = plan.joins.iter().map(open_join).collect::<Result<Vec<_>>>()?;
    let inherited = inherited_slots(inputs, &plan.joins);
    let image = sealed(&plan.child.image(base, inherited), Purpose::Data)?;
    let forks = plan.child.ops().iter().any(|op| matches!(op, Op::ForkIntoPidNamespace));
    let program = InitImage::new()?;
    let (ours, theirs) = socket::pair(forks).map_err(|errno| Error::system("socketpair", errno))?;
    let null = missing_stdio(inputs)?;
    mark(times.as_ref(), || "make the plan's and the init's memory files".to_owned());

    let mut gives = Vec::with_capacity(kid::DESCRIPTORS);
    for (stream, given) in inputs.stdio.iter().enumerate() {
        let own = is_inheritable(stream as i32).then_some(stream as i32);
        let from = given.map(|fd| fd.as_raw_fd()).or(own).or(null.as_ref().map(AsRawFd::as_raw_fd));
        gives.push(Give { from: from.unwrap_or(-1), to: stream as i32 });
    }
    let mut give = |slot: Slot, fd: BorrowedFd<'_>| {
        gives.push(Give { from: fd.as_raw_fd(), to: base + slot.0 as i32 });
    };
    give(Slot::PLAN, image.as_fd());
    give(Slot::SYNC, theirs.as_fd());
    inputs.gate.into_iter().for_each(|fd| give(Slot::GATE, fd));
    inputs.target.into_iter().for_each(|fd| give(Slot::TARGET, fd));
    times.iter().for_each(|times| give(Slot::TIMES, times.as_fd()));
    plan.joins.iter().zip(&joins).for_each(|(join, fd)| give(join.slot, fd.as_fd()));

    let cloned = clone::clone(&Request {
        namespaces: plan.clone_flags,
        cgroup: inputs.cgroup,
        program: program.as_fd(),
        gives: &gives,
        base,
        await_id_maps: maps_at_clone(plan),
    })?;
    mark(times.as_ref(), || "clone3".to_owned());
    drop(theirs);
    let mut child = Child::new(plan, cloned, ours, times);
    if let Some(maps) = plan.id_maps.as_ref().filter(|_| maps_at_clone(plan)) {
        idmap::write(child.pid(), maps, inputs.privileged)?;
        child.release(&[])?;
    }
    Ok(child)
}

/// Tells of a step, if anybody wants to know.
fn mark(times: Option<&Times>, step: impl FnOnce() -> String) {
    if let Some(times) = times {
        times.mark(step());
    }
}

/// The slots that the init finds filled, as bits.
fn inherited_slots(inputs: &Inputs<'_>, joins: &[Join]) -> u32 {
    let always = [Slot::PLAN, Slot::SYNC];
    let gate = inputs.gate.map(|_| Slot::GATE);
    let target = inputs.target.map(|_| Slot::TARGET);
    let times = inputs.timings.map(|_| Slot::TIMES);
    let slots =
        always.into_iter().chain(gate).chain(target).chain(times).chain(joins.iter().map(|join| join.slot));
    slots.fold(0, |bits, slot| bits | 1 << slot.0)
}

/// Whether clone3 makes the user namespace; otherwise the child does, after joining others.
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
