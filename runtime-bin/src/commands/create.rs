//! `create`, and what it shares with `run`.

use runtime_core::plan::{CreateOptions, ExecveFailure};
use runtime_core::{Container, CreatePlan, ErrorKind, Runtime, UnparsedBundle};

use super::{Context, creating_runtime, prepare_memory, print};
use crate::args::options;
use crate::error::{Error, Result};
use crate::failure::Failure;
use crate::handover::{self, Handover};
use crate::notify_directory;
use crate::stages;

pub(super) fn run(context: &Context<'_>) -> Result<u8, Failure> {
    create(context).map(|()| 0).map_err(|error| Failure::of("create", error))
}

fn create(context: &Context<'_>) -> Result<()> {
    let handover = Handover::connect(context.options())?;
    let (runtime, plan) = plan(context)?;
    if context.options().flag(&options::DRY_RUN) {
        return print(&format!("{plan}\n"));
    }
    handover.check(plan.terminal(), true)?;
    let handover = handover.with_receiver(plan.annotation(handover::PIDFD_RECEIVER))?;
    notify_directory::make(&runtime, &context.id())?;
    stages::setup(context.log);
    let created = runtime.create(plan).map_err(Error::from);
    let mut container = created.inspect_err(|error| forget_failed(context, &runtime, error))?;
    stages::init_done(context.log);
    container.init().into_iter().for_each(|init| context.warn(init.warnings()));
    hand_over(&handover, &mut container).map_err(|error| undo(error, context, &runtime, container))
}

fn hand_over(handover: &Handover, container: &mut Container) -> Result<()> {
    container.take_terminal().map_or(Ok(()), |terminal| handover.give_console(terminal.into()))?;
    let init = container.init().ok_or_else(|| Error::invalid("create", "the container has no init"))?;
    handover.give(init, crate::fd_socket::PIDFD_INIT)
}

/// The container's plan; its warnings are logged.
pub(super) fn plan(context: &Context<'_>) -> Result<(Runtime, CreatePlan)> {
    prepare_memory();
    let options = context.options();
    let id = context.id();
    let listening = handover::listening();
    let preserved = handover::preserved(options)?;
    let runtime = creating_runtime(context)?;
    let directory = options.path(&options::BUNDLE).unwrap_or_else(|| ".".into());
    let config = options.path(&options::CONFIG).unwrap_or_else(|| "config.json".into());
    let bundle = UnparsedBundle::read(&directory, &directory.join(config))?;
    let head_start = match options.flag(&options::DRY_RUN) {
        true => None,
        // What fails here fails again at its turn, and is explained there.
        false => runtime.head_start(bundle.config(), preserved.saturating_add(listening.unwrap_or(0))).ok(),
    };
    let bundle = bundle.parse()?;
    context.mark("read the configuration");
    let create = CreateOptions::new()
        .no_pivot(options.flag(&options::NO_PIVOT))
        .no_new_keyring(options.flag(&options::NO_NEW_KEYRING))
        .preserve_fds(preserved)
        .listen_fds(listening)
        .on_execve_failure(ExecveFailure::Exit)
        .notify_socket(notify_directory::socket(&runtime, &id))
        .rootless(context.globals.rootless == Some(true));
    let plan = runtime.plan(&id, bundle, create)?.with_head_start(head_start);
    context.warn(plan.warnings());
    plan.notes().iter().for_each(|note| context.log.debug(|| note.clone()));
    Ok((runtime, plan))
}

/// Removes what the program itself made for a container that does not exist.
pub(super) fn forget(context: &Context<'_>, runtime: &Runtime) {
    if let Err(error) = notify_directory::remove(runtime, &context.id()) {
        context.log.debug(|| error.to_string());
    }
}

/// The same after a creation that failed; what is there when the id is taken is another container's.
pub(super) fn forget_failed(context: &Context<'_>, runtime: &Runtime, error: &Error) {
    if error.kind() != ErrorKind::AlreadyExists {
        forget(context, runtime);
    }
}

/// Deletes a container for which a later step failed; the result is that step's error.
pub(super) fn undo(error: Error, context: &Context<'_>, runtime: &Runtime, container: Container) -> Error {
    forget(context, runtime);
    match container.delete_force() {
        Ok(()) => error,
        Err(second) if second.kind() == ErrorKind::Hook => {
            error.hint(format!("a poststop hook failed too: {second}"))
        }
        Err(second) => error.hint(format!("the container could not be deleted: {second}")),
    }
}
