//! The host's procfs and sysfs leave the mount namespace of a container whose root is moved, not pivoted:
//! the kernel lets a user namespace mount a new procfs only where an uncovered one is visible, and
//! those of the host are not masked.

use core::ffi::CStr;

use crate::parse::lines::Lines;
use crate::parse::mountinfo;
use crate::parse::path::is_below;
use crate::program::file::{self, O_NONBLOCK};
use crate::program::{At, Failure, Init, Step, call, errno, namespace};
use crate::report::Detail;
use crate::syscall::nr;

const MS_SLAVE_REC: usize = 1 << 19 | 0x4000;
const MNT_DETACH: usize = 2;

/// A table of mounts beyond this is not gone through.
const ROUNDS: usize = 4096;

/// Room for a line of the table.
const LINE: usize = 8192;

/// Detaches every whole procfs and sysfs outside of the working directory, which is the new root; one
/// that is locked is covered.
#[inline(never)]
pub(crate) fn detach(init: &mut Init) -> Step {
    let mut root = [0u8; 4096];
    let len = call!(nr::GETCWD, root.as_mut_ptr(), root.len()).at(Detail::Chdir)?;
    let root = &root[..len.saturating_sub(1)];
    let mut covered = 0;
    for _ in 0..ROUNDS {
        let Some(mut found) = find(init, root, covered)? else { return Ok(()) };
        let path = found.path()?;
        // What is shared with the host must not leave it too.
        call!(nr::MOUNT, 0, path.as_ptr(), 0, MS_SLAVE_REC, 0).at(Detail::Mount)?;
        match call!(nr::UMOUNT2, path.as_ptr(), MNT_DETACH) {
            Ok(_) => {}
            Err(errno::EINVAL | errno::EPERM) => {
                let kind = c"tmpfs".as_ptr();
                call!(nr::MOUNT, kind, path.as_ptr(), kind, 0, 0).at(Detail::Mount)?;
                covered += 1;
            }
            Err(errno) => return Err(errno).at(Detail::Umount),
        }
    }
    Err(Failure { errno: errno::ELOOP, detail: Detail::Umount as u32 })
}

/// The place of a mount.
struct Place {
    bytes: [u8; 4096],
    len: usize,
}

impl Place {
    fn path(&mut self) -> Step<&CStr> {
        let malformed = Failure { errno: errno::ENAMETOOLONG, detail: Detail::Read as u32 };
        *self.bytes.get_mut(self.len).ok_or(malformed)? = 0;
        CStr::from_bytes_with_nul(&self.bytes[..=self.len]).map_err(|_| malformed)
    }
}

/// The mount after the first `skip` that match.
#[inline(never)]
fn find(init: &mut Init, root: &[u8], mut skip: usize) -> Step<Option<Place>> {
    let table = namespace::open_own(init, c"mountinfo", O_NONBLOCK)?;
    let mut lines =
        Lines::<_, LINE>::new(|room: &mut [u8]| call!(nr::READ, table, room.as_mut_ptr(), room.len()));
    let mut found = None;
    while let Some(line) = lines.next().at(Detail::Read)? {
        let Some(place) = revealing(line).filter(|place| !is_below(&place.bytes[..place.len], root)) else {
            continue;
        };
        if skip == 0 {
            found = Some(place);
            break;
        }
        skip -= 1;
    }
    file::close(table);
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
