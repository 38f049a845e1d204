//! Tables for people, and JSON for programs.

use std::fs;

use serde_json::{Value, json};

use crate::cases::Column;
use crate::failure::Failure;
use crate::measure::{Measurement, Outcome};
use crate::statistics::Summary;
use crate::subject::Subject;
use crate::table;
use crate::view::View;

/// What a reader must know before comparing two reports.
#[derive(Debug)]
pub(crate) struct Machine {
    kernel: String,
    processors: usize,
    /// Others' work disturbs: the average of the last minute, before the comparison.
    load: String,
    /// A runtime copies the mount table for each container, unless it can do better.
    mounts: usize,
    view: &'static str,
}

impl Machine {
    pub(crate) fn look(view: View) -> Result<Self, Failure> {
        let read = |path: &str| fs::read_to_string(path).map_err(Failure::during(format!("read {path}")));
        let first_word = |text: String| text.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(Self {
            kernel: first_word(read("/proc/sys/kernel/osrelease")?),
            processors: std::thread::available_parallelism()
                .map_err(Failure::during("count processors"))?
                .get(),
            load: first_word(read("/proc/loadavg")?),
            mounts: read("/proc/self/mountinfo")?.lines().count(),
            view: view.name(),
        })
    }

    pub(crate) fn text(&self) -> String {
        format!(
            "Linux {}, {} processors, load {}, {} mounts, cgroup view {}\n",
            self.kernel, self.processors, self.load, self.mounts, self.view
        )
    }
}

/// The tables of a case: a header with the versions, then one table for each column.
pub(crate) fn text(measurement: &Measurement<'_>, subjects: &[Subject]) -> String {
    let case = measurement.case;
    let mut text = format!("{}: {}\n", case.name, case.about);
    let versions: Vec<_> = subjects
        .iter()
        .zip(&measurement.outcomes)
        .filter(|(_, outcome)| !matches!(outcome, Outcome::NotMeant))
        .map(|(subject, _)| vec![format!("  {}:", subject.name), subject.version.clone()])
        .collect();
    for line in versions {
        text.push_str(&format!("{}\n", line.join(" ")));
    }
    for (subject, outcome) in subjects.iter().zip(&measurement.outcomes) {
        if let Outcome::LeftOut(failure) = outcome {
            text.push_str(&format!("  {} is left out: {failure}\n", subject.name));
        }
    }
    for (index, column) in case.columns.iter().enumerate() {
        let rows: Vec<_> = subjects
            .iter()
            .zip(&measurement.outcomes)
            .filter_map(|(subject, outcome)| Some((subject.name.as_str(), samples(outcome, index)?)))
            .filter_map(|(name, samples)| Some((name, samples.len(), Summary::of(samples)?)))
            .collect();
        if !rows.is_empty() {
            text.push_str(&column_table(*column, &rows));
        }
    }
    text
}

fn samples(outcome: &Outcome, column: usize) -> Option<&[f64]> {
    match outcome {
        Outcome::Measured(columns) => columns.get(column).map(Vec::as_slice),
        Outcome::LeftOut(_) | Outcome::NotMeant => None,
    }
}

/// A line for each subject: the summary, and its median and its minimum over those of every other that is
/// compared with.
fn column_table(column: Column, rows: &[(&str, usize, Summary)]) -> String {
    let title = match column.unit {
        "" => column.name.to_owned(),
        unit => format!("{}, {unit}", column.name),
    };
    let others: Vec<_> = rows.iter().filter(|(name, ..)| *name != "runtime").collect();
    let mut head: Vec<String> = vec![title];
    head.extend(["min", "q1", "median", "q3", "runs"].map(str::to_owned));
    head.extend(others.iter().map(|(name, ..)| format!("/ {name}")));
    head.extend(others.iter().map(|(name, ..)| format!("min / {name}")));
    let mut lines = vec![head];
    for (name, runs, summary) in rows {
        let mut line = vec![(*name).to_owned()];
        line.extend([summary.min, summary.q1, summary.median, summary.q3].map(table::number));
        line.push(runs.to_string());
        line.extend(others.iter().map(|(.., other)| table::ratio(Some(summary.median), Some(other.median))));
        line.extend(others.iter().map(|(.., other)| table::ratio(Some(summary.min), Some(other.min))));
        lines.push(line);
    }
    table::render(&lines)
}

/// Everything, with the samples in the order in which they were taken.
pub(crate) fn json(
    machine: &Machine,
    runs: usize,
    subjects: &[Subject],
    measurements: &[Measurement<'_>],
) -> Value {
    json!({
        "machine": {
            "kernel": machine.kernel,
            "processors": machine.processors,
            "load": machine.load,
            "mounts": machine.mounts,
            "view": machine.view,
        },
        "runs": runs,
        "subjects": subjects.iter().map(|subject| json!({
            "name": subject.name,
            "program": subject.program.to_string_lossy(),
            "version": subject.version,
            "floor": subject.is_floor,
        })).collect::<Vec<_>>(),
        "cases": measurements.iter().map(|measurement| case_json(measurement, subjects)).collect::<Vec<_>>(),
    })
}

fn case_json(measurement: &Measurement<'_>, subjects: &[Subject]) -> Value {
    let mut results = Vec::new();
    for (subject, outcome) in subjects.iter().zip(&measurement.outcomes) {
        match outcome {
            Outcome::NotMeant => {}
            Outcome::LeftOut(failure) => {
                results.push(json!({ "subject": subject.name, "left_out": failure.to_string() }));
            }
            Outcome::Measured(columns) => {
                for (column, samples) in measurement.case.columns.iter().zip(columns) {
                    results.extend(column_json(&subject.name, *column, samples));
                }
            }
        }
    }
    json!({ "name": measurement.case.name, "about": measurement.case.about, "results": results })
}

fn column_json(subject: &str, column: Column, samples: &[f64]) -> Option<Value> {
    let summary = Summary::of(samples)?;
    Some(json!({
        "subject": subject,
        "column": column.name,
        "unit": column.unit,
        "min": summary.min,
        "q1": summary.q1,
        "median": summary.median,
        "q3": summary.q3,
        "samples": samples,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_compares_with_the_floor_and_the_peers() {
        let summary = |median| Summary { min: 1.0, q1: 2.0, median, q3: 9.0 };
        let rows = [("floor", 5, summary(2.0)), ("runtime", 5, summary(3.0)), ("other", 4, summary(6.0))];
        let text = column_table(Column { name: "run", unit: "ms" }, &rows);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines[0].join(" "),
            "run, ms min q1 median q3 runs / floor / other min / floor min / other"
        );
        assert_eq!(lines[1], ["floor", "1", "2", "2", "9", "5", "1.00", "0.33", "1.00", "1.00"]);
        assert_eq!(lines[2], ["runtime", "1", "2", "3", "9", "5", "1.50", "0.50", "1.00", "1.00"]);
        assert_eq!(lines[3], ["other", "1", "2", "6", "9", "4", "3.00", "1.00", "1.00", "1.00"]);
    }

    #[test]
    fn samples_are_kept_in_json() {
        let value = column_json("a", Column { name: "run", unit: "ms" }, &[2.0, 1.0]).expect("samples");
        assert_eq!(value["samples"], json!([2.0, 1.0]));
        assert_eq!(value["median"], json!(1.5));
        assert_eq!(column_json("a", Column { name: "run", unit: "ms" }, &[]), None);
    }
}
