//! What a container sees: process, user, files, devices, capabilities, namespaces, terminal.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::Docker;
use crate::image::{EXTRA_GROUP, USER, USER_ID};
use crate::support::{
    Cmd, Outcome, Stop, Table, eventually, grants_everything, has, same, seccomp_is_on, status_field, that,
};

pub(super) const CHECKS: &Table<Docker> = &[
    ("run: output and exit code 0", output),
    ("run: stdin reaches the program", stdin),
    ("run: exit code 3", exit_code),
    ("run: exit code 126, not executable", not_executable),
    ("run: exit code 127, no such program", no_such_program),
    ("run: exit code 137, killed inside under --init", killed_inside),
    ("run: a script as entrypoint", script),
    ("run: --hostname", hostname),
    ("run: --user with numbers", user_number),
    ("run: --user with a name and --group-add", user_name),
    ("run: --env", environment),
    ("run: --workdir", workdir),
    ("run: -v, writable", volume_writable),
    ("run: -v, read-only", volume_read_only),
    ("run: -v of one file", volume_file),
    ("run: --mount with propagation", volume_propagation),
    ("run: --read-only", read_only),
    ("run: --tmpfs", tmpfs),
    ("run: default mounts", default_mounts),
    ("run: default devices", default_devices),
    ("run: masked and read-only paths", masked_paths),
    ("run: --device", device),
    ("run: default capabilities", default_capabilities),
    ("run: --cap-drop ALL", cap_drop),
    ("run: --cap-add NET_ADMIN", cap_add),
    ("run: no capabilities for another user", cap_user),
    ("run: --privileged", privileged),
    ("run: default seccomp profile", seccomp_default),
    ("run: no-new-privileges", no_new_privileges),
    ("run: only three descriptors", descriptors),
    ("run: namespaces are new", namespaces_new),
    ("run: --pid host, --ipc host, --uts host, --network host", namespaces_host),
    ("run: --pid container, --network container", namespaces_joined),
    ("run: --network none", network_none),
    ("run: --network bridge", network_bridge),
    ("run: --init", init),
    ("run: -t", tty),
    ("run: -it, terminal size", tty_size),
];

fn output(docker: &Docker) -> Outcome {
    let output = docker.run(&[], &["sh", "-c", "echo out; echo err >&2"])?;
    same("stderr", output.stderr.as_str(), "err\n")?;
    same("stdout", output.ok()?, "out")
}

fn stdin(docker: &Docker) -> Outcome {
    let run = docker.new_container(&["run", "--rm"], &["-i"]).arg("sort");
    same("sorted", run.stdin("b\na\n").run()?.ok()?, "a\nb")
}

fn exit_code(docker: &Docker) -> Outcome {
    docker.run(&[], &["sh", "-c", "exit 3"])?.code(3).map(drop)
}

fn not_executable(docker: &Docker) -> Outcome {
    docker.run(&[], &["/not-executable"])?.code(126)?;
    // Docker 20.10 knows only "permission denied" (runc up to 1.1); later ones know this text too.
    let output = docker.run(&[], &["/etc"])?;
    if output.code == 125 {
        has("message", &output.stderr, "is a directory")
    } else {
        output.code(126).map(drop)
    }
}

fn no_such_program(docker: &Docker) -> Outcome {
    for path in ["no-such-program", "/no/such/program"] {
        docker.run(&[], &[path])?.code(127)?;
    }
    Ok(())
}

fn killed_inside(docker: &Docker) -> Outcome {
    docker.run(&["--init"], &["sh", "-c", "kill -9 $$"])?.code(137).map(drop)
}

fn script(docker: &Docker) -> Outcome {
    let output = docker.run(&["--entrypoint", "/script"], &["a b", "c"])?.ok()?;
    same("output", output, "script a b c")
}

fn hostname(docker: &Docker) -> Outcome {
    let options = ["--hostname", "box", "--domainname", "example.test", "--network", "bridge"];
    let text = docker.sh(&options, "hostname; cat /proc/sys/kernel/domainname; grep -c box /etc/hosts")?;
    same("hostname, domain name, /etc/hosts", text, "box\nexample.test\n1")
}

fn user_number(docker: &Docker) -> Outcome {
    let text = docker.sh(&["--user", "2345:6789"], "id -u; id -g; grep -E '^(Uid|Gid)' /proc/self/status")?;
    has("ids", &text, "2345\n6789\n")?;
    same("uids", status_field(&text, "Uid")?, "2345\t2345\t2345\t2345")?;
    same("gids", status_field(&text, "Gid")?, "6789\t6789\t6789\t6789")
}

