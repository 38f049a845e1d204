//! Descriptors of a careless caller never reach the container (CVE-2015-3627, CVE-2024-21626).

use std::process::Command;

use crate::support::{Scratch, alone, config, process, shell};

/// Lists the open files of the shell: number and name.
const LIST: &str = "ls -l /proc/$$/fd > /out/fds";

/// The names of the list that are no standard stream.
fn foreign(list: &str) -> Vec<String> {
    let files: Vec<(&str, &str)> = list
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .map(|(before, name)| (before.rsplit(' ').next().unwrap_or_default(), name))
        .collect();
    assert!(files.iter().any(|(number, _)| *number == "1"), "the probe has not run: {list:?}");
    let others = files.iter().filter(|(number, _)| !["0", "1", "2"].contains(number));
    others.map(|(_, name)| (*name).to_owned()).collect()
}

/// Control: the same caller, the same probe, by chroot(8): every leaked descriptor is there.
#[test]
fn leaked_descriptors_do_not_reach_run_create_and_exec() {
    let Some(scratch) = Scratch::new() else { return };
    let proc = scratch.root().join("proc");
    let line = format!(
        "mount --bind /proc {0} && chroot {1} /bin/sh -c '{LIST}'",
        proc.display(),
        scratch.root().display()
    );
    let control = Command::new("unshare").args(["-m", "sh", "-c", &line]).status().unwrap();
    assert!(control.success());
    let leaked = foreign(&scratch.output("fds"));
    assert!(leaked.iter().filter(|name| *name == "/").count() > 20, "{leaked:?}");

    scratch.clear();
    assert!(scratch.run_shell(LIST).unwrap().success());
    assert_eq!(foreign(&scratch.output("fds")), Vec::<String>::new());

    scratch.clear();
    let created = scratch.create(&shell(LIST)).unwrap();
    created.start().unwrap();
    assert!(created.wait().success());
    assert_eq!(foreign(&scratch.output("fds")), Vec::<String>::new());

    scratch.clear();
    let running = scratch.sleeping(config());
    assert!(running.exec(&process(&["/bin/sh", "-c", LIST])).unwrap().success());
    assert_eq!(foreign(&scratch.output("fds")), Vec::<String>::new());
}

/// While a container waits for its start, its init has nothing of the host open but the start gate.
/// Control: this process, by the same look, has "/" open.
#[test]
fn a_created_container_holds_no_file_of_the_host() {
    let Some(scratch) = Scratch::new() else { return };
    let names = |pid: u32| -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        // Other threads of this process close theirs meanwhile.
        let names = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    };
    assert!(names(std::process::id()).iter().any(|name| name == "/"));
    for own_table in [false, true] {
        if own_table {
            // Stage 0 then begins with a copy of this thread's descriptors, not with an empty table.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).unwrap();
        }
        let created = scratch.create(&config()).unwrap();
        holds_nothing(&created, &names(created.pid() as u32));
    }
}

fn holds_nothing(created: &crate::support::Running<'_>, names: &[String]) {
    // The first three are the caller's standard streams, which the container is to have.
    let mut own: Vec<String> = (0..3)
        .map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap().to_string_lossy().into_owned())
        .collect();
    for name in names {
        if let Some(at) = own.iter().position(|stream| stream == name) {
            own.remove(at);
        } else {
            assert!(name.starts_with("socket:"), "{name}: {names:?}");
        }
    }
    // Nor is its memory or its program the host's.
    let exe = std::fs::read_link(format!("/proc/{}/exe", created.pid())).unwrap();
    assert!(exe.to_string_lossy().contains("memfd:"), "{exe:?}");
}

/// More descriptors than the caller has: the container gets those that the caller has to give, and none of the
/// runtime's own (a descriptor of the state directory has such a number). Control: one that is to be given.
#[test]
fn only_descriptors_of_the_caller_are_preserved() {
    if !alone("descriptors::only_descriptors_of_the_caller_are_preserved") {
        return;
    }
    let first = std::fs::File::open("/").unwrap();
    assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&first), 3, "the lowest free number");
    let Some(scratch) = Scratch::new() else { return };
    let _given = nix::unistd::dup(std::fs::File::open("/etc").unwrap()).unwrap();
    assert!(!to_give(u32::MAX).is_empty());
    for count in [20, 4000, i32::MAX as u32 - 3, i32::MAX as u32, u32::MAX - 3, u32::MAX] {
        scratch.clear();
        let created = scratch.create_with(&shell(LIST), |options| options.preserve_fds(count)).unwrap();
        created.start().unwrap();
        assert!(created.wait().success());
        assert_eq!(foreign(&scratch.output("fds")), to_give(count), "{count}");
    }
}

/// The files that this process has open from number 3 on, `count` numbers at most, without those that are
/// close-on-exec; sorted by their numbers as texts, as ls sorts them.
fn to_give(count: u32) -> Vec<String> {
    let end = u64::from(count) + 3;
    let mut numbers: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|number| (3..end).contains(&number.parse().unwrap()) && !closes_on_exec(number))
        .collect();
    numbers.sort();
    let name = |number: String| std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
    numbers.into_iter().map(|number| name(number).to_string_lossy().into_owned()).collect()
}

fn closes_on_exec(number: &str) -> bool {
    // The list itself is closed by now.
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
    flags.is_none_or(|flags| u32::from_str_radix(flags, 8).unwrap() & nix::libc::O_CLOEXEC as u32 != 0)
}

/// A caller without standard input: the container has /dev/null there, not the file of the runtime
/// that took the number. Control: the number is taken by a directory first.
#[test]
fn a_closed_standard_input_is_not_filled_by_the_runtime() {
    if !alone("descriptors::a_closed_standard_input_is_not_filled_by_the_runtime") {
        return;
    }
    let Some(scratch) = Scratch::new() else { return };
    nix::unistd::close(0).unwrap();
    let directory = std::fs::File::open(scratch.path()).unwrap();
    assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&directory), 0);
    for taken in [Some(directory), None] {
        scratch.clear();
        assert!(scratch.run_shell("readlink /proc/$$/fd/0 > /out/stdin").unwrap().success());
        assert_eq!(scratch.output("stdin"), "/dev/null\n");
        let running = scratch.sleeping(config());
        let line = "readlink /proc/$$/fd/0 > /out/exec";
        assert!(running.exec(&process(&["/bin/sh", "-c", line])).unwrap().success());
        assert_eq!(scratch.output("exec"), "/dev/null\n");
        drop(taken);
    }
}
