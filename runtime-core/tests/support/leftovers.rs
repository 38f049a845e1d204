//! What a container can leave on the host.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

/// The traces of containers at one moment.
#[derive(Debug)]
pub(crate) struct Host {
    traces: BTreeSet<String>,
}

impl Host {
    /// Mounts of the calling thread's namespace, cgroups whose names start with `tag`, processes below this
    /// one, and the namespaces of the threads of this one.
    pub(crate) fn now(tag: &str) -> Self {
        let table = super::apart::mount_table();
        let mounts = table.iter().map(|line| format!("mount {line}"));
        let cgroups = cgroup_mounts(&table).into_iter().flat_map(|mount| cgroups(&mount, tag));
        let processes = descendants().into_iter().map(|process| format!("process {process}"));
        let traces = mounts.chain(cgroups).chain(processes).chain(namespaces()).collect();
        Self { traces }
    }

    /// What is here and was not `before`, and the other way round.
    pub(crate) fn beyond(&self, before: &Self) -> Vec<String> {
        let more = self.traces.difference(&before.traces).cloned();
        let placed = |trace: &&String| trace.strip_prefix("mount ").is_none_or(super::apart::has_place);
        let less = before.traces.difference(&self.traces).filter(placed);
        more.chain(less.map(|trace| format!("gone: {trace}"))).collect()
    }
}

fn cgroup_mounts(table: &[String]) -> Vec<String> {
    let mount = |line: &String| {
        let (fields, rest) = line.split_once(" - ")?;
        rest.starts_with("cgroup").then(|| fields.split(' ').nth(4).map(str::to_owned))?
    };
    table.iter().filter_map(mount).collect()
}

fn cgroups(mount: &str, tag: &str) -> Vec<String> {
    let Ok(entries) = Path::new(mount).read_dir() else { return Vec::new() };
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    let names = entries.filter_map(name).filter(|name| name.starts_with(tag));
    names.map(|name| format!("cgroup {mount}/{name}")).collect()
}

/// The processes below this one, with their names. Zombies count: somebody has to reap them.
pub(crate) fn descendants() -> Vec<String> {
    let mut parents = Vec::new();
    for entry in Path::new("/proc").read_dir().expect("/proc").flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let (Some((pid, _)), Some((name, fields))) = (stat.split_once(' '), stat.rsplit_once(") ")) else {
            continue;
        };
        let mut fields = fields.split(' ');
        let (state, parent) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        parents.push((pid.to_owned(), parent.to_owned(), format!("{name}) {state}")));
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

fn namespaces() -> Vec<String> {
    let tasks = Path::new("/proc/self/task").read_dir().expect("the threads").flatten();
    let namespaces =
        tasks.flat_map(|task| ["net", "mnt", "pid", "user"].map(|kind| task.path().join("ns").join(kind)));
    let links = namespaces.filter_map(|path| std::fs::read_link(path).ok());
    links.map(|link| format!("namespace {}", link.display())).collect()
}

/// From now on orphans of this process become its children, so that none escapes the tests.
pub(crate) fn adopt_orphans() {
    nix::sys::prctl::set_child_subreaper(true).expect("PR_SET_CHILD_SUBREAPER");
}

/// Reaps every child that has ended.
pub(crate) fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

/// Calls while another thread reaps, as an init does: the end of a pid namespace waits for the reaping
/// of all its processes, and an exec whose runtime was killed is by now a child of this process.
pub(crate) fn while_reaping<T>(call: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                reap();
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let result = call();
        done.store(true, Ordering::Relaxed);
        result
    })
}
