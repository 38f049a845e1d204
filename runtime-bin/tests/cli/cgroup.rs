//! Cgroups by the command line: sub-cgroups, delegation, going without, limits that are not given.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Bundle, Container, Running as _, privileged, runtime_path, until};

const ROOT: &str = "/sys/fs/cgroup";

fn is_v2() -> bool {
    Path::new(ROOT).join("cgroup.procs").exists()
}

/// Whether the test can run: with v1 controllers, or with v2 alone.
fn needs(v2: bool) -> bool {
    if !privileged() {
        return false;
    }
    if is_v2() != v2 {
        eprintln!("skipped: needs {}", if v2 { "cgroup v2 alone" } else { "v1 controllers" });
    }
    is_v2() == v2
}

/// The path of a process in the hierarchy of `controller` (empty: v2).
fn place(table: &str, controller: &str) -> String {
    let line = table.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        fields.next()?.split(',').any(|held| held == controller).then(|| fields.next())?
    });
    line.unwrap_or_else(|| panic!("{controller:?} in {table}")).to_owned()
}

fn table_of(container: &Container<'_>) -> String {
    fs::read_to_string(format!("/proc/{}/cgroup", container.state()["pid"])).expect("cgroup")
}

/// The container's directory in the hierarchy of `controller`, seen from the host.
fn directory(container: &Container<'_>, controller: &str) -> PathBuf {
    PathBuf::from(format!("{ROOT}/{controller}{}", place(&table_of(container), controller)))
}

fn namespace(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": kind}));
}

