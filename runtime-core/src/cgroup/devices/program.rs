//! The eBPF program for cgroup v2: `struct bpf_cgroup_dev_ctx` in r1, 1 in r0 allows.

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

pub(super) fn compile(rules: &DeviceRules) -> Vec<u64> {
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(COPY, ACCESS, KIND, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for (devices, access) in rules.distinct() {
        program.extend(block(devices, access, !rules.allow));
    }
    program.extend(answer(rules.allow));
    program
}

fn answer(allow: bool) -> [u64; 2] {
    [instruction(MOVE, RESULT, 0, 0, u32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

/// The code of one exception: gives its answer or goes on behind itself.
fn block(devices: Devices, access: Access, allow: bool) -> Vec<u64> {
    let kind = match devices.kind {
        Kind::Block => BLOCK,
        Kind::Character => CHARACTER,
    };
    let mut block = Vec::with_capacity(8);
    let mut skips = vec![(UNLESS_EQUAL, KIND, kind)];
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
