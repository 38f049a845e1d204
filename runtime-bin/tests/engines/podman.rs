//! Podman: no daemon, but conmon, which calls the runtime and holds the container's streams. With
//! root, and without it (user namespace, no cgroups of its own).

mod kube;
mod nested;
mod rootful;
mod shared;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{
    Cmd, Outcome, Output, Place, Stop, Table, controllers, engine_test, has, names_of, need, same,
    seccomp_is_on, that,
};
use crate::{image, page};

const CLIENT: &str = "/usr/bin/podman";
const IMAGE: &str = "localhost/bb";
/// The user without root. He exists only in the private mount namespace, where the files in `/etc`
/// that name users are covered by copies with one more line.
pub(crate) const USER: &str = "rtest";
const USER_ID: u32 = 23456;
/// In the private `/run`. Not below the instance's directory: with a path this long conmon's last call of
/// Podman fails, and Podman waits 20 s for the exit code of every container.
const USER_RUN: &str = "/run/user/23456";
/// The first of his subordinate ids.
pub(crate) const FIRST_SUBORDINATE_ID: u32 = 300_000;
const SUBORDINATE_IDS: &str = "rtest:300000:65536\n";

/// How to call Podman.
pub(super) struct Podman {
    /// Unique name: the cgroup under which all containers with root are.
    tag: String,
    dir: PathBuf,
    runtime: PathBuf,
    rootless: bool,
}

impl Podman {
    fn start(place: &Place, rootless: bool) -> Result<Self, Stop> {
        for (program, package) in [
            (CLIENT, "podman"),
            ("/usr/bin/conmon", "conmon"),
            ("/usr/share/containers/seccomp.json", "golang-github-containers-common"),
        ] {
            need(program, package)?;
        }
        let (tag, dir) = (place.tag.clone(), place.dir.clone());
        let runtime = if rootless { make_user(place)? } else { place.runtime.clone() };
        let podman = Podman { tag, dir, runtime, rootless };
        let tar = image::root_tar(&podman.dir)?;
        podman.podman(&["import", &tar.to_string_lossy(), IMAGE])?.ok()?;
        Ok(podman)
    }

    /// The client with the options that every call has.
    fn client(&self) -> Cmd {
        let client = self.store().args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        client.arg("--runtime").arg(&self.runtime)
    }

    /// The client with its places.
    fn store(&self) -> Cmd {
        if self.rootless {
            as_user(&self.dir, CLIENT).args(["--storage-driver", "vfs"])
        } else {
            Cmd::new(CLIENT).arg("--root").arg(self.dir.join("storage")).args([
                "--runroot",
                "/run/podman",
                "--tmpdir",
                "/run/libpod",
            ])
        }
    }

    fn podman(&self, args: &[&str]) -> Result<Output, Stop> {
        self.client().args(args).run()
    }

    /// A command that makes a container: without network, unless the options say otherwise.
    fn new_container(&self, command: &[&str], options: &[&str]) -> Cmd {
        let mut client = self.client().args(command).args(["--log-driver", "k8s-file"]);
        if !self.rootless {
            client = client.args(["--cgroup-parent", &format!("/{}", self.tag)]);
        }
        if !seccomp_is_on() {
            client = client.args(["--security-opt", "seccomp=unconfined"]);
        }
        if !options.contains(&"--network") && !options.contains(&"--pod") {
            client = client.args(["--network", "none"]);
        }
        client.args(options)
    }

    /// `podman run --rm OPTIONS IMAGE ARGUMENTS`.
    fn run(&self, options: &[&str], command: &[&str]) -> Result<Output, Stop> {
        self.new_container(&["run", "--rm"], options).arg(IMAGE).args(command).run()
    }

    fn sh(&self, options: &[&str], script: &str) -> Result<String, Stop> {
        self.run(options, &["sh", "-c", script])?.ok()
    }

