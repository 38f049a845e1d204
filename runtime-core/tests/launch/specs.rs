//! Containers and processes from memory: no directory with a configuration.

use std::io::Read;
use std::os::unix::fs::MetadataExt;

use runtime_core::namespaces::Namespaces;
use runtime_core::plan::{CreateOptions, ExecOptions};
use runtime_core::{Bundle, Container, ContainerSpec, ErrorKind, Exit, Process, ProcessSpec, Stdio};

use super::support::scene::{Scene, exit};
use super::views::in_views;

fn spec(scene: &Scene, id: &str) -> ContainerSpec {
    let spec = ContainerSpec::new(scene.path().join("rootfs")).cgroups_path(format!("/{id}"));
    spec.process(|process| process.env("PATH", "/bin"))
}

fn run(scene: &Scene, id: &str, bundle: Bundle) -> (Container, Process) {
    let plan = scene.runtime.plan(id, bundle, CreateOptions::new()).expect("planned");
    scene.runtime.run(plan.stdout(Stdio::piped())).expect("run")
}

fn printed(process: &mut Process) -> String {
    let mut text = String::new();
    process.take_stdout().expect("a pipe").read_to_string(&mut text).expect("read");
    text
}

in_views!(a_container_from_calls: hybrid, v1);
fn a_container_from_calls() {
    let scene = Scene::new();
    let id = scene.id();
    std::fs::write(scene.path().join("file"), "shown\n").expect("written");
    std::fs::create_dir(scene.path().join("rootfs/shared")).expect("made");
    let line = "echo $A $(hostname) $(id -u); cat /shared/file; touch /shared/new || echo refused; \
                while ! test -e /tmp/end; do sleep 0.05; done";
    let spec = spec(&scene, &id)
        .args(["sh", "-c", line])
        .env("A", "1")
        .hostname("named")
        .bind(scene.path(), "/shared", true)
        .tmpfs("/tmp", 1 << 20)
        .memory_max(64 << 20)
        .pids_max(20)
        .process(|process| process.user(7, 8));
    let (container, mut init) = run(&scene, &id, spec.build().expect("valid"));
    let statistics = container.statistics().expect("statistics");
    assert_eq!(statistics.pids.limit, 20);

    let process = ProcessSpec::new(["sh", "-c", "exit $(id -u)"]).env("PATH", "/bin").user(9, 9).build();
    let process = container.exec(&process.expect("valid"), &ExecOptions::new()).expect("executed");
    assert_eq!(exit(&process), Exit::Code(9));
    // A process like the container's own, which is another user's.
    let process =
        container.process_spec().expect("read").args(["sh", "-c", "touch /tmp/end && exit $(id -u)$A"]);
    let process = container.exec(&process.build().expect("valid"), &ExecOptions::new()).expect("executed");
    assert_eq!(exit(&process), Exit::Code(71));
    assert_eq!(printed(&mut init), "1 named 7\nshown\nrefused\n");
    assert_eq!(exit(&init), Exit::Code(0));
    container.delete().expect("deleted");
    scene.assert_clean("a container from calls");
}

in_views!(a_container_from_bytes_and_values: hybrid);
fn a_container_from_bytes_and_values() {
    let scene = Scene::new();
    let id = scene.id();
    let config = scene.config(&["echo", "from bytes"]).to_string();
    let bundle = Bundle::from_bytes(scene.path(), config).expect("valid");
    let (container, mut init) = run(&scene, &id, bundle);
    assert_eq!(printed(&mut init), "from bytes\n");
    exit(&init);
    assert_eq!(container.bundle().expect("a bundle"), scene.path().to_str().expect("a text"));
    container.delete().expect("deleted");

    let id = scene.id();
    let mut oci = spec(&scene, &id).args(["hostname"]).to_oci().expect("a value");
    oci.set_hostname(Some("changed".to_owned()));
    let (container, mut init) = run(&scene, &id, Bundle::from_spec(scene.path(), &oci).expect("valid"));
    assert_eq!(printed(&mut init), "changed\n");
    exit(&init);
    container.delete().expect("deleted");

    let error = Bundle::from_bytes("/", "{").expect_err("no configuration");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(!scene.path().join("config.json").exists());
    scene.assert_clean("specs in memory");
}

// The user namespace maps one id, as that of a user without privileges would.
// The holder has gone, and its number may be that of another process, when the container is made.
in_views!(namespaces_of_a_process_are_held: hybrid);
fn namespaces_of_a_process_are_held() {
    let scene = Scene::new();
    let id = scene.id();
    let (holder, init) =
        run(&scene, &id, spec(&scene, &id).hostname("pod").args(["sleep", "600"]).build().expect("valid"));
    let number =
        |kind: &str| std::fs::metadata(format!("/proc/{}/ns/{kind}", init.pid())).expect("a namespace").ino();
    let wanted = format!("pod net:[{}] ipc:[{}]\n", number("net"), number("ipc"));
    let id = scene.id();
    let kinds = Namespaces::NETWORK | Namespaces::IPC | Namespaces::UTS;
    let line = "echo $(hostname) $(readlink /proc/self/ns/net) $(readlink /proc/self/ns/ipc)";
    let joined = spec(&scene, &id).args(["sh", "-c", line]).join_process(&init, kinds).expect("it lives");
    // A clone takes the same ones, and a path that is given afterwards counts.
    assert_eq!(joined, joined.clone());
    assert_ne!(joined, joined.clone().join(Namespaces::IPC, format!("/proc/{}/ns/ipc", init.pid())));

    holder.kill(runtime_core::Signal::KILL).expect("killed");
    exit(&init);
    holder.delete().expect("deleted");
    let plan = scene.runtime.plan(&id, joined.build().expect("valid"), CreateOptions::new());
    let text = plan.expect("planned").to_string();
    assert!(text.contains(&format!("held: network namespace \"/proc/{}/ns/net\"", init.pid())), "{text}");
    let (container, mut process) = run(&scene, &id, joined.build().expect("valid"));
    assert_eq!(printed(&mut process), wanted);
    assert_eq!(exit(&process), Exit::Code(0));
    container.delete().expect("deleted");

    let error = spec(&scene, &id).join_process(&init, kinds).expect_err("it has ended");
    assert!(matches!(error.errno(), Some(libc::ENOENT | libc::ESRCH)), "{error}");
    scene.assert_clean("a process that held namespaces");
}

in_views!(a_container_of_one_user: hybrid, v2);
fn a_container_of_one_user() {
    let scene = Scene::new();
    let id = scene.id();
    let spec =
        spec(&scene, &id).args(["sh", "-c", "id -u; cat /proc/self/uid_map"]).user_namespace(4321, 4321, 1);
    let (container, mut init) = run(&scene, &id, spec.build().expect("valid"));
    let text = printed(&mut init);
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["0", "0", "4321", "1"], "{text}");
    exit(&init);
    container.delete().expect("deleted");
    scene.assert_clean("a user namespace");
}
