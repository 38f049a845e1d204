//! Measures shims without containerd, in one interleaved run: what a shim and its runtime take themselves.
//!
//! ```text
//! direct ROUNDS NAME=SHIM[,RUNTIME]...
//! ```
//!
//! Each way has a name, a shim and, for containerd's own shim, the runtime that it starts. It runs as root where nothing else
//! is in `/run/containerd`, and needs `/bin/busybox` (static). `figures.sh` calls it so.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use containerd_shim_protos::api::{
    ConnectRequest, CreateTaskRequest, DeleteRequest, Empty, ExecProcessRequest, ForwardRequest, KillRequest,
    ShutdownRequest, StartRequest, WaitRequest,
};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci::Options;
use containerd_shim_protos::ttrpc::context::{self, Context};
use containerd_shim_protos::ttrpc::{Server, TtrpcContext};
use containerd_shim_protos::types::mount::Mount;
use containerd_shim_protos::{Client, Events, TaskClient, create_events};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Idle containers of each way, and idle pods.
const IDLE: usize = 10;
const PODS: usize = 5;
/// Containers of a pod: the one that holds it, and two more.
const IN_POD: usize = 3;
/// Processes of `exec`.
const EXECS: usize = 100;
/// How long everything rests before memory is read.
const REST: Duration = Duration::from_secs(3);

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().ok_or("direct ROUNDS NAME=SHIM[,RUNTIME]...")?.parse()?;
    let dir = std::env::temp_dir().join(format!("direct-{}", std::process::id()));
    let events = serve_events(&dir)?;
    let ways: Vec<_> = arguments.map(|text| Way::new(&text, &dir)).collect::<Outcome<_>>()?;
    let result = measure(&ways, rounds);
    drop(events);
    fs::remove_dir_all(&dir)?;
    result
}

/// Takes events as containerd does, and forgets them.
struct Sink;

impl Events for Sink {
    fn forward(
        &self,
        _: &TtrpcContext,
        _: ForwardRequest,
    ) -> containerd_shim_protos::ttrpc::Result<containerd_shim_protos::api::Empty> {
        Ok(Empty::new())
    }
}

fn serve_events(dir: &Path) -> Outcome<Server> {
    fs::create_dir_all(dir.join("base/bin"))?;
    fs::copy("/bin/busybox", dir.join("base/bin/busybox"))?;
    for name in ["true", "sleep"] {
        std::os::unix::fs::symlink("busybox", dir.join("base/bin").join(name))?;
    }
    for name in ["proc", "sys", "dev"] {
        fs::create_dir(dir.join("base").join(name))?;
    }
    let address = format!("unix://{}", dir.join("events").display());
    let mut server = Server::new().bind(&address)?.register_service(create_events(Arc::new(Sink)));
    server.start()?;
    Ok(server)
}

/// A shim, and the runtime that it starts.
struct Way {
    name: String,
    shim: PathBuf,
    options: Option<Any>,
    dir: PathBuf,
}

impl Way {
    fn new(text: &str, dir: &Path) -> Outcome<Self> {
        let (name, rest) = text.split_once('=').ok_or("NAME=SHIM[,RUNTIME]")?;
        let (shim, runtime) =
            rest.split_once(',').map_or((rest, None), |(shim, runtime)| (shim, Some(runtime)));
        let options =
            runtime.map(|runtime| Options { binary_name: runtime.to_owned(), ..Options::default() });
        let any = |options: Options| -> Outcome<Any> {
            let type_url = "containerd.runc.v1.Options".to_owned();
            Ok(Any { type_url, value: options.write_to_bytes()?, ..Any::default() })
        };
        let options = options.map(any).transpose()?;
        Ok(Self { name: name.to_owned(), shim: shim.into(), options, dir: dir.to_owned() })
    }

