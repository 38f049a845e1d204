//! A container from the image of a checkpoint: it is made at the start, as by the runc shim.

use std::sync::{Arc, PoisonError};

use runtime_core::{CriuOptions, RestoreOptions};

use super::create;
use crate::fault::Fault;
use crate::options::Options;
use crate::shim::Shim;
use crate::task::{Restore, Task};

/// Puts what the options say of CRIU into those of the library.
pub(super) fn set_criu(criu: &mut CriuOptions, options: &Options, work_path: &str) {
    if !options.criu_path.is_empty() {
        criu.program = (&options.criu_path).into();
    }
    let work = if work_path.is_empty() { options.criu_work_path.as_str() } else { work_path };
    if !work.is_empty() {
        criu.work_path = Some(work.into());
    }
}

/// Lets the container of an image run on.
pub(super) fn restore(shim: &Arc<Shim>, task: &Arc<Task>) -> Result<(), Fault> {
    let taken = task.restore.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Restore { image, streams }) = taken else {
        return Err(Fault::state("the restore of this task has failed before"));
    };
    let mut plan = create::plan(&task.runtime, &task.id, &task.bundle, &task.options)?;
    let mut options = RestoreOptions::new(image);
    set_criu(&mut options.criu, &task.options, "");
    let (mut streams, mut flows) = (Some(streams), Vec::new());
    if !task.init.names.terminal
        && let Some(streams) = streams.take()
    {
        let owner = (task.options.io_uid, task.options.io_gid);
        let [stdin, stdout, stderr] = streams.pipes(&shim.reactor, owner, &mut flows)?;
        plan = plan.stdin(stdin).stdout(stdout).stderr(stderr);
    }
    let (_, mut process) = task.runtime.restore(plan, &options)?;
    let terminal = process.take_terminal();
    if let (Some(streams), Some(terminal)) = (streams, &terminal) {
        streams.terminal(&shim.reactor, terminal, &mut flows)?;
    }
    let mut state = task.init.state();
    state.pid = process.pid() as u32;
    (state.process, state.terminal, state.flows) = (Some(process), terminal, flows);
    Ok(())
}
