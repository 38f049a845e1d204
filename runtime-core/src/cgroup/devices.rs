//! Which devices a container may open and make: `linux.resources.devices` as a program for cgroup v2 or as
//! lines for the devices controller of cgroup v1.
//!
//! The rules mean what they mean to runc: they are applied in order to an empty allow list; a rule for
//! all types (`a`) starts over, with everything allowed or denied; then comes the default list that
//! every container gets (mknod of anything, the standard devices, pseudo-terminals, `/dev/net/tun`). An access is
//! allowed if one rule covers all of it.
//!
//! One difference, on purpose: after an `a` rule that allows, a denied access also denies a wider one on v2.
//! With "deny w", runc's program lets through an open for reading and writing; the v1
//! controller does not, and neither does this one.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod program;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::BorrowedFd;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::sys::bpf;

/// Block or character, in the order that rules are written to v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Block device.
    Block,
    /// Character device.
    Character,
}

impl Kind {
    /// The letter of `type` in a configuration, and in the files of v1.
    fn letter(self) -> &'static str {
        match self {
            Self::Block => "b",
            Self::Character => "c",
        }
    }
}

/// A set of read, write and mknod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    // The bits of BPF_DEVCG_ACC_* (linux/bpf.h).
    const MKNOD: Self = Self(1);
    const READ: Self = Self(2);
    const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);
    const NONE: Self = Self(0);

    /// The access that `text` names with the letters r, w and m; `None` for none, and for another letter.
    pub fn parse(text: &str) -> Option<Self> {
        let mut access = Self::NONE;
        for letter in text.bytes() {
            access.0 |= match letter {
                b'r' => Self::READ.0,
                b'w' => Self::WRITE.0,
                b'm' => Self::MKNOD.0,
                // runc passes over it, and so do those whose rules it has run for years.
                b'a' => 0,
                _ => return None,
            };
        }
        (access != Self::NONE).then_some(access)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn covers(self, other: Self) -> bool {
        other.without(self) == Self::NONE
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(Self::READ, "r"), (Self::WRITE, "w"), (Self::MKNOD, "m")] {
            if self.covers(bit) {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// Devices that a rule is about; `None` is any number. Ordered as runc writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Devices {
    /// The driver.
    pub major: Option<u32>,
    /// The device of that driver.
    pub minor: Option<u32>,
    /// Block or character.
    pub kind: Kind,
}

/// An item of `linux.resources.devices`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceRule {
    /// Type `a`: every access to every device is allowed or denied, whatever earlier rules say.
    All {
        /// Whether it is allowed.
        allow: bool,
    },
    /// A rule for some devices.
    Some {
        /// Whether the access is allowed.
        allow: bool,
        /// Which devices.
        devices: Devices,
        /// Which kinds of access.
        access: Access,
    },
}

/// As the specification has it.
impl Serialize for DeviceRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rule = serializer.serialize_struct("DeviceRule", 5)?;
        match self {
            Self::All { allow } => {
                rule.serialize_field("allow", allow)?;
                rule.serialize_field("access", &Access::ALL.to_string())?;
            }
            Self::Some { allow, devices: Devices { major, minor, kind }, access } => {
                rule.serialize_field("allow", allow)?;
                rule.serialize_field("type", kind.letter())?;
                rule.serialize_field("major", &major.map_or(-1, i64::from))?;
                rule.serialize_field("minor", &minor.map_or(-1, i64::from))?;
                rule.serialize_field("access", &access.to_string())?;
            }
        }
        rule.end()
    }
}

impl Devices {
    fn covers(self, other: Self) -> bool {
        self.kind == other.kind
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.letter();
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(f, "{kind} {}:{}", number(self.major), number(self.minor))
    }
}

const fn character(major: Option<u32>, minor: Option<u32>) -> Devices {
    Devices { major, minor, kind: Kind::Character }
}

