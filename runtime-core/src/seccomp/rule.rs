//! Argument conditions and the rules of one system call on one architecture.
//!
//! Where several rules of a call match, the order below decides; it is the order in which
//! libseccomp's tree asks them, so that a profile means the same here and there.

use std::cmp::Ordering;

/// More rules than this for one call cannot fit into the 4096 instructions of a program.
const MAX_RULES: usize = 4096;

/// How an argument is compared with the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compare {
    /// Equal.
    Eq,
    /// Equality of the bits in the mask.
    Masked,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// One condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    pub(super) argument: u8,
    pub(super) compare: Compare,
    pub(super) mask: u64,
    /// Already masked.
    pub(super) value: u64,
}

/// What to do if all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Rule {
    /// Ascending by argument, each argument at most once.
    pub(super) conditions: Vec<Condition>,
    pub(super) action: u32,
}

impl Condition {
    /// A comparison of an argument with a value, without signs. `None` if there is no argument of that index:
    /// there are 0 to 5.
    pub fn new(argument: usize, compare: Compare, mask: u64, value: u64) -> Option<Self> {
        let argument = u8::try_from(argument).ok().filter(|index| *index < 6)?;
        let mask = if compare == Compare::Masked { mask } else { u64::MAX };
        Some(Self { argument, compare, mask, value: value & mask })
    }

    pub(super) const fn equals(argument: u8, value: u64) -> Self {
        Self { argument, compare: Compare::Eq, mask: u64::MAX, value }
    }

    /// The condition as an architecture sees it: without the upper half on a 32-bit one. `None` if it
    /// always holds (nothing left of the mask).
    fn narrowed(mut self, is_64_bit: bool) -> Option<Self> {
        if !is_64_bit {
            self.mask &= 0xffff_ffff;
            self.value &= 0xffff_ffff;
        }
        (self.mask != 0).then_some(self)
    }

    /// What `value` must be for the condition to hold; the reference for the tests.
    #[cfg(test)]
    pub(super) fn holds(&self, value: u64) -> bool {
        let value = value & self.mask;
        match self.compare {
            Compare::Eq | Compare::Masked => value == self.value,
            Compare::Ne => value != self.value,
            Compare::Lt => value < self.value,
            Compare::Le => value <= self.value,
            Compare::Gt => value > self.value,
            Compare::Ge => value >= self.value,
        }
    }

    /// The upper-half and the lower-half question of this condition.
    fn questions(self, is_64_bit: bool) -> impl Iterator<Item = Question> {
        let class = match self.compare {
            Compare::Eq | Compare::Masked | Compare::Ne => 2,
            Compare::Lt | Compare::Le => 1,
            Compare::Gt | Compare::Ge => 0,
        };
        // A negated comparison is the same question with the other answer.
        let kind = match self.compare {
            Compare::Eq | Compare::Ne => Kind::Equal,
            Compare::Masked => Kind::Masked,
            Compare::Gt | Compare::Le => Kind::Greater,
            Compare::Ge | Compare::Lt => Kind::GreaterOrEqual,
        };
        let upper = Question {
            half: self.argument << 1 | 1,
            class,
            value: (self.value >> 32) as u32,
            mask: (self.mask >> 32) as u32,
            kind: if kind == Kind::GreaterOrEqual { Kind::Greater } else { kind },
        };
        let lower = Question {
            half: self.argument << 1,
            class,
            value: self.value as u32,
            mask: self.mask as u32,
            kind,
        };
        is_64_bit.then_some(upper).into_iter().chain([lower])
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Equal,
    Masked,
    Greater,
    GreaterOrEqual,
}

/// A 32-bit comparison, as far as it matters for the order of rules.
#[derive(Debug, Clone, Copy)]
struct Question {
    half: u8,
    class: u8,
    value: u32,
    mask: u32,
    kind: Kind,
}

impl Question {
    /// The same comparison, whatever it was made for.
    fn is_same(&self, other: &Self) -> bool {
        (self.half, self.value, self.mask, self.kind) == (other.half, other.value, other.mask, other.kind)
    }

