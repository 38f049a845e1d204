//! docker-compose: several containers from one file, with a network and a volume of their own.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{Docker, SOCKET};
use crate::support::{
    Cmd, Outcome, Output, Stop, Table, cgroup_value, directories, engine_test, eventually, growth, has,
    hierarchies, names_of, need, same, seccomp_is_on, status_field, that,
};

/// Debian's, which is the one in Python (1.29).
const COMPOSE: &str = "/usr/bin/docker-compose";
const PROJECT: &str = "shop";

/// Long enough for a loaded machine: `docker-compose` itself starts slowly.
const SOON: Duration = Duration::from_secs(20);

const CHECKS: &Table<Compose> = &[
    ("up -d: both services run under the runtime", up),
    ("up -d: limits", limits),
    ("up -d: user, read-only root, capabilities, sysctls, environment", process),
    ("network: one service reaches the other by name", network),
    ("volume: what one service writes the other reads", volume),
    ("exec: output, exit code, environment, user", exec),
    ("logs: both streams of both services", logs),
    ("top: lists the processes", top),
    ("run: a container for one command", run_once),
    ("pause, unpause: the process does not progress", pause),
    ("kill: a signal that is handled", kill),
    ("up --scale: two containers of one service", scale),
    ("restart: new processes", restart),
    ("stop, start: the stop signal, then again", stop),
    ("down -v: nothing is left", down),
];

/// The daemon, and the directory of the file.
struct Compose {
    docker: Docker,
    dir: PathBuf,
}

/// The services: one that serves a page, and one that asks for it.
fn file(dir: &std::path::Path) -> String {
    let security = if seccomp_is_on() { "" } else { "security_opt: [\"seccomp=unconfined\"]" };
    format!(
        r#"
services:
  server:
    image: bb
    command: ["sh", "-c", "echo serving; echo warned >&2; exec httpd -f -p 8080 -h /www"]
    networks: [back]
    volumes: ["shared:/www"]
    mem_limit: 64m
    cpus: 0.5
    pids_limit: 33
    environment: {{ COLOR: "deep blue" }}
    {security}
  client:
    image: bb
    depends_on: [server]
    command: ["sh", "-c", "trap 'touch /host/hup' HUP; trap 'touch /host/usr1; exit 9' USR1; touch /host/ready; while :; do echo -n x >> /host/count; usleep 10000; done"]
    networks: [back]
    stop_signal: SIGUSR1
    user: "0:4321"
    read_only: true
    tmpfs: ["/scratch:size=1m"]
    cap_drop: [ALL]
    cap_add: [DAC_OVERRIDE]
    sysctls: {{ net.ipv4.ip_unprivileged_port_start: 7 }}
    ulimits: {{ nofile: {{ soft: 100, hard: 200 }} }}
    volumes: ["shared:/data:ro", "{host}:/host"]
    {security}
networks:
  back: {{}}
volumes:
  shared: {{}}
"#,
        host = dir.display()
    )
}

impl Compose {
    fn compose(&self, args: &[&str]) -> Result<Output, Stop> {
        let compose = Cmd::new(COMPOSE).env("DOCKER_HOST", SOCKET).env("COMPOSE_PROJECT_NAME", PROJECT);
        compose.args(["--ansi", "never", "--file"]).arg(self.dir.join("compose.yaml")).args(args).run()
    }

    /// Runs a shell script in a service, which must succeed.
    fn sh(&self, service: &str, script: &str) -> Result<String, Stop> {
        self.compose(&["exec", "-T", service, "sh", "-c", script])?.ok()
    }

    /// What a template of `docker inspect` gives of a service's first container.
    fn inspect(&self, service: &str, template: &str) -> Result<String, Stop> {
        let name = format!("{PROJECT}_{service}_1");
        self.docker.docker(&["inspect", "--format", template, &name])?.ok()
    }

