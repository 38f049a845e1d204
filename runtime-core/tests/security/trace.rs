//! A process of the container traces what joins it (CVE-2016-9962).

use serde_json::json;

use crate::support::{Scratch, config, process, with_capabilities};

/// What the attacker looks for in the memory of what joins: the caller has it in its own.
const SECRET: &str = "secret of the caller";

/// How often a process joins: so often that the attack, on a runtime that is open to it, is seen at once. `SECURITY_RUNS=1000` is
/// the long run.
fn execs() -> u32 {
    std::env::var("SECURITY_RUNS").map_or(30, |runs| runs.parse().expect("a number"))
}

/// The program has CAP_SYS_PTRACE and seizes every new process, looks at its root, directory, program, memory
/// and descriptors, and takes copies of them. Control: it does seize processes, read memory and take descriptors:
/// those that a container may have. It finds the secret in a process of the container that has it.
#[test]
fn tracing_every_exec_reaches_nothing_of_the_host() {
    let Some(scratch) = Scratch::new() else { return };
    let secret = std::hint::black_box(SECRET.to_owned());
    scratch.add_attacker();
    let mut config = with_capabilities(config(), &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
    config["process"]["args"] = json!(["/bin/attacker", "trace"]);
    let running = scratch.create(&config).unwrap();
    running.start().unwrap();
    scratch.await_file("ready");
    for _ in 0..execs() {
        // Being traced in the midst may end it; it must not hang, nor harm the caller.
        if let Err(error) = running.exec(&process(&["/bin/true"])) {
            println!("{error}");
        }
    }
    running.exec(&process(&["/bin/sleep", "1"])).unwrap();
    assert_eq!(scratch.output("escaped"), "");
    let mut telling = process(&["/bin/sleep", "1"]);
    telling["env"] = json!([format!("TOLD={secret}")]);
    running.exec(&telling).unwrap();
    scratch.stop_attacker();

    for how in ["mem", "vm"] {
        let reads = scratch.output("memory");
        assert!(reads.lines().any(|line| line == how), "the control: {how} reads nothing");
        let found = scratch.output("escaped");
        assert!(found.lines().any(|line| line == how), "the control: {how} finds nothing");
        assert!(found.lines().all(|line| line == "mem" || line == "vm"), "{found}");
    }
    assert!(!scratch.output("seized").is_empty(), "the control: nothing was traced");
    assert!(!scratch.output("stolen").is_empty(), "the control: nothing was taken");
    let mut own: Vec<String> = (0..3)
        .map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap().display().to_string())
        .collect();
    own.extend(["/memfd:runtime-data (deleted)", "/dev/null", "/", ""].map(str::to_owned));
    for name in scratch.output("stolen").lines().chain(scratch.output("fds").lines()) {
        // Its own programs, and the socket to the caller, which the library takes nothing on trust from.
        let harmless = name.starts_with("/bin/") || name.starts_with("socket:");
        assert!(harmless || own.iter().any(|known| known == name), "{name:?}");
    }
    let links = scratch.output("links");
    for link in links.lines().filter(|link| !link.starts_with("exe ")) {
        assert!(["root /", "cwd /"].contains(&link), "{link}");
    }
    for exe in links.lines().filter_map(|link| link.strip_prefix("exe ")) {
        assert!(exe.starts_with("/bin/") || exe.starts_with("/memfd:runtime-init"), "{exe}");
    }
}

