//! Namespaces are those asked for, or an error (CVE-2021-43784), and id maps too.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Scratch, config, shell};

fn with_user(mut config: Value, uid: Vec<Value>, gid: Vec<Value>) -> Value {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = json!(uid);
    config["linux"]["gidMappings"] = json!(gid);
    config
}

fn line(container: u32, host: u32, size: u32) -> Value {
    json!({"containerID": container, "hostID": host, "size": size})
}

fn set_path(config: &mut Value, kind: &str, path: &str) {
    for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
        if namespace["type"] == kind {
            namespace["path"] = json!(path);
        }
    }
}

/// A path that overflows whatever length field there could be is an error, and no container without
/// the namespace. Control: a good path is joined, and without one the namespaces are new.
#[test]
fn long_and_false_paths_are_errors() {
    let Some(scratch) = Scratch::new() else { return };
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let pipe = scratch.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let long = |len: usize| format!("/{}", "a/".repeat(len / 2));
    let paths = [
        long(4096),
        long(65_532),
        long(65_536),
        long(131_072),
        long(1 << 20),
        "relative".into(),
        "/missing".into(),
        file.display().to_string(),
        pipe.display().to_string(),
        "/".into(),
        "/proc/self/ns/cgroup".into(),
        "/proc/self/exe".into(),
        "/proc/self/ns/net\0".into(),
    ];
    for kind in ["network", "ipc", "uts", "pid"] {
        for path in &paths {
            let mut asked = shell("touch /out/ran");
            set_path(&mut asked, kind, path);
            let error =
                scratch.run(&asked).err().unwrap_or_else(|| panic!("{kind} {:.40}", path)).to_string();
            assert!(error.contains("linux.namespaces"), "{error:.200}");
        }
    }
    assert!(!scratch.root().join("out/ran").exists());
    let holder = scratch.sleeping(config());
    let mut asked = shell("ls -l /proc/self/ns > /out/ns");
    set_path(&mut asked, "uts", &format!("/proc/{}/ns/uts", holder.pid()));
    assert!(scratch.run(&asked).unwrap().success());
    let seen = scratch.output("ns");
    let name = |pid: String, kind: &str| {
        fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string()
    };
    assert!(seen.contains(&name(holder.pid().to_string(), "uts")));
    for kind in ["net", "ipc", "uts"] {
        assert!(!seen.contains(&name("self".into(), kind)), "{kind}");
    }
}

/// Thousands of id mappings: merged where they are adjacent, refused with the field's name beyond what
/// the kernel takes, never cut. Control: the most that is possible arrives whole.
#[test]
fn thousands_of_mappings_are_whole_or_refused() {
    let Some(scratch) = Scratch::new() else { return };
    let adjacent: Vec<Value> = (0..5000).map(|id| line(id, 100_000 + id, 1)).collect();
    let most: Vec<Value> = (0..340).map(|id| line(id * 2, 2000 + id * 3, 1)).collect();
    for (map, lines) in [(&adjacent, 1), (&most, 340)] {
        let asked = with_user(config(), map.clone(), map.clone());
        fs::set_permissions(scratch.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let created = scratch.create(&asked).unwrap();
        for file in ["uid_map", "gid_map"] {
            let text = fs::read_to_string(format!("/proc/{}/{file}", created.pid())).unwrap();
            assert_eq!(text.lines().count(), lines, "{file}");
        }
    }
    let scattered = |count: u32| (0..count).map(|id| line(id * 2, 100_000 + id * 3, 1)).collect::<Vec<_>>();
    for (uid, gid, field) in [
        (scattered(341), vec![line(0, 100_000, 1)], "linux.uidMappings"),
        (vec![line(0, 100_000, 1)], scattered(5000), "linux.gidMappings"),
        (vec![line(0, 0, u32::MAX), line(1, 5, 1)], vec![line(0, 0, 1)], "linux.uidMappings"),
        (vec![line(u32::MAX, 0, 2)], vec![line(0, 0, 1)], "linux.uidMappings[0]"),
        (vec![line(1, 1, 1)], vec![line(0, 0, 1)], "not mapped"),
        (vec![], vec![line(0, 0, 1)], "not mapped"),
    ] {
        let error = scratch.run(&with_user(config(), uid, gid)).unwrap_err().to_string();
        assert!(error.contains(field), "{field}: {error:.300}");
    }
}
