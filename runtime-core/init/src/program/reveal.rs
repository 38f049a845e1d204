//! The host's procfs and sysfs leave the mount namespace of a container whose root is moved, not pivoted:
//! the kernel lets a user namespace mount a new procfs only where an uncovered one is visible, and
//! those of the host are not masked.

use core::ffi::CStr;

use crate::program::file::{self, O_NONBLOCK};
use crate::program::{At, Failure, Init, Step, call, errno, namespace};
use crate::report::Detail;
use crate::syscall::nr;

const MS_SLAVE_REC: usize = 1 << 19 | 0x4000;
const MNT_DETACH: usize = 2;

/// A table of mounts beyond this is not gone through.
const ROUNDS: usize = 4096;

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
    let mut lines = Lines { fd: table, buffer: [0; 8192], start: 0, end: 0 };
    let mut found = None;
    while let Some(line) = lines.next()? {
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

fn is_below(path: &[u8], root: &[u8]) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The place of a whole procfs or sysfs: id, parent, device, root, place, options, then after a hyphen
/// the type (proc_pid_mountinfo(5)).
fn revealing(line: &[u8]) -> Option<Place> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = fields.nth(3)?;
    let place = fields.next()?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    if root != b"/" || !matches!(kind, b"proc" | b"sysfs") {
        return None;
    }
    let mut path = Place { bytes: [0; 4096], len: 0 };
    let mut at = 0;
    while at < place.len() {
        // Blanks and backslashes are three octal digits.
        let (byte, len) = match place[at..] {
            [b'\\', a, b, c, ..] => ((a & 7) << 6 | (b & 7) << 3 | c & 7, 4),
            _ => (place[at], 1),
        };
        *path.bytes.get_mut(path.len)? = byte;
        path.len += 1;
        at += len;
    }
    Some(path)
}

/// Reads a file by lines; of one that is longer than the buffer, the rest comes as lines of its own,
/// which no field of the table's form begins.
struct Lines {
    fd: i32,
    buffer: [u8; 8192],
    start: usize,
    end: usize,
}

impl Lines {
    fn next(&mut self) -> Step<Option<&[u8]>> {
        loop {
            let held = &self.buffer[self.start..self.end];
            let full = self.start == 0 && self.end == self.buffer.len();
            let line = held.iter().position(|byte| *byte == b'\n').or(full.then_some(held.len()));
            if let Some(len) = line {
                let start = self.start;
                self.start = (start + len + 1).min(self.end);
                return Ok(Some(&self.buffer[start..start + len]));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let room = &mut self.buffer[self.end..];
            match call!(nr::READ, self.fd, room.as_mut_ptr(), room.len()).at(Detail::Read)? {
                0 => return Ok(None),
                len => self.end += len,
            }
        }
    }
}