fn user_name(docker: &Docker) -> Outcome {
    let text =
        docker.sh(&["--user", USER, "--group-add", "77"], "cat /proc/self/status; echo home: $HOME")?;
    same("uids", status_field(&text, "Uid")?.split('\t').next(), Some(&*USER_ID.to_string()))?;
    let mut groups: Vec<_> = status_field(&text, "Groups")?.split_whitespace().collect();
    groups.retain(|group| *group != USER_ID.to_string());
    groups.sort_unstable();
    same("groups", groups, vec![EXTRA_GROUP.to_string(), "77".to_owned()])?;
    same("HOME", status_field(&text, "home")?, "/home/tester")
}

fn environment(docker: &Docker) -> Outcome {
    let text = docker.sh(&["--env", "A=b c=d", "--env", "EMPTY="], "env; echo \"<$EMPTY>\"")?;
    for part in ["A=b c=d\n", "EMPTY=\n", "HOME=/root\n", "HOSTNAME=", "PATH=/usr/local/sbin:", "<>"] {
        has("environment", &text, part)?;
    }
    Ok(())
}

fn workdir(docker: &Docker) -> Outcome {
    same("made", docker.sh(&["--workdir", "/new/dir"], "pwd")?, "/new/dir")?;
    same(
        "there",
        docker.sh(
            &["--workdir", "/home/tester", "--user", USER],
            "pwd; ls -id . /home/tester | uniq | wc -l",
        )?,
        "/home/tester\n2",
    )
}

fn volume_writable(docker: &Docker) -> Outcome {
    let dir = docker.host_dir("writable")?;
    fs::write(dir.join("in"), "from host")?;
    let text =
        docker.sh(&["-v", &format!("{}:/data", dir.display())], "cat /data/in; echo from box > /data/out")?;
    same("read", text, "from host")?;
    same("written", fs::read_to_string(dir.join("out"))?, "from box\n")
}

fn volume_read_only(docker: &Docker) -> Outcome {
    let dir = docker.host_dir("read-only")?;
    fs::write(dir.join("in"), "from host")?;
    let volume = format!("{}:/data/deep/er:ro", dir.display());
    let output =
        docker.run(&["-v", &volume], &["sh", "-c", "cat /data/deep/er/in && echo x > /data/deep/er/out"])?;
    has("write", &output.stderr, "Read-only file system")?;
    same("read", output.code(1)?, "from host")?;
    that("nothing was written", !dir.join("out").exists())
}

fn volume_file(docker: &Docker) -> Outcome {
    let file = docker.host_dir("file")?.join("one");
    fs::write(&file, "one")?;
    let volume = format!("{}:/etc/deep/one:ro", file.display());
    same(
        "content",
        docker.sh(&["-v", &volume], "cat /etc/deep/one; stat -c %F /etc/deep/one")?,
        "oneregular file",
    )
}

fn volume_propagation(docker: &Docker) -> Outcome {
    let dir = docker.host_dir("propagation")?;
    Cmd::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&dir).run()?.ok()?;
    Cmd::new("mount").arg("--make-shared").arg(&dir).run()?.ok()?;
    fs::create_dir(dir.join("late"))?;
    let result = late_mount(docker, &dir);
    Cmd::new("umount").arg("-R").arg(&dir).run()?.ok()?;
    result
}

fn late_mount(docker: &Docker, dir: &std::path::Path) -> Outcome {
    let mount =
        |kind: &str| format!("type=bind,source={},target=/data,bind-propagation={kind}", dir.display());
    let slave = docker.sleeper(&["--mount", &mount("rslave")])?;
    let private = docker.sleeper(&["--mount", &mount("rprivate")])?;
    Cmd::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(dir.join("late")).run()?.ok()?;
    fs::write(dir.join("late/file"), "")?;
    slave.sh("test -e /data/late/file")?;
    private.sh("test ! -e /data/late/file").map(drop)
}

fn read_only(docker: &Docker) -> Outcome {
    let options = ["--read-only", "--tmpfs", "/scratch"];
    let output = docker.run(&options, &["sh", "-c", "echo x > /scratch/a && cat /scratch/a && touch /b"])?;
    has("touch", &output.stderr, "Read-only file system")?;
    same("scratch", output.code(1)?, "x")
}

