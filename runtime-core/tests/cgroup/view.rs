//! What every test needs.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use runtime_core::Result;
use runtime_core::cgroup::{Cgroup, CgroupPlan, Hierarchies, Resources, Version};
use runtime_core::spec::parse_resources;
use serde_json::Value;

pub(crate) use crate::views::{eventually, in_views};

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

pub(crate) fn parse(resources: &Value) -> Resources {
    parse_resources(resources.to_string().as_bytes(), "resources").expect("the resources parse").0
}

pub(crate) fn compile(hierarchies: &Hierarchies, path: &str, resources: &Value) -> CgroupPlan {
    let resources = parse(resources);
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
        let resources = parse(resources);
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
