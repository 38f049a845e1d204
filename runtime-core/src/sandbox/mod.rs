//! A command on its own, in as much of a container as its caller asks for.

mod compile;
mod launch;

use std::os::fd::AsFd;

use crate::capabilities::CapabilitySet;
use crate::cgroup::Cgroup;
use crate::error::Result;
use crate::held::HeldNamespace;
use crate::idmap::IdMap;
use crate::namespaces::Namespaces;
use crate::process::Process;
use crate::rootfs::Mount;
use crate::seccomp::Filter;
use crate::stdio::Descriptors;

/// A command that is started with what it is to be confined by: namespaces, a root, mounts, a user, capabilities, a filter of
/// system calls, a cgroup. There is no bundle, no configuration in JSON and no state directory.
///
/// Each part works alone and with all others. What is not asked for stays as the caller has it, but for what
/// [`new`](Self::new) says.
///
/// ```no_run
/// use runtime_core::capabilities::CapabilitySet;
/// use runtime_core::namespaces::Namespaces;
/// use runtime_core::rootfs::Mount;
/// use runtime_core::{Exit, Sandbox, Stdio};
///
/// # fn run(filter: runtime_core::seccomp::Filter, cgroup: &runtime_core::cgroup::Cgroup) -> runtime_core::Result<()> {
/// let mut process = Sandbox::new("/bin/sh")
///     .args(["-c", "id"])
///     .namespaces(Namespaces::PID | Namespaces::NETWORK)
///     .root("/srv/root")
///     .read_only_root()
///     .mount(Mount::proc("/proc"))
///     .mount(Mount::dev())
///     .capabilities(CapabilitySet::none())
///     .no_new_privileges()
///     .filter(filter)
///     .cgroup(cgroup)
///     .stdout(Stdio::piped())
///     .spawn()?;
/// let output = std::io::read_to_string(process.take_stdout().expect("it is piped"));
/// assert_eq!(process.wait()?, Exit::Code(0));
/// # drop(output);
/// # Ok(())
/// # }
/// ```
///
/// **How it is started.** As a container is, by the same plan and the same init: the program runs in a process that never
/// shared the caller's memory and that has no descriptor of the caller's but those that were given. No code of the caller
/// runs in it (`pre_exec` of [`std::process::Command`] does that), so a program with any number of threads may start it. It
/// is in its cgroup and in its namespaces from its first instruction.
///
/// **Errors** of [`spawn`](Self::spawn) name the call, its arguments, the errno and the field, such as `sandbox.root` or
/// `sandbox.mounts[1]`.
#[derive(Debug)]
pub struct Sandbox<'a> {
    args: Vec<String>,
    env: Vec<(String, String)>,
    cwd: Option<String>,
    namespaces: Namespaces,
    joins: Vec<(Namespaces, String)>,
    /// Those of them that are open already.
    held: Vec<HeldNamespace>,
    hostname: Option<String>,
    uid_map: Option<IdMap>,
    gid_map: Option<IdMap>,
    root: Option<String>,
    read_only_root: bool,
    mounts: Vec<Mount>,
    user: Option<(u32, u32)>,
    groups: Vec<u32>,
    capabilities: Option<CapabilitySet>,
    no_new_privileges: bool,
    filter: Option<Filter>,
    cgroup: Option<&'a Cgroup>,
    descriptors: Descriptors,
}

