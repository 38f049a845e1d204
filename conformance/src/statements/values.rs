//! config.md: values that are not valid are errors (config.md#valid-values), each in its own section.

use super::{Statement, must};
use crate::case::Case;
use crate::verdict::Outcome;
use serde_json::{Value, json};

const VALID: &str = "config.md#valid-values";
const LINUX: &str = "config.md#linux-process";
const SECCOMP: &str = "config-linux.md#seccomp";
const POLICY: &str = "config-linux.md#memory-policy";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("json-utf8", "glossary.md#json", "a configuration that is not UTF-8 is an error", utf8),
    must("json-syntax", "bundle.md#container-format", "a config.json that is no JSON is an error", |case| {
        text(case, b"{\"ociVersion\": ")
    }),
    must("type-mounts", VALID, "mounts that are no array are an error", |case| {
        refuse(case, "/mounts", json!({}))
    }),
    must("type-hostname", VALID, "a hostname that is no string is an error", |case| {
        refuse(case, "/hostname", json!(7))
    }),
    must("type-terminal", VALID, "a terminal that is no boolean is an error", |case| {
        refuse(case, "/process/terminal", json!("yes"))
    }),
    must("type-env", VALID, "an environment that is no array of strings is an error", |case| {
        refuse(case, "/process/env", json!([1]))
    }),
    must("type-oom", VALID, "an oomScoreAdj that is no number is an error", |case| {
        refuse(case, "/process/oomScoreAdj", json!("100"))
    }),
    must("type-uid", VALID, "a negative uid is an error", |case| {
        refuse(case, "/process/user/uid", json!(-1))
    }),
    must("type-annotations", "config.md#annotations", "annotations that are no map are an error", |case| {
        refuse(case, "/annotations", json!(["a"]))
    }),
    must(
        "annotation-value",
        "config.md#annotations",
        "an annotation that is no string is an error",
        |case| refuse(case, "/annotations", json!({"a": 1})),
    ),
    must("annotation-empty-key", "config.md#annotations", "an empty annotation key is an error", |case| {
        refuse(case, "/annotations", json!({"": "x"}))
    }),
    must("value-scheduler-flag", LINUX, "an unknown scheduling flag is an error", |case| {
        let with = |flag: &str| json!({"policy": "SCHED_OTHER", "nice": 19, "flags": [flag]});
        let good = with("SCHED_FLAG_RESET_ON_FORK");
        case.refuses_but("/process/scheduler", good, with("SCHED_FLAG_NONSENSE"))
    }),
    must("value-io-class", LINUX, "an unknown I/O class is an error", |case| {
        let with = |class: &str| json!({"class": class, "priority": 1});
        case.refuses_but("/process/ioPriority", with("IOPRIO_CLASS_BE"), with("IOPRIO_CLASS_NONSENSE"))
    }),
    must("value-io-priority", LINUX, "an I/O priority above 7 is an error", |case| {
        let with = |level: u64| json!({"class": "IOPRIO_CLASS_BE", "priority": level});
        case.refuses_but("/process/ioPriority", with(7), with(8))
    }),
    must("value-oom-range", LINUX, "an oomScoreAdj above 1000 is an error", |case| {
        case.refuses_but("/process/oomScoreAdj", json!(1000), json!(1001))
    }),
    must("value-personality", "config-linux.md#personality", "an unknown domain is an error", |case| {
        case.refuses_but("/linux/personality", json!({"domain": "LINUX"}), json!({"domain": "NONSENSE"}))
    }),
    must("value-device-type", "config-linux.md#devices", "an unknown type of device is an error", |case| {
        case.need_root("device nodes")?;
        let with = |kind: &str| json!([{"path": "/dev/suite", "type": kind, "major": 1, "minor": 3}]);
        case.refuses_but("/linux/devices", with("c"), with("x"))
    }),
    must("value-memory-mode", POLICY, "an unknown memory policy is an error", |case| {
        let with = |mode: &str| json!({"mode": mode, "nodes": "0"});
        case.refuses_but("/linux/memoryPolicy", with("MPOL_BIND"), with("MPOL_NONSENSE"))
    }),
    must("value-memory-flag", POLICY, "an unknown flag of a memory policy is an error", |case| {
        let with = |flag: &str| json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]});
        case.refuses_but("/linux/memoryPolicy", with("MPOL_F_STATIC_NODES"), with("MPOL_F_NO"))
    }),
    must("value-memory-nodes", POLICY, "nodes that are no list are an error", |case| {
        let with = |nodes: &str| json!({"mode": "MPOL_BIND", "nodes": nodes});
        case.refuses_but("/linux/memoryPolicy", with("0"), with("zero"))
    }),
    must("value-seccomp-default", SECCOMP, "an unknown default action is an error", |case| {
        let (good, bad) =
            (json!({"defaultAction": "SCMP_ACT_ALLOW"}), json!({"defaultAction": "SCMP_ACT_NONSENSE"}));
        case.refuses_but("/linux/seccomp", good, bad)
    }),
    must("value-seccomp-action", SECCOMP, "an unknown action is an error", |case| {
        rule(case, simple(), json!({"names": ["reboot"], "action": "SCMP_ACT_NONSENSE"}))
    }),
    must("value-seccomp-op", SECCOMP, "an unknown operator is an error", |case| {
        rule(case, argument(0, "SCMP_CMP_EQ"), argument(0, "SCMP_CMP_NONSENSE"))
    }),
    must("value-seccomp-index", SECCOMP, "an argument beyond the sixth is an error", |case| {
        rule(case, argument(5, "SCMP_CMP_EQ"), argument(6, "SCMP_CMP_EQ"))
    }),
    must("value-seccomp-arch", SECCOMP, "an unknown architecture is an error", |case| {
        filter(case);
        let bad = json!(["SCMP_ARCH_NONSENSE"]);
        case.refuses_but("/linux/seccomp/architectures", json!([]), bad)
    }),
    must("value-seccomp-flag", SECCOMP, "an unknown flag of a filter is an error", |case| {
        filter(case);
        case.refuses_but("/linux/seccomp/flags", json!([]), json!(["SECCOMP_FILTER_FLAG_NONSENSE"]))
    }),
    must(
        "value-time-clock",
        "config-linux.md#offset-for-time-namespace",
        "nanoseconds of a whole second are an error",
        |case| {
            case.push("/linux/namespaces", json!({"type": "time"}));
            let with = |nanoseconds: u64| json!({"boottime": {"secs": 1, "nanosecs": nanoseconds}});
            case.refuses_but("/linux/timeOffsets", with(1), with(1_000_000_000))
        },
    ),
    must("value-cpus", "config-linux.md#cpu", "processors that are no list are an error", |case| {
        let (first, _) = super::scheduling::processor()?;
        limit(case, json!({"cpu": {"cpus": first}}), json!({"cpu": {"cpus": "zero"}}), "cpuset")
    }),
    must("value-quota", "config-linux.md#cpu", "a quota that the kernel refuses is an error", |case| {
        case.need_no_systemd("systemd rounds a quota up to a hundredth of a processor")?;
        let with = |quota: i64| json!({"cpu": {"quota": quota, "period": 100_000}});
        limit(case, with(50_000), with(1), "cpu")
    }),
    must(
        "value-page-size",
        "config-linux.md#huge-page-limits",
        "a size of pages that is none is an error",
        |case| {
            let with = |size: &str| json!({"hugepageLimits": [{"pageSize": size, "limit": 0}]});
            limit(case, with("2MB"), with("3KB"), "hugetlb")
        },
    ),
    must(
        "value-net-device",
        "config-linux.md#network-devices",
        "a network device that is not there is an error",
        |case| {
            case.need_root("network devices")?;
            case.push("/linux/namespaces", json!({"type": "network"}));
            case.refuses_but("/linux/netDevices", json!({}), json!({"no-such-device": {}}))
        },
    ),
    must(
        "value-mount-source",
        "config.md#mounts",
        "a bind of a source that is not there is an error",
        |case| {
            case.bind_share(json!(["bind"]));
            let (good, bad) = (case.config["mounts"][2]["source"].clone(), json!("/no/such/source"));
            case.refuses_but("/mounts/2/source", good, bad)
        },
    ),
    must(
        "value-mount-data",
        "config.md#linux-mount-options",
        "data that a file system refuses is an error",
        |case| {
            super::mounts::tmpfs(case, json!([]));
            case.refuses_but("/mounts/2/options", json!(["size=1m"]), json!(["no-such-option=1"]))
        },
    ),
    must("hook-timeout-positive", "config.md#posix-platform-hooks", "a timeout of 0 is an error", |case| {
        let path = case.rootfs().join("probe");
        let with = |seconds: u64| json!([{"path": path, "args": ["probe"], "timeout": seconds}]);
        case.refuses_but("/hooks/createRuntime", with(9), with(0))
    }),
    must(
        "readonly-paths-absolute",
        "config-linux.md#readonly-paths",
        "a relative read-only path is invalid",
        relative,
    ),
];

