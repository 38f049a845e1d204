//! The root directory of a command and the mounts in it.
//!
//! [`Sandbox::root`](crate::Sandbox::root) gives a command another root: a directory of the host becomes its `/`, by
//! pivot_root(2) in a mount namespace of its own, and nothing above it can be reached. [`Mount`]s come into it first, each
//! made by descriptors of the mount interface (fsopen(2), open_tree(2), move_mount(2)) and attached below the new root: no
//! link in it leads a mount to a place outside.
//!
//! ```no_run
//! use runtime_core::Sandbox;
//! use runtime_core::rootfs::Mount;
//!
//! let process = Sandbox::new("/bin/ls")
//!     .args(["/data"])
//!     .root("/srv/root")
//!     .read_only_root()
//!     .mount(Mount::proc("/proc"))
//!     .mount(Mount::dev())
//!     .mount(Mount::tmpfs("/tmp").option("size=64m"))
//!     .mount(Mount::bind("/srv/data", "/data").read_only())
//!     .spawn()?;
//! process.wait()?;
//! # Ok::<(), runtime_core::Error>(())
//! ```
//!
//! Mounts are made in the order of the calls. A missing destination is made, as a directory or, for the bind mount of a
//! file, as a file; so a root that is to stay as it is has them all.
//!
//! **Without [`root`](crate::Sandbox::root)** mounts cover what the command sees of the host's own tree: a tmpfs on `/tmp`, a
//! file in the place of `/etc/resolv.conf`. The host sees none of them.
//!
//! **With other modules.** A new proc takes [`Namespaces::PID`](crate::namespaces::Namespaces::PID), else it shows the
//! caller's processes; in a user namespace the kernel refuses it then.

use crate::spec::Mount as Checked;
use crate::spec::MountOptions;

/// One mount of a command.
///
/// Paths of the host are absolute; a destination is a path below the root of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    kind: &'static str,
    source: String,
    destination: String,
    options: Vec<String>,
}

impl Mount {
    fn new(kind: &'static str, source: &str, destination: impl Into<String>, options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self { kind, source: source.to_owned(), destination: destination.into(), options }
    }

    /// A new procfs (proc(5)), for `/proc`: without programs, devices and set-user-ID bits.
    #[must_use]
    pub fn proc(destination: impl Into<String>) -> Self {
        Self::new("proc", "proc", destination, &["nosuid", "noexec", "nodev"])
    }

    /// A new sysfs (sysfs(5)), for `/sys`, read-only. It shows the devices of the command's network namespace.
    #[must_use]
    pub fn sysfs(destination: impl Into<String>) -> Self {
        Self::new("sysfs", "sysfs", destination, &["nosuid", "noexec", "nodev", "ro"])
    }

    /// A new tmpfs (tmpfs(5)): empty, in memory, gone with the command; without devices and set-user-ID bits. Its mode is
    /// that of the directory that it covers.
    #[must_use]
    pub fn tmpfs(destination: impl Into<String>) -> Self {
        Self::new("tmpfs", "tmpfs", destination, &["nosuid", "nodev"])
    }

    /// `/dev` as a new tmpfs with `null`, `zero`, `full`, `random`, `urandom`, `tty` and the links `fd`, `stdin`, `stdout`,
    /// `stderr` and `ptmx`: what the runtime specification gives each container. Where device nodes cannot be made, in a user
    /// namespace, they are those of the host, bound.
    #[must_use]
    pub fn dev() -> Self {
        Self::new("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"])
    }

    /// Pseudoterminals of the command's own, on `/dev/pts` (devpts, pts(4)); it comes after [`Mount::dev`].
    #[must_use]
    pub fn devpts() -> Self {
        let options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
        Self::new("devpts", "devpts", "/dev/pts", &options)
    }

    /// A file or directory of the host, with the mounts below it: a recursive bind mount (mount(8), `--rbind`).
    #[must_use]
    pub fn bind(source: impl Into<String>, destination: impl Into<String>) -> Self {
        Self::new("bind", &source.into(), destination, &["rbind", "nosuid", "nodev"])
    }

    /// Makes it read-only, with all mounts below it.
    #[must_use]
    pub fn read_only(self) -> Self {
        self.option("rro")
    }

    /// Adds a mount option of the runtime specification (config.md, "Linux mount options") or of the file system, such as
    /// `noexec` or `size=64m`. A later option wins over an earlier one: `suid` takes back `nosuid`.
    #[must_use]
    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Where it is, below the root of the command.
    #[must_use]
    pub fn destination(&self) -> &str {
        &self.destination
    }

    pub(crate) fn unchecked(&self, index: usize) -> Checked {
        let Self { kind, source, destination, options } = self;
        Checked {
            destination: destination.clone(),
            kind: (*kind).to_owned(),
            source: source.clone(),
            options: MountOptions::parse(options),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            index,
        }
    }
}
