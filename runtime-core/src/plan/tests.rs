use serde_json::{Value, json};

use crate::cgroup::{Location, Mode, Place, Version};
use crate::child::ops::Op;
use crate::error::{ErrorKind, Result};
use crate::host::{Host, OwnCapabilities};
use crate::plan::{CreateOptions, ExecOptions, LaunchPlan, ParentOp};
use crate::spec::{ValidProcess, ValidSpec, default_spec, known_mount_options};

fn default() -> Value {
    serde_json::to_value(default_spec(None, true).unwrap()).unwrap()
}

fn options() -> CreateOptions {
    CreateOptions::new("c1", "/bundle")
}

fn valid(spec: &Value) -> ValidSpec {
    ValidSpec::parse(&serde_json::to_vec(spec).unwrap()).unwrap()
}

fn plan_on(spec: &Value, host: &Host) -> Result<LaunchPlan> {
    LaunchPlan::create(&valid(spec), host, &options())
}

fn lines_on(spec: &Value, host: &Host) -> Vec<String> {
    let plan = plan_on(spec, host).unwrap();
    waits_match(&plan);
    plan.to_string().lines().map(str::to_owned).collect()
}

fn lines(spec: &Value) -> Vec<String> {
    lines_on(spec, &Host::for_tests())
}

/// Both lanes name the same points in the same order.
fn waits_match(plan: &LaunchPlan) {
    let child = plan.child.ops().iter().filter_map(|op| match op {
        Op::Sync { point } => Some(format!("{point:?}")),
        Op::Receive { into, .. } => Some(match *into {
            crate::child::ops::Slot::NETWORK => "network".to_owned(),
            crate::child::ops::Slot::MOUNT => "tree".to_owned(),
            _ => "state".to_owned(),
        }),
        _ => None,
    });
    let parent = plan.parent.iter().filter_map(|op| match op {
        ParentOp::Answer(point) => Some(format!("{point:?}")),
        ParentOp::MakeNetwork { .. } => Some("network".to_owned()),
        ParentOp::SendTree { .. } => Some("tree".to_owned()),
        _ => None,
    });
    // The state comes with the answer to the hooks.
    let child: Vec<String> = child.filter(|wait| wait != "state").collect();
    assert_eq!(child, parent.collect::<Vec<_>>());
}

#[track_caller]
fn position(lines: &[String], start: &str) -> usize {
    lines
        .iter()
        .position(|line| line.starts_with(start))
        .unwrap_or_else(|| panic!("no {start:?} in\n{}", lines.join("\n")))
}

#[track_caller]
fn in_order(lines: &[String], starts: &[&str]) {
    let places: Vec<usize> = starts.iter().map(|start| position(lines, start)).collect();
    assert!(places.is_sorted(), "{places:?} in\n{}", lines.join("\n"));
}

fn has(lines: &[String], start: &str) -> bool {
    lines.iter().any(|line| line.starts_with(start))
}

fn with_mount(mount: Value) -> Value {
    let mut spec = default();
    spec["mounts"].as_array_mut().unwrap().push(mount);
    spec
}

fn with_namespaces(namespaces: Value) -> Value {
    let mut spec = default();
    spec["linux"]["namespaces"] = namespaces;
    spec
}

fn with_user_namespace() -> Value {
    let mut spec = default();
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    for map in ["uidMappings", "gidMappings"] {
        spec["linux"][map] = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
    }
    spec
}

/// Compares with a recorded plan; `UPDATE_GOLDEN=1` records it anew.
#[track_caller]
fn golden(name: &str, plan: &str) {
    // How many instructions a filter has is another module's subject.
    let filter = "child: load a seccomp filter";
    let short = |line: &str| if line.starts_with(filter) { filter.to_owned() } else { line.to_owned() };
    let plan: String = plan.lines().map(|line| short(line) + "\n").collect();
    let path = format!("{}/tests/fixtures/plans/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &plan).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap();
    assert!(plan == recorded, "{path} differs:\n{plan}");
}

#[test]
fn the_default_plan() {
    let plan = plan_on(&default(), &Host::for_tests()).unwrap();
    waits_match(&plan);
    assert!(plan.warnings().is_empty());
    golden("default", &plan.to_string());
}

/// A filter may deny any call, or hand it to an agent: with and without no_new_privs, nothing but the wait
/// for the handover is between it and execve(2).
#[test]
fn after_the_filter_comes_the_program() {
    for (action, wait) in [("SCMP_ACT_ERRNO", false), ("SCMP_ACT_NOTIFY", true)] {
        for no_new_privileges in [true, false] {
            let mut spec = default();
            spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
            spec["linux"]["seccomp"] = json!({"defaultAction": action, "listenerPath": "/run/agent"});
            let text = plan_on(&spec, &Host::for_tests()).unwrap().to_string();
            let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("child: ")).collect();
            let filter = lines.iter().position(|line| line.contains("load a seccomp filter")).unwrap();
            let rest = &lines[filter + 1..];
            assert_eq!(rest.len(), if wait { 2 } else { 1 }, "{rest:?}");
            assert!(rest.last().unwrap().starts_with("child: execute "), "{rest:?}");
            assert_eq!(rest[0].contains("handed over"), wait);
            assert_eq!(lines[filter - 1].contains("announce the listener"), wait);
        }
    }
}

