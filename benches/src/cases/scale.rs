//! Many at once, and much of one thing.

use super::{Row, SLEEP, TRUE, Trial, run};
use crate::bundle::{Config, Workspace};
use crate::command::{Gauge, at_once};
use crate::container::Container;
use crate::failure::Failure;
use crate::floor::Floor;
use crate::subject::Subject;
use crate::view::CGROUPS;

const EXECS: usize = 10;
const RUNS: usize = 50;

pub(super) fn exec_10<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    let mut container = Container::prepare(workspace, subject, "exec-10", Config::Default, SLEEP)?;
    container.create(Gauge::Time)?;
    container.start(Gauge::Time)?;
    Ok(Box::new(move || Ok(vec![Some(container.exec_at_once(EXECS, "true")?)])))
}

pub(super) fn run_50<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    if subject.is_floor {
        let cgroups: Vec<_> = (0..RUNS)
            .map(|number| format!("{CGROUPS}{}", workspace.cgroup(&format!("floor-{number}"))))
            .collect();
        let rootfs = workspace.rootfs().to_string_lossy().into_owned();
        let program = Floor::Default.program(workspace);
        return Ok(Box::new(move || {
            let arguments = |number: usize| vec![rootfs.as_str(), cgroups[number].as_str(), "/bin/true"];
            Ok(vec![Some(at_once(&program, RUNS, arguments, &subject.log)?)])
        }));
    }
    let containers = (0..RUNS)
        .map(|number| {
            Container::prepare(workspace, subject, &format!("run-50-{number}"), Config::Default, TRUE)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let state = subject.state.to_string_lossy().into_owned();
    let bundles: Vec<_> =
        containers.iter().map(|container| container.bundle().to_string_lossy().into_owned()).collect();
    Ok(Box::new(move || -> Result<Row, Failure> {
        let arguments = |number: usize| {
            vec![
                "--root",
                state.as_str(),
                "run",
                "--bundle",
                bundles[number].as_str(),
                containers[number].id(),
            ]
        };
        Ok(vec![Some(at_once(&subject.program, RUNS, arguments, &subject.log)?)])
    }))
}

pub(super) fn mounts<'a, const COUNT: usize>(
    workspace: &'a Workspace,
    subject: &'a Subject,
) -> Result<Trial<'a>, Failure> {
    run(workspace, subject, &format!("mounts-{COUNT}"), Config::Mounts(COUNT))
}

/// Containers of one runtime that live while others are measured. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct Crowd<'a>(#[expect(dead_code, reason = "to be dropped")] Vec<Container<'a>>);

impl<'a> Crowd<'a> {
    pub(crate) fn make(workspace: &Workspace, subject: &'a Subject, size: usize) -> Result<Self, Failure> {
        let one = |number| {
            let name = format!("crowd-{number}");
            let mut container = Container::prepare(workspace, subject, &name, Config::Default, SLEEP)?;
            container.create(Gauge::Time)?;
            container.start(Gauge::Time)?;
            Ok(container)
        };
        (0..size).map(one).collect::<Result<_, _>>().map(Self)
    }
}
