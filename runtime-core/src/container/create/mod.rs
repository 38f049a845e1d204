//! create and run.

mod compile;
mod lane;

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

pub(super) use compile::compile_cgroup;
use compile::{device_rules, launch_plan, location, without_limits};
use lane::Lane;

use super::Container;
use super::delegation::Delegation;
use super::unit::{self, Starting};
use crate::bundle::Bundle;
use crate::cgroup::devices::DeviceRules;
use crate::cgroup::systemd::UnitPlan;
use crate::cgroup::{Cgroup, CgroupPlan, Directory, Hierarchies, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::executor::{Handler, Request};
use crate::exits::ExitSource;
use crate::id::ContainerId;
use crate::launch::{self, Guard, HeadStart, Inputs, Moved, Receiver, StepText};
use crate::plan::{CreateOptions, LaunchPlan};
use crate::process::Process;
use crate::resctrl::{self, Place};
use crate::runtime::Shared;
use crate::spec::{Kind, ValidSpec};
use crate::state::{Entry, Identity, Lock, Record, SCHEMA, State, Status};
use crate::stdio::{Descriptors, Given};
use crate::sys::process;

/// runc's words before whatever fails while a process is started.
pub(super) const START_FRAME: &str = "unable to start container process";

/// runc's words for a limit that cannot be set.
const LIMITS_FRAME: &str = "error during container init: error setting cgroup config for procHooks process";

/// Everything that the creation of one container takes, computed from its bundle. Its `Display` is
/// the sequence of steps, one a line.
///
/// ```no_run
/// use runtime_core::Stdio;
///
/// # fn create(runtime: &runtime_core::Runtime, plan: runtime_core::CreatePlan) -> Result<(), Box<dyn std::error::Error>> {
/// for warning in plan.warnings() {
///     eprintln!("{warning}");
/// }
/// let log = std::fs::File::create("/var/log/web-1")?;
/// let container = runtime.create(plan.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log))?;
/// container.start()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CreatePlan {
    pub(super) id: ContainerId,
    pub(super) bundle: PathBuf,
    pub(super) config: Vec<u8>,
    pub(super) spec: ValidSpec,
    options: CreateOptions,
    hierarchies: Option<Arc<Hierarchies>>,
    pub(super) cgroup: Option<CgroupPlan>,
    /// The unit that systemd makes for the cgroup.
    pub(super) unit: Option<UnitPlan>,
    /// Where its processes will be.
    place: Option<Location>,
    devices: DeviceRules,
    pub(super) delegation: Delegation,
    launch: LaunchPlan,
    warnings: Vec<String>,
    head_start: Option<HeadStart>,
    pub(super) descriptors: Descriptors,
}

impl CreatePlan {
    pub(crate) fn new(
        shared: &Shared,
        id: ContainerId,
        bundle: Bundle,
        mut options: CreateOptions,
    ) -> Result<Self> {
        let (bundle, config, mut spec) = bundle.into_parts();
        spec.strip_root(&bundle)?;
        let path = spec.cgroups_path.as_deref();
        let hierarchies = shared.host.hierarchies(match path {
            _ if shared.systemd => None,
            // A user without privileges has a place beside its own cgroup, if anywhere.
            None | Some("") if !shared.host.is_privileged() => Some(id.as_str()),
            path => path,
        })?;
        let devices = device_rules(&spec)?;
        let request = Request::first(id.as_str(), &bundle, &spec);
        options.wanted = std::mem::take(&mut options.wanted).decide(shared.executor.of(), &request)?;
        let (unit, cgroup) = match &hierarchies {
            Some(hierarchies) if shared.cgroups && shared.systemd => {
                let privileged = shared.host.is_privileged() && !options.rootless;
                let (unit, cgroup) = unit::plan(hierarchies, &spec, &id, &devices, privileged)?;
                (Some(unit), Some(cgroup))
            }
            Some(hierarchies) if shared.cgroups => {
                (None, Some(compile_cgroup(hierarchies, &spec, path, &id, &devices)?))
            }
            _ => (None, without_limits(hierarchies.as_deref(), &spec, &id)?),
        };
        options.by_systemd = unit.is_some();
        options.joins_cgroup = options.by_systemd || !shared.host.clone3();
        let delegation = Delegation::new(&spec, cgroup.as_ref(), shared.host.is_privileged())?;
        let place = match &cgroup {
            // What its cgroup mount shows is where it stays.
            None if hierarchies.is_some() => Some(Hierarchies::own_location()?),
            plan => location(plan.as_ref()),
        };
        shared.mark("look at the host, plan the cgroup");
        let launch = launch_plan(shared, &id, &bundle, &spec, &options, place.clone())?;
        shared.mark("plan the launch");
        let warnings = spec.warnings().iter().chain(&launch.warnings).cloned().collect();
        Ok(Self {
            id,
            bundle,
            config,
            spec,
            options,
            hierarchies,
            cgroup,
            unit,
            place,
            devices,
            delegation,
            launch,
            warnings,
            head_start: None,
            descriptors: Descriptors::default(),
        })
    }

