//! The host's procfs and sysfs leave the mount namespace of a container whose root is moved, not pivoted:
//! the kernel lets a user namespace mount a new procfs only where an uncovered one is visible, and
//! those of the host are not masked.

use core::ffi::CStr;

use crate::abi::{MNT_DETACH, MS_REC, MS_SLAVE, O_NONBLOCK, errno};
use crate::parse::lines::Lines;
use crate::parse::mountinfo;
use crate::parse::path::is_below;
use crate::program::{At, Failure, Init, Step, namespace};
use crate::report::Detail;
use crate::sys::file::{getcwd, read};
use crate::sys::mount::{mount, umount};

/// A table of mounts beyond this is not gone through.
const ROUNDS: usize = 4096;

/// Room for a line of the table.
const LINE: usize = 8192;

/// Detaches every whole procfs and sysfs outside of the working directory, which is the new root; one
/// that is locked is covered.
#[inline(never)]
pub(crate) fn detach(init: &mut Init) -> Step {
    let mut root = [0u8; 4096];
    let len = getcwd(&mut root).at(Detail::Chdir)?;
    let root = root.get(..len.saturating_sub(1)).unwrap_or_default();
    let mut covered = 0usize;
    for _ in 0..ROUNDS {
        let Some(mut found) = find(init, root, covered)? else { return Ok(()) };
        let path = found.path()?;
        // What is shared with the host must not leave it too.
        mount(None, path, None, MS_SLAVE | MS_REC, None).at(Detail::Mount)?;
        match umount(path, MNT_DETACH) {
            Ok(()) => {}
            Err(errno::EINVAL | errno::EPERM) => {
                mount(Some(c"tmpfs"), path, Some(c"tmpfs"), 0, None).at(Detail::Mount)?;
                covered = covered.saturating_add(1);
            }
            Err(errno) => return Err(Failure::new(errno, Detail::Umount)),
        }
    }
    Err(Failure::new(errno::ELOOP, Detail::Umount))
}

/// The place of a mount.
struct Place {
    bytes: [u8; 4096],
    len: usize,
}

impl Place {
    fn path(&mut self) -> Step<&CStr> {
        let malformed = Failure::new(errno::ENAMETOOLONG, Detail::Read);
        *self.bytes.get_mut(self.len).ok_or(malformed)? = 0;
        self.bytes.get(..=self.len).and_then(|path| CStr::from_bytes_with_nul(path).ok()).ok_or(malformed)
    }
}

/// The mount after the first `skip` that match.
#[inline(never)]
fn find(init: &mut Init, root: &[u8], mut skip: usize) -> Step<Option<Place>> {
    let table = namespace::open_own(init, c"mountinfo", O_NONBLOCK)?;
    let mut lines = Lines::<_, LINE>::new(|room: &mut [u8]| read(table.fd(), room));
    let mut found = None;
    while let Some(line) = lines.next().at(Detail::Read)? {
        let Some(place) =
            revealing(line).filter(|place| !is_below(place.bytes.get(..place.len).unwrap_or_default(), root))
        else {
            continue;
        };
        if skip == 0 {
            found = Some(place);
            break;
        }
        skip = skip.saturating_sub(1);
    }
    Ok(found)
}

/// The place of a whole procfs or sysfs.
fn revealing(line: &[u8]) -> Option<Place> {
    let mount = mountinfo::mount(line).filter(|mount| mount.root == b"/")?;
    if !matches!(mount.kind, b"proc" | b"sysfs") {
        return None;
    }
    let mut place = Place { bytes: [0; 4096], len: 0 };
    place.len = mountinfo::unescaped(mount.place, &mut place.bytes)?;
    Some(place)
}
