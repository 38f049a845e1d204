//! Commands under a seccomp filter that denies single calls, as the one of an outer container does.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::errno::Errno;
use runtime_core::seccomp::Filter;
use serde_json::json;

use crate::support::{Bundle, Run, Running as _, runtime_path};

const CALLS: &str = "NESTED_DENIED_CALLS";
const ERRNO: &str = "NESTED_DENIED_ERRNO";
const NO_NEW_PRIVILEGES: &str = "NESTED_NO_NEW_PRIVILEGES";
const WORDS: &str = "NESTED_WORDS";
const STATE: &str = "NESTED_STATE";
/// Between words; a script has lines.
const SEPARATOR: &str = "\x1f";
/// A descriptor of the host that the caller forgot to close, far from all others.
pub(crate) const LEAKED: i32 = 777;

/// What a filter does to calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Denial<'a> {
    /// With a `!` before it, one whose caller is killed; with `=NUMBER` behind it, only where that is the third argument.
    pub(crate) calls: &'a [&'a str],
    pub(crate) errno: Errno,
    /// Sets no_new_privs, too.
    pub(crate) no_new_privileges: bool,
    /// A command that runs all of it, such as unshare(1).
    pub(crate) before: &'a [&'a str],
}

impl<'a> Denial<'a> {
    pub(crate) fn of(calls: &'a [&'a str], errno: Errno) -> Self {
        Self { calls, errno, no_new_privileges: false, before: &[] }
    }
}

/// Runs a command of the runtime on the bundle's state, with a leaked descriptor, under a filter.
///
/// This test program is what is started: it puts itself under the filter and executes the runtime. So
/// nothing else has to do without the calls.
pub(crate) fn denied(bundle: &Bundle, denial: Denial<'_>, words: &[&str]) -> Run {
    let own = std::env::current_exe().expect("a path");
    let mut command = match denial.before.split_first() {
        None => Command::new(&own),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(&own);
            command
        }
    };
    command
        .current_dir(bundle.path())
        .env(CALLS, denial.calls.join(" "))
        .env(ERRNO, (denial.errno as i32).to_string())
        .env(STATE, bundle.state())
        .env(WORDS, words.join(SEPARATOR));
    if denial.no_new_privileges {
        command.env(NO_NEW_PRIVILEGES, "1");
    }
    let mut run = command.go(&["--exact", "filter::worker", "--nocapture", "--test-threads=1"]);
    // What the test program says before; plain `cargo test` names the test only when it has ended.
    if let Some((_, said)) = run.stdout.split_once("running 1 test\n") {
        run.stdout = said.strip_prefix("test filter::worker ... ").unwrap_or(said).to_owned();
    }
    run
}

/// Not a test of its own: the process that becomes the runtime.
#[test]
fn worker() {
    let variable = |name| std::env::var(name).ok();
    let (Some(calls), Some(errno), Some(state), Some(words)) =
        (variable(CALLS), variable(ERRNO), variable(STATE), variable(WORDS))
    else {
        return;
    };
    let errno: u32 = errno.parse().expect("a number");
    let calls: Vec<&str> = calls.split_ascii_whitespace().collect();
    let root = File::open("/").expect("the root");
    nix::fcntl::fcntl(&root, nix::fcntl::FcntlArg::F_DUPFD(LEAKED)).expect("a descriptor");
    if variable(NO_NEW_PRIVILEGES).is_some() {
        nix::sys::prctl::set_no_new_privs().expect("PR_SET_NO_NEW_PRIVS");
    }
    let mut command = Command::new(runtime_path());
    command.arg("--root").arg(state).args(words.split(SEPARATOR));
    for name in [CALLS, ERRNO, STATE, WORDS, NO_NEW_PRIVILEGES, "XDG_RUNTIME_DIR", "NOTIFY_SOCKET"] {
        command.env_remove(name);
    }
    if !calls.is_empty() {
        let rule = |call: &&str| {
            let (action, call) = match call.strip_prefix('!') {
                Some(call) => (json!({"action": "SCMP_ACT_KILL_PROCESS"}), call),
                None => (json!({"action": "SCMP_ACT_ERRNO", "errnoRet": errno}), *call),
            };
            let mut rule = action;
            let (name, flags) = call.split_once('=').unwrap_or((call, ""));
            rule["names"] = json!([name]);
            if let Ok(flags) = flags.parse::<u64>() {
                rule["args"] = json!([{"index": 2, "value": flags, "op": "SCMP_CMP_EQ"}]);
            }
            rule
        };
        let rules: Vec<_> = calls.iter().map(rule).collect();
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}).to_string();
        let profile = runtime_core::spec::parse_profile(profile.as_bytes(), "profile").expect("a profile");
        let filter = Filter::from_profile(&profile).expect("a filter");
        assert!(filter.warnings().is_empty(), "{:?}", filter.warnings());
        filter.install().expect("under the filter");
    }
    panic!("{:?} is not executed: {}", command.get_program().to_owned(), command.exec());
}
