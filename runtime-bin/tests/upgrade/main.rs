//! An upgrade beneath containers: one release of the program creates them, another one goes on.
//!
//! `RUNTIME_BEFORE` is the path of the older program; `.ci/upgrade` builds one from the project's history. Both
//! directions hold: an engine may be downgraded as well.

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the command line use more of it")]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use support::{Bundle, Run, Running as _, privileged, runtime_path, until};

/// The two programs, and what each of them is in a test.
struct Pair {
    maker: PathBuf,
    heir: PathBuf,
}

/// Both directions, or nothing where there is no older program.
fn pairs() -> Vec<Pair> {
    let Some(before) = std::env::var_os("RUNTIME_BEFORE").map(PathBuf::from) else {
        eprintln!("skipped: RUNTIME_BEFORE names no older program");
        return Vec::new();
    };
    assert!(privileged(), "an upgrade is tested as root");
    vec![Pair { maker: before.clone(), heir: runtime_path() }, Pair { maker: runtime_path(), heir: before }]
}

/// A container that the maker has created, or started; it is deleted by force at the end.
struct Inherited<'a> {
    bundle: &'a Bundle,
    pair: &'a Pair,
    id: &'static str,
}

impl<'a> Inherited<'a> {
    fn create(bundle: &'a Bundle, pair: &'a Pair, id: &'static str) -> Self {
        let container = Self { bundle, pair, id };
        container.maker(&["create"]).ok();
        container
    }

    fn run(bundle: &'a Bundle, pair: &'a Pair, id: &'static str) -> Self {
        let container = Self { bundle, pair, id };
        container.maker(&["run", "--detach"]).ok();
        container
    }

    #[track_caller]
    fn maker(&self, words: &[&str]) -> Run {
        self.go(&self.pair.maker, words, &[])
    }

    #[track_caller]
    fn heir(&self, words: &[&str]) -> Run {
        self.go(&self.pair.heir, words, &[])
    }

    #[track_caller]
    fn heir_with(&self, words: &[&str], more: &[&str]) -> Run {
        self.go(&self.pair.heir, words, more)
    }

    #[track_caller]
    fn go(&self, program: &Path, words: &[&str], more: &[&str]) -> Run {
        let state = self.bundle.state();
        let mut command = Command::new(program);
        command.arg("--root").arg(state).current_dir(self.bundle.path()).env_remove("NOTIFY_SOCKET");
        command.go(&[words, &[self.id], more].concat())
    }

    #[track_caller]
    fn state(&self) -> Value {
        serde_json::from_str(&self.heir(&["state"]).ok().stdout).expect("JSON")
    }

    #[track_caller]
    fn until(&self, status: &str) {
        until(status, || self.state()["status"] == status);
    }
}

impl Drop for Inherited<'_> {
    fn drop(&mut self) {
        let run = self.heir(&["delete", "--force"]);
        assert!(run.code == 0 || std::thread::panicking(), "delete --force: {run:?}");
    }
}

/// A bundle whose program ends with 7 at SIGTERM, and which has what the state remembers: hooks, limits,
/// annotations.
fn bundle() -> Bundle {
    let script = "trap 'exit 7' TERM; while :; do sleep 0.05; done";
    Bundle::new(&["/bin/sh", "-c", script]).with(|config| {
        config["annotations"] = json!({ "org.example.release": "before" });
        config["linux"]["resources"]["pids"] = json!({ "limit": 64 });
        config["hooks"] = json!({ "poststop": [{ "path": "/bin/sh", "args": ["sh", "-c", "echo > gone"] }] });
    })
}

#[test]
fn a_created_container_is_started_by_the_other_release() {
    for pair in &pairs() {
        let bundle = bundle();
        let container = Inherited::create(&bundle, pair, "upgrade-created");
        let state = container.state();
        assert_eq!(state["status"], "created");
        assert_eq!(state["annotations"]["org.example.release"], "before");
        container.heir(&["start"]).ok();
        container.until("running");
        assert_eq!(container.state()["pid"], state["pid"]);
    }
}

#[test]
fn a_running_container_is_entered_updated_and_deleted_by_the_other_release() {
    for pair in &pairs() {
        let bundle = bundle();
        let container = Inherited::run(&bundle, pair, "upgrade-running");
        let exec = container.heir_with(&["exec"], &["/bin/sh", "-c", "echo in; exit 5"]);
        assert_eq!((exec.code, exec.stdout.as_str()), (5, "in\n"), "{exec:?}");
        let pid = container.state()["pid"].as_i64().expect("a pid");
        assert!(container.heir(&["ps", "--format", "json"]).ok().stdout.contains(&pid.to_string()));
        container.heir(&["update", "--pids-limit", "32"]).ok();
        let events = container.heir(&["events", "--stats"]).ok().stdout;
        let events: Value = serde_json::from_str(&events).expect("JSON");
        assert_eq!(events["data"]["pids"]["limit"], 32, "{events}");
        container.heir_with(&["kill"], &["TERM"]).ok();
        container.until("stopped");
        container.heir(&["delete"]).ok();
        assert!(bundle.path().join("gone").exists(), "the poststop hook of a container of the other release");
        container.heir(&["state"]).fails(1, "does not exist");
    }
}

#[test]
fn a_paused_container_is_resumed_by_the_other_release() {
    for pair in &pairs() {
        let bundle = bundle();
        let container = Inherited::run(&bundle, pair, "upgrade-paused");
        container.maker(&["pause"]).ok();
        assert_eq!(container.state()["status"], "paused");
        container.heir(&["resume"]).ok();
        assert_eq!(container.state()["status"], "running");
        container.heir(&["pause"]).ok();
        assert_eq!(container.state()["status"], "paused");
    }
}

#[test]
fn a_container_is_deleted_by_force_in_each_status() {
    for pair in &pairs() {
        let bundle = bundle();
        drop(Inherited::create(&bundle, pair, "upgrade-forced"));
        drop(Inherited::run(&bundle, pair, "upgrade-forced"));
        let paused = Inherited::run(&bundle, pair, "upgrade-forced");
        paused.maker(&["pause"]).ok();
        drop(paused);
        assert_eq!(std::fs::read_dir(bundle.state()).expect("the state's directory").count(), 0);
    }
}

#[test]
fn containers_of_both_releases_are_listed_together() {
    for pair in &pairs() {
        let bundle = bundle();
        let _old = Inherited::run(&bundle, pair, "upgrade-listed-1");
        let new = Inherited { bundle: &bundle, pair, id: "upgrade-listed-2" };
        new.heir(&["run", "--detach"]).ok();
        let mut command = Command::new(&pair.heir);
        let listed = command.arg("--root").arg(bundle.state()).go(&["list", "--format", "json"]).ok().stdout;
        let listed: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
        let statuses: Vec<_> = listed.iter().map(|entry| entry["status"].clone()).collect();
        assert_eq!(statuses, ["running", "running"], "{listed:?}");
    }
}
