//! Capability sets are those of the configuration (CVE-2022-29162, CVE-2022-27650, CVE-2025-27612).

use serde_json::{Value, json};

use crate::support::{Scratch, alone, config, process};

const SETS: [&str; 5] = ["inheritable", "permitted", "effective", "bounding", "ambient"];

/// The five sets of a status file, in the order of [`SETS`].
fn sets(status: &str) -> [u64; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{status:?}"));
        u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
    })
}

const NAMES: [(&str, u64); 5] = [
    ("CAP_CHOWN", 1),
    ("CAP_KILL", 1 << 5),
    ("CAP_NET_RAW", 1 << 13),
    ("CAP_AUDIT_WRITE", 1 << 29),
    ("CAP_SYS_CHROOT", 1 << 18),
];

fn names(mask: u64) -> Vec<&'static str> {
    NAMES.iter().filter(|(_, bit)| mask & bit != 0).map(|(name, _)| *name).collect()
}

fn asked(masks: [u64; 5]) -> Value {
    SETS.iter()
        .zip(masks)
        .map(|(set, mask)| ((*set).to_owned(), json!(names(mask))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// capabilities(7): what a program without file capabilities has after execve(2).
fn after(uid: u32, [inheritable, _, _, bounding, ambient]: [u64; 5]) -> [u64; 5] {
    let permitted = if uid == 0 { inheritable | bounding | ambient } else { ambient };
    [inheritable, permitted, permitted, bounding, ambient]
}

const ALL: u64 = 1 | 1 << 5 | 1 << 13 | 1 << 18 | 1 << 29;
const CASES: [[u64; 5]; 6] = [
    [0, 0, 0, 0, 0],
    [0, ALL, ALL, ALL, 0],
    [0, 1, 1, 1 | 1 << 5, 0],
    [1 << 13, 1 | 1 << 13, 1, 1 | 1 << 13, 0],
    [1 << 13, 1 | 1 << 13, 1, 1 | 1 << 13, 1 << 13],
    [ALL, ALL, ALL, ALL, ALL],
];

/// In create the sets are those asked for while the container waits, and capabilities(7)'s afterwards;
/// in exec likewise. Control: the cases differ, and a set that is asked for is there.
#[test]
fn the_sets_are_those_asked_for() {
    let Some(scratch) = Scratch::new() else { return };
    let container = scratch.sleeping(crate::support::with_capabilities(config(), &names(ALL)));
    for masks in CASES {
        for uid in [0, 1000] {
            let mut process = process(&["/bin/sh", "-c", "cat /proc/self/status > /out/status"]);
            process["user"] = json!({"uid": uid, "gid": uid});
            process["capabilities"] = asked(masks);
            let mut created = config();
            created["process"] = process.clone();
            scratch.clear();
            let created = scratch.create(&created).unwrap();
            let waiting = std::fs::read_to_string(format!("/proc/{}/status", created.pid())).unwrap();
            assert_eq!(sets(&waiting), masks, "created, uid {uid}");
            created.start().unwrap();
            assert!(created.wait().success());
            assert_eq!(sets(&scratch.output("status")), after(uid, masks), "started, uid {uid}");

            scratch.clear();
            assert!(container.exec(&process).unwrap().success());
            assert_eq!(sets(&scratch.output("status")), after(uid, masks), "exec, uid {uid}");
        }
    }
}

/// Without the field there are none in create, and no more than the container's in exec.
#[test]
fn an_omitted_field_gives_nothing() {
    let Some(scratch) = Scratch::new() else { return };
    let line = "cat /proc/self/status > /out/status";
    assert!(scratch.run_shell(line).unwrap().success());
    assert_eq!(sets(&scratch.output("status")), [0; 5]);
    let container = scratch.sleeping(crate::support::with_capabilities(config(), &["CAP_CHOWN"]));
    scratch.clear();
    assert!(container.exec(&process(&["/bin/sh", "-c", line])).unwrap().success());
    let got = sets(&scratch.output("status"));
    assert!(got.iter().all(|set| set & !1 == 0) && got[0] == 0 && got[4] == 0, "{got:?}");
}

/// What cannot be granted is left out, and nothing else comes in its place: an effective capability
/// that is not permitted, an ambient one that is not inheritable, names nobody knows.
/// Control: the one name that is right is granted.
#[test]
fn what_cannot_be_granted_is_left_out() {
    let Some(scratch) = Scratch::new() else { return };
    let mut asked = config();
    asked["process"] = process(&["/bin/sh", "-c", "cat /proc/self/status > /out/status"]);
    asked["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    asked["process"]["capabilities"] = json!({
        "bounding": ["CAP_CHOWN", "CAP_NONE_SUCH"], "permitted": ["CAP_CHOWN"], "effective": ["CAP_KILL", "CAP_CHOWN"],
        "inheritable": [], "ambient": ["CAP_CHOWN", "CAP_KILL"],
    });
    let created = scratch.create(&asked).unwrap();
    let waiting = std::fs::read_to_string(format!("/proc/{}/status", created.pid())).unwrap();
    assert_eq!(sets(&waiting), [0, 1, 1, 1, 0]);
}

/// The ambient capabilities of the caller are not the container's, though it may inherit them. Control: one that is asked for
/// is ambient.
#[test]
fn ambient_capabilities_of_the_caller_are_not_inherited() {
    if !alone("capabilities::ambient_capabilities_of_the_caller_are_not_inherited") {
        return;
    }
    let Some(scratch) = Scratch::new() else { return };
    let chown = caps::Capability::CAP_CHOWN;
    caps::raise(None, caps::CapSet::Inheritable, chown).unwrap();
    caps::raise(None, caps::CapSet::Ambient, chown).unwrap();
    let container = scratch.sleeping(crate::support::with_capabilities(config(), &names(ALL)));
    for ambient in [0, 1] {
        for uid in [0, 1000] {
            let masks = [1, 1, 1, 1, ambient];
            let mut process = process(&["/bin/sh", "-c", "cat /proc/self/status > /out/status"]);
            process["user"] = json!({"uid": uid, "gid": uid});
            process["capabilities"] = asked(masks);
            let mut created = config();
            created["process"] = process.clone();
            let created = scratch.create(&created).unwrap();
            let waiting = std::fs::read_to_string(format!("/proc/{}/status", created.pid())).unwrap();
            assert_eq!(sets(&waiting), masks, "created, uid {uid}");
            assert!(container.exec(&process).unwrap().success());
            assert_eq!(sets(&scratch.output("status"))[4], ambient, "exec, uid {uid}");
            scratch.clear();
        }
    }
}

/// A program cannot gain rights by execve(2), if it must not; and the filter is there, in create and in exec. Control: without
/// the field and the filter the kernel says the opposite.
#[test]
fn the_filter_and_no_new_privileges_hold() {
    let Some(scratch) = Scratch::new() else { return };
    let line = "cat /proc/self/status > /out/status; mkdir /tmp/made 2> /out/error; true";
    for holds in [false, true] {
        let mut asked = crate::support::shell(line);
        asked["process"]["noNewPrivileges"] = json!(holds);
        if holds {
            asked["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
            });
        }
        let running = scratch.sleeping(asked.clone());
        let exec = || running.exec(&asked["process"]).unwrap();
        for (how, run) in [("create", &(|| scratch.run(&asked).unwrap()) as &dyn Fn() -> _), ("exec", &exec)]
        {
            scratch.clear();
            std::fs::remove_dir(scratch.root().join("tmp/made")).ok();
            assert!(run().success());
            let status = scratch.output("status");
            let says = |line: &str| status.lines().any(|found| found == line);
            assert_eq!(says("NoNewPrivs:\t1"), holds, "{how}: {status}");
            assert_eq!(says("Seccomp:\t2"), holds, "{how}: {status}");
            assert_eq!(
                scratch.root().join("tmp/made").exists(),
                !holds,
                "{how}: {}",
                scratch.output("error")
            );
        }
    }
}
