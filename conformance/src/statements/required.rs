//! The REQUIRED properties: a configuration that lacks one is no configuration (config.md#valid-values).
//!
//! Each check takes one property out of a configuration that works with it: see `control`.

use super::{Statement, must, reading};
use crate::case::{Case, must as must_succeed, must_refuse};
use crate::differences::difference;
use crate::verdict::{Outcome, holds};
use serde_json::{Value, json};

const SECCOMP: &str = "config-linux.md#seccomp";
const BLOCK: &str = "config-linux.md#block-io";
const MAPPINGS: &str = "config-linux.md#user-namespace-mappings";
const DEVICES: &str = "config-linux.md#devices";
const RLIMITS: &str = "config.md#posix-process";
const LINUX: &str = "config.md#linux-process";
const PROCESS: &str = "config.md#process";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must(
        "required-control",
        "config.md#valid-values",
        "a configuration with all of these properties works",
        control,
    ),
    reading(
        "required-oci-version",
        "config.md#specification-version",
        "without ociVersion: an error",
        |case| without(case, "", "ociVersion"),
    ),
    must("required-root", "config.md#root", "without root: an error", |case| without(case, "", "root")),
    reading("required-root-path", "config.md#root", "without root.path: an error", |case| {
        without(case, "/root", "path")
    }),
    reading("required-destination", "config.md#mounts", "a mount without destination: an error", |case| {
        without(case, "/mounts/1", "destination")
    }),
    reading("required-cwd", PROCESS, "without process.cwd: an error", |case| {
        without(case, "/process", "cwd")
    }),
    must("required-args", PROCESS, "without process.args: an error", |case| {
        without(case, "/process", "args")
    }),
    must("required-args-entry", PROCESS, "an empty process.args: an error", |case| {
        with(case, "/process/args", json!([]))
    }),
    reading(
        "required-console-height",
        PROCESS,
        "with a terminal, consoleSize without height: an error",
        |case| console(case, json!({"width": 80})),
    ),
    reading(
        "required-console-width",
        PROCESS,
        "with a terminal, consoleSize without width: an error",
        |case| console(case, json!({"height": 25})),
    ),
    reading("required-rlimit-type", RLIMITS, "a limit without type: an error", |case| {
        lacking(case, "/process/rlimits", rlimit(), "type")
    }),
    reading("required-rlimit-soft", RLIMITS, "a limit without soft: an error", |case| {
        lacking(case, "/process/rlimits", rlimit(), "soft")
    }),
    reading("required-rlimit-hard", RLIMITS, "a limit without hard: an error", |case| {
        lacking(case, "/process/rlimits", rlimit(), "hard")
    }),
    reading("required-scheduler-policy", LINUX, "scheduler without policy: an error", |case| {
        part(case, "/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 19}), "policy")
    }),
    reading("required-io-class", LINUX, "ioPriority without class: an error", |case| {
        part(case, "/process/ioPriority", io_priority(), "class")
    }),
    reading("required-io-priority", LINUX, "ioPriority without priority: an error", |case| {
        part(case, "/process/ioPriority", io_priority(), "priority")
    }),
    reading("required-uid", "config.md#posix-platform-user", "user without uid: an error", |case| {
        user_without(case, "uid", "Uid")
    }),
    reading("required-gid", "config.md#posix-platform-user", "user without gid: an error", |case| {
        user_without(case, "gid", "Gid")
    }),
    reading(
        "required-hook-path",
        "config.md#posix-platform-hooks",
        "a hook without path: an error",
        |case| with(case, "/hooks/createRuntime", json!([{"args": ["x"]}])),
    ),
    reading(
        "required-namespace-type",
        "config-linux.md#namespaces",
        "a namespace without type: an error",
        |case| {
            case.push("/linux/namespaces", json!({"path": "/proc/self/ns/net"}));
            case.refuses()
        },
    ),
    reading("required-map-container", MAPPINGS, "a mapping without containerID: an error", |case| {
        unmapped(case, "containerID")
    }),
    reading("required-map-host", MAPPINGS, "a mapping without hostID: an error", |case| {
        unmapped(case, "hostID")
    }),
    reading("required-map-size", MAPPINGS, "a mapping without size: an error", |case| unmapped(case, "size")),
    reading("required-device-type", DEVICES, "a device without type: an error", |case| device(case, "type")),
    reading("required-device-path", DEVICES, "a device without path: an error", |case| device(case, "path")),
    reading("required-device-major", DEVICES, "a device without major number: an error", |case| {
        device(case, "major")
    }),
    reading("required-device-minor", DEVICES, "a device without minor number: an error", |case| {
        device(case, "minor")
    }),
    reading(
        "required-device-allow",
        "config-linux.md#allowed-device-list",
        "a rule without allow: an error",
        |case| resource(case, "/linux/resources/devices", json!({"access": "rwm", "allow": true}), "allow"),
    ),
    reading("required-weight-major", BLOCK, "a weight without major number: an error", |case| {
        block(case, "weightDevice", json!({"weight": 500}), "major")
    }),
    reading("required-weight-minor", BLOCK, "a weight without minor number: an error", |case| {
        block(case, "weightDevice", json!({"weight": 500}), "minor")
    }),
    reading("required-bps-major", BLOCK, "a rate of bytes without major number: an error", |case| {
        block(case, "throttleReadBpsDevice", throttle(), "major")
    }),
    reading("required-bps-rate", BLOCK, "a throttled device without rate of bytes: an error", |case| {
        block(case, "throttleReadBpsDevice", throttle(), "rate")
    }),
    reading("required-iops-major", BLOCK, "a rate of operations without major number: an error", |case| {
        block(case, "throttleReadIOPSDevice", throttle(), "major")
    }),
    reading("required-iops-rate", BLOCK, "a throttled device without rate of operations: an error", |case| {
        block(case, "throttleReadIOPSDevice", throttle(), "rate")
    }),
    reading(
        "required-page-size",
        "config-linux.md#huge-page-limits",
        "a limit of huge pages without pageSize: an error",
        |case| resource(case, "/linux/resources/hugepageLimits", hugepages(), "pageSize"),
    ),
    reading(
        "required-page-limit",
        "config-linux.md#huge-page-limits",
        "a limit of huge pages without limit: an error",
        |case| resource(case, "/linux/resources/hugepageLimits", hugepages(), "limit"),
    ),
    reading(
        "required-net-name",
        "config-linux.md#network",
        "a network priority without name: an error",
        |case| {
            resource(
                case,
                "/linux/resources/network/priorities",
                json!({"name": "lo", "priority": 1}),
                "name",
            )
        },
    ),
    reading(
        "required-net-priority",
        "config-linux.md#network",
        "a network priority without priority: an error",
        |case| {
            resource(
                case,
                "/linux/resources/network/priorities",
                json!({"name": "lo", "priority": 1}),
                "priority",
            )
        },
    ),
    reading(
        "required-memory-mode",
        "config-linux.md#memory-policy",
        "memoryPolicy without mode: an error",
        |case| part(case, "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}), "mode"),
    ),
    reading("required-default-action", SECCOMP, "seccomp without defaultAction: an error", |case| {
        let whole = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule()]});
        part(case, "/linux/seccomp", whole, "defaultAction")
    }),
    reading("required-rule-names", SECCOMP, "a rule without the property names: an error", |case| {
        filter(case, "names")
    }),
    reading("required-rule-action", SECCOMP, "a rule without action: an error", |case| {
        filter(case, "action")
    }),
    reading("required-argument-index", SECCOMP, "an argument without index: an error", |case| {
        argument(case, "index")
    }),
    reading("required-argument-value", SECCOMP, "an argument without value: an error", |case| {
        argument(case, "value")
    }),
    reading("required-argument-op", SECCOMP, "an argument without op: an error", |case| argument(case, "op")),
    reading(
        "required-domain",
        "config-linux.md#personality",
        "personality without domain: an error",
        |case| part(case, "/linux/personality", json!({"domain": "LINUX", "flags": []}), "domain"),
    ),
];

