//! Handlers: programs of the caller in the place of a container's own.
//!
//! The handler of these tests is busybox, which is static; the containers have none of its links under the names that the tests
//! call it by.

#[path = "support/mod.rs"]
mod support;

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

use runtime_core::executor::{Choice, Executor, Handler, Handlers, Request};
use runtime_core::plan::{CreateOptions, ExecOptions, ExecveFailure};
use runtime_core::spec::ValidProcess;
use runtime_core::{
    Bundle, CheckpointOptions, Container, ErrorKind, Exit, Process, RestoreOptions, Runtime, Stdio,
};
use serde_json::{Value, json};

use support::scene::{Scene, end, exit};
use support::views::{self, in_views};

const ANNOTATION: &str = "run.oci.handler";

/// What a handler is, as it sees itself.
const EXE: &str = "/memfd:runtime-handler (deleted)\n";

fn busybox() -> Handler {
    Handler::open("busybox", "/bin/busybox").expect("a static program")
}

/// A runtime on the state of the scene that has an executor.
fn with_executor(scene: &Scene, executor: impl Executor + 'static) -> Runtime {
    let runtime = Runtime::builder().state_root(scene.path().join("state")).executor(executor);
    runtime.build().expect("a runtime")
}

/// A configuration whose root has no program at all.
fn config(scene: &Scene, args: &[&str]) -> Value {
    let root = scene.path().join("empty");
    for name in ["dev", "proc", "sys", "tmp"] {
        std::fs::create_dir_all(root.join(name)).expect("a mount point");
    }
    let mut config = scene.config(args);
    config["root"]["path"] = json!(root);
    config
}

fn bundle(scene: &Scene, id: &str, config: &Value) -> Bundle {
    Bundle::open(scene.bundle(id, config)).expect("valid")
}

/// Runs a container by the handler that the caller chooses.
fn run(scene: &Scene, config: &Value) -> (Container, Process) {
    let id = scene.id();
    let options = CreateOptions::new().handler(busybox());
    let plan = scene.runtime.plan(&id, bundle(scene, &id, config), options).expect("planned");
    scene.runtime.run(plan.stdout(Stdio::piped())).expect("run")
}

fn printed(process: &mut Process) -> String {
    let mut text = String::new();
    process.take_stdout().expect("a pipe").read_to_string(&mut text).expect("read");
    text
}

/// Ends a container that has been run.
fn finish((container, init): (Container, Process)) {
    container.kill(runtime_core::Signal::KILL).expect("killed");
    exit(&init);
    container.delete().expect("deleted");
}

/// A process of `container` by its handler.
fn exec(container: &Container, args: &[&str], options: &ExecOptions) -> runtime_core::Result<Process> {
    let process = json!({"args": args, "cwd": "/tmp", "env": ["FROM=exec"], "user": {"uid": 7, "gid": 8}});
    let process = ValidProcess::parse(process.to_string().as_bytes()).expect("a process");
    container.plan_exec(&process, options)?.stdout(Stdio::piped()).start()
}

in_views!(a_handler_runs_in_the_confinement: hybrid, v2);
fn a_handler_runs_in_the_confinement() {
    let scene = Scene::new();
    let line =
        "echo $FROM $1 $(pwd); readlink /proc/self/exe; cat /proc/self/status; ls /proc/self/fd; hostname";
    let mut config = config(&scene, &["sh", "-c", line, "sh", "argument"]);
    config["process"]["cwd"] = json!("/tmp");
    config["process"]["user"] = json!({"uid": 7, "gid": 8});
    let (container, mut init) = run(&scene, &config);
    let text = printed(&mut init);
    assert_eq!(exit(&init), Exit::Code(0));
    assert!(text.starts_with("process argument /tmp\n/memfd:runtime-handler (deleted)\n"), "{text}");
    for words in ["Uid:\t7\t7\t7\t7", "CapBnd:\t0000000000000020", "NoNewPrivs:\t1", "\ncontained\n"] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    // Nothing but the standard streams and the directory that is listed: not the memory file.
    let open: Vec<&str> = text.lines().filter(|line| line.parse::<u32>().is_ok()).collect();
    assert_eq!(open, ["0", "1", "2", "3"], "{text}");
    container.delete().expect("deleted");
    scene.assert_clean("a handler");
}

