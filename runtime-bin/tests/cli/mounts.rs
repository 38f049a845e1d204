//! Mounts and their options, as the container sees them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use crate::support::{Bundle, Run, privileged};

/// One line of mountinfo.
#[derive(Debug)]
struct Seen {
    options: Vec<String>,
    propagation: Vec<String>,
    filesystem: String,
    super_options: Vec<String>,
}

impl Seen {
    #[track_caller]
    fn has(&self, options: &[&str]) -> &Self {
        for option in options {
            assert!(self.options.iter().any(|seen| seen == option), "{option} is not in {self:?}");
        }
        self
    }

    #[track_caller]
    fn lacks(&self, options: &[&str]) -> &Self {
        for option in options {
            assert!(!self.options.iter().any(|seen| seen == option), "{option} is in {self:?}");
        }
        self
    }
}

/// A bundle that runs a shell script with these mounts after the default ones; `src` is a
/// directory of the bundle with the file `file` and the directory `sub`.
fn bundle(script: &str, mounts: Value) -> Bundle {
    let bundle = Bundle::new(&["sh", "-c", script]).with(|config| {
        let list = config["mounts"].as_array_mut().expect("mounts");
        list.extend(mounts.as_array().expect("a list").iter().cloned());
    });
    fs::create_dir_all(bundle.path().join("src/sub")).expect("a directory");
    fs::write(bundle.path().join("src/file"), "content\n").expect("a file");
    bundle
}

fn run(bundle: &Bundle) -> Run {
    bundle.container().go(&["run"])
}

/// What mountinfo shows inside at a destination: the topmost mount.
#[track_caller]
fn seen(bundle: &Bundle, destination: &str) -> Seen {
    find(&run(bundle).ok().stdout, destination)
}

#[track_caller]
fn find(table: &str, destination: &str) -> Seen {
    let line = table
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(destination))
        .unwrap_or_else(|| panic!("{destination} is not in {table}"));
    let (left, right) = line.split_once(" - ").expect("a separator");
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let split = |list: &str| list.split(',').map(str::to_owned).collect();
    Seen {
        options: split(left[5]),
        propagation: left[6..].iter().map(|&field| field.to_owned()).collect(),
        filesystem: right[0].to_owned(),
        super_options: split(right[2]),
    }
}

fn bind(options: &[&str]) -> Value {
    json!({"destination": "/d", "type": "bind", "source": "src", "options": options})
}

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
}

const TABLE: &str = "cat /proc/self/mountinfo";

/// A tmpfs in the thread's own mount namespace; undone at the end.
struct HostMount(std::path::PathBuf);

impl HostMount {
    fn new(path: std::path::PathBuf, propagation: MsFlags) -> Self {
        let none = None::<&str>;
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), none).expect("a tmpfs");
        mount(none, &path, none, propagation, none).expect("propagation");
        Self(path)
    }

    /// Of the directory `source`, so with its file system.
    fn bound(source: &std::path::Path, path: std::path::PathBuf) -> Self {
        let none = None::<&str>;
        mount(Some(source), &path, none, MsFlags::MS_BIND, none).expect("a bind mount");
        mount(none, &path, none, MsFlags::MS_PRIVATE, none).expect("propagation");
        Self(path)
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).expect("unmounted");
    }
}

/// What belongs into a read-only tmpfs or /dev is made before it is read-only.
#[test]
fn a_read_only_tree_has_its_mount_points() {
    if !privileged() {
        return;
    }
    let script = "stat -c %F /dev/null /data/inner && ! touch /data/new 2> /dev/null && ! mknod /dev/new p 2> /dev/null";
    let bundle = Bundle::new(&["sh", "-c", script]).with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        for mount in mounts.iter_mut().filter(|mount| mount["destination"] == "/dev") {
            mount["options"].as_array_mut().expect("options").push(json!("rro"));
        }
        mounts.push(json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["rro"]}));
        mounts.push(json!({"destination": "/data/inner", "type": "tmpfs", "source": "tmpfs"}));
    });
    let run = bundle.container().go(&["run"]).ok();
    assert_eq!(run.stdout, "character special file\ndirectory\n");
}

#[test]
fn attributes_of_a_bind_mount() {
    if !privileged() {
        return;
    }
    let all = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"];
    let script = format!("{TABLE}; test -e /d/file && ! touch /d/new 2>/dev/null");
    let mount = bind(&[&["bind"], &all[..]].concat());
    seen(&bundle(&script, json!([mount])), "/d").has(&all);
    let opposite = ["rw", "suid", "dev", "exec", "strictatime", "diratime", "symfollow"];
    let mount = bind(&[&["bind"], &all[..], &opposite[..]].concat());
    let rest = ["ro", "nosuid", "nodev", "noexec", "noatime", "relatime", "nodiratime", "nosymfollow"];
    seen(&bundle(&format!("{TABLE}; touch /d/new"), json!([mount])), "/d").lacks(&rest);
    let mount = bind(&["bind", "relatime"]);
    seen(&bundle(TABLE, json!([mount])), "/d").has(&["rw", "relatime"]);
}

