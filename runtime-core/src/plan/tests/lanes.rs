//! Whole plans, and the order of both lanes.

use serde_json::{Value, json};

use super::{
    default, exec_options, golden, has, in_order, lines_on, options, plan_on, valid, waits_match,
    with_user_namespace,
};
use crate::cgroup::Mode;
use crate::host::{Host, OwnCapabilities};
use crate::plan::LaunchPlan;
use crate::spec::{ValidProcess, ValidSpec, default_spec};

#[test]
fn the_default_plan() {
    let plan = plan_on(&default(), &Host::for_tests()).unwrap();
    waits_match(&plan);
    assert!(plan.warnings.is_empty());
    golden("default", &plan.to_string());
}

/// A filter may deny any call, or hand it to an agent: with and without no_new_privs, nothing but the waits for the
/// handover and, without a call, for `start` are between it and execve(2).
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
            assert_eq!(rest.len(), if wait { 3 } else { 1 }, "{rest:?}");
            assert!(rest.last().unwrap().starts_with("child: execute "), "{rest:?}");
            assert_eq!(rest[0].contains("handed over"), wait);
            assert_eq!(
                rest.iter().filter(|line| line.ends_with("wait for start behind the filter")).count(),
                usize::from(wait)
            );
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
    assert_eq!(one.child.image(3, 0, false).len(), two.child.image(3, 0, false).len());
}

#[test]
fn one_lane_on_one_cpu() {
    let lines = lines_on(&default(), &Host::for_tests().with_cpus(1));
    assert!(lines[0].contains("network"));
    assert!(has(&lines, "child: bring the loopback interface up"));
    assert!(!has(&lines, "stage: make a network namespace"));
    in_order(&lines, &["child: mount \"sysfs\" on \"/sys\"", "child: mount \"cgroup2\""]);
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
fn exec_joins_what_the_container_has() {
    let process = br#"{"cwd": "/tmp", "args": ["id"], "user": {"uid": 5, "gid": 6, "additionalGids": [7]},
        "env": ["PATH=/bin"], "execCPUAffinity": {"initial": "0", "final": "1"}}"#;
    let process = ValidProcess::parse(process).unwrap();
    let exec = |spec: &Value, host: &Host| {
        let plan = LaunchPlan::exec(&valid(spec), &process, host, &exec_options()).unwrap();
        waits_match(&plan);
        plan.to_string()
    };
    golden("exec", &exec(&default(), &Host::for_tests()));
    let text = exec(&with_user_namespace(), &Host::for_tests().with_cgroup_mode(Mode::Hybrid));
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    in_order(
        &lines,
        &[
            "stage: set cpu affinity 0",
            "child: join the cgroups",
            "child: set cpu affinity 1",
            "child: join the container's namespaces user, mount",
            "child: become root",
            "child: open the root of the container",
            "child: set user 5:6 with groups 7",
            "child: set capabilities",
            "child: fork",
            "child: make a session",
            "child: wait for the word",
        ],
    );
}

/// The process that the container sees has no privilege for the filter, unless the filter forbids what the fork takes.
#[test]
fn the_filter_of_an_exec_is_loaded_outside_if_it_allows_the_fork() {
    let process = br#"{"cwd": "/", "args": ["id"], "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]}"#;
    let process = ValidProcess::parse(process).unwrap();
    let lines = |profile: Value| {
        let mut spec = default();
        spec["linux"]["seccomp"] = profile;
        let options = exec_options();
        let plan = LaunchPlan::exec(&valid(&spec), &process, &Host::for_tests(), &options).unwrap();
        waits_match(&plan);
        plan.to_string().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let denying = |name: &str| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [name], "action": "SCMP_ACT_ERRNO"}]});
    let privileged = "child: set capabilities: effective CAP_SYS_ADMIN";
    let (filter, fork) = ("child: load a seccomp filter", "child: fork");
    let early = lines(denying("mount"));
    in_order(
        &early,
        &[privileged, filter, "child: set capabilities: effective none", fork, "child: execute"],
    );
    for needed in ["clone", "capset", "sendmsg", "setsid"] {
        in_order(&lines(denying(needed)), &[privileged, fork, filter, "child: execute"]);
    }
}

#[test]
fn a_unit_is_there_before_its_limits_and_v1_before_the_init_goes_on() {
    // Nothing else would make the init wait for its cgroup.
    let mut spec = default();
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| !matches!(namespace["type"].as_str(), Some("cgroup" | "pid")));
    for mode in [Mode::Unified, Mode::Hybrid, Mode::Legacy] {
        let mut options = options();
        (options.joins_cgroup, options.by_systemd) = (true, true);
        let host = Host::for_tests().with_cgroup_mode(mode);
        let plan = LaunchPlan::create(&valid(&spec), &host, &options).unwrap();
        waits_match(&plan);
        let lines: Vec<String> = plan.to_string().lines().map(str::to_owned).collect();
        let (start, join) = ("parent: start the systemd unit", "parent: join the cgroups");
        let limits = "parent: write the limits of the cgroup";
        match mode {
            Mode::Unified => in_order(&lines, &[start, join, limits]),
            _ => in_order(&lines, &[start, limits, join, "child: wait for the cgroups"]),
        }
        assert_eq!(lines.iter().filter(|line| *line == limits).count(), 1, "{mode:?}");
    }
}
