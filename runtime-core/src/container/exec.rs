//! exec.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::create::START_FRAME;
use super::{Container, unit};
use crate::cgroup::Cgroup;
use crate::confinement::Explained;
use crate::error::{Error, ErrorKind, Result};
use crate::executor::{Handler, Request};
use crate::exits::ExitSource;
use crate::launch::{self, Child, HeadStart, Inputs, ParentLane, Receiver};
use crate::plan::{ExecOptions, LaunchPlan};
use crate::process::Process;
use crate::process_spec::ProcessSpec;
use crate::resctrl;
use crate::spec::{ValidProcess, ValidSpec};
use crate::state::{Record, State, Status, is_ending, status_and_init};
use crate::stdio::{Descriptors, Given};
use crate::terminal::Terminal;
use runtime_init::ops::Point;

/// A process that is going to run in a container: computed and checked, with its streams. Made by
/// [`Container::plan_exec`]; nothing runs before [`ExecPlan::start`].
///
/// Its `Display` is the sequence of steps, one a line.
///
/// ```no_run
/// use runtime_core::plan::ExecOptions;
/// use runtime_core::{ProcessSpec, Stdio};
///
/// # fn exec(container: &runtime_core::Container) -> runtime_core::Result<()> {
/// let process = ProcessSpec::new(["ps"]).build()?;
/// let plan = container.plan_exec(&process, &ExecOptions::new())?;
/// let process = plan.stdin(Stdio::null()).start()?;
/// println!("{:?}", process.wait()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ExecPlan {
    container: Container,
    record: Record,
    spec: ValidSpec,
    options: ExecOptions,
    launch: LaunchPlan,
    init: OwnedFd,
    descriptors: Descriptors,
    head_start: Option<HeadStart>,
}

impl ExecPlan {
    /// Lets the launch go on from a head start, if it fits the plan.
    #[must_use]
    pub fn with_head_start(mut self, head_start: Option<HeadStart>) -> Self {
        self.head_start = head_start;
        self
    }

    crate::stdio::setters!();

    /// What the user should know, such as capabilities that cannot be granted and are left out.
    pub fn warnings(&self) -> &[String] {
        &self.launch.warnings
    }

    /// Whether the process gets a terminal.
    pub fn terminal(&self) -> bool {
        self.launch.terminal
    }

    /// The handler whose program is executed in the place of one of the container: see [`executor`](crate::executor).
    pub fn handler(&self) -> Option<&Handler> {
        self.launch.handler.as_ref()
    }

    /// Runs the process; it returns when the program is executed.
    ///
    /// # Errors
    ///
    /// As [`Container::exec`].
    pub fn start(self) -> Result<Process> {
        self.started(None).explained()
    }

    /// As [`start`](Self::start), but gives the process's terminal to `prepare` before the program runs: what is to be set
    /// about a terminal, the program shall not see change. It is not called without a terminal.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start), and that of `prepare`, which [`Error::get_ref`] gives then: no program has run.
    pub fn start_on_terminal(
        self,
        mut prepare: impl FnMut(Terminal) -> std::io::Result<()>,
    ) -> Result<Process> {
        let mut prepare = |terminal| {
            prepare(terminal)
                .map_err(|error| Error::foreign(ErrorKind::System, "prepare the terminal", error.into()))
        };
        self.started(Some(&mut prepare)).explained()
    }

    fn started(self, prepare: Option<Prepare<'_>>) -> Result<Process> {
        // Since it was planned, the container may have been paused.
        self.container.may_enter(&self.record, &self.options)?;
        self.run(prepare)
    }

    fn run(mut self, prepare: Option<Prepare<'_>>) -> Result<Process> {
        let (given, pipes) = std::mem::take(&mut self.descriptors).open(self.launch.terminal)?;
        let head_start = self.head_start.take();
        let process = self
            .enter(&given, head_start, prepare)
            .map_err(|error| self.container.unless_stopped(&self.record, error))?;
        Ok(process.with_pipes(pipes))
    }
}

impl std::fmt::Display for ExecPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.launch.fmt(f)
    }
}

impl Container {
    /// Runs another process in the container, on the caller's standard streams; it returns when the program is executed.
    ///
    /// # Errors
    ///
    /// The container has stopped, or is paused and the options do not ignore that; the program does
    /// not exist or may not be executed.
    pub fn exec(&self, process: &ValidProcess, options: &ExecOptions) -> Result<Process> {
        self.plan_to_enter(process, options).and_then(|plan| plan.run(None)).explained()
    }

