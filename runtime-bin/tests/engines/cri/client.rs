//! containerd with its CRI plugin, and a client of that: gRPC is a POST over HTTP/2, which `curl` can do.
//!
//! The names and numbers are those of `k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`. A client from crates.io
//! would bring an asynchronous runtime, an HTTP/2 stack and a compiler of protocol files into every build.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use super::message::{Message, Reply};
use crate::support::{Cmd, Outcome, Place, Stop, await_daemon, eventually, need, stop_daemon, that};
use crate::{image, page};

const DAEMON: &str = "/usr/bin/containerd";
const CTR: &str = "/usr/bin/ctr";
const CURL: &str = "/usr/bin/curl";
const SOCKET: &str = "/run/containerd/containerd.sock";
const IMAGE: &str = "docker.io/library/bb:latest";
const PAUSE: &str = "docker.io/library/pause:latest";
/// The name that a RuntimeClass would have as its handler.
pub(super) const HANDLER: &str = "runtime";

/// The daemon.
pub(super) struct Cri {
    /// Unique name: the cgroup above all pods.
    pub(super) tag: String,
    pub(super) dir: PathBuf,
    pub(super) runtime: PathBuf,
    /// The shim that embeds the library, if that is what the checks run with.
    pub(super) shim: Option<PathBuf>,
    daemon: Child,
    next: Cell<u32>,
}

impl Drop for Cri {
    fn drop(&mut self) {
        stop_daemon(&mut self.daemon);
    }
}

/// One bridge for all pods that ask for a network. Without isolation from the host's own: it is this test's.
const NETWORK: &str = r#"{
    "cniVersion": "0.4.0", "name": "pods",
    "plugins": [{
        "type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false,
        "ipam": {"type": "host-local", "subnet": "10.199.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}
    }]
}"#;

fn config(dir: &Path, runtime: &Path, shim: bool) -> String {
    let page = if shim { page::shim_example() } else { page::example("containerd", runtime) };
    format!(
        r#"{page}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{dir}/cni"
"#,
        dir = dir.display()
    )
}

impl Cri {
    pub(super) fn start(place: &Place, shim: Option<&Path>) -> Result<Self, Stop> {
        for (program, package) in [
            (DAEMON, "containerd"),
            (CTR, "containerd"),
            (CURL, "curl"),
            ("/usr/lib/cni/bridge", "containernetworking-plugins"),
        ] {
            need(program, package)?;
        }
        fs::create_dir_all(place.dir.join("cni"))?;
        fs::write(place.dir.join("cni/pods.conflist"), NETWORK)?;
        let (file, log) = (place.dir.join("config.toml"), place.dir.join("containerd.log"));
        fs::write(&file, config(&place.dir, &place.runtime, shim.is_some()))?;
        // containerd finds a shim by its name in the daemon's PATH.
        let bin = place.shared_dir("bin")?;
        if let Some(shim) = shim {
            symlink(shim, bin.join("containerd-shim-runtime-v2"))?;
        }
        let daemon = Cmd::new(DAEMON)
            .args(["--address", SOCKET, "--state", "/run/containerd", "--config"])
            .arg(file)
            .arg("--root")
            .arg(place.dir.join("containerd"))
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display()))
            .daemon(&log)?;
        let (tag, dir, runtime) = (place.tag.clone(), place.dir.clone(), place.runtime.clone());
        let mut cri = Cri { tag, dir, runtime, shim: shim.map(Path::to_owned), daemon, next: Cell::new(0) };
        let probe = Cri::quick;
        await_daemon(&mut cri.daemon, &log, || probe(&place.dir, "Status"))?;
        cri.import(place)?;
        Ok(cri)
    }

    /// Whether a call without arguments is answered.
    fn quick(dir: &Path, method: &str) -> Outcome {
        post(&dir.join("probe"), method, &Message::default(), Duration::from_secs(10)).map(drop)
    }

    /// The images: containerd's CRI plugin hears of them a moment after `ctr` is done.
    fn import(&self, place: &Place) -> Outcome {
        let root = image::root_tar(&place.dir)?;
        for (name, command) in [(IMAGE, "sh"), (PAUSE, image::PAUSE)] {
            let saved = image::saved_image(&root, &place.dir, name, command)?;
            let import =
                Cmd::new(CTR).args(["--address", SOCKET, "--namespace", "k8s.io", "image", "import"]);
            import.arg(saved).run()?.ok()?;
            let request = Message::default().message(1, Message::default().text(1, name));
            eventually(Duration::from_secs(20), || {
                let status = self.call_of("ImageService", "ImageStatus", &request)?;
                that(&format!("the image {name} is known"), !status.message(1)?.text(1).is_empty())
            })?;
        }
        Ok(())
    }

    /// A call of the runtime service.
    pub(super) fn call(&self, method: &str, request: &Message) -> Result<Reply, Stop> {
        self.call_of("RuntimeService", method, request)
    }

    fn call_of(&self, service: &str, method: &str, request: &Message) -> Result<Reply, Stop> {
        let path = self.dir.join(format!("call-{}", self.new_number()));
        post_to(&path, service, method, request, Duration::from_secs(60))
    }

    /// The call fails; what it says.
    pub(super) fn refused(&self, method: &str, request: &Message) -> Result<String, Stop> {
        match self.call(method, request) {
            Ok(reply) => Err(format!("{method} succeeded: {reply:?}").into()),
            Err(Stop::Failed(text)) => Ok(text),
            Err(stop) => Err(stop),
        }
    }

    pub(super) fn new_number(&self) -> u32 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    /// What the runtime itself lists below the shim's state.
    pub(super) fn runtime_list(&self) -> Result<Vec<String>, Stop> {
        let name = if self.shim.is_some() { "runtime" } else { "runc" };
        let list = Cmd::new(&self.runtime).arg("--root").arg(format!("/run/containerd/{name}/k8s.io"));
        let list = list.args(["list", "-q"]);
        Ok(list.run()?.ok()?.lines().map(str::to_owned).collect())
    }
}

