//! The runtime inside containers of Podman: those of root, and those of a user.

use super::{IMAGE, Podman};
use crate::inner::{Inner, OTHER};
use crate::support::{
    Outcome, Output, Stop, Table, controllers, grants_everything, is_unified, need, same, that,
};

const NO_FILTER: &str = "seccomp=unconfined";
const NO_MASKS: &str = "unmask=ALL";

/// With root.
pub(super) const ROOTFUL: &Table<Podman> = &[
    ("nested: --privileged, create, start, exec, kill, delete", lifecycle),
    ("nested: --privileged, limits", limits),
];

/// Without root.
pub(super) const ROOTLESS: &Table<Podman> = &[
    ("nested: --privileged, a container of its own", privileged),
    ("nested: --privileged under runc, a container of its own", privileged_in_runc),
    ("nested: --privileged, create, start, exec, kill, delete", lifecycle),
    ("nested: the default options, masked /proc is named", by_default),
    ("nested: seccomp=unconfined, masked /proc is named", without_filter),
    ("nested: unmask=ALL, the denied call is named", without_masks),
    ("nested: unmask=ALL without a host name, a rootless container under the filter", under_the_filter),
    ("nested: seccomp unconfined, unmask=ALL, a rootless container", without_both),
    ("nested: seccomp unconfined, unmask=ALL under runc, a rootless container", without_both_in_runc),
];

impl Podman {
    fn inner(&self) -> Result<Inner, Stop> {
        // The user's copy of the runtime may have another name.
        Inner::new(&self.dir, &self.runtime)
    }

    /// Runs a script in a container that has the inner runtime.
    fn outer(&self, inner: &Inner, options: &[&str], script: &str) -> Result<Output, Stop> {
        let volumes = inner.options();
        let volumes = volumes.iter().map(String::as_str).chain(options.iter().copied());
        self.run(&volumes.collect::<Vec<_>>(), &["sh", "-c", script])
    }

    /// The same under Debian's runtime.
    fn outer_runc(&self, inner: &Inner, options: &[&str], script: &str) -> Result<Output, Stop> {
        need(OTHER, "runc")?;
        let client = self.client().args(["--runtime", OTHER, "run", "--rm", "--network", "none"]);
        client.args(inner.options()).args(options).arg(IMAGE).args(["sh", "-c", script]).run()
    }
}

fn lifecycle(podman: &Podman) -> Outcome {
    grants_everything(&podman.runtime)?;
    let inner = podman.inner()?;
    inner.lives(&|options, script| podman.outer(&inner, options, script), &["--privileged"])
}

fn limits(podman: &Podman) -> Outcome {
    grants_everything(&podman.runtime)?;
    controllers(&["memory", "pids"])?;
    if is_unified() {
        return Err(Stop::Skipped(
            "with cgroup v2 alone the outer container's own processes are in the way".into(),
        ));
    }
    let inner = podman.inner()?;
    inner.limits(&|options, script| podman.outer(&inner, options, script), &["--privileged"])
}

fn privileged(podman: &Podman) -> Outcome {
    let inner = podman.inner()?;
    whole(&inner, &|options, script| podman.outer(&inner, options, script))
}

fn privileged_in_runc(podman: &Podman) -> Outcome {
    let inner = podman.inner()?;
    whole(&inner, &|options, script| podman.outer_runc(&inner, options, script))
}

/// Both in the user namespace of the outer container and in one of its own.
fn whole(inner: &Inner, outer: crate::inner::Outer<'_>) -> Outcome {
    let nested = inner.shows(outer, &["--privileged"], (false, ""))?;
    let outside = format!("0 {} 1 1 {} 65536", super::USER_ID, super::FIRST_SUBORDINATE_ID);
    same("ids", nested.map(), Some(&*outside))?;
    let nested = inner.shows(outer, &["--privileged"], (true, ""))?;
    same("ids in a user namespace", nested.map(), Some("0 0 1"))
}

/// The kernel refuses a user namespace a new procfs where that outside is masked.
const MASKED: [&str; 3] = [
    "mount \"proc\" on \"/proc\": fsmount: operation not permitted (mounts[0])",
    "hint: a user namespace",
    NO_MASKS,
];

fn by_default(podman: &Podman) -> Outcome {
    let inner = podman.inner()?;
    let outer = |options: &[&str], script: &str| podman.outer(&inner, options, script);
    inner.refused(&outer, &[], (true, ""), &MASKED)?;
    let texts =
        ["clone3 of the container's init: operation not permitted", "CAP_SYS_ADMIN", "a user namespace"];
    inner.refused(&outer, &[], (false, ""), &texts)
}

fn without_filter(podman: &Podman) -> Outcome {
    let inner = podman.inner()?;
    let outer = |options: &[&str], script: &str| podman.outer(&inner, options, script);
    inner.refused(&outer, &["--security-opt", NO_FILTER], (true, ""), &MASKED)
}

/// Its profile lets a container without CAP_SYS_ADMIN make namespaces, but not name them.
fn without_masks(podman: &Podman) -> Outcome {
    let inner = podman.inner()?;
    let outer = |options: &[&str], script: &str| podman.outer(&inner, options, script);
    let texts = ["set host name \"runc\": sethostname: operation not permitted", "hint:", NO_FILTER];
    inner.refused(&outer, &["--security-opt", NO_MASKS], (true, ""), &texts)
}

fn under_the_filter(podman: &Podman) -> Outcome {
    let inner = podman.inner()?;
    inner.is_ours()?;
    let script = "cat /proc/self/uid_map; grep ^Seccomp: /proc/self/status; echo $$; hostname";
    inner.configure(true, script, |config| {
        config.as_object_mut().map(|config| config.remove("hostname"));
    })?;
    let outer = |options: &[&str], script: &str| podman.outer(&inner, options, script);
    inner.prints(
        &outer,
        &["--hostname", "outside", "--security-opt", NO_MASKS],
        &["0 0 1", "Seccomp: 2", "1", "outside"],
    )
}

fn without_both(podman: &Podman) -> Outcome {
    let inner = podman.inner()?;
    rootless(&inner, &|options, script| podman.outer(&inner, options, script))
}

fn without_both_in_runc(podman: &Podman) -> Outcome {
    let inner = podman.inner()?;
    rootless(&inner, &|options, script| podman.outer_runc(&inner, options, script))
}

fn rootless(inner: &Inner, outer: crate::inner::Outer<'_>) -> Outcome {
    inner.is_ours()?;
    let options = ["--security-opt", NO_FILTER, "--security-opt", NO_MASKS];
    let nested = inner.shows(outer, &options, (true, ""))?;
    same("ids", nested.map(), Some("0 0 1"))?;
    that("no filter", !nested.filtered())
}
