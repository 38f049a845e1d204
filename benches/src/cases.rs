//! What is measured. A case has columns; one trial of a subject gives a number for each.

use std::fs;

use crate::bundle::{Config, Workspace};
use crate::command::Gauge;
use crate::container::Container;
use crate::failure::Failure;
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
}

/// In the order in which they are run.
pub(crate) const ALL: &[Case] = &[
    Case {
        name: "run-true",
        about: "`run` of `true` with the default configuration, whole",
        columns: &[ms("run")],
        has_floor: true,
        most_runs: usize::MAX,
        prepare: run_true,
    },
    Case {
        name: "run-docker",
        about: "`run` of `true` with Docker's configuration: seccomp profile, device rules, sysctls",
        columns: &[ms("run")],
        has_floor: false,
        most_runs: usize::MAX,
        prepare: run_docker,
    },
    Case {
        name: "create-start-delete",
        about: "the life of a container whose program sleeps until it is killed, command by command",
        columns: &[ms("create"), ms("start"), ms("kill"), ms("delete"), ms("sum")],
        has_floor: false,
        most_runs: usize::MAX,
        prepare: create_start_delete,
    },
    Case {
        name: "exec-true",
        about: "`exec` of `true` into a running container",
        columns: &[ms("exec")],
        has_floor: false,
        most_runs: usize::MAX,
        prepare: exec_true,
    },
    Case {
        name: "peak-memory",
        about: "largest resident set of the runtime's processes during each command (shared pages count)",
        columns: &[kib("run"), kib("create"), kib("start"), kib("exec"), kib("kill"), kib("delete")],
        has_floor: true,
        most_runs: 10,
        prepare: peak_memory,
    },
    Case {
        name: "waiting-init",
        about: "the init of a created container that was not started: what it costs while it waits",
        columns: &[kib("PSS"), count("threads"), count("descriptors")],
        has_floor: false,
        most_runs: 10,
        prepare: waiting_init,
    },
    Case {
        name: "size",
        about: "the program's file; shared libraries that it loads are not in it",
        columns: &[kib("file")],
        has_floor: false,
        most_runs: 1,
        prepare: size,
    },
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
        return Ok(Box::new(|| Ok(vec![Some(run_floor(workspace, subject, Gauge::Time)?)])));
    }
    run(workspace, subject, "run-true", Config::Default)
}

fn run_docker<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
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

fn run_floor(workspace: &Workspace, subject: &Subject, gauge: Gauge) -> Result<f64, Failure> {
    let cgroup = format!("{CGROUPS}{}", workspace.cgroup("floor"));
    gauge.call(&subject.program, &[&workspace.rootfs().to_string_lossy(), &cgroup, "/bin/true"], &subject.log)
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
    let mut container = Container::prepare(workspace, subject, "exec-true", Config::Default, SLEEP)?;
    container.create(Gauge::Time)?;
    container.start(Gauge::Time)?;
    Ok(Box::new(move || Ok(vec![Some(container.exec(Gauge::Time, "true")?)])))
}

fn peak_memory<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    let gauge = Gauge::PeakMemory;
    if subject.is_floor {
        return Ok(Box::new(move || {
            let run = run_floor(workspace, subject, gauge)?;
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