/// What a process of the container sees of an exec never has more than the program of that: neither the capabilities by
/// which a process joins, nor CAP_SYS_ADMIN, by which it loads a filter without no_new_privs. Control: on a runtime that
/// enters the PID namespace first, the first execs already show all capabilities.
#[test]
fn a_process_that_joins_is_seen_with_the_rights_of_its_program() {
    let Some(scratch) = Scratch::new() else { return };
    scratch.add_attacker();
    let mut config = with_capabilities(config(), &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
    config["process"]["args"] = json!(["/bin/attacker", "trace"]);
    config["process"]["noNewPrivileges"] = json!(false);
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mount", "bpf"], "action": "SCMP_ACT_ERRNO"}],
    });
    let running = scratch.create(&config).unwrap();
    running.start().unwrap();
    scratch.await_file("ready");
    for _ in 0..execs() {
        // Being traced in the midst may end it.
        running.exec(&process(&["/bin/true"])).ok();
    }
    running.exec(&process(&["/bin/sleep", "1"])).unwrap();
    scratch.stop_attacker();

    let granted = (1u64 << 19) | (1 << 1);
    let seen = scratch.output("permitted");
    let mut sets: Vec<u64> = seen.lines().map(|set| u64::from_str_radix(set, 16).unwrap()).collect();
    sets.sort_unstable();
    sets.dedup();
    assert!(!sets.is_empty(), "the control: nothing was seen");
    assert!(sets.iter().all(|set| set & !granted == 0), "{sets:x?}");
}

/// A container that joins the attacker's PID namespace, as the containers of a pod with a shared one do, shows it two
/// processes: the one that makes the procfs, which has CAP_SYS_ADMIN, an empty root, one socket and a filter, and the init
/// with the rights of its program, in the container's root. Control: on a runtime that enters the namespace first, the first
/// creates show all capabilities and the host's root.
#[test]
fn creates_in_a_shared_pid_namespace_show_nothing_of_the_host() {
    let Some(scratch) = Scratch::new() else { return };
    scratch.add_attacker();
    let mut config = with_capabilities(config(), &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
    config["process"]["args"] = json!(["/bin/attacker", "trace"]);
    let running = scratch.create(&config).unwrap();
    running.start().unwrap();
    scratch.await_file("ready");
    let mut joining = config.clone();
    joining["process"]["args"] = json!(["/bin/true"]);
    joining["process"]["noNewPrivileges"] = json!(false);
    joining["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mount", "bpf"], "action": "SCMP_ACT_ERRNO"}],
    });
    let namespaces = joining["linux"]["namespaces"].as_array_mut().unwrap();
    for namespace in namespaces.iter_mut().filter(|namespace| namespace["type"] == "pid") {
        namespace["path"] = json!(format!("/proc/{}/ns/pid", running.pid()));
    }
    let mut made = 0;
    for _ in 0..execs() {
        // Being traced in the midst may end it; it must not hang, nor harm the caller.
        made += u32::from(scratch.create(&joining).is_ok());
    }
    scratch.stop_attacker();

    assert_eq!(scratch.output("escaped"), "");
    let (granted, mount) = ((1u64 << 19) | (1 << 1), 1u64 << 21);
    let seen = scratch.output("permitted");
    let sets = seen.lines().map(|set| u64::from_str_radix(set, 16).unwrap());
    let mut count = 0;
    for set in sets {
        assert!(set & !granted == 0 || set == mount, "{set:x}");
        count += 1;
    }
    assert!(count > 0 && made > 0, "the control: {count} seen, {made} made");
    for link in scratch.output("links").lines().filter(|link| !link.starts_with("exe ")) {
        assert!(["root /", "cwd /"].contains(&link), "{link}");
    }
}

/// The init that waits for its start is not dumpable: a process of the same user, without a capability, may not look at its
/// directory, its program or its descriptors. Control: once it is the program, the same process may.
#[test]
fn a_waiting_init_is_not_dumpable() {
    let Some(scratch) = Scratch::new() else { return };
    for uid in [0, 1000] {
        let mut config = config();
        config["process"]["args"] = json!(["/bin/sleep", "1000"]);
        config["process"]["user"] = json!({"uid": uid, "gid": uid});
        let created = scratch.create(&config).unwrap();
        let look = || {
            scratch.clear();
            let line = "for name in cwd root exe fd/0; do readlink /proc/1/$name > /dev/null && echo $name >> /out/seen; done; true";
            let mut probe = process(&["/bin/sh", "-c", line]);
            probe["user"] = json!({"uid": uid, "gid": uid});
            assert!(created.exec(&probe).unwrap().success());
            scratch.output("seen")
        };
        assert_eq!(look(), "", "uid {uid}");
        created.start().unwrap();
        assert_eq!(look(), "cwd\nroot\nexe\nfd/0\n", "the control, uid {uid}");
    }
}
