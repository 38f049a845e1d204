//! Compiles the program that runs in the container, so that the example needs no image.
//!
//! It is linked statically: the container's root file system holds nothing else.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/probe.rs");
    println!("cargo::rerun-if-changed=src/facts.rs");
    let output = PathBuf::from(variable("OUT_DIR")).join("probe");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition", "2024", "--crate-name", "probe", "--target", &variable("TARGET")]);
    rustc.args(["-C", "target-feature=+crt-static", "-C", "opt-level=1", "-C", "strip=symbols"]);
    let status = rustc.arg("-o").arg(&output).arg("src/probe.rs").status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "compile src/probe.rs: {status:?}");
}

/// A variable that cargo sets for build scripts.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}
