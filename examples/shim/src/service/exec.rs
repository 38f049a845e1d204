//! More processes in a container, their terminals and their input.

use std::sync::Arc;

use containerd_shim_protos::api::{CloseIORequest, ExecProcessRequest, ResizePtyRequest};
use containerd_shim_protos::events::task::TaskExecAdded;
use containerd_shim_protos::topics;
use runtime_core::plan::{ExecOptions, ExecveFailure};
use runtime_core::spec::ValidProcess;

use crate::fault::Fault;
use crate::logger::Owner;
use crate::process::{Phase, Proc};
use crate::shim::Shim;
use crate::streams::{Names, Streams};
use crate::task::{Exec, Task};

/// Notes a process that a later request starts.
pub(super) fn exec(shim: &Shim, request: ExecProcessRequest) -> Result<(), Fault> {
    let ExecProcessRequest { id, exec_id, terminal, stdin, stdout, stderr, spec, special_fields: _ } =
        request;
    let task = shim.task(&id)?;
    if task.init.state().phase == Phase::Stopped {
        return Err(Fault::state("cannot exec in a stopped container"));
    }
    let spec: Arc<[u8]> = spec.into_option().map(|any| any.value).unwrap_or_default().into();
    let checked = ValidProcess::parse(&spec)?;
    if checked.terminal() != terminal {
        return Err(Fault::invalid("the request and the process's `terminal` do not say the same"));
    }
    let names = Names { stdin, stdout, stderr, terminal };
    let proc = Arc::new(Proc::new(&id, &exec_id, names));
    task.add_exec(Exec { proc, spec })?;
    let event = TaskExecAdded { container_id: id, exec_id, ..TaskExecAdded::default() };
    shim.events.publish(topics::TASK_EXEC_ADDED_EVENT_TOPIC, "containerd.events.TaskExecAdded", &event);
    Ok(())
}

/// Starts one; the caller has taken the right to.
pub(super) fn start(shim: &Arc<Shim>, task: &Task, exec: &Exec) -> Result<u32, Fault> {
    let Exec { proc, spec } = exec;
    let failed = |fault: Fault| fault.during("OCI runtime exec failed");
    let process = ValidProcess::parse(spec)?;
    let options = ExecOptions::new().on_execve_failure(ExecveFailure::Exit);
    let plan = task.container()?.plan_exec(&process, &options).map_err(|error| failed(error.into()))?;
    let owner = Owner { id: &task.id, namespace: &shim.namespace };
    let mut streams = Streams::open(&shim.reactor, &proc.names, &owner)?;
    let held = streams.take_held();
    let mut flows = Vec::new();
    let (plan, streams) = match proc.names.terminal {
        true => (plan, Some(streams)),
        false => {
            let owner = (task.options.io_uid, task.options.io_gid);
            let [stdin, stdout, stderr] = streams.pipes(&shim.reactor, owner, &mut flows)?;
            (plan.stdin(stdin).stdout(stdout).stderr(stderr), None)
        }
    };
    let mut process = plan.start().map_err(|error| failed(error.into()))?;
    for warning in process.warnings() {
        crate::log::warn(&format!("exec {} in {}: {warning}", proc.exec, task.id));
    }
    let terminal = process.take_terminal();
    if let (Some(streams), Some(terminal)) = (streams, &terminal) {
        streams.terminal(&shim.reactor, terminal, &mut flows)?;
    }
    let pid = process.pid() as u32;
    let mut state = proc.state();
    (state.pid, state.flows) = (pid, flows);
    (state.process, state.terminal, state.held) = (Some(process), terminal, held);
    Ok(pid)
}

/// Sets the size of a terminal. A process without one has none to set.
pub(super) fn resize(shim: &Shim, request: &ResizePtyRequest) -> Result<(), Fault> {
    let proc = shim.task(&request.id)?.process(&request.exec_id)?;
    let state = proc.state();
    let Some(terminal) = &state.terminal else { return Ok(()) };
    let size = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    Ok(terminal.resize(size(request.height), size(request.width))?)
}

/// Ends the input of a process, once the client has closed its end of the FIFO too.
pub(super) fn close(shim: &Shim, request: &CloseIORequest) -> Result<(), Fault> {
    let proc: Arc<Proc> = shim.task(&request.id)?.process(&request.exec_id)?;
    if request.stdin {
        proc.state().held = None;
    }
    Ok(())
}
