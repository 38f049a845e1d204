//! Running a filter here instead of in the kernel: what would it answer?

use super::emit::{AND, JUMP, JUMP_EQ, JUMP_GE, JUMP_GT, JUMP_SET, LOAD, RETURN};
use super::{Instruction, OFFSET_ARCH, OFFSET_ARGUMENTS, OFFSET_NUMBER};

/// A system call as a filter sees it (`struct seccomp_data`, without the instruction pointer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Call {
    /// The system call number, with the x32 bit where it applies.
    pub number: u32,
    /// The `AUDIT_ARCH_*` token.
    pub arch: u32,
    /// The six arguments as registers.
    pub arguments: [u64; 6],
}

impl Call {
    /// The 32-bit word at an offset; the instruction pointer reads as zero.
    fn word(&self, offset: u32) -> Option<u32> {
        match offset {
            OFFSET_NUMBER => Some(self.number),
            OFFSET_ARCH => Some(self.arch),
            8 | 12 => Some(0),
            _ => {
                let at = offset.checked_sub(OFFSET_ARGUMENTS).filter(|at| at % 4 == 0)?;
                let argument = self.arguments.get(at as usize / 8)?;
                Some(if at % 8 == 0 { *argument as u32 } else { (*argument >> 32) as u32 })
            }
        }
    }
}

/// The value (`SECCOMP_RET_*` with its data) that `program` returns for `call`.
///
/// Knows what seccomp filters are made of: absolute word loads, `and`, jumps and constant
/// returns. `None` for a program that uses anything else or leaves its own bounds; the kernel would refuse
/// to load most of these.
pub fn evaluate(program: &[Instruction], call: &Call) -> Option<u32> {
    let mut accumulator = 0u32;
    let mut at = 0usize;
    loop {
        let instruction = program.get(at)?;
        at = at.saturating_add(1);
        let k = instruction.k;
        let taken = match instruction.code {
            LOAD => {
                accumulator = call.word(k)?;
                continue;
            }
            AND => {
                accumulator &= k;
                continue;
            }
            RETURN => return Some(k),
            JUMP => {
                at = at.checked_add(k as usize)?;
                continue;
            }
            JUMP_EQ => accumulator == k,
            JUMP_GT => accumulator > k,
            JUMP_GE => accumulator >= k,
            JUMP_SET => accumulator & k != 0,
            _ => return None,
        };
        at = at.saturating_add(usize::from(if taken { instruction.jt } else { instruction.jf }));
    }
}
