//! `config.json`, parsed and checked.
//!
//! [`ValidSpec`] is the only place that sees the types of the `oci_spec` crate: it resolves their
//! options and defaults into values that mean one thing, and reports everything that is wrong with a
//! configuration in one error, each part with its JSON path. What a valid configuration needs from
//! the host is not looked at here: that is the plan's subject.

mod annotations;
mod bare;
mod default;
mod delegation;
mod device;
mod findings;
pub(crate) mod hook;
mod id_map;
mod intel_rdt;
mod linux;
mod lists;
mod locate;
mod mount;
pub(crate) mod mount_options;
mod names;
mod namespace;
mod net_device;
mod parse;
mod process;
mod required;
mod resources;
mod seccomp;
pub mod supported;
mod sysctl;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use oci_spec::runtime::Spec;

use crate::cgroup::Resources;
use crate::error::{Error, Result};
use crate::plan::IdRange;
use crate::seccomp::Profile;

pub(crate) use default::default_value;
pub use default::{default_config, default_spec};
pub use mount_options::known_mount_options;
pub(crate) use resources::forget_zero_pids;
/// A configuration as the crate has it, for those that have it already.
pub(crate) type Parsed = Spec;

pub use resources::{check_resources, parse_resources};
pub use seccomp::parse_profile;

pub(crate) use bare::{BARE_ORIGIN, Bare, BareChecks, check_id_map};
pub(crate) use device::{Device, DeviceKind};
pub(crate) use hook::{Hook, Hooks};
pub(crate) use id_map::unmapped_id;
pub(crate) use intel_rdt::IntelRdt;
pub(crate) use linux::MemoryPolicy;
pub(crate) use mount::{Mount, parse_mounts};
pub(crate) use mount_options::MountOptions;
pub(crate) use namespace::{Kind, Namespace, Namespaces};
pub(crate) use net_device::NetDevice;
pub(crate) use process::{CapabilitySets, IoPriority, Rlimit, Scheduler, set_variable};
pub(crate) use seccomp::Agent;

use findings::Findings;
use names::Canonical;

/// crun's annotation for processes that keep the groups of their caller, whatever its value. Podman writes it
/// for `--group-add keep-groups`: a group that a user namespace does not map still opens the devices of a user.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// A configuration that keeps the rules of the runtime specification.
#[derive(Debug, Clone)]
pub struct ValidSpec {
    /// The version of the specification that the configuration was written for is 1 and this.
    pub(crate) minor: u32,
    /// `root.path`, absolute or relative to the bundle.
    pub(crate) root: String,
    /// `root.readonly`.
    pub(crate) root_readonly: bool,
    /// `process`; a container may be created without one, but not started.
    pub(crate) process: Option<ValidProcess>,
    /// `hostname`, if not empty.
    pub(crate) hostname: Option<String>,
    /// `domainname`, if not empty.
    pub(crate) domainname: Option<String>,
    /// `mounts`, in order.
    pub(crate) mounts: Vec<Mount>,
    /// `hooks`.
    pub(crate) hooks: Hooks,
    /// `annotations`.
    pub(crate) annotations: BTreeMap<String, String>,
    /// `linux.namespaces`.
    pub(crate) namespaces: Namespaces,
    /// `linux.uidMappings`, adjacent lines merged.
    pub(crate) uid_map: Vec<IdRange>,
    /// `linux.gidMappings`, adjacent lines merged.
    pub(crate) gid_map: Vec<IdRange>,
    /// `linux.devices`.
    pub(crate) devices: Vec<Device>,
    /// `linux.sysctl` by path below /proc/sys.
    pub(crate) sysctl: Vec<(String, String)>,
    /// `linux.timeOffsets`, as timens_offsets takes them; empty for none.
    pub(crate) time_offsets: String,
    /// `linux.cgroupsPath`, if not empty.
    pub(crate) cgroups_path: Option<String>,
    /// `linux.resources`.
    pub(crate) resources: Resources,
    /// `linux.seccomp`.
    pub(crate) seccomp: Option<Profile>,
    /// Who gets the listener of the filter, if it has one.
    pub(crate) seccomp_agent: Option<Agent>,
    /// `linux.rootfsPropagation` as MS_* flags.
    pub(crate) root_propagation: Option<u64>,
    /// `linux.maskedPaths`.
    pub(crate) masked_paths: Vec<String>,
    /// `linux.readonlyPaths`.
    pub(crate) readonly_paths: Vec<String>,
    /// `linux.mountLabel`, if not empty.
    pub(crate) mount_label: Option<String>,
    /// The mount option for the label.
    pub(crate) mount_context: &'static str,
    /// `linux.personality` as personality(2) takes it.
    pub(crate) personality: Option<u64>,
    /// `linux.memoryPolicy`.
    pub(crate) memory_policy: Option<MemoryPolicy>,
    /// `linux.netDevices`, by their names on the host.
    pub(crate) net_devices: Vec<NetDevice>,
    /// `linux.intelRdt`.
    pub(crate) intel_rdt: Option<IntelRdt>,
    /// It is that of a sandbox.
    pub(crate) bare: Option<Bare>,
    warnings: Vec<String>,
}

