//! HOME, where the environment has none.

use crate::abi::{O_NOCTTY, O_NONBLOCK, O_PATH, RESOLVE_NO_MAGICLINKS, S_IFREG};
use crate::parse::lines::Lines;
use crate::parse::passwd;
use crate::program::file::open;
use crate::sys::file::{read, stat};
use crate::sys::{Fd, Owned};

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
        home.read(file.fd(), uid);
        Some(home)
    }

    /// Takes the directory of the first line that is the user's.
    fn read(&mut self, file: Fd<'_>, uid: u32) {
        /// An image's passwd beyond this is not read on.
        const LIMIT: usize = 1 << 20;
        let mut total = 0usize;
        let mut lines = Lines::<_, 4096>::new(|room: &mut [u8]| {
            if total >= LIMIT {
                return Ok(0);
            }
            let read = read(file, room);
            total = total.saturating_add(read.unwrap_or(0));
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
        // With the final NUL.
        let home = if home.len() < const { HOME_BYTES - PREFIX.len() } { home } else { b"/" };
        self.bytes = [0; HOME_BYTES];
        self.bytes.iter_mut().zip(PREFIX.iter().chain(home)).for_each(|(place, byte)| *place = *byte);
    }
}

/// /etc/passwd of the root, if that is a regular file. It is looked at first: root of the container opens it, and to
/// open a device can have effects.
fn open_passwd() -> Option<Owned> {
    let regular = |flags: u32| {
        let file = open(Fd::WORKING_DIRECTORY, c"/etc/passwd", flags, 0, RESOLVE_NO_MAGICLINKS).ok()?;
        stat(file.fd(), c"").is_ok_and(|stat| stat.kind() == S_IFREG).then_some(file)
    };
    drop(regular(O_PATH)?);
    regular(O_NONBLOCK | O_NOCTTY)
}
