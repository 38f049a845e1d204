//! An assembler that works from the end of the program to its beginning.
//!
//! Classic BPF only jumps forward, so when an instruction is written its targets are already there and
//! every distance is known. A conditional jump reaches 255 instructions; a farther target gets
//! a copy of its `ret`, or a `ja`, written just before.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "positions in a program that grows only, and verdicts that the compiler has numbered: both are made from lengths of these vectors"
)]

use super::Instruction;

// Operation codes of linux/bpf_common.h.
pub(super) const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
pub(super) const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
pub(super) const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
pub(super) const JUMP_EQ: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
pub(super) const JUMP_GT: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
pub(super) const JUMP_GE: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
pub(super) const JUMP_SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
pub(super) const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// What an address of the program leads to: an action to return or a block of argument checks,
/// by its number in the compiler's list.
pub(super) type VerdictId = u16;

/// Where a jump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// An instruction, counted from the end of the program.
    At(usize),
    /// A verdict; whichever copy is near.
    Verdict(VerdictId),
}

/// The program, last instruction first.
pub(super) struct Emitter {
    reversed: Vec<Instruction>,
    /// The first way to each verdict, seen from here.
    nearest: Vec<Option<usize>>,
    /// The value that a verdict returns; `None` for a block of checks.
    returns: Vec<Option<u32>>,
}

impl Emitter {
    pub(super) fn new(returns: Vec<Option<u32>>) -> Self {
        Self { reversed: Vec::with_capacity(1024), nearest: vec![None; returns.len()], returns }
    }

    pub(super) fn len(&self) -> usize {
        self.reversed.len()
    }

    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    fn push(&mut self, instruction: Instruction) -> usize {
        self.reversed.push(instruction);
        self.reversed.len() - 1
    }

    /// Writes an instruction that goes on with the one after it.
    pub(super) fn then(&mut self, code: u16, k: u32) -> usize {
        self.push(Instruction { code, jt: 0, jf: 0, k })
    }

    /// Says that the block of checks of a verdict begins at the last instruction written.
    pub(super) fn define(&mut self, verdict: VerdictId, target: Target) {
        if let Target::At(position) = target {
            self.nearest[usize::from(verdict)] = Some(position);
        }
    }

    /// Whether the block of a verdict still has to be written.
    pub(super) fn is_missing(&self, verdict: VerdictId) -> bool {
        self.returns[usize::from(verdict)].is_none() && self.nearest[usize::from(verdict)].is_none()
    }

    /// Writes a conditional jump.
    pub(super) fn branch(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        let yes = self.within_reach(yes);
        let no = self.within_reach(no);
        let here = self.reversed.len();
        // At most 255: `within_reach` leaves room for what the other target may add.
        let jt = (here - yes - 1) as u8;
        let jf = (here - no - 1) as u8;
        Target::At(self.push(Instruction { code, jt, jf, k }))
    }

    /// An address for `target` that a conditional jump reaches even if one more instruction is
    /// written in between.
    fn within_reach(&mut self, target: Target) -> usize {
        const REACH: usize = 254;
        let here = self.reversed.len();
        let position = match target {
            Target::At(position) => Some(position),
            Target::Verdict(verdict) => self.nearest[usize::from(verdict)],
        };
        if let Some(position) = position
            && here - position - 1 <= REACH
        {
            return position;
        }
        let Target::Verdict(verdict) = target else {
            return self.go_to(position);
        };
        let copy = match self.returns[usize::from(verdict)] {
            Some(value) => self.then(RETURN, value),
            None => self.go_to(position),
        };
        self.nearest[usize::from(verdict)] = Some(copy);
        copy
    }

    /// Writes a jump; a block that was never written would be a fault of the compiler: kill.
    fn go_to(&mut self, position: Option<usize>) -> usize {
        match position {
            Some(position) => {
                let distance = (self.reversed.len() - position - 1) as u32;
                self.then(JUMP, distance)
            }
            None => self.then(RETURN, super::action::KILL_THREAD),
        }
    }

    /// The address of a target for code that falls into it: writes what is needed so that it is next.
    pub(super) fn place(&mut self, target: Target) -> usize {
        let next = self.reversed.len().wrapping_sub(1);
        match target {
            Target::At(position) if position == next => position,
            Target::At(position) => self.go_to(Some(position)),
            Target::Verdict(verdict) => match self.returns[usize::from(verdict)] {
                Some(value) => self.then(RETURN, value),
                None => self.go_to(self.nearest[usize::from(verdict)]),
            },
        }
    }
}
