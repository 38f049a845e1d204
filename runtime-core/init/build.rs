//! Compiles the program half of this package; the library half has its bytes.
//!
//! The init is a program without libc for the same architecture. It is built here, by the same
//! compiler, so that `cargo build` is all that a user needs; its options do not depend on the
//! profile, since its size and its speed are part of each container's start.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "src/lib.rs";

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
    watch(Path::new("src"));
    let output = PathBuf::from(variable("OUT_DIR")).join("init");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args([
        "--edition",
        "2024",
        "--crate-name",
        "init",
        "--crate-type",
        "bin",
        "--cfg",
        "program",
        "--target",
        &variable("TARGET"),
    ]);
    for option in CODEGEN_OPTIONS {
        rustc.args(["-C", option]);
    }
    if variable("CARGO_CFG_TARGET_ENV") == "musl" {
        // The start files that rustc has for musl are put in even with -nostartfiles.
        rustc.args(["-C", "link-self-contained=no"]);
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

/// Runs again when a file of the init changes, or one is added.
fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
    let Ok(entries) = path.read_dir() else { return };
    entries.flatten().for_each(|entry| watch(&entry.path()));
}

/// A variable that cargo sets for build scripts.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}