/// A process that keeps the rules of the runtime specification: that of a container, or one to
/// add to it.
#[derive(Debug, Clone)]
pub struct ValidProcess {
    /// JSON path of the process in its file, with a final dot; empty in a file of its own.
    pub(crate) origin: &'static str,
    /// `terminal`.
    pub(crate) terminal: bool,
    /// `consoleSize`: rows and columns; 0 keeps the default.
    pub(crate) console_size: (u16, u16),
    /// `user.uid`.
    pub(crate) uid: u32,
    /// `user.gid`.
    pub(crate) gid: u32,
    /// `user.additionalGids`.
    pub(crate) groups: Vec<u32>,
    /// `user.umask`.
    pub(crate) umask: Option<u32>,
    /// `args`, never empty.
    pub(crate) args: Vec<String>,
    /// `env`; of several values of a name the last.
    pub(crate) env: Vec<String>,
    /// `cwd`, absolute.
    pub(crate) cwd: String,
    /// `capabilities`; none means that all sets are empty.
    pub(crate) capabilities: Option<CapabilitySets>,
    /// `rlimits`.
    pub(crate) rlimits: Vec<Rlimit>,
    /// `noNewPrivileges`.
    pub(crate) no_new_privileges: bool,
    /// `apparmorProfile`, if not empty.
    pub(crate) apparmor_profile: Option<String>,
    /// `selinuxLabel`, if not empty.
    pub(crate) selinux_label: Option<String>,
    /// `oomScoreAdj`.
    pub(crate) oom_score_adj: Option<i32>,
    /// `scheduler`.
    pub(crate) scheduler: Option<Scheduler>,
    /// `ioPriority`.
    pub(crate) io_priority: Option<IoPriority>,
    /// `execCPUAffinity.initial` as a mask of CPUs.
    pub(crate) affinity_initial: Vec<u8>,
    /// `execCPUAffinity.final` as a mask of CPUs.
    pub(crate) affinity_final: Vec<u8>,
    warnings: Vec<String>,
}

impl ValidSpec {
    /// Parses and checks the bytes of a `config.json`.
    ///
    /// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) and a text that names
    /// everything that is wrong with the configuration, each with its JSON path.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::parse_canonical(bytes).map(|(valid, _)| valid)
    }

    /// The same, with the text in which the names of fields are as the specification has them, for who reads
    /// it without this module.
    pub(crate) fn parse_canonical(bytes: &[u8]) -> Result<(Self, Cow<'_, [u8]>)> {
        let text = Canonical::of::<Spec>(bytes);
        let (mut spec, mut parsed) = parse::parse::<Spec>(&text, "config.json", lists::Text::Object(""))?;
        parsed.require::<required::Required>(&text.bytes);
        if spec.process().as_ref().is_some_and(has_terminal) {
            parsed.require::<required::RequiredWithTerminal>(&text.bytes);
        }
        let mut findings = Findings::default();
        parsed.warn(&mut findings);
        if let Some(resources) = spec.linux_mut().as_mut().and_then(|linux| linux.resources_mut().as_mut()) {
            resources::unset_pids(resources, &text.bytes);
        }
        let mut valid = Self::convert(&spec, &mut findings);
        findings.forget(&parsed.refused());
        if let Some(profile) = valid.seccomp.as_ref().filter(|_| !findings.is_empty()) {
            seccomp::compile(profile, &mut findings);
        }
        valid.warnings = findings.finish("config.json", parsed.errors)?;
        resources::forget_zero_pids(valid.minor, &mut valid.resources);
        Ok((valid, text.bytes))
    }

    /// What a user should know: things that are left out or used in another way than written.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether its processes keep the groups of their caller, instead of those of the configuration.
    pub(crate) fn keeps_groups(&self) -> bool {
        self.annotations.contains_key(KEEP_GROUPS)
    }

    /// Takes the root out of mount destinations that are written as paths of the host; a relative
    /// `root.path` is one of `bundle`.
    pub(crate) fn strip_root(&mut self, bundle: &Path) -> Result<()> {
        let root = bundle.join(&self.root);
        let root = mount::clean(&root.to_string_lossy());
        match root.as_str() {
            "/" => Ok(()),
            root => mount::strip_root(&mut self.mounts, root),
        }
    }

    fn convert(spec: &Spec, findings: &mut Findings) -> Self {
        let minor = version(spec.version(), findings);
        let linux = linux::Parts::new(spec.linux().as_ref());
        let namespaces = namespace::namespaces(&linux, findings);
        let (root, root_readonly) = root(spec, findings);
        let process = spec.process().as_ref().map(|process| process::convert(process, "process.", findings));
        let valid = Self {
            minor,
            root,
            root_readonly,
            process,
            hostname: namespace::host_name("hostname", spec.hostname(), &namespaces, findings),
            domainname: namespace::host_name("domainname", spec.domainname(), &namespaces, findings),
            mounts: mount::mounts(spec, &namespaces, findings),
            hooks: hook::hooks(spec.hooks().as_ref(), findings),
            annotations: annotations::annotations(spec, findings),
            uid_map: namespace::mapping("linux.uidMappings", linux.uid_mappings(), &namespaces, findings),
            gid_map: namespace::mapping("linux.gidMappings", linux.gid_mappings(), &namespaces, findings),
            devices: device::devices(linux.devices(), findings),
            sysctl: sysctl::sysctl(&linux, &namespaces, findings),
            time_offsets: namespace::time_offsets(&linux, &namespaces, findings),
            cgroups_path: linux::cgroups_path(&linux, findings),
            resources: linux.resources().map(|it| resources::of_config(it, findings)).unwrap_or_default(),
            seccomp: linux.seccomp().map(|profile| seccomp::convert(profile, findings)),
            seccomp_agent: seccomp::agent(
                linux.seccomp(),
                annotations::seccomp_receiver(spec, findings),
                findings,
            ),
            root_propagation: linux::root_propagation(&linux, findings),
            masked_paths: linux::masked_paths(&linux, &namespaces, findings),
            readonly_paths: linux::paths(
                "linux.readonlyPaths",
                linux.readonly_paths(),
                &namespaces,
                findings,
            ),
            mount_label: linux::mount_label(&linux, findings),
            mount_context: annotations::mount_context(spec, findings),
            personality: linux::personality(&linux, findings),
            memory_policy: linux::memory_policy(&linux, findings),
            net_devices: net_device::net_devices(&linux, &namespaces, findings),
            intel_rdt: intel_rdt::intel_rdt(&linux, findings),
            bare: None,
            namespaces,
            warnings: Vec::new(),
        };
        id_map::check(&valid, findings);
        valid
    }
}

