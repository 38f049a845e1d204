//! Which parts of root's power a command has.
//!
//! A capability is one such part (capabilities(7)). [`CapabilitySet`] is a set of them, with a constant for each; a
//! [`Sandbox`](crate::Sandbox) gives its command exactly the set of [`Sandbox::capabilities`](crate::Sandbox::capabilities),
//! and no program that the command executes can have another one: the bounding set is reduced too.
//!
//! ```
//! use runtime_core::capabilities::CapabilitySet;
//!
//! let few = CapabilitySet::NET_BIND_SERVICE | CapabilitySet::CHOWN;
//! assert!(few.contains(CapabilitySet::CHOWN));
//! assert_eq!(few.to_string(), "CAP_CHOWN,CAP_NET_BIND_SERVICE");
//! assert_eq!("cap_net_bind_service,CHOWN".parse::<CapabilitySet>()?, few);
//! # Ok::<(), runtime_core::Error>(())
//! ```
//!
//! Root that can do nothing but bind port 80:
//!
//! ```no_run
//! use runtime_core::Sandbox;
//! use runtime_core::capabilities::CapabilitySet;
//!
//! let server = Sandbox::new("/usr/sbin/server").capabilities(CapabilitySet::NET_BIND_SERVICE).spawn()?;
//! # drop(server);
//! # Ok::<(), runtime_core::Error>(())
//! ```
//!
//! **Which sets.** Bounding, permitted and effective set of the command are the given one. For another user than root the
//! inheritable and the ambient set are it as well, since execve(2) would clear the permitted set of such a user.
//!
//! **Privilege.** Only what the caller has can be given, and only a caller with CAP_SETPCAP can reduce the bounding set. What
//! cannot be done is left out, never more is given; [`Process::warnings`](crate::Process::warnings) says so. In a new user
//! namespace there are all capabilities to give, over what belongs to that namespace.

use std::fmt;
use std::ops::{BitOr, BitOrAssign, Not};
use std::str::FromStr;

use crate::error::{Error, Result};

/// A set of capabilities. `A | B` has those of both, `!A` all others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

macro_rules! capabilities {
    ($($number:literal $name:ident: $text:literal,)*) => {
        impl CapabilitySet {
            $(#[doc = $text] pub const $name: Self = Self(1 << $number);)*
        }

        /// Names without the prefix `CAP_`, by number.
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

capabilities! {
    0 CHOWN: "Change owner and group of any file.",
    1 DAC_OVERRIDE: "Read, write and execute any file.",
    2 DAC_READ_SEARCH: "Read any file, search any directory.",
    3 FOWNER: "Do to any file what its owner may.",
    4 FSETID: "Keep set-user-ID bits of files that are changed.",
    5 KILL: "Send signals to any process.",
    6 SETGID: "Become any group.",
    7 SETUID: "Become any user.",
    8 SETPCAP: "Take capabilities out of the bounding set.",
    9 LINUX_IMMUTABLE: "Set the append-only and immutable flags of files.",
    10 NET_BIND_SERVICE: "Bind ports below 1024.",
    11 NET_BROADCAST: "Send broadcasts (not used by the kernel).",
    12 NET_ADMIN: "Configure interfaces, routes and firewalls.",
    13 NET_RAW: "Use raw and packet sockets.",
    14 IPC_LOCK: "Lock memory.",
    15 IPC_OWNER: "Use any System V object.",
    16 SYS_MODULE: "Load kernel modules.",
    17 SYS_RAWIO: "Use I/O ports and raw devices.",
    18 SYS_CHROOT: "Use chroot(2).",
    19 SYS_PTRACE: "Trace any process.",
    20 SYS_PACCT: "Use acct(2).",
    21 SYS_ADMIN: "Mount, and much of the rest of administration.",
    22 SYS_BOOT: "Use reboot(2).",
    23 SYS_NICE: "Raise priorities, choose CPUs of any process.",
    24 SYS_RESOURCE: "Exceed resource limits.",
    25 SYS_TIME: "Set the clock.",
    26 SYS_TTY_CONFIG: "Use vhangup(2), configure virtual terminals.",
    27 MKNOD: "Make device nodes.",
    28 LEASE: "Take leases on any file.",
    29 AUDIT_WRITE: "Write to the kernel's audit log.",
    30 AUDIT_CONTROL: "Configure auditing.",
    31 SETFCAP: "Give capabilities to files.",
    32 MAC_OVERRIDE: "Override mandatory access control (Smack).",
    33 MAC_ADMIN: "Configure mandatory access control (Smack).",
    34 SYSLOG: "Use privileged operations of syslog(2).",
    35 WAKE_ALARM: "Wake the system by a timer.",
    36 BLOCK_SUSPEND: "Keep the system from being suspended.",
    37 AUDIT_READ: "Read the audit log.",
    38 PERFMON: "Use perf_event_open(2) and other monitoring.",
    39 BPF: "Use privileged operations of bpf(2).",
    40 CHECKPOINT_RESTORE: "Use what checkpoint and restore need.",
}

impl CapabilitySet {
    /// No capability: root of such a command is an ordinary user that owns root's files.
    #[must_use]
    pub const fn none() -> Self {
        Self(0)
    }

    /// All capabilities that this library knows by name.
    #[must_use]
    pub const fn all() -> Self {
        Self(const { (1 << NAMES.len()) - 1 })
    }

    /// Whether all of `other` are in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The mask as the kernel has it: capability N is bit N.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The names, such as `CAP_CHOWN`, by number.
    pub fn names(self) -> impl Iterator<Item = String> {
        let named = NAMES.iter().enumerate().filter(move |(number, _)| self.0 & 1 << number != 0);
        named.map(|(_, name)| format!("CAP_{name}"))
    }
}

impl BitOr for CapabilitySet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for CapabilitySet {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl Not for CapabilitySet {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0 & Self::all().0)
    }
}

/// Names with commas between them; nothing for the empty set.
impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(","))
    }
}

/// Reads names with commas between them, in capital or small letters, with or without `CAP_`.
///
/// # Errors
///
/// A name that this library does not know.
impl FromStr for CapabilitySet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).try_fold(Self::none(), |all, name| {
            let wanted = name.to_ascii_uppercase();
            let short = wanted.strip_prefix("CAP_").unwrap_or(&wanted);
            match NAMES.iter().position(|known| *known == short) {
                Some(number) => Ok(all | Self(1 << number)),
                None => Err(Error::invalid("capabilities", format!("{name:?} is not a capability"))
                    .with_hint("capabilities(7) lists them")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{CapabilitySet, NAMES};

    /// The numbers are those of the crate that reads them from the kernel.
    #[test]
    fn each_name_has_its_number() {
        assert_eq!(NAMES.len(), caps::all().len());
        for capability in caps::all() {
            let set: CapabilitySet = capability.to_string().parse().unwrap();
            assert_eq!(set.bits(), capability.bitmask(), "{capability}");
            assert_eq!(set.to_string(), capability.to_string());
        }
        assert_eq!(!CapabilitySet::none(), CapabilitySet::all());
        assert!("CAP_NOTHING".parse::<CapabilitySet>().unwrap_err().to_string().contains("CAP_NOTHING"));
    }
}
