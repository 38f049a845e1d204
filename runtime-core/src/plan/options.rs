//! What a caller chooses besides the configuration.

use crate::cgroup::Location;
use crate::executor::{Handler, Wanted};

/// What becomes of a process whose program was found, and is refused by execve(2) all the same: it has no `#!` line, its
/// interpreter is missing, it is for another architecture, its arguments are too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ExecveFailure {
    /// The call that lets the program run (`run`, `start`, `exec`) returns an error of the kind
    /// [`ProgramNotExecutable`](crate::ErrorKind::ProgramNotExecutable). Where a seccomp filter denies sendmsg(2) the
    /// call learns nothing, and the process ends with exit status 1.
    #[default]
    Error,
    /// The call succeeds, and the process ends: it writes why to its standard error output, and exits with 255. This is
    /// what runc does and what engines rely on.
    Exit,
}

/// Choices of `create` and `run`.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// The container's: the plan's user sets it.
    pub(crate) id: String,
    /// Absolute path; likewise.
    pub(crate) bundle: String,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) preserve_fds: u32,
    pub(crate) listen_fds: Option<u32>,
    pub(crate) execve_failure: ExecveFailure,
    pub(crate) notify_socket: Option<String>,
    pub(crate) gate: bool,
    pub(crate) rootless: bool,
    /// The cgroup is made around the init, not before it: the parent has to put it there.
    pub(crate) joins_cgroup: bool,
    /// systemd makes the cgroup, as that of a unit.
    pub(crate) by_systemd: bool,
    /// Where the container's cgroups will be: what its cgroup mount shows.
    pub(crate) cgroup: Option<Location>,
    /// Who runs the process.
    pub(crate) wanted: Wanted,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl CreateOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            id: String::new(),
            bundle: String::new(),
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            listen_fds: None,
            execve_failure: ExecveFailure::Error,
            notify_socket: None,
            gate: true,
            rootless: false,
            joins_cgroup: false,
            by_systemd: false,
            cgroup: None,
            wanted: Wanted::Chosen,
        }
    }

    /// Moves the root over "/" instead of pivoting: for a host whose root is an initramfs.
    #[must_use]
    pub fn no_pivot(mut self, no_pivot: bool) -> Self {
        self.no_pivot = no_pivot;
        self
    }

    /// Keeps the caller's session keyring.
    #[must_use]
    pub fn no_new_keyring(mut self, no_new_keyring: bool) -> Self {
        self.no_new_keyring = no_new_keyring;
        self
    }

    /// Number of descriptors from 3 on that the program gets.
    #[must_use]
    pub fn preserve_fds(mut self, count: u32) -> Self {
        self.preserve_fds = count;
        self
    }

    /// Number of sockets from descriptor 3 on that the program is told of (sd_listen_fds(3)). They
    /// come before the preserved descriptors.
    #[must_use]
    pub fn listen_fds(mut self, count: Option<u32>) -> Self {
        self.listen_fds = count;
        self
    }

    /// What becomes of a program that cannot be executed; without this the call that lets it run fails.
    #[must_use]
    pub fn on_execve_failure(mut self, choice: ExecveFailure) -> Self {
        self.execve_failure = choice;
        self
    }

    /// Host path of the socket that the program notifies when it is ready (sd_notify(3)). Its
    /// directory is bound to /run/notify in the container: it should hold nothing else.
    #[must_use]
    pub fn notify_socket(mut self, path: Option<String>) -> Self {
        self.notify_socket = path;
        self
    }

    /// With a gate (the default), the container waits for `start`; without, the program runs at once.
    #[must_use]
    pub fn gate(mut self, gate: bool) -> Self {
        self.gate = gate;
        self
    }

    /// The caller has no privileges, or should act so.
    #[must_use]
    pub fn rootless(mut self, rootless: bool) -> Self {
        self.rootless = rootless;
        self
    }

    /// The program of this handler is executed in the place of the container's own, whatever the runtime's executor would
    /// choose: see [`executor`](crate::executor).
    #[must_use]
    pub fn handler(mut self, handler: Handler) -> Self {
        self.wanted = Wanted::Handler(handler);
        self
    }

    /// A program of the container is executed, whatever the runtime's executor would choose.
    #[must_use]
    pub fn without_handler(mut self) -> Self {
        self.wanted = Wanted::Program;
        self
    }
}

/// Choices of `exec`.
#[derive(Debug, Clone)]
pub struct ExecOptions {
    /// The container's: the plan's user sets it.
    pub(crate) id: String,
    pub(crate) no_new_keyring: bool,
    pub(crate) preserve_fds: u32,
    pub(crate) listen_fds: Option<u32>,
    pub(crate) execve_failure: ExecveFailure,
    pub(crate) ignore_paused: bool,
    pub(crate) cgroups: Vec<String>,
    /// The caller may not clone into the cgroup: somebody else moves the process.
    pub(crate) joins_cgroup: bool,
    /// Absolute path; likewise.
    pub(crate) bundle: String,
    /// Who runs the process.
    pub(crate) wanted: Wanted,
}

impl Default for ExecOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ExecOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            id: String::new(),
            no_new_keyring: false,
            preserve_fds: 0,
            listen_fds: None,
            execve_failure: ExecveFailure::Error,
            ignore_paused: false,
            cgroups: Vec::new(),
            joins_cgroup: false,
            bundle: String::new(),
            wanted: Wanted::Chosen,
        }
    }

    /// Keeps the caller's session keyring.
    #[must_use]
    pub fn no_new_keyring(mut self, no_new_keyring: bool) -> Self {
        self.no_new_keyring = no_new_keyring;
        self
    }

    /// Number of descriptors from 3 on that the program gets.
    #[must_use]
    pub fn preserve_fds(mut self, count: u32) -> Self {
        self.preserve_fds = count;
        self
    }

    /// Number of sockets from descriptor 3 on that the program is told of (sd_listen_fds(3)).
    #[must_use]
    pub fn listen_fds(mut self, count: Option<u32>) -> Self {
        self.listen_fds = count;
        self
    }

    /// What becomes of a program that cannot be executed; without this `exec` fails.
    #[must_use]
    pub fn on_execve_failure(mut self, choice: ExecveFailure) -> Self {
        self.execve_failure = choice;
        self
    }

    /// Enters a paused container too; the program runs when the container is resumed. The call returns then, not before: another
    /// thread has to resume the container, or a [`Deadline`](crate::Deadline) ends the call.
    #[must_use]
    pub fn ignore_paused(mut self, ignore_paused: bool) -> Self {
        self.ignore_paused = ignore_paused;
        self
    }

    /// Existing cgroups below the container's, for the program: one path for every hierarchy, or several
    /// `CONTROLLER[,CONTROLLER]:PATH` on cgroup v1. What is not named stays the container's.
    #[must_use]
    pub fn cgroups(mut self, paths: impl IntoIterator<Item = String>) -> Self {
        self.cgroups = paths.into_iter().collect();
        self
    }

    /// The program of this handler is executed in the place of one of the container, whatever the runtime's executor would
    /// choose: see [`executor`](crate::executor).
    #[must_use]
    pub fn handler(mut self, handler: Handler) -> Self {
        self.wanted = Wanted::Handler(handler);
        self
    }

    /// A program of the container is executed, whatever the runtime's executor would choose.
    #[must_use]
    pub fn without_handler(mut self) -> Self {
        self.wanted = Wanted::Program;
        self
    }
}
