//! config-linux.md: the fields of resources that `cgroups` leaves, and the ownership of cgroups.

use super::cgroups::{DEVICES, PATH, limit};
use super::{Statement, may_not, must, should, untestable};
use crate::case::Case;
use crate::cgroup;
use crate::verdict::{Outcome, Stop, holds, same, skip};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

const MEMORY: &str = "config-linux.md#memory";
const CPU: &str = "config-linux.md#cpu";
const BLOCK: &str = "config-linux.md#block-io";
const OWNER: &str = "config-linux.md#cgroup-ownership";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("cgroup-path-relative", PATH, "a relative cgroupsPath works or is an error", relative),
    must("cgroup-path-same", PATH, "the same cgroupsPath is the same place each time", consistent),
    should("cgroup-pids-unlimited", "config-linux.md#pids", "-1 is no limit", |case| {
        value(case, "pids", json!({"pids": {"limit": -1}}), ["pids.max", "pids.max"], ["max", "max"])
    }),
    should("cgroup-pids-zero", "config-linux.md#pids", "0 is a limit, not none", pids_zero),
    must("cgroup-memory-reservation", MEMORY, "the soft limit of memory is written", |case| {
        let files = ["memory.soft_limit_in_bytes", "memory.low"];
        let (_, low) = limit(case, "memory", json!({"memory": {"reservation": 33_554_432}}), files)?;
        let high = file_of(case, "memory", "memory.high");
        holds([low.as_str(), high.as_str()].contains(&"33554432"), "33554432", format!("{low}; high {high}"))
    }),
    must("cgroup-memory-swap", MEMORY, "the limit of memory and swap is written", |case| {
        let resources = json!({"memory": {"limit": 67_108_864, "swap": 134_217_728}});
        let files = ["memory.memsw.limit_in_bytes", "memory.swap.max"];
        value(case, "memory", resources, files, ["134217728", "67108864"])
    }),
    must("cgroup-memory-swappiness", MEMORY, "swappiness is written", |case| {
        value(case, "memory", json!({"memory": {"swappiness": 7}}), ["memory.swappiness", ""], ["7", ""])
    }),
    must("cgroup-memory-oom", MEMORY, "disableOOMKiller is written", |case| {
        let resources = json!({"memory": {"limit": 67_108_864, "disableOOMKiller": true}});
        let (_, text) = limit(case, "memory", resources, ["memory.oom_control", ""])?;
        holds(text.contains("oom_kill_disable 1"), "oom_kill_disable 1", text)
    }),
    must("cgroup-cpu-period", CPU, "the period of the quota is written", |case| {
        let resources = json!({"cpu": {"quota": 30_000, "period": 60_000}});
        value(case, "cpu", resources, ["cpu.cfs_period_us", "cpu.max"], ["60000", "30000 60000"])
    }),
    must("cgroup-cpu-burst", CPU, "the burst of the quota is written", |case| {
        let resources = json!({"cpu": {"quota": 50_000, "period": 100_000, "burst": 20_000}});
        value(case, "cpu", resources, ["cpu.cfs_burst_us", "cpu.max.burst"], ["20000", "20000"])
    }),
    must("cgroup-cpu-idle", CPU, "idle is written", |case| {
        value(case, "cpu", json!({"cpu": {"idle": 1}}), ["cpu.idle", "cpu.idle"], ["1", "1"])
    }),
    must("cgroup-cpu-realtime", CPU, "the realtime of the processor is written, or refused", realtime),
    must("cgroup-cpu-mems", CPU, "the set of memory nodes is written", |case| {
        value(case, "cpuset", json!({"cpu": {"mems": "0"}}), ["cpuset.mems", "cpuset.mems"], ["0", "0"])
    }),
    must(
        "cgroup-hugepages",
        "config-linux.md#huge-page-limits",
        "the limit of huge pages is written",
        |case| {
            let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]});
            let files = ["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"];
            let (_, used) = limit(case, "hugetlb", resources, files)?;
            let reserved = ["hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max"]
                .map(|file| file_of(case, "hugetlb", file))
                .concat();
            let right = used == "4194304" || reserved == "4194304";
            holds(right, "4194304, of reservations or of use", format!("{used}; reserved {reserved}"))
        },
    ),
    must(
        "cgroup-unified-written",
        "config-linux.md#unified",
        "a file of the unified hierarchy is written",
        unified,
    ),
    must("cgroup-block-read-bps", BLOCK, "the rate of bytes read is written", |case| {
        throttle(case, "throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps")
    }),
    must("cgroup-block-write-bps", BLOCK, "the rate of bytes written is written", |case| {
        throttle(case, "throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps")
    }),
    must("cgroup-block-read-iops", BLOCK, "the rate of reads is written", |case| {
        throttle(case, "throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops")
    }),
    must("cgroup-block-write-iops", BLOCK, "the rate of writes is written", |case| {
        throttle(case, "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops")
    }),
    must("cgroup-block-weight", BLOCK, "the weight of block devices is written", |case| {
        if cgroup::lacks(&case.id, "blkio", &["blkio.weight", "blkio.bfq.weight"])? {
            return skip("the kernel's I/O schedulers have no weights");
        }
        let files = ["blkio.bfq.weight", "io.bfq.weight"];
        let (_, text) = limit(case, "blkio", json!({"blockIO": {"weight": 321}}), files)?;
        holds(text.contains("321"), "weight 321", text)
    }),
    must("cgroup-net-class", "config-linux.md#network", "the class of network packets is written", |case| {
        value(
            case,
            "net_cls",
            json!({"network": {"classID": 1_048_577}}),
            ["net_cls.classid", ""],
            ["1048577", ""],
        )
    }),
    must(
        "cgroup-net-priority",
        "config-linux.md#network",
        "the priority of an interface is written",
        |case| {
            let resources = json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}});
            let (_, text) = limit(case, "net_prio", resources, ["net_prio.ifpriomap", ""])?;
            holds(text.lines().any(|line| line == "lo 5"), "lo 5", text)
        },
    ),
    may_not(
        "cgroup-devices-unlisted",
        "config-linux.md#devices",
        "a device that is not listed cannot be opened",
        unlisted,
    ),
    must("cgroup-devices-read", DEVICES, "access r does not allow writing", read_only),
    should(
        "cgroup-owner",
        OWNER,
        "where the owner of the cgroup changes, that of the files to delegate changes too",
        owner,
    ),
    should(
        "cgroup-owner-files",
        OWNER,
        "where the owner of the cgroup changes, that of its other files stays",
        owner_files,
    ),
    should("cgroup-owner-namespace", OWNER, "without a new cgroup namespace the owner stays", |case| {
        owner_stays(case, false, json!([]))
    }),
    should("cgroup-owner-readonly", OWNER, "with a read-only cgroup mount the owner stays", |case| {
        owner_stays(case, true, json!(["ro"]))
    }),
    should("cgroup-owner-unmounted", OWNER, "without a cgroup mount the owner stays", |case| {
        owner_stays(case, true, json!(null))
    }),
    should("cgroup-owner-v1", OWNER, "the owner of a cgroup of version 1 stays", owner_v1),
    must(
        "cgroup-check",
        "config-linux.md#control-groups",
        "a cgroup that the runtime finds unfit is an error without effect",
        unfit,
    ),
    untestable(
        "cgroup-unified-convert",
        "config-linux.md#example",
        "what cannot be converted to version 2 is an error",
        "which values can be converted is each runtime's own choice",
    ),
    untestable(
        "cgroup-owner-fallback",
        OWNER,
        "without /sys/kernel/cgroup/delegate a fixed list of files is used",
        "every kernel that runtimes support has the file, and it cannot be hidden from a runtime",
    ),
    untestable(
        "cgroup-memory-check",
        MEMORY,
        "a new limit below the current usage is rejected with checkBeforeUpdate",
        "concerns an update of limits, which is no operation of the specification",
    ),
];