    /// A bundle, its layers and its FIFO, all that containerd's client prepares.
    fn bundle(&self, id: &str, pod: Option<&str>, args: &[&str]) -> Outcome<Bundle> {
        let path = self.dir.join(id);
        for name in ["rootfs", "upper", "work"] {
            fs::create_dir_all(path.join(name))?;
        }
        fs::write(path.join("config.json"), config(id, pod, args).to_string())?;
        // The second is for containerd's shim, which writes its log there.
        let (fifo, log) = (path.join("stdout"), path.join("log"));
        let open = |path: &Path| -> Outcome<fs::File> {
            nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU)?;
            Ok(fs::File::options().read(true).write(true).open(path)?)
        };
        let readers = [open(&fifo)?, open(&log)?];
        Ok(Bundle { path, id: id.to_owned(), fifo, _readers: readers })
    }

    /// `start`: a new shim, or the one of the pod.
    fn start_shim(&self, bundle: &Bundle) -> Outcome<TaskClient> {
        let events = self.dir.join("events");
        let mut child = Command::new(&self.shim)
            .args([
                "-namespace",
                "figures",
                "-id",
                &bundle.id,
                "-address",
                "/none",
                "-publish-binary",
                "true",
                "start",
            ])
            .current_dir(&bundle.path)
            .env("TTRPC_ADDRESS", &events)
            .env("MAX_SHIM_VERSION", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let (Some(mut stdin), Some(options)) = (child.stdin.take(), &self.options) {
            stdin.write_all(&options.write_to_bytes()?)?;
        }
        let output = child.wait_with_output()?;
        let text = String::from_utf8(output.stdout)?;
        // Newer shims of containerd answer in JSON.
        let address = match serde_json::from_str::<Value>(&text) {
            Ok(value) => value["address"].as_str().unwrap_or_default().to_owned(),
            Err(_) => text.trim().to_owned(),
        };
        Ok(TaskClient::new(Client::connect(&address)?))
    }

    /// A container that runs: `Create` and `Start`.
    fn start_task(&self, shim: &TaskClient, bundle: &Bundle) -> Outcome {
        let layer = |name: &str| bundle.path.join(name).display().to_string();
        let lower = self.dir.join("base").display().to_string();
        let root = Mount {
            type_: "overlay".to_owned(),
            source: "overlay".to_owned(),
            options: [("lowerdir", lower), ("upperdir", layer("upper")), ("workdir", layer("work"))]
                .map(|(name, value)| format!("{name}={value}"))
                .to_vec(),
            ..Mount::default()
        };
        let request = CreateTaskRequest {
            id: bundle.id.clone(),
            bundle: bundle.path.display().to_string(),
            rootfs: vec![root],
            stdout: bundle.fifo.display().to_string(),
            stderr: bundle.fifo.display().to_string(),
            options: self.options.clone().into(),
            ..CreateTaskRequest::default()
        };
        shim.create(limit(), &request)?;
        shim.start(limit(), &StartRequest { id: bundle.id.clone(), ..StartRequest::default() })?;
        Ok(())
    }

    fn idle(&self, id: &str, pod: Option<&str>, shim: Option<&Running>) -> Outcome<Running> {
        let bundle = self.bundle(id, pod, &["/bin/sleep", "10000"])?;
        let client = match shim {
            Some(running) => running.shim.clone(),
            None => self.start_shim(&bundle)?,
        };
        self.start_task(&client, &bundle)?;
        Ok(Running { shim: client, bundle })
    }
}

struct Bundle {
    path: PathBuf,
    id: String,
    fifo: PathBuf,
    _readers: [fs::File; 2],
}

/// A container that runs, and its shim.
struct Running {
    shim: TaskClient,
    bundle: Bundle,
}

impl Running {
    fn shim_pid(&self) -> Outcome<u32> {
        let request = ConnectRequest { id: self.bundle.id.clone(), ..ConnectRequest::default() };
        Ok(self.shim.connect(limit(), &request)?.shim_pid)
    }