#[test]
fn exec_into_several_sub_cgroups() {
    if !needs(false) {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    for (controller, name) in [("pids", "one"), ("memory", "two/three"), ("freezer", "two/three")] {
        fs::create_dir_all(directory(&container, controller).join(name)).expect("a sub-cgroup");
    }
    let table = |options: &[&str]| {
        let run = container.go_with(&[&["exec"], options].concat(), &["cat", "/proc/self/cgroup"]);
        run.ok().stdout
    };
    let text = table(&["--cgroup", "pids:one", "--cgroup=memory,freezer:/two/three"]);
    let own = format!("/{}", container.id);
    assert_eq!(place(&text, "pids"), format!("{own}/one"));
    assert_eq!(place(&text, "memory"), format!("{own}/two/three"));
    assert_eq!(place(&text, "freezer"), format!("{own}/two/three"));
    assert_eq!(place(&text, "blkio"), own);

    for (options, error) in [
        (["--cgroup=pids:one", "--cgroup=pids:two"], "controller specified multiple times"),
        (["--cgroup=pids:one", "--cgroup=two"], "missing <controller>: prefix"),
        (["--cgroup=pids:one", "--cgroup=memory:../x"], "bad sub cgroup path: ../x"),
        (["--cgroup=pids:one", "--cgroup=nosuch:one"], "unknown controller"),
        (["--cgroup=pids:one", "--cgroup=memory:none"], "no such file or directory"),
    ] {
        container.go_with(&[&["exec"], &options[..]].concat(), &["true"]).fails(255, error);
    }
}

#[test]
fn exec_into_one_sub_cgroup() {
    if !needs(true) {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    fs::create_dir_all(directory(&container, "").join("one/two")).expect("a sub-cgroup");
    let run = |path: &str| container.go_with(&["exec", "--cgroup", path], &["cat", "/proc/self/cgroup"]);
    let own = place(&table_of(&container), "");
    let seen = place(&run("/one/two").ok().stdout, "");
    // With a cgroup namespace, the container's cgroup is the root.
    assert!(seen == format!("{own}/one/two") || seen == "/one/two", "{seen}");
    run("../one").fails(255, "bad sub cgroup path");
    run("pids:one").fails(255, "unknown controller");
}

#[test]
fn exec_goes_where_the_init_went() {
    let unified = if is_v2() { PathBuf::from(ROOT) } else { Path::new(ROOT).join("unified") };
    if !privileged() || !unified.join("cgroup.procs").exists() {
        eprintln!("skipped: needs a cgroup2 hierarchy");
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let own = unified.join(place(&table_of(&container), "").trim_start_matches('/'));
    let other = own.with_extension("other");
    fs::create_dir(&other).expect("a cgroup beside it");
    fs::write(other.join("cgroup.procs"), container.state()["pid"].to_string()).expect("moved");
    fs::remove_dir(&own).expect("nobody is in it");
    let table = |process: &str| {
        container.go_with(&["exec"], &["cat", &format!("/proc/{process}/cgroup")]).ok().stdout
    };
    assert_eq!(place(&table("self"), ""), place(&table("1"), ""));
    container.go(&["delete", "--force"]).ok();
    fs::remove_dir(&other).expect("nobody is in it");
}

/// Goes down 200 levels, below a name that is no UTF-8, in each hierarchy that can be written.
const BURROW: &str = r#"
for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    cd "$root" 2> /dev/null && [ -e cgroup.procs ] && mkdir "$(printf 'a\377')" || continue
    cd a*
    for level in $(seq 200); do mkdir x; cd x; done
    # A new cpuset of v1 has no processors yet.
    echo $$ > cgroup.procs || true
done 2> /dev/null
touch /tmp/deep
sleep 1000
"#;

/// No process of it is hidden, and nothing of it stays, also where the end of the init ends nobody else.
#[test]
fn a_container_that_burrows_into_its_cgroup() {
    if !privileged() {
        return;
    }
    for own_pids in [false, true] {
        let bundle = Bundle::new(&["sh", "-c", BURROW]).with(|config| {
            namespace(config, "cgroup");
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
            let mut seen = Vec::new();
            namespaces.retain(|one| {
                let keep = !seen.contains(&one["type"]) && (own_pids || one["type"] != "pid");
                seen.push(one["type"].clone());
                keep
            });
            writable(config);
        });
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        let deep = bundle.path().join("rootfs/tmp/deep");
        until("the last level", || deep.exists());
        let pids = || {
            let text = container.go(&["ps", "--format", "json"]).ok().stdout;
            serde_json::from_str::<Vec<i32>>(&text).expect("a list")
        };
        until("two processes", || pids().len() == 2);
        container.go_with(&["exec"], &["true"]).ok();
        container.go(&["events", "--stats"]).ok();
        container.go(&["pause"]).ok();
        container.go(&["resume"]).ok();
        container.go_with(&["kill", "--all"], &["KILL"]).ok();
        container.wait_for("stopped");
        until("the end of all", || pids().is_empty());
        fs::remove_file(&deep).expect("it was there");
        container.go(&["delete"]).ok();

        container.go(&["run", "-d"]).ok();
        until("the last level", || deep.exists());
        container.go(&["delete", "--force"]).ok();
        fs::remove_file(&deep).expect("it was there");
    }
}

/// A controller that the container's cgroup can hand down, on a machine with cgroup v2.
fn controller() -> Option<String> {
    let listed = fs::read_to_string(format!("{ROOT}/cgroup.controllers")).unwrap_or_default();
    let found = ["memory", "pids", "hugetlb"].into_iter().find(|name| listed.contains(name));
    if found.is_none() {
        eprintln!("no controllers: what the container may enable is not tested");
    }
    found.map(str::to_owned)
}

/// Makes the mount of cgroups one that can be written.
fn writable(config: &mut Value) {
    for mount in config["mounts"].as_array_mut().expect("mounts") {
        if mount["destination"] == "/sys/fs/cgroup" {
            mount["options"].as_array_mut().expect("options").retain(|option| option != "ro");
        }
    }
}

/// A container in a user namespace that makes cgroups of its own, if it begins in a leaf.
fn delegated(key: &str) -> Bundle {
    Bundle::new(&["sleep", "1000"]).with(|config| {
        config["annotations"] = json!({key: "init"});
        config["linux"]["cgroupsPath"] = json!(format!("/{}-delegated-{}", key, std::process::id()));
        namespace(config, "user");
        namespace(config, "cgroup");
        let map = json!([{"containerID": 0, "hostID": 700_000, "size": 1000}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        let mut seen = Vec::new();
        namespaces.retain(|namespace| {
            let new = !seen.contains(&namespace["type"]);
            seen.push(namespace["type"].clone());
            new
        });
        writable(config);
        if let Some(name) = controller() {
            // A limit, so that the controller is there.
            config["linux"]["resources"] = match name.as_str() {
                "memory" => json!({"memory": {"limit": 64 << 20}}),
                "pids" => json!({"pids": {"limit": 100}}),
                _ => json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}),
            };
        }
    })
}

/// Makes the root that of the container's users.
fn let_in(bundle: &Bundle) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(bundle.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    // The container makes its mount points.
    std::os::unix::fs::chown(bundle.path().join("rootfs"), Some(700_000), Some(700_000)).expect("chown");
}

#[test]
fn a_container_manages_its_own_cgroups() {
    if !needs(true) {
        return;
    }
    for key in ["org.runtime.delegate-cgroup", "run.oci.delegate-cgroup"] {
        let bundle = delegated(key);
        let_in(&bundle);
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        let leaf = directory(&container, "");
        assert!(leaf.ends_with("init"), "{}", leaf.display());
        let own = leaf.parent().expect("the container's cgroup");
        assert_eq!(fs::read_to_string(own.join("cgroup.procs")).expect("processes"), "");
        assert_eq!(fs::metadata(own).expect("it is there").uid(), 700_000);
        assert_eq!(fs::metadata(own.join("cgroup.procs")).expect("it is there").uid(), 700_000);

        let inside = |script: &str| container.go_with(&["exec"], &["sh", "-c", script]);
        assert_eq!(place(&inside("cat /proc/self/cgroup").ok().stdout, ""), "/init");
        // A second cgroup, and a process that moves there.
        let script = "cd /sys/fs/cgroup; mkdir job; echo $$ > job/cgroup.procs; cat /proc/self/cgroup";
        assert_eq!(place(&inside(script).ok().stdout, ""), "/job");
        if let Some(name) = controller() {
            let enable = format!("echo +{name} > /sys/fs/cgroup/cgroup.subtree_control");
            inside(&enable).ok();
            // The container's own limit stays the host's.
            assert!(fs::read_to_string(own.join("job/cgroup.controllers")).expect("a file").contains(&name));
            let limit = match name.as_str() {
                "hugetlb" => "hugetlb.2MB.max".to_owned(),
                name => format!("{name}.max"),
            };
            let lift = inside(&format!("echo max > /sys/fs/cgroup/{limit}"));
            assert_ne!(lift.code, 0, "{lift:?}");
            assert_eq!(place(&inside("cat /proc/self/cgroup").ok().stdout, ""), "/init");
        }
        container.go(&["pause"]).ok();
        assert_eq!(container.status(), "paused");
        container.go(&["resume"]).ok();
        let own = own.to_owned();
        container.go(&["delete", "--force"]).ok();
        assert!(!own.exists(), "the whole tree goes");
    }
}

#[test]
fn delegation_needs_cgroup_v2() {
    if !needs(false) {
        return;
    }
    let bundle = Bundle::new(&["true"])
        .with(|config| config["annotations"] = json!({"run.oci.delegate-cgroup": "init"}));
    bundle.container().go(&["run"]).fails(1, "it is safe on cgroup v2 alone (annotations");
}

#[test]
fn without_a_cgroup() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
        config["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
        config["linux"]["cgroupsPath"] = json!("/not/used");
    });
    let container = bundle.container();
    bundle.go(&["--cgroup-manager", "disabled", "run", "-d", &container.id]).ok();
    let own = fs::read_to_string("/proc/self/cgroup").expect("cgroup");
    assert_eq!(table_of(&container), own);
    assert!(!Path::new(ROOT).join("not").exists() && !Path::new(ROOT).join("memory/not").exists());
    container.go_with(&["exec"], &["true"]).ok();
    container.go(&["pause"]).fails(1, "the container has no cgroup");
    container.go(&["update", "--pids-limit", "5"]).fails(1, "the container has no cgroup");
    container.go(&["kill", "--all"]).ok();
    container.go_with(&["kill"], &["KILL"]).ok();
    container.wait_for("stopped");
    container.go(&["delete"]).ok();

    let limited =
        Bundle::new(&["true"]).with(|config| config["linux"]["resources"] = json!({"pids": {"limit": 9}}));
    let container = limited.container();
    let run = limited.go(&["--cgroup-manager=disabled", "run", &container.id]);
    assert!(run.code == 1 && run.stderr.contains("(linux.resources.pids.limit)"), "{run:?}");
    assert!(!limited.state().join(&container.id).exists());
}

#[test]
fn a_pids_object_without_a_limit_is_no_limit() {
    if !needs(false) {
        return;
    }
    for (pids, limit) in [(json!({}), "max"), (json!({"limit": 0}), "1"), (json!({"limit": -1}), "max")] {
        let bundle = Bundle::new(&["sleep", "1000"])
            .with(|config| config["linux"]["resources"] = json!({"pids": pids}));
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        let text = fs::read_to_string(directory(&container, "pids").join("pids.max")).expect("a limit");
        assert_eq!(text.trim(), limit, "{pids}");
    }
}

/// Podman 4 writes 0 for its documented `--pids-limit -1`, also where no controller could limit anything.
#[test]
fn no_processes_are_no_limit_in_older_configurations() {
    if !privileged() {
        return;
    }
    let script = ["sh", "-c", "(echo forked); true | cat"];
    for version in ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.1"] {
        let bundle = Bundle::new(&script).with(|config| {
            config["ociVersion"] = json!(version);
            config["linux"]["resources"]["pids"] = json!({"limit": 0});
        });
        assert_eq!(bundle.container().go(&["run"]).ok().stdout, "forked\n", "{version}");
        // A limit where there can be none is an error.
        let container = bundle.container();
        let run = bundle.go(&["--cgroup-manager", "disabled", "run", &container.id]).ok();
        assert_eq!(run.stdout, "forked\n", "{version}");
    }
}

