//! Mounts of type `cgroup`: what a container sees of its cgroups, on v1, hybrid and v2.

use std::fs;
use std::path::Path;

use nix::mount::{MntFlags, umount2};
use serde_json::{Value, json};

use crate::support::{Bundle, Container, privileged};

const ROOT: &str = "/sys/fs/cgroup";

/// Runs a check in the view of this machine, and on a hybrid one once more with v1 alone.
fn in_views(check: fn()) {
    if !privileged() {
        return;
    }
    check();
    let unified = Path::new(ROOT).join("unified");
    if unified.join("cgroup.procs").exists() {
        // Of this test's own mount namespace.
        umount2(&unified, MntFlags::MNT_DETACH).expect("no cgroup2");
        check();
    }
}

/// The v1 hierarchies: directory, the controllers in it, and whether they are a name instead.
fn hierarchies() -> Vec<(String, Vec<String>)> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("mounts");
    let of = |line: &str| {
        let (place, kind) = line.split_once(" - cgroup ")?;
        let directory = place.split(' ').nth(4)?.strip_prefix(ROOT)?.trim_start_matches('/').to_owned();
        let mut words = kind.split(' ').next_back()?.split(',').map(str::to_owned).collect::<Vec<_>>();
        words.retain(|word| {
            !matches!(word.as_str(), "rw" | "ro" | "xattr" | "clone_children")
                && !word.contains("release_agent")
        });
        Some((directory, words))
    };
    table.lines().filter_map(of).collect()
}

fn bundle(namespace: bool, change: impl FnOnce(&mut Value)) -> Bundle {
    Bundle::new(&["sleep", "1000"]).with(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|one| one["type"] != "cgroup");
        if namespace {
            namespaces.push(json!({"type": "cgroup"}));
        }
        change(config);
    })
}

fn writable(config: &mut Value) {
    for mount in config["mounts"].as_array_mut().expect("mounts") {
        if mount["destination"] == ROOT {
            mount["options"].as_array_mut().expect("options").retain(|option| option != "ro");
        }
    }
}

#[track_caller]
fn sh(container: &Container<'_>, script: &str) -> String {
    container.go_with(&["exec"], &["sh", "-c", script]).ok().stdout
}

/// The directories of cgroup file systems in the container, below [`ROOT`].
fn directories() -> Vec<String> {
    match hierarchies() {
        list if list.is_empty() => vec![String::new()],
        list => list.into_iter().map(|(directory, _)| format!("/{directory}")).collect(),
    }
}

#[track_caller]
fn is_read_only(container: &Container<'_>, directory: &str) {
    let script = format!("mkdir {ROOT}{directory}/new 2>&1");
    let run = container.go_with(&["exec"], &["sh", "-c", &script]);
    assert!(run.code != 0 && run.stdout.contains("Read-only file system"), "{directory}: {run:?}");
}

#[test]
fn private_and_read_only() {
    in_views(|| {
        let bundle = bundle(true, |_| {});
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        let table = sh(&container, "cat /proc/self/cgroup");
        assert!(table.lines().all(|line| line.ends_with(":/")), "{table}");
        for directory in directories() {
            // Its root is the container's own cgroup.
            let processes = sh(&container, &format!("cat {ROOT}{directory}/cgroup.procs"));
            assert!(processes.lines().any(|line| line == "1"), "{directory}: {processes:?}");
            is_read_only(&container, &directory);
        }
        is_read_only(&container, "");
    });
}

fn options(config: &mut Value, options: &[&str]) {
    let mounts = config["mounts"].as_array_mut().expect("mounts").iter_mut();
    mounts.filter(|mount| mount["destination"] == ROOT).for_each(|mount| mount["options"] = json!(options));
}

/// Options of the tree are for each of the mounts, and have the last word.
#[test]
fn read_only_as_a_tree() {
    in_views(|| {
        for set in [["nosuid", "rro"], ["rro", "rw"]] {
            let bundle = bundle(true, |config| options(config, &set));
            let container = bundle.container();
            container.go(&["run", "-d"]).ok();
            directories().iter().for_each(|directory| is_read_only(&container, directory));
            is_read_only(&container, "");
        }
        let bundle = bundle(true, |config| options(config, &["ro", "rrw"]));
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        for directory in directories() {
            sh(&container, &format!("mkdir {ROOT}{directory}/new"));
        }
    });
}

/// The mount without a namespace is read-only for its own reason, which no option takes away.
#[test]
fn the_hosts_tree_is_read_only_whatever_the_options() {
    in_views(|| {
        let bundle = bundle(false, |config| {
            config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "user"}));
            let map = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
            options(config, &["rw", "rrw"]);
        });
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        directories().iter().for_each(|directory| is_read_only(&container, directory));
    });
}

