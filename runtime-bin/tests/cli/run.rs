//! run and exec in the foreground: output, exit codes, signals.

use std::process::Stdio;

use serde_json::json;

use crate::support::{Bundle, finish, privileged, until};

#[test]
fn output_and_exit_code() {
    if !privileged() {
        return;
    }
    for (script, code) in
        [("echo out; echo err >&2", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137)]
    {
        // A shell as process 1 ignores signals of its own, so it is another one that dies.
        let bundle = Bundle::new(&["sh", "-c", &format!("sh -c '{script}'; exit $?")]);
        let container = bundle.container();
        let run = container.go(&["run"]);
        assert_eq!(run.code, code, "{script}: {run:?}");
        if code == 0 {
            assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("out\n", "err\n"));
        }
        container.go(&["state"]).fails(1, "does not exist");
    }
}

#[test]
fn the_end_by_a_signal_is_128_and_more() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    let mut child = bundle.runtime().args(["run", &container.id]).spawn().expect("the runtime");
    until("run", || container.go(&["state"]).stdout.contains("\"running\""));
    container.go_with(&["kill"], &["KILL"]).ok();
    assert_eq!(finish(&mut child), 137);
}

#[test]
fn signals_are_passed_on() {
    if !privileged() {
        return;
    }
    let script = "trap 'echo hup' HUP; trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done";
    let bundle = Bundle::new(&["sh", "-c", script]);
    let container = bundle.container();
    let mut child =
        bundle.runtime().args(["run", &container.id]).stdout(Stdio::piped()).spawn().expect("the runtime");
    let mut output = std::fs::File::from(std::os::fd::OwnedFd::from(child.stdout.take().expect("a pipe")));
    crate::support::read_until(&mut output, "up");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::SIGHUP).expect("sent");
    crate::support::read_until(&mut output, "hup");
    nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).expect("sent");
    crate::support::read_until(&mut output, "bye");
    assert_eq!(finish(&mut child), 3);
}

#[test]
fn keep_keeps_the_container() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    let container = bundle.container();
    container.go(&["run", "--keep"]).ok();
    assert_eq!(container.status(), "stopped");
    container.go(&["delete"]).ok();
}

#[test]
fn short_programs_never_hang() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    for _ in 0..200 {
        bundle.container().go(&["run"]).ok();
    }
}

#[test]
fn stdin_arrives() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["cat"]);
    let container = bundle.container();
    std::fs::write(bundle.path().join("input"), "some input\n").expect("a file");
    let input = std::fs::File::open(bundle.path().join("input")).expect("a file");
    let child = bundle
        .runtime()
        .args(["run", &container.id])
        .stdin(input)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the runtime");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.stdout, b"some input\n");
}

#[test]
fn orphans_are_reaped() {
    if !privileged() {
        return;
    }
    // Without a PID namespace the container's orphans fall to the program, or to the machine's init.
    let bundle = Bundle::new(&["sh", "-c", "(sleep 0.1 &) ; sleep 0.5; ps -o stat,ppid | grep Z; exit 0"])
        .with(|config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
            namespaces.retain(|namespace| namespace["type"] != "pid");
        });
    let container = bundle.container();
    container.go(&["run"]).ok();
}

#[test]
fn exec_runs_beside_the_container() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let run = container.go_with(&["exec"], &["sh", "-c", "echo $0 -x --tty; exit 5", "-y"]);
    assert_eq!((run.code, run.stdout.as_str()), (5, "-y -x --tty\n"), "{run:?}");
    let run = container
        .go_with(&["exec", "--env", "A=1", "-e", "B=2", "--cwd", "/tmp"], &["sh", "-c", "echo $A $B $(pwd)"]);
    assert_eq!(run.ok().stdout, "1 2 /tmp\n");
    let run = container.go_with(&["exec", "--user", "1000:100", "-g", "7", "-g", "8"], &["id"]);
    assert_eq!(run.ok().stdout.trim(), "uid=1000(user) gid=100 groups=7,8");
    for user in ["-1", "01", "0x1", " 1", "4294967295", "4294967296", "1:", "user"] {
        container.go_with(&["exec", "--user", user], &["id"]).fails(255, "exec failed");
    }
    container.go(&["exec"]).fails(255, "exec args cannot be empty");
    let run = container.go_with(&["exec"], &["sh", "-c", "kill -9 $$"]);
    assert_eq!(run.code, 137);
}

#[test]
fn exec_of_a_process_file() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let process = json!({
        "user": {"uid": 5, "gid": 6}, "args": ["sh", "-c", "id -u; echo $X; exit 4"], "cwd": "/",
        "env": ["PATH=/bin", "X=y"],
    });
    std::fs::write(bundle.path().join("process.json"), process.to_string()).expect("a file");
    let run = container.go(&["exec", "--process", "process.json"]);
    assert_eq!((run.code, run.stdout.as_str()), (4, "5\ny\n"), "{run:?}");
    std::fs::write(bundle.path().join("process.json"), "{").expect("a file");
    container.go(&["exec", "--process", "process.json"]).fails(255, "exec failed");
    container.go(&["exec", "--process", "/nonexistent"]).fails(255, "no such file or directory");
}

#[test]
fn exec_in_the_background() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let script = "echo $$ > /tmp/pid; sleep 1000";
    container.go_with(&["exec", "--detach", "--pid-file", "exec.pid"], &["sh", "-c", script]).ok();
    let pid = std::fs::read_to_string(bundle.path().join("exec.pid")).expect("the pid file");
    let pids = container.go(&["ps", "-f", "json"]).ok().stdout;
    let pids: Vec<u32> = serde_json::from_str(&pids).expect("JSON");
    assert!(pids.contains(&pid.parse().expect("a pid")), "{pid} is not in {pids:?}");
}

#[test]
fn exec_needs_a_running_container() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    container.go_with(&["kill"], &["KILL"]).ok();
    container.wait_for("stopped");
    container.go_with(&["exec"], &["true"]).fails(255, "cannot exec in a stopped container");
}

#[test]
fn capabilities_of_exec() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let sets = |options: &[&str]| {
        let words = [["exec"].as_slice(), options].concat();
        container.go_with(&words, &["grep", "^Cap", "/proc/self/status"]).ok().stdout.replace('\t', "")
    };
    // audit_write, kill, net_bind_service; then chown, too. Inheritable and ambient stay empty.
    let wanted = |mask: &str| {
        format!(
            "CapInh:0000000000000000\nCapPrm:{mask}\nCapEff:{mask}\nCapBnd:{mask}\nCapAmb:0000000000000000\n"
        )
    };
    assert_eq!(sets(&[]), wanted("0000000020000420"));
    assert_eq!(sets(&["--cap", "CAP_CHOWN"]), wanted("0000000020000421"));
}