/// What every container may do, after the rules of its configuration (runc's `AllowedDevices`).
const DEFAULTS: [(Devices, Access); 11] = [
    (character(None, None), Access::MKNOD),
    (Devices { major: None, minor: None, kind: Kind::Block }, Access::MKNOD),
    (character(Some(1), Some(3)), Access::ALL),    // /dev/null
    (character(Some(1), Some(8)), Access::ALL),    // /dev/random
    (character(Some(1), Some(7)), Access::ALL),    // /dev/full
    (character(Some(5), Some(0)), Access::ALL),    // /dev/tty
    (character(Some(1), Some(5)), Access::ALL),    // /dev/zero
    (character(Some(1), Some(9)), Access::ALL),    // /dev/urandom
    (character(Some(136), None), Access::ALL),     // /dev/pts/*
    (character(Some(5), Some(2)), Access::ALL),    // /dev/ptmx
    (character(Some(10), Some(200)), Access::ALL), // /dev/net/tun
];

/// The device rules of a container: a default and the exceptions from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceRules {
    allow: bool,
    exceptions: BTreeMap<Devices, Access>,
}

impl DeviceRules {
    /// Reads `linux.resources.devices` and adds the default list; `None` is as an empty list.
    ///
    /// Source: runtime specification, config-linux.md, "Allowed Device list".
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a rule that takes away a part of what an earlier wildcard rule gives: v1 cannot
    /// express that, and runc refuses it on v2 too.
    pub fn from_resources(devices: Option<&[DeviceRule]>) -> Result<Self> {
        Self::compile(devices.unwrap_or_default()).map_err(|(index, reason)| match index {
            Some(index) => Error::invalid(format!("linux.resources.devices[{index}]"), reason),
            None => Error::invalid("linux.resources.devices", reason)
                .with_hint("the default devices are always allowed"),
        })
    }

    /// The same; an error is the index of the rule at fault and the reason. Without an index, the rules together
    /// take away a part of the default list.
    pub(crate) fn compile(devices: &[DeviceRule]) -> Result<Self, (Option<usize>, String)> {
        let mut rules = Self::default();
        for (index, rule) in devices.iter().enumerate() {
            match *rule {
                DeviceRule::All { allow } => rules = Self { allow, exceptions: BTreeMap::new() },
                DeviceRule::Some { allow, devices, access } => {
                    rules.apply(allow, devices, access).map_err(|reason| (Some(index), reason))?;
                }
            }
        }
        for (devices, access) in DEFAULTS {
            rules.apply(true, devices, access).map_err(|reason| (None, reason))?;
        }
        Ok(rules)
    }

    fn apply(&mut self, allow: bool, devices: Devices, access: Access) -> Result<(), String> {
        if allow != self.allow {
            let sum = self.exceptions.entry(devices).or_insert(Access::NONE);
            sum.0 |= access.0;
            return Ok(());
        }
        let wider = self.exceptions.iter().find(|(exception, has)| {
            **exception != devices && exception.covers(devices) && has.0 & access.0 != 0
        });
        if let Some((exception, has)) = wider {
            return Err(format!(
                "\"{devices} {access}\" is a part of the earlier rule \"{exception} {has}\""
            ));
        }
        if let Some(has) = self.exceptions.get_mut(&devices) {
            *has = has.without(access);
            if *has == Access::NONE {
                self.exceptions.remove(&devices);
            }
        }
        Ok(())
    }

    /// Whether nothing is denied, so that no program is needed on a new v2 cgroup.
    pub fn allows_everything(&self) -> bool {
        self.allow && self.exceptions.is_empty()
    }

    /// The eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`, one `u64` an instruction.
    pub fn program(&self) -> Vec<u64> {
        program::compile(self)
    }

    /// The exceptions that no wider one makes needless.
    fn distinct(&self) -> impl Iterator<Item = (Devices, Access)> {
        self.exceptions.iter().map(|(devices, access)| (*devices, *access)).filter(|(devices, access)| {
            !self.exceptions.iter().any(|(wider, wider_access)| {
                wider != devices && wider.covers(*devices) && wider_access.covers(*access)
            })
        })
    }

