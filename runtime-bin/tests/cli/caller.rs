//! What a process must not inherit from the caller: keyring, signals, closed streams.

use std::process::Command;

use crate::support::{Bundle, Running as _, privileged, runtime_path};

#[test]
fn a_session_keyring_for_each_container() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
        let masked = config["linux"]["maskedPaths"].as_array_mut().expect("paths");
        masked.retain(|path| path != "/proc/keys");
    });
    let keys = |options: &[&str]| {
        let container = bundle.container();
        container.go(&[["run", "-d"].as_slice(), options].concat()).ok();
        let text = container.go_with(&["exec"], &["cat", "/proc/keys"]).ok().stdout;
        let name = format!(" _ses.{}: ", container.id);
        text.lines().filter(|line| line.contains(&name)).count()
    };
    // That of the container, which exec joins; or nobody has one.
    assert_eq!(keys(&[]), 1);
    assert_eq!(keys(&["--no-new-keyring"]), 0);
}

#[test]
fn signals_are_as_new() {
    if !privileged() {
        return;
    }
    let status = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
    let bundle = Bundle::new(&status);
    let caller = |words: &[&str]| {
        let mut command = Command::new("env");
        command.args(["--ignore-signal=PIPE,INT,USR1,RTMIN", "--block-signal=USR2,TERM,HUP,RTMAX"]);
        command.arg(runtime_path()).arg("--root").arg(bundle.state()).current_dir(bundle.path()).go(words)
    };
    let expected = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    let container = bundle.container();
    assert_eq!(caller(&["run", &container.id]).ok().stdout, expected);

    let bundle_of_sleep = Bundle::new(&["sleep", "1000"]);
    std::fs::copy(bundle_of_sleep.path().join("config.json"), bundle.path().join("config.json"))
        .expect("a copy");
    let container = bundle.container();
    caller(&["run", "-d", &container.id]).ok();
    assert_eq!(caller(&[["exec", &container.id].as_slice(), &status].concat()).ok().stdout, expected);
}

#[test]
fn a_caller_that_ignores_the_end_of_its_children() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "exit 3"]);
    let container = bundle.container();
    let mut command = Command::new("env");
    command.args(["--ignore-signal=CHLD", "--block-signal=CHLD"]).arg(runtime_path());
    command.arg("--root").arg(bundle.state()).current_dir(bundle.path());
    let run = command.go(&["run", &container.id]);
    assert_eq!((run.code, run.stderr.as_str()), (3, ""), "{run:?}");
}

#[test]
fn closed_standard_streams_are_dev_null() {
    if !privileged() {
        return;
    }
    for closed in ["0", "1", "2", "012"] {
        let fds: String = closed.chars().map(|fd| format!(" {fd}")).collect();
        let script =
            format!("for fd in{fds}; do x=$(readlink /proc/$$/fd/$fd); echo $x >> /tmp/streams; done");
        let bundle = Bundle::new(&["sh", "-c", &script]);
        let container = bundle.container();
        let close: String = closed.chars().map(|fd| format!(" {fd}>&-")).collect();
        let run = Command::new("bash")
            .current_dir(bundle.path())
            .env("RUNTIME", runtime_path())
            .env("ROOT", bundle.state())
            .go(&["-c", &format!("exec $RUNTIME --root $ROOT run {}{close}", container.id)]);
        run.ok();
        let streams = std::fs::read_to_string(bundle.path().join("rootfs/tmp/streams")).expect("a file");
        assert_eq!(streams, "/dev/null\n".repeat(closed.len()), "{closed}");
    }
}

#[test]
fn a_closed_pipe_is_an_error_and_no_signal() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(runtime_path());
    let status = command.arg("--version").stdout(writer).status().expect("an end");
    // A signal has no code.
    assert_eq!(status.code(), Some(1));
}
