//! What the runtime does while the init carries its plan out.

use std::os::fd::OwnedFd;

use super::super::unit::Starting;
use super::CreatePlan;
use crate::cgroup::systemd::Unit;
use crate::cgroup::{Cgroup, Directory, Mode};
use crate::error::Result;
use crate::exits::ExitSource;
use crate::launch::{self, Moved, ParentLane};
use crate::resctrl::Place;
use crate::spec::Kind;
use crate::state::{Entry, Identity, Record, State, Status};
use runtime_init::ops::Point;

/// The parent lane of a create.
pub(super) struct Lane<'a> {
    pub(super) plan: &'a CreatePlan,
    pub(super) privileged: bool,
    /// There is to be a device program.
    pub(super) filters_devices: bool,
    pub(super) cgroup: &'a mut Cgroup,
    pub(super) starting: Option<&'a mut Starting<'a>>,
    pub(super) made_unit: &'a mut Option<Unit>,
    pub(super) resctrl: &'a Option<(Directory, Place)>,
    pub(super) devices: &'a mut Moved,
    pub(super) entry: &'a Entry,
    pub(super) record: &'a mut Record,
    /// The pid in the state that is written and not yet published.
    pub(super) prepared: Option<i32>,
    pub(super) exits: Option<&'a ExitSource>,
}

impl ParentLane for Lane<'_> {
    fn start_unit(&mut self, pid: i32) -> Result<()> {
        let (Some(starting), Some(plan)) = (&mut self.starting, &self.plan.cgroup) else { return Ok(()) };
        let location = starting.start(pid, self.made_unit)?;
        if location.mode != Mode::Unified {
            // What systemd does not know is to be found by `delete --force` too.
            self.record.cgroup = Some(location.clone());
            self.entry.write_record(self.record)?;
        }
        *self.cgroup = starting.open(&location, plan)?;
        self.record.cgroup = Some(self.cgroup.location());
        Ok(())
    }

    fn join_cgroup(&mut self, pid: i32) -> Result<()> {
        match &self.starting {
            Some(starting) => starting.enter(self.cgroup, pid),
            // It has entered its cgroups itself.
            None => Ok(()),
        }
    }

    fn apply_limits(&mut self) -> Result<()> {
        self.plan.apply_limits(self.cgroup)
    }

    fn attach_devices(&mut self) -> Result<()> {
        self.plan.attach_devices(self.cgroup, self.filters_devices)
    }

    fn join_resctrl(&mut self, pid: i32) -> Result<()> {
        self.resctrl.as_ref().map_or(Ok(()), |(root, place)| place.join(root, pid))
    }

    fn privileged(&self) -> bool {
        self.privileged
    }

    /// The child still mounts, and waits when it is done: the state with its pid is written meanwhile.
    fn prepare(&mut self, point: Point, pid: i32) -> Result<()> {
        if point != Point::Created {
            return Ok(());
        }
        // Why a child is gone is in what it has sent, which is read first.
        let Ok(init) = Identity::of(pid) else { return Ok(()) };
        self.record.init = Some(init);
        self.entry.prepare_record(self.record)?;
        self.prepared = Some(init.pid);
        Ok(())
    }

    fn reached(&mut self, point: Point, pid: i32) -> Result<Vec<OwnedFd>> {
        match point {
            Point::CgroupJoined | Point::IdMaps => Ok(Vec::new()),
            Point::NetworkDevices => {
                let spec = &self.plan.spec;
                let joined = spec.namespaces.joins(Kind::Network);
                launch::give_net_devices(pid, joined, &spec.net_devices, self.devices)?;
                Ok(Vec::new())
            }
            Point::RuntimeHooks => self.run_hooks(pid),
            Point::Created => {
                if !self.cgroup.is_none() {
                    self.plan.delegation.enter(self.cgroup, pid)?;
                }
                // On the way into a PID namespace that it joined, the child has become another process.
                if self.prepared != Some(pid) {
                    self.record.init = Some(Identity::of(pid)?);
                    self.entry.prepare_record(self.record)?;
                }
                self.entry.publish_record()?;
                match self.plan.spec.hooks.start_container.as_slice() {
                    [] => Ok(Vec::new()),
                    _ => launch::hook_files(&State::new(self.record, Status::Created)),
                }
            }
        }
    }
}

impl Lane<'_> {
    /// prestart and createRuntime; hooks of the child lane get the state, and files for what they print.
    fn run_hooks(&mut self, pid: i32) -> Result<Vec<OwnedFd>> {
        self.record.init = Some(Identity::of(pid)?);
        let hooks = &self.plan.spec.hooks;
        let state = State::new(self.record, Status::Creating);
        launch::run_hooks(&hooks.prestart, &state, self.exits)?;
        launch::run_hooks(&hooks.create_runtime, &state, self.exits)?;
        match hooks.create_container.as_slice() {
            [] => Ok(Vec::new()),
            _ => launch::hook_files(&state),
        }
    }
}
