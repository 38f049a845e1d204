//! Limits a plain program with all that it starts, and says what it used. No container is needed.
//!
//! ```text
//! cargo run -p limit -- '{"memory": {"limit": 67108864}, "pids": {"limit": 20}}' sh -c 'seq 9'
//! ```
//!
//! The first argument is `linux.resources` of the runtime specification, in JSON; the rest is the
//! program. It runs as root, or as a user to whom a cgroup was delegated (`LIMIT_CGROUP` names one
//! below it, such as `/user.slice/…/user@1000.service/limit`).

#![forbid(unsafe_code)]

use std::error::Error;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use runtime_core::cgroup::{Cgroup, CgroupPlan, Hierarchies};
use runtime_core::spec::parse_resources;

/// The first argument of the second process: it waits for its cgroup, and becomes the program.
const INSIDE: &str = "--inside";

/// How long the end of what the program leaves behind may take.
const LIMIT: Duration = Duration::from_secs(10);

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((first, program)) if first == INSIDE => become_program(program),
        Some((resources, program)) if !program.is_empty() => run(resources, program),
        _ => Err("usage: limit RESOURCES PROGRAM [ARGUMENT...]".into()),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("limit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(resources: &str, program: &[String]) -> Result<u8> {
    let (resources, _) = parse_resources(resources.as_bytes(), "RESOURCES")?;
    let name = format!("limit-{}", std::process::id());
    let path = std::env::var("LIMIT_CGROUP").unwrap_or_else(|_| format!("/{name}"));

    // What the machine has; what is to be written there, computed without touching anything; then
    // the directories. All that is wrong with the limits is told at once.
    let hierarchies = Hierarchies::detect()?;
    let plan = CgroupPlan::compile(hierarchies.view(), Some(&path), &name, &resources)?;
    let cgroup = Cgroup::create(&hierarchies, &plan)?;
    let result = run_in(&cgroup, &plan, program);
    // Also what the program left running ends here.
    cgroup.kill_all()?;
    cgroup.wait_empty(LIMIT)?;
    cgroup.remove()?;
    result
}

fn run_in(cgroup: &Cgroup, plan: &CgroupPlan, program: &[String]) -> Result<u8> {
    cgroup.apply(plan)?;
    let mut child = Command::new(std::env::current_exe()?).arg(INSIDE).args(program).spawn()?;
    let status = match admit(cgroup, &child) {
        Ok(()) => child.wait()?,
        Err(error) => {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
    };
    tell(cgroup, status)?;
    Ok(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1))
}

/// Puts the stopped process into the cgroup and lets it go on.
fn admit(cgroup: &Cgroup, child: &Child) -> Result<()> {
    let pid = Pid::from_raw(child.id().try_into()?);
    match waitpid(pid, Some(WaitPidFlag::WUNTRACED))? {
        WaitStatus::Stopped(..) => {}
        other => return Err(format!("the program did not wait: {other:?}").into()),
    }
    cgroup.attach(pid.as_raw())?;
    Ok(kill(pid, Signal::SIGCONT)?)
}

/// What the second process does: stops until it is in the cgroup.
fn become_program(program: &[String]) -> Result<u8> {
    let (name, arguments) = program.split_first().ok_or("no program")?;
    raise(Signal::SIGSTOP)?;
    Err(format!("{name}: {}", Command::new(name).args(arguments).exec()).into())
}

/// Says how the program ended, and what it and its children have used.
fn tell(cgroup: &Cgroup, status: ExitStatus) -> Result<()> {
    let used = cgroup.statistics()?;
    match status.signal() {
        Some(signal) => eprintln!("ended by signal {signal}"),
        None => eprintln!("exit code {}", status.code().unwrap_or_default()),
    }
    eprintln!("cpu {} ms", used.cpu.usage.total / 1_000_000);
    eprintln!("throttled in {} periods", used.cpu.throttling.throttled_periods);
    eprintln!("memory at most {} KiB", used.memory.usage.max >> 10);
    if let Some(kills) = cgroup.oom_kills()? {
        eprintln!("killed for lack of memory: {kills}");
    }
    Ok(())
}
