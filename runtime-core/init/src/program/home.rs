//! HOME, where the environment has none.

use crate::call;
use crate::program::file::{self, AT_FDCWD, O_NOCTTY, O_NONBLOCK, O_PATH, RESOLVE_NO_MAGICLINKS};
use crate::syscall::nr;

/// Room for the variable; a longer directory is not taken.
pub(crate) const HOME_BYTES: usize = 512;

/// `HOME=…`, NUL-terminated.
pub(crate) struct Home {
    pub(crate) bytes: [u8; HOME_BYTES],
}

impl Default for Home {
    fn default() -> Self {
        let mut home = Self { bytes: [0; HOME_BYTES] };
        home.set(b"/");
        home
    }
}

impl Home {
    /// The home directory that /etc/passwd gives the user, or "/"; `None` if the file cannot be read.
    pub(crate) fn of(uid: u32) -> Option<Self> {
        let file = open_passwd()?;
        let mut home = Self::default();
        home.read(file, uid);
        file::close(file);
        Some(home)
    }

    /// Goes through the file by lines; a line longer than the buffer is skipped.
    fn read(&mut self, file: i32, uid: u32) {
        /// An image's passwd beyond this is not read on.
        const LIMIT: usize = 1 << 20;
        let mut buffer = [0u8; 4096];
        let (mut held, mut total, mut skipping) = (0, 0, false);
        while total < LIMIT {
            let Ok(len @ 1..) = call!(nr::READ, file, buffer[held..].as_mut_ptr(), buffer.len() - held)
            else {
                break;
            };
            total += len;
            held += len;
            let mut start = 0;
            while let Some(end) = buffer[start..held].iter().position(|byte| *byte == b'\n') {
                if !core::mem::take(&mut skipping) && self.take_line(start, start + end, &buffer, uid) {
                    return;
                }
                start += end + 1;
            }
            buffer.copy_within(start..held, 0);
            held -= start;
            if held == buffer.len() {
                (held, skipping) = (0, true);
            }
        }
        if !skipping {
            self.take_line(0, held, &buffer, uid);
        }
    }

    /// name:password:uid:gid:comment:home:shell
    fn take_line(&mut self, start: usize, end: usize, buffer: &[u8], uid: u32) -> bool {
        let mut fields = buffer[start..end].split(|byte| *byte == b':').skip(2);
        let matches = fields.next().and_then(decimal) == Some(uid);
        match fields.nth(2) {
            Some(home) if matches && !home.is_empty() => {
                self.set(home);
                true
            }
            _ => false,
        }
    }

    fn set(&mut self, home: &[u8]) {
        const PREFIX: &[u8] = b"HOME=";
        let home = if home.len() + PREFIX.len() < self.bytes.len() { home } else { b"/" };
        self.bytes = [0; HOME_BYTES];
        self.bytes[..PREFIX.len()].copy_from_slice(PREFIX);
        self.bytes[PREFIX.len()..PREFIX.len() + home.len()].copy_from_slice(home);
    }
}

/// A strict decimal number.
fn decimal(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter()
        .try_fold(0u32, |value, digit| value.checked_mul(10)?.checked_add((*digit as char).to_digit(10)?))
}

/// /etc/passwd of the root, if that is a regular file. It is looked at first: root of the container opens it, and to
/// open a device can have effects.
fn open_passwd() -> Option<i32> {
    let open = |flags: usize| {
        let file = file::open(AT_FDCWD, c"/etc/passwd", flags, 0, RESOLVE_NO_MAGICLINKS).ok()?;
        if file::stat(file, c"").is_ok_and(|stat| stat.kind() == file::S_IFREG) {
            return Some(file);
        }
        file::close(file);
        None
    };
    file::close(open(O_PATH)?);
    open(O_NONBLOCK | O_NOCTTY)
}
