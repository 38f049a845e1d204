//! Seccomp filters of Docker's profile: this project's compiler beside libseccomp and seccompiler.
//!
//! Times of compiling, loading and calling, and the size of the programs. Needs no root and no container.

mod compile;
mod cost;
mod libseccomp;

use oci_spec::runtime::{LinuxSeccomp, Spec};

use crate::bundle;
use crate::failure::Failure;
use crate::filters::compile::Program;
use crate::statistics::Summary;
use crate::table;

/// The table, as text. `runs` is the number of loads; each has two batches of calls.
pub(crate) fn report(runs: usize) -> Result<String, Failure> {
    let profile = docker_profile()?;
    let directory = tempfile::tempdir().map_err(Failure::during("make a directory"))?;
    let mut programs = vec![compile::everything(), compile::ours(&profile, runs)?];
    let mut notes = String::new();
    for (name, optimize) in [("libseccomp", 1), ("libseccomp, binary tree", 2)] {
        match libseccomp::compile(&profile, name, optimize, runs, directory.path()) {
            Ok(program) => programs.push(program),
            Err(failure) => notes.push_str(&format!("no {name}: {failure}\n")),
        }
    }
    match compile::seccompiler(&profile, runs) {
        Ok(program) => programs.push(program),
        Err(failure) => notes.push_str(&format!("no seccompiler: {failure}\n")),
    }
    let costs = cost::measure(&programs, runs)?;
    let median = |samples: &[f64]| {
        Summary::of(samples).map_or_else(|| "-".to_owned(), |summary| table::number(summary.median))
    };
    let head = ["filter", "compile, us", "instructions", "way", "load, us", "getppid, ns", "personality, ns"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.push(["none", "-", "-", "-", "-"].map(str::to_owned).to_vec());
    rows[1].extend([median(&costs[0].allowed), median(&costs[0].checked)]);
    for (program, cost) in programs.iter().zip(&costs[1..]) {
        rows.push(vec![
            program.name.to_owned(),
            table::number(program.compile_us),
            program.instructions.len().to_string(),
            table::number(program.average_way(&profile)),
            median(&cost.load_us),
            median(&cost.allowed),
            median(&cost.checked),
        ]);
    }
    Ok(format!("{}{notes}", table::render(&rows)))
}

fn docker_profile() -> Result<LinuxSeccomp, Failure> {
    let spec: Spec =
        serde_json::from_str(bundle::DOCKER).map_err(Failure::during("read Docker's configuration"))?;
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().clone());
    profile.ok_or_else(|| Failure::new("Docker's configuration has no profile"))
}

/// The program of Docker's profile as the elements of a C array, for the floor.
pub(crate) fn docker_as_c() -> Result<String, Failure> {
    let profile = runtime_core::seccomp::Profile::try_from(&docker_profile()?)
        .map_err(Failure::during("read Docker's profile"))?;
    let filter = runtime_core::seccomp::Filter::from_profile(&profile)
        .map_err(Failure::during("compile Docker's profile"))?;
    let line = |it: &runtime_core::seccomp::Instruction| {
        format!("{{ {}, {}, {}, {}u }},\n", it.code, it.jt, it.jf, it.k)
    };
    Ok(filter.program().iter().map(line).collect())
}

impl Program {
    /// How many instructions a call runs through, over the calls of x86_64 that the profile names.
    fn average_way(&self, profile: &LinuxSeccomp) -> f64 {
        let numbers = compile::numbers(profile);
        let sum: usize = numbers.iter().map(|number| self.way(*number)).sum();
        sum as f64 / numbers.len().max(1) as f64
    }
}