#[test]
fn the_default_plan_of_a_user() {
    let spec = serde_json::to_value(default_spec(Some((1000, 1000)), true).unwrap()).unwrap();
    let none = OwnCapabilities { permitted: 0, bounding: (1 << 41) - 1, inheritable: 0 };
    let host = Host::for_tests().with_user(1000, 1000, false).with_capabilities(none);
    let plan = plan_on(&spec, &host).unwrap();
    waits_match(&plan);
    golden("rootless", &plan.to_string());
    assert!(plan.id_maps.unwrap().deny_setgroups);
}

#[test]
fn real_configurations_compile() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/configs");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let spec = ValidSpec::parse(&std::fs::read(&path).unwrap()).unwrap();
        let rootless = path.to_string_lossy().contains("rootless");
        let host = Host::for_tests().with_user(0, 0, rootless).with_security_modules(true, false);
        for mode in [Mode::Unified, Mode::Hybrid, Mode::Legacy] {
            let host = Host::for_tests().with_user(0, 0, rootless).with_cgroup_mode(mode);
            waits_match(&LaunchPlan::create(&spec, &host, &options()).unwrap());
        }
        let plan = LaunchPlan::create(&spec, &host, &options()).unwrap();
        golden(&path.file_stem().unwrap().to_string_lossy(), &plan.to_string());
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn compiling_is_pure() {
    let one = plan_on(&default(), &Host::for_tests()).unwrap();
    let two = plan_on(&default(), &Host::for_tests()).unwrap();
    assert_eq!(one.to_string(), two.to_string());
    assert_eq!(one.child.image(3, 0).len(), two.child.image(3, 0).len());
}

#[test]
fn one_lane_on_one_cpu() {
    let lines = lines_on(&default(), &Host::for_tests().with_cpus(1));
    assert!(lines[0].contains("network"));
    assert!(has(&lines, "child: bring the loopback interface up"));
    assert!(!has(&lines, "parent: make a network namespace"));
    in_order(&lines, &["child: mount \"sysfs\" on \"/sys\"", "child: mount \"cgroup2\""]);
}

#[test]
fn every_mount_option_compiles() {
    for option in known_mount_options() {
        let (kind, options) = match option {
            "tmpcopyup" => ("tmpfs", json!([option])),
            "remount" => ("tmpfs", json!([option, "ro"])),
            "idmap" | "ridmap" | "src-nofollow" => ("none", json!(["bind", option])),
            _ => ("none", json!(["rbind", option])),
        };
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
        let mut mount = json!({"destination": "/d", "type": kind, "source": "/s", "options": options});
        if option.ends_with("idmap") {
            mount["uidMappings"] = map.clone();
            mount["gidMappings"] = map;
        }
        let lines = lines(&with_mount(mount));
        let attached = has(&lines, "child: mount on \"/d\"");
        assert!(attached || option == "remount", "{option}: {lines:?}");
    }
}