in_views!(a_created_container_keeps_its_handler: hybrid, v2);
fn a_created_container_keeps_its_handler() {
    let scene = Scene::new();
    let id = scene.id();
    let options = CreateOptions::new().handler(busybox());
    let config = config(&scene, &["sh", "-c", "while true; do sleep 1; done"]);
    let plan = scene.runtime.plan(&id, bundle(&scene, &id, &config), options).expect("planned");
    assert_eq!(plan.handler().map(Handler::name), Some("busybox"));
    let size = std::fs::metadata("/bin/busybox").expect("a file").len();
    let shown = plan.to_string();
    let line = format!("execute handler \"busybox\" ({size} bytes) as \"sh\" \"-c\"");
    assert!(shown.contains(&line), "{shown}");
    let container = scene.runtime.create(plan).expect("created");
    container.start().expect("started");
    let pid = container.state().expect("asked").pid;
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).expect("a link");
    assert_eq!(exe.to_str(), Some("/memfd:runtime-handler (deleted)"));

    // A process of a program that the image does not have, a second one by the handler.
    let own = exec(&container, &["id", "-u"], &ExecOptions::new()).expect_err("there is no program");
    assert_eq!(own.kind(), ErrorKind::ProgramNotFound, "{own}");
    let options = ExecOptions::new().handler(busybox());
    let mut process =
        exec(&container, &["sh", "-c", "echo $FROM $(pwd) $(id -u)"], &options).expect("executed");
    assert_eq!(printed(&mut process), "exec /tmp 7\n");
    assert_eq!(exit(&process), Exit::Code(0));
    end(container);
    scene.assert_clean("a created container");
}

in_views!(an_annotation_chooses_the_handler: hybrid);
fn an_annotation_chooses_the_handler() {
    let scene = Scene::new();
    let handlers = Handlers::by_annotation(ANNOTATION).with(busybox());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let runtime = with_executor(&scene, move |request: &Request<'_>| -> Choice {
        let (user, cwd) = (request.user(), request.cwd().map(str::to_owned));
        log.lock().expect("no panic").push((request.bundle().to_owned(), request.root(), user, cwd));
        handlers.choose(request)
    });
    let mut config = config(&scene, &["sh", "-c", "sleep 600"]);
    let plan = |config: &Value| {
        let id = scene.id();
        runtime.plan(&id, bundle(&scene, &id, config), CreateOptions::new())
    };
    assert!(plan(&config).expect("planned").handler().is_none());
    config["annotations"] = json!({ANNOTATION: "vm"});
    let error = plan(&config).expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.path(), Some("annotations[\"run.oci.handler\"]"), "{error}");
    config["annotations"] = json!({ANNOTATION: "busybox"});
    let (container, init) = runtime.run(plan(&config).expect("planned")).expect("run");
    // The annotation holds for other processes too, unless the caller wants otherwise.
    let mut process = exec(&container, &["echo", "by annotation"], &ExecOptions::new()).expect("executed");
    assert_eq!(printed(&mut process), "by annotation\n");
    exit(&process);
    let error =
        exec(&container, &["echo", "no"], &ExecOptions::new().without_handler()).expect_err("no program");
    assert_eq!(error.kind(), ErrorKind::ProgramNotFound, "{error}");
    // What was asked of the executor: of the last two processes, those of exec have their own user and directory.
    let asked = std::mem::take(&mut *seen.lock().expect("no panic"));
    let [.., first, exec] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((&exec.0, &exec.1, exec.2), (&first.0, &first.1, Some((7, 8))));
    assert_eq!((exec.3.as_deref(), first.2), (Some("/tmp"), Some((0, 0))));
    assert_eq!(exec.1, scene.path().join("empty"));
    finish((container, init));
    scene.assert_clean("an annotation");
}