/// Kubernetes writes 0 for each page size; a machine need not be able to limit them.
#[test]
fn no_huge_pages_need_no_controller() {
    if !privileged() {
        return;
    }
    let has_controller = || {
        [ROOT.to_owned(), format!("{ROOT}/unified")].iter().any(|place| {
            fs::read_to_string(format!("{place}/cgroup.controllers"))
                .is_ok_and(|text| text.contains("hugetlb"))
        }) || Path::new(ROOT).join("hugetlb").exists()
    };
    if has_controller() && !is_v2() {
        // Of this test's own mount namespace.
        nix::mount::umount2(&Path::new(ROOT).join("unified"), nix::mount::MntFlags::MNT_DETACH)
            .expect("v1 alone");
    }
    if has_controller() {
        eprintln!("skipped: huge pages can be limited here");
        return;
    }
    let limit = |bytes: u64| json!({"hugepageLimits": [{"pageSize": "2MB", "limit": bytes}]});
    let bundle = Bundle::new(&["true"]).with(|config| config["linux"]["resources"] = limit(0));
    bundle.container().go(&["run"]).ok();
    let bundle = bundle.with(|config| config["linux"]["resources"] = limit(2 << 20));
    bundle.container().go(&["run"]).fails(1, "(linux.resources.hugepageLimits[0]");
}

