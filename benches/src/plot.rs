//! The times as a picture: one bar for each subject, in one group for each column.

use crate::measure::{Measurement, Outcome};
use crate::report::Machine;
use crate::statistics::Summary;
use crate::subject::Subject;
use crate::table;

/// In pixels.
const LEFT: f64 = 170.0;
const WIDTH: f64 = 560.0;
const RIGHT: f64 = 90.0;
const LINE: f64 = 16.0;
const GAP: f64 = 26.0;

/// Okabe and Ito's colours, which also those can tell apart who see few.
const COLOURS: [&str; 6] = ["#999999", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00"];

/// A column of a case: its title, and the subjects that have it, by their place among all.
struct Group<'a> {
    title: String,
    bars: Vec<(usize, &'a str, Summary)>,
}

/// An SVG document. A bar ends at the median; the line in it is from the minimum to the third quartile.
pub(crate) fn svg(machine: &Machine, subjects: &[Subject], measurements: &[Measurement<'_>]) -> String {
    let groups = groups(subjects, measurements);
    let bars: usize = groups.iter().map(|group| group.bars.len()).sum();
    let heads = subjects.len() as f64 + 1.0;
    let height = (heads + bars as f64) * LINE + (groups.len() as f64 + 1.0) * GAP;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        LEFT + WIDTH + RIGHT
    );
    let mut y = LINE;
    label(&mut text, (8.0, y), machine.text().trim());
    for (place, subject) in subjects.iter().enumerate() {
        y += LINE;
        rectangle(&mut text, (8.0, y - 10.0), (10.0, 10.0), colour(place));
        label(&mut text, (24.0, y), &format!("{}: {}", subject.name, subject.version));
    }
    for group in &groups {
        y += GAP;
        label(&mut text, (8.0, y), &group.title);
        let most = group.bars.iter().map(|(.., summary)| summary.q3).fold(0.0, f64::max);
        let scale = |value: f64| if most > 0.0 { value / most * WIDTH } else { 0.0 };
        for (place, name, summary) in &group.bars {
            y += LINE;
            label(&mut text, (24.0, y), name);
            rectangle(&mut text, (LEFT, y - 11.0), (scale(summary.median), 12.0), colour(*place));
            let (from, to) = (scale(summary.min), scale(summary.q3));
            rectangle(&mut text, (LEFT + from, y - 5.5), ((to - from).max(1.0), 1.5), "black");
            label(&mut text, (LEFT + to + 6.0, y), &format!("{} ms", table::number(summary.median)));
        }
    }
    text.push_str("</svg>\n");
    text
}

fn groups<'a>(subjects: &'a [Subject], measurements: &[Measurement<'_>]) -> Vec<Group<'a>> {
    let mut groups = Vec::new();
    for measurement in measurements {
        for (index, column) in measurement.case.columns.iter().enumerate().filter(|(_, it)| it.unit == "ms") {
            let summary = |outcome: &Outcome| match outcome {
                Outcome::Measured(columns) => columns.get(index).and_then(|samples| Summary::of(samples)),
                _ => None,
            };
            let bars: Vec<_> = subjects
                .iter()
                .zip(&measurement.outcomes)
                .enumerate()
                .filter_map(|(place, (subject, outcome))| {
                    Some((place, subject.name.as_str(), summary(outcome)?))
                })
                .collect();
            if !bars.is_empty() {
                groups.push(Group { title: format!("{}: {}, ms", measurement.case.name, column.name), bars });
            }
        }
    }
    groups
}

fn colour(place: usize) -> &'static str {
    COLOURS[place % COLOURS.len()]
}

fn label(text: &mut String, (x, y): (f64, f64), words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    text.push_str(&format!("<text x=\"{x}\" y=\"{y}\">{words}</text>\n"));
}

fn rectangle(text: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
    let line = format!(
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\"/>\n"
    );
    text.push_str(&line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let mut text = String::new();
        label(&mut text, (1.0, 2.0), "a<b & c");
        assert_eq!(text, "<text x=\"1\" y=\"2\">a&lt;b &amp; c</text>\n");
    }
}
