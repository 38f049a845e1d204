//! A container of one runtime, and the commands on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::bundle::{Config, Workspace};
use crate::command::{Gauge, at_once};
use crate::failure::Failure;
use crate::subject::Subject;

/// How long an init may take to end once it was killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container that may or may not exist at the moment. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    subject: &'a Subject,
    id: String,
    bundle: PathBuf,
    pid_file: PathBuf,
    /// Between `create` and `delete`.
    exists: bool,
}

impl<'a> Container<'a> {
    /// Its bundle; no container yet. `case` and the subject's name make the id.
    pub(crate) fn prepare(
        workspace: &Workspace,
        subject: &'a Subject,
        case: &str,
        config: Config,
        program: &[&str],
    ) -> Result<Self, Failure> {
        let id = format!("{case}-{}", subject.name);
        let bundle = workspace.bundle(&id, config, program)?;
        let pid_file = bundle.join("pid");
        Ok(Self { subject, id, bundle, pid_file, exists: false })
    }

    /// `run`: create, start, wait, delete. The program must succeed.
    pub(crate) fn run(&mut self, gauge: Gauge) -> Result<f64, Failure> {
        self.exists = true;
        let value = self.call(gauge, &["run", "--bundle", text(&self.bundle)?, &self.id])?;
        self.exists = false;
        Ok(value)
    }

    pub(crate) fn create(&mut self, gauge: Gauge) -> Result<f64, Failure> {
        self.exists = true;
        let (bundle, pid_file) = (text(&self.bundle)?, text(&self.pid_file)?);
        self.call(gauge, &["create", "--bundle", bundle, "--pid-file", pid_file, &self.id])
    }

    pub(crate) fn start(&self, gauge: Gauge) -> Result<f64, Failure> {
        self.call(gauge, &["start", &self.id])
    }

    pub(crate) fn exec(&self, gauge: Gauge, program: &str) -> Result<f64, Failure> {
        self.call(gauge, &["exec", &self.id, program])
    }

    pub(crate) fn state(&self, gauge: Gauge) -> Result<f64, Failure> {
        self.call(gauge, &["state", &self.id])
    }

    /// As many at once: milliseconds until the last has ended.
    pub(crate) fn exec_at_once(&self, count: usize, program: &str) -> Result<f64, Failure> {
        let state = text(&self.subject.state)?;
        let arguments = |_| vec!["--root", state, "exec", &self.id, program];
        at_once(&self.subject.program, count, arguments, &self.subject.log)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The directory with `config.json`.
    pub(crate) fn bundle(&self) -> &Path {
        &self.bundle
    }

    pub(crate) fn kill(&self, gauge: Gauge) -> Result<f64, Failure> {
        self.call(gauge, &["kill", &self.id, "KILL"])
    }

    /// Only of a container whose init has ended: see [`Self::wait`].
    pub(crate) fn delete(&mut self, gauge: Gauge) -> Result<f64, Failure> {
        let value = self.call(gauge, &["delete", &self.id])?;
        self.exists = false;
        Ok(value)
    }

    /// The process id of the init, from the pid file of `create`.
    pub(crate) fn pid(&self) -> Result<i32, Failure> {
        let text = fs::read_to_string(&self.pid_file)
            .map_err(Failure::during(format!("read {:?} of {}", self.pid_file, self.subject.name)))?;
        text.trim().parse().map_err(Failure::during(format!("the pid {text:?} of {}", self.subject.name)))
    }

    /// Waits until the init has ended. `create` left it to this process, which reaps orphans.
    pub(crate) fn wait(&self) -> Result<(), Failure> {
        let pid = self.pid()?;
        match waitpid(Pid::from_raw(pid), None) {
            Ok(_) => return Ok(()),
            Err(Errno::ECHILD) => {} // somebody else's child, or reaped already
            Err(error) => return Err(Failure::new(format!("wait for {pid}: {error}"))),
        }
        let begin = Instant::now();
        while Path::new(&format!("/proc/{pid}")).exists() {
            if begin.elapsed() > PATIENCE {
                return Err(Failure::new(format!("the init {pid} of {} does not end", self.subject.name)));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// A call of the runtime.
    fn call(&self, gauge: Gauge, arguments: &[&str]) -> Result<f64, Failure> {
        let mut all = vec!["--root", text(&self.subject.state)?];
        all.extend(arguments);
        gauge.call(&self.subject.program, &all, &self.subject.log)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // What could not be deleted goes with the workspace's cgroup.
        if self.exists
            && let Err(failure) = self.call(Gauge::Time, &["delete", "--force", &self.id])
        {
            eprintln!("{failure}");
        }
    }
}

fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| Failure::new(format!("the path {path:?} is not UTF-8")))
}