/// Number of a disk that BFQ schedules: only those take a weight of their own.
fn bfq_disk() -> Option<(u64, u64)> {
    let entries = fs::read_dir("/sys/block").expect("sysfs").filter_map(Result::ok);
    let text = entries.map(|entry| entry.path()).find_map(|path| {
        let scheduler = fs::read_to_string(path.join("queue/scheduler")).ok()?;
        scheduler.contains("[bfq]").then(|| fs::read_to_string(path.join("dev")).ok())?
    })?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Weights as Docker 20.10 leaves them out: `blockIO.weight`, and one for each disk.
#[test]
fn weights_of_a_bundle() {
    if !needs(false) {
        return;
    }
    let disk = bfq_disk();
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
        let mut weights = json!({"weight": 321});
        if let Some((major, minor)) = disk {
            weights["weightDevice"] = json!([{"major": major, "minor": minor, "weight": 123}]);
        }
        config["linux"]["resources"] = json!({"blockIO": weights});
    });
    let container = bundle.container();
    let run = container.go(&["run", "-d"]);
    if run.code != 0 {
        run.fails(1, "blkio.bfq.weight");
        eprintln!("skipped: the kernel has neither CFQ nor BFQ");
        return;
    }
    let directory = directory(&container, "blkio");
    let read = |files: [&str; 2]| {
        let found = files.iter().find_map(|file| fs::read_to_string(directory.join(file)).ok());
        found.expect("a weight")
    };
    assert_eq!(read(["blkio.bfq.weight", "blkio.weight"]).trim(), "321");
    let Some((major, minor)) = disk else { return };
    let devices = read(["blkio.bfq.weight_device", "blkio.weight_device"]);
    assert!(devices.lines().any(|line| line == format!("{major}:{minor} 123")), "{devices}");
    container.go(&["update", "--blkio-weight", "200"]).ok();
    assert_eq!(read(["blkio.bfq.weight", "blkio.weight"]).trim(), "200");
    let devices = read(["blkio.bfq.weight_device", "blkio.weight_device"]);
    assert!(devices.lines().any(|line| line == format!("{major}:{minor} 123")), "it stays: {devices}");
}

