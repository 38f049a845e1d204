//! SCMP_ACT_NOTIFY: the listener goes to the agent, whatever the profile notifies of.

use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::seccomp_agent::{Agent, Answers};
use crate::support::{Bundle, finish, privileged};

/// A bundle with a profile, whose agent listens at `agent` in the bundle.
fn bundle(args: &[&str], profile: Value) -> Bundle {
    let bundle = Bundle::new(args);
    let socket = bundle.path().join("agent");
    bundle.with(|config| {
        config["linux"]["seccomp"] = profile;
        config["linux"]["seccomp"]["listenerPath"] = json!(socket);
    })
}

fn agent(bundle: &Bundle) -> Agent {
    Agent::new(&bundle.path().join("agent"), Answers::Continue)
}

/// Every call waits for the agent.
fn everything() -> Value {
    json!({"defaultAction": "SCMP_ACT_NOTIFY"})
}

fn only(names: &[&str]) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}]})
}

fn no_new_privileges(bundle: Bundle, value: bool) -> Bundle {
    bundle.with(|config| config["process"]["noNewPrivileges"] = json!(value))
}

fn user_namespace(bundle: Bundle) -> Bundle {
    bundle.with(|config| {
        config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "user"}));
        for map in ["uidMappings", "gidMappings"] {
            config["linux"][map] = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        }
    })
}

/// The program and its processes may make no call that the agent does not know of.
#[track_caller]
fn knows_the_program(agent: &Agent) {
    let calls = agent.calls();
    assert_eq!(calls.first(), Some(&libc::SYS_execve), "{calls:?}");
    assert!(calls.contains(&libc::SYS_write), "{calls:?}");
    assert!(!calls.contains(&libc::SYS_sched_yield), "{calls:?}");
}

fn spawn(bundle: &Bundle, words: &[&str]) -> Child {
    let mut command = bundle.runtime();
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the runtime")
}

#[test]
fn every_call_may_be_notified() {
    if !privileged() {
        return;
    }
    let script = "echo hello; ls -l /proc/self/fd > /tmp/file 2> /dev/null; grep -c seccomp /tmp/file";
    for value in [true, false] {
        for in_user_namespace in [false, true] {
            let bundle = no_new_privileges(bundle(&["sh", "-c", script], everything()), value);
            let bundle = if in_user_namespace { user_namespace(bundle) } else { bundle };
            let agent = agent(&bundle);
            let run = bundle.container().go(&["run"]);
            // The last word is grep's: nothing of that name, and status 1.
            assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (1, "hello\n0\n", ""));
            let state = agent.state();
            assert_eq!(state["pid"], state["state"]["pid"]);
            knows_the_program(&agent);
            assert!(agent.is_idle(), "one state for one process");
        }
    }
}

#[test]
fn create_start_and_exec_under_a_filter_that_notifies_of_everything() {
    if !privileged() {
        return;
    }
    for (value, in_user_namespace) in [(true, false), (false, true)] {
        let bundle = no_new_privileges(bundle(&["sleep", "1000"], everything()), value);
        let bundle = if in_user_namespace { user_namespace(bundle) } else { bundle };
        let agent = agent(&bundle);
        let container = bundle.container();
        container.go(&["create"]).ok();
        let state = agent.state();
        assert_eq!(state["state"]["status"], "creating");
        assert_eq!(container.status(), "created");
        assert_eq!(agent.calls(), [0i64; 0], "a created container makes no call");
        container.go(&["start"]).ok();
        let pid = container.state()["pid"].clone();
        assert_eq!(state["pid"], pid);
        assert_eq!(container.status(), "running");
        let run = container.go_with(&["exec"], &["sh", "-c", "echo inside; exit 5"]);
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (5, "inside\n", ""));
        let state = agent.state();
        assert_ne!(state["pid"], pid);
        assert_eq!(state["state"]["pid"], pid);
        assert_eq!(state["state"]["status"], "running");
        knows_the_program(&agent);
        assert!(agent.is_idle());
        container.go(&["kill"]).ok();
    }
}

/// What runc sends, field by field.
#[test]
fn the_state_is_that_of_the_specification() {
    if !privileged() {
        return;
    }
    let bundle = bundle(&["mkdir", "/tmp/new"], only(&["mkdir"])).with(|config| {
        config["linux"]["seccomp"]["listenerMetadata"] = json!("told to the agent");
        config["annotations"] = json!({"org.example.key": "value"});
    });
    let agent = agent(&bundle);
    let container = bundle.container();
    container.go(&["run"]).ok();
    let state = agent.state();
    let pid = &state["pid"];
    assert!(pid.as_i64().is_some_and(|pid| pid > 1), "{state}");
    let wanted = json!({
        "ociVersion": "1.3.0",
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": "told to the agent",
        "state": {
            "ociVersion": "1.3.0",
            "id": container.id,
            "status": "creating",
            "pid": pid,
            "bundle": bundle.path(),
            "annotations": {"org.example.key": "value"},
        },
    });
    assert_eq!(state, wanted);
    assert_eq!(agent.calls(), [libc::SYS_mkdir]);
}

