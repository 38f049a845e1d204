//! Limits: what the cgroup files say, and that they hold; rlimits and sysctls.

use std::fs;

use super::{Container, Docker};
use crate::support::{
    Outcome, Stop, Table, cgroup_of, cgroup_value, controllers, exec_joins_cgroup, has, is_unified, same,
    that,
};

pub(super) const CHECKS: &Table<Docker> = &[
    ("limits: the cgroup is below --cgroup-parent", parent),
    ("limits: the container sees its own cgroup", own_view),
    ("limits: --memory", memory),
    ("limits: out of memory", out_of_memory),
    ("limits: --cpus and --cpu-shares", cpu),
    ("limits: --cpuset-cpus", cpuset),
    ("limits: --pids-limit", pids),
    ("limits: docker update", update),
    ("limits: docker stats", stats),
    ("limits: --ulimit", ulimit),
    ("limits: --sysctl", sysctl),
    ("limits: --oom-score-adj", oom_score),
    ("limits: --cgroupns private", cgroup_namespace),
];

/// The runtime may put the container lower than asked, but not elsewhere.
fn parent(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    let table = fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    let path = format!(":/{}/{}", docker.tag, container.id);
    let inside = table.lines().filter(|line| line.contains(&path)).count();
    that(&format!("a cgroup of {table:?} is {path}"), inside > 0)?;
    exec_joins_cgroup(|script| container.sh(script))
}

fn own_view(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    let cgroup = cgroup_of(container.pid()?, "memory")?;
    let seen = if is_unified() { "" } else { "memory/" };
    let text = container.sh(&format!("cat /sys/fs/cgroup/{seen}cgroup.procs"))?;
    has(&format!("cgroup.procs of {}", cgroup.display()), &format!("\n{text}\n"), "\n1\n")
}

fn pid_and<'a>(docker: &'a Docker, options: &[&str]) -> Result<(Container<'a>, u32), Stop> {
    let container = docker.sleeper(options)?;
    let pid = container.pid()?;
    Ok((container, pid))
}

fn memory(docker: &Docker) -> Outcome {
    let options = ["--memory", "64m", "--memory-reservation", "32m"];
    let (container, pid) = pid_and(docker, &options)?;
    same("limit", cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max")?, "67108864")?;
    same(
        "reservation",
        cgroup_value(pid, "memory", "memory.soft_limit_in_bytes", "memory.low")?,
        "33554432",
    )?;
    let file = if is_unified() { "memory.max" } else { "memory/memory.limit_in_bytes" };
    same("seen inside", container.sh(&format!("cat /sys/fs/cgroup/{file}"))?, "67108864")
}

fn out_of_memory(docker: &Docker) -> Outcome {
    controllers(&["memory"])?;
    let script = "sleep 0.2; exec dd if=/dev/zero of=/dev/shm/a bs=1M count=200";
    let container = docker.background(&["--memory", "24m", "--shm-size", "300m"], &["sh", "-c", script])?;
    same("exit code", container.wait()?, 137)?;
    same("OOMKilled", container.inspect("{{.State.OOMKilled}}")?, "true")
}

/// CPU shares as v2's weight, see `ConvertCPUSharesToCgroupV2Value` of runc and the newer curve of runc 1.3.
const WEIGHTS_OF_512: [&str; 2] = ["20", "59"];

fn cpu(docker: &Docker) -> Outcome {
    controllers(&["cpu"])?;
    let (_container, pid) = pid_and(docker, &["--cpus", "0.5", "--cpu-shares", "512"])?;
    let value = |v1: &str, v2: &str| cgroup_value(pid, "cpu", v1, v2);
    let quota = value("cpu.cfs_quota_us", "cpu.max")?;
    if let Some((quota, period)) = quota.split_once(' ') {
        same("cpu.max", (quota, period), ("50000", "100000"))?;
        return that("weight", WEIGHTS_OF_512.contains(&value("", "cpu.weight")?.as_str()));
    }
    same("quota", quota, "50000")?;
    same("period", value("cpu.cfs_period_us", "")?, "100000")?;
    same("shares", value("cpu.shares", "")?, "512")
}

fn cpuset(docker: &Docker) -> Outcome {
    let (container, pid) = pid_and(docker, &["--cpuset-cpus", "0"])?;
    same("cpuset.cpus", cgroup_value(pid, "cpuset", "cpuset.cpus", "cpuset.cpus")?, "0")?;
    has("allowed", &container.sh("cat /proc/self/status; nproc")?, "Cpus_allowed_list:\t0\n")
}

fn pids(docker: &Docker) -> Outcome {
    let (container, pid) = pid_and(docker, &["--pids-limit", "20"])?;
    same("pids.max", cgroup_value(pid, "pids", "pids.max", "pids.max")?, "20")?;
    let output = container.exec(
        &[],
        &["sh", "-c", "i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; kill $(jobs -p)"],
    )?;
    has("the twentieth process", &output.fails()?, "can't fork")
}

fn update(docker: &Docker) -> Outcome {
    let (container, pid) = pid_and(docker, &["--memory", "64m", "--memory-swap", "-1"])?;
    let limit = || cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max");
    same("before", limit()?, "67108864")?;
    container.act(&[
        "update",
        "--memory",
        "80m",
        "--memory-swap",
        "-1",
        "--cpus",
        "0.25",
        "--pids-limit",
        "33",
    ])?;
    same("memory", limit()?, "83886080")?;
    has("quota", &cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")?, "25000")?;
    same("pids", cgroup_value(pid, "pids", "pids.max", "pids.max")?, "33")?;
    same("it still runs", container.sh("echo here")?, "here")
}

fn stats(docker: &Docker) -> Outcome {
    let (container, pid) = pid_and(docker, &["--memory", "64m"])?;
    cgroup_of(pid, "memory")?;
    let text = container.act(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}"])?;
    has("memory limit", &text, "/ 64MiB")?;
    that(&format!("some memory is used in {text:?}"), !text.starts_with("0B"))
}

fn ulimit(docker: &Docker) -> Outcome {
    let options = ["--ulimit", "nofile=100:200", "--ulimit", "core=0"];
    let text =
        docker.sh(&options, "grep -E 'open files|core file' /proc/self/limits; ulimit -Sn; ulimit -Hn")?;
    same(
        "numbers",
        text.split_whitespace().filter(|word| word.parse::<u32>().is_ok()).collect::<Vec<_>>(),
        vec!["0", "0", "100", "200", "100", "200"],
    )
}

fn sysctl(docker: &Docker) -> Outcome {
    let options = [
        "--sysctl",
        "net.ipv4.ip_forward=0",
        "--sysctl",
        "kernel.msgmax=9000",
        "--sysctl",
        "net.ipv4.ip_unprivileged_port_start=7",
    ];
    let text = docker.sh(
        &options,
        "cd /proc/sys; cat net/ipv4/ip_forward kernel/msgmax net/ipv4/ip_unprivileged_port_start",
    )?;
    same("values", text, "0\n9000\n7")
}

/// Upwards only: lowering needs CAP_SYS_RESOURCE, which these machines lack.
fn oom_score(docker: &Docker) -> Outcome {
    same("score", docker.sh(&["--oom-score-adj", "700"], "cat /proc/self/oom_score_adj")?, "700")
}

fn cgroup_namespace(docker: &Docker) -> Outcome {
    let text = docker.sh(&["--cgroupns", "private"], "cat /proc/self/cgroup")?;
    that(&format!("every path of {text:?} is the root"), text.lines().all(|line| line.ends_with(":/")))
}
