//! config-linux.md: actions, operators and flags of seccomp, and its listener.

use super::{Statement, must};
use crate::case::Case;
use crate::socket::Listener;
use crate::verdict::{Outcome, Stop, fail, holds, same, skip};
use serde_json::{Value, json};

const SECCOMP: &str = "config-linux.md#seccomp";
const STATE: &str = "config-linux.md#the-container-process-state";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("seccomp-kill-process", SECCOMP, "SCMP_ACT_KILL_PROCESS kills the process", |case| {
        dies(case, "SCMP_ACT_KILL_PROCESS")
    }),
    must("seccomp-kill-thread", SECCOMP, "SCMP_ACT_KILL_THREAD kills the only thread", |case| {
        dies(case, "SCMP_ACT_KILL_THREAD")
    }),
    must("seccomp-kill", SECCOMP, "SCMP_ACT_KILL kills", |case| dies(case, "SCMP_ACT_KILL")),
    must("seccomp-trap", SECCOMP, "SCMP_ACT_TRAP sends SIGSYS, which kills", |case| {
        dies(case, "SCMP_ACT_TRAP")
    }),
    must("seccomp-log", SECCOMP, "SCMP_ACT_LOG lets the call through a filter", |case| {
        passes(case, "SCMP_ACT_LOG")
    }),
    must("seccomp-trace", SECCOMP, "SCMP_ACT_TRACE without a tracer gives ENOSYS", trace),
    must(
        "seccomp-default-errno",
        SECCOMP,
        "defaultErrnoRet is the error of calls without a rule",
        default_errno,
    ),
    must(
        "seccomp-default-errno-unsupported",
        SECCOMP,
        "defaultErrnoRet for an action without one is an error",
        |case| {
            case.set(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 5,
            "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}),
            );
            case.refuses()
        },
    ),
    must("seccomp-op-ne", SECCOMP, "SCMP_CMP_NE", |case| operator(case, "SCMP_CMP_NE", 0o777, 0o700)),
    must("seccomp-op-lt", SECCOMP, "SCMP_CMP_LT", |case| operator(case, "SCMP_CMP_LT", 0o777, 0o1000)),
    must("seccomp-op-le", SECCOMP, "SCMP_CMP_LE", |case| operator(case, "SCMP_CMP_LE", 0o776, 0o777)),
    must("seccomp-op-ge", SECCOMP, "SCMP_CMP_GE", |case| operator(case, "SCMP_CMP_GE", 0o1000, 0o777)),
    must("seccomp-op-gt", SECCOMP, "SCMP_CMP_GT", |case| operator(case, "SCMP_CMP_GT", 0o777, 0o776)),
    must("seccomp-op-masked", SECCOMP, "SCMP_CMP_MASKED_EQ", masked),
    must(
        "seccomp-name-unknown",
        SECCOMP,
        "a rule with a name that is none is an error, or holds for its other names",
        unknown_name,
    ),
    must("seccomp-flag-log", SECCOMP, "SECCOMP_FILTER_FLAG_LOG is taken", |case| {
        flag(case, "SECCOMP_FILTER_FLAG_LOG")
    }),
    must("seccomp-flag-spec", SECCOMP, "SECCOMP_FILTER_FLAG_SPEC_ALLOW is taken", |case| {
        flag(case, "SECCOMP_FILTER_FLAG_SPEC_ALLOW")
    }),
    must("seccomp-flag-tsync", SECCOMP, "SECCOMP_FILTER_FLAG_TSYNC is taken", |case| {
        flag(case, "SECCOMP_FILTER_FLAG_TSYNC")
    }),
    must(
        "seccomp-architecture",
        SECCOMP,
        "with an architecture more the rules hold for the native one",
        architecture,
    ),
    must("seccomp-listener", SECCOMP, "with SCMP_ACT_NOTIFY a state comes to listenerPath", |case| {
        let heard = listen(case)?;
        holds(heard["state"]["id"] == case.id.as_str(), "the container's state", heard.to_string())
    }),
    must("seccomp-listener-once", SECCOMP, "one state comes on a connection, which is closed then", |case| {
        listen(case)?;
        Ok("one JSON object, then the end".into())
    }),
    must(
        "seccomp-listener-fd",
        STATE,
        "the descriptor comes with the first bytes and is named seccompFd",
        |case| same("fds", &json!(["seccompFd"]), &listen(case)?["fds"]),
    ),
    must("seccomp-listener-version", STATE, "the process state has a version", |case| {
        let heard = listen(case)?;
        holds(heard["ociVersion"].is_string(), "ociVersion", heard.to_string())
    }),
    must("seccomp-listener-pid", STATE, "the process state has the pid of the container process", |case| {
        let heard = listen(case)?;
        let pid = case.pid().map(nix::unistd::Pid::as_raw);
        same("pid", &json!(pid), &heard["pid"])
    }),
    must("seccomp-listener-data", SECCOMP, "listenerMetadata comes as metadata", |case| {
        same("metadata", &json!("some data"), &listen(case)?["metadata"])
    }),
    must("seccomp-listener-fails", SECCOMP, "a listenerPath that nobody listens at is an error", |case| {
        notify(case, &case.share().join("nobody").display().to_string());
        case.refuses_at_start()
    }),
];

