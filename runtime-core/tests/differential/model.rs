//! A direct reading of a profile: runc's ENOSYS rule, which rules a call has, and which verdicts those
//! justify. It shares no code with the compiler, and takes numbers from libseccomp.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator as Operator,
};
use runtime_core::seccomp::{Architecture, Call, ListedArchitecture};

use super::libseccomp::{Library, action};

const X32_BIT: u32 = 0x4000_0000;
const ENOSYS: u32 = 0x0005_0026;
const X86_64: u32 = Architecture::X86_64.audit_token();

/// The multiplexers of i386, and libseccomp's pseudo numbers of what is behind them (-101 is
/// `socketcall(1)`, -201 is `ipc(1)`).
const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// One comparison of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) argument: usize,
    pub(crate) operator: Operator,
    pub(crate) mask: u64,
    pub(crate) value: u64,
}

/// What must hold together, and the action then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) action: u32,
}

pub(crate) struct Reading {
    is_permissive: bool,
    default: u32,
    architectures: Vec<Architecture>,
    /// A negative number is libseccomp's for a call that the architecture lacks: it keeps such rules, and
    /// may refuse them.
    by_number: BTreeMap<(Architecture, i64), Vec<Rule>>,
    largest: BTreeMap<Architecture, u32>,
}

impl Reading {
    pub(crate) fn new(library: &Library, profile: &LinuxSeccomp) -> Self {
        let mut architectures = vec![Architecture::X86_64];
        for arch in profile.architectures().iter().flatten() {
            architectures.extend(ListedArchitecture::from(*arch).known());
        }
        architectures.sort();
        architectures.dedup();
        let default = action(profile.default_action(), profile.default_errno_ret());
        let is_permissive = matches!(
            profile.default_action(),
            LinuxSeccompAction::ScmpActAllow
                | LinuxSeccompAction::ScmpActLog
                | LinuxSeccompAction::ScmpActTrace
        );
        let mut reading = Self {
            is_permissive,
            default,
            architectures,
            by_number: BTreeMap::new(),
            largest: BTreeMap::new(),
        };
        for syscall in profile.syscalls().iter().flatten() {
            let action = action(syscall.action(), syscall.errno_ret());
            let comparisons: Vec<Comparison> =
                syscall.args().iter().flatten().map(Comparison::from_oci).collect();
            for name in syscall.names() {
                reading.add(library, name, &comparisons, action);
            }
        }
        reading
    }

    fn add(&mut self, library: &Library, name: &str, comparisons: &[Comparison], action: u32) {
        for architecture in self.architectures.clone() {
            let wide = is_wide(architecture);
            let mut rules = |number: i64, prefix: Option<Comparison>| {
                if action != self.default {
                    let known = self.by_number.entry((architecture, number)).or_default();
                    known.extend(
                        split(comparisons, prefix, wide).map(|comparisons| Rule { comparisons, action }),
                    );
                }
            };
            let number = library.number_or_pseudo(architecture, name);
            if let Ok(number) = u32::try_from(number) {
                rules(number.into(), None);
                let largest = self.largest.entry(architecture).or_default();
                *largest = number.max(*largest);
                continue;
            }
            if architecture != Architecture::X86 || !(-300..=-100).contains(&number) {
                rules(number.into(), None);
                continue;
            }
            let (multiplexer, call) =
                if number > -200 { (SOCKETCALL, -100 - number) } else { (IPC, -200 - number) };
            rules(multiplexer.into(), Some(Comparison::equal(0, call as u64)));
            // Some of them have a number of their own too (since Linux 4.3 and 5.1).
            if let Some(number) = architecture.syscall_number(name) {
                rules(number.into(), None);
            }
        }
    }

    /// The rules for a number under a token.
    pub(crate) fn rules(&self, token: u32, number: u32) -> &[Rule] {
        let architecture = self.architecture(token, number);
        let rules = architecture.and_then(|architecture| self.by_number.get(&(architecture, number.into())));
        rules.map_or(&[], Vec::as_slice)
    }

    fn architecture(&self, token: u32, number: u32) -> Option<Architecture> {
        self.architectures.iter().copied().find(|architecture| {
            architecture.audit_token() == token
                && (token != X86_64 || (*architecture == Architecture::X32) == (number & X32_BIT != 0))
        })
    }

    /// The tokens that the filter asks for.
    pub(crate) fn tokens(&self) -> Vec<u32> {
        self.architectures.iter().map(|architecture| architecture.audit_token()).collect()
    }

    /// The numbers at which [`Reading::enosys`] may change its answer.
    pub(crate) fn thresholds(&self, token: u32) -> impl Iterator<Item = u32> {
        let largest = self.largest.iter().filter(move |(known, _)| known.audit_token() == token);
        largest.map(|(_, number)| number + 1).chain([X32_BIT, 0x8000_0000, 0xc000_0000])
    }

    /// ENOSYS, if runc's rule gives it: a number above the largest that the profile names there.
    pub(crate) fn enosys(&self, token: u32, number: u32) -> Option<u32> {
        if self.is_permissive {
            return None;
        }
        let largest = self.largest.get(&self.architecture(token, number)?).copied().unwrap_or(0);
        (largest != 0 && number > largest).then_some(ENOSYS)
    }

    /// The verdicts that the rules can justify: the actions of those that match, else the default.
    pub(crate) fn justified(&self, rules: &[Rule], call: &Call) -> BTreeSet<u32> {
        let wide = self.architecture(call.arch, call.number).is_some_and(is_wide);
        let matching: BTreeSet<u32> =
            rules.iter().filter(|rule| rule.matches(call, wide)).map(|rule| rule.action).collect();
        if matching.is_empty() { BTreeSet::from([self.default]) } else { matching }
    }

