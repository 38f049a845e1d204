//! config-linux.md: namespaces by path, by kind.

use super::namespaces::{SECTION, inherit};
use super::{Statement, must};
use crate::case::Case;
use crate::holder::Holder;
use crate::verdict::{Outcome, same};
use serde_json::json;

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("ns-path-ipc", SECTION, "the process is in the ipc namespace of a path", |case| {
        join(case, "ipc", "ipc")
    }),
    must("ns-path-network", SECTION, "the process is in the network namespace of a path", |case| {
        join(case, "network", "net")
    }),
    must("ns-path-pid", SECTION, "the process is in the pid namespace of a path", |case| {
        join(case, "pid", "pid")
    }),
    must("ns-path-cgroup", SECTION, "the process is in the cgroup namespace of a path", |case| {
        join(case, "cgroup", "cgroup")
    }),
    must("ns-path-time", SECTION, "the process is in the time namespace of a path", |case| {
        join(case, "time", "time")
    }),
    must("ns-path-user", SECTION, "the process is in the user namespace of a path", |case| {
        join(case, "user", "user")
    }),
    must("ns-inherit-cgroup", SECTION, "a cgroup namespace that is not listed is inherited", |case| {
        inherit(case, "cgroup", "cgroup")
    }),
    must("ns-inherit-user", SECTION, "a user namespace that is not listed is inherited", |case| {
        inherit(case, "user", "user")
    }),
    must("ns-inherit-time", SECTION, "a time namespace that is not listed is inherited", |case| {
        inherit(case, "time", "time")
    }),
    must("ns-path-relative", SECTION, "a relative path to a namespace is an error", relative),
    must("ns-type-network", SECTION, "a uts namespace for a network namespace is an error", |case| {
        wrong(case, "network", "uts")
    }),
    must("ns-type-pid", SECTION, "a uts namespace for a pid namespace is an error", |case| {
        wrong(case, "pid", "uts")
    }),
    must("ns-type-uts", SECTION, "an ipc namespace for a uts namespace is an error", |case| {
        wrong(case, "uts", "ipc")
    }),
    must("ns-type-cgroup", SECTION, "a uts namespace for a cgroup namespace is an error", |case| {
        wrong(case, "cgroup", "uts")
    }),
    must("ns-type-user", SECTION, "a uts namespace for a user namespace is an error", |case| {
        wrong(case, "user", "uts")
    }),
    must("ns-type-mount", SECTION, "a uts namespace for a mount namespace is an error", |case| {
        wrong(case, "mount", "uts")
    }),
    must("ns-type-file", SECTION, "a file that is no namespace is an error", file),
];

fn join(case: &mut Case, kind: &str, link: &str) -> Outcome {
    case.need_root("join a namespace")?;
    let holder = Holder::new(link)?;
    case.drop_namespace(kind);
    case.push("/linux/namespaces", json!({"type": kind, "path": holder.path(link)}));
    same(&format!("{link} namespace"), &holder.link(link)?, &case.report()?["namespaces"][link])
}

/// From the bundle, where a runtime stands, and where nothing but the checks is.
fn relative(case: &mut Case) -> Outcome {
    case.need_root("join a namespace")?;
    let holder = Holder::new("ipc")?;
    let depth = case.bundle().components().count();
    let path = format!("{}{}", "../".repeat(depth).trim_end_matches('/'), holder.path("ipc"));
    case.drop_namespace("ipc");
    case.push("/linux/namespaces", json!({"type": "ipc", "path": path}));
    case.refuses()
}

fn wrong(case: &mut Case, kind: &str, other: &str) -> Outcome {
    case.drop_namespace(kind);
    case.push("/linux/namespaces", json!({"type": kind, "path": format!("/proc/self/ns/{other}")}));
    case.refuses()
}

fn file(case: &mut Case) -> Outcome {
    case.drop_namespace("ipc");
    case.push("/linux/namespaces", json!({"type": "ipc", "path": "/proc/self/status"}));
    case.refuses()
}