    /// The first half of [`exec`](Self::exec): all that can be computed and checked before a process is made. What follows is
    /// the choice of its streams and [`ExecPlan::start`], at any time later.
    ///
    /// # Errors
    ///
    /// The container has stopped, or is paused and the options do not ignore that; the host or the options rule out what the
    /// process asks for.
    pub fn plan_exec(&self, process: &ValidProcess, options: &ExecOptions) -> Result<ExecPlan> {
        self.plan_to_enter(process, options).explained()
    }

    /// A process like the container's own, with its user, environment and rights, for which `exec` needs other arguments.
    ///
    /// # Errors
    ///
    /// The container has no process in its configuration.
    pub fn process_spec(&self) -> Result<ProcessSpec> {
        self.config().and_then(|config| ProcessSpec::of_config(&config))
    }

    fn plan_to_enter(&self, process: &ValidProcess, options: &ExecOptions) -> Result<ExecPlan> {
        let record = self.record()?;
        let init = self.may_enter(&record, options)?;
        let planned = self.plan_in(process, options, &record);
        let (spec, launch) = planned.map_err(|error| self.unless_stopped(&record, error))?;
        self.shared.mark("read the state, plan");
        Ok(ExecPlan {
            container: self.handle(),
            record,
            spec,
            options: options.clone(),
            launch,
            init,
            descriptors: Descriptors::default(),
            head_start: None,
        })
    }

    /// The init of a container that may be entered.
    fn may_enter(&self, record: &Record, options: &ExecOptions) -> Result<OwnedFd> {
        match status_and_init(&self.entry, record)? {
            (Status::Paused, _) if !options.ignore_paused => {
                // On v1 a deletion freezes what it has killed, for a moment.
                let error = self.wrong_state("cannot exec in a paused container");
                let error = error.with_hint("use ExecOptions::ignore_paused to override");
                Err(self.unless_stopped(record, error))
            }
            (_, Some(init)) => Ok(init),
            (_, None) => Err(self.stopped()),
        }
    }

    fn plan_in(
        &self,
        process: &ValidProcess,
        options: &ExecOptions,
        record: &Record,
    ) -> Result<(ValidSpec, LaunchPlan)> {
        let spec = self.spec()?;
        let keeps_keyring = options.no_new_keyring || record.no_new_keyring;
        let mut options = options.clone().no_new_keyring(keeps_keyring);
        options.id = self.id.to_string();
        options.bundle.clone_from(&record.bundle);
        options.joins_cgroup = unit::mover(record).is_some();
        let request = Request::exec(self.id.as_str(), record, &spec.root, process);
        options.wanted = options.wanted.decide(self.shared.executor.of(), &request)?;
        let plan = LaunchPlan::exec(&spec, process, &self.shared.host, &options)?;
        Ok((spec, plan))
    }

    fn stopped(&self) -> Error {
        self.wrong_state("cannot exec in a stopped container")
    }

    /// The error of a step, unless the container ended meanwhile: then any step may fail, by a refusal of the
    /// kernel or because the process was killed, and none of these reasons is the one to tell.
    fn unless_stopped(&self, record: &Record, error: Error) -> Error {
        match record.init.map(is_ending) {
            Some(Ok(true)) | None => self.stopped(),
            Some(Ok(false) | Err(_)) => error,
        }
    }
}

