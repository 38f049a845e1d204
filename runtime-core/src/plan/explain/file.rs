//! The words for: files below the root, and the standard streams.

use super::text::node_text;
use crate::plan::ChildPlan;
use runtime_init::ops::FileOp;

impl ChildPlan {
    pub(super) fn explain_file(&self, op: FileOp) -> String {
        match op {
            FileOp::MakeDirectory { path, mode } => {
                format!("make directory {} with mode {mode:04o}", self.quote(path))
            }
            FileOp::MakeDevice { path, bind: true, .. } => format!("bind device {}", self.quote(path)),
            FileOp::MakeDevice { path, mode, device, uid, gid, .. } => format!(
                "make {} {} {}:{} with mode {:04o} for {uid}:{gid}",
                node_text(mode),
                self.quote(path),
                libc::major(device),
                libc::minor(device),
                mode & 0o7777
            ),
            FileOp::MakeSymlink { path, target, .. } => {
                format!("link {} to {}", self.quote(path), self.quote(target))
            }
            FileOp::Console { rows, columns, mount, .. } => {
                let place = if mount { " on \"/dev/console\"" } else { "" };
                format!("make a terminal of {columns}x{rows}{place}")
            }
            FileOp::TakeTerminal => "take the terminal as the controlling one".to_owned(),
            FileOp::StdioOwner { uid } => format!("give the standard streams to user {uid}"),
            FileOp::OwnStreams => "open streams of the host's memory devices in the root".to_owned(),
            FileOp::MakeWorkingDirectory { path, .. } => {
                format!("make working directory {}", self.quote(path))
            }
        }
    }
}
