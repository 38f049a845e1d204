//! `mounts`.

use super::lists::Text;
use oci_spec::runtime as oci;

use super::findings::Findings;
use super::id_map;
use super::mount_options::MountOptions;
use super::names::Canonical;
use super::namespace::{Kind, Namespaces};
use super::parse::parse;
use crate::error::{Error, Result};
use crate::origin::Origin;
use crate::plan::IdRange;

/// A mount of the container.
#[derive(Debug, Clone)]
pub(crate) struct Mount {
    /// Where: an absolute path in the container, without `.`, `..` and double slashes.
    pub(crate) destination: String,
    /// The file system; `bind` for every bind mount.
    pub(crate) kind: String,
    /// The source; of a bind mount a path, absolute or relative to the bundle.
    pub(crate) source: String,
    /// The options.
    pub(crate) options: MountOptions,
    /// `uidMappings` of the mount.
    pub(crate) uid_map: Vec<IdRange>,
    /// `gidMappings` of the mount.
    pub(crate) gid_map: Vec<IdRange>,
    /// Its place in `mounts`.
    pub(crate) index: usize,
}

impl Mount {
    /// JSON path.
    pub(crate) fn origin(&self) -> Origin {
        Origin::Mount(self.index)
    }
}

/// Takes the root out of destinations that are written as paths of the host, as runc does.
///
/// # Errors
///
/// What is left may not be mounted on.
pub(super) fn strip_root(mounts: &mut [Mount], root: &str) -> Result<(), Error> {
    let mut findings = Findings::default();
    for mount in mounts {
        let Some(rest) = mount.destination.strip_prefix(root).filter(|rest| rest.starts_with('/')) else {
            continue;
        };
        mount.destination = rest.to_owned();
        check_proc(&mount.origin(), mount, &mut findings);
    }
    findings.finish("config.json", Vec::new()).map(drop)
}

/// What may be mounted below /proc: single files that lxcfs emulates. Anything else could hide the
/// files to which the runtime and the kernel's security modules write (CVE-2015-3630,
/// CVE-2019-16884).
const BELOW_PROC: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

pub(super) fn mounts(spec: &oci::Spec, namespaces: &Namespaces, findings: &mut Findings) -> Vec<Mount> {
    let mounts: Vec<Mount> = spec
        .mounts()
        .iter()
        .flatten()
        .enumerate()
        .map(|(index, mount)| convert(index, mount, namespaces, findings))
        .collect();
    mounts
}

/// Parses and checks a list of mounts alone, for a container with these namespaces.
///
/// # Errors
///
/// All that is wrong, each with its place in the list.
pub(crate) fn parse_mounts(bytes: &[u8], namespaces: &Namespaces) -> Result<Vec<Mount>> {
    let (list, parsed) =
        parse::<Vec<oci::Mount>>(&Canonical::of::<Vec<oci::Mount>>(bytes), "mounts", Text::List)?;
    let mut findings = Findings::default();
    let mounts = list.iter().enumerate();
    let mounts = mounts.map(|(index, mount)| convert(index, mount, namespaces, &mut findings)).collect();
    findings.forget(&parsed.refused());
    findings.finish("mounts", parsed.errors)?;
    Ok(mounts)
}

fn convert(index: usize, mount: &oci::Mount, namespaces: &Namespaces, findings: &mut Findings) -> Mount {
    let origin = Origin::Mount(index);
    let options = MountOptions::parse(mount.options().as_deref().unwrap_or_default());
    for (at, option) in mount.options().iter().flatten().enumerate() {
        findings.text(format_args!("{origin}.options[{at}]"), option);
    }
    let source = mount.source().as_ref().map(|path| path.to_string_lossy().into_owned());
    let kind = mount.typ().clone().unwrap_or_default();
    let mut mount = Mount {
        destination: destination(&origin, &mount.destination().to_string_lossy(), findings),
        kind,
        source: source.unwrap_or_default(),
        options,
        uid_map: id_map::convert(
            &format!("{origin}.uidMappings"),
            mount.uid_mappings().as_deref().unwrap_or_default(),
            findings,
        ),
        gid_map: id_map::convert(
            &format!("{origin}.gidMappings"),
            mount.gid_mappings().as_deref().unwrap_or_default(),
            findings,
        ),
        index,
    };
    // With a bind option the type is a dummy (config.md); crun takes the type alone for it too.
    if mount.kind == "bind" && mount.options.bind.is_none() {
        mount.options.bind = Some(false);
    }
    if mount.options.bind.is_some() {
        mount.kind = "bind".to_owned();
    }
    check(&origin, &mount, namespaces, findings);
    mount
}

