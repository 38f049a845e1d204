//! config-linux.md: cgroups path and limits.

use super::{Statement, must, untestable};
use crate::case::Case;
use crate::cgroup;
use crate::verdict::{Outcome, Stop, holds, same, skip};
use serde_json::{Value, json};

pub(super) const PATH: &str = "config-linux.md#cgroups-path";
pub(super) const DEVICES: &str = "config-linux.md#allowed-device-list";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("cgroup-path", PATH, "an absolute cgroupsPath is taken from the mount point", path),
    must("cgroup-pids", "config-linux.md#pids", "the limit of processes is written", pids),
    must("cgroup-memory", "config-linux.md#memory", "the limit of memory is written", memory),
    must("cgroup-cpu-shares", "config-linux.md#cpu", "the shares of the processor are written", shares),
    must("cgroup-cpu-quota", "config-linux.md#cpu", "the quota of the processor is written", quota),
    must("cgroup-cpuset", "config-linux.md#cpu", "the set of processors is applied", cpus),
    must("cgroup-devices-deny", DEVICES, "a denied device cannot be opened", denied),
    must("cgroup-devices-order", DEVICES, "entries are applied in order", allowed),
    must(
        "cgroup-unified-missing",
        "config-linux.md#unified",
        "a file of a missing controller is an error",
        unified,
    ),
    untestable(
        "cgroup-rdma",
        "config-linux.md#rdma",
        "limits of RDMA devices are written",
        "needs an RDMA device",
    ),
];

/// Runs in a cgroup of its own with these resources; `None` if no hierarchy has the controller.
/// The text of the first of the files (version 1, version 2) that is there.
pub(super) fn limit(
    case: &mut Case,
    controller: &str,
    resources: Value,
    files: [&str; 2],
) -> Result<(bool, String), Stop> {
    case.need_root("cgroups")?;
    if cgroup::directory(nix::unistd::getpid(), controller).is_none() {
        return skip(format!("no cgroup hierarchy with {controller} here"));
    }
    case.own_cgroup();
    case.set("/linux/resources", resources);
    case.ask("wait");
    case.report()?;
    let Some(directory) = case.pid().and_then(|pid| cgroup::directory(pid, controller)) else {
        return skip(format!("no cgroup of the container with {controller}"));
    };
    let old = directory.join(files[0]);
    let old = Some(old).filter(|_| !files[0].is_empty()).filter(|file| file.exists());
    let file = old.clone().unwrap_or_else(|| directory.join(files[1]));
    if !file.is_file() {
        return skip(format!("no {} or {} here", files[0], files[1]));
    }
    let text = std::fs::read_to_string(&file)?.trim().to_owned();
    Ok((old.is_some(), text))
}

fn path(case: &mut Case) -> Outcome {
    case.need_root("cgroups")?;
    case.need_no_systemd("systemd has scopes, not paths")?;
    // Not the id itself, which is a usual default.
    let name = format!("{}.chosen", case.id);
    let path = format!("/{name}");
    case.set("/linux/cgroupsPath", json!(path));
    case.ask("wait");
    case.report()?;
    let seen = case.pid().map(cgroup::all).unwrap_or_default();
    let hits = seen.iter().filter(|directory| directory.ends_with(&name)).count();
    holds(hits > 0, &format!("the process is in {path}"), format!("{seen:?}"))
}

fn pids(case: &mut Case) -> Outcome {
    let seen = limit(case, "pids", json!({"pids": {"limit": 77}}), ["pids.max", "pids.max"])?;
    same("pids.max", &json!("77"), &json!(seen.1))
}

fn memory(case: &mut Case) -> Outcome {
    let wanted = 64 << 20;
    let files = ["memory.limit_in_bytes", "memory.max"];
    let seen = limit(case, "memory", json!({"memory": {"limit": wanted}}), files)?;
    same("limit of memory", &json!(wanted.to_string()), &json!(seen.1))
}

fn shares(case: &mut Case) -> Outcome {
    let (old, seen) = limit(case, "cpu", json!({"cpu": {"shares": 512}}), ["cpu.shares", "cpu.weight"])?;
    // The conversion to a weight is not specified; it must not be the default of 100.
    holds(if old { seen == "512" } else { seen != "100" }, "shares 512, or a weight below 100", seen)
}

fn quota(case: &mut Case) -> Outcome {
    let resources = json!({"cpu": {"quota": 50_000, "period": 100_000}});
    let (old, seen) = limit(case, "cpu", resources, ["cpu.cfs_quota_us", "cpu.max"])?;
    holds(seen == if old { "50000" } else { "50000 100000" }, "quota 50000", seen)
}

fn cpus(case: &mut Case) -> Outcome {
    case.need_root("cgroups")?;
    if cgroup::directory(nix::unistd::getpid(), "cpuset").is_none() {
        return skip("no cgroup hierarchy with cpuset here");
    }
    case.own_cgroup();
    let (first, _) = super::scheduling::processor()?;
    case.set("/linux/resources", json!({"cpu": {"cpus": first}}));
    same("allowed processors", &json!(first), &case.report()?["status"]["Cpus_allowed_list"])
}

/// Denies everything, then allows these; the errno of opening /dev/zero for writing.
fn open_zero(case: &mut Case, allow: &[Value]) -> Result<Value, Stop> {
    case.need_root("device rules")?;
    case.own_cgroup();
    case.set(
        "/linux/devices",
        json!([{"path": "/dev/suite", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}]),
    );
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    rules.extend_from_slice(allow);
    case.set("/linux/resources/devices", json!(rules));
    Ok(case.answer("write:/dev/suite")?["errno"].clone())
}

/// EPERM is the rule's answer; without it the node (fuse) opens or there is no such driver.
fn denied(case: &mut Case) -> Outcome {
    same("errno of open (EPERM is 1)", &json!(1), &open_zero(case, &[])?)
}

/// Where the suite itself may not open fuse, no runtime can allow it.
pub(super) fn need_fuse(case: &Case) -> Result<(), Stop> {
    case.need_root("device nodes")?;
    let node = case.share().join("fuse");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    let device = nix::sys::stat::makedev(10, 229);
    nix::sys::stat::mknod(&node, nix::sys::stat::SFlag::S_IFCHR, mode, device)
        .map_err(std::io::Error::from)?;
    let open = std::fs::OpenOptions::new().write(true).open(&node);
    match open.err().and_then(|error| error.raw_os_error()) {
        Some(1 | 13) => skip("the suite itself may not open device 10:229"),
        _ => Ok(()),
    }
}

fn allowed(case: &mut Case) -> Outcome {
    need_fuse(case)?;
    let rule = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"});
    let seen = open_zero(case, &[rule])?;
    holds(seen != 1, "a later rule allows it", format!("errno {seen}"))
}

fn unified(case: &mut Case) -> Outcome {
    case.need_root("cgroups")?;
    case.own_cgroup();
    let (good, bad) = (json!({"cgroup.max.descendants": "7"}), json!({"nonsense.max": "1"}));
    case.refuses_but("/linux/resources/unified", good, bad)
}
