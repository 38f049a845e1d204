//! config.md and config-linux.md: terminal, scheduling, memory policy and what else a process is
//! born with.

use super::{Statement, must, should, untestable};
use crate::case::{Case, must as succeed};
use crate::socket::Listener;
use crate::verdict::{Outcome, Stop, fail, holds, same, skip};
use serde_json::{Value, json};

const PROCESS: &str = "config.md#process";
const RLIMITS: &str = "config.md#posix-process";
const LINUX: &str = "config.md#linux-process";
const TIME: &str = "config-linux.md#offset-for-time-namespace";
const PROPAGATION: &str = "config-linux.md#rootfs-mount-propagation";
const FILESYSTEMS: &str = "config-linux.md#default-filesystems";
const DEVICES: &str = "config-linux.md#devices";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must(
        "process-terminal",
        PROCESS,
        "with terminal the program has a terminal, whose other end comes to the caller",
        |case| {
            let report = on_terminal(case)?;
            holds(report["size"].is_array(), "a terminal", report.to_string())
        },
    ),
    must(
        "process-terminal-streams",
        PROCESS,
        "with terminal all three standard streams are the terminal",
        |case| {
            let report = on_terminal(case)?;
            let streams = report["streams"].as_array().cloned().unwrap_or_default();
            let all = streams.len() == 3 && streams.iter().all(Value::is_array);
            holds(all, "three terminals", report.to_string())
        },
    ),
    must("process-terminal-size", PROCESS, "consoleSize is the size of the terminal", |case| {
        case.set("/process/consoleSize", json!({"height": 11, "width": 22}));
        same("rows and columns", &json!([11, 22]), &on_terminal(case)?["size"])
    }),
    must("dev-console", "config-linux.md#default-devices", "with terminal there is /dev/console", |case| {
        same("type of /dev/console", &json!("c"), &on_terminal(case)?["console"])
    }),
    must("rlimit-every-type", RLIMITS, "every type of limit is one of the kernel's", every_limit),
    must("personality-linux", "config-linux.md#personality", "LINUX is applied", |case| {
        case.set("/linux/personality", json!({"domain": "LINUX"}));
        same("personality", &json!("00000000"), &case.report()?["personality"])
    }),
    must("time-offset-monotonic", TIME, "the monotonic clock has its offset", |case| {
        offset(case, "monotonic", json!({"monotonic": {"secs": 4000, "nanosecs": 0}}), ["4000", "0"])
    }),
    must("time-offset-nanoseconds", TIME, "an offset has nanoseconds", |case| {
        offset(case, "boottime", json!({"boottime": {"secs": 10, "nanosecs": 500}}), ["10", "500"])
    }),
    must("time-offset-negative", TIME, "a clock may be set back", |case| {
        offset(case, "boottime", json!({"boottime": {"secs": -1, "nanosecs": 0}}), ["-1", "0"])
    }),
    must(
        "user-gid-mappings",
        "config-linux.md#user-namespace-mappings",
        "group ids are mapped as configured",
        gid_map,
    ),
    should(
        "user-rootfs-owner",
        "config-linux.md#user-namespace-mappings",
        "the owners of the root's files are left alone",
        rootfs_owner,
    ),
    must("propagation-slave", PROPAGATION, "slave makes the root a slave of the host", slave),
    must("propagation-private", PROPAGATION, "private makes the root private", private),
    must("fs-sysfs", FILESYSTEMS, "a sysfs is made", |case| {
        filesystem(case, json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}), "sysfs")
    }),
    must("fs-devpts", FILESYSTEMS, "a devpts is made", |case| {
        filesystem(
            case,
            json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["newinstance", "ptmxmode=0666"]}),
            "devpts",
        )
    }),
    must("fs-shm", FILESYSTEMS, "a tmpfs at /dev/shm is made", |case| {
        filesystem(
            case,
            json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "size=65536k"]}),
            "tmpfs",
        )
    }),
    must("fs-mqueue", FILESYSTEMS, "a mqueue is made", |case| {
        filesystem(
            case,
            json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"}),
            "mqueue",
        )
    }),
    must("dev-block", DEVICES, "a listed block device is made", |case| {
        node(case, json!({"path": "/dev/suite", "type": "b", "major": 7, "minor": 200}), "b", 7, 200)
    }),
    must("dev-unbuffered", DEVICES, "type u is a character device", |case| {
        node(case, json!({"path": "/dev/suite", "type": "u", "major": 1, "minor": 5}), "c", 1, 5)
    }),
    must("dev-deep", DEVICES, "the directories of a device are made", |case| {
        node(case, json!({"path": "/dev/a/b/suite", "type": "c", "major": 1, "minor": 5}), "c", 1, 5)
    }),
    must(
        "dev-mismatch-number",
        DEVICES,
        "a device of another number at the path of a device is an error",
        mismatch,
    ),
    must("root-file", "config.md#root", "a root.path that is no directory is an error", |case| {
        case.set("/root/path", json!("rootfs/probe"));
        case.refuses()
    }),
    must("root-absolute", "config.md#root", "an absolute root path is taken as it is", |case| {
        let path = case.rootfs();
        case.set("/root/path", json!(path));
        same("program", &json!("/probe"), &case.report()?["args"][0])
    }),
    untestable(
        "cap-warning",
        LINUX,
        "a capability that cannot be granted is logged as a warning",
        "where and how a runtime logs is not defined",
    ),
    untestable(
        "cpu-affinity-initial",
        LINUX,
        "execCPUAffinity.initial is the affinity before the cgroup is joined",
        "the kernel takes the affinity of the cgroup at the next step: nothing is left to see",
    ),
];

