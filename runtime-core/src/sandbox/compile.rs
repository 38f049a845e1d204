//! From a sandbox to the plan of its launch: the checked values that a configuration becomes too, and what is wrong with them.

use super::Sandbox;
use crate::capabilities::CapabilitySet;
use crate::cgroup::Mode;
use crate::error::Result;
use crate::host::Host;
use crate::idmap::IdMap;
use crate::namespaces::Namespaces;
use crate::plan::{CreateOptions, IdRange, LaunchPlan};
use crate::spec::{Bare, BareChecks, CapabilitySets, ValidProcess, ValidSpec};

/// Where programs are looked for, if the environment does not say.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The plan of the launch.
pub(super) fn plan(sandbox: &Sandbox<'_>) -> Result<LaunchPlan> {
    // Limits and device rules are the cgroup's, which the caller has made: the plan does not ask how.
    let host = Host::new().with_cgroup_mode(Mode::Unified);
    let spec = spec(sandbox, &host)?;
    let options = CreateOptions::new().gate(false).no_new_keyring(true);
    LaunchPlan::create(&spec, &host, &options).map_err(super::launch::in_sandbox)
}

fn spec(sandbox: &Sandbox<'_>, host: &Host) -> Result<ValidSpec> {
    // A field that is added has to be looked at here.
    let Sandbox {
        args: _,
        env: _,
        cwd: _,
        namespaces,
        joins,
        held,
        hostname,
        uid_map,
        gid_map,
        root,
        read_only_root,
        mounts,
        user: _,
        groups: _,
        capabilities: _,
        no_new_privileges: _,
        filter,
        cgroup: _,
        descriptors: _,
    } = sandbox;
    let mut checks = BareChecks::default();
    let process = process(sandbox, host, &mut checks);
    check(sandbox, host, &mut checks);
    check_joins(sandbox, &mut checks);
    let bare = Bare { own_root: root.is_some(), filter: filter.clone() };
    let joined = joins.iter().flat_map(|(kind, path)| kind.kinds().map(|kind| (kind, Some(path.clone()))));
    let made = namespaces.kinds().map(|kind| (kind, None));
    let mut spec = ValidSpec::bare(process, joined.chain(made), bare);
    let unchecked = mounts.iter().enumerate().map(|(index, mount)| mount.unchecked(index)).collect();
    spec.mounts = checks.mounts(unchecked, &spec.namespaces);
    spec.namespaces.hold(held);
    checks.finish()?;
    if let Some(root) = root {
        spec.root.clone_from(root);
    }
    spec.root_readonly = *read_only_root;
    spec.hostname.clone_from(hostname);
    if namespaces.contains(Namespaces::USER) {
        let (uid, gid) = host.effective_ids();
        spec.uid_map = ids(uid_map.as_ref(), uid, "sandbox.id_maps.users")?;
        spec.gid_map = ids(gid_map.as_ref(), gid, "sandbox.id_maps.groups")?;
    }
    Ok(spec)
}

/// The extents of a map; without one, the caller's own id as root.
fn ids(map: Option<&IdMap>, own: u32, field: &'static str) -> Result<Vec<IdRange>> {
    match map {
        Some(map) => map.checked(field),
        None => IdMap::single(0, own).checked(field),
    }
}

/// Each namespace to join is of one kind, and no other is asked for of that kind.
fn check_joins(sandbox: &Sandbox<'_>, checks: &mut BareChecks) {
    let mut known = sandbox.namespaces;
    for (at, (kind, path)) in sandbox.joins.iter().enumerate() {
        let field = format!("sandbox.joins[{at}]");
        checks.absolute(&field, path);
        match kind.kinds().count() {
            1 if *kind == Namespaces::MOUNT || *kind == Namespaces::USER => {
                checks.error(&field, format!("a {kind} namespace cannot be joined by a sandbox"));
            }
            1 if known.contains(*kind) => {
                checks.error(&field, format!("another {kind} namespace is asked for"));
            }
            1 => known |= *kind,
            count => checks.error(&field, format!("has {count} kinds of namespaces, not one")),
        }
    }
}

/// What one field says about another, and what the kernel would refuse without saying why.
fn check(sandbox: &Sandbox<'_>, host: &Host, checks: &mut BareChecks) {
    if let Some(root) = &sandbox.root {
        checks.absolute("sandbox.root", root);
    } else if sandbox.read_only_root {
        checks.error("sandbox.read_only_root", "takes a root: without one it would be that of the host");
    }
    if let Some(name) = &sandbox.hostname {
        checks.text("sandbox.hostname", name);
    }
    let Some(filter) = &sandbox.filter else { return };
    if filter.needs_listener() {
        checks.error("sandbox.filter", "asks an agent by a listener, which only a container has");
    }
    let may_load = sandbox.no_new_privileges
        || sandbox.namespaces.contains(Namespaces::USER)
        || host.capabilities().permitted & CapabilitySet::SYS_ADMIN.bits() != 0;
    if !may_load {
        checks.error("sandbox.filter", "takes no_new_privileges where the caller lacks CAP_SYS_ADMIN");
    }
}

fn process(sandbox: &Sandbox<'_>, host: &Host, checks: &mut BareChecks) -> ValidProcess {
    for (at, arg) in sandbox.args.iter().enumerate() {
        checks.text(&format!("sandbox.args[{at}]"), arg);
    }
    let in_user_namespace = sandbox.namespaces.contains(Namespaces::USER);
    let mut process = ValidProcess::bare(sandbox.args.clone());
    process.env = environment(sandbox, checks);
    if let Some(cwd) = &sandbox.cwd {
        checks.absolute("sandbox.cwd", cwd);
        process.cwd.clone_from(cwd);
    }
    let default = if in_user_namespace { (0, 0) } else { host.effective_ids() };
    (process.uid, process.gid) = sandbox.user.unwrap_or(default);
    process.groups.clone_from(&sandbox.groups);
    if [process.uid, process.gid].iter().chain(&process.groups).any(|id| *id == u32::MAX) {
        checks.error("sandbox.user", "4294967295 is no id");
    }
    process.no_new_privileges = sandbox.no_new_privileges;
    process.capabilities = Some(match sandbox.capabilities {
        Some(set) => chosen(set, process.uid),
        None if in_user_namespace => chosen(CapabilitySet::all(), 0),
        None => inherited(host),
    });
    process
}

/// Root gets its sets from the bounding set with execve(2), others from the ambient set (capabilities(7)).
fn chosen(set: CapabilitySet, uid: u32) -> CapabilitySets {
    let set = set.bits();
    let ambient = if uid == 0 { 0 } else { set };
    CapabilitySets { bounding: set, effective: set, permitted: set, inheritable: ambient, ambient }
}

fn inherited(host: &Host) -> CapabilitySets {
    let own = host.capabilities();
    CapabilitySets {
        bounding: own.bounding,
        effective: own.permitted,
        permitted: own.permitted,
        inheritable: own.inheritable,
        ambient: 0,
    }
}

fn environment(sandbox: &Sandbox<'_>, checks: &mut BareChecks) -> Vec<String> {
    let mut env = vec![PATH.to_owned()];
    for (name, value) in &sandbox.env {
        let field = format!("sandbox.env[{name:?}]");
        if name.is_empty() || name.contains('=') {
            checks.error(&field, "is not the name of a variable");
        }
        let entry = format!("{name}={value}");
        checks.text(&field, &entry);
        crate::spec::set_variable(&mut env, entry);
    }
    env
}
