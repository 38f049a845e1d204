//! Whether the floors make the same containers as the runtime: what a script sees inside of each.
//!
//! A floor that leaves something out would be a target that nobody can reach.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::bundle::{Config, Workspace};
use crate::command::Gauge;
use crate::container::Container;
use crate::failure::Failure;
use crate::floor::Floor;
use crate::subject::Subject;
use crate::view::CGROUPS;

/// Where the script is, in the containers.
const LOOK: &str = "/bin/look";

/// It has no arguments, and writes to its standard output. Mounts without their numbers. Not what each gets from its caller and a runtime resets:
/// ignored and blocked signals, open descriptors.
const SCRIPT: &str = "#!/bin/busybox sh
PATH=/bin
b=/bin/busybox
$b cut -d' ' -f4- /proc/self/mountinfo | $b sed 's/^/mount /'
$b grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Seccomp_filters|Umask)' /proc/self/status
$b cat /proc/self/limits | $b sed 's/^/limit /'
$b sed 's/^/cgroup /' /proc/self/cgroup
$b cut -d';' -f1-4 /proc/keys
echo oom $($b cat /proc/self/oom_score_adj)
echo host $($b hostname)
$b ls -l /dev | $b awk '{print \"dev\", $1, $3, $4, $5, $6, $NF}'
echo network $($b cat /sys/class/net/lo/flags) $($b ls /sys/class/net)
echo port $($b cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range)
echo cwd $($b pwd)
for n in cgroup ipc mnt net pid time user uts; do
    $b test $($b readlink /proc/self/ns/$n) = $($b readlink /proc/1/ns/$n) && echo namespace $n as init
done
";

/// The differences, as text; nothing of them is a failure.
pub(crate) fn report(workspace: &Workspace, floor: &Subject) -> Result<String, Failure> {
    let runtime = floor.maker.as_deref().ok_or_else(|| Failure::new("the floor has no runtime"))?;
    let look = workspace.rootfs().join(LOOK.trim_start_matches('/'));
    fs::write(&look, SCRIPT).map_err(Failure::during(format!("write {look:?}")))?;
    fs::set_permissions(&look, fs::Permissions::from_mode(0o755))
        .map_err(Failure::during(format!("make {look:?} executable")))?;
    for name in ["awk", "hostname"] {
        let link = workspace.rootfs().join("bin").join(name);
        if !link.exists() {
            fs::hard_link(workspace.rootfs().join("bin/busybox"), &link)
                .map_err(Failure::during(format!("link {link:?}")))?;
        }
    }
    let mut text = String::new();
    for (name, kind, config) in
        [("run-true", Floor::Default, Config::Default), ("run-docker", Floor::Docker, Config::Docker)]
    {
        let container = Container::prepare(workspace, runtime, &format!("check-{name}"), config, &[LOOK])?;
        let cgroup = workspace.cgroup(container.id());
        let floor_lines = seen(
            &kind.program(workspace),
            &[&workspace.rootfs().to_string_lossy(), &format!("{CGROUPS}{cgroup}"), LOOK],
        )?;
        let (state, bundle) = (runtime.state.to_string_lossy(), container.bundle().to_string_lossy());
        let runtime_lines =
            seen(&runtime.program, &["--root", &state, "run", "--bundle", &bundle, container.id()])?;
        text.push_str(&difference(name, &floor_lines, &runtime_lines));
    }
    let mut container =
        Container::prepare(workspace, runtime, "check-exec", Config::Default, &["sleep", "1000000"])?;
    container.create(Gauge::Time)?;
    container.start(Gauge::Time)?;
    let cgroup = format!("{CGROUPS}{}", workspace.cgroup(container.id()));
    let pid = container.pid()?.to_string();
    let floor_lines = seen(&Floor::Exec.program(workspace), &[&pid, &cgroup, LOOK])?;
    let state = runtime.state.to_string_lossy();
    let runtime_lines = seen(&runtime.program, &["--root", &state, "exec", container.id(), LOOK])?;
    text.push_str(&difference("exec-true", &floor_lines, &runtime_lines));
    Ok(text)
}

/// The lines that the script writes in the container that this makes.
fn seen(program: &std::path::Path, arguments: &[&str]) -> Result<BTreeSet<String>, Failure> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::during(format!("start {program:?}")))?;
    let lines: BTreeSet<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    if lines.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::new(format!("{program:?}: {}: {said}", output.status)));
    }
    Ok(lines)
}

fn difference(name: &str, floor: &BTreeSet<String>, runtime: &BTreeSet<String>) -> String {
    let mut text = format!("{name}: {} lines are the same\n", floor.intersection(runtime).count());
    floor.difference(runtime).for_each(|line| text.push_str(&format!("  floor:   {line}\n")));
    runtime.difference(floor).for_each(|line| text.push_str(&format!("  runtime: {line}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_see_is_counted() {
        let set = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let text = difference("x", &set(&["a", "b"]), &set(&["b", "c"]));
        assert_eq!(text, "x: 1 lines are the same\n  floor:   a\n  runtime: c\n");
    }
}