impl<'a> Sandbox<'a> {
    /// The program: a path as the command sees it, or a name that is looked for in the command's `PATH`.
    ///
    /// It runs in `/`, in a session of its own (setsid(2)), with umask 022, and with an environment of `PATH` (the usual six
    /// directories) and `HOME` (that of `/etc/passwd`) alone. A caller with privilege has no supplementary groups in it.
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            args: vec![program.into()],
            env: Vec::new(),
            cwd: None,
            namespaces: Namespaces::NONE,
            joins: Vec::new(),
            held: Vec::new(),
            hostname: None,
            uid_map: None,
            gid_map: None,
            root: None,
            read_only_root: false,
            mounts: Vec::new(),
            user: None,
            groups: Vec::new(),
            capabilities: None,
            no_new_privileges: false,
            filter: None,
            cgroup: None,
            descriptors: Descriptors::default(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets several variables. `envs(std::env::vars())` is the caller's environment.
    #[must_use]
    pub fn envs(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(variables);
        self
    }

    /// The working directory: an absolute path as the command sees it. Default: `/`.
    #[must_use]
    pub fn cwd(mut self, path: impl Into<String>) -> Self {
        self.cwd = Some(path.into());
        self
    }

    /// Adds new namespaces: see [`namespaces`](crate::namespaces).
    #[must_use]
    pub fn namespaces(mut self, namespaces: Namespaces) -> Self {
        self.namespaces |= namespaces;
        self
    }

    /// Joins namespaces that a process has (setns(2)), of these kinds: see
    /// [`ContainerSpec::join_process`](crate::ContainerSpec::join_process). The kinds are those of [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// ESRCH or ENOENT for a process that has ended; those of open(2) for `/proc/PID/ns`, such as EACCES.
    pub fn join_process(mut self, process: &Process, kinds: Namespaces) -> Result<Self> {
        for held in HeldNamespace::of(process.pid(), process.as_fd(), kinds)? {
            self.joins.push((Namespaces::of(held.kind), held.path.clone()));
            self.held.push(held);
        }
        Ok(self)
    }

    /// Joins a namespace that exists (setns(2)), by its absolute path, such as one that `ip netns add` has made. That of a process
    /// may be one of another by the time of [`spawn`](Self::spawn): take [`join_process`](Self::join_process) for it.
    /// `kind` is one kind, and neither [`Namespaces::MOUNT`] nor [`Namespaces::USER`]: who enters those enters a container, which
    /// is [`Container::exec`](crate::Container::exec).
    ///
    /// ```no_run
    /// use runtime_core::Sandbox;
    /// use runtime_core::namespaces::Namespaces;
    ///
    /// let process = Sandbox::new("/bin/ip").args(["link"]).join(Namespaces::NETWORK, "/run/netns/blue").spawn()?;
    /// # process.wait()?;
    /// # Ok::<(), runtime_core::Error>(())
    /// ```
    #[must_use]
    pub fn join(mut self, kind: Namespaces, path: impl Into<String>) -> Self {
        self.joins.push((kind, path.into()));
        self
    }

    /// The host name (sethostname(2)), in a new [`Namespaces::UTS`].
    #[must_use]
    pub fn hostname(mut self, name: impl Into<String>) -> Self {
        self.hostname = Some(name.into());
        self.namespaces(Namespaces::UTS)
    }

    /// Users and groups of a new [`Namespaces::USER`]: see [`idmap`](crate::idmap). Without maps id 0 is the caller's own.
    #[must_use]
    pub fn id_maps(mut self, users: IdMap, groups: IdMap) -> Self {
        (self.uid_map, self.gid_map) = (Some(users), Some(groups));
        self.namespaces(Namespaces::USER)
    }

    /// A directory of the host, by its absolute path, that becomes `/` (pivot_root(2)), in a new [`Namespaces::MOUNT`]: see
    /// [`rootfs`](crate::rootfs).
    #[must_use]
    pub fn root(mut self, path: impl Into<String>) -> Self {
        self.root = Some(path.into());
        self.namespaces(Namespaces::MOUNT)
    }

    /// Makes the root read-only, but not the mounts in it.
    #[must_use]
    pub fn read_only_root(mut self) -> Self {
        self.read_only_root = true;
        self
    }

    /// Adds a mount, in a new [`Namespaces::MOUNT`]: see [`rootfs`](crate::rootfs).
    #[must_use]
    pub fn mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self.namespaces(Namespaces::MOUNT)
    }

    /// User and group, as numbers in the command's user namespace. Default: root of a new user namespace, else the caller's
    /// own effective ids.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// Supplementary groups (setgroups(2)). A user without privilege can set none, and keeps its own.
    #[must_use]
    pub fn groups(mut self, groups: impl IntoIterator<Item = u32>) -> Self {
        self.groups = groups.into_iter().collect();
        self
    }

    /// The capabilities that the command has and can have: see [`capabilities`](crate::capabilities). Default: those of the
    /// caller, and all in a new user namespace.
    #[must_use]
    pub fn capabilities(mut self, set: CapabilitySet) -> Self {
        self.capabilities = Some(set);
        self
    }

    /// Lets no program of the command gain privileges: set-user-ID bits and file capabilities have no effect (PR_SET_NO_NEW_PRIVS
    /// of prctl(2)).
    #[must_use]
    pub fn no_new_privileges(mut self) -> Self {
        self.no_new_privileges = true;
        self
    }

    /// A filter of system calls: see [`seccomp`](crate::seccomp). It is loaded last: of this library's calls only execve(2)
    /// passes it. Without [`no_new_privileges`](Self::no_new_privileges) that takes CAP_SYS_ADMIN.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// The cgroup that the command is in from its first instruction (CLONE_INTO_CGROUP of clone3(2); it enters those of v1
    /// before its program runs): see [`cgroup`](crate::cgroup). [`Cgroup::kill_all`] ends all that the command has started.
    #[must_use]
    pub fn cgroup(mut self, cgroup: &'a Cgroup) -> Self {
        self.cgroup = Some(cgroup);
        self
    }

    crate::stdio::setters!();

    /// The steps of the launch, one a line, for people. Nothing is done.
    ///
    /// # Errors
    ///
    /// What is wrong with the sandbox by itself.
    pub fn steps(&self) -> Result<String> {
        compile::plan(self).map(|plan| plan.to_string())
    }

    /// Starts the command. When this returns, the program runs: execve(2) has succeeded.
    ///
    /// Of a command that did not start, nothing is left. One that did is ended by its caller
    /// ([`Process::signal`], [`Process::kill_on_drop`], [`Cgroup::kill_all`]).
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput): the sandbox is wrong by itself, in one or several fields.
    /// * [`ErrorKind::ProgramNotFound`](crate::ErrorKind::ProgramNotFound) and
    ///   [`ErrorKind::ProgramNotExecutable`](crate::ErrorKind::ProgramNotExecutable).
    /// * [`ErrorKind::System`](crate::ErrorKind::System) with the call and the errno: something is missing, or not allowed.
    pub fn spawn(self) -> Result<Process> {
        launch::spawn(self)
    }
}

impl Cgroup {
    /// Starts a command in this cgroup: [`Sandbox::cgroup`] and [`Sandbox::spawn`] in one.
    ///
    /// ```no_run
    /// # fn run(cgroup: &runtime_core::cgroup::Cgroup) -> runtime_core::Result<()> {
    /// let process = cgroup.spawn(runtime_core::Sandbox::new("/bin/true"))?;
    /// process.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Sandbox::spawn`].
    pub fn spawn<'a>(&'a self, sandbox: Sandbox<'a>) -> Result<Process> {
        sandbox.cgroup(self).spawn()
    }
}
