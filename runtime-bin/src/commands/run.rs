//! `run`.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use runtime_core::{Container, Error, Process, Result, Runtime};

use super::create::{forget, plan, undo};
use super::{Context, print};
use crate::args::options;
use crate::fd_socket;
use crate::foreground::{Foreground, Target};
use crate::handover::Handover;
use crate::notify::Notify;
use crate::notify_directory;
use crate::terminal::Relay;

impl Target for Process {
    fn pidfd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn pid(&self) -> i32 {
        Process::pid(self)
    }

    fn signal(&self, signal: i32) -> Result<()> {
        Process::signal(self, signal)
    }
}

pub(super) fn run(context: &Context<'_>) -> Result<u8> {
    start(context).map_err(|error| error.context("runtime run failed"))
}

fn start(context: &Context<'_>) -> Result<u8> {
    let options = context.options();
    let detach = options.flag(&options::DETACH);
    let (runtime, plan) = plan(context)?;
    if options.flag(&options::DRY_RUN) {
        return print(&format!("{plan}\n")).map(|()| 0);
    }
    let handover = Handover::prepare(options, plan.terminal(), detach)?;
    let adopt = !options.flag(&options::NO_SUBREAPER);
    // Before the creation: a signal that arrives meanwhile is for the container.
    let foreground = if detach { None } else { Some(Foreground::begin(adopt)?) };
    notify_directory::make(&runtime, &context.id())?;
    let (container, process) = runtime.run(plan).inspect_err(|_| forget(context, &runtime))?;
    match attend(context, &runtime, foreground.as_ref(), &handover, process) {
        Ok(_) if detach => Ok(0),
        Ok(code) => {
            end(context, &runtime, container);
            Ok(code)
        }
        Err(error) => Err(undo(error, context, &runtime, container)),
    }
}

/// Hands the process over and, in the foreground, waits for its end.
fn attend(
    context: &Context<'_>,
    runtime: &Runtime,
    foreground: Option<&Foreground>,
    handover: &Handover,
    mut process: Process,
) -> Result<u8> {
    let notify = bind_notify(runtime, &context.id())?;
    let console = process.take_console();
    let Some(foreground) = foreground else {
        handover.give(&process, console, fd_socket::PIDFD_INIT)?;
        if let Some(notify) = notify {
            notify.forward(process.pid(), process.as_fd(), context.log)?;
        }
        return Ok(0);
    };
    handover.give(&process, None, fd_socket::PIDFD_INIT)?;
    std::thread::scope(|scope| {
        if let Some(notify) = &notify {
            let (process, log) = (&process, context.log);
            // The manager watches this program, which stays for as long as the container.
            scope.spawn(move || {
                let own = std::process::id().cast_signed();
                if let Err(error) = notify.forward(own, process.as_fd(), log) {
                    log.warning(&error.to_string());
                }
            });
        }
        wait(context, foreground, &process, console)
    })
}

/// Waits for the end of a foreground process; the result is the exit code for its caller.
pub(super) fn wait(
    context: &Context<'_>,
    foreground: &Foreground,
    process: &Process,
    console: Option<OwnedFd>,
) -> Result<u8> {
    let relay = console.map(Relay::new).transpose()?;
    foreground.wait(process, relay, context.log)?;
    let code = process.wait()?.shell_status();
    context.log.debug(|| format!("process {} ended with exit code {code}", process.pid()));
    // An exit status has eight bits, and 128 and the greatest signal fit.
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

pub(super) fn bind_notify(runtime: &Runtime, id: &str) -> Result<Option<Notify>> {
    let pair = notify_directory::socket(runtime, id).zip(notify_directory::manager());
    pair.map(|(path, manager)| Notify::bind(Path::new(&path), &manager)).transpose()
}

/// Deletes the container of a process that has ended; its exit code is worth more than an error
/// here, so that becomes a warning.
fn end(context: &Context<'_>, runtime: &Runtime, container: Container) {
    if context.options().flag(&options::KEEP) {
        return;
    }
    forget(context, runtime);
    if let Err(error) = container.delete() {
        context.log.warning(&Error::context(error, "delete the container").to_string());
    }
}
