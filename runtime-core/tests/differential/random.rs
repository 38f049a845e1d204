//! Random profiles.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use runtime_core::seccomp::Architecture;

use super::libseccomp::{Library, oci};

const ACTIONS: [LinuxSeccompAction; 9] = [
    LinuxSeccompAction::ScmpActAllow,
    LinuxSeccompAction::ScmpActErrno,
    LinuxSeccompAction::ScmpActKill,
    LinuxSeccompAction::ScmpActKillProcess,
    LinuxSeccompAction::ScmpActKillThread,
    LinuxSeccompAction::ScmpActTrap,
    LinuxSeccompAction::ScmpActTrace,
    LinuxSeccompAction::ScmpActLog,
    LinuxSeccompAction::ScmpActNotify,
];

const OPERATORS: [LinuxSeccompOperator; 7] = [
    LinuxSeccompOperator::ScmpCmpNe,
    LinuxSeccompOperator::ScmpCmpLt,
    LinuxSeccompOperator::ScmpCmpLe,
    LinuxSeccompOperator::ScmpCmpEq,
    LinuxSeccompOperator::ScmpCmpGe,
    LinuxSeccompOperator::ScmpCmpGt,
    LinuxSeccompOperator::ScmpCmpMaskedEq,
];

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds would begin alike.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn name(&mut self, library: &Library) -> String {
        loop {
            let architecture = self.one(&Architecture::ALL);
            let number = self.below(460) as u32;
            if let Some(name) = library.name(architecture, number) {
                return name;
            }
        }
    }

    fn value(&mut self) -> u64 {
        let small = self.below(6) as u64;
        match self.below(8) {
            0..=3 => small,
            4 => small << 32 | self.below(4) as u64,
            5 => u64::from(u32::MAX) - small,
            6 => u64::MAX - small,
            _ => 1 << self.below(64),
        }
    }

    fn argument(&mut self) -> LinuxSeccompArg {
        let arguments = self.one(&[2, 2, 6]);
        let index = self.below(arguments);
        let builder =
            LinuxSeccompArgBuilder::default().index(index).value(self.value()).op(self.one(&OPERATORS));
        let builder = if self.below(2) == 0 { builder.value_two(self.value()) } else { builder };
        builder.build().unwrap()
    }

    fn syscall(&mut self, names: &[String]) -> LinuxSyscall {
        let most = self.one(&[3, 3, 3, 40]);
        let count = 1 + self.below(most);
        let names: Vec<String> = (0..count).map(|_| names[self.below(names.len())].clone()).collect();
        let mut builder = LinuxSyscallBuilder::default().names(names).action(self.one(&ACTIONS));
        if self.below(3) == 0 {
            builder = builder.errno_ret(self.below(200) as u32);
        }
        if self.below(2) == 0 {
            let count = 1 + self.below(3);
            builder = builder.args((0..count).map(|_| self.argument()).collect::<Vec<_>>());
        }
        builder.build().unwrap()
    }

    /// A profile that libseccomp can have been given: every name known to it.
    pub(crate) fn profile(&mut self, library: &Library) -> LinuxSeccomp {
        let default = self.one(&ACTIONS);
        // Few names give many rules for one call, many names give long trees.
        let pool = if self.below(2) == 0 { 400 } else { 60 };
        let names: Vec<String> = (0..pool).map(|_| self.name(library)).collect();
        let rules = 1 + self.below(14);
        let mut builder = LinuxSeccompBuilder::default()
            .default_action(default)
            .syscalls((0..rules).map(|_| self.syscall(&names)).collect::<Vec<_>>());
        if self.below(3) == 0 {
            builder = builder.default_errno_ret(self.below(100) as u32);
        }
        let architectures: Vec<_> =
            Architecture::ALL.into_iter().filter(|_| self.below(2) == 0).map(oci).collect();
        if !architectures.is_empty() {
            builder = builder.architectures(architectures);
        }
        builder.build().unwrap()
    }
}
