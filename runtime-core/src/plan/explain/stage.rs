//! The words for: what stage 0 does.

use super::text::slot_text;
use crate::plan::ChildPlan;
use runtime_init::ops::{StageOp, Str};

impl ChildPlan {
    pub(super) fn explain_stage(&self, op: StageOp) -> String {
        let tree = |path: Str, recursive: bool, nofollow: bool| {
            let call = if recursive { "bind recursively" } else { "bind" };
            let follow = if nofollow { " (not following links)" } else { "" };
            format!("{call} {}{follow}", self.quote(path))
        };
        match op {
            StageOp::CloneInit { .. } => "clone3 of the container's init".to_owned(),
            StageOp::MakeNetwork { sysfs: false } => "make a network namespace".to_owned(),
            StageOp::MakeNetwork { sysfs: true } => "make a network namespace and its sysfs".to_owned(),
            StageOp::MakeProc { .. } => "make a procfs of the joined pid namespace".to_owned(),
            StageOp::AwaitInit => "wait until the init asks".to_owned(),
            StageOp::CloneTreeOfInit { path, recursive, nofollow } => {
                format!("{} as the init sees it", tree(path, recursive, nofollow))
            }
            StageOp::OpenUserNamespace => "open the user namespace of the init".to_owned(),
            StageOp::MakeUserNamespace { uid, gid } => format!(
                "make a user namespace with uids {} and gids {}",
                self.bytes_text(uid),
                self.bytes_text(gid)
            ),
            StageOp::MapIds { recursive } => {
                format!("give the tree an id map{}", if recursive { ", recursively" } else { "" })
            }
            StageOp::CloneLockedTree { path, recursive, nofollow } => {
                format!("{} with its attributes locked", tree(path, recursive, nofollow))
            }
            StageOp::OpenNetlink => "open a netlink socket".to_owned(),
            StageOp::OpenInRoot { path } => format!("open {} in the container", self.quote(path)),
            StageOp::TakeGiven { destination } => format!("take the mount for {}", self.quote(destination)),
            StageOp::UnmountGiven => "unmount in the container".to_owned(),
            StageOp::Tell => "tell the end".to_owned(),
            StageOp::HandOver { first, .. } => format!("hand over {}", slot_text(first)),
            StageOp::Deliver { slot } => format!("deliver {}", slot_text(slot)),
        }
    }
}