/// Only a cgroup that the container may write is handed to its user, and on v2 alone.
#[test]
fn the_owner_of_the_cgroup() {
    use std::os::unix::fs::MetadataExt as _;
    in_views(|| {
        let unified = Path::new(ROOT).join("cgroup.procs").exists();
        for (set, writable) in
            [(&["rw"][..], true), (&["ro"], false), (&["rro"], false), (&["ro", "rrw"], true)]
        {
            let bundle = bundle(true, |config| {
                options(config, set);
                config["process"]["user"]["uid"] = json!(1000);
            });
            let container = bundle.container();
            container.go(&["run", "-d"]).ok();
            let table =
                fs::read_to_string(format!("/proc/{}/cgroup", container.state()["pid"])).expect("cgroup");
            for line in table.lines().filter(|line| line.ends_with(&container.id)) {
                let mut fields = line.splitn(3, ':').skip(1);
                let (names, path) = (fields.next().expect("names"), fields.next().expect("a path"));
                let hierarchy = match names.strip_prefix("name=").unwrap_or(names) {
                    "" if unified => "",
                    "" => "unified",
                    name => name,
                };
                let Ok(found) = fs::metadata(format!("{ROOT}/{hierarchy}{path}")) else { continue };
                let owner = if unified && writable { 1000 } else { 0 };
                assert_eq!(found.uid(), owner, "{set:?} {line}");
            }
        }
    });
}

#[test]
fn without_a_namespace_it_is_the_hosts_tree_and_read_only() {
    in_views(|| {
        let bundle = bundle(false, |_| {});
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        for directory in directories() {
            // v1 shows the container's own cgroup; v2 all of them.
            let own = if directory.is_empty() { format!("/{}", container.id) } else { directory.clone() };
            let processes = sh(&container, &format!("cat {ROOT}{own}/cgroup.procs"));
            assert!(processes.lines().any(|line| line == "1"), "{own}: {processes:?}");
            is_read_only(&container, &directory);
        }
    });
}

#[test]
fn a_writable_one_is_the_containers_own() {
    in_views(|| {
        let bundle = bundle(true, writable);
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        for directory in directories().into_iter().filter(|name| !name.contains("cpuset")) {
            let script = format!(
                "cd {ROOT}{directory} && mkdir job && echo $$ > job/cgroup.procs && cat /proc/self/cgroup"
            );
            let table = sh(&container, &script);
            assert!(table.lines().any(|line| line.ends_with(":/job")), "{directory}: {table}");
        }
    });
}

/// `name=systemd` and others without a controller: the container is there, and sees itself.
#[test]
fn a_named_hierarchy_of_v1() {
    in_views(|| {
        let named: Vec<_> = hierarchies()
            .into_iter()
            .filter_map(|(directory, words)| {
                words.iter().find(|word| word.starts_with("name=")).cloned().map(|name| (directory, name))
            })
            .collect();
        if named.is_empty() {
            eprintln!("skipped: no named hierarchy");
            return;
        }
        let bundle = bundle(true, |_| {});
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        let table = fs::read_to_string(format!("/proc/{}/cgroup", container.state()["pid"])).expect("cgroup");
        let mounts = sh(&container, "cat /proc/self/mountinfo");
        for (directory, name) in named {
            assert!(table.contains(&format!(":{name}:/{}\n", container.id)), "{name} in {table}");
            let mount = mounts.lines().find(|line| line.contains(&format!(" {ROOT}/{directory} ")));
            let mount = mount.unwrap_or_else(|| panic!("{directory} in {mounts}"));
            assert!(mount.contains(&name) && mount.split(' ').nth(3) == Some("/"), "{mount}");
            let host = fs::read_to_string(format!("{ROOT}/{directory}/{}/cgroup.procs", container.id));
            assert_eq!(host.expect("its processes").trim(), container.state()["pid"].to_string());
        }
    });
}

/// `cpu,cpuacct`: one directory, and a link for each of the controllers.
#[test]
fn controllers_that_are_mounted_together() {
    in_views(|| {
        let together: Vec<_> = hierarchies().into_iter().filter(|(_, words)| words.len() > 1).collect();
        if together.is_empty() {
            eprintln!("skipped: no controllers are mounted together");
            return;
        }
        let limit = |config: &mut Value| config["linux"]["resources"] = json!({"cpu": {"shares": 512}});
        let bundle = bundle(true, limit);
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        for (directory, words) in together {
            for word in words.iter().filter(|word| **word != directory) {
                let link = sh(&container, &format!("readlink {ROOT}/{word}"));
                assert_eq!(link.trim(), directory, "{word}");
            }
            let processes = fs::read_to_string(format!("{ROOT}/{directory}/{}/cgroup.procs", container.id));
            assert_eq!(processes.expect("its processes").trim(), container.state()["pid"].to_string());
            if words.iter().any(|word| word == "cpu") {
                assert_eq!(sh(&container, &format!("cat {ROOT}/cpu/cpu.shares")).trim(), "512");
                let host = fs::read_to_string(format!("{ROOT}/{directory}/{}/cpu.shares", container.id));
                assert_eq!(host.expect("shares").trim(), "512");
                assert_eq!(sh(&container, &format!("ls {ROOT}/cpuacct/cpuacct.usage")).lines().count(), 1);
            }
        }
        // One line for `exec --cgroup`: either name is the same place.
        let run = container.go_with(&["exec", "--cgroup", "cpuacct:nosuch"], &["true"]);
        run.fails(255, "no such file or directory");
    });
}
