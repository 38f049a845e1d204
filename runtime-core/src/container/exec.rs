//! exec.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::create::START_FRAME;
use super::{Container, unit};
use crate::cgroup::Cgroup;
use crate::confinement::Explained;
use crate::error::{Error, Result};
use crate::launch::{self, Child, Inputs, ParentLane, Receiver};
use crate::plan::{ExecOptions, LaunchPlan};
use crate::process::Process;
use crate::resctrl;
use crate::spec::ValidProcess;
use crate::state::{Record, State, Status, is_ending, status_and_init};
use runtime_init::ops::Point;

impl Container {
    /// Runs another process in the container; it returns when the program is executed.
    ///
    /// # Errors
    ///
    /// The container has stopped, or is paused and the options do not ignore that; the program does
    /// not exist or may not be executed.
    pub fn exec(&self, process: &ValidProcess, options: &ExecOptions) -> Result<Process> {
        self.execute(process, options, None).explained()
    }

    /// As [`exec`](Self::exec), but gives the master of the process's terminal to `prepare` before the program runs: what
    /// is to be set about a terminal, the program shall not see change. It is not called without a terminal.
    ///
    /// # Errors
    ///
    /// Those of [`exec`](Self::exec), and that of `prepare`: then no program has run.
    pub fn exec_on_terminal(
        &self,
        process: &ValidProcess,
        options: &ExecOptions,
        mut prepare: impl FnMut(OwnedFd) -> Result<()>,
    ) -> Result<Process> {
        self.execute(process, options, Some(&mut prepare)).explained()
    }

    fn execute(
        &self,
        process: &ValidProcess,
        options: &ExecOptions,
        prepare: Option<Prepare<'_>>,
    ) -> Result<Process> {
        let record = self.record()?;
        let init = match status_and_init(&self.entry, &record)? {
            (Status::Paused, _) if !options.ignore_paused => {
                // On v1 a deletion freezes what it has killed, for a moment.
                let error =
                    self.wrong_state("cannot exec in a paused container (use --ignore-paused to override)");
                return Err(self.unless_stopped(&record, error));
            }
            (_, Some(init)) => init,
            (_, None) => return Err(self.stopped()),
        };
        self.enter(process, options, &record, &init, prepare)
            .map_err(|error| self.unless_stopped(&record, error))
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

    fn enter(
        &self,
        process: &ValidProcess,
        options: &ExecOptions,
        record: &Record,
        init: &OwnedFd,
        mut prepare: Option<Prepare<'_>>,
    ) -> Result<Process> {
        let spec = self.spec()?;
        let keeps_keyring = options.no_new_keyring || record.no_new_keyring;
        let mut plan_options = options.clone().no_new_keyring(keeps_keyring);
        let moved_by_systemd = unit::mover(record).is_some();
        plan_options.joins_cgroup = moved_by_systemd;
        let plan = LaunchPlan::exec(&spec, process, &self.shared.host, &plan_options)?;
        self.shared.mark("read the state, plan");
        let cgroup = self.cgroup(record)?;
        let cgroup = match options.cgroups.as_slice() {
            // With an inner leaf the container's own cgroup is to stay without processes.
            [] if (record.leaf.is_some() || moved_by_systemd) && !cgroup.is_none() => {
                own_cgroup(&cgroup, record)?
            }
            // The init has left it, and somebody has removed it.
            [] if let_go(&cgroup, record) => following_cgroup(record)?,
            [] => cgroup,
            paths => cgroup
                .sub(&paths.iter().map(String::as_str).collect::<Vec<_>>())
                .map_err(|error| error.context("adding pid to the sub cgroup").framed(START_FRAME))?,
        };
        let receiver = Receiver::new(&spec, || State::new(record, Status::Running));
        let receiver = receiver.as_ref();
        let mut launch = |cgroup: &Cgroup| {
            let prepare = prepare.as_mut().map(|prepare| &mut **prepare as Prepare<'_>);
            self.launch(&plan, init, Lane { cgroup, record, prepare }, receiver)
        };
        match launch(&cgroup) {
            // The container has sub-cgroups with controllers: where its init is, a process may be.
            Err(error) if error.raw_errno() == Some(Errno::EBUSY) && options.cgroups.is_empty() => {
                launch(&own_cgroup(&cgroup, record)?)
            }
            Err(error) if error.raw_errno() == Some(Errno::EBUSY) => {
                Err(error.context("adding pid of a new process to cgroups"))
            }
            other => other,
        }
    }

    fn launch(
        &self,
        plan: &LaunchPlan,
        init: &OwnedFd,
        mut lane: Lane<'_>,
        receiver: Option<&Receiver<'_>>,
    ) -> Result<Process> {
        let (moved, clones) = (unit::mover(lane.record).is_some(), self.shared.host.clone3());
        let inputs = Inputs {
            stdio: [None; 3],
            preserved: plan.preserved,
            cgroup: lane.cgroup.clone_target().filter(|_| !moved && clones),
            tasks: if moved { Vec::new() } else { lane.cgroup.entrances(!clones)? },
            gate: None,
            target: Some(init.as_fd()),
            privileged: self.shared.host.is_privileged(),
            timings: self.shared.timings.as_ref(),
        };
        self.launched(plan, &inputs, &mut lane, receiver)
            // An exec has no init of its own to speak of.
            .map_err(|error| error.framed(START_FRAME))
    }

    fn launched(
        &self,
        plan: &LaunchPlan,
        inputs: &Inputs<'_>,
        lane: &mut Lane<'_>,
        receiver: Option<&Receiver<'_>>,
    ) -> Result<Process> {
        let mut child =
            launch::spawn(plan, inputs, None).map_err(|error| lane.cgroup.explain_clone(error))?;
        let kills = lane.cgroup.oom_kills().ok().flatten();
        let run = launch::run(plan, &mut child, lane).and_then(|()| child.expect_executed(receiver));
        run.map_err(|error| lane.cgroup.explain_memory(kills, lane.cgroup.explain_clone(error)))?;
        self.shared.mark("the program is executed");
        Ok(Process::new(child.keep()?, plan.warnings.clone()))
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
type Prepare<'a> = &'a mut dyn FnMut(OwnedFd) -> Result<()>;

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
            Some(prepare) => child.take_console().map_or(Ok(()), prepare),
            None => Ok(()),
        }
    }

    fn reached(&mut self, _: Point, _: i32) -> Result<Vec<OwnedFd>> {
        Ok(Vec::new())
    }
}
