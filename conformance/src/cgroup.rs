//! The container's cgroups as the host sees them: version 1, version 2, or both.

use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};

/// The directory of `pid`'s cgroup for a controller; `None` if no hierarchy has it.
pub(crate) fn directory(pid: Pid, controller: &str) -> Option<PathBuf> {
    let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").ok()?;
    let path = |wanted: &str| {
        membership.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let names = fields.next()?;
            let path = fields.next()?;
            names.split(',').any(|name| name == wanted).then(|| path.to_owned())
        })
    };
    if let Some(path) = path(controller) {
        let mount = mount_point(&mounts, "cgroup", Some(controller))?;
        return Some(join(&mount, &path));
    }
    let directory = join(&mount_point(&mounts, "cgroup2", None)?, &path("")?);
    let controllers = fs::read_to_string(directory.join("cgroup.controllers")).ok()?;
    controllers.split_whitespace().any(|name| name == controller).then_some(directory)
}

/// Whether a new cgroup of version 1 would have none of these files; it is made and removed to see that.
pub(crate) fn lacks(id: &str, controller: &str, files: &[&str]) -> std::io::Result<bool> {
    let Some(parent) = directory(nix::unistd::getpid(), controller) else { return Ok(false) };
    if !nix::unistd::geteuid().is_root() || parent.join("cgroup.controllers").exists() {
        return Ok(false);
    }
    let made = parent.join(format!("{id}.probe"));
    fs::create_dir(&made)?;
    let none = !files.iter().any(|file| made.join(file).exists());
    fs::remove_dir(&made)?;
    Ok(none)
}

/// Every directory that `pid` is in.
pub(crate) fn all(pid: Pid) -> Vec<PathBuf> {
    let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let place = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let name = fields.next()?.split(',').next()?.to_owned();
        let path = fields.next()?.to_owned();
        let mount = match name.as_str() {
            "" => mount_point(&mounts, "cgroup2", None),
            name => mount_point(&mounts, "cgroup", Some(name)),
        };
        mount.map(|mount| join(&mount, &path))
    };
    membership.lines().filter_map(place).collect()
}

/// The directories with that path below a mount point of cgroups.
pub(crate) fn named(name: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let cgroups = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let places = cgroups.filter_map(|line| line.split(' ').nth(4)).map(|point| Path::new(point).join(name));
    places.filter(|place| place.is_dir()).collect()
}

/// Removes what a runtime left of a case's cgroups; the id is unique, so they are ours.
pub(crate) fn sweep(id: &str) {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let cgroups = mounts.lines().filter(|line| line.contains(" - cgroup"));
    for point in cgroups.filter_map(|line| line.split(' ').nth(4)) {
        for name in [id.to_owned(), format!("{id}.chosen")] {
            let directory = Path::new(point).join(name);
            if directory.is_dir() && fs::remove_dir(&directory).is_err() {
                eprintln!("# left behind: {}", directory.display());
            }
        }
    }
}

fn join(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

/// The first mount of that type, and for version 1 of that controller.
fn mount_point(mounts: &str, kind: &str, controller: Option<&str>) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut tail = tail.split(' ');
        let options = tail.clone().nth(2).unwrap_or("");
        let named = |name: &str| options.split(',').any(|option| option == name);
        let right = tail.next() == Some(kind) && controller.is_none_or(named);
        right.then(|| head.split(' ').nth(4).map(PathBuf::from))?
    })
}
