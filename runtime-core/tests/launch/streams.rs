//! Standard streams and descriptors that a caller gives to a process.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::sched::{CloneFlags, unshare};
use runtime_core::plan::ExecOptions;
use runtime_core::spec::ValidProcess;
use runtime_core::{Container, ErrorKind, ExecPlan, Exit, Process, Stdio};
use serde_json::json;

use super::support::scene::{Scene, end, exit};
use super::views::in_views;

fn plan(container: &Container, line: &str) -> ExecPlan {
    planned(container, &json!({"args": ["sh", "-c", line], "cwd": "/", "env": ["PATH=/bin"]}))
}

fn planned(container: &Container, process: &serde_json::Value) -> ExecPlan {
    let process = ValidProcess::parse(process.to_string().as_bytes()).expect("a process");
    container.plan_exec(&process, &ExecOptions::new()).expect("planned")
}

fn text(stream: Option<impl Read>) -> String {
    let mut text = String::new();
    stream.expect("a pipe").read_to_string(&mut text).expect("read");
    text
}

/// A file with a text, open for reading and writing.
fn file(content: &str) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(content.as_bytes()).expect("written");
    file.rewind().expect("rewound");
    file
}

/// What the three standard streams of this process are.
fn own_streams() -> Vec<(u64, u64)> {
    let stat = |fd: i32| std::fs::metadata(format!("/proc/self/fd/{fd}")).expect("a stream");
    (0..3).map(|fd| (stat(fd).dev(), stat(fd).ino())).collect()
}

in_views!(a_process_reads_and_writes_pipes: hybrid, v2);
fn a_process_reads_and_writes_pipes() {
    let scene = Scene::new();
    let before = own_streams();
    let container = scene.started(&["sleep", "600"]);
    let line = "read a; echo out $a; echo err $a >&2; cat >/dev/null; exit 4";
    let plan = plan(&container, line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = plan.start().expect("executed");
    let mut stdin = process.take_stdin().expect("a pipe");
    stdin.write_all(b"word\n").expect("written");
    drop(stdin);
    // The reads end with the process: neither the caller nor a helper of the launch holds the other ends.
    assert_eq!(text(process.take_stdout()), "out word\n");
    assert_eq!(text(process.take_stderr()), "err word\n");
    assert_eq!(exit(&process), Exit::Code(4));
    assert!(process.take_stdout().is_none(), "taken twice");
    end(container);

    let config = scene.config(&["sh", "-c", "cat; echo failed >&2"]);
    let plan = |id: &str| {
        let plan = scene.plan(id, &config).expect("planned");
        plan.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped())
    };
    let talk = |process: &mut Process| {
        process.take_stdin().expect("a pipe").write_all(b"hello").expect("written");
        assert_eq!(text(process.take_stdout()), "hello");
        assert_eq!(text(process.take_stderr()), "failed\n");
        assert_eq!(exit(process), Exit::Code(0));
    };
    let mut created = scene.runtime.create(plan(&scene.id())).expect("created");
    created.start().expect("started");
    talk(created.init_mut().expect("an init"));
    created.delete().expect("deleted");
    let (container, mut process) = scene.runtime.run(plan(&scene.id())).expect("run");
    talk(&mut process);
    container.delete().expect("deleted");
    assert_eq!(own_streams(), before, "the caller's own streams changed");
    scene.assert_clean("pipes");
}

in_views!(a_process_has_files_and_null: hybrid, v2);
fn a_process_has_files_and_null() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    let (input, mut output) = (file("from a file\n"), file(""));
    let plan = plan(&container, "cat; test $(busybox stat -L -c %t:%T /proc/self/fd/2) = 1:3 && echo null");
    let plan = plan.stdin(input).stdout(output.try_clone().expect("a copy")).stderr(Stdio::null());
    assert_eq!(exit(&plan.start().expect("executed")), Exit::Code(0));
    output.rewind().expect("rewound");
    let mut all = String::new();
    output.read_to_string(&mut all).expect("read");
    assert_eq!(all, "from a file\nnull\n");
    end(container);
    scene.assert_clean("files");
}

// In both ways that stage 0 has to its descriptors: out of the caller's table, and out of a copy of it.
in_views!(descriptors_are_passed_by_handle: hybrid, v2);
fn descriptors_are_passed_by_handle() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    // What the caller would let any program inherit, the container does not get.
    let open: Vec<OwnedFd> = (0..6).map(|_| inheritable(file("stray"))).collect();
    assert!(open.iter().any(|fd| (3..12).contains(&fd.as_raw_fd())), "no stray descriptor in the way");
    pass(&scene, &container);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_FILES).expect("a table of its own");
            pass(&scene, &container);
        });
    });
    end(container);
    scene.assert_clean("descriptors");
}

