//! The results as TAP, JUnit and Markdown, and the inventory of the statements.

use crate::coverage::sentences;
use crate::differences::difference;
use crate::fairness::{accepts, matches, readings};
use crate::statements::{Proof, all};
use crate::verdict::{Record, Verdict};
use std::fmt::Write;

/// `N passed, N failed, N skipped`, and how many differ without breaking a sentence, if any do.
#[must_use]
pub fn summary(records: &[Record]) -> String {
    let (passed, failed, skipped) = counts(records);
    let differ = records.iter().filter(|record| record.differs()).count();
    let differ = if differ == 0 { String::new() } else { format!(", {differ} differ") };
    format!("{passed} passed, {failed} failed, {skipped} skipped{differ}")
}

fn counts(records: &[Record]) -> (usize, usize, usize) {
    let count = |right: fn(&Record) -> bool| records.iter().filter(|record| right(record)).count();
    (
        count(|record| matches!(record.verdict, Verdict::Pass(_))),
        count(Record::failed),
        count(|record| matches!(record.verdict, Verdict::Skip(_))),
    )
}

/// One line of TAP, with the evidence of a failure as comments. What breaks no sentence is a TODO, which
/// readers of TAP do not count as a failure.
#[must_use]
pub fn tap_line(number: usize, record: &Record) -> String {
    let Record { id, statement, level, section, verdict, .. } = record;
    match verdict {
        Verdict::Pass(_) => format!("ok {number} - {id}: {statement}"),
        Verdict::Skip(reason) => format!("ok {number} - {id} # SKIP {reason}"),
        Verdict::Fail { expected, seen } => format!(
            "not ok {number} - {id}: {statement}{}\n#   {level}, {section}\n\
             #   expected: {expected}\n#   seen: {seen}\n#   {}",
            if record.binding { String::new() } else { format!(" # TODO {level}") },
            basis(id),
        ),
    }
}

/// What a check rests on, in one line.
fn basis(id: &str) -> String {
    let cited = sentences(id).into_iter().map(|sentence| match sentence.number {
        0 => sentence.section.to_owned(),
        number => format!("{} {} no. {number}", sentence.section, sentence.word),
    });
    let accepted = accepts(id).into_iter().map(|text| format!("also accepted: {text}"));
    let read = readings(id).into_iter().map(|text| format!("our reading: {text}"));
    let parts: Vec<String> = cited.chain(accepted).chain(read).collect();
    if parts.is_empty() { "no sentence".to_owned() } else { parts.join("; ") }
}

/// A JUnit document.
#[must_use]
pub fn junit(records: &[Record]) -> String {
    let (_, failed, skipped) = counts(records);
    let mut page = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"conformance\" \
         tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\">\n",
        records.len(),
        skipped = skipped + records.iter().filter(|record| record.differs()).count(),
    );
    for record in records {
        let seconds = record.milliseconds as f64 / 1000.0;
        let body = match &record.verdict {
            Verdict::Pass(_) => String::new(),
            Verdict::Skip(reason) => format!("<skipped message=\"{}\"/>", xml(reason)),
            Verdict::Fail { expected, .. } if !record.binding => {
                format!("<skipped message=\"{}: {}\"/>", record.level, xml(expected))
            }
            Verdict::Fail { expected, seen } => {
                let text = format!("expected: {expected}\nseen: {seen}\n{}", basis(record.id));
                format!("<failure message=\"{}\">{}</failure>", xml(record.statement), xml(&text))
            }
        };
        page += &format!(
            "  <testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.3}\">{body}</testcase>\n",
            xml(record.section),
            record.id
        );
    }
    page + "</testsuite>\n"
}

