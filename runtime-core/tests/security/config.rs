//! Broken configurations: an error, and nothing of a container; never a panic, a hang, a partial start.

use std::path::Path;
use std::time::{Duration, Instant};

use runtime_core::spec::{ValidProcess, ValidSpec};
use serde_json::{Value, json};

use crate::support::{Scratch, config};

/// A configuration that uses most fields.
fn rich() -> Value {
    let mut rich = config();
    rich["hostname"] = json!("name");
    rich["process"]["capabilities"] = json!({
        "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"], "inheritable": [], "ambient": [],
    });
    rich["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]);
    rich["process"]["oomScoreAdj"] = json!(100);
    rich["process"]["user"]["umask"] = json!(18);
    rich["process"]["user"]["additionalGids"] = json!([5]);
    rich["process"]["noNewPrivileges"] = json!(true);
    rich["process"]["consoleSize"] = json!({"height": 24, "width": 80});
    rich["root"]["readonly"] = json!(false);
    rich["annotations"] = json!({"a": "b"});
    rich["hooks"] =
        json!({"poststart": [{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 5}]});
    let linux = rich["linux"].as_object_mut().unwrap();
    linux.insert("maskedPaths".into(), json!(["/proc/kcore"]));
    linux.insert("readonlyPaths".into(), json!(["/proc/sys"]));
    linux.insert("sysctl".into(), json!({"net.ipv4.ip_forward": "0"}));
    linux.insert(
        "devices".into(),
        json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438}]),
    );
    linux.insert("rootfsPropagation".into(), json!("rprivate"));
    let mut resources = json!({"devices": [{"allow": false, "access": "rwm"}], "unified": {}});
    // A view of cgroup v2 alone may be without controllers: there a limit is an error.
    if Path::new("/sys/fs/cgroup/memory").exists() {
        resources["pids"] = json!({"limit": 100});
        resources["memory"] = json!({"limit": 67_108_864});
        resources["cpu"] = json!({"shares": 1024});
    }
    linux.insert("resources".into(), resources);
    linux.insert(
        "seccomp".into(),
        json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
        }),
    );
    rich
}

/// JSON pointers of all values.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| pointers(value, &format!("{at}/{name}"), found));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| pointers(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// Values that are wrong in most places.
fn replacements() -> Vec<Value> {
    let mut deep = json!(0);
    (0..100).for_each(|_| deep = json!([deep.clone()]));
    vec![
        json!(null),
        json!(""),
        json!("\0"),
        json!("a\nb"),
        json!("x".repeat(1 << 20)),
        json!("../../../x"),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1.5),
        json!(1e308),
        json!(true),
        json!([]),
        json!({}),
        json!([null]),
        json!(["", "/", "\0"]),
        json!({"": null}),
        json!("\u{fffd}\u{202e}"),
        json!("%s%n"),
        deep,
    ]
}

/// What the calling thread has used: on a busy machine a clock on the wall says nothing of the work.
fn processor_time() -> Duration {
    let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
    nix::time::clock_gettime(clock).unwrap().into()
}

/// Control: the configuration as it is runs.
#[test]
fn every_value_replaced_by_every_wrong_one() {
    let Some(scratch) = Scratch::new() else { return };
    assert!(scratch.run(&rich()).unwrap().success());
    let mut found = Vec::new();
    pointers(&rich(), "", &mut found);
    let (mut refused, mut ran) = (0u32, 0u32);
    for pointer in &found {
        for value in replacements() {
            let mut broken = rich();
            *broken.pointer_mut(pointer).unwrap() = value.clone();
            let text = serde_json::to_vec(&broken).unwrap();
            let before = processor_time();
            let parsed = ValidSpec::parse(&text);
            if let Err(error) = &parsed {
                refused += 1;
                let message = error.to_string();
                assert!(
                    !message.is_empty() && !message.contains('\n') && !message.contains('\0'),
                    "{pointer}: {message:?}"
                );
                assert!(processor_time() - before < Duration::from_secs(5), "{pointer}");
            }
            // A sample of those that are legal goes through the whole life.
            let sampled = (refused + ran) % 16 == 0 && pointer != "/process/args/0";
            if parsed.is_ok() {
                ran += 1;
                if sampled && let Err(error) = scratch.run(&broken) {
                    assert!(!error.to_string().contains('\n'), "{pointer}: {error}");
                }
            }
            assert!(processor_time() - before < Duration::from_secs(30), "{pointer} took too long");
        }
    }
    println!("{refused} refused, {ran} legal");
    assert!(refused > 100 && ran > 0);
    let left = std::fs::read_dir(scratch.runtime.state_root()).unwrap().count();
    assert_eq!(left, 0, "state is left");
}

/// What is no JSON, or not to its end. Control: the whole text.
#[test]
fn damaged_texts_are_errors() {
    let text = serde_json::to_vec(&rich()).unwrap();
    assert!(ValidSpec::parse(&text).is_ok());
    for len in 0..text.len() {
        assert!(ValidSpec::parse(&text[..len]).is_err(), "{len}");
    }
    // One byte changed: legal or not, but an answer.
    for at in 0..text.len() {
        for byte in [0, b'"', b'{', b',', b'9', 0xff] {
            let mut changed = text.clone();
            changed[at] = byte;
            if let Err(error) = ValidSpec::parse(&changed) {
                assert!(!error.to_string().contains('\n'));
            }
        }
    }
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    for bad in [
        String::new(),
        " ".into(),
        "null".into(),
        "[]".into(),
        "0".into(),
        "\"x\"".into(),
        "{}".into(),
        "{\"a\":".into(),
        "\u{feff}{}".into(),
        nested("[", "]"),
        nested("{\"a\":", "}"),
        format!("{}x", String::from_utf8_lossy(&text)),
        "{\"ociVersion\":\"1.0.0\",\"ociVersion\":\"9.9.9\"}".into(),
        "{\"ociVersion\":\"2.0.0\"}".into(),
    ] {
        assert!(ValidSpec::parse(bad.as_bytes()).is_err(), "{bad:.40}");
        assert!(ValidProcess::parse(bad.as_bytes()).is_err(), "{bad:.40}");
    }
    assert!(ValidSpec::parse(&[0xff, 0xfe, 0]).is_err());
}

/// A path with very many places and long names does not take the memory of the engine.
#[test]
fn a_long_search_path_stays_small() {
    let Some(scratch) = Scratch::new() else { return };
    let mut asked = config();
    asked["process"]["args"] = json!(["x".repeat(100_000)]);
    asked["process"]["env"] = json!([format!("PATH={}", "a:".repeat(60_000))]);
    let started = Instant::now();
    assert!(scratch.run(&asked).is_err());
    asked["process"]["env"] = json!([format!("PATH={}", "a:".repeat(4_000_000))]);
    assert!(scratch.run(&asked).is_err());
    let many: Vec<String> = (0..50_000).map(|number| format!("A{number}=b")).collect();
    asked["process"]["args"] = json!(["true"]);
    asked["process"]["env"] = json!(many);
    assert!(scratch.run(&asked).is_err());
    asked["process"]["env"] = json!([]);
    asked["process"]["args"] = json!(["true", "x".repeat(1 << 20)]);
    assert!(scratch.run(&asked).is_err());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}
