//! A new shim in the background, or the one of the same pod.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::thread::CoreSchedulingScope;
use sha2::{Digest, Sha256};

use super::bootstrap::Wanted;
use crate::fault::Fault;
use crate::options::Options;

/// Where sockets of shims are.
const SOCKETS: &str = "/run/containerd/s";

/// The address of a shim that serves `group`.
pub(super) fn shim(wanted: &Wanted, options: &Options, group: &str, bundle: &Path) -> Result<String, Fault> {
    let path = socket(wanted, group);
    let address = format!("unix://{}", path.display());
    let Some(listener) = listen(&path)? else { return Ok(address) };
    let settled = spawn(wanted, bundle, listener).and_then(|mut child| {
        settle(&child, options, bundle).inspect_err(|_| {
            // It has no containers; one that has ended by itself is as good.
            child.kill().and_then(|()| child.wait().map(drop)).ok();
        })
    });
    settled.inspect_err(|_| drop(std::fs::remove_file(&path)))?;
    Ok(address)
}

fn socket(wanted: &Wanted, group: &str) -> PathBuf {
    let name = Path::new(&wanted.address).join(&wanted.namespace).join(group);
    let digest = Sha256::digest(name.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Path::new(wanted.sockets.as_deref().unwrap_or(SOCKETS)).join(name)
}

/// A new socket; `None` if a shim listens at it already.
fn listen(path: &Path) -> Result<Option<UnixListener>, Fault> {
    let failed = |error| Fault::system(format!("listen at {path:?}"), error);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o711)).map_err(failed)?;
    }
    let bound = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if UnixStream::connect(path).is_ok() {
                return Ok(None);
            }
            // A shim that was killed has left it.
            std::fs::remove_file(path).map_err(failed)?;
            UnixListener::bind(path)
        }
        other => other,
    };
    let listener = bound.map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(Some(listener))
}

/// Starts this program again; its standard input is the socket.
fn spawn(wanted: &Wanted, bundle: &Path, listener: UnixListener) -> Result<Child, Fault> {
    if std::env::var_os("SCHED_CORE").is_some() {
        // A cookie of its own: what does not belong to the shim or its containers never shares a core with them.
        rustix::thread::create_core_scheduling_cookie(
            rustix::process::getpid(),
            CoreSchedulingScope::ProcessGroup,
        )
        .map_err(|error| Fault::system("make a core scheduling cookie (SCHED_CORE)", error))?;
    }
    let program = std::env::current_exe().map_err(|error| Fault::system("find this program", error))?;
    let mut command = Command::new(&program);
    command
        .args(["-namespace", &wanted.namespace, "-id", &wanted.id, "-address", &wanted.address])
        .args(wanted.debug.then_some("-debug"))
        .env("TTRPC_ADDRESS", &wanted.ttrpc_address)
        // One arena for all threads: memory of a thread that has ended is used again.
        .env("GLIBC_TUNABLES", "glibc.malloc.arena_max=1:glibc.malloc.trim_threshold=65536")
        .current_dir(bundle)
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map_err(|error| Fault::system(format!("start {program:?}"), error))
}

/// Puts a new shim where it belongs.
fn settle(child: &Child, options: &Options, bundle: &Path) -> Result<(), Fault> {
    let pid = child.id();
    let path = bundle.join("shim.pid");
    std::fs::write(&path, pid.to_string())
        .map_err(|error| Fault::system(format!("write {path:?}"), error))?;
    if !options.shim_cgroup.is_empty() {
        enter_cgroup(&options.shim_cgroup, pid)?;
    }
    adjust_score(pid);
    Ok(())
}

/// Into a cgroup that exists, in each hierarchy that has it.
fn enter_cgroup(cgroup: &str, pid: u32) -> Result<(), Fault> {
    let name = cgroup.trim_start_matches('/');
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let places = std::iter::once(root.to_owned()).chain(hierarchies);
    let mut entered = false;
    for directory in places.map(|place| place.join(name)).filter(|place| place.join("cgroup.procs").exists())
    {
        let path = directory.join("cgroup.procs");
        std::fs::write(&path, pid.to_string()).map_err(|error| {
            Fault::system(
                format!("put the shim into the cgroup {cgroup:?} (options.shim_cgroup): {path:?}"),
                error,
            )
        })?;
        entered = true;
    }
    match entered {
        true => Ok(()),
        false => Err(Fault::invalid(format!("options.shim_cgroup {cgroup:?}: there is no such cgroup"))),
    }
}

/// One above containerd's OOM score: if memory is short, the shim ends before containerd, and its containers before both.
fn adjust_score(pid: u32) {
    let parent = std::os::unix::process::parent_id();
    let score = std::fs::read_to_string(format!("/proc/{parent}/oom_score_adj"));
    let Some(score) = score.ok().and_then(|text| text.trim().parse::<i32>().ok()) else { return };
    // A caller without privileges may not lower a score; it has the parent's then.
    std::fs::write(format!("/proc/{pid}/oom_score_adj"), (score + 1).min(1000).to_string()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;

    #[test]
    fn a_socket_is_that_of_the_group() {
        let args = Args::parse("-namespace n -id a -address /c start".split(' ').map(str::to_owned)).unwrap();
        let wanted = Wanted::new(&args, &[], String::new());
        let path = socket(&wanted, "pod");
        assert_eq!(path, socket(&wanted, "pod"));
        assert_ne!(path, socket(&wanted, "other"));
        assert!(path.starts_with(SOCKETS));
    }

    #[test]
    fn a_socket_that_nobody_serves_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s/socket");
        let first = listen(&path).unwrap().unwrap();
        assert!(listen(&path).unwrap().is_none());
        drop(first);
        assert!(listen(&path).unwrap().is_some());
    }
}