fn tmpfs(docker: &Docker) -> Outcome {
    let options = ["--tmpfs", "/scratch:rw,noexec,size=1m,mode=1770,uid=1234"];
    let text = docker
        .sh(&options, "grep ' /scratch ' /proc/mounts; stat -c '%a %u' /scratch; df -m /scratch | tail -1")?;
    for part in ["tmpfs /scratch tmpfs rw,nosuid,nodev,noexec", "size=1024k", "1770 1234"] {
        has("mount", &text, part)?;
    }
    let output = docker.run(&options, &["dd", "if=/dev/zero", "of=/scratch/a", "bs=64k", "count=32"])?;
    has("too much", &output.fails()?, "No space left on device")
}

fn default_mounts(docker: &Docker) -> Outcome {
    let text = docker.sh(&["--shm-size", "3m"], "cat /proc/mounts")?;
    for (path, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
    ] {
        has("mounts", &text, &format!(" {path} {kind} "))?;
    }
    let line = |path: &str| text.lines().find(|line| line.contains(&format!(" {path} "))).unwrap_or_default();
    has("/sys", line("/sys"), " ro,nosuid,nodev,noexec")?;
    has("/proc", line("/proc"), " rw,nosuid,nodev,noexec")?;
    has("/dev/shm", line("/dev/shm"), "size=3072k")?;
    let cgroups = text.lines().filter(|line| line.starts_with("cgroup"));
    let writable: Vec<_> = cgroups.filter(|line| !line.contains(" ro,")).collect();
    same("writable cgroup mounts", writable, Vec::<&str>::new())
}

fn default_devices(docker: &Docker) -> Outcome {
    let text = docker.sh(&[], "cd /dev; stat -c '%n %F %t:%T %a' null zero full random urandom tty; for link in fd stdin stdout stderr ptmx; do readlink $link; done")?;
    for (name, number) in [
        ("null", "1:3"),
        ("zero", "1:5"),
        ("full", "1:7"),
        ("random", "1:8"),
        ("urandom", "1:9"),
        ("tty", "5:0"),
    ] {
        has("device", &text, &format!("{name} character special file {number} 666"))?;
    }
    has("links", &text, "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx")?;
    docker.sh(&[], "echo x > /dev/null && head -c 3 /dev/zero | wc -c && ! echo x > /dev/full").map(drop)?;
    let output = docker.run(&["--cap-add", "MKNOD"], &["sh", "-c", "mknod /sda b 8 0 && head -c 1 /sda"])?;
    has("a device that is not allowed", &output.fails()?, "Operation not permitted")
}

fn masked_paths(docker: &Docker) -> Outcome {
    let text = docker.sh(&[], "cat /proc/timer_list /proc/kcore | wc -c; ls /sys/firmware /proc/scsi | grep -v : | grep -c . ; true")?;
    same("bytes and entries", text, "0\n0")?;
    let output = docker.run(&[], &["sh", "-c", "echo x > /proc/sys/kernel/hostname"])?;
    has("/proc/sys", &output.fails()?, "Read-only file system")
}

fn device(docker: &Docker) -> Outcome {
    let options = ["--device", "/dev/fuse:/dev/other:r"];
    let text = docker.sh(&options, "stat -c '%F %t:%T' /dev/other; : < /dev/other && echo opened")?;
    same("device", text, "character special file a:e5\nopened")?;
    let output = docker.run(&options, &["sh", "-c", ": > /dev/other"])?;
    has("not for writing", &output.fails()?, "Operation not permitted")
}

fn capabilities(docker: &Docker, options: &[&str]) -> Result<[String; 5], Stop> {
    let text = docker.sh(options, "cat /proc/self/status")?;
    let field = |name| status_field(&text, name).map(str::to_owned);
    Ok([field("CapInh")?, field("CapPrm")?, field("CapEff")?, field("CapBnd")?, field("CapAmb")?])
}

const NONE: &str = "0000000000000000";
/// Docker's default set, see `DefaultCapabilities` in moby's oci/caps.
const DEFAULT: &str = "00000000a80425fb";

/// Docker 20.10 still gives the inheritable set in some releases: only the other four are compared.
fn same_capabilities(got: &[String; 5], permitted: &str, bounding: &str) -> Outcome {
    let [_, prm, eff, bnd, amb] = got.each_ref().map(String::as_str);
    same(
        "permitted, effective, bounding, ambient",
        [prm, eff, bnd, amb],
        [permitted, permitted, bounding, NONE],
    )
}

