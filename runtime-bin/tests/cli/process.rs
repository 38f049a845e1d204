//! `process` and what belongs to it: as the container's own process, and again by `exec --process`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Bundle, finish, privileged, until};

/// The default process with these arguments, and fields that are set or (with null) taken out.
fn process(args: &[&str], fields: Value) -> Value {
    let mut process = Bundle::new(args).config["process"].take();
    let process_fields = process.as_object_mut().expect("a process");
    for (name, value) in fields.as_object().expect("fields") {
        match value {
            Value::Null => process_fields.remove(name),
            value => process_fields.insert(name.clone(), value.clone()),
        };
    }
    process
}

/// Runs the process as a container's own.
fn run(process: &Value) -> crate::support::Run {
    let bundle = Bundle::new(&[]).with(|config| config["process"] = process.clone());
    bundle.container().go(&["run"])
}

/// Runs the process in a container of another one.
fn exec(process: &Value) -> crate::support::Run {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    std::fs::write(bundle.path().join("process.json"), process.to_string()).expect("a file");
    container.go(&["exec", "--process", "process.json"])
}

/// Asserts what a process with these fields prints, either way.
#[track_caller]
fn prints(args: &[&str], fields: Value, expected: &str) {
    let process = process(args, fields);
    assert_eq!(run(&process).ok().stdout, expected, "run");
    assert_eq!(exec(&process).ok().stdout, expected, "exec");
}

/// Asserts that a process with these fields fails with the JSON path, either way.
#[track_caller]
fn fails(fields: Value, field: &str) {
    let process = process(&["true"], fields);
    run(&process).fails(1, &format!("process.{field}"));
    exec(&process).fails(255, field);
}

/// What the container's own process asks for is logged when it is created, and an exec of the same process has
/// nothing to add: engines log each line of each health check.
#[test]
fn capabilities_are_warned_of_once() {
    if !privileged() {
        return;
    }
    let sets = json!({
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NO_SUCH"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"], "ambient": ["CAP_KILL"],
    });
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| config["process"]["capabilities"] = sets);
    let container = bundle.container();
    let created = container.go(&["run", "-d"]).stderr;
    assert_eq!(created.lines().count(), 2, "{created}");
    assert!(created.contains("CAP_NO_SUCH") && created.contains("ambient capability CAP_KILL"), "{created}");
    container.go_with(&["exec"], &["true"]).ok();

    let added = container.go_with(&["exec", "--cap", "CAP_NONE"], &["true"]);
    assert!(added.code == 0 && !added.stderr.contains("CAP_NO_SUCH"), "{added:?}");
    assert!(added.stderr.contains("unknown capability") && added.stderr.contains("CAP_NONE"), "{added:?}");
    let mut process = bundle.config["process"].clone();
    process["args"] = json!(["true"]);
    let write = |process: &Value| {
        std::fs::write(bundle.path().join("process.json"), process.to_string()).expect("a file");
    };
    write(&process);
    container.go(&["exec", "--process", "process.json"]).ok();
    process["capabilities"]["ambient"] = json!(["CAP_KILL", "CAP_CHOWN"]);
    write(&process);
    let added = container.go(&["exec", "--process", "process.json"]);
    assert!(added.code == 0 && added.stderr.lines().count() == 1, "{added:?}");
    assert!(added.stderr.contains("ambient capability CAP_CHOWN"), "{added:?}");
}

#[test]
fn user_groups_and_umask() {
    if !privileged() {
        return;
    }
    let script = "id -u; id -g; grep ^Groups /proc/self/status | cut -f 2; umask";
    let args = ["sh", "-c", script];
    prints(&args, json!({"user": {"uid": 0, "gid": 0}}), "0\n0\n \n0022\n");
    let user = json!({"uid": 1000, "gid": 100, "additionalGids": [7, 300_000], "umask": 0o027});
    prints(&args, json!({ "user": user }), "1000\n100\n7 300000 \n0027\n");
    fails(json!({"user": {"uid": 0, "gid": 0, "umask": 0o1000}}), "user.umask");
    fails(json!({"user": {"uid": u32::MAX, "gid": 0}}), "user");
}

