//! A command without a container: each part of a sandbox alone, all of them together, as root and as a user.

mod support;

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use runtime_core::capabilities::CapabilitySet;
use runtime_core::cgroup::{Cgroup, CgroupPlan, Hierarchies, Resources};
use runtime_core::idmap::{IdMap, IdMapping};
use runtime_core::namespaces::Namespaces;
use runtime_core::rootfs::Mount;
use runtime_core::seccomp::Filter;
use runtime_core::spec::parse_profile;
use runtime_core::{Error, ErrorKind, Exit, Sandbox, Signal, Stdio};
use support::scene::{self, Scene};
use support::views::{self, in_views, skip};

/// Says to the re-executed test that it is a user's.
const AS_USER: &str = "TEST_AS_USER";
/// The user, who has no other rights on the machine.
const USER: u32 = 4711;

/// What the command prints; it has to end well.
fn output(sandbox: Sandbox<'_>) -> String {
    let mut process = sandbox.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("spawned");
    let mut text = String::new();
    process.take_stdout().expect("piped").read_to_string(&mut text).expect("read");
    assert_eq!(scene::exit(&process), Exit::Code(0), "{text}");
    text
}

fn shell(script: &str) -> Sandbox<'static> {
    Sandbox::new("sh").args(["-c", script])
}

fn refused(sandbox: Sandbox<'_>) -> Error {
    match sandbox.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
        Err(error) => error,
        Ok(process) => panic!("it runs and ends with {:?}", scene::exit(&process)),
    }
}

/// A filter that denies one call with EPERM.
fn denies(call: &str) -> Filter {
    let profile = format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["{call}"], "action": "SCMP_ACT_ERRNO"}}]}}"#
    );
    let profile = parse_profile(profile.as_bytes(), "profile").expect("a profile");
    Filter::from_profile(&profile).expect("a filter")
}

fn namespace(kind: &str) -> String {
    std::fs::read_link(format!("/proc/thread-self/ns/{kind}")).expect("ns").to_string_lossy().into_owned()
}

/// The root file system of a scene.
fn root(scene: &Scene) -> String {
    scene.path().join("rootfs").to_string_lossy().into_owned()
}

