use super::*;
use crate::error::ErrorKind;

fn parse(value: serde_json::Value) -> Result<ValidSpec> {
    ValidSpec::parse(&serde_json::to_vec(&value).unwrap())
}

fn minimal() -> serde_json::Value {
    serde_json::json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"]},
        "linux": {"namespaces": [{"type": "mount"}]},
    })
}

/// The error text of the minimal configuration with `value` at `pointer`.
fn error_with(pointer: &str, value: serde_json::Value) -> String {
    match with(pointer, value) {
        Ok(_) => String::new(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(!error.to_string().contains('\n'));
            error.to_string()
        }
    }
}

fn with(pointer: &str, value: serde_json::Value) -> Result<ValidSpec> {
    let mut spec = minimal();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match spec.pointer_mut(parent).unwrap() {
        serde_json::Value::Object(fields) => fields.insert(name.to_owned(), value),
        _ => None,
    };
    parse(spec)
}

#[track_caller]
fn refused(pointer: &str, value: serde_json::Value, text: &str) {
    let error = error_with(pointer, value);
    assert!(error.contains(text), "{error:?} has no {text:?}");
}

#[track_caller]
fn accepted(pointer: &str, value: serde_json::Value) -> ValidSpec {
    with(pointer, value).unwrap()
}

/// serde would take a list for the object, member by member.
#[test]
fn a_list_is_no_object() {
    let text = "invalid type: sequence, expected an object";
    refused("/hooks", serde_json::json!([]), &format!("hooks: {text}"));
    refused("/process/user", serde_json::json!([0, 0]), &format!("process.user: {text}"));
    let limits = serde_json::json!({"memory": [1_000_000], "pids": []});
    refused(
        "/linux/resources",
        limits,
        &format!("linux.resources.memory: {text}; linux.resources.pids: {text}"),
    );
    for text in ["[]", r#"{"args": ["true"], "cwd": "/", "user": []}"#] {
        ValidProcess::parse(text.as_bytes()).unwrap_err();
    }
}

/// config.md: "ignore consoleSize if terminal is false or unset", whatever it holds.
#[test]
fn a_console_size_without_terminal_is_ignored() {
    for size in [
        serde_json::json!({"height": 24}),
        serde_json::json!({"width": -1, "height": "x"}),
        serde_json::json!("large"),
        serde_json::json!(null),
    ] {
        accepted("/process/consoleSize", size.clone());
        let mut process = minimal()["process"].clone();
        process["consoleSize"] = size.clone();
        ValidProcess::parse(&serde_json::to_vec(&process).unwrap()).unwrap();
        process["terminal"] = false.into();
        ValidProcess::parse(&serde_json::to_vec(&process).unwrap()).unwrap();
        accepted("/process", process.clone());
        process["terminal"] = true.into();
        let refused = |result: Result<()>| {
            let text = result.map_err(|error| error.to_string()).err().unwrap_or_default();
            assert_eq!(text.contains("consoleSize"), !size.is_null(), "{size}: {text:?}");
        };
        refused(ValidProcess::parse(&serde_json::to_vec(&process).unwrap()).map(drop));
        refused(with("/process", process.clone()).map(drop));
    }
}

#[test]
fn all_errors_come_at_once() {
    let spec = serde_json::json!({
        "ociVersion": "2.0.0",
        "root": {},
        "process": {"cwd": "tmp", "args": [], "user": {"uid": 0, "gid": 0}},
        "hostname": "h",
        "mounts": [{"destination": "/proc/self/attr", "type": "tmpfs"}],
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "mount"}],
            "sysctl": {"kernel.panic": "1"},
            "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}],
            "maskedPaths": ["proc/kcore"],
        },
    });
    let text = parse(spec).unwrap_err().to_string();
    for part in [
        "config.json: ociVersion: ",
        "root.path: must be specified",
        "process.cwd: Cwd must be an absolute path",
        "process.args: must not be empty",
        "hostname: unable to set hostname without a private UTS namespace",
        "mounts[0].destination: \"/proc/self/attr\" cannot be mounted because it is inside /proc",
        "linux.namespaces[1]: duplicated namespace \"mount\"",
        "linux.sysctl.kernel.panic: sysctl \"kernel.panic\" is not in a separate kernel namespace",
        "linux.uidMappings: user namespace mappings specified, but user namespace isn't enabled",
        "linux.maskedPaths[0]: \"proc/kcore\" is not an absolute path",
    ] {
        assert!(text.contains(part), "{text:?} has no {part:?}");
    }
}