fn value(
    case: &mut Case,
    controller: &str,
    resources: Value,
    files: [&str; 2],
    wanted: [&str; 2],
) -> Outcome {
    let (old, seen) = limit(case, controller, resources, files)?;
    let which = usize::from(!old);
    same(files[which], &json!(wanted[which]), &json!(seen))
}

/// The text of another file of the container's cgroup; empty if there is none.
fn file_of(case: &Case, controller: &str, file: &str) -> String {
    let directory = case.pid().and_then(|pid| cgroup::directory(pid, controller));
    let text = directory.and_then(|directory| std::fs::read_to_string(directory.join(file)).ok());
    text.unwrap_or_default().trim().to_owned()
}

fn cgroups_of(case: &Case) -> Vec<PathBuf> {
    case.pid().map(cgroup::all).unwrap_or_default()
}

/// Where a runtime puts it is its own choice, but not the cgroup of its caller.
fn relative(case: &mut Case) -> Outcome {
    case.need_root("cgroups")?;
    case.need_no_systemd("systemd has scopes, not paths")?;
    let name = format!("{}.chosen", case.id);
    case.set("/linux/cgroupsPath", json!(name));
    case.ask("wait");
    let create = case.create()?;
    if create.refused() {
        return Ok(create.describe());
    }
    let seen = cgroups_of(case);
    holds(seen.iter().any(|path| path.ends_with(&name)), &format!("a cgroup {name}"), format!("{seen:?}"))
}

