//! The normative statements, one file for each section, each a table.
//!
//! A new statement is a row; a new section is a file and a line in [`all`]. The words are the
//! suite's own; the specification is cited by document and anchor.

use crate::case::Case;
use crate::verdict::Outcome;

mod calls;
mod cgroups;
mod details;
mod devices;
mod feature_schema;
mod feature_tables;
mod features;
mod filters;
mod hook_kinds;
mod hooks;
mod inside;
mod joins;
mod lifecycle;
mod limits;
mod memory_policy;
mod mounts;
mod namespaces;
mod network;
mod operations;
mod options;
mod paths;
mod practice;
mod process;
mod required;
mod resctrl;
mod rights;
mod scheduling;
mod state;
mod values;

/// How binding a statement is.
#[derive(Clone, Copy)]
pub(crate) enum Level {
    /// MUST, MUST NOT, REQUIRED.
    Must,
    /// SHOULD, SHOULD NOT.
    Should,
    /// MAY NOT, which RFC 2119 does not define.
    MayNot,
    /// No sentence asks for the error: the suite reads it out of a REQUIRED.
    Reading,
    /// No sentence asks for it; the usual runtimes do it, and their callers rely on it.
    Practice,
}

impl Level {
    /// The word of RFC 2119.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
            Level::MayNot => "MAY NOT",
            Level::Reading => "READING",
            Level::Practice => "PRACTICE",
        }
    }

    /// Whether a sentence of the specification is broken where such a check fails.
    pub(crate) fn is_binding(self) -> bool {
        match self {
            Level::Must | Level::Should | Level::MayNot => true,
            Level::Reading | Level::Practice => false,
        }
    }
}

/// How a statement is proven.
#[derive(Clone, Copy)]
pub(crate) enum Proof {
    /// This check fails on a runtime that ignores the statement.
    Check(fn(&mut Case) -> Outcome),
    /// Why no check is possible.
    Untestable(&'static str),
}

/// One normative statement.
pub(crate) struct Statement {
    pub(crate) id: &'static str,
    pub(crate) section: &'static str,
    pub(crate) level: Level,
    pub(crate) text: &'static str,
    pub(crate) proof: Proof,
}

/// A MUST with a check.
const fn must(
    id: &'static str,
    section: &'static str,
    text: &'static str,
    check: fn(&mut Case) -> Outcome,
) -> Statement {
    Statement { id, section, level: Level::Must, text, proof: Proof::Check(check) }
}

/// A SHOULD with a check.
const fn should(
    id: &'static str,
    section: &'static str,
    text: &'static str,
    check: fn(&mut Case) -> Outcome,
) -> Statement {
    Statement { id, section, level: Level::Should, text, proof: Proof::Check(check) }
}

/// A MAY NOT with a check.
const fn may_not(
    id: &'static str,
    section: &'static str,
    text: &'static str,
    check: fn(&mut Case) -> Outcome,
) -> Statement {
    Statement { id, section, level: Level::MayNot, text, proof: Proof::Check(check) }
}

/// A REQUIRED property whose absence the suite wants to be an error, with a check.
const fn reading(
    id: &'static str,
    section: &'static str,
    text: &'static str,
    check: fn(&mut Case) -> Outcome,
) -> Statement {
    Statement { id, section, level: Level::Reading, text, proof: Proof::Check(check) }
}

/// What no sentence asks for, with a check.
const fn practice(
    id: &'static str,
    section: &'static str,
    text: &'static str,
    check: fn(&mut Case) -> Outcome,
) -> Statement {
    Statement { id, section, level: Level::Practice, text, proof: Proof::Check(check) }
}

/// A MUST that no check can prove, and why.
const fn untestable(
    id: &'static str,
    section: &'static str,
    text: &'static str,
    reason: &'static str,
) -> Statement {
    Statement { id, section, level: Level::Must, text, proof: Proof::Untestable(reason) }
}

/// Every statement, in the specification's order of subjects.
pub(crate) fn all() -> impl Iterator<Item = &'static Statement> {
    [
        state::STATEMENTS,
        operations::STATEMENTS,
        lifecycle::STATEMENTS,
        inside::STATEMENTS,
        process::STATEMENTS,
        details::STATEMENTS,
        scheduling::STATEMENTS,
        rights::STATEMENTS,
        filters::STATEMENTS,
        mounts::STATEMENTS,
        options::STATEMENTS,
        hooks::STATEMENTS,
        hook_kinds::STATEMENTS,
        namespaces::STATEMENTS,
        joins::STATEMENTS,
        network::STATEMENTS,
        devices::STATEMENTS,
        cgroups::STATEMENTS,
        limits::STATEMENTS,
        paths::STATEMENTS,
        memory_policy::STATEMENTS,
        resctrl::STATEMENTS,
        features::STATEMENTS,
        feature_schema::STATEMENTS,
        feature_tables::STATEMENTS,
        required::STATEMENTS,
        values::STATEMENTS,
        practice::STATEMENTS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_short() {
        let ids: BTreeSet<_> = all().map(|row| row.id).collect();
        assert_eq!(ids.len(), all().count());
        assert!(ids.iter().all(|id| id.len() < 40));
    }

    #[test]
    fn every_difference_names_a_statement() {
        for row in crate::differences::DIFFERENCES {
            assert!(all().any(|statement| statement.id == row.id), "{}", row.id);
        }
    }
}
