//! Seccomp filters: an OCI profile becomes a classic BPF program.
//!
//! Usable alone; nothing here needs a container, a privilege or a C library:
//!
//! ```
//! use runtime_core::seccomp::{Action, CallName, Filter, Profile, SyscallRule};
//!
//! let profile = Profile {
//!     default_action: Action::ALLOW,
//!     architectures: Vec::new(),
//!     flags: None,
//!     syscalls: vec![SyscallRule {
//!         names: CallName::new("reboot").into_iter().collect(),
//!         action: Action::errno(1).ok_or("a number above 4095")?,
//!         conditions: Vec::new(),
//!     }],
//! };
//! let filter = Filter::from_profile(&profile)?;
//! assert!(filter.warnings().is_empty());
//! println!("{filter}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A profile in JSON is read by [`parse_profile`](crate::spec::parse_profile).
//!
//! The meaning of a profile is that of libseccomp, with runc's rule on top that a call newer than
//! everything the profile names is answered with ENOSYS. Points that the specification leaves open:
//!
//! * Several conditions of a rule must all hold, unless two of them are about the same argument:
//!   then each is a rule of its own (as runc does it).
//! * An unconditional rule for a call replaces conditional ones; of two unconditional ones the first
//!   counts. A rule with the default action says nothing.
//! * Of conditional rules that match together, the one libseccomp asks first counts: later
//!   arguments before earlier ones, equality before less before greater, the narrower value first. Two rules
//!   with the same conditions and different actions are an error.
//! * The native architecture is always part of the filter; calls of any other one that is not listed
//!   kill the thread.
//! * On i386 a rule for a socket or System V IPC call also holds for `socketcall` and `ipc`.
//!
//! What this module does not do: set `no_new_privs`, fetch the notify listener of another process
//! (that is a part of a launch), or support big-endian machines.

mod action;
mod arch;
mod checks;
mod compile;
mod emit;
pub(crate) mod handover;
#[cfg(feature = "seccompiler")]
mod interop;
mod interpret;
mod profile;
mod rule;
mod table;
mod tables;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::os::fd::OwnedFd;

pub use action::Action;
pub use arch::Architecture;
pub use interpret::{Call, evaluate};
pub use profile::{CallName, FilterFlag, ListedArchitecture, Profile, SyscallRule};
pub use rule::{Compare, Condition};

use crate::error::{Error, ErrorKind, Result};

// Offsets in struct seccomp_data (linux/seccomp.h).
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

/// `SECCOMP_FILTER_FLAG_TSYNC`: all threads of the process get the filter.
pub const FLAG_TSYNC: u32 = 1;
/// `SECCOMP_FILTER_FLAG_LOG`: actions other than allow are logged.
pub const FLAG_LOG: u32 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: no speculation mitigation for the process.
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: seccomp(2) returns a notify descriptor.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_TSYNC_ESRCH`: a failed TSYNC is ESRCH instead of a thread id.
pub const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: a call that the listener has received is only
/// interrupted by fatal signals.
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip if a condition holds.
    pub jt: u8,
    /// How many instructions to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// Something in a profile that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A system call that no supported architecture has.
    UnknownSyscall {
        /// The name.
        name: String,
        /// Where it stands, such as `linux.seccomp.syscalls[3].names[0]`.
        origin: String,
    },
    /// An architecture without a table; its calls kill the thread as those of an unlisted one do.
    UnknownArchitecture {
        /// The specification's name for it.
        name: String,
        /// Where it stands, such as `linux.seccomp.architectures[2]`.
        origin: String,
    },
    /// A flag that has no effect in this profile.
    UselessFlag {
        /// The flag.
        name: String,
        /// Where it stands, such as `linux.seccomp.flags[0]`.
        origin: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSyscall { name, origin } => {
                write!(f, "unknown system call {name:?} ignored ({origin})")
            }
            Self::UnknownArchitecture { name, origin } => write!(f, "architecture {name} ignored ({origin})"),
            Self::UselessFlag { name, origin } => write!(f, "flag {name} has no effect here ({origin})"),
        }
    }
}

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    program: Vec<Instruction>,
    flags: u32,
    warnings: Vec<Warning>,
}

impl Filter {
    /// Compiles a profile for this machine's architecture and those that the profile lists.
    ///
    /// Source: runtime specification, config-linux.md, "Seccomp".
    ///
    /// # Errors
    ///
    /// `InvalidInput` for rules that contradict each other; `Unsupported` for a program of more than 4096 instructions (the kernel's
    /// limit) or a machine without a system call table here.
    pub fn from_profile(profile: &Profile) -> Result<Self> {
        let native = Architecture::native().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "compile seccomp profile")
                .reason("no system call table for this machine")
        })?;
        Self::from_profile_on(profile, native)
    }

    /// Compiles a profile as on a machine of another architecture.
    ///
    /// # Errors
    ///
    /// As [`Filter::from_profile`].
    pub fn from_profile_on(profile: &Profile, native: Architecture) -> Result<Self> {
        let resolved = profile::resolve(profile, native).map_err(Error::all)?;
        let program = compile::program(&resolved.tables, resolved.default)?;
        Ok(Self { program, flags: resolved.flags, warnings: resolved.warnings })
    }

    /// All rules of a profile that contradict each other on this machine; [`Filter::from_profile`] has them in one
    /// error.
    pub(crate) fn contradictions(profile: &Profile) -> Vec<Error> {
        let resolved = Architecture::native().map(|native| profile::resolve(profile, native));
        resolved.and_then(Result::err).unwrap_or_default()
    }

    /// The program, at most 4096 instructions.
    pub fn program(&self) -> &[Instruction] {
        &self.program
    }

    /// The flags for seccomp(2), a set of `FLAG_*`. Without `flags` in the profile this is
    /// [`FLAG_SPEC_ALLOW`], as with runc.
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether the program hands calls to a listener, so that loading it gives a descriptor
    /// (then [`Filter::flags`] has [`FLAG_NEW_LISTENER`]).
    pub fn needs_listener(&self) -> bool {
        self.flags & FLAG_NEW_LISTENER != 0
    }

    /// What was skipped in the profile.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The program as bytes, eight an instruction, as `seccomp_export_bpf(3)` writes them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.program.len().saturating_mul(8));
        for instruction in &self.program {
            bytes.extend_from_slice(&instruction.code.to_ne_bytes());
            bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
            bytes.extend_from_slice(&instruction.k.to_ne_bytes());
        }
        bytes
    }

    /// What the filter answers to a call: a `SECCOMP_RET_*` value with its data.
    pub fn verdict(&self, call: &Call) -> u32 {
        // The compiler only writes what `evaluate` knows.
        evaluate(&self.program, call).unwrap_or(action::KILL_THREAD)
    }

    /// Puts the calling thread (with [`FLAG_TSYNC`] the process) under the filter, for good, and
    /// returns the listener if there is one.
    ///
    /// The caller needs CAP_SYS_ADMIN in its user namespace or `no_new_privs` (prctl(2)); this does not set it.
    ///
    /// # Errors
    ///
    /// `System` with the errno of seccomp(2): EACCES without either of the two, EINVAL if the kernel
    /// lacks a flag.
    pub fn install(&self) -> Result<Option<OwnedFd>> {
        crate::sys::seccomp::set_filter(&self.program, self.flags)
    }
}