fn consistent(case: &mut Case) -> Outcome {
    case.need_root("cgroups")?;
    case.need_no_systemd("systemd has scopes, not paths")?;
    case.set("/linux/cgroupsPath", json!(format!("/{}.chosen", case.id)));
    case.created()?;
    let first = cgroups_of(case);
    crate::case::must(case.raw(&["delete", "--force", &case.id])?)?;
    case.created()?;
    let second = cgroups_of(case);
    same("cgroups of the second container", &json!(first), &json!(second))?;
    holds(!first.is_empty(), "a cgroup", format!("{first:?}"))
}

fn pids_zero(case: &mut Case) -> Outcome {
    let (_, seen) = limit(case, "pids", json!({"pids": {"limit": 0}}), ["pids.max", "pids.max"])?;
    // The init process is counted, so 1 allows no other either.
    holds(["0", "1"].contains(&seen.as_str()), "0, or its equivalent 1", seen)
}

fn unified(case: &mut Case) -> Outcome {
    let resources = json!({"unified": {"cgroup.max.descendants": "7"}});
    case.need_root("cgroups")?;
    if std::fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_err() {
        return skip("cgroup version 2 is not the only one here");
    }
    case.own_cgroup();
    case.set("/linux/resources", resources);
    case.ask("wait");
    case.report()?;
    let text =
        cgroups_of(case).first().map(|path| std::fs::read_to_string(path.join("cgroup.max.descendants")));
    same("cgroup.max.descendants", &json!("7"), &json!(text.transpose()?.unwrap_or_default().trim()))
}

/// No file of version 2 has it, nor of most kernels for version 1: what cannot be applied is an error.
fn realtime(case: &mut Case) -> Outcome {
    let resources = json!({"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 1_000_000}});
    let own = cgroup::directory(nix::unistd::getpid(), "cpu");
    if own.is_some_and(|directory| !directory.join("cpu.rt_runtime_us").exists()) {
        case.need_root("cgroups")?;
        case.own_cgroup();
        case.set("/linux/resources", resources);
        return case.refuses();
    }
    value(case, "cpu", resources, ["cpu.rt_runtime_us", ""], ["1000", ""])
}

/// The numbers of the first whole block device of the machine.
pub(super) fn block_device() -> Result<[i64; 2], Stop> {
    for entry in std::fs::read_dir("/sys/block")?.flatten() {
        let text = std::fs::read_to_string(entry.path().join("dev")).unwrap_or_default();
        let numbers = text.trim().split_once(':').map(|(major, minor)| (major.parse(), minor.parse()));
        if let Some((Ok(major), Ok(minor))) = numbers {
            return Ok([major, minor]);
        }
    }
    skip("no block device here")
}

fn throttle(case: &mut Case, list: &str, file: &str, key: &str) -> Outcome {
    let numbers = block_device()?;
    let device = format!("{}:{}", numbers[0], numbers[1]);
    let entry = json!([{"major": numbers[0], "minor": numbers[1], "rate": 1_234_567}]);
    let resources = json!({"blockIO": {list: entry}});
    let (old, text) = match limit(case, "blkio", resources.clone(), [file, ""]) {
        Err(Stop::Skip(_)) => limit(case, "io", resources, ["", "io.max"])?,
        other => other?,
    };
    let wanted = if old { format!("{device} 1234567") } else { format!("{key}=1234567") };
    holds(text.contains(&wanted), &wanted, text)
}

/// A node of the host, bound into the container: the list of devices does not have it.
fn unlisted(case: &mut Case) -> Outcome {
    case.need_root("device nodes")?;
    case.own_cgroup();
    let node = case.share().join("node");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    let device = nix::sys::stat::makedev(10, 229);
    nix::sys::stat::mknod(&node, nix::sys::stat::SFlag::S_IFCHR, mode, device)
        .map_err(std::io::Error::from)?;
    case.bind_share(json!(["bind", "dev"]));
    let seen = case.answer("write:/out/node")?;
    same("errno of open (EPERM is 1)", &json!(1), &seen["errno"])
}

fn rules(case: &mut Case, access: &str) -> Result<(), Stop> {
    case.need_root("device rules")?;
    case.own_cgroup();
    case.set(
        "/linux/resources/devices",
        json!([{"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": access}]),
    );
    Ok(())
}

/// fuse (10:229) is none of the default devices.
fn read_only(case: &mut Case) -> Outcome {
    super::cgroups::need_fuse(case)?;
    rules(case, "r")?;
    let device = json!([{"path": "/dev/suite", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}]);
    case.set("/linux/devices", device);
    case.ask("open:/dev/suite");
    case.ask("write:/dev/suite");
    let answers = case.report()?["answers"].clone();
    same("errno of open for writing (EPERM is 1)", &json!(1), &answers["write:/dev/suite"]["errno"])?;
    let read = &answers["open:/dev/suite"]["errno"];
    holds(*read != 1, "open for reading is allowed", format!("errno {read}"))
}

/// A container in a user namespace, in a cgroup of its own; the directories of version 2 or 1.
fn owned(case: &mut Case, namespace: bool, options: Value, unified: bool) -> Result<Vec<PathBuf>, Stop> {
    case.need_root("ownership of cgroups")?;
    super::namespaces::with_user(case);
    case.own_cgroup();
    if namespace {
        case.push("/linux/namespaces", json!({"type": "cgroup"}));
    }
    if !options.is_null() {
        case.push("/mounts", json!({"destination": "/sys", "type": "tmpfs", "source": "tmpfs"}));
        case.push(
            "/mounts",
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options}),
        );
    }
    case.ask("wait");
    case.report()?;
    let mut found = cgroups_of(case);
    let name = case.own_place();
    found.retain(|path| path.ends_with(&name) && path.join("cgroup.controllers").exists() == unified);
    match found.is_empty() {
        true => skip(format!("no cgroup of version {} here", if unified { 2 } else { 1 })),
        false => Ok(found),
    }
}

