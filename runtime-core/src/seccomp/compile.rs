//! From tables of entries to a program: architecture, then a search tree over ranges of numbers with
//! one verdict each, then blocks of argument checks.
//!
//! The way to an unconditional verdict loads only the architecture and the number, which
//! is what lets the kernel note in a bitmap which calls are always allowed and skip the filter for
//! them (`seccomp_cache_prepare`, Linux 5.11).

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "numbers of verdicts and parts of lists, made from their lengths; numbers of calls, which are below 2^30 and their base"
)]

use super::action;
use super::arch::{Architecture, X32_BIT};
use super::checks;
use super::emit::{Emitter, JUMP_EQ, JUMP_GE, LOAD, Target, VerdictId};
use super::rule::{Entry, Rule, ordered};
use super::table::Table;
use super::{Instruction, OFFSET_ARCH, OFFSET_NUMBER};
use crate::error::{Error, ErrorKind, Result};

/// BPF_MAXINSNS of linux/bpf_common.h.
const MAX_INSTRUCTIONS: usize = 4096;

/// A range has at most this many exceptions tested one by one before the tree splits it.
const MAX_CHAIN: usize = 3;

/// From this number up to the next range, this verdict.
#[derive(Debug, Clone, Copy)]
struct Range {
    start: u32,
    verdict: VerdictId,
}

/// What a call can lead to.
#[derive(PartialEq)]
enum Verdict {
    Return(u32),
    Check { rules: Vec<Rule>, is_64_bit: bool },
}

/// The distinct verdicts of a program.
struct Verdicts(Vec<Verdict>);

impl Verdicts {
    fn returning(&mut self, action: u32) -> VerdictId {
        self.intern(Verdict::Return(action))
    }

    fn intern(&mut self, verdict: Verdict) -> VerdictId {
        let found = self.0.iter().position(|known| *known == verdict);
        // A profile has at most a few thousand entries, far below 65536.
        found.unwrap_or_else(|| {
            self.0.push(verdict);
            self.0.len() - 1
        }) as VerdictId
    }

    fn of(&mut self, entry: &Entry, default: VerdictId, is_64_bit: bool) -> VerdictId {
        match entry {
            Entry::Default => default,
            Entry::Always(action) => self.returning(*action),
            Entry::Rules(rules) => {
                let rules: Vec<Rule> = ordered(rules, is_64_bit).into_iter().cloned().collect();
                for rule in &rules {
                    self.returning(rule.action);
                }
                self.intern(Verdict::Check { rules, is_64_bit })
            }
        }
    }
}

/// The program for these tables; the first is asked first.
pub(super) fn program(tables: &[Table], default: u32) -> Result<Vec<Instruction>> {
    let mut verdicts = Verdicts(Vec::new());
    let sections = sections(tables, default, &mut verdicts);
    let bad_architecture = verdicts.returning(action::KILL_THREAD);
    let default = verdicts.returning(default);

    let returns = verdicts.0.iter().map(|verdict| match verdict {
        Verdict::Return(action) => Some(*action),
        Verdict::Check { .. } => None,
    });
    let mut emitter = Emitter::new(returns.collect());
    let mut entries = Vec::with_capacity(sections.len());
    for (token, ranges) in sections.iter().rev() {
        write_checks(&mut emitter, ranges, &mut verdicts, default)?;
        let tree = write_tree(&mut emitter, ranges, u64::from(u32::MAX) + 1);
        emitter.place(tree);
        entries.push((*token, Target::At(emitter.then(LOAD, OFFSET_NUMBER))));
    }
    let mut next = Target::Verdict(bad_architecture);
    for (token, section) in entries {
        next = emitter.branch(JUMP_EQ, token, section, next);
    }
    emitter.place(next);
    emitter.then(LOAD, OFFSET_ARCH);
    limit(&emitter)?;
    Ok(emitter.finish())
}

fn limit(emitter: &Emitter) -> Result<()> {
    if emitter.len() > MAX_INSTRUCTIONS {
        return Err(Error::new(ErrorKind::Unsupported, "compile seccomp profile")
            .reason(format!("the program has more than {MAX_INSTRUCTIONS} instructions"))
            .origin("linux.seccomp.syscalls"));
    }
    Ok(())
}

/// One list of ranges for each token; x86_64 and x32 share theirs.
fn sections(tables: &[Table], default: u32, verdicts: &mut Verdicts) -> Vec<(u32, Vec<Range>)> {
    let mut sections: Vec<(u32, Vec<Range>)> = Vec::new();
    for table in tables {
        let token = table.architecture.audit_token();
        if sections.iter().any(|(known, _)| *known == token) {
            continue;
        }
        let mut ranges = Vec::with_capacity(512);
        match table.architecture {
            Architecture::X86_64 | Architecture::X32 => {
                let of = |wanted| tables.iter().find(|table| table.architecture == wanted);
                let (wide, x32) = (of(Architecture::X86_64), of(Architecture::X32));
                x86_64_ranges(wide, x32, default, verdicts, &mut ranges);
            }
            _ => table_ranges(table, 0, default, verdicts, &mut ranges),
        }
        sections.push((token, ranges));
    }
    sections
}

