//! What to make and what to write, computed without touching a cgroup.

use std::borrow::Cow;

use super::hierarchy::{Mode, Version, View};
use super::limits;
use super::location::Location;
use super::resources::Resources;
use crate::error::{Error, ErrorKind, Result};

/// One write to a control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// The controller whose hierarchy has the file; `cgroup` for the core files of v2.
    pub(crate) controller: Cow<'static, str>,
    /// The control file.
    pub(crate) file: Cow<'static, str>,
    /// What is written, without a newline.
    pub(crate) value: String,
    /// The place in `config.json` that asked for it.
    pub(crate) origin: Cow<'static, str>,
    /// What it means if the file does not exist.
    pub(crate) missing: Missing,
    /// Whether the kernel may refuse the value with EINVAL until a later write of the plan is done,
    /// such as a memory limit above the present memory+swap limit. It is then tried again at the end.
    pub(crate) reorder: bool,
}

/// What to do if a control file does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The limit cannot be set: an error.
    Fails,
    /// The kernel lacks a refinement that nobody relies on.
    Ignored,
    /// Another file has the same meaning: its name and value.
    Instead(&'static str, String),
}

/// A limit that is refused if the cgroup uses as much already (`memory.checkBeforeUpdate`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guard {
    /// The controller.
    pub(crate) controller: &'static str,
    /// The file with the present usage in bytes.
    pub(crate) file: &'static str,
    /// The new limit in bytes.
    pub(crate) limit: u64,
    /// What the limit is called.
    pub(crate) name: &'static str,
    /// The place in `config.json`.
    pub(crate) origin: &'static str,
}

/// The cgroup of a container: its place, and every limit as a write in the order to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPlan {
    /// Where.
    pub(crate) location: Location,
    /// Whether `linux.cgroupsPath` was given. If it was not, an unprivileged caller may go without a
    /// cgroup.
    pub(crate) placed: bool,
    /// Checked before anything is written.
    pub(crate) guards: Vec<Guard>,
    /// The limits.
    pub(crate) writes: Vec<Write>,
    /// The lines for the v1 devices controller, done after `writes`; empty on v2, where a BPF program
    /// attached to [`Cgroup::directory`](super::Cgroup::directory) takes their place.
    pub(crate) devices: Vec<Write>,
    /// Controllers of v2 that are enabled if they are there, so that the container can be metered
    /// even without limits.
    pub(crate) accounting: Vec<&'static str>,
}

/// The controllers of v2: engines read the files of all of them.
const CONTROLLERS: [&str; 8] = ["cpu", "io", "memory", "pids", "cpuset", "hugetlb", "rdma", "misc"];

impl CgroupPlan {
    /// Computes the plan for `view`. Does no I/O.
    ///
    /// `cgroups_path` is `linux.cgroupsPath`: an absolute one is below the mount point, a relative
    /// one below the cgroup of the caller (on v2: beside it), a missing one is `/id`; on v2 it is `id`
    /// beside the cgroup of the caller, if the view knows that ([`Hierarchies::detect_for`] a relative
    /// path): what a user without privileges may have.
    ///
    /// [`Hierarchies::detect_for`]: super::Hierarchies::detect_for
    ///
    /// On pure v2 all controllers are enabled on the way, as runc does: engines read statistics there, and
    /// limits may come later.
    ///
    /// # Errors
    ///
    /// One error with all that is wrong with the path and the resources, each with its JSON path: kind
    /// [`ErrorKind::InvalidInput`] for a bad value, [`ErrorKind::Unsupported`] for a limit whose
    /// controller this view does not have.
    pub fn compile(view: &View, cgroups_path: Option<&str>, id: &str, resources: &Resources) -> Result<Self> {
        Self::compile_all(view, cgroups_path, id, resources).map_err(Error::all)
    }