fn rlimit() -> Value {
    json!({"type": "RLIMIT_CORE", "soft": 1, "hard": 1})
}

fn throttle() -> Value {
    json!({"rate": 1_000_000})
}

fn io_priority() -> Value {
    json!({"class": "IOPRIO_CLASS_BE", "priority": 3})
}

fn hugepages() -> Value {
    json!({"pageSize": "2MB", "limit": 0})
}

fn rule() -> Value {
    json!({"names": ["reboot"], "action": "SCMP_ACT_ERRNO"})
}

/// What the others leave parts out of, whole.
fn control(case: &mut Case) -> Outcome {
    case.set("/process/rlimits", json!([rlimit()]));
    case.set("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 19}));
    case.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 3}));
    case.set("/linux/personality", json!({"domain": "LINUX", "flags": []}));
    let mut rule = rule();
    rule["args"] = json!([{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]);
    case.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
    let report = case.report()?;
    holds(report["pid"].is_u64(), "the container runs", "it ran with every property")
}

fn without(case: &mut Case, pointer: &str, key: &str) -> Outcome {
    case.remove(pointer, key);
    case.refuses_at_start()
}

/// An error, or the 0 that `difference` knows of.
fn user_without(case: &mut Case, key: &str, seen_as: &str) -> Outcome {
    let id = format!("required-{key}");
    case.remove("/process/user", key);
    let create = case.create()?;
    let Some(row) = difference(&id).filter(|_| create.ok()) else {
        return must_refuse(create);
    };
    must_succeed(case.start()?)?;
    let seen = case.hear()?["status"][seen_as].clone();
    holds(seen == "0 0 0 0", "refused, or taken for 0", format!("{}: {seen}", row.runc))
}