    /// Lets the launch go on from a head start, if it fits the plan.
    #[must_use]
    pub fn with_head_start(mut self, head_start: Option<HeadStart>) -> Self {
        self.head_start = head_start;
        self
    }

    crate::stdio::setters!();

    /// What the user should know before the container is made, such as capabilities that cannot be
    /// granted and are left out.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What only who looks for a problem wants to know.
    pub fn notes(&self) -> &[String] {
        &self.launch.notes
    }

    /// The checked configuration.
    pub fn spec(&self) -> &ValidSpec {
        &self.spec
    }

    /// The value of an annotation of the configuration.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.spec.annotations.get(key).map(String::as_str)
    }

    /// Whether the container gets a terminal.
    pub fn terminal(&self) -> bool {
        self.launch.terminal
    }

    /// The handler whose program is executed in the place of the container's own: see [`executor`](crate::executor).
    pub fn handler(&self) -> Option<&Handler> {
        self.launch.handler.as_ref()
    }

    pub(crate) fn create(mut self, shared: &Arc<Shared>) -> Result<Container> {
        self.set_gate(shared, true)?;
        let (entry, init) = self.make(shared)?;
        Ok(Container::new(shared, self.id, entry, Some(init)))
    }

    pub(crate) fn run(mut self, shared: &Arc<Shared>) -> Result<(Container, Process)> {
        self.set_gate(shared, false)?;
        let (entry, init) = self.make(shared)?;
        let container = Container::new(shared, self.id, entry, None);
        // Its waits know the end also when the handle of the process, which may have reaped it, is gone.
        container.know(init.tracked());
        Ok((container, init))
    }

    /// What the caller does may be another thing than the options said: with a gate the child lane has a
    /// step more.
    fn set_gate(&mut self, shared: &Shared, gate: bool) -> Result<()> {
        match (std::mem::replace(&mut self.options.gate, gate), gate) {
            (true, false) => self.launch.child.remove_gate(),
            (false, true) => {
                let place = self.place.clone();
                self.launch = launch_plan(shared, &self.id, &self.bundle, &self.spec, &self.options, place)?;
            }
            (true, true) | (false, false) => {}
        }
        Ok(())
    }

    fn make(&mut self, shared: &Shared) -> Result<(Entry, Process)> {
        let head_start = self.head_start.take();
        let (given, pipes) = std::mem::take(&mut self.descriptors).open(self.launch.terminal)?;
        let made = self.make_or_undo(shared, head_start, &given);
        let (entry, init) = made.map_err(in_start).map_err(|error| match error.kind() {
            // A container that a hook refused was one: its end is told to those who wait for that.
            ErrorKind::Hook => self.run_poststop(shared, error),
            _ => error,
        })?;
        Ok((entry, init.with_pipes(pipes)))
    }

    /// The sequence of host changes. Every one is guarded; guards that are dropped undo in reverse.
    fn make_or_undo(
        &self,
        shared: &Shared,
        head_start: Option<HeadStart>,
        given: &Given,
    ) -> Result<(Entry, Process)> {
        process::can_be_ended()?;
        let _under_way = shared.exits.as_ref().map(ExitSource::begin);
        let (entry, lock) = shared.store.create(&self.id)?;
        let entry = Guard::new(entry, |entry: Entry| {
            // The error that led here is the one to tell; `delete --force` finds what is left.
            entry.remove().ok();
        });
        // Written before anything else is made: a runtime killed from here on leaves a container
        // that `delete --force` can find and end.
        let mut record = self.record();
        entry.write_config(&self.config)?;
        entry.write_record(&record)?;
        shared.mark("write the state");

        let mut starting = self.starting()?;
        let mut made_unit = Guard::new(None, unit::undo);
        let mut cgroup = Guard::new(self.make_cgroup()?, |cgroup: Cgroup| {
            cgroup.kill_all().ok();
            cgroup.undo();
        });
        record.cgroup = (!cgroup.is_none()).then(|| cgroup.location());
        let without_cgroup = self.launch_without_cgroup(shared, &cgroup)?;
        let launch = without_cgroup.as_ref().unwrap_or(&self.launch);
        if self.options.gate {
            record.start_steps = StepText::after_gate(launch);
        }

        let mut resctrl = Guard::new(None, |made: Option<(Directory, Place)>| {
            if let Some((root, place)) = made {
                place.undo(&root);
            }
        });
        self.make_resctrl(&mut resctrl, |planned| {
            record.resctrl = Some(planned);
            entry.write_record(&record)
        })?;
        record.resctrl = resctrl.as_ref().map(|(_, place)| place.clone());
        let mut devices = Guard::new(Moved::default(), Moved::undo);

        if launch.limits_first {
            self.apply_limits(&cgroup).map_err(|error| error.frame(LIMITS_FRAME))?;
        }
        shared.mark("make the cgroup");
        let gate = if self.options.gate { Some(entry.make_gate()?) } else { None };
        let inputs = Inputs {
            stdio: given.stdio(),
            passed: given.passed(),
            preserved: launch.preserved,
            cgroup: cgroup.clone_target().filter(|_| !self.options.joins_cgroup),
            tasks: if self.unit.is_some() {
                Vec::new()
            } else {
                cgroup.entrances(self.options.joins_cgroup)?
            },
            gate: gate.as_ref().map(AsFd::as_fd),
            target: None,
            privileged: shared.host.is_privileged(),
            timings: shared.timings.as_ref(),
        };
        let mut child =
            launch::spawn(launch, &inputs, head_start).map_err(|error| cgroup.explain_clone(error))?;
        record.set_hold(child.hold());
        let privileged = inputs.privileged;
        drop(inputs);
        let mut lane = Lane {
            plan: self,
            privileged,
            // Root without the right to it has the container in a user namespace, as a user has.
            filters_devices: privileged
                && (!self.spec.namespaces.makes(Kind::User) || shared.host.may_load_programs()),
            cgroup: &mut cgroup,
            starting: starting.as_mut(),
            made_unit: &mut made_unit,
            resctrl: &resctrl,
            devices: &mut devices,
            entry: &entry,
            record: &mut record,
            prepared: None,
            exits: shared.exits.as_ref(),
        };
        launch::run(launch, &mut child, &mut lane).map_err(|error| {
            let error = lane.cgroup.explain_clone(error);
            lane.cgroup.explain_memory(None, error)
        })?;
        // Other runtimes load the filter in `create`: agents know an init by this status.
        let receiver = Receiver::new(&self.spec, || State::new(&record, Status::Creating));
        if let (Some(_), Some(receiver)) = (child.hold(), &receiver) {
            child.expect_handed_over(receiver)?;
            shared.mark("hand over the seccomp listener");
        }
        if !self.options.gate {
            devices.share();
            child.expect_executed(receiver.as_ref()).map_err(|error| cgroup.explain_memory(None, error))?;
            shared.mark("the program is executed");
            let state = State::new(&record, Status::Running);
            launch::run_hooks(&self.spec.hooks.poststart, &state, shared.exits.as_ref())?;
        }
        let init = child.keep()?;
        let identity = record.init.filter(|identity| identity.pid == init.pid);
        let identity = identity.map_or_else(|| Identity::of(init.pid), Ok)?;
        let init = Process::new(init, self.warnings_after(&cgroup), identity, shared.exits.clone());
        devices.keep();
        resctrl.keep();
        cgroup.keep();
        made_unit.keep();
        drop::<Lock>(lock);
        Ok((entry.keep(), init))
    }

    /// What is known only when there is a cgroup or none.
    fn warnings_after(&self, cgroup: &Cgroup) -> Vec<String> {
        if !cgroup.is_none() || self.spec.namespaces.makes(Kind::Pid) {
            return Vec::new();
        }
        vec![
            "the container has no cgroup and no PID namespace of its own: not all of its processes can be \
             ended with it. Such configuration is strongly discouraged"
                .to_owned(),
        ]
    }

    /// The plan of a container that its user may not give a cgroup: it stays in the runtime's, and
    /// that is what its cgroup mount shows.
    fn launch_without_cgroup(&self, shared: &Shared, cgroup: &Cgroup) -> Result<Option<LaunchPlan>> {
        if !cgroup.is_none() || self.cgroup.is_none() || self.unit.is_some() {
            return Ok(None);
        }
        let own = Hierarchies::own_location()?;
        launch_plan(shared, &self.id, &self.bundle, &self.spec, &self.options, Some(own)).map(Some)
    }

    /// The connection to systemd, for a container whose cgroup that makes.
    pub(in crate::container) fn starting(&self) -> Result<Option<Starting<'_>>> {
        match (&self.unit, &self.hierarchies) {
            (Some(plan), Some(hierarchies)) => {
                Starting::connect(plan, self.cgroup.as_ref(), hierarchies).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Makes the cgroup; that of a unit is made later, around the init.
    pub(super) fn make_cgroup(&self) -> Result<Cgroup> {
        match (&self.hierarchies, &self.cgroup) {
            (Some(hierarchies), Some(plan)) if self.unit.is_none() => Cgroup::create(hierarchies, plan)
                .map_err(|error| error.frame("unable to apply cgroup configuration")),
            _ => Ok(Cgroup::none()),
        }
    }

    /// The class of service, if the configuration wants one, which is recorded first; what was made is in
    /// `made`, also when this fails.
    fn make_resctrl(
        &self,
        made: &mut Option<(Directory, Place)>,
        record: impl FnOnce(Place) -> Result<()>,
    ) -> Result<()> {
        let Some(wanted) = &self.spec.intel_rdt else { return Ok(()) };
        let id = self.id.as_str();
        let (root, place) = made.insert((resctrl::mounted()?, Place::new(wanted, id)));
        record(place.planned(root, wanted, id))?;
        place.make(root, wanted, id)
    }

    pub(super) fn record(&self) -> Record {
        Record {
            schema: SCHEMA,
            id: self.id.to_string(),
            init: None,
            bundle: self.bundle.to_string_lossy().into_owned(),
            rootfs: self.bundle.join(&self.spec.root).to_string_lossy().into_owned(),
            created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
            owner: nix::unistd::geteuid().as_raw(),
            annotations: self.spec.annotations.clone(),
            cgroup: location(self.cgroup.as_ref().filter(|_| self.unit.is_none())),
            unit: self.unit.as_ref().map(|plan| plan.unit().clone()),
            resctrl: None,
            poststop: !self.spec.hooks.poststop.is_empty(),
            no_new_keyring: self.options.no_new_keyring,
            own_pid_namespace: Some(self.spec.namespaces.makes(Kind::Pid)),
            leaf: self.delegation.leaf().map(str::to_owned),
            hold: None,
            added_mounts: Vec::new(),
            start_steps: Vec::new(),
        }
    }

    /// Writes the limits, and makes the inner cgroup of a delegated one.
    fn apply_limits(&self, cgroup: &Cgroup) -> Result<()> {
        let Some(plan) = &self.cgroup else { return Ok(()) };
        cgroup.apply(plan)?;
        if cgroup.is_none() { Ok(()) } else { self.delegation.make(cgroup) }
    }

    /// With the devices controller of v1 the limits have had the rules already. Without privilege
    /// there are none: such a container can make no device node, and has no more access to those of
    /// the host than its user.
    pub(super) fn attach_devices(&self, cgroup: &Cgroup, privileged: bool) -> Result<()> {
        let by_v1 = cgroup.location().place_of("devices").is_some();
        match cgroup.directory() {
            Some(directory) if !by_v1 && privileged && !self.devices.allows_everything() => {
                self.devices.attach(directory)
            }
            _ => Ok(()),
        }
    }

    fn run_poststop(&self, shared: &Shared, error: Error) -> Error {
        let state = State::new(&self.record(), Status::Stopped);
        match launch::run_poststop(&self.spec.hooks.poststop, &state, shared.exits.as_ref()) {
            Ok(()) => error,
            Err(second) => error.with_hint(format!("a poststop hook failed too: {second}")),
        }
    }
}

/// The error of a launch in runc's frame. Without one are an id that is taken, and a poststart hook,
/// which comes after it.
fn in_start(error: Error) -> Error {
    match (error.kind(), error.launch_frame()) {
        (ErrorKind::AlreadyExists, _) | (ErrorKind::Hook, None) => error,
        _ => error.frame(START_FRAME),
    }
}

impl std::fmt::Display for CreatePlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.launch.fmt(f)
    }
}
