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
    must("new-privileges", LINUX, "with noNewPrivileges false the flag is not set", new_privileges),
    should(
        "cap-not-granted",
        LINUX,
        "a capability that the runtime does not have itself is a warning, not a failure",
        not_granted,
    ),
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

/// The runtime runs with one capability less than it is asked for.
fn not_granted(case: &mut Case) -> Outcome {
    case.need_root("a user namespace gives all capabilities")?;
    case.under = ["setpriv", "--bounding-set", "-sys_time"].map(str::to_owned).to_vec();
    for set in ["bounding", "effective", "permitted"] {
        case.push(&format!("/process/capabilities/{set}"), json!("CAP_SYS_TIME"));
    }
    let report = case.report()?;
    holds(report["pid"].is_u64(), "the container runs", "it ran without CAP_SYS_TIME")
}

fn no_new_privileges(case: &mut Case) -> Outcome {
    case.set("/process/noNewPrivileges", json!(true));
    same("NoNewPrivs", &json!("1"), &case.report()?["status"]["NoNewPrivs"])
}

fn new_privileges(case: &mut Case) -> Outcome {
    let own = std::fs::read_to_string("/proc/self/status")?;
    if own.lines().any(|line| line.split_whitespace().eq(["NoNewPrivs:", "1"])) {
        return crate::verdict::skip("the suite itself runs with no_new_privs");
    }
    case.set("/process/noNewPrivileges", json!(false));
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
    let args = |index: u64, value: u64| json!([{"index": index, "value": value, "op": "SCMP_CMP_EQ"}]);
    let rule = |name: &str, index: u64, value: u64| {
        json!({"names": [name], "action": "SCMP_ACT_ERRNO",
        "errnoRet": value, "args": args(index, value)})
    };
    let rules = [0o700, 0o777].map(|value| [rule("mkdir", 1, value), rule("mkdirat", 2, value)]);
    case.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules.concat()}));
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