// An executor sees what is asked for, and may refuse it.
in_views!(a_closure_chooses_by_the_request: hybrid);
fn a_closure_chooses_by_the_request() {
    let scene = Scene::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let runtime = with_executor(&scene, move |request: &Request<'_>| -> Choice {
        let line = format!("{:?} {:?} {}", request.args(), request.env(), request.is_exec());
        assert!(request.bundle().join("config.json").is_file(), "{request:?}");
        assert!(request.root().join("bin/sh").exists(), "{request:?}");
        assert!(request.user().is_some() && request.cwd() == Some("/"), "{request:?}");
        log.lock().expect("no panic").push(line);
        if request.annotation("refused").is_some() { Err("not today".into()) } else { Ok(None) }
    });
    let id = scene.id();
    let mut config = scene.config(&["true"]);
    runtime.plan(&id, bundle(&scene, &id, &config), CreateOptions::new()).expect("planned");
    config["annotations"] = json!({"refused": "1"});
    let plan = |options| runtime.plan(&id, bundle(&scene, &id, &config), options);
    let error = plan(CreateOptions::new()).expect_err("it is refused");
    assert!(error.to_string().contains("not today"), "{error}");
    plan(CreateOptions::new().without_handler()).expect("the caller has the last word");
    let expected = r#"["true"] ["PATH=/bin", "FROM=process"] false"#;
    assert_eq!(*seen.lock().expect("no panic"), [expected; 2]);
}

in_views!(hooks_and_the_filter_hold_for_a_handler: hybrid);
fn hooks_and_the_filter_hold_for_a_handler() {
    let scene = Scene::new();
    let root = scene.path().join("rootfs");
    let mut config = scene.config(&["sh", "-c", "mkdir /tmp/new 2>/dev/null || echo denied; cat /tmp/hook"]);
    config["root"]["path"] = json!(root);
    config["hooks"] =
        json!({"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "echo hooked >/tmp/hook"]}]});
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]});
    let (container, mut init) = run(&scene, &config);
    assert_eq!(printed(&mut init), "denied\nhooked\n");
    exit(&init);
    container.delete().expect("deleted");

    // Without execveat(2) there is no way to run it: that is said before anything is made.
    config["linux"]["seccomp"]["syscalls"][0]["names"] = json!(["execveat"]);
    let id = scene.id();
    for (action, words) in
        [("SCMP_ACT_ERRNO", "denies execveat(2)"), ("SCMP_ACT_TRACE", "leaves execveat(2) to a tracer")]
    {
        config["linux"]["seccomp"]["syscalls"][0]["action"] = json!(action);
        let options = CreateOptions::new().handler(busybox());
        let error = scene.runtime.plan(&id, bundle(&scene, &id, &config), options).expect_err(action);
        assert_eq!((error.kind(), error.path()), (ErrorKind::Unsupported, Some("linux.seccomp")), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    scene
        .runtime
        .plan(&id, bundle(&scene, &id, &config), CreateOptions::new())
        .expect("a program has a path");
    scene.assert_clean("a filter");
}

in_views!(a_handler_in_a_user_namespace: hybrid, v2);
fn a_handler_in_a_user_namespace() {
    let scene = Scene::new();
    let mut config = config(&scene, &["sh", "-c", "readlink /proc/self/exe; cat /proc/self/uid_map"]);
    config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({"type": "user"}));
    for map in ["uidMappings", "gidMappings"] {
        config["linux"][map] = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    }
    let (container, mut init) = run(&scene, &config);
    let text = printed(&mut init);
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["/memfd:runtime-handler", "(deleted)", "0", "100000", "1000"], "{text}");
    exit(&init);
    container.delete().expect("deleted");
    scene.assert_clean("a user namespace");
}

