//! The results as one page of HTML: what was tried, the verdict, what was seen, and the sentence that it
//! rests on. It loads nothing from elsewhere and reads without a script.

use crate::coverage::{Sentence, VERSION, sentences};
use crate::fairness::{accepts, readings, since};
use crate::report::{summary, xml};
use crate::suite::Options;
use crate::verdict::{Record, Verdict};
use std::path::Path;

const STYLE: &str = include_str!("page.css");

/// Shows or hides the rows of a verdict; without scripts all are shown.
const SCRIPT: &str = "for (const box of document.querySelectorAll('nav input')) {\n\
    box.addEventListener('change', () => document.body.classList.toggle('no-' + box.value, !box.checked));\n}\n";

/// What the reader needs to know about a run: pairs of a name and a text.
#[must_use]
pub fn introduction(options: &Options) -> Vec<(String, String)> {
    let version = std::process::Command::new(&options.runtime).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let there = |name: &str| Path::new("/sys/fs/cgroup").join(name).exists();
    let cgroups = match (there("cgroup.controllers"), there("unified/cgroup.controllers")) {
        (true, _) => "version 2",
        (false, true) => "version 1, and version 2 beside it",
        (false, false) => "version 1",
    };
    let user = if options.rootless { "as a user, in a user namespace" } else { "as root" };
    let line = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    vec![
        line("runtime", &options.runtime.display().to_string()),
        line("version", &version.unwrap_or_default().replace('\n', " · ")),
        line("kernel", kernel.trim()),
        line("cgroups", cgroups),
        line("run", user),
    ]
}

/// The page.
#[must_use]
pub fn html(introduction: &[(String, String)], records: &[Record]) -> String {
    let runtime = introduction.first().map_or("", |(_, text)| text.as_str());
    let name = runtime.rsplit('/').next().unwrap_or(runtime);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Conformance of {0}</title>\n<style>\n{STYLE}</style></head><body>\n\
         <header><h1>Conformance of {0}</h1>\n<p class=\"sum\">{1}, by version {VERSION} of the \
         <a href=\"https://github.com/opencontainers/runtime-spec/tree/v{VERSION}\">runtime specification</a>.</p>\n",
        xml(name),
        xml(&summary(records)),
    );
    page += &bar(records);
    page += "<dl class=\"run\">";
    for (name, text) in introduction {
        page += &format!("<dt>{}</dt><dd>{}</dd>", xml(name), xml(text));
    }
    page += "</dl></header>\n";
    page += &chapter("Broken sentences", BROKEN, records, Record::failed);
    page += &chapter("Unlike others", UNLIKE, records, Record::differs);
    page += &every(records);
    page + "<script>\n" + SCRIPT + "</script></body></html>\n"
}

const BROKEN: &str = "Each of these is a sentence of the specification that the runtime does not keep.";
const UNLIKE: &str = "No sentence asks for these. A READING is a REQUIRED property whose absence the suite wants to be \
    an error; a PRACTICE is what other runtimes do and their callers rely on.";

/// The class of a record, which is its colour, and the word for it.
fn class(record: &Record) -> (&'static str, &'static str) {
    match &record.verdict {
        Verdict::Pass(_) => ("pass", "pass"),
        Verdict::Skip(_) => ("skip", "not judged"),
        Verdict::Fail { .. } if record.binding => ("fail", "fail"),
        Verdict::Fail { .. } => ("differ", "differs"),
    }
}

/// The shares of the verdicts as a bar.
fn bar(records: &[Record]) -> String {
    let mut parts = String::new();
    for name in ["pass", "fail", "differ", "skip"] {
        let count = records.iter().filter(|record| class(record).0 == name).count();
        if count > 0 {
            parts += &format!(
                "<span class=\"{name}\" style=\"flex:{count}\" title=\"{count} {name}\">{count}</span>"
            );
        }
    }
    format!("<div class=\"bar\" role=\"img\" aria-label=\"{}\">{parts}</div>\n", xml(&summary(records)))
}

/// The records of a kind, each with all that is known of it.
fn chapter(title: &str, text: &str, records: &[Record], of: fn(&Record) -> bool) -> String {
    let found: Vec<&Record> = records.iter().filter(|record| of(record)).collect();
    if found.is_empty() {
        return String::new();
    }
    let mut page = format!("<section><h2>{title} ({})</h2>\n<p>{text}</p>\n", found.len());
    for record in found {
        page += &card(record);
    }
    page + "</section>\n"
}

