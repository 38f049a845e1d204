//! The words for: namespaces, cgroups, and what a new namespace needs.

use super::text::namespaces;
use crate::plan::ChildPlan;
use runtime_init::ops::{NamespaceOp, Slot};

impl ChildPlan {
    pub(super) fn explain_namespace(&self, op: NamespaceOp) -> String {
        match op {
            NamespaceOp::OpenProc => "open procfs".to_owned(),
            NamespaceOp::JoinNamespaces { slot: Slot::NETWORK, .. } => {
                "join the new network namespace".to_owned()
            }
            NamespaceOp::JoinNamespaces { slot: Slot::TARGET, flags } => {
                format!("join the container's namespaces {}", namespaces(flags))
            }
            NamespaceOp::JoinNamespaces { flags, .. } => format!("join the namespace {}", namespaces(flags)),
            NamespaceOp::BecomeRoot => "become root of the user namespace".to_owned(),
            NamespaceOp::Unshare { flags } => format!("make the namespaces {}", namespaces(flags)),
            NamespaceOp::TimeNamespace { offsets } => {
                let text = String::from_utf8_lossy(self.slice(offsets)).trim_end().replace('\n', ", ");
                format!("make the time namespace with offsets {text:?}")
            }
            NamespaceOp::JoinCgroups => "join the cgroups".to_owned(),
            NamespaceOp::ForkIntoPidNamespace => "fork into the pid namespace".to_owned(),
            NamespaceOp::LoopbackUp => "bring the loopback interface up".to_owned(),
            NamespaceOp::HostName { name } => format!("set host name {}", self.quote(name)),
            NamespaceOp::DomainName { name } => format!("set domain name {}", self.quote(name)),
            NamespaceOp::Sysctl { path, value } => {
                format!("set sysctl {} to {}", self.quote(path), self.bytes_text(value))
            }
        }
    }
}