fn post(path: &Path, method: &str, request: &Message, limit: Duration) -> Result<Reply, Stop> {
    post_to(path, "RuntimeService", method, request, limit)
}

/// Sends one request. Its files are named after `path`, and stay for whoever looks for a failure.
fn post_to(
    path: &Path,
    service: &str,
    method: &str,
    request: &Message,
    limit: Duration,
) -> Result<Reply, Stop> {
    let file = |suffix: &str| path.with_extension(suffix);
    fs::write(file("request"), request.framed())?;
    fs::write(file("reply"), "")?;
    let curl = Cmd::new(CURL)
        .args(["--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket", SOCKET])
        .args(["--header", "content-type: application/grpc", "--header", "te: trailers", "--data-binary"])
        .arg(format!("@{}", file("request").display()))
        .arg("--output")
        .arg(file("reply"))
        .arg("--dump-header")
        .arg(file("headers"))
        .arg(format!("http://localhost/runtime.v1.{service}/{method}"));
    curl.limit(limit).run()?.ok()?;
    let headers = fs::read_to_string(file("headers"))?;
    let header = |name: &str| headers.lines().rev().find_map(|line| line.strip_prefix(name));
    match header("grpc-status: ") {
        Some("0") => Reply::unframed(&fs::read(file("reply"))?),
        status => {
            let message = header("grpc-message: ").unwrap_or_default();
            Err(format!("{method}: status {status:?}: {message}").into())
        }
    }
}

/// A pod, removed when it goes out of scope.
pub(super) struct Pod<'a> {
    pub(super) cri: &'a Cri,
    pub(super) id: String,
    config: Message,
    namespaces: Message,
}

/// The values of `NamespaceMode`.
pub(super) const POD: u64 = 0;
pub(super) const CONTAINER: u64 = 1;
pub(super) const NODE: u64 = 2;

/// What is wanted of a pod.
pub(super) struct PodWish<'a> {
    pub(super) network: u64,
    pub(super) pid: u64,
    pub(super) sysctls: &'a [(&'a str, &'a str)],
    pub(super) privileged: bool,
    /// `hostUsers: false`: the first id of the host, and how many, for users and groups.
    pub(super) users: Option<(u64, u64)>,
}

impl Default for PodWish<'_> {
    /// The usual pod of a node that has no network plugin.
    fn default() -> Self {
        PodWish { network: NODE, pid: CONTAINER, sysctls: &[], privileged: false, users: None }
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let request = Message::default().text(1, &self.id);
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            self.cri.call(method, &request).ok();
        }
    }
}

impl<'a> Pod<'a> {
    /// Runs a pod.
    pub(super) fn run(cri: &'a Cri, wish: PodWish<'_>) -> Result<Self, Stop> {
        let name = format!("pod-{}", cri.new_number());
        let namespaces = Message::default().number(1, wish.network).number(2, wish.pid).number(3, POD);
        let namespaces = wish.users.map_or(namespaces.clone(), |(first, count)| {
            let map = || Message::default().number(1, first).number(2, 0).number(3, count);
            // The mode POD is a namespace of the pod's own.
            namespaces.message(5, Message::default().number(1, POD).message(2, map()).message(3, map()))
        });
        let metadata = Message::default().text(1, &name).text(2, &name).text(3, "default").number(4, 1);
        let linux = Message::default()
            .text(1, format!("/{}/{name}", cri.tag))
            .message(2, Message::default().message(1, namespaces.clone()).number(6, wish.privileged.into()));
        let linux = wish.sysctls.iter().fold(linux, |linux, (key, value)| linux.entry(3, key, value));
        let logs = cri.dir.join("logs").join(&name);
        fs::create_dir_all(&logs)?;
        let config = Message::default().message(1, metadata).text(3, logs.to_string_lossy());
        let config = if wish.network == NODE { config } else { config.text(2, "box") };
        let config = config.message(8, linux);
        let request = Message::default().message(1, config.clone()).text(2, HANDLER);
        let id = cri.call("RunPodSandbox", &request)?.text(1);
        Ok(Pod { cri, id, config, namespaces })
    }

