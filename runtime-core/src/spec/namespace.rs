//! `linux.namespaces`, the id maps, the time offsets and the names of the host.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType};

use super::findings::Findings;
use super::linux::Parts;
use super::{id_map, non_empty};
use crate::held::HeldNamespace;
use crate::plan::IdRange;

/// A kind of namespace; its value is the flag of clone(2).
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Owner of the others.
    User = libc::CLONE_NEWUSER as u32,
    /// Mounts.
    Mount = libc::CLONE_NEWNS as u32,
    /// Network.
    Network = libc::CLONE_NEWNET as u32,
    /// System V and POSIX queues.
    Ipc = libc::CLONE_NEWIPC as u32,
    /// Host and domain name.
    Uts = libc::CLONE_NEWUTS as u32,
    /// Processes.
    Pid = libc::CLONE_NEWPID as u32,
    /// Root of the cgroup file system.
    Cgroup = libc::CLONE_NEWCGROUP as u32,
    /// Offsets of clocks.
    Time = libc::CLONE_NEWTIME as u32,
}

impl Kind {
    /// All, by name.
    pub(crate) const ALL: [Self; 8] =
        [Self::Cgroup, Self::Ipc, Self::Mount, Self::Network, Self::Pid, Self::Time, Self::User, Self::Uts];

    /// The flag of clone(2).
    pub(crate) fn flag(self) -> u32 {
        self as u32
    }

    /// The name in `config.json`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Mount => "mount",
            Kind::Network => "network",
            Kind::Ipc => "ipc",
            Kind::Uts => "uts",
            Kind::Pid => "pid",
            Kind::Cgroup => "cgroup",
            Kind::Time => "time",
        }
    }

    /// The name in `/proc/PID/ns`.
    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Kind::Mount => "mnt",
            Kind::Network => "net",
            Kind::User | Kind::Ipc | Kind::Uts | Kind::Pid | Kind::Cgroup | Kind::Time => self.name(),
        }
    }
}

impl From<LinuxNamespaceType> for Kind {
    fn from(kind: LinuxNamespaceType) -> Self {
        match kind {
            LinuxNamespaceType::User => Kind::User,
            LinuxNamespaceType::Mount => Kind::Mount,
            LinuxNamespaceType::Network => Kind::Network,
            LinuxNamespaceType::Ipc => Kind::Ipc,
            LinuxNamespaceType::Uts => Kind::Uts,
            LinuxNamespaceType::Pid => Kind::Pid,
            LinuxNamespaceType::Cgroup => Kind::Cgroup,
            LinuxNamespaceType::Time => Kind::Time,
        }
    }
}

/// A requested namespace.
#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    /// Its kind.
    pub(crate) kind: Kind,
    /// The one to join; none for a new one.
    pub(crate) path: Option<String>,
    /// Its place in `linux.namespaces`.
    pub(crate) index: usize,
    /// The one at `path`, if it is open already.
    pub(crate) held: Option<Arc<OwnedFd>>,
}

impl Namespace {
    /// JSON path of the request.
    pub(crate) fn origin(&self) -> String {
        format!("linux.namespaces[{}]", self.index)
    }
}

/// The requested namespaces; of what is not requested, the runtime's own is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Namespaces(Vec<Namespace>);

impl Namespaces {
    /// The request for a kind.
    pub(crate) fn get(&self, kind: Kind) -> Option<&Namespace> {
        self.0.iter().find(|namespace| namespace.kind == kind)
    }

