//! Docker: its daemon with the runtime under test as the default runtime, driven through its client.

pub(crate) mod compose;
mod flags;
mod lifecycle;
mod limits;
mod nested;
pub(crate) mod remap;
mod run;
mod seccomp;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use crate::support::{
    Cmd, Outcome, Output, Place, Stop, Table, await_daemon, engine_test, names_of, need, same, seccomp_is_on,
    stop_daemon, that,
};
use crate::{image, page};

/// Not by `PATH`: another client may be first there.
const CLIENT: &str = "/usr/bin/docker";
const DAEMON: &str = "/usr/sbin/dockerd";
const SOCKET: &str = "unix:///run/docker.sock";
/// The name under which the daemon knows the runtime, as on the page.
const RUNTIME: &str = "runtime";
const IMAGE: &str = "bb";

/// A running daemon, which ends with this value.
pub(super) struct Docker {
    /// Unique name, also the cgroup under which all containers are.
    tag: String,
    dir: PathBuf,
    runtime: PathBuf,
    daemon: Child,
}

impl Drop for Docker {
    fn drop(&mut self) {
        stop_daemon(&mut self.daemon);
    }
}

impl Docker {
    fn start(place: &Place) -> Result<Self, Stop> {
        Self::start_with(place, &page::example("Docker", &place.runtime), &[])
    }

    /// Starts a daemon with the page's options in place of its file, and with more.
    fn start_by_options(place: &Place, options: &[&str]) -> Result<Self, Stop> {
        let named = format!("{RUNTIME}={}", place.runtime.display());
        let own = ["--add-runtime", &named, "--default-runtime", RUNTIME];
        let driver = ["--exec-opt", "native.cgroupdriver=cgroupfs"];
        Self::start_with(place, "{}", &[&own[..], &driver, options].concat())
    }

    fn start_with(place: &Place, file: &str, options: &[&str]) -> Result<Self, Stop> {
        for (program, package) in [
            (DAEMON, "docker.io"),
            (CLIENT, "docker.io (or docker-cli)"),
            ("/usr/bin/containerd", "containerd"),
            ("/usr/sbin/iptables", "iptables"),
        ] {
            need(program, package)?;
        }
        let tar = image::root_tar(&place.dir)?;
        let (config, log) = (place.dir.join("daemon.json"), place.dir.join("dockerd.log"));
        fs::write(&config, file)?;
        let daemon = Cmd::new(DAEMON)
            .args(["--host", SOCKET, "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid"])
            .args(["--cgroup-parent", &format!("/{}", place.tag)])
            .arg("--data-root")
            .arg(place.dir.join("docker"))
            .arg("--config-file")
            .arg(config)
            .args(options)
            .daemon(&log)?;
        let mut docker =
            Docker { tag: place.tag.clone(), dir: place.dir.clone(), runtime: place.runtime.clone(), daemon };
        let client = || client().args(["version"]).limit(Duration::from_secs(10));
        await_daemon(&mut docker.daemon, &log, || client().run()?.ok().map(drop))?;
        docker.docker(&["import", &tar.to_string_lossy(), IMAGE])?.ok()?;
        Ok(docker)
    }

    /// Any command of the client.
    fn docker(&self, args: &[&str]) -> Result<Output, Stop> {
        client().args(args).run()
    }

    /// A command of the client that may run for long.
    fn client_daemon(&self, args: &[&str]) -> Result<Child, Stop> {
        client().args(args).daemon(&self.dir.join("client.log"))
    }

    /// A command that makes a container: without network, which is dear, unless the options say otherwise.
    fn new_container(&self, command: &[&str], options: &[&str]) -> Cmd {
        let mut client = client().args(command);
        if !seccomp_is_on() {
            client = client.args(["--security-opt", "seccomp=unconfined"]);
        }
        if !options.contains(&"--network") {
            client = client.args(["--network", "none"]);
        }
        client.args(options).arg(IMAGE)
    }

    /// `docker run --rm OPTIONS IMAGE ARGUMENTS`.
    fn run(&self, options: &[&str], command: &[&str]) -> Result<Output, Stop> {
        self.new_container(&["run", "--rm"], options).args(command).run()
    }

    /// Runs a shell script in a new container, which must succeed; returns what it printed.
    fn sh(&self, options: &[&str], script: &str) -> Result<String, Stop> {
        self.run(options, &["sh", "-c", script])?.ok()
    }

