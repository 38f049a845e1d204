//! A process of a task: the container's own, or one of `exec`.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::{StateResponse, Status, WaitResponse};
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use containerd_shim_protos::protobuf::{Message, MessageField};
use runtime_core::{Exit, Process, Signal, Terminal};

use crate::fault::Fault;
use crate::reactor::Reactor;
use crate::relay::Flow;
use crate::streams::Names;
use crate::wire::Reply;

/// How long a deletion waits for the last output to be taken.
const STREAMS_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 2 });
const STREAMS_STEP: Duration = Duration::from_millis(2);
const SHARED_LIMIT: Duration = Duration::from_millis(200);

/// How far a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is none yet: an `exec` that has not been started, or the container of a checkpoint.
    Planned,
    /// The container's init waits for the start.
    Created,
    /// A start is on its way.
    Starting,
    Running,
    Stopped,
}

/// When and how a process has ended.
#[derive(Debug, Clone)]
pub(crate) struct Exited {
    pub(crate) status: u32,
    pub(crate) at: Timestamp,
}

/// A process and those who wait for its end.
#[derive(Debug)]
pub(crate) struct Proc {
    /// The container's id.
    pub(crate) task: String,
    /// Empty for the container's init.
    pub(crate) exec: String,
    pub(crate) names: Names,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) pid: u32,
    pub(crate) process: Option<Process>,
    pub(crate) terminal: Option<Terminal>,
    /// Keeps the client's FIFO of the input open until `CloseIO`.
    pub(crate) held: Option<OwnedFd>,
    pub(crate) exited: Option<Exited>,
    /// Its streams, which end by themselves as a rule.
    pub(crate) flows: Vec<Flow>,
    waiting: Vec<Reply>,
}

impl Proc {
    pub(crate) fn new(task: &str, exec: &str, names: Names) -> Self {
        let state = State {
            phase: Phase::Planned,
            pid: 0,
            process: None,
            terminal: None,
            held: None,
            exited: None,
            flows: Vec::new(),
            waiting: Vec::new(),
        };
        Self { task: task.to_owned(), exec: exec.to_owned(), names, state: Mutex::new(state) }
    }

    /// The state. It is never locked for longer than a few instructions: the thread that waits for everything locks it too.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id that events and errors have: that of the exec, or the container's.
    pub(crate) fn id(&self) -> &str {
        if self.exec.is_empty() { &self.task } else { &self.exec }
    }

    /// Takes the right to start the process; the phase before. Until [`settle`](Self::settle), nobody else starts, deletes or
    /// reaps it.
    pub(crate) fn begin_start(&self) -> Result<Phase, Fault> {
        let mut state = self.state();
        match state.phase {
            Phase::Planned | Phase::Created => Ok(std::mem::replace(&mut state.phase, Phase::Starting)),
            Phase::Starting | Phase::Running | Phase::Stopped => {
                Err(Fault::state(format!("cannot start {}: it has been started", self.id())))
            }
        }
    }

    /// Ends a start.
    pub(crate) fn settle(&self, phase: Phase) {
        self.state().phase = phase;
    }

    /// Answers at the end of the process.
    pub(crate) fn wait(&self, reply: Reply) {
        let mut state = self.state();
        match &state.exited {
            None => state.waiting.push(reply),
            Some(exited) => {
                let answer = exited.answer();
                drop(state);
                reply.send(answer);
            }
        }
    }

    /// Takes the status of a process that has ended; `None` if it has not, if it is known already, or if a start is on its way,
    /// which then takes it: containerd hears of a start before the end.
    pub(crate) fn reap(&self) -> Option<Ended> {
        let mut state = self.state();
        match state.phase {
            Phase::Created | Phase::Running => {}
            Phase::Planned | Phase::Starting | Phase::Stopped => return None,
        }
        let exit = state.process.as_ref()?.try_wait().unwrap_or(Some(Exit::Unknown))?;
        let status = u32::try_from(exit.shell_status()).unwrap_or(255);
        let exited = Exited { status, at: Timestamp::now() };
        state.phase = Phase::Stopped;
        state.exited = Some(exited.clone());
        (state.process, state.terminal, state.held) = (None, None, None);
        Some(Ended { pid: state.pid, exited, waiting: std::mem::take(&mut state.waiting) })
    }

    /// Whether all output has been read that a process has left at its end. Its end is told then: `ctr` closes its end of the FIFOs
    /// when it hears of that.
    pub(crate) fn is_read(&self) -> bool {
        self.state().flows.iter().all(Flow::is_taken)
    }