/// Runs `body` as a user without rights, in a process of its own.
fn as_user(test: &str, body: fn()) {
    if std::env::var_os(AS_USER).is_some() {
        return body();
    }
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root, to become a user");
    }
    let place = tempfile::tempdir().expect("a directory");
    let program = place.path().join("test");
    support::apart::copy_program(&std::env::current_exe().expect("this program"), &program);
    for (path, mode) in [(place.path(), 0o755), (&program, 0o755)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("the mode is set");
    }
    let output = Command::new(&program)
        .args(["--exact", test, "--nocapture"])
        .env(AS_USER, "1")
        .current_dir("/")
        .uid(USER)
        .gid(USER)
        .output()
        .expect("the test starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

in_views!(what_is_not_asked_for_stays: hybrid);
/// Nothing but a session, a clean environment, and no descriptor of the caller.
fn what_is_not_asked_for_stays() {
    let scene = Scene::new();
    let _secret = std::fs::File::open("/etc/passwd").expect("a file");
    let text = output(shell(
        "readlink /proc/self/ns/mnt /proc/self/ns/net /proc/self/ns/pid; pwd; env; echo fds; ls /proc/self/fd",
    ));
    for kind in ["mnt", "net", "pid"] {
        assert!(text.contains(&namespace(kind)), "{kind}: {text}");
    }
    let (before, fds) = text.split_once("fds\n").expect("the mark");
    assert!(before.contains("\n/\n") && before.contains("HOME=/root\n"), "{text}");
    assert!(!before.contains("CARGO"), "the caller's environment: {text}");
    // The fourth is that of `ls` itself.
    assert_eq!(fds.lines().count(), 4, "{fds}");
    let text = output(Sandbox::new("pwd").cwd("/proc/self"));
    assert!(text.starts_with("/proc/"), "{text}");
    let text = output(shell("echo $A-$PATH").env("A", "b").env("PATH", "/bin"));
    assert_eq!(text, "b-/bin\n");
    scene.assert_clean("plain commands");
}

in_views!(namespaces_alone: hybrid);
fn namespaces_alone() {
    let scene = Scene::new();
    for (kind, flag) in [
        ("net", Namespaces::NETWORK),
        ("ipc", Namespaces::IPC),
        ("uts", Namespaces::UTS),
        ("mnt", Namespaces::MOUNT),
        ("pid", Namespaces::PID),
        ("cgroup", Namespaces::CGROUP),
        ("user", Namespaces::USER),
    ] {
        let text = output(shell(&format!("readlink /proc/self/ns/{kind}")).namespaces(flag));
        assert_ne!(text.trim(), namespace(kind), "{kind} is the caller's");
        assert!(text.starts_with(kind), "{text}");
    }
    assert_eq!(output(shell("echo $$").namespaces(Namespaces::PID)), "1\n");
    assert_eq!(output(shell("hostname").hostname("other")), "other\n");
    let text = output(shell("cat /proc/net/dev").namespaces(Namespaces::NETWORK));
    assert_eq!(text.lines().filter(|line| line.contains(':')).count(), 1, "{text}");
    let all = output(shell("echo $$; hostname").namespaces(Namespaces::all()).hostname("all"));
    assert_eq!(all, "1\nall\n");
    scene.assert_clean("namespaces");
}

in_views!(namespaces_are_joined: hybrid);
/// Two commands in the same network, PID, UTS and IPC namespaces.
fn namespaces_are_joined() {
    let scene = Scene::new();
    let kinds = [
        ("net", Namespaces::NETWORK),
        ("pid", Namespaces::PID),
        ("uts", Namespaces::UTS),
        ("ipc", Namespaces::IPC),
    ];
    let all = kinds.iter().fold(Namespaces::NONE, |all, (_, kind)| all | *kind);
    let first =
        shell("sleep 600").namespaces(all).hostname("first").stdout(Stdio::null()).stderr(Stdio::null());
    let mut first = first.spawn().expect("spawned");
    first.kill_on_drop(true);
    let path = |name: &str| format!("/proc/{}/ns/{name}", first.pid());
    let join = |sandbox| {
        kinds.iter().fold(sandbox, |sandbox: Sandbox<'static>, (name, kind)| sandbox.join(*kind, path(name)))
    };
    let text = output(
        join(shell("hostname; cat /proc/1/comm; readlink /proc/self/ns/net")).mount(Mount::proc("/proc")),
    );
    let network = std::fs::read_link(path("net")).expect("a namespace").to_string_lossy().into_owned();
    assert_eq!(text, format!("first\nsh\n{network}\n"));

    let error = refused(shell("true").join(Namespaces::NETWORK, "/missing")).to_string();
    assert!(error.contains("/missing") && error.contains("(sandbox.joins[0])"), "{error}");
    let error =
        refused(shell("true").join(Namespaces::UTS, path("ipc")).join(Namespaces::NETWORK, path("net")));
    assert!(error.to_string().contains("another type"), "{error}");
    let two = Namespaces::UTS | Namespaces::IPC;
    let wrong =
        shell("true").join(two, "x").join(Namespaces::USER, "/x").hostname("x").join(Namespaces::UTS, "/x");
    let error = refused(wrong).to_string();
    for part in [
        "sandbox.joins[0]: \"x\" is not an absolute path",
        "has 2 kinds",
        "a user namespace cannot be joined",
        "sandbox.joins[2]: another uts namespace",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // Namespaces of a process stay, whatever becomes of the process and of its number.
    let held =
        shell("hostname").join_process(&first, Namespaces::NETWORK | Namespaces::UTS).expect("it lives");
    first.signal(Signal::KILL).expect("killed");
    scene::exit(&first);
    assert_eq!(output(held), "first\n");
    assert!(shell("true").join_process(&first, Namespaces::UTS).is_err());
    scene.assert_clean("joined namespaces");
}

in_views!(threads_start_commands: hybrid);
/// From many threads at once, with streams of their own: nothing is mixed up, left open or not reaped.
fn threads_start_commands() {
    let scene = Scene::new();
    let open = || std::fs::read_dir("/proc/self/fd").expect("fds").count();
    let before = open();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for at in 0..10 {
                    let name = format!("{thread}-{at}");
                    let text =
                        output(Sandbox::new("echo").arg(&name).namespaces(Namespaces::PID | Namespaces::UTS));
                    assert_eq!(text, format!("{name}\n"));
                }
            });
        }
    });
    assert_eq!(open(), before);
    assert_eq!(support::leftovers::descendants(), [""; 0]);
    scene.assert_clean("threads");
}

