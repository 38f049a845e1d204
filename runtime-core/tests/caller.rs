//! The library does not touch the process that uses it.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use support::apart::still_placed;
use support::scene::{self, Scene, end, exit};
use support::views::{self, eventually, in_views};

/// What a process can see of itself.
fn process() -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut see = |name: String, value: String| seen.insert(name, value);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_else(|error| format!("{error}"));
    let link = |path: &Path| {
        std::fs::read_link(path).map_or_else(|error| format!("{error}"), |to| format!("{to:?}"))
    };
    for name in ["cwd", "root", "exe", "fd/0", "fd/1", "fd/2"] {
        see(name.to_owned(), link(&Path::new("/proc/self").join(name)));
    }
    for name in [
        "environ",
        "oom_score_adj",
        "coredump_filter",
        "personality",
        "limits",
        "loginuid",
        "sessionid",
        "timerslack_ns",
        "uid_map",
        "gid_map",
        "setgroups",
        "cgroup",
        "mountinfo",
        "comm",
    ] {
        see(name.to_owned(), read(&format!("/proc/self/{name}")));
    }
    see("variables".to_owned(), format!("{:?}", std::env::vars_os().collect::<BTreeMap<_, _>>()));
    let dumpable = nix::sys::prctl::get_dumpable();
    see("dumpable".to_owned(), format!("{dumpable:?}"));
    see("subreaper".to_owned(), format!("{:?}", nix::sys::prctl::get_child_subreaper()));
    see("no_new_privs".to_owned(), format!("{:?}", nix::sys::prctl::get_no_new_privs()));
    see("death signal".to_owned(), format!("{:?}", nix::sys::prctl::get_pdeathsig()));
    see("keyring".to_owned(), format!("{}", keyring()));
    see("session".to_owned(), format!("{:?}", (nix::unistd::getsid(None), nix::unistd::getpgrp())));
    for signal in 1..=64 {
        see(format!("action of signal {signal}"), format!("{:?}", action(signal)));
    }
    let tasks = Path::new("/proc/self/task").read_dir().expect("the threads").flatten();
    for (at, task) in tasks.enumerate() {
        for kind in ["cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "user", "uts"] {
            see(format!("thread {at}: {kind}"), link(&task.path().join("ns").join(kind)));
        }
        // What is counted or measured differs each time; queued signals are those of the whole user.
        let status = read(&task.path().join("status").display().to_string());
        let kept = status.lines().filter(|line| {
            let measured = [
                "Vm",
                "Rss",
                "Hugetlb",
                "State",
                "voluntary",
                "nonvoluntary",
                "x86_Thread",
                "Cpus_allowed",
                "SigQ",
            ];
            !measured.iter().any(|name| line.starts_with(name))
        });
        see(format!("thread {at}: status"), kept.collect::<Vec<_>>().join("\n"));
    }
    let mut descriptors: Vec<String> = Path::new("/proc/self/fd")
        .read_dir()
        .expect("the descriptors")
        .flatten()
        .map(|entry| format!("{} {}", entry.file_name().display(), link(&entry.path())))
        .filter(|text| !text.contains("/proc/"))
        .collect();
    descriptors.sort();
    see("descriptors".to_owned(), descriptors.join("\n"));
    seen
}

fn keyring() -> i64 {
    const GET_KEYRING_ID: i32 = 0;
    const SESSION_KEYRING: i32 = -3;
    // SAFETY: plain numbers; the call only asks for the id.
    unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION_KEYRING, 0) }
}

/// Handler and flags of a signal.
fn action(signal: i32) -> (usize, i32) {
    // SAFETY: all zero is a valid sigaction, and the call only fills it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action);
        (action.sa_sigaction, action.sa_flags)
    }
}

fn assert_same(before: &BTreeMap<String, String>, after: &str) {
    // A thread of the test harness may just be ending.
    let differs = || {
        let now = process();
        let keys: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).cloned().collect();
        let mounts = |text: &String| still_placed(text.lines().map(str::to_owned).collect());
        let differs = keys.into_iter().filter(|key| match key.as_str() {
            "mountinfo" => before.get(key).map(mounts) != now.get(key).map(mounts),
            _ => before.get(key) != now.get(key),
        });
        differs
            .map(|key| format!("{key}:\n-{:?}\n+{:?}", before.get(&key), now.get(&key)))
            .collect::<Vec<_>>()
    };
    assert!(eventually(|| differs().is_empty()), "changed by {after}:\n{}", differs().join("\n"));
}

in_views!(nothing_of_the_caller_changes: hybrid, v2);
fn nothing_of_the_caller_changes() {
    // A caller with habits of its own.
    // SAFETY: no handler is installed, only signals ignored and a mask set.
    unsafe {
        libc::signal(libc::SIGUSR1, libc::SIG_IGN);
        libc::umask(0o027);
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        libc::sigaddset(&raw mut mask, libc::SIGUSR2);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut());
    }
    let scene = Scene::new();
    std::env::set_current_dir(scene.path()).unwrap();
    // The first launch makes what later ones use: the init's memory file, the host's facts.
    let (container, init) = scene.run(&scene.id(), &scene.config(&["true"])).unwrap();
    exit(&init);
    drop(init);
    container.delete().unwrap();
    let (ready, begun) = std::sync::mpsc::channel();
    let sleeper = std::thread::spawn(move || {
        ready.send(()).expect("the test listens");
        std::thread::park();
    });
    begun.recv().unwrap();

    let before = process();
    let id = scene.id();
    let mut config = scene.config(&["sleep", "600"]);
    config["process"]["user"]["umask"] = json!(0o077);
    config["process"]["oomScoreAdj"] = json!(500);
    config["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}], "poststop": [{"path": "/bin/true"}]});
    let plan = scene.plan(&id, &config).unwrap();
    assert_same(&before, "plan");
    let container = scene.runtime.create(plan).unwrap();
    let with_init = process();
    for (name, value) in with_init.iter().filter(|(name, _)| *name != "descriptors") {
        assert_eq!(Some(value), before.get(name), "changed by create: {name}");
    }
    container.start().unwrap();
    assert_same(&with_init, "start");
    let process_inside = scene::exec(&container, &["true"]).unwrap();
    exit(&process_inside);
    drop(process_inside);
    assert_same(&with_init, "exec");
    container.state().unwrap();
    container.pause().unwrap();
    container.resume().unwrap();
    assert_same(&with_init, "pause and resume");
    scene::exec(&container, &["missing"]).unwrap_err();
    assert_same(&with_init, "a failed exec");
    end(container);
    assert_same(&before, "create, kill and delete");

    scene.create(&scene.id(), &scene.config(&["missing"])).unwrap_err();
    assert_same(&before, "a failed create");
    let mut refused = config.clone();
    refused["hooks"]["createRuntime"] = json!([{"path": "/bin/false"}]);
    scene.create(&scene.id(), &refused).unwrap_err();
    assert_same(&before, "a create that a hook refused");
    let mut unmountable = config;
    unmountable["mounts"].as_array_mut().unwrap().push(json!({"destination": "/x", "type": "nosuchfs"}));
    scene.create(&scene.id(), &unmountable).unwrap_err();
    assert_same(&before, "a create that could not mount");
    sleeper.thread().unpark();
    sleeper.join().unwrap();
    scene.assert_clean("all calls");
}
