//! The working directory of a container is inside of it (CVE-2024-21626).

use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::json;

use crate::support::{Scratch, alone, config, process, shell};

/// Tells where the program is, and what is three levels up.
const WHERE: &str = "readlink /proc/self/cwd > /out/cwd; ls ../../.. > /out/up; touch escaped";

/// What the error of a directory says that has no name from the root.
const OUTSIDE: &str = "verify that it is inside the root";

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

/// What joins a PID namespace has no name in its procfs while it enters the directory: here it has one.
fn in_pids_of_the_caller() -> serde_json::Value {
    let mut config = config();
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    config
}

/// A directory of the host that the container is given on purpose, as a descriptor or as its standard input, is no working
/// directory: the kernel has no name for it. Control: another magic link, which leads inside, is one.
#[test]
fn a_directory_that_is_given_is_no_working_directory() {
    if !alone("cwd::a_directory_that_is_given_is_no_working_directory") {
        return;
    }
    let Some(scratch) = Scratch::new() else { return };
    let running = scratch.sleeping(in_pids_of_the_caller());
    for host in ["/", "/usr/lib", scratch.root().to_str().unwrap()] {
        let directory = std::fs::File::open(host).unwrap();
        nix::unistd::dup2_stdin(&directory).unwrap();
        let given = nix::unistd::dup(&directory).unwrap();
        let (number, preserved) = (given.as_raw_fd(), given.as_raw_fd() as u32 - 2);
        for path in ["/proc/self/fd/0".to_owned(), "/dev/stdin".to_owned(), format!("/proc/self/fd/{number}")]
        {
            for path in [path.clone(), format!("{path}/.")] {
                let mut run = shell(WHERE);
                run["process"]["cwd"] = json!(path);
                let mut exec = process(&["/bin/sh", "-c", WHERE]);
                exec["cwd"] = json!(path);
                let run = scratch.create_with(&run, |options| options.preserve_fds(preserved)).map(drop);
                let exec = running.exec_with(&exec, |options| options.preserve_fds(preserved)).map(drop);
                for (how, result) in [("run", run), ("exec", exec)] {
                    let error = result.err().map(|error| error.to_string()).unwrap_or_default();
                    assert!(error.contains(OUTSIDE), "{how} in {path} of {host}: {error}");
                }
            }
        }
    }
    let mut exec = process(&["/bin/sh", "-c", WHERE]);
    exec["cwd"] = json!("/proc/self/root/tmp");
    assert!(running.exec(&exec).unwrap().success());
    assert_eq!(scratch.output("cwd"), "/tmp\n");
}

/// Of its own the runtime has no directory open by then that such a name could reach: the name leads nowhere, before the
/// place of the directory is looked at. Control: a directory that is given is found, and refused for its place.
#[test]
fn no_directory_of_the_host_is_open_when_the_working_directory_is_entered() {
    if !alone("cwd::no_directory_of_the_host_is_open_when_the_working_directory_is_entered") {
        return;
    }
    let Some(scratch) = Scratch::new() else { return };
    let running = scratch.sleeping(in_pids_of_the_caller());
    for number in 3..64 {
        for path in [format!("/proc/self/fd/{number}"), format!("/proc/self/fd/{number}/self/..")] {
            let mut run = config();
            run["process"]["cwd"] = json!(path);
            let mut exec = process(&["/bin/true"]);
            exec["cwd"] = json!(path);
            for result in [scratch.run(&run), running.exec(&exec)] {
                let error = result.err().map(|error| error.to_string()).unwrap_or_default();
                assert!(!error.contains(OUTSIDE), "{path}: {error}");
            }
        }
    }
    let given = nix::unistd::dup(std::fs::File::open("/").unwrap()).unwrap();
    let mut exec = process(&["/bin/true"]);
    exec["cwd"] = json!(format!("/proc/self/fd/{}", given.as_raw_fd()));
    let preserved = given.as_raw_fd() as u32 - 2;
    let error = running.exec_with(&exec, |options| options.preserve_fds(preserved)).unwrap_err().to_string();
    assert!(error.contains(OUTSIDE), "{error}");
}
