//! The container's own rights on its cgroup.
//!
//! Two things, both of cgroup v2 only, because v1 cannot be handed over safely (cgroups(7),
//! "Delegation"): who owns the directory, and whether the processes begin in a leaf below it.

use crate::cgroup::{Cgroup, CgroupPlan, Mode};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::ValidSpec;

/// Annotations that ask for an inner leaf, with its name as the value: ours, and the one of crun.
const ANNOTATIONS: [&str; 2] = ["org.runtime.delegate-cgroup", "run.oci.delegate-cgroup"];

/// What is handed over.
#[derive(Debug, Default)]
pub(super) struct Delegation {
    /// The host's number of the user who gets the cgroup.
    owner: Option<u32>,
    /// The path of the leaf below the container's cgroup.
    leaf: Option<String>,
}

impl Delegation {
    /// # Errors
    ///
    /// A leaf whose name is no path below the cgroup, or that this host cannot have.
    pub(super) fn new(spec: &ValidSpec, cgroup: Option<&CgroupPlan>, privileged: bool) -> Result<Self> {
        let unified = cgroup.filter(|plan| plan.location.mode == Mode::Unified);
        let leaf = leaf(spec)?;
        if let (Some((origin, _)), None) = (&leaf, unified) {
            return Err(Error::new(ErrorKind::Unsupported, "delegate a cgroup to the container")
                .reason("it is safe on cgroup v2 alone")
                .origin(origin.clone())
                .with_hint("remove the annotation"));
        }
        let owner = unified.filter(|_| privileged).and_then(|_| spec.cgroup_owner());
        Ok(Self { owner, leaf: leaf.map(|(_, name)| name) })
    }

    /// The leaf's path below the container's cgroup.
    pub(super) fn leaf(&self) -> Option<&str> {
        self.leaf.as_deref()
    }

    /// Changes the owner and makes the leaf; no process is in it yet.
    pub(super) fn make(&self, cgroup: &Cgroup) -> Result<()> {
        if let Some(owner) = self.owner {
            cgroup.delegate(owner, None)?;
        }
        let Some(name) = &self.leaf else { return Ok(()) };
        let leaf = cgroup.make_leaf(name)?;
        self.owner.map_or(Ok(()), |owner| leaf.delegate(owner, None))
    }

    /// Moves the init into the leaf. Its cgroup namespace, made before, keeps its root above: there
    /// the container may enable controllers, because nothing runs in it any more.
    pub(super) fn enter(&self, cgroup: &Cgroup, pid: i32) -> Result<()> {
        match &self.leaf {
            Some(name) => cgroup.sub(&[name.as_str()])?.attach(pid),
            None => Ok(()),
        }
    }
}

/// JSON path and value of the first annotation that asks for a leaf.
fn leaf(spec: &ValidSpec) -> Result<Option<(String, String)>> {
    let found = ANNOTATIONS.iter().find_map(|key| Some((*key, spec.annotations.get(*key)?)));
    let Some((key, name)) = found else { return Ok(None) };
    let origin = format!("annotations[{key:?}]");
    let bad = |part: &str| {
        part.is_empty() || matches!(part, "." | "..") || part.starts_with("cgroup.") || part.len() > 255
    };
    if name.contains(['\0', '\n', ':']) || name.split('/').any(bad) {
        return Err(Error::invalid(
            origin,
            format!("{name:?} is not the name of a cgroup, such as \"init\""),
        ));
    }
    Ok(Some((origin, name.clone())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cgroup::View;

    fn delegation(mode: Mode, change: impl FnOnce(&mut serde_json::Value)) -> Result<Delegation> {
        let spec = crate::spec::default_spec(None, true).unwrap();
        let mut config = serde_json::to_value(&spec).unwrap();
        change(&mut config);
        let spec = ValidSpec::parse(config.to_string().as_bytes()).unwrap();
        let plan = CgroupPlan::compile(&View::new(mode, &["memory"], &[]), None, "web", &Default::default());
        Delegation::new(&spec, Some(&plan.unwrap()), true)
    }

    fn owner(mode: Mode, change: impl FnOnce(&mut serde_json::Value)) -> Option<u32> {
        delegation(mode, change).unwrap().owner
    }

    fn writable(config: &mut serde_json::Value) {
        for mount in config["mounts"].as_array_mut().unwrap() {
            mount["options"]
                .as_array_mut()
                .into_iter()
                .for_each(|options| options.retain(|option| option != "ro"));
        }
    }

    #[test]
    fn a_leaf_is_a_path_below() {
        for key in ANNOTATIONS {
            let with =
                |name: &str| delegation(Mode::Unified, |config| config["annotations"] = json!({key: name}));
            assert_eq!(with("init").unwrap().leaf(), Some("init"));
            assert_eq!(with("a/b").unwrap().leaf(), Some("a/b"));
            for bad in ["", "/init", "..", "a/../..", "cgroup.procs", "cpu:x", "a\nb", "a/"] {
                assert_eq!(with(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
            }
        }
        assert_eq!(delegation(Mode::Unified, |_| {}).unwrap().leaf(), None);
        for mode in [Mode::Hybrid, Mode::Legacy] {
            let error = delegation(mode, |config| config["annotations"] = json!({ANNOTATIONS[1]: "init"}));
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
        }
    }

    #[test]
    fn the_owner_is_the_user_of_the_program() {
        let mapped = |config: &mut serde_json::Value| {
            writable(config);
            config["process"]["user"]["uid"] = json!(7);
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            let map = json!([{"containerID": 0, "hostID": 5000, "size": 10}]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
        };
        assert_eq!(owner(Mode::Unified, mapped), Some(5007));
        assert_eq!(owner(Mode::Hybrid, mapped), None);
        assert_eq!(owner(Mode::Unified, writable), None, "root has it already");
        let read_only = |config: &mut serde_json::Value| config["process"]["user"]["uid"] = json!(7);
        assert_eq!(owner(Mode::Unified, read_only), None);
        let tree_read_only = |config: &mut serde_json::Value| {
            mapped(config);
            let mounts = config["mounts"].as_array_mut().unwrap();
            let options = mounts.iter_mut().filter(|mount| mount["type"] == "cgroup");
            options.for_each(|mount| mount["options"].as_array_mut().unwrap().push(json!("rro")));
        };
        assert_eq!(owner(Mode::Unified, tree_read_only), None);
    }
}
