//! SECURITY.md and the lists say the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::list::{all, equivalent, repository};

/// A row of the table.
struct Row {
    name: String,
    protection: String,
    test: String,
    control: String,
    mutants: String,
}

fn text() -> String {
    std::fs::read_to_string(repository().join("SECURITY.md")).expect("SECURITY.md")
}

/// The rows, whose first cell is a name.
fn rows(text: &str) -> Vec<Row> {
    let lines = text.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let cells: Vec<String> =
            line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        let [name, _, _, protection, test, control, mutants] = <[String; 7]>::try_from(cells).ok()?;
        Some(Row { name: name.trim_matches('`').to_owned(), protection, test, control, mutants })
    };
    lines.map(|line| row(line).unwrap_or_else(|| panic!("not seven cells: {line}"))).collect()
}

/// The words in backquotes.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn each_row_names_its_mutants() {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for mutant in all() {
        wanted.entry(mutant.row).or_default().insert(mutant.name);
    }
    let rows = rows(&text());
    assert!(rows.len() > 20, "the table has {} rows", rows.len());
    for row in &rows {
        assert!(!row.test.is_empty() && !row.control.is_empty(), "{} has no test or no control", row.name);
        match wanted.remove(&row.name) {
            Some(mutants) => {
                assert_eq!(quoted(&row.mutants), mutants, "{}", row.name);
                assert!(!row.protection.is_empty(), "{} has no protection", row.name);
            }
            None => assert!(row.mutants.starts_with("none: ") && row.mutants.len() > 20, "{}", row.name),
        }
    }
    assert!(wanted.is_empty(), "no row: {wanted:?}");
}

/// The last column of the threat model names rows, fuzz targets and files.
#[test]
fn the_tests_of_each_promise_are_there() {
    let text = text();
    let rows: BTreeSet<String> = rows(&text).into_iter().map(|row| row.name).collect();
    let model =
        text.split("## Threat model").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let lines: Vec<&str> = model.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(lines.len() > 8, "{} parties", lines.len());
    for line in lines {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        let [_, _, _, _, tests] = cells[..] else { panic!("not five cells: {line}") };
        let tests = quoted(tests);
        assert!(!tests.is_empty(), "no test: {line}");
        for test in tests {
            let corpus = test.strip_prefix("fuzz:").map(|name| format!("runtime-core/fuzz/corpus/{name}"));
            let place = repository().join(corpus.as_deref().unwrap_or(&test));
            assert!(rows.contains(&test) || place.exists(), "{test} is neither a row nor a file");
        }
    }
}

#[test]
fn the_numbers_are_those_of_the_lists() {
    let text = text();
    let mutants = format!("**{} mutants, 0 survive.**", all().len());
    assert!(text.contains(&mutants), "SECURITY.md does not say {mutants:?}");
    let equivalent = format!("{} more changes cannot be noticed", equivalent().len());
    assert!(text.contains(&equivalent), "SECURITY.md does not say {equivalent:?}");
}
