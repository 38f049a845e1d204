//! What a caller chooses for a checkpoint and a restore.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// How CRIU treats cgroups (criu(8), `--manage-cgroups`).
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CgroupsMode {
    /// Leaves them alone.
    Ignore = 0,
    /// Restores the properties of cgroups that it made.
    Soft = 3,
    /// Restores the properties of all.
    Full = 4,
    /// Restores all, and fails if a cgroup exists.
    Strict = 5,
    /// As CRIU itself decides: soft.
    #[default]
    Default = 6,
}

/// How CRIU keeps packets away from TCP connections while it saves or restores them.
///
/// Source: criu(8), `--network-lock`.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkLock {
    /// By iptables-restore(8).
    Iptables = 1,
    /// By nftables.
    Nftables = 2,
    /// Not at all.
    Skip = 3,
}

/// How long CRIU may take for an answer if the caller says nothing: it writes all memory meanwhile.
const ANSWER_LIMIT: Duration = Duration::from_secs(30 * 60);

/// What a checkpoint and a restore have in common.
///
/// Each is an option of criu(8).
#[derive(Debug)]
#[non_exhaustive]
pub struct CriuOptions {
    /// The program; a name without a slash is looked for in `$PATH`. Default: `criu`.
    pub program: PathBuf,
    /// Directory of the image.
    pub image_path: PathBuf,
    /// Directory of work files and of CRIU's log; without one the image's.
    pub work_path: Option<PathBuf>,
    /// Allows established TCP connections.
    pub tcp_established: bool,
    /// Allows Unix sockets whose other end is outside of the container.
    pub external_unix_sockets: bool,
    /// Allows a container that is a job of a shell outside.
    pub shell_job: bool,
    /// Allows file locks.
    pub file_locks: bool,
    /// Drops pages of an older image that this one holds too.
    pub auto_dedup: bool,
    /// Moves memory on demand, by userfaultfd(2).
    pub lazy_pages: bool,
    /// What becomes of cgroups.
    pub cgroups: CgroupsMode,
    /// How the network is locked; CRIU decides if nothing is said.
    pub network_lock: Option<NetworkLock>,
    /// How long CRIU may take for each of its answers before it is killed; `None` waits for ever, and so do
    /// lazy pages, which the other side fetches when it wants to. Default: 30 minutes.
    pub answer_limit: Option<Duration>,
}

impl CriuOptions {
    fn new(image_path: PathBuf) -> Self {
        Self {
            program: "criu".into(),
            image_path,
            work_path: None,
            tcp_established: false,
            external_unix_sockets: false,
            shell_job: false,
            file_locks: false,
            auto_dedup: false,
            lazy_pages: false,
            cgroups: CgroupsMode::Default,
            network_lock: None,
            answer_limit: Some(ANSWER_LIMIT),
        }
    }

    /// How long an answer may take.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.answer_limit.filter(|_| !self.lazy_pages)
    }
}

/// Choices of [`Container::checkpoint`](crate::Container::checkpoint).
///
/// ```no_run
/// use runtime_core::{CheckpointOptions, RestoreOptions};
///
/// # fn go(runtime: &runtime_core::Runtime, web: runtime_core::Container, again: runtime_core::CreatePlan) -> runtime_core::Result<()> {
/// let mut options = CheckpointOptions::new("/var/lib/engine/images/web-1");
/// options.criu.tcp_established = true;
/// web.checkpoint(&options)?;
/// web.delete()?;
/// let mut options = RestoreOptions::new("/var/lib/engine/images/web-1");
/// options.criu.tcp_established = true;
/// let (container, process) = runtime.restore(again, &options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct CheckpointOptions {
    /// What a restore has too.
    pub criu: CriuOptions,
    /// The image of an earlier checkpoint whose pages need not be written again, relative to the
    /// new one.
    pub parent_path: Option<PathBuf>,
    /// Lets the container run on.
    pub leave_running: bool,
    /// Writes the memory only, and lets the container run on.
    pub pre_dump: bool,
    /// Leaves out TCP connections that are being established.
    pub tcp_skip_in_flight: bool,
    /// Allows open files that have been unlinked.
    pub link_remap: bool,
    /// The page server to send memory to: address and port.
    pub page_server: Option<(String, u16)>,
    /// Gets one byte, 0, when the server of lazy pages is ready; then it is closed.
    pub status: Option<OwnedFd>,
}

impl CheckpointOptions {
    /// The defaults for an image in the directory `image_path`, which is made if it is missing.
    pub fn new(image_path: impl Into<PathBuf>) -> Self {
        Self {
            criu: CriuOptions::new(image_path.into()),
            parent_path: None,
            leave_running: false,
            pre_dump: false,
            tcp_skip_in_flight: false,
            link_remap: false,
            page_server: None,
            status: None,
        }
    }
}

/// Choices of [`Runtime::restore`](crate::Runtime::restore).
///
/// Each is an option of criu(8); [`CheckpointOptions`] has an example of both.
#[derive(Debug)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// What a checkpoint has too.
    pub criu: CriuOptions,
    /// Restores established TCP connections as closed ones.
    pub tcp_close: bool,
    /// The security profile to restore with, `TYPE:NAME`; takes CRIU 3.16.
    pub lsm_profile: Option<String>,
    /// The security context of restored mounts; takes CRIU 3.16.
    pub lsm_mount_context: Option<String>,
}

impl RestoreOptions {
    /// The defaults for the image in the directory `image_path`.
    pub fn new(image_path: impl Into<PathBuf>) -> Self {
        Self {
            criu: CriuOptions::new(image_path.into()),
            tcp_close: false,
            lsm_profile: None,
            lsm_mount_context: None,
        }
    }
}
