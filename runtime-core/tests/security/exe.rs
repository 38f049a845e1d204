//! The runtime's program cannot be changed by a container (CVE-2019-5736).

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::support::{Scratch, config, process, runs, set_mode, with_capabilities};

/// Device and inode of a file.
fn identity(path: &str) -> (u64, u64) {
    let data = fs::metadata(path).unwrap();
    (data.dev(), data.ino())
}

/// What waits in a created container is neither this program nor one that can be written.
/// Control: the attempt to write goes through for a program that is not sealed.
#[test]
fn the_waiting_program_is_sealed_and_not_the_hosts() {
    let Some(scratch) = Scratch::new() else { return };
    let created = scratch.create(&config()).unwrap();
    let exe = format!("/proc/{}/exe", created.pid());
    assert_ne!(identity(&exe), identity("/proc/self/exe"));
    let overwrite = |path: &str| {
        fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"#!"))
    };
    // It runs, so nobody may write it; afterwards the seals hold.
    assert!(overwrite(&exe).is_err());
    let held = fs::File::open(&exe).unwrap();
    drop(created);
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
    assert!(overwrite(&again).is_err());
    assert!(fs::OpenOptions::new().write(true).truncate(true).open(&again).is_err());
    let control = scratch.root().join("bin/busybox");
    overwrite(control.to_str().unwrap()).unwrap();
}

/// Each container has a program of its own: modes, owners and attributes of a memory file can be
/// changed in spite of its seals, and must not reach the next container of the same engine.
/// Control: the first container's file takes the change.
#[test]
fn containers_of_one_engine_do_not_share_their_program() {
    let Some(scratch) = Scratch::new() else { return };
    let first = scratch.create(&config()).unwrap();
    let second = scratch.create(&config()).unwrap();
    let exe = |pid: i32| format!("/proc/{pid}/exe");
    assert_ne!(identity(&exe(first.pid())), identity(&exe(second.pid())));
    std::os::unix::fs::chown(exe(first.pid()), Some(4242), Some(4242)).unwrap();
    assert_eq!(fs::metadata(exe(first.pid())).unwrap().uid(), 4242);
    let third = scratch.create(&config()).unwrap();
    assert_eq!(fs::metadata(exe(third.pid())).unwrap().uid(), 0);
}

/// The image's program is a script whose interpreter is "/proc/self/exe", so that the kernel runs
/// whatever the runtime was, with the container's libraries; a process of the container opens it and
/// tries to write after its end. Control: the script's interpreter is run at all (`/bin/sh`).
#[test]
fn an_interpreter_that_is_the_runtime_gets_nothing() {
    let Some(scratch) = Scratch::new() else { return };
    let before = fs::read("/proc/self/exe").unwrap();
    for (interpreter, runs) in
        [("/bin/sh", true), ("/proc/self/exe", false), ("/proc/self/exe 3", false), ("/proc/1/exe", false)]
    {
        let script = scratch.root().join("script");
        fs::write(&script, format!("#!{interpreter}\necho ran > /out/ran\n")).unwrap();
        set_mode(&script, 0o755);
        scratch.clear();
        let mut direct = config();
        direct["process"]["args"] = json!(["/script"]);
        // The init's program as interpreter does nothing for who is not the library.
        if let Ok(exit) = scratch.run(&direct) {
            assert_eq!(exit.success(), runs, "{interpreter}");
        }
        assert_eq!(scratch.output("ran") == "ran\n", runs, "{interpreter}");

        let running = scratch.sleeping(config());
        scratch.clear();
        if let Ok(exit) = running.exec(&process(&["/script"])) {
            assert_eq!(exit.success(), runs, "exec {interpreter}");
        }
        assert_eq!(scratch.output("ran") == "ran\n", runs, "exec {interpreter}");
    }
    assert!(before == fs::read("/proc/self/exe").unwrap());
}

/// The well-known exploit: pid 1 of the container opens the program of every process that comes in,
/// and writes to it once it has ended. Control: it overwrites a program of the container's own in
/// just that way.
#[test]
fn the_program_of_an_exec_cannot_be_overwritten() {
    let Some(scratch) = Scratch::new() else { return };
    scratch.add_attacker();
    crate::apart::copy_program(&scratch.root().join("bin/busybox"), &scratch.root().join("tmp/sleep"));
    let mut config = with_capabilities(config(), &["CAP_SYS_PTRACE"]);
    config["process"]["args"] = json!(["/bin/attacker", "overwrite"]);
    let running = scratch.create(&config).unwrap();
    running.start().unwrap();
    scratch.await_file("ready");
    let before = identity("/proc/self/exe");
    for _ in 0..runs() {
        running.exec(&process(&["/bin/true"])).unwrap();
    }
    running.exec(&process(&["/tmp/sleep", "1"])).unwrap();
    scratch.await_file("won");
    running.exec(&process(&["/bin/sleep", "1"])).unwrap();
    scratch.stop_attacker();
    assert!(scratch.output("opened").contains("memfd"), "the attack has not seen the init");
    let won = scratch.output("won");
    assert!(won.contains("/tmp/sleep"), "the control");
    assert!(won.lines().all(|name| name == "/tmp/sleep"), "{won}");
    assert_eq!(identity("/proc/self/exe"), before);
}
