//! The runtime: where containers are kept, and how new ones are made.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bundle::Bundle;
use crate::confinement::Explained;
#[cfg(feature = "checkpoint")]
use crate::container::RestoreOptions;
use crate::container::{Container, CreatePlan};
use crate::error::{Error, ErrorKind, Result};
use crate::executor::Executor;
use crate::exits::ExitSource;
use crate::host::Host;
use crate::id::ContainerId;
use crate::launch::HeadStart;
use crate::plan::CreateOptions;
use crate::process::Process;
use crate::state::{State, Store};
use crate::timings::Timings;

/// The default state root of a privileged caller; a rootless one has `$XDG_RUNTIME_DIR/runtime` (hier(7); XDG Base Directory
/// Specification).
pub const DEFAULT_STATE_ROOT: &str = "/run/runtime";

/// Makes containers and finds them again. It is cheap to clone, and safe to share between threads:
/// calls on different containers run at the same time, calls on one container wait for each other.
///
/// The processes of containers, hooks and newuidmap are children of the caller. A program that reaps every child itself
/// (`waitpid(-1)`) is a supported case: see [`docs::reaping`](crate::docs::reaping).
///
/// It keeps a descriptor of the root of each cgroup hierarchy from the first use on, all close-on-exec, and nothing else.
///
/// A runtime never changes its caller: working directory, environment, signal handlers and mask,
/// umask and standard streams stay as they are.
///
/// ```no_run
/// use runtime_core::plan::CreateOptions;
/// use runtime_core::{ContainerSpec, Runtime};
///
/// # fn main() -> runtime_core::Result<()> {
/// let runtime = Runtime::builder().state_root("/run/engine").build()?;
/// let bundle = ContainerSpec::new("/srv/root").args(["true"]).build()?;
/// let (container, process) = runtime.run(runtime.plan("web-1", bundle, CreateOptions::new())?)?;
/// println!("{:?}", process.wait()?);
/// container.delete()?;
/// for listed in runtime.list()? {
///     println!("{}: {:?}", listed.id, listed.state.map(|state| state.status));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Runtime(Arc<Shared>);

/// What the containers of one runtime share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) host: Host,
    /// Whether new containers get cgroups.
    pub(crate) cgroups: bool,
    /// Whether systemd makes them.
    pub(crate) systemd: bool,
    /// Where the ends of steps are told.
    pub(crate) timings: Option<Arc<Timings>>,
    /// Where the statuses come from that a reaper of the program's own has taken.
    pub(crate) exits: Option<ExitSource>,
    /// Who chooses what runs in the place of containers' own programs.
    pub(crate) executor: Chooser,
    waits: Waits,
}

/// The executor of a runtime, if it has one.
#[derive(Clone, Default)]
pub(crate) struct Chooser(Option<Arc<dyn Executor>>);

impl Chooser {
    pub(crate) fn of(&self) -> Option<&dyn Executor> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Chooser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Chooser(own)" } else { "Chooser(none)" })
    }
}

/// Who is told what a call waits for.
#[derive(Clone, Default)]
struct Waits(Option<Arc<Tell>>);

type Tell = dyn Fn(&str) + Send + Sync;

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Waits(told)" } else { "Waits(untold)" })
    }
}

impl Shared {
    /// Tells what is waited for, if anybody wants to know.
    pub(crate) fn waits(&self, text: &str) {
        if let Waits(Some(tell)) = &self.waits {
            tell(text);
        }
    }

    /// Tells of a step, if anybody wants to know.
    pub(crate) fn mark(&self, step: &str) {
        if let Some(timings) = &self.timings {
            timings.mark(step);
        }
    }
}

/// Who makes the cgroups (cgroups(7)) of new containers; [`RuntimeBuilder`] has an example.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CgroupDriver {
    /// The library, in the file systems of cgroups.
    #[default]
    Cgroupfs,
    /// systemd: `linux.cgroupsPath` is then `slice:prefix:name`, and the cgroup that of a scope `prefix-name.scope` (or of a
    /// slice, if the name ends so). A caller without privileges uses the service manager of its user, which takes cgroup v2.
    Systemd,
    /// Nobody: new containers stay in the cgroup of their caller. A `cgroupsPath` in the configuration is not used, limits are
    /// an error, and device rules have no effect.
    None,
}

/// Configures a [`Runtime`].
///
/// ```no_run
/// use runtime_core::{CgroupDriver, Runtime};
///
/// # fn main() -> runtime_core::Result<()> {
/// let runtime = Runtime::builder()
///     .state_root("/run/engine")
///     .cgroup_driver(CgroupDriver::Systemd)
///     .on_wait(|text| eprintln!("{text}"))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct RuntimeBuilder {
    state_root: Option<PathBuf>,
    host: Option<Host>,
    driver: CgroupDriver,
    timings: Option<Arc<Timings>>,
    exits: Option<ExitSource>,
    executor: Chooser,
    waits: Waits,
}

impl RuntimeBuilder {
    /// The directory that keeps the state of containers; it is made when the first container is.
    /// Default: [`DEFAULT_STATE_ROOT`].
    #[must_use]
    pub fn state_root(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_root = Some(path.into());
        self
    }

    /// Facts about the host; by default they are probed when needed.
    #[must_use]
    pub fn host(mut self, host: Host) -> Self {
        self.host = Some(host);
        self
    }

    /// Who makes the cgroups of new containers. Containers that exist are served as they were made, whatever is set here.
    #[must_use]
    pub fn cgroup_driver(mut self, driver: CgroupDriver) -> Self {
        self.driver = driver;
        self
    }

