//! wait: the end of a container, for any process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Container;
use crate::children::{self, Stop, Tracked};
use crate::confinement::Explained;
use crate::error::{Error, Result};
use crate::exits::Exit;
use crate::process::Process;
use crate::state::Status;

impl Container {
    /// Waits for the end of the container's init, whoever has created the container: this process, an engine before its
    /// restart, or another program. It may be called again, and by several threads at once.
    ///
    /// The status of an init that is not a child of this process is known when its parent has reaped it, which is waited
    /// for as long as five seconds, on Linux 6.15 and newer. It is [`Exit::Unknown`] otherwise, and also where the init had been
    /// reaped before the first call; a container that [`Runtime::run`](crate::Runtime::run) or
    /// [`Runtime::create`](crate::Runtime::create) gave knows the status whoever of this program has reaped it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongState`](crate::ErrorKind::WrongState) while the container is being created, those of poll(2), and
    /// those of a [`Deadline`](crate::Deadline).
    pub fn wait(&self) -> Result<Exit> {
        self.until(None).map(|exit| exit.unwrap_or(Exit::Unknown)).explained()
    }

    /// As [`wait`](Self::wait), at most for `limit`; `None` if the init still runs.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn wait_timeout(&self, limit: Duration) -> Result<Option<Exit>> {
        self.until(Instant::now().checked_add(limit)).explained()
    }

    /// As [`wait`](Self::wait), without waiting; `None` if the init still runs.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn try_wait(&self) -> Result<Option<Exit>> {
        self.wait_timeout(Duration::ZERO)
    }

    /// The container's init, as a handle of its own with a pidfd, whoever has created the container; `None` when it has ended
    /// and been reaped before anybody of this program asked for it. Terminal and pipes have only the handle that [`Runtime::create`](crate::Runtime::create) gave.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongState`](crate::ErrorKind::WrongState) while the container is being created.
    pub fn init_process(&self) -> Result<Option<Process>> {
        Ok(self.find_init().explained()?.map(Process::found))
    }

    /// Keeps what is known of the init, for later waits.
    pub(super) fn know(&self, init: &Arc<Tracked>) {
        self.found.get_or_init(|| init.clone());
    }

    fn until(&self, deadline: Option<Instant>) -> Result<Option<Exit>> {
        let Some(init) = self.find_init()? else { return Ok(Some(Exit::Unknown)) };
        let operation = || format!("wait for the end of container {}", self.id);
        init.wait_in_call(deadline).map_err(|stop| match stop {
            Stop::Errno(errno) => Error::system(operation(), errno),
            Stop::Caller(error) => error.context(operation()),
        })
    }

    fn find_init(&self) -> Result<Option<Arc<Tracked>>> {
        if let Some(known) = self.init.as_ref().map(Process::tracked).or(self.found.get()) {
            return Ok(Some(known.clone()));
        }
        let record = self.record()?;
        let Some(identity) = record.init else {
            return match self.status()? {
                // A killed runtime has left it so.
                Status::Stopped => Ok(None),
                status => Err(self.wrong_state(format!("cannot wait for a container in the {status} state"))),
            };
        };
        let found = children::find(identity, self.shared.exits.as_ref())?;
        Ok(found.map(|found| self.found.get_or_init(|| found).clone()))
    }
}
