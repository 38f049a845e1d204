//! A process of the container traces what joins it (CVE-2016-9962).

use serde_json::json;

use crate::support::{Scratch, config, process, runs, with_capabilities};

/// The program has CAP_SYS_PTRACE and seizes every new process, looks at its root, directory, program
/// and descriptors, and takes copies of them. Control: it does seize processes and take descriptors:
/// those that a container may have.
#[test]
fn tracing_every_exec_reaches_nothing_of_the_host() {
    let Some(scratch) = Scratch::new() else { return };
    scratch.add_attacker();
    let mut config = with_capabilities(config(), &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
    config["process"]["args"] = json!(["/bin/attacker", "trace"]);
    let running = scratch.create(&config).unwrap();
    running.start().unwrap();
    scratch.await_file("ready");
    for _ in 0..runs() {
        // Being traced in the midst may end it; it must not hang, nor harm the caller.
        if let Err(error) = running.exec(&process(&["/bin/true"])) {
            println!("{error}");
        }
    }
    running.exec(&process(&["/bin/sleep", "1"])).unwrap();
    scratch.stop_attacker();

    assert!(!scratch.output("seized").is_empty(), "the control: nothing was traced");
    assert!(!scratch.output("stolen").is_empty(), "the control: nothing was taken");
    assert_eq!(scratch.output("escaped"), "");
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
    for _ in 0..runs() {
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
