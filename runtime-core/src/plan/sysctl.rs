//! Kernel parameters of the container's namespaces, and its names.

use super::lanes::{Context, Lanes};
use runtime_init::ops::{NamespaceOp, Op};

/// hostname, domainname, then linux.sysctl.
pub(super) fn names_and_sysctls(lanes: &mut Lanes, context: Context<'_>) {
    let spec = context.spec;
    if let Some(name) = &spec.hostname {
        let name = lanes.child.string(name);
        lanes.push_from(Op::Namespace(NamespaceOp::HostName { name }), "hostname");
    }
    if let Some(name) = &spec.domainname {
        let name = lanes.child.string(name);
        lanes.push_from(Op::Namespace(NamespaceOp::DomainName { name }), "domainname");
    }
    for (path, value) in &spec.sysctl {
        let op = Op::Namespace(NamespaceOp::Sysctl {
            path: lanes.child.string(path),
            value: lanes.child.bytes(value.as_bytes()),
        });
        lanes.push_from(op, format!("linux.sysctl.{}", path.replace('/', ".")));
    }
}
