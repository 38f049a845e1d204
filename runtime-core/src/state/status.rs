//! The status of a container, computed from the kernel each time.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use serde::Serialize;

use super::{Entry, Identity, Record};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::sys::process;

/// Where a container is in its life (runtime specification, runtime.md, "State"; `paused` as every runtime has it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// Being created.
    Creating,
    /// Waits for `start`.
    Created,
    /// The user's program runs.
    Running,
    /// Frozen.
    Paused,
    /// The init has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// The state of a container, as `state` prints it and as hooks read it (runtime specification, runtime.md, "State").
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct State {
    /// Version of the specification that the state follows.
    #[serde(rename = "ociVersion")]
    pub oci_version: &'static str,
    /// The container's id.
    pub id: String,
    /// Pid of the init in the runtime's pid namespace; 0 when it has ended.
    pub pid: i32,
    /// The status.
    pub status: Status,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// Time of creation, RFC 3339.
    pub created: String,
    /// Annotations of the configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Who created it: a name, or the uid when /etc/passwd has none.
    pub owner: String,
}

/// The version of the specification that this library follows.
pub const OCI_VERSION: &str = "1.3.0";

impl State {
    /// The state with a given status.
    pub(crate) fn new(record: &Record, status: Status) -> Self {
        let pid = record.init.filter(|_| status != Status::Stopped).map_or(0, |init| init.pid);
        Self {
            oci_version: OCI_VERSION,
            id: record.id.clone(),
            pid,
            status,
            bundle: record.bundle.clone(),
            rootfs: record.rootfs.clone(),
            created: record.created.clone(),
            annotations: record.annotations.clone(),
            owner: record.owner.to_string(),
        }
    }
}

/// Asks the kernel for the status.
pub(crate) fn status_of(entry: &Entry, record: &Record) -> Result<Status> {
    status_and_init(entry, record).map(|(status, _)| status)
}

/// The status, and the pidfd of the init if that lives.
pub(crate) fn status_and_init(entry: &Entry, record: &Record) -> Result<(Status, Option<OwnedFd>)> {
    let Some(init) = record.init else {
        let status = if entry.is_locked()? { Status::Creating } else { Status::Stopped };
        return Ok((status, None));
    };
    let Some(pidfd) = alive(init)? else { return Ok((Status::Stopped, None)) };
    let status = match () {
        () if paused(entry, record)? => Status::Paused,
        () if entry.has_gate()? => Status::Created,
        () => Status::Running,
    };
    Ok((status, Some(pidfd)))
}

/// Whether somebody wants the container frozen. Where the runtime froze it for a moment, nobody does; what a
/// killed one has left so is thawed.
fn paused(entry: &Entry, record: &Record) -> Result<bool> {
    let Some(cgroup) = record.cgroup.as_ref().map(Cgroup::open).transpose()? else { return Ok(false) };
    // A cgroup that is gone while the init lives was removed under us: not frozen by it.
    let frozen = || cgroup.is_frozen().unwrap_or(false);
    if !frozen() {
        return Ok(false);
    }
    match entry.standstill()? {
        // The moment may have ended between the two looks.
        None => Ok(frozen()),
        Some(mark) if mark.going_on => Ok(false),
        // What cannot be thawed is as good as paused: `resume` tells why.
        Some(mark) => match cgroup.thaw() {
            Ok(()) => entry.end_standstill(mark).map(|()| false),
            Err(_) => Ok(true),
        },
    }
}

/// Lets a container go on that a killed runtime has left frozen: a signal would stay pending.
pub(crate) fn thaw_leftover(entry: &Entry, record: &Record) -> Result<()> {
    paused(entry, record).map(drop)
}

/// The pidfd of a process that still runs: neither ended, nor a zombie, nor another with its pid.
pub(crate) fn alive(identity: Identity) -> Result<Option<OwnedFd>> {
    Ok(open(identity)?.filter(|(_, stat)| !stat.ended).map(|(pidfd, _)| pidfd))
}

