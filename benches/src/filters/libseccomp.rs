//! libseccomp's part: a C program, compiled when it is needed, that links the library as it is installed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};
use runtime_core::seccomp::{Architecture, ListedArchitecture};
use seccompiler::sock_filter;

use super::compile::Program;
use crate::failure::Failure;

const SOURCE: &str = include_str!("../../filters/libseccomp.c");

pub(super) fn compile(
    profile: &LinuxSeccomp,
    name: &'static str,
    optimize: u32,
    runs: usize,
    directory: &Path,
) -> Result<Program, Failure> {
    let program = directory.join("libseccomp");
    if !program.exists() {
        build(directory, &program)?;
    }
    let output = directory.join("program.bpf");
    let mut child = Command::new(&program)
        .args([optimize.to_string(), runs.to_string()])
        .arg(&output)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Failure::during("start libseccomp's part"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines(profile)?.as_bytes()).map_err(Failure::during("give it the profile"))?;
    }
    let result = child.wait_with_output().map_err(Failure::during("wait for libseccomp's part"))?;
    let text = String::from_utf8_lossy(&result.stdout);
    let nanoseconds: f64 = text.trim().parse().map_err(|_| Failure::new(format!("it said {text:?}")))?;
    let bytes = std::fs::read(&output).map_err(Failure::during("read its program"))?;
    let instruction = |bytes: &[u8]| sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    let instructions = bytes.chunks_exact(8).map(instruction).collect();
    Ok(Program { name, compile_us: nanoseconds / 1e3, instructions })
}

fn build(directory: &Path, program: &Path) -> Result<(), Failure> {
    let source = directory.join("libseccomp.c");
    std::fs::write(&source, SOURCE).map_err(Failure::during(format!("write {source:?}")))?;
    let mut command = Command::new("cc");
    command.arg("-O2").arg(&source).arg("-o").arg(program).arg("-l:libseccomp.so.2");
    let output = command.output().map_err(Failure::during("start cc"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("cc: {}", said.lines().next().unwrap_or("it failed and said nothing"))))
}

/// The profile as the C program reads it.
fn lines(profile: &LinuxSeccomp) -> Result<String, Failure> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut lines = format!("default {default}\n");
    for arch in profile.architectures().iter().flatten() {
        let token = match ListedArchitecture::from(*arch).known() {
            Some(Architecture::X32) => 0x4000_003e,
            Some(other) => other.audit_token(),
            None => continue,
        };
        lines.push_str(&format!("arch {token}\n"));
    }
    for syscall in profile.syscalls().iter().flatten() {
        let action = action(syscall.action(), syscall.errno_ret())?;
        if action == default {
            continue;
        }
        let mut arguments = String::new();
        for argument in syscall.args().iter().flatten() {
            // oci-spec's numbers are those of `enum scmp_compare`.
            let (index, operator) = (argument.index(), argument.op() as u32);
            let second = argument.value_two().unwrap_or(0);
            write!(arguments, " {index} {operator} {} {second}", argument.value())
                .map_err(Failure::during("write a rule"))?;
        }
        for name in syscall.names() {
            lines.push_str(&format!("rule {action} {name}{arguments}\n"));
        }
    }
    Ok(lines)
}

/// The actions of Docker's profile.
fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, Failure> {
    match action {
        LinuxSeccompAction::ScmpActAllow => Ok(0x7fff_0000),
        LinuxSeccompAction::ScmpActErrno => Ok(0x0005_0000 | errno.unwrap_or(1)),
        other => Err(Failure::new(format!("no value for {other:?}"))),
    }
}
