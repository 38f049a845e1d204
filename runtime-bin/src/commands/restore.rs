//! `restore`.

use runtime_core::{Container, Process, RestoreOptions};

use super::Context;
use super::checkpoint::{check_empty_namespaces, common, image_path, warn_rootless};
use super::create::{plan, undo};
use super::run::wait;
use crate::args::{Values, options};
use crate::error::{Error, Result};
use crate::failure::Failure;
use crate::fd_socket;
use crate::foreground::Foreground;
use crate::handover::Handover;
use crate::terminal::Relay;

pub(super) fn run(context: &Context<'_>) -> Result<u8, Failure> {
    restore(context).map_err(|error| Failure::of("restore", error))
}

fn restore(context: &Context<'_>) -> Result<u8> {
    warn_rootless(context, "restore");
    let options = context.options();
    let detach = options.flag(&options::DETACH);
    let restore = restore_options(options)?;
    let handover = Handover::connect(options)?;
    let (runtime, plan) = plan(context)?;
    handover.check(plan.terminal(), detach)?;
    let adopt = !options.flag(&options::NO_SUBREAPER);
    let foreground = if detach { None } else { Some(Foreground::begin(adopt)?) };
    let (container, process) = runtime.restore(plan, &restore)?;
    match attend(context, foreground.as_ref(), &handover, process) {
        Ok(code) => {
            if foreground.is_some() {
                end(context, container);
            }
            Ok(code)
        }
        Err(error) => Err(undo(error, context, &runtime, container)),
    }
}

fn restore_options(values: &Values) -> Result<RestoreOptions> {
    check_empty_namespaces(values)?;
    let mut options = RestoreOptions::new(image_path(values));
    common(values, &mut options.criu)?;
    options.tcp_close = values.flag(&options::TCP_CLOSE);
    options.lsm_profile = values.text(&options::LSM_PROFILE).map(str::to_owned);
    options.lsm_mount_context = values.text(&options::LSM_MOUNT_CONTEXT).map(str::to_owned);
    Ok(options)
}

fn attend(
    context: &Context<'_>,
    foreground: Option<&Foreground>,
    handover: &Handover,
    mut process: Process,
) -> Result<u8> {
    let console = process.take_terminal().map(Into::into);
    match foreground {
        None => {
            console.map_or(Ok(()), |console| handover.give_console(console))?;
            handover.give(&process, fd_socket::PIDFD_INIT).map(|()| 0)
        }
        Some(foreground) => {
            handover.give(&process, fd_socket::PIDFD_INIT)?;
            let relay = console.map(Relay::new).transpose()?;
            wait(context, foreground, &process, relay)
        }
    }
}

fn end(context: &Context<'_>, container: Container) {
    if let Err(error) = container.delete() {
        context.log.warning(&Error::from(error).context("delete the container").to_string());
    }
}
