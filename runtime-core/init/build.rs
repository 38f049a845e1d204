//! Compiles the program half of this package; the library half has its bytes.
//!
//! The init is a program without libc for the same architecture. It is built here, by the same
//! compiler, so that `cargo build` is all that a user needs; its options do not depend on the
//! profile, since its size and its speed are part of each container's start.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "src/lib.rs";

/// Arguments of the linker itself.
const LINK_ARGUMENTS: &[&str] = &["--build-id=none", "-z", "noseparate-code", "-z", "norelro"];

/// Arguments of a C compiler that calls the linker.
const DRIVER_ARGUMENTS: &[&str] = &["-nostartfiles", "-nostdlib", "-static"];

/// Programs that are linkers themselves; any other is a C compiler.
const LINKERS: &[&str] = &["ld", "ld.bfd", "ld.gold", "ld.lld", "ld.mold", "lld", "mold", "rust-lld", "wild"];

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
    let linker = linker();
    if let Some(linker) = &linker {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    for argument in link_arguments(linker.as_deref()) {
        rustc.args(["-C", &format!("link-arg={argument}")]);
    }
    let status = rustc.arg("-o").arg(&output).arg(SOURCE).status();
    match status {
        Ok(status) if status.success() => {}
        other => panic!("compile the tiny init ({SOURCE}): {other:?}"),
    }
}

/// The linker that the user wants: what the flags of the compiler say counts before the configuration of cargo. The
/// other flags are not for the init.
fn linker() -> Option<String> {
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_LINKER"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let flags: Vec<&str> = flags.split('\x1f').collect();
    let options = flags.iter().enumerate().filter_map(|(at, flag)| match *flag {
        "-C" | "--codegen" => flags.get(at + 1).copied(),
        joined => joined.strip_prefix("-C").or(joined.strip_prefix("--codegen=")),
    });
    let given = options.filter_map(|option| option.strip_prefix("linker=")).next_back();
    given.map(str::to_owned).or_else(|| env::var("RUSTC_LINKER").ok())
}

fn link_arguments(linker: Option<&str>) -> Vec<String> {
    let program = linker.and_then(|linker| Path::new(linker).file_name()).and_then(|name| name.to_str());
    match program.is_some_and(|program| LINKERS.contains(&program)) {
        true => LINK_ARGUMENTS.iter().chain(&["-static"]).map(|argument| (*argument).to_owned()).collect(),
        false => {
            let driver = DRIVER_ARGUMENTS.iter().map(|argument| (*argument).to_owned());
            driver.chain([format!("-Wl,{}", LINK_ARGUMENTS.join(","))]).collect()
        }
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
