//! What is measured. A case has columns; one trial of a subject gives a number for each.

mod cost;
mod engine;
mod scale;

use std::fs;
use std::time::Duration;

pub(crate) use scale::Crowd;

use crate::bundle::{Config, Workspace};
use crate::command::Gauge;
use crate::container::Container;
use crate::failure::Failure;
use crate::floor::Floor;
use crate::subject::Subject;
use crate::view::CGROUPS;

/// One row of numbers, in the order of the case's columns; None where the subject has no such number.
pub(crate) type Row = Vec<Option<f64>>;

/// Prepared for one subject: each call is one trial. Dropping it cleans up.
pub(crate) type Trial<'a> = Box<dyn FnMut() -> Result<Row, Failure> + 'a>;

/// A number that a trial gives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
}

/// One comparison.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) columns: &'static [Column],
    /// The floor program can do it.
    pub(crate) has_floor: bool,
    /// More runs would say nothing new.
    pub(crate) most_runs: usize,
    pub(crate) prepare: for<'a> fn(&'a Workspace, &'a Subject) -> Result<Trial<'a>, Failure>,
    /// How many containers live beside, made by this project's runtime.
    pub(crate) crowd: usize,
    /// It takes minutes: only when it is asked for.
    pub(crate) slow: bool,
    /// Before each trial, so that nothing of the one before is left, such as what the kernel does after a grace period.
    pub(crate) pause: Duration,
    /// Only for the library that this harness is linked with.
    pub(crate) of_library: bool,
}

impl Case {
    /// One that every comparison has, with a floor.
    const fn new(
        name: &'static str,
        about: &'static str,
        columns: &'static [Column],
        prepare: for<'a> fn(&'a Workspace, &'a Subject) -> Result<Trial<'a>, Failure>,
    ) -> Self {
        Self {
            name,
            about,
            columns,
            has_floor: true,
            most_runs: usize::MAX,
            prepare,
            crowd: 0,
            slow: false,
            pause: Duration::ZERO,
            of_library: false,
        }
    }

    const fn without_floor(self) -> Self {
        Self { has_floor: false, ..self }
    }

    const fn at_most(self, most_runs: usize) -> Self {
        Self { most_runs, ..self }
    }

    const fn in_a_crowd(self, crowd: usize) -> Self {
        Self { crowd, ..self }
    }

    /// With the time between the trials that engines leave.
    const fn spaced(self) -> Self {
        Self { pause: Duration::from_millis(200), ..self }
    }

    const fn of_library(self) -> Self {
        Self { of_library: true, ..self }
    }

    const fn slow(self) -> Self {
        Self { slow: true, ..self }
    }
}

