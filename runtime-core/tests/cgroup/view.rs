//! The three views, and what every test needs.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use oci_spec::runtime::LinuxResources;
use runtime_core::Result;
use runtime_core::cgroup::{Cgroup, CgroupPlan, Hierarchies, Mode, Version};
use serde_json::Value;

/// Says to the re-executed test which view it is in.
const INSIDE: &str = "CGROUP_TEST_VIEW";

/// Makes one test of `$name` for each view.
macro_rules! in_views {
    ($name:ident: $($view:ident),+) => {
        mod $name {
            $(
                #[test]
                fn $view() {
                    let test = concat!(module_path!(), "::", stringify!($view));
                    $crate::view::run(stringify!($view), test, super::$name);
                }
            )+
        }
    };
}
pub(crate) use in_views;

/// Why a test cannot run here; fails if it has to.
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("REQUIRE_PRIVILEGED").is_none_or(|value| value != "1"),
        "must not skip: {reason}"
    );
    println!("skipped: {reason}");
}

/// Runs `body` in `view`.
pub(crate) fn run(view: &str, test: &str, body: fn()) {
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root");
    }
    if std::env::var(INSIDE).is_ok_and(|inside| inside == view) {
        return body();
    }
    let machine = Hierarchies::detect().expect("the machine has cgroups").mode();
    let script = match (view, machine) {
        ("hybrid", Mode::Hybrid) | ("v1", Mode::Legacy) | ("v2", Mode::Unified) => return body(),
        ("v1", Mode::Hybrid) => "umount /sys/fs/cgroup/unified",
        ("v2", Mode::Hybrid | Mode::Legacy) => {
            "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup"
        }
        _ => {
            println!("skipped: this machine has no {view} view");
            return;
        }
    };
    // The name of a test is its path without the crate.
    let name = test.split_once("::").map_or(test, |(_, name)| name);
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &format!("{script} && exec \"$@\""), "_"])
        .arg(std::env::current_exe().expect("the test has a path"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, view)
        .output()
        .expect("unshare(1) runs");
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "failed in the {view} view");
}

/// A cgroup that ends with the test.
pub(crate) struct Scratch {
    pub(crate) hierarchies: Hierarchies,
    pub(crate) path: String,
    pub(crate) cgroup: Cgroup,
    children: Vec<Child>,
}

/// A path that no other test has.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("/rt-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn compile(hierarchies: &Hierarchies, path: &str, resources: &Value) -> CgroupPlan {
    let resources: LinuxResources = serde_json::from_value(resources.clone()).expect("the resources parse");
    CgroupPlan::compile(hierarchies.view(), Some(path), "test", &resources).expect("the plan compiles")
}

impl Scratch {
    /// Makes a cgroup and applies the limits.
    pub(crate) fn new(resources: &Value) -> Self {
        let scratch = Self::at(&unique());
        scratch.apply(resources).expect("the limits apply");
        scratch
    }

    /// Makes a cgroup at `path`.
    pub(crate) fn at(path: &str) -> Self {
        let hierarchies = Hierarchies::detect().expect("the machine has cgroups");
        let plan = compile(&hierarchies, path, &Value::Object(Default::default()));
        let cgroup = Cgroup::create(&hierarchies, &plan).expect("the cgroup is made");
        Self { hierarchies, path: path.to_owned(), cgroup, children: Vec::new() }
    }

    /// Applies limits as `update` does.
    pub(crate) fn apply(&self, resources: &Value) -> Result<()> {
        let resources: LinuxResources =
            serde_json::from_value(resources.clone()).expect("the resources parse");
        let plan = CgroupPlan::update(self.hierarchies.view(), self.cgroup.location(), &resources);
        self.cgroup.apply(&plan.expect("the plan compiles"))
    }

    /// The absolute directory that holds `controller` (`cgroup`: the v2 one).
    pub(crate) fn directory(&self, controller: &str) -> String {
        let location = self.cgroup.location();
        let place = if controller == "cgroup" { location.unified() } else { location.place_of(controller) };
        place.unwrap_or_else(|| panic!("{controller} has no place")).absolute()
    }

    pub(crate) fn read(&self, controller: &str, file: &str) -> String {
        let path = format!("{}/{file}", self.directory(controller));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().to_owned()
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        self.hierarchies.view().version_of(controller).is_some()
    }

    pub(crate) fn is_v1(&self, controller: &str) -> bool {
        self.hierarchies.view().version_of(controller) == Some(Version::V1)
    }

    /// Starts a shell script that waits for the cgroup before it runs.
    pub(crate) fn spawn(&mut self, script: &str) -> i32 {
        let mut child = Command::new("sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let pid = i32::try_from(child.id()).expect("a pid");
        let stdin = child.stdin.take();
        self.children.push(child);
        self.cgroup.attach(pid).expect("the process joins");
        std::io::Write::write_all(&mut stdin.expect("a pipe"), b"\n").expect("the script starts");
        pid
    }

    /// Waits for the children that `spawn` started.
    pub(crate) fn reap(&mut self) {
        for mut child in self.children.drain(..) {
            child.wait().expect("the child ends");
        }
    }

    /// The directories of the cgroup that still exist.
    pub(crate) fn left(&self) -> Vec<String> {
        let places = self.cgroup.location().places;
        places
            .iter()
            .map(|place| place.absolute())
            .filter(|path| std::path::Path::new(path).exists())
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let ended = self.cgroup.thaw().and_then(|()| self.cgroup.kill_all());
        for mut child in self.children.drain(..) {
            // Ended above, or never in the cgroup because the test failed.
            child.kill().and_then(|()| child.wait()).map(drop).unwrap_or_else(|error| eprintln!("{error}"));
        }
        if let Err(error) = ended.and_then(|()| self.cgroup.remove()) {
            eprintln!("the cgroup stays: {error}");
        }
    }
}

/// Polls `condition` for at most five seconds.
pub(crate) fn eventually(condition: impl FnMut() -> bool) -> bool {
    let mut condition = condition;
    for _ in 0..500 {
        if condition() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    false
}
