//! One file for each command: from its options to the library's call.

mod completion;
mod features;
mod spec;
mod unfinished;

use std::io::Write as _;

use runtime_core::{Error, Result};

use crate::args::commands::Verb;
use crate::args::{Matches, Values};
use crate::failure::Failure;
use crate::globals::Globals;
use crate::log::Log;

/// What every command gets.
pub(crate) struct Context<'a> {
    /// The log.
    pub(crate) log: &'a Log,
    /// The global options.
    pub(crate) globals: Globals,
    /// The command's options and arguments.
    pub(crate) matches: Matches,
}

impl Context<'_> {
    fn options(&self) -> &Values {
        &self.matches.options
    }
}

/// Runs the command; the result is the program's exit code.
pub(crate) fn run(context: &Context<'_>) -> Result<u8, Failure> {
    match context.matches.command.verb {
        Verb::Completion => done(completion::run(context)),
        Verb::Features => done(features::run()),
        Verb::Spec => done(spec::run(context)),
        _ => done(unfinished::run(context)),
    }
}

fn done(result: Result<()>) -> Result<u8, Failure> {
    Ok(result.map(|()| 0)?)
}

/// Writes to the standard output; the caller may have closed it.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Error::io("write to the standard output", &error))
}
