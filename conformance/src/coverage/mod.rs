//! Every MUST, MUST NOT, SHOULD, SHOULD NOT, REQUIRED, SHALL and MAY NOT of the specification, in its order: which
//! statements stand for it, or why it is none of a Linux runtime. Nothing of the text itself is here.

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

/// Every word, document by document.
pub(crate) fn words() -> impl Iterator<Item = &'static Section> {
    [config::WORDS, linux::WORDS, runtime::WORDS, other::WORDS].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statements::all;
    use std::collections::BTreeSet;

    #[test]
    fn every_word_has_statements_or_a_reason() {
        let known: BTreeSet<&str> = all().map(|row| row.id).collect();
        for (section, words) in words() {
            for (number, (word, proof)) in words.iter().enumerate() {
                let reason = REASONS.iter().any(|(mark, _)| mark == proof);
                let ids = !proof.is_empty() && proof.split(' ').all(|id| known.contains(id));
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
