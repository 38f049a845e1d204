//! The task service: one function for each method, in files by subject.

mod create;
mod exec;
mod lifecycle;
mod resources;
mod restore;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use containerd_shim_protos::api::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskRequest, DeleteRequest,
    Empty, ExecProcessRequest, KillRequest, PauseRequest, PidsRequest, ResizePtyRequest, ResumeRequest,
    ShutdownRequest, StartRequest, StateRequest, StatsRequest, UpdateTaskRequest, WaitRequest,
};
use containerd_shim_protos::protobuf::Message;

use crate::fault::Fault;
use crate::process::encode;
use crate::shim::Shim;
use crate::wire::Reply;

/// The methods of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    State,
    Create,
    Start,
    Delete,
    Pids,
    Pause,
    Resume,
    Checkpoint,
    Kill,
    Exec,
    ResizePty,
    CloseIo,
    Update,
    Wait,
    Stats,
    Connect,
    Shutdown,
}

impl Method {
    pub(crate) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "State" => Self::State,
            "Create" => Self::Create,
            "Start" => Self::Start,
            "Delete" => Self::Delete,
            "Pids" => Self::Pids,
            "Pause" => Self::Pause,
            "Resume" => Self::Resume,
            "Checkpoint" => Self::Checkpoint,
            "Kill" => Self::Kill,
            "Exec" => Self::Exec,
            "ResizePty" => Self::ResizePty,
            "CloseIO" => Self::CloseIo,
            "Update" => Self::Update,
            "Wait" => Self::Wait,
            "Stats" => Self::Stats,
            "Connect" => Self::Connect,
            "Shutdown" => Self::Shutdown,
            _ => return None,
        })
    }

    /// Whether it never waits, so that the thread which waits for everything serves it.
    pub(crate) fn is_quick(self) -> bool {
        match self {
            Self::State | Self::ResizePty | Self::CloseIo | Self::Wait | Self::Connect | Self::Shutdown => {
                true
            }
            Self::Create
            | Self::Start
            | Self::Delete
            | Self::Pids
            | Self::Pause
            | Self::Resume
            | Self::Checkpoint
            | Self::Kill
            | Self::Exec
            | Self::Update
            | Self::Stats => false,
        }
    }
}

/// Serves one request.
pub(crate) fn serve(shim: &Arc<Shim>, method: Method, payload: &[u8], reply: Reply) {
    crate::log::debug(&format!("request {method:?}"));
    // Its answer comes with the end of a process.
    if method == Method::Wait {
        match decode::<WaitRequest>(payload)
            .and_then(|request| shim.task(&request.id)?.process(&request.exec_id))
        {
            Ok(proc) => proc.wait(reply),
            Err(fault) => reply.send(Err(fault)),
        }
        return;
    }
    let answer = answer(shim, method, payload);
    if let Err(fault) = &answer {
        crate::log::debug(&format!("request {method:?}: {fault}"));
    }
    reply.send(answer);
    if method == Method::Shutdown && shim.is_empty() {
        shim.done.store(true, Ordering::Release);
    }
}

fn answer(shim: &Arc<Shim>, method: Method, payload: &[u8]) -> Result<Vec<u8>, Fault> {
    match method {
        Method::State => encode(&state(shim, &decode(payload)?)?),
        Method::Create => encode(&create::create(shim, &decode::<CreateTaskRequest>(payload)?)?),
        Method::Start => encode(&lifecycle::start(shim, &decode::<StartRequest>(payload)?)?),
        Method::Delete => encode(&lifecycle::delete(shim, &decode::<DeleteRequest>(payload)?)?),
        Method::Pids => encode(&resources::pids(shim, &decode::<PidsRequest>(payload)?)?),
        Method::Pause => done(lifecycle::pause(shim, &decode::<PauseRequest>(payload)?)),
        Method::Resume => done(lifecycle::resume(shim, &decode::<ResumeRequest>(payload)?)),
        Method::Checkpoint => done(lifecycle::checkpoint(shim, &decode::<CheckpointTaskRequest>(payload)?)),
        Method::Kill => done(lifecycle::kill(shim, &decode::<KillRequest>(payload)?)),
        Method::Exec => done(exec::exec(shim, decode::<ExecProcessRequest>(payload)?)),
        Method::ResizePty => done(exec::resize(shim, &decode::<ResizePtyRequest>(payload)?)),
        Method::CloseIo => done(exec::close(shim, &decode::<CloseIORequest>(payload)?)),
        Method::Update => done(resources::update(shim, &decode::<UpdateTaskRequest>(payload)?)),
        Method::Stats => encode(&resources::stats(shim, &decode::<StatsRequest>(payload)?)?),
        Method::Connect => encode(&connect(shim, &decode(payload)?)?),
        // A shim of a pod goes on as long as it has containers.
        Method::Wait | Method::Shutdown => {
            decode::<ShutdownRequest>(payload).and_then(|_| encode(&Empty::new()))
        }
    }
}

fn decode<M: Message>(payload: &[u8]) -> Result<M, Fault> {
    M::parse_from_bytes(payload).map_err(|error| Fault::invalid(format!("decode a request: {error}")))
}

fn done(result: Result<(), Fault>) -> Result<Vec<u8>, Fault> {
    result.and_then(|()| encode(&Empty::new()))
}

fn state(shim: &Shim, request: &StateRequest) -> Result<containerd_shim_protos::api::StateResponse, Fault> {
    let task = shim.task(&request.id)?;
    let proc = task.process(&request.exec_id)?;
    Ok(proc.answer(&task.bundle.to_string_lossy(), task.is_paused()))
}

fn connect(shim: &Shim, request: &ConnectRequest) -> Result<ConnectResponse, Fault> {
    let task_pid = match request.id.as_str() {
        "" => 0,
        id => shim.task(id)?.init.state().pid,
    };
    Ok(ConnectResponse { shim_pid: std::process::id(), task_pid, ..ConnectResponse::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the service are read from the crate's own description of it: none is left out.
    #[test]
    fn every_method_is_served() {
        let service = containerd_shim_protos::shim::shim::file_descriptor();
        let names: Vec<_> = service.proto().service.iter().flat_map(|service| &service.method).collect();
        assert_eq!(names.len(), 17);
        for method in names {
            assert!(Method::find(method.name()).is_some(), "{} is not served", method.name());
        }
        assert_eq!(Method::find("Other"), None);
    }
}
