//! Destinations of mounts that the image made links (CVE-2015-3629, CVE-2019-18837).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use nix::mount::MsFlags;
use serde_json::{Value, json};

use crate::apart::{mount_table, still_placed};
use crate::support::{Scratch, config, shell, with_mount};

fn tmpfs(destination: &str) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"})
}

fn bind(source: &Path, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", "rw"]})
}

/// The names in a directory of the host.
fn names(outside: &Path) -> Vec<String> {
    let entries = fs::read_dir(outside).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Links that lead up to the host, by every way there is; the mount is inside or refused.
/// Control: the kernel, asked to resolve the same path from the host's root, does arrive outside.
#[test]
fn linked_destinations_stay_inside() {
    let Some(scratch) = Scratch::new() else { return };
    let root = scratch.root();
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let source = scratch.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "").unwrap();
    symlink(&outside, root.join("absolute")).unwrap();
    symlink("../../outside", root.join("relative")).unwrap();
    symlink("chain2", root.join("chain1")).unwrap();
    symlink("/chain3", root.join("chain2")).unwrap();
    symlink("tmp/../../../outside", root.join("chain3")).unwrap();
    symlink("/proc/self/fd/3", root.join("magic")).unwrap();
    symlink("/proc/self/root", root.join("magic_root")).unwrap();
    symlink("/proc/1/cwd", root.join("magic_cwd")).unwrap();
    assert_eq!(fs::canonicalize(root.join("relative")).unwrap(), fs::canonicalize(&outside).unwrap());
    let (table, before) = (mount_table(), names(&outside));
    for link in ["absolute", "relative", "chain1", "magic", "magic_root", "magic_cwd"] {
        for path in
            [format!("/{link}"), format!("/{link}/x"), format!("/{link}/x/y"), format!("/{link}/../../x")]
        {
            for mount in [tmpfs(&path), bind(&source, &path), bind(&source.join("file"), &path)] {
                let result = scratch.run(&with_mount(config(), mount));
                assert_eq!(names(&outside), before, "{path}: {result:?}");
                assert_eq!(mount_table(), still_placed(table.clone()), "{path}: {result:?}");
            }
        }
    }
}

/// The destination is a link to the root itself: refused, or what joins the container would have
/// another root than its own processes. Control: with a directory in its place the mount is made.
#[test]
fn a_destination_that_is_the_root_is_refused() {
    let Some(scratch) = Scratch::new() else { return };
    for target in ["/", ".", "..", "../..", "tmp/../.."] {
        let link = scratch.root().join("x");
        symlink(target, &link).unwrap();
        let error = scratch.run(&with_mount(config(), tmpfs("/x"))).unwrap_err().to_string();
        assert!(error.contains("root") && error.contains("mounts[3]"), "{error}");
        fs::remove_file(link).unwrap();
    }
    fs::create_dir(scratch.root().join("x")).unwrap();
    assert!(scratch.run(&with_mount(shell("touch /x/file"), tmpfs("/x"))).unwrap().success());
    assert_eq!(fs::read_dir(scratch.root().join("x")).unwrap().count(), 0);
}

/// tmpcopyup copies what is inside, through whatever link. Control: it copies a file of the image.
#[test]
fn copying_up_reads_nothing_of_the_host() {
    let Some(scratch) = Scratch::new() else { return };
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let copied = |destination: &str| {
        let mount =
            json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]});
        scratch.clear();
        let line = format!("cat {destination}/* > /out/copy; ls -la {destination} > /out/list");
        // cat fails where there is nothing.
        scratch.run(&with_mount(shell(&line), mount)).map(|_| scratch.output("copy"))
    };
    for target in [outside.as_path(), Path::new("../../outside"), Path::new("/proc/self/fd/5")] {
        let link = scratch.root().join("linked");
        symlink(target, &link).unwrap();
        if let Ok(text) = copied("/linked") {
            assert_eq!(text, "", "{target:?}");
        }
        fs::remove_file(link).unwrap();
    }
    let real = scratch.root().join("real");
    fs::create_dir(&real).unwrap();
    symlink(outside.join("secret"), real.join("link")).unwrap();
    fs::write(real.join("file"), "mine").unwrap();
    nix::unistd::mkfifo(&real.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mount = json!({"destination": "/real", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]});
    assert!(
        scratch
            .run(&with_mount(
                shell("cat /real/file > /out/copy; ls -l /real > /out/list; ! cat /real/link"),
                mount
            ))
            .unwrap()
            .success()
    );
    assert_eq!(scratch.output("copy"), "mine");
    assert!(scratch.output("list").lines().any(|line| line.starts_with('p')));
}

/// Mounts that the container makes do not come back to the host, whatever the propagation; and the
/// other way round the root of a shared host leaves nothing behind.
/// Control: in the same shared directory, a mount by a process of the host is seen.
#[test]
fn no_propagation_leaves_a_mount_on_the_host() {
    let Some(scratch) = Scratch::new() else { return };
    // The mounts that the container begins with are peers of those here: this thread's are the host's of the test.
    let none = None::<&str>;
    nix::mount::mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none).unwrap();
    let points = |table: Vec<String>| -> Vec<String> {
        table.iter().map(|line| line.split(' ').nth(4).unwrap_or_default().to_owned()).collect()
    };
    let before = mount_table();
    for propagation in ["", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable"] {
        let mut asked = with_mount(config(), tmpfs("/tmp"));
        if !propagation.is_empty() {
            asked["linux"]["rootfsPropagation"] = json!(propagation);
        }
        let result = scratch.run(&asked);
        let left = points(still_placed(before.clone()));
        assert_eq!(points(mount_table()), left, "{propagation}: {result:?}");
        assert!(result.is_ok(), "{propagation}: {result:?}");
    }
    let line = format!("mount -t tmpfs none {}", scratch.root().join("tmp").display());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    let place = scratch.root().join("tmp").display().to_string();
    assert!(points(mount_table()).contains(&place) && !points(before).contains(&place));
    assert!(Command::new("umount").arg(scratch.root().join("tmp")).status().unwrap().success());
}

/// Nothing of the host is mounted in a container but what its configuration names: its root leaves with all that is below.
/// Control: the mounts of the configuration are there.
#[test]
fn the_mounts_of_the_host_are_gone() {
    let Some(scratch) = Scratch::new() else { return };
    for propagation in ["rprivate", "rslave", "slave", "rshared"] {
        let mut asked = config();
        asked["linux"]["rootfsPropagation"] = json!(propagation);
        let created = scratch.create(&asked).unwrap();
        let table = crate::support::mountinfo(created.pid());
        let mut points: Vec<&str> = table.iter().filter_map(|line| line.split(' ').nth(4)).collect();
        points.sort_unstable();
        assert_eq!(points, ["/", "/dev", "/dev/pts", "/proc"], "{propagation}");
    }
}
