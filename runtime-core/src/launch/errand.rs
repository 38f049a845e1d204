//! Errands: a few operations of stage 0 without an init, for what must not be done in the caller's process.
//!
//! A thread of the caller never enters a namespace: it would act in the wrong one, seen by all other threads. A process
//! that shares nothing with the caller does, and hands over a descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;

use super::failure::{StepText, describe};
use super::stage::{Said, Stage};
use super::wait::STEP_LIMIT;
use super::{sealed, times};
use crate::child::ops::{Op, Slot};
use crate::error::Result;
use crate::plan::ChildPlan;
use crate::sys::memfd::Purpose;

/// Runs the operations of `plan`, with a namespace in [`Slot::TARGET`] if they need one, and takes the descriptor that the
/// last of them delivers.
fn run(mut plan: ChildPlan, ops: Vec<Op>, target: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
    plan.put_stage(ops.into_iter().map(|op| (op, None)).collect());
    // It needs no streams: its slots begin at the first descriptor.
    let stage = Stage::spawn([-1; 3], 0)?;
    let shared = times::memory(0)?;
    let filled = Slot::PLAN.bit() | Slot::SHARED.bit() | target.map_or(0, |_| Slot::TARGET.bit());
    let image = sealed(&plan.image(0, filled, false), Purpose::Data)?;
    let mut gives = vec![(Slot::PLAN, image.as_fd()), (Slot::SHARED, shared.as_fd())];
    gives.extend(target.map(|fd| (Slot::TARGET, fd)));
    stage.send(gives)?;
    match stage.hear(Some(Instant::now() + STEP_LIMIT)) {
        Ok(Said::Report(report, Some(fd))) if report.errno == 0 => Ok(fd),
        Ok(Said::Report(report, fd)) => {
            let step = StepText::in_plan(&plan, report.step as usize);
            Err(describe(report, step.as_ref(), fd))
        }
        Ok(Said::End) => Err(stage.ended()),
        Err(error) => {
            stage.kill();
            Err(error)
        }
    }
}

/// A netlink socket (NETLINK_ROUTE) of a network namespace.
pub(crate) fn netlink_socket(namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
    let join = Op::JoinNamespaces { slot: Slot::TARGET, flags: libc::CLONE_NEWNET as u32 };
    run(
        ChildPlan::default(),
        vec![join, Op::OpenNetlink, Op::Deliver { slot: Slot::NETWORK }],
        Some(namespace),
    )
}

/// Clones a tree of the host for a container that is in a user namespace: from a copy of the mount
/// namespace that belongs to another user namespace, where the kernel has locked the attributes of the
/// host's mounts (mount_namespaces(7)). The container cannot take them back then, nor uncover what is
/// below a mount of the tree. The inner result is that of the clone.
pub(crate) fn locked_tree(
    source: &str,
    recursive: bool,
    nofollow: bool,
) -> Result<std::result::Result<OwnedFd, Errno>> {
    let mut plan = ChildPlan::default();
    let path = plan.string(source);
    let clone = Op::CloneLockedTree { path, recursive, nofollow };
    match run(plan, vec![clone, Op::Deliver { slot: Slot::MOUNT }], None) {
        Ok(tree) => Ok(Ok(tree)),
        Err(error) => error.raw_errno().map_or(Err(error), |errno| Ok(Err(errno))),
    }
}
