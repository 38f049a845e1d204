//! `exec`.

use runtime_core::plan::{ExecOptions, ExecveFailure};
use runtime_core::spec::ValidProcess;
use runtime_core::{Process, Signal};

use super::run::wait;
use super::{Context, prepare_memory};
use crate::args::options;
use crate::error::{Error, Result};
use crate::fd_socket;
use crate::foreground::Foreground;
use crate::handover::{self, Handover};
use crate::terminal::Relay;
use crate::{process_spec, stages, sub_cgroup, terminal};

pub(super) fn run(context: &Context<'_>) -> Result<u8> {
    prepare_memory();
    let options = context.options();
    let handover = Handover::connect(options)?;
    let runtime = context.runtime()?;
    let container = runtime.container(&context.id())?;
    // What fails here fails again at its turn, and is explained there.
    let head_start = runtime.head_start(&[], handover::preserved(options)?).ok();
    let detach = options.flag(&options::DETACH);
    let text = match options.path(&options::PROCESS) {
        Some(path) => process_spec::from_file(&path)?,
        // As the container was created: the bundle may have changed, or have another file's name.
        None => process_spec::from_options(
            &container.config()?,
            options,
            context.matches.positionals.get(1..).unwrap_or_default(),
        )?,
    };
    let mut spec = ValidProcess::parse(&text)?;
    if spec.terminal()
        && !detach
        && let Some((rows, columns)) = terminal::size()
    {
        // The program sees the size from its first moment on.
        spec.set_console_size(rows, columns);
    }
    context.mark("read the state and the process");
    handover.check(spec.terminal(), detach)?;
    let exec = exec_options(context)?;
    let foreground = if detach { None } else { Some(Foreground::begin(false)?) };
    stages::setup(context.log);
    stages::affinity(context.log, spec.initial_affinity());
    let mut relay = None;
    let plan = container.plan_exec(&spec, &exec)?;
    let process = plan.with_head_start(head_start).start_on_terminal(|terminal| {
        let taken = match detach {
            true => handover.give_console(terminal.into()),
            false => Relay::new(terminal.into()).map(|made| relay = Some(made)),
        };
        taken.map_err(std::io::Error::other)
    })?;
    stages::exec_done(context.log);
    context.warn(process.warnings());
    attend(context, foreground.as_ref(), &handover, &process, relay).map_err(|error| end(error, &process))
}

fn exec_options(context: &Context<'_>) -> Result<ExecOptions> {
    let options = context.options();
    Ok(ExecOptions::new()
        .preserve_fds(handover::preserved(options)?)
        .on_execve_failure(ExecveFailure::Exit)
        .ignore_paused(options.flag(&options::IGNORE_PAUSED))
        .cgroups(sub_cgroup::check(options.all(&options::CGROUP))?))
}

fn attend(
    context: &Context<'_>,
    foreground: Option<&Foreground>,
    handover: &Handover,
    process: &Process,
    relay: Option<Relay>,
) -> Result<u8> {
    match foreground {
        None => handover.give(process, fd_socket::PIDFD_EXEC).map(|()| 0),
        Some(foreground) => {
            handover.give(process, fd_socket::PIDFD_EXEC)?;
            wait(context, foreground, process, relay)
        }
    }
}

/// Ends a process for which a later step failed; the result is that step's error.
fn end(error: Error, process: &Process) -> Error {
    match process.signal(Signal::KILL).and_then(|()| process.wait()) {
        Ok(_) => error,
        Err(second) => error.hint(format!("the process could not be ended: {second}")),
    }
}
