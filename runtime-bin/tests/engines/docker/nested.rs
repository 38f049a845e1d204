//! The runtime inside containers of Docker: privileged, with its defaults, and in between.

use super::Docker;
use crate::inner::{Inner, OTHER};
use crate::support::{Outcome, Output, Stop, Table, controllers, is_unified, need, same, that};

const NO_FILTER: &str = "seccomp=unconfined";
const NO_MASKS: &str = "systempaths=unconfined";
/// Its daemon knows Debian's runtime by this name.
const RUNC: &str = "runc";

/// In this order.
pub(super) const CHECKS: &Table<Docker> = &[
    ("nested: --privileged, a container of its own", privileged),
    ("nested: --privileged, create, start, exec, kill, delete", lifecycle),
    ("nested: --privileged, limits", limits),
    ("nested: the default options, the denied call is named", by_default),
    ("nested: seccomp=unconfined, masked /proc is told from it", masked),
    ("nested: seccomp and systempaths unconfined, a rootless container", rootless),
    ("nested: seccomp and systempaths unconfined under runc, a rootless container", rootless_in_runc),
    ("nested: --cap-add SYS_ADMIN, read-only cgroups, the network's privilege", one_capability),
    ("nested: --cap-add SYS_ADMIN, NET_ADMIN, without cgroups", two_capabilities),
    ("nested: --cap-add SYS_ADMIN, NET_ADMIN under runc, without cgroups", two_capabilities_in_runc),
];

impl Docker {
    fn inner(&self) -> Result<Inner, Stop> {
        Inner::new(&self.dir, &self.runtime)
    }

    /// Runs a script in a container that has the inner runtime.
    fn outer(&self, inner: &Inner, options: &[&str], script: &str) -> Result<Output, Stop> {
        let volumes = inner.options();
        let volumes = volumes.iter().map(String::as_str).chain(options.iter().copied());
        self.run(&volumes.collect::<Vec<_>>(), &["sh", "-c", script])
    }
}

fn privileged(docker: &Docker) -> Outcome {
    crate::support::grants_everything(&docker.runtime)?;
    let inner = docker.inner()?;
    let outer = |options: &[&str], script: &str| docker.outer(&inner, options, script);
    let nested = inner.shows(&outer, &["--privileged"], (false, ""))?;
    same("ids", nested.map(), Some("0 0 4294967295"))?;
    let nested = inner.shows(&outer, &["--privileged"], (true, ""))?;
    same("ids in a user namespace", nested.map(), Some("0 0 1"))
}

fn lifecycle(docker: &Docker) -> Outcome {
    crate::support::grants_everything(&docker.runtime)?;
    let inner = docker.inner()?;
    inner.lives(&|options, script| docker.outer(&inner, options, script), &["--privileged"])
}

fn limits(docker: &Docker) -> Outcome {
    crate::support::grants_everything(&docker.runtime)?;
    controllers(&["memory", "pids"])?;
    if is_unified() {
        return Err(Stop::Skipped(
            "with cgroup v2 alone the outer container's own processes are in the way".into(),
        ));
    }
    let inner = docker.inner()?;
    inner.limits(&|options, script| docker.outer(&inner, options, script), &["--privileged"])
}

fn by_default(docker: &Docker) -> Outcome {
    let inner = docker.inner()?;
    let outer = |options: &[&str], script: &str| docker.outer(&inner, options, script);
    let texts = [
        "clone3 of the container's init: operation not permitted",
        "hint: a seccomp filter around the runtime denies clone3",
        "--security-opt seccomp=unconfined",
    ];
    inner.refused(&outer, &[], (true, ""), &texts)?;
    inner.refused(&outer, &["--runtime", RUNC], (true, ""), &texts)?;
    // Without a user namespace it is the kernel that refuses.
    let texts =
        ["clone3 of the container's init: operation not permitted", "CAP_SYS_ADMIN", "a user namespace"];
    inner.refused(&outer, &["--security-opt", NO_FILTER], (false, ""), &texts)
}

/// The kernel refuses a user namespace a new procfs where that outside is masked.
fn masked(docker: &Docker) -> Outcome {
    let inner = docker.inner()?;
    let outer = |options: &[&str], script: &str| docker.outer(&inner, options, script);
    let texts =
        ["mount \"proc\" on \"/proc\": fsmount: operation not permitted (mounts[0])", "hint:", NO_MASKS];
    for runtime in [super::RUNTIME, RUNC] {
        let options = ["--runtime", runtime, "--security-opt", NO_FILTER];
        inner.refused(&outer, &options, (true, ""), &texts)?;
    }
    Ok(())
}

fn rootless(docker: &Docker) -> Outcome {
    rootless_in(docker, super::RUNTIME)
}

fn rootless_in_runc(docker: &Docker) -> Outcome {
    need(OTHER, "runc")?;
    rootless_in(docker, RUNC)
}

/// Root of the outer container has no CAP_SYS_ADMIN, but in the user namespace that it makes.
fn rootless_in(docker: &Docker, runtime: &str) -> Outcome {
    let inner = docker.inner()?;
    inner.is_ours()?;
    let outer = |options: &[&str], script: &str| docker.outer(&inner, options, script);
    let options = ["--runtime", runtime, "--security-opt", NO_FILTER, "--security-opt", NO_MASKS];
    let nested = inner.shows(&outer, &options, (true, ""))?;
    same("ids", nested.map(), Some("0 0 1"))?;
    that("no filter", !nested.filtered())
}

fn one_capability(docker: &Docker) -> Outcome {
    let inner = docker.inner()?;
    let outer = |options: &[&str], script: &str| docker.outer(&inner, options, script);
    let texts = ["read-only file system", "hint: cgroups are read-only", "--cgroup-manager disabled"];
    inner.refused(&outer, &["--cap-add", "SYS_ADMIN"], (false, ""), &texts)?;
    let texts = ["open the new network namespace", "operation not permitted", "hint:", "--cap-add NET_ADMIN"];
    inner.refused(&outer, &["--cap-add", "SYS_ADMIN"], (false, "--cgroup-manager disabled"), &texts)
}

fn two_capabilities(docker: &Docker) -> Outcome {
    without_cgroups_in(docker, super::RUNTIME)
}

fn two_capabilities_in_runc(docker: &Docker) -> Outcome {
    need(OTHER, "runc")?;
    without_cgroups_in(docker, RUNC)
}

fn without_cgroups_in(docker: &Docker, runtime: &str) -> Outcome {
    let inner = docker.inner()?;
    inner.is_ours()?;
    let outer = |options: &[&str], script: &str| docker.outer(&inner, options, script);
    let mut options = vec!["--runtime", runtime, "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN"];
    let arguments = (false, "--cgroup-manager disabled");
    inner.refused(
        &outer,
        &options,
        arguments,
        &["pivot_root: operation not permitted", "denies pivot_root"],
    )?;
    // Masks do not matter to who is no user namespace's root.
    options.extend(["--security-opt", NO_FILTER]);
    let nested = inner.shows(&outer, &options, arguments)?;
    same("ids", nested.map(), Some("0 0 4294967295"))
}
