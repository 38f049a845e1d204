//! The words for: properties of the process itself.

use super::text::{bits, rlimit_text, scheduler_text, set_text};
use crate::plan::ChildPlan;
use crate::plan::caps;
use runtime_init::ops::{ProcessOp, Slice};

impl ChildPlan {
    pub(super) fn explain_process(&self, op: ProcessOp) -> String {
        match op {
            ProcessOp::NewSession => "make a session".to_owned(),
            ProcessOp::Rlimit { resource, soft, hard } => rlimit_text(resource, soft, hard),
            ProcessOp::OomScoreAdj { value } => format!("set oom_score_adj to {}", self.bytes_text(value)),
            ProcessOp::Personality { persona } => format!("set personality {persona:#x}"),
            ProcessOp::Scheduler { attributes } => scheduler_text(self.slice(attributes)),
            ProcessOp::IoPriority { value } => {
                format!("set io priority class {} level {}", value >> 13, value & 0x1fff)
            }
            ProcessOp::CpuAffinity { mask: Slice { len: 0, .. } } => {
                "set cpu affinity to all CPUs".to_owned()
            }
            ProcessOp::CpuAffinity { mask } => format!("set cpu affinity {}", bits(self.slice(mask))),
            ProcessOp::MemoryPolicy { mode, nodes, .. } => {
                format!("set memory policy {mode:#x} for nodes {}", bits(self.slice(nodes)))
            }
            ProcessOp::Label { file, value } => {
                format!("write {} to {}", self.bytes_text(value), self.quote(file))
            }
            ProcessOp::SessionKeyring { name, .. } => format!("join session keyring {}", self.quote(name)),
            ProcessOp::ChangeDirectory { path, .. } => format!("chdir to {}", self.quote(path)),
            ProcessOp::Umask { mask } => format!("set umask {mask:04o}"),
            ProcessOp::DropBounding { mask } => format!("drop from the bounding set {}", caps::names(mask)),
            ProcessOp::KeepCapabilities => "keep capabilities over the change of user".to_owned(),
            ProcessOp::SetUser { uid, gid, groups, .. } if groups.len == 0 => format!("set user {uid}:{gid}"),
            ProcessOp::SetUser { uid, gid, groups, .. } => {
                format!("set user {uid}:{gid} with groups {}", self.numbers_text(groups))
            }
            ProcessOp::SetCapabilities { effective, permitted, inheritable } => format!(
                "set capabilities: effective {}, permitted {}, inheritable {}",
                set_text(effective),
                set_text(permitted),
                set_text(inheritable)
            ),
            ProcessOp::SetAmbient { mask } => format!("set ambient capabilities {}", set_text(mask)),
            ProcessOp::NoNewPrivileges => "set no_new_privs".to_owned(),
            ProcessOp::Seccomp { program, .. } => {
                format!("load a seccomp filter of {} instructions", program.len)
            }
            ProcessOp::CloseDescriptors => "close other descriptors on exec".to_owned(),
        }
    }
}