fn default_capabilities(docker: &Docker) -> Outcome {
    let got = capabilities(docker, &[])?;
    same_capabilities(&got, DEFAULT, DEFAULT)?;
    docker.sh(&[], "chown 1:1 /tmp/. && ! mount -t tmpfs x /mnt 2>/dev/null").map(drop)
}

fn cap_drop(docker: &Docker) -> Outcome {
    same_capabilities(&capabilities(docker, &["--cap-drop", "ALL"])?, NONE, NONE)?;
    let output = docker.run(&["--cap-drop", "CHOWN"], &["chown", "1:1", "/tmp"])?;
    has("chown", &output.fails()?, "Operation not permitted")
}

fn cap_add(docker: &Docker) -> Outcome {
    let set = "0000000000001000";
    same_capabilities(&capabilities(docker, &["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"])?, set, set)?;
    let script = "ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu";
    same("mtu", docker.sh(&["--cap-add", "NET_ADMIN", "--network", "none"], script)?, "1400")?;
    that("refused without", docker.run(&["--network", "none"], &["sh", "-c", script])?.code != 0)
}

fn cap_user(docker: &Docker) -> Outcome {
    same_capabilities(&capabilities(docker, &["--user", USER])?, NONE, DEFAULT)
}

/// What `--privileged` asks for, as far as this machine has it: Docker 20.10 stops at CAP_AUDIT_READ.
pub(super) fn privileged_set(docker: &Docker, got: &str) -> Result<String, Stop> {
    let all = grants_everything(&docker.runtime)?;
    let number = |set: &str| u64::from_str_radix(set, 16).map_err(|error| Stop::from(error.to_string()));
    let known = format!("{:016x}", number(&all)? & 0x3f_ffff_ffff);
    Ok(if got == known { known } else { all })
}

fn privileged(docker: &Docker) -> Outcome {
    grants_everything(&docker.runtime)?;
    let got = capabilities(docker, &["--privileged"])?;
    let all = &privileged_set(docker, &got[2])?;
    same_capabilities(&got, all, all)?;
    let script = "grep Seccomp: /proc/self/status; mkdir -p /mnt; mount -t tmpfs x /mnt && echo mounted; \
        test -c /dev/fuse && echo devices; grep -c ' /sys sysfs rw' /proc/mounts";
    let text = docker.sh(&["--privileged"], script)?;
    same("effects", text.split_whitespace().collect::<Vec<_>>().join(" "), "Seccomp: 0 mounted devices 1")
}

fn seccomp_default(docker: &Docker) -> Outcome {
    if !seccomp_is_on() {
        return Err(Stop::Skipped("ENGINE_SECCOMP=unconfined".to_owned()));
    }
    // The filter refuses new user namespaces without CAP_SYS_ADMIN; the kernel alone allows them.
    let script = "grep Seccomp: /proc/self/status; unshare -U true; echo $?";
    same("filtered", docker.sh(&[], script)?, "Seccomp:\t2\n1")?;
    let open = ["--security-opt", "seccomp=unconfined"];
    same("unconfined", docker.sh(&open, script)?, "Seccomp:\t0\n0")
}

fn no_new_privileges(docker: &Docker) -> Outcome {
    let script = "cat /proc/self/status";
    let text = docker.sh(&["--security-opt", "no-new-privileges", "--user", USER], script)?;
    same("with", status_field(&text, "NoNewPrivs")?, "1")?;
    same("without", status_field(&docker.sh(&["--user", USER], script)?, "NoNewPrivs")?, "0")
}

fn descriptors(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    let entries = fs::read_dir(format!("/proc/{}/fd", container.pid()?))?;
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().into_string()).collect();
    names.sort();
    same("init's descriptors", names, ["0", "1", "2"].map(|name| Ok(name.to_owned())).to_vec())?;
    same("exec's", container.sh("ls /proc/$$/fd; true")?, "0\n1\n2")
}

const KINDS: [&str; 5] = ["ipc", "mnt", "net", "pid", "uts"];

fn namespace(pid: &str, kind: &str) -> Result<u64, Stop> {
    Ok(fs::metadata(format!("/proc/{pid}/ns/{kind}"))?.ino())
}

