//! Filters in the kernel: each in a thread of its own, without privileges.

use runtime_core::seccomp::{FLAG_LOG, Filter};
use runtime_core::spec::parse_profile;

fn filter(json: &str) -> Filter {
    let profile = parse_profile(json.as_bytes(), "profile").unwrap();
    Filter::from_profile(&profile).unwrap()
}

/// Runs `test` in a thread that has `no_new_privs`.
fn confined<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(|| {
        nix::sys::prctl::set_no_new_privs().unwrap();
        test()
    })
    .join()
    .unwrap()
}

/// A call with harmless arguments; its errno, or 0.
fn errno_of(call: libc::c_long, argument: u64) -> i32 {
    // SAFETY: the calls made here (getppid, personality queries, numbers that do not exist) touch no memory.
    let result = unsafe { libc::syscall(call, argument, 0, 0, 0, 0, 0) };
    if result == -1 { std::io::Error::last_os_error().raw_os_error().unwrap() } else { 0 }
}

#[test]
fn errno_and_arguments() {
    let filter = filter(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [
            {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
            {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 78,
             "args": [{"index": 0, "value": 4294967296, "op": "SCMP_CMP_GE"}]}]}"#,
    );
    assert_eq!(filter.flags(), FLAG_LOG);
    let errnos = confined(move || {
        assert!(filter.install().unwrap().is_none());
        [
            errno_of(libc::SYS_getppid, 0),
            errno_of(libc::SYS_personality, 0xffff_ffff),
            errno_of(libc::SYS_personality, 1 << 32),
        ]
    });
    assert_eq!(errnos, [77, 0, 78]);
}

#[test]
fn recorded_profile_loads_and_new_calls_are_enosys() {
    let config = include_str!("fixtures/configs/docker-config.json");
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    let profile = parse_profile(config["linux"]["seccomp"].to_string().as_bytes(), "profile").unwrap();
    let filter = Filter::from_profile(&profile).unwrap();
    let errnos = confined(move || {
        let start = std::time::Instant::now();
        filter.install().unwrap();
        println!("loaded in {:?}", start.elapsed());
        // Not allowed by Docker, allowed, newer than the profile.
        [errno_of(libc::SYS_swapoff, 0), errno_of(libc::SYS_getppid, 0), errno_of(900, 0)]
    });
    assert_eq!(errnos, [libc::EPERM, 0, libc::ENOSYS]);
}

#[test]
fn notify_gives_a_listener() {
    let filter = filter(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}]}"#,
    );
    assert!(filter.needs_listener());
    assert!(confined(move || filter.install()).unwrap().is_some());
}
