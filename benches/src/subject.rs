//! What is measured: a runtime, or the floor.

use std::path::{Path, PathBuf};

use crate::bundle::Workspace;
use crate::command;
use crate::failure::Failure;

/// The name of this project's runtime.
pub(crate) const OURS: &str = "runtime";

/// A program under measurement.
#[derive(Debug)]
pub(crate) struct Subject {
    /// For the tables; also a part of container ids and file names.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// What it says of itself, or how it was built.
    pub(crate) version: String,
    /// Not a runtime: it knows one container only, and takes other arguments.
    pub(crate) is_floor: bool,
    /// Of the floor: the runtime that makes the containers that it works on.
    pub(crate) maker: Option<Box<Subject>>,
    /// `--root`: kept over all runs, so that caches in it are warm.
    pub(crate) state: PathBuf,
    /// Its standard error.
    pub(crate) log: PathBuf,
}

impl Subject {
    pub(crate) fn runtime(name: &str, program: &Path, workspace: &Workspace) -> Result<Self, Failure> {
        Ok(Self::new(name, program, command::version(program)?, false, workspace))
    }

    pub(crate) fn floor(program: &Path, compiler: &str, workspace: &Workspace) -> Self {
        Self::new("floor", program, format!("benches/floor/*.c, {compiler}"), true, workspace)
    }

    /// Whether it is this project's, and so stands for the library too.
    pub(crate) fn is_ours(&self) -> bool {
        self.name == OURS
    }

    fn new(name: &str, program: &Path, version: String, is_floor: bool, workspace: &Workspace) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            version,
            is_floor,
            maker: None,
            state: workspace.directory().join(format!("state-{name}")),
            log: workspace.directory().join(format!("errors-{name}")),
        }
    }
}
