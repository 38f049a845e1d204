//! What both tests need: root, our runtime, and a wrapper script.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether the test can run; says why not. REQUIRE_PRIVILEGED=1 turns the skip into a failure.
pub(crate) fn privileged(name: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("REQUIRE_PRIVILEGED").is_none(), "{name}: needs root");
    eprintln!("skip {name}: needs root");
    false
}

/// Our own runtime, in cargo's directory of the test executable; built when it is not there.
pub(crate) fn our_runtime() -> PathBuf {
    let directory = Path::new(env!("CARGO_BIN_EXE_conformance")).parent();
    let runtime = directory.map(|directory| directory.join("runtime")).unwrap_or_default();
    if !runtime.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo).args(["build", "-p", "runtime-bin"]).status();
        assert!(built.is_ok_and(|status| status.success()), "build runtime-bin");
    }
    runtime
}

/// The cgroups that the machine shows, in a word.
#[allow(dead_code)]
pub(crate) fn view() -> &'static str {
    let there = |name: &str| Path::new("/sys/fs/cgroup").join(name).exists();
    match (there("cgroup.controllers"), there("unified/cgroup.controllers")) {
        (true, _) => "cgroup v2",
        (false, true) => "cgroup v1 beside v2",
        (false, false) => "cgroup v1",
    }
}

/// A user id that nobody has.
#[allow(dead_code)]
pub(crate) const USER: &str = "64999";

/// A directory of that user, below no private one.
#[allow(dead_code)]
pub(crate) struct Home(tempfile::TempDir);

#[allow(dead_code)]
impl Home {
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new().prefix("user-").tempdir_in("/tmp").expect("a directory");
        let id = USER.parse().ok();
        std::os::unix::fs::chown(home.path(), id, id).expect("give the directory away");
        Home(home)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A copy of a program, which the user may run.
    pub(crate) fn copy(&self, program: &Path) -> PathBuf {
        let name = program.file_name().expect("a program's name");
        let copy = self.0.path().join(name);
        std::fs::copy(program, &copy).expect("copy the program");
        copy
    }
}