#[test]
fn bind_leaves_out_what_rbind_brings() {
    if !privileged() {
        return;
    }
    for (option, there) in [("bind", false), ("rbind", true)] {
        let bundle = bundle(TABLE, json!([bind(&[option])]));
        let _sub = HostMount::new(bundle.path().join("src/sub"), MsFlags::MS_PRIVATE);
        let table = run(&bundle).ok().stdout;
        assert_eq!(table.contains(" /d/sub "), there, "{option}: {table}");
    }
}

#[test]
fn recursive_attributes_reach_the_mounts_below() {
    if !privileged() {
        return;
    }
    let bundle = |options: &[&str]| bundle(TABLE, json!([bind(options)]));
    let recursive = bundle(&["rbind", "rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rnosymfollow"]);
    let _sub = HostMount::new(recursive.path().join("src/sub"), MsFlags::MS_PRIVATE);
    let all = ["ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"];
    let table = run(&recursive).ok().stdout;
    find(&table, "/d").has(&all);
    find(&table, "/d/sub").has(&all);
    let flat = bundle(&["rbind", "ro", "nosuid"]);
    let _flat = HostMount::new(flat.path().join("src/sub"), MsFlags::MS_PRIVATE);
    let table = run(&flat).ok().stdout;
    find(&table, "/d").has(&["ro", "nosuid"]);
    find(&table, "/d/sub").lacks(&["ro", "nosuid"]);
}

#[test]
fn propagation_of_a_mount() {
    if !privileged() {
        return;
    }
    for (option, kinds) in
        [("rprivate", &[][..]), ("private", &[]), ("rslave", &["master"]), ("rshared", &["shared", "master"])]
    {
        let bundle = bundle(TABLE, json!([bind(&["rbind", option])]));
        let _source = HostMount::new(bundle.path().join("src"), MsFlags::MS_SHARED);
        let seen = seen(&bundle, "/d");
        let found: Vec<&str> = seen.propagation.iter().filter_map(|field| field.split(':').next()).collect();
        assert_eq!(found, kinds, "{option}: {seen:?}");
    }
    let bundle = bundle(TABLE, json!([bind(&["bind", "unbindable"])]));
    assert_eq!(seen(&bundle, "/d").propagation, ["unbindable"]);
}

#[test]
fn tmpfs_takes_its_size_and_mode() {
    if !privileged() {
        return;
    }
    let mounts = json!([tmpfs("/d", &["size=64k", "mode=1750", "noexec"])]);
    let bundle = bundle(&format!("{TABLE}; stat -c '%a mode' /d"), mounts);
    let output = run(&bundle).ok().stdout;
    assert!(output.ends_with("1750 mode\n"), "{output}");
    let seen = find(&output, "/d");
    assert_eq!(seen.filesystem, "tmpfs");
    assert!(seen.super_options.contains(&"size=64k".to_owned()), "{seen:?}");
    seen.has(&["noexec"]);
}

#[test]
fn tmpcopyup_brings_the_content() {
    if !privileged() {
        return;
    }
    let script =
        "cat /d/a/file /d/link; stat -c '%a %u:%g' /d /d/a /d/a/file; readlink /d/link; touch /d/new";
    let bundle = bundle(script, json!([tmpfs("/d", &["tmpcopyup"])]));
    let root = bundle.path().join("rootfs/d");
    fs::create_dir_all(root.join("a")).expect("a directory");
    fs::write(root.join("a/file"), "content\n").expect("a file");
    symlink("a/file", root.join("link")).expect("a link");
    chown(root.join("a/file"), Some(7), Some(8)).expect("chown");
    for (path, mode) in [("", 0o751), ("a", 0o700), ("a/file", 0o604)] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let output = run(&bundle).ok().stdout;
    assert_eq!(output, "content\ncontent\n751 0:0\n700 0:0\n604 7:8\na/file\n");
    assert!(!root.join("new").exists(), "the root's own directory is untouched");
}

