//! Compares container runtimes: this project's, any others, and what the kernel alone needs.
//!
//! Every runtime gets the same bundles and the same calls, in one interleaved run. Nothing here asserts a
//! time; `README.md` beside this crate says what is measured and how to read it.

mod bundle;
mod cases;
mod check;
mod cli;
mod command;
mod container;
mod failure;
mod filters;
mod floor;
mod measure;
mod order;
mod peak;
mod plot;
mod report;
mod statistics;
mod subject;
mod table;
mod view;

use std::path::Path;
use std::process::ExitCode;

use crate::bundle::Workspace;
use crate::cases::Case;
use crate::cli::{Invocation, Options};
use crate::failure::Failure;
use crate::measure::Stop;
use crate::report::Machine;
use crate::subject::Subject;

fn main() -> ExitCode {
    let result = match cli::parse() {
        Ok(Invocation::Help) => {
            print!("{}", cli::HELP);
            Ok(())
        }
        Ok(Invocation::Filters { runs }) => filters::report(runs).map(|text| print!("{text}")),
        Ok(Invocation::PeakOf(command)) => return peak::helper(&command),
        Ok(Invocation::Traced(command)) => return order::helper(&command),
        Ok(Invocation::Compare(options)) => compare(&options),
        Err(failure) => Err(failure),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("benches: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new("containers with cgroups and devices need root: run it by sudo"));
    }
    let stop = Stop::on_signals()?;
    view::enter(options.view)?;
    let workspace = Workspace::new()?;
    if options.order {
        let subject = Subject::runtime("runtime", &options.runtime, &workspace)?;
        return order::script(&workspace, &subject).map(|text| print!("{text}"));
    }
    let subjects = subjects(options, &workspace)?;
    if options.check_floor {
        let floor = subjects.iter().find(|subject| subject.is_floor);
        let floor = floor.ok_or_else(|| Failure::new("there is no floor to check"))?;
        return check::report(&workspace, floor).map(|text| print!("{text}"));
    }
    let machine = Machine::look(options.view)?;
    print!("{}", machine.text());

    let mut results = Vec::new();
    for case in cases::ALL.iter().filter(|case| options.wants(case)) {
        let result = measure::case(case, &workspace, &subjects, options.runs, &stop);
        print!("\n{}", report::text(&result, &subjects));
        results.push(result);
        if stop.asked() {
            eprintln!("benches: stopped by a signal; the last table has fewer runs");
            break;
        }
    }
    if let Some(path) = &options.plot {
        write(path, &plot::svg(&machine, &subjects, &results))?;
    }
    match &options.json {
        Some(path) => {
            let document = report::json(&machine, options.runs, &subjects, &results);
            write(path, &format!("{document:#}\n"))
        }
        None => Ok(()),
    }
}

/// The floor first, if it can be built: the others are compared with it.
fn subjects(options: &Options, workspace: &Workspace) -> Result<Vec<Subject>, Failure> {
    let mut subjects = Vec::new();
    if cases::ALL.iter().any(|case: &Case| case.has_floor && options.wants(case)) {
        match floor::build(workspace) {
            Ok(mut floor) => {
                floor.maker = Some(Box::new(Subject::runtime("floor-runtime", &options.runtime, workspace)?));
                subjects.push(floor);
            }
            Err(failure) => println!("no floor: {failure}"),
        }
    }
    subjects.push(Subject::runtime("runtime", &options.runtime, workspace)?);
    for (name, path) in &options.peers {
        subjects.push(Subject::runtime(name, path, workspace)?);
    }
    Ok(subjects)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::new(format!("write {path:?}: {error}")))
}