#[test]
fn a_missing_directory_is_made() {
    if !privileged() {
        return;
    }
    let user = json!({"uid": 1000, "gid": 1000});
    let missing = process(&["pwd"], json!({"cwd": "/new/directory", "user": user}));
    assert_eq!(run(&missing).ok().stdout, "/new/directory\n");
    // The container's own process is the only one for which directories are made.
    exec(&missing).fails(255, "cwd");
    prints(&["pwd"], json!({"cwd": "/"}), "/\n");
    fails(json!({"cwd": "relative"}), "cwd");
    fails(json!({"cwd": "/etc/passwd"}), "cwd");
}

#[test]
fn environment_and_home() {
    if !privileged() {
        return;
    }
    let env = json!(["PATH=/bin", "A=first", "B=2", "A=last"]);
    prints(&["env"], json!({ "env": env }), "PATH=/bin\nA=last\nB=2\nHOME=/root\n");
    let user = json!({"uid": 1000, "gid": 1000});
    prints(&["env"], json!({"env": ["PATH=/bin"], "user": user}), "PATH=/bin\nHOME=/home/user\n");
    let unknown = json!({"uid": 4321, "gid": 0});
    prints(&["env"], json!({"env": ["PATH=/bin"], "user": unknown}), "PATH=/bin\nHOME=/\n");
    prints(&["env"], json!({"env": ["PATH=/bin", "HOME=/my"]}), "PATH=/bin\nHOME=/my\n");
}

/// An image that was made with umask 077: its users cannot read /etc/passwd, and have their HOME all the same, as with
/// runc. So have the hooks that get the program's environment.
#[test]
fn home_of_a_passwd_for_root_alone() {
    if !privileged() {
        return;
    }
    let script = "echo $HOME; cat /tmp/hook; exec sleep 1000";
    let bundle = Bundle::new(&["sh", "-c", script]).with(|config| {
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        config["process"]["env"] = json!(["PATH=/bin"]);
        let args = ["sh", "-c", "echo $HOME > /tmp/hook"];
        config["hooks"] = json!({"startContainer": [{"path": "/bin/sh", "args": args}]});
    });
    let root = bundle.path().join("rootfs");
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("a mode");
    fs::set_permissions(root.join("etc/passwd"), fs::Permissions::from_mode(0o600)).expect("a mode");
    let container = bundle.container();
    let output = tempfile::NamedTempFile::new().expect("a file");
    let stream = || Stdio::from(output.reopen().expect("a descriptor"));
    let mut run = bundle.runtime();
    run.args(["run", "-d", &container.id]).stdin(Stdio::null()).stdout(stream()).stderr(stream());
    assert_eq!(finish(&mut run.spawn().expect("the runtime")), 0);
    let seen = || fs::read_to_string(output.path()).expect("the output");
    until("the output", || seen().lines().count() >= 2);
    assert_eq!(seen(), "/home/user\n/home/user\n");
    let home =
        |user: &str| container.go_with(&["exec", "--user", user], &["sh", "-c", "echo $HOME"]).ok().stdout;
    assert_eq!(home("1000:1000"), "/home/user\n");
    assert_eq!(home("0:0"), "/root\n");
    assert_eq!(home("4321:0"), "/\n");
}

/// What the file of the image is does not matter: a link to a device or a FIFO is no list of users.
#[test]
fn home_where_passwd_is_no_file() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "echo $HOME"]).with(|config| {
        config["process"]["env"] = json!(["PATH=/bin"]);
    });
    let passwd = bundle.path().join("rootfs/etc/passwd");
    fs::remove_file(&passwd).expect("no passwd");
    assert_eq!(bundle.container().go(&["run"]).ok().stdout, "/\n");
    nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    assert_eq!(bundle.container().go(&["run"]).ok().stdout, "/\n");
    for target in ["/dev/zero", "/proc/self/fd/0", "/missing"] {
        fs::remove_file(&passwd).expect("removed");
        std::os::unix::fs::symlink(target, &passwd).expect("a link");
        assert_eq!(bundle.container().go(&["run"]).ok().stdout, "/\n", "{target}");
    }
}