fn alone() -> Result<(), Stop> {
    match std::fs::metadata("/sys/fs/cgroup/cgroup.controllers") {
        Ok(_) => Ok(()),
        Err(_) => skip("cgroup version 2 is not the only one here"),
    }
}

/// The cgroup of a container that may have another owner, and the names of the files that go with it.
/// Whether a runtime changes owners is its choice: one that does not is not judged.
fn given(case: &mut Case) -> Result<(PathBuf, Vec<String>), Stop> {
    alone()?;
    let path = owned(case, true, json!([]), true)?.remove(0);
    let uid = std::fs::metadata(&path)?.uid();
    if uid == 0 {
        return skip("the runtime does not change the owner, which is a MAY");
    }
    same("owner of the cgroup", &json!(100_000), &json!(uid))?;
    let list = std::fs::read_to_string("/sys/kernel/cgroup/delegate")?;
    Ok((path, list.lines().map(str::to_owned).collect()))
}

fn owner(case: &mut Case) -> Outcome {
    let (path, names) = given(case)?;
    for name in names.iter().filter(|name| path.join(name).exists()) {
        same(
            &format!("owner of {name}"),
            &json!(100_000),
            &json!(std::fs::metadata(path.join(name))?.uid()),
        )?;
    }
    Ok(format!("{} and its files to delegate", path.display()))
}

fn owner_files(case: &mut Case) -> Outcome {
    let (path, names) = given(case)?;
    for entry in std::fs::read_dir(&path)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !names.contains(&name) {
            same(&format!("owner of {name}"), &json!(0), &json!(entry.metadata()?.uid()))?;
        }
    }
    Ok("the others are root's".into())
}

fn owner_stays(case: &mut Case, namespace: bool, options: Value) -> Outcome {
    let path = owned(case, namespace, options, true)?.remove(0);
    same("owner of the cgroup", &json!(0), &json!(std::fs::metadata(&path)?.uid()))
}

fn owner_v1(case: &mut Case) -> Outcome {
    for path in owned(case, true, json!([]), false)? {
        same(&format!("owner of {}", path.display()), &json!(0), &json!(std::fs::metadata(&path)?.uid()))?;
    }
    Ok("all are root's".into())
}

/// Whether a runtime looks is its choice: a cgroup with somebody in it is taken or refused, and who was
/// there stays there.
fn unfit(case: &mut Case) -> Outcome {
    case.need_root("cgroups")?;
    case.own_cgroup();
    case.ask("wait");
    case.report()?;
    let other = format!("{}-b", case.id);
    let bundle = case.bundle().display().to_string();
    let second = case.raw(&["create", "--bundle", &bundle, &other])?;
    let refused = second.refused();
    // The second container ends before the verdict; with it the first may have been frozen or ended.
    if !refused {
        let end = case.raw(&["delete", "--force", &other])?;
        return holds(end.ok(), "the second container ends", format!("accepted: {}", second.describe()));
    }
    same("status of the first container", &json!("running"), &case.state()?["status"])?;
    Ok(second.describe())
}
