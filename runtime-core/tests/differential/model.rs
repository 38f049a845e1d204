//! A direct reading of a profile: runc's ENOSYS rule, and which verdicts a call may get.

use std::collections::{BTreeSet, HashMap};

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use runtime_core::seccomp::{Architecture, Call};

use super::libseccomp::{Library, action};

const X32_BIT: u32 = 0x4000_0000;
const ENOSYS: u32 = 0x0005_0026;

pub(crate) struct Reading<'a> {
    profile: &'a LinuxSeccomp,
    default: u32,
    architectures: Vec<Architecture>,
    by_number: HashMap<(Architecture, u32), Vec<&'a LinuxSyscall>>,
    largest: HashMap<Architecture, u32>,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(library: &Library, profile: &'a LinuxSeccomp) -> Self {
        let mut architectures = vec![Architecture::X86_64];
        for arch in profile.architectures().iter().flatten() {
            architectures.extend(Architecture::from_oci(*arch));
        }
        architectures.sort();
        architectures.dedup();
        let mut by_number: HashMap<_, Vec<&LinuxSyscall>> = HashMap::new();
        for rule in profile.syscalls().iter().flatten() {
            for name in rule.names() {
                for &architecture in &architectures {
                    if let Some(number) = architecture.syscall_number(name) {
                        by_number.entry((architecture, number)).or_default().push(rule);
                    }
                }
            }
        }
        let default = action(profile.default_action(), profile.default_errno_ret());
        let names: Vec<&String> = profile.syscalls().iter().flatten().flat_map(|rule| rule.names()).collect();
        let largest = architectures
            .iter()
            .map(|&architecture| {
                let numbers = names.iter().filter_map(|name| library.number(architecture, name));
                (architecture, numbers.max().unwrap_or(0))
            })
            .collect();
        Self { profile, default, architectures, by_number, largest }
    }

    /// The rules that name a number of an architecture (or of x32 by its bit).
    pub(crate) fn rules(&self, architecture: Architecture, number: u32) -> Vec<&'a LinuxSyscall> {
        let architecture = match architecture {
            Architecture::X86_64 | Architecture::X32 if number & X32_BIT != 0 => Architecture::X32,
            Architecture::X32 => Architecture::X86_64,
            other => other,
        };
        self.by_number.get(&(architecture, number)).cloned().unwrap_or_default()
    }

    /// ENOSYS, if runc's rule gives it: a number above the largest that the profile names there.
    pub(crate) fn enosys(&self, call: &Call) -> Option<u32> {
        if matches!(
            self.profile.default_action(),
            LinuxSeccompAction::ScmpActAllow
                | LinuxSeccompAction::ScmpActLog
                | LinuxSeccompAction::ScmpActTrace
        ) {
            return None;
        }
        let architecture = self.architectures.iter().copied().find(|architecture| {
            architecture.audit_token() == call.arch
                && (call.arch != Architecture::X86_64.audit_token()
                    || (*architecture == Architecture::X32) == (call.number & X32_BIT != 0))
        })?;
        let largest = self.largest[&architecture];
        (largest != 0 && call.number > largest).then_some(ENOSYS)
    }

    /// The verdicts that the rules can justify: the actions of those that match, else the default.
    pub(crate) fn allows(&self, rules: &[&LinuxSyscall], call: &Call) -> BTreeSet<u32> {
        let matching: BTreeSet<u32> = rules
            .iter()
            .filter(|rule| matches(rule, call))
            .map(|rule| action(rule.action(), rule.errno_ret()))
            .filter(|action| *action != self.default)
            .collect();
        if matching.is_empty() { BTreeSet::from([self.default]) } else { matching }
    }
}

fn matches(rule: &LinuxSyscall, call: &Call) -> bool {
    let wide = call.arch & 0x8000_0000 != 0 && !(call.arch == 0xc000_003e && call.number & X32_BIT != 0);
    let arguments: Vec<&LinuxSeccompArg> = rule.args().iter().flatten().collect();
    let holds = |argument: &&LinuxSeccompArg| holds(argument, call.arguments[argument.index()], wide);
    let repeated =
        arguments.iter().enumerate().any(|(i, a)| arguments[..i].iter().any(|b| a.index() == b.index()));
    if repeated { arguments.iter().any(holds) } else { arguments.iter().all(holds) }
}

fn holds(argument: &LinuxSeccompArg, value: u64, wide: bool) -> bool {
    let narrow = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let (value, datum) = (narrow(value), narrow(argument.value()));
    match argument.op() {
        LinuxSeccompOperator::ScmpCmpNe => value != datum,
        LinuxSeccompOperator::ScmpCmpLt => value < datum,
        LinuxSeccompOperator::ScmpCmpLe => value <= datum,
        LinuxSeccompOperator::ScmpCmpEq => value == datum,
        LinuxSeccompOperator::ScmpCmpGe => value >= datum,
        LinuxSeccompOperator::ScmpCmpGt => value > datum,
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            value & datum == narrow(argument.value_two().unwrap_or(0)) & datum
        }
    }
}
