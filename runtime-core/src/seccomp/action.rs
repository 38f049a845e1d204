//! Actions as the values that a filter returns (seccomp(2)).

use oci_spec::runtime::LinuxSeccompAction;

use crate::error::{Error, Result};

pub(super) const KILL_THREAD: u32 = 0x0000_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
pub(super) const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

/// `ERRNO` with ENOSYS, which makes a C library fall back to an older call.
pub(super) const ENOSYS: u32 = ERRNO | 38;

/// The largest errno that the kernel passes on.
const MAX_ERRNO: u32 = 4095;

/// The value of an action; `errno` counts for `ERRNO` (default EPERM) and `TRACE` (default EPERM too,
/// the message to the tracer) and is ignored for the others, as runc does.
pub(super) fn value(
    action: LinuxSeccompAction,
    errno: Option<u32>,
    origin: impl Fn() -> String,
) -> Result<u32> {
    let data = errno.unwrap_or(libc::EPERM as u32);
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => KILL_THREAD,
        LinuxSeccompAction::ScmpActKillProcess => KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => TRAP,
        LinuxSeccompAction::ScmpActErrno if data <= MAX_ERRNO => ERRNO | data,
        LinuxSeccompAction::ScmpActErrno => {
            return Err(Error::invalid(origin(), format!("errno {data} is above {MAX_ERRNO}")));
        }
        LinuxSeccompAction::ScmpActNotify => NOTIFY,
        LinuxSeccompAction::ScmpActTrace if data <= 0xffff => TRACE | data,
        LinuxSeccompAction::ScmpActTrace => {
            return Err(Error::invalid(origin(), format!("trace message {data} is above 65535")));
        }
        LinuxSeccompAction::ScmpActLog => LOG,
        LinuxSeccompAction::ScmpActAllow => ALLOW,
    })
}

/// Whether a call that the profile does not know may reach the kernel by itself, so that no
/// ENOSYS rule is needed.
pub(super) fn is_permissive(action: u32) -> bool {
    matches!(action & 0xffff_0000, ALLOW | LOG | TRACE)
}

/// Whether the action hands calls to a listener.
pub(super) fn is_notify(action: u32) -> bool {
    action == NOTIFY
}

/// The name for people.
pub(super) fn text(action: u32) -> String {
    let data = action & 0xffff;
    match action & 0xffff_0000 {
        KILL_THREAD => "kill_thread".to_owned(),
        KILL_PROCESS => "kill_process".to_owned(),
        TRAP => "trap".to_owned(),
        ERRNO => format!("errno {data}"),
        NOTIFY => "notify".to_owned(),
        TRACE => format!("trace {data}"),
        LOG => "log".to_owned(),
        ALLOW => "allow".to_owned(),
        _ => format!("{action:#010x}"),
    }
}