in_views!(mounts_without_a_root: hybrid);
/// Mounts cover the host's tree, for the command alone.
fn mounts_without_a_root() {
    let scene = Scene::new();
    let before = std::fs::metadata("/dev/null").expect("/dev/null");
    let data = scene.path().join("data");
    std::fs::write(&data, "bound").expect("written");
    let script = "cat /etc/hostname && ls -A /mnt && touch /mnt/x && cat /etc/passwd >/dev/null && ls -l /dev/null && cat /proc/1/comm";
    let text = output(
        shell(script)
            .namespaces(Namespaces::PID)
            .mount(Mount::bind(data.to_string_lossy(), "/etc/hostname").read_only())
            .mount(Mount::tmpfs("/mnt"))
            .mount(Mount::dev())
            .mount(Mount::proc("/proc")),
    );
    assert!(text.starts_with("bound") && text.contains("crw-rw-rw-") && text.ends_with("sh\n"), "{text}");
    assert!(!Path::new("/mnt/x").exists());
    let after = std::fs::metadata("/dev/null").expect("/dev/null");
    use std::os::unix::fs::MetadataExt as _;
    let all = |of: &std::fs::Metadata| (of.ino(), of.mode(), of.uid(), of.ctime(), of.ctime_nsec());
    assert_eq!(all(&before), all(&after), "the host's /dev/null has changed");
    scene.assert_clean("mounts");
}

in_views!(another_root: hybrid);
fn another_root() {
    let scene = Scene::new();
    let rootfs = scene.path().join("rootfs");
    let text = output(shell("ls /; readlink /proc/self/exe").root(root(&scene)).mount(Mount::proc("/proc")));
    assert_eq!(text, "bin\ndev\nproc\nsys\ntmp\n/bin/busybox\n");
    // Without a mount of /dev nothing is made there.
    assert_eq!(rootfs.join("dev").read_dir().expect("dev").count(), 0);
    let data = scene.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let script = "touch /x; touch /data/x; touch /tmp/x && ls -A /tmp; echo hello >/dev/null; ls /dev/pts";
    let sandbox = shell(script)
        .root(root(&scene))
        .read_only_root()
        .mount(Mount::dev())
        .mount(Mount::devpts())
        .mount(Mount::tmpfs("/tmp").option("size=1m"))
        .stderr(Stdio::null());
    std::fs::create_dir(rootfs.join("data")).expect("a mount point");
    let text = output(sandbox.mount(Mount::bind(data.to_string_lossy(), "/data").read_only()));
    assert_eq!(text, "x\nptmx\n");
    assert!(!rootfs.join("x").exists() && !data.join("x").exists());
    scene.assert_clean("other roots");
}

in_views!(the_program_is_not_the_hosts: hybrid);
/// What runs is the file of the root; no process of the launch is left, and no file of this program can be reached.
fn the_program_is_not_the_hosts() {
    let scene = Scene::new();
    let process = Sandbox::new("sleep")
        .args(["600"])
        .root(root(&scene))
        .namespaces(Namespaces::PID)
        .spawn()
        .expect("spawned");
    use std::os::unix::fs::MetadataExt as _;
    let exe = std::fs::metadata(format!("/proc/{}/exe", process.pid())).expect("exe");
    let file = std::fs::metadata(scene.path().join("rootfs/bin/busybox")).expect("the file");
    assert_eq!((exe.dev(), exe.ino()), (file.dev(), file.ino()));
    assert_eq!(support::leftovers::descendants().len(), 1, "{:?}", support::leftovers::descendants());
    process.signal(Signal::KILL).expect("killed");
    assert_eq!(scene::exit(&process), Exit::Signal(Signal::KILL));
    scene.assert_clean("a killed command");
}

