//! Profiles, and how they are read: names to numbers, one table for each architecture.

use super::action::Action;
use super::arch::{Architecture, i386_multiplexed};
use super::rule::Condition;
use super::table::Table;
use super::tables::{self, Row};
use super::{
    FLAG_LOG, FLAG_NEW_LISTENER, FLAG_SPEC_ALLOW, FLAG_TSYNC, FLAG_TSYNC_ESRCH, FLAG_WAIT_KILLABLE_RECV,
    Warning,
};
use crate::error::Error;

/// What a filter shall do: `linux.seccomp` as values that mean one thing.
///
/// `runtime_core::spec` makes it from JSON ([`parse_profile`](crate::spec::parse_profile)) and from the types
/// of the `oci_spec` crate (`TryFrom`); a program can also make it itself. The agent that listens to
/// a filter is not a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What happens to calls that no rule is about.
    pub default_action: Action,
    /// The architectures besides the native one.
    pub architectures: Vec<ListedArchitecture>,
    /// The flags; `None` is [`FilterFlag::SpecAllow`] alone, as with runc.
    pub flags: Option<Vec<FilterFlag>>,
    /// The rules, in order.
    pub syscalls: Vec<SyscallRule>,
}

/// An item of `architectures`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListedArchitecture {
    /// That of the machine for which the profile is compiled.
    Native,
    /// One with a table here.
    Known(Architecture),
    /// Any other, by the specification's name.
    Unknown(String),
}

impl ListedArchitecture {
    /// The architecture on this machine; `None` for one without a table here.
    pub fn known(&self) -> Option<Architecture> {
        match self {
            Self::Native => Architecture::native(),
            Self::Known(architecture) => Some(*architecture),
            Self::Unknown(_) => None,
        }
    }
}

/// A flag of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterFlag {
    /// `SECCOMP_FILTER_FLAG_TSYNC`.
    Tsync,
    /// `SECCOMP_FILTER_FLAG_LOG`.
    Log,
    /// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`.
    SpecAllow,
    /// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`.
    WaitKillableRecv,
}

/// An item of `syscalls`: what happens to the calls if all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyscallRule {
    /// The calls.
    pub names: Vec<CallName>,
    /// What happens to them.
    pub action: Action,
    /// On their arguments; none is for every call.
    pub conditions: Vec<Condition>,
}

/// The name of a system call, looked up.
#[derive(Debug, Clone)]
pub struct CallName(Name);

