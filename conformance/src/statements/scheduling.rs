//! config.md: when a process runs: scheduler, I/O priority and affinity.

use super::{Statement, must};
use crate::case::Case;
use crate::verdict::{Outcome, Stop, same, skip};
use serde_json::{Value, json};

const LINUX: &str = "config.md#linux-process";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("scheduler-idle", LINUX, "SCHED_IDLE is applied", |case| {
        scheduler(case, json!({"policy": "SCHED_IDLE"}), 5, "policy")
    }),
    must("scheduler-other", LINUX, "the nice value of SCHED_OTHER is applied", |case| {
        case.set("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 19}));
        same("nice value", &json!(19), &case.report()?["sched"]["nice"])
    }),
    must("scheduler-fifo", LINUX, "SCHED_FIFO is applied with its priority", |case| {
        realtime(case, "SCHED_FIFO", 1)
    }),
    must("scheduler-rr", LINUX, "SCHED_RR is applied with its priority", |case| {
        realtime(case, "SCHED_RR", 2)
    }),
    must("scheduler-deadline", LINUX, "SCHED_DEADLINE is applied with its times", deadline),
    must("scheduler-deadline-flags", LINUX, "flags of SCHED_DEADLINE are applied", deadline_flags),
    must("scheduler-flags", LINUX, "SCHED_FLAG_RESET_ON_FORK is applied", |case| {
        let flags = json!({"policy": "SCHED_BATCH", "nice": 19, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
        scheduler(case, flags, 1, "flags")
    }),
    must("io-priority-idle", LINUX, "IOPRIO_CLASS_IDLE is applied", |case| {
        case.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}));
        same(
            "class (idle is 3)",
            &json!(3),
            &json!(case.report()?["ioprio"].as_i64().map(|value| value >> 13)),
        )
    }),
    must("io-priority-realtime", LINUX, "IOPRIO_CLASS_RT is applied", |case| {
        case.need_root("realtime I/O")?;
        case.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 4}));
        same("I/O priority (class 1, level 4)", &json!((1 << 13) | 4), &case.report()?["ioprio"])
    }),
    must(
        "cpu-affinity-final",
        LINUX,
        "execCPUAffinity.final is the affinity of a process that is added",
        affinity,
    ),
    must(
        "cpu-affinity-init",
        LINUX,
        "execCPUAffinity is not for the container's first process",
        affinity_init,
    ),
];

fn scheduler(case: &mut Case, scheduler: Value, wanted: u64, field: &str) -> Outcome {
    case.set("/process/scheduler", scheduler);
    same(field, &json!(wanted), &case.report()?["sched"][field])
}

fn realtime(case: &mut Case, policy: &str, number: u64) -> Outcome {
    case.need_root("realtime scheduling")?;
    let cpu = crate::cgroup::directory(nix::unistd::getpid(), "cpu");
    if cpu.is_some_and(|directory| directory.join("cpu.rt_runtime_us").exists()) {
        // A cgroup of version 1 has no realtime unless it is given some.
        case.own_cgroup();
        case.set("/linux/resources/cpu", json!({"realtimeRuntime": 1000, "realtimePeriod": 1_000_000}));
    }
    case.set("/process/scheduler", json!({"policy": policy, "priority": 3}));
    let seen = case.report()?["sched"].clone();
    same("policy", &json!(number), &seen["policy"])?;
    same("priority", &json!(3), &seen["priority"])
}

/// Runtime, deadline and period, in nanoseconds.
const TIMES: [u64; 3] = [10_000_000, 20_000_000, 30_000_000];

/// What the process of a container with these flags sees.
fn on_deadline(case: &mut Case, flags: &[&str]) -> Result<Value, Stop> {
    case.need_root("deadline scheduling")?;
    let [runtime, deadline, period] = TIMES;
    let scheduler = json!({"policy": "SCHED_DEADLINE", "flags": flags,
        "runtime": runtime, "deadline": deadline, "period": period});
    case.set("/process/scheduler", scheduler);
    Ok(case.report()?["sched"].clone())
}

/// RECLAIM is 2, DL_OVERRUN 4.
fn deadline_flags(case: &mut Case) -> Outcome {
    let seen = on_deadline(case, &["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"])?;
    same("flags", &json!(6), &seen["flags"])
}

fn deadline(case: &mut Case) -> Outcome {
    let seen = on_deadline(case, &[])?;
    let all = json!([seen["policy"], seen["runtime"], seen["deadline"], seen["period"]]);
    same("policy 6, runtime, deadline, period", &json!([6, TIMES[0], TIMES[1], TIMES[2]]), &all)
}

/// The first processor that the suite may use.
pub(super) fn processor() -> Result<(String, usize), Stop> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("").trim();
    let first = list.split([',', '-']).next().unwrap_or("0").to_owned();
    Ok((first, list.len()))
}

/// `exec` is no operation of the specification, but the property is about it.
fn affinity(case: &mut Case) -> Outcome {
    let (first, length) = processor()?;
    if length < 2 {
        return skip("one processor only");
    }
    case.set("/process/execCPUAffinity", json!({"final": first}));
    case.ask("wait");
    case.report()?;
    let exec = case.raw(&["exec", &case.id, "/probe"])?;
    if !exec.ok() {
        return skip(format!("exec is not an operation of the specification: {}", exec.describe()));
    }
    let report: Value = serde_json::from_str(exec.stdout.lines().next().unwrap_or("")).unwrap_or(Value::Null);
    same("allowed processors", &json!(first), &report["status"]["Cpus_allowed_list"])
}

fn affinity_init(case: &mut Case) -> Outcome {
    let own = std::fs::read_to_string("/proc/self/status")?;
    let own = own.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(str::trim);
    case.set("/process/execCPUAffinity", json!({"initial": "0", "final": "0"}));
    same("allowed processors", &json!(own), &case.report()?["status"]["Cpus_allowed_list"])
}