    /// `Exec`, `Start`, `Wait` and `Delete` of a process.
    fn exec(&self, exec_id: &str) -> Outcome {
        let process = json!({
            "cwd": "/", "args": ["/bin/true"], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
            "capabilities": capabilities(), "noNewPrivileges": true,
        });
        let type_url = "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned();
        let spec = Any { type_url, value: process.to_string().into_bytes(), ..Any::default() };
        let (id, exec_id) = (self.bundle.id.clone(), exec_id.to_owned());
        let request = ExecProcessRequest {
            id: id.clone(),
            exec_id: exec_id.clone(),
            stdout: self.bundle.fifo.display().to_string(),
            stderr: self.bundle.fifo.display().to_string(),
            spec: Some(spec).into(),
            ..ExecProcessRequest::default()
        };
        self.shim.exec(limit(), &request)?;
        let (of, exec) = (id.clone(), exec_id.clone());
        self.shim.start(limit(), &StartRequest { id: of, exec_id: exec, ..StartRequest::default() })?;
        self.await_end(&exec_id)?;
        self.shim.delete(limit(), &DeleteRequest { id, exec_id, ..DeleteRequest::default() })?;
        Ok(())
    }

    fn await_end(&self, exec_id: &str) -> Outcome {
        let (id, exec_id) = (self.bundle.id.clone(), exec_id.to_owned());
        self.shim.wait(limit(), &WaitRequest { id, exec_id, ..WaitRequest::default() })?;
        Ok(())
    }

    /// `Wait` and `Delete`.
    fn finish(&self) -> Outcome {
        self.await_end("")?;
        let id = self.bundle.id.clone();
        self.shim.delete(limit(), &DeleteRequest { id, ..DeleteRequest::default() })?;
        Ok(())
    }

    /// Ends the shim, too, if it serves nothing else.
    fn shut_down(&self) -> Outcome {
        let request = ShutdownRequest { id: self.bundle.id.clone(), ..ShutdownRequest::default() };
        // Its end may come before its answer.
        self.shim.shutdown(limit(), &request).ok();
        fs::remove_dir_all(&self.bundle.path)?;
        Ok(())
    }

    fn end(&self) -> Outcome {
        let id = self.bundle.id.clone();
        self.shim.kill(limit(), &KillRequest { id, signal: 9, all: true, ..KillRequest::default() })?;
        self.finish()?;
        self.shut_down()
    }
}

fn limit() -> Context {
    context::with_timeout(60_000_000_000)
}

fn capabilities() -> Value {
    let names = json!(["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID"]);
    json!({"bounding": names, "effective": names, "permitted": names})
}