pub(crate) fn xml(text: &str) -> String {
    let visible = text.chars().filter(|c| *c >= ' ' || *c == '\n').collect::<String>();
    let text = visible.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// A readable page: counts, the failures with their evidence, then every statement.
#[must_use]
pub fn markdown(runtime: &str, records: &[Record]) -> String {
    let mut page = format!("# Conformance of `{runtime}`\n\n{}\n", summary(records));
    for record in records {
        let Verdict::Fail { expected, seen } = &record.verdict else { continue };
        page += &format!(
            "\n## {}\n\n{} ({}, {})\n\n* expected: {expected}\n* seen: {seen}\n* {}\n",
            record.id,
            record.statement,
            record.level,
            record.section,
            basis(record.id)
        );
    }
    page += "\n## Every statement\n\n| id | level | section | statement | verdict | evidence |\n\
             |---|---|---|---|---|---|\n";
    for record in records {
        let (verdict, evidence) = match &record.verdict {
            Verdict::Pass(seen) => ("pass", seen.clone()),
            Verdict::Skip(reason) => ("skip", reason.clone()),
            Verdict::Fail { expected, seen } => {
                (if record.binding { "FAIL" } else { "differs" }, format!("{expected}; seen {seen}"))
            }
        };
        page += &format!(
            "| {} | {} | {} | {} | {verdict} | {} |\n",
            record.id,
            record.level,
            record.section,
            cell(record.statement),
            cell(&evidence)
        );
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// The page of all statements: which are tested, and why the others are not.
#[must_use]
pub fn inventory() -> String {
    let tested = all().filter(|row| matches!(row.proof, Proof::Check(_))).count();
    let mut page = format!(
        "# The statements of the runtime specification 1.3 that the suite knows\n\n\
         Generated by `cargo run -p conformance -- --inventory`; do not edit.\n\n\
         {} statements, {tested} with a check, {} without one.\n",
        all().count(),
        all().count() - tested
    );
    page += &accounting();
    let mut section = "";
    for row in all() {
        if row.section != section {
            section = row.section;
            page += &format!(
                "\n## {section}\n\n| id | level | statement | proof | rests on |\n|---|---|---|---|---|\n"
            );
        }
        let proof = match row.proof {
            Proof::Check(_) => "check".to_owned(),
            Proof::Untestable(reason) => format!("none: {reason}"),
        };
        let rests = cell(&basis(row.id));
        page += &format!("| {} | {} | {} | {proof} | {rests} |\n", row.id, row.level.name(), cell(row.text));
    }
    page += "\n## Where runc and the specification differ\n\nBoth are accepted.\n\n\
             | id | the specification | runc |\n|---|---|---|\n";
    for row in all().filter_map(|row| difference(row.id)) {
        // Writing to a String cannot fail.
        writeln!(page, "| {} | {} | {} |", row.id, row.specification, row.runc).ok();
    }
    page
}

/// How the words of the specification are accounted for.
fn accounting() -> String {
    use crate::coverage::{REASONS, VERSION, words};
    let proofs = || words().flat_map(|(_, words)| words.iter().map(|(_, proof)| *proof));
    let tested = |id: &str| all().any(|row| matches(id, row.id) && matches!(row.proof, Proof::Check(_)));
    let marked = proofs().filter(|proof| proof.starts_with('!')).count();
    let checked = proofs().filter(|proof| !proof.starts_with('!') && proof.split(' ').any(tested)).count();
    let mut page = format!(
        "\n## The words of the specification\n\nVersion {VERSION} says MUST, MUST NOT, SHOULD, SHOULD NOT, \
         REQUIRED, SHALL or MAY NOT {} times. {checked} of these have a check, {} have a statement that \
         cannot be tested, {marked} say nothing about a runtime on Linux:\n\n| times | because it |\n|---|---|\n",
        proofs().count(),
        proofs().count() - checked - marked,
    );
    for (mark, reason) in REASONS {
        let times = proofs().filter(|proof| proof == mark).count();
        page += &format!("| {times} | {reason} |\n");
    }
    page += "\n| section | words, each with its statements |\n|---|---|\n";
    for (section, words) in words() {
        let list: Vec<String> = words.iter().map(|(word, proof)| format!("{word}: {proof}")).collect();
        page += &format!("| {section} | {} |\n", list.join("; "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inventory_page_is_current() {
        let page = include_str!("../STATEMENTS.md");
        assert!(page == inventory(), "run: cargo run -p conformance -- --inventory > STATEMENTS.md");
    }

    #[test]
    fn xml_is_escaped() {
        assert_eq!(xml("a<b>&\"\u{1}"), "a&lt;b&gt;&amp;&quot;");
    }
}
