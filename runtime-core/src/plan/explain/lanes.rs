//! The parent's lane, and a whole plan.

use std::fmt::{self, Display, Write as _};

use super::text::{namespaces, point_text, rlimit_text, scheduler_text};
use crate::plan::{LaunchPlan, ParentOp};

impl ParentOp {
    /// The operation with its arguments.
    pub(crate) fn explain(&self) -> String {
        match self {
            ParentOp::StartUnit => "start the systemd unit".to_owned(),
            ParentOp::JoinCgroup => "join the cgroups".to_owned(),
            ParentOp::ApplyLimits => "write the limits of the cgroup".to_owned(),
            ParentOp::AttachDevices => "attach the device filter to the cgroup".to_owned(),
            ParentOp::JoinResctrl => "join the class of service of resctrl".to_owned(),
            ParentOp::Rlimit { resource, soft, hard, .. } => rlimit_text(*resource, *soft, *hard),
            ParentOp::OomScoreAdj { value, .. } => format!("set oom_score_adj to \"{value}\""),
            ParentOp::Follow => "follow the fork".to_owned(),
            ParentOp::Scheduler { attributes, .. } => scheduler_text(attributes),
            ParentOp::LetRun => "let the process run".to_owned(),
            ParentOp::Answer(point) => format!("let go on from {}", point_text(*point)),
        }
    }
}

impl Display for LaunchPlan {
    /// The plan, one operation a line: first the namespaces, then the lanes of the caller, of stage 0 and of the init.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "clone: {}", namespaces(self.clone_flags as u32))?;
        for join in &self.joins {
            let verb = if join.held.is_some() { "held" } else { "open" };
            writeln!(f, "{verb}: {} namespace {:?}", namespaces(join.kind), join.path)?;
        }
        if let Some(maps) = &self.id_maps {
            let mut text = String::new();
            for (name, map) in [("uid", &maps.uid), ("gid", &maps.gid)] {
                for range in map {
                    write!(text, " {name} {}={}+{}", range.container, range.host, range.size)?;
                }
            }
            writeln!(f, "map:{text}")?;
        }
        if self.limits_first {
            writeln!(f, "first: {}", ParentOp::ApplyLimits.explain())?;
        }
        for op in &self.parent {
            writeln!(f, "parent: {}", op.explain())?;
        }
        for step in 0..self.child.ops().len() {
            let lane = if step < self.child.first_of_init() { "stage" } else { "child" };
            write!(f, "{lane}: {}", self.child.explain(step))?;
            match self.child.origin(step) {
                Some(origin) => writeln!(f, " ({origin})")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