    /// As [`compile`](Self::compile), with each error for itself.
    pub(super) fn compile_all(
        view: &View,
        cgroups_path: Option<&str>,
        id: &str,
        resources: &Resources,
    ) -> Result<Self, Vec<Error>> {
        let (limits, mut errors) = Limits::compile(view, resources);
        let location = match Location::compile(view, cgroups_path, id) {
            Ok(location) => location,
            Err(error) => {
                errors.insert(0, error);
                return Err(errors);
            }
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        let placed = cgroups_path.is_some_and(|path| !path.is_empty());
        let accounting = if view.mode == Mode::Unified { CONTROLLERS.to_vec() } else { Vec::new() };
        Ok(Self::new(location, placed, limits, accounting))
    }

    /// The plan for new limits of an existing cgroup, for [`Cgroup::apply`](super::Cgroup::apply).
    ///
    /// What `resources` leaves out stays as it is, with one exception: on v2 a period without a quota
    /// lifts the quota, because the kernel takes both in one line. A caller that updates single fields
    /// merges them into the container's resources first, as runc does; that also lets swap be compared
    /// with the memory limit it belongs to.
    ///
    /// # Errors
    ///
    /// As [`compile`](Self::compile).
    pub fn update(view: &View, location: Location, resources: &Resources) -> Result<Self> {
        let (limits, errors) = Limits::compile(view, resources);
        match errors.is_empty() {
            true => Ok(Self::new(location, true, limits, Vec::new())),
            false => Err(Error::all(errors)),
        }
    }

    fn new(location: Location, placed: bool, limits: Limits, accounting: Vec<&'static str>) -> Self {
        let Limits { writes, guards } = limits;
        Self { location, placed, guards, writes, devices: Vec::new(), accounting }
    }

    /// Adds the lines of the v1 devices controller (file, value); without effect if the view has none.
    #[must_use]
    pub(crate) fn with_device_lines(mut self, lines: impl IntoIterator<Item = (String, String)>) -> Self {
        if self.location.place_of("devices").is_some_and(|place| place.version == Version::V1) {
            self.devices.extend(lines.into_iter().map(|(file, value)| Write {
                controller: "devices".into(),
                file: file.into(),
                value,
                origin: "linux.resources.devices".into(),
                missing: Missing::Fails,
                reorder: false,
            }));
        }
        self
    }

    /// The v2 controllers that the writes need.
    pub(super) fn needed(&self) -> Vec<&str> {
        let Some(unified) = self.location.unified() else {
            return Vec::new();
        };
        let mut needed: Vec<&str> = Vec::new();
        for write in &self.writes {
            let name = write.controller.as_ref();
            if unified.controllers.iter().any(|held| held == name) && !needed.contains(&name) {
                needed.push(name);
            }
        }
        needed
    }
}

/// What `linux.resources` asks for.
struct Limits {
    writes: Vec<Write>,
    guards: Vec<Guard>,
}

impl Limits {
    fn compile(view: &View, resources: &Resources) -> (Self, Vec<Error>) {
        let mut compiler = Compiler { view, writes: Vec::new(), guards: Vec::new(), errors: Vec::new() };
        limits::compile(&mut compiler, resources);
        let Compiler { writes, guards, errors, .. } = compiler;
        (Self { writes, guards }, errors)
    }
}

/// Collects writes and errors while a plan is made.
pub(super) struct Compiler<'a> {
    pub(super) view: &'a View,
    pub(super) writes: Vec<Write>,
    pub(super) guards: Vec<Guard>,
    pub(super) errors: Vec<Error>,
}

impl Compiler<'_> {
    /// The version that the controller (`v1`/`v2` are its names there) is found in. Without one, the
    /// request at `origin` is an error.
    pub(super) fn version(&mut self, v1: &str, v2: Option<&str>, origin: &str) -> Option<Version> {
        let in_v2 = v2.filter(|name| self.view.version_of(name) == Some(Version::V2));
        if in_v2.is_some() {
            return Some(Version::V2);
        }
        if self.view.version_of(v1) == Some(Version::V1) {
            return Some(Version::V1);
        }
        let name = if self.view.mode == Mode::Unified { v2.unwrap_or(v1) } else { v1 };
        self.errors.push(
            Error::new(ErrorKind::Unsupported, format!("cannot set {name} limit"))
                .reason(format!(
                    "the {name} controller is not in the {} cgroup view",
                    self.view.mode.as_str()
                ))
                .origin(origin.to_owned())
                .with_hint("remove the limit, or enable the controller"),
        );
        None
    }

    pub(super) fn invalid(
        &mut self,
        origin: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) {
        self.errors.push(Error::invalid(origin, reason));
    }

    /// Adds a write that must succeed.
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "the last write has just been added"
    )]
    pub(super) fn write(
        &mut self,
        controller: impl Into<Cow<'static, str>>,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        origin: impl Into<Cow<'static, str>>,
    ) -> &mut Write {
        self.writes.push(Write {
            controller: controller.into(),
            file: file.into(),
            value: value.to_string(),
            origin: origin.into(),
            missing: Missing::Fails,
            reorder: false,
        });
        let last = self.writes.len() - 1;
        &mut self.writes[last]
    }
}

impl Write {
    /// See [`Write::reorder`].
    pub(super) fn reorder(&mut self) -> &mut Self {
        self.reorder = true;
        self
    }

    /// See [`Missing`].
    pub(super) fn or(&mut self, missing: Missing) -> &mut Self {
        self.missing = missing;
        self
    }
}