fn refuse(case: &mut Case, pointer: &str, value: Value) -> Outcome {
    case.set(pointer, value);
    case.refuses_at_start()
}

fn simple() -> Value {
    json!({"names": ["reboot"], "action": "SCMP_ACT_ERRNO"})
}

fn argument(index: u64, op: &str) -> Value {
    let args = json!([{"index": index, "value": 0, "op": op}]);
    json!({"names": ["reboot"], "action": "SCMP_ACT_ERRNO", "args": args})
}

fn filter(case: &mut Case) {
    case.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [simple()]}));
}

fn rule(case: &mut Case, good: Value, bad: Value) -> Outcome {
    filter(case);
    case.refuses_but("/linux/seccomp/syscalls", json!([good]), json!([bad]))
}

fn limit(case: &mut Case, good: Value, bad: Value, controller: &str) -> Outcome {
    case.need_root("cgroups")?;
    if crate::cgroup::directory(nix::unistd::getpid(), controller).is_none() {
        return crate::verdict::skip(format!("no cgroup hierarchy with {controller} here"));
    }
    case.own_cgroup();
    case.refuses_but("/linux/resources", good, bad)
}

/// Writes these bytes as config.json and expects `create` to fail.
fn text(case: &mut Case, bytes: &[u8]) -> Outcome {
    std::fs::write(case.bundle().join("config.json"), bytes)?;
    crate::case::must_refuse(case.create_as(&case.id)?)
}

/// Inside the hostname, so that everything else of the configuration is right.
fn utf8(case: &mut Case) -> Outcome {
    case.set("/hostname", json!("MARK"));
    let mut bytes = case.config.to_string().into_bytes();
    if let Some(at) = bytes.windows(4).position(|word| word == b"MARK") {
        bytes[at] = 0xff;
    }
    text(case, &bytes)
}

fn relative(case: &mut Case) -> Outcome {
    case.set("/linux/readonlyPaths", json!(["etc"]));
    let create = case.create()?;
    if create.refused() {
        return Ok(create.describe());
    }
    let known = crate::differences::difference("readonly-paths-absolute").map_or("", |row| row.runc);
    case.ask("mkdir:/etc/new");
    crate::case::must(case.delete()?)?;
    let seen = case.report()?["answers"]["mkdir:/etc/new"]["errno"].clone();
    crate::verdict::holds(seen == 30, "refused, or read-only all the same", format!("{known}: {seen}"))
}
