//! A first container, and what it isolates.
//!
//!     cargo run -p quickstart
//!
//! It needs no image, no bundle and no privilege: the root file system is one static program, which
//! is part of this one. The program looks around in the container; its answers are printed beside
//! those of the host. Nothing is left behind.

#![forbid(unsafe_code)]

mod config;
mod facts;

use std::error::Error;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use config::Means;
use facts::Fact;
use runtime_core::cgroup::Hierarchies;
use runtime_core::host::Host;
use runtime_core::plan::CreateOptions;
use runtime_core::{Bundle, Container, Process, Runtime};

/// The program that runs in the container; `build.rs` compiles it.
const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe"));

/// How long the program may take.
const LIMIT: Duration = Duration::from_secs(10);

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let means = means();
    match run(means) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            if let Some(advice) = advice(means) {
                eprintln!("\n{advice}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(means: Means) -> Result<()> {
    let directory = tempfile::Builder::new().prefix("quickstart-").tempdir()?;
    make_bundle(directory.path(), means)?;

    let runtime = Runtime::builder().state_root(directory.path().join("state")).build()?;
    let id = format!("quickstart-{}", std::process::id());
    let bundle = Bundle::open(directory.path())?;
    let options = CreateOptions::new().rootless(!means.is_root);
    let plan = runtime.plan(&id, bundle, options)?;
    plan.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));

    let start = Instant::now();
    let (container, init) = runtime.run(plan)?;
    let started = start.elapsed();
    let ended = wait(&init);
    let took = start.elapsed();
    delete(container)?;
    ended?;

    let report = fs::read_to_string(directory.path().join("out/report"))?;
    print(&facts::gather(), &report);
    println!();
    println!("The container ran after {started:.1?} and was gone after {took:.1?}.");
    Ok(())
}

/// A bundle: a root file system with one program, and a configuration.
fn make_bundle(directory: &Path, means: Means) -> Result<()> {
    // The container's users are others than ours: they must be able to pass.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o711))?;
    let (rootfs, out) = (directory.join("rootfs"), directory.join("out"));
    for name in ["proc", "dev", "out", "sys/fs/cgroup"] {
        fs::create_dir_all(rootfs.join(name))?;
    }
    fs::write(rootfs.join("probe"), PROBE)?;
    fs::set_permissions(rootfs.join("probe"), fs::Permissions::from_mode(0o755))?;
    fs::create_dir(&out)?;
    if means.is_root {
        chown(&out, Some(config::FIRST_ID), Some(config::FIRST_ID))
            .map_err(|error| format!("give {out:?} to user {}: {error}", config::FIRST_ID))?;
    }
    let config = config::config(means, &out);
    fs::write(directory.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}

fn means() -> Means {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    // Root of a user namespace has not the ids, nor the cgroups, of the machine's root.
    let is_root = uid == 0 && !Host::new().in_user_namespace();
    let hierarchies = if is_root { Hierarchies::detect().ok() } else { None };
    let has = |controller: &str| {
        hierarchies.as_ref().is_some_and(|found| found.view().version_of(controller).is_some())
    };
    Means { uid, gid, is_root, pids: has("pids"), memory: has("memory") }
}

fn wait(init: &Process) -> Result<()> {
    match init.wait_timeout(LIMIT)? {
        Some(exit) if exit.success() => Ok(()),
        Some(exit) => Err(format!("the program in the container failed: {exit:?}").into()),
        None => Err(format!("the program in the container still ran after {LIMIT:?}").into()),
    }
}

fn delete(container: Container) -> Result<()> {
    container.delete_force().map_err(Into::into)
}

/// Host and container, side by side.
fn print(host: &[Fact], report: &str) {
    println!("{:<28}{:<28}in the container", "", "on the host");
    for (name, value) in host {
        let inside = report.lines().find_map(|line| line.split_once('\t').filter(|(key, _)| key == name));
        println!("{name:<28}{:<28}{}", shorten(value), inside.map_or("", |(_, value)| value));
    }
}

/// Fits a value into its column.
fn shorten(text: &str) -> String {
    match text.chars().count() {
        0..=26 => text.to_owned(),
        _ => text.chars().take(24).chain("...".chars()).collect(),
    }
}

/// What to do where containers are not allowed.
fn advice(means: Means) -> Option<String> {
    let zero = |path: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == "0");
    if zero("/proc/sys/user/max_user_namespaces") || zero("/proc/sys/kernel/unprivileged_userns_clone") {
        return Some(
            "This host has user namespaces switched off. As root, switch them on with\n\
             \x20   sysctl -w user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1\n\
             or run this example as root."
                .to_owned(),
        );
    }
    let restricted = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    if !means.is_root && fs::read_to_string(restricted).is_ok_and(|text| text.trim() == "1") {
        return Some(format!(
            "This host lets only programs with an AppArmor profile make user namespaces.\n\
             Run this example as root, or switch that off: echo 0 > {restricted}"
        ));
    }
    if means.is_root {
        return (!has_sys_admin()).then(|| {
            "This root has few privileges: it is probably in a container itself.\n\
             Run the example on the host, or in a container with CAP_SYS_ADMIN."
                .to_owned()
        });
    }
    Some(
        "If this user may not make user namespaces (inside a container one often may not), run it as root:\n\
         \x20   sudo target/debug/quickstart"
            .to_owned(),
    )
}

/// Whether the caller has CAP_SYS_ADMIN, bit 21 (capabilities(7)).
fn has_sys_admin() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & 1 << 21 != 0)
}