/// What containerd's client writes for a usual container.
fn config(id: &str, pod: Option<&str>, args: &[&str]) -> Value {
    let mount = |to: &str, kind: &str, options: &[&str]| json!({"destination": to, "type": kind, "source": kind, "options": options});
    let usual = ["nosuid", "noexec", "nodev"];
    let namespaces = ["pid", "ipc", "uts", "mount", "network"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.1.0",
        "root": {"path": "rootfs"},
        "annotations": pod.map(|pod| json!({"io.kubernetes.cri.sandbox-id": pod})).unwrap_or(json!({})),
        "process": {
            "cwd": "/", "args": args, "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, "noNewPrivileges": true,
            "capabilities": capabilities(), "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        },
        "mounts": [
            mount("/proc", "proc", &usual),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &usual),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/run", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ],
        "linux": {
            "cgroupsPath": format!("/figures/{id}"),
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": namespaces,
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// Proportional memory of a process, in kB.
fn memory(pid: u32) -> Outcome<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Processor time of a process and of the children that it has waited for, in milliseconds.
fn spent(pid: u32) -> Outcome<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(')').ok_or("stat")?;
    let numbers: Vec<u64> = rest.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // utime is the 14th field; the state, the third, is no number.
    Ok(numbers.get(10..14).ok_or("stat")?.iter().sum::<u64>() * 10)
}

/// What has been measured of one way; durations in milliseconds.
#[derive(Default)]
struct Figures {
    shim: Vec<f64>,
    task: Vec<f64>,
    all: Vec<f64>,
    exec: Vec<f64>,
    processor: u64,
    memory: u64,
    pod: u64,
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// One container that runs `true`, from the start of its shim to the end of that.
fn run_once(way: &Way, id: &str, figures: &mut Figures) -> Outcome {
    let bundle = way.bundle(id, None, &["/bin/true"])?;
    let begin = Instant::now();
    let shim = way.start_shim(&bundle)?;
    figures.shim.push(milliseconds(begin));
    let created = Instant::now();
    way.start_task(&shim, &bundle)?;
    figures.task.push(milliseconds(created));
    let running = Running { shim, bundle };
    running.finish()?;
    figures.all.push(milliseconds(begin));
    running.shut_down()
}

fn measure(ways: &[Way], rounds: usize) -> Outcome {
    let mut figures: Vec<Figures> = ways.iter().map(|_| Figures::default()).collect();
    for round in 0..rounds {
        for (index, (way, figures)) in ways.iter().zip(&mut figures).enumerate() {
            run_once(way, &format!("run-{index}-{round}"), figures)?;
        }
    }
    let mut idle = Vec::new();
    let mut pods = Vec::new();
    for (index, way) in ways.iter().enumerate() {
        let containers = (0..IDLE).map(|each| way.idle(&format!("idle-{index}-{each}"), None, None));
        idle.push(containers.collect::<Outcome<Vec<_>>>()?);
        let pod = |each: usize| -> Outcome<Vec<Running>> {
            let name = format!("pod-{index}-{each}");
            let mut containers = vec![way.idle(&name, Some(&name), None)?];
            for number in 1..IN_POD {
                containers.push(way.idle(&format!("{name}-{number}"), Some(&name), containers.first())?);
            }
            Ok(containers)
        };
        pods.push((0..PODS).map(pod).collect::<Outcome<Vec<_>>>()?);
    }
    std::thread::sleep(REST);
    for ((figures, idle), pods) in figures.iter_mut().zip(&idle).zip(&pods) {
        for running in idle {
            figures.memory += memory(running.shim_pid()?)?;
        }
        for first in pods.iter().filter_map(|pod| pod.first()) {
            figures.pod += memory(first.shim_pid()?)?;
        }
    }
    measure_execs(&idle, &mut figures)?;
    pods.iter()
        .flatten()
        .flat_map(|pod| pod.iter().rev())
        .chain(idle.iter().flatten())
        .try_for_each(Running::end)?;
    print(ways, &mut figures);
    Ok(())
}

fn measure_execs(idle: &[Vec<Running>], figures: &mut [Figures]) -> Outcome {
    let first: Vec<_> = idle.iter().filter_map(|containers| containers.first()).collect();
    let pids: Vec<u32> = first.iter().map(|running| running.shim_pid()).collect::<Outcome<_>>()?;
    let before: Vec<u64> = pids.iter().map(|pid| spent(*pid)).collect::<Outcome<_>>()?;
    for round in 0..EXECS {
        for (running, figures) in first.iter().zip(figures.iter_mut()) {
            let begin = Instant::now();
            running.exec(&format!("exec-{round}"))?;
            figures.exec.push(milliseconds(begin));
        }
    }
    std::thread::sleep(REST);
    for ((figures, pid), before) in figures.iter_mut().zip(pids).zip(before) {
        figures.processor = spent(pid)? - before;
    }
    Ok(())
}

fn print(ways: &[Way], figures: &mut [Figures]) {
    println!(
        "| way | start of a shim | start of a task (`Create`, `Start`) | all of a container | exec | processor time of {EXECS} execs | memory of a container's shim | of a pod's |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (way, figures) in ways.iter().zip(figures) {
        let Figures { shim, task, all, exec, processor, memory, pod } = figures;
        println!(
            "| {} | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms | {} ms | {} kB | {} kB |",
            way.name,
            median(shim),
            median(task),
            median(all),
            median(exec),
            *processor,
            *memory / IDLE as u64,
            *pod / PODS as u64,
        );
    }
}