#[derive(Debug, Clone)]
enum Name {
    Known(&'static Row),
    Unknown(String),
}

impl CallName {
    /// Looks the name up; `None` if it is empty.
    pub fn new(name: &str) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        Some(Self(tables::find(name).map_or_else(|| Name::Unknown(name.to_owned()), Name::Known)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Known(row) => row.name,
            Name::Unknown(name) => name,
        }
    }
}

impl PartialEq for CallName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for CallName {}

impl Profile {
    /// Whether a listener answers some calls.
    pub fn notifies(&self) -> bool {
        self.syscalls
            .iter()
            .map(|rule| rule.action)
            .chain([self.default_action])
            .any(|it| it == Action::NOTIFY)
    }
}

/// A profile without names and options.
pub(super) struct Resolved {
    pub(super) tables: Vec<Table>,
    pub(super) default: u32,
    pub(super) flags: u32,
    pub(super) warnings: Vec<Warning>,
}

/// Everything that contradicts something else in the profile is an error.
pub(super) fn resolve(profile: &Profile, native: Architecture) -> Result<Resolved, Vec<Error>> {
    let Profile { default_action, architectures, flags, syscalls } = profile;
    let mut warnings = Vec::new();
    let mut errors = Vec::new();
    let mut tables = tables_of(architectures, native, &mut warnings);
    for (index, rule) in syscalls.iter().enumerate() {
        add_rules(&mut tables, rule, index, *default_action, &mut warnings, &mut errors);
    }
    if default_action.is_permissive() {
        tables.iter_mut().for_each(|table| table.last = None);
    }
    let flags = flags_of(flags.as_deref(), profile.notifies(), &mut warnings);
    if errors.is_empty() {
        Ok(Resolved { tables, default: default_action.value(), flags, warnings })
    } else {
        Err(errors)
    }
}

/// An empty table for the native architecture and each one listed.
fn tables_of(listed: &[ListedArchitecture], native: Architecture, warnings: &mut Vec<Warning>) -> Vec<Table> {
    let mut tables = vec![Table::new(native)];
    for (index, item) in listed.iter().enumerate() {
        let known = match item {
            ListedArchitecture::Native => native,
            ListedArchitecture::Known(known) => *known,
            ListedArchitecture::Unknown(name) => {
                let origin = format!("linux.seccomp.architectures[{index}]");
                warnings.push(Warning::UnknownArchitecture { name: name.clone(), origin });
                continue;
            }
        };
        if tables.iter().all(|table| table.architecture != known) {
            tables.push(Table::new(known));
        }
    }
    tables
}

/// Adds one item of `syscalls` to every table.
fn add_rules(
    tables: &mut [Table],
    rule: &SyscallRule,
    index: usize,
    default: Action,
    warnings: &mut Vec<Warning>,
    errors: &mut Vec<Error>,
) {
    let SyscallRule { names, action, conditions } = rule;
    let separate = has_repeated_argument(conditions);
    for (position, name) in names.iter().enumerate() {
        let origin = || format!("linux.seccomp.syscalls[{index}].names[{position}]");
        let row = match &name.0 {
            Name::Known(row) => *row,
            Name::Unknown(name) => {
                warnings.push(Warning::UnknownSyscall { name: name.clone(), origin: origin() });
                continue;
            }
        };
        let multiplexed = i386_multiplexed(row.name).is_some();
        for table in tables.iter_mut() {
            table.see(row, multiplexed);
            if *action == default {
                continue;
            }
            let added = if separate {
                conditions.iter().try_for_each(|condition| table.add(row, &[*condition], action.value()))
            } else {
                table.add(row, conditions, action.value())
            };
            if let Err(reason) = added {
                let reason = format!("{} on {}: {reason}", row.name, table.architecture);
                errors.push(Error::invalid(origin(), reason));
                // It is the same on the next one.
                break;
            }
        }
    }
}

fn has_repeated_argument(conditions: &[Condition]) -> bool {
    let mut seen = 0u8;
    conditions.iter().any(|condition| {
        let bit = 1 << condition.argument;
        let repeated = seen & bit != 0;
        seen |= bit;
        repeated
    })
}

fn flags_of(listed: Option<&[FilterFlag]>, notifies: bool, warnings: &mut Vec<Warning>) -> u32 {
    let mut flags = if notifies { FLAG_NEW_LISTENER } else { 0 };
    let Some(listed) = listed else {
        return flags | FLAG_SPEC_ALLOW;
    };
    for (index, flag) in listed.iter().enumerate() {
        flags |= match flag {
            FilterFlag::Log => FLAG_LOG,
            FilterFlag::SpecAllow => FLAG_SPEC_ALLOW,
            // The kernel cannot return a descriptor and a thread id at once.
            FilterFlag::Tsync if notifies => FLAG_TSYNC | FLAG_TSYNC_ESRCH,
            FilterFlag::Tsync => FLAG_TSYNC,
            FilterFlag::WaitKillableRecv if notifies => FLAG_WAIT_KILLABLE_RECV,
            FilterFlag::WaitKillableRecv => {
                // EINVAL without a listener.
                warnings.push(Warning::UselessFlag {
                    name: "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV".to_owned(),
                    origin: format!("linux.seccomp.flags[{index}]"),
                });
                0
            }
        };
    }
    flags
}
