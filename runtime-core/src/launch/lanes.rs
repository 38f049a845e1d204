//! The caller's lane: what the caller does while the init makes its root.

use std::os::fd::{AsRawFd, OwnedFd};

use super::failure::{NETWORK_FRAME, init_frame, scheduler_error};
use super::{Child, idmap};
use crate::error::{Call, Error, Result};
use crate::plan::{LaunchPlan, ParentOp};
use crate::sys::process;
use runtime_init::ops::Point;

/// What the parent lane needs from the container that is being made.
pub(crate) trait ParentLane {
    /// Makes the systemd unit with the init in it, if the plan says so.
    fn start_unit(&mut self, _pid: i32) -> Result<()> {
        Ok(())
    }
    /// Puts the init into cgroups of a service manager.
    fn join_cgroup(&mut self, pid: i32) -> Result<()>;
    /// Writes the limits.
    fn apply_limits(&mut self) -> Result<()>;
    /// Loads and attaches the device program.
    fn attach_devices(&mut self) -> Result<()>;
    /// Puts the process into its class of service.
    fn join_resctrl(&mut self, pid: i32) -> Result<()>;
    /// Whether the caller may write any id map itself.
    fn privileged(&self) -> bool;
    /// Does what belongs to a point and need not wait until the child has reached it.
    fn prepare(&mut self, _point: Point, _pid: i32) -> Result<()> {
        Ok(())
    }
    /// Does what has to be done before the program of an exec runs.
    fn before_program(&mut self, _child: &mut Child<'_>) -> Result<()> {
        Ok(())
    }
    /// Does what belongs to a point (hooks); the descriptors go to the child, one by one.
    fn reached(&mut self, point: Point, pid: i32) -> Result<Vec<OwnedFd>>;
}

/// Runs the parent lane to its end.
pub(crate) fn run(plan: &LaunchPlan, child: &mut Child<'_>, lane: &mut dyn ParentLane) -> Result<()> {
    plan.parent.iter().try_for_each(|op| {
        step(plan, op, child, lane).map_err(|error| {
            let error = if is_callers(op) { child.first_reason(error) } else { error };
            // What the init said has its own frame, and its clone is before all of them.
            match (error.launch_frame(), frame(plan, op)) {
                (None, Some(frame)) if !error.is_of(Call::Clone) => error.frame(frame),
                _ => error,
            }
        })?;
        child.mark(|| op.explain());
        Ok(())
    })
}

/// Whether the caller does it alone, without a word from the init.
fn is_callers(op: &ParentOp) -> bool {
    match op {
        ParentOp::StartUnit
        | ParentOp::JoinCgroup
        | ParentOp::ApplyLimits
        | ParentOp::AttachDevices
        | ParentOp::JoinResctrl
        | ParentOp::Rlimit { .. }
        | ParentOp::OomScoreAdj { .. }
        | ParentOp::Scheduler { .. } => true,
        ParentOp::Follow | ParentOp::LetRun | ParentOp::Answer(_) => false,
    }
}

/// Where a failure belongs to, in runc's words.
fn frame(plan: &LaunchPlan, op: &ParentOp) -> Option<String> {
    let in_init = |what: &str| format!("{}: {what}", init_frame(plan, None));
    match op {
        ParentOp::StartUnit | ParentOp::JoinCgroup => Some("unable to apply cgroup configuration".to_owned()),
        ParentOp::ApplyLimits | ParentOp::AttachDevices => {
            Some(in_init("error setting cgroup config for procHooks process"))
        }
        ParentOp::JoinResctrl => Some("unable to apply Intel RDT configuration".to_owned()),
        ParentOp::Answer(Point::NetworkDevices) => Some(NETWORK_FRAME.to_owned()),
        ParentOp::Rlimit { origin, .. } | ParentOp::Scheduler { origin, .. } => {
            Some(init_frame(plan, Some(origin)))
        }
        ParentOp::OomScoreAdj { .. } => None,
        ParentOp::Follow | ParentOp::LetRun | ParentOp::Answer(_) => Some(init_frame(plan, None)),
    }
}

fn step(plan: &LaunchPlan, op: &ParentOp, child: &mut Child<'_>, lane: &mut dyn ParentLane) -> Result<()> {
    match op {
        ParentOp::StartUnit => lane.start_unit(child.pid()?)?,
        ParentOp::JoinCgroup => lane.join_cgroup(child.pid()?)?,
        ParentOp::ApplyLimits => lane.apply_limits()?,
        ParentOp::AttachDevices => lane.attach_devices()?,
        ParentOp::JoinResctrl => lane.join_resctrl(child.pid()?)?,
        ParentOp::Rlimit { resource, soft, hard, origin } => {
            process::set_limit(child.pid()?, *resource, (*soft, *hard)).map_err(|errno| {
                Error::system(format!("set resource limit {resource} to {soft}:{hard}"), errno)
                    .origin(origin.clone())
            })?;
        }
        ParentOp::OomScoreAdj { value, origin } => {
            let path = format!("/proc/{}/oom_score_adj", child.pid()?);
            std::fs::write(&path, value.to_string()).map_err(|error| {
                Error::io(format!("write {value} to {path}"), &error).origin(origin.clone())
            })?;
        }
        ParentOp::Follow => child.expect_reports()?,
        ParentOp::Scheduler { attributes, origin } => {
            process::set_scheduler(child.pid()?, attributes).map_err(|errno| {
                scheduler_error(Error::system(op.explain(), errno), errno).origin(origin.clone())
            })?;
        }
        ParentOp::LetRun => {
            child.expect_reports()?;
            child.finish_stage()?;
            lane.before_program(child)?;
            child.release(&[])?;
        }
        ParentOp::Answer(Point::IdMaps) => {
            child.expect(Point::IdMaps)?;
            if let Some(maps) = &plan.id_maps {
                idmap::write(child.pid()?, maps, lane.privileged())?;
            }
            child.release(&[])?;
        }
        ParentOp::Answer(point) => {
            lane.prepare(*point, child.pid()?)?;
            child.expect(*point)?;
            if *point == Point::Created {
                child.finish_stage()?;
            }
            let given = lane.reached(*point, child.pid()?)?;
            child.release(&[])?;
            for fd in given {
                child.release(&[fd.as_raw_fd()])?;
            }
        }
    }
    Ok(())
}
