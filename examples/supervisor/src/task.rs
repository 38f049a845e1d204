//! The library from tokio: what blocks goes to the pool of threads, what waits is a descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use runtime_core::events::{Event, Events, Polled};
use runtime_core::{Canceller, Container, CreatePlan, Deadline, Exit, Process, Runtime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::Result;

/// How long a call of the library may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Cancels when it is dropped.
struct CancelOnDrop(Canceller);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Makes a call that blocks for some milliseconds, or for as long as a hook takes. When the future is dropped, the call ends
/// early, with an error that nobody gets, and undoes what it did.
pub(crate) async fn call<T: Send + 'static>(
    call: impl FnOnce() -> runtime_core::Result<T> + Send + 'static,
) -> Result<T> {
    let guard = CancelOnDrop(Canceller::new());
    let deadline = Deadline::after(LIMIT).cancelled_by(&guard.0);
    Ok(tokio::task::spawn_blocking(move || deadline.run(call)).await??)
}

/// A container that runs, and that is deleted at the latest when this is dropped: also when the future that made it was dropped at
/// the moment when it was ready.
pub(crate) struct Running {
    container: Option<Container>,
    pub(crate) init: Process,
}

/// Creates and starts a container.
pub(crate) async fn run(runtime: &Runtime, plan: CreatePlan) -> Result<Running> {
    let runtime = runtime.clone();
    call(move || runtime.run(plan).map(|(container, init)| Running { container: Some(container), init }))
        .await
}

impl Running {
    pub(crate) fn container(&self) -> Result<&Container> {
        Ok(self.container.as_ref().ok_or("the container has been deleted")?)
    }

    /// Deletes the container, whatever its state. This is not cancelled: when the future is dropped, the call goes on, and one that
    /// has not begun is made by `Drop`.
    pub(crate) async fn delete(mut self) -> Result<()> {
        Ok(tokio::task::spawn_blocking(move || self.delete_now()).await??)
    }

    fn delete_now(&mut self) -> runtime_core::Result<()> {
        self.container.take().map_or(Ok(()), Container::delete_force)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.delete_now() {
            eprintln!("supervisor: {error}");
        }
    }
}

/// A descriptor of the library in tokio's reactor: a duplicate, which stays open and the same for as long as it is there. That is
/// what the constructors of newer versions of tokio, which are unsafe, ask for.
#[allow(deprecated, reason = "the new constructors are unsafe, and older versions do not have them")]
fn register(fd: BorrowedFd<'_>) -> Result<AsyncFd<OwnedFd>> {
    Ok(AsyncFd::with_interest(fd.try_clone_to_owned()?, Interest::READABLE)?)
}

/// Waits for the end of a process. Its pidfd becomes readable then.
pub(crate) async fn wait(process: &Process) -> Result<Exit> {
    let pidfd = register(process.as_fd())?;
    let _ended = pidfd.readable().await?;
    // In a program with a reaper of its own, the status comes a moment later than the end.
    loop {
        match process.try_wait()? {
            Some(exit) => return Ok(exit),
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// The events of a container.
pub(crate) struct EventStream {
    events: Events,
    ready: AsyncFd<OwnedFd>,
}

impl EventStream {
    pub(crate) fn new(events: Events) -> Result<Self> {
        Ok(Self { ready: register(events.as_fd())?, events })
    }

    /// The next event; `None` after the end of the container.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            match self.events.try_next()? {
                Polled::Event(event) => return Ok(Some(event)),
                Polled::Ended => return Ok(None),
                _ => {}
            }
            // Nothing is lost between the look and this line: the descriptor is readable again then.
            self.ready.readable().await?.clear_ready();
        }
    }
}
