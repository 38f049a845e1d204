//! The tables of ENGINES.md, made from the checks' own names, and the least number of checks of each engine.

use std::path::Path;

use crate::{buildah, cri, crio, ctr, docker, podman};

const BEGIN: &str = "<!-- checks: begin, made by runtime-bin/tests/engines/page.rs -->\n";
const END: &str = "<!-- checks: end -->";

const PAGE: &str = include_str!("../../ENGINES.md");

/// The first example below a heading of the page, as a user would copy it, but for the runtime's path: what
/// the page says is what the checks run with.
pub(crate) fn example(heading: &str, runtime: &Path) -> String {
    let section = PAGE.split_once(&format!("\n### {heading}\n")).expect("the heading").1;
    let block = section.split("\n```").nth(1).expect("an example");
    let text = block.split_once('\n').expect("the language").1;
    assert!(text.contains("/usr/local/bin/runtime"), "{heading}: {text}");
    format!("{}\n", text.replace("/usr/local/bin/runtime", &runtime.to_string_lossy()))
}

/// The same of the shim's page, for the CRI plugin.
pub(crate) fn shim_example() -> String {
    let page = include_str!("../../../examples/shim/README.md");
    let section = page.split_once("\n**Kubernetes**").expect("the paragraph").1;
    let block = section.split("\n```").nth(1).expect("an example");
    format!("{}\n", block.split_once('\n').expect("the language").1)
}

/// An engine, the test that starts it, its checks, and how many of them there have to be.
struct Engine {
    name: &'static str,
    test: &'static str,
    checks: Vec<&'static str>,
    least: usize,
}

fn engines() -> Vec<Engine> {
    let engine = |name, test, checks, least| Engine { name, test, checks, least };
    vec![
        engine("Docker", "docker::engine", docker::names(), 80),
        engine("Docker, userns-remap", "docker::remap::engine", docker::remap::names(), 8),
        engine("docker-compose", "docker::compose::engine", docker::compose::names(), 10),
        engine("containerd, ctr", "ctr::engine", ctr::names(), 30),
        engine("containerd, CRI", "cri::engine", cri::names(), 20),
        engine("CRI-O's monitor", "crio::monitor", crio::names(), 15),
        engine("Podman", "podman::rootful", podman::rootful_names(), 50),
        engine("Podman, rootless", "podman::rootless", podman::rootless_names(), 30),
        engine("Buildah", "buildah::rootful", buildah::names(), 15),
        engine("Buildah, rootless", "buildah::rootless", buildah::shared_names(), 12),
    ]
}

/// Features, and the words by which the name of a check shows that it is about one.
const FEATURES: &[(&str, &[&str])] = &[
    ("the runtime is found and used", &["runtime under test", "under the runtime", "discovery"]),
    ("create, then start", &["created", "create", "CreateContainer", "failed start"]),
    ("exit codes and errors", &["exit code", "exit codes", "no such program", "not there", "fails", "words"]),
    ("standard input, attach", &["stdin", "attach", "foreground"]),
    ("terminals", &["-t", "-it", "-dt", "tty", "--tty", "terminal", "--terminal"]),
    ("logs", &["logs", "log", "log file", "--log-uri"]),
    ("exec", &["exec", "Exec", "ExecSync"]),
    ("kill, stop", &["kill", "KILL", "TERM", "stop", "--stop-signal", "--stop-timeout"]),
    ("pause", &["pause", "unpause", "paused"]),
    ("restart", &["restart"]),
    ("update", &["update", "UpdateContainerResources"]),
    ("statistics", &["stats", "metrics", "ContainerStats"]),
    ("processes", &["top", "ps", "pod top"]),
    ("checkpoint", &["checkpoint"]),
    ("memory", &["--memory", "--memory-limit", "--memory-swap", "--memory-swappiness", "memory", ": limits"]),
    ("CPU", &["--cpus", "--cpu-shares", "--cpu-quota", "--cpu-period", "--cpuset-cpus", "--cpuset-mems"]),
    ("pids", &["--pids-limit"]),
    ("disks", &["--device-read-bps", "--device-write-iops"]),
    ("the place of the cgroup", &["cgroup", "--cgroup", "--cgroup-parent", "--cgroupns"]),
    ("capabilities, privileged", &["capabilities", "--cap-drop", "--cap-add", "privileged", "--privileged"]),
    ("seccomp", &["seccomp", "--seccomp", "--seccomp-profile"]),
    ("no new privileges", &["no-new-privileges", "no new privileges", "--allow-new-privs"]),
    ("user and groups", &["--user", "user,", ", user", "USER", "--group-add"]),
    (
        "user namespaces",
        &["userns-remap", "a user namespace", "user namespace is", "hostUsers", "--uidmap", "--userns"],
    ),
    ("read-only root, masked paths", &["read-only root", "run: --read-only", "masked", "systempaths"]),
    ("volumes and mounts", &["run: -v", "--volume", "volume", "volumes", "--mount", "mounts", "propagation"]),
    ("the root", &["--rootfs", "--rootfs-propagation", "--no-pivot", "--config", "stays in"]),
    ("tmpfs, shared memory", &["tmpfs", "--tmpfs", "--shm-size"]),
    ("devices", &["device", "--device", "devices", "--device-cgroup-rule"]),
    ("environment, directory", &["environment", "--env", "--env-file", "--workingdir", "--workdir", "ENV"]),
    ("host name, hosts", &["--hostname", "--add-host", "--uts"]),
    ("network", &["network", "--network", "--net-host"]),
    ("namespaces new, shared, joined", &["namespaces", "namespace", "--pid", "--ipc", "--uts", "--with-ns"]),
    ("sysctls, ulimits", &["sysctl", "sysctls", "--sysctl", "--ulimit"]),
    ("descriptors", &["descriptors", "--preserve-fds"]),
    ("hooks", &["--hooks-dir"]),
    ("health checks", &["healthcheck", "--health-cmd"]),
    ("init", &["--init"]),
    ("the runtime inside a container", &["nested"]),
    ("pods", &["pod", "play kube", "RunPodSandbox", "RemovePodSandbox"]),
    ("builds", &["bud", "commit"]),
    ("nothing is left behind", &["left", "removed", "delete", "rm", "down", "RemovePodSandbox"]),
];

