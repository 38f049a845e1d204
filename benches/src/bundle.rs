//! Everything the runtimes are given: a root file system, configurations, a cgroup to work in.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use runtime_core::spec::default_spec;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::failure::Failure;
use crate::view::{self, CGROUPS};

const BUSYBOX: &str = "/bin/busybox";

/// What Docker gave its runtime for `docker run busybox`, as recorded.
pub(crate) const DOCKER: &str = include_str!("../../runtime-core/tests/fixtures/configs/docker-config.json");

/// What containerd 2.4 gave for `ctr run`.
const CONTAINERD: &str =
    include_str!("../../runtime-core/tests/fixtures/configs/containerd-2.4-ctr-config.json");

/// What Podman gave for `podman run`.
const PODMAN: &str = include_str!("../../runtime-core/tests/fixtures/configs/podman-config.json");

/// Which configuration a container has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Config {
    /// That of `spec`.
    Default,
    /// Docker's, with its seccomp profile.
    Docker,
    /// containerd's, of `ctr run`: no seccomp profile.
    Containerd,
    /// Podman's, with its seccomp profile.
    Podman,
    /// That of `spec` with so many bind mounts more.
    Mounts(usize),
}

/// A directory in memory with all files, and a cgroup above all containers. Both are gone at the end.
#[derive(Debug)]
pub(crate) struct Workspace {
    directory: TempDir,
    cgroup: String,
}

impl Workspace {
    /// To be made after [`view::enter`]: the mount is seen by this program and its children only.
    pub(crate) fn new() -> Result<Self, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("benches-")
            .tempdir()
            .map_err(Failure::during("make a temporary directory"))?;
        // State is kept in memory where runtimes are used: /run is a tmpfs.
        mount(Some("tmpfs"), directory.path(), Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .map_err(Failure::during(format!("mount tmpfs on {:?}", directory.path())))?;
        let workspace = Self { directory, cgroup: format!("benches-{}", std::process::id()) };
        workspace.make_rootfs()?;
        if view::is_v2() {
            let path = Path::new(CGROUPS).join(&workspace.cgroup);
            fs::create_dir(&path).map_err(Failure::during(format!("make the cgroup {path:?}")))?;
        }
        Ok(workspace)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.directory().join("rootfs")
    }

    /// The path of a cgroup from the root of the hierarchy; nobody has made it.
    pub(crate) fn cgroup(&self, name: &str) -> String {
        format!("/{}/{name}", self.cgroup)
    }

    /// A bundle whose container runs `program` and has a cgroup of that name.
    pub(crate) fn bundle(&self, name: &str, config: Config, program: &[&str]) -> Result<PathBuf, Failure> {
        let bundle = self.directory().join(name);
        fs::create_dir_all(&bundle).map_err(Failure::during(format!("make {bundle:?}")))?;
        let mut spec = match config {
            Config::Default => default()?,
            Config::Docker => recorded(DOCKER)?,
            Config::Containerd => recorded(CONTAINERD)?,
            Config::Podman => recorded(PODMAN)?,
            Config::Mounts(count) => self.with_mounts(count)?,
        };
        spec["process"]["args"] = json!(program);
        spec["root"]["path"] = json!(self.rootfs());
        spec["linux"]["cgroupsPath"] = json!(self.cgroup(name));
        let file = bundle.join("config.json");
        fs::write(&file, spec.to_string()).map_err(Failure::during(format!("write {file:?}")))?;
        Ok(bundle)
    }

    /// Every mount has a directory of its own in the root file system, made here.
    fn with_mounts(&self, count: usize) -> Result<Value, Failure> {
        let mut spec = default()?;
        let source = self.directory().join("source");
        let places = self.rootfs().join("mnt");
        fs::create_dir_all(&source).map_err(Failure::during(format!("make {source:?}")))?;
        for number in 0..count {
            let place = places.join(number.to_string());
            fs::create_dir_all(&place).map_err(Failure::during(format!("make {place:?}")))?;
            let mount = json!({
                "destination": format!("/mnt/{number}"),
                "type": "bind",
                "source": source,
                "options": ["bind", "ro", "nosuid"],
            });
            spec["mounts"].as_array_mut().into_iter().for_each(|mounts| mounts.push(mount.clone()));
        }
        Ok(spec)
    }

