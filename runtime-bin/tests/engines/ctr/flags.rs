//! More options of `ctr`: where the cgroup is, devices, files, the root's propagation, checkpoints.

use std::fs;
use std::time::Duration;

use super::Containerd;
use crate::support::{
    Outcome, Stop, Table, cgroup_value, eventually, has, same, seccomp_is_on, status_field, that,
};

pub(super) const CHECKS: &Table<Containerd> = &[
    ("run: --cgroup", cgroup),
    ("run: --cpus", cpus),
    ("run: --device", device),
    ("run: --env-file, --label, --annotation", labels),
    ("run: --pid-file, --log-uri", files),
    ("run: --config, a file of the user's own", own_config),
    ("run: --rootfs-propagation", propagation),
    ("run: --seccomp-profile", seccomp_profile),
    ("run: --cap-add for another user's exec", exec_capabilities),
    ("task checkpoint: made, or CRIU's own reason", checkpoint),
];

/// Options that `ctr` has for the runc shim alone.
pub(super) const RUNC_CHECKS: &Table<Containerd> =
    &[("run: --runc-root", own_root), ("run: --no-pivot", no_pivot)];

fn cgroup(containerd: &Containerd) -> Outcome {
    let path = format!("/{}/upper/lower", containerd.tag);
    let task = containerd.sleeper(&["--cgroup", &path])?;
    let table = fs::read_to_string(format!("/proc/{}/cgroup", task.listed()?.0))?;
    has("cgroup", &table, &format!(":{path}\n"))?;
    drop(task);
    // What was asked for above the container's own stays, as with runc.
    for root in crate::support::hierarchies() {
        crate::support::remove_empty(&root.join(&containerd.tag).join("upper"));
    }
    Ok(())
}

fn cpus(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&["--cpus", "0.5"])?;
    has("quota", &cgroup_value(task.listed()?.0, "cpu", "cpu.cfs_quota_us", "cpu.max")?, "50000")
}

fn device(containerd: &Containerd) -> Outcome {
    let script = "stat -c '%F %t:%T' /dev/fuse; : < /dev/fuse && echo opened";
    let text = containerd.sh(&["--device", "/dev/fuse"], script)?;
    same("device", text, "character special file a:e5\nopened")?;
    containerd.sh(&[], "test ! -e /dev/fuse").map(drop)
}

fn labels(containerd: &Containerd) -> Outcome {
    let file = containerd.host_dir("labels")?.join("env");
    fs::write(&file, "FROM_FILE=a b\n")?;
    let (file, options) = (file.to_string_lossy().into_owned(), ["--label", "color=blue"]);
    let options = [&options[..], &["--annotation", "org.example=yes", "--env-file", &file]].concat();
    let task = containerd.sleeper(&options)?;
    same("environment", task.sh("echo $FROM_FILE")?, "a b")?;
    let info = containerd.ctr(&["container", "info", &task.id])?.ok()?;
    has("label", &info, "\"color\": \"blue\"")?;
    has("annotation", &info, "\"org.example\": \"yes\"")
}

fn files(containerd: &Containerd) -> Outcome {
    let dir = containerd.host_dir("files")?;
    let (pid, log) = (dir.join("pid"), format!("file://{}", dir.join("log").display()));
    let options = ["--pid-file", &pid.to_string_lossy(), "--log-uri", &log];
    let task = containerd.background(&options, &["sh", "-c", "echo out; echo err >&2; exec sleep 1000"])?;
    same("pid file", fs::read_to_string(&pid)?, task.listed()?.0.to_string())?;
    eventually(Duration::from_secs(10), || {
        let text = fs::read_to_string(dir.join("log"))?;
        has("stdout", &text, "out\n")?;
        has("stderr", &text, "err\n")
    })
}

