//! config.md: process and user.

use super::{Statement, must, should, untestable};
use crate::case::Case;
use crate::verdict::{Outcome, Stop, fail, holds, same};
use serde_json::{Value, json};

const PROCESS: &str = "config.md#process";
const POSIX: &str = "config.md#posix-process";
const LINUX: &str = "config.md#linux-process";
const USER: &str = "config.md#posix-platform-user";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("process-args", PROCESS, "the program gets the configured arguments in order", args),
    must("process-env", PROCESS, "the program gets the configured environment", env),
    must("process-cwd", PROCESS, "the program begins in cwd", cwd),
    must("process-cwd-absolute", PROCESS, "a relative cwd is refused", cwd_relative),
    must("process-console-size", PROCESS, "consoleSize is ignored without a terminal", |case| {
        console_size(case, json!({"height": 10, "width": 20}))
    }),
    must("process-console-size-part", PROCESS, "half a consoleSize is ignored without a terminal", |case| {
        console_size(case, json!({"height": 24}))
    }),
    must("process-console-size-false", PROCESS, "consoleSize is ignored where terminal is false", |case| {
        case.set("/process/terminal", json!(false));
        console_size(case, json!({"width": 80}))
    }),
    must("process-exec-missing", PROCESS, "a program that is not there is an error", missing_program),
    must("rlimit-soft", POSIX, "the soft limit is the configured one", soft),
    must("rlimit-hard", POSIX, "the hard limit is the configured one", hard),
    must("rlimit-unknown", POSIX, "an unknown limit type is an error", unknown_limit),
    must("rlimit-duplicate", POSIX, "a limit named twice is an error", twice),
    must("oom-set", LINUX, "oomScoreAdj is applied", oom),
    must("oom-unset", LINUX, "without oomScoreAdj the value is left alone", oom_unset),
    must("user-uid", USER, "the program runs with the configured uid", uid),
    must("user-gid", USER, "the program runs with the configured gid", gid),
    must("user-additional-gids", USER, "the program has the additional groups", groups),
    must("user-umask", USER, "the program has the configured umask", umask),
    must("scheduler-policy", LINUX, "the scheduling policy and nice value are applied", scheduler),
    must("scheduler-unknown", LINUX, "an unknown scheduling policy is an error", scheduler_unknown),
    must("io-priority", LINUX, "the class and level of the I/O priority are applied", io_priority),
    must("personality", "config-linux.md#personality", "the execution domain is applied", personality),
    should("cpu-affinity-unset", LINUX, "without execCPUAffinity the affinity is left alone", affinity),
    must(
        "descriptors",
        "runtime-linux.md#file-descriptors",
        "only the standard descriptors are open",
        descriptors,
    ),
    must(
        "descriptors-of-caller",
        "runtime-linux.md#file-descriptors",
        "what the caller of the runtime has open is not passed on",
        of_caller,
    ),
    untestable(
        "apparmor-profile",
        LINUX,
        "the AppArmor profile is applied",
        "needs a kernel with AppArmor; the suite does not load profiles",
    ),
    untestable(
        "selinux-label",
        LINUX,
        "the SELinux label is applied",
        "needs a kernel with SELinux and a policy",
    ),
];

fn args(case: &mut Case) -> Outcome {
    let words = json!(["/probe", "one", "two words", "", "$HOME"]);
    case.set("/process/args", words.clone());
    same("arguments", &words, &case.report()?["args"])
}

fn env(case: &mut Case) -> Outcome {
    case.set("/process/env", json!(["PATH=/", "SUITE=a b=c"]));
    let seen = case.report()?["env"].clone();
    let right = seen.as_array().is_some_and(|list| list.contains(&json!("SUITE=a b=c")));
    holds(right, "SUITE=a b=c is in the environment", seen.to_string())
}

fn cwd(case: &mut Case) -> Outcome {
    case.set("/process/cwd", json!("/tmp"));
    same("working directory", &json!("/tmp"), &case.report()?["cwd"])
}

fn cwd_relative(case: &mut Case) -> Outcome {
    case.set("/process/cwd", json!("tmp"));
    case.refuses_at_start()
}

fn console_size(case: &mut Case, size: Value) -> Outcome {
    case.set("/process/consoleSize", size);
    let report = case.report()?;
    holds(report["pid"].is_u64(), "the container runs", "it ran with a consoleSize and no terminal")
}

fn missing_program(case: &mut Case) -> Outcome {
    case.set("/process/args", json!(["/no-such-program"]));
    let create = case.create()?;
    if create.refused() {
        return Ok(create.describe());
    }
    crate::case::must_refuse(case.start()?)
}

/// Soft and hard limit of "Max core file size", in a text as in /proc/PID/limits.
fn core_of(text: &str) -> (Value, Value) {
    let line = text.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap_or("");
    let mut words = line.split_whitespace();
    (json!(words.next()), json!(words.next()))
}