#[test]
fn resource_limits() {
    if !privileged() {
        return;
    }
    let script = "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc; ulimit -St";
    let limit = |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
    let limits =
        [limit("RLIMIT_NOFILE", 100, 200), limit("RLIMIT_CORE", 0, 0), limit("RLIMIT_CPU", 3000, u64::MAX)];
    prints(&["sh", "-c", script], json!({ "rlimits": limits }), "100\n200\n0\n0\n3000\n");
    // Nobody may have more files than fs.nr_open.
    let beyond = json!({"rlimits": [limit("RLIMIT_CORE", 0, 0), limit("RLIMIT_NOFILE", 5, 1 << 40)]});
    fails(beyond, "rlimits[1]");
    fails(json!({"rlimits": [limit("RLIMIT_CORE", 2, 1)]}), "rlimits[0]");
}

/// Five sets that are all different: chown 0, kill 5, setuid 7, net_raw 13.
fn five_sets() -> Value {
    json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_RAW"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_KILL", "CAP_NET_RAW"],
        "ambient": ["CAP_NET_RAW"],
    })
}

fn sets(text: &str) -> Vec<u64> {
    let values = text.lines().filter_map(|line| line.strip_prefix("Cap")).map(|line| {
        u64::from_str_radix(line.split_ascii_whitespace().nth(1).expect("a mask"), 16).expect("a mask")
    });
    values.collect()
}

#[test]
fn five_capability_sets() {
    if !privileged() {
        return;
    }
    let user = json!({"uid": 1000, "gid": 1000});
    let process = process(
        &["grep", "^Cap", "/proc/self/status"],
        json!({"user": user, "capabilities": five_sets(), "noNewPrivileges": false}),
    );
    let bundle = Bundle::new(&[]).with(|config| config["process"] = process.clone());
    let container = bundle.container();
    container.go(&["create"]).ok();
    let path = format!("/proc/{}/status", container.state()["pid"]);
    let waiting = std::fs::read_to_string(path).expect("a status");
    // Inheritable, permitted, effective, bounding, ambient.
    assert_eq!(sets(&waiting), [0x2020, 0x2021, 0x1, 0x20a1, 0x2000]);
    // execve(2) leaves a user's program the ambient set.
    let after = [0x2020, 0x2000, 0x2000, 0x20a1, 0x2000];
    assert_eq!(sets(&run(&process).ok().stdout), after);
    assert_eq!(sets(&exec(&process).ok().stdout), after);
}

#[test]
fn no_capabilities_without_the_field() {
    if !privileged() {
        return;
    }
    let process = process(&["grep", "^Cap", "/proc/self/status"], json!({"capabilities": null}));
    assert_eq!(sets(&run(&process).ok().stdout), [0; 5]);
    assert_eq!(sets(&exec(&process).ok().stdout), [0; 5]);
}

#[test]
fn unknown_capabilities_are_left_out_with_a_warning() {
    if !privileged() {
        return;
    }
    let names = json!(["CAP_KILL", "CAP_NO_SUCH"]);
    let process = process(
        &["grep", "^Cap", "/proc/self/status"],
        json!({"capabilities": {"bounding": names, "permitted": names, "effective": names}}),
    );
    for run in [run(&process), exec(&process)] {
        assert!(run.stderr.contains("unknown capability") && run.stderr.contains("CAP_NO_SUCH"), "{run:?}");
        assert_eq!((run.code, sets(&run.stdout)), (0, vec![0, 0x20, 0x20, 0x20, 0]), "{run:?}");
    }
}

#[test]
fn what_cannot_be_granted_is_left_out_with_a_warning() {
    if !privileged() {
        return;
    }
    // An ambient capability has to be inheritable and permitted.
    let capabilities = json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
    let process = process(&["grep", "^Cap", "/proc/self/status"], json!({ "capabilities": capabilities }));
    for run in [run(&process), exec(&process)] {
        assert!(run.stderr.contains("capabilities.ambient"), "{run:?}");
        assert_eq!((run.code, sets(&run.stdout)[4]), (0, 0), "{run:?}");
    }
}

#[test]
fn no_new_privileges() {
    if !privileged() {
        return;
    }
    let args = ["grep", "NoNewPrivs", "/proc/self/status"];
    prints(&args, json!({"noNewPrivileges": true}), "NoNewPrivs:\t1\n");
    prints(&args, json!({"noNewPrivileges": false}), "NoNewPrivs:\t0\n");
}

#[test]
fn oom_score() {
    if !privileged() {
        return;
    }
    let args = ["cat", "/proc/self/oom_score_adj"];
    prints(&args, json!({"oomScoreAdj": 321}), "321\n");
    fails(json!({"oomScoreAdj": 1001}), "oomScoreAdj");
}

