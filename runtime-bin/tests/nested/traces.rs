//! What a container shows of itself, and what it may leave on the host.

use std::collections::BTreeSet;
use std::path::Path;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::support::Bundle;

/// What the container's properties are, by its own eyes: two containers of one configuration say the same.
/// Mounts without their numbers; namespaces are compared by who reads this.
pub(crate) const PROBE: &str = r#"
cut -d' ' -f4- /proc/self/mountinfo
grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:)' /proc/self/status
cat /proc/self/cgroup
for kind in cgroup ipc mnt net pid user uts; do echo "namespace $(readlink /proc/self/ns/$kind)"; done
hostname
for path in /proc/kcore /proc/keys /proc/timer_list; do echo "$path $(stat -c '%F %t:%T' $path 2>&1)"; done
ls /sys/firmware
( echo 1 >/proc/sys/kernel/ns_last_pid ) 2>&1
( echo 1 >/sys/kernel/profiling ) 2>&1
for fd in /proc/self/fd/*; do case ${fd##*/} in 0|1|2) ;; *) echo "fd ${fd##*/} $(readlink $fd)" ;; esac; done
ls -a /
ls -l /dev | cut -c1-10,60-
ulimit -n
umask
"#;

/// The words of the probe, with namespaces as `own` or `host`.
pub(crate) fn properties(text: &str) -> Vec<String> {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let host: Vec<String> = kinds
        .iter()
        .filter_map(|kind| std::fs::read_link(format!("/proc/thread-self/ns/{kind}")).ok())
        .map(|link| link.display().to_string())
        .collect();
    let line = |line: &str| match line.strip_prefix("namespace ") {
        Some(link) if host.iter().any(|host| host == link) => format!("host {link}"),
        Some(link) => format!("own {}", link.split(':').next().unwrap_or_default()),
        None => line.to_owned(),
    };
    let mut lines: Vec<String> = text.lines().map(line).collect();
    // The runtime makes some mounts beside others: which has the lower number is chance.
    lines.sort();
    lines
}

/// The traces of containers at one moment: mounts, cgroups, processes, and entries of the state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces(BTreeSet<String>);

impl Traces {
    /// Those before a test, from where on its mounts are apart from those of the machine.
    pub(crate) fn before(bundle: &Bundle, id: &str) -> Self {
        crate::support::apart::own_mounts();
        Self::now(bundle, id)
    }

    /// Cgroups are those with the given name, wherever they are.
    pub(crate) fn now(bundle: &Bundle, id: &str) -> Self {
        reap();
        let table = crate::support::apart::mount_table();
        let mut traces: BTreeSet<String> = table.iter().map(|line| format!("mount {line}")).collect();
        cgroups(Path::new("/sys/fs/cgroup"), id, &mut traces);
        traces.extend(processes().into_iter().map(|process| format!("process {process}")));
        if let Ok(entries) = bundle.state().read_dir() {
            traces.extend(entries.flatten().map(|entry| format!("state {:?}", entry.file_name())));
        }
        Self(traces)
    }

    /// Waits until all is as it was before: killed processes need a moment.
    #[track_caller]
    pub(crate) fn are_back(&self, bundle: &Bundle, id: &str, after: &str) {
        let mut more = BTreeSet::new();
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while std::time::Instant::now() < limit {
            reap();
            let now = Self::now(bundle, id);
            let differs = now.0.symmetric_difference(&self.0);
            // A mount of another program that has gone with its place.
            let placed =
                |trace: &&String| trace.strip_prefix("mount ").is_none_or(crate::support::apart::has_place);
            more = differs.filter(placed).cloned().collect();
            if more.is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("left after {after}: {more:#?}");
    }
}

fn cgroups(directory: &Path, id: &str, traces: &mut BTreeSet<String>) {
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().contains(id) {
                traces.insert(format!("cgroup {}", entry.path().display()));
            }
            cgroups(&entry.path(), id, traces);
        }
    }
}

/// The processes below this one.
fn processes() -> Vec<String> {
    let mut parents = Vec::new();
    for entry in Path::new("/proc").read_dir().expect("/proc").flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let (Some((pid, _)), Some((name, fields))) = (stat.split_once(' '), stat.rsplit_once(") ")) else {
            continue;
        };
        let parent = fields.split(' ').nth(1).unwrap_or_default();
        parents.push((pid.to_owned(), parent.to_owned(), name.to_owned()));
    }
    let mut known = vec![std::process::id().to_string()];
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(parent) = known.get(at).cloned() {
        for (pid, _, name) in parents.iter().filter(|(_, above, _)| *above == parent) {
            known.push(pid.clone());
            found.push(name.clone());
        }
        at += 1;
    }
    found
}

/// Orphans of this process become its children, so that none escapes.
pub(crate) fn adopt_orphans() {
    nix::sys::prctl::set_child_subreaper(true).expect("PR_SET_CHILD_SUBREAPER");
}

/// Reaps every child that has ended.
fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}
