//! One profile through both compilers, and every verdict of the one against the other's.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use oci_spec::runtime::LinuxSeccomp;
use runtime_core::seccomp::{Architecture, Call, Filter, Instruction, Profile};

use super::kernel::{self, Renamed};
use super::libseccomp::{Library, Refused};
use super::model::{Comparison, Reading, Rule};
use super::walk::{self, Leaf};

const X86_64: u32 = Architecture::X86_64.audit_token();
const I386: u32 = Architecture::X86.audit_token();

/// `uretprobe` and `uprobe` of x86_64: Linux lets them pass without asking the filter (6.14, 6.18), and they
/// kill who has no such probe.
const UNFILTERED: [u32; 2] = [335, 336];

/// Architectures that no profile lists here: their calls kill.
const STRANGE: [u32; 3] = [0x0000_0008, 0xc000_0015, 0xdead_beef];

/// What came out, over many profiles.
#[derive(Debug, Default, Clone)]
pub(crate) struct Count {
    pub(crate) profiles: usize,
    /// Ranges of numbers compared, each for all numbers in it.
    pub(crate) ranges: usize,
    /// Verdicts on arguments compared.
    pub(crate) verdicts: usize,
    /// Verdicts of the kernel on calls of x86_64, x32 and i386 compared with the interpreter's.
    pub(crate) in_kernel: usize,
    pub(crate) refused_by_both: usize,
    pub(crate) lost: usize,
    /// libseccomp's program does not know what it compares ([`walk::confused`]).
    pub(crate) confused: usize,
    /// No rule justifies libseccomp's verdict; two rules of the call share a comparison.
    pub(crate) unjustified: usize,
    /// Several rules match; two rules of the call share a comparison.
    pub(crate) merged: usize,
    /// libseccomp refuses rules that share a comparison.
    pub(crate) refused_shared: usize,
    /// libseccomp takes a contradiction that it refuses elsewhere.
    pub(crate) taken_shared: usize,
}

impl Count {
    pub(crate) fn differing(&self) -> usize {
        self.confused + self.unjustified + self.merged
    }
}

struct Pair<'a> {
    ours: &'a [Instruction],
    theirs: &'a [Instruction],
    reading: Reading,
    label: &'a str,
}

pub(crate) fn ours(profile: &LinuxSeccomp) -> runtime_core::Result<Filter> {
    Filter::from_profile(&Profile::try_from(profile)?)
}

/// Compares one profile; panics at a difference that nothing explains.
pub(crate) fn profile(library: &Library, profile: &LinuxSeccomp, label: &str, count: &mut Count) {
    let reading = Reading::new(library, profile);
    let (ours, theirs) = match (ours(profile), library.compile(profile)) {
        (_, Err(Refused::Lost)) => return count.lost += 1,
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(_), Err(_)) => return count.refused_by_both += 1,
        (Ok(_), Err(_)) => {
            assert!(reading.conflicts_share(), "{label}: refused by libseccomp only: {profile:?}");
            return count.refused_shared += 1;
        }
        (Err(error), Ok(_)) => {
            let contradicts = error.to_string().contains("contradicts an earlier rule");
            assert!(
                contradicts && reading.conflicts_share(),
                "{label}: refused by us only: {error}: {profile:?}"
            );
            return count.taken_shared += 1;
        }
    };
    count.profiles += 1;
    let pair = Pair { ours: ours.program(), theirs: &theirs, reading, label };
    let known: BTreeSet<u32> =
        Architecture::ALL.iter().map(|architecture| architecture.audit_token()).collect();
    for token in known.into_iter().chain(STRANGE) {
        pair.compare_token(token, count);
    }
    pair.compare_kernel(count);
}

/// Every number of 0 to 600 of every architecture, one by one and from the first instruction: what
/// [`profile`] says of ranges holds for their numbers too. How many were compared.
pub(crate) fn every_number(library: &Library, profile: &LinuxSeccomp, label: &str) -> usize {
    let reading = Reading::new(library, profile);
    let ours = ours(profile).unwrap();
    let theirs = library.compile(profile).unwrap();
    let mut compared = 0;
    for arch in Architecture::ALL.iter().map(|architecture| architecture.audit_token()).chain(STRANGE) {
        for number in (0..=600).chain(0x4000_0000..=0x4000_0000 + 600) {
            for arguments in argument_sets(reading.rules(arch, number)) {
                let call = Call { number, arch, arguments };
                let wanted = reading.enosys(arch, number).unwrap_or_else(|| walk::run(&theirs, 0, &call));
                assert_eq!(ours.verdict(&call), wanted, "{label}: {call:x?}");
                compared += 1;
            }
        }
    }
    compared
}

