//! config-linux.md: namespaces, user mappings, time offsets, default file systems.

use super::{Statement, must};
use crate::case::Case;
use crate::holder::Holder;
use crate::verdict::{Outcome, holds, same};
use serde_json::{Value, json};

pub(super) const SECTION: &str = "config-linux.md#namespaces";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("ns-new-pid", SECTION, "a listed pid namespace is a new one", |case| fresh(case, "pid", "pid")),
    must("ns-new-mount", SECTION, "a listed mount namespace is a new one", |case| {
        fresh(case, "mount", "mnt")
    }),
    must("ns-new-ipc", SECTION, "a listed ipc namespace is a new one", |case| fresh(case, "ipc", "ipc")),
    must("ns-new-uts", SECTION, "a listed uts namespace is a new one", |case| fresh(case, "uts", "uts")),
    must("ns-new-network", SECTION, "a listed network namespace is a new one", |case| {
        fresh(case, "network", "net")
    }),
    must("ns-new-cgroup", SECTION, "a listed cgroup namespace is a new one", |case| {
        fresh(case, "cgroup", "cgroup")
    }),
    must("ns-new-user", SECTION, "a listed user namespace is a new one", user),
    must("ns-new-time", SECTION, "a listed time namespace is a new one", |case| fresh(case, "time", "time")),
    must("ns-inherit-ipc", SECTION, "an ipc namespace that is not listed is inherited", |case| {
        inherit(case, "ipc", "ipc")
    }),
    must("ns-inherit-uts", SECTION, "a uts namespace that is not listed is inherited", |case| {
        inherit(case, "uts", "uts")
    }),
    must("ns-inherit-network", SECTION, "a network namespace that is not listed is inherited", |case| {
        inherit(case, "network", "net")
    }),
    must("ns-inherit-pid", SECTION, "a pid namespace that is not listed is inherited", |case| {
        inherit(case, "pid", "pid")
    }),
    must("ns-path", SECTION, "the process is in the namespace of a path", join),
    must("ns-path-type", SECTION, "a path to a namespace of another type is an error", wrong_type),
    must("ns-path-missing", SECTION, "a path to nothing is an error", missing),
    must("ns-duplicate", SECTION, "a type listed twice is an error", duplicate),
    must("ns-unknown", SECTION, "an unknown type is an error", unknown),
    must(
        "user-mappings",
        "config-linux.md#user-namespace-mappings",
        "ids are mapped as configured",
        mappings,
    ),
    must(
        "time-offsets",
        "config-linux.md#offset-for-time-namespace",
        "the clocks have the configured offsets",
        offsets,
    ),
];

fn own(name: &str) -> Result<Value, std::io::Error> {
    Ok(json!(std::fs::read_link(format!("/proc/thread-self/ns/{name}"))?))
}

fn listed(case: &Case, kind: &str) -> bool {
    let list = case.config["linux"]["namespaces"].as_array();
    list.is_some_and(|list| list.iter().any(|entry| entry["type"] == kind))
}

fn fresh(case: &mut Case, kind: &str, link: &str) -> Outcome {
    if !std::path::Path::new("/proc/thread-self/ns").join(link).exists() {
        return crate::verdict::skip(format!("the kernel has no {link} namespace"));
    }
    if !listed(case, kind) {
        case.push("/linux/namespaces", json!({"type": kind}));
    }
    let seen = case.report()?["namespaces"][link].clone();
    holds(seen != own(link)? && seen != "", &format!("not {}", own(link)?), seen.to_string())
}

pub(super) fn with_user(case: &mut Case) {
    if !listed(case, "user") {
        case.push("/linux/namespaces", json!({"type": "user"}));
        with_mappings(case);
    }
}

/// The mappings of a user namespace: to the caller alone when it is not root.
pub(super) fn with_mappings(case: &mut Case) {
    let map = |id: u32| match case.rootless {
        true => json!([{"containerID": 0, "hostID": id, "size": 1}]),
        false => json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]),
    };
    let maps = (map(nix::unistd::geteuid().as_raw()), map(nix::unistd::getegid().as_raw()));
    case.set("/linux/uidMappings", maps.0);
    case.set("/linux/gidMappings", maps.1);
}

fn user(case: &mut Case) -> Outcome {
    with_user(case);
    fresh(case, "user", "user")
}

fn mappings(case: &mut Case) -> Outcome {
    with_user(case);
    let map = &case.config["linux"]["uidMappings"][0];
    let wanted = format!("{} {} {}", map["containerID"], map["hostID"], map["size"]);
    let seen = case.report()?["uid_map"].clone();
    let words: Vec<&str> = seen.as_str().unwrap_or("").split_whitespace().collect();
    same("uid_map", &json!(wanted), &json!(words.join(" ")))
}

pub(super) fn inherit(case: &mut Case, kind: &str, link: &str) -> Outcome {
    case.need_root("a user namespace cannot mount the host's proc")?;
    case.drop_namespace(kind);
    same(&format!("{link} namespace"), &own(link)?, &case.report()?["namespaces"][link])
}

fn join(case: &mut Case) -> Outcome {
    case.need_root("join a uts namespace")?;
    let holder = Holder::new("uts")?;
    case.drop_namespace("uts");
    case.push("/linux/namespaces", json!({"type": "uts", "path": holder.path("uts")}));
    same("uts namespace", &holder.link("uts")?, &case.report()?["namespaces"]["uts"])
}

fn wrong_type(case: &mut Case) -> Outcome {
    case.drop_namespace("ipc");
    case.push("/linux/namespaces", json!({"type": "ipc", "path": "/proc/self/ns/uts"}));
    case.refuses()
}

fn missing(case: &mut Case) -> Outcome {
    case.drop_namespace("ipc");
    case.push("/linux/namespaces", json!({"type": "ipc", "path": "/no/such/namespace"}));
    case.refuses()
}

fn duplicate(case: &mut Case) -> Outcome {
    case.push("/linux/namespaces", json!({"type": "uts"}));
    case.refuses()
}

fn unknown(case: &mut Case) -> Outcome {
    case.push("/linux/namespaces", json!({"type": "nonsense"}));
    case.refuses()
}

fn offsets(case: &mut Case) -> Outcome {
    if !std::path::Path::new("/proc/thread-self/ns/time").exists() {
        return crate::verdict::skip("the kernel has no time namespace");
    }
    case.push("/linux/namespaces", json!({"type": "time"}));
    case.set("/linux/timeOffsets", json!({"boottime": {"secs": 86400, "nanosecs": 0}}));
    let seen = case.report()?["timens_offsets"].clone();
    let text = seen.as_str().unwrap_or("");
    let line = text.lines().find(|line| line.starts_with("boottime")).unwrap_or("");
    holds(line.split_whitespace().nth(1) == Some("86400"), "boottime 86400", text)
}
