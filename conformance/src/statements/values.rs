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
        refuse(case, "/process/scheduler", json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONSENSE"]}))
    }),
    must("value-io-class", LINUX, "an unknown I/O class is an error", |case| {
        refuse(case, "/process/ioPriority", json!({"class": "IOPRIO_CLASS_NONSENSE", "priority": 1}))
    }),
    must("value-io-priority", LINUX, "an I/O priority above 7 is an error", |case| {
        refuse(case, "/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8}))
    }),
    must("value-oom-range", LINUX, "an oomScoreAdj above 1000 is an error", |case| {
        refuse(case, "/process/oomScoreAdj", json!(1001))
    }),
    must("value-personality", "config-linux.md#personality", "an unknown domain is an error", |case| {
        refuse(case, "/linux/personality", json!({"domain": "NONSENSE"}))
    }),
    must("value-device-type", "config-linux.md#devices", "an unknown type of device is an error", |case| {
        case.need_root("device nodes")?;
        refuse(case, "/linux/devices", json!([{"path": "/dev/suite", "type": "x", "major": 1, "minor": 3}]))
    }),
    must("value-memory-mode", POLICY, "an unknown memory policy is an error", |case| {
        refuse(case, "/linux/memoryPolicy", json!({"mode": "MPOL_NONSENSE"}))
    }),
    must("value-memory-flag", POLICY, "an unknown flag of a memory policy is an error", |case| {
        refuse(
            case,
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NO"]}),
        )
    }),
    must("value-memory-nodes", POLICY, "nodes that are no list are an error", |case| {
        refuse(case, "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "zero"}))
    }),
    must("value-seccomp-default", SECCOMP, "an unknown default action is an error", |case| {
        refuse(case, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NONSENSE"}))
    }),
    must("value-seccomp-action", SECCOMP, "an unknown action is an error", |case| {
        rule(case, json!({"names": ["reboot"], "action": "SCMP_ACT_NONSENSE"}))
    }),
    must("value-seccomp-op", SECCOMP, "an unknown operator is an error", |case| {
        let args = json!([{"index": 0, "value": 0, "op": "SCMP_CMP_NONSENSE"}]);
        rule(case, json!({"names": ["reboot"], "action": "SCMP_ACT_ERRNO", "args": args}))
    }),
    must("value-seccomp-index", SECCOMP, "an argument beyond the sixth is an error", |case| {
        let args = json!([{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]);
        rule(case, json!({"names": ["reboot"], "action": "SCMP_ACT_ERRNO", "args": args}))
    }),
    must("value-seccomp-arch", SECCOMP, "an unknown architecture is an error", |case| {
        let architectures = json!(["SCMP_ARCH_NONSENSE"]);
        case.set("/linux/seccomp/architectures", architectures);
        rule(case, json!({"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}))
    }),
    must("value-seccomp-flag", SECCOMP, "an unknown flag of a filter is an error", |case| {
        case.set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_NONSENSE"]));
        rule(case, json!({"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}))
    }),
    must(
        "value-time-clock",
        "config-linux.md#offset-for-time-namespace",
        "nanoseconds of a whole second are an error",
        |case| {
            case.push("/linux/namespaces", json!({"type": "time"}));
            refuse(
                case,
                "/linux/timeOffsets",
                json!({"boottime": {"secs": 1, "nanosecs": 1_000_000_000_u64}}),
            )
        },
    ),
    must("value-cpus", "config-linux.md#cpu", "processors that are no list are an error", |case| {
        limit(case, json!({"cpu": {"cpus": "zero"}}), "cpuset")
    }),
    must("value-quota", "config-linux.md#cpu", "a quota that the kernel refuses is an error", |case| {
        limit(case, json!({"cpu": {"quota": 1, "period": 100_000}}), "cpu")
    }),
    must(
        "value-page-size",
        "config-linux.md#huge-page-limits",
        "a size of pages that is none is an error",
        |case| limit(case, json!({"hugepageLimits": [{"pageSize": "3KB", "limit": 0}]}), ""),
    ),
    must(
        "value-net-device",
        "config-linux.md#network-devices",
        "a network device that is not there is an error",
        |case| {
            case.need_root("network devices")?;
            case.push("/linux/namespaces", json!({"type": "network"}));
            refuse(case, "/linux/netDevices", json!({"no-such-device": {}}))
        },
    ),
    must(
        "value-mount-source",
        "config.md#mounts",
        "a bind of a source that is not there is an error",
        |case| {
            case.push(
            "/mounts",
            json!({"destination": "/out", "type": "bind", "source": "/no/such/source", "options": ["bind"]}),
        );
            case.refuses()
        },
    ),
    must(
        "value-mount-data",
        "config.md#linux-mount-options",
        "data that a file system refuses is an error",
        |case| {
            case.push(
            "/mounts",
            json!({"destination": "/out", "type": "tmpfs", "source": "t", "options": ["no-such-option=1"]}),
        );
            case.refuses()
        },
    ),
    must("hook-timeout-positive", "config.md#posix-platform-hooks", "a timeout of 0 is an error", |case| {
        let path = case.rootfs().join("probe");
        refuse(case, "/hooks/createRuntime", json!([{"path": path, "timeout": 0}]))
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

fn rule(case: &mut Case, rule: Value) -> Outcome {
    case.set("/linux/seccomp/defaultAction", json!("SCMP_ACT_ALLOW"));
    refuse(case, "/linux/seccomp/syscalls", json!([rule]))
}

fn limit(case: &mut Case, resources: Value, controller: &str) -> Outcome {
    case.need_root("cgroups")?;
    if !controller.is_empty() && crate::cgroup::directory(nix::unistd::getpid(), controller).is_none() {
        return crate::verdict::skip(format!("no cgroup hierarchy with {controller} here"));
    }
    case.own_cgroup();
    refuse(case, "/linux/resources", resources)
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
