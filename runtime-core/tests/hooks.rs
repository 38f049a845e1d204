//! The six kinds of hooks: when and where they run, what they get, and what their failure does.

mod support;

use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, SigHandler, SigSet};
use runtime_core::plan::CreateOptions;
use runtime_core::{Bundle, Error, ErrorKind, Exit, Signal, Status};
use serde_json::{Value, json};
use support::scene::{Scene, exit};
use support::views::{self, eventually, in_views};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A scene whose hooks write to files in a directory that the container has as /log.
struct Hooks {
    scene: Scene,
    log: PathBuf,
}

impl Hooks {
    fn new() -> Self {
        let scene = Scene::new();
        let log = scene.path().join("log");
        std::fs::create_dir(&log).unwrap();
        std::fs::create_dir(scene.path().join("rootfs/log")).unwrap();
        Self { scene, log }
    }

    /// The error of a container that a hook makes fail, at whichever step; nothing of it is left.
    fn failure(&self, config: &Value) -> Error {
        match self.scene.create(&self.scene.id(), config) {
            Err(error) => error,
            Ok(mut container) => {
                let init = container.take_init().unwrap();
                let started = container.start();
                if started.is_ok() {
                    container.kill(Signal::KILL).unwrap();
                }
                exit(&init);
                let deleted = container.delete();
                started.and(deleted).unwrap_err()
            }
        }
    }

    /// Runs `args` with the log at /log, and at its place on the host for hooks before the change of
    /// the root.
    fn config(&self, args: &[&str]) -> Value {
        let mut config = self.scene.config(args);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/log", "type": "bind", "source": self.log, "options": ["bind"]}));
        config
    }

    /// A hook of `kind` that runs a shell script with `$LOG`.
    fn hook(&self, kind: &str, script: &str) -> Value {
        match kind {
            "startContainer" => json!({
                "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["LOG=/log", "PATH=/bin", "OWN=1"],
            }),
            _ => json!({
                "path": "/bin/sh", "args": ["sh", "-c", script],
                "env": [format!("LOG={}", self.log.display()), "PATH=/usr/bin:/bin", "OWN=1"],
            }),
        }
    }