in_views!(capabilities_alone: hybrid);
fn capabilities_alone() {
    let scene = Scene::new();
    let status = |sandbox: Sandbox<'_>| {
        let text = output(sandbox);
        let mask =
            |line: &str| u64::from_str_radix(line.split_whitespace().nth(1).unwrap_or(""), 16).unwrap();
        text.lines().map(mask).collect::<Vec<u64>>()
    };
    let caps = || shell("grep ^Cap /proc/self/status");
    // Inheritable, permitted, effective, bounding, ambient.
    let few = CapabilitySet::KILL | CapabilitySet::CHOWN;
    let bits = few.bits();
    assert_eq!(status(caps().capabilities(CapabilitySet::none())), [0; 5]);
    assert_eq!(status(caps().capabilities(few)), [0, bits, bits, bits, 0]);
    assert_eq!(status(caps().capabilities(few).user(1000, 1000)), [bits; 5]);
    let own: Vec<u64> = {
        let text = Command::new("grep").args(["^Cap", "/proc/self/status"]).output().expect("grep").stdout;
        let text = String::from_utf8(text).expect("text");
        text.lines()
            .map(|line| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap())
            .collect()
    };
    assert_eq!(status(caps()), own);
    let text = output(
        shell("id -u; id -g; id -G; touch /etc/x || echo no")
            .user(1000, 1001)
            .groups([5, 6])
            .stderr(Stdio::null()),
    );
    assert_eq!(text, "1000\n1001\n1001 5 6\nno\n");
    let text = output(shell("grep NoNewPrivs /proc/self/status").no_new_privileges());
    assert!(text.trim().ends_with('1'), "{text}");
    scene.assert_clean("capabilities");
}

in_views!(a_filter_alone: hybrid);
fn a_filter_alone() {
    let scene = Scene::new();
    let script = "grep ^Seccomp: /proc/self/status; mkdir /tmp/never 2>&1";
    let text = output(shell(&format!("{script} || true")).filter(denies("mkdir")));
    assert!(text.contains("Seccomp:\t2") && text.contains("Operation not permitted"), "{text}");
    let text = output(shell("grep ^Seccomp: /proc/self/status").filter(denies("mkdir")).no_new_privileges());
    assert_eq!(text, "Seccomp:\t2\n");
    scene.assert_clean("filters");
}

in_views!(a_cgroup_from_the_first_instruction: hybrid, v1, v2);
fn a_cgroup_from_the_first_instruction() {
    let scene = Scene::new();
    let name = scene.id();
    let hierarchies = Hierarchies::detect().expect("cgroups");
    let plan =
        CgroupPlan::compile(hierarchies.view(), Some(&format!("/{name}")), &name, &Resources::default());
    let plan = plan.expect("a plan");
    let cgroup = Cgroup::create(&hierarchies, &plan).expect("made");
    cgroup.apply(&plan).expect("limits");
    let text = output(shell("cat /proc/self/cgroup").cgroup(&cgroup));
    // In each hierarchy in which the cgroup has a directory.
    let inside = text.lines().filter(|line| line.ends_with(&format!("/{name}"))).count();
    assert_eq!(inside, cgroup.location().places.len(), "{text}");
    let process = cgroup.spawn(shell("sleep 600 & sleep 600")).expect("spawned");
    assert!(cgroup.processes(true).expect("listed").contains(&process.pid()));
    cgroup.kill_all().expect("killed");
    assert_eq!(scene::exit(&process), Exit::Signal(Signal::KILL));
    // The root of its cgroup namespace is its cgroup.
    let text = output(shell("cat /proc/self/cgroup").cgroup(&cgroup).namespaces(Namespaces::CGROUP));
    assert!(!text.contains(&name), "{text}");
    cgroup.wait_empty(scene::LIMIT).expect("empty");
    cgroup.remove().expect("removed");
    scene.assert_clean("cgroups");
}

in_views!(id_maps_alone: hybrid);
fn id_maps_alone() {
    let scene = Scene::new();
    let map = || IdMap::range(0, 100_000, 10);
    let text = output(shell("id -u; cat /proc/self/uid_map /proc/self/gid_map").id_maps(map(), map()));
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "100000", "10", "0", "100000", "10"]);
    let text = output(
        shell("id -u; touch /tmp/owned; ls -ln /tmp/owned")
            .id_maps(map(), map())
            .user(3, 3)
            .root(root(&scene))
            .mount(Mount::tmpfs("/tmp").option("mode=777")),
    );
    assert!(text.starts_with("3\n") && text.contains(" 3 "), "{text}");
    let error = refused(shell("true").id_maps(map(), map()).user(10, 0));
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("sandbox.user.uid: 10 is not mapped"), "{error}");
    let error = refused(shell("true").id_maps(IdMap::single(1, 1), map()));
    assert!(error.to_string().contains("sandbox.id_maps.users"), "{error}");
    scene.assert_clean("id maps");
}