    /// How long the end may wait for that; less if other processes have the same streams, of which nobody knows the end.
    pub(crate) fn read_limit(&self) -> Duration {
        if self.state().flows.iter().any(Flow::is_open) { SHARED_LIMIT } else { STREAMS_LIMIT }
    }

    /// Ends the streams of a process that is being deleted. What its client has not taken by then, it does not want.
    pub(crate) fn cut_streams(&self, reactor: &Reactor) {
        let flows = std::mem::take(&mut self.state().flows);
        let end = Instant::now() + STREAMS_LIMIT;
        while flows.iter().any(Flow::goes_on) && Instant::now() < end {
            std::thread::sleep(STREAMS_STEP);
        }
        flows.iter().for_each(|flow| flow.cut(reactor));
    }

    /// Sends a signal to this process alone.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Fault> {
        let state = self.state();
        match (state.phase, &state.process) {
            (Phase::Planned, _) => Err(Fault::state("process not created")),
            (Phase::Created | Phase::Starting | Phase::Running, Some(process)) => Ok(process.signal(signal)?),
            (Phase::Created | Phase::Starting | Phase::Running | Phase::Stopped, _) => {
                Err(Fault::not_found("process already finished"))
            }
        }
    }

    /// What `State` says. `paused` is the container's.
    pub(crate) fn answer(&self, bundle: &str, paused: bool) -> StateResponse {
        let state = self.state();
        let status = match state.phase {
            Phase::Planned | Phase::Created | Phase::Starting => Status::CREATED,
            Phase::Running if paused => Status::PAUSED,
            Phase::Running => Status::RUNNING,
            Phase::Stopped => Status::STOPPED,
        };
        let exited = state.exited.clone();
        StateResponse {
            id: self.task.clone(),
            bundle: bundle.to_owned(),
            pid: state.pid,
            status: status.into(),
            stdin: self.names.stdin.clone(),
            stdout: self.names.stdout.clone(),
            stderr: self.names.stderr.clone(),
            terminal: self.names.terminal,
            exit_status: exited.as_ref().map_or(0, |exited| exited.status),
            exited_at: exited.map_or_else(MessageField::none, |exited| Some(exited.at).into()),
            exec_id: self.exec.clone(),
            ..StateResponse::default()
        }
    }
}

/// A process that has ended, and who is to hear of it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) pid: u32,
    pub(crate) exited: Exited,
    pub(crate) waiting: Vec<Reply>,
}

impl Exited {
    /// What `Wait` answers.
    pub(crate) fn answer(&self) -> Result<Vec<u8>, Fault> {
        let response = WaitResponse {
            exit_status: self.status,
            exited_at: Some(self.at.clone()).into(),
            ..WaitResponse::default()
        };
        encode(&response)
    }
}

/// A message as bytes.
pub(crate) fn encode(message: &impl Message) -> Result<Vec<u8>, Fault> {
    message.write_to_bytes().map_err(|error| Fault::system("encode an answer", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_never_started() {
        let proc = Proc::new("a", "e", Names { stdout: "/out".to_owned(), ..Names::default() });
        assert_eq!(proc.id(), "e");
        assert!(proc.reap().is_none());
        assert!(proc.signal(Signal::KILL).unwrap_err().message.contains("not created"));
        let answer = proc.answer("/b", true);
        assert_eq!(answer.status, Status::CREATED.into());
        assert_eq!((answer.stdout.as_str(), answer.exec_id.as_str(), answer.pid), ("/out", "e", 0));
        assert!(answer.exited_at.is_none());
    }

    #[test]
    fn one_start() {
        let proc = Proc::new("a", "", Names::default());
        assert_eq!(proc.begin_start().unwrap(), Phase::Planned);
        assert!(proc.begin_start().is_err());
        proc.settle(Phase::Planned);
        assert_eq!(proc.begin_start().unwrap(), Phase::Planned);
        proc.settle(Phase::Running);
        assert!(proc.begin_start().unwrap_err().message.contains("has been started"));
    }

    #[test]
    fn the_end_is_told_as_often_as_it_is_asked_for() {
        let proc = Proc::new("a", "", Names::default());
        let exited = Exited { status: 137, at: Timestamp::now() };
        {
            let mut state = proc.state();
            (state.phase, state.pid, state.exited) = (Phase::Stopped, 7, Some(exited));
        }
        assert_eq!(proc.answer("/b", false).exit_status, 137);
        assert!(proc.reap().is_none());
        assert!(proc.signal(Signal::KILL).unwrap_err().message.contains("process already finished"));
    }
}