fn card(record: &Record) -> String {
    let Verdict::Fail { expected, seen } = &record.verdict else { return String::new() };
    format!(
        "<article class=\"{}\" id=\"{id}\"><h3><span class=\"level\">{}</span> {}</h3>\n<dl>\
         <dt>expected</dt><dd>{}</dd><dt>seen</dt><dd class=\"seen\">{}</dd>{}</dl>\n\
         <p class=\"id\">{id}</p></article>\n",
        class(record).0,
        record.level,
        xml(record.statement),
        xml(expected),
        xml(if seen.is_empty() { "nothing" } else { seen }),
        basis(record),
        id = record.id,
    )
}

/// What a verdict rests on: the sentences, what else would pass, and what the suite reads.
fn basis(record: &Record) -> String {
    let mut list: Vec<String> = sentences(record.id).iter().map(cite).collect();
    list.dedup();
    if list.is_empty() {
        list.push(format!("none; it belongs to {}", section(record.section)));
    }
    let mut page = format!("<dt>sentence</dt><dd>{}</dd>", list.join("; "));
    for text in accepts(record.id) {
        page += &format!("<dt>also accepted</dt><dd>{}</dd>", xml(text));
    }
    for text in readings(record.id) {
        page += &format!("<dt>our reading</dt><dd>{}</dd>", xml(text));
    }
    if since(record.id) != "1.0" {
        page += &format!("<dt>since</dt><dd>version {}</dd>", since(record.id));
    }
    page
}

/// `config.md#mounts`, linked.
fn section(name: &str) -> String {
    format!("<a href=\"https://github.com/opencontainers/runtime-spec/blob/v{VERSION}/{name}\">{name}</a>")
}

/// The sentence's section and word, in words.
fn cite(sentence: &Sentence) -> String {
    let name = section(sentence.section);
    match sentence.number {
        0 => format!("{name}, plain text"),
        number => format!("{name}, {} no. {number}", sentence.word),
    }
}

/// Every statement, by sections, each as a line that opens.
fn every(records: &[Record]) -> String {
    let mut page = String::from("<section><h2>Every statement</h2>\n<nav>show ");
    for (name, text) in
        [("pass", "passed"), ("fail", "failed"), ("differ", "differs"), ("skip", "not judged")]
    {
        page += &format!("<label><input type=\"checkbox\" value=\"{name}\" checked> {text}</label> ");
    }
    page += "</nav>\n";
    let mut last = "";
    for record in records {
        if record.section != last {
            last = record.section;
            page += &format!("<h3>{}</h3>\n", section(last));
        }
        page += &line(record);
    }
    page + "</section>\n"
}

fn line(record: &Record) -> String {
    let (class, word) = class(record);
    let evidence = match &record.verdict {
        Verdict::Pass(seen) => format!("<dt>seen</dt><dd class=\"seen\">{}</dd>", xml(seen)),
        Verdict::Skip(reason) => format!("<dt>why</dt><dd>{}</dd>", xml(reason)),
        Verdict::Fail { expected, seen } => format!(
            "<dt>expected</dt><dd>{}</dd><dt>seen</dt><dd class=\"seen\">{}</dd>",
            xml(expected),
            xml(seen)
        ),
    };
    format!(
        "<details class=\"{class}\"><summary><b>{word}</b> <span class=\"level\">{}</span> {} \
         <code>{}</code></summary><dl>{evidence}{}</dl></details>\n",
        record.level,
        xml(record.statement),
        record.id,
        basis(record)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_its_sentence_and_no_markup_of_its_own() {
        let record = Record {
            id: "rlimit-duplicate",
            section: "config.md#posix-process",
            level: "MUST",
            binding: true,
            statement: "a limit named twice is an error",
            verdict: Verdict::Fail { expected: "an error".into(), seen: "<b>exit 0</b>".into() },
            milliseconds: 1,
        };
        let page = html(&[("runtime".into(), "/usr/bin/some".into())], &[record]);
        assert!(page.contains("&lt;b&gt;exit 0&lt;/b&gt;"));
        assert!(page.contains("config.md#posix-process</a>, MUST no. 5"), "{page}");
        assert!(page.contains("<title>Conformance of some</title>"));
    }
}
