//! Callers without privileges: units of the user's own service manager.

use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::{Bundle, Run, Running as _, copy_runtime, until};
use crate::{is_unified, systemd, unified};

/// A user whose service manager runs (loginctl enable-linger).
const USER: u32 = 1000;

fn manager() -> bool {
    if !unified() {
        return false;
    }
    let found = Path::new(&format!("/run/user/{USER}/systemd/private")).exists();
    if !found {
        eprintln!("skipped: user {USER} has no service manager");
    }
    found
}

struct Rootless {
    bundle: Bundle,
    program: PathBuf,
    id: String,
}

impl Rootless {
    fn new(name: &str) -> Self {
        let bundle = Bundle::new(&["sleep", "1000"]);
        let program = bundle.path().join("program");
        copy_runtime(&program);
        std::fs::remove_file(bundle.path().join("config.json")).expect("removed");
        give(bundle.path());
        let id = format!("{name}-{}", std::process::id());
        let rootless = Self { bundle, program, id };
        rootless.go(&[], &["spec", "--rootless"]).ok();
        let path = rootless.bundle.path().join("config.json");
        let mut config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).expect("config.json")).expect("JSON");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["linux"]["cgroupsPath"] = json!(format!(":runtime:{}", rootless.id));
        config["linux"]["resources"] = json!({"memory": {"limit": 104857600}, "pids": {"limit": 50}});
        std::fs::write(&path, config.to_string()).expect("config.json");
        rootless
    }

    fn as_user(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--clear-groups", "--inh-caps=-all", "--reuid", &USER.to_string()]);
        command.args(["--regid", &USER.to_string()]).arg(program).current_dir(self.bundle.path());
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{USER}")).env_remove("DBUS_SESSION_BUS_ADDRESS");
        command.env_remove("USER");
        command
    }

    #[track_caller]
    fn go(&self, environment: &[(&str, &str)], words: &[&str]) -> Run {
        let mut command = self.as_user(&self.program);
        command.envs(environment.iter().copied()).args(["--systemd-cgroup"]);
        command.go(words)
    }

    #[track_caller]
    fn systemctl(&self, words: &[&str]) -> String {
        self.as_user(Path::new("systemctl")).arg("--user").go(words).ok().stdout
    }

    fn show(&self, name: &str) -> String {
        let unit = format!("runtime-{}.scope", self.id);
        self.systemctl(&["show", "--value", "-p", name, &unit]).trim().to_owned()
    }
}

impl Drop for Rootless {
    fn drop(&mut self) {
        let run = self.go(&[], &["delete", "--force", &self.id]);
        if !std::thread::panicking() {
            assert_eq!(run.code, 0, "{run:?}");
        }
    }
}

fn give(path: &Path) {
    lchown(path, Some(USER), Some(USER)).expect("given");
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path).expect("a directory") {
            give(&entry.expect("an entry").path());
        }
    }
}

#[test]
fn the_whole_life_of_a_container() {
    if !manager() {
        return;
    }
    let bus = format!("unix:path=/run/user/{USER}/bus");
    let environments: [&[(&str, &str)]; 2] = [&[], &[("DBUS_SESSION_BUS_ADDRESS", &bus)]];
    for environment in environments {
        let rootless = Rootless::new("rootless");
        let id = rootless.id.as_str();
        let go = |words: &[&str]| rootless.go(environment, words).ok();
        go(&["run", "-d", id]);
        let group = rootless.show("ControlGroup");
        let expected = format!("/user@{USER}.service/user.slice/runtime-{id}.scope");
        assert!(group.ends_with(&expected), "{group}");
        assert_eq!(rootless.show("MemoryMax"), "104857600");
        let processes = || {
            let text =
                std::fs::read_to_string(format!("/sys/fs/cgroup{group}/cgroup.procs")).expect("processes");
            text.lines().count()
        };
        assert_eq!(processes(), 1);
        go(&["exec", "--detach", id, "sleep", "1000"]);
        assert_eq!(processes(), 2, "exec is in the scope");
        go(&["update", "--pids-limit", "44", id]);
        assert_eq!(rootless.show("TasksMax"), "44");
        let limit = std::fs::read_to_string(format!("/sys/fs/cgroup{group}/pids.max")).expect("a limit");
        assert_eq!(limit.trim(), "44");
        go(&["pause", id]);
        go(&["resume", id]);
        go(&["delete", "--force", id]);
        until("the unit is forgotten", || {
            !rootless.systemctl(&["list-units", "--all", "--full", "--plain", "--no-legend"]).contains(id)
        });
        assert!(!Path::new(&format!("/sys/fs/cgroup{group}")).exists());
    }
}

#[test]
fn a_second_container_in_the_scope_is_refused() {
    if !manager() {
        return;
    }
    let rootless = Rootless::new("shared");
    rootless.go(&[], &["run", "-d", &rootless.id]).ok();
    let second = rootless.go(&[], &["run", "-d", "second"]);
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("container's cgroup is not empty: 1 process(es) found"), "{second:?}");
    assert_eq!(rootless.show("ActiveState"), "active");
}

/// With v1 there is no manager that could give a user a cgroup with controllers.
#[test]
fn without_a_manager_the_error_says_so() {
    if !systemd() {
        return;
    }
    let rootless = Rootless::new("nobody");
    let nowhere = [("XDG_RUNTIME_DIR", "/nonexistent")];
    let run = rootless.go(&nowhere, &["--root", "state", "run", "-d", &rootless.id]);
    let text = match is_unified() {
        true => "connect to systemd of the user: /nonexistent/systemd/private: ",
        false => "use the systemd cgroup driver without privileges: it needs cgroup v2",
    };
    run.fails(1, text);
}
