//! Every MUST, MUST NOT, SHOULD, SHOULD NOT, REQUIRED, SHALL and MAY NOT of the specification, in its order: which
//! statements stand for it, or why it is none of a Linux runtime. Nothing of the text itself is here.

use crate::fairness::lists;

mod config;
#[cfg(test)]
mod counts;
mod linux;
mod other;
mod runtime;

/// The version of the specification that was counted.
pub(crate) const VERSION: &str = "1.3.0";

/// Why a word has no statement: a mark, and what it stands for.
pub(crate) const REASONS: &[(&str, &str)] = &[
    ("!author", "binds who writes the configuration, not the runtime"),
    ("!defines", "says how to read the table that follows, whose rows have statements"),
    ("!image", "binds who converts an image; a runtime passes annotations on"),
    ("!mechanism", "recommends or rules out a way of doing it, which nobody sees from outside"),
    ("!notation", "says how the words are to be read"),
    ("!other", "another platform than those with a section of their own"),
    ("!reserved", "binds later versions of the specification"),
    ("!solaris", "Solaris"),
    ("!windows", "Windows"),
];

/// A section and its words, each with the ids of its statements or a mark of `REASONS`.
pub(crate) type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// Sentences that have none of these words and say what a runtime does all the same: the section, and the
/// statements that rest on it.
const PLAIN: &[(&str, &str)] = &[
    ("runtime.md#state", "state-annotations"),
    ("runtime.md#delete", "delete-reuse"),
    ("runtime-linux.md#file-descriptors", "descriptors descriptors-of-caller"),
    ("config.md#root", "bundle-outside"),
    ("config.md#process", "process-terminal*"),
    ("config.md#linux-process", "cpu-affinity-init"),
    ("config.md#posix-platform-mounts", "mount-idmap-flat"),
    ("config.md#posix-platform-hooks", "hooks-args-env hooks-timeout"),
    ("config-linux.md#network-devices", "net-device-name"),
    ("config-linux.md#seccomp", "seccomp-listener-data"),
    ("config-linux.md#memory-policy", "memory-policy-no-nodes memory-policy-nodes"),
];

/// A sentence of the specification, by its section and the place of its word among the section's.
pub(crate) struct Sentence {
    pub(crate) section: &'static str,
    /// `MUST`, `REQUIRED` and so on; empty for a sentence without such a word.
    pub(crate) word: &'static str,
    /// The how-manyeth of that word in the section, from 1.
    pub(crate) number: usize,
}

/// The sentences that a statement stands for.
pub(crate) fn sentences(id: &str) -> Vec<Sentence> {
    let plain = PLAIN.iter().filter(|(_, ids)| lists(ids, id));
    let mut found: Vec<Sentence> =
        plain.map(|(section, _)| Sentence { section, word: "", number: 0 }).collect();
    for (section, words) in words() {
        for (place, (word, _)) in words.iter().enumerate().filter(|(_, (_, proof))| lists(proof, id)) {
            let number = words[..=place].iter().filter(|(other, _)| other == word).count();
            found.push(Sentence { section, word, number });
        }
    }
    found
}

/// Every word, document by document.
pub(crate) fn words() -> impl Iterator<Item = &'static Section> {
    [config::WORDS, linux::WORDS, runtime::WORDS, other::WORDS].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fairness::matches;
    use crate::statements::{Level, Proof, all};
    use std::collections::BTreeSet;

    #[test]
    fn every_check_names_its_sentence() {
        let nameless = all().filter(|row| {
            let checked = matches!(row.proof, Proof::Check(_)) && !matches!(row.level, Level::Practice);
            checked && sentences(row.id).is_empty()
        });
        let nameless: Vec<&str> = nameless.map(|row| row.id).collect();
        assert!(nameless.is_empty(), "{nameless:?}");
    }

    #[test]
    fn every_word_has_statements_or_a_reason() {
        let known: BTreeSet<&str> = all().map(|row| row.id).collect();
        for (section, words) in words() {
            for (number, (word, proof)) in words.iter().enumerate() {
                let reason = REASONS.iter().any(|(mark, _)| mark == proof);
                let stands = |name: &str| known.iter().any(|id| matches(name, id));
                let ids = !proof.is_empty() && proof.split_whitespace().all(stands);
                assert!(reason || ids, "{section}, word {} ({word}): {proof:?}", number + 1);
            }
        }
    }

    #[test]
    fn every_section_has_as_many_words_as_the_specification() {
        let listed: Vec<_> = words().map(|(section, words)| (*section, words.len())).collect();
        assert_eq!(listed, counts::COUNTS);
    }

    /// With RUNTIME_SPEC, the directory of the specification, the table is compared with its text.
    #[test]
    fn the_table_is_that_of_the_text() {
        let Some(directory) = std::env::var_os("RUNTIME_SPEC") else { return };
        for (section, words) in words() {
            let (document, anchor) = section.split_once('#').unwrap();
            let text = std::fs::read_to_string(std::path::Path::new(&directory).join(document)).unwrap();
            let listed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            assert_eq!(words_of(&text, anchor), listed, "{section}");
        }
    }

    /// The words below all headings with that anchor.
    fn words_of(text: &str, anchor: &str) -> Vec<String> {
        let (mut code, mut here, mut found) = (false, false, Vec::new());
        for line in text.lines() {
            code ^= line.trim().starts_with("```");
            if line.starts_with('#') && !code {
                here = slug(line) == anchor;
                continue;
            }
            let words: Vec<&str> =
                line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
            for (index, word) in words.iter().enumerate().filter(|_| here) {
                let not = words.get(index + 1) == Some(&"NOT");
                match *word {
                    "MUST" | "SHOULD" | "SHALL" | "MAY" if not => found.push(format!("{word} NOT")),
                    "MUST" | "SHOULD" | "SHALL" | "REQUIRED" => found.push((*word).to_owned()),
                    _ => {}
                }
            }
        }
        found
    }

    /// A heading's anchor: without HTML, in lower case, with hyphens.
    fn slug(heading: &str) -> String {
        let text = heading.trim_start_matches('#').rsplit("/>").next().unwrap_or("").trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    }
}
