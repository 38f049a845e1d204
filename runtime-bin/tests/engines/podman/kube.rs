//! `podman play kube`: a pod of two containers from a Kubernetes manifest.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::Podman;
use crate::image;
use crate::support::{
    Cmd, Outcome, Output, Stop, Table, cgroup_value, eventually, growth, has, hierarchies, same,
    seccomp_is_on, status_field, that,
};

const POD: &str = "kube";
const SOON: Duration = Duration::from_secs(20);

pub(super) const CHECKS: &Table<Kube> = &[
    ("play kube: both containers share the pod's namespaces", shared),
    ("play kube: limits", limits),
    ("play kube: environment, also of a ConfigMap", environment),
    ("play kube: hostPath and emptyDir volumes", volumes),
    ("play kube: user, capabilities, read-only root", security),
    ("play kube: exec, logs", exec),
    ("pod top, pod stats, stats", top),
    ("pod pause: no container progresses", pause),
    ("pod kill: a signal that is handled", kill),
    ("play kube --down: nothing is left", down),
];

/// The pod that all checks are of.
pub(super) struct Kube {
    podman: Podman,
    host: PathBuf,
    manifest: PathBuf,
    config: PathBuf,
}

impl Drop for Kube {
    fn drop(&mut self) {
        self.podman.podman(&["pod", "rm", "--force", "--ignore", "--time", "0", POD]).ok();
        // Podman's own parent of pods from manifests, which cannot be chosen: left only if in use.
        for parent in hierarchies().into_iter().map(|root| root.join("libpod_parent")) {
            crate::support::remove_empty(&parent);
        }
    }
}

fn manifest(host: &std::path::Path) -> String {
    let annotations = if seccomp_is_on() {
        ""
    } else {
        "  annotations: { seccomp.security.alpha.kubernetes.io/pod: unconfined }\n"
    };
    format!(
        r#"
apiVersion: v1
kind: ConfigMap
metadata:
  name: colors
data:
  COLOR: deep blue
---
apiVersion: v1
kind: Pod
metadata:
  name: {POD}
{annotations}spec:
  restartPolicy: Never
  hostname: box
  volumes:
  - name: host
    hostPath: {{ path: {host}, type: Directory }}
  - name: scratch
    emptyDir: {{}}
  containers:
  - name: writer
    image: localhost/bb
    imagePullPolicy: Never
    # Podman gives no PATH here.
    command: ["/bin/sh", "-c"]
    args:
    - |
      trap 'touch /host/usr1' USR1
      echo out; echo err >&2
      touch /host/ready
      while :; do echo -n x >> /host/count; usleep 10000; done
    env:
    - name: PLAIN
      value: a b
    envFrom:
    - configMapRef: {{ name: colors }}
    resources:
      limits: {{ memory: 64Mi, cpu: 500m }}
    volumeMounts:
    - {{ name: host, mountPath: /host }}
    - {{ name: scratch, mountPath: /scratch }}
  - name: reader
    image: localhost/bb
    imagePullPolicy: Never
    command: ["/bin/sleep", "1000"]
    workingDir: /home/tester
    securityContext:
      runAsUser: {user}
      readOnlyRootFilesystem: true
      capabilities: {{ drop: [ALL], add: [NET_ADMIN] }}
    volumeMounts:
    - {{ name: host, mountPath: /host, readOnly: true }}
    - {{ name: scratch, mountPath: /scratch }}
"#,
        host = host.display(),
        user = image::USER_ID,
    )
}

impl Kube {
    /// Plays the manifest.
    pub(super) fn play(podman: Podman) -> Result<Self, Stop> {
        let tar = podman.dir.join("busybox.tar");
        let entry = format!("ENTRYPOINT [\"{}\"]", image::PAUSE);
        let import = ["import", "--change", &entry, &tar.to_string_lossy(), "localhost/hold"];
        podman.podman(&import)?.ok()?;
        let host = podman.host_dir("kube")?;
        let (file, config) = (podman.dir.join("pod.yaml"), podman.dir.join("containers.conf"));
        fs::write(&file, manifest(&host))?;
        // Podman's own pause program would be another package.
        fs::write(&config, "[engine]\ninfra_image = \"localhost/hold\"\n")?;
        let kube = Kube { podman, host, manifest: file, config };
        kube.run(&["--network", "none", "--log-driver", "k8s-file"])?.ok()?;
        Ok(kube)
    }

    /// `podman play kube OPTIONS FILE`.
    fn run(&self, options: &[&str]) -> Result<Output, Stop> {
        let play = self.podman.client().env("CONTAINERS_CONF", &self.config);
        play.args(["play", "kube"]).args(options).arg(&self.manifest).run()
    }

    fn podman(&self, args: &[&str]) -> Result<String, Stop> {
        self.podman.podman(args)?.ok()
    }

    fn pid(&self, container: &str) -> Result<u32, Stop> {
        let name = format!("{POD}-{container}");
        let pid = self.podman(&["container", "inspect", "--format", "{{.State.Pid}}", &name])?;
        pid.parse().map_err(|_| format!("pid {pid:?}").into())
    }