    /// Starts a container in the background. The value removes it when it goes out of scope.
    fn background(&self, options: &[&str], command: &[&str]) -> Result<Container<'_>, Stop> {
        let run = self.new_container(&["run", "-d"], options).args(command);
        Ok(Container { docker: self, id: run.run()?.ok()? })
    }

    /// Creates a container without starting it.
    fn created(&self, options: &[&str], command: &[&str]) -> Result<Container<'_>, Stop> {
        let create = self.new_container(&["create"], options).args(command);
        Ok(Container { docker: self, id: create.run()?.ok()? })
    }

    /// A container that sleeps.
    fn sleeper(&self, options: &[&str]) -> Result<Container<'_>, Stop> {
        self.background(options, &["sleep", "1000"])
    }

    /// A new directory on the host that a container may mount.
    fn host_dir(&self, name: &str) -> Result<PathBuf, Stop> {
        let path = self.dir.join("volumes").join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// What the runtime itself lists below the daemon's state.
    fn runtime_list(&self) -> Result<Vec<String>, Stop> {
        let state = Path::new("/run/docker").join(format!("runtime-{RUNTIME}/moby"));
        let state = if state.exists() { state } else { PathBuf::from("/run/docker/runtime-runc/moby") };
        let list = Cmd::new(&self.runtime).arg("--root").arg(state).args(["list", "-q"]).run()?.ok()?;
        Ok(list.lines().map(str::to_owned).collect())
    }
}

fn client() -> Cmd {
    Cmd::new(CLIENT).args(["--host", SOCKET])
}

/// A container that is removed when it goes out of scope.
pub(super) struct Container<'a> {
    docker: &'a Docker,
    id: String,
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.docker.docker(&["rm", "--force", "--volumes", &self.id]).ok();
    }
}

impl Container<'_> {
    /// `docker exec OPTIONS ID ARGUMENTS`.
    fn exec(&self, options: &[&str], command: &[&str]) -> Result<Output, Stop> {
        client().arg("exec").args(options).arg(&self.id).args(command).run()
    }

    /// Runs a shell script in the container, which must succeed.
    fn sh(&self, script: &str) -> Result<String, Stop> {
        self.exec(&[], &["sh", "-c", script])?.ok()
    }

    /// A command that takes the id last, and must succeed.
    fn act(&self, command: &[&str]) -> Result<String, Stop> {
        self.docker.docker(&[command, &[self.id.as_str()]].concat())?.ok()
    }

    /// What a template of `docker inspect` gives.
    fn inspect(&self, template: &str) -> Result<String, Stop> {
        self.act(&["inspect", "--format", template])
    }

    /// The process id of the container's init in the daemon's PID namespace.
    fn pid(&self) -> Result<u32, Stop> {
        let pid = self.inspect("{{.State.Pid}}")?;
        pid.parse().map_err(|_| format!("pid {pid:?}").into())
    }

    /// Waits for the end; the exit code.
    fn wait(&self) -> Result<i32, Stop> {
        let code = self.act(&["wait"])?;
        code.parse().map_err(|_| format!("exit code {code:?}").into())
    }

    fn status(&self) -> Result<String, Stop> {
        self.inspect("{{.State.Status}}")
    }
}

/// Before and after all others.
const FIRST: &Table<Docker> = &[("the daemon uses the runtime under test", uses_runtime)];
const LAST: &Table<Docker> = &[("nothing is left behind", lifecycle::nothing_left)];

/// The tables, in their order.
const TABLES: [&Table<Docker>; 8] = [
    FIRST,
    run::CHECKS,
    seccomp::CHECKS,
    flags::CHECKS,
    limits::CHECKS,
    lifecycle::CHECKS,
    nested::CHECKS,
    LAST,
];

/// The names of all checks, for the page of the engines.
pub(crate) fn names() -> Vec<&'static str> {
    TABLES.into_iter().flat_map(names_of).collect()
}

#[test]
fn engine() {
    engine_test("docker", "docker::engine", |place, checks| {
        let docker = Docker::start(place)?;
        TABLES.iter().for_each(|table| checks.table(&docker, table));
        Ok(())
    });
}

fn uses_runtime(docker: &Docker) -> Outcome {
    let info: Value = serde_json::from_str(&docker.docker(&["info", "--format", "{{json .}}"])?.ok()?)
        .map_err(|error| error.to_string())?;
    same("default runtime", &info["DefaultRuntime"], RUNTIME)?;
    same("its path", &info["Runtimes"][RUNTIME]["path"], &*docker.runtime.to_string_lossy())?;
    let container = docker.sleeper(&[])?;
    that("the runtime lists the container", docker.runtime_list()?.contains(&container.id))
}
