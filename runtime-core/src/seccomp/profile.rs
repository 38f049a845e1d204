//! Reading a profile: names to numbers, actions to values, one table for each architecture.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag, LinuxSyscall};

use super::arch::{Architecture, i386_multiplexed};
use super::rule::Condition;
use super::table::Table;
use super::{
    FLAG_LOG, FLAG_NEW_LISTENER, FLAG_SPEC_ALLOW, FLAG_TSYNC, FLAG_TSYNC_ESRCH, FLAG_WAIT_KILLABLE_RECV,
    Warning, action, tables,
};
use crate::error::{Error, Result};

/// A profile without names and options.
pub(super) struct Resolved {
    pub(super) tables: Vec<Table>,
    pub(super) default: u32,
    pub(super) flags: u32,
    pub(super) warnings: Vec<Warning>,
}

pub(super) fn resolve(profile: &LinuxSeccomp, native: Architecture) -> Result<Resolved> {
    let default = action::value(profile.default_action(), profile.default_errno_ret(), || {
        "linux.seccomp.defaultErrnoRet".to_owned()
    })?;
    let mut warnings = Vec::new();
    let mut tables = tables_of(profile, native, &mut warnings);
    let mut notifies = action::is_notify(default);
    for (index, syscall) in profile.syscalls().iter().flatten().enumerate() {
        let action = add_rules(&mut tables, syscall, index, default, &mut warnings)?;
        notifies |= action::is_notify(action);
    }
    if action::is_permissive(default) {
        tables.iter_mut().for_each(|table| table.last = None);
    }
    let flags = flags_of(profile, notifies, &mut warnings);
    Ok(Resolved { tables, default, flags, warnings })
}

/// An empty table for the native architecture and each one listed.
fn tables_of(profile: &LinuxSeccomp, native: Architecture, warnings: &mut Vec<Warning>) -> Vec<Table> {
    let mut tables = vec![Table::new(native)];
    for (index, &arch) in profile.architectures().iter().flatten().enumerate() {
        let known = match arch {
            oci_spec::runtime::Arch::ScmpArchNative => Some(native),
            _ => Architecture::from_oci(arch),
        };
        match known {
            Some(known) if tables.iter().any(|table| table.architecture == known) => {}
            Some(known) => tables.push(Table::new(known)),
            None => warnings.push(Warning::UnknownArchitecture {
                name: arch.to_string(),
                origin: format!("linux.seccomp.architectures[{index}]"),
            }),
        }
    }
    tables
}

/// Adds one item of `syscalls` to every table; its action.
fn add_rules(
    tables: &mut [Table],
    syscall: &LinuxSyscall,
    index: usize,
    default: u32,
    warnings: &mut Vec<Warning>,
) -> Result<u32> {
    let origin = || format!("linux.seccomp.syscalls[{index}]");
    let action = action::value(syscall.action(), syscall.errno_ret(), || format!("{}.errnoRet", origin()))?;
    let mut conditions = Vec::new();
    for (position, argument) in syscall.args().iter().flatten().enumerate() {
        conditions.push(Condition::from_oci(argument, || format!("{}.args[{position}]", origin()))?);
    }
    let separate = has_repeated_argument(&conditions);
    for (position, name) in syscall.names().iter().enumerate() {
        let origin = || format!("{}.names[{position}]", origin());
        if name.is_empty() {
            return Err(Error::invalid(origin(), "an empty string is no system call"));
        }
        let Some(row) = tables::find(name) else {
            warnings.push(Warning::UnknownSyscall { name: name.clone(), origin: origin() });
            continue;
        };
        let multiplexed = i386_multiplexed(name).is_some();
        for table in tables.iter_mut() {
            table.see(row, multiplexed);
            if action == default {
                continue;
            }
            let added = if separate {
                conditions.iter().try_for_each(|condition| table.add(row, &[*condition], action))
            } else {
                table.add(row, &conditions, action)
            };
            added.map_err(|reason| {
                Error::invalid(origin(), format!("{name} on {}: {reason}", table.architecture))
            })?;
        }
    }
    Ok(action)
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

fn flags_of(profile: &LinuxSeccomp, notifies: bool, warnings: &mut Vec<Warning>) -> u32 {
    let mut flags = if notifies { FLAG_NEW_LISTENER } else { 0 };
    let Some(listed) = profile.flags() else {
        return flags | FLAG_SPEC_ALLOW;
    };
    for (index, flag) in listed.iter().enumerate() {
        flags |= match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => FLAG_LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
            // The kernel cannot return a descriptor and a thread id at once.
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync if notifies => FLAG_TSYNC | FLAG_TSYNC_ESRCH,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => FLAG_TSYNC,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if notifies => FLAG_WAIT_KILLABLE_RECV,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
                // EINVAL without a listener.
                warnings.push(Warning::UselessFlag {
                    name: flag.to_string(),
                    origin: format!("linux.seccomp.flags[{index}]"),
                });
                0
            }
        };
    }
    flags
}