    /// Each kind writes its name to `order`, its input to `KIND.state`, and where it is.
    fn note(&self, kind: &str) -> Value {
        self.hook(
            kind,
            &format!(
                "echo {kind} >> $LOG/order; cat > $LOG/{kind}.state; \
                 for ns in mnt uts net pid ipc; do readlink /proc/self/ns/$ns; done > $LOG/{kind}.ns; \
                 env > $LOG/{kind}.env; pwd > $LOG/{kind}.pwd"
            ),
        )
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.log.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn state(&self, kind: &str) -> Value {
        serde_json::from_str(&self.read(&format!("{kind}.state")))
            .unwrap_or_else(|error| panic!("{kind}: {error}"))
    }

    fn order(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.log.join("order")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

in_views!(all_kinds: hybrid, v2);
fn all_kinds() {
    let hooks = Hooks::new();
    let mut config = hooks.config(&["sh", "-c", "echo program >> /log/order; sleep 600"]);
    for kind in KINDS {
        config["hooks"][kind] = json!([hooks.note(kind), hooks.hook(kind, "echo second >> $LOG/order")]);
    }
    config["annotations"] = json!({"org.example": "value"});
    let id = hooks.scene.id();
    let mut container = hooks.scene.create(&id, &config).unwrap();
    let init = container.take_init().unwrap();
    let create = ["prestart", "second", "createRuntime", "second", "createContainer", "second"];
    assert_eq!(hooks.order(), create);
    container.start().unwrap();
    assert!(eventually(|| hooks.order().len() == create.len() + 5));
    let order = hooks.order();
    assert_eq!(order[6..8], ["startContainer", "second"]);
    // poststart hooks come after the program's execve, not after its first steps.
    assert!(order[8..].iter().any(|line| line == "program"));
    let poststart: Vec<_> = order[8..].iter().filter(|line| *line != "program").collect();
    assert_eq!(poststart, ["poststart", "second"]);

    let namespaces = |pid: i32| {
        ["mnt", "uts", "net", "pid", "ipc"]
            .map(|kind| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string())
    };
    let own = namespaces(nix::unistd::gettid().as_raw());
    let inside = namespaces(init.pid());
    let of = |kind: &str| -> Vec<String> {
        hooks.read(&format!("{kind}.ns")).lines().map(str::to_owned).collect()
    };
    for kind in ["prestart", "createRuntime", "poststart"] {
        assert_eq!(of(kind), own, "namespaces of {kind}");
    }
    assert_eq!(of("startContainer"), inside, "namespaces of startContainer");
    // A createContainer hook sees the procfs of the host: numbers of namespaces are the same there.
    assert_eq!(of("createContainer"), inside, "namespaces of createContainer");

    container.kill(Signal::KILL).unwrap();
    exit(&init);
    assert!(!hooks.order().contains(&"poststop".to_owned()), "poststop before delete");
    container.delete().unwrap();
    assert_eq!(hooks.order()[create.len() + 5..], ["poststop", "second"]);
    assert_eq!(of("poststop"), own);

    let bundle = hooks.scene.path().join(format!("bundle-{id}"));
    for (kind, status, pid) in [
        ("prestart", "creating", init.pid()),
        ("createRuntime", "creating", init.pid()),
        ("createContainer", "creating", init.pid()),
        ("startContainer", "created", init.pid()),
        ("poststart", "running", init.pid()),
        ("poststop", "stopped", 0),
    ] {
        let state = hooks.state(kind);
        assert_eq!(state["ociVersion"], "1.3.0", "{kind}");
        assert_eq!(state["id"], id.as_str(), "{kind}");
        assert_eq!(state["bundle"], bundle.display().to_string(), "{kind}");
        assert_eq!(state["annotations"], json!({"org.example": "value"}), "{kind}");
        assert_eq!(state["status"], status, "{kind}");
        assert_eq!(state["pid"].as_i64().unwrap_or(0), i64::from(pid), "{kind}");
    }
    for kind in KINDS {
        let env = hooks.read(&format!("{kind}.env"));
        assert!(env.contains("OWN=1") && !env.contains("FROM=process"), "{kind}: {env}");
        assert!(!env.contains("CARGO"), "the caller's environment in {kind}: {env}");
    }
    hooks.scene.assert_clean("all hooks");
}

in_views!(without_env: v2);
/// As runc: hooks of the runtime's namespaces have its environment, createContainer hooks none, and
/// startContainer hooks that of the program.
fn without_env() {
    let hooks = Hooks::new();
    let mut config = hooks.config(&["true"]);
    let log = hooks.log.display();
    for kind in KINDS {
        let log = if kind == "startContainer" { "/log".to_owned() } else { log.to_string() };
        // Of builtins only: there may be no PATH.
        let script = format!("echo \"$FROM-$MARK\" > {log}/{kind}");
        config["hooks"][kind] = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    }
    // SAFETY: no other thread of this process reads the environment now.
    unsafe { std::env::set_var("MARK", "caller") };
    let mut container = hooks.scene.create(&hooks.scene.id(), &config).unwrap();
    let init = container.take_init().unwrap();
    container.start().unwrap();
    assert_eq!(exit(&init), Exit::Code(0));
    container.delete().unwrap();
    for kind in KINDS {
        let wanted = match kind {
            "startContainer" => "process-\n",
            "createContainer" => "-\n",
            _ => "-caller\n",
        };
        assert_eq!(hooks.read(kind), wanted, "{kind}");
    }
}

in_views!(nothing_of_the_caller: hybrid, v2);
/// Neither the directory of the caller, nor a descriptor that it left open, nor its blocked and ignored signals. Hooks of the
/// runtime's namespaces begin in the bundle, createContainer hooks in the root file system, and startContainer
/// hooks where the program does.
fn nothing_of_the_caller() {
    let hooks = Hooks::new();
    let leaked = nix::unistd::dup(std::fs::File::open("/").unwrap()).unwrap();
    SigSet::all().thread_set_mask().unwrap();
    // SAFETY: to ignore a signal needs no handler.
    unsafe { signal::signal(signal::Signal::SIGUSR1, SigHandler::SigIgn) }.unwrap();
    let mut config = hooks.config(&["sleep", "600"]);
    config["process"]["cwd"] = json!("/tmp");
    for kind in KINDS {
        // The list has the descriptor of the list.
        let script = format!(
            "ls /proc/self/fd > $LOG/{kind}.fds; grep -E 'SigBlk|SigIgn' /proc/self/status > $LOG/{kind}.mask; \
             pwd > $LOG/{kind}.pwd"
        );
        let script = script.replace("grep ", "/bin/busybox grep ");
        config["hooks"][kind] = json!([hooks.hook(kind, &script)]);
    }
    let id = hooks.scene.id();
    let mut container = hooks.scene.create(&id, &config).unwrap();
    let init = container.take_init().unwrap();
    container.start().unwrap();
    container.kill(Signal::KILL).unwrap();
    exit(&init);
    container.delete().unwrap();
    drop(leaked);
    let bundle = hooks.scene.path().join(format!("bundle-{id}"));
    for kind in KINDS {
        let place = match kind {
            "createContainer" => hooks.scene.path().join("rootfs"),
            "startContainer" => PathBuf::from("/tmp"),
            _ => bundle.clone(),
        };
        assert_eq!(hooks.read(&format!("{kind}.pwd")).trim(), place.display().to_string(), "{kind}");
        assert_eq!(hooks.read(&format!("{kind}.fds")), "0\n1\n2\n3\n", "{kind}");
        assert_eq!(
            hooks.read(&format!("{kind}.mask")),
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n",
            "{kind}"
        );
    }
}

in_views!(descriptors_of_the_program: v2);
/// What the program is to have is not for the hooks that run on the way to it. Control: the program has it.
fn descriptors_of_the_program() {
    let hooks = Hooks::new();
    let given = nix::unistd::dup(std::fs::File::open("/").unwrap()).unwrap();
    let preserved = u32::try_from(given.as_raw_fd()).unwrap() - 2;
    let mut config = hooks.config(&["sh", "-c", "ls -l /proc/self/fd > /log/program"]);
    for kind in KINDS {
        config["hooks"][kind] = json!([hooks.hook(kind, &format!("ls /proc/self/fd > $LOG/{kind}.fds"))]);
    }
    let id = hooks.scene.id();
    let bundle = hooks.scene.bundle(&id, &config);
    let options = CreateOptions::new().preserve_fds(preserved);
    let plan = hooks.scene.runtime.plan(&id, Bundle::open(&bundle).unwrap(), options).unwrap();
    let (container, init) = hooks.scene.runtime.run(plan).unwrap();
    exit(&init);
    container.delete().unwrap();
    for kind in KINDS {
        assert_eq!(hooks.read(&format!("{kind}.fds")), "0\n1\n2\n3\n", "{kind}");
    }
    let program = hooks.read("program");
    assert!(program.contains(&format!(" {} -> /\n", given.as_raw_fd())), "{program}");
}

in_views!(without_the_bundle: v2);
/// An engine may remove the bundle first.
fn without_the_bundle() {
    let hooks = Hooks::new();
    let mut config = hooks.config(&["true"]);
    config["hooks"]["poststop"] = json!([hooks.hook("poststop", "pwd > $LOG/pwd")]);
    let id = hooks.scene.id();
    let (container, init) = hooks.scene.run(&id, &config).unwrap();
    exit(&init);
    std::fs::remove_dir_all(hooks.scene.path().join(format!("bundle-{id}"))).unwrap();
    container.delete().unwrap();
    assert_eq!(hooks.read("pwd"), "/\n");
}

in_views!(a_failure_at_create_destroys: hybrid, v2);
fn a_failure_at_create_destroys() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        for run in [false, true] {
            let hooks = Hooks::new();
            let mut config = hooks.config(&["true"]);
            config["hooks"]["poststop"] = json!([hooks.note("poststop")]);
            config["hooks"][kind] = json!([
                hooks.hook(kind, "echo first >> $LOG/order"),
                hooks.hook(kind, "echo why it fails >&2; exit 7"),
                hooks.hook(kind, "echo never >> $LOG/order"),
            ]);
            let id = hooks.scene.id();
            let error = match run {
                true => hooks.scene.run(&id, &config).map(drop).unwrap_err(),
                false => hooks.scene.create(&id, &config).map(drop).unwrap_err(),
            };
            assert_eq!(error.kind(), ErrorKind::Hook, "{kind}: {error}");
            let text = error.to_string();
            for part in ["/bin/sh", "7", "why it fails", &format!("hooks.{kind}[1]")] {
                assert!(text.contains(part), "{kind}: no {part:?} in {text:?}");
            }
            assert_eq!(hooks.order(), ["first", "poststop"], "{kind}");
            assert_eq!(hooks.state("poststop")["status"], "stopped");
            assert_eq!(hooks.scene.runtime.container(&id).unwrap_err().kind(), ErrorKind::NotFound);
            hooks.scene.assert_clean(kind);
        }
    }
}

in_views!(a_failure_at_start_stops: hybrid, v2);
fn a_failure_at_start_stops() {
    for kind in ["startContainer", "poststart"] {
        let hooks = Hooks::new();
        let mut config = hooks.config(&["sh", "-c", "echo program > /log/program; sleep 600"]);
        config["hooks"][kind] = json!([hooks.hook(kind, "echo why it fails; exit 7")]);
        config["hooks"]["poststop"] = json!([hooks.note("poststop")]);
        let mut container = hooks.scene.create(&hooks.scene.id(), &config).unwrap();
        let init = container.take_init().unwrap();
        let error = container.start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Hook, "{kind}: {error}");
        let text = error.to_string();
        for part in ["/bin/sh", "7", "why it fails", &format!("hooks.{kind}[0]")] {
            assert!(text.contains(part), "{kind}: no {part:?} in {text:?}");
        }
        assert_eq!(container.status().unwrap(), Status::Stopped, "when the error is told");
        exit(&init);
        assert_eq!(hooks.log.join("program").exists(), kind == "poststart", "whether the program ran");
        assert!(hooks.order().is_empty(), "poststop before delete");
        container.delete().unwrap();
        assert_eq!(hooks.order(), ["poststop"], "{kind}");
        hooks.scene.assert_clean(kind);
    }
}

