//! The terminal of a container (CVE-2025-52565, CVE-2026-88264).

use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::opens::Opens;
use crate::support::{Scratch, config, name_of, process, shell, without_dev};

fn terminal(mut config: Value) -> Value {
    config["process"]["terminal"] = json!(true);
    config
}

/// The terminal is one of the container's own devpts, for create and for exec, and nobody else's.
/// Control: the program has a terminal.
#[test]
fn the_terminal_is_of_the_containers_own_devpts() {
    let Some(scratch) = Scratch::new() else { return };
    let mut asked = terminal(shell(
        "readlink /proc/$$/fd/0 > /out/name; stat -c %t,%T /dev/console > /out/console; echo > /out/ready; sleep 1000",
    ));
    asked["process"]["user"] = json!({"uid": 0, "gid": 0});
    let mut created = scratch.create(&asked).unwrap();
    let master = created.take_console().expect("a master");
    assert!(name_of(&master).ends_with("ptmx"), "{}", name_of(&master));
    created.start().unwrap();
    let mut exec = process(&["/bin/sh", "-c", "readlink /proc/$$/fd/0 > /out/exec"]);
    exec["terminal"] = json!(true);
    assert!(created.exec(&exec).unwrap().success());
    scratch.await_file("ready");
    assert_eq!(scratch.output("name"), "/dev/pts/0\n");
    assert_eq!(scratch.output("exec"), "/dev/pts/1\n");
    assert_eq!(scratch.output("console"), "88,0\n");
}

/// What the image has at /dev/console, /dev/ptmx and /dev/pts is a link to a file of the host: that is
/// neither opened as the terminal, nor mounted over, nor changed. Control: with the image's links taken
/// away the same configuration has its terminal.
#[test]
fn links_to_the_host_are_not_taken_for_terminals() {
    let Some(scratch) = Scratch::new() else { return };
    let decoy = scratch.decoy();
    let without_devpts = without_dev(terminal(shell("stat -c %t,%T /dev/console > /out/console")));
    let mut with_devpts = without_devpts.clone();
    with_devpts["mounts"].as_array_mut().unwrap().push(json!(
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]}
    ));
    let dev = scratch.root().join("dev");
    for name in ["console", "ptmx", "pts", "pts/ptmx", "pts/0"] {
        for target in
            [decoy.0.clone(), "../../../decoy".into(), "../../../../decoy".into(), "/etc/missing".into()]
        {
            for asked in [&without_devpts, &with_devpts] {
                fs::remove_dir_all(&dev).unwrap();
                fs::create_dir_all(dev.join(name).parent().unwrap()).unwrap();
                symlink(&target, dev.join(name)).unwrap();
                scratch.clear();
                if let Ok(exit) = scratch.run(asked) {
                    assert!(exit.success());
                    assert_eq!(scratch.output("console"), "88,0\n", "{name} -> {target:?}");
                }
                decoy.check();
            }
        }
    }
    fs::remove_dir_all(&dev).unwrap();
    fs::create_dir(&dev).unwrap();
    scratch.clear();
    assert!(scratch.run(&with_devpts).unwrap().success());
    assert_eq!(scratch.output("console"), "88,0\n");
    assert!(scratch.run(&without_devpts).is_err());
}

/// Nodes of the image in the place of ptmx are not even opened: a FIFO would block, a device may act. That they are refused
/// later is not enough. Control: an open of that FIFO is seen.
#[test]
fn a_false_ptmx_is_not_opened() {
    let Some(scratch) = Scratch::new() else { return };
    let pts = scratch.root().join("dev/pts");
    fs::create_dir(&pts).unwrap();
    let place = pts.join("ptmx");
    for kind in ["fifo", "file", "zero"] {
        match kind {
            "fifo" => nix::unistd::mkfifo(&place, Mode::S_IRWXU).unwrap(),
            "file" => fs::write(&place, "").unwrap(),
            _ => mknod(&place, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5)).unwrap(),
        }
        let opens = Opens::of(&place);
        assert!(scratch.run(&without_dev(terminal(config()))).is_err(), "{kind}");
        assert_eq!(opens.count(), 0, "{kind}");
        drop(fs::OpenOptions::new().read(true).write(true).open(&place).unwrap());
        assert_eq!(opens.count(), 1, "the control: {kind}");
        fs::remove_file(&place).unwrap();
    }
}