/// `podman run --tmpfs /d:mode=700`, to which Podman adds tmpcopyup: what the options say of the mount's own directory
/// counts, and the content comes all the same.
#[test]
fn tmpcopyup_leaves_what_the_options_say() {
    if !privileged() {
        return;
    }
    let script = "stat -c '%a %u:%g' /d; cat /d/file";
    let cases: [(&[&str], &str); 4] = [
        (&["tmpcopyup"], "751 7:8"),
        (&["tmpcopyup", "mode=1755"], "1755 7:8"),
        (&["uid=3", "tmpcopyup"], "751 3:0"),
        (&["tmpcopyup,mode=711,uid=3,gid=4"], "711 3:4"),
    ];
    for (options, expected) in cases {
        let bundle = bundle(script, json!([tmpfs("/d", options)]));
        let place = bundle.path().join("rootfs/d");
        fs::create_dir_all(&place).expect("a directory");
        fs::write(place.join("file"), "content\n").expect("a file");
        chown(&place, Some(7), Some(8)).expect("chown");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o751)).expect("a mode");
        assert_eq!(run(&bundle).ok().stdout, format!("{expected}\ncontent\n"), "{options:?}");
    }
}

#[test]
fn idmap_shifts_the_owners() {
    if !privileged() {
        return;
    }
    let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1000}]);
    // The mount below keeps its owners, unless the mapping is recursive.
    for (option, below) in [("idmap", "5:6"), ("ridmap", "20005:30006")] {
        let mut mount = bind(&["rbind", option]);
        mount["uidMappings"] = map(20_000);
        mount["gidMappings"] = map(30_000);
        let bundle = bundle("stat -c %u:%g /d/file /d/sub/file", json!([mount]));
        // Not a tmpfs: that takes no mapping before Linux 6.3.
        fs::create_dir(bundle.path().join("other")).expect("a directory");
        let _sub = HostMount::bound(&bundle.path().join("other"), bundle.path().join("src/sub"));
        fs::write(bundle.path().join("src/sub/file"), "content\n").expect("a file");
        for file in ["src/file", "src/sub/file"] {
            chown(bundle.path().join(file), Some(5), Some(6)).expect("chown");
        }
        let run = run(&bundle);
        // EINVAL is also what a wrong call gives: only file systems known for it may skip.
        let known = nix::sys::statfs::statfs(bundle.path()).expect("statfs").filesystem_type();
        if run.code != 0 && known != nix::sys::statfs::EXT4_SUPER_MAGIC {
            eprintln!("skipped: no idmapped mounts on file system {known:?}: {}", run.stderr);
            return;
        }
        assert_eq!(run.ok().stdout, format!("20005:30006\n{below}\n"), "{option}");
    }
}

#[test]
fn destinations_are_made_and_stay_inside() {
    if !privileged() {
        return;
    }
    let at = |destination: &str, source: &str| json!({"destination": destination, "type": "bind", "source": source, "options": ["bind"]});
    let mounts = json!([
        at("relative/path", "src"),
        at("/made/on/demand", "src/file"),
        at("/escape/in", "src"),
        at("/up/in", "src")
    ]);
    let script = "cat /relative/path/file /made/on/demand /real/in/file /in/file";
    let bundle = bundle(script, mounts);
    let root = bundle.path().join("rootfs");
    fs::create_dir(root.join("real")).expect("a directory");
    symlink("/real", root.join("escape")).expect("a link");
    symlink("../../../..", root.join("up")).expect("a link");
    let run = run(&bundle);
    assert_eq!((run.code, run.stdout.as_str()), (0, "content\n".repeat(4).as_str()), "{run:?}");
    assert!(run.stderr.contains("relative/path is not absolute"), "a warning: {run:?}");
    assert!(root.join("made/on/demand").is_file());
    assert!(root.join("real/in").is_dir() && root.join("in").is_dir());
}

#[test]
fn a_missing_source_names_the_mount() {
    if !privileged() {
        return;
    }
    let mut mount = bind(&["bind"]);
    mount["source"] = json!("/no/such/source");
    let bundle = bundle("true", json!([mount]));
    let index = bundle.config["mounts"].as_array().map_or(0, |list| list.len() - 1);
    let container = bundle.container();
    let run = container.go(&["run"]).fails(1, "/no/such/source");
    assert!(run.stderr.contains(&format!("mounts[{index}]")), "{run:?}");
    container.go(&["state"]).fails(1, "does not exist");
}