#[test]
fn calls_that_other_runtimes_need_after_the_filter() {
    if !privileged() {
        return;
    }
    let mut bundle = bundle(&["echo", "hello"], only(&[]));
    let agent = agent(&bundle);
    for name in ["write", "sendmsg", "execve", "close", "capset", "sched_yield"] {
        for value in [true, false] {
            bundle = no_new_privileges(bundle, value);
            bundle.config["linux"]["seccomp"]["syscalls"][0]["names"] = json!([name]);
            bundle.write();
            assert_eq!(bundle.container().go(&["run"]).ok().stdout, "hello\n", "{name}");
            agent.state();
            let notified = !agent.calls().is_empty();
            assert_eq!(notified, ["write", "execve"].contains(&name), "{name}");
        }
    }
}

/// Between the filter and the program is execve(2) only: a profile need not allow what a runtime does.
#[test]
fn the_profile_has_the_calls_of_the_program_only() {
    if !privileged() {
        return;
    }
    let program = ["arch_prctl", "brk", "execve", "exit_group", "mprotect", "write"];
    let rest =
        ["set_tid_address", "set_robust_list", "rseq", "prlimit64", "readlink", "readlinkat", "getrandom"];
    let names = [&program[..], &rest[..]].concat();
    let allowed = json!({"names": names, "action": "SCMP_ACT_ALLOW"});
    let notified = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38});
    let mut bundle = bundle(&["echo", "hello"], profile);
    let agent = agent(&bundle);
    for value in [true, false] {
        for rules in [json!([allowed, notified]), json!([allowed])] {
            bundle = no_new_privileges(bundle, value);
            bundle.config["linux"]["seccomp"]["syscalls"] = rules.clone();
            bundle.write();
            assert_eq!(bundle.container().go(&["run"]).ok().stdout, "hello\n");
            if rules.as_array().is_some_and(|rules| rules.len() == 2) {
                agent.state();
            }
            assert!(agent.is_idle());
        }
    }
}

/// The failure of execve(2) is told, though the telling is notified of too.
#[test]
fn a_program_that_cannot_be_executed() {
    if !privileged() {
        return;
    }
    let bundle = bundle(&["/bin/script"], everything());
    let script = bundle.path().join("rootfs/bin/script");
    std::fs::write(&script, "#!/none/such\n").expect("a script");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("the mode");
    let agent = agent(&bundle);
    let container = bundle.container();
    container.go(&["run"]).fails(255, "no such file or directory");
    agent.state();
    container.go(&["state"]).fails(1, "does not exist");
}

#[test]
fn without_an_agent_nothing_runs() {
    if !privileged() {
        return;
    }
    let bundle = bundle(&["touch", "/tmp/ran"], only(&["mkdir"]));
    let container = bundle.container();
    let run = container.go(&["run"]).fails(1, "failed to connect with seccomp agent");
    for part in ["no such file or directory", "linux.seccomp.listenerPath", "hint: "] {
        assert!(run.stderr.contains(part), "{run:?}");
    }
    container.go(&["state"]).fails(1, "does not exist");
    container.go(&["create"]).fails(1, "failed to connect with seccomp agent");
    assert_eq!(std::fs::read_dir(bundle.state()).expect("the state root").count(), 0);
    assert!(!bundle.path().join("rootfs/tmp/ran").exists());
}

#[test]
fn an_exec_without_an_agent_leaves_the_container() {
    if !privileged() {
        return;
    }
    let bundle = bundle(&["sleep", "1000"], only(&["mkdir"]));
    let agent = agent(&bundle);
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    agent.state();
    std::fs::remove_file(bundle.path().join("agent")).expect("removed");
    container.go_with(&["exec"], &["touch", "/tmp/ran"]).fails(255, "failed to connect with seccomp agent");
    assert_eq!(container.status(), "running");
    assert!(!bundle.path().join("rootfs/tmp/ran").exists());
    assert_eq!(container.go_with(&["ps", "--format", "json"], &[]).ok().stdout.matches(',').count(), 0);
}

#[test]
fn a_container_whose_agent_is_silent_can_be_killed() {
    if !privileged() {
        return;
    }
    let bundle = bundle(&["true"], everything());
    let agent = Agent::new(&bundle.path().join("agent"), Answers::Nothing);
    let container = bundle.container();
    let mut child = spawn(&bundle, &["run", &container.id]);
    agent.state();
    assert!(child.try_wait().expect("a child").is_none(), "it waits for the program");
    container.go_with(&["kill"], &["KILL"]).ok();
    finish(&mut child);

    let container = bundle.container();
    container.go(&["create"]).ok();
    let mut child = spawn(&bundle, &["start", &container.id]);
    agent.state();
    container.go_with(&["kill"], &["KILL"]).ok();
    container.wait_for("stopped");
    finish(&mut child);
}