/// A configuration that no engine had a hand in: that of `spec`, with another program.
fn own_config(containerd: &Containerd) -> Outcome {
    let dir = containerd.host_dir("config")?;
    crate::support::Cmd::new(&containerd.runtime).args(["spec", "--bundle"]).arg(&dir).run()?.ok()?;
    let path = dir.join("config.json");
    let error = |error: serde_json::Error| Stop::from(error.to_string());
    let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path)?).map_err(error)?;
    config["process"]["terminal"] = serde_json::json!(false);
    config["process"]["args"] = serde_json::json!(["/bin/sh", "-c", "hostname; id -u; exit 6"]);
    config["hostname"] = serde_json::json!("box");
    config["root"] = serde_json::json!({"path": containerd.dir.join("rootfs")});
    config["linux"]["cgroupsPath"] = serde_json::json!(format!("/{}/own", containerd.tag));
    fs::write(&path, config.to_string())?;
    let id = containerd.new_id();
    let run = containerd.client().args(["run", "--rm"]).args(containerd.runtime()).arg("--config").arg(&path);
    same("output", run.arg(id).run()?.code(6)?, "box\n0")
}

fn own_root(containerd: &Containerd) -> Outcome {
    let root = containerd.host_dir("runc-root")?;
    let task = containerd.sleeper(&["--runc-root", &root.to_string_lossy()])?;
    let state = root.join(&containerd.tag);
    let list = || {
        let list = crate::support::Cmd::new(&containerd.runtime).arg("--root").arg(&state);
        list.args(["list", "-q"]).run()?.ok()
    };
    same("the runtime's list", list()?, &*task.id)?;
    drop(task);
    same("after it", list()?, "")
}

fn no_pivot(containerd: &Containerd) -> Outcome {
    let script = "pwd; test ! -e /proc/1/root/etc/debian_version && touch /made && ls /made";
    same("output", containerd.sh(&["--no-pivot"], script)?, "/\n/made")
}

fn propagation(containerd: &Containerd) -> Outcome {
    let field = |options: &[&str]| {
        containerd
            .sh(options, "grep ' / / ' /proc/self/mountinfo | grep -oE 'shared:|master:' | sort -u; true")
    };
    has("shared", &field(&["--rootfs-propagation", "shared"])?, "shared:")?;
    that("private by default", !field(&[])?.contains("shared:"))
}

fn seccomp_profile(containerd: &Containerd) -> Outcome {
    if !seccomp_is_on() {
        return Err(Stop::Skipped("ENGINE_SECCOMP=unconfined".to_owned()));
    }
    let profile = containerd.host_dir("seccomp")?.join("profile.json");
    let rule = serde_json::json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"});
    let text = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    fs::write(&profile, text.to_string())?;
    let options = ["--seccomp", "--seccomp-profile", &profile.to_string_lossy()];
    let text = containerd.sh(&options, "touch /file && ! mkdir /a 2>/dev/null && cat /proc/self/status")?;
    same("Seccomp", status_field(&text, "Seccomp")?, "2")
}

fn exec_capabilities(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&["--cap-add", "CAP_NET_ADMIN"])?;
    let text = task.sh("cat /proc/self/status")?;
    same("root's exec", status_field(&text, "CapEff")?, "00000000a80435fb")?;
    let text = task.exec(&["--user", "1234"], &["cat", "/proc/self/status"])?.ok()?;
    same("bounding set", status_field(&text, "CapBnd")?, "00000000a80435fb")?;
    same("effective", status_field(&text, "CapEff")?, "0000000000000000")
}

/// Debian's CRIU does not know every kernel: then its own words must come through, and the task lives on.
fn checkpoint(containerd: &Containerd) -> Outcome {
    let dir = containerd.host_dir("checkpoint")?;
    let (image, work) = (dir.join("image"), dir.join("work"));
    // CRIU interrupts one call of `sleep`, which some versions of it take for its end.
    let task = containerd.background(&["--net-host"], &["sh", "-c", "while sleep 1000; do :; done"])?;
    let args =
        ["checkpoint", "--image-path", &image.to_string_lossy(), "--work-path", &work.to_string_lossy()];
    let output = task.task(&args)?;
    same("the task", task.status()?, "RUNNING")?;
    same("it runs", task.sh("cat /proc/1/comm")?, "sh")?;
    if output.code == 0 {
        return that("there is an image", image.join("inventory.img").exists());
    }
    has("the reason", &output.stderr, "criu failed")
}
