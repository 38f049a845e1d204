//! The paths and ids of Kubernetes: a cgroup below the pod's, which the kubelet made and removes itself.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::engine::Engine;
use crate::support::privileged;

/// The roots of the hierarchies in which the runtime makes cgroups.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.procs").exists() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).expect("cgroups").flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

#[test]
fn the_cgroup_of_a_pod_is_the_kubelets() {
    if !privileged() {
        return;
    }
    let top = format!("kubepods-contract-{}", std::process::id());
    let pod = format!("{top}/burstable/pod6f9e1f2a-3c0b-4a67-9d3e-0b7f6c8e5d21");
    let pods: Vec<_> = hierarchies().iter().map(|root| root.join(&pod)).collect();
    pods.iter().for_each(|pod| fs::create_dir_all(pod).expect("the pod's cgroup"));
    {
        let mut engine = Engine::new("sleep 1000");
        engine.bundle.config["linux"]["cgroupsPath"] = json!(format!("/{pod}/{}", engine.id));
        engine.bundle.write();
        let engine = engine.started();
        let state = engine.json(&["--root", &engine.root(), "state", &engine.id]);
        let table = fs::read_to_string(format!("/proc/{}/cgroup", state["pid"])).expect("cgroups");
        assert!(table.contains(&format!(":/{pod}/{}\n", engine.id)), "{table}");
        engine.silent(&["--root", &engine.root(), "delete", "--force", &engine.id]);
        for pod in &pods {
            assert!(!pod.join(&engine.id).exists(), "the container's own is gone");
            assert!(pod.exists(), "the pod's is not the runtime's");
        }
    }
    for pod in pods {
        for above in pod.ancestors().take(3) {
            fs::remove_dir(above).expect("nothing is in it");
        }
    }
}

/// A pod's containers join the namespaces of its pause container by path.
#[test]
fn containers_join_the_sandbox() {
    if !privileged() {
        return;
    }
    let sandbox = Engine::new("sleep 1000").started();
    let state = sandbox.json(&["--root", &sandbox.root(), "state", &sandbox.id]);
    let path =
        |kind: &str, name: &str| json!({"type": kind, "path": format!("/proc/{}/ns/{name}", state["pid"])});
    let mut engine = Engine::new("sleep 1000");
    engine.bundle.config["linux"]["namespaces"] = json!([
        path("network", "net"), path("ipc", "ipc"), path("uts", "uts"), path("pid", "pid"),
        {"type": "mount"},
    ]);
    // The host name is the sandbox's.
    engine.bundle.config.as_object_mut().expect("an object").remove("hostname");
    engine.bundle.config["annotations"] = json!({
        "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": sandbox.id,
    });
    engine.bundle.write();
    let engine = engine.started();
    let own = engine.json(&["--root", &engine.root(), "state", &engine.id]);
    for kind in ["net", "ipc", "uts", "pid"] {
        let of =
            |pid: &serde_json::Value| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
        assert_eq!(of(&own["pid"]), of(&state["pid"]), "{kind}");
    }
    assert_eq!(own["annotations"]["io.kubernetes.cri.sandbox-id"], sandbox.id.as_str());
    // With the sandbox's PID namespace the end of a container must still be the end of all its processes.
    engine.silent(&["--root", &engine.root(), "exec", "--detach", &engine.id, "sleep", "2000"]);
    let sleeps = || sandbox.sh("ps -o args | grep -c '[s]leep [12]000'; true");
    assert_eq!(sleeps(), "3\n");
    engine.silent(&["--root", &engine.root(), "kill", "--all", &engine.id, "9"]);
    crate::support::until("the end of both", || sleeps() == "1\n");
    assert_eq!(sandbox.status(), "running");
}
