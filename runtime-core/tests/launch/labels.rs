//! Labels of SELinux on a kernel without it, with a host that claims to have it: each is refused by the kernel where
//! it is written, in the order in which it has to be, and nothing is left.

use runtime_core::host::Host;
use runtime_core::{Error, Runtime};
use serde_json::{Value, json};

use super::support::scene::{Scene, end, exec};
use super::views::in_views;

/// A scene whose runtime takes the host for one with SELinux; `None` where there is one.
fn scene() -> Option<Scene> {
    if Host::new().selinux() {
        println!("skipped: this kernel has SELinux and takes labels");
        return None;
    }
    let mut scene = Scene::new();
    let host = Host::new().with_security_modules(false, true);
    let state = scene.path().join("state");
    scene.runtime = Runtime::builder().state_root(state).host(host).build().expect("a runtime");
    Some(scene)
}

fn refused(scene: &Scene, config: &Value) -> Error {
    let refused = scene.run(&scene.id(), config).map(drop).expect_err("the kernel takes no label");
    scene.assert_clean(&refused.to_string());
    refused
}

in_views!(a_label_is_refused_where_it_is_written: hybrid, v2);
fn a_label_is_refused_where_it_is_written() {
    let Some(scene) = scene() else { return };
    // The keyring's comes first, so it is the first that the kernel refuses.
    let mut config = scene.config(&["true"]);
    config["process"]["selinuxLabel"] = json!("u:r:t:s0");
    let error = refused(&scene, &config).to_string();
    assert!(error.contains("write \"u:r:t:s0\" to \"attr/keycreate\""), "{error}");
    assert!(error.contains("(process.selinuxLabel)"), "{error}");

    let mut config = scene.config(&["true"]);
    config["linux"]["mountLabel"] = json!("u:r:t:s0");
    config["mounts"] = json!([{"destination": "/tmp", "type": "mqueue", "source": "mqueue"}]);
    let error = refused(&scene, &config).to_string();
    assert!(
        error.contains("label the root on \"/tmp\" with \"u:r:t:s0\": operation not supported"),
        "{error}"
    );
    assert!(error.contains("(mounts[0])"), "{error}");
}

in_views!(without_labels_nothing_is_labelled: hybrid, v2);
fn without_labels_nothing_is_labelled() {
    let Some(scene) = scene() else { return };
    let mut config = scene.config(&["sleep", "600"]);
    let queue = json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"});
    config["mounts"].as_array_mut().expect("mounts").push(queue);
    let container = scene.create(&scene.id(), &config).expect("created");
    container.start().expect("started");
    exec(&container, &["true"]).expect("a process").wait().expect("its end");
    end(container);
    scene.assert_clean("a container without labels");
}