/// The number space under the x86_64 token has four quarters, by bits 31 and 30. x32 has bit 30;
/// bit 31 is never right, but runc's ENOSYS rule looks only at bit 30 before it compares.
fn x86_64_ranges(
    wide: Option<&Table>,
    x32: Option<&Table>,
    default: u32,
    verdicts: &mut Verdicts,
    ranges: &mut Vec<Range>,
) {
    let bad = verdicts.returning(action::KILL_THREAD);
    let default_id = verdicts.returning(default);
    let beyond = |table: &Table, verdicts: &mut Verdicts| {
        if table.last.is_some() { verdicts.returning(action::ENOSYS) } else { default_id }
    };
    match wide {
        Some(table) => table_ranges(table, 0, default, verdicts, ranges),
        None => append(ranges, 0, bad),
    }
    match x32 {
        Some(table) => table_ranges(table, X32_BIT, default, verdicts, ranges),
        None => append(ranges, X32_BIT, bad),
    }
    let third = match (wide, x32) {
        (Some(table), _) if table.last.is_some() => verdicts.returning(action::ENOSYS),
        (_, Some(_)) => default_id,
        (_, None) => bad,
    };
    append(ranges, 0x8000_0000, third);
    match x32 {
        Some(table) => {
            let verdict = beyond(table, verdicts);
            append(ranges, 0xc000_0000, verdict);
        }
        None => {
            append(ranges, 0xc000_0000, bad);
            // A tracer sets -1 to skip a call; the filter runs again on it and must not kill.
            append(ranges, u32::MAX, default_id);
        }
    }
}

fn append(ranges: &mut Vec<Range>, start: u32, verdict: VerdictId) {
    if ranges.last().is_none_or(|last| last.verdict != verdict) {
        ranges.push(Range { start, verdict });
    }
}

fn table_ranges(table: &Table, base: u32, default: u32, verdicts: &mut Verdicts, ranges: &mut Vec<Range>) {
    let is_64_bit = table.architecture.is_64_bit();
    let default = verdicts.returning(default);
    let end = table.last.map_or(u32::MAX, |last| last + 1);
    for (number, entry) in table.low.iter().enumerate().take(end as usize) {
        let verdict = verdicts.of(entry, default, is_64_bit);
        append(ranges, base + number as u32, verdict);
    }
    if (table.low.len() as u32) < end {
        append(ranges, base + table.low.len() as u32, default);
    }
    for (number, entry) in table.high.iter().filter(|(number, _)| **number < end) {
        let verdict = verdicts.of(entry, default, is_64_bit);
        append(ranges, base + number, verdict);
        append(ranges, base + number + 1, default);
    }
    if table.last.is_some() {
        let enosys = verdicts.returning(action::ENOSYS);
        append(ranges, base + end, enosys);
    }
}

/// Writes the blocks of checks that these ranges need and that are not there yet.
fn write_checks(
    emitter: &mut Emitter,
    ranges: &[Range],
    verdicts: &mut Verdicts,
    default: VerdictId,
) -> Result<()> {
    for range in ranges {
        if !emitter.is_missing(range.verdict) {
            continue;
        }
        let Verdict::Check { rules, is_64_bit } = &verdicts.0[usize::from(range.verdict)] else {
            continue;
        };
        let actions: Vec<VerdictId> = rules
            .iter()
            .map(|rule| {
                let wanted = Verdict::Return(rule.action);
                verdicts.0.iter().position(|known| *known == wanted).map_or(default, |id| id as VerdictId)
            })
            .collect();
        let block = checks::write(emitter, rules, &actions, *is_64_bit, default);
        emitter.define(range.verdict, block);
        limit(emitter)?;
    }
    Ok(())
}

/// Writes the search tree over `ranges`, which end before `end`.
fn write_tree(emitter: &mut Emitter, ranges: &[Range], end: u64) -> Target {
    match ranges {
        [] => Target::Verdict(0),
        [range] => Target::Verdict(range.verdict),
        [low, high] => {
            let (low, high) = (Target::Verdict(low.verdict), *high);
            emitter.branch(JUMP_GE, high.start, Target::Verdict(high.verdict), low)
        }
        _ => {
            if let Some(chain) = write_chain(emitter, ranges, end) {
                return chain;
            }
            let middle = ranges.len() / 2;
            let (low, high) = ranges.split_at(middle);
            let start = high[0].start;
            let high = write_tree(emitter, high, end);
            let low = write_tree(emitter, low, u64::from(start));
            emitter.branch(JUMP_GE, start, high, low)
        }
    }
}

/// One verdict with a few single numbers in it: one comparison for each instead of two.
fn write_chain(emitter: &mut Emitter, ranges: &[Range], end: u64) -> Option<Target> {
    if ranges.len() > 2 * MAX_CHAIN + 1 {
        return None;
    }
    let around = [ranges[0].verdict, ranges[1].verdict].into_iter().find(|around| {
        let mut exceptions = 0;
        ranges.iter().enumerate().all(|(i, range)| {
            let next = ranges.get(i + 1).map_or(end, |next| u64::from(next.start));
            exceptions += usize::from(range.verdict != *around);
            range.verdict == *around || next == u64::from(range.start) + 1
        }) && exceptions <= MAX_CHAIN
    })?;
    let mut next = Target::Verdict(around);
    for range in ranges.iter().rev().filter(|range| range.verdict != around) {
        next = emitter.branch(JUMP_EQ, range.start, Target::Verdict(range.verdict), next);
    }
    Some(next)
}
