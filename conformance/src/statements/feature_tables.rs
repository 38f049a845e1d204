//! features-linux.md: what the document lists is recognized.

use super::features::features;
use super::{Statement, must};
use crate::case::Case;
use crate::verdict::{Outcome, Stop, fail, holds, same, skip};
use serde_json::{Value, json};

const SECCOMP: &str = "features-linux.md#seccomp";
const POLICY: &str = "features-linux.md#memorypolicy";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("features-hooks", "features.md#hooks", "every listed kind of hook is called", hooks),
    must(
        "features-namespaces",
        "features-linux.md#namespaces",
        "every listed namespace is recognized",
        namespaces,
    ),
    must(
        "features-capabilities",
        "features-linux.md#capabilities",
        "every listed capability is recognized",
        capabilities,
    ),
    must("features-seccomp-actions", SECCOMP, "every listed action is recognized", actions),
    must("features-seccomp-operators", SECCOMP, "every listed operator is recognized", operators),
    must("features-seccomp-archs", SECCOMP, "every listed architecture is recognized", |case| {
        whole(case, "archs", "architectures")
    }),
    must("features-seccomp-known-flags", SECCOMP, "every known flag is recognized", known_flags),
    must("features-seccomp-flags", SECCOMP, "every supported flag works", |case| {
        whole(case, "supportedFlags", "flags")
    }),
    must("features-memory-modes", POLICY, "every listed memory policy is recognized", modes),
    must("features-memory-flags", POLICY, "every listed flag of a memory policy is recognized", mode_flags),
    must(
        "features-idmap",
        "features-linux.md#mountextensions",
        "idmap is enabled where mappings of a mount are recognized",
        idmap,
    ),
    must(
        "features-intel-rdt",
        "features-linux.md#intelrdt",
        "intelRdt is enabled or says that it is not",
        |case| boolean(case, "/linux/intelRdt/enabled"),
    ),
    must(
        "features-net-devices",
        "features-linux.md#netdevices",
        "netDevices is enabled where a device is moved",
        net_devices,
    ),
];

fn list(case: &Case, pointer: &str) -> Result<Vec<String>, Stop> {
    let page = features(case)?;
    let found: Vec<String> = page
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect();
    if found.is_empty() { skip(format!("{pointer} is not in the document")) } else { Ok(found) }
}

/// A text that says that a word was not recognized: what the runtime knows may still fail here.
fn unrecognized(text: &str, word: &str) -> bool {
    let text = text.to_lowercase();
    let bad =
        ["unknown", "invalid", "not supported", "unsupported", "unrecognized", "not a valid", "no such"];
    text.contains(&word.to_lowercase()) && bad.iter().any(|word| text.contains(word))
}

fn hooks(case: &mut Case) -> Outcome {
    let kinds = list(case, "/hooks")?;
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    let lines = super::hooks::live(case, &kinds)?;
    let names = super::hooks::names(&lines);
    let missing: Vec<_> =
        kinds.iter().filter(|kind| names.as_array().is_none_or(|all| !all.contains(&json!(kind)))).collect();
    holds(missing.is_empty(), "each kind leaves a line", format!("{names}; missing {missing:?}"))
}

/// A path of another kind shows that the type itself is understood: the error is about the path.
fn namespaces(case: &mut Case) -> Outcome {
    let kinds = list(case, "/linux/namespaces")?;
    for kind in &kinds {
        case.set("/linux/namespaces", json!([{"type": "mount"}]));
        if kind != "mount" {
            case.push("/linux/namespaces", json!({"type": kind}));
        }
        if kind == "user" {
            super::namespaces::with_mappings(case);
        }
        let create = case.create()?;
        succeed_or_other(case, &create, kind)?;
        case.remove("/linux", "uidMappings");
        case.remove("/linux", "gidMappings");
    }
    Ok(format!("{kinds:?}"))
}

fn succeed_or_other(case: &mut Case, create: &crate::call::Call, word: &str) -> Result<(), Stop> {
    if create.ok() {
        return crate::case::must(case.raw(&["delete", "--force", &case.id])?);
    }
    if unrecognized(&create.stderr, word) {
        return fail(format!("{word} is recognized"), create.describe());
    }
    Ok(())
}

fn capabilities(case: &mut Case) -> Outcome {
    let all = list(case, "/linux/capabilities")?;
    case.set("/process/capabilities", json!({"bounding": all, "permitted": all, "effective": all}));
    let seen = case.report()?["status"]["CapBnd"].clone();
    let count = u64::from_str_radix(seen.as_str().unwrap_or(""), 16).unwrap_or(0).count_ones();
    let own = std::fs::read_to_string("/proc/self/status")?;
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or("").trim().to_owned();
    let most = u64::from_str_radix(&own, 16).unwrap_or(0).count_ones();
    let enough = if case.rootless { count > 0 } else { count == most.min(all.len() as u32) };
    holds(enough, &format!("{most} capabilities of {} listed", all.len()), seen.to_string())
}

