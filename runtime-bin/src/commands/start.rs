//! `start`.

use std::os::fd::AsFd as _;

use runtime_core::Status;

use super::{Context, prepare_memory};
use crate::error::{Error, Result};
use crate::notify_directory;

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    prepare_memory();
    let runtime = context.runtime()?;
    let container = runtime.container(&context.id())?;
    let notify = match notify_directory::manager() {
        Some(_) if container.status()? == Status::Created => notify_directory::bind(&runtime, &context.id())?,
        // Whatever the status is, `start` knows the words for it.
        _ => None,
    };
    container.start()?;
    let Some(notify) = notify else { return Ok(()) };
    let pid = container.state()?.pid;
    // The pidfd of a process that has just ended is the end that is waited for.
    let ended = |_| Error::invalid("start", "the container has ended before it was ready");
    let Some(raw) = rustix::process::Pid::from_raw(pid) else { return Ok(()) };
    let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).map_err(ended)?;
    notify.forward(pid, pidfd.as_fd(), context.log)
}