impl ValidProcess {
    /// `execCPUAffinity.initial` as a mask of CPUs, the lowest in the lowest bit of the first byte;
    /// empty if it is not set.
    pub fn initial_affinity(&self) -> &[u8] {
        &self.affinity_initial
    }

    /// Parses and checks the bytes of a process alone, as `exec --process` takes it.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let text = Canonical::of::<oci_spec::runtime::Process>(bytes);
        let (process, mut parsed) =
            parse::parse::<oci_spec::runtime::Process>(&text, "process", lists::Text::Object("process"))?;
        if has_terminal(&process) {
            parsed.require::<required::ProcessWithTerminal>(&text.bytes);
        }
        let mut findings = Findings::default();
        parsed.warn(&mut findings);
        let mut valid = process::convert(&process, "", &mut findings);
        findings.forget(&parsed.refused());
        valid.warnings = findings.finish("process", parsed.errors)?;
        Ok(valid)
    }

    /// Checks a process that is a value of the `oci_spec` crate, which the library exports.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn from_spec(process: &oci_spec::runtime::Process) -> Result<Self> {
        let bytes = serde_json::to_vec(process)
            .map_err(|error| Error::invalid("process", format!("cannot be written: {error}")))?;
        Self::parse(&bytes)
    }

    /// `terminal`: whether the process gets a terminal of its own.
    pub fn terminal(&self) -> bool {
        self.terminal
    }

    /// Gives the terminal another size, in characters, than `consoleSize` says: that of who looks at it.
    pub fn set_console_size(&mut self, rows: u16, columns: u16) {
        self.console_size = (rows, columns);
    }

    /// What a user should know: things that are left out or used in another way than written.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn has_terminal(process: &oci_spec::runtime::Process) -> bool {
    process.terminal() == Some(true)
}

/// The minor number. Any 1.x is accepted, with or without a pre-release: engines write what they were built with.
fn version(text: &str, findings: &mut Findings) -> u32 {
    if text.is_empty() {
        findings.error("ociVersion", "is required");
        return 0;
    }
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<Option<u32>> = core.split('.').map(|part| part.parse().ok()).collect();
    match numbers.as_slice() {
        [Some(1), Some(minor), Some(_)] | [Some(1), Some(minor)] => *minor,
        _ => {
            findings.error("ociVersion", format!("{text:?} is not a supported version: 1.x is"));
            0
        }
    }
}

fn root(spec: &Spec, findings: &mut Findings) -> (String, bool) {
    let Some(root) = spec.root() else {
        findings.error("root", "must be specified");
        return (String::new(), false);
    };
    let path = root.path().to_string_lossy().into_owned();
    if path.is_empty() {
        findings.error("root.path", "must be specified");
    }
    findings.text("root.path", &path);
    let readonly = root.readonly().unwrap_or(false);
    (path, readonly)
}

/// The value, unless it is missing or empty: engines write both for "not set".
fn non_empty(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

#[cfg(test)]
mod tests;
