//! The parent's lane, and a whole plan.

use std::fmt::{self, Display, Write as _};

use super::text::{changes, namespaces, point_text, rlimit_text};
use crate::plan::{LaunchPlan, MountIdMap, ParentOp};

impl ParentOp {
    /// The operation with its arguments.
    pub(crate) fn explain(&self) -> String {
        match self {
            ParentOp::StartUnit => "start the systemd unit".to_owned(),
            ParentOp::JoinCgroup => "join the cgroups".to_owned(),
            ParentOp::ApplyLimits => "write the limits of the cgroup".to_owned(),
            ParentOp::AttachDevices => "attach the device filter to the cgroup".to_owned(),
            ParentOp::JoinResctrl => "join the class of service of resctrl".to_owned(),
            ParentOp::MakeNetwork { sysfs: None } => "make a network namespace".to_owned(),
            ParentOp::MakeNetwork { sysfs: Some(attributes) } => {
                format!("make a network namespace and its sysfs{}", changes(*attributes, 0))
            }
            ParentOp::SendTree { source, recursive, nofollow, mounted_by_child, idmap, .. } => {
                let call = if *recursive { "bind recursively" } else { "bind" };
                let follow = if *nofollow { " (not following links)" } else { "" };
                let map = match idmap {
                    None => "",
                    Some(MountIdMap::Container { .. }) => " with the container's id map",
                    Some(MountIdMap::Own { .. }) => " with an id map",
                };
                let place = if *mounted_by_child { " as the child sees it" } else { "" };
                format!("{call} {source:?}{place}{map}{follow}")
            }
            ParentOp::Rlimit { resource, soft, hard, .. } => rlimit_text(*resource, *soft, *hard),
            ParentOp::OomScoreAdj { value, .. } => format!("set oom_score_adj to \"{value}\""),
            ParentOp::LetRun => "let the process run".to_owned(),
            ParentOp::Answer(point) => format!("let go on from {}", point_text(*point)),
        }
    }
}

impl Display for LaunchPlan {
    /// The plan, one operation a line: first the namespaces, then the parent's lane, then the child's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "clone: {}", namespaces(self.clone_flags as u32))?;
        for join in &self.joins {
            writeln!(f, "open: {} namespace {:?}", namespaces(join.kind), join.path)?;
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
        for op in &self.parent {
            writeln!(f, "parent: {}", op.explain())?;
        }
        for step in 0..self.child.ops().len() {
            write!(f, "child: {}", self.child.explain(step))?;
            match self.child.origin(step) {
                Some(origin) => writeln!(f, " ({origin})")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