impl Pair<'_> {
    /// Every number of 0 to 2^32 - 1 under a token.
    fn compare_token(&self, token: u32, count: &mut Count) {
        let (ours, theirs) = (walk::ranges(self.ours, token), walk::ranges(self.theirs, token));
        let mut starts: Vec<u32> = ours.iter().chain(&theirs).map(|range| range.start).collect();
        starts.extend(self.reading.thresholds(token));
        starts.sort_unstable();
        starts.dedup();
        let leaf = |ranges: &[walk::Range], number| {
            ranges[ranges.partition_point(|range| range.start <= number) - 1].leaf
        };
        for (index, &number) in starts.iter().enumerate() {
            count.ranges += 1;
            let ours = leaf(&ours, number);
            let theirs =
                self.reading.enosys(token, number).map_or_else(|| leaf(&theirs, number), Leaf::Return);
            if ours == theirs && matches!(ours, Leaf::Return(_)) {
                continue;
            }
            let last = starts.get(index + 1).map_or(u32::MAX, |next| next - 1);
            for number in BTreeSet::from([number, last]) {
                self.compare_number(token, number, [ours, theirs], count);
            }
        }
    }

    /// The kernel's verdicts on every number of 0 to 600 of x86_64, x32 and i386.
    fn compare_kernel(&self, count: &mut Count) {
        let mut calls = Vec::new();
        let mut spaces = vec![(X86_64, 0), (X86_64, 0x4000_0000), (X86_64, u32::MAX - 8)];
        static HAS_I386: LazyLock<bool> = LazyLock::new(kernel::has_i386);
        spaces.extend(HAS_I386.then_some((I386, 0)));
        for (arch, base) in spaces {
            for number in (base..=base.saturating_add(600))
                .filter(|number| arch == I386 || !UNFILTERED.contains(number))
            {
                let rules = self.reading.rules(arch, number);
                let sets = if rules.is_empty() { vec![[0; 6]] } else { argument_sets(rules) };
                calls.extend(sets.into_iter().map(|mut arguments| {
                    if arch == I386 {
                        arguments = arguments.map(|argument| argument & 0xffff_ffff);
                    }
                    Call { number, arch, arguments }
                }));
            }
        }
        let verdicts = Renamed::new(self.ours).verdicts(&calls);
        for (call, verdict) in calls.iter().zip(verdicts) {
            let wanted = walk::run(self.ours, 0, call);
            assert_eq!(verdict, wanted, "{}: the kernel on {call:x?}", self.label);
        }
        count.in_kernel += calls.len();
    }

    fn compare_number(&self, token: u32, number: u32, leaves: [Leaf; 2], count: &mut Count) {
        let rules = self.reading.rules(token, number);
        if matches!(leaves[0], Leaf::Arguments(_)) {
            // Else the kernel could not note that a call is always allowed.
            let conditional = rules.iter().all(|rule| !rule.comparisons.is_empty());
            assert!(!rules.is_empty() && conditional, "{}: {number} looks at arguments", self.label);
        }
        let of = |program: &[Instruction], leaf: Leaf, call: &Call| match leaf {
            Leaf::Return(verdict) => verdict,
            Leaf::Arguments(at) => walk::run(program, at, call),
        };
        for arguments in argument_sets(rules) {
            let call = Call { number, arch: token, arguments };
            let (ours, theirs) = (of(self.ours, leaves[0], &call), of(self.theirs, leaves[1], &call));
            count.verdicts += 1;
            if ours != theirs {
                self.explain(rules, &call, ours, theirs, count);
            }
        }
    }

    /// Finds which of libseccomp's known faults a difference is, or panics.
    fn explain(&self, rules: &[Rule], call: &Call, ours: u32, theirs: u32, count: &mut Count) {
        let justified = self.reading.justified(rules, call);
        let confused = walk::confused(self.theirs, &self.reading.tokens());
        let mut is_confused = false;
        walk::trace(self.theirs, 0, call, |at, _| is_confused |= confused[at]);
        let shares = self.reading.shares(rules, call);
        let text = || {
            format!(
                "{}: {call:x?}: {ours:#x} instead of {theirs:#x}; justified {justified:x?}; {rules:#x?}",
                self.label
            )
        };
        assert!(justified.contains(&ours), "{}", text());
        let kind = match (is_confused, shares, justified.contains(&theirs)) {
            (true, ..) => &mut count.confused,
            (_, true, false) => &mut count.unjustified,
            (_, true, true) => &mut count.merged,
            _ => panic!("unexplained: {}", text()),
        };
        *kind += 1;
    }
}

/// Argument values around each constant of the rules: one at a time, beside values that satisfy one of
/// the rules.
pub(crate) fn argument_sets(rules: &[Rule]) -> Vec<[u64; 6]> {
    let mut sets = vec![[0; 6], [u64::MAX; 6]];
    let mut values: [BTreeSet<u64>; 6] = Default::default();
    for comparison in rules.iter().flat_map(|rule| &rule.comparisons) {
        values[comparison.argument].extend(around(comparison));
    }
    for rule in rules {
        let mut satisfying = [0; 6];
        for comparison in &rule.comparisons {
            satisfying[comparison.argument] = comparison.example();
        }
        sets.push(satisfying);
        for (argument, values) in values.iter().enumerate() {
            for value in values {
                let mut set = satisfying;
                set[argument] = *value;
                sets.push(set);
            }
        }
    }
    sets.sort_unstable();
    sets.dedup();
    sets
}

fn around(comparison: &Comparison) -> [u64; 11] {
    let Comparison { mask, value, .. } = *comparison;
    [
        value,
        value.wrapping_add(1),
        value.wrapping_sub(1),
        value ^ 1 << 32,
        value.wrapping_add(1 << 32),
        value.wrapping_sub(1 << 32),
        value & 0xffff_ffff,
        value | !mask,
        mask,
        0,
        u64::MAX,
    ]
}
