//! A limit of time, and cancellation, for whatever the library waits for in a call.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// How often a wait looks whether it has been cancelled.
const LOOK_STEP: Duration = Duration::from_millis(20);

/// How long the library may wait in calls: for a lock, for a hook, for the init of a container, for the freezer, for the end
/// of processes.
///
/// Without a `Deadline` each of these waits has a limit of its own, between 10 and 60 seconds, and a hook without `timeout`
/// has none. A call that is past its deadline, or that is cancelled, fails with
/// [`ErrorKind::Timeout`] or [`ErrorKind::Cancelled`]. A `create`, `run` or `exec` leaves nothing then: what it has made is
/// undone, for which it takes the time that is needed. A `delete` can be called again. Calls that have ended before stay
/// what they are: a `wait` that is cancelled leaves the container that `run` has made, and the caller deletes it, outside of the
/// deadline.
///
/// ```
/// use std::time::Duration;
/// use runtime_core::{Deadline, ErrorKind, Runtime};
///
/// # fn main() -> Result<(), runtime_core::Error> {
/// let runtime = Runtime::builder().state_root("/nonexistent/state").build()?;
/// let found = Deadline::after(Duration::from_secs(5)).run(|| runtime.container("web-1"));
/// assert_eq!(found.unwrap_err().kind(), ErrorKind::NotFound);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Deadline {
    end: Option<Instant>,
    cancelled: Option<Arc<AtomicBool>>,
}

/// Cancels the calls of a [`Deadline`], from any thread.
///
/// ```
/// use std::time::Duration;
///
/// use runtime_core::{Canceller, Deadline};
///
/// let canceller = Canceller::new();
/// let deadline = Deadline::after(Duration::from_secs(5)).cancelled_by(&canceller);
/// canceller.cancel(); // from any thread: a call under the deadline ends with an error of kind `Cancelled`
/// ```
#[derive(Debug, Clone, Default)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    /// One that has not been used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has the calls that wait end with [`ErrorKind::Cancelled`], and those that begin later too.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    /// Calls wait in the thread that makes them.
    static CURRENT: RefCell<Deadline> = const { RefCell::new(Deadline { end: None, cancelled: None }) };
}

/// Puts back what was before, also if the call panics.
struct Restore(Deadline);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(std::mem::take(&mut self.0));
    }
}

impl Deadline {
    /// The deadline `limit` from now. One that is too far away to be told is none.
    pub fn after(limit: Duration) -> Self {
        Self { end: Instant::now().checked_add(limit), cancelled: None }
    }

    /// No deadline, for calls that can be cancelled only.
    pub fn none() -> Self {
        Self::default()
    }

    /// Lets `canceller` end the calls.
    #[must_use]
    pub fn cancelled_by(mut self, canceller: &Canceller) -> Self {
        self.cancelled = Some(canceller.0.clone());
        self
    }

    /// Makes calls, all of them in this thread, until the deadline. Within another deadline, the one that is reached first
    /// counts, and the canceller is the one of the inner, if it has one.
    pub fn run<T>(&self, calls: impl FnOnce() -> T) -> T {
        let outer = CURRENT.with_borrow(Clone::clone);
        let inner = Self {
            end: self.end.into_iter().chain(outer.end).min(),
            cancelled: self.cancelled.clone().or_else(|| outer.cancelled.clone()),
        };
        let _restore = Restore(CURRENT.replace(inner));
        calls()
    }
}

/// Calls without the caller's deadline: what undoes has the time that it takes.
pub(crate) fn suspended<T>(call: impl FnOnce() -> T) -> T {
    let _restore = Restore(CURRENT.replace(Deadline::default()));
    call()
}

/// The moment `limit` from now. A limit that is longer than the clock can tell is one of a hundred years.
pub(crate) fn after(limit: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let now = Instant::now();
    now.checked_add(limit.min(FAR)).unwrap_or(now)
}

/// Until when a wait may go on that has the limit `own`, and how long it may sleep until it has to call [`check`].
pub(crate) fn step(own: Option<Instant>) -> Option<Duration> {
    CURRENT.with_borrow(|current| {
        let end = own.into_iter().chain(current.end).min();
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let look = current.cancelled.as_ref().map(|_| LOOK_STEP);
        left.into_iter().chain(look).min()
    })
}

/// Fails if the caller's deadline is over, or if the call was cancelled.
pub(crate) fn check(wait: &'static str) -> Result<()> {
    CURRENT.with_borrow(|current| {
        if current.cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
            return Err(Error::new(ErrorKind::Cancelled, wait).reason("the caller has cancelled the call"));
        }
        match current.end {
            Some(end) if end <= Instant::now() => {
                Err(Error::new(ErrorKind::Timeout, wait).reason("the caller's deadline is over"))
            }
            _ => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_counts() {
        let far = Some(Instant::now() + Duration::from_secs(100));
        assert_eq!(step(None), None);
        Deadline::after(Duration::from_secs(10)).run(|| {
            Deadline::after(Duration::from_secs(1000)).run(|| {
                assert!(step(far).unwrap() <= Duration::from_secs(10));
                assert!(check("wait").is_ok());
            });
            suspended(|| assert!(step(far).unwrap() > Duration::from_secs(10)));
        });
        assert_eq!(step(None), None);
        let late = Deadline::after(Duration::ZERO).run(|| check("wait")).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Timeout);
        Deadline::after(Duration::MAX).run(|| assert_eq!(step(None), None));
    }

    #[test]
    fn a_limit_that_no_clock_can_tell_is_far() {
        assert!(after(Duration::MAX) > Instant::now() + Duration::from_secs(1 << 30));
        assert!(after(Duration::ZERO) <= Instant::now());
    }

    #[test]
    fn a_canceller_ends_calls() {
        let canceller = Canceller::new();
        Deadline::none().cancelled_by(&canceller).run(|| {
            assert_eq!(step(None), Some(LOOK_STEP));
            assert!(check("wait").is_ok());
            canceller.cancel();
            assert_eq!(check("wait").unwrap_err().kind(), ErrorKind::Cancelled);
            suspended(|| assert!(check("wait").is_ok()));
        });
    }
}
