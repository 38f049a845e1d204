//! Id maps of a new user namespace, and what they allow.

use super::IdMaps;
use super::lanes::Context;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::spec::{Kind, ValidProcess, ValidSpec, unmapped_id};
use runtime_init::ops::SetGroups;

/// The id maps of a new user namespace.
pub(super) fn id_maps(context: Context<'_>) -> Result<Option<IdMaps>> {
    if !context.namespaces().makes(Kind::User) {
        return Ok(None);
    }
    let spec = context.spec;
    Ok(Some(IdMaps {
        uid: spec.uid_map.clone(),
        gid: spec.gid_map.clone(),
        deny_setgroups: maps_only_own_group(spec, context.host),
    }))
}

/// user_namespaces(7): without privileges one can map one's own group alone, and only without
/// setgroups(2).
fn maps_only_own_group(spec: &ValidSpec, host: &Host) -> bool {
    let (uid, gid) = host.effective_ids();
    uid != 0 && matches!(spec.gid_map.as_slice(), [range] if range.size == 1 && range.host == gid)
}

/// Whether the process can set its groups, and is to.
pub(super) fn set_groups(spec: &ValidSpec, host: &Host, enters_user_namespace: bool) -> SetGroups {
    if spec.keeps_groups() {
        return SetGroups::Never;
    }
    // A new user namespace inherits "deny" from the one it is made in.
    let allowed = host.may_set_groups()
        && if enters_user_namespace { !maps_only_own_group(spec, host) } else { host.effective_ids().0 == 0 };
    match allowed {
        false => SetGroups::Never,
        // Who made it may have denied it. The groups of the host's root do not go into a container, though.
        true if spec.namespaces.joins(Kind::User) && !host.is_privileged() => SetGroups::IfAllowed,
        true => SetGroups::Always,
    }
}

/// Refuses a user that the container's user namespace does not have.
pub(super) fn check_user(spec: &ValidSpec, process: &ValidProcess, set_groups: SetGroups) -> Result<()> {
    let origin = process.origin;
    let groups = if spec.keeps_groups() { &[][..] } else { process.groups.as_slice() };
    if set_groups == SetGroups::Never && !groups.is_empty() {
        let field = format!("{origin}user.additionalGids");
        return Err(Error::invalid(field, "cannot set any additional groups in a rootless container"));
    }
    if !spec.namespaces.makes(Kind::User) {
        return Ok(());
    }
    match unmapped_id(process, groups, &spec.uid_map, &spec.gid_map) {
        Some((field, reason)) => Err(Error::invalid(field, reason)),
        None => Ok(()),
    }
}
