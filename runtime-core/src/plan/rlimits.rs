//! Resource limits and the score of the killer of memory hogs: who may set them, and when.
//!
//! Raising a hard limit or lowering the score takes CAP_SYS_RESOURCE in the initial user namespace, which
//! a process loses with the entry into another one.

use super::ParentOp;
use super::lanes::Lanes;
use crate::origin::Origin;
use crate::spec::ValidProcess;
use runtime_init::ops::{Op, ProcessOp};

/// Who sets limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The child, at the usual place.
    Child,
    /// The child, before it enters the user namespace.
    EarlyChild,
    /// The parent: clone3 puts the child into the user namespace.
    Parent,
}

/// RLIMIT_*. A process that `forks` leaves that of the number of processes to the caller ([`processes_of_forked`]): it would
/// be one too many for its own.
pub(super) fn rlimits(lanes: &mut Lanes, process: &ValidProcess, by: By, forks: bool) {
    for limit in process.rlimits.iter().filter(|limit| !forks || limit.resource != libc::RLIMIT_NPROC) {
        let origin = origin_of(process, limit.index);
        let (resource, soft, hard) = (limit.resource, limit.soft, limit.hard);
        match by {
            By::Parent => lanes.parent.push(ParentOp::Rlimit { resource, soft, hard, origin }),
            By::Child | By::EarlyChild => {
                lanes.push_from(Op::Process(ProcessOp::Rlimit { resource, soft, hard }), &origin)
            }
        }
    }
}

/// The field of a limit: in `config.json`, or in the file of an exec.
fn origin_of(process: &ValidProcess, index: usize) -> Origin {
    match process.origin {
        "" => Origin::from(format!("rlimits[{index}]")),
        _ => Origin::Rlimit(index),
    }
}

/// The limit of the number of processes, set by the caller once the process has been forked.
pub(super) fn processes_of_forked(lanes: &mut Lanes, process: &ValidProcess) {
    for limit in process.rlimits.iter().filter(|limit| limit.resource == libc::RLIMIT_NPROC) {
        let origin = origin_of(process, limit.index);
        let (resource, soft, hard) = (limit.resource, limit.soft, limit.hard);
        lanes.parent.push(ParentOp::Rlimit { resource, soft, hard, origin });
    }
}

/// oom_score_adj.
pub(super) fn oom_score_adj(lanes: &mut Lanes, process: &ValidProcess, by: By) {
    let Some(score) = process.oom_score_adj else {
        return;
    };
    let origin = Origin::from(format!("{}oomScoreAdj", process.origin));
    if by == By::Parent {
        lanes.parent.push(ParentOp::OomScoreAdj { value: score, origin });
    } else {
        let value = lanes.child.bytes(score.to_string().as_bytes());
        lanes.push_from(Op::Process(ProcessOp::OomScoreAdj { value }), &origin);
    }
}