fn rule(case: &mut Case, rule: Value) -> Result<crate::call::Call, Stop> {
    case.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
    case.create()
}

fn actions(case: &mut Case) -> Outcome {
    let all = list(case, "/linux/seccomp/actions")?;
    for action in &all {
        let create = rule(case, json!({"names": ["reboot"], "action": action}))?;
        succeed_or_other(case, &create, action)?;
    }
    Ok(format!("{} actions", all.len()))
}

fn operators(case: &mut Case) -> Outcome {
    let all = list(case, "/linux/seccomp/operators")?;
    for op in &all {
        let args = json!([{"index": 0, "value": 1, "valueTwo": 1, "op": op}]);
        let create = rule(case, json!({"names": ["reboot"], "action": "SCMP_ACT_ERRNO", "args": args}))?;
        crate::case::must(create)?;
        crate::case::must(case.raw(&["delete", "--force", &case.id])?)?;
    }
    Ok(format!("{} operators", all.len()))
}

/// All words of a list at once, in that field of the filter.
fn whole(case: &mut Case, from: &str, field: &str) -> Outcome {
    let mut all = list(case, &format!("/linux/seccomp/{from}"))?;
    // The kernel takes it only together with a listener.
    all.retain(|word| word != "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
    case.set(&format!("/linux/seccomp/{field}"), json!(all));
    case.set("/linux/seccomp/defaultAction", json!("SCMP_ACT_ALLOW"));
    case.set("/linux/seccomp/syscalls", json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]));
    same("errno of mkdir", &json!(1), &case.answer("mkdir:/new")?["errno"])
}

fn known_flags(case: &mut Case) -> Outcome {
    let all = list(case, "/linux/seccomp/knownFlags")?;
    for flag in &all {
        case.set("/linux/seccomp/flags", json!([flag]));
        case.set("/linux/seccomp/defaultAction", json!("SCMP_ACT_ALLOW"));
        case.set("/linux/seccomp/syscalls", json!([{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]));
        let create = case.create()?;
        succeed_or_other(case, &create, flag)?;
    }
    Ok(format!("{all:?}"))
}

fn modes(case: &mut Case) -> Outcome {
    let all = list(case, "/linux/memoryPolicy/modes")?;
    for mode in &all {
        let bare = ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode.as_str());
        case.set(
            "/linux/memoryPolicy",
            if bare { json!({"mode": mode}) } else { json!({"mode": mode, "nodes": "0"}) },
        );
        let create = case.create()?;
        succeed_or_other(case, &create, mode)?;
    }
    Ok(format!("{} modes", all.len()))
}

fn mode_flags(case: &mut Case) -> Outcome {
    let all = list(case, "/linux/memoryPolicy/flags")?;
    for flag in &all {
        case.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}));
        let create = case.create()?;
        succeed_or_other(case, &create, flag)?;
    }
    Ok(format!("{all:?}"))
}

fn boolean(case: &mut Case, pointer: &str) -> Outcome {
    let page = features(case)?;
    match page.pointer(pointer) {
        None => skip(format!("{pointer} is not in the document")),
        Some(value) => holds(value.is_boolean(), "a boolean", value.to_string()),
    }
}

/// A mapping without its other half is an error only for a runtime that reads mappings.
fn idmap(case: &mut Case) -> Outcome {
    let page = features(case)?;
    let enabled =
        page.pointer("/linux/mountExtensions/idmap/enabled").and_then(Value::as_bool).unwrap_or(false);
    let source = case.share().display().to_string();
    let map = json!([{"containerID": 0, "hostID": 5000, "size": 10}]);
    case.push(
        "/mounts",
        json!({"destination": "/out", "type": "bind", "source": source,
        "options": ["bind", "idmap"], "uidMappings": map}),
    );
    let create = case.create()?;
    holds(
        enabled == create.refused(),
        "enabled says whether mappings are read",
        format!("{enabled}; {}", create.describe()),
    )
}

fn net_devices(case: &mut Case) -> Outcome {
    let page = features(case)?;
    let Some(enabled) = page.pointer("/linux/netDevices/enabled").and_then(Value::as_bool) else {
        return skip("netDevices is not in the document");
    };
    case.need_root("network devices")?;
    case.push("/linux/namespaces", json!({"type": "network"}));
    case.set("/linux/netDevices", json!({"no-such-device": {}}));
    let create = case.create()?;
    holds(
        enabled == create.refused(),
        "enabled says whether devices are looked for",
        format!("{enabled}; {}", create.describe()),
    )
}
