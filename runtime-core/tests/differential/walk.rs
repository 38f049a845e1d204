//! A filter as a function of the syscall number: for one architecture the whole space of 2^32 numbers is
//! cut into ranges on which the program takes the same way, so that one number of each range speaks for all.
//!
//! Also an interpreter of its own, which knows what the accumulator holds.

use std::collections::BTreeSet;

use runtime_core::seccomp::{Call, Instruction};

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;
const JUMP_EQ: u16 = 0x15;
const JUMP_GT: u16 = 0x25;
const JUMP_GE: u16 = 0x35;

/// What a range of numbers comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// This verdict, without a look at the arguments.
    Return(u32),
    /// The instruction here loads an argument.
    Arguments(usize),
}

/// Numbers up to the next range's, and where they lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u32,
    pub(crate) leaf: Leaf,
}

#[derive(Clone, Copy)]
enum Accumulator {
    Known(u32),
    Number,
}

/// The ranges of a program under an architecture's token, ascending, from 0 to the largest number.
pub(crate) fn ranges(program: &[Instruction], arch: u32) -> Vec<Range> {
    let mut ranges = Vec::new();
    // The ways still to go, the one with the smallest numbers last.
    let mut ways = vec![(0usize, Accumulator::Known(0), 0u32, u32::MAX)];
    while let Some((mut at, mut accumulator, first, mut last)) = ways.pop() {
        let leaf = loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let (yes, no) = (at + usize::from(jt), at + usize::from(jf));
            match (code, accumulator) {
                (LOAD, _) if k == 0 => accumulator = Accumulator::Number,
                (LOAD, _) if k == 4 => accumulator = Accumulator::Known(arch),
                (LOAD, _) => break Leaf::Arguments(at - 1),
                (RETURN, _) => break Leaf::Return(k),
                (JUMP, _) => at += k as usize,
                (_, Accumulator::Known(word)) => at = if compare(code, word, k) { yes } else { no },
                (JUMP_EQ, _) => {
                    let here = (first <= k && k <= last).then_some(k);
                    match here {
                        None => at = no,
                        Some(k) if k > first => {
                            ways.push((at - 1, accumulator, k, last));
                            (last, at) = (k - 1, no);
                        }
                        Some(k) => {
                            if last > k {
                                ways.push((no, accumulator, k + 1, last));
                            }
                            (last, at) = (k, yes);
                        }
                    }
                }
                (JUMP_GT | JUMP_GE, _) => {
                    // The smallest number for which the comparison holds.
                    let bound = u64::from(k) + u64::from(code == JUMP_GT);
                    if u64::from(first) >= bound {
                        at = yes;
                    } else {
                        if u64::from(last) >= bound {
                            ways.push((yes, accumulator, bound as u32, last));
                            last = bound as u32 - 1;
                        }
                        at = no;
                    }
                }
                _ => panic!("instruction {code:#x} on a number"),
            }
        };
        if ranges.last().is_none_or(|range: &Range| range.leaf != leaf) {
            ranges.push(Range { start: first, leaf });
        }
    }
    ranges
}

fn compare(code: u16, word: u32, k: u32) -> bool {
    match code {
        JUMP_EQ => word == k,
        JUMP_GT => word > k,
        JUMP_GE => word >= k,
        _ => panic!("instruction {code:#x}"),
    }
}

/// The verdict of a program on a call, from an instruction on.
pub(crate) fn run(program: &[Instruction], start: usize, call: &Call) -> u32 {
    let mut verdict = 0;
    trace(program, start, call, |_, Instruction { code, k, .. }| {
        if code == RETURN {
            verdict = k;
        }
    });
    verdict
}

/// Runs a program, and shows each instruction.
pub(crate) fn trace(
    program: &[Instruction],
    start: usize,
    call: &Call,
    mut show: impl FnMut(usize, Instruction),
) {
    let (mut at, mut word) = (start, 0u32);
    loop {
        let instruction @ Instruction { code, jt, jf, k } = program[at];
        show(at, instruction);
        at += 1;
        match code {
            LOAD => word = load(call, k),
            AND => word &= k,
            JUMP => at += k as usize,
            RETURN => return,
            _ => at += usize::from(if compare(code, word, k) { jt } else { jf }),
        }
    }
}

/// The comparisons of a program that do not know what they compare: ways lead there with different words in
/// the accumulator, or the architecture's token is compared with what is no token of `tokens`.
///
/// No right program has one: it would compare with a constant that is meant for another word.
pub(crate) fn confused(program: &[Instruction], tokens: &[u32]) -> Vec<bool> {
    // What the accumulator can hold before each instruction: words by offset, and the bits that are left.
    let mut holds: Vec<BTreeSet<(u32, u32)>> = vec![BTreeSet::new(); program.len()];
    let mut confused = vec![false; program.len()];
    holds[0].insert((u32::MAX, 0));
    for (at, &Instruction { code, jt, jf, k }) in program.iter().enumerate() {
        let before = std::mem::take(&mut holds[at]);
        let mut reach = |distance: usize, words: BTreeSet<(u32, u32)>| {
            if !words.is_empty() {
                holds[at + 1 + distance].extend(words);
            }
        };
        match code {
            RETURN => {}
            LOAD => reach(0, BTreeSet::from([(k, u32::MAX)])),
            AND => reach(0, before.iter().map(|(offset, mask)| (*offset, mask & k)).collect()),
            JUMP => reach(k as usize, before),
            _ => {
                let token_as_number = before.iter().any(|(offset, _)| *offset == 4) && !tokens.contains(&k);
                confused[at] = before.len() > 1 || token_as_number;
                reach(usize::from(jt), before.clone());
                reach(usize::from(jf), before);
            }
        }
    }
    confused
}

fn load(call: &Call, offset: u32) -> u32 {
    match offset {
        0 => call.number,
        4 => call.arch,
        _ => {
            let argument = call.arguments[(offset as usize - 16) / 8];
            (if offset.is_multiple_of(8) { argument } else { argument >> 32 }) as u32
        }
    }
}