in_views!(a_failure_of_poststop_is_told: v2);
/// runtime.md: the other hooks run all the same.
fn a_failure_of_poststop_is_told() {
    let hooks = Hooks::new();
    let mut config = hooks.config(&["true"]);
    config["hooks"]["poststop"] =
        json!([hooks.hook("poststop", "exit 7"), hooks.hook("poststop", "echo second >> $LOG/order")]);
    let (container, init) = hooks.scene.run(&hooks.scene.id(), &config).unwrap();
    exit(&init);
    let error = container.delete().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Hook, "{error}");
    assert_eq!(hooks.order(), ["second"]);
    hooks.scene.assert_clean("a poststop hook that fails");
}

in_views!(a_timeout_kills_the_hook: v2);
fn a_timeout_kills_the_hook() {
    for kind in KINDS {
        let hooks = Hooks::new();
        let mut config = hooks.config(&["sleep", "600"]);
        let mut hook = hooks.hook(kind, "echo $$ > $LOG/pid; exec sleep 60");
        hook["timeout"] = json!(1);
        config["hooks"][kind] = json!([hook]);
        let begin = Instant::now();
        let error = hooks.failure(&config);
        let took = begin.elapsed();
        assert!(took > Duration::from_millis(900) && took < Duration::from_secs(15), "{kind}: {took:?}");
        assert_eq!(error.kind(), ErrorKind::Hook, "{kind}: {error}");
        assert!(error.to_string().contains("time"), "{kind}: {error}");
        hooks.scene.assert_clean(kind);
    }
}

in_views!(a_hook_that_is_missing_or_killed: v2);
fn a_hook_that_is_missing_or_killed() {
    for kind in KINDS {
        for (hook, part) in [
            (json!({"path": "/missing/hook"}), "/missing/hook"),
            (json!({"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $$"]}), "signal 9"),
        ] {
            let hooks = Hooks::new();
            let mut config = hooks.config(&["sleep", "600"]);
            config["hooks"][kind] = json!([hook]);
            let error = hooks.failure(&config);
            assert_eq!(error.kind(), ErrorKind::Hook, "{kind}: {error}");
            let text = error.to_string();
            assert!(text.contains(part) && text.contains(&format!("hooks.{kind}[0]")), "{kind}: {text}");
            hooks.scene.assert_clean(kind);
        }
    }
}