    /// Starts a container in the background. The value removes it when it goes out of scope.
    fn background(&self, options: &[&str], command: &[&str]) -> Result<Container<'_>, Stop> {
        let run = self.new_container(&["run", "--detach"], options).arg(IMAGE).args(command);
        Ok(Container { podman: self, id: run.run()?.ok()? })
    }

    fn created(&self, options: &[&str], command: &[&str]) -> Result<Container<'_>, Stop> {
        let create = self.new_container(&["create"], options).arg(IMAGE).args(command);
        Ok(Container { podman: self, id: create.run()?.ok()? })
    }

    fn sleeper(&self, options: &[&str]) -> Result<Container<'_>, Stop> {
        self.background(options, &["sleep", "1000"])
    }

    /// A directory on the host that a container may write.
    fn host_dir(&self, name: &str) -> Result<PathBuf, Stop> {
        let path = self.dir.join("volumes").join(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        Ok(path)
    }
}

/// A container that is removed when it goes out of scope.
pub(super) struct Container<'a> {
    podman: &'a Podman,
    id: String,
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.podman.podman(&["rm", "--force", "--ignore", "--time", "0", &self.id]).ok();
    }
}

impl Container<'_> {
    fn exec(&self, options: &[&str], command: &[&str]) -> Result<Output, Stop> {
        self.podman.client().arg("exec").args(options).arg(&self.id).args(command).run()
    }

    fn sh(&self, script: &str) -> Result<String, Stop> {
        self.exec(&[], &["sh", "-c", script])?.ok()
    }

    /// A command that takes the id last, and must succeed.
    fn act(&self, command: &[&str]) -> Result<String, Stop> {
        self.podman.podman(&[command, &[self.id.as_str()]].concat())?.ok()
    }

    fn inspect(&self, template: &str) -> Result<String, Stop> {
        self.act(&["container", "inspect", "--format", template])
    }

    fn status(&self) -> Result<String, Stop> {
        self.inspect("{{.State.Status}}")
    }

    fn pid(&self) -> Result<u32, Stop> {
        let pid = self.inspect("{{.State.Pid}}")?;
        pid.parse().map_err(|_| format!("pid {pid:?}").into())
    }

    fn wait(&self) -> Result<i32, Stop> {
        let code = self.act(&["wait"])?;
        code.parse().map_err(|_| format!("exit code {code:?}").into())
    }
}

/// A program as the user without root, whose home is in the instance's directory.
pub(crate) fn as_user(dir: &Path, program: &str) -> Cmd {
    Cmd::new("setpriv")
        .args(["--reuid", USER, "--regid", USER, "--init-groups", program])
        .env("HOME", dir.join("home"))
        .env("USER", USER)
        .env("XDG_RUNTIME_DIR", USER_RUN)
}

/// Makes the user and what he needs: subordinate ids, directories, and the runtime where he may reach it.
pub(crate) fn make_user(place: &Place) -> Result<PathBuf, Stop> {
    need("/usr/bin/newuidmap", "uidmap")?;
    for (file, line) in [
        ("/etc/passwd", format!("{USER}:x:{USER_ID}:{USER_ID}::/nonexistent:/bin/sh\n")),
        ("/etc/group", format!("{USER}:x:{USER_ID}:\n")),
        ("/etc/subuid", SUBORDINATE_IDS.to_owned()),
        ("/etc/subgid", SUBORDINATE_IDS.to_owned()),
    ] {
        let copy = place.dir.join(file.trim_start_matches("/etc/"));
        fs::write(&copy, fs::read_to_string(file).unwrap_or_default() + &line)?;
        Cmd::new("mount").arg("--bind").arg(&copy).arg(file).run()?.ok()?;
    }
    for (path, mode) in
        [(place.dir.join("home"), 0o755), (USER_RUN.into(), 0o700), (place.dir.join("bin"), 0o755)]
    {
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        chown(&path, Some(USER_ID), Some(USER_ID))?;
    }
    // The build's directory may be below a home that is closed to others.
    let runtime = place.dir.join("bin").join(place.runtime.file_name().ok_or("the runtime has no name")?);
    fs::copy(&place.runtime, &runtime)?;
    Ok(runtime)
}

const USES_RUNTIME: &Table<Podman> = &[("the runtime under test is used", uses_runtime)];
const BY_FILE: &Table<Podman> =
    &[("the runtime under test is used, by containers.conf", uses_runtime_by_file)];
