//! User ids are taken as written, or refused (CVE-2016-3697, CVE-2024-40635, CVE-2026-30892,
//! CVE-2026-46680).

use serde_json::{Value, json};

use crate::support::{Scratch, shell};

const IDS: &str = "id -u > /out/uid; id -g > /out/gid; cat /proc/self/status > /out/status";

fn as_user(field: &str, value: Value) -> Value {
    let mut asked = shell(IDS);
    asked["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    asked["process"]["user"][field] = value;
    asked
}

/// Control: the nearest good ids are taken exactly.
#[test]
fn ids_are_exact_or_refused() {
    let Some(scratch) = Scratch::new() else { return };
    let bad = [
        json!("0x1"),
        json!("01"),
        json!(" 1"),
        json!("1"),
        json!("1:"),
        json!("root"),
        json!(""),
        json!(-1),
        json!(-4_294_967_296i64),
        json!(4_294_967_295u32),
        json!(4_294_967_296u64),
        json!(u64::MAX),
        json!(1.5),
        json!(1e3),
        json!(1e300),
        json!(true),
        json!([1]),
        json!({"id": 1}),
        json!(null),
    ];
    for value in &bad {
        for field in ["uid", "gid"] {
            let asked = as_user(field, value.clone());
            assert!(scratch.run(&asked).is_err(), "{field} {value}");
            assert_eq!(scratch.output("uid"), "", "{field} {value}: something ran");
        }
        if !value.is_null() {
            assert!(scratch.run(&as_user("additionalGids", json!([5, value]))).is_err(), "{value}");
        }
    }
    // Not JSON, but what lenient parsers take.
    for text in ["01", "0x1", "+1", " 1 2", "1_000", "\u{663}", "NaN", "1."] {
        let config =
            serde_json::to_string(&as_user("uid", json!("PLACE"))).unwrap().replace("\"PLACE\"", text);
        assert!(runtime_core::spec::ValidSpec::parse(config.as_bytes()).is_err(), "{text}");
    }
    for id in [0u32, 1, 1000, 65534, 65535, 65536, i32::MAX as u32, u32::MAX - 1] {
        scratch.clear();
        let mut asked = as_user("uid", json!(id));
        asked["process"]["user"]["gid"] = json!(id);
        asked["process"]["user"]["additionalGids"] = json!([id, 7]);
        assert!(scratch.run(&asked).unwrap().success(), "{id}");
        let status = scratch.output("status");
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let text = id.to_string();
        assert_eq!(line("Uid:"), vec![text.clone(); 4], "{id}");
        assert_eq!(line("Gid:"), vec![text.clone(); 4], "{id}");
        let mut groups = [id, 7];
        groups.sort_unstable();
        assert_eq!(line("Groups:"), groups.map(|group| group.to_string()), "{id}");
    }
}

/// The runtime asks no passwd file of the image who a user is: a user with the name "1000" and the id
/// 0 changes nothing. Control: HOME, which is asked for there, does come from that file.
#[test]
fn the_images_passwd_makes_nobody_root() {
    let Some(scratch) = Scratch::new() else { return };
    std::fs::write(
        scratch.root().join("etc/passwd"),
        "1000:x:0:0::/root:/bin/sh\nx:x:1000:1000::/home/x:/bin/sh\n",
    )
    .unwrap();
    let mut asked = as_user("uid", json!(1000));
    asked["process"]["args"] = json!(["/bin/sh", "-c", "id -u > /out/uid; echo $HOME > /out/home"]);
    asked["process"]["env"] = json!(["PATH=/bin"]);
    assert!(scratch.run(&asked).unwrap().success());
    assert_eq!((scratch.output("uid"), scratch.output("home")), ("1000\n".into(), "/home/x\n".into()));
}

/// What an image has at /etc/passwd is looked at before it is opened: to open a device or a pipe has effects. Control: an open
/// of that file is seen, and a regular file is read.
#[test]
fn a_passwd_that_is_no_file_is_not_opened() {
    let Some(scratch) = Scratch::new() else { return };
    let place = scratch.root().join("etc/passwd");
    let mut asked = as_user("uid", json!(1000));
    asked["process"]["args"] = json!(["/bin/sh", "-c", "echo $HOME > /out/home"]);
    asked["process"]["env"] = json!(["PATH=/bin"]);
    nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let opens = crate::opens::Opens::of(&place);
    let running = scratch.sleeping(shell("true"));
    assert!(running.exec(&asked["process"]).unwrap().success());
    assert!(scratch.run(&asked).unwrap().success());
    assert_eq!((scratch.output("home").as_str(), opens.count()), ("/\n", 0));
    drop(std::fs::OpenOptions::new().read(true).write(true).open(&place).unwrap());
    assert_eq!(opens.count(), 1, "the control");
    std::fs::remove_file(&place).unwrap();
    std::fs::write(&place, "x:x:1000:1000::/home/x:/bin/sh\n").unwrap();
    assert!(scratch.run(&asked).unwrap().success());
    assert_eq!(scratch.output("home"), "/home/x\n");
}

/// The groups of the caller are not the container's. Control: those of the configuration are.
#[test]
fn groups_of_the_caller_are_not_kept() {
    if !crate::support::alone("ids::groups_of_the_caller_are_not_kept") {
        return;
    }
    let Some(scratch) = Scratch::new() else { return };
    nix::unistd::setgroups(&[nix::unistd::Gid::from_raw(4242)]).unwrap();
    let running = scratch.sleeping(shell("true"));
    for (groups, line) in [(json!([]), "Groups:\t "), (json!([7]), "Groups:\t7 ")] {
        for uid in [0, 1000] {
            let mut asked = as_user("additionalGids", groups.clone());
            asked["process"]["user"]["uid"] = json!(uid);
            for exec in [false, true] {
                scratch.clear();
                let result = if exec { running.exec(&asked["process"]) } else { scratch.run(&asked) };
                assert!(result.unwrap().success());
                let status = scratch.output("status");
                assert!(status.lines().any(|found| found == line), "{line:?}: {status}");
            }
        }
    }
}
