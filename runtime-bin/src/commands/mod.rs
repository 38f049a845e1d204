//! One file for each command: from its options to the library's call.

mod checkpoint;
mod completion;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod info;
mod kill;
mod list;
mod man;
mod mounts;
mod pause;
mod ps;
mod restore;
mod run;
mod spec;
mod start;
mod state;
mod update;

use std::io::Write as _;

use runtime_core::{CgroupDriver, Container, Runtime, RuntimeBuilder};

use crate::args::commands::Verb;
use crate::args::{Matches, Values};
use crate::error::{Error, Result};
use crate::failure::Failure;
use crate::globals::{CgroupManager, Globals};
use crate::log::Log;

/// Bytes of the stack and of the heap that a command uses which reads a configuration.
const STACK: usize = 60 << 10;
const HEAP: usize = 60 << 10;

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

    /// The id that the command line names.
    fn id(&self) -> std::borrow::Cow<'_, str> {
        self.matches.positional(0)
    }

    /// The runtime for commands on containers that exist: what is made is made already, so the
    /// choice of a cgroup manager does not matter to them.
    fn runtime(&self) -> Result<Runtime> {
        Ok(self.builder().build()?)
    }

    fn builder(&self) -> RuntimeBuilder {
        let log = self.log.clone();
        let builder =
            Runtime::builder().state_root(&self.globals.root).on_wait(move |text| log.warning(text));
        match &self.globals.timings {
            Some(timings) => builder.timings(timings.clone()),
            None => builder,
        }
    }

    /// Tells of a step, with `--trace-timings`.
    fn mark(&self, step: &str) {
        if let Some(timings) = &self.globals.timings {
            timings.mark(step);
        }
    }

    /// The container that the command line names.
    fn container(&self) -> Result<Container> {
        Ok(self.runtime()?.container(&self.id())?)
    }

    fn warn(&self, warnings: &[String]) {
        warnings.iter().for_each(|warning| self.log.warning(warning));
    }
}

/// Runs the command; the result is the program's exit code.
pub(crate) fn run(context: &Context<'_>) -> Result<u8, Failure> {
    context.log.debug(|| format!("{} under {:?}", context.matches.command.name, context.globals.root));
    match context.matches.command.verb {
        Verb::Checkpoint => done(checkpoint::run(context)),
        Verb::Completion => done(completion::run(context)),
        Verb::Create => create::run(context),
        Verb::Delete => done(delete::run(context)),
        Verb::Events => done(events::run(context)),
        Verb::Exec => exec::run(context).map_err(Failure::exec),
        Verb::Features => done(features::run()),
        Verb::Info => done(info::run(context)),
        Verb::Kill => done(kill::run(context)),
        Verb::List => done(list::run(context)),
        Verb::Man => done(man::run(context)),
        Verb::Mounts => done(mounts::run(context)),
        Verb::Pause => done(pause::pause(context)),
        Verb::Ps => done(ps::run(context)),
        Verb::Restore => restore::run(context),
        Verb::Resume => done(pause::resume(context)),
        Verb::Run => run::run(context),
        Verb::Spec => done(spec::run(context)),
        Verb::Start => done(start::run(context)),
        Verb::State => done(state::run(context)),
        Verb::Update => done(update::run(context)),
    }
}

/// For a command that reads a configuration. The others use 10 pages, fewer than this provides.
fn prepare_memory() {
    runtime_core::program::prefault(STACK, HEAP);
}

/// A runtime that makes containers.
fn creating_runtime(context: &Context<'_>) -> Result<Runtime> {
    context.globals.prepare_root()?;
    let driver = match context.globals.cgroups {
        CgroupManager::Systemd => CgroupDriver::Systemd,
        CgroupManager::Disabled => CgroupDriver::None,
        CgroupManager::Cgroupfs => CgroupDriver::Cgroupfs,
    };
    Ok(context.builder().cgroup_driver(driver).build()?)
}

fn done(result: Result<()>) -> Result<u8, Failure> {
    Ok(result.map(|()| 0)?)
}

/// Does the same to each container whose id the regular expression matches. One that fails does
/// not spare the others; the error then has each failure.
fn each_matching(context: &Context<'_>, act: impl Fn(&Runtime, &str) -> Result<()>) -> Result<()> {
    let runtime = context.runtime()?;
    let pattern = regex::Regex::new(&context.id())
        .map_err(|error| Error::invalid("--regex", error.to_string().replace('\n', " ")))?;
    let listed = runtime.list()?;
    let ids = listed.iter().map(|listed| listed.id.as_str()).filter(|id| pattern.is_match(id));
    let failures: Vec<Error> = ids.filter_map(|id| act(&runtime, id).err()).collect();
    let Some(first) = failures.first() else { return Ok(()) };
    let texts: Vec<_> = failures.iter().map(Error::to_string).collect();
    Err(Error::new(first.kind(), texts.join("; ")))
}

/// Writes to the standard output; the caller may have closed it.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Error::io("write to the standard output", &error))
}

/// Something of ours as JSON.
fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::invalid("JSON", error.to_string()))
}
