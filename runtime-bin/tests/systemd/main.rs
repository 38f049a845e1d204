//! The systemd driver, on a machine with systemd: units and their properties as `systemctl` shows them, limits as
//! the kernel has them, and nothing left behind.
//!
//! Which version of cgroups there is was decided when the machine was booted. Most tests are about
//! either; those of the modules `v1` and `v2` need that one.

#[allow(unused_imports, dead_code, reason = "what other programs of tests need as well")]
#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "what the tests of checkpoints need as well")]
#[path = "../checkpoint/fake.rs"]
mod fake;

#[path = "../support/streams.rs"]
mod streams;

mod failure;
mod fields;
mod limits;
mod place;
mod pods;
mod restore;
mod user;

use std::process::Command;

use serde_json::{Value, json};

use support::{Bundle, Running as _, privileged, until};

/// Whether the test can run; prints why if not.
fn systemd() -> bool {
    if !privileged() {
        return false;
    }
    let there = std::fs::exists("/run/systemd/system").unwrap_or(false);
    if !there {
        eprintln!("skipped: no systemd on this machine");
    }
    there
}

/// Whether the machine has cgroup v2 alone.
fn is_unified() -> bool {
    std::fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false)
}

/// As [`systemd`], for a test of v2.
fn unified() -> bool {
    let runs = systemd();
    if runs && !is_unified() {
        eprintln!("skipped: needs cgroup v2 alone");
    }
    runs && is_unified()
}

/// Containers of a test, in a scope of its own name.
struct Scope {
    bundle: Bundle,
    name: String,
}

impl Scope {
    /// A bundle with a process that stays, in `SLICE:runtime:NAME`.
    fn new(slice: &str, name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let path = format!("{slice}:runtime:{name}");
        let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
            config["linux"]["cgroupsPath"] = json!(path);
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
            namespaces.retain(|namespace| namespace["type"] != "cgroup");
        });
        Self { bundle, name }
    }

    fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.bundle.config);
        self.bundle.write();
        self
    }

    fn unit(&self) -> String {
        format!("runtime-{}.scope", self.name)
    }

    /// Runs a command of the runtime with the systemd driver.
    #[track_caller]
    fn go(&self, words: &[&str]) -> support::Run {
        self.bundle.go(&[&["--systemd-cgroup"], words].concat())
    }

    /// Runs a shell in the container; its standard output.
    #[track_caller]
    fn shell(&self, script: &str) -> String {
        self.go(&["exec", &self.name, "sh", "-c", script]).ok().stdout
    }

    /// Asserts properties of the unit.
    #[track_caller]
    fn shows(&self, expected: &[(&str, &str)]) {
        let unit = self.unit();
        for (name, value) in expected {
            let shown = systemctl(&["show", "--value", "-p", name, &unit]);
            assert_eq!(shown.trim(), *value, "{name} of {unit}");
        }
    }

    /// The directory of the unit's cgroup that has the control file.
    #[track_caller]
    fn directory(&self, file: &str) -> String {
        let group = systemctl(&["show", "--value", "-p", "ControlGroup", &self.unit()]);
        let hierarchy = match file.split('.').next() {
            _ if is_unified() => String::new(),
            Some("cgroup") | None => "/systemd".to_owned(),
            Some(controller) => format!("/{controller}"),
        };
        format!("/sys/fs/cgroup{hierarchy}{}", group.trim())
    }

    /// A control file of the unit's cgroup.
    #[track_caller]
    fn file(&self, name: &str) -> String {
        let path = format!("{}/{name}", self.directory(name));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().to_owned()
    }

    /// The container's status.
    #[track_caller]
    fn status(&self) -> String {
        let state = self.go(&["state", &self.name]).ok().stdout;
        let state: Value = serde_json::from_str(&state).expect("JSON");
        state["status"].as_str().expect("a status").to_owned()
    }

    /// Asserts that neither a unit, a cgroup in any hierarchy nor a state is left. systemd may still be about
    /// to forget the unit.
    #[track_caller]
    fn left_nothing(&self) {
        let unit = self.unit();
        until("the unit is forgotten", || !is_known(&unit));
        assert_eq!(cgroups_of(&unit), "");
        assert!(!self.bundle.state().join(&self.name).exists());
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let run = self.go(&["delete", "--force", &self.name]);
        if !std::thread::panicking() {
            assert_eq!(run.code, 0, "{run:?}");
        }
    }
}

#[track_caller]
fn systemctl(words: &[&str]) -> String {
    Command::new("systemctl").go(words).ok().stdout
}

/// Whether systemd has a unit of this name, in whatever state.
fn is_known(unit: &str) -> bool {
    systemctl(&["list-units", "--all", "--full", "--plain", "--no-legend", unit]).contains(unit)
}

/// The directories of a unit, whatever the hierarchy.
#[track_caller]
fn cgroups_of(unit: &str) -> String {
    // Others come and go meanwhile, which find complains of.
    let found =
        Command::new("find").go(&["/sys/fs/cgroup", "-type", "d", "-name", &unit.replace('\\', "\\\\")]);
    found.stdout
}
