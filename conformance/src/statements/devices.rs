//! config-linux.md: devices and default devices; runtime-linux.md: links in /dev.

use super::{Statement, must, should};
use crate::case::Case;
use crate::verdict::{Outcome, holds, same};
use serde_json::json;

const DEVICES: &str = "config-linux.md#devices";
const DEFAULT: &str = "config-linux.md#default-devices";
const LINKS: &str = "runtime-linux.md#dev-symbolic-links";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("dev-null", DEFAULT, "/dev/null is 1:3", |case| device(case, "/dev/null", 1, 3)),
    must("dev-zero", DEFAULT, "/dev/zero is 1:5", |case| device(case, "/dev/zero", 1, 5)),
    must("dev-full", DEFAULT, "/dev/full is 1:7", |case| device(case, "/dev/full", 1, 7)),
    must("dev-random", DEFAULT, "/dev/random is 1:8", |case| device(case, "/dev/random", 1, 8)),
    must("dev-urandom", DEFAULT, "/dev/urandom is 1:9", |case| device(case, "/dev/urandom", 1, 9)),
    must("dev-tty", DEFAULT, "/dev/tty is 5:0", |case| device(case, "/dev/tty", 5, 0)),
    must("dev-ptmx", DEFAULT, "/dev/ptmx is that of /dev/pts", ptmx),
    must("dev-fd", LINKS, "/dev/fd links to /proc/self/fd", |case| link(case, "/dev/fd", "/proc/self/fd")),
    must("dev-stdin", LINKS, "/dev/stdin links to descriptor 0", |case| {
        link(case, "/dev/stdin", "/proc/self/fd/0")
    }),
    must("dev-stdout", LINKS, "/dev/stdout links to descriptor 1", |case| {
        link(case, "/dev/stdout", "/proc/self/fd/1")
    }),
    must("dev-stderr", LINKS, "/dev/stderr links to descriptor 2", |case| {
        link(case, "/dev/stderr", "/proc/self/fd/2")
    }),
    must("dev-node", DEVICES, "a listed device is made with type, number, mode and owner", node),
    must("dev-fifo", DEVICES, "a listed fifo is made", fifo),
    must("dev-mismatch", DEVICES, "another file at the path of a device is an error", mismatch),
    should("fs-proc", "config-linux.md#default-filesystems", "proc is available at /proc", proc_available),
];

fn device(case: &mut Case, path: &str, major: u64, minor: u64) -> Outcome {
    let seen = case.answer(&format!("stat:{path}"))?;
    let right = seen["type"] == "c" && seen["major"] == major && seen["minor"] == minor;
    holds(right, &format!("{path} is character device {major}:{minor}"), seen.to_string())
}

fn link(case: &mut Case, path: &str, target: &str) -> Outcome {
    same(path, &json!(target), &case.answer(&format!("link:{path}"))?["text"])
}

fn ptmx(case: &mut Case) -> Outcome {
    case.push(
        "/mounts",
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["newinstance", "ptmxmode=0666", "mode=0620"]}),
    );
    case.ask("stat:/dev/ptmx");
    case.ask("stat:/dev/pts/ptmx");
    let answers = case.report()?["answers"].clone();
    same("inode of /dev/ptmx", &answers["stat:/dev/pts/ptmx"]["inode"], &answers["stat:/dev/ptmx"]["inode"])?;
    same("type", &json!("c"), &answers["stat:/dev/ptmx"]["type"])
}

fn node(case: &mut Case) -> Outcome {
    case.need_root("device nodes")?;
    case.set(
        "/linux/devices",
        json!([{"path": "/dev/suite", "type": "c", "major": 1, "minor": 3,
        "fileMode": 0o640, "uid": 11, "gid": 12}]),
    );
    let seen = case.answer("stat:/dev/suite")?;
    let wanted = json!({"type": "c", "major": 1, "minor": 3, "mode": 0o640, "uid": 11, "gid": 12,
        "inode": seen["inode"], "filesystem": seen["filesystem"]});
    same("/dev/suite", &wanted, &seen)
}

fn fifo(case: &mut Case) -> Outcome {
    case.need_root("device nodes")?;
    case.set("/linux/devices", json!([{"path": "/dev/pipe", "type": "p", "fileMode": 0o600}]));
    same("type of /dev/pipe", &json!("p"), &case.answer("stat:/dev/pipe")?["type"])
}

fn mismatch(case: &mut Case) -> Outcome {
    case.need_root("device nodes")?;
    std::fs::write(case.rootfs().join("etc/device"), "a file")?;
    case.set("/linux/devices", json!([{"path": "/etc/device", "type": "c", "major": 1, "minor": 3}]));
    case.refuses()
}

fn proc_available(case: &mut Case) -> Outcome {
    let seen = case.report()?["mountinfo"].to_string();
    holds(seen.contains(" /proc ") && seen.contains(" - proc "), "a proc at /proc", seen)
}