fn with(case: &mut Case, pointer: &str, value: Value) -> Outcome {
    case.set(pointer, value);
    case.refuses_at_start()
}

fn removed(object: &Value, key: &str) -> Value {
    let mut rest = object.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.remove(key);
    }
    rest
}

/// An object that works, and the same without a key.
fn part(case: &mut Case, pointer: &str, whole: Value, key: &str) -> Outcome {
    let rest = removed(&whole, key);
    case.refuses_but(pointer, whole, rest)
}

/// An array of an object that works, and of the same without a key.
fn lacking(case: &mut Case, pointer: &str, object: Value, key: &str) -> Outcome {
    let rest = removed(&object, key);
    case.refuses_but(pointer, json!([object]), json!([rest]))
}

/// Where there is no terminal the size is ignored, so there is one, and its other end has a listener.
fn console(case: &mut Case, size: Value) -> Outcome {
    case.set("/process/terminal", json!(true));
    case.set("/process/consoleSize", size);
    let path = case.share().join("console");
    let listener = crate::socket::Listener::new(&path)?;
    case.write_config()?;
    let (bundle, socket) = (case.bundle().display().to_string(), path.display().to_string());
    let words = ["create", "--bundle", &bundle, "--console-socket", &socket, &case.id];
    let mut evidence = Err(crate::verdict::Stop::Skip("create did not run".into()));
    // A refusal ends the wait for a connection, so it is the answer here that the listener is told.
    let heard = listener.hear(|| {
        let call = case.raw(&words)?;
        let refused = call.refused();
        evidence = must_refuse(call);
        if refused { crate::verdict::skip("refused") } else { Ok(()) }
    });
    drop(heard);
    evidence
}

fn resource(case: &mut Case, pointer: &str, object: Value, key: &str) -> Outcome {
    case.need_root("cgroups")?;
    case.own_cgroup();
    lacking(case, pointer, object, key)
}

fn block(case: &mut Case, list: &str, object: Value, key: &str) -> Outcome {
    let numbers = super::limits::block_device()?;
    let mut object = object;
    (object["major"], object["minor"]) = (json!(numbers[0]), json!(numbers[1]));
    resource(case, &format!("/linux/resources/blockIO/{list}"), object, key)
}

fn unmapped(case: &mut Case, key: &str) -> Outcome {
    super::namespaces::with_user(case);
    let map = case.config["linux"]["uidMappings"][0].clone();
    lacking(case, "/linux/uidMappings", map, key)
}

fn device(case: &mut Case, key: &str) -> Outcome {
    case.need_root("device nodes")?;
    lacking(case, "/linux/devices", json!({"path": "/dev/suite", "type": "c", "major": 1, "minor": 3}), key)
}

fn filter(case: &mut Case, key: &str) -> Outcome {
    case.set("/linux/seccomp/defaultAction", json!("SCMP_ACT_ALLOW"));
    lacking(case, "/linux/seccomp/syscalls", rule(), key)
}

fn argument(case: &mut Case, key: &str) -> Outcome {
    let mut rule = rule();
    rule["args"] = json!([{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]);
    case.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule.clone()]}));
    lacking(case, "/linux/seccomp/syscalls/0/args", rule["args"][0].clone(), key)
}
