//! Actions as the values that a filter returns (seccomp(2)).

use std::fmt;

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
const MAX_ERRNO: u16 = 4095;

/// What a filter does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Action(u32);

impl Action {
    /// The thread ends (`SCMP_ACT_KILL`, `SCMP_ACT_KILL_THREAD`).
    pub const KILL_THREAD: Self = Self(KILL_THREAD);
    /// The process ends.
    pub const KILL_PROCESS: Self = Self(KILL_PROCESS);
    /// The thread gets SIGSYS.
    pub const TRAP: Self = Self(TRAP);
    /// A listener answers.
    pub const NOTIFY: Self = Self(NOTIFY);
    /// The call is made, and logged.
    pub const LOG: Self = Self(LOG);
    /// The call is made.
    pub const ALLOW: Self = Self(ALLOW);

    /// The call fails with this errno; `None` above 4095, the largest that the kernel passes on.
    pub const fn errno(errno: u16) -> Option<Self> {
        if errno <= MAX_ERRNO { Some(Self(ERRNO | errno as u32)) } else { None }
    }

    /// A tracer decides, and gets this message.
    pub const fn trace(message: u16) -> Self {
        Self(TRACE | message as u32)
    }

    /// `SECCOMP_RET_*` with its data.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Whether a call that the profile does not know may reach the kernel by itself, so that no
    /// ENOSYS rule is needed.
    pub(super) fn is_permissive(self) -> bool {
        matches!(self.0 & 0xffff_0000, ALLOW | LOG | TRACE)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self.0))
    }
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
