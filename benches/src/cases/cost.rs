//! What a command takes from the machine, in numbers that a busy machine does not change.

use super::{SLEEP, TRUE, Trial, run_floor};
use crate::bundle::{Config, Workspace};
use crate::command::Gauge;
use crate::container::Container;
use crate::failure::Failure;
use crate::floor::Floor;
use crate::subject::Subject;

const GAUGES: [Gauge; 3] = [Gauge::Faults, Gauge::Processor, Gauge::SystemCalls];

pub(super) fn run<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    if subject.is_floor {
        return Ok(Box::new(move || {
            let floor = |floor| move |gauge| optional(run_floor(workspace, subject, floor, gauge), gauge);
            let default = GAUGES.into_iter().map(floor(Floor::Default));
            default.chain(GAUGES.into_iter().map(floor(Floor::Docker))).collect()
        }));
    }
    let mut containers = [
        Container::prepare(workspace, subject, "cost", Config::Default, TRUE)?,
        Container::prepare(workspace, subject, "cost-docker", Config::Docker, TRUE)?,
    ];
    Ok(Box::new(move || {
        let mut row = Vec::new();
        for container in &mut containers {
            for gauge in GAUGES {
                row.push(optional(container.run(gauge), gauge)?);
            }
        }
        Ok(row)
    }))
}

/// A machine without perf still has the other numbers.
fn optional(value: Result<f64, Failure>, gauge: Gauge) -> Result<Option<f64>, Failure> {
    match (value, gauge) {
        (Ok(value), _) => Ok(Some(value)),
        (Err(_), Gauge::SystemCalls) => Ok(None),
        (Err(failure), _) => Err(failure),
    }
}

pub(super) fn calls<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    let gauge = Gauge::SystemCalls;
    let mut container = Container::prepare(workspace, subject, "calls", Config::Default, SLEEP)?;
    Ok(Box::new(move || {
        let mut numbers = vec![container.create(gauge)?, container.start(gauge)?];
        numbers.push(container.exec(gauge, "true")?);
        numbers.push(container.kill(gauge)?);
        container.wait()?;
        numbers.push(container.delete(gauge)?);
        Ok(numbers.into_iter().map(Some).collect())
    }))
}

pub(super) fn instructions<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    let gauge = Gauge::Instructions;
    if subject.is_floor {
        return Ok(Box::new(move || Ok(vec![Some(run_floor(workspace, subject, Floor::Default, gauge)?)])));
    }
    let mut container = Container::prepare(workspace, subject, "instructions", Config::Default, TRUE)?;
    Ok(Box::new(move || Ok(vec![Some(container.run(gauge)?)])))
}