/// Runs with a terminal; the size of it and the type of /dev/console, as the program sees them.
fn on_terminal(case: &mut Case) -> Result<Value, Stop> {
    case.set("/process/terminal", json!(true));
    case.bind_share(json!(["bind"]));
    case.push(
        "/mounts",
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["newinstance", "ptmxmode=0666", "mode=0620"]}),
    );
    case.set(
        "/process/args",
        json!(["/probe", "report=/out/report", "tty:0", "tty:1", "tty:2", "stat:/dev/console"]),
    );
    let path = case.share().join("console");
    let listener = Listener::new(&path)?;
    case.write_config()?;
    let bundle = case.bundle().display().to_string();
    let (socket, pid) = (path.display().to_string(), case.pid_file());
    let mut terminal = None;
    let heard = listener.hear(|| {
        succeed(case.raw(&[
            "create",
            "--bundle",
            &bundle,
            "--pid-file",
            &pid,
            "--console-socket",
            &socket,
            &case.id,
        ])?)
    })?;
    if let Some(heard) = heard {
        same("descriptors", &json!(1), &json!(heard.descriptors))?;
        // The terminal's other end stays open while the program runs.
        terminal = Some(heard);
    }
    if terminal.is_none() {
        return fail("the terminal comes over the console socket", "no connection");
    }
    succeed(case.start()?)?;
    case.wait()?;
    let text = std::fs::read_to_string(case.share().join("report"))?;
    let report: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    let answers = &report["answers"];
    let sizes = ["tty:0", "tty:1", "tty:2"].map(|stream| answers[stream]["size"].clone());
    Ok(json!({"size": sizes[0], "streams": sizes, "console": answers["stat:/dev/console"]["type"]}))
}

/// Each type with the limits that the suite has itself: nothing is raised.
fn every_limit(case: &mut Case) -> Outcome {
    const TYPES: [(&str, &str); 16] = [
        ("CPU", "Max cpu time"),
        ("FSIZE", "Max file size"),
        ("DATA", "Max data size"),
        ("STACK", "Max stack size"),
        ("CORE", "Max core file size"),
        ("RSS", "Max resident set"),
        ("NPROC", "Max processes"),
        ("NOFILE", "Max open files"),
        ("MEMLOCK", "Max locked memory"),
        ("AS", "Max address space"),
        ("LOCKS", "Max file locks"),
        ("SIGPENDING", "Max pending signals"),
        ("MSGQUEUE", "Max msgqueue size"),
        ("NICE", "Max nice priority"),
        ("RTPRIO", "Max realtime priority"),
        ("RTTIME", "Max realtime timeout"),
    ];
    let own = std::fs::read_to_string("/proc/self/limits")?;
    let hard = |text: &str, title: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.starts_with(title))?;
        let word = line.get(title.len()..)?.split_whitespace().nth(1)?.to_owned();
        if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() }
    };
    // One less than allowed, where that is enough to run with.
    let wanted = |title: &str| match hard(&own, title) {
        Some(u64::MAX) => 1 << 40,
        Some(limit) => limit.saturating_sub(1),
        None => 0,
    };
    let list = TYPES.iter().map(|(name, title)| {
        json!({"type": format!("RLIMIT_{name}"), "soft": wanted(title), "hard": wanted(title)})
    });
    case.set("/process/rlimits", list.collect());
    let report = case.report()?;
    let seen = report["limits"].as_str().unwrap_or("");
    for (name, title) in TYPES {
        same(&format!("hard RLIMIT_{name}"), &json!(wanted(title)), &json!(hard(seen, title)))?;
    }
    Ok("sixteen types".into())
}

