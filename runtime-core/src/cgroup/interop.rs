//! Cgroups of the crate `cgroups-rs`, and ours as its type.

use cgroups_rs::fs::{Cgroup as Theirs, hierarchies};

use super::location::clean;
use super::{Cgroup, Hierarchies, Location, Mode, Version};
use crate::error::{Error, ErrorKind, Result};

/// With the feature `cgroups-rs`: the same cgroup for code that uses that crate. Its type is a path, ours are descriptors, so
/// the two do not keep each other alive, and both see what the other writes.
///
/// What to know of the crate (version 0.5.1, compared with this library field by field in `benches/cgroups-rs`):
///
/// * `delete` moves live processes to the root cgroup, where nothing limits them, and succeeds: use
///   [`kill_all`](Cgroup::kill_all) and [`remove`](Cgroup::remove).
/// * Zeroes and -1 that engines write for "unset" are values to it. `unified`, burst and idle of the CPU and rdma are left out
///   without an error; device rules do not work on cgroup v2.
/// * Its statistics say 0 for what could not be read, and its list of processes has one level only.
/// * A freeze is not waited for.
/// * It follows `..` and links in paths.
impl Cgroup {
    /// This cgroup as one of `cgroups-rs`.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use runtime_core::cgroup::{Cgroup, CgroupPlan, Hierarchies, Resources};
    ///
    /// let machine = Hierarchies::detect()?;
    /// let plan = CgroupPlan::compile(machine.view(), Some("/engine/one"), "one", &Resources::default())?;
    /// let cgroup = Cgroup::create(&machine, &plan)?;
    /// let theirs = cgroup.to_cgroups_rs()?;
    /// println!("{:?}", theirs.tasks());
    /// cgroup.remove()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported): there is no cgroup, its paths differ between hierarchies of cgroup v1, or it is
    /// in a mount of cgroup v2 that the crate does not use (the crate takes `/sys/fs/cgroup`).
    pub fn to_cgroups_rs(&self) -> Result<Theirs> {
        let refused = |reason: &str| {
            Error::new(ErrorKind::Unsupported, "open a cgroup by cgroups-rs").reason(reason.to_owned())
        };
        let unified = self.mode == Mode::Unified;
        // On a hybrid machine the crate sees cgroup v1 alone.
        let wanted = if unified { Version::V2 } else { Version::V1 };
        let mut places =
            self.members.iter().map(|member| &member.place).filter(|place| place.version == wanted);
        let place = places.next().ok_or_else(|| refused("there is none"))?;
        if places.any(|other| other.path != place.path) {
            return Err(refused("its path is not the same in all hierarchies"));
        }
        let hierarchy = hierarchies::auto();
        if hierarchy.v2() != unified || (unified && hierarchy.root() != std::path::Path::new(&place.mount)) {
            return Err(refused("the crate uses another mount"));
        }
        Ok(Theirs::load(hierarchy, &place.path))
    }

    /// A cgroup of `cgroups-rs` as one of this library.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use runtime_core::cgroup::Cgroup;
    ///
    /// let theirs = cgroups_rs::fs::Cgroup::new(cgroups_rs::fs::hierarchies::auto(), "engine/one")?;
    /// let cgroup = Cgroup::from_cgroups_rs(&theirs)?;
    /// cgroup.kill_all()?; // whatever is in it, at any depth
    /// cgroup.remove()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): its path is the root, or has `..`, which the crate would follow out of the
    /// cgroup; [`NotFound`](ErrorKind::NotFound): there is no such cgroup; those of [`Hierarchies::detect`].
    pub fn from_cgroups_rs(theirs: &Theirs) -> Result<Self> {
        let path = theirs.path().trim_matches('/');
        if path.is_empty() || clean(path) != path {
            return Err(Error::invalid("cgroup", format!("{path:?} is not a clean cgroup path")));
        }
        let machine = Hierarchies::detect()?;
        let location = Location::compile(machine.view(), Some(&format!("/{path}")), "")?;
        let cgroup = Self::open(&location)?;
        match cgroup.is_none() {
            true => Err(Error::new(ErrorKind::NotFound, format!("open cgroup {path:?}"))),
            false => Ok(cgroup),
        }
    }
}