#[test]
fn bind_mounts() {
    let bind = |options: Value| {
        lines(&with_mount(json!({"destination": "/d", "type": "bind", "source": "s", "options": options})))
    };
    let lines = bind(json!(["rbind", "ro", "nosuid", "rprivate", "rnoexec"]));
    in_order(
        &lines,
        &[
            "child: bind recursively \"/bundle/s\" on \"/d\" (mounts[7])",
            "child: change attributes (ro,nosuid,not nodev,not noexec,not nosymfollow) on \"/d\"",
            "child: change recursive attributes (noexec) on \"/d\"",
            "child: set recursive propagation to private on \"/d\"",
            "child: mount on \"/d\"",
        ],
    );
    let lines = bind(json!(["bind"]));
    assert!(has(&lines, "child: bind \"/bundle/s\" on \"/d\""));
    assert!(!has(&lines, "child: change attributes"));
    let lines = bind(json!(["rbind", "noatime"]));
    assert!(has(&lines, "child: change attributes (noatime,"));
    let lines = bind(json!(["bind", "src-nofollow"]));
    assert!(has(&lines, "child: bind \"/bundle/s\" on \"/d\" (not following links)"));
}

#[test]
fn a_bind_on_proc_is_verified() {
    let mut spec = default();
    spec["mounts"][0] =
        json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]});
    let lines = lines(&spec);
    in_order(
        &lines,
        &[
            "child: bind recursively \"/proc\"",
            "child: verify that the source is a procfs",
            "child: mount on \"/proc\"",
        ],
    );
}

#[test]
fn a_tmpfs_has_the_mode_of_its_place_and_is_read_only_at_last() {
    let tmpfs = |options: Value| {
        lines(&with_mount(
            json!({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": options}),
        ))
    };
    let all = tmpfs(json!(["ro", "nosuid", "tmpcopyup"]));
    in_order(
        &all,
        &[
            "child: copy the mode of \"/t\"",
            "child: mount \"tmpfs\" on \"/t\" (nosuid)",
            "child: copy up the content of \"/t\"",
            "child: mount on \"/t\"",
            "child: remount \"/t\" (ro)",
            "child: pivot_root",
        ],
    );
    assert!(!has(&tmpfs(json!(["mode=1777"])), "child: copy the mode of \"/t\""));
}

#[test]
fn a_disk_that_is_mounted_read_only_is_not_written() {
    let disk = json!({"destination": "/d", "type": "ext4", "source": "/dev/sdx", "options": ["ro", "sync"]});
    assert!(has(&lines(&with_mount(disk)), "child: mount \"ext4\" of \"/dev/sdx\" on \"/d\" (ro,sync,ro)"));
}

#[test]
fn a_new_user_namespace_gets_its_trees_from_the_parent() {
    let mut spec = with_user_namespace();
    spec["mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"destination": "/d", "type": "bind", "source": "/s", "options": ["rbind", "idmap"]}));
    spec["process"]["oomScoreAdj"] = json!(-500);
    let lines = lines(&spec);
    assert!(lines[0].contains("user") && lines[0].contains("network"));
    in_order(
        &lines,
        &[
            "map: uid 0=100000+65536 gid 0=100000+65536",
            "parent: bind recursively \"/bundle/rootfs\" as the child sees it",
            "parent: bind recursively \"/s\" as the child sees it with the container's id map",
            "parent: write the limits",
            "parent: set oom_score_adj to \"-500\"",
            "parent: set RLIMIT_NOFILE",
            "parent: let go on from the runtime, created",
            "child: become root of the user namespace",
            "child: open the root file system",
        ],
    );
    assert!(!has(&lines, "child: set RLIMIT") && !has(&lines, "child: make character device"));
    assert!(has(&lines, "child: bind device \"/dev/null\""));
}

/// After `unshare -Ur` without `-m` the mounts belong to the user namespace outside: only the child, which
/// gets a copy of its own, can clone them.
#[test]
fn the_mounts_of_others_are_cloned_by_the_child() {
    let mut spec = with_user_namespace();
    spec["mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind"]}));
    let host = || Host::for_tests().with_user(0, 0, true);
    let lines = lines_on(&spec, &host().with_own_mounts(false));
    assert!(!has(&lines, "parent: bind recursively"), "{}", lines.join("\n"));
    assert!(has(&lines, "child: bind recursively \"/srv\" on \"/data\""), "{}", lines.join("\n"));
    let lines = lines_on(&spec, &host());
    assert!(
        lines.iter().filter(|line| line.starts_with("parent: bind recursively")).count() == 2,
        "{}",
        lines.join("\n")
    );
}

