//! `run`.

use std::os::fd::{AsFd as _, BorrowedFd};

use runtime_core::{Container, CreatePlan, Process, Runtime, Signal};

use super::create::{forget, forget_failed, plan, undo};
use super::{Context, print};
use crate::args::options;
use crate::error::{Error, Result};
use crate::failure::Failure;
use crate::fd_socket;
use crate::foreground::{Foreground, Target};
use crate::handover::{Handover, PIDFD_RECEIVER};
use crate::notify::Notify;
use crate::notify_directory;
use crate::stages;
use crate::terminal::Relay;

impl Target for Process {
    fn pidfd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn pid(&self) -> i32 {
        Process::pid(self)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(Process::signal(self, signal)?)
    }
}

pub(super) fn run(context: &Context<'_>) -> Result<u8, Failure> {
    start(context).map_err(|error| Failure::of("run", error))
}

fn start(context: &Context<'_>) -> Result<u8> {
    let options = context.options();
    let detach = options.flag(&options::DETACH);
    let handover = Handover::connect(options)?;
    let (runtime, plan) = plan(context)?;
    if options.flag(&options::DRY_RUN) {
        return print(&format!("{plan}\n")).map(|()| 0);
    }
    handover.check(plan.terminal(), detach)?;
    let handover = handover.with_receiver(plan.annotation(PIDFD_RECEIVER))?;
    let adopt = !options.flag(&options::NO_SUBREAPER);
    // Before the creation: a signal that arrives meanwhile is for the container.
    let foreground = if detach { None } else { Some(Foreground::begin(adopt)?) };
    let notify = notify_socket(context, &runtime)?;
    let gated = plan.terminal();
    stages::setup(context.log);
    let made = if gated { create(&runtime, plan) } else { runtime.run(plan).map_err(Error::from) };
    let (container, process) = made.inspect_err(|error| forget_failed(context, &runtime, error))?;
    stages::init_done(context.log);
    context.warn(process.warnings());
    let attendance = Attendance { context, handover: &handover, notify: notify.as_ref() };
    let code = match &foreground {
        None => attendance.detach(&container, process, gated).map(|()| 0),
        Some(foreground) => attendance.stay(foreground, &container, process, gated),
    };
    match code {
        Ok(code) => {
            if !detach {
                end(context, &runtime, container);
            }
            Ok(code)
        }
        Err(error) => Err(undo(error, context, &runtime, container)),
    }
}

/// The socket on which the container says that it is ready. It is there before the program: that may look for it at
/// once.
fn notify_socket(context: &Context<'_>, runtime: &Runtime) -> Result<Option<Notify>> {
    if !notify_directory::make(runtime, &context.id())? {
        return Ok(None);
    }
    notify_directory::bind(runtime, &context.id()).inspect_err(|_| forget(context, runtime))
}

/// Creates a container whose program is started later: when its terminal has the right modes and size, or has been
/// given to who sets them. The program would else see them change.
fn create(runtime: &Runtime, plan: CreatePlan) -> Result<(Container, Process)> {
    let mut container = runtime.create(plan)?;
    let init = container.take_init();
    init.map(|init| (container, init)).ok_or_else(|| Error::invalid("run", "the container has no init"))
}

/// What follows the creation.
struct Attendance<'a> {
    context: &'a Context<'a>,
    handover: &'a Handover,
    notify: Option<&'a Notify>,
}

impl Attendance<'_> {
    fn detach(&self, container: &Container, mut process: Process, gated: bool) -> Result<()> {
        process.take_terminal().map_or(Ok(()), |terminal| self.handover.give_console(terminal.into()))?;
        if gated {
            container.start()?;
        }
        self.handover.give(&process, fd_socket::PIDFD_INIT)?;
        self.notify.map_or(Ok(()), |notify| notify.forward(process.pid(), process.as_fd(), self.context.log))
    }

    /// Waits for the end of the process; the result is its exit code.
    fn stay(
        &self,
        foreground: &Foreground,
        container: &Container,
        mut process: Process,
        gated: bool,
    ) -> Result<u8> {
        self.handover.give(&process, fd_socket::PIDFD_INIT)?;
        let relay = process.take_terminal().map(|terminal| Relay::new(terminal.into())).transpose()?;
        if gated {
            container.start()?;
        }
        std::thread::scope(|scope| {
            if let Some(notify) = self.notify {
                let (process, log) = (&process, self.context.log);
                // The manager watches this program, which stays for as long as the container.
                scope.spawn(move || {
                    let own = std::process::id().cast_signed();
                    if let Err(error) = notify.forward(own, process.as_fd(), log) {
                        log.warning(&error.to_string());
                    }
                });
            }
            wait(self.context, foreground, &process, relay)
        })
    }
}

/// Waits for the end of a foreground process; the result is the exit code for its caller.
pub(super) fn wait(
    context: &Context<'_>,
    foreground: &Foreground,
    process: &Process,
    relay: Option<Relay>,
) -> Result<u8> {
    foreground.wait(process, relay, context.log)?;
    let code = process.wait()?.shell_status();
    context.mark("the process has ended");
    context.log.debug(|| format!("process {} ended with exit code {code}", process.pid()));
    // An exit status has eight bits, and 128 and the greatest signal fit.
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Deletes the container of a process that has ended; its exit code is worth more than an error
/// here, so that becomes a warning.
fn end(context: &Context<'_>, runtime: &Runtime, container: Container) {
    if context.options().flag(&options::KEEP) {
        return;
    }
    forget(context, runtime);
    if let Err(error) = container.delete() {
        context.log.warning(&Error::from(error).context("delete the container").to_string());
    }
    context.mark("delete the container");
}
