//! The parts of a start that the kernel has no share in, one by one: parse, plan, seccomp, devices; and one
//! write to a control file of a cgroup beside them. Needs no root but for the last.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::Criterion;
use oci_spec::runtime::Spec;
use runtime_core::cgroup::Resources;
use runtime_core::cgroup::devices::DeviceRules;
use runtime_core::plan::CreateOptions;
use runtime_core::seccomp::{Filter, Profile};
use runtime_core::spec::{ValidSpec, default_spec};
use runtime_core::{Bundle, Runtime};

/// What Docker gave its runtime for `docker run busybox`, as recorded.
const DOCKER: &str = include_str!("../../runtime-core/tests/fixtures/configs/docker-config.json");

/// The configurations, each with its name.
fn configurations() -> [(&'static str, String); 2] {
    let default = default_spec(None, true).expect("the default configuration");
    let default = serde_json::to_string(&default).expect("the default configuration as JSON");
    [("default", default), ("docker", DOCKER.to_owned())]
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for (name, text) in configurations() {
        group.bench_function(name, |bencher| {
            bencher.iter(|| ValidSpec::parse(black_box(text.as_bytes())).expect("a valid configuration"));
        });
    }
}

fn plan(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("rootfs")).expect("a root file system");
    let runtime = Runtime::builder().state_root(directory.path().join("state")).build().expect("a runtime");
    let mut group = criterion.benchmark_group("read, parse and plan");
    for (name, text) in configurations() {
        fs::write(directory.path().join("config.json"), text).expect("a configuration");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let bundle = Bundle::open(directory.path()).expect("a bundle");
                let options = CreateOptions::new();
                runtime.plan("parts", bundle, options).expect("a plan")
            });
        });
    }
}

fn compilers(criterion: &mut Criterion) {
    let spec: Spec = serde_json::from_str(DOCKER).expect("Docker's configuration");
    let linux = spec.linux().clone().unwrap_or_default();
    let profile = linux.seccomp().clone().unwrap_or_default();
    let profile = Profile::try_from(&profile).expect("a profile");
    criterion.bench_function("seccomp/docker", |bencher| {
        bencher.iter(|| Filter::from_profile(black_box(&profile)).expect("a filter"));
    });
    let resources = linux.resources().clone().unwrap_or_default();
    let devices = Resources::try_from(&resources).expect("resources").devices;
    criterion.bench_function("devices/docker", |bencher| {
        bencher.iter(|| DeviceRules::from_resources(devices.as_deref()).expect("rules").program());
    });
}

fn cgroup(criterion: &mut Criterion) {
    let cgroup = match Cgroup::make() {
        Ok(cgroup) => cgroup,
        Err(reason) => return eprintln!("no write to a cgroup: {reason}"),
    };
    criterion.bench_function("cgroup/write", |bencher| {
        bencher.iter(|| fs::write(cgroup.0.join("cgroup.max.depth"), "10").expect("a write"));
    });
}

/// A cgroup of version 2 without processes; it goes with this value.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make() -> Result<Self, String> {
        let tops = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let top = tops.into_iter().find(|top| top.join("cgroup.procs").exists());
        let path = top.ok_or("there is no cgroup v2")?.join(format!("benches-parts-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("make {path:?}: {error}"))?;
        Ok(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("remove {:?}: {error}", self.0);
        }
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for part in [parse, plan, compilers, cgroup] {
        part(&mut criterion);
    }
    criterion.final_summary();
}
