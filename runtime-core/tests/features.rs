//! A build without features: what needs one is an error that names it.
#![cfg(not(any(feature = "systemd", feature = "resctrl")))]

use runtime_core::plan::CreateOptions;
use runtime_core::{Bundle, CgroupDriver, ContainerSpec, ErrorKind, Runtime};

#[test]
fn the_systemd_driver_is_not_there() {
    let state = tempfile::tempdir().expect("a directory");
    let runtime = Runtime::builder().state_root(state.path()).cgroup_driver(CgroupDriver::Systemd).build();
    let bundle = ContainerSpec::new("/").args(["true"]).build().expect("a configuration");
    let plan = runtime.expect("a runtime").plan("web", bundle, CreateOptions::new());
    let error = plan.expect_err("there is no driver");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("feature systemd")), "{error}");
}

#[test]
fn resctrl_is_not_there() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let state = tempfile::tempdir().expect("a directory");
    let runtime = Runtime::builder().state_root(state.path()).build().expect("a runtime");
    let spec = ContainerSpec::new("/").args(["true"]).to_oci().expect("a configuration");
    let mut config = serde_json::to_value(&spec).expect("JSON");
    config["linux"]["intelRdt"] = serde_json::json!({"closID": "a"});
    let bundle = Bundle::from_bytes(state.path(), config.to_string()).expect("a configuration");
    let plan = runtime.plan("web", bundle, CreateOptions::new()).expect("a plan");
    let error = runtime.create(plan).expect_err("there is no resctrl");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("feature resctrl")), "{error}");
    assert!(runtime.list().expect("a list").is_empty());
}