// Each container has a file of its own, and none can be written; what a container does to the owner of its file stays there.
// Control: the change of the owner goes through.
in_views!(containers_do_not_share_the_file_of_a_handler: hybrid);
fn containers_do_not_share_the_file_of_a_handler() {
    let scene = Scene::new();
    let config = config(&scene, &["sleep", "600"]);
    let containers = [run(&scene, &config), run(&scene, &config)];
    let [first, second] = containers.each_ref().map(|(_, init)| format!("/proc/{}/exe", init.pid()));
    let identity = |path: &str| std::fs::metadata(path).map(|data| (data.dev(), data.ino())).expect("a file");
    assert_ne!(identity(&first), identity(&second));
    std::os::unix::fs::chown(&first, Some(4242), Some(4242)).expect("changed");
    assert_eq!(std::fs::metadata(&first).expect("a file").uid(), 4242);
    assert_eq!(std::fs::metadata(&second).expect("a file").uid(), 0);
    let held = std::fs::File::open(&second).expect("open");
    containers.into_iter().for_each(finish);
    // The program has ended: now it is the seals that hold.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
    assert!(std::fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(0)).is_err());
    let seals = nix::fcntl::fcntl(&held, nix::fcntl::FcntlArg::F_GET_SEALS).expect("a memory file");
    let wanted = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    assert_eq!(seals & wanted, wanted);
    scene.assert_clean("two handlers");
}

// Behind a filter with a listener the init waits for `start`, and still has the handler's file.
in_views!(a_handler_behind_a_listener: hybrid, v2);
fn a_handler_behind_a_listener() {
    let scene = Scene::new();
    let socket = scene.path().join("agent");
    let agent = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let mut config = config(&scene, &["readlink", "/proc/self/exe"]);
    let rule = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
    config["linux"]["seccomp"] =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": socket});
    let id = scene.id();
    let options = CreateOptions::new().handler(busybox());
    let plan = scene.runtime.plan(&id, bundle(&scene, &id, &config), options).expect("planned");
    let mut container = scene.runtime.create(plan.stdout(Stdio::piped())).expect("created");
    drop(agent.accept().expect("the listener comes with create"));
    container.start().expect("started");
    let mut init = container.take_init().expect("an init");
    assert_eq!(printed(&mut init), EXE);
    assert_eq!(exit(&init), Exit::Code(0));
    container.delete().expect("deleted");
    scene.assert_clean("a listener");
}

// The process that runs the handler is forked into the PID namespace last, behind its filter.
in_views!(a_handler_in_the_pid_namespace_of_another: hybrid);
fn a_handler_in_the_pid_namespace_of_another() {
    let scene = Scene::new();
    let first = scene.started(&["sleep", "600"]);
    let mut config = config(&scene, &["readlink", "/proc/self/exe"]);
    let path = format!("/proc/{}/ns/pid", first.state().expect("asked").pid);
    config["linux"]["namespaces"][0] = json!({"type": "pid", "path": path});
    config["process"]["noNewPrivileges"] = json!(false);
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]});
    let (container, mut init) = run(&scene, &config);
    assert_eq!(printed(&mut init), EXE);
    exit(&init);
    container.delete().expect("deleted");
    end(first);
    scene.assert_clean("a joined PID namespace");
}

/// Says to the re-executed test that memory files cannot be executed.
const WITHOUT: &str = "TEST_WITHOUT_EXECUTABLE_MEMORY";

