//! The launch: from a plan to a process.
//!
//! `stage` makes stage 0 by `clone` and `kid`; `child` is the conversation with stage 0 and the init, `lanes` runs the
//! caller's part of the plan meanwhile. `errand` has stage 0 do something without an init.

#![allow(unsafe_code, reason = "the kernel is asked here; each block says why it holds")]

mod child;
mod clone;
mod descriptors;
mod errand;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
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

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

pub(crate) use child::{Child, Kept};
pub(crate) use descriptors::null;
use descriptors::{Descriptors, missing_stdio};
pub(crate) use errand::{attach_in, locked_tree, open_in, unmount_in, user_namespace};
pub(crate) use failure::StepText;
pub(crate) use gate::{Handover, Held, end_hold, open_gate};
pub use head_start::HeadStart;
pub(crate) use hooks::{hook_files, run_hooks, run_poststop};
use image::executable;
pub(crate) use image::sealed;
pub(crate) use lanes::{ParentLane, run};
pub(crate) use listener::Receiver;
pub(crate) use net_devices::{Moved, give as give_net_devices, require as require_net_devices};
pub(crate) use undo::Guard;

use crate::error::{Error, Result};
use crate::plan::{Join, LaunchPlan};
use crate::sys::memfd::Purpose;
use crate::sys::{namespace, socket};
use crate::timings::Timings;
use runtime_init::ops::{NamespaceOp, Op, Slot};
use stage::Stage;
use times::Shared;

/// What a launch takes beside its plan.
pub(crate) struct Inputs<'a> {
    /// Standard streams; `None` is the caller's own, or /dev/null when the caller has closed it.
    pub(crate) stdio: [Option<BorrowedFd<'a>>; 3],
    /// Other descriptors, each with the number (3 or more) that it has in the container.
    pub(crate) passed: Vec<(BorrowedFd<'a>, i32)>,
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
            passed: Vec::new(),
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
    let shared = Shared::new(plan, inputs.timings)?;
    let joins = plan.joins.iter().map(open_join).collect::<Result<Vec<_>>>()?;
    let forks =
        plan.child.ops().iter().any(|op| matches!(op, Op::Namespace(NamespaceOp::ForkIntoPidNamespace)));
    let (ours, theirs) = socket::pair(forks).map_err(|errno| Error::system("socketpair", errno))?;
    let null = missing_stdio(inputs)?;
    let stage = match head_start.and_then(|head_start| head_start.fit(plan, inputs)) {
        Some(stage) => stage,
        None => Stage::spawn(&Descriptors::new(inputs, null.as_ref())?, false)?,
    };
    shared.mark(|| "make the init's first stage".to_owned());

    let mut gives = vec![(Slot::SYNC, theirs.as_fd()), (Slot::SHARED, shared.as_fd())];
    let handler =
        plan.handler.as_ref().map(|handler| executable(handler.bytes(), Purpose::Handler)).transpose()?;
    gives.extend(handler.as_ref().map(|fd| (Slot::HANDLER, fd.as_fd())));
    gives.extend(inputs.gate.map(|fd| (Slot::GATE, fd)));
    gives.extend(inputs.target.map(|fd| (Slot::TARGET, fd)));
    gives.extend(inputs.cgroup.map(|fd| (Slot::PLACE, fd)));
    gives.extend(plan.joins.iter().zip(&joins).map(|(join, fd)| (join.slot, fd.as_fd())));
    let tasks = Slot::tasks().zip(&inputs.tasks);
    gives.extend(tasks.map(|(slot, fd)| (slot, fd.as_fd())));
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

/// Whether the clone makes the user namespace; otherwise the init does, after joining others.
fn maps_at_clone(plan: &LaunchPlan) -> bool {
    plan.id_maps.is_some() && plan.clone_flags & libc::CLONE_NEWUSER as u64 != 0
}

/// Opens a namespace to join and verifies that it is one, of the right kind.
fn open_join(join: &Join) -> Result<OwnedFd> {
    let call = || format!("open namespace {:?}", join.path);
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = match &join.held {
        Some(held) => held.try_clone().map_err(|error| Error::io(call(), &error)),
        None => open(join.path.as_str(), flags, Mode::empty()).map_err(|errno| Error::system(call(), errno)),
    };
    let file = file.map_err(|error| error.origin(join.origin.clone()))?;
    match namespace::kind(file.as_fd()) {
        Ok(kind) if kind == join.kind => Ok(file),
        Ok(_) => Err(Error::invalid(
            join.origin.clone(),
            format!("{:?} is a namespace of another type", join.path),
        )),
        Err(errno) => Err(Error::system(call(), errno).reason("not a namespace").origin(join.origin.clone())),
    }
}