pub(super) fn destination(origin: &Origin, path: &str, findings: &mut Findings) -> String {
    let field = format!("{origin}.destination");
    findings.text(&field, path);
    if path.is_empty() {
        findings.error(&field, "must be specified");
        return "/".to_owned();
    }
    if !path.starts_with('/') {
        findings.warning(
            &field,
            format_args!("mount destination {path} is not absolute: it is taken as relative to \"/\""),
        );
    }
    let path = clean(path);
    if path == "/" {
        findings.error(&field, "is the root of the container");
    }
    path
}

/// The path from "/", without `.`, `..` and empty components, by its text alone: what a component
/// really is, is decided where it is opened.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

pub(super) fn check(origin: &Origin, mount: &Mount, namespaces: &Namespaces, findings: &mut Findings) {
    findings.text(format_args!("{origin}.type"), &mount.kind);
    findings.text(format_args!("{origin}.source"), &mount.source);
    let options = &mount.options;
    let bind = options.bind.is_some();
    if bind && mount.source.is_empty() && !options.remount {
        findings.error(format_args!("{origin}.source"), "a bind mount needs a source");
    }
    if !bind && mount.kind.is_empty() && !options.remount {
        findings.error(format_args!("{origin}.type"), "is required for a mount that is no bind mount");
    }
    if bind && !options.data.is_empty() {
        findings.error(
            format_args!("{origin}.options"),
            format!(
                "bind mounts cannot have any filesystem-specific options applied: {:?}",
                options.data.join(",")
            ),
        );
    }
    if options.copy_up && mount.kind != "tmpfs" {
        findings.error(format_args!("{origin}.options"), "\"tmpcopyup\" is only possible for tmpfs");
    }
    for (named, option) in [(options.source_nofollow, "src-nofollow"), (options.copy_symlink, "copy-symlink")]
    {
        if named && !bind {
            let reason = format!("{option:?} is only possible for bind mounts");
            findings.error(format_args!("{origin}.options"), reason);
        }
    }
    check_idmap(origin, mount, namespaces, findings);
    check_proc(origin, mount, findings);
}

fn check_idmap(origin: &Origin, mount: &Mount, namespaces: &Namespaces, findings: &mut Findings) {
    let own = !mount.uid_map.is_empty() || !mount.gid_map.is_empty();
    if mount.options.idmap.is_none() && !own {
        return;
    }
    if mount.options.bind.is_none() {
        findings.error(origin, "id-mapped mounts are only supported for bind-mounts");
    }
    let both = !mount.uid_map.is_empty() && !mount.gid_map.is_empty();
    if own && !both || !own && !namespaces.has(Kind::User) {
        findings.error(origin, "id-mapped mounts must have both uid and gid mappings specified");
    }
}

fn check_proc(origin: &Origin, mount: &Mount, findings: &mut Findings) {
    let path = mount.destination.as_str();
    let field = format!("{origin}.destination");
    if path == "/proc" {
        if !matches!(mount.kind.as_str(), "proc" | "bind") && !mount.options.remount {
            findings.error(&field, format!("{path:?} cannot be mounted because it is not of type proc"));
        }
    } else if path.starts_with("/proc/") && !BELOW_PROC.contains(&path) {
        findings.error(&field, format!("{path:?} cannot be mounted because it is inside /proc"));
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_are_cleaned_by_their_text() {
        assert_eq!(clean("data/../x//y/."), "/x/y");
        assert_eq!(clean("/../.."), "/");
    }
}
