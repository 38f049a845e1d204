//! A user without privileges, who writes to cgroups that systemd delegated below user@.service, without
//! the systemd driver.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::scene::{ASLEEP, controllers};
use crate::support::{Bundle, Run, Running as _, copy_runtime, until};

/// A user whose service manager runs (loginctl enable-linger).
const USER: u32 = 1000;

/// What systemd gives to user@.service.
const DELEGATED: &[&str] = &["cpu", "memory", "pids"];

/// Whether the test can run.
fn manager() -> bool {
    if !controllers(DELEGATED) {
        return false;
    }
    let found = Path::new(&format!("/run/user/{USER}/systemd/private")).exists();
    let required = std::env::var_os("REQUIRE_CONTROLLERS").is_some_and(|value| value == "1");
    assert!(found || !required, "REQUIRE_CONTROLLERS=1, but user {USER} has no service manager");
    if !found {
        eprintln!("skipped: user {USER} has no service manager");
    }
    found
}

/// A bundle of the user, and a copy of the program that the user can reach.
struct User {
    bundle: Bundle,
    program: PathBuf,
    id: String,
}

impl User {
    fn new(name: &str) -> Self {
        let bundle = Bundle::new(ASLEEP);
        let program = bundle.path().join("program");
        copy_runtime(&program);
        fs::remove_file(bundle.path().join("config.json")).expect("removed");
        give(bundle.path());
        let id = format!("{name}-{}", std::process::id());
        let mut user = Self { bundle, program, id };
        user.command(&[]).go(&["spec", "--rootless"]).ok();
        let text = fs::read(user.bundle.path().join("config.json")).expect("config.json");
        let config: Value = serde_json::from_slice(&text).expect("JSON");
        user.change(|whole| {
            *whole = config;
            whole["process"]["terminal"] = json!(false);
            whole["process"]["args"] = json!(ASLEEP);
        });
        user
    }

    fn change(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.bundle.config);
        self.bundle.write();
    }

    /// The runtime as the user, started by the program and the arguments in `by`.
    fn command(&self, by: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--clear-groups", "--inh-caps=-all", "--reuid", &USER.to_string()]);
        command.args(["--regid", &USER.to_string()]).args(by).arg(&self.program);
        command.current_dir(self.bundle.path()).env("XDG_RUNTIME_DIR", format!("/run/user/{USER}"));
        command.env_remove("DBUS_SESSION_BUS_ADDRESS").env_remove("USER");
        command
    }

    #[track_caller]
    fn go(&self, words: &[&str]) -> Run {
        self.command(&[]).go(words)
    }

    /// In a scope of the user's service manager that was delegated, in a cgroup below it: the scope itself
    /// is left to controllers.
    #[track_caller]
    fn in_scope(&self, words: &[&str]) -> Run {
        const LEAF: &str = "own=/sys/fs/cgroup$(cut -d : -f 3 /proc/self/cgroup) && mkdir -p $own/runtime && \
                            echo $$ > $own/runtime/cgroup.procs && exec \"$0\" \"$@\"";
        let unit = format!("--unit={}.scope", self.id);
        let scope = ["systemd-run", "--user", "--scope", "--quiet", "--property=Delegate=yes", &unit];
        self.command(&[&scope[..], &["sh", "-c", LEAF]].concat()).go(words)
    }

    /// The container's cgroup, seen from the host.
    fn group(&self) -> PathBuf {
        let state: Value = serde_json::from_str(&self.go(&["state", &self.id]).ok().stdout).expect("JSON");
        let table = fs::read_to_string(format!("/proc/{}/cgroup", state["pid"])).expect("cgroup");
        let path = table.lines().find_map(|line| line.strip_prefix("0::/")).expect("a v2 cgroup");
        Path::new("/sys/fs/cgroup").join(path)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let run = self.go(&["delete", "--force", &self.id]);
        assert!(run.code == 0 || std::thread::panicking(), "delete --force: {run:?}");
    }
}