/// A root that is one only in its user namespace.
fn fake_root(bundle: &Bundle, words: &[&str]) -> crate::support::Run {
    Command::new("unshare")
        .args(["-Urm", "--propagation", "private"])
        .arg(runtime_path())
        .arg("--root")
        .arg(bundle.state())
        .current_dir(bundle.path())
        .env_remove("NOTIFY_SOCKET")
        .go(words)
}

#[test]
fn device_rules_in_a_user_namespace_are_left_out() {
    if !needs(false) {
        return;
    }
    let bundle =
        Bundle::new(&["sh", "-c", "echo here > /dev/null && cat /proc/self/setgroups"]).with(|config| {
            for mount in config["mounts"].as_array_mut().expect("mounts") {
                if let Some(options) = mount["options"].as_array_mut() {
                    options
                        .retain(|option| !option.as_str().is_some_and(|option| option.starts_with("gid=")));
                }
            }
        });
    let id = bundle.container().id.clone();
    assert_eq!(fake_root(&bundle, &["run", &id]).ok().stdout, "deny\n");

    // A user namespace within it inherits that groups cannot be set.
    let bundle = bundle.with(|config| {
        namespace(config, "user");
        let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    });
    assert_eq!(fake_root(&bundle, &["run", &id]).ok().stdout, "deny\n");
    let bundle = bundle.with(|config| config["process"]["user"]["additionalGids"] = json!([0]));
    fake_root(&bundle, &["run", &id]).fails(1, "cannot set any additional groups");
}

/// Mounts as they are after `unshare -Ur` belong to the user namespace outside, so the runtime may not clone
/// them; nor may it in a second user namespace within those of the first.
#[test]
fn user_namespaces_around_the_runtime() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "cat /proc/self/uid_map /data/file"]).with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        for mount in mounts.iter_mut() {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| !option.as_str().is_some_and(|option| option.starts_with("gid=")));
            }
        }
        mounts.push(
            json!({"destination": "/data", "type": "bind", "source": "data", "options": ["rbind", "ro"]}),
        );
    });
    fs::create_dir(bundle.path().join("data")).expect("a directory");
    fs::write(bundle.path().join("data/file"), "content\n").expect("a file");
    let id = bundle.container().id.clone();
    let plain = bundle.config.clone();
    let mut nested = plain.clone();
    namespace(&mut nested, "user");
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    nested["linux"]["uidMappings"] = map.clone();
    nested["linux"]["gidMappings"] = map;
    let around: [&[&str]; 4] = [
        &["unshare", "-Ur"],
        &["unshare", "-Ur", "unshare", "-Ur"],
        &["unshare", "-Urm", "unshare", "-Ur"],
        &["unshare", "-Ur", "unshare", "-Urm"],
    ];
    let mut bundle = bundle;
    for config in [plain, nested] {
        bundle.config = config;
        bundle.write();
        for words in around {
            let run = Command::new(words[0])
                .args(&words[1..])
                .arg(runtime_path())
                .arg("--root")
                .arg(bundle.state())
                .current_dir(bundle.path())
                .env_remove("NOTIFY_SOCKET")
                .go(&["run", &id])
                .ok();
            let seen: Vec<_> = run.stdout.split_ascii_whitespace().collect();
            assert_eq!(seen, ["0", "0", "1", "content"], "{words:?}");
        }
    }
}

#[test]
fn a_real_root_may_not_miss_its_device_rules() {
    if !needs(false) {
        return;
    }
    // A directory of cgroups that cannot be written denies root, too.
    let bundle = Bundle::new(&["true"]);
    let container = bundle.container();
    let script = "mount -o remount,bind,ro /sys/fs/cgroup/devices && exec \"$@\"";
    let run = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", script, "_"])
        .arg(runtime_path())
        .arg("--root")
        .arg(bundle.state())
        .current_dir(bundle.path())
        .go(&["run", &container.id]);
    assert!(run.code == 1 && run.stderr.contains("devices"), "{run:?}");
}

#[test]
fn a_broken_configuration_does_not_save_a_container() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    fs::write(bundle.state().join(&container.id).join("config.json"), "{").expect("broken");
    container.go_with(&["kill"], &["KILL"]).ok();
    container.wait_for("stopped");
    container.go(&["delete"]).ok();
}
