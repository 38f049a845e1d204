//! The state is private, and no socket is open to others (CVE-2020-15257, CVE-2021-41103).

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use crate::support::{Scratch, alone, config};

/// Mode and path of everything below a directory.
fn modes(path: &Path, found: &mut Vec<(u32, String)>) {
    let data = fs::symlink_metadata(path).unwrap();
    found.push((data.mode(), path.display().to_string()));
    if data.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| modes(&entry.unwrap().path(), found));
    }
}

/// Control: with the same umask a file of our own is open to all.
#[test]
fn the_state_is_private_whatever_the_umask() {
    if !alone("state::the_state_is_private_whatever_the_umask") {
        return;
    }
    let Some(scratch) = Scratch::new() else { return };
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let own = scratch.path().join("own");
    fs::write(&own, "").unwrap();
    assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o666);
    let created = scratch.create(&config()).unwrap();
    let mut found = Vec::new();
    modes(scratch.runtime.state_root(), &mut found);
    assert!(found.len() > 3, "{found:?}");
    for (mode, path) in &found {
        let private = match mode & nix::libc::S_IFMT {
            nix::libc::S_IFDIR => 0o700,
            nix::libc::S_IFREG => 0o600,
            // A socket is reached through its directory only.
            _ => mode & 0o777,
        };
        assert_eq!(mode & 0o7777, private, "{path}");
    }
    created.start().unwrap();
    created.wait();
}

/// Control: an abstract socket of our own is found.
#[test]
fn there_are_no_abstract_sockets() {
    let Some(scratch) = Scratch::new() else { return };
    crate::apart::own_network();
    let abstracts = || {
        let table = fs::read_to_string("/proc/thread-self/net/unix").unwrap();
        table.lines().filter(|line| line.contains(" @")).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = abstracts();
    let created = scratch.create(&config()).unwrap();
    assert_eq!(abstracts(), before);
    created.start().unwrap();
    assert_eq!(abstracts(), before);
    let name = SocketAddr::from_abstract_name("runtime-security-control").unwrap();
    let _control = UnixListener::bind_addr(&name).unwrap();
    assert_eq!((before.len(), abstracts().len()), (0, 1));
}

/// Names that would leave the state root or a cgroup. Control: a common name is taken.
#[test]
fn ids_and_cgroup_paths_do_not_leave_their_place() {
    let Some(scratch) = Scratch::new() else { return };
    scratch.write_config(&config());
    let bundle = || runtime_core::Bundle::open(scratch.path().join("bundle")).unwrap();
    let options = || runtime_core::plan::CreateOptions::new();
    for id in ["", ".", "..", "../x", "a/b", "/x", "a\0b", "a\nb", "é", "a b", "x".repeat(256).as_str()] {
        assert!(scratch.runtime.plan(id, bundle(), options()).is_err(), "{id:?}");
        assert!(scratch.runtime.container(id).is_err(), "{id:?}");
        assert!(scratch.runtime.delete_force(id).is_err(), "{id:?}");
    }
    assert!(scratch.runtime.plan("x-1", bundle(), options()).is_ok());
    for resources in [
        serde_json::json!({"hugepageLimits": [{"pageSize": "../../2MB", "limit": 1}]}),
        serde_json::json!({"hugepageLimits": [{"pageSize": "2MB/../x", "limit": 1}]}),
        serde_json::json!({"unified": {"../memory.max": "1"}}),
        serde_json::json!({"unified": {"a/b": "1"}}),
        serde_json::json!({"rdma": {"../x": {"hcaHandles": 1}}}),
        serde_json::json!({"rdma": {"a\nb": {"hcaHandles": 1}}}),
    ] {
        let mut asked = config();
        asked["linux"]["resources"] = resources;
        assert!(scratch.run(&asked).is_err(), "{asked}");
    }
    for path in ["/../../x", "/a/../../../b", "a\0b", "/a\nb"] {
        let mut asked = config();
        asked["linux"]["cgroupsPath"] = serde_json::json!(path);
        // Cleaned to a path below the root of the hierarchy, or refused.
        if let Ok(created) = scratch.create(&asked) {
            let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", created.pid())).unwrap();
            assert!(!cgroups.contains("..") && !path.contains(['\0', '\n']), "{path:?}: {cgroups}");
        }
    }
}

/// A state names hooks that would run as the caller, and processes that `kill` would end. Control: the
/// same directory is believed before and after.
#[test]
fn a_state_that_others_own_or_can_write_is_not_believed() {
    let Some(scratch) = Scratch::new() else { return };
    let _created = scratch.create(&config()).unwrap();
    let id = scratch.runtime.list().unwrap().remove(0).id;
    let directory = scratch.runtime.state_root().join(id.as_str());
    let open = || scratch.runtime.container(id.as_str()).map(|_| ());
    let refused = |part: &str| {
        let error = open().unwrap_err().to_string();
        assert!(error.contains("trust the state directory") && error.contains(part), "{error}");
        let listed = scratch.runtime.list().unwrap();
        assert!(listed.iter().all(|listed| listed.state.is_err()), "only this container is there");
    };
    open().unwrap();
    std::os::unix::fs::chown(&directory, Some(1000), None).unwrap();
    refused("it belongs to user 1000, not to user 0");
    std::os::unix::fs::chown(&directory, Some(0), None).unwrap();
    for mode in [0o720, 0o702] {
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        refused("others can write it");
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    open().unwrap();
}