/// Docker knows what to advise by these words.
#[test]
fn a_file_does_not_fit_on_a_directory_nor_the_reverse() {
    if !privileged() {
        return;
    }
    for (source, destination) in [
        ("src/file", "/tmp"),
        ("src", "/etc/passwd"),
        ("src/file", "/link-to-directory"),
        ("src", "/link-to-file"),
        ("src/file", "/etc/passwd/below"),
        ("src", "/etc/passwd/below"),
        ("tmpfs", "/etc/passwd"),
    ] {
        for user_namespace in [false, true] {
            let kind = if source == "tmpfs" { "tmpfs" } else { "bind" };
            let options = if source == "tmpfs" { json!([]) } else { json!(["rbind"]) };
            let mount =
                json!({"destination": destination, "type": kind, "source": source, "options": options});
            let bundle = bundle("true", json!([mount])).with(|config| {
                if user_namespace {
                    let map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
                    config["linux"]["uidMappings"] = map.clone();
                    config["linux"]["gidMappings"] = map;
                    config["linux"]["namespaces"]
                        .as_array_mut()
                        .expect("a list")
                        .push(json!({"type": "user"}));
                }
            });
            let root = bundle.path().join("rootfs");
            std::os::unix::fs::symlink("/tmp", root.join("link-to-directory")).expect("a link");
            std::os::unix::fs::symlink("/etc/passwd", root.join("link-to-file")).expect("a link");
            let run = run(&bundle);
            assert_eq!(run.code, 1, "{source} on {destination}: {run:?}");
            assert!(run.stderr.contains("not a directory"), "{source} on {destination}: {run:?}");
        }
    }
}

#[test]
fn nested_mounts_keep_their_order() {
    if !privileged() {
        return;
    }
    let file =
        json!({"destination": "/d/one/two", "type": "bind", "source": "src", "options": ["bind", "ro"]});
    let mounts = json!([tmpfs("/d", &[]), tmpfs("/d/one", &["size=64k"]), file]);
    let bundle = bundle(&format!("{TABLE}; cat /d/one/two/file"), mounts);
    let output = run(&bundle).ok().stdout;
    assert!(output.ends_with("content\n"), "{output}");
    find(&output, "/d/one/two").has(&["ro"]);
    // A parent that comes later covers what was mounted below it.
    let bundle = self::bundle("ls /d", json!([tmpfs("/d/one", &[]), tmpfs("/d", &[])]));
    assert_eq!(run(&bundle).ok().stdout, "");
}

#[test]
fn long_overlay_options() {
    if !privileged() {
        return;
    }
    let bundle = bundle("cat /d/file* | wc -l", json!([]));
    // The upper directories of an overlay must not be on an overlay: a tmpfs always does.
    let layers = bundle.path().join("layers");
    fs::create_dir(&layers).expect("a directory");
    let mounted = HostMount::new(layers.clone(), MsFlags::MS_PRIVATE);
    let mut lower = Vec::new();
    for number in 0..12 {
        let layer = layers.join(format!("a-layer-with-a-rather-long-name-{number}"));
        fs::create_dir(&layer).expect("a directory");
        fs::write(layer.join(format!("file{number}")), "line\n").expect("a file");
        lower.push(layer.to_str().expect("text").to_owned());
    }
    let option = format!("lowerdir={}", lower.join(":"));
    assert!(option.len() > 256, "{option}");
    let bundle = bundle.with(|config| {
        let list = config["mounts"].as_array_mut().expect("mounts");
        list.push(json!({"destination": "/d", "type": "overlay", "source": "overlay", "options": ["nosuid", option]}));
    });
    assert_eq!(run(&bundle).ok().stdout, "12\n");
    // Before the bundle's directory, which it is mounted in.
    drop(mounted);
}

#[test]
fn nosymfollow_stops_links() {
    if !privileged() {
        return;
    }
    let script = "cat /d/file; readlink /d/link; cat /d/link 2>&1";
    let bundle = bundle(script, json!([bind(&["bind", "nosymfollow"])]));
    symlink("file", bundle.path().join("src/link")).expect("a link");
    let run = run(&bundle);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.starts_with("content\nfile\ncat: "), "{run:?}");
}

#[test]
fn a_failed_mount_leaves_nothing_mounted() {
    if !privileged() {
        return;
    }
    let table = || fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    let before = table();
    let bad = [
        (json!({"destination": "/d", "type": "nosuchfs", "source": "x"}), "nosuchfs"),
        (tmpfs("/d", &["no-such-option=1"]), "no-such-option"),
        (tmpfs("/bin/busybox/below", &[]), "/bin/busybox/below"),
        (tmpfs("/proc/self/attr", &[]), "inside /proc"),
        (json!({"destination": "", "type": "tmpfs", "source": "x"}), "destination"),
    ];
    for (mount, text) in bad {
        let bundle = bundle("true", json!([tmpfs("/first", &[]), mount]));
        let index = bundle.config["mounts"].as_array().map_or(0, |list| list.len() - 1);
        let container = bundle.container();
        let run = container.go(&["run"]).fails(1, text);
        assert!(run.stderr.contains(&format!("mounts[{index}]")), "{run:?}");
        container.go(&["state"]).fails(1, "does not exist");
        assert_eq!(table(), before, "{text}");
    }
}
