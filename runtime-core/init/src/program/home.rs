//! HOME, where the environment has none.

use crate::call;
use crate::parse::lines::Lines;
use crate::parse::passwd;
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

    /// Takes the directory of the first line that is the user's.
    fn read(&mut self, file: i32, uid: u32) {
        /// An image's passwd beyond this is not read on.
        const LIMIT: usize = 1 << 20;
        let mut total = 0;
        let mut lines = Lines::<_, 4096>::new(|room: &mut [u8]| {
            if total >= LIMIT {
                return Ok(0);
            }
            let read = call!(nr::READ, file, room.as_mut_ptr(), room.len());
            total += read.unwrap_or(0);
            read
        });
        // What cannot be read is the end of the file.
        while let Ok(Some(line)) = lines.next() {
            if let Some(home) = passwd::home_of(line, uid) {
                return self.set(home);
            }
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
