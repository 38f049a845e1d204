//! Errands: a few operations of stage 0 without an init, for what must not be done in the caller's process.
//!
//! A thread of the caller never enters a namespace: it would act in the wrong one, seen by all other threads. A process
//! that shares nothing with the caller does, and hands over a descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;

use super::descriptors::Descriptors;
use super::failure::{StepText, describe};
use super::stage::{Said, Stage};
use super::{sealed, times};
use crate::deadline;
use crate::error::{Error, Result};
use crate::plan::{ChildPlan, IdRange};
use crate::sys::memfd::Purpose;
use runtime_init::ops::{MountOp, NamespaceOp, Node, Op, Slot, StageOp};

/// How long an errand may take: a file system of a container may never answer.
const LIMIT: Duration = Duration::from_secs(30);

/// What stage 0 gets for an errand.
#[derive(Default)]
struct Gives<'a> {
    /// A namespace, or a process whose namespaces are to be entered.
    target: Option<BorrowedFd<'a>>,
    /// What the errand is about.
    given: Option<BorrowedFd<'a>>,
}

/// Runs the operations, of which the last tells the end or delivers a descriptor.
fn run(mut plan: ChildPlan, ops: Vec<Op>, gives: &Gives<'_>) -> Result<Option<OwnedFd>> {
    plan.put_stage(ops.into_iter().map(|op| (op, None)).collect());
    // It needs no streams: its slots begin at the first descriptor.
    let stage = Stage::spawn(&Descriptors::NONE, false)?;
    let shared = times::memory(0)?;
    let given = [(Slot::TARGET, gives.target), (Slot::GIVEN, gives.given)];
    let mut slots = vec![(Slot::SHARED, shared.as_fd())];
    slots.extend(given.into_iter().filter_map(|(slot, fd)| fd.map(|fd| (slot, fd))));
    let filled = slots.iter().fold(Slot::PLAN.bit(), |bits, (slot, _)| bits | slot.bit());
    let image = sealed(&plan.image(0, filled, false), Purpose::Data)?;
    slots.push((Slot::PLAN, image.as_fd()));
    stage.send(slots)?;
    match stage.hear(Some(deadline::after(LIMIT))) {
        Ok(Said::Report(report, fd)) if report.errno == 0 => Ok(fd),
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

/// As [`run`], for a descriptor.
fn fetch(plan: ChildPlan, ops: Vec<Op>, gives: &Gives<'_>) -> Result<OwnedFd> {
    run(plan, ops, gives)?.ok_or_else(|| Error::system("take what was delivered", Errno::EPROTO))
}

/// Opens `path` (O_PATH) in the mount namespace of a process, below the root of that.
pub(crate) fn open_in(process: BorrowedFd<'_>, path: &str) -> Result<OwnedFd> {
    let mut plan = ChildPlan::default();
    let path = plan.string(path);
    let ops =
        enter([Op::Stage(StageOp::OpenInRoot { path }), Op::Stage(StageOp::Deliver { slot: Slot::MOUNT })]);
    fetch(plan, ops, &Gives { target: Some(process), given: None })
}

/// Puts a detached mount to `path` in the mount namespace of a process; the place is made if it is missing.
pub(crate) fn attach_in(process: BorrowedFd<'_>, mount: BorrowedFd<'_>, path: &str) -> Result<()> {
    let mut plan = ChildPlan::default();
    let destination = plan.string(path);
    let attach = Op::Mount(MountOp::Attach { destination, node: Node::LikeMount, nofollow: false });
    let ops = enter([Op::Stage(StageOp::TakeGiven { destination }), attach, Op::Stage(StageOp::Tell)]);
    run(plan, ops, &Gives { target: Some(process), given: Some(mount) }).map(drop)
}

/// Unmounts, detached, what `mount` is on, in the mount namespace of a process.
pub(crate) fn unmount_in(process: BorrowedFd<'_>, mount: BorrowedFd<'_>) -> Result<()> {
    let gives = Gives { target: Some(process), given: Some(mount) };
    run(ChildPlan::default(), vec![Op::Stage(StageOp::UnmountGiven), Op::Stage(StageOp::Tell)], &gives)
        .map(drop)
}

/// Operations in the mount namespace of a process.
fn enter<const N: usize>(then: [Op; N]) -> Vec<Op> {
    let join =
        Op::Namespace(NamespaceOp::JoinNamespaces { slot: Slot::TARGET, flags: libc::CLONE_NEWNS as u32 });
    [join, Op::Mount(MountOp::OpenJoinedRoot)].into_iter().chain(then).collect()
}

/// A netlink socket (NETLINK_ROUTE) of a network namespace.
pub(crate) fn netlink_socket(namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
    let join =
        Op::Namespace(NamespaceOp::JoinNamespaces { slot: Slot::TARGET, flags: libc::CLONE_NEWNET as u32 });
    let ops =
        vec![join, Op::Stage(StageOp::OpenNetlink), Op::Stage(StageOp::Deliver { slot: Slot::NETWORK })];
    fetch(ChildPlan::default(), ops, &Gives { target: Some(namespace), given: None })
}

/// A new user namespace with these maps, in which no process is.
pub(crate) fn user_namespace(uids: &[IdRange], gids: &[IdRange]) -> Result<OwnedFd> {
    let mut plan = ChildPlan::default();
    let uid = plan.bytes(IdRange::lines(uids).as_bytes());
    let gid = plan.bytes(IdRange::lines(gids).as_bytes());
    let make = Op::Stage(StageOp::MakeUserNamespace { uid, gid });
    fetch(plan, vec![make, Op::Stage(StageOp::Deliver { slot: Slot::USER })], &Gives::default())
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
    let clone = Op::Stage(StageOp::CloneLockedTree { path, recursive, nofollow });
    match fetch(plan, vec![clone, Op::Stage(StageOp::Deliver { slot: Slot::MOUNT })], &Gives::default()) {
        Ok(tree) => Ok(Ok(tree)),
        Err(error) => error.raw_errno().map_or(Err(error), |errno| Ok(Err(errno))),
    }
}
