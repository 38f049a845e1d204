//! The words for: mounts, and the root file system.

use super::text::{all, attribute_texts, changes, in_brackets, propagation};
use crate::plan::ChildPlan;
use runtime_init::ops::{MountOp, RootSwitch, Slot, Str};

impl ChildPlan {
    pub(super) fn explain_mount(&self, op: MountOp, step: usize) -> String {
        match op {
            MountOp::HostPropagation { flags } => {
                format!("set propagation of \"/\" to {}", propagation(flags))
            }
            MountOp::OpenRoot { path: Str::NONE, .. } => "open the root file system".to_owned(),
            MountOp::OpenRoot { path, .. } => format!("open the root file system {}", self.quote(path)),
            MountOp::NewFilesystem { kind, source, parameters, attributes } => {
                let target = self.target(step);
                let options = [attribute_texts(attributes), self.parameter_texts(parameters)].concat();
                let source = if source == kind || source == Str::NONE {
                    String::new()
                } else {
                    format!(" of {}", self.quote(source))
                };
                format!("mount {}{source}{target}{}", self.quote(kind), in_brackets(&options))
            }
            MountOp::CloneTree { path, recursive, nofollow } => {
                let call = if recursive { "bind recursively" } else { "bind" };
                let follow = if nofollow { " (not following links)" } else { "" };
                format!("{call} {}{}{follow}", self.quote(path), self.target(step))
            }
            MountOp::MountContext { slot, attributes } => {
                let kind = if slot == Slot::PROCFS { "proc" } else { "sysfs" };
                format!("mount {kind:?}{}{}", self.target(step), in_brackets(&attribute_texts(attributes)))
            }
            MountOp::MountAttributes { set, clear, recursive } => {
                format!("change {}attributes{}{}", all(recursive), changes(set, clear), self.target(step))
            }
            MountOp::MountPropagation { flags, recursive } => {
                format!("set {}propagation to {}{}", all(recursive), propagation(flags), self.target(step))
            }
            MountOp::CopyMode { destination } => format!("copy the mode of {}", self.quote(destination)),
            MountOp::VerifyProc => "verify that the source is a procfs".to_owned(),
            MountOp::RemountAt { destination, set, clear } => {
                format!("remount {}{}", self.quote(destination), changes(set, clear))
            }
            MountOp::CopyUp { destination, owner, mode } => {
                let also = match (owner, mode) {
                    (true, true) => "",
                    (true, false) => ", without its mode",
                    (false, true) => ", without its owner",
                    (false, false) => ", without its owner and mode",
                };
                format!("copy up the content of {}{also}", self.quote(destination))
            }
            MountOp::LabelMount { value } => {
                format!("label the root{} with {}", self.target(step), self.bytes_text(value))
            }
            MountOp::Attach { destination, .. } => format!("mount on {}", self.quote(destination)),
            MountOp::OpenHost { path, .. } => format!("open {}", self.quote(path)),
            MountOp::Mask { path } => format!("mask {}", self.quote(path)),
            MountOp::ReadOnly { path } => format!("make {} read-only", self.quote(path)),
            MountOp::SwitchRoot { how: RootSwitch::Pivot } => {
                "pivot_root into the root file system".to_owned()
            }
            MountOp::SwitchRoot { how: RootSwitch::Move } => "move the root file system to \"/\"".to_owned(),
            MountOp::SwitchRoot { how: RootSwitch::Chroot } => "chroot into the root file system".to_owned(),
            MountOp::OpenJoinedRoot => "open the root of the container".to_owned(),
            MountOp::RootAttributes { set } => format!("remount \"/\"{}", changes(set, 0)),
            MountOp::RootPropagation { flags } => {
                format!("set propagation of the root to {}", propagation(flags))
            }
        }
    }
}