const USER_NAMESPACE: &Table<Podman> = &[("the user namespace is the user's", user_namespace)];

/// The names of the checks with root, for the page of the engines.
pub(crate) fn rootful_names() -> Vec<&'static str> {
    let tables = [USES_RUNTIME, BY_FILE, nested::ROOTFUL, shared::CHECKS, rootful::CHECKS]
        .into_iter()
        .flat_map(names_of);
    tables.chain(names_of(kube::CHECKS)).collect()
}

/// The names of the checks without root.
pub(crate) fn rootless_names() -> Vec<&'static str> {
    [USES_RUNTIME, BY_FILE, USER_NAMESPACE, nested::ROOTLESS, shared::CHECKS]
        .into_iter()
        .flat_map(names_of)
        .collect()
}

#[test]
fn rootful() {
    engine_test("podman", "podman::rootful", |place, checks| {
        controllers(&["cpu", "memory", "pids"])?;
        let podman = Podman::start(place, false)?;
        for table in [USES_RUNTIME, BY_FILE, nested::ROOTFUL, shared::CHECKS, rootful::CHECKS] {
            checks.table(&podman, table);
        }
        checks.table(&kube::Kube::play(podman)?, kube::CHECKS);
        Ok(())
    });
}

#[test]
fn rootless() {
    engine_test("podman-rootless", "podman::rootless", |place, checks| {
        let podman = Podman::start(place, true)?;
        for table in [USES_RUNTIME, BY_FILE, USER_NAMESPACE, nested::ROOTLESS, shared::CHECKS] {
            checks.table(&podman, table);
        }
        Ok(())
    });
}

fn uses_runtime(podman: &Podman) -> Outcome {
    let info: Value = serde_json::from_str(&podman.podman(&["info", "--format", "json"])?.ok()?)
        .map_err(|error| error.to_string())?;
    same("path", &info["host"]["ociRuntime"]["path"], &*podman.runtime.to_string_lossy())?;
    same("rootless", &info["host"]["security"]["rootless"], podman.rootless)?;
    let container = podman.sleeper(&[])?;
    same("of the container", container.inspect("{{.OCIRuntime}}")?, &*podman.runtime.to_string_lossy())?;
    if podman.rootless {
        return Ok(());
    }
    let list = Cmd::new(&podman.runtime).args(["list", "-q"]).run()?.ok()?;
    that("the runtime lists it", list.lines().any(|line| line == container.id))
}

/// The page's file alone, which also lets Podman show the runtime's words without the form of a log.
fn uses_runtime_by_file(podman: &Podman) -> Outcome {
    let file = podman.dir.join("containers.conf");
    fs::write(&file, page::example("Podman", &podman.runtime))?;
    let client = || podman.store().env("CONTAINERS_CONF", &file).args(["--events-backend", "file"]);
    let info = client().args(["info", "--format", "{{.Host.OCIRuntime.Path}} {{.Host.CgroupManager}}"]);
    same("info", info.run()?.ok()?, format!("{} cgroupfs", podman.runtime.display()))?;
    let run = |program| client().args(["run", "--rm", "--network", "none", IMAGE, program]).run();
    same("output", run("hostname")?.ok()?.is_empty(), false)?;
    let text = run("no-such-program")?.stderr;
    has("the error", &text, "exec: \"no-such-program\": executable file not found in $PATH")?;
    that(&format!("it is no log line: {text:?}"), !text.contains("level=error"))
}

/// Root inside is the user outside, and the other ids are his subordinate ones.
fn user_namespace(podman: &Podman) -> Outcome {
    let map = podman.sh(&[], "awk '{print $1, $2, $3}' /proc/self/uid_map; id -u")?;
    same("map", map, format!("0 {USER_ID} 1\n1 300000 65536\n0"))?;
    let container = podman.sleeper(&["--user", image::USER])?;
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid()?))?;
    let outside = (FIRST_SUBORDINATE_ID + image::USER_ID - 1).to_string();
    same("uid outside", crate::support::status_field(&status, "Uid")?.split('\t').next(), Some(&*outside))
}