in_views!(all_together: hybrid, v2);
fn all_together() {
    let scene = Scene::new();
    let name = scene.id();
    let hierarchies = Hierarchies::detect().expect("cgroups");
    let plan =
        CgroupPlan::compile(hierarchies.view(), Some(&format!("/{name}")), &name, &Resources::default());
    let cgroup = Cgroup::create(&hierarchies, &plan.expect("a plan")).expect("made");
    let script = "echo $$; id -u; hostname; mkdir /tmp/x 2>/dev/null || echo denied; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; grep -c . /proc/net/dev; cat /proc/self/cgroup";
    std::os::unix::fs::symlink("busybox", scene.path().join("rootfs/bin/grep")).expect("a link");
    let everything = || {
        shell(script)
            .namespaces(Namespaces::PID | Namespaces::NETWORK | Namespaces::IPC | Namespaces::CGROUP)
            .hostname("all")
            .root(root(&scene))
            .read_only_root()
            .mount(Mount::proc("/proc"))
            .mount(Mount::dev())
            .mount(Mount::tmpfs("/tmp"))
            .capabilities(CapabilitySet::none())
            .no_new_privileges()
            .filter(denies("mkdir"))
            .cgroup(&cgroup)
    };
    let text = output(everything());
    assert!(text.starts_with("1\n0\nall\ndenied\n"), "{text}");
    assert!(text.contains("CapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n3\n"), "{text}");
    assert!(!text.contains(&name), "{text}");
    // The root of the user namespace owns nothing on the host.
    let mapped = everything().id_maps(IdMap::range(0, 100_000, 65_536), IdMap::range(0, 100_000, 65_536));
    assert!(output(mapped).starts_with("1\n0\nall\ndenied\n"));
    cgroup.wait_empty(scene::LIMIT).expect("empty");
    cgroup.remove().expect("removed");
    scene.assert_clean("everything");
}

in_views!(failures_name_the_field: hybrid);
fn failures_name_the_field() {
    let scene = Scene::new();
    let check = |sandbox: Sandbox<'_>, kind: ErrorKind, parts: &[&str]| {
        let error = refused(sandbox);
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        parts.iter().for_each(|part| assert!(text.contains(part), "{part}: {text}"));
        assert!(!text.contains("config.json"), "{text}");
    };
    let missing = "no such file or directory";
    check(
        shell("true").root("/missing/root"),
        ErrorKind::System,
        &["/missing/root", missing, "(sandbox.root)"],
    );
    check(Sandbox::new("/missing"), ErrorKind::ProgramNotFound, &["/missing", missing]);
    check(Sandbox::new("missing").root(root(&scene)), ErrorKind::ProgramNotFound, &["missing"]);
    check(
        Sandbox::new("/etc/passwd"),
        ErrorKind::ProgramNotExecutable,
        &["/etc/passwd", "permission denied"],
    );
    check(shell("true").cwd("/missing"), ErrorKind::System, &["/missing", missing, "(sandbox.cwd)"]);
    let bind = Mount::bind("/missing", "/tmp");
    check(
        shell("true").mount(Mount::tmpfs("/tmp")).mount(bind),
        ErrorKind::System,
        &["/missing", missing, "(sandbox.mounts[1])"],
    );
    let option = Mount::tmpfs("/tmp").option("nosuchoption");
    check(shell("true").mount(option), ErrorKind::System, &["nosuchoption", "(sandbox.mounts[0])"]);
    // All that is wrong by itself, in one error.
    let wrong =
        Sandbox::new("a\0b").cwd("x").read_only_root().env("", "y").mount(Mount::proc("/")).user(u32::MAX, 0);
    let fields = [
        "sandbox.args[0]",
        "sandbox.cwd",
        "sandbox.read_only_root",
        "sandbox.env",
        "sandbox.mounts[0].destination",
        "sandbox.user",
    ];
    check(wrong, ErrorKind::InvalidInput, &fields);
    check(shell("true").root("relative"), ErrorKind::InvalidInput, &["sandbox.root", "absolute"]);
    scene.assert_clean("failures");
}

