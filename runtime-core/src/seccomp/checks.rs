//! The blocks of argument checks.
//!
//! The filter's machine has 32 bits: a 64-bit argument is compared by its halves, upper first.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "parts of a list of rules, whose ends are made from its length; each rule has a condition"
)]

use super::OFFSET_ARGUMENTS;
use super::emit::{AND, Emitter, JUMP_EQ, JUMP_GE, JUMP_GT, LOAD, Target, VerdictId};
use super::rule::{Compare, Condition, Rule};

/// Writes the rules, the first asked first; `actions` has the verdict of each. Without a match the
/// default counts.
pub(super) fn write(
    emitter: &mut Emitter,
    rules: &[Rule],
    actions: &[VerdictId],
    is_64_bit: bool,
    default: VerdictId,
) -> Target {
    let mut next = Target::Verdict(default);
    let mut end = rules.len();
    while end > 0 {
        let start = run_start(rules, end, is_64_bit);
        next = if end - start > 1 {
            write_values(emitter, &rules[start..end], &actions[start..end], is_64_bit, next)
        } else {
            write_rule(emitter, &rules[start], actions[start], is_64_bit, next)
        };
        end = start;
    }
    next
}

/// Where the run of rules before `end` begins that only compare one argument with values of the
/// same upper half: they share the load and the test of the upper half.
fn run_start(rules: &[Rule], end: usize, is_64_bit: bool) -> usize {
    let value = |rule: &Rule| match rule.conditions[..] {
        [Condition { argument, compare: Compare::Eq, mask, value }] if mask == full(is_64_bit) => {
            Some((argument, value >> 32))
        }
        _ => None,
    };
    let Some(last) = value(&rules[end - 1]) else {
        return end - 1;
    };
    rules[..end].iter().rposition(|rule| value(rule) != Some(last)).map_or(0, |different| different + 1)
}

fn full(is_64_bit: bool) -> u64 {
    if is_64_bit { u64::MAX } else { u64::from(u32::MAX) }
}

fn write_values(
    emitter: &mut Emitter,
    rules: &[Rule],
    actions: &[VerdictId],
    is_64_bit: bool,
    no: Target,
) -> Target {
    let first = rules[0].conditions[0];
    let mut next = no;
    for (rule, action) in rules.iter().zip(actions).rev() {
        next = emitter.branch(JUMP_EQ, rule.conditions[0].value as u32, Target::Verdict(*action), next);
    }
    let lower = Target::At(emitter.then(LOAD, offset(first.argument, false)));
    if !is_64_bit {
        return lower;
    }
    emitter.branch(JUMP_EQ, (first.value >> 32) as u32, lower, no);
    Target::At(emitter.then(LOAD, offset(first.argument, true)))
}

fn write_rule(emitter: &mut Emitter, rule: &Rule, action: VerdictId, is_64_bit: bool, no: Target) -> Target {
    let mut yes = Target::Verdict(action);
    for condition in rule.conditions.iter().rev() {
        yes = write_condition(emitter, condition, is_64_bit, yes, no);
    }
    yes
}

fn write_condition(
    emitter: &mut Emitter,
    condition: &Condition,
    is_64_bit: bool,
    yes: Target,
    no: Target,
) -> Target {
    let (code, yes, no) = match condition.compare {
        Compare::Eq | Compare::Masked => (JUMP_EQ, yes, no),
        Compare::Ne => (JUMP_EQ, no, yes),
        Compare::Gt => (JUMP_GT, yes, no),
        Compare::Le => (JUMP_GT, no, yes),
        Compare::Ge => (JUMP_GE, yes, no),
        Compare::Lt => (JUMP_GE, no, yes),
    };
    if code == JUMP_EQ {
        write_equal(emitter, condition, is_64_bit, yes, no)
    } else {
        write_greater(emitter, condition, code, is_64_bit, yes, no)
    }
}

/// Equality of the halves that the mask leaves.
fn write_equal(
    emitter: &mut Emitter,
    condition: &Condition,
    is_64_bit: bool,
    yes: Target,
    no: Target,
) -> Target {
    let mut target = yes;
    for upper in [false, true] {
        let shift = if upper { 32 } else { 0 };
        let mask = (condition.mask >> shift) as u32;
        if mask == 0 || (upper && !is_64_bit) {
            continue;
        }
        emitter.branch(JUMP_EQ, (condition.value >> shift) as u32, target, no);
        if mask != u32::MAX {
            emitter.then(AND, mask);
        }
        target = Target::At(emitter.then(LOAD, offset(condition.argument, upper)));
    }
    target
}

/// Greater (or equal, by `code`): the upper half decides unless it is equal.
fn write_greater(
    emitter: &mut Emitter,
    condition: &Condition,
    code: u16,
    is_64_bit: bool,
    yes: Target,
    no: Target,
) -> Target {
    emitter.branch(code, condition.value as u32, yes, no);
    let lower = Target::At(emitter.then(LOAD, offset(condition.argument, false)));
    if !is_64_bit {
        return lower;
    }
    let upper = (condition.value >> 32) as u32;
    let equal = emitter.branch(JUMP_EQ, upper, lower, no);
    emitter.branch(JUMP_GT, upper, yes, equal);
    Target::At(emitter.then(LOAD, offset(condition.argument, true)))
}

/// Offset of a half of an argument in `struct seccomp_data`, little-endian.
fn offset(argument: u8, upper: bool) -> u32 {
    OFFSET_ARGUMENTS + u32::from(argument) * 8 + if upper { 4 } else { 0 }
}
