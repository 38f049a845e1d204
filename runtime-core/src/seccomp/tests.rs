//! The compiler against a direct reading of the rules.

use super::rule::Entry;
use super::*;
use crate::spec::parse_profile;

const CONFIGS: [&str; 5] = [
    include_str!("../../tests/fixtures/configs/docker-config.json"),
    include_str!("../../tests/fixtures/configs/docker-config-userns.json"),
    include_str!("../../tests/fixtures/configs/containerd-2.4-cri-container-config.json"),
    include_str!("../../tests/fixtures/configs/podman-config.json"),
    include_str!("../../tests/fixtures/configs/podman-rootless-config.json"),
];

fn recorded(config: &str) -> Profile {
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    profile(&config["linux"]["seccomp"].to_string())
}

fn profile(json: &str) -> Profile {
    parse_profile(json.as_bytes(), "profile").unwrap()
}

fn filter(json: &str) -> Filter {
    Filter::from_profile_on(&profile(json), Architecture::X86_64).unwrap()
}

fn call(number: u32, arguments: &[u64]) -> Call {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    Call { number, arch: Architecture::X86_64.audit_token(), arguments: all }
}

/// The verdict read straight from the tables, without the compiler.
fn model(resolved: &profile::Resolved, call: &Call) -> u32 {
    let of = |wanted| resolved.tables.iter().find(|table| table.architecture == wanted);
    let x86_64 = Architecture::X86_64.audit_token();
    let (table, number) = if call.arch == x86_64 && of(Architecture::X32).is_none() {
        if call.number == u32::MAX {
            return resolved.default;
        }
        if call.number >= arch::X32_BIT
            && (call.number & arch::X32_BIT != 0 || resolved.tables[0].last.is_none())
        {
            return action::KILL_THREAD;
        }
        (of(Architecture::X86_64), call.number)
    } else if call.arch == x86_64 && call.number & arch::X32_BIT != 0 {
        (of(Architecture::X32), call.number & !arch::X32_BIT)
    } else {
        let found = resolved
            .tables
            .iter()
            .find(|t| t.architecture.audit_token() == call.arch && t.architecture != Architecture::X32);
        (found, call.number)
    };
    let Some(table) = table else {
        return action::KILL_THREAD;
    };
    if table.last.is_some_and(|last| number > last) {
        return action::ENOSYS;
    }
    match table.low.get(number as usize).or_else(|| table.high.get(&number)) {
        None | Some(Entry::Default) => resolved.default,
        Some(Entry::Always(action)) => *action,
        Some(Entry::Rules(rules)) => rule::ordered(rules, table.architecture.is_64_bit())
            .into_iter()
            .find(|rule| {
                rule.conditions
                    .iter()
                    .all(|condition| condition.holds(call.arguments[usize::from(condition.argument)]))
            })
            .map_or(resolved.default, |rule| rule.action),
    }
}

#[test]
fn recorded_profiles_are_small_and_right() {
    for config in CONFIGS {
        let profile = recorded(config);
        let filter = Filter::from_profile_on(&profile, Architecture::X86_64).unwrap();
        let resolved = profile::resolve(&profile, Architecture::X86_64).unwrap();
        println!("{} instructions, warnings {:?}", filter.program().len(), filter.warnings());
        assert!(filter.program().len() <= 650, "{}", filter.program().len());
        assert_eq!(filter.flags(), FLAG_SPEC_ALLOW);
        for architecture in Architecture::ALL {
            let bases = [0, arch::X32_BIT, 0x8000_0000, 0xc000_0000, 0xffff_ff00];
            for number in
                bases.into_iter().flat_map(|base| (0..600).filter_map(move |n: u32| n.checked_add(base)))
            {
                for argument in [0, 8, 39, 40, 41, 0x20000, 0xffff_ffff, 0x1_0000_0000, 0x7e02_0000, u64::MAX]
                {
                    let call = Call { number, arch: architecture.audit_token(), arguments: [argument; 6] };
                    assert_eq!(filter.verdict(&call), model(&resolved, &call), "{call:?}");
                }
            }
        }
    }
}

/// What the kernel finds about a number when a filter is loaded (`seccomp_is_const_allow`): the verdict, if the
/// architecture and the number are all it takes.
fn constant_verdict(program: &[Instruction], call: &Call) -> Option<u32> {
    let (mut at, mut word) = (0, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let taken = match code {
            emit::LOAD if k == OFFSET_NUMBER => {
                word = call.number;
                continue;
            }
            emit::LOAD if k == OFFSET_ARCH => {
                word = call.arch;
                continue;
            }
            emit::RETURN => return Some(k),
            emit::JUMP => {
                at += k as usize;
                continue;
            }
            emit::JUMP_EQ => word == k,
            emit::JUMP_GE => word >= k,
            emit::JUMP_GT => word > k,
            _ => return None,
        };
        at += usize::from(if taken { jt } else { jf });
    }
}