/// In the order in which they are run.
pub(crate) const ALL: &[Case] = &[
    Case::new("run-true", "`run` of `true` with the default configuration, whole", &[ms("run")], run_true),
    Case::new(
        "run-docker",
        "`run` of `true` with Docker's configuration: seccomp profile, device rules, sysctls",
        &[ms("run")],
        run_docker,
    ),
    Case::new(
        "run-containerd",
        "`run` of `true` with the configuration of containerd's ctr",
        &[ms("run")],
        |workspace, subject| run(workspace, subject, "run-containerd", Config::Containerd),
    )
    .without_floor(),
    Case::new(
        "run-podman",
        "`run` of `true` with Podman's configuration: seccomp profile, device rules",
        &[ms("run")],
        |workspace, subject| run(workspace, subject, "run-podman", Config::Podman),
    )
    .without_floor(),
    Case::new(
        "create-start-delete",
        "the life of a container whose program sleeps until it is killed, command by command",
        &[ms("create"), ms("start"), ms("kill"), ms("delete"), ms("sum")],
        create_start_delete,
    )
    .without_floor(),
    Case::new("exec-true", "`exec` of `true` into a running container", &[ms("exec")], exec_true),
    Case::new("run-spaced", "`run-true` with 200 ms between the runs", &[ms("run")], run_spaced)
    .at_most(20)
    .spaced(),
    Case::new("exec-spaced", "`exec-true` with 200 ms between the runs", &[ms("exec")], exec_true)
        .at_most(20)
        .spaced(),
    Case::new(
        "engine-run",
        "create, start and wait of `true` by the library inside this process; it again with 2 GiB of touched memory, \
         and with 19,800 descriptors",
        &[ms("run"), ms("2 GiB"), ms("descriptors")],
        engine::run,
    )
    .of_library(),
    Case::new("exec-10", "10 of them at once, until the last has ended", &[ms("all")], scale::exec_10)
        .without_floor(),
    Case::new("run-50", "50 `run` of `true` at once, until the last has ended", &[ms("all")], scale::run_50)
        .at_most(10),
    Case::new("mounts-10", "`run-true` with 10 bind mounts more", &[ms("run")], scale::mounts::<10>)
        .without_floor(),
    Case::new("mounts-100", "`run-true` with 100 bind mounts more", &[ms("run")], scale::mounts::<100>)
        .without_floor(),
    Case::new("mounts-1000", "`run-true` with 1000 bind mounts more", &[ms("run")], scale::mounts::<1000>)
        .without_floor()
        .at_most(10)
        .slow(),
    Case::new("live-10", "`run-true` beside 10 live containers", &[ms("run")], run_true).in_a_crowd(10),
    Case::new("live-200", "`run-true` beside 200 live containers", &[ms("run")], run_true)
        .in_a_crowd(200)
        .slow(),
    Case::new("live-1000", "`run-true` beside 1000 live containers", &[ms("run")], run_true)
        .in_a_crowd(1000)
        .slow(),
    Case::new(
        "cost",
        "what `run` of `true` takes from the machine: page faults and processor time of the runtime and the \
         container; system calls of both (by perf); with Docker's configuration too",
        &[
            count("faults"),
            ms("processor"),
            count("calls"),
            count("Docker faults"),
            ms("Docker processor"),
            count("Docker calls"),
        ],
        cost::run,
    )
    .at_most(10),
    Case::new(
        "calls",
        "system calls of each command and of what it starts, until it ends (by perf)",
        &[count("create"), count("start"), count("exec"), count("kill"), count("delete")],
        cost::calls,
    )
    .without_floor()
    .at_most(3),
    Case::new(
        "instructions",
        "instructions outside of the kernel for `run` of `true` (by perf; few virtual machines count them)",
        &[count("run")],
        cost::instructions,
    )
    .at_most(3),
    Case::new(
        "peak-memory",
        "largest resident set of the runtime's processes during each command (shared pages count)",
        &[kib("run"), kib("create"), kib("start"), kib("exec"), kib("kill"), kib("delete")],
        peak_memory,
    )
    .at_most(10),
    Case::new(
        "waiting-init",
        "the init of a created container that was not started: what it costs while it waits",
        &[kib("PSS"), count("threads"), count("descriptors")],
        waiting_init,
    )
    .without_floor()
    .at_most(10),
    Case::new(
        "size",
        "the program's file; shared libraries that it loads are not in it",
        &[kib("file")],
        size,
    )
    .without_floor()
    .at_most(1),
];

const fn ms(name: &'static str) -> Column {
    Column { name, unit: "ms" }
}

const fn kib(name: &'static str) -> Column {
    Column { name, unit: "KiB" }
}

const fn count(name: &'static str) -> Column {
    Column { name, unit: "" }
}

/// Lasts longer than any comparison.
const SLEEP: &[&str] = &["sleep", "1000000"];
const TRUE: &[&str] = &["true"];

fn run_true<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    if subject.is_floor {
        return Ok(Box::new(|| Ok(vec![Some(run_floor(workspace, subject, Floor::Default, Gauge::Time)?)])));
    }
    run(workspace, subject, "run-true", Config::Default)
}

fn run_spaced<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    if subject.is_floor {
        return run_true(workspace, subject);
    }
    run(workspace, subject, "run-spaced", Config::Default)
}

fn run_docker<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    if subject.is_floor {
        return Ok(Box::new(|| Ok(vec![Some(run_floor(workspace, subject, Floor::Docker, Gauge::Time)?)])));
    }
    run(workspace, subject, "run-docker", Config::Docker)
}

fn run<'a>(
    workspace: &'a Workspace,
    subject: &'a Subject,
    case: &str,
    config: Config,
) -> Result<Trial<'a>, Failure> {
    let mut container = Container::prepare(workspace, subject, case, config, TRUE)?;
    Ok(Box::new(move || Ok(vec![Some(container.run(Gauge::Time)?)])))
}

