//! Limits: what the cgroup files say, and that they hold; rlimits and sysctls.

use std::fs;
use std::time::{Duration, Instant};

use super::{Container, Docker};
use crate::support::{
    Outcome, Stop, Table, cgroup_of, cgroup_value, controllers, exec_joins_cgroup, has, hierarchies,
    is_unified, same, that,
};

pub(super) const CHECKS: &Table<Docker> = &[
    ("limits: the cgroup is below --cgroup-parent", parent),
    ("limits: the container sees its own cgroup", own_view),
    ("limits: --cgroup-parent of a container", parent_option),
    ("limits: --memory", memory),
    ("limits: --memory-swap", memory_swap),
    ("limits: out of memory", out_of_memory),
    ("limits: --cpus and --cpu-shares", cpu),
    ("limits: --cpuset-cpus", cpuset),
    ("limits: --cpus, felt", cpu_time),
    ("limits: --pids-limit", pids),
    ("limits: --device-read-bps", read_rate),
    ("limits: docker update", update),
    ("limits: docker stats", stats),
    ("limits: --ulimit", ulimit),
    ("limits: --sysctl", sysctl),
    ("limits: --oom-score-adj", oom_score),
    ("limits: --cgroupns private", cgroup_namespace),
    ("limits: --cgroupns host", host_cgroup_namespace),
    ("limits: all of them at once", together),
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

fn parent_option(docker: &Docker) -> Outcome {
    let upper = format!("/{}/of-one/container", docker.tag);
    let container = docker.sleeper(&["--cgroup-parent", &upper, "--memory", "64m"])?;
    let table = fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    let path = format!(":{upper}/{}", container.id);
    that(&format!("a cgroup of {table:?} is {path}"), table.lines().any(|line| line.contains(&path)))?;
    let limit = cgroup_value(container.pid()?, "memory", "memory.limit_in_bytes", "memory.max")?;
    same("limit", limit, "67108864")?;
    // A cgroup that was asked for above a container stays, as it does with runc.
    drop(container);
    let upper = hierarchies().into_iter().map(|root| root.join(&docker.tag).join("of-one"));
    for parent in upper.filter(|parent| parent.exists()) {
        fs::remove_dir(parent.join("container"))?;
        fs::remove_dir(parent)?;
    }
    Ok(())
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

/// Memory and swap together for Docker and v1, swap alone for v2.
fn memory_swap(docker: &Docker) -> Outcome {
    let value = |pid| cgroup_value(pid, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
    let wanted = |v1, v2| if is_unified() { v2 } else { v1 };
    let (_container, pid) = pid_and(docker, &["--memory", "64m", "--memory-swap", "96m"])?;
    same("64 MiB and 32 MiB of swap", value(pid)?, wanted("100663296", "33554432"))?;
    let (_container, pid) = pid_and(docker, &["--memory", "64m", "--memory-swap", "64m"])?;
    same("no swap", value(pid)?, wanted("67108864", "0"))?;
    // Without it, Docker allows as much swap as memory.
    let (_container, pid) = pid_and(docker, &["--memory", "64m"])?;
    same("as much swap", value(pid)?, wanted("134217728", "67108864"))
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

/// Nanoseconds of CPU that a cgroup has used.
fn used(pid: u32) -> Result<u64, Stop> {
    let text = match is_unified() {
        true => cgroup_value(pid, "cpu", "", "cpu.stat")?,
        false => cgroup_value(pid, "cpuacct", "cpuacct.usage", "")?,
    };
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| Stop::from(format!("usage {text:?}")));
    match text.lines().find_map(|line| line.strip_prefix("usage_usec ")) {
        Some(microseconds) => Ok(number(microseconds)? * 1000),
        None => number(&text),
    }
}

fn cpu_time(docker: &Docker) -> Outcome {
    controllers(&["cpu"])?;
    let container = docker.background(&["--cpus", "0.1"], &["sh", "-c", "while :; do :; done"])?;
    let pid = container.pid()?;
    let mut rate = 0.0;
    // Never more than the quota; as much, as soon as a busy machine lets it.
    for _ in 0..10 {
        let (begin, before) = (Instant::now(), used(pid)?);
        std::thread::sleep(Duration::from_secs(2));
        rate = (used(pid)? - before) as f64 / begin.elapsed().as_nanos() as f64;
        that(&format!("{rate} is at most a tenth of a CPU"), rate <= 0.11)?;
        if rate >= 0.09 {
            return Ok(());
        }
    }
    that(&format!("{rate} is a tenth of a CPU"), false)
}

/// The disk that a directory is on, as a name below /dev and by its number.
pub(super) fn disk(path: &std::path::Path) -> Result<(String, String), Stop> {
    use std::os::unix::fs::MetadataExt;
    let device = fs::metadata(path)?.dev();
    let number = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let link = fs::canonicalize(format!("/sys/dev/block/{number}"))
        .map_err(|_| Stop::Skipped(format!("{} is on no disk", path.display())))?;
    // A limit is for the whole disk.
    let whole = if link.join("partition").exists() { link.parent().unwrap_or(&link) } else { &link };
    let number = fs::read_to_string(whole.join("dev"))?.trim().to_owned();
    let name = whole.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok((format!("/dev/{name}"), number))
}

fn read_rate(docker: &Docker) -> Outcome {
    let data = docker.host_dir("rate")?;
    let (name, number) = disk(&data)?;
    controllers(&[if is_unified() { "io" } else { "blkio" }])?;
    fs::write(data.join("file"), vec![1; 4 << 20])?;
    fs::File::open(data.join("file"))?.sync_all()?;
    let (rate, volume) = (format!("{name}:1mb"), format!("{}:/data", data.display()));
    let container = docker.sleeper(&["--device-read-bps", &rate, "-v", &volume])?;
    let value = cgroup_value(
        container.pid()?,
        if is_unified() { "io" } else { "blkio" },
        "blkio.throttle.read_bps_device",
        "io.max",
    )?;
    has("limit", &value, &number)?;
    has("limit", &value, "1048576")?;
    // Past the page cache: four MiB take four seconds, less what the first slice lets through.
    let begin = Instant::now();
    container.sh("dd if=/data/file of=/dev/null bs=1M iflag=direct")?;
    that(
        &format!("{:?} are more than two seconds", begin.elapsed()),
        begin.elapsed() > Duration::from_secs(2),
    )
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

fn host_cgroup_namespace(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&["--cgroupns", "host"])?;
    let text = container.sh("cat /proc/1/cgroup; readlink /proc/1/ns/cgroup")?;
    has("the whole path", &text, &format!("/{}/{}", docker.tag, container.id))?;
    has("the namespace", &text, &fs::read_link("/proc/self/ns/cgroup")?.to_string_lossy())?;
    let seen = if is_unified() { format!("{}/{}/", docker.tag, container.id) } else { "pids/".to_owned() };
    container.sh(&format!("test -r /sys/fs/cgroup/{seen}cgroup.procs")).map(drop)
}

/// One container with every option: none of them is in another's way.
fn together(docker: &Docker) -> Outcome {
    controllers(&["memory", "cpu", "pids", "cpuset"])?;
    let block = if is_unified() { "io" } else { "blkio" };
    controllers(&[block])?;
    let (name, number) = disk(&docker.host_dir("together")?)?;
    let (rate, upper) = (format!("{name}:1mb"), format!("/{}/together", docker.tag));
    let options = [
        ["-m", "64m"],
        ["--memory-swap", "96m"],
        ["--memory-reservation", "32m"],
        ["--cpus", "0.5"],
        ["--cpuset-cpus", "0"],
        ["--pids-limit", "20"],
        ["--device-read-bps", &rate],
        ["--oom-score-adj", "700"],
        ["--cgroup-parent", &upper],
        ["--cgroupns", "private"],
    ];
    let (container, pid) = pid_and(docker, &options.concat())?;
    let host = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    has("its place", &host, &format!(":{upper}/{}", container.id))?;
    let inside = container.sh("cat /proc/1/cgroup; cat /proc/1/oom_score_adj")?;
    has("its namespace", &inside, ":/\n")?;
    that(&format!("700 ends {inside:?}"), inside.ends_with("\n700"))?;
    let unified = is_unified();
    let of = |controller, v1, v2| cgroup_value(pid, controller, v1, v2);
    same("limit", of("memory", "memory.limit_in_bytes", "memory.max")?, "67108864")?;
    let swap = if unified { "33554432" } else { "100663296" };
    same("swap", of("memory", "memory.memsw.limit_in_bytes", "memory.swap.max")?, swap)?;
    same("reservation", of("memory", "memory.soft_limit_in_bytes", "memory.low")?, "33554432")?;
    let quota = if unified { "50000 100000" } else { "50000" };
    same("quota", of("cpu", "cpu.cfs_quota_us", "cpu.max")?, quota)?;
    same("processors", of("cpuset", "cpuset.cpus", "cpuset.cpus")?, "0")?;
    same("processes", of("pids", "pids.max", "pids.max")?, "20")?;
    let rates = of(block, "blkio.throttle.read_bps_device", "io.max")?;
    has("rate", &rates, &number)?;
    has("rate", &rates, "1048576")?;
    drop(container);
    for parent in hierarchies().into_iter().map(|root| root.join(&docker.tag).join("together")) {
        if parent.exists() {
            fs::remove_dir(parent)?;
        }
    }
    Ok(())
}
