//! The global options, resolved once.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use runtime_core::timings::Timings;

use crate::args::{Values, options};
use crate::error::{Error, Result};
use crate::log::{Format, Log};

/// Where root keeps the state of containers.
const ROOT: &str = "/run/runtime";

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CgroupManager {
    /// The program itself.
    Cgroupfs,
    /// systemd.
    Systemd,
    /// Nobody: the container stays in the caller's cgroup.
    Disabled,
}

/// The global options.
#[derive(Debug)]
pub(crate) struct Globals {
    /// The directory of the containers' state: absolute, without `.` and `..`, not `/`.
    pub(crate) root: PathBuf,
    /// Whether `root` is the default.
    pub(crate) default_root: bool,
    /// Whether to go on without cgroups; `None` to find out.
    pub(crate) rootless: Option<bool>,
    /// Who makes cgroups.
    pub(crate) cgroups: CgroupManager,
    /// Where the ends of steps are told, with `--trace-timings`.
    pub(crate) timings: Option<Arc<Timings>>,
}

/// Opens the log that the options name.
pub(crate) fn log(values: &Values) -> Result<Log> {
    let format = match values.text(&options::LOG_FORMAT) {
        Some("json") => Format::Json,
        _ => Format::Text,
    };
    let level = values.text(&options::LOG_LEVEL);
    let debug = values.flag(&options::DEBUG) || level == Some("debug");
    let log = Log::open(values.path(&options::LOG).as_deref(), format, debug)?;
    Ok(if level == Some("error") && !debug { log.errors_only() } else { log })
}

impl Globals {
    /// Resolves the options.
    pub(crate) fn resolve(values: &Values) -> Result<Self> {
        let (root, default_root) = match values.get(&options::ROOT) {
            Some(root) => (clean(Path::new(root))?, false),
            None => (default_root()?, true),
        };
        let systemd = values.flag(&options::SYSTEMD_CGROUP);
        let cgroups = match values.text(&options::CGROUP_MANAGER) {
            Some("disabled") => CgroupManager::Disabled,
            Some("systemd") => CgroupManager::Systemd,
            Some("cgroupfs") => CgroupManager::Cgroupfs,
            _ if systemd => CgroupManager::Systemd,
            _ => CgroupManager::Cgroupfs,
        };
        let rootless = match values.text(&options::ROOTLESS) {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        let timings = values.flag(&options::TRACE_TIMINGS).then(|| Arc::new(Timings::new()));
        Ok(Self { root, default_root, rootless, cgroups, timings })
    }

    /// Makes the default root below $XDG_RUNTIME_DIR with the sticky bit, which keeps the system
    /// from clearing it away (XDG base directory specification).
    pub(crate) fn prepare_root(&self) -> Result<()> {
        if !self.default_root || self.root == Path::new(ROOT) {
            return Ok(());
        }
        let failed = |error: std::io::Error| {
            Error::io(format!("make state root {:?}", self.root), &error)
                .hint("the directory $XDG_RUNTIME_DIR must be writable")
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(failed)?;
        std::fs::set_permissions(&self.root, std::fs::Permissions::from_mode(0o1700)).map_err(failed)
    }
}

fn default_root() -> Result<PathBuf> {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !directory.is_empty() && !real_root() => {
            clean(&Path::new(&directory).join("runtime"))
        }
        _ => Ok(PathBuf::from(ROOT)),
    }
}

/// Whether the program runs as the machine's root, or as a root that calls itself so in a user
/// namespace. Both use the system's directory, whatever XDG_RUNTIME_DIR says.
fn real_root() -> bool {
    if !nix::unistd::geteuid().is_root() {
        return false;
    }
    let named_root = || std::env::var_os("USER").is_some_and(|user| user == "root");
    !in_user_namespace() || named_root()
}

/// Whether the program's user namespace is not the machine's first one.
pub(crate) fn in_user_namespace() -> bool {
    // The first namespace maps all ids to themselves (user_namespaces(7)).
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let fields: Vec<_> = map.split_ascii_whitespace().collect();
    !map.is_empty() && fields != ["0", "0", "4294967295"]
}

/// Makes a path absolute and resolves `.` and `..` by name.
fn clean(path: &Path) -> Result<PathBuf> {
    // An empty path is the current directory, as in Go's filepath.Abs.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let absolute =
        std::path::absolute(path).map_err(|error| Error::io("find the current directory", &error))?;
    let mut clean = PathBuf::from("/");
    for component in absolute.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if clean == Path::new("/") {
        return Err(Error::invalid("--root", "Option --root argument should not be set to /"));
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_clean() {
        assert_eq!(clean(Path::new("/a/../b/./c//")).expect("a path"), Path::new("/b/c"));
        assert!(clean(Path::new("x")).expect("a path").is_absolute());
        for root in ["/", "/..", "/a/..", "//"] {
            assert!(clean(Path::new(root)).is_err(), "{root}");
        }
    }
}
