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
