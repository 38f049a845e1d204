//! The parts of a start that the kernel has no share in, one by one, in loops: parse, plan, seccomp, devices; and
//! one write to a control file of a cgroup, for comparison. Needs no root but for the last.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use oci_spec::runtime::Spec;
use runtime_core::cgroup::devices::DeviceRules;
use runtime_core::plan::CreateOptions;
use runtime_core::seccomp::Filter;
use runtime_core::spec::{ValidSpec, default_spec};
use runtime_core::{Bundle, Runtime};

use crate::bundle::DOCKER;
use crate::failure::Failure;
use crate::statistics::Summary;
use crate::table;

/// Calls in one sample.
const CALLS: u32 = 20;

/// The table, as text: microseconds of one call.
pub(crate) fn report(samples: usize) -> Result<String, Failure> {
    let mut rows = vec![["us of one call", "min", "q1", "median", "q3"].map(str::to_owned).to_vec()];
    let mut row = |name: &str, call: &mut dyn FnMut() -> Result<(), Failure>| {
        let summary = measure(samples, call)?;
        let mut line = vec![name.to_owned()];
        line.extend([summary.min, summary.q1, summary.median, summary.q3].map(table::number));
        rows.push(line);
        Ok::<_, Failure>(())
    };
    let default = default_spec(None, true).map_err(Failure::during("the default configuration"))?;
    let default = serde_json::to_string(&default).map_err(Failure::during("the default configuration"))?;
    let directory = tempfile::tempdir().map_err(Failure::during("make a directory"))?;
    fs::create_dir(directory.path().join("rootfs")).map_err(Failure::during("make a directory"))?;
    let config = directory.path().join("config.json");
    let runtime = Runtime::builder().state_root(directory.path().join("state")).build();
    let runtime = runtime.map_err(Failure::during("make a runtime"))?;
    for (name, text) in [("default", default.as_str()), ("Docker's", DOCKER)] {
        let parse = || ValidSpec::parse(text.as_bytes()).map_err(Failure::during("parse"));
        row(&format!("parse and check, {name}"), &mut || parse().map(|spec| drop(black_box(spec))))?;
        fs::write(&config, text).map_err(Failure::during("write a configuration"))?;
        row(&format!("read, parse and plan, {name}"), &mut || {
            let bundle = Bundle::open(directory.path()).map_err(Failure::during("open a bundle"))?;
            let options = CreateOptions::new("micro", directory.path().to_string_lossy());
            runtime
                .plan("micro", bundle, options)
                .map(|plan| drop(black_box(plan)))
                .map_err(Failure::during("plan"))
        })?;
    }
    let spec: Spec = serde_json::from_str(DOCKER).map_err(Failure::during("read Docker's configuration"))?;
    let linux = spec.linux().clone().unwrap_or_default();
    let profile = linux.seccomp().clone().unwrap_or_default();
    row("seccomp filter, Docker's", &mut || {
        Filter::from_profile(&profile)
            .map(|filter| drop(black_box(filter)))
            .map_err(Failure::during("compile"))
    })?;
    let devices = linux.resources().as_ref().and_then(|resources| resources.devices().clone());
    row("device program, Docker's", &mut || {
        let rules = DeviceRules::from_resources(devices.as_deref()).map_err(Failure::during("rules"))?;
        black_box(rules.program());
        Ok(())
    })?;
    let notes = match Cgroup::make() {
        Ok(cgroup) => row("one write to a cgroup", &mut || cgroup.write()).map(|()| String::new())?,
        Err(failure) => format!("no write to a cgroup: {failure}\n"),
    };
    Ok(format!("{}{notes}", table::render(&rows)))
}

fn measure(samples: usize, call: &mut dyn FnMut() -> Result<(), Failure>) -> Result<Summary, Failure> {
    let mut micros = Vec::new();
    // The first sample fills caches.
    for sample in 0..=samples {
        let begin = Instant::now();
        for _ in 0..CALLS {
            call()?;
        }
        if sample > 0 {
            micros.push(begin.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
        }
    }
    Summary::of(&micros).ok_or_else(|| Failure::new("no samples"))
}

/// A cgroup of version 2 without processes; it goes with this value.
struct Cgroup(std::path::PathBuf);

impl Cgroup {
    fn make() -> Result<Self, Failure> {
        let tops = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let top = tops.into_iter().find(|top| top.join("cgroup.procs").exists());
        let top = top.ok_or_else(|| Failure::new("there is no cgroup v2"))?;
        let path = top.join(format!("benches-micro-{}", std::process::id()));
        fs::create_dir(&path).map_err(Failure::during(format!("make {path:?}")))?;
        Ok(Self(path))
    }

    fn write(&self) -> Result<(), Failure> {
        fs::write(self.0.join("cgroup.max.depth"), "10").map_err(Failure::during("write cgroup.max.depth"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("remove {:?}: {error}", self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_a_line() {
        let text = report(1).expect("a table");
        assert_eq!(text.lines().filter(|line| line.contains("Docker's")).count(), 4, "{text}");
    }
}
