//! start.

use std::time::Duration;

use nix::errno::Errno;

use super::Container;
use crate::error::{Error, Result};
use crate::launch;
use crate::spec::Hook;
use crate::state::{State, Status, alive, status_of};

/// How long the program's execve may take: a file system of the container can hang.
const EXECUTE_LIMIT: Duration = Duration::from_secs(60);

impl Container {
    /// Starts the user's program: runs the startContainer hooks, executes the program, and runs the
    /// poststart hooks. It returns when all of that is done.
    ///
    /// # Errors
    ///
    /// The container is not `created`; a hook fails, and the container is killed then; the program
    /// cannot be executed.
    pub fn start(&self) -> Result<()> {
        let _lock = self.entry.lock()?;
        let record = self.entry.record()?;
        let refused = |status| {
            self.wrong_state(match status {
                Status::Stopped => "cannot start a container that has stopped",
                _ => "cannot start an already running container",
            })
        };
        match status_of(&self.entry, &record)? {
            // A paused container may be one that waits for its start.
            Status::Created | Status::Paused if self.entry.has_gate()? => {}
            status => return Err(refused(status)),
        }
        let connection = match self.entry.open_gate() {
            Err(Errno::ECONNREFUSED) => return Err(refused(Status::Running)),
            other => other.map_err(|errno| Error::system("connect to the start gate", errno))?,
        };
        // First, so that a `start` killed here leaves a container that has started or ended, never
        // one that claims to wait.
        self.entry.remove_gate()?;
        let hooks = self.spec()?.hooks;
        launch::open_gate(&connection, &record.start_steps, limit(&hooks.start_container))?;
        let state = State::new(&record, Status::Running);
        launch::run_hooks(&hooks.poststart, &state).map_err(|error| match self.kill_init(&record) {
            Ok(()) => error,
            Err(second) => error.hint(format!("the container could not be killed: {second}")),
        })
    }

    /// Kills the init of a container whose poststart hook failed.
    fn kill_init(&self, record: &crate::state::Record) -> Result<()> {
        match record.init.map_or(Ok(None), alive)? {
            Some(init) => super::kill::signal_process(&init, libc::SIGKILL),
            None => Ok(()),
        }
    }
}

/// The time for the hooks and the program's execve; `None` when a hook has no limit.
fn limit(hooks: &[Hook]) -> Option<Duration> {
    hooks.iter().try_fold(EXECUTE_LIMIT, |sum, hook| {
        hook.timeout.map(|seconds| sum + Duration::from_secs(u64::from(seconds)))
    })
}
