//! The program: judges a runtime and prints what it found.

use conformance::{
    Options, Record, Verdict, html, introduction, inventory, junit, markdown, run, summary, tap_line,
};
use lexopt::prelude::*;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const USAGE: &str = "usage: conformance --runtime PATH [--filter TEXT]... [--tap] [--junit FILE]
                   [--report FILE.md] [--html FILE.html] [--timeout SECONDS] [--rootless] [--jobs N]
                   [--systemd-cgroup] [--newest]
       conformance --inventory";

struct Arguments {
    options: Options,
    tap: bool,
    junit: Option<PathBuf>,
    report: Option<PathBuf>,
    html: Option<PathBuf>,
    inventory: bool,
}

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if arguments.inventory {
        print!("{}", inventory());
        return ExitCode::SUCCESS;
    }
    match judge(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::from(2)
        }
    }
}

fn parse() -> Result<Arguments, lexopt::Error> {
    let mut found = Arguments {
        options: Options::new(""),
        tap: !std::io::stdout().is_terminal(),
        junit: None,
        report: None,
        html: None,
        inventory: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("runtime") => found.options.runtime = parser.value()?.into(),
            Long("filter") => found.options.filter.push(parser.value()?.string()?),
            Long("tap") => found.tap = true,
            Long("junit") => found.junit = Some(parser.value()?.into()),
            Long("report") => found.report = Some(parser.value()?.into()),
            Long("html") => found.html = Some(parser.value()?.into()),
            Long("timeout") => {
                found.options.timeout = Duration::from_secs(parser.value()?.parse()?);
            }
            Long("jobs") => found.options.jobs = parser.value()?.parse()?,
            Long("rootless") => found.options.rootless = true,
            Long("systemd-cgroup") => found.options.systemd = true,
            Long("newest") => found.options.newest = true,
            Long("inventory") => found.inventory = true,
            _ => return Err(argument.unexpected()),
        }
    }
    if found.options.runtime.as_os_str().is_empty() && !found.inventory {
        return Err("--runtime is missing".into());
    }
    Ok(found)
}

fn judge(arguments: &Arguments) -> std::io::Result<ExitCode> {
    let count = AtomicUsize::new(0);
    let tap = arguments.tap;
    if tap {
        println!("TAP version 13");
    }
    let records = run(&arguments.options, |record| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        if tap { println!("{}", tap_line(number, record)) } else { progress(record) }
    })?;
    if tap {
        println!("1..{}", records.len());
    }
    if let Some(file) = &arguments.junit {
        std::fs::write(file, junit(&records))?;
    }
    let name = arguments.options.runtime.display().to_string();
    if let Some(file) = &arguments.report {
        std::fs::write(file, markdown(&name, &records))?;
    }
    if let Some(file) = &arguments.html {
        std::fs::write(file, html(&introduction(&arguments.options), &records))?;
    }
    // A comment in TAP, so that the last line serves both readers.
    println!("{}{}", if tap { "# " } else { "" }, summary(&records));
    let failed = records.iter().any(Record::failed);
    Ok(if failed || records.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One line for a reader at a terminal.
fn progress(record: &Record) {
    let id = record.id;
    match &record.verdict {
        Verdict::Pass(_) => println!("pass  {id} ({} ms)", record.milliseconds),
        Verdict::Skip(reason) => println!("skip  {id}: {reason}"),
        Verdict::Fail { expected, seen } => {
            let word = if record.binding { "FAIL" } else { "other" };
            println!("{word:5} {id}: {}\n      expected: {expected}\n      seen: {seen}", record.statement);
        }
    }
}