#[test]
fn scheduling() {
    if !privileged() {
        return;
    }
    // Nice value and policy.
    let args = ["awk", "{print $19, $41}", "/proc/self/stat"];
    prints(&args, json!({"scheduler": {"policy": "SCHED_BATCH", "nice": 5}}), "5 3\n");
    prints(&["awk", "{print $41}", "/proc/self/stat"], json!({"scheduler": {"policy": "SCHED_IDLE"}}), "5\n");
    // A deadline needs times, which only the kernel checks.
    fails(json!({"scheduler": {"policy": "SCHED_DEADLINE"}}), "scheduler");
    fails(json!({"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}), "scheduler.nice");
}

#[test]
fn priority_of_input_and_output() {
    if !privileged() {
        return;
    }
    let priority = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
    prints(&["ionice"], json!({ "ioPriority": priority }), "best-effort: prio 6\n");
    fails(json!({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}), "ioPriority");
}

#[test]
fn affinity_of_exec() {
    if !privileged() {
        return;
    }
    let args = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    let with = |affinity: Value| process(&args, json!({ "execCPUAffinity": affinity }));
    let seen = exec(&with(json!({"final": "0"})));
    assert_eq!(seen.ok().stdout, "Cpus_allowed_list:\t0\n");
    let seen = exec(&with(json!({"initial": "0"})));
    assert_eq!(seen.ok().stdout, "Cpus_allowed_list:\t0\n");
    // A processor that no machine of today has.
    exec(&with(json!({"final": "8191"}))).fails(255, "execCPUAffinity.final");
    exec(&with(json!({"initial": "3-1"}))).fails(255, "execCPUAffinity.initial");
}

#[test]
fn names_and_parameters() {
    if !privileged() {
        return;
    }
    let script = "hostname; cd /proc/sys; cat kernel/domainname net/core/somaxconn kernel/msgmax";
    let bundle = Bundle::new(&["sh", "-c", script]).with(|config| {
        config["hostname"] = json!("inside");
        config["domainname"] = json!("example.org");
        config["linux"]["sysctl"] = json!({"net.core.somaxconn": "77", "kernel.msgmax": "4444"});
    });
    assert_eq!(bundle.container().go(&["run"]).ok().stdout, "inside\nexample.org\n77\n4444\n");
}

#[test]
fn refused_parameters_are_errors_with_their_name() {
    if !privileged() {
        return;
    }
    for (name, value) in [
        ("net.core.somaxconn", "many"),
        ("net.no.such", "1"),
        ("kernel.msgmax", "-5"),
        ("kernel.panic", "1"),
        ("net.../kernel.panic", "1"),
        ("vm.overcommit_memory", "1"),
    ] {
        let bundle = Bundle::new(&["true"]).with(|config| config["linux"]["sysctl"] = json!({name: value}));
        let container = bundle.container();
        container.go(&["run"]).fails(1, &format!("linux.sysctl.{name}"));
        container.go(&["state"]).fails(1, "does not exist");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn personality() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["uname", "-m"])
        .with(|config| config["linux"]["personality"] = json!({"domain": "LINUX32"}));
    assert_eq!(bundle.container().go(&["run"]).ok().stdout, "i686\n");
    let bundle = bundle.with(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    assert_eq!(container.go_with(&["exec"], &["uname", "-m"]).ok().stdout, "i686\n");
}

#[test]
fn memory_policy() {
    if !privileged() {
        return;
    }
    let with = |policy: Value| {
        Bundle::new(&["cat", "/proc/self/numa_maps"]).with(|config| config["linux"]["memoryPolicy"] = policy)
    };
    let bundle = with(json!({"mode": "MPOL_BIND", "nodes": "0"}));
    let run = bundle.container().go(&["run"]);
    if std::path::Path::new("/proc/self/numa_maps").exists() {
        assert!(run.ok().stdout.contains(" bind:0 "));
    } else {
        run.fails(1, "linux.memoryPolicy");
    }
    let bundle = with(json!({"mode": "MPOL_BIND", "nodes": "1000"}));
    bundle.container().go(&["run"]).fails(1, "linux.memoryPolicy");
    let bundle = with(json!({"mode": "MPOL_BIND", "nodes": ""}));
    bundle.container().go(&["run"]).fails(1, "linux.memoryPolicy.nodes");
}