    /// The pod's status, and what containerd knows of it beyond that.
    pub(super) fn status(&self) -> Result<(Reply, Value), Stop> {
        let request = Message::default().text(1, &self.id).number(2, 1);
        let reply = self.cri.call("PodSandboxStatus", &request)?;
        Ok((reply.message(1)?, json(&reply.entry(2, "info")?)?))
    }

    /// The process id of the pause program.
    pub(super) fn pid(&self) -> Result<u32, Stop> {
        number(&self.status()?.1, "pid")
    }

    /// The request for a container that runs a shell script.
    pub(super) fn request(&self, script: &str, wish: Wish) -> Message {
        let name = format!("c-{}", self.cri.new_number());
        let security = wish.security.message(3, self.namespaces.clone());
        let config = wish
            .config
            .message(1, Message::default().text(1, &name))
            .message(2, Message::default().text(1, IMAGE))
            .texts(3, &["sh", "-c", script])
            .text(11, format!("{name}.log"))
            .message(15, Message::default().message(1, wish.resources).message(2, security));
        Message::default().text(1, &self.id).message(2, config).message(3, self.config.clone())
    }

    /// Creates a container that runs a shell script.
    pub(super) fn create(&self, script: &str, wish: Wish) -> Result<Container<'a>, Stop> {
        let id = self.cri.call("CreateContainer", &self.request(script, wish))?.text(1);
        Ok(Container { cri: self.cri, id })
    }

    /// Creates and starts a container.
    pub(super) fn start(&self, script: &str, wish: Wish) -> Result<Container<'a>, Stop> {
        let container = self.create(script, wish)?;
        container.call("StartContainer")?;
        Ok(container)
    }
}

/// What is wanted of a container beyond its script.
#[derive(Default)]
pub(super) struct Wish {
    /// `ContainerConfig`.
    pub(super) config: Message,
    /// `LinuxContainerResources`.
    pub(super) resources: Message,
    /// `LinuxContainerSecurityContext`.
    pub(super) security: Message,
}

/// A container of a pod; the pod removes it.
pub(super) struct Container<'a> {
    cri: &'a Cri,
    pub(super) id: String,
}

impl Container<'_> {
    /// A call that takes only the id.
    pub(super) fn call(&self, method: &str) -> Result<Reply, Stop> {
        self.cri.call(method, &Message::default().text(1, &self.id))
    }

    /// Stops it, with KILL after some seconds.
    pub(super) fn stop(&self, seconds: u64) -> Outcome {
        let request = Message::default().text(1, &self.id).number(2, seconds);
        self.cri.call("StopContainer", &request).map(drop)
    }

    /// Its status, and what containerd knows of it beyond that.
    pub(super) fn status(&self) -> Result<(Reply, Value), Stop> {
        let request = Message::default().text(1, &self.id).number(2, 1);
        let reply = self.cri.call("ContainerStatus", &request)?;
        Ok((reply.message(1)?, json(&reply.entry(2, "info")?)?))
    }

    pub(super) fn pid(&self) -> Result<u32, Stop> {
        number(&self.status()?.1, "pid")
    }

    /// What a command prints, on both streams, and its exit code.
    pub(super) fn exec(&self, command: &[&str], seconds: u64) -> Result<(String, String, u64), Stop> {
        let request = Message::default().text(1, &self.id).texts(2, command).number(3, seconds);
        let reply = self.cri.call("ExecSync", &request)?;
        Ok((reply.text(1), reply.text(2), reply.number(3)))
    }

    /// What a shell script prints, which must succeed.
    pub(super) fn sh(&self, script: &str) -> Result<String, Stop> {
        match self.exec(&["sh", "-c", script], 0)? {
            (out, _, 0) => Ok(out.trim_end().to_owned()),
            other => Err(format!("{script:?} gave {other:?}").into()),
        }
    }
}

fn json(text: &str) -> Result<Value, Stop> {
    serde_json::from_str(text).map_err(|error| error.to_string().into())
}

fn number(info: &Value, name: &str) -> Result<u32, Stop> {
    let number = info[name].as_u64().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| format!("no {name} in {info}").into())
}
