//! Bytes -> profile -> program -> what the kernel's checker and a call would find.

use runtime_core::seccomp::{Architecture, Call, Filter, Instruction, evaluate};
use runtime_core::spec::parse_profile;
use serde_json::{Value, json};

/// The kernel's limit (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

const ARCHITECTURES: [&str; 8] = [
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_S390X",
];

const FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

const NAMES: [&str; 24] = [
    "read",
    "write",
    "openat",
    "clone",
    "clone3",
    "socket",
    "socketcall",
    "bind",
    "semop",
    "ipc",
    "msgget",
    "personality",
    "mmap2",
    "_llseek",
    "arch_prctl",
    "breakpoint",
    "cacheflush",
    "riscv_hwprobe",
    "mseal",
    "uretprobe",
    "set_tls",
    "execveat",
    "",
    "no_such_call",
];

/// Whether the bytes were a profile that compiles. Panics at a fault of the compiler.
pub(crate) fn run(bytes: &[u8]) -> bool {
    let parse = |bytes: &[u8]| parse_profile(bytes, "profile").ok();
    let profile = match bytes.split_first() {
        Some((b'{', _)) => parse(bytes),
        Some((_, rest)) => parse(choose(&mut Choices(rest)).to_string().as_bytes()),
        None => None,
    };
    let Some(profile) = profile else { return false };
    let mut compiled = false;
    for native in Architecture::ALL {
        if let Ok(filter) = Filter::from_profile_on(&profile, native) {
            check(filter.program());
            assert_eq!(
                Filter::from_profile_on(&profile, native).ok().as_ref(),
                Some(&filter),
                "not the same twice"
            );
            compiled = true;
        }
    }
    compiled
}

/// Decisions taken from bytes; zeros after their end.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn one<'b>(&mut self, of: &[&'b str]) -> &'b str {
        of[usize::from(self.byte()) % of.len()]
    }

    fn list(&mut self, most: u8, mut item: impl FnMut(&mut Self) -> Value) -> Value {
        let count = self.byte() % (most + 1);
        Value::Array((0..count).map(|_| item(self)).collect())
    }

    fn number(&mut self) -> u64 {
        let small = u64::from(self.byte());
        match self.byte() % 6 {
            0..=2 => small,
            3 => small << 32 | u64::from(self.byte()),
            4 => u64::MAX - small,
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    fn errno(&mut self) -> Value {
        match self.byte() % 4 {
            0 => json!(u32::from(self.byte()) << (self.byte() % 25)),
            1 => json!(self.byte()),
            _ => Value::Null,
        }
    }
}

fn choose(choices: &mut Choices<'_>) -> Value {
    let syscall = |choices: &mut Choices<'_>| {
        json!({
            "names": choices.list(6, |choices| Value::from(choices.one(&NAMES))),
            "action": choices.one(&ACTIONS),
            "errnoRet": choices.errno(),
            "args": choices.list(4, |choices| json!({
                "index": choices.byte() % 7,
                "value": choices.number(),
                "valueTwo": choices.number(),
                "op": choices.one(&OPERATORS),
            })),
        })
    };
    json!({
        "defaultAction": choices.one(&ACTIONS),
        "defaultErrnoRet": choices.errno(),
        "architectures": choices.list(8, |choices| Value::from(choices.one(&ARCHITECTURES))),
        "flags": choices.list(4, |choices| Value::from(choices.one(&FLAGS))),
        "syscalls": choices.list(40, syscall),
    })
}

/// What the kernel asks of a program (`bpf_check_classic`, `seccomp_check_filter`), and that it answers.
fn check(program: &[Instruction]) {
    assert!(!program.is_empty() && program.len() <= MAX_INSTRUCTIONS, "{} instructions", program.len());
    for (at, instruction) in program.iter().enumerate() {
        let left = program.len() - at - 1;
        let Instruction { code, jt, jf, k } = *instruction;
        match code {
            // ld [k]
            0x20 => assert!(k < 64 && k % 4 == 0, "{at}: {instruction:?}"),
            // and #k
            0x54 => {}
            // ja
            0x05 => assert!((k as usize) < left, "{at}: {instruction:?}"),
            // jeq, jgt, jge
            0x15 | 0x25 | 0x35 => assert!(usize::from(jt.max(jf)) < left, "{at}: {instruction:?}"),
            // ret #k
            0x06 => continue,
            _ => panic!("{at}: {instruction:?}"),
        }
        assert!(left > 0, "falls off its end");
    }
    // Jumps go forward only, so each call ends; each comparison's operand is tried as each part of a call.
    for constant in
        program.iter().map(|instruction| instruction.k).chain([0, u32::MAX]).step_by(1 + program.len() / 64)
    {
        for architecture in Architecture::ALL {
            for number in [constant, constant.wrapping_add(1)] {
                let call =
                    Call { number, arch: architecture.audit_token(), arguments: [u64::from(constant); 6] };
                assert!(evaluate(program, &call).is_some(), "no answer to {call:x?}");
            }
        }
    }
}