    fn pid(&self, service: &str) -> Result<u32, Stop> {
        let pid = self.inspect(service, "{{.State.Pid}}")?;
        pid.parse().map_err(|_| format!("pid {pid:?}").into())
    }

    fn status(&self, service: &str) -> Result<String, Stop> {
        self.inspect(service, "{{.State.Status}}")
    }

    /// What services share with the host.
    fn host(&self, name: &str) -> PathBuf {
        self.dir.join("host").join(name)
    }

    fn client_is_ready(&self) -> Outcome {
        eventually(SOON, || that("the client is ready", self.host("ready").exists()))
    }
}

/// The names of all checks, for the page of the engines.
pub(crate) fn names() -> Vec<&'static str> {
    names_of(CHECKS)
}

#[test]
fn engine() {
    engine_test("docker-compose", "docker::compose::engine", |place, checks| {
        need(COMPOSE, "docker-compose")?;
        let dir = place.shared_dir("compose")?;
        let host = place.shared_dir("compose/host")?;
        fs::write(dir.join("compose.yaml"), file(&host))?;
        let compose = Compose { docker: Docker::start(place)?, dir };
        // All checks are of this one project.
        checks.always("up -d", || compose.compose(&["up", "-d"])?.ok().map(drop));
        checks.table(&compose, CHECKS);
        Ok(())
    });
}

fn up(compose: &Compose) -> Outcome {
    let list = compose.docker.runtime_list()?;
    for service in ["server", "client"] {
        same("status", compose.status(service)?, "running")?;
        that("the runtime lists it", list.contains(&compose.inspect(service, "{{.Id}}")?))?;
    }
    same("containers of the runtime", list.len(), 2)
}