#[test]
fn a_user_has_the_same() {
    as_user("a_user_has_the_same", || {
        let text = output(
            shell(
                "id -u; grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; mkdir /tmp/never || echo denied",
            )
            .no_new_privileges()
            .filter(denies("mkdir"))
            .stderr(Stdio::null()),
        );
        assert_eq!(text, format!("{USER}\nNoNewPrivs:\t1\nSeccomp:\t2\ndenied\n"));
        let error = refused(shell("true").filter(denies("mkdir")));
        assert!(error.to_string().contains("sandbox.filter: takes no_new_privileges"), "{error}");
        // A namespace takes a user namespace.
        let error = refused(shell("true").namespaces(Namespaces::NETWORK));
        let text = error.to_string();
        assert!(
            text.contains("operation not permitted")
                && text.contains("(sandbox.namespaces); hint:")
                && text.contains("user namespace"),
            "{text}"
        );
        let own = || shell("id -u; echo $$; cat /proc/self/uid_map").namespaces(Namespaces::USER);
        let text = output(own().namespaces(Namespaces::PID).mount(Mount::proc("/proc")));
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, ["0", "1", "0", &USER.to_string(), "1"]);
        assert_eq!(support::leftovers::descendants(), [""; 0]);
    });
}

#[test]
fn a_user_has_another_root() {
    as_user("a_user_has_another_root", || {
        let scene = Scene::new();
        let text = output(
            shell("id -u; ls /; touch /x || echo no; echo y >/dev/null; ls /tmp")
                .namespaces(Namespaces::USER | Namespaces::PID | Namespaces::NETWORK | Namespaces::IPC)
                .hostname("users")
                .root(root(&scene))
                .read_only_root()
                .mount(Mount::proc("/proc"))
                .mount(Mount::dev())
                .mount(Mount::tmpfs("/tmp"))
                .capabilities(CapabilitySet::none())
                .no_new_privileges()
                .filter(denies("mkdir"))
                .stderr(Stdio::null()),
        );
        assert_eq!(text, "0\nbin\ndev\nproc\nsys\ntmp\nno\n");
        scene.assert_clean("a user's root");
    });
}

/// The plan is there without root.
#[test]
fn the_steps_can_be_read() {
    let steps = shell("true").root("/srv/root").mount(Mount::tmpfs("/tmp")).steps().expect("a plan");
    assert!(steps.contains("/srv/root") && steps.contains("tmpfs"), "{steps}");
    let plain = Sandbox::new("true").steps().expect("a plan");
    assert!(!plain.contains("pivot") && !plain.contains("chroot") && !plain.contains("/dev"), "{plain}");
}

/// The files of a tree with other owners, in a mount that is nowhere; the tree itself stays as it is.
#[test]
fn a_mapped_tree() {
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root: id-mapped mounts take CAP_SYS_ADMIN over the file system");
    }
    let scene = Scene::new();
    let place = scene.path().join("rootfs");
    std::os::unix::fs::chown(place.join("bin"), Some(3), Some(4)).expect("chown");
    let map: IdMap = "0:100000:10".parse().expect("a map");
    let mapping = IdMapping::new(&map, &IdMap::range(0, 200_000, 10)).expect("a mapping");
    let tree = mapping.tree(&place, false).expect("a tree");
    let owner = |path: &Path| {
        let metadata = std::fs::metadata(path).expect("metadata");
        (metadata.uid(), metadata.gid())
    };
    let inside = format!("/proc/self/fd/{}/bin", std::os::fd::AsRawFd::as_raw_fd(&tree));
    assert_eq!(owner(Path::new(&inside)), (100_003, 200_004));
    assert_eq!(owner(&place.join("bin")), (3, 4));
    let error = mapping.tree(Path::new("/no/such"), false).expect_err("no such path").to_string();
    assert!(error.contains("open_tree \"/no/such\""), "{error}");
    let error = mapping.tree(Path::new("/proc"), false).expect_err("procfs has no mapped mounts").to_string();
    assert!(error.contains("MOUNT_ATTR_IDMAP") && error.contains("hint: "), "{error}");
    assert!(IdMapping::new(&IdMap::range(0, 1, 0), &map).is_err());
}
