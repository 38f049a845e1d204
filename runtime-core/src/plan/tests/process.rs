//! The program and its rights.

use serde_json::{Value, json};

use super::{default, exec_options, has, in_order, lines, lines_on, options, plan_on, valid};
use crate::error::ErrorKind;
use crate::host::{Host, OwnCapabilities};
use crate::plan::LaunchPlan;
use crate::spec::ValidProcess;
use runtime_init::ops::{Op, ProcessOp, ProgramOp};

#[test]
fn labels_need_their_module() {
    for (field, text) in
        [("apparmorProfile", "apparmor is disabled"), ("selinuxLabel", "selinux is disabled")]
    {
        let mut spec = default();
        spec["process"][field] = json!("x");
        let error = plan_on(&spec, &Host::for_tests()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// The keyring has the label of the program, which else may not use it; what is made later has none of this.
#[test]
fn the_session_keyring_is_labelled() {
    let label = "system_u:system_r:container_t:s0:c1,c2";
    let mut spec = default();
    spec["process"]["selinuxLabel"] = json!(label);
    let host = Host::for_tests().with_security_modules(false, true);
    let keys = format!("child: write {label:?} to \"attr/keycreate\" (process.selinuxLabel)");
    let program = format!("child: write {label:?} to \"attr/exec\" (process.selinuxLabel)");
    let order = [
        &keys,
        "child: join session keyring \"_ses.c1\"",
        "child: write \"\" to \"attr/keycreate\"",
        &program,
    ];
    in_order(&lines_on(&spec, &host), &order);

    // A process without a label gets that of the container, not that of the caller.
    let exec = |process: &str| {
        let process = ValidProcess::parse(process.as_bytes()).unwrap();
        let options = exec_options();
        let plan = LaunchPlan::exec(&valid(&spec), &process, &host, &options).unwrap();
        plan.to_string().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    in_order(&exec(r#"{"cwd": "/", "args": ["id"]}"#), &order);
    let own = exec(r#"{"cwd": "/", "args": ["id"], "selinuxLabel": "own"}"#);
    assert!(has(&own, "child: write \"own\" to \"attr/keycreate\" (selinuxLabel)"), "{own:#?}");
    assert!(has(&own, "child: write \"own\" to \"attr/exec\" (selinuxLabel)"), "{own:#?}");

    let without_keyring = LaunchPlan::create(&valid(&spec), &host, &options().no_new_keyring(true)).unwrap();
    assert!(!without_keyring.to_string().contains("keycreate"));
    spec["process"].as_object_mut().unwrap().remove("selinuxLabel");
    assert!(!lines_on(&spec, &host).iter().any(|line| line.contains("attr/")));
}

#[test]
fn a_profile_of_apparmor_is_that_of_the_container() {
    let mut spec = default();
    spec["process"]["apparmorProfile"] = json!("confined");
    let host = Host::for_tests().with_security_modules(true, false);
    let process = ValidProcess::parse(br#"{"cwd": "/", "args": ["id"]}"#).unwrap();
    let plan = LaunchPlan::exec(&valid(&spec), &process, &host, &exec_options()).unwrap();
    let line = "child: write \"exec confined\" to \"attr/apparmor/exec\" (process.apparmorProfile)";
    assert!(plan.to_string().contains(line), "{plan}");
}

#[test]
fn capabilities_are_never_wider_than_possible() {
    let mut spec = default();
    spec["process"]["capabilities"] = json!({
        "bounding": ["CAP_KILL", "CAP_BPF"], "permitted": ["CAP_KILL", "CAP_BPF"], "effective": ["CAP_CHOWN"],
        "ambient": ["CAP_KILL"],
    });
    let own = OwnCapabilities { permitted: 1 << 5 | 1 << 8, bounding: 1 << 5, inheritable: 0 };
    let plan = plan_on(&spec, &Host::for_tests().with_capabilities(own)).unwrap();
    let op = plan.child.ops().iter().find_map(|op| match op {
        Op::Process(ProcessOp::SetCapabilities { effective, permitted, inheritable }) => {
            Some((*effective, *permitted, *inheritable))
        }
        _ => None,
    });
    assert_eq!(op, Some((0, 1 << 5, 0)));
    assert_eq!(
        plan.warnings,
        [
            "process.capabilities: CAP_BPF cannot be granted and is left out of bounding, permitted",
            "process.capabilities.effective: CAP_CHOWN cannot be granted and is left out",
            "can't raise ambient capability CAP_KILL: operation not permitted: it has to be in the permitted and the inheritable set (process.capabilities.ambient)",
        ]
    );
}

#[test]
fn without_capabilities_all_sets_are_empty() {
    let mut spec = default();
    spec["process"].as_object_mut().unwrap().remove("capabilities");
    let lines = lines(&spec);
    assert!(has(&lines, "child: set capabilities: effective none, permitted none, inheritable none"));
    assert!(has(
        &lines,
        "child: drop from the bounding set CAP_AUDIT_CONTROL CAP_AUDIT_READ CAP_AUDIT_WRITE"
    ));
}

#[test]
fn sockets_that_the_program_is_told_of() {
    let options =
        options().listen_fds(Some(2)).preserve_fds(1).notify_socket(Some("/run/c1/notify/n.sock".to_owned()));
    let plan = LaunchPlan::create(&valid(&default()), &Host::for_tests(), &options).unwrap();
    assert_eq!(plan.preserved, 3);
    let text = plan.to_string();
    assert!(text.contains("child: bind \"/run/c1/notify\" on \"/run/notify\""));
    let image = plan.child.image(6, 0, false);
    for variable in ["LISTEN_FDS=2\0", "LISTEN_PID=1\0", "NOTIFY_SOCKET=/run/notify/n.sock\0"] {
        assert!(image.windows(variable.len()).any(|window| window == variable.as_bytes()), "{variable}");
    }
}

#[test]
fn programs_are_looked_up_in_the_path_of_the_container() {
    let found = |args: Value, env: Value| {
        let mut spec = default();
        spec["process"]["args"] = args;
        spec["process"]["env"] = env;
        let plan = plan_on(&spec, &Host::for_tests()).unwrap();
        let op = plan
            .child
            .ops()
            .iter()
            .position(|op| matches!(op, Op::Program(ProgramOp::FindProgram { .. })))
            .unwrap();
        let Op::Program(ProgramOp::FindProgram { candidates }) = plan.child.ops()[op] else { unreachable!() };
        (plan.child.explain(op), plan.child.strings_text(candidates))
    };
    let path = json!(["PATH=/bin/::x"]);
    let (text, candidates) = found(json!(["sh"]), path.clone());
    assert_eq!((text.as_str(), candidates.as_str()), ("exec: \"sh\"", "\"/bin/sh\" \"./sh\" \"x/sh\""));
    assert_eq!(found(json!(["./sh"]), path.clone()).1, "\"./sh\"");
    assert_eq!(found(json!([""]), path).1, "");
    // One directory makes no path of a name.
    assert_eq!(found(json!(["sh"]), json!(["PATH=/bin"])), ("exec: \"sh\"".into(), "\"/bin/sh\"".into()));
}
