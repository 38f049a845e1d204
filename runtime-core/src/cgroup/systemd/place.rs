//! Where a unit's cgroup is.

use super::{Call, Link, MANAGER, Manager, SYSTEMD, SYSTEMD_PATH, Unit, Value, property_of};
use crate::cgroup::remove::remove_single;
use crate::cgroup::{Directory, Hierarchies, Location, Mode, Version, mountinfo};
use crate::error::{Error, ErrorKind, Result};

/// The hierarchy of v1 that has no controller and shows the units.
const OWN_HIERARCHY: &str = "name=systemd";

/// Where systemd has the process: its cgroup2 path, or with v1 that in systemd's own hierarchy.
pub(super) fn path_of_process(pid: i32, mode: Mode) -> Result<String> {
    let text = mountinfo::read(&format!("/proc/{pid}/cgroup"))?;
    let names: &[&str] = if mode == Mode::Unified { &[""] } else { &[OWN_HIERARCHY, ""] };
    let path = names.iter().find_map(|name| mountinfo::own_cgroup(&text, name)).ok_or_else(|| {
        Error::new(ErrorKind::Cgroup, format!("find the cgroup of process {pid}"))
            .reason("it has none in a hierarchy of systemd")
    })?;
    Ok(String::from_utf8_lossy(path).trim_matches('/').to_owned())
}

/// Whether the path is that of the unit. systemd puts an underscore before names that could be taken for
/// a control file.
pub(super) fn is_of_unit(path: &str, unit: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    last == unit || last.strip_prefix('_') == Some(unit)
}

/// The cgroup of a slice, which has no process to look at.
pub(super) fn control_group(link: &mut Link, unit: &Unit) -> Result<String> {
    let reply = property_of(link, &unit.name, "org.freedesktop.systemd1.Slice", "ControlGroup")?
        .map_err(|refusal| unit.refused("find the cgroup of", &refusal))?;
    let text = reply.body("v").and_then(|mut body| (body.signature()? == "s").then(|| body.text())?);
    match text.map(|path| path.trim_matches('/')).filter(|path| is_of_unit(path, &unit.name)) {
        Some(path) => Ok(path.to_owned()),
        None => Err(unit.failed("find the cgroup of").reason(format!("systemd says {text:?}"))),
    }
}

/// The location of a cgroup that systemd has made.
pub(super) fn location(hierarchies: &Hierarchies, path: &str) -> Result<Location> {
    Location::compile(hierarchies.view(), Some(&format!("/{path}")), "")
}

impl Location {
    /// Removes what is left of slices that systemd has given up, in the hierarchies of v1 where it does
    /// not do that itself. What is in use stays, and so does what has a unit.
    pub(crate) fn remove_orphans(&self) {
        let Some(units) = self.place_of(OWN_HIERARCHY).or_else(|| self.unified()) else { return };
        let Ok(root) = Directory::open_absolute(&units.mount) else { return };
        let others = self.places.iter().filter(|place| place.version == Version::V1 && *place != units);
        for place in others {
            let Ok(theirs) = Directory::open_absolute(&place.mount) else { continue };
            let mut path = place.path.as_str();
            while let Some((slice, _)) = path.rsplit_once('/') {
                // Best effort: who uses it at this moment keeps it.
                if root.open_dir(slice).is_ok() || remove_single(&theirs, slice).is_err() {
                    break;
                }
                path = slice;
            }
        }
    }
}

impl Link {
    /// The cgroup of the manager itself, `/user.slice/…` of a user's; empty for the system's.
    pub(crate) fn manager_cgroup(&mut self) -> Result<String> {
        let operation = "find the cgroup of systemd";
        let arguments = [Value::text(MANAGER), Value::text("ControlGroup")];
        let call = Call {
            destination: SYSTEMD,
            path: SYSTEMD_PATH,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            arguments: &arguments,
        };
        let reply = self.0.call(&call)?.map_err(|refusal| refusal.error(operation.to_owned()))?;
        let text = reply.body("v").and_then(|mut body| (body.signature()? == "s").then(|| body.text())?);
        text.map(str::to_owned)
            .ok_or_else(|| Error::new(ErrorKind::Cgroup, operation).reason("the reply is no text"))
    }
}

/// Refuses machines where systemd cannot give the manager's caller a cgroup.
pub(crate) fn check_mode(mode: Mode, manager: Manager) -> Result<()> {
    if mode == Mode::Unified || manager == Manager::System {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, "use the systemd cgroup driver without privileges")
        .reason(format!("it needs cgroup v2, and the cgroup view is {}", mode.as_str()))
        .with_hint("boot with systemd.unified_cgroup_hierarchy=1, or use the cgroupfs driver"))
}