    /// True if the container has its own namespace of the kind, made or joined.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.get(kind).is_some()
    }

    /// True if a namespace of the kind is to be made.
    pub(crate) fn makes(&self, kind: Kind) -> bool {
        self.get(kind).is_some_and(|namespace| namespace.path.is_none())
    }

    /// True if a namespace of the kind is to be joined.
    pub(crate) fn joins(&self, kind: Kind) -> bool {
        self.get(kind).is_some_and(|namespace| namespace.path.is_some())
    }

    /// Has the requests for these namespaces take what is open.
    pub(crate) fn hold(&mut self, held: &[HeldNamespace]) {
        for request in &mut self.0 {
            let of_path =
                |one: &&HeldNamespace| one.kind == request.kind && Some(&one.path) == request.path.as_ref();
            request.held = held.iter().find(of_path).map(|one| one.file.clone());
        }
    }

    /// All requests.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.0.iter()
    }
}

impl FromIterator<Namespace> for Namespaces {
    fn from_iter<T: IntoIterator<Item = Namespace>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

pub(super) fn namespaces(linux: &Parts<'_>, findings: &mut Findings) -> Namespaces {
    let mut all = Namespaces::default();
    for (index, namespace) in linux.namespaces().iter().enumerate() {
        let kind = Kind::from(namespace.typ());
        let origin = format!("linux.namespaces[{index}]");
        if all.has(kind) {
            findings.error(&origin, format!("duplicated namespace {:?}", kind.name()));
            continue;
        }
        let path = namespace.path().as_ref().map(|path| path.to_string_lossy().into_owned());
        let path = path.filter(|path| !path.is_empty());
        if let Some(path) = &path {
            findings.absolute(format_args!("{origin}.path"), path);
        }
        all.0.push(Namespace { kind, path, index, held: None });
    }
    if all.makes(Kind::User) && linux.uid_mappings().is_empty() && linux.gid_mappings().is_empty() {
        findings.error(
            "linux.uidMappings",
            "user namespaces enabled, but no namespace path to join nor mappings to apply specified",
        );
    }
    all
}

pub(super) fn mapping(
    origin: &'static str,
    lines: &[LinuxIdMapping],
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Vec<IdRange> {
    if !lines.is_empty() && !namespaces.has(Kind::User) {
        findings.error(
            origin,
            "user namespace mappings specified, but user namespace isn't enabled in the config",
        );
    }
    id_map::convert(origin, lines, findings)
}

/// Text of timens_offsets: one line for each clock (time_namespaces(7)).
pub(super) fn time_offsets(linux: &Parts<'_>, namespaces: &Namespaces, findings: &mut Findings) -> String {
    let mut offsets: Vec<_> =
        linux.get(|linux| linux.time_offsets().as_ref()).into_iter().flatten().collect();
    offsets.sort_by_key(|(clock, _)| *clock);
    if !offsets.is_empty() && !namespaces.has(Kind::Time) {
        findings.error(
            "linux.timeOffsets",
            "time namespace offsets specified, but time namespace isn't enabled in the config",
        );
    }
    if !offsets.is_empty() && namespaces.joins(Kind::Time) {
        findings.error(
            "linux.timeOffsets",
            "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one",
        );
    }
    let mut text = String::new();
    for (clock, offset) in offsets {
        let (seconds, nanoseconds) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        let origin = format!("linux.timeOffsets.{clock}");
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            findings.error(&origin, "is not a clock with an offset: monotonic and boottime are");
        }
        if nanoseconds >= 1_000_000_000 {
            findings.error(format!("{origin}.nanosecs"), "is a second or more");
        }
        // Writing to a String cannot fail.
        if writeln!(text, "{clock} {seconds} {nanoseconds}").is_err() {
            findings.error(&origin, "cannot be written");
        }
    }
    text
}

/// `hostname` and `domainname`; the kernel takes up to 64 bytes (`__NEW_UTS_LEN`).
pub(super) fn host_name(
    field: &'static str,
    name: &Option<String>,
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Option<String> {
    let name = non_empty(name.as_ref())?;
    if !namespaces.has(Kind::Uts) {
        findings.error(field, format!("unable to set {field} without a private UTS namespace"));
    }
    if name.len() > 64 {
        findings.error(field, format!("has {} bytes, at most 64 are possible", name.len()));
    }
    findings.text(field, &name);
    Some(name)
}
