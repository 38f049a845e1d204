//! Start, kill, pause, resume, checkpoint, delete.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use containerd_shim_protos::api::{
    CheckpointTaskRequest, DeleteRequest, DeleteResponse, KillRequest, PauseRequest, ResumeRequest,
    StartRequest, StartResponse,
};
use containerd_shim_protos::events::task::{
    TaskCheckpointed, TaskDelete, TaskExecStarted, TaskPaused, TaskResumed, TaskStart,
};
use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::shim::oci;
use containerd_shim_protos::topics;
use runtime_core::{CgroupsMode, CheckpointOptions, Error, ErrorKind, Signal};

use super::{exec, restore};
use crate::fault::Fault;
use crate::process::{Phase, Proc};
use crate::shim::Shim;
use crate::task::Task;
use crate::{left, mounts, oom};

/// Starts the container, or a process of `exec`.
pub(super) fn start(shim: &Arc<Shim>, request: &StartRequest) -> Result<StartResponse, Fault> {
    let task = shim.task(&request.id)?;
    let pid = match request.exec_id.as_str() {
        "" => start_init(shim, &task)?,
        id => start_exec(shim, &task, id)?,
    };
    Ok(StartResponse { pid, ..StartResponse::default() })
}

fn start_exec(shim: &Arc<Shim>, task: &Arc<Task>, id: &str) -> Result<u32, Fault> {
    let exec = task.exec(id)?;
    let before = exec.proc.begin_start()?;
    let started = exec::start(shim, task, &exec);
    let pid = started.inspect_err(|_| exec.proc.settle(before))?;
    let event = TaskExecStarted {
        container_id: task.id.clone(),
        exec_id: id.to_owned(),
        pid,
        ..TaskExecStarted::default()
    };
    shim.events.publish(topics::TASK_EXEC_STARTED_EVENT_TOPIC, "containerd.events.TaskExecStarted", &event);
    exec.proc.settle(Phase::Running);
    shim.watch(task, &exec.proc)?;
    Ok(pid)
}

fn start_init(shim: &Arc<Shim>, task: &Arc<Task>) -> Result<u32, Fault> {
    let before = task.init.begin_start()?;
    let started = match before {
        Phase::Planned => restore::restore(shim, task),
        Phase::Created | Phase::Starting | Phase::Running | Phase::Stopped => {
            task.container().and_then(|container| Ok(container.start()?))
        }
    };
    let pid = task.init.state().pid;
    if started.is_ok() {
        let event = TaskStart { container_id: task.id.clone(), pid, ..TaskStart::default() };
        shim.events.publish(topics::TASK_START_EVENT_TOPIC, "containerd.events.TaskStart", &event);
    }
    task.init.settle(if started.is_ok() { Phase::Running } else { before });
    match before {
        Phase::Planned if started.is_ok() => {
            left::write_pid(&task.bundle, pid);
            shim.watch(task, &task.init)?;
            oom::watch(shim, task);
        }
        // It may have ended meanwhile.
        Phase::Planned | Phase::Created | Phase::Starting | Phase::Running | Phase::Stopped => {
            shim.ended(task, &task.init);
        }
    }
    started.map(|()| pid).map_err(|fault| fault.during("OCI runtime start failed"))
}

/// Sends a signal to the container, to all its processes, or to one of `exec`.
pub(super) fn kill(shim: &Shim, request: &KillRequest) -> Result<(), Fault> {
    let task = shim.task(&request.id)?;
    let signal = i32::try_from(request.signal).ok().and_then(Signal::new);
    let signal = signal.ok_or_else(|| Fault::invalid(format!("signal {}", request.signal)))?;
    if !request.exec_id.is_empty() {
        return task.exec(&request.exec_id)?.proc.signal(signal);
    }
    if task.init.state().phase == Phase::Planned {
        return Err(Fault::state("process not created"));
    }
    let container = task.container()?;
    let sent = if request.all { container.kill_all(signal) } else { container.kill(signal) };
    sent.map_err(|error| match error.kind() {
        // The words that engines look for.
        ErrorKind::WrongState | ErrorKind::NotFound => Fault::not_found("process already finished"),
        _ => error.into(),
    })
}

pub(super) fn pause(shim: &Shim, request: &PauseRequest) -> Result<(), Fault> {
    let task = shim.task(&request.id)?;
    task.container()?.pause()?;
    task.paused.store(true, Ordering::Relaxed);
    let event = TaskPaused { container_id: task.id.clone(), ..TaskPaused::default() };
    shim.events.publish(topics::TASK_PAUSED_EVENT_TOPIC, "containerd.events.TaskPaused", &event);
    Ok(())
}

pub(super) fn resume(shim: &Shim, request: &ResumeRequest) -> Result<(), Fault> {
    let task = shim.task(&request.id)?;
    task.container()?.resume()?;
    task.paused.store(false, Ordering::Relaxed);
    let event = TaskResumed { container_id: task.id.clone(), ..TaskResumed::default() };
    shim.events.publish(topics::TASK_RESUMED_EVENT_TOPIC, "containerd.events.TaskResumed", &event);
    Ok(())
}