fn namespaces_new(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    let pid = container.pid()?.to_string();
    for kind in KINDS {
        that(&format!("{kind} is new"), namespace(&pid, kind)? != namespace("self", kind)?)?;
    }
    same("user", namespace(&pid, "user")?, namespace("self", "user")?)?;
    same("it is pid 1 of its own", container.sh("cat /proc/1/comm")?, "sleep")
}

fn namespaces_host(docker: &Docker) -> Outcome {
    let options = ["--pid", "host", "--ipc", "host", "--uts", "host", "--network", "host"];
    let container = docker.sleeper(&options)?;
    let pid = container.pid()?.to_string();
    for kind in KINDS {
        same(kind, namespace(&pid, kind)? == namespace("self", kind)?, kind != "mnt")?;
    }
    same("its pid", container.sh(&format!("cat /proc/{pid}/comm"))?, "sleep")
}

fn namespaces_joined(docker: &Docker) -> Outcome {
    let first = docker.sleeper(&[])?;
    let peer = format!("container:{}", first.id);
    let second = docker.sleeper(&["--pid", &peer, "--network", &peer])?;
    let (one, two) = (first.pid()?.to_string(), second.pid()?.to_string());
    for kind in KINDS {
        same(kind, namespace(&one, kind)? == namespace(&two, kind)?, ["net", "pid"].contains(&kind))?;
    }
    // Without a PID namespace of its own the container must still end as a whole.
    second.exec(&["-d"], &["sleep", "2000"])?.ok()?;
    second.act(&["kill"])?;
    same("exit code", second.wait()?, 137)?;
    eventually(Duration::from_secs(5), || {
        let text =
            first.sh("ps -o args | grep -c '[s]leep 2000'; ps -o args | grep -c '[s]leep 1000'; true")?;
        same("sleeps of the second and the first", text, "0\n1")
    })
}

fn network_none(docker: &Docker) -> Outcome {
    let text = docker.sh(
        &["--network", "none"],
        "ls /sys/class/net; ping -c 1 -w 2 127.0.0.1 > /dev/null && echo lo works",
    )?;
    same("interfaces", text, "lo\nlo works")
}

fn network_bridge(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&["--network", "bridge"])?;
    let gateway = container.inspect("{{.NetworkSettings.Gateway}}")?;
    let text = container.sh("ls /sys/class/net; ip -4 -o addr show eth0")?;
    has("interfaces", &text, "eth0\nlo\n")?;
    has("address", &text, &container.inspect("{{.NetworkSettings.IPAddress}}")?)?;
    let ping = format!("ping -c 1 -w 3 {gateway} > /dev/null && ip route | grep -c 'default via {gateway}'");
    same("gateway", container.sh(&ping)?, "1")
}

fn init(docker: &Docker) -> Outcome {
    if !std::path::Path::new("/usr/bin/docker-init").exists() {
        return Err(Stop::Skipped("no docker-init".to_owned()));
    }
    let container = docker.sleeper(&["--init"])?;
    same("pid 1", container.sh("cat /proc/1/comm")?, "docker-init")?;
    container.act(&["stop"])?;
    same("it passes TERM on", container.wait()?, 143)
}

fn tty(docker: &Docker) -> Outcome {
    let output = docker
        .run(&["-t"], &["sh", "-c", "tty; test -t 0 && test -t 2 && echo terminal; ls -l /proc/self/fd/1"])?;
    let text = output.ok()?;
    has("tty", &text, "/dev/pts/0\r\nterminal\r\n")?;
    has(
        "console",
        &docker.run(&["-t"], &["stat", "-c", "%F", "/dev/console"])?.ok()?,
        "character special file",
    )?;
    let plain = docker.run(&[], &["tty"])?;
    has("without -t", &plain.stdout, "not a tty")
}

fn tty_size(docker: &Docker) -> Outcome {
    // The client sets the size after the start, so ask until it is there.
    let inside = "for i in 1 2 3 4 5 6 7 8 9; do stty size; sleep 0.1; done; tty; exit 4";
    let run = docker.new_container(&["run", "--rm"], &["-it"]).args(["sh", "-c", inside]);
    let shell = "stty rows 33 cols 101; exec \"$@\"";
    let output = run.under(&["sh", "-c", shell, "sh"]).on_terminal().env("TERM", "vt100").run()?;
    has("size", &output.stdout, "33 101")?;
    has("tty", &output.stdout, "/dev/pts/0")?;
    output.code(4).map(drop)
}