impl ExecPlan {
    fn enter(
        &self,
        given: &Given,
        mut head_start: Option<HeadStart>,
        mut prepare: Option<Prepare<'_>>,
    ) -> Result<Process> {
        let record = &self.record;
        let cgroup = self.cgroup()?;
        let receiver = Receiver::new(&self.spec, || State::new(record, Status::Running));
        let mut launch = |cgroup: &Cgroup| {
            let prepare = prepare.as_mut().map(|prepare| &mut **prepare as Prepare<'_>);
            let lane = Lane { cgroup, record, prepare };
            self.launch(given, head_start.take(), lane, receiver.as_ref())
        };
        match launch(&cgroup) {
            // The container has sub-cgroups with controllers: where its init is, a process may be.
            Err(error) if error.raw_errno() == Some(Errno::EBUSY) && self.options.cgroups.is_empty() => {
                launch(&own_cgroup(&cgroup, record)?)
            }
            Err(error) if error.raw_errno() == Some(Errno::EBUSY) => {
                Err(error.context("adding pid of a new process to cgroups"))
            }
            other => other,
        }
    }

    /// The cgroup that the process will be in.
    fn cgroup(&self) -> Result<Cgroup> {
        let record = &self.record;
        let moved_by_systemd = unit::mover(record).is_some();
        let cgroup = self.container.cgroup(record)?;
        match self.options.cgroups.as_slice() {
            // With an inner leaf the container's own cgroup is to stay without processes.
            [] if (record.leaf.is_some() || moved_by_systemd) && !cgroup.is_none() => {
                own_cgroup(&cgroup, record)
            }
            // The init has left it, and somebody has removed it.
            [] if let_go(&cgroup, record) => following_cgroup(record),
            [] => Ok(cgroup),
            paths => cgroup
                .sub(&paths.iter().map(String::as_str).collect::<Vec<_>>())
                .map_err(|error| error.context("adding pid to the sub cgroup").framed(START_FRAME)),
        }
    }

    fn launch(
        &self,
        given: &Given,
        head_start: Option<HeadStart>,
        mut lane: Lane<'_>,
        receiver: Option<&Receiver<'_>>,
    ) -> Result<Process> {
        let shared = &self.container.shared;
        let (moved, clones) = (unit::mover(lane.record).is_some(), shared.host.clone3());
        let inputs = Inputs {
            stdio: given.stdio(),
            passed: given.passed(),
            preserved: self.launch.preserved,
            cgroup: lane.cgroup.clone_target().filter(|_| !moved && clones),
            tasks: if moved { Vec::new() } else { lane.cgroup.entrances(!clones)? },
            gate: None,
            target: Some(self.init.as_fd()),
            privileged: shared.host.is_privileged(),
            timings: shared.timings.as_ref(),
        };
        self.launched(&inputs, head_start, &mut lane, receiver)
            // An exec has no init of its own to speak of.
            .map_err(|error| error.framed(START_FRAME))
    }

    fn launched(
        &self,
        inputs: &Inputs<'_>,
        head_start: Option<HeadStart>,
        lane: &mut Lane<'_>,
        receiver: Option<&Receiver<'_>>,
    ) -> Result<Process> {
        let plan = &self.launch;
        let _under_way = self.container.shared.exits.as_ref().map(ExitSource::begin);
        let mut child =
            launch::spawn(plan, inputs, head_start).map_err(|error| lane.cgroup.explain_clone(error))?;
        let kills = lane.cgroup.oom_kills().ok().flatten();
        let run = launch::run(plan, &mut child, lane).and_then(|()| child.expect_executed(receiver));
        run.map_err(|error| lane.cgroup.explain_memory(kills, lane.cgroup.explain_clone(error)))?;
        self.container.shared.mark("the program is executed");
        let container = self.record.init.ok_or_else(|| self.container.stopped())?;
        let source = self.container.shared.exits.clone();
        Ok(Process::new(child.keep()?, plan.warnings.clone(), container, source))
    }
}

fn own_cgroup(cgroup: &Cgroup, record: &Record) -> Result<Cgroup> {
    let init =
        record.init.ok_or_else(|| Error::system("find the cgroup of the container's init", Errno::ESRCH))?;
    cgroup.of_process(init.pid)
}

/// Whether the container's cgroup of v2 is gone. Without it the process would be where the runtime is.
fn let_go(cgroup: &Cgroup, record: &Record) -> bool {
    cgroup.directory().is_none()
        && record.cgroup.as_ref().is_some_and(|location| location.unified().is_some())
}

fn following_cgroup(record: &Record) -> Result<Cgroup> {
    let operation = "find the cgroup of the container's init";
    match (&record.cgroup, record.init) {
        (Some(location), Some(init)) => location.following(init.pid),
        _ => Err(Error::system(operation, Errno::ESRCH)),
    }
}

/// What is to be done with the master of a terminal before the program runs.
type Prepare<'a> = &'a mut dyn FnMut(Terminal) -> Result<()>;

/// The parent lane of an exec.
struct Lane<'a> {
    cgroup: &'a Cgroup,
    record: &'a Record,
    prepare: Option<Prepare<'a>>,
}

impl ParentLane for Lane<'_> {
    fn join_cgroup(&mut self, pid: i32) -> Result<()> {
        match unit::mover(self.record) {
            Some(mover) => unit::attach(mover, self.record, self.cgroup, pid),
            // It has entered its cgroups itself.
            None => Ok(()),
        }
    }

    fn apply_limits(&mut self) -> Result<()> {
        Ok(())
    }

    fn attach_devices(&mut self) -> Result<()> {
        Ok(())
    }

    fn join_resctrl(&mut self, pid: i32) -> Result<()> {
        self.record.resctrl.as_ref().map_or(Ok(()), |place| place.join(&resctrl::mounted()?, pid))
    }

    fn privileged(&self) -> bool {
        false
    }

    fn before_program(&mut self, child: &mut Child<'_>) -> Result<()> {
        match &mut self.prepare {
            Some(prepare) => child.take_console().map_or(Ok(()), |master| prepare(Terminal::new(master))),
            None => Ok(()),
        }
    }

    fn reached(&mut self, _: Point, _: i32) -> Result<Vec<OwnedFd>> {
        Ok(Vec::new())
    }
}