pub(super) fn checkpoint(shim: &Shim, request: &CheckpointTaskRequest) -> Result<(), Fault> {
    let task = shim.task(&request.id)?;
    let wishes = match request.options.as_ref() {
        Some(any) => oci::CheckpointOptions::parse_from_bytes(&any.value)
            .map_err(|error| Fault::invalid(format!("decode the options of a checkpoint: {error}")))?,
        None => oci::CheckpointOptions::default(),
    };
    let options = checkpoint_options(&task, &request.path, wishes)?;
    task.container()?.checkpoint(&options).map_err(|error| Fault::from(error).during("checkpoint failed"))?;
    let event = TaskCheckpointed {
        container_id: task.id.clone(),
        checkpoint: request.path.clone(),
        ..TaskCheckpointed::default()
    };
    shim.events.publish(topics::TASK_CHECKPOINTED_EVENT_TOPIC, "containerd.events.TaskCheckpointed", &event);
    Ok(())
}

fn checkpoint_options(
    task: &Task,
    path: &str,
    wishes: oci::CheckpointOptions,
) -> Result<CheckpointOptions, Fault> {
    let oci::CheckpointOptions {
        exit,
        open_tcp,
        external_unix_sockets,
        terminal,
        file_locks,
        empty_namespaces,
        cgroups_mode,
        image_path,
        work_path,
        special_fields: _,
    } = wishes;
    if let Some(kind) = empty_namespaces.iter().find(|kind| *kind != "network") {
        return Err(Fault::invalid(format!(
            "options.empty_namespaces has {kind:?}: the network's alone can be empty"
        )));
    }
    let mut options = CheckpointOptions::new(if path.is_empty() { image_path } else { path.to_owned() });
    options.leave_running = !exit;
    let criu = &mut options.criu;
    criu.tcp_established = open_tcp;
    criu.external_unix_sockets = external_unix_sockets;
    criu.shell_job = terminal;
    criu.file_locks = file_locks;
    criu.cgroups = match cgroups_mode.as_str() {
        "" => CgroupsMode::Default,
        "ignore" => CgroupsMode::Ignore,
        "soft" => CgroupsMode::Soft,
        "full" => CgroupsMode::Full,
        "strict" => CgroupsMode::Strict,
        other => return Err(Fault::invalid(format!("options.cgroups_mode {other:?} is not known"))),
    };
    restore::set_criu(criu, &task.options, &work_path);
    Ok(options)
}

/// Removes a process that has ended; with the init goes the container.
pub(super) fn delete(shim: &Shim, request: &DeleteRequest) -> Result<DeleteResponse, Fault> {
    let task = shim.task(&request.id)?;
    let proc = task.process(&request.exec_id)?;
    let response = response(&proc)?;
    if !request.exec_id.is_empty() {
        proc.cut_streams(&shim.reactor);
        task.remove_exec(&request.exec_id);
        return Ok(response);
    }
    oom::forget(shim, &task);
    match task.container().map(|container| container.delete()) {
        Ok(Err(error)) if !is_gone(&error) => return Err(error.into()),
        Err(fault) if task.init.state().pid != 0 => crate::log::warn(&format!("delete: {fault}")),
        Ok(_) | Err(_) => {}
    }
    proc.cut_streams(&shim.reactor);
    mounts::unmount_all(&task.bundle.join("rootfs"));
    shim.remove(&task.id);
    let event = TaskDelete {
        container_id: task.id.clone(),
        pid: response.pid,
        exit_status: response.exit_status,
        exited_at: response.exited_at.clone(),
        ..TaskDelete::default()
    };
    shim.events.publish(topics::TASK_DELETE_EVENT_TOPIC, "containerd.events.TaskDelete", &event);
    Ok(response)
}

/// A poststop hook that failed: the container has gone all the same.
fn is_gone(error: &Error) -> bool {
    if error.kind() == ErrorKind::Hook {
        crate::log::warn(&format!("delete: {error}"));
    }
    matches!(error.kind(), ErrorKind::Hook | ErrorKind::NotFound)
}

fn response(proc: &Proc) -> Result<DeleteResponse, Fault> {
    let state = proc.state();
    match state.phase {
        Phase::Stopped | Phase::Planned | Phase::Created => {}
        Phase::Starting | Phase::Running => {
            return Err(Fault::state(format!("cannot delete the running process {}", proc.id())));
        }
    }
    let exited = state.exited.clone();
    Ok(DeleteResponse {
        pid: state.pid,
        exit_status: exited.as_ref().map_or(0, |exited| exited.status),
        exited_at: exited.map_or_else(MessageField::none, |exited| Some(exited.at).into()),
        ..DeleteResponse::default()
    })
}