fn offset(case: &mut Case, clock: &str, offsets: Value, wanted: [&str; 2]) -> Outcome {
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        return skip("the kernel has no time namespace");
    }
    case.push("/linux/namespaces", json!({"type": "time"}));
    case.set("/linux/timeOffsets", offsets);
    let seen = case.report()?["timens_offsets"].clone();
    let text = seen.as_str().unwrap_or("");
    let line = text.lines().find(|line| line.starts_with(clock)).unwrap_or("");
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    holds(words == wanted, &format!("{clock} {wanted:?}"), text)
}

fn gid_map(case: &mut Case) -> Outcome {
    super::namespaces::with_user(case);
    if !case.rootless {
        case.set("/linux/gidMappings", json!([{"containerID": 0, "hostID": 200_000, "size": 500}]));
    }
    let map = case.config["linux"]["gidMappings"][0].clone();
    let wanted = format!("{} {} {}", map["containerID"], map["hostID"], map["size"]);
    let seen = case.report()?["gid_map"].clone();
    let words: Vec<&str> = seen.as_str().unwrap_or("").split_whitespace().collect();
    same("gid_map", &json!(wanted), &json!(words.join(" ")))
}

fn rootfs_owner(case: &mut Case) -> Outcome {
    use std::os::unix::fs::MetadataExt;
    super::namespaces::with_user(case);
    let before = std::fs::metadata(case.rootfs().join("etc"))?.uid();
    let seen = case.answer("stat:/etc")?;
    let after = std::fs::metadata(case.rootfs().join("etc"))?.uid();
    same("owner of etc on the host", &json!(before), &json!(after))?;
    Ok(format!("the same on the host, {} inside", seen["uid"]))
}

fn root_tags(case: &mut Case, value: &str) -> Result<String, Stop> {
    case.need_root("the bundle's mount is the host's")?;
    if !crate::suite::is_private()? {
        return skip("the suite has no shared mount of its own");
    }
    case.set("/linux/rootfsPropagation", json!(value));
    Ok(super::mounts::mount_line(&case.report()?, "/")?.1)
}

/// The bundles are on a shared mount, so that a slave has a master.
fn slave(case: &mut Case) -> Outcome {
    let tags = root_tags(case, "slave")?;
    // A peer group of its own beside the master sends nothing to the host.
    let group = |tags: &str, word: &str| {
        let tag = tags.split(' ').find_map(|tag| tag.strip_prefix(word).map(str::to_owned));
        tag.unwrap_or_default()
    };
    let (master, own) = (group(&tags, "master:"), group(&tags, "shared:"));
    holds(!master.is_empty() && master != own, "a slave", format!("tags `{tags}`"))
}

fn private(case: &mut Case) -> Outcome {
    let tags = root_tags(case, "private")?;
    holds(!tags.contains("shared:") && !tags.contains("master:"), "a private root", format!("tags `{tags}`"))
}

fn filesystem(case: &mut Case, mount: Value, kind: &str) -> Outcome {
    if kind == "sysfs" {
        // Only the owner of a network namespace may mount its sysfs.
        case.push("/linux/namespaces", json!({"type": "network"}));
    }
    let place = mount["destination"].as_str().unwrap_or("").to_owned();
    case.push("/mounts", mount);
    let (_, _, tail) = super::mounts::mount_line(&case.report()?, &place)?;
    holds(tail.starts_with(&format!("{kind} ")), &format!("a {kind} at {place}"), tail)
}

fn node(case: &mut Case, device: Value, kind: &str, major: u64, minor: u64) -> Outcome {
    case.need_root("device nodes")?;
    let path = device["path"].as_str().unwrap_or("").to_owned();
    case.set("/linux/devices", json!([device]));
    let seen = case.answer(&format!("stat:{path}"))?;
    let right = seen["type"] == kind && seen["major"] == major && seen["minor"] == minor;
    holds(right, &format!("{path} is {kind} {major}:{minor}"), seen.to_string())
}

/// In the root file system, where the runtime has made nothing itself.
fn mismatch(case: &mut Case) -> Outcome {
    case.need_root("device nodes")?;
    let device = nix::sys::stat::makedev(1, 5);
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    nix::sys::stat::mknod(&case.rootfs().join("etc/node"), nix::sys::stat::SFlag::S_IFCHR, mode, device)
        .map_err(std::io::Error::from)?;
    case.set("/linux/devices", json!([{"path": "/etc/node", "type": "c", "major": 1, "minor": 3}]));
    case.refuses()
}
