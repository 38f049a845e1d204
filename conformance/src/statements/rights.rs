//! config.md: capabilities and noNewPrivileges; config-linux.md: seccomp.

use super::{Statement, must, should};
use crate::case::Case;
use crate::verdict::{Outcome, Stop, holds, same};
use serde_json::{Value, json};

const LINUX: &str = "config.md#linux-process";
const SECCOMP: &str = "config-linux.md#seccomp";

/// CAP_KILL and CAP_NET_BIND_SERVICE.
const TWO: u64 = 1 << 5 | 1 << 10;

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("cap-bounding", LINUX, "the bounding set is the configured one", |case| {
        set(case, "bounding", "CapBnd")
    }),
    must("cap-effective", LINUX, "the effective set is the configured one", |case| {
        set(case, "effective", "CapEff")
    }),
    must("cap-permitted", LINUX, "the permitted set is the configured one", |case| {
        set(case, "permitted", "CapPrm")
    }),
    must("cap-inheritable", LINUX, "the inheritable set is the configured one", |case| {
        set(case, "inheritable", "CapInh")
    }),
    must("cap-ambient", LINUX, "the ambient set is the configured one", |case| {
        set(case, "ambient", "CapAmb")
    }),
    should("cap-unknown", LINUX, "a capability that cannot be granted is a warning, not a failure", unknown),
    must("no-new-privileges", LINUX, "noNewPrivileges is applied", no_new_privileges),
    must("new-privileges", LINUX, "without noNewPrivileges the flag is not set", new_privileges),
    must("seccomp-errno", SECCOMP, "a syscall with SCMP_ACT_ERRNO fails with EPERM", errno),
    must("seccomp-errno-ret", SECCOMP, "errnoRet is the error of the call", errno_ret),
    must("seccomp-mode", SECCOMP, "a filter is installed when seccomp is set", mode),
    must("seccomp-argument", SECCOMP, "a rule with arguments hits only matching calls", arguments),
    must("seccomp-names", SECCOMP, "a rule without names is an error", no_names),
    must(
        "seccomp-errno-unsupported",
        SECCOMP,
        "errnoRet for an action without one is an error",
        errno_unsupported,
    ),
    must("seccomp-listener-metadata", SECCOMP, "listenerMetadata without listenerPath is an error", metadata),
];

/// The named set as the process has it, when all five sets are the same two.
fn set(case: &mut Case, name: &str, field: &str) -> Outcome {
    let two = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    case.set(
        "/process/capabilities",
        json!({"bounding": two, "effective": two, "permitted": two,
        "inheritable": two, "ambient": two}),
    );
    let report = case.report()?;
    let seen = &report["status"][field];
    same(&format!("{name} set"), &json!(format!("{TWO:016x}")), seen)
}

fn unknown(case: &mut Case) -> Outcome {
    case.push("/process/capabilities/bounding", json!("CAP_OF_THE_FUTURE"));
    let report = case.report()?;
    holds(report["pid"].is_u64(), "the container runs", "it ran with CAP_OF_THE_FUTURE")
}

fn no_new_privileges(case: &mut Case) -> Outcome {
    case.set("/process/noNewPrivileges", json!(true));
    same("NoNewPrivs", &json!("1"), &case.report()?["status"]["NoNewPrivs"])
}

fn new_privileges(case: &mut Case) -> Outcome {
    same("NoNewPrivs", &json!("0"), &case.report()?["status"]["NoNewPrivs"])
}

/// Runs with one rule for mkdir and returns the errno of a mkdir.
fn mkdir_under(case: &mut Case, rule: Value) -> Result<Value, Stop> {
    case.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
    Ok(case.answer("mkdir:/new")?["errno"].clone())
}

fn errno(case: &mut Case) -> Outcome {
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"});
    same("errno of mkdir (EPERM is 1)", &json!(1), &mkdir_under(case, rule)?)
}

fn errno_ret(case: &mut Case) -> Outcome {
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77});
    same("errno of mkdir", &json!(77), &mkdir_under(case, rule)?)
}

fn mode(case: &mut Case) -> Outcome {
    case.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}),
    );
    same("Seccomp (2 is a filter)", &json!("2"), &case.report()?["status"]["Seccomp"])
}

/// The test process makes directories with mode 0777: a rule for another mode must not hit.
fn arguments(case: &mut Case) -> Outcome {
    let args = |value: u64| json!([{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]);
    let rule = |value| json!({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": value, "args": args(value)});
    case.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [rule(0o700), rule(0o777)]}),
    );
    let seen = case.answer("mkdir:/new")?["errno"].clone();
    same("errno of mkdir with mode 0777", &json!(0o777), &seen)
}

fn no_names(case: &mut Case) -> Outcome {
    case.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]}),
    );
    case.refuses()
}

fn errno_unsupported(case: &mut Case) -> Outcome {
    case.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_KILL", "errnoRet": 5}]}),
    );
    case.refuses()
}

fn metadata(case: &mut Case) -> Outcome {
    case.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x",
        "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}),
    );
    case.refuses()
}