/// One fault in each part of a configuration: whatever module finds it, all come in one run.
#[test]
fn every_family_of_faults_comes_at_once() {
    let mut spec = minimal();
    spec["root"] = serde_json::json!({"path": ""});
    spec["process"] = serde_json::json!({
        "cwd": "relative", "args": ["sh"], "env": ["=x"], "user": {"uid": 7, "gid": 0, "umask": 4096},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}], "oomScoreAdj": 2000,
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 9}, "execCPUAffinity": {"initial": "3-1"},
    });
    spec["mounts"] = serde_json::json!([
        {"destination": "/a", "type": "tmpfs", "source": "tmpfs", "options": ["ro\0"]},
        {"destination": "/b", "source": "/b", "options": ["bind"], "uidMappings": [{"hostID": 0, "size": 1}]},
    ]);
    spec["hooks"] = serde_json::json!({"poststop": [{"path": "hook"}]});
    spec["annotations"] = serde_json::json!({"": "x"});
    spec["linux"] = serde_json::json!({
        "namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "pid", "path": "pid"}],
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
        "gidMappings": [{"containerID": 1, "hostID": 1000, "size": 1}],
        "devices": [
            {"path": "dev", "type": "c", "major": 1, "minor": 3},
            {"path": "/dev/x", "type": "c", "major": 1},
        ],
        "sysctl": {"kernel.panic": "1"},
        "timeOffsets": {"boottime": {"secs": 1}},
        "rootfsPropagation": "sideways",
        "maskedPaths": ["/"],
        "readonlyPaths": ["here"],
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": ""},
        "netDevices": {"eth0": {"name": "a/b"}},
        "intelRdt": {"closID": ".."},
        "resources": {
            "devices": [{"allow": true, "access": "x"}],
            "memory": {"limit": -5, "swap": 3},
            "cpu": {"cpus": "all"},
            "blockIO": {"weight": 9, "weightDevice": [{"major": -1, "minor": 0}]},
            "hugepageLimits": [{"pageSize": "big", "limit": 1}],
            "network": {"priorities": [{"name": "a b", "priority": 1}]},
            "rdma": {"a/b": {}},
            "unified": {"memory": "1"},
        },
        "seccomp": {
            "defaultAction": "SCMP_ACT_ALLOW",
            "defaultErrnoRet": 1,
            "syscalls": [
                {"names": ["mkdir", ""], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000},
                {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY",
                    "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]},
                {"names": ["dup"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
                {"names": ["dup"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
            ],
        },
    });
    let text = parse(spec).unwrap_err().to_string();
    for part in [
        "root.path: ",
        "process.cwd: ",
        "process.env[0]: ",
        "process.user.uid: 7 is not mapped",
        "process.user.umask: ",
        "process.rlimits[0]",
        "process.oomScoreAdj: ",
        "process.ioPriority.priority: ",
        "process.execCPUAffinity.initial: ",
        "mounts[0].options[0]: ",
        "mounts[1].uidMappings[0]: missing field `containerID`",
        "hooks.poststop[0].path: ",
        "annotations: ",
        "linux.namespaces[2].path: ",
        "linux.gidMappings: id 0 of the container is not mapped",
        "linux.devices[0].path: ",
        "linux.devices[1]: missing field `minor`",
        "linux.sysctl.kernel.panic: ",
        "linux.timeOffsets",
        "linux.rootfsPropagation: ",
        "linux.maskedPaths[0]: ",
        "linux.readonlyPaths[0]: ",
        "linux.memoryPolicy.nodes: ",
        "linux.netDevices",
        "linux.intelRdt.closID: ",
        "linux.resources.devices[0].access: ",
        "linux.resources.memory.limit: ",
        "linux.resources.cpu.cpus: ",
        "linux.resources.blockIO.weight: ",
        "linux.resources.blockIO.weightDevice[0].major: ",
        "linux.resources.hugepageLimits[0].pageSize: ",
        "linux.resources.network.priorities[0].name: ",
        "linux.resources.rdma[\"a/b\"]: ",
        "linux.resources.unified[\"memory\"]: ",
        "linux.seccomp.defaultErrnoRet: ",
        "linux.seccomp.syscalls[0].names[1]: ",
        "linux.seccomp.syscalls[0].errnoRet: ",
        "linux.seccomp.syscalls[1].args[0].index: ",
        "linux.seccomp.syscalls[3].names[0]: dup on ",
        "linux.seccomp.listenerPath: ",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn a_limit_below_its_partner_is_found_with_the_rest() {
    let memory = serde_json::json!({"memory": {"limit": 9, "swap": 5}});
    refused("/linux/resources", memory, "linux.resources.memory.swap: memory+swap limit should be >=");
    accepted("/linux/resources", serde_json::json!({"memory": {"limit": 9, "swap": -1}}));
    accepted("/linux/resources", serde_json::json!({"memory": {"limit": -1, "swap": 5}}));
}

#[test]
fn wrong_types_come_at_once_with_their_place() {
    let text = br#"{"ociVersion": "1.0.2", "root": {"path": 5},
        "process": {"user": {"uid": -1}, "cwd": "x", "args": ["sh"]}}"#;
    let error = ValidSpec::parse(text).unwrap_err().to_string();
    for part in [
        "root.path: invalid type: integer `5`, expected path string at line 1 column ",
        "process.user.uid: invalid value: integer `-1`, expected u32",
        "process.cwd: Cwd must be an absolute path",
    ] {
        assert!(error.contains(part), "{error:?} has no {part:?}");
    }
    let error = ValidSpec::parse(b"{\"root\": {\n \"path\": }").unwrap_err().to_string();
    assert!(error.contains("in root.path at line 2 column"), "{error}");
    assert!(ValidSpec::parse(b"").is_err());
    assert!(ValidSpec::parse(b"[]").is_err());
    assert!(ValidSpec::parse(b"null").is_err());
}

#[test]
fn unknown_capabilities_are_warnings() {
    let sets = serde_json::json!({"bounding": ["CAP_KILL", "CAP_FUTURE"], "permitted": ["CAP_KILL"]});
    let spec = accepted("/process/capabilities", sets);
    assert_eq!(spec.process.as_ref().unwrap().capabilities.unwrap().bounding, 1 << 5);
    assert_eq!(
        spec.warnings(),
        ["process.capabilities.bounding: unknown capability \"CAP_FUTURE\" is ignored"]
    );
}

#[test]
fn names_that_the_parser_does_not_know_are_accepted() {
    let flags = serde_json::json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3,
        "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]});
    let spec = accepted("/process/scheduler", flags);
    assert_eq!(spec.process.unwrap().scheduler.unwrap().flags, 0x5);
    let spec = accepted("/process/execCPUAffinity", serde_json::json!({"initial": "", "final": "0-1"}));
    assert_eq!(spec.process.unwrap().affinity_final, [3, 0, 0, 0, 0, 0, 0, 0]);
    let process = ValidProcess::parse(br#"{"cwd": "/", "args": ["true"]}"#).unwrap();
    assert_eq!((process.uid, process.gid), (0, 0));
}

#[test]
fn versions() {
    for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.99.0+x"] {
        accepted("/ociVersion", version.into());
    }
    for version in ["", "0.9.0", "2.0.0", "1", "x.y.z"] {
        refused("/ociVersion", version.into(), "ociVersion");
    }
}

#[test]
fn ids_are_exact() {
    for id in ["0x1", "01", " 1", "-1", "1:"] {
        refused("/process/user", serde_json::json!({"uid": id, "gid": 0}), "process.user.uid");
    }
    for id in [-1i64, 4294967296, 4294967295] {
        refused("/process/user", serde_json::json!({"uid": id, "gid": 0}), "process.user");
    }
}

#[test]
fn nul_bytes_are_refused() {
    refused("/process/args", serde_json::json!(["a\0b"]), "process.args[0]: contains a NUL byte");
    refused("/process/env", serde_json::json!(["A=1", "B=\0"]), "process.env[1]: contains a NUL byte");
    refused("/process/cwd", "/a\0".into(), "process.cwd: contains a NUL byte");
    refused("/root/path", "/a\0".into(), "root.path: contains a NUL byte");
    let mount = serde_json::json!([{"destination": "/a\0", "type": "tmpfs", "source": "s"}]);
    refused("/mounts", mount, "mounts[0].destination: contains a NUL byte");
}

#[test]
fn mounts_on_proc() {
    let mount = |path: &str, kind: &str| serde_json::json!([{"destination": path, "type": kind, "source": "/x", "options": []}]);
    for (path, kind) in [
        ("/proc", "proc"),
        ("/proc", "bind"),
        ("/proc/uptime", "bind"),
        ("/proc//sys/../uptime", "bind"),
        ("/process", "tmpfs"),
        ("/sys", "tmpfs"),
    ] {
        accepted("/mounts", mount(path, kind));
    }
    for path in ["/proc", "proc", "/./proc/", "/x/../proc"] {
        refused("/mounts", mount(path, "tmpfs"), "it is not of type proc");
    }
    for path in ["/proc/self/attr", "/proc/sys/kernel", "/x/../proc/1", "proc/sysrq-trigger"] {
        refused("/mounts", mount(path, "bind"), "it is inside /proc");
    }
    refused("/mounts", mount("/", "tmpfs"), "is the root of the container");
}

#[test]
fn relative_destinations_are_below_the_root() {
    let spec = accepted("/mounts", serde_json::json!([{"destination": "a/b", "type": "tmpfs"}]));
    assert_eq!(spec.mounts[0].destination, "/a/b");
    assert!(spec.warnings()[0].contains("mount destination a/b is not absolute"));
}

#[test]
fn options_that_exclude_each_other() {
    let mount = |kind: &str, options: serde_json::Value| serde_json::json!([{"destination": "/d", "type": kind, "source": "/s", "options": options}]);
    refused("/mounts", mount("none", serde_json::json!(["bind", "size=5"])), "filesystem-specific");
    refused("/mounts", mount("ext4", serde_json::json!(["tmpcopyup"])), "tmpcopyup");
    refused("/mounts", mount("tmpfs", serde_json::json!(["idmap"])), "only supported for bind-mounts");
    refused("/mounts", mount("none", serde_json::json!(["bind", "idmap"])), "both uid and gid mappings");
    refused("/mounts", mount("", serde_json::json!([])), "mounts[0].type");
}

#[test]
fn sysctls_of_the_container_only() {
    let all = |kind: &str| serde_json::json!([{"type": "mount"}, {"type": kind}]);
    let sysctl = |kind: &str, name: &str| {
        let linux = serde_json::json!({"namespaces": all(kind), "sysctl": {name: "1"}});
        error_with("/linux", linux)
    };
    assert_eq!(sysctl("network", "net.ipv4.ip_forward"), "");
    assert_eq!(sysctl("ipc", "kernel.shmmax"), "");
    assert_eq!(sysctl("ipc", "fs/mqueue/msg_max"), "");
    assert_eq!(sysctl("uts", "kernel.domainname"), "");
    assert!(sysctl("ipc", "net.ipv4.ip_forward").contains("not allowed in host network namespace"));
    assert!(sysctl("network", "kernel.shmmax").contains("hosts ipc namespace"));
    assert!(sysctl("uts", "kernel.hostname").contains("conflicts with the OCI"));
    assert!(sysctl("network", "net/../kernel/core_pattern").contains("is not the name of a sysctl"));
    assert!(sysctl("network", "kernel.core_pattern").contains("not in a separate kernel namespace"));
    assert!(sysctl("ipc", "user.max_user_namespaces").contains("without a user namespace"));
}

#[test]
fn limits_of_the_process() {
    let limit =
        |soft: u64, hard: u64| serde_json::json!({"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard});
    accepted("/process/rlimits", serde_json::json!([limit(1, 2)]));
    refused("/process/rlimits", serde_json::json!([limit(3, 2)]), "soft limit 3 is above the hard limit 2");
    refused("/process/rlimits", serde_json::json!([limit(1, 2), limit(1, 2)]), "RLIMIT_NOFILE is set twice");
    let unknown = serde_json::json!([{"type": "RLIMIT_X", "soft": 1, "hard": 1}]);
    refused("/process/rlimits", unknown, "process.rlimits[0].type: unknown variant `RLIMIT_X`");
    refused("/process/oomScoreAdj", 1001.into(), "1001 is not in -1000 to 1000");
    let priority = serde_json::json!({"class": "IOPRIO_CLASS_BE", "priority": 8});
    refused("/process/ioPriority", priority, "invalid ioPriority.Priority: 8");
    let scheduler = serde_json::json!({"policy": "SCHED_OTHER", "nice": 20});
    refused("/process/scheduler", scheduler, "invalid scheduler.nice: 20");
}

#[test]
fn devices() {
    let device = |kind: &str, major: i64| serde_json::json!([{"path": "/dev/x", "type": kind, "major": major, "minor": 1}]);
    accepted("/linux/devices", device("c", 1));
    refused("/linux/devices", device("a", 1), "is not the type of one device");
    refused("/linux/devices", device("c", -1), "linux.devices[0].major: -1");
    refused("/linux/devices", device("c", 4096), "linux.devices[0].major: 4096");
    refused("/linux/devices", device("x", 1), "linux.devices[0].type: unknown variant");
    let two = serde_json::json!([
        {"path": "/dev/x", "type": "c", "major": 1, "minor": 1},
        {"path": "/dev//x", "type": "c", "major": 1, "minor": 2},
    ]);
    refused("/linux/devices", two, "another device has the path");
}

#[test]
fn a_device_without_a_number_is_named_with_the_number() {
    let whole = serde_json::json!({"path": "/dev/a", "type": "c", "major": 1, "minor": 3});
    for missing in ["major", "minor"] {
        for kind in ["c", "b", "u"] {
            let mut device = whole.clone();
            device["path"] = "/dev/z".into();
            device["type"] = kind.into();
            device.as_object_mut().unwrap().remove(missing);
            let devices = serde_json::json!([whole, device]);
            refused("/linux/devices", devices, &format!("linux.devices[1]: missing field `{missing}`"));
        }
    }
    accepted("/linux/devices", serde_json::json!([whole, {"path": "/dev/fifo", "type": "p"}]));
}

#[test]
fn of_equal_variables_the_last_counts() {
    let spec = accepted("/process/env", serde_json::json!(["A=1", "B=2", "A=3", "C="]));
    assert_eq!(spec.process.unwrap().env, ["A=3", "B=2", "C="]);
    let nameless = serde_json::json!(["A=1", "C", "=v"]);
    refused(
        "/process/env",
        nameless.clone(),
        "process.env[1]: invalid environment variable: \"C\" has no '='",
    );
    refused("/process/env", nameless, "process.env[2]: environment variable name can't be empty: \"=v\"");
}

#[test]
fn the_default_configuration_is_valid() {
    for rootless in [None, Some((1000, 1000))] {
        let spec = serde_json::to_vec(&default_spec(rootless, true).unwrap()).unwrap();
        assert!(ValidSpec::parse(&spec).unwrap().warnings().is_empty());
    }
}

#[test]
fn a_class_of_service_is_one_directory() {
    for hostile in ["../gold", "a/b", "/gold", "..", ".", "a\nb", "info", "mon_groups", "mon_data"] {
        refused("/linux/intelRdt", serde_json::json!({"closID": hostile}), "linux.intelRdt.closID");
    }
    let lines = serde_json::json!({"closID": "gold", "schemata": ["L3:0=f\nMB:0=1"]});
    refused("/linux/intelRdt", lines, "linux.intelRdt.schemata[0]");
    for good in ["gold", "a..b", "/"] {
        accepted("/linux/intelRdt", serde_json::json!({"closID": good}));
    }
}
