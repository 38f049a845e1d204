//! Compiles the test process that is every container's only program: static, so that an
//! otherwise empty root file system is enough, and without crates, so that plain `rustc` does.

use std::{env, path::PathBuf, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=probe/probe.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("probe");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let target = env::var("TARGET").unwrap_or_default();
    let status = Command::new(rustc)
        .args(["--edition=2024", "--crate-name=probe", "--target", &target])
        .args(["-C", "target-feature=+crt-static", "-C", "opt-level=s"])
        .args(["-C", "panic=abort", "-C", "strip=symbols", "probe/probe.rs", "-o"])
        .arg(&out)
        .status();
    match status {
        Ok(status) if status.success() => {}
        other => panic!("compile the static test process: {other:?}"),
    }
}