#[test]
fn the_kernel_can_note_what_is_always_allowed() {
    for config in CONFIGS {
        let profile = recorded(config);
        let filter = Filter::from_profile_on(&profile, Architecture::X86_64).unwrap();
        let resolved = profile::resolve(&profile, Architecture::X86_64).unwrap();
        let (mut noted, mut asking) = (0, 0);
        for table in &resolved.tables {
            let base = if table.architecture == Architecture::X32 { arch::X32_BIT } else { 0 };
            for (number, entry) in table.low.iter().enumerate() {
                let call = Call {
                    number: number as u32 + base,
                    arch: table.architecture.audit_token(),
                    arguments: [0; 6],
                };
                let constant = constant_verdict(filter.program(), &call);
                match entry {
                    Entry::Always(action) => assert_eq!(constant, Some(*action), "{call:?}"),
                    Entry::Default => assert!(constant.is_some(), "{call:?}"),
                    Entry::Rules(_) => asking += 1,
                }
                noted += usize::from(constant == Some(0x7fff_0000));
            }
        }
        println!("{noted} calls are always allowed, {asking} ask for arguments");
        assert!(noted > 900);
    }
}

#[test]
fn time_to_compile() {
    let profile = recorded(CONFIGS[0]);
    let start = std::time::Instant::now();
    for _ in 0..1000 {
        std::hint::black_box(Filter::from_profile_on(&profile, Architecture::X86_64).unwrap());
    }
    println!("{:?} for one compilation of Docker's profile", start.elapsed() / 1000);
}

#[test]
fn conditions_of_a_rule_are_all_needed() {
    let filter = filter(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_ERRNO",
            "errnoRet": 7, "args": [{"index": 0, "value": 4294967297, "op": "SCMP_CMP_EQ"},
            {"index": 2, "value": 10, "op": "SCMP_CMP_GT"}]}]}"#,
    );
    assert_eq!(filter.verdict(&call(1, &[0x1_0000_0001, 0, 11])), 0x0005_0007);
    assert_eq!(filter.verdict(&call(1, &[1, 0, 11])), 0x7fff_0000);
    assert_eq!(filter.verdict(&call(1, &[0x1_0000_0001, 0, 10])), 0x7fff_0000);
    assert_eq!(filter.verdict(&call(1, &[0x1_0000_0001, 0, 1 << 32])), 0x0005_0007);
}

#[test]
fn two_conditions_on_one_argument_are_two_rules() {
    let filter = filter(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_TRAP",
            "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_LT"}, {"index": 0, "value": 9, "op": "SCMP_CMP_GE"}]}]}"#,
    );
    let verdicts: Vec<u32> = [2, 3, 8, 9].iter().map(|&value| filter.verdict(&call(1, &[value]))).collect();
    assert_eq!(verdicts, [0x0003_0000, 0x7fff_0000, 0x7fff_0000, 0x0003_0000]);
}

