//! What can be seen of the processes of a launch: their descriptors, their memory, the container's mounts.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::kill::{signal, stage_of};
use super::support::scene::{self, Scene, end, exit};
use super::views::{in_views, skip};

/// What each process of a launch may hold beside its standard streams, by the beginning of its name.
const GIVEN: &[&str] =
    &["socket:[", "/memfd:", "anon_inode:[pidfd]", "pidfd:[", "net:[", "mnt:[", "user:[", "pid:["];

/// The open files of a process, but for the standard streams.
fn descriptors(pid: i32) -> Vec<String> {
    let directory = PathBuf::from(format!("/proc/{pid}/fd"));
    let entries = directory.read_dir().expect("the descriptors").flatten();
    let above = entries.filter(|entry| !["0", "1", "2"].iter().any(|number| entry.file_name() == *number));
    above
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|link| link.display().to_string())
        .collect()
}

/// Fails if a process holds something else than what it was given.
fn assert_given(who: &str, found: &[String], more: &[&str]) {
    let strange: Vec<_> =
        found.iter().filter(|name| !GIVEN.iter().chain(more).any(|given| name.starts_with(given))).collect();
    assert!(strange.is_empty(), "{who} holds {strange:?}");
}

in_views!(the_first_stage_holds_what_it_was_given: hybrid, v1, v2);
fn the_first_stage_holds_what_it_was_given() {
    let scene = Scene::new();
    // What a careless caller has open, close-on-exec or not.
    let decoy = std::fs::File::create(scene.path().join("decoy")).expect("a file");
    let _leaked = nix::unistd::dup(&decoy).expect("a descriptor");
    let _pipe = nix::unistd::pipe().expect("a pipe");
    let container = scene.started(&["sleep", "600"]);
    let mut seen = 0;
    for _ in 0..40 {
        let (process, found) = while_stopping(|| scene::exec(&container, &["true"]).expect("executed"));
        exit(&process);
        let (other, more) =
            while_stopping(|| scene.create(&scene.id(), &scene.config(&["true"])).expect("created"));
        end(other);
        for found in [found, more].into_iter().flatten() {
            seen += 1;
            // Its cgroup's directory and files, the procfs of the host, and the sysfs that it prepares for the init.
            assert_given("stage 0", &found, &["/sys/fs/cgroup", "/proc", "anon_inode:[fscontext]"]);
        }
    }
    println!("{seen} seen");
    if seen == 0 {
        skip("no stage 0 was met");
    }
    end(container);
    scene.assert_clean("stopped stages");
}

/// Calls while another thread stops the first stage 0 that it meets, looks at it, and lets it go on.
fn while_stopping<T>(call: impl FnOnce() -> T) -> (T, Option<Vec<String>>) {
    let thread = nix::unistd::gettid().as_raw();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let Some((pid, pidfd)) = stage_of(thread) else { continue };
                signal(&pidfd, libc::SIGSTOP);
                let found = is_stopped(pid, &done).then(|| descriptors(pid));
                signal(&pidfd, libc::SIGCONT);
                return found;
            }
            None
        });
        let result = call();
        done.store(true, Ordering::Relaxed);
        (result, watch.join().expect("the watch ends"))
    })
}

/// Waits until a process stands still; false if it has ended before.
fn is_stopped(pid: i32, done: &AtomicBool) -> bool {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        match stat.rsplit_once(") ").map(|(_, fields)| fields.as_bytes().first().copied()) {
            Some(Some(b'T')) => return true,
            Some(Some(b'R' | b'S' | b'D')) if !done.load(Ordering::Relaxed) => {}
            _ => return false,
        }
    }
}

in_views!(a_created_container_waits_with_little: hybrid, v1, v2);
fn a_created_container_waits_with_little() {
    let scene = Scene::new();
    let decoy = std::fs::File::create(scene.path().join("decoy")).expect("a file");
    let _leaked = nix::unistd::dup(&decoy).expect("a descriptor");
    let container = scene.create(&scene.id(), &scene.config(&["true"])).expect("created");
    let pid = container.state().expect("a state").pid;
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).expect("a file of procfs");
    assert!(number(&read("smaps_rollup"), "Pss:") <= 100, "{}", read("smaps_rollup"));
    assert_eq!(number(&read("status"), "Threads:"), 1);
    assert_given("the waiting init", &descriptors(pid), &[]);
    end(container);
    scene.assert_clean("a container that waited");
}

/// The number after a name in a file of procfs.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the line");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

in_views!(mounts_are_listed_in_the_order_of_the_configuration: hybrid, v1, v2);
fn mounts_are_listed_in_the_order_of_the_configuration() {
    let scene = Scene::new();
    let config = scene.config(&["sleep", "600"]);
    let container = scene.create(&scene.id(), &config).expect("created");
    let pid = container.state().expect("a state").pid;
    let mountinfo = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("mountinfo"))
        .expect("mountinfo");
    let wanted: Vec<_> = config["mounts"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|mount| mount["destination"].as_str())
        .collect();
    let places: Vec<_> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|place| wanted.contains(place))
        .collect();
    assert_eq!(places, wanted, "{mountinfo}");
    end(container);
    scene.assert_clean("a look at its mounts");
}
