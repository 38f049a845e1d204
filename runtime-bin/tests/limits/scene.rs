//! Containers with limits, and what the kernel says of them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Bundle, Container, privileged};

/// A program that never ends and never waits.
pub(crate) const BUSY: &[&str] = &["sh", "-c", "while :; do :; done"];

/// A program that only waits.
pub(crate) const ASLEEP: &[&str] = &["sleep", "10000"];

/// Whether the test can run: as root, where cgroup v2 alone has these controllers.
pub(crate) fn controllers(wanted: &[&str]) -> bool {
    let found = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let missing: Vec<_> =
        wanted.iter().filter(|name| !found.split_whitespace().any(|other| other == **name)).collect();
    if missing.is_empty() {
        return privileged();
    }
    let required = std::env::var_os("REQUIRE_CONTROLLERS").is_some_and(|value| value == "1");
    assert!(!required, "REQUIRE_CONTROLLERS=1, but cgroup v2 has no {missing:?}");
    eprintln!("skipped: cgroup v2 has no {missing:?}");
    false
}

/// A bundle of a program with these resources, besides those of `runtime spec`.
pub(crate) fn limited(args: &[&str], resources: &Value) -> Bundle {
    Bundle::new(args).with(|config| {
        for (name, value) in resources.as_object().expect("an object") {
            config["linux"]["resources"][name] = value.clone();
        }
    })
}

/// The cgroup of a container, seen from the host.
pub(crate) struct Group(PathBuf);

impl Group {
    pub(crate) fn of(container: &Container<'_>) -> Self {
        let table = fs::read_to_string(format!("/proc/{}/cgroup", container.state()["pid"])).expect("cgroup");
        let path = table.lines().find_map(|line| line.strip_prefix("0::/")).expect("a v2 cgroup");
        Self(Path::new("/sys/fs/cgroup").join(path))
    }

    /// What a file holds.
    #[track_caller]
    pub(crate) fn read(&self, file: &str) -> String {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim().to_owned()
    }

    /// Asserts what a file holds.
    #[track_caller]
    pub(crate) fn has(&self, file: &str, value: &str) {
        assert_eq!(self.read(file), value, "{file}");
    }

    /// The number behind each of these words of a file, all of one reading.
    #[track_caller]
    pub(crate) fn counters<const N: usize>(&self, file: &str, names: [&str; N]) -> [u64; N] {
        let text = self.read(file);
        names.map(|name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {text:?}"))
        })
    }

    #[track_caller]
    pub(crate) fn counter(&self, file: &str, name: &str) -> u64 {
        self.counters(file, [name])[0]
    }

    pub(crate) fn exists(&self) -> bool {
        self.0.exists()
    }
}
