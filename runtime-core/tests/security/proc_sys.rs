//! /proc and /sys are real, and nothing covers parts of them (CVE-2015-3630, CVE-2019-16884,
//! CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867).

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::{Scratch, config, shell, with_mount};

fn sysfs() -> Value {
    json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]})
}

/// The image has a link or a file for /proc or /sys: refused. Control: with a directory, or with
/// nothing, they are mounted; and the link does lead to the directory (readlink).
#[test]
fn links_and_files_for_proc_and_sys_are_refused() {
    let Some(scratch) = Scratch::new() else { return };
    for name in ["proc", "sys"] {
        let place = scratch.root().join(name);
        fs::remove_dir(&place).unwrap();
        for target in ["tmp", "/tmp", "../../..", "/proc", "chain", "tmp/../tmp"] {
            symlink(target, &place).unwrap();
            let result = scratch.run(&with_mount(config(), sysfs()));
            assert!(result.is_err(), "{name} -> {target}");
            assert_eq!(fs::read_dir(scratch.root().join("tmp")).unwrap().count(), 0);
            fs::remove_file(&place).unwrap();
        }
        fs::write(&place, "").unwrap();
        assert!(scratch.run(&with_mount(config(), sysfs())).is_err());
        fs::remove_file(&place).unwrap();
        let line =
            "cat /proc/self/stat /sys/kernel/mm/transparent_hugepage/enabled > /out/both; [ -d /sys/kernel ]";
        assert!(scratch.run(&with_mount(shell(line), sysfs())).unwrap().success());
    }
}

/// Mounts on parts of /proc are refused, said or done by a link of the image.
/// Control: the files that lxcfs emulates may be covered, and the link leads to what is named.
#[test]
fn parts_of_proc_are_not_covered() {
    let Some(scratch) = Scratch::new() else { return };
    let source = scratch.path().join("source");
    fs::create_dir(&source).unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "mine").unwrap();
    let parts = [
        "/proc/self/attr",
        "/proc/self",
        "/proc/sys",
        "/proc/sys/kernel",
        "/proc/self/attr/exec",
        "/proc/1",
        "/proc/thread-self/attr",
    ];
    for part in parts {
        for destination in
            [part.to_owned(), format!("/tmp/..{part}"), format!("/{part}/"), part.replace("/proc", "/proc/.")]
        {
            for mount in [
                json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}),
                json!({"destination": destination, "type": "bind", "source": source, "options": ["bind"]}),
                json!({"destination": destination, "type": "bind", "source": file, "options": ["bind"]}),
                json!({"destination": destination, "type": "proc", "source": "proc"}),
            ] {
                assert!(scratch.run(&with_mount(config(), mount)).is_err(), "{destination}");
            }
        }
        symlink(part, scratch.root().join("link")).unwrap();
        for destination in ["/link", "/link/exec"] {
            for mount in [
                json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}),
                json!({"destination": destination, "type": "bind", "source": file, "options": ["bind"]}),
            ] {
                assert!(scratch.run(&with_mount(config(), mount)).is_err(), "{destination} -> {part}");
            }
        }
        fs::remove_file(scratch.root().join("link")).unwrap();
    }
    let allowed = json!({"destination": "/proc/uptime", "type": "bind", "source": file, "options": ["bind"]});
    assert!(scratch.run(&with_mount(shell("cat /proc/uptime > /out/uptime"), allowed)).unwrap().success());
    assert_eq!(scratch.output("uptime"), "mine");
}

/// A bind on /proc is a procfs, or refused. Control: that of the host is one, and is bound.
#[test]
fn a_bind_on_proc_is_a_procfs() {
    let Some(scratch) = Scratch::new() else { return };
    let fake = scratch.path().join("fake");
    fs::create_dir_all(fake.join("self/attr")).unwrap();
    let sources = [fake.to_str().unwrap(), "/proc/self", "/proc/sys", "/sys", "/dev", "/"];
    let asked = |source: &str| {
        let mut asked = config();
        asked["mounts"][0] =
            json!({"destination": "/proc", "type": "bind", "source": source, "options": ["rbind"]});
        asked
    };
    for source in sources {
        assert!(scratch.run(&asked(source)).is_err(), "{source}");
    }
    let tmpfs = json!({"destination": "/proc", "type": "tmpfs", "source": "tmpfs"});
    assert!(scratch.run(&with_mount(config(), tmpfs)).is_err());
    assert!(scratch.run(&asked("/proc")).unwrap().success());
}

/// A part of the procfs where the runtime runs is covered, as it is in another container: what the runtime writes goes to the
/// kernel, not to the file that covers it. Control: the file is there, and is what that path leads to.
#[test]
fn sysctls_go_to_the_kernel() {
    use nix::mount::{MsFlags, mount};
    let Some(scratch) = Scratch::new() else { return };
    let file = scratch.path().join("file");
    fs::write(&file, "mine").unwrap();
    let mut asked = shell("cat /proc/sys/kernel/domainname > /out/value");
    asked["linux"]["sysctl"] = json!({"kernel.domainname": "inside"});
    // Without a mount namespace nothing takes the false file away before the write.
    let mut in_host = shell("true");
    in_host["linux"]["sysctl"] = asked["linux"]["sysctl"].clone();
    in_host["linux"]["namespaces"] = json!([{"type": "uts"}]);
    in_host["mounts"] = json!([]);
    // In the mount namespace of this test. Names below net belong to a network namespace, this one to all.
    let place = "/proc/sys/kernel/domainname";
    mount(Some(&file), place, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    assert_eq!(fs::read_to_string(place).unwrap(), "mine");
    let results = [scratch.run(&asked), scratch.run(&in_host)];
    nix::mount::umount(place).unwrap();
    for result in results {
        assert!(result.unwrap().success());
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(scratch.output("value"), "inside\n");
}
