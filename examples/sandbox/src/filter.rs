//! A filter of system calls, which any user may load.

use runtime_core::seccomp::{Action, CallName, Filter, Profile, SyscallRule};
use runtime_core::{Exit, Sandbox};

use crate::Result;

pub(crate) fn run() -> Result<Exit> {
    let sandbox = Sandbox::new("sh")
        .args(["-c", "mkdir /tmp/never || echo no directories here"])
        .no_new_privileges()
        .filter(denying(&["mkdir", "mkdirat"])?);
    Ok(sandbox.spawn()?.wait()?)
}

/// All calls but these, which fail with EPERM.
pub(crate) fn denying(calls: &[&str]) -> Result<Filter> {
    const EPERM: u16 = 1;
    let denied = SyscallRule {
        names: calls.iter().filter_map(|name| CallName::new(name)).collect(),
        action: Action::errno(EPERM).ok_or("no errno")?,
        conditions: Vec::new(),
    };
    let profile = Profile {
        default_action: Action::ALLOW,
        architectures: Vec::new(),
        flags: None,
        syscalls: vec![denied],
    };
    Ok(Filter::from_profile(&profile)?)
}
