//! The functions that the usual commands execute, as a linker script that puts them side by side.
//!
//! The kernel maps a program's file 64 kB at a time, a page fault for each. The functions of a command are spread over
//! the whole file, because the linker puts them where their crates are: so nearly all of it gets mapped. The
//! script names the functions that `run`, `create`, `start`, `exec`, `state`, `kill` and `delete` execute, found by
//! executing them step by step, without the parts of the names that the next compiler changes. A name that no
//! longer exists does no harm.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::bundle::{Config, Workspace};
use crate::command::{self, Gauge};
use crate::container::Container;
use crate::failure::Failure;
use crate::subject::Subject;

/// The first argument of the helper; the command follows.
pub(crate) const OPTION: &str = "--traced";

/// What the file begins with.
const HEADER: &str = "\
/* Made by `benches --order`: see benches/README.md. The functions that the usual commands execute, side by side. */
SECTIONS
{
  .text.usual :
  {
";

/// How many bytes that no command executes a pattern may place.
const IDLE: u64 = 4096;

const FOOTER: &str = "  }\n}\nINSERT BEFORE .text;\n";

/// Executes the command, to be traced by the parent.
pub(crate) fn helper(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("{OPTION} needs a command");
        return ExitCode::FAILURE;
    };
    if let Err(errno) = ptrace::traceme() {
        eprintln!("ptrace: {errno}");
        return ExitCode::FAILURE;
    }
    eprintln!("{}", Command::new(program).args(arguments).exec());
    ExitCode::FAILURE
}

/// Follows the helper step by step until it ends; the result is where its instructions were.
pub(crate) fn follow(helper: u32) -> nix::Result<(WaitStatus, BTreeSet<u64>)> {
    let pid = Pid::from_raw(helper.cast_signed());
    let mut seen = BTreeSet::new();
    loop {
        let status = waitpid(pid, None)?;
        let WaitStatus::Stopped(_, signal) = status else { return Ok((status, seen)) };
        seen.insert(instruction(pid)?);
        ptrace::step(pid, Some(signal).filter(|signal| *signal != Signal::SIGTRAP))?;
    }
}

#[cfg(target_arch = "x86_64")]
fn instruction(pid: Pid) -> nix::Result<u64> {
    ptrace::getregs(pid).map(|registers| registers.rip)
}

#[cfg(target_arch = "aarch64")]
fn instruction(pid: Pid) -> nix::Result<u64> {
    ptrace::getregset::<ptrace::regset::NT_PRSTATUS>(pid).map(|registers| registers.pc)
}

/// The script for a runtime that has its symbols and a fixed address. What most commands execute comes first.
pub(crate) fn script(workspace: &Workspace, subject: &Subject) -> Result<String, Failure> {
    let symbols = symbols(&subject.program)?;
    let members = members()?;
    let mut users: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    for (number, addresses) in addresses(workspace, subject)?.iter().enumerate() {
        for address in addresses {
            let symbol = symbols.range(..=address).next_back().filter(|(_, (end, _))| address < end);
            if let Some((begin, _)) = symbol {
                users.entry(*begin).or_default().insert(number);
            }
        }
    }
    let mut usual: Vec<_> = users.iter().collect();
    usual.sort_by_key(|(begin, users)| (Reverse(users.len()), **begin));
    let mut known = HashSet::new();
    let idle = idle(&symbols, &users);
    let names = usual.iter().filter_map(|(begin, _)| symbols.get(begin)).map(|(_, name)| name);
    let lines = names.map(|name| line(name, &members, &idle)).filter(|line| known.insert(line.clone()));
    Ok([HEADER.to_owned()].into_iter().chain(lines).chain([FOOTER.to_owned()]).collect())
}

/// Bytes of the functions that no command executes, by the pattern that they would be placed by.
fn idle(symbols: &Symbols, users: &BTreeMap<u64, BTreeSet<usize>>) -> HashMap<String, u64> {
    let mut idle = HashMap::new();
    for (begin, (end, name)) in symbols.iter().filter(|(begin, _)| !users.contains_key(begin)) {
        *idle.entry(pattern(name)).or_default() += end - begin;
    }
    idle
}

/// What places a function. The compiler puts one that it takes for unlikely into a section `.text.unlikely.NAME`.
/// A generic function has hundreds of forms, whose names differ in the hash alone: it is placed by the whole name, which
/// the next compiler changes, where the others would make the usual part much larger.
fn line(name: &str, members: &HashMap<String, String>, idle: &HashMap<String, u64>) -> String {
    let pattern = pattern(name);
    match members.get(name) {
        Some(member) => format!("    *libc.a:{member}(.text .text.*)\n"),
        None if idle.get(&pattern).is_some_and(|bytes| *bytes > IDLE) => {
            format!("    *(.text*.{}*)\n", name.split(".llvm.").next().unwrap_or(name))
        }
        None => format!("    *(.text*.{pattern})\n"),
    }
}

/// Of the instructions that each of the usual commands executes.
fn addresses(workspace: &Workspace, subject: &Subject) -> Result<Vec<BTreeSet<u64>>, Failure> {
    const SLEEP: &[&str] = &["sleep", "1000"];
    let gauge = Gauge::Addresses;
    let mut all = Vec::new();
    for (name, config) in [("order-containerd", Config::Containerd), ("order-podman", Config::Podman)] {
        Container::prepare(workspace, subject, name, config, &["true"])?.run(gauge)?;
        all.push(take(subject)?);
    }
    for (name, config) in [("order", Config::Default), ("order-docker", Config::Docker)] {
        let mut keep = || take(subject).map(|addresses| all.push(addresses));
        Container::prepare(workspace, subject, &format!("{name}-run"), config, &["true"])?.run(gauge)?;
        keep()?;
        let mut container = Container::prepare(workspace, subject, name, config, SLEEP)?;
        container.create(gauge)?;
        keep()?;
        container.state(gauge)?;
        keep()?;
        container.start(gauge)?;
        keep()?;
        container.exec(gauge, "true")?;
        keep()?;
        container.kill(gauge)?;
        keep()?;
        container.wait()?;
        container.delete(gauge)?;
        keep()?;
    }
    Ok(all)
}

/// What the last command has left.
fn take(subject: &Subject) -> Result<BTreeSet<u64>, Failure> {
    let text = std::fs::read_to_string(command::addresses(&subject.log))
        .map_err(Failure::during("read the addresses"))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Functions: where each begins, where it ends, its name.
type Symbols = BTreeMap<u64, (u64, String)>;

fn symbols(program: &Path) -> Result<Symbols, Failure> {
    let text = output(Command::new("nm").args(["-S", "--defined-only"]).arg(program))?;
    let symbol = |line: &str| {
        let [begin, size, kind, name] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let begin = u64::from_str_radix(begin, 16).ok()?;
        let size = u64::from_str_radix(size, 16).ok()?;
        "tTwWi".contains(kind).then(|| (begin, (begin + size, name.to_owned())))
    };
    match text.lines().filter_map(symbol).collect::<BTreeMap<_, _>>() {
        none if none.is_empty() => Err(Failure::new(format!("{program:?} has no symbols: -C strip=none"))),
        symbols => Ok(symbols),
    }
}

/// The C library's functions, which are not in sections of their own: which file of its archive each is in.
fn members() -> Result<HashMap<String, String>, Failure> {
    let archive = output(Command::new("cc").arg("-print-file-name=libc.a"))?;
    let text = output(Command::new("nm").args(["-A", "--defined-only", archive.trim()]))?;
    let member = |line: &str| {
        let (place, symbol) = line.split_once(' ')?;
        let name = symbol.split(' ').next_back()?;
        let file = place.split(':').nth(1)?;
        Some((name.to_owned(), file.to_owned()))
    };
    Ok(text.lines().filter_map(member).collect())
}

fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.output().map_err(Failure::during(format!("start {:?}", command.get_program())))?;
    // A file of the archive that has no symbols is a complaint, not a failure.
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A symbol's name without hashes of crates and types, for a linker: what the next compiler or the next version of a crate
/// changes, and what it adds behind the name.
fn pattern(name: &str) -> String {
    let name = name.split(".llvm.").next().unwrap_or(name);
    match name.rfind("17h").filter(|_| name.starts_with("_ZN")) {
        Some(at) => format!("{}*", &name[..at]),
        None => without_crate_hashes(name),
    }
}

/// `Cs`, a number of base 62, `_`: the hash of a crate in the newer kind of name.
fn without_crate_hashes(name: &str) -> String {
    let mut parts = name.split("Cs");
    let mut pattern = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        pattern.push_str("Cs");
        match part.split_once('_') {
            Some((hash, rest))
                if !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
            {
                pattern.push_str("*_");
                pattern.push_str(rest);
            }
            _ => pattern.push_str(part),
        }
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_no_hash() {
        let old = "_ZN12runtime_core5state5store5Entry6record17h261e1203267a6356E.llvm.2197964346554791134";
        assert_eq!(pattern(old), "_ZN12runtime_core5state5store5Entry6record*");
        let new = "_RNvNtNtCsgEmfK2I1SDS_4core7unicode12unicode_data11to_upper";
        assert_eq!(pattern(new), "_RNvNtNtCs*_4core7unicode12unicode_data11to_upper*");
    }
}
