//! A mount with another below it on the host, for what concerns whole trees.

use crate::case::Case;
use crate::verdict::{Stop, skip};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};
use std::path::PathBuf;

const NONE: Option<&str> = None;

/// Two bind mounts, `tree` and `tree/sub`, with the same flags; gone when dropped.
pub(crate) struct Tree(PathBuf);

impl Tree {
    /// Makes it below the case's shared directory.
    pub(crate) fn new(case: &Case, flags: MsFlags) -> Result<Self, Stop> {
        case.need_root("mounts on the host")?;
        if !crate::suite::is_private()? {
            return skip("the suite has no mount namespace of its own");
        }
        let share = case.share();
        let (top, low, tree) = (share.join("top"), share.join("low"), share.join("tree"));
        for directory in [&top, &low, &tree, &top.join("sub")] {
            std::fs::create_dir_all(directory)?;
        }
        let failed = |errno: nix::errno::Errno| Stop::from(std::io::Error::from(errno));
        let bind = |source: &PathBuf, target: &PathBuf| {
            mount(Some(source), target, NONE, MsFlags::MS_BIND, NONE)?;
            mount(NONE, target, NONE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags, NONE)
        };
        let made = Tree(tree.clone());
        mount(Some(&top), &tree, NONE, MsFlags::MS_BIND, NONE).map_err(failed)?;
        bind(&low, &tree.join("sub")).map_err(failed)?;
        mount(NONE, &tree, NONE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags, NONE).map_err(failed)?;
        Ok(made)
    }

    /// A mount of it at /out.
    pub(crate) fn at_out(&self, options: Value) -> Value {
        json!({"destination": "/out", "type": "bind", "source": self.0, "options": options})
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("# unmount {}: {error}", self.0.display());
        }
    }
}