    /// Whether two rules of a call make the same comparison of the same half of an argument, which
    /// libseccomp makes one node of its tree.
    pub(crate) fn shares(&self, rules: &[Rule], call: &Call) -> bool {
        let wide = self.architecture(call.arch, call.number).is_some_and(is_wide);
        let questions: Vec<BTreeSet<Question>> = rules.iter().map(|rule| rule.questions(wide)).collect();
        (1..questions.len()).any(|i| questions[..i].iter().any(|other| !questions[i].is_disjoint(other)))
    }

    /// Whether some call has two rules of different actions that share a comparison: libseccomp may refuse
    /// the second, though they do not contradict each other.
    pub(crate) fn conflicts_share(&self) -> bool {
        self.by_number.iter().any(|((architecture, _), rules)| {
            let questions: Vec<_> = rules.iter().map(|rule| rule.questions(is_wide(*architecture))).collect();
            (1..rules.len()).any(|i| {
                (0..i).any(|j| rules[i].action != rules[j].action && !questions[i].is_disjoint(&questions[j]))
            })
        })
    }
}

fn is_wide(architecture: Architecture) -> bool {
    matches!(architecture, Architecture::X86_64 | Architecture::Aarch64 | Architecture::Riscv64)
}

/// A rule with two comparisons of one argument is a rule for each of its comparisons, as runc makes it.
fn split(
    comparisons: &[Comparison],
    prefix: Option<Comparison>,
    wide: bool,
) -> impl Iterator<Item = Vec<Comparison>> {
    let mut seen = BTreeSet::new();
    let repeated = !comparisons.iter().all(|comparison| seen.insert(comparison.argument));
    let size = if repeated { 1 } else { comparisons.len().max(1) };
    let mut chunks: Vec<&[Comparison]> = comparisons.chunks(size).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    chunks
        .into_iter()
        .map(move |chunk| {
            let kept = chunk.iter().filter(|comparison| prefix.is_none() || comparison.argument != 0);
            let mut all: Vec<Comparison> =
                prefix.iter().chain(kept).map(|comparison| comparison.narrowed(wide)).collect();
            all.sort_by_key(|comparison| comparison.argument);
            all
        })
        .collect::<Vec<_>>()
        .into_iter()
}

/// Argument and half, operation, operand, mask.
type Question = (usize, bool, char, u32, u32);

impl Comparison {
    fn from_oci(argument: &LinuxSeccompArg) -> Self {
        let (mask, value) = match argument.op() {
            Operator::ScmpCmpMaskedEq => (argument.value(), argument.value_two().unwrap_or(0)),
            _ => (u64::MAX, argument.value()),
        };
        Self { argument: argument.index(), operator: argument.op(), mask, value: value & mask }
    }

    fn equal(argument: usize, value: u64) -> Self {
        Self { argument, operator: Operator::ScmpCmpEq, mask: u64::MAX, value }
    }

    fn narrowed(mut self, wide: bool) -> Self {
        if !wide {
            self.mask &= 0xffff_ffff;
            self.value &= 0xffff_ffff;
        }
        self
    }

    fn holds(&self, value: u64) -> bool {
        let value = value & self.mask;
        match self.operator {
            Operator::ScmpCmpNe => value != self.value,
            Operator::ScmpCmpLt => value < self.value,
            Operator::ScmpCmpLe => value <= self.value,
            Operator::ScmpCmpEq | Operator::ScmpCmpMaskedEq => value == self.value,
            Operator::ScmpCmpGe => value >= self.value,
            Operator::ScmpCmpGt => value > self.value,
        }
    }

    /// A value for which it holds, if there is one.
    pub(crate) fn example(&self) -> u64 {
        match self.operator {
            Operator::ScmpCmpNe | Operator::ScmpCmpGt => self.value.wrapping_add(1),
            Operator::ScmpCmpLt => self.value.wrapping_sub(1),
            _ => self.value,
        }
    }

    /// The 32-bit comparisons that libseccomp makes of it.
    fn questions(&self, wide: bool) -> Vec<Question> {
        let lower = match self.operator {
            Operator::ScmpCmpNe | Operator::ScmpCmpEq => '=',
            Operator::ScmpCmpMaskedEq => '&',
            Operator::ScmpCmpGt | Operator::ScmpCmpLe => '>',
            Operator::ScmpCmpGe | Operator::ScmpCmpLt => 'g',
        };
        let upper = if lower == 'g' { '>' } else { lower };
        let mut questions = vec![(self.argument, false, lower, self.value as u32, self.mask as u32)];
        if wide {
            questions.push((self.argument, true, upper, (self.value >> 32) as u32, (self.mask >> 32) as u32));
        }
        // What the mask leaves nothing of is not asked.
        questions.retain(|(.., mask)| *mask != 0);
        questions
    }
}

impl Rule {
    fn matches(&self, call: &Call, wide: bool) -> bool {
        let narrow = |value: u64| if wide { value } else { value & 0xffff_ffff };
        self.comparisons
            .iter()
            .all(|comparison| comparison.holds(narrow(call.arguments[comparison.argument])))
    }

    fn questions(&self, wide: bool) -> BTreeSet<Question> {
        self.comparisons.iter().flat_map(|comparison| comparison.questions(wide)).collect()
    }
}
