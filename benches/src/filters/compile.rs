//! The programs, and how long each compiler takes once it is warm.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::Instant;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator};
use runtime_core::seccomp::{Architecture, Filter, Profile};
use seccompiler::{
    BackendError, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use crate::failure::Failure;
use crate::statistics::Summary;

/// A compiled filter.
pub(super) struct Program {
    pub(super) name: &'static str,
    /// Median, in microseconds.
    pub(super) compile_us: f64,
    pub(super) instructions: Vec<sock_filter>,
}

impl Program {
    /// How many instructions a call of x86_64 with zeros as arguments runs through.
    pub(super) fn way(&self, number: u32) -> usize {
        let (mut at, mut word, mut count) = (0, 0, 0);
        while let Some(instruction) = self.instructions.get(at) {
            let k = instruction.k;
            at += 1;
            count += 1;
            let taken = match instruction.code {
                0x20 => {
                    word = match k {
                        0 => number,
                        4 => Architecture::X86_64.audit_token(),
                        _ => 0,
                    };
                    continue;
                }
                0x54 => {
                    word &= k;
                    continue;
                }
                0x05 => {
                    at += k as usize;
                    continue;
                }
                0x15 => word == k,
                0x25 => word > k,
                0x35 => word >= k,
                0x45 => word & k != 0,
                _ => return count,
            };
            at += usize::from(if taken { instruction.jt } else { instruction.jf });
        }
        count
    }
}

/// The numbers on x86_64 of all names in the profile.
pub(super) fn numbers(profile: &LinuxSeccomp) -> BTreeSet<u32> {
    let names = profile.syscalls().iter().flatten().flat_map(|syscall| syscall.names());
    names.filter_map(|name| Architecture::X86_64.syscall_number(name)).collect()
}

/// The median time of some runs in microseconds, after as many to warm up.
fn time(runs: usize, mut compile: impl FnMut()) -> f64 {
    let mut samples = Vec::new();
    for run in 0..runs * 20 {
        let start = Instant::now();
        compile();
        if run >= runs * 10 {
            samples.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    Summary::of(&samples).map_or(f64::NAN, |summary| summary.median)
}

/// The smallest filter, one that allows everything: what the kernel itself takes for having one.
pub(super) fn everything() -> Program {
    let allow = sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };
    Program { name: "one instruction", compile_us: 0.0, instructions: vec![allow] }
}

pub(super) fn ours(profile: &LinuxSeccomp, runs: usize) -> Result<Program, Failure> {
    // The profile as the launch has it: names are looked up while the configuration is read.
    let profile = Profile::try_from(profile).map_err(Failure::during("read the profile"))?;
    let filter = Filter::from_profile(&profile).map_err(Failure::during("compile the profile"))?;
    let compile_us = time(runs, || drop(black_box(Filter::from_profile(black_box(&profile)))));
    let instruction = |instruction: &runtime_core::seccomp::Instruction| sock_filter {
        code: instruction.code,
        jt: instruction.jt,
        jf: instruction.jf,
        k: instruction.k,
    };
    Ok(Program {
        name: "runtime-core",
        compile_us,
        instructions: filter.program().iter().map(instruction).collect(),
    })
}

/// What it can express: what is allowed on x86_64, and one errno for everything else.
pub(super) fn seccompiler(profile: &LinuxSeccomp, runs: usize) -> Result<Program, Failure> {
    let compile = || -> Result<Vec<sock_filter>, Failure> {
        let failed = |error: BackendError| Failure::new(format!("seccompiler: {error}"));
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for syscall in profile.syscalls().iter().flatten() {
            if syscall.action() != LinuxSeccompAction::ScmpActAllow {
                continue;
            }
            for name in syscall.names() {
                let Some(number) = Architecture::X86_64.syscall_number(name) else { continue };
                let known = rules.entry(number.into()).or_default();
                let arguments: Vec<&LinuxSeccompArg> = syscall.args().iter().flatten().collect();
                if !arguments.is_empty() {
                    let conditions = arguments.into_iter().map(condition).collect::<Result<_, _>>();
                    known.push(conditions.and_then(SeccompRule::new).map_err(&failed)?);
                }
            }
        }
        let filter =
            SeccompFilter::new(rules, SeccompAction::Errno(1), SeccompAction::Allow, TargetArch::x86_64);
        let program: Result<Vec<sock_filter>, _> = filter.and_then(TryInto::try_into);
        program.map_err(failed)
    };
    let instructions = compile()?;
    let compile_us = time(runs, || drop(black_box(compile())));
    Ok(Program { name: "seccompiler, one action", compile_us, instructions })
}

fn condition(argument: &LinuxSeccompArg) -> Result<SeccompCondition, BackendError> {
    let (operator, value) = match argument.op() {
        LinuxSeccompOperator::ScmpCmpNe => (SeccompCmpOp::Ne, argument.value()),
        LinuxSeccompOperator::ScmpCmpLt => (SeccompCmpOp::Lt, argument.value()),
        LinuxSeccompOperator::ScmpCmpLe => (SeccompCmpOp::Le, argument.value()),
        LinuxSeccompOperator::ScmpCmpEq => (SeccompCmpOp::Eq, argument.value()),
        LinuxSeccompOperator::ScmpCmpGe => (SeccompCmpOp::Ge, argument.value()),
        LinuxSeccompOperator::ScmpCmpGt => (SeccompCmpOp::Gt, argument.value()),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (SeccompCmpOp::MaskedEq(argument.value()), argument.value_two().unwrap_or(0))
        }
    };
    SeccompCondition::new(argument.index() as u8, SeccompCmpArgLen::Qword, operator, value)
}