    /// Which question comes first: of the later argument, then equality before "less" before "greater",
    /// then the value that is harder to satisfy.
    fn order(&self, other: &Self) -> Ordering {
        let values =
            if self.class == 1 { self.value.cmp(&other.value) } else { other.value.cmp(&self.value) };
        other.half.cmp(&self.half).then(other.class.cmp(&self.class)).then(values)
    }
}

/// What a profile says of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Entry {
    /// Nothing: the default action.
    #[default]
    Default,
    /// The same whatever the arguments.
    Always(u32),
    /// By the arguments, in the order of the profile.
    Rules(Vec<Rule>),
}

impl Entry {
    /// Adds a rule. An unconditional rule replaces conditional ones, of two unconditional ones the first
    /// counts. `Err` holds the reason why the rule contradicts an earlier one.
    pub(super) fn add(
        &mut self,
        conditions: &[Condition],
        action: u32,
        is_64_bit: bool,
    ) -> Result<(), &'static str> {
        if matches!(self, Self::Always(_)) {
            return Ok(());
        }
        let mut narrowed: Vec<Condition> =
            conditions.iter().filter_map(|condition| condition.narrowed(is_64_bit)).collect();
        if narrowed.is_empty() {
            *self = Self::Always(action);
            return Ok(());
        }
        narrowed.sort_by_key(|condition| condition.argument);
        match self {
            Self::Rules(rules) => push(rules, Rule { conditions: narrowed, action }),
            _ => {
                *self = Self::Rules(vec![Rule { conditions: narrowed, action }]);
                Ok(())
            }
        }
    }
}

fn push(rules: &mut Vec<Rule>, new: Rule) -> Result<(), &'static str> {
    for old in rules.iter() {
        if old.conditions.starts_with(&new.conditions) {
            if old.action != new.action {
                return Err("contradicts an earlier rule for the same arguments with another action");
            }
            if old.conditions.len() == new.conditions.len() {
                return Ok(());
            }
        }
    }
    if rules.len() == MAX_RULES {
        return Err("one system call has more rules than a program can hold");
    }
    rules.push(new);
    Ok(())
}

/// Puts rules into the order in which they are asked; the first match counts.
pub(super) fn ordered(rules: &[Rule], is_64_bit: bool) -> Vec<&Rule> {
    if let [rule] = rules {
        return vec![rule];
    }
    let mut tree = Level::default();
    for rule in rules {
        let questions: Vec<Question> =
            rule.conditions.iter().flat_map(|condition| condition.questions(is_64_bit)).collect();
        tree.insert(&questions, rule);
    }
    let mut out = Vec::with_capacity(rules.len());
    tree.collect(&mut out);
    out
}

/// Rules by their first question, then by their second and so on; at most twelve levels.
#[derive(Default)]
struct Level<'a> {
    /// Rules without a further question: they say everything that longer ones could.
    decided: Vec<&'a Rule>,
    nodes: Vec<(Question, Level<'a>)>,
}

impl<'a> Level<'a> {
    fn insert(&mut self, questions: &[Question], rule: &'a Rule) {
        let Some((first, rest)) = questions.split_first() else {
            return self.decided.push(rule);
        };
        let place = self
            .nodes
            .iter()
            .position(|(question, _)| question.is_same(first) || first.order(question) == Ordering::Less)
            .unwrap_or(self.nodes.len());
        if self.nodes.get(place).is_none_or(|(question, _)| !question.is_same(first)) {
            self.nodes.insert(place, (*first, Level::default()));
        }
        if let Some((_, level)) = self.nodes.get_mut(place) {
            level.insert(rest, rule);
        }
    }

    fn collect(self, out: &mut Vec<&'a Rule>) {
        out.extend(self.decided);
        for (_, level) in self.nodes {
            level.collect(out);
        }
    }
}
