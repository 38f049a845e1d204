//! The systemd driver, on a machine with systemd and cgroup v2: units and their properties as `systemctl`
//! shows them, limits as the kernel has them, and nothing left behind.

#[allow(unused_imports, dead_code, reason = "what other programs of tests need as well")]
#[path = "../support/mod.rs"]
mod support;

mod failure;
mod limits;
mod place;
mod user;

use std::process::Command;

use serde_json::{Value, json};

use support::{Bundle, Running as _, privileged, until};

/// Whether the test can run; prints why if not.
fn systemd() -> bool {
    if !privileged() {
        return false;
    }
    let reason = if !std::fs::exists("/run/systemd/system").unwrap_or(false) {
        "no systemd on this machine"
    } else if !std::fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false) {
        "needs cgroup v2 alone"
    } else {
        return true;
    };
    eprintln!("skipped: {reason}");
    false
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

    /// A control file of the unit's cgroup.
    #[track_caller]
    fn file(&self, name: &str) -> String {
        let group = systemctl(&["show", "--value", "-p", "ControlGroup", &self.unit()]);
        let path = format!("/sys/fs/cgroup{}/{name}", group.trim());
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().to_owned()
    }

    /// Asserts that neither a unit nor a state is left. systemd may still be about to forget the unit.
    #[track_caller]
    fn left_nothing(&self) {
        let unit = self.unit();
        until("the unit is forgotten", || !is_known(&unit));
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