fn limits(compose: &Compose) -> Outcome {
    let pid = compose.pid("server")?;
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    has("cgroup", &table, &format!(":/{}/", compose.docker.tag))?;
    same("memory", cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max")?, "67108864")?;
    has("quota", &cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")?, "50000")?;
    same("pids", cgroup_value(pid, "pids", "pids.max", "pids.max")?, "33")
}

fn process(compose: &Compose) -> Outcome {
    let script = "cat /proc/1/status /proc/sys/net/ipv4/ip_unprivileged_port_start; ulimit -Sn; ulimit -Hn; \
        touch /scratch/a && ! touch /b 2>/dev/null && df -m /scratch | awk 'END { print $2 }'";
    let text = compose.sh("client", script)?;
    same("group", status_field(&text, "Gid")?, "4321\t4321\t4321\t4321")?;
    same("effective capabilities", status_field(&text, "CapEff")?, "0000000000000002")?;
    that(&format!("sysctl, limits, size in {text:?}"), text.ends_with("\n7\n100\n200\n1"))
}

fn network(compose: &Compose) -> Outcome {
    compose.sh("server", "echo page > /www/index.html")?;
    let ask = "wget -q -O - http://server:8080/index.html; ls /sys/class/net";
    eventually(SOON, || same("page and interfaces", compose.sh("client", ask)?, "page\neth0\nlo"))
}

fn volume(compose: &Compose) -> Outcome {
    compose.sh("server", "echo shared > /www/file")?;
    let script = "cat /data/file; ! echo x 2>/dev/null > /data/file";
    same("read", compose.sh("client", script)?, "shared")
}

fn exec(compose: &Compose) -> Outcome {
    let script = "echo $COLOR; id -u; cat /proc/1/comm; exit 5";
    let options = ["exec", "-T", "--user", "1234", "server"];
    let output = compose.compose(&[&options[..], &["sh", "-c", script]].concat())?.code(5)?;
    same("output", output, "deep blue\n1234\nhttpd")?;
    let options = ["exec", "-T", "--env", "MORE=yes", "server", "sh", "-c", "echo $MORE"];
    same("more of the environment", compose.compose(&options)?.ok()?, "yes")
}

fn logs(compose: &Compose) -> Outcome {
    eventually(SOON, || {
        let text = compose.compose(&["logs", "server"])?.ok()?;
        has("stdout", &text, "| serving")?;
        has("stderr", &text, "| warned")
    })
}

fn top(compose: &Compose) -> Outcome {
    let text = compose.compose(&["top", "server"])?.ok()?;
    has("process", &text, "httpd -f -p 8080")?;
    has("its id on the host", &text, &compose.pid("server")?.to_string())
}

fn run_once(compose: &Compose) -> Outcome {
    let script = "wget -q -O - http://server:8080/index.html; hostname | grep -c .; exit 6";
    let output = compose.compose(&["run", "--rm", "-T", "client", "sh", "-c", script])?;
    same("output", output.code(6)?, "page\n1")?;
    same("containers of the runtime", compose.docker.runtime_list()?.len(), 2)
}

fn pause(compose: &Compose) -> Outcome {
    compose.client_is_ready()?;
    let count = compose.host("count");
    compose.compose(&["pause", "client"])?.ok()?;
    same("status", compose.status("client")?, "paused")?;
    same("bytes written while paused", growth(&count, Duration::from_millis(300))?, 0)?;
    compose.compose(&["unpause", "client"])?.ok()?;
    same("status", compose.status("client")?, "running")?;
    eventually(SOON, || that("it writes", growth(&count, Duration::from_millis(100))? > 0))
}

fn kill(compose: &Compose) -> Outcome {
    compose.client_is_ready()?;
    compose.compose(&["kill", "-s", "SIGHUP", "client"])?.ok()?;
    eventually(SOON, || that("the handler ran", compose.host("hup").exists()))?;
    same("status", compose.status("client")?, "running")
}

fn scale(compose: &Compose) -> Outcome {
    compose.compose(&["up", "-d", "--timeout", "0", "--scale", "server=2", "--no-recreate"])?.ok()?;
    same("containers of the runtime", compose.docker.runtime_list()?.len(), 3)?;
    let second = ["exec", "-T", "--index", "2", "server", "hostname"];
    let (one, two) = (compose.sh("server", "hostname")?, compose.compose(&second)?.ok()?);
    that("they are two", one != two)?;
    compose.compose(&["up", "-d", "--timeout", "0", "--scale", "server=1", "--no-recreate"])?.ok()?;
    same("containers of the runtime", compose.docker.runtime_list()?.len(), 2)
}

fn restart(compose: &Compose) -> Outcome {
    let before = compose.pid("server")?;
    compose.compose(&["restart", "--timeout", "0", "server"])?.ok()?;
    that("the process is another", compose.pid("server")? != before)?;
    same("volume", compose.sh("server", "cat /www/index.html")?, "page")
}

fn stop(compose: &Compose) -> Outcome {
    compose.client_is_ready()?;
    compose.compose(&["stop", "--timeout", "20", "client"])?.ok()?;
    that("the handler of the stop signal ran", compose.host("usr1").exists())?;
    same("exit code", compose.inspect("client", "{{.State.ExitCode}} {{.State.Status}}")?, "9 exited")?;
    compose.compose(&["start", "client"])?.ok()?;
    same("status", compose.status("client")?, "running")
}

fn down(compose: &Compose) -> Outcome {
    compose.compose(&["down", "-v", "--timeout", "0"])?.ok()?;
    let docker = |args: &[&str]| compose.docker.docker(args)?.ok();
    same("containers", docker(&["ps", "-aq"])?, "")?;
    same("volumes", docker(&["volume", "ls", "-q"])?, "")?;
    same("networks", docker(&["network", "ls", "-q", "--filter", "type=custom"])?, "")?;
    same("the runtime's list", compose.docker.runtime_list()?, Vec::<String>::new())?;
    let parents = hierarchies().into_iter().map(|root| root.join(&compose.docker.tag));
    same("cgroups", parents.flat_map(|path| directories(&path)).collect::<Vec<_>>(), Vec::<PathBuf>::new())
}