fn rules(case: &mut Case, rules: Value) {
    case.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
}

/// mkdir is what the test process does when it is asked, before it prints its report.
fn dies(case: &mut Case, action: &str) -> Outcome {
    rules(case, json!([{"names": ["mkdir", "mkdirat"], "action": action}]));
    case.ask("mkdir:/new");
    case.started()?;
    case.wait()?;
    let made = case.rootfs().join("new").exists();
    same("output of the program", &json!(""), &json!(case.output()))?;
    holds(!made, "no directory is made", "killed at mkdir")
}

fn passes(case: &mut Case, action: &str) -> Outcome {
    rules(case, json!([{"names": ["mkdir", "mkdirat"], "action": action}]));
    case.ask("mkdir:/new");
    let report = case.report()?;
    same("mode of seccomp", &json!("2"), &report["status"]["Seccomp"])?;
    same("errno of mkdir", &Value::Null, &report["answers"]["mkdir:/new"]["errno"])
}

fn errno(case: &mut Case) -> Result<Value, Stop> {
    Ok(case.answer("mkdir:/new")?["errno"].clone())
}

/// ENOSYS is 38.
fn trace(case: &mut Case) -> Outcome {
    rules(case, json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_TRACE"}]));
    same("errno of mkdir", &json!(38), &errno(case)?)
}

/// Every call of the kernel but mkdir and mkdirat is allowed. A runtime that needs others itself ends
/// under this filter; only the error of mkdir is judged.
fn default_errno(case: &mut Case) -> Outcome {
    let names: Vec<&str> = super::calls::NAMES.split_whitespace().collect();
    case.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 55,
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]}),
    );
    same("errno of mkdir", &json!(55), &errno(case)?)
}

/// Rules for the mode of a new directory, of both calls: an architecture may lack the first.
fn on_mkdir(errno: u64, argument: &Value) -> [Value; 2] {
    [("mkdir", 1), ("mkdirat", 2)].map(|(name, index)| {
        let mut argument = argument.clone();
        argument["index"] = json!(index);
        json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": [argument]})
    })
}

/// The test process makes directories with mode 0777: the rule with the first value must not hit,
/// that with the second must.
fn operator(case: &mut Case, op: &str, miss: u64, hit: u64) -> Outcome {
    let arguments = |value: u64| json!({"value": value, "op": op});
    rules(case, json!([on_mkdir(90, &arguments(miss)), on_mkdir(91, &arguments(hit))].concat()));
    same("errno of mkdir with mode 0777", &json!(91), &errno(case)?)
}

fn masked(case: &mut Case) -> Outcome {
    let argument = |two: u64| json!({"value": 0o070, "valueTwo": two, "op": "SCMP_CMP_MASKED_EQ"});
    rules(case, json!([on_mkdir(90, &argument(0o010)), on_mkdir(91, &argument(0o070))].concat()));
    same("errno of mkdir with mode 0777", &json!(91), &errno(case)?)
}

fn unknown_name(case: &mut Case) -> Outcome {
    rules(case, json!([{"names": ["no_such_call", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]));
    match errno(case) {
        Err(Stop::Refused { seen, .. }) => Ok(seen),
        seen => same("errno of mkdir", &json!(1), &seen?),
    }
}

fn flag(case: &mut Case, flag: &str) -> Outcome {
    case.set("/linux/seccomp/flags", json!([flag]));
    case.set("/linux/seccomp/defaultAction", json!("SCMP_ACT_ALLOW"));
    case.set("/linux/seccomp/syscalls", json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]));
    same("errno of mkdir", &json!(1), &errno(case)?)
}

fn architecture(case: &mut Case) -> Outcome {
    let native = match std::env::consts::ARCH {
        "x86_64" => ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "aarch64" => ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        other => return skip(format!("no name is known here for {other}")),
    };
    case.set("/linux/seccomp/architectures", json!(native));
    case.set("/linux/seccomp/defaultAction", json!("SCMP_ACT_ALLOW"));
    case.set("/linux/seccomp/syscalls", json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]));
    same("errno of mkdir", &json!(1), &errno(case)?)
}

fn notify(case: &mut Case, path: &str) {
    case.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "some data",
        "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_NOTIFY"}]}),
    );
}

/// Runs with a listener; the process state of its only connection, which must bring one descriptor
/// with its first message.
fn listen(case: &mut Case) -> Result<Value, Stop> {
    let path = case.share().join("listener");
    let listener = Listener::new(&path)?;
    notify(case, &path.display().to_string());
    let heard = listener.hear(|| case.started())?;
    let Some(message) = heard else { return fail("a connection to listenerPath", "none") };
    same("descriptors with the first message", &json!(1), &json!(message.first_descriptors))?;
    same("descriptors in all", &json!(1), &json!(message.descriptors))?;
    if !message.ended {
        return fail("the connection is closed after the state", "it is open");
    }
    match serde_json::from_str(&message.text) {
        Ok(state) => Ok(state),
        Err(error) => fail("one JSON object", format!("{error}: {}", message.text)),
    }
}
