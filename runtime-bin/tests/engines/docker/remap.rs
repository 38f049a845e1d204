//! A daemon with `--userns-remap`: every container in a user namespace of the daemon's choice.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::Docker;
use crate::image::{USER, USER_ID};
use crate::podman::{FIRST_SUBORDINATE_ID, USER as OWNER, make_user};
use crate::support::{
    Outcome, Table, cgroup_value, engine_test, exec_joins_cgroup, has, names_of, same, status_field, that,
};

const CHECKS: &Table<Docker> = &[
    ("userns-remap: the maps, inside and outside", maps),
    ("userns-remap: files of a volume", volume),
    ("userns-remap: --user", user),
    ("userns-remap: limits", limits),
    ("userns-remap: --network bridge", bridge),
    ("userns-remap: -t, exec -t", terminal),
    ("userns-remap: devices and sysctls", devices),
    ("userns-remap: --userns host", host),
    ("userns-remap: nothing is left behind", super::lifecycle::nothing_left),
];

/// The names of all checks, for the page of the engines.
pub(crate) fn names() -> Vec<&'static str> {
    names_of(CHECKS)
}

#[test]
fn engine() {
    engine_test("docker-userns", "docker::remap::engine", |place, checks| {
        make_user(place)?;
        // Only the mapped root and those above it reach what the daemon keeps for it.
        let docker = Docker::start_by_options(place, &["--userns-remap", OWNER])?;
        checks.table(&docker, CHECKS);
        Ok(())
    });
}

fn maps(docker: &Docker) -> Outcome {
    let script =
        "awk '{print $1, $2, $3}' /proc/self/uid_map /proc/self/gid_map; id -u; stat -c %u /home/tester";
    let map = format!("0 {FIRST_SUBORDINATE_ID} 65536");
    same("inside", docker.sh(&[], script)?, format!("{map}\n{map}\n0\n{USER_ID}"))?;
    let container = docker.sleeper(&[])?;
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid()?))?;
    let outside = [FIRST_SUBORDINATE_ID; 4].map(|id| id.to_string()).join("\t");
    same("uid outside", status_field(&status, "Uid")?, &*outside)?;
    exec_joins_cgroup(|script| container.sh(script))
}

fn volume(docker: &Docker) -> Outcome {
    let dir = docker.host_dir("remapped")?;
    std::os::unix::fs::chown(&dir, Some(FIRST_SUBORDINATE_ID), Some(FIRST_SUBORDINATE_ID))?;
    docker.sh(&["-v", &format!("{}:/data", dir.display())], "touch /data/file")?;
    same("owner", fs::metadata(dir.join("file"))?.uid(), FIRST_SUBORDINATE_ID)
}

fn user(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&["--user", USER])?;
    same("inside", container.sh("id -u")?, USER_ID.to_string())?;
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid()?))?;
    let outside = (FIRST_SUBORDINATE_ID + USER_ID).to_string();
    same("outside", status_field(&status, "Uid")?.split('\t').next(), Some(&*outside))
}

fn limits(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&["--memory", "64m", "--pids-limit", "33"])?;
    let pid = container.pid()?;
    same("memory", cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max")?, "67108864")?;
    same("pids", cgroup_value(pid, "pids", "pids.max", "pids.max")?, "33")
}

fn bridge(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&["--network", "bridge"])?;
    let gateway = container.inspect("{{.NetworkSettings.Gateway}}")?;
    let script = format!("ls /sys/class/net; ping -c 1 -w 3 {gateway} > /dev/null && echo pong");
    same("network", container.sh(&script)?, "eth0\nlo\npong")
}

fn terminal(docker: &Docker) -> Outcome {
    let script = "tty; stat -c %u $(tty); test -w /dev/console && echo writable";
    let text = docker.run(&["-t"], &["sh", "-c", script])?.ok()?;
    same("terminal", text.replace('\r', ""), "/dev/pts/0\n0\nwritable")
}

fn devices(docker: &Docker) -> Outcome {
    let script = "echo x > /dev/null && head -c 3 /dev/zero | wc -c; cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let options = ["--sysctl", "net.ipv4.ip_unprivileged_port_start=7"];
    same("devices, sysctl", docker.sh(&options, script)?, "3\n7")?;
    let output = docker.run(&["--cap-add", "MKNOD"], &["mknod", "/a", "c", "1", "3"])?;
    has("no new ones", &output.fails()?, "Operation not permitted")
}

fn host(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&["--userns", "host"])?;
    let own = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user"));
    that("the host's namespace", own(&container.pid()?.to_string())? == own("self")?)?;
    same("the host's ids", container.sh("awk '{print $1, $2}' /proc/self/uid_map")?, "0 0")
}
