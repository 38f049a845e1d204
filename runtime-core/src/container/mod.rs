//! A container, one file for each verb.

#[cfg(feature = "checkpoint")]
mod checkpoint;
#[cfg(all(feature = "checkpoint", any(test, fuzzing)))]
pub(crate) use checkpoint::fuzz as criu_fuzz;
mod create;
mod delegation;
mod delete;
mod events;
mod exec;
mod kill;
mod mounts;
mod pause;
mod ps;
mod standstill;
mod start;
mod unit;
mod update;
mod wait;

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[cfg(feature = "checkpoint")]
pub use checkpoint::{CgroupsMode, CheckpointOptions, CriuOptions, NetworkLock, RestoreOptions};
pub use create::CreatePlan;
pub use exec::ExecPlan;
use nix::errno::Errno;

use crate::cgroup::Cgroup;
use crate::children::{self, Tracked};
use crate::confinement::Explained;
use crate::deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::process::Process;
use crate::runtime::Shared;
use crate::spec::ValidSpec;
use crate::state::{Entry, Lock, Presence, Record, State, Status, alive, owner_name, status_of};
use crate::terminal::Terminal;

/// How long a state directory without a state file and without a lock may be one whose `create` has made it
/// and does not hold the lock yet. After that a killed `create` has left it.
const SETTLE_LIMIT: Duration = Duration::from_millis(200);
const SETTLE_STEP: Duration = Duration::from_millis(2);

/// A container that exists.
///
/// It is found again by its id at any time, by any process of the same user; this value only holds
/// what has been looked up. Dropping it changes nothing.
///
/// ```no_run
/// use runtime_core::{Runtime, Signal};
///
/// # fn main() -> runtime_core::Result<()> {
/// let runtime = Runtime::builder().state_root("/run/engine").build()?;
/// let container = runtime.container("web-1")?;
/// println!("{:?}, {} processes", container.status()?, container.processes()?.len());
/// container.kill(Signal::TERM)?;
/// println!("{:?}", container.wait()?);
/// container.delete()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Container {
    shared: Arc<Shared>,
    id: ContainerId,
    entry: Arc<Entry>,
    init: Option<Process>,
    /// The init of a container that was made elsewhere, once it has been looked for.
    found: OnceLock<Arc<Tracked>>,
}

impl Container {
    pub(crate) fn open(shared: &Arc<Shared>, id: ContainerId) -> Result<Self> {
        let entry = shared.store.entry(&id)?;
        Ok(Self::new(shared, id, entry, None))
    }

    fn new(shared: &Arc<Shared>, id: ContainerId, entry: Entry, init: Option<Process>) -> Self {
        Self { shared: shared.clone(), id, entry: Arc::new(entry), init, found: OnceLock::new() }
    }

    /// The same container, without what only one value can have.
    fn handle(&self) -> Self {
        let Self { shared, id, entry, init: _, found } = self;
        Self {
            shared: shared.clone(),
            id: id.clone(),
            entry: entry.clone(),
            init: None,
            found: found.clone(),
        }
    }

    /// Its id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Its init, in the process that created the container.
    pub fn init(&self) -> Option<&Process> {
        self.init.as_ref()
    }

    /// Its init, for the caller that takes the pipes or the terminal out of it.
    pub fn init_mut(&mut self) -> Option<&mut Process> {
        self.init.as_mut()
    }

    /// Takes the init process, so that the caller can wait for it.
    pub fn take_init(&mut self) -> Option<Process> {
        self.init.take()
    }

    /// Its terminal, in the process that created the container; the first call takes it.
    pub fn take_terminal(&mut self) -> Option<Terminal> {
        self.init.as_mut().and_then(Process::take_terminal)
    }

    /// The bytes of its configuration, as it was when the container was created.
    pub fn config(&self) -> Result<Vec<u8>> {
        self.settled(|| self.entry.config()).explained()
    }

    /// The absolute path of its bundle, as it was when the container was created.
    pub fn bundle(&self) -> Result<String> {
        self.record().map(|record| record.bundle).explained()
    }

    /// Its state now.
    pub fn state(&self) -> Result<State> {
        self.settled(|| self.state_now()).explained()
    }

    fn state_now(&self) -> Result<State> {
        let record = self.entry.record()?;
        reap(&record);
        let mut state = State::new(&record, status_of(&self.entry, &record)?);
        state.owner = owner_name(record.owner);
        Ok(state)
    }

    /// Its status now.
    pub fn status(&self) -> Result<Status> {
        let status = || {
            let record = self.entry.record()?;
            reap(&record);
            status_of(&self.entry, &record)
        };
        self.settled(status).explained()
    }

    /// The state file, for a caller without the lock.
    fn record(&self) -> Result<Record> {
        self.settled(|| self.entry.record())
    }

    /// Reads of the container without its lock, again where they fell into its creation.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if it is still being made, or has gone meanwhile.
    fn settled<T>(&self, read: impl Fn() -> Result<T>) -> Result<T> {
        let end = deadline::after(SETTLE_LIMIT);
        loop {
            let error = match read() {
                Err(error) if error.raw_errno() == Some(Errno::ENOENT) => error,
                other => return other,
            };
            match self.entry.presence()? {
                Presence::Passing => return Err(self.entry.missing()),
                Presence::Whole | Presence::Left if Instant::now() < end => sleep(SETTLE_STEP),
                Presence::Whole | Presence::Left => return Err(error),
            }
        }
    }

    /// Waits until no other call on this container runs.
    fn lock(&self) -> Result<Lock> {
        self.entry.lock(&|holder| self.waits_for(holder))
    }

    fn waits_for(&self, holder: &str) {
        self.shared.waits(&format!("waiting for another call on container {}: {holder}", self.id));
    }

    fn spec(&self) -> Result<ValidSpec> {
        ValidSpec::parse(&self.entry.config()?)
    }

    /// The status, for the holder of the container's lock.
    fn status_under(&self, _: &Lock, record: &Record) -> Result<Status> {
        match record.init {
            Some(_) => status_of(&self.entry, record),
            // Nobody else is creating it: a killed runtime has left it so.
            None => Ok(Status::Stopped),
        }
    }

    /// The pidfd of the init.
    fn live_init(&self, record: &Record) -> Result<Option<OwnedFd>> {
        record.init.map_or(Ok(None), alive)
    }

    fn cgroup(&self, record: &Record) -> Result<Cgroup> {
        record.cgroup.as_ref().map_or_else(|| Ok(Cgroup::none()), Cgroup::open)
    }

    /// An operation that the status does not allow. The words are runc's: engines look for them.
    fn wrong_state(&self, operation: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::WrongState, operation)
    }
}

/// Reaps what this process has started in the container and what has ended: a zombie of it would keep the init alive.
fn reap(record: &Record) -> bool {
    record.init.is_some_and(children::reap_of)
}
