//! The eBPF program for cgroup v2: `struct bpf_cgroup_dev_ctx` in r1, 1 in r0 allows.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "lengths of blocks: each is shorter than LONGEST, far below an i16"
)]

use std::collections::BTreeMap;

use super::{Access, DeviceRules, Devices, Kind};

// linux/bpf_common.h and linux/bpf.h.
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const AND: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const MOVE: u8 = 0xb4; // BPF_ALU | BPF_MOV | BPF_K
const COPY: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
// 32-bit comparisons (Linux 5.1): a 64-bit one would extend the sign of a large number.
const UNLESS_EQUAL: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const IF_EQUAL: u8 = 0x16; // BPF_JMP32 | BPF_JEQ | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

const BLOCK: u32 = 1; // BPF_DEVCG_DEV_BLOCK
const CHARACTER: u32 = 2; // BPF_DEVCG_DEV_CHAR

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// `struct bpf_insn`, little-endian.
fn instruction(code: u8, target: u8, source: u8, offset: i16, value: u32) -> u64 {
    u64::from(code)
        | u64::from(target & 15) << 8
        | u64::from(source & 15) << 12
        | u64::from(offset as u16) << 16
        | u64::from(value) << 32
}

/// The longest part behind one test; a jump reaches 32,767 instructions.
const LONGEST: usize = 4000;

/// How many minor numbers one answer has.
const MOST_MINORS: usize = 100;

/// Exceptions are grouped by type and by major number. The verifier of the kernel walks each way through a
/// program: one in which each exception tested everything (64 instructions for the default rules) had 7 % of the
/// samples of a run, a network namespace 11 %.
pub(super) fn compile(rules: &DeviceRules) -> Vec<u64> {
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(COPY, ACCESS, KIND, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for (kind, number) in [(Kind::Character, CHARACTER), (Kind::Block, BLOCK)] {
        let mut part = Vec::new();
        let mut finish = |part: &mut Vec<u64>| {
            if !part.is_empty() {
                program.push(instruction(UNLESS_EQUAL, KIND, 0, part.len() as i16, number));
                program.append(part);
            }
        };
        for block in blocks(rules, kind) {
            if part.len() + block.len() > LONGEST {
                finish(&mut part);
            }
            part.extend(block);
        }
        finish(&mut part);
    }
    program.extend(answer(rules.allow));
    program
}

fn answer(allow: bool) -> [u64; 2] {
    [instruction(MOVE, RESULT, 0, 0, u32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

/// The code of the exceptions of a type of devices: each gives its answer or goes on behind itself.
fn blocks(rules: &DeviceRules, kind: Kind) -> Vec<Vec<u64>> {
    let mut exact: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut blocks = Vec::new();
    for (devices, access) in rules.distinct().filter(|(devices, _)| devices.kind == kind) {
        match (devices.major, devices.minor) {
            (Some(major), Some(minor)) if access == Access::ALL => {
                exact.entry(major).or_default().push(minor);
            }
            _ => blocks.push(block(devices, access, !rules.allow)),
        }
    }
    for (major, minors) in exact {
        blocks.extend(minors.chunks(MOST_MINORS).map(|minors| nodes(major, minors, !rules.allow)));
    }
    blocks
}

/// The code of exceptions with one major number and any access.
fn nodes(major: u32, minors: &[u32], allow: bool) -> Vec<u64> {
    // The tests of all minor numbers, and the answer.
    let behind = minors.len() as i16 + 2;
    let mut block = vec![instruction(UNLESS_EQUAL, MAJOR, 0, behind, major)];
    if let Some((last, others)) = minors.split_last() {
        for (place, minor) in others.iter().enumerate() {
            block.push(instruction(IF_EQUAL, MINOR, 0, (others.len() - place) as i16, *minor));
        }
        block.push(instruction(UNLESS_EQUAL, MINOR, 0, 2, *last));
    }
    block.extend(answer(allow));
    block
}

/// The code of one exception, for devices of its type.
fn block(devices: Devices, access: Access, allow: bool) -> Vec<u64> {
    let mut block = Vec::with_capacity(8);
    let mut skips = Vec::new();
    skips.extend(devices.major.map(|major| (UNLESS_EQUAL, MAJOR, major)));
    skips.extend(devices.minor.map(|minor| (UNLESS_EQUAL, MINOR, minor)));
    let partial = access != Access::ALL;
    let length = skips.len() + if partial { 3 } else { 0 } + 2;
    let skip = |block: &Vec<u64>, (code, register, value): (u8, u8, u32)| {
        instruction(code, register, 0, (length - block.len() - 1) as i16, value)
    };
    for test in skips {
        block.push(skip(&block, test));
    }
    if partial {
        // Allowing: nothing may be asked beyond the rule. Denying: something of the rule is asked.
        let (mask, code) =
            if allow { (Access::ALL.without(access), UNLESS_EQUAL) } else { (access, IF_EQUAL) };
        block.push(instruction(COPY, SCRATCH, ACCESS, 0, 0));
        block.push(instruction(AND, SCRATCH, 0, 0, u32::from(mask.0)));
        block.push(skip(&block, (code, SCRATCH, 0)));
    }
    block.extend(answer(allow));
    block
}
