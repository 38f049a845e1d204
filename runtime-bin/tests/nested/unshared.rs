//! Under unshare(1) and setpriv(1): no container, but a user namespace, or no_new_privs.

use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::denied::turn;
use crate::filter::{Denial, denied};
use crate::outer::give_user_namespace;
use crate::support::{Bundle, Run, Running as _, copy_runtime, privileged, runtime_path};
use crate::traces::{PROBE, Traces, properties};

/// An id that no machine gives to anybody.
const USER: u32 = 54_322;

/// A bundle that the root of a user namespace can run: without ids that are not mapped there.
fn bundle(args: &[&str]) -> Bundle {
    Bundle::new(args).with(|config| {
        config["process"]["noNewPrivileges"] = json!(true);
        for mount in config["mounts"].as_array_mut().expect("mounts") {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
    })
}

/// Runs the runtime with words before it, which name programs.
fn under(bundle: &Bundle, before: &[&str], program: &Path, words: &[&str]) -> Run {
    let (first, rest) = before.split_first().expect("a program");
    Command::new(first)
        .args(rest)
        .arg(program)
        .arg("--root")
        .arg(bundle.state())
        .args(words)
        .current_dir(bundle.path())
        .env_remove("XDG_RUNTIME_DIR")
        .go::<&str>(&[])
}

/// Gives a directory with all that is in it to the user, and the program a copy there.
fn give(bundle: &Bundle) -> PathBuf {
    fn all(path: &Path) {
        lchown(path, Some(USER), Some(USER)).expect("an owner");
        if path.is_dir() && !path.is_symlink() {
            std::fs::read_dir(path)
                .expect("a directory")
                .for_each(|entry| all(&entry.expect("an entry").path()));
        }
    }
    let program = bundle.path().join("runtime");
    copy_runtime(&program);
    all(bundle.path());
    program
}

fn is_whole(run: &Run) {
    let properties = properties(&run.stdout);
    let has = |line: &str| properties.iter().any(|property| property == line);
    let own = ["own ipc", "own mnt", "own net", "own pid", "own user", "own uts"];
    assert!(own.iter().all(|line| has(line)), "{run:?}");
    assert!(has("NoNewPrivs:\t1") && has("/proc/keys character special file 1:3"), "{run:?}");
    assert!(run.stdout.contains("ns_last_pid: Read-only file system"), "{run:?}");
}

/// Runs, enters and deletes a container.
fn lives(bundle: &mut Bundle, before: &[&str], program: &Path) {
    let id = bundle.container().id.clone();
    let traces = Traces::before(bundle, &id);
    let args = |bundle: &mut Bundle, args: &[&str]| {
        bundle.config["process"]["args"] = json!(args);
        bundle.write();
    };
    args(bundle, &["sh", "-c", PROBE]);
    is_whole(&under(bundle, before, program, &["run", &id]).ok());
    traces.are_back(bundle, &id, "run");
    // One namespace for all calls: a pid means something only there.
    let script = format!(
        "set -e; r='{} --root {}'; $r run --detach {id}; $r exec {id} sh -c 'test -d /proc/1'; \
         $r delete --force {id}; test -z \"$($r list --quiet)\"",
        program.display(),
        bundle.state().display()
    );
    args(bundle, &["sleep", "1000"]);
    let (first, rest) = before.split_first().expect("a program");
    let mut command = Command::new(first);
    command.args(rest).args(["sh", "-c", &script]).current_dir(bundle.path()).env_remove("XDG_RUNTIME_DIR");
    command.go::<&str>(&[]).ok();
    traces.are_back(bundle, &id, "delete");
}

#[test]
fn in_namespaces_of_unshare() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    for own in [false, true] {
        let mut bundle = bundle(&[]);
        if own {
            give_user_namespace(&mut bundle.config);
            for map in ["uidMappings", "gidMappings"] {
                bundle.config["linux"][map][0]["size"] = json!(1);
            }
        }
        lives(&mut bundle, &["unshare", "-Ur", "-m"], &runtime_path());
        let program = give(&bundle);
        let uid = format!("--reuid={USER}");
        let gid = format!("--regid={USER}");
        let as_user = ["setpriv", "--clear-groups", &uid, &gid];
        lives(&mut bundle, &[&as_user[..], &["unshare", "-Ur", "-m"]].concat(), &program);
        // As in a container that may not gain privileges.
        let unable = ["setpriv", "--no-new-privs", "--clear-groups", &uid, &gid];
        lives(&mut bundle, &[&unable[..], &["unshare", "-Ur", "-m"]].concat(), &program);
    }
}

/// As root of an unprivileged container, with its mounts uncovered.
#[test]
fn as_root_without_the_capability_to_mount() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let mut bundle = bundle(&["true"]);
    let before = ["setpriv", "--inh-caps=-all", "--bounding-set=-sys_admin,-net_admin"];
    let run = under(&bundle, &before, &runtime_path(), &["run", "refused"]);
    assert!(run.code == 1 && run.stderr.contains("making namespaces needs CAP_SYS_ADMIN"), "{run:?}");
    give_user_namespace(&mut bundle.config);
    lives(&mut bundle, &before, &runtime_path());
}

/// With mounts, but without interfaces.
#[test]
fn as_root_without_the_capability_to_change_interfaces() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let bundle = bundle(&["true"]);
    let before = ["setpriv", "--inh-caps=-all", "--bounding-set=-net_admin"];
    let run = under(&bundle, &before, &runtime_path(), &["run", "refused"]);
    assert!(run.code == 1 && run.stderr.contains("open the new network namespace: operation not"), "{run:?}");
    assert!(run.stderr.contains("hint: a new network namespace takes CAP_NET_ADMIN"), "{run:?}");
}

#[test]
fn without_new_privileges() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let bundle = Bundle::new(&["sh", "-c", PROBE]);
    let id = bundle.container().id.clone();
    let traces = Traces::before(&bundle, &id);
    let usual = properties(&bundle.go(&["run", &id]).ok().stdout);
    let denial = Denial { no_new_privileges: true, ..crate::denied::NOTHING };
    let run = denied(&bundle, denial, &["run", &id]).ok();
    // What the configuration does not ask for is inherited, as the kernel has it.
    assert_eq!(properties(&run.stdout), usual);
    traces.are_back(&bundle, &id, "run");
    let run = under(&bundle, &["setpriv", "--no-new-privs"], &runtime_path(), &["run", &id]).ok();
    assert_eq!(properties(&run.stdout), usual);
    traces.are_back(&bundle, &id, "run");
}