fn pass(scene: &Scene, container: &Container) {
    let line = "cat <&5; cat <&11; for fd in /proc/self/fd/*; do echo ${fd##*/}; done; exec 5<&-";
    // The source of each may have the number of the other's target.
    let expected = "five eleven 0\n1\n11\n2\n3\n5\n";
    let give = |content: &str| OwnedFd::from(file(content));
    let plan =
        plan(container, line).stdout(Stdio::piped()).pass_fd(give("five "), 5).pass_fd(give("eleven "), 11);
    let mut process = plan.start().expect("executed");
    assert_eq!(without_directory(&text(process.take_stdout())), without_directory(expected));
    assert_eq!(exit(&process), Exit::Code(0));

    let config = scene.config(&["sh", "-c", line]);
    let plan = scene.plan(&scene.id(), &config).expect("planned").stdout(Stdio::piped());
    let plan = plan.pass_fd(give("five "), 5).pass_fd(give("eleven "), 11);
    let (container, mut process) = scene.runtime.run(plan).expect("run");
    assert_eq!(without_directory(&text(process.take_stdout())), without_directory(expected));
    exit(&process);
    container.delete().expect("deleted");
}

/// The shell has /proc/self/fd itself open while it reads it, at the lowest free number.
fn without_directory(text: &str) -> String {
    text.lines().filter(|line| *line != "3").map(|line| format!("{line}\n")).collect()
}

fn inheritable(file: File) -> OwnedFd {
    nix::fcntl::fcntl(file.as_fd(), nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).expect("set");
    file.into()
}

in_views!(threads_start_processes_with_streams_of_their_own: hybrid, v2);
fn threads_start_processes_with_streams_of_their_own() {
    const THREADS: usize = 12;
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    let before = own_streams();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let container = &container;
            scope.spawn(move || {
                for round in 0..6 {
                    let word = format!("{thread}.{round}\n");
                    let plan = plan(container, "cat; cat <&7 >&2");
                    let plan = plan.stdin(file(&word)).stdout(Stdio::piped()).stderr(Stdio::piped());
                    let mut process = plan.pass_fd(file(&word), 7).start().expect("executed");
                    assert_eq!(text(process.take_stdout()), word);
                    assert_eq!(text(process.take_stderr()), word);
                    assert_eq!(exit(&process), Exit::Code(0));
                }
            });
        }
    });
    assert_eq!(own_streams(), before, "the caller's own streams changed");
    end(container);
    scene.assert_clean("threads");
}

in_views!(a_terminal_is_the_callers_and_gets_its_size: hybrid, v2);
fn a_terminal_is_the_callers_and_gets_its_size() {
    let scene = Scene::new();
    let mut config = scene.config(&["sh", "-c", "busybox stty size; read a; busybox stty size; read a"]);
    config["process"]["terminal"] = json!(true);
    config["process"]["consoleSize"] = json!({"height": 20, "width": 70});
    let mut container = scene.create(&scene.id(), &config).expect("created");
    let mut terminal = container.take_terminal().expect("a terminal");
    container.start().expect("started");
    let mut seen = String::new();
    read_until(&terminal, &mut seen, "20 70");
    terminal.resize(31, 99).expect("resized");
    terminal.write_all(b"\n").expect("written");
    read_until(&terminal, &mut seen, "31 99");
    end(container);

    let container = scene.started(&["sleep", "600"]);
    let process =
        json!({"args": ["busybox", "stty", "size"], "cwd": "/", "env": ["PATH=/bin"], "terminal": true});
    let prepared = planned(&container, &process);
    let mut kept = None;
    let process = prepared.start_on_terminal(|terminal| {
        // The program finds it so: there is no moment with another size.
        terminal.resize(12, 34)?;
        kept = Some(terminal);
        Ok(())
    });
    let process = process.expect("executed");
    read_until(kept.as_ref().expect("a terminal"), &mut String::new(), "12 34");
    exit(&process);
    end(container);
    scene.assert_clean("terminals");
}

fn read_until(mut terminal: &runtime_core::Terminal, seen: &mut String, wanted: &str) {
    let mut buffer = [0; 256];
    while !seen.contains(wanted) {
        match terminal.read(&mut buffer) {
            Ok(length) if length > 0 => seen.push_str(&String::from_utf8_lossy(&buffer[..length])),
            ended => panic!("{ended:?} after {seen:?}, without {wanted:?}"),
        }
    }
}

in_views!(what_cannot_be_given_is_refused: v2);
fn what_cannot_be_given_is_refused() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    let refused = |plan: ExecPlan, words: &str| {
        let error = plan.start().expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    let plan = |fds: &[i32]| {
        fds.iter().fold(plan(&container, "true"), |plan, number| plan.pass_fd(file(""), *number))
    };
    refused(plan(&[2]), "pass a descriptor as number 2");
    refused(plan(&[5, 5]), "another descriptor has this number");
    refused(plan(&[i32::MAX]), "RLIMIT_NOFILE");
    let terminal = json!({"args": ["true"], "cwd": "/", "terminal": true});
    refused(planned(&container, &terminal).stdout(Stdio::piped()), "process.terminal");
    end(container);
    scene.assert_clean("refusals");
}
