//! The floor program: compiled when it is needed, by what the machine has.

use std::path::Path;
use std::process::Command;

use crate::bundle::Workspace;
use crate::failure::Failure;
use crate::subject::Subject;
use crate::view;

const SOURCE: &str = include_str!("../floor/floor.c");

/// In this order: musl starts a static program faster.
const COMPILERS: [&str; 2] = ["musl-gcc", "cc"];

pub(crate) fn build(workspace: &Workspace) -> Result<Subject, Failure> {
    if !view::is_v2() {
        return Err(Failure::new("it makes the container of a machine with cgroup v2, and this view has v1"));
    }
    let source = workspace.directory().join("floor.c");
    let program = workspace.directory().join("floor");
    std::fs::write(&source, SOURCE).map_err(Failure::during(format!("write {source:?}")))?;
    let mut reasons = Vec::new();
    for compiler in COMPILERS {
        match compile(compiler, &source, &program) {
            Ok(()) => return Ok(Subject::floor(&program, &format!("{compiler} -O2 -static"), workspace)),
            Err(failure) => reasons.push(failure.to_string()),
        }
    }
    Err(Failure::new(reasons.join("; ")))
}

fn compile(compiler: &str, source: &Path, program: &Path) -> Result<(), Failure> {
    let mut command = Command::new(compiler);
    command.args(["-O2", "-static"]);
    if compiler == "musl-gcc" {
        // It does not look for the kernel's headers, and must find its own before glibc's.
        let of_machine = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
        command.args(["-idirafter", "/usr/include", "-idirafter", &of_machine]);
    }
    let output = command
        .arg(source)
        .arg("-o")
        .arg(program)
        .output()
        .map_err(Failure::during(format!("start {compiler}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| line.contains("error")).or_else(|| said.lines().next());
    Err(Failure::new(format!("{compiler}: {}", first.unwrap_or("it failed and said nothing"))))
}