fn run_floor(workspace: &Workspace, subject: &Subject, floor: Floor, gauge: Gauge) -> Result<f64, Failure> {
    let cgroup = format!("{CGROUPS}{}", workspace.cgroup("floor"));
    let rootfs = workspace.rootfs();
    let arguments = [&*rootfs.to_string_lossy(), &cgroup, "/bin/true"];
    gauge.call(&floor.program(workspace), &arguments, &subject.log)
}

fn create_start_delete<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    let mut container = Container::prepare(workspace, subject, "life", Config::Default, SLEEP)?;
    Ok(Box::new(move || {
        let gauge = Gauge::Time;
        let mut times = vec![container.create(gauge)?, container.start(gauge)?, container.kill(gauge)?];
        container.wait()?; // not in the sum: the kernel's time to take the namespaces down
        times.push(container.delete(gauge)?);
        times.push(times.iter().sum());
        Ok(times.into_iter().map(Some).collect())
    }))
}

fn exec_true<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    let maker = subject.maker.as_deref().unwrap_or(subject);
    let mut container = Container::prepare(workspace, maker, "exec-true", Config::Default, SLEEP)?;
    container.create(Gauge::Time)?;
    container.start(Gauge::Time)?;
    if subject.is_floor {
        let pid = container.pid()?.to_string();
        let cgroup = format!("{CGROUPS}{}", workspace.cgroup(container.id()));
        let program = Floor::Exec.program(workspace);
        return Ok(Box::new(move || {
            // The container lives for as long as the trials.
            let _container = &container;
            let time = Gauge::Time.call(&program, &[&pid, &cgroup, "/bin/true"], &subject.log)?;
            Ok(vec![Some(time)])
        }));
    }
    Ok(Box::new(move || Ok(vec![Some(container.exec(Gauge::Time, "true")?)])))
}

fn peak_memory<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    let gauge = Gauge::PeakMemory;
    if subject.is_floor {
        return Ok(Box::new(move || {
            let run = run_floor(workspace, subject, Floor::Default, gauge)?;
            Ok(vec![Some(run), None, None, None, None, None])
        }));
    }
    let mut runs = Container::prepare(workspace, subject, "peak-run", Config::Default, TRUE)?;
    let mut lives = Container::prepare(workspace, subject, "peak-life", Config::Default, SLEEP)?;
    Ok(Box::new(move || {
        let mut sizes = vec![runs.run(gauge)?, lives.create(gauge)?, lives.start(gauge)?];
        sizes.push(lives.exec(gauge, "true")?);
        sizes.push(lives.kill(gauge)?);
        lives.wait()?;
        sizes.push(lives.delete(gauge)?);
        Ok(sizes.into_iter().map(Some).collect())
    }))
}

fn waiting_init<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    let mut container = Container::prepare(workspace, subject, "waiting-init", Config::Default, SLEEP)?;
    Ok(Box::new(move || {
        container.create(Gauge::Time)?;
        let pid = container.pid()?;
        let row = vec![
            field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")?,
            field(&format!("/proc/{pid}/status"), "Threads:")?,
            entries(&format!("/proc/{pid}/fd"))?,
        ];
        container.kill(Gauge::Time)?;
        container.wait()?;
        container.delete(Gauge::Time)?;
        Ok(row.into_iter().map(Some).collect())
    }))
}

fn size<'a>(_: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    Ok(Box::new(|| {
        let metadata = fs::metadata(&subject.program)
            .map_err(Failure::during(format!("the size of {:?}", subject.program)))?;
        Ok(vec![Some(metadata.len() as f64 / 1024.0)])
    }))
}

/// The number after a name at the start of a line; in these files, sizes are in KiB.
fn field(path: &str, name: &str) -> Result<f64, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::during(format!("read {path}")))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| Failure::new(format!("{path} has no {name}")))
}

fn entries(path: &str) -> Result<f64, Failure> {
    fs::read_dir(path).map(|entries| entries.count() as f64).map_err(Failure::during(format!("list {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = ALL.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn fields_of_proc_are_found() {
        assert!(field("/proc/self/status", "Threads:").expect("a number") >= 1.0);
        assert!(field("/proc/self/status", "Nothing:").is_err());
    }
}
