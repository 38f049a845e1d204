//! The words for: waiting for the other lanes, and for `start`.

use super::text::{point_text, slot_text};
use crate::plan::ChildPlan;
use runtime_init::ops::WaitOp;

impl ChildPlan {
    pub(super) fn explain_wait(&self, op: WaitOp) -> String {
        match op {
            WaitOp::Sync { point } => format!("wait for {}", point_text(point)),
            WaitOp::AwaitWord => "wait for the word of the runtime".to_owned(),
            WaitOp::AskStage => "ask stage 0".to_owned(),
            WaitOp::Receive { into, count, .. } => format!("receive {count} of {}", slot_text(into)),
            WaitOp::AnnounceListener => "announce the listener of the seccomp filter".to_owned(),
            WaitOp::AwaitHandover => "wait until the listener is handed over".to_owned(),
            WaitOp::CloseHost => "close what leads to the host".to_owned(),
            WaitOp::AwaitStart => "wait for start".to_owned(),
            WaitOp::PrepareHold => "prepare to wait for start behind the filter".to_owned(),
            WaitOp::Hold => "wait for start behind the filter".to_owned(),
        }
    }
}