/// Those of the container process. Everybody may lower them, but not raise them.
fn core_limits(case: &mut Case) -> Result<(Value, Value), Stop> {
    let own = core_of(&std::fs::read_to_string("/proc/self/limits")?).1;
    let own = own.as_str().and_then(|text| text.parse::<u64>().ok());
    if own.is_some_and(|limit| limit < 8192) {
        return crate::verdict::skip("the suite's own limit of core files is below 8192 bytes");
    }
    case.set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 4096, "hard": 8192}]));
    Ok(core_of(case.report()?["limits"].as_str().unwrap_or("")))
}

fn soft(case: &mut Case) -> Outcome {
    same("soft RLIMIT_CORE", &json!("4096"), &core_limits(case)?.0)
}

fn hard(case: &mut Case) -> Outcome {
    same("hard RLIMIT_CORE", &json!("8192"), &core_limits(case)?.1)
}

fn unknown_limit(case: &mut Case) -> Outcome {
    case.set("/process/rlimits", json!([{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]));
    case.refuses_at_start()
}

fn twice(case: &mut Case) -> Outcome {
    let limit = json!({"type": "RLIMIT_CORE", "soft": 1, "hard": 1});
    case.set("/process/rlimits", json!([limit, limit]));
    case.refuses_at_start()
}

fn own_oom() -> Result<i64, Stop> {
    let text = std::fs::read_to_string("/proc/self/oom_score_adj")?;
    text.trim().parse().or_else(|_| fail("oom_score_adj is a number", text))
}

fn oom(case: &mut Case) -> Outcome {
    // Raising it needs no privilege.
    let wanted = (own_oom()? + 100).min(1000).to_string();
    case.set("/process/oomScoreAdj", json!(wanted.parse::<i64>().unwrap_or(1000)));
    same("oom_score_adj", &json!(wanted), &case.report()?["oom_score_adj"])
}

fn oom_unset(case: &mut Case) -> Outcome {
    same("oom_score_adj", &json!(own_oom()?.to_string()), &case.report()?["oom_score_adj"])
}

/// All four ids of a kind are the same number.
fn uid(case: &mut Case) -> Outcome {
    case.need_root("other ids are not mapped")?;
    case.set("/process/user/uid", json!(1234));
    same("uids", &json!("1234 1234 1234 1234"), &case.report()?["status"]["Uid"])
}

fn gid(case: &mut Case) -> Outcome {
    case.need_root("other ids are not mapped")?;
    case.set("/process/user/gid", json!(2345));
    same("gids", &json!("2345 2345 2345 2345"), &case.report()?["status"]["Gid"])
}

fn groups(case: &mut Case) -> Outcome {
    case.need_root("other ids are not mapped")?;
    case.set("/process/user/additionalGids", json!([7001, 7002]));
    let seen = case.report()?["status"]["Groups"].clone();
    let text = seen.as_str().unwrap_or("");
    let right = ["7001", "7002"].iter().all(|id| text.split(' ').any(|word| word == *id));
    holds(right, "groups 7001 and 7002", seen.to_string())
}

fn umask(case: &mut Case) -> Outcome {
    case.set("/process/user/umask", json!(0o135));
    same("umask", &json!("0135"), &case.report()?["status"]["Umask"])
}

/// The highest nice value, which everybody may take, also who is nice already.
fn scheduler(case: &mut Case) -> Outcome {
    case.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 19}));
    let seen = case.report()?["sched"].clone();
    same("policy (SCHED_BATCH is 3)", &json!(3), &seen["policy"])?;
    same("nice value", &json!(19), &seen["nice"])
}

fn scheduler_unknown(case: &mut Case) -> Outcome {
    let good = json!({"policy": "SCHED_OTHER", "nice": 19});
    case.refuses_but("/process/scheduler", good, json!({"policy": "SCHED_NONSENSE", "nice": 19}))
}

fn io_priority(case: &mut Case) -> Outcome {
    case.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    same("I/O priority (class 2, level 6)", &json!((2 << 13) | 6), &case.report()?["ioprio"])
}

fn personality(case: &mut Case) -> Outcome {
    if !cfg!(target_arch = "x86_64") {
        return crate::verdict::skip("LINUX32 is tested on x86_64");
    }
    case.set("/linux/personality", json!({"domain": "LINUX32"}));
    same("personality (PER_LINUX32 is 8)", &json!("00000008"), &case.report()?["personality"])
}

fn affinity(case: &mut Case) -> Outcome {
    let own = std::fs::read_to_string("/proc/self/status")?;
    let own = own.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    same("allowed processors", &json!(own.map(str::trim)), &case.report()?["status"]["Cpus_allowed_list"])
}

/// The caller leaves descriptor 7 open, as a shell script may.
pub(super) fn leak(case: &mut Case) {
    case.under = ["sh", "-c", "exec 7</dev/null; exec \"$@\"", "sh"].map(str::to_owned).to_vec();
}

fn of_caller(case: &mut Case) -> Outcome {
    leak(case);
    same("open descriptors", &json!([0, 1, 2]), &case.report()?["fds"])
}

fn descriptors(case: &mut Case) -> Outcome {
    same("open descriptors", &json!([0, 1, 2]), &case.report()?["fds"])
}