#[test]
fn contradictions_and_bad_input_are_errors() {
    for (json, wanted) in [
        (
            r#"{"names": ["write"], "action": "SCMP_ACT_TRAP", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}"#,
            "syscalls[0].args[0].index",
        ),
        (r#"{"names": ["write"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096}"#, "syscalls[0].errnoRet"),
        (r#"{"names": [""], "action": "SCMP_ACT_TRAP"}"#, "syscalls[0].names[0]"),
        (
            r#"{"names": ["write"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
            {"names": ["write"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]}"#,
            "contradicts",
        ),
    ] {
        let text = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{json}]}}"#);
        let error = parse_profile(text.as_bytes(), "profile")
            .and_then(|profile| Filter::from_profile_on(&profile, Architecture::X86_64))
            .unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn far_targets_and_the_length_limit() {
    let syscalls = |count: u64| {
        let rules: Vec<String> = (0..count)
            .map(|value| {
                let value = value << 32 | value;
                format!(
                    r#"{{"names": ["write", "read"], "action": "SCMP_ACT_ERRNO", "errnoRet": {}, "args":
                        [{{"index": 1, "value": {value}, "op": "SCMP_CMP_EQ"}}]}}"#,
                    value % 40 + 1
                )
            })
            .collect();
        format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}}"#, rules.join(","))
    };
    let filter = filter(&syscalls(800));
    for value in 0..800u64 {
        let value = value << 32 | value;
        assert_eq!(filter.verdict(&call(0, &[0, value])), 0x0005_0000 | (value % 40 + 1) as u32);
        assert_eq!(filter.verdict(&call(1, &[0, value + 1])), 0x7fff_0000);
    }
    let error = Filter::from_profile_on(&profile(&syscalls(1500)), Architecture::X86_64).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn flags_and_listener() {
    let with = |flags: &str, action: &str| {
        filter(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", {flags} "syscalls": [{{"names": ["mount"], "action": "{action}"}}]}}"#
        ))
    };
    assert_eq!(with("", "SCMP_ACT_LOG").flags(), FLAG_SPEC_ALLOW);
    assert_eq!(with(r#""flags": [],"#, "SCMP_ACT_LOG").flags(), 0);
    let notify = with(
        r#""flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"],"#,
        "SCMP_ACT_NOTIFY",
    );
    assert_eq!(notify.flags(), FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV | FLAG_TSYNC | FLAG_TSYNC_ESRCH);
    assert!(notify.needs_listener());
    let useless = with(r#""flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],"#, "SCMP_ACT_LOG");
    assert_eq!((useless.flags(), useless.warnings().len()), (0, 1));
}

/// The number 0 of x32 has its bit: it is a number that the profile names.
#[test]
fn a_profile_of_the_first_call_alone() {
    let filter = filter(
        r#"{"defaultAction": "SCMP_ACT_KILL", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(filter.verdict(&call(0x4000_0001, &[])), 0x0005_0026);
    assert_eq!(filter.verdict(&call(1, &[])), 0);
}

#[test]
fn text_and_bytes() {
    let filter = filter(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}"#,
    );
    assert_eq!(filter.to_bytes().len(), filter.program().len() * 8);
    let text = filter.to_string();
    assert!(text.starts_with("   0: ld arch\n   1: jeq 0xc000003e, 2, "), "{text}");
    assert!(text.contains("ret errno 1\n"), "{text}");
}

/// A number of the x32 ABI, or a call of another architecture, is not one that the profile speaks of. Control: the calls that it
/// speaks of, and the number by which a tracer skips a call, are allowed.
#[test]
fn calls_of_another_abi_end_the_process() {
    let filter = filter(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}"#,
    );
    for number in [0, 39, 400, u32::MAX] {
        assert_eq!(filter.verdict(&call(number, &[])), libc::SECCOMP_RET_ALLOW, "{number}");
    }
    for number in [0, 39, 83, 520] {
        assert_eq!(filter.verdict(&call(arch::X32_BIT | number, &[])), action::KILL_THREAD, "{number}");
        for other in [Architecture::X86, Architecture::Aarch64] {
            let call = Call { arch: other.audit_token(), ..call(number, &[]) };
            assert_eq!(filter.verdict(&call), action::KILL_THREAD, "{number}");
        }
    }
}

/// An argument has 64 bits, whatever the comparison. Control: the lower half decides where the upper ones are equal.
#[test]
fn both_halves_of_an_argument_count() {
    const VALUE: u64 = 0x1_0000_0005;
    type Holds = fn(u64) -> bool;
    let comparisons: [(&str, Holds); 7] = [
        ("SCMP_CMP_EQ", |argument| argument == VALUE),
        ("SCMP_CMP_NE", |argument| argument != VALUE),
        ("SCMP_CMP_LT", |argument| argument < VALUE),
        ("SCMP_CMP_LE", |argument| argument <= VALUE),
        ("SCMP_CMP_GT", |argument| argument > VALUE),
        ("SCMP_CMP_GE", |argument| argument >= VALUE),
        ("SCMP_CMP_MASKED_EQ", |argument| argument & VALUE == 0x1_0000_0001),
    ];
    for (op, holds) in comparisons {
        let (value, second) = (VALUE, if op.contains("MASKED") { 0x1_0000_0001u64 } else { 0 });
        let filter = filter(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{{"names": ["mkdir"],
                "action": "SCMP_ACT_ALLOW", "args": [{{"index": 1, "value": {value}, "valueTwo": {second}, "op": "{op}"}}]}}]}}"#
        ));
        for argument in
            [0, 1, 4, 5, 6, VALUE - 4, VALUE - 1, VALUE, VALUE + 1, VALUE << 1, 0x2_0000_0005, u64::MAX]
        {
            let allowed = filter.verdict(&call(83, &[0, argument])) == libc::SECCOMP_RET_ALLOW;
            assert_eq!(allowed, holds(argument), "{op} {argument:#x}");
        }
    }
    // Rules that differ in the value alone share the test of the upper half.
    let rule = |value: u64| {
        format!(
            r#"{{"names": ["mkdir"], "action": "SCMP_ACT_ALLOW", "args": [{{"index": 1, "value": {value}, "op": "SCMP_CMP_EQ"}}]}}"#
        )
    };
    let filter = filter(&format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{}, {}]}}"#,
        rule(VALUE),
        rule(VALUE + 3)
    ));
    for argument in [0, 5, 8, VALUE, VALUE + 3, VALUE + 1, VALUE << 1, 0x2_0000_0005, 0x2_0000_0008] {
        let allowed = filter.verdict(&call(83, &[0, argument])) == libc::SECCOMP_RET_ALLOW;
        assert_eq!(allowed, [VALUE, VALUE + 3].contains(&argument), "{argument:#x}");
    }
}
