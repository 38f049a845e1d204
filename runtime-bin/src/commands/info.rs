//! `info`.

use nix::sys::utsname::uname;
use runtime_core::cgroup::{Hierarchies, Version};
use runtime_core::host::Host;
use serde_json::{Value, json};

use super::{Context, print};
use crate::args::options;
use crate::error::{Error, Result};
use crate::version;

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let document = document()?;
    if context.options().text(&options::FORMAT) == Some("json") {
        let text = serde_json::to_string_pretty(&document);
        let text = text.map_err(|error| Error::invalid("info", error.to_string()))?;
        return print(&format!("{text}\n"));
    }
    print(&table(&document))
}

/// What this program finds on this machine: as features has what the program could do anywhere.
fn document() -> Result<Value> {
    let host = Host::new();
    let names = uname().map_err(|errno| Error::system("uname", errno))?;
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    Ok(json!({
        "version": version::VERSION,
        "commit": version::COMMIT,
        "spec": version::SPEC,
        "kernel": text(names.release()),
        "architecture": text(names.machine()),
        "system": system(),
        "cpus": host.cpus(),
        "memory": memory(),
        "cgroups": cgroups(),
        "namespaces": namespaces(),
        "userNamespaces": user_namespaces(),
        "rootless": !host.is_privileged(),
        "inUserNamespace": host.in_user_namespace(),
        "capabilities": capabilities(host.capabilities().permitted),
        "seccomp": seccomp(),
        "apparmor": host.apparmor(),
        "selinux": host.selinux(),
        "criu": criu(),
    }))
}

/// The name that /etc/os-release gives the system.
fn system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map(|name| name.trim_matches(['"', '\'']).to_owned()).unwrap_or_else(|| "unknown".to_owned())
}

/// All memory in bytes.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

fn cgroups() -> Value {
    match Hierarchies::detect() {
        Ok(hierarchies) => {
            let view = hierarchies.view();
            let mounts = view.hierarchies.iter().map(|hierarchy| {
                let version = if hierarchy.version == Version::V2 { 2 } else { 1 };
                json!({"version": version, "mount": hierarchy.mount, "controllers": hierarchy.controllers})
            });
            json!({"mode": view.mode.as_str(), "hierarchies": mounts.collect::<Vec<_>>()})
        }
        Err(error) => json!({"mode": "none", "reason": error.to_string()}),
    }
}

/// The kinds that the kernel has, by their names in config.json.
fn namespaces() -> Vec<&'static str> {
    let kinds = [
        ("cgroup", "cgroup"),
        ("ipc", "ipc"),
        ("mount", "mnt"),
        ("network", "net"),
        ("pid", "pid"),
        ("time", "time"),
        ("user", "user"),
        ("uts", "uts"),
    ];
    let present = |file: &str| std::path::Path::new("/proc/self/ns").join(file).exists();
    kinds.into_iter().filter(|(_, file)| present(file)).map(|(name, _)| name).collect()
}

/// How many user namespaces there may be (user_namespaces(7)).
fn user_namespaces() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/user/max_user_namespaces").ok()?.trim().parse().ok()
}

fn capabilities(permitted: u64) -> Vec<String> {
    let names = (0..).zip(runtime_core::spec::supported::capabilities());
    names.filter(|(number, _)| permitted >> number & 1 == 1).map(|(_, name)| name).collect()
}

/// The actions that the kernel's seccomp has (seccomp(2)).
fn seccomp() -> Vec<String> {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    actions.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Where CRIU is, which checkpoint and restore need.
fn criu() -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let found =
        std::env::split_paths(&path).map(|directory| directory.join("criu")).find(|file| file.is_file());
    found.map(|file| file.to_string_lossy().into_owned())
}

/// The document for people: a line for each fact, cgroups last.
fn table(document: &Value) -> String {
    let mut text = String::new();
    let facts = document.as_object().into_iter().flatten().filter(|(name, _)| *name != "cgroups");
    for (name, value) in facts {
        row(&mut text, name, &plain(value));
    }
    let cgroups = &document["cgroups"];
    row(&mut text, "cgroups", &plain(&cgroups["mode"]));
    for hierarchy in cgroups["hierarchies"].as_array().into_iter().flatten() {
        let held = plain(&hierarchy["controllers"]);
        let place = format!("v{} {}", plain(&hierarchy["version"]), plain(&hierarchy["mount"]));
        row(&mut text, "", &format!("{place}: {held}"));
    }
    text
}

fn row(text: &mut String, name: &str, value: &str) {
    text.push_str(format!("{name:17} {value}").trim_end());
    text.push('\n');
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_fact_has_a_line() {
        let document = super::document().expect("a document");
        let table = super::table(&document);
        for (name, _) in document.as_object().expect("an object") {
            assert!(table.lines().any(|line| line.starts_with(name.as_str())), "{name}: {table}");
        }
    }
}