/// A socket in the abstract namespace, as other runtimes take it.
#[test]
fn an_abstract_socket_without_an_agent() {
    if !privileged() {
        return;
    }
    let bundle = bundle(&["true"], everything())
        .with(|config| config["linux"]["seccomp"]["listenerPath"] = json!("@no-such-seccomp-agent"));
    bundle.container().go(&["run"]).fails(1, "connection refused");
}

#[test]
fn what_a_profile_may_not_say() {
    let refused = |profile: Value, text: &str| {
        let bundle = Bundle::new(&["true"]).with(|config| config["linux"]["seccomp"] = profile);
        bundle.go(&["create", "--dry-run", "refused"]).fails(1, text);
    };
    refused(only(&["mkdir"]), "linux.seccomp.listenerPath: seccomp listenerPath is not set");
    refused(everything(), "seccomp listenerPath is not set");
    refused(only(&[]), "linux.seccomp.syscalls[0].names");
    refused(
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
        "linux.seccomp.listenerMetadata: must not be set without listenerPath",
    );
    refused(
        json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_KILL", "errnoRet": 5}]}),
        "linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_KILL returns no errno",
    );
}

/// The flag reaches the kernel, beside that of the listener, and the log says so as runc's does.
#[test]
fn received_calls_wait_killably() {
    if !privileged() {
        return;
    }
    let bundle = bundle(&["mkdir", "/tmp/new"], only(&["mkdir"])).with(|config| {
        config["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    });
    let agent = agent(&bundle);
    let container = bundle.container();
    let run = bundle.go(&["--debug", "run", &container.id]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("\"seccomp filter flags: 40\""), "{run:?}");
    assert_eq!(agent.calls(), [libc::SYS_mkdir]);
    agent.state();
}

/// An engine that waits for its agent before `start`: Kubernetes' and Docker's agents do.
#[test]
fn a_created_container_is_paused_resumed_and_started_without_a_call() {
    if !privileged() {
        return;
    }
    let bundle = bundle(&["sleep", "1000"], everything());
    let agent = agent(&bundle);
    let container = bundle.container();
    container.go(&["create"]).ok();
    agent.state();
    for _ in 0..3 {
        container.go(&["pause"]).ok();
        assert_eq!(container.status(), "paused");
        container.go(&["start"]).fails(1, "paused");
        container.go(&["resume"]).ok();
        assert_eq!(container.status(), "created");
    }
    assert_eq!(agent.calls(), [0i64; 0], "the wait is made again, without a call");
    container.go(&["start"]).ok();
    assert_eq!(container.status(), "running");
    assert_eq!(agent.calls().first(), Some(&libc::SYS_execve));
    container.go(&["start"]).fails(1, "already running");
}

#[test]
fn a_created_container_with_a_listener_is_killed_and_deleted() {
    if !privileged() {
        return;
    }
    for words in [&["kill"][..], &["delete", "--force"]] {
        let bundle = bundle(&["sleep", "1000"], everything());
        let agent = agent(&bundle);
        let container = bundle.container();
        container.go(&["create"]).ok();
        agent.state();
        container.go(words).ok();
        if words == ["kill"] {
            container.wait_for("stopped");
            container.go(&["start"]).fails(1, "stopped");
        } else {
            container.go(&["state"]).fails(1, "does not exist");
        }
    }
}

/// Hooks of startContainer run behind the filter but not before `start`: the listener waits for them.
#[test]
fn with_start_container_hooks_the_listener_comes_at_start() {
    if !privileged() {
        return;
    }
    let bundle = bundle(&["sleep", "1000"], only(&["mkdir"])).with(|config| {
        config["hooks"] = json!({"startContainer": [{"path": "/bin/true"}]});
    });
    let agent = agent(&bundle);
    let container = bundle.container();
    container.go(&["create"]).ok();
    assert!(agent.is_idle());
    container.go(&["start"]).ok();
    agent.state();
    assert_eq!(container.status(), "running");
}

/// A program that cannot be executed after the lookup: `start` succeeds, and the container ends with 255, as without
/// a listener.
#[test]
fn a_created_container_whose_program_cannot_be_executed() {
    if !privileged() {
        return;
    }
    let bundle = bundle(&["/bin/script"], only(&["mkdir"]));
    std::fs::write(bundle.path().join("rootfs/bin/script"), "#!/missing\n").expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bundle.path().join("rootfs/bin/script"), mode).expect("its mode");
    let agent = agent(&bundle);
    let container = bundle.container();
    container.go(&["create"]).ok();
    agent.state();
    container.go(&["start"]);
    container.wait_for("stopped");
}
