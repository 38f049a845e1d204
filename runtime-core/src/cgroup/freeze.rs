//! Freezing and thawing.
//!
//! v2 stops processes where they can still be killed, and says when all have stopped; the v1 freezer
//! may have to be asked again while processes fork. On a hybrid machine v2 is used. A cgroup frozen
//! through v1 by somebody else is seen, and thawed, as well.

use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::uio::pread;

use super::directory::{failed, unless_gone};
use super::{Cgroup, Location, Member, Place, Version, no_cgroup};
use crate::deadline;
use crate::error::{Error, ErrorKind, Result};

/// How long the v1 freezer is left trying before it is thawed for a moment, so that processes stuck
/// between others that are frozen can go on.
const V1_ROUND: Duration = Duration::from_millis(50);

impl Cgroup {
    /// Stops every process of the cgroup and its sub-cgroups, and waits until all have stopped.
    ///
    /// # Errors
    ///
    /// Without a cgroup or a freezer. Kind [`ErrorKind::Timeout`] if a process did not stop within
    /// `limit` (one in uninterruptible sleep may not); the cgroup is thawed again then.
    pub fn freeze(&self, limit: Duration) -> Result<()> {
        let member = self.freezer().ok_or_else(|| match self.is_none() {
            true => no_cgroup("freeze"),
            false => Error::new(ErrorKind::Unsupported, "freeze")
                .reason("no hierarchy of the cgroup has a freezer"),
        })?;
        let result = if member.is_unified() { member.freeze_v2(limit) } else { member.freeze_v1(limit) };
        if result.is_err() {
            member.thaw()?;
        }
        result
    }

    /// Lets the processes of the cgroup run. A cgroup that is not frozen, or gone, is left as it is.
    pub fn thaw(&self) -> Result<()> {
        self.freezers().try_for_each(Member::thaw)
    }

    /// On a hybrid machine, leaves the processes of a frozen cgroup to the freezer of v1 alone; elsewhere nothing
    /// changes.
    pub(crate) fn hold_by_v1(&self, limit: Duration) -> Result<()> {
        let (Some(unified), Some(legacy)) = self.both_freezers() else { return Ok(()) };
        legacy.freeze_v1(limit)?;
        unified.thaw()
    }

    /// Freezes the cgroup again as [`freeze`](Self::freeze) does, whichever freezer holds its processes.
    pub(crate) fn hold_by_v2(&self, limit: Duration) -> Result<()> {
        let (Some(unified), Some(legacy)) = self.both_freezers() else { return self.freeze(limit) };
        // Processes that v1 holds arrive in the freezer of v2 when v1 lets go.
        unified.write_state("cgroup.freeze", "1")?;
        legacy.thaw()?;
        unified.wait_event("frozen 1", deadline::after(limit))
    }

    fn both_freezers(&self) -> (Option<&Member>, Option<&Member>) {
        let unified = self.unified().filter(|member| member.directory.has("cgroup.freeze"));
        (unified, self.member("freezer").filter(|member| !member.is_unified()))
    }

    /// Whether the cgroup is frozen, or on its way; the state of its ancestors does not count.
    pub fn is_frozen(&self) -> Result<bool> {
        for member in self.freezers() {
            if member.is_frozen()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn freezers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_unified() || member.holds("freezer"))
    }

    fn freezer(&self) -> Option<&Member> {
        self.unified()
            .filter(|member| member.directory.has("cgroup.freeze"))
            .or_else(|| self.member("freezer").filter(|member| !member.is_unified()))
    }
}

impl Location {
    /// As [`Cgroup::is_frozen`], for a caller that wants to know nothing else: it opens only the
    /// hierarchies that can freeze.
    pub fn is_frozen(&self) -> Result<bool> {
        let can_freeze = |place: &&Place| {
            place.version == Version::V2 || place.controllers.iter().any(|name| name == "freezer")
        };
        let places = self.places.iter().filter(can_freeze).cloned().collect();
        Cgroup::open(&Location { mode: self.mode, places })?.is_frozen()
    }
}

impl Member {
    fn freeze_v2(&self, limit: Duration) -> Result<()> {
        let deadline = deadline::after(limit);
        self.write_state("cgroup.freeze", "1")?;
        self.wait_event("frozen 1", deadline)
    }

    /// Waits until `cgroup.events` has the line `wanted`.
    pub(super) fn wait_event(&self, wanted: &str, deadline: Instant) -> Result<()> {
        const FILE: &str = "cgroup.events";
        let operation = || format!("wait for {wanted:?} in {:?}", self.directory.path_of(FILE));
        let file =
            self.directory.open_file(FILE, OFlag::O_RDONLY).map_err(|errno| failed(operation(), errno))?;
        let mut buffer = [0u8; 256];
        loop {
            let length = pread(&file, &mut buffer, 0).map_err(|errno| failed(operation(), errno))?;
            let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
            if text.lines().any(|line| line == wanted) {
                return Ok(());
            }
            deadline::check("wait for the freezer")?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::new(ErrorKind::Timeout, operation()).reason("the deadline has passed"));
            }
            let left = deadline::step(Some(deadline)).unwrap_or(left);
            // Reading re-arms the event; a change since then ends the poll at once.
            let timeout =
                PollTimeout::try_from(left.max(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLPRI)], timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(operation(), errno)),
            }
        }
    }

    fn freeze_v1(&self, limit: Duration) -> Result<()> {
        const FILE: &str = "freezer.state";
        let deadline = deadline::after(limit);
        loop {
            deadline::check("wait for the freezer")?;
            self.write_state(FILE, "FROZEN")?;
            let round = deadline::after(V1_ROUND);
            while Instant::now() < round {
                let state = self
                    .directory
                    .read(FILE)
                    .map_err(|errno| failed(format!("read {:?}", self.directory.path_of(FILE)), errno))?;
                if state.trim() == "FROZEN" {
                    return Ok(());
                }
                sleep(Duration::from_micros(200));
                // Asking again catches processes forked since.
                self.write_state(FILE, "FROZEN")?;
            }
            if Instant::now() >= deadline {
                return Err(Error::new(ErrorKind::Timeout, format!("freeze {:?}", self.directory.text()))
                    .reason("the deadline has passed"));
            }
            self.write_state(FILE, "THAWED")?;
            sleep(Duration::from_millis(10));
        }
    }

    fn write_state(&self, file: &str, state: &str) -> Result<()> {
        self.directory
            .write(file, state)
            .map_err(|errno| failed(format!("write {state:?} to {:?}", self.directory.path_of(file)), errno))
    }

    fn thaw(&self) -> Result<()> {
        let (file, state) =
            if self.is_unified() { ("cgroup.freeze", "0") } else { ("freezer.state", "THAWED") };
        let operation = || format!("write {state:?} to {:?}", self.directory.path_of(file));
        unless_gone(self.directory.write(file, state), operation).map(drop)
    }

    pub(super) fn is_frozen(&self) -> Result<bool> {
        let file = match self.is_unified() {
            true => "cgroup.freeze",
            false if self.holds("freezer") => "freezer.self_freezing",
            false => return Ok(false),
        };
        let operation = || format!("read {:?}", self.directory.path_of(file));
        Ok(unless_gone(self.directory.read(file), operation)?.is_some_and(|state| state.trim() == "1"))
    }
}