/// Whether a text has these words as whole ones: `top` is not in `stop`, nor `--cpu` in `--cpus`.
fn has_words(text: &str, words: &str) -> bool {
    let of_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(words).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + words.len()..]);
        let joins = |outer: Option<char>, inner: Option<char>| {
            outer.is_some_and(of_word) && inner.is_some_and(of_word)
        };
        !joins(before.chars().next_back(), words.chars().next())
            && !joins(after.chars().next(), words.chars().next_back())
    })
}

/// Whether a check is about a feature with these words.
fn is_about(check: &str, words: &[&str]) -> bool {
    words.iter().any(|words| has_words(check, words))
}

/// The tests of `tests/contract`: each file, and its source.
const CONTRACT: &[(&str, &str, &str)] = &[
    ("containerd's and Docker's shim", "shim", include_str!("../contract/shim.rs")),
    ("conmon", "conmon", include_str!("../contract/conmon.rs")),
    ("conmon-rs", "conmonrs", include_str!("../contract/conmonrs.rs")),
    ("Podman", "podman", include_str!("../contract/podman.rs")),
    ("CRI-O", "crio", include_str!("../contract/crio.rs")),
    ("Kubernetes", "kubernetes", include_str!("../contract/kubernetes.rs")),
];

/// The functions after `#[test]` in a source.
fn tests_of(source: &str) -> impl Iterator<Item = &str> {
    let parts = source.split("#[test]\n").skip(1);
    parts.filter_map(|part| part.strip_prefix("fn ")?.split('(').next())
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join("; ")
}

fn features(engines: &[Engine]) -> String {
    let mut text = String::from("| feature | engine: checks |\n|---|---|\n");
    let mut row = |feature: &str, belongs: &dyn Fn(&str) -> bool| {
        let lines = engines.iter().filter_map(|engine| {
            let checks = quoted(engine.checks.iter().copied().filter(|check| belongs(check)));
            (!checks.is_empty()).then(|| format!("**{}**: {checks}", engine.name))
        });
        text += &format!("| {feature} | {} |\n", lines.collect::<Vec<_>>().join("<br>"));
    };
    for (feature, words) in FEATURES {
        row(feature, &|check| is_about(check, words));
    }
    row("and more", &|check| !FEATURES.iter().any(|(_, words)| is_about(check, words)));
    text
}

fn table() -> String {
    let engines = engines();
    let mut text = String::from("| engine | test | checks |\n|---|---|---|\n");
    for Engine { name, test, checks, .. } in &engines {
        text += &format!("| {name} | `engines::{test}` | {} |\n", checks.len());
    }
    for (engine, module, source) in CONTRACT {
        let count = tests_of(source).count();
        text += &format!("| {engine}, by its command lines | `contract::{module}` | {count} |\n");
    }
    text += &format!("\n### Features\n\n{}\n### Command lines\n\n", features(&engines));
    text += "| engine | tests |\n|---|---|\n";
    for (engine, module, source) in CONTRACT {
        let tests: Vec<_> = tests_of(source).map(|test| format!("contract::{module}::{test}")).collect();
        text += &format!("| {engine} | {} |\n", quoted(tests.iter().map(String::as_str)));
    }
    text
}

#[test]
fn each_engine_has_enough_checks() {
    for Engine { name, checks, least, .. } in engines() {
        assert!(checks.len() >= least, "{name}: {} checks, not {least}", checks.len());
        let mut distinct = checks.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), checks.len(), "{name}: two checks have one name");
    }
}

#[test]
fn each_feature_has_a_check() {
    let checks: Vec<_> = engines().into_iter().flat_map(|engine| engine.checks).collect();
    for (feature, words) in FEATURES {
        assert!(checks.iter().any(|check| is_about(check, words)), "{feature}");
    }
    assert!(has_words("pod top, stats", "top") && !has_words("stop", "top") && !has_words("--cpus", "--cpu"));
}

#[test]
fn the_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ENGINES.md");
    let page = std::fs::read_to_string(path).expect("ENGINES.md");
    let (before, rest) = page.split_once(BEGIN).expect("the beginning of the table");
    let (found, after) = rest.split_once(END).expect("the end of the table");
    let wanted = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{wanted}{END}{after}")).expect("the page is written");
        return;
    }
    assert_eq!(found, wanted, "UPDATE_DOCS=1 writes it anew");
}
