//! start.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;

use super::Container;
use crate::confinement::Explained;
use crate::deadline;
use crate::error::{Error, Result};
use crate::launch::{self, Handover, Receiver};
use crate::signal::Signal;
use crate::spec::{Hook, ValidSpec};
use crate::state::{Record, State, Status, alive};

/// How long the program's execve may take: a file system of the container can hang.
const EXECUTE_LIMIT: Duration = Duration::from_secs(60);

impl Container {
    /// Starts the user's program: runs the startContainer hooks, executes the program, and runs the
    /// poststart hooks. It returns when all of that is done.
    ///
    /// # Errors
    ///
    /// The container is not `created`; a hook fails, the seccomp agent cannot be reached, or the program cannot be
    /// executed (see [`ExecveFailure`](crate::plan::ExecveFailure)): the container has stopped then.
    pub fn start(&self) -> Result<()> {
        self.open_and_follow().explained()
    }

    fn open_and_follow(&self) -> Result<()> {
        let lock = self.lock()?;
        let record = self.entry.record()?;
        match self.status_under(&lock, &record)? {
            Status::Created => {}
            status => return Err(self.cannot_start(status)),
        }
        self.shared.mark("read the state");
        let connection = match self.entry.open_gate() {
            Err(Errno::ECONNREFUSED) => return Err(self.cannot_start(Status::Running)),
            other => other.map_err(|errno| Error::system("connect to the start gate", errno))?,
        };
        let held = self.held(&record)?;
        // First, so that a `start` killed here leaves a container that has started or ended, never
        // one that claims to wait.
        self.entry.remove_gate()?;
        self.shared.mark("connect to the start gate");
        let spec = self.spec()?;
        self.shared.mark("read the configuration");
        let hooks = &spec.hooks;
        self.open_gate(&connection, &record, &spec, held)?;
        self.shared.mark("the program is executed");
        let state = State::new(&record, Status::Running);
        launch::run_hooks(&hooks.poststart, &state, self.shared.exits.as_ref())
            .map_err(|error| self.killed(&record, error))?;
        if !hooks.poststart.is_empty() {
            self.shared.mark("poststart hooks");
        }
        Ok(())
    }

    /// A frozen init would never read its word: a paused container has to be resumed first.
    fn cannot_start(&self, status: Status) -> Error {
        match status {
            Status::Stopped => self.wrong_state("cannot start a container that has stopped"),
            Status::Running => self.wrong_state("cannot start an already running container"),
            Status::Paused => self
                .wrong_state("cannot start a container in the paused state")
                .with_hint("`resume` it first"),
            Status::Creating | Status::Created => {
                self.wrong_state(format!("cannot start a container in the {status} state"))
            }
        }
    }

    /// Lets the init go on to the program. After an error it has no program, or may wait for ever, such as for
    /// an agent that has not got the seccomp listener: it is ended, so that the container can be deleted or made again.
    fn open_gate(
        &self,
        connection: &OwnedFd,
        record: &Record,
        spec: &ValidSpec,
        held: Option<launch::Held>,
    ) -> Result<()> {
        let limit = limit(&spec.hooks.start_container);
        if let Some(held) = held {
            return launch::end_hold(connection, &record.start_steps, limit, &held)
                .map_err(|error| self.killed(record, error));
        }
        // As the filter is not loaded until now, the agent gets what it gets from other runtimes.
        let receiver = Receiver::new(spec, || State::new(record, Status::Creating));
        let Some((receiver, init)) = receiver.zip(record.init) else {
            return launch::open_gate(connection, &record.start_steps, limit, None)
                .map_err(|error| self.killed(record, error));
        };
        let Some(pidfd) = alive(init)? else {
            return Err(self.wrong_state("cannot start a container that has stopped"));
        };
        let handover = Handover { receiver, pid: init.pid, pidfd: pidfd.as_fd() };
        launch::open_gate(connection, &record.start_steps, limit, Some(&handover))
            .map_err(|error| self.killed(record, error))
    }

    /// The handle of an init that waits behind its filter.
    fn held(&self, record: &Record) -> Result<Option<launch::Held>> {
        let Some(number) = record.hold else { return Ok(None) };
        let Some(init) = self.live_init(record)? else { return Err(self.cannot_start(Status::Stopped)) };
        launch::Held::take(init.as_fd(), number).map(Some)
    }

    /// Ends the init after a failure: the status is `stopped` when the error is told.
    fn killed(&self, record: &Record, error: Error) -> Error {
        match deadline::suspended(|| self.end_init(record)) {
            Ok(()) => error,
            Err(second) => error.with_hint(format!("the container could not be killed: {second}")),
        }
    }

    pub(super) fn kill_init(&self, record: &Record) -> Result<()> {
        match record.init.map_or(Ok(None), alive)? {
            Some(init) => super::kill::signal_process(&init, Signal::KILL),
            None => Ok(()),
        }
    }
}

/// The time for the hooks and the program's execve; `None` when a hook has no limit.
fn limit(hooks: &[Hook]) -> Option<Duration> {
    hooks.iter().try_fold(EXECUTE_LIMIT, |sum, hook| {
        hook.timeout.map(|seconds| sum.saturating_add(Duration::from_secs(u64::from(seconds))))
    })
}