    /// File and line, in order, that give a cgroup of v1 these rules, whatever it had.
    ///
    /// For a moment it denies everything: [`DeviceRules::v1_changes`] avoids that for a running container.
    pub fn v1_lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![(file(self.allow), "a *:* rwm".to_owned())];
        lines.extend(
            self.exceptions
                .iter()
                .map(|(devices, access)| (file(!self.allow), format!("{devices} {access}"))),
        );
        lines
    }

    /// File and line, in order, that turn the rules in `list` (the content of `devices.list`) into these;
    /// what stays allowed is never denied in between, unless the default changes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `list` is not what the kernel writes.
    pub fn v1_changes(&self, list: &str) -> Result<Vec<(&'static str, String)>> {
        let current = Self::from_v1_list(list)?;
        // With "allow" the kernel does not list the exceptions: start over.
        if current.allow || self.allow {
            return Ok(self.v1_lines());
        }
        let mut lines = Vec::new();
        let get = |rules: &Self, devices| rules.exceptions.get(devices).copied().unwrap_or(Access::NONE);
        for (devices, access) in &self.exceptions {
            let gained = access.without(get(&current, devices));
            if gained != Access::NONE {
                lines.push((file(true), format!("{devices} {gained}")));
            }
        }
        for (devices, access) in &current.exceptions {
            let lost = access.without(get(self, devices));
            if lost != Access::NONE {
                lines.push((file(false), format!("{devices} {lost}")));
            }
        }
        Ok(lines)
    }

    fn from_v1_list(list: &str) -> Result<Self> {
        let mut rules = Self::default();
        for line in list.lines() {
            let parsed = parse_v1_line(line)
                .ok_or_else(|| Error::invalid("devices.list", format!("unexpected line {line:?}")))?;
            match parsed {
                None => rules = Self { allow: true, exceptions: BTreeMap::new() },
                Some((devices, access)) if !rules.allow => {
                    rules.exceptions.entry(devices).or_insert(Access::NONE).0 |= access.0;
                }
                Some(_) => {}
            }
        }
        Ok(rules)
    }

    /// Attaches the program to a new cgroup of v2; `cgroup` is its directory.
    ///
    /// Does nothing if everything is allowed. The program goes with the cgroup.
    ///
    /// # Errors
    ///
    /// `System` with the errno of bpf(2): EPERM without CAP_BPF or CAP_SYS_ADMIN, EINVAL with the verifier's text.
    pub fn attach(&self, cgroup: BorrowedFd<'_>) -> Result<()> {
        if self.allows_everything() {
            return Ok(());
        }
        let program = bpf::load_device_program(&self.program())?;
        bpf::attach_device_program(cgroup, &program)
    }

    /// Replaces the programs of a cgroup of v2 by this one, atomically if there is one; at no
    /// moment is the cgroup without a program.
    ///
    /// # Errors
    ///
    /// As [`DeviceRules::attach`].
    pub fn replace(&self, cgroup: BorrowedFd<'_>) -> Result<()> {
        let program = bpf::load_device_program(&self.program())?;
        bpf::replace_device_programs(cgroup, &program)
    }
}

fn file(allow: bool) -> &'static str {
    if allow { "devices.allow" } else { "devices.deny" }
}

/// A line of `devices.list`; the inner `None` is the line for everything.
fn parse_v1_line(line: &str) -> Option<Option<(Devices, Access)>> {
    let (kind, rest) = line.split_once(' ')?;
    let (numbers, access) = rest.split_once(' ')?;
    let (major, minor) = numbers.split_once(':')?;
    let kind = match kind {
        "a" => return Some(None),
        "b" => Kind::Block,
        "c" => Kind::Character,
        _ => return None,
    };
    let number = |text: &str| {
        if text == "*" { Some(None) } else { text.parse().ok().map(Some) }
    };
    Some(Some((Devices { major: number(major)?, minor: number(minor)?, kind }, Access::parse(access)?)))
}