/// Where no memory file can be executed, the handler is on a file system of its own that is read-only. The sysctl is one of the
/// PID namespace, and can never be lowered.
#[test]
fn a_handler_without_executable_memory() {
    let name = "a_handler_without_executable_memory";
    if !nix::unistd::geteuid().is_root() {
        return views::skip("needs root");
    }
    if !std::path::Path::new("/proc/sys/vm/memfd_noexec").exists() {
        println!("skipped: this kernel has no vm.memfd_noexec");
        return;
    }
    if std::env::var_os(WITHOUT).is_some() {
        return without_executable_memory();
    }
    let output = std::process::Command::new("unshare")
        .args(["--pid", "--fork", "--mount", "--mount-proc", "--propagation", "private", "sh", "-c"])
        .args(["echo 2 >/proc/sys/vm/memfd_noexec && \"$@\"", "_"])
        .arg(std::env::current_exe().expect("the test has a path"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(WITHOUT, "1")
        .output()
        .expect("unshare(1) runs");
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "failed: {}", output.status);
}

fn without_executable_memory() {
    let scene = Scene::new();
    let (container, init) = run(&scene, &config(&scene, &["sleep", "600"]));
    let path = format!("/proc/{}/exe", init.pid());
    assert_eq!(std::fs::read_link(&path).expect("a link").to_str(), Some("/memfd:runtime-handler"));
    let held = std::fs::File::open(&path).expect("open");
    let error =
        container.checkpoint(&CheckpointOptions::new(scene.path().join("image"))).expect_err("refused");
    assert!(error.to_string().contains("the program of a handler"), "{error}");
    finish((container, init));
    let held = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
    let written = std::fs::OpenOptions::new().write(true).open(&held).map(drop).expect_err("read-only");
    assert_eq!(written.raw_os_error(), Some(libc::EROFS));
    let given = std::os::unix::fs::chown(&held, Some(4242), None).expect_err("read-only");
    assert_eq!(given.raw_os_error(), Some(libc::EROFS));
    scene.assert_clean("a handler on a file system");
}

// A program that looks right and that the kernel refuses (it takes no more than 64 kB of program headers).
in_views!(a_handler_that_cannot_be_executed_is_a_clear_error: hybrid);
fn a_handler_that_cannot_be_executed_is_a_clear_error() {
    const HEADERS: u16 = 1200;
    let scene = Scene::new();
    let mut bytes = std::fs::read("/bin/busybox").expect("read");
    let table = u64::try_from(bytes.len()).expect("small");
    bytes.resize(bytes.len() + 56 * usize::from(HEADERS), 0);
    bytes[32..40].copy_from_slice(&table.to_le_bytes());
    bytes[56..58].copy_from_slice(&HEADERS.to_le_bytes());
    bytes[usize::try_from(table).expect("small")] = 1;
    let broken = Handler::from_bytes("broken", bytes).expect("static by its headers");
    let config = config(&scene, &["sh"]);
    let plan = |options: CreateOptions| {
        let id = scene.id();
        let plan = scene.runtime.plan(&id, bundle(&scene, &id, &config), options.handler(broken.clone()));
        plan.expect("planned").stderr(Stdio::piped())
    };
    let says = |error: runtime_core::Error| {
        assert_eq!(
            (error.kind(), error.errno()),
            (ErrorKind::ProgramNotExecutable, Some(libc::ENOEXEC)),
            "{error}"
        );
        assert_eq!(error.to_string(), "exec handler \"broken\": exec format error");
    };
    says(scene.runtime.run(plan(CreateOptions::new())).expect_err("it is refused"));
    let mut created = scene.runtime.create(plan(CreateOptions::new())).expect("created");
    says(created.start().expect_err("it is refused"));
    exit(&created.take_init().expect("an init"));
    created.delete().expect("deleted");

    // As runc has it: the process says so.
    let exits = CreateOptions::new().on_execve_failure(ExecveFailure::Exit);
    let (container, mut init) = scene.runtime.run(plan(exits)).expect("run");
    let mut text = String::new();
    init.take_stderr().expect("a pipe").read_to_string(&mut text).expect("read");
    assert_eq!(text, "exec handler \"broken\": exec format error\n");
    assert_eq!(exit(&init), Exit::Code(255));
    container.delete().expect("deleted");
    scene.assert_clean("a broken handler");
}

// Control: of a container without a handler the missing CRIU is what is wrong.
in_views!(a_handler_is_not_checkpointed: hybrid);
fn a_handler_is_not_checkpointed() {
    let scene = Scene::new();
    let (container, init) = run(&scene, &config(&scene, &["sleep", "600"]));
    let mut options = CheckpointOptions::new(scene.path().join("image"));
    options.criu.program = "/nonexistent/criu".into();
    let error = container.checkpoint(&options).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("the program of a handler"), "{error}");
    finish((container, init));
    let plain = scene.started(&["sleep", "600"]);
    let error = plain.checkpoint(&options).expect_err("no CRIU");
    assert!(error.to_string().contains("/nonexistent/criu"), "{error}");
    end(plain);

    let id = scene.id();
    let options = CreateOptions::new().handler(busybox());
    let plan =
        scene.runtime.plan(&id, bundle(&scene, &id, &config(&scene, &["sh"])), options).expect("planned");
    let error =
        scene.runtime.restore(plan, &RestoreOptions::new(scene.path().join("image"))).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    scene.assert_clean("a checkpoint");
}
