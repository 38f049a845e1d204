//! `start`.

use std::os::fd::AsFd as _;

use runtime_core::Result;

use super::run::bind_notify;
use super::{Context, prepare_memory};

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    prepare_memory();
    let runtime = context.runtime()?;
    let container = runtime.container(&context.id())?;
    let notify = bind_notify(&runtime, &context.id())?;
    container.start()?;
    let Some(notify) = notify else { return Ok(()) };
    let pid = container.state()?.pid;
    // The pidfd of a process that has just ended is the end that is waited for.
    let ended = |_| runtime_core::Error::invalid("start", "the container has ended before it was ready");
    let Some(raw) = rustix::process::Pid::from_raw(pid) else { return Ok(()) };
    let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).map_err(ended)?;
    notify.forward(pid, pidfd.as_fd(), context.log)
}