/// Gives a directory with all that is in it to the user.
fn give(path: &Path) {
    lchown(path, Some(USER), Some(USER)).expect("an owner");
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("a directory") {
            give(&entry.expect("an entry").path());
        }
    }
}

#[track_caller]
fn has(group: &Path, files: &[(&str, &str)]) {
    for (file, value) in files {
        let path = group.join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text.trim(), *value, "{}", path.display());
    }
}

#[test]
fn limits_below_the_service_manager() {
    if !manager() {
        return;
    }
    let mut user = User::new("delegated");
    user.change(|config| {
        config["linux"]["resources"] = json!({
            "memory": {"limit": 67108864, "swap": 100663296}, "pids": {"limit": 20},
            "cpu": {"shares": 2048, "quota": 20000, "period": 100_000}, "unified": {"memory.high": "50331648"},
        });
    });
    // Without a path the runtime finds its own place: beside its own cgroup.
    user.in_scope(&["run", "-d", &user.id]).ok();
    let group = user.group();
    let expected = format!("{}.scope/{}", user.id, user.id);
    assert!(group.ends_with(&expected), "{} is not {expected}", group.display());
    assert!(group.starts_with(format!("/sys/fs/cgroup/user.slice/user-{USER}.slice/user@{USER}.service")));
    assert_eq!(fs::metadata(&group).expect("it is there").uid(), USER);
    has(
        &group,
        &[
            ("memory.max", "67108864"),
            ("memory.swap.max", "33554432"),
            ("memory.high", "50331648"),
            ("pids.max", "20"),
            ("cpu.weight", "174"),
            ("cpu.max", "20000 100000"),
        ],
    );
    // Files are the user's: no process moves.
    user.go(&["update", "--pids-limit", "30", "--memory", "64M", &user.id]).ok();
    has(&group, &[("pids.max", "30"), ("memory.max", "67108864")]);
    let line = user.go(&["events", "--stats", &user.id]).ok().stdout;
    let data = &serde_json::from_str::<Value>(&line).expect("JSON")["data"];
    assert_eq!(data["memory"]["usage"]["limit"], 67108864, "{line}");
    assert_eq!(data["pids"], json!({"current": 1, "limit": 30}), "{line}");
    user.go(&["pause", &user.id]).ok();
    has(&group, &[("cgroup.freeze", "1")]);
    user.go(&["resume", &user.id]).ok();
    user.go(&["delete", "--force", &user.id]).ok();
    assert!(!group.exists());
}

/// The place of the caller is not the user's: then there is no cgroup.
#[test]
fn outside_of_what_was_delegated() {
    if !manager() {
        return;
    }
    let mut user = User::new("outside");
    let own = fs::read_to_string("/proc/self/cgroup").expect("cgroup");
    user.go(&["run", "-d", &user.id]).ok();
    let state: Value = serde_json::from_str(&user.go(&["state", &user.id]).ok().stdout).expect("JSON");
    assert_eq!(fs::read_to_string(format!("/proc/{}/cgroup", state["pid"])).expect("cgroup"), own);
    user.go(&["kill", &user.id, "KILL"]).ok();
    until("the end", || user.go(&["delete", &user.id]).code == 0);

    user.change(|config| config["linux"]["resources"] = json!({"memory": {"limit": 67108864}}));
    let run = user.go(&["run", "-d", &user.id]);
    for part in ["permission denied", "linux.resources.memory.limit", "hint: "] {
        assert!(run.code == 1 && run.stderr.contains(part), "{part}: {run:?}");
    }
    // A place below the service manager may be named, but nobody without privileges moves there.
    let path = format!("/user.slice/user-{USER}.slice/user@{USER}.service/{}", user.id);
    user.change(|config| config["linux"]["cgroupsPath"] = json!(path));
    let run = user.go(&["run", "-d", &user.id]);
    for part in ["put a process into cgroup", "permission denied", "hint: ", "the tree that was delegated"] {
        assert!(run.code == 1 && run.stderr.contains(part), "{part}: {run:?}");
    }
    assert!(!Path::new("/sys/fs/cgroup").join(&path[1..]).exists());
}