    /// Runs a shell script in a container, which must succeed.
    fn sh(&self, container: &str, script: &str) -> Result<String, Stop> {
        self.podman(&["exec", &format!("{POD}-{container}"), "/bin/sh", "-c", script])
    }

    fn writes(&self) -> Outcome {
        let count = self.host.join("count");
        eventually(SOON, || that("it writes", growth(&count, Duration::from_millis(100))? > 0))
    }
}

fn shared(kube: &Kube) -> Outcome {
    let (one, two) = (kube.pid("writer")?, kube.pid("reader")?);
    let namespace =
        |pid: u32, kind: &str| Ok::<_, Stop>(fs::metadata(format!("/proc/{pid}/ns/{kind}"))?.ino());
    for kind in ["net", "ipc", "uts"] {
        same(kind, namespace(one, kind)?, namespace(two, kind)?)?;
        that(
            &format!("{kind} is not the host's"),
            namespace(one, kind)? != namespace(std::process::id(), kind)?,
        )?;
    }
    for kind in ["mnt", "pid"] {
        that(&format!("{kind} differs"), namespace(one, kind)? != namespace(two, kind)?)?;
    }
    let list = Cmd::new(&kube.podman.runtime).args(["list", "-q"]).run()?.ok()?;
    same("containers of the runtime", list.lines().count(), 3)
}

fn limits(kube: &Kube) -> Outcome {
    let pid = kube.pid("writer")?;
    same("memory", cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max")?, "67108864")?;
    has("quota", &cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")?, "50000")
}

fn environment(kube: &Kube) -> Outcome {
    same("environment", kube.sh("writer", "echo $PLAIN; echo $COLOR; hostname")?, "a b\ndeep blue\nbox")
}

fn volumes(kube: &Kube) -> Outcome {
    fs::write(kube.host.join("in"), "from host")?;
    kube.sh("writer", "cp /host/in /scratch/in; echo from box > /host/out; chmod 777 /scratch")?;
    let text = kube.sh("reader", "cat /scratch/in; ! echo x 2>/dev/null > /host/no")?;
    same("read by the other", text, "from host")?;
    same("written", fs::read_to_string(kube.host.join("out"))?, "from box\n")
}

fn security(kube: &Kube) -> Outcome {
    let text = kube.sh("reader", "pwd; ! touch /a 2>/dev/null; cat /proc/1/status")?;
    has("directory", &text, "/home/tester\n")?;
    same("user", status_field(&text, "Uid")?.split('\t').next(), Some(&*image::USER_ID.to_string()))?;
    same("bounding set", status_field(&text, "CapBnd")?, "0000000000001000")?;
    has("root", &kube.sh("reader", "grep ' / ' /proc/mounts")?, " ro,")
}

fn exec(kube: &Kube) -> Outcome {
    let writer = format!("{POD}-writer");
    kube.podman.podman(&["exec", &writer, "/bin/sh", "-c", "exit 5"])?.code(5)?;
    eventually(SOON, || {
        let output = kube.podman.podman(&["logs", &writer])?;
        same("stderr", output.stderr.as_str(), "err\n")?;
        same("stdout", output.ok()?, "out")
    })
}

fn top(kube: &Kube) -> Outcome {
    let text = kube.podman(&["pod", "top", POD, "pid", "args"])?;
    for part in ["sleep 1000", image::PAUSE] {
        has("processes", &text, part)?;
    }
    let format = "{{.Name}} {{.MemUsage}} {{.PIDs}}";
    let text = kube.podman(&["stats", "--no-stream", "--format", format, &format!("{POD}-writer")])?;
    has("statistics", &text, &format!("{POD}-writer"))?;
    has("the limit", &text, "/ 67.11MB")?;
    let text = kube.podman(&["pod", "stats", "--no-stream", "--format", "{{.Name}}", POD])?;
    for container in ["writer", "reader"] {
        has("of the pod", &text, &format!("{POD}-{container}"))?;
    }
    Ok(())
}

fn pause(kube: &Kube) -> Outcome {
    kube.writes()?;
    kube.podman(&["pod", "pause", POD])?;
    same("bytes written while paused", growth(&kube.host.join("count"), Duration::from_millis(300))?, 0)?;
    let format =
        ["ps", "--filter", "status=paused", "--filter", &format!("pod={POD}"), "--format", "{{.Names}}"];
    same("paused", kube.podman(&format)?.lines().count(), 3)?;
    kube.podman(&["pod", "unpause", POD])?;
    kube.writes()
}

fn kill(kube: &Kube) -> Outcome {
    eventually(SOON, || that("ready", kube.host.join("ready").exists()))?;
    kube.podman(&["kill", "--signal", "USR1", &format!("{POD}-writer")])?;
    eventually(SOON, || that("the handler ran", kube.host.join("usr1").exists()))
}

fn down(kube: &Kube) -> Outcome {
    let pid = kube.pid("writer")?;
    kube.run(&["--down"])?.ok()?;
    same("pods", kube.podman(&["pod", "ps", "--quiet"])?, "")?;
    that("its process is gone", !PathBuf::from(format!("/proc/{pid}")).exists())?;
    same("the runtime's list", Cmd::new(&kube.podman.runtime).args(["list", "-q"]).run()?.ok()?, "")
}
