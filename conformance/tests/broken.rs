//! The suite proves itself: a runtime that ignores a property is caught by the property's check.

mod support;

use conformance::{Options, Verdict, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A fault of `broken-runtime`, and the statements that must catch it.
const FAULTS: &[(&str, &[&str])] = &[
    ("drop  hostname", &["hostname"]),
    ("drop  domainname", &["domainname"]),
    ("drop  hooks", &["hooks-order", "hook-createruntime-failure"]),
    ("drop  annotations", &["state-annotations"]),
    ("drop /root readonly", &["root-readonly"]),
    ("drop /process rlimits", &["rlimit-soft", "rlimit-hard", "rlimit-unknown"]),
    ("drop /process capabilities", &["cap-bounding", "cap-effective", "cap-ambient"]),
    ("drop /process env", &["process-env"]),
    ("drop /process noNewPrivileges", &["no-new-privileges"]),
    ("drop /process oomScoreAdj", &["oom-set"]),
    ("drop /process scheduler", &["scheduler-policy"]),
    ("drop /process ioPriority", &["io-priority"]),
    ("drop /process/user umask", &["user-umask"]),
    ("drop /process/user additionalGids", &["user-additional-gids"]),
    ("set /process/user/uid 0", &["user-uid"]),
    ("set /process/user/gid 0", &["user-gid"]),
    ("set /process/cwd \"/\"", &["process-cwd", "process-cwd-absolute"]),
    ("set /process/args [\"/probe\"]", &["process-args"]),
    ("drop /linux maskedPaths", &["masked-file", "masked-directory"]),
    ("drop /linux readonlyPaths", &["readonly-path"]),
    ("drop /linux sysctl", &["sysctl"]),
    ("drop /linux seccomp", &["seccomp-errno", "seccomp-errno-ret", "seccomp-argument"]),
    ("drop /linux devices", &["dev-node", "dev-fifo"]),
    ("drop /linux cgroupsPath", &["cgroup-path"]),
    ("drop /linux resources", &["cgroup-pids", "cgroup-memory", "cgroup-devices-order"]),
    ("drop /linux personality", &["personality"]),
    ("drop /linux memoryPolicy", &["memory-policy"]),
    ("drop /linux timeOffsets", &["time-offsets"]),
    ("drop /linux rootfsPropagation", &["propagation-shared"]),
    ("drop /mounts/2 options", &["mount-ro", "mount-nosuid", "mount-sync", "mount-data"]),
    ("set /linux/namespaces [{\"type\":\"mount\"}]", &["ns-new-pid", "ns-new-uts", "ns-new-ipc"]),
    (
        "drop /linux netDevices",
        &["net-devices", "net-device-name", "net-device-conflict", "value-net-device"],
    ),
    ("drop /linux uidMappings", &["user-mappings"]),
    ("drop /linux gidMappings", &["user-gid-mappings"]),
    ("drop /process execCPUAffinity", &["cpu-affinity-final"]),
    ("drop /process terminal", &["process-terminal", "dev-console"]),
    ("drop /process consoleSize", &["process-terminal-size"]),
    ("drop /hooks prestart", &["hook-prestart-step", "hook-prestart-state", "hook-prestart-unwinds"]),
    ("drop /hooks createRuntime", &["hook-createruntime-resolve", "hook-createruntime-environment"]),
    ("drop /hooks createContainer", &["hook-createcontainer-step", "hook-createcontainer-pivot"]),
    ("drop /hooks startContainer", &["hook-startcontainer-step", "hook-startcontainer-stops"]),
    ("drop /hooks poststart", &["hook-poststart-step"]),
    ("drop /hooks poststop", &["hook-poststop-step", "hook-prestart-unwinds"]),
    ("drop /linux/resources unified", &["cgroup-unified-missing"]),
    ("drop /linux/resources blockIO", &["cgroup-block-read-bps", "cgroup-block-write-iops"]),
    ("drop /linux/resources cpu", &["cgroup-cpu-period", "value-quota"]),
    ("drop /linux/resources memory", &["cgroup-memory-reservation"]),
    ("drop /linux/resources devices", &["cgroup-devices-read"]),
    ("drop /linux/seccomp flags", &["value-seccomp-flag"]),
    (
        "set /linux/seccomp/syscalls []",
        &["seccomp-kill", "seccomp-trap", "seccomp-op-gt", "seccomp-default-errno"],
    ),
    (
        "set /mounts/2/options [\"rbind\"]",
        &["mount-rnosuid", "mount-rdev", "mount-rprivate", "mount-rrelatime"],
    ),
    ("set /mounts/2/options [\"rbind\", \"idmap\"]", &["mount-ridmap"]),
    ("set /mounts/2/options [\"rbind\", \"ridmap\"]", &["mount-idmap-flat"]),
    ("drop /linux/memoryPolicy flags", &["memory-policy-flags", "memory-policy-relative"]),
    ("drop /process/scheduler flags", &["scheduler-flags", "scheduler-deadline-flags"]),
    ("drop /linux/timeOffsets boottime", &["time-offset-nanoseconds", "time-offset-negative"]),
    ("drop /linux intelRdt", &["rdt-missing"]),
    ("reverse /mounts", &["mount-listed-order"]),
    ("set /process/terminal false", &["process-terminal-streams"]),
    ("drop /linux resources", &["create-limits"]),
    ("mute start", &["start-runs-program", "create-waits", "start-unknown-id"]),
    ("mute kill", &["kill-sends-signal", "kill-stopped"]),
    ("mute delete", &["delete-stopped", "delete-running", "delete-reuse"]),
];

/// How many must be caught on any machine: some checks want controllers that one may not have.
const LEAST: usize = 45;

#[test]
fn broken_runtimes_are_caught() {
    if !support::privileged("broken_runtimes_are_caught") {
        return;
    }
    let real = support::our_runtime();
    let directory = tempfile::tempdir().expect("a directory");
    let mut missed = Vec::new();
    let mut caught = 0;
    for (number, (fault, ids)) in FAULTS.iter().enumerate() {
        let mut options = Options::new(wrapper(directory.path(), number, fault, &real));
        options.filter = ids.iter().map(|id| (*id).to_owned()).collect();
        options.timeout = std::time::Duration::from_secs(if fault.starts_with("mute") { 2 } else { 20 });
        let records = run(&options, |_| ()).expect("the suite runs");
        let before = missed.len();
        let mut judged = 0;
        for id in *ids {
            let record = records.iter().find(|record| record.id == *id);
            let verdict = record.map(|record| &record.verdict);
            match verdict {
                Some(Verdict::Fail { .. }) => judged += 1,
                Some(Verdict::Skip(why)) => eprintln!("not judged here: {id}: {why}"),
                other => missed.push(format!("`{fault}` is not caught by {id}: {other:?}")),
            }
        }
        caught += usize::from(judged > 0 && missed.len() == before);
    }
    println!("counted: {caught} of {} broken runtimes are caught", FAULTS.len());
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(caught >= LEAST, "{caught} of {} are caught, the rest is not judged here", FAULTS.len());
}

/// A runtime with one fault: a script that sets the environment of `broken-runtime`.
fn wrapper(directory: &Path, number: usize, fault: &str, real: &Path) -> PathBuf {
    let file = directory.join(format!("fault-{number}"));
    let script = format!(
        "#!/bin/sh\nBROKEN_FAULT='{fault}' BROKEN_RUNTIME='{}' exec '{}' \"$@\"\n",
        real.display(),
        env!("CARGO_BIN_EXE_broken-runtime"),
    );
    fs::write(&file, script).expect("write the script");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("make it a program");
    file
}
