//! The same values without a configuration: what a [`Sandbox`](crate::Sandbox) asks for.

use super::findings::Findings;
use super::{Hooks, Kind, Mount, Namespace, Namespaces, ValidProcess, ValidSpec, id_map, mount};
use crate::cgroup::Resources;
use crate::error::Result;
use crate::origin::Origin;
use crate::plan::IdRange;
use crate::seccomp::Filter;

/// What distinguishes a sandbox from a container. It has nothing that it does not ask for: no devices without a `/dev` of its
/// own, no working directory that is made for it, no change of its streams' owner and of its CPUs.
#[derive(Debug, Clone)]
pub(crate) struct Bare {
    /// The root of its caller is not its own.
    pub(crate) own_root: bool,
    /// Its filter, compiled by the caller.
    pub(crate) filter: Option<Filter>,
}

/// JSON paths of a sandbox, as far as they are those of its process.
pub(crate) const BARE_ORIGIN: &str = "sandbox.";

impl ValidSpec {
    /// What asks for nothing but a process in some namespaces, new ones and those at a path.
    pub(crate) fn bare(
        process: ValidProcess,
        namespaces: impl Iterator<Item = (Kind, Option<String>)>,
        bare: Bare,
    ) -> Self {
        let namespaces =
            namespaces.enumerate().map(|(index, (kind, path))| Namespace { kind, path, index, held: None });
        Self {
            minor: 0,
            root: "/".to_owned(),
            root_readonly: false,
            process: Some(process),
            hostname: None,
            domainname: None,
            mounts: Vec::new(),
            hooks: Hooks::default(),
            annotations: Default::default(),
            namespaces: namespaces.collect(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            devices: Vec::new(),
            sysctl: Vec::new(),
            time_offsets: String::new(),
            cgroups_path: None,
            resources: Resources::default(),
            seccomp: None,
            seccomp_agent: None,
            root_propagation: None,
            masked_paths: Vec::new(),
            readonly_paths: Vec::new(),
            mount_label: None,
            mount_context: "context",
            personality: None,
            memory_policy: None,
            net_devices: Vec::new(),
            intel_rdt: None,
            bare: Some(bare),
            warnings: Vec::new(),
        }
    }
}

impl ValidProcess {
    /// A program with its arguments, as root, in "/", with an empty environment and without capabilities.
    pub(crate) fn bare(args: Vec<String>) -> Self {
        Self {
            origin: BARE_ORIGIN,
            terminal: false,
            console_size: (0, 0),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            umask: None,
            args,
            env: Vec::new(),
            cwd: "/".to_owned(),
            capabilities: None,
            rlimits: Vec::new(),
            no_new_privileges: false,
            apparmor_profile: None,
            selinux_label: None,
            oom_score_adj: None,
            scheduler: None,
            io_priority: None,
            affinity_initial: Vec::new(),
            affinity_final: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// What `config.json` is checked for, of values that come from elsewhere. All that is wrong becomes one error.
#[derive(Default)]
pub(crate) struct BareChecks(Findings);

impl BareChecks {
    /// A text that the kernel takes, with its NUL, up to 128 KiB.
    pub(crate) fn text(&mut self, field: &str, text: &str) {
        self.0.text(field, text);
        super::process::string_limit(format_args!("{field}"), text, &mut self.0);
    }

    pub(crate) fn absolute(&mut self, field: &str, path: &str) {
        self.0.absolute(field, path);
    }

    /// A field that cannot be used.
    pub(crate) fn error(&mut self, field: &str, reason: impl Into<String>) {
        self.0.error(field, reason);
    }

    /// The mounts of a sandbox with these namespaces, each with its path cleaned.
    pub(crate) fn mounts(&mut self, mounts: Vec<Mount>, namespaces: &Namespaces) -> Vec<Mount> {
        let check = |mut checked: Mount| {
            let origin = Origin::from(format!("{BARE_ORIGIN}{}", checked.origin()));
            checked.destination = mount::destination(&origin, &checked.destination, &mut self.0);
            if checked.options.bind.is_some() {
                self.0.absolute(format_args!("{origin}.source"), &checked.source);
            }
            mount::check(&origin, &checked, namespaces, &mut self.0);
            checked
        };
        mounts.into_iter().map(check).collect()
    }

    /// All that is wrong, if anything is.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.finish("sandbox", Vec::new()).map(drop)
    }
}

/// The extents of an id map as the kernel takes them, adjacent ones merged.
///
/// # Errors
///
/// What the kernel would refuse, and a map without id 0.
pub(crate) fn check_id_map(field: &'static str, ranges: &[IdRange]) -> Result<Vec<IdRange>> {
    let mut findings = Findings::default();
    let map = id_map::extents(field, ranges.iter().copied(), &mut findings);
    if findings.is_empty() && !id_map::is_mapped(&map, 0) {
        findings.error(field, "id 0 of the inside is not mapped");
    }
    findings.finish(field, Vec::new())?;
    Ok(map)
}