    fn make_rootfs(&self) -> Result<(), Failure> {
        let rootfs = self.rootfs();
        for name in ["bin", "dev", "etc", "proc", "sys"] {
            fs::create_dir_all(rootfs.join(name))
                .map_err(Failure::during(format!("make {name} in {rootfs:?}")))?;
        }
        let busybox = rootfs.join("bin/busybox");
        fs::copy(BUSYBOX, &busybox)
            .map_err(Failure::during(format!("copy {BUSYBOX} (Debian: busybox-static) to {busybox:?}")))?;
        for name in ["sh", "sleep", "true"] {
            fs::hard_link(&busybox, rootfs.join("bin").join(name))
                .map_err(Failure::during(format!("link {name} to {busybox:?}")))?;
        }
        Ok(())
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // In version 1, runtimes make a directory in each hierarchy.
        let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|entry| entry.path());
        for hierarchy in std::iter::once(PathBuf::from(CGROUPS)).chain(hierarchies) {
            remove_cgroup(&hierarchy.join(&self.cgroup));
        }
        if let Err(error) = umount2(self.directory.path(), MntFlags::MNT_DETACH) {
            eprintln!("unmount {:?}: {error}", self.directory.path());
        }
    }
}

/// Ends what is left in a cgroup and below, and removes it.
fn remove_cgroup(path: &Path) {
    if !path.is_dir() {
        return;
    }
    match fs::write(path.join("cgroup.kill"), "1") {
        Err(error) if error.kind() != ErrorKind::NotFound && error.kind() != ErrorKind::PermissionDenied => {
            eprintln!("kill {path:?}: {error}");
        }
        _ => {} // version 1 has no such file
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    // What was killed needs a moment to be gone.
    for attempt in 0..50 {
        match fs::remove_dir(path) {
            Ok(()) => return,
            Err(error) if attempt == 49 => eprintln!("remove the cgroup {path:?}: {error}"),
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
}

fn default() -> Result<Value, Failure> {
    let spec = default_spec(None, view::is_v2()).map_err(Failure::during("the default configuration"))?;
    let mut spec = serde_json::to_value(spec).map_err(Failure::during("the default configuration"))?;
    // Nothing in it is newer, and some runtimes refuse versions that they do not know.
    spec["ociVersion"] = json!("1.0.2");
    spec["process"]["terminal"] = json!(false);
    Ok(spec)
}

/// A recorded configuration without what needs its engine (hooks, files that it mounts over /etc, joined
/// namespaces), and without limits: where the controller is missing, some runtimes refuse even the zeros
/// that mean "no limit".
fn recorded(text: &str) -> Result<Value, Failure> {
    let mut spec: Value = serde_json::from_str(text).map_err(Failure::during("a recorded configuration"))?;
    if let Some(object) = spec.as_object_mut() {
        object.remove("hooks");
    }
    // Nothing in them is newer, and some runtimes refuse versions that they do not know.
    spec["ociVersion"] = json!("1.0.2");
    spec["process"]["terminal"] = json!(false);
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["type"] != "bind");
    }
    if let Some(resources) = spec["linux"]["resources"].as_object_mut() {
        resources.retain(|name, _| name == "devices");
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_not_needed() {
        let spec = recorded(DOCKER).expect("a configuration");
        assert!(spec.get("hooks").is_none());
        assert!(spec["mounts"].as_array().is_some_and(|mounts| mounts.len() == 7), "{}", spec["mounts"]);
        assert!(spec["linux"]["seccomp"].is_object());
        assert!(spec["linux"]["resources"]["devices"].is_array());
        assert!(spec["linux"]["resources"].get("blockIO").is_none());
    }

    #[test]
    fn every_recorded_configuration_is_usable() {
        for text in [DOCKER, CONTAINERD, PODMAN] {
            let spec = recorded(text).expect("a configuration");
            assert!(spec["linux"]["namespaces"].as_array().is_some_and(|all| all.len() == 5));
            assert!(spec["mounts"].as_array().is_some_and(|all| all.len() >= 6), "{}", spec["mounts"]);
        }
    }

    #[test]
    fn the_default_needs_no_terminal() {
        let spec = default().expect("a configuration");
        assert_eq!(spec["process"]["terminal"], json!(false));
        assert_eq!(spec["ociVersion"], json!("1.0.2"));
    }
}
