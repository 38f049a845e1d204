//! Compiles the tiny init and hands its bytes to the library.
//!
//! The init is a program without libc for the same architecture. It is built here, by the same
//! compiler, so that `cargo build` is all that a user needs; its options do not depend on the
//! profile, since its size and its speed are part of each container's start.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "src/child/init/main.rs";

const LINK_ARGUMENTS: &[&str] =
    &["-nostartfiles", "-nostdlib", "-static", "-Wl,--build-id=none,-z,noseparate-code,-z,norelro"];

const CODEGEN_OPTIONS: &[&str] = &[
    "panic=abort",
    "opt-level=s",
    "lto=fat",
    "codegen-units=1",
    "relocation-model=static",
    "target-feature=+crt-static",
    "strip=symbols",
    "force-unwind-tables=no",
];

fn main() {
    println!("cargo::rerun-if-changed=src/child");
    let output = PathBuf::from(variable("OUT_DIR")).join("init");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args([
        "--edition",
        "2024",
        "--crate-name",
        "init",
        "--crate-type",
        "bin",
        "--target",
        &variable("TARGET"),
    ]);
    for option in CODEGEN_OPTIONS {
        rustc.args(["-C", option]);
    }
    for argument in LINK_ARGUMENTS {
        rustc.args(["-C", &format!("link-arg={argument}")]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    let status = rustc.arg("-o").arg(&output).arg(SOURCE).status();
    match status {
        Ok(status) if status.success() => {}
        other => panic!("compile the tiny init ({SOURCE}): {other:?}"),
    }
}

/// A variable that cargo sets for build scripts.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}