    /// Tells the ends of all steps of creations, starts and executions. Without this nothing is measured.
    #[must_use]
    pub fn timings(mut self, timings: Arc<Timings>) -> Self {
        self.timings = Some(timings);
        self
    }

    /// Where the program tells of the children that it has reaped itself: for programs with a reaper of their own, such as
    /// subreapers and shims. See [`docs::reaping`](crate::docs::reaping).
    #[must_use]
    pub fn exit_source(mut self, exits: ExitSource) -> Self {
        self.exits = Some(exits);
        self
    }

    /// Who chooses, for each process, whether a program of the caller runs in the place of one of the container: see
    /// [`executor`](crate::executor). Without this none does.
    #[must_use]
    pub fn executor(mut self, executor: impl Executor + 'static) -> Self {
        self.executor = Chooser(Some(Arc::new(executor)));
        self
    }

    /// Tells, once a call has waited for a second for another one on the same container, which process that
    /// is in, as a line for people. The wait ends with an error after 30 s.
    #[must_use]
    pub fn on_wait(mut self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.waits = Waits(Some(Arc::new(tell)));
        self
    }

    /// The runtime.
    ///
    /// # Errors
    ///
    /// A relative state root in a working directory that has gone.
    pub fn build(self) -> Result<Runtime> {
        let path = self.state_root.unwrap_or_else(|| DEFAULT_STATE_ROOT.into());
        let path = std::path::absolute(&path).map_err(|error| Error::io(format!("find {path:?}"), &error))?;
        let store = Store::new(path);
        let host = self.host.unwrap_or_default();
        Ok(Runtime(Arc::new(Shared {
            store,
            host,
            cgroups: self.driver != CgroupDriver::None,
            systemd: self.driver == CgroupDriver::Systemd,
            timings: self.timings,
            exits: self.exits,
            executor: self.executor,
            waits: self.waits,
        })))
    }
}

/// A container of [`Runtime::list`], which `runc list` has as a line; [`Runtime`] has an example.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listed {
    /// Its id.
    pub id: ContainerId,
    /// Its state, or why that cannot be told.
    pub state: Result<State>,
}

impl Listed {
    fn exists(&self) -> bool {
        !self.state.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }
}

impl Runtime {
    /// Configures a runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// Computes everything that the creation of a container takes, and changes nothing on the host.
    ///
    /// # Errors
    ///
    /// The id is malformed, or the configuration asks for what this host or its kernel cannot do.
    pub fn plan(&self, id: &str, bundle: Bundle, options: CreateOptions) -> Result<CreatePlan> {
        CreatePlan::new(&self.0, ContainerId::new(id)?, bundle, options).explained()
    }

    /// Begins a launch before its configuration `config` (the bytes of `config.json`) is parsed: what nearly every container
    /// takes is made meanwhile. [`CreatePlan::with_head_start`] goes on from it; the plan's options have to say the same
    /// number of `preserved` descriptors ([`CreateOptions::preserve_fds`] and `listen_fds` together). With an empty `config`
    /// it is one for a process in a container that exists ([`ExecPlan::with_head_start`](crate::ExecPlan::with_head_start)).
    ///
    /// # Errors
    ///
    /// Those of a launch: without a head start that meets them again, and explains them better.
    pub fn head_start(&self, config: &[u8], preserved: u32) -> Result<HeadStart> {
        HeadStart::new(&self.0.host, config, preserved)
    }

    /// Creates a container: afterwards it is `created`, its init waits for [`Container::start`].
    ///
    /// Either the container exists afterwards, or nothing of it is left.
    pub fn create(&self, plan: CreatePlan) -> Result<Container> {
        plan.create(&self.0).explained()
    }

    /// Creates a container and starts it at once, without the start gate.
    ///
    /// Errors as [`Runtime::create`] and [`Container::start`]; nothing is left then.
    pub fn run(&self, plan: CreatePlan) -> Result<(Container, Process)> {
        plan.run(&self.0).explained()
    }

    /// Makes a container from the image of a [`Container::checkpoint`], and lets it run on.
    ///
    /// CRIU does it; its program is the only one that this library starts besides hooks and the
    /// mapping of ids.
    ///
    /// # Errors
    ///
    /// CRIU is missing, too old, or fails: the error then has the last lines of its log. Nothing is left then.
    #[cfg(feature = "checkpoint")]
    pub fn restore(&self, plan: CreatePlan, options: &RestoreOptions) -> Result<(Container, Process)> {
        plan.restore(&self.0, options).explained()
    }

    /// Finds a container.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), or an id that is malformed.
    pub fn container(&self, id: &str) -> Result<Container> {
        Container::open(&self.0, ContainerId::new(id)?).explained()
    }

    /// All containers of the state root, sorted by id. A broken one has an error in the place of its
    /// state and does not disturb the others. One that another call is just making or removing is left out
    /// while it has no state.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let ids = self.0.store.ids().explained()?;
        let state = |id: &ContainerId| self.container(id.as_str())?.state();
        let all = ids.into_iter().map(|id| Listed { state: state(&id), id });
        Ok(all.filter(Listed::exists).collect())
    }

    /// Removes what is left of a container, whatever its state: kills its processes, removes its
    /// cgroup and its state. An id that does not exist is [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn delete_force(&self, id: &str) -> Result<()> {
        self.container(id)?.delete_force()
    }

    /// The state root.
    pub fn state_root(&self) -> &Path {
        self.0.store.path()
    }
}