/// The pidfd of a process that still has this pid, be it as a zombie, and what it is.
fn open(identity: Identity) -> Result<Option<(OwnedFd, Stat)>> {
    let pidfd = match process::pidfd_open(identity.pid) {
        // EINVAL: the pid is now a thread of another process.
        Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
        other => other.map_err(|errno| Error::system(format!("pidfd_open of {}", identity.pid), errno))?,
    };
    let stat = Stat::read(identity.pid)?.filter(|stat| stat.start_time == identity.start_time);
    Ok(stat.map(|stat| (pidfd, stat)))
}

/// Whether the process has ended or is about to. From its first step to the end on, which is before it kills
/// others, the kernel lets nobody join its namespaces or fork into its PID namespace.
pub(crate) fn is_ending(identity: Identity) -> Result<bool> {
    let stat = Stat::read(identity.pid)?;
    Ok(stat.is_none_or(|stat| stat.start_time != identity.start_time || stat.ended || stat.ending))
}

/// PF_EXITING of the kernel's include/linux/sched.h.
const EXITING: u64 = 0x4;
/// SIGKILL in a set of pending signals: the process has not been scheduled since it was killed.
const KILL: u64 = 1 << (libc::SIGKILL - 1);

impl Identity {
    /// The pidfd of the process, until it is reaped.
    pub(crate) fn open(self) -> Result<Option<OwnedFd>> {
        Ok(open(self)?.map(|(pidfd, _)| pidfd))
    }

    /// The process that has this pid now.
    pub(crate) fn of(pid: i32) -> Result<Self> {
        match Stat::read(pid)? {
            Some(stat) => Ok(Self { pid, start_time: stat.start_time }),
            None => Err(Error::system(format!("read the start time of process {pid}"), Errno::ESRCH)),
        }
    }
}

/// What proc_pid_stat(5) says.
pub(super) struct Stat {
    ended: bool,
    ending: bool,
    start_time: u64,
}

impl Stat {
    fn read(pid: i32) -> Result<Option<Self>> {
        let path = format!("/proc/{pid}/stat");
        let mut text = Vec::with_capacity(1024);
        let read = File::open(&path).and_then(|mut file| file.read_to_end(&mut text));
        match read {
            Ok(_) => {}
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT | Errno::ESRCH) => return Ok(None),
                _ => return Err(Error::io(format!("read {path:?}"), &error)),
            },
        };
        Self::parse(&text)
            .map(Some)
            .ok_or_else(|| Error::system(format!("understand {path:?}"), Errno::EINVAL))
    }

    /// The name, in parentheses, may hold anything: fields count from its end.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let text = std::str::from_utf8(text.get(end.saturating_add(2)..)?).ok()?;
        let mut fields = text.split_ascii_whitespace();
        let state = fields.next()?;
        let flags: u64 = fields.nth(5)?.parse().ok()?;
        let start_time = fields.nth(12)?.parse().ok()?;
        let pending: u64 = fields.nth(8)?.parse().ok()?;
        let ending = flags & EXITING != 0 || pending & KILL != 0;
        Some(Self { ended: matches!(state, "Z" | "X"), ending, start_time })
    }
}

/// The name that /etc/passwd gives a uid, or the uid. The file is read here, not through NSS: a
/// static program cannot load its modules.
pub(crate) fn owner_name(uid: u32) -> String {
    // A full name may be in an older encoding.
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    name.map_or_else(|| uid.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives() {
        let own = Identity::of(std::process::id() as i32).unwrap();
        assert!(alive(own).unwrap().is_some());
        assert!(!is_ending(own).unwrap());
        assert!(is_ending(Identity { start_time: own.start_time + 1, ..own }).unwrap());
        assert!(alive(Identity { start_time: own.start_time + 1, ..own }).unwrap().is_none());
    }

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let stat = |flags: u64, pending: u64| {
            let text = format!(
                "7 (a) R 1 1 (x) S 1 2 3 4 5 {flags} 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21 22 23 24 25 26 27 {pending} 29"
            );
            let stat = Stat::parse(text.as_bytes()).unwrap();
            (stat.start_time, stat.ended, stat.ending)
        };
        assert_eq!(stat(0x40_0100, 1), (4242, false, false));
        assert_eq!(stat(0x40_0104, 1), (4242, false, true));
        assert_eq!(stat(0x40_0100, 0x100), (4242, false, true));
    }
}
