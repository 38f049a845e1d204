//! The words for: the program, and the hooks before it.

use crate::plan::ChildPlan;
use runtime_init::ops::ProgramOp;

impl ChildPlan {
    pub(super) fn explain_program(&self, op: ProgramOp) -> String {
        match op {
            // runc's words: engines look for them.
            ProgramOp::FindProgram { .. } => format!("exec: {:?}", self.program_name()),
            ProgramOp::Hook { path, args, timeout, .. } => {
                let limit = if timeout == 0 { String::new() } else { format!(" within {timeout} ms") };
                format!("run hook {} as {}{limit}", self.quote(path), self.strings_text(args))
            }
            ProgramOp::PrepareProgram { args, env, home_uid } => {
                let home = if home_uid == u32::MAX {
                    String::new()
                } else {
                    format!(" and HOME of user {home_uid}")
                };
                format!("prepare {} arguments, {} variables{home}", args.len, env.len)
            }
            ProgramOp::Execute { args, exits: _ } => format!("execute {}", self.strings_text(args)),
            ProgramOp::ExecuteHandler { name, size, args, exits: _ } => {
                format!("execute {} ({size} bytes) as {}", self.text(name), self.strings_text(args))
            }
            ProgramOp::FindHome { uid } => format!("look up HOME of user {uid}"),
        }
    }
}
