//! The working directory of a container is inside of it (CVE-2024-21626).

use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::json;

use crate::support::{Scratch, config, process, shell};

/// Tells where the program is, and what is three levels up.
const WHERE: &str = "readlink /proc/self/cwd > /out/cwd; ls ../../.. > /out/up; touch escaped";

/// Control: the same caller and directory by chroot(8): it arrives outside.
#[test]
fn a_descriptor_of_the_caller_is_no_working_directory() {
    let Some(scratch) = Scratch::new() else { return };
    let root = scratch.root();
    let line = format!(
        "mount --bind /proc {0}/proc && chroot {0} /bin/sh -c 'for fd in /proc/self/fd/*; do \
         cd $fd 2>/dev/null && [ -d usr/lib ] && echo outside > /out/control; done; true'",
        root.display()
    );
    assert!(Command::new("unshare").args(["-m", "sh", "-c", &line]).status().unwrap().success());
    assert_eq!(scratch.output("control"), "outside\n");
    scratch.clear();

    let running = scratch.sleeping(config());
    for number in 3..=40 {
        symlink(format!("/proc/self/fd/{number}"), root.join(format!("link{number}"))).unwrap();
        let direct = format!("/proc/self/fd/{number}");
        let below = format!("/proc/self/fd/{number}/tmp");
        for path in [
            direct,
            below,
            format!("/proc/1/fd/{number}"),
            format!("/link{number}"),
            format!("/link{number}/tmp"),
        ] {
            let mut run = shell(WHERE);
            run["process"]["cwd"] = json!(path);
            let mut exec = process(&["/bin/sh", "-c", WHERE]);
            exec["cwd"] = json!(path);
            for (how, result) in [("run", scratch.run(&run)), ("exec", running.exec(&exec))] {
                // A descriptor of the init's own may be a directory: then one of the container.
                if result.is_ok_and(|exit| exit.success()) {
                    let inside = scratch.output("cwd");
                    assert!(inside.starts_with('/'), "{how} in {path}: {inside:?}");
                    let host =
                        std::path::Path::new("/usr/lib").exists() && scratch.output("up").contains("usr");
                    assert!(!host, "{how} in {path}: {}", scratch.output("up"));
                }
            }
        }
    }
}

/// A working directory that is missing is made in the root only, through whatever link.
/// Control: the directory is made when it is inside.
#[test]
fn a_missing_working_directory_is_made_inside() {
    let Some(scratch) = Scratch::new() else { return };
    let outside = scratch.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, scratch.root().join("absolute")).unwrap();
    symlink("../../outside", scratch.root().join("relative")).unwrap();
    symlink("/", scratch.root().join("top")).unwrap();
    for (path, made) in [
        ("/a/b", true),
        ("/top/c/d", true),
        ("/absolute/x", false),
        ("/relative/x", false),
        ("/../../x/y", true),
    ] {
        let mut run = shell("readlink /proc/self/cwd > /out/cwd");
        run["process"]["cwd"] = json!(path);
        let result = scratch.run(&run);
        assert!(!made || result.is_ok_and(|exit| exit.success()), "{path}");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "{path}");
    }
    assert!(scratch.root().join("a/b").is_dir());
    assert!(scratch.root().join("c/d").is_dir());
}
