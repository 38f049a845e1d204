//! Which namespaces a command gets for itself.
//!
//! A namespace is the kernel's view of one subject (namespaces(7)): processes, mounts, network devices. [`Namespaces`] is a
//! set of kinds; a [`Sandbox`](crate::Sandbox) makes a new one of each kind in the set and shares the others with its caller.
//!
//! ```
//! use runtime_core::namespaces::Namespaces;
//!
//! let own = Namespaces::PID | Namespaces::NETWORK;
//! assert!(own.contains(Namespaces::PID) && !own.contains(Namespaces::USER));
//! assert_eq!(own.to_string(), "network,pid");
//! assert_eq!("network,pid".parse::<Namespaces>()?, own);
//! # Ok::<(), runtime_core::Error>(())
//! ```
//!
//! A command that sees no network but its own loopback interface, which is up:
//!
//! ```no_run
//! use runtime_core::Sandbox;
//! use runtime_core::namespaces::Namespaces;
//!
//! let process = Sandbox::new("/bin/ip").args(["link"]).namespaces(Namespaces::NETWORK).spawn()?;
//! process.wait()?;
//! # Ok::<(), runtime_core::Error>(())
//! ```
//!
//! **Privilege.** Each kind but the user namespace takes CAP_SYS_ADMIN. A user without privilege adds
//! [`Namespaces::USER`]: all other new namespaces belong to the new user namespace then, where the command is root. Which
//! ids it has there is the subject of [`idmap`](crate::idmap).
//!
//! **With other modules.** [`Sandbox::root`](crate::Sandbox::root) and [`Sandbox::mount`](crate::Sandbox::mount) add
//! [`Namespaces::MOUNT`] by themselves: no mount of a sandbox is ever one of the host. A new
//! [`Mount::proc`](crate::rootfs::Mount::proc) shows the processes of the command's own PID namespace.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::spec::Kind;

/// A set of kinds of namespaces. `A | B` has the kinds of both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Namespaces(u32);

impl Namespaces {
    /// No kind: all is shared with the caller.
    pub const NONE: Self = Self(0);
    /// The root of the cgroup file systems (cgroup_namespaces(7)): the cgroup that the command is in.
    pub const CGROUP: Self = Self::of(Kind::Cgroup);
    /// System V objects and POSIX message queues (ipc_namespaces(7)).
    pub const IPC: Self = Self::of(Kind::Ipc);
    /// The mount table (mount_namespaces(7)). Mounts of the host still come into it, and none goes back.
    pub const MOUNT: Self = Self::of(Kind::Mount);
    /// Devices, addresses, routes, ports and abstract sockets (network_namespaces(7)). The loopback interface is up.
    pub const NETWORK: Self = Self::of(Kind::Network);
    /// Processes (pid_namespaces(7)). The command is process 1: when it ends, the kernel kills all that it has left.
    pub const PID: Self = Self::of(Kind::Pid);
    /// The monotonic and the boot clock (time_namespaces(7)).
    pub const TIME: Self = Self::of(Kind::Time);
    /// Users, groups and capabilities (user_namespaces(7)).
    pub const USER: Self = Self::of(Kind::User);
    /// Host name and domain name (uts_namespaces(7)).
    pub const UTS: Self = Self::of(Kind::Uts);

    pub(crate) const fn of(kind: Kind) -> Self {
        Self(kind as u32)
    }

    /// All kinds.
    #[must_use]
    pub fn all() -> Self {
        Kind::ALL.into_iter().fold(Self::NONE, |all, kind| all | Self::of(kind))
    }

    /// Whether all kinds of `other` are in the set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no kind is in the set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds, by name.
    pub(crate) fn kinds(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(Self::of(*kind)))
    }
}

impl BitOr for Namespaces {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Namespaces {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// Names as the runtime specification has them (`cgroup`, `ipc`, `mount`, `network`, `pid`, `time`, `user`, `uts`), with
/// commas between them; nothing for the empty set.
impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kinds().map(Kind::name).collect::<Vec<_>>().join(","))
    }
}

/// Reads what `Display` writes.
///
/// # Errors
///
/// A name that no kind has.
impl FromStr for Namespaces {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).try_fold(Self::NONE, |all, name| {
            match Kind::ALL.into_iter().find(|kind| kind.name() == name) {
                Some(kind) => Ok(all | Self::of(kind)),
                None => Err(Error::invalid("namespaces", format!("{name:?} is not the name of a namespace"))
                    .with_hint(format!("the names are {}", Self::all()))),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Namespaces;

    #[test]
    fn names_are_read_as_they_are_written() {
        let all = Namespaces::all();
        assert_eq!(all.to_string(), "cgroup,ipc,mount,network,pid,time,user,uts");
        assert_eq!(all.to_string().parse::<Namespaces>().unwrap(), all);
        assert_eq!("".parse::<Namespaces>().unwrap(), Namespaces::NONE);
        assert_eq!(" uts, pid".parse::<Namespaces>().unwrap(), Namespaces::UTS | Namespaces::PID);
        let error = "pid,net".parse::<Namespaces>().unwrap_err().to_string();
        assert!(error.contains("\"net\"") && error.contains("network,pid"), "{error}");
    }
}