#[test]
fn users_have_to_be_mapped() {
    let mut spec = with_user_namespace();
    spec["process"]["user"] = json!({"uid": 70000, "gid": 0});
    let error = plan_on(&spec, &Host::for_tests()).unwrap_err();
    assert_eq!(error.to_string(), "process.user.uid: 70000 is not mapped in the user namespace");
    spec["linux"]["uidMappings"] = json!([{"containerID": 1, "hostID": 1, "size": 100000}]);
    let error = plan_on(&spec, &Host::for_tests()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn joined_namespaces() {
    let spec = with_namespaces(json!([
        {"type": "mount"},
        {"type": "pid", "path": "/proc/1/ns/pid"},
        {"type": "network", "path": "/run/netns/x"},
    ]));
    let mut spec = spec;
    spec["hostname"] = json!("");
    let all = lines(&spec);
    in_order(
        &all,
        &[
            "clone: mount",
            "open: pid namespace \"/proc/1/ns/pid\"",
            "open: network namespace \"/run/netns/x\"",
            "child: open procfs",
            "child: join the namespace pid (linux.namespaces[1].path)",
            "child: join the namespace network",
            "child: fork into the pid namespace",
            "child: make a session",
            "child: set propagation",
        ],
    );
    assert!(!has(&all, "child: bring the loopback"));
}

#[test]
fn a_new_user_namespace_is_made_after_joins() {
    let mut spec = with_user_namespace();
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces[1]["path"] = json!("/run/netns/x");
    let lines = lines(&spec);
    in_order(
        &lines,
        &[
            "child: set RLIMIT_NOFILE",
            "child: join the namespace network",
            "child: make the namespaces user",
            "child: wait for the id maps",
            "child: become root",
            "child: make the namespaces mount, ipc, uts, pid",
            "child: make the namespaces cgroup",
            "child: fork into the pid namespace",
            "child: make a session",
        ],
    );
    assert_eq!(lines[0], "clone: ");
}

#[test]
fn hooks_and_the_state() {
    let mut spec = default();
    spec["hooks"] = json!({
        "prestart": [{"path": "/p"}],
        "createContainer": [{"path": "/c", "args": ["c", "x"], "timeout": 2}],
        "startContainer": [{"path": "/s"}],
    });
    spec["process"]["apparmorProfile"] = json!("confined");
    let host = Host::for_tests().with_security_modules(true, false);
    let lines = lines_on(&spec, &host);
    in_order(
        &lines,
        &[
            "parent: attach the device filter",
            "parent: let go on from the hooks of the runtime",
            "parent: let go on from the runtime, created",
            "child: wait for the hooks of the runtime",
            "child: receive 1 of the state",
            "child: run hook \"/c\" as \"c\" \"x\" within 2000 ms (hooks.createContainer[0])",
            "child: pivot_root",
            "child: write \"exec confined\" to \"attr/apparmor/exec\"",
            "child: wait for the runtime, created",
            "child: wait for start",
            "child: set no_new_privs",
            "child: run hook \"/s\" as \"/s\" (hooks.startContainer[0])",
            "child: execute",
        ],
    );
}

#[test]
fn labels_need_their_module() {
    for (field, text) in
        [("apparmorProfile", "apparmor is disabled"), ("selinuxLabel", "selinux is disabled")]
    {
        let mut spec = default();
        spec["process"][field] = json!("x");
        let error = plan_on(&spec, &Host::for_tests()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn capabilities_are_never_wider_than_possible() {
    let mut spec = default();
    spec["process"]["capabilities"] = json!({
        "bounding": ["CAP_KILL", "CAP_BPF"], "permitted": ["CAP_KILL", "CAP_BPF"], "effective": ["CAP_CHOWN"],
        "ambient": ["CAP_KILL"],
    });
    let own = OwnCapabilities { permitted: 1 << 5 | 1 << 8, bounding: 1 << 5, inheritable: 0 };
    let plan = plan_on(&spec, &Host::for_tests().with_capabilities(own)).unwrap();
    let op = plan.child.ops().iter().find_map(|op| match op {
        Op::SetCapabilities { effective, permitted, inheritable } => {
            Some((*effective, *permitted, *inheritable))
        }
        _ => None,
    });
    assert_eq!(op, Some((0, 1 << 5, 0)));
    assert_eq!(
        plan.warnings(),
        [
            "process.capabilities.bounding: CAP_BPF cannot be granted and is left out",
            "process.capabilities.permitted: CAP_BPF cannot be granted and is left out",
            "process.capabilities.effective: CAP_CHOWN cannot be granted and is left out",
            "can't raise ambient capability CAP_KILL: operation not permitted: it has to be in the permitted and the inheritable set (process.capabilities.ambient)",
        ]
    );
}

#[test]
fn without_capabilities_all_sets_are_empty() {
    let mut spec = default();
    spec["process"].as_object_mut().unwrap().remove("capabilities");
    let lines = lines(&spec);
    assert!(has(&lines, "child: set capabilities: effective none, permitted none, inheritable none"));
    assert!(has(
        &lines,
        "child: drop from the bounding set CAP_AUDIT_CONTROL CAP_AUDIT_READ CAP_AUDIT_WRITE"
    ));
}

fn v1_options() -> CreateOptions {
    let place = |controllers: &[&str], directory: &str| Place {
        version: Version::V1,
        controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
        mount: format!("/sys/fs/cgroup/{directory}"),
        path: "c1".to_owned(),
    };
    let mut options = options();
    options.cgroup = Some(Location {
        mode: Mode::Legacy,
        places: vec![
            place(&["cpu", "cpuacct"], "cpu,cpuacct"),
            place(&["memory"], "memory"),
            place(&["name=systemd"], "systemd"),
        ],
    });
    options
}

fn v1_lines(spec: &Value, host: &Host) -> Vec<String> {
    let plan = LaunchPlan::create(&valid(spec), host, &v1_options()).unwrap();
    waits_match(&plan);
    plan.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn cgroups_v1_in_a_cgroup_namespace() {
    let host = Host::for_tests().with_cgroup_mode(Mode::Legacy);
    let lines = v1_lines(&default(), &host);
    in_order(
        &lines,
        &[
            "parent: join the cgroups",
            "parent: let go on from the cgroups",
            "parent: make a network namespace",
            "child: wait for the cgroups",
            "child: make the namespaces cgroup",
            "child: mount \"tmpfs\" on \"/sys/fs/cgroup\" (nosuid,nodev,noexec,mode=755)",
            "child: mount \"cgroup\" on \"/sys/fs/cgroup/cpu,cpuacct\" (ro,nosuid,nodev,noexec,cpu,cpuacct)",
            "child: link \"/sys/fs/cgroup/cpu\" to \"cpu,cpuacct\"",
            "child: link \"/sys/fs/cgroup/cpuacct\" to \"cpu,cpuacct\"",
            "child: mount \"cgroup\" on \"/sys/fs/cgroup/memory\" (ro,nosuid,nodev,noexec,memory)",
            "child: mount \"cgroup\" on \"/sys/fs/cgroup/systemd\" (ro,nosuid,nodev,noexec,none,name=systemd)",
            "child: remount \"/sys/fs/cgroup\" (ro)",
        ],
    );
}

#[test]
fn cgroups_v1_without_a_cgroup_namespace() {
    let mut spec = default();
    spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "cgroup");
    let host = Host::for_tests().with_cgroup_mode(Mode::Legacy);
    let lines = v1_lines(&spec, &host);
    assert!(has(&lines, "child: bind recursively \"/sys/fs/cgroup/memory/c1\" on \"/sys/fs/cgroup/memory\""));
    assert!(!has(&lines, "child: wait for the cgroups"));
}

#[test]
fn without_rights_the_cgroups_of_the_host_are_read_only() {
    let mut spec = default();
    spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "uts"}]);
    spec["mounts"][6]["options"] = json!(["nosuid"]);
    let lines = lines_on(&spec, &Host::for_tests().with_user(0, 0, true));
    in_order(
        &lines,
        &[
            "child: bind recursively \"/sys/fs/cgroup\" on \"/sys/fs/cgroup\"",
            "child: change recursive attributes (ro,nosuid) on \"/sys/fs/cgroup\"",
        ],
    );
}

#[test]
fn shared_propagation_of_the_root() {
    let mut spec = default();
    spec["linux"]["rootfsPropagation"] = json!("rshared");
    let lines = lines(&spec);
    in_order(
        &lines,
        &[
            "child: set propagation of \"/\" to rshared",
            "child: pivot_root",
            "child: set propagation of the root to rshared",
        ],
    );
    spec["linux"]["rootfsPropagation"] = json!("private");
    let plan = LaunchPlan::create(&valid(&spec), &Host::for_tests(), &options().no_pivot(true));
    assert!(plan.unwrap_err().to_string().contains("not safe without pivot_root"));
}

#[test]
fn sockets_that_the_program_is_told_of() {
    let options =
        options().listen_fds(Some(2)).preserve_fds(1).notify_socket(Some("/run/c1/notify/n.sock".to_owned()));
    let plan = LaunchPlan::create(&valid(&default()), &Host::for_tests(), &options).unwrap();
    assert_eq!(plan.preserved, 3);
    let text = plan.to_string();
    assert!(text.contains("child: bind \"/run/c1/notify\" on \"/run/notify\""));
    let image = plan.child.image(6, 0);
    for variable in ["LISTEN_FDS=2\0", "LISTEN_PID=1\0", "NOTIFY_SOCKET=/run/notify/n.sock\0"] {
        assert!(image.windows(variable.len()).any(|window| window == variable.as_bytes()), "{variable}");
    }
}

#[test]
fn programs_are_looked_up_in_the_path_of_the_container() {
    let found = |args: Value, env: Value| {
        let mut spec = default();
        spec["process"]["args"] = args;
        spec["process"]["env"] = env;
        let plan = plan_on(&spec, &Host::for_tests()).unwrap();
        let op = plan.child.ops().iter().position(|op| matches!(op, Op::FindProgram { .. })).unwrap();
        let Op::FindProgram { candidates } = plan.child.ops()[op] else { unreachable!() };
        (plan.child.explain(op), plan.child.strings_text(candidates))
    };
    let path = json!(["PATH=/bin/::x"]);
    let (text, candidates) = found(json!(["sh"]), path.clone());
    assert_eq!((text.as_str(), candidates.as_str()), ("exec: \"sh\"", "\"/bin/sh\" \"./sh\" \"x/sh\""));
    assert_eq!(found(json!(["./sh"]), path.clone()).1, "\"./sh\"");
    assert_eq!(found(json!([""]), path).1, "");
    // One directory makes no path of a name.
    assert_eq!(found(json!(["sh"]), json!(["PATH=/bin"])), ("exec: \"sh\"".into(), "\"/bin/sh\"".into()));
}

#[test]
fn exec_joins_what_the_container_has() {
    let process = br#"{"cwd": "/tmp", "args": ["id"], "user": {"uid": 5, "gid": 6, "additionalGids": [7]},
        "env": ["PATH=/bin"], "execCPUAffinity": {"initial": "0", "final": "1"}}"#;
    let process = ValidProcess::parse(process).unwrap();
    let exec = |spec: &Value, host: &Host| {
        let plan =
            LaunchPlan::exec(&valid(spec), &process, host, &ExecOptions::new("c1", "/bundle")).unwrap();
        waits_match(&plan);
        plan.to_string()
    };
    golden("exec", &exec(&default(), &Host::for_tests()));
    let text = exec(&with_user_namespace(), &Host::for_tests().with_cgroup_mode(Mode::Hybrid));
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    in_order(
        &lines,
        &[
            "parent: join the cgroups",
            "child: set cpu affinity 0",
            "child: wait for the cgroups",
            "child: set cpu affinity 1",
            "child: join the container's namespaces user, mount",
            "child: become root",
            "child: fork",
            "child: make a session",
            "child: open the root of the container",
            "child: set user 5:6 with groups 7",
        ],
    );
}

#[test]
fn no_mount_namespace_is_a_chroot() {
    let mut spec = with_namespaces(json!([{"type": "pid"}]));
    spec["mounts"] = json!([]);
    spec["root"]["readonly"] = json!(false);
    spec["hostname"] = json!("");
    spec["linux"]["maskedPaths"] = json!([]);
    spec["linux"]["readonlyPaths"] = json!([]);
    let lines = lines(&spec);
    in_order(&lines, &["child: open \"/bundle/rootfs\"", "child: chroot into"]);
    assert!(!has(&lines, "child: make character device"));
}

#[test]
fn mounts_below_a_deferred_one_wait_for_it() {
    let mut spec = default();
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.push(json!({"destination": "/sys/fs/bpf", "type": "bpf", "source": "bpf"}));
    mounts.push(json!({"destination": "/etc/hosts", "type": "bind", "source": "/h", "options": ["bind"]}));
    let lines = lines(&spec);
    in_order(
        &lines,
        &[
            "child: bind \"/h\" on \"/etc/hosts\"",
            "child: receive 2 of the network namespace",
            "child: take the sysfs on \"/sys\"",
            "child: mount \"cgroup2\"",
            "child: mount \"bpf\" on \"/sys/fs/bpf\"",
            "child: mask \"/sys/firmware\"",
        ],
    );
}
