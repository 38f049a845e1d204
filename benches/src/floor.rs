//! The floor programs: compiled when they are needed, by what the machine has.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bundle::Workspace;
use crate::failure::Failure;
use crate::filters;
use crate::subject::Subject;
use crate::view;

const SOURCES: [(&str, &str); 2] =
    [("floor.c", include_str!("../floor/floor.c")), ("exec.c", include_str!("../floor/exec.c"))];

/// In this order: musl starts a static program faster.
const COMPILERS: [&str; 2] = ["musl-gcc", "cc"];

/// What the kernel alone needs, for each main case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floor {
    /// `run` with the default configuration.
    Default,
    /// `run` with Docker's.
    Docker,
    /// `exec` into the container of the default configuration.
    Exec,
}

impl Floor {
    const ALL: [Self; 3] = [Self::Default, Self::Docker, Self::Exec];

    fn file(self) -> &'static str {
        match self {
            Self::Default => "floor",
            Self::Docker => "floor-docker",
            Self::Exec => "floor-exec",
        }
    }

    /// Where [`build`] puts it.
    pub(crate) fn program(self, workspace: &Workspace) -> PathBuf {
        workspace.directory().join(self.file())
    }
}

/// Compiles all of them.
pub(crate) fn build(workspace: &Workspace) -> Result<Subject, Failure> {
    if !view::is_v2() {
        return Err(Failure::new("it makes the container of a machine with cgroup v2, and this view has v1"));
    }
    let write = |name: &str, text: &str| {
        let path = workspace.directory().join(name);
        std::fs::write(&path, text).map_err(Failure::during(format!("write {path:?}")))
    };
    SOURCES.iter().try_for_each(|(name, text)| write(name, text))?;
    write("filter.h", &filters::docker_as_c()?)?;
    let mut reasons = Vec::new();
    for compiler in COMPILERS {
        match Floor::ALL.iter().try_for_each(|floor| compile(compiler, *floor, workspace)) {
            Ok(()) => {
                let program = Floor::Default.program(workspace);
                return Ok(Subject::floor(&program, &format!("{compiler} -O2 -static"), workspace));
            }
            Err(failure) => reasons.push(failure.to_string()),
        }
    }
    Err(Failure::new(reasons.join("; ")))
}

fn compile(compiler: &str, floor: Floor, workspace: &Workspace) -> Result<(), Failure> {
    let mut command = Command::new(compiler);
    command.args(["-O2", "-static"]);
    if compiler == "musl-gcc" {
        // It does not look for the kernel's headers, and must find its own before glibc's.
        let of_machine = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
        command.args(["-idirafter", "/usr/include", "-idirafter", &of_machine]);
    }
    if floor == Floor::Docker {
        command.arg("-DDOCKER");
    }
    let source = if floor == Floor::Exec { "exec.c" } else { "floor.c" };
    let output = command
        .arg(Path::new(workspace.directory()).join(source))
        .arg("-o")
        .arg(floor.program(workspace))
        .output()
        .map_err(Failure::during(format!("start {compiler}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| line.contains("error")).or_else(|| said.lines().next());
    Err(Failure::new(format!("{compiler}: {}", first.unwrap_or("it failed and said nothing"))))
}
