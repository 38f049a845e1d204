//! features-linux.md: what the document lists is recognized.

use super::features::{all_recognized, features};
use super::{Statement, must, practice};
use crate::case::Case;
use crate::verdict::{Outcome, Stop, holds, same, skip};
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
        of_filter(case, "archs", "architectures", "SCMP_ARCH_NONSENSE")
    }),
    must("features-seccomp-known-flags", SECCOMP, "every known flag is recognized", |case| {
        of_filter(case, "knownFlags", "flags", "SECCOMP_FILTER_FLAG_NONSENSE")
    }),
    must("features-seccomp-flags", SECCOMP, "every supported flag works", supported_flags),
    must("features-memory-modes", POLICY, "every listed memory policy is recognized", modes),
    must("features-memory-flags", POLICY, "every listed flag of a memory policy is recognized", mode_flags),
    must(
        "features-idmap",
        "features-linux.md#mountextensions",
        "idmap is enabled where mappings of a mount are recognized",
        idmap,
    ),
    practice(
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

fn hooks(case: &mut Case) -> Outcome {
    let kinds = list(case, "/hooks")?;
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    let lines = super::hooks::live(case, &kinds)?;
    let names = super::hooks::names(&lines);
    let missing: Vec<_> =
        kinds.iter().filter(|kind| names.as_array().is_none_or(|all| !all.contains(&json!(kind)))).collect();
    holds(missing.is_empty(), "each kind leaves a line", format!("{names}; missing {missing:?}"))
}

fn namespaces(case: &mut Case) -> Outcome {
    let kinds = list(case, "/linux/namespaces")?;
    all_recognized(case, &kinds, "nonsense", |case, kind| {
        case.set("/linux/namespaces", json!([{"type": "mount"}]));
        for key in ["uidMappings", "gidMappings"] {
            case.remove("/linux", key);
        }
        if kind != "mount" {
            case.push("/linux/namespaces", json!({"type": kind}));
        }
        if kind == "user" {
            super::namespaces::with_mappings(case);
        }
    })
}

/// An unknown capability is a warning, so that nothing tells it from one that is recognized but the set.
fn capabilities(case: &mut Case) -> Outcome {
    let all = list(case, "/linux/capabilities")?;
    let own = std::fs::read_to_string("/proc/self/status")?;
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or("").trim().to_owned();
    let own = u64::from_str_radix(&own, 16).unwrap_or(0);
    // The numbers of capabilities(7), for those that the suite may ask for itself.
    let known =
        [("CAP_CHOWN", 0), ("CAP_KILL", 5), ("CAP_SETUID", 7), ("CAP_NET_RAW", 13), ("CAP_SYS_CHROOT", 18)];
    let mut asked = Vec::new();
    let mut wanted = 0_u64;
    for (name, number) in known {
        if all.iter().any(|word| word == name) && own & (1 << number) != 0 {
            asked.push(name);
            wanted |= 1 << number;
        }
    }
    case.set("/process/capabilities", json!({"bounding": asked, "permitted": asked, "effective": asked}));
    same("bounding set", &json!(format!("{wanted:016x}")), &case.report()?["status"]["CapBnd"])
}

fn filter(case: &mut Case, field: &str, value: Value) {
    let rule = json!({"names": ["reboot"], "action": "SCMP_ACT_ERRNO"});
    case.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
    case.set(&format!("/linux/seccomp/{field}"), value);
}

fn actions(case: &mut Case) -> Outcome {
    let all = list(case, "/linux/seccomp/actions")?;
    all_recognized(case, &all, "SCMP_ACT_NONSENSE", |case, word| {
        filter(case, "syscalls/0/action", json!(word))
    })
}

fn operators(case: &mut Case) -> Outcome {
    let all = list(case, "/linux/seccomp/operators")?;
    all_recognized(case, &all, "SCMP_CMP_NONSENSE", |case, word| {
        let args = json!([{"index": 0, "value": 1, "valueTwo": 1, "op": word}]);
        filter(case, "syscalls/0/args", args);
    })
}

/// Words of a list of the filter.
fn of_filter(case: &mut Case, from: &str, field: &str, nonsense: &str) -> Outcome {
    let all = list(case, &format!("/linux/seccomp/{from}"))?;
    all_recognized(case, &all, nonsense, |case, word| filter(case, field, json!([word])))
}

/// Each supported flag on its own, but one that the kernel takes only together with a listener.
fn supported_flags(case: &mut Case) -> Outcome {
    let all = list(case, "/linux/seccomp/supportedFlags")?;
    case.ask("mkdir:/new");
    for flag in all.iter().filter(|flag| *flag != "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV") {
        filter(case, "flags", json!([flag]));
        case.set("/linux/seccomp/syscalls/0/names", json!(["mkdir", "mkdirat"]));
        let errno = case.report()?["answers"]["mkdir:/new"]["errno"].clone();
        same(&format!("errno of mkdir with {flag}"), &json!(1), &errno)?;
        crate::case::must(case.raw(&["delete", "--force", &case.id])?)?;
    }
    Ok(format!("{all:?}"))
}

fn modes(case: &mut Case) -> Outcome {
    let all = list(case, "/linux/memoryPolicy/modes")?;
    all_recognized(case, &all, "MPOL_NONSENSE", |case, mode| {
        let bare = ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode);
        let policy = if bare { json!({"mode": mode}) } else { json!({"mode": mode, "nodes": "0"}) };
        case.set("/linux/memoryPolicy", policy);
    })
}

fn mode_flags(case: &mut Case) -> Outcome {
    let all = list(case, "/linux/memoryPolicy/flags")?;
    all_recognized(case, &all, "MPOL_F_NONSENSE", |case, flag| {
        case.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}));
    })
}

/// A mount whose owners are mapped was read; one that is refused may be a form that is not supported.
fn idmap(case: &mut Case) -> Outcome {
    let page = features(case)?;
    let Some(enabled) = page.pointer("/linux/mountExtensions/idmap/enabled").and_then(Value::as_bool) else {
        return skip("mountExtensions.idmap is not in the document");
    };
    case.need_root("id-mapped mounts")?;
    let source = case.share().display().to_string();
    let map = json!([{"containerID": 0, "hostID": 5000, "size": 10}]);
    let mount = json!({"destination": "/out", "type": "bind", "source": source, "options": ["bind", "idmap"],
        "uidMappings": map, "gidMappings": map});
    case.push("/mounts", mount);
    match case.answer("stat:/out") {
        Err(Stop::Refused { seen, .. }) => Ok(format!("enabled is {enabled}; refused: {seen}")),
        answer => same("enabled, as the owner was mapped", &json!(answer?["uid"] == 5000), &json!(enabled)),
    }
}

/// A device that is not there is noticed by a runtime that looks for it.
fn net_devices(case: &mut Case) -> Outcome {
    let page = features(case)?;
    let Some(enabled) = page.pointer("/linux/netDevices/enabled").and_then(Value::as_bool) else {
        return skip("netDevices is not in the document");
    };
    case.need_root("network devices")?;
    case.push("/linux/namespaces", json!({"type": "network"}));
    case.set("/linux/netDevices", json!({"no-such-device": {}}));
    let create = case.create()?;
    let evidence = format!("enabled is {enabled}; {}", create.describe());
    holds(!enabled || create.refused(), "a device that is not there is an error", evidence)
}
