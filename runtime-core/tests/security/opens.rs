//! Whether a file is opened: to open a device or a pipe can have effects, or wait for ever.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

/// Counts how often a file is opened, from its making on (inotify(7)); O_PATH opens nothing.
pub(crate) struct Opens(OwnedFd);

impl Opens {
    pub(crate) fn of(path: &Path) -> Self {
        let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: plain numbers, and a C string; the new descriptor has no other owner.
        unsafe {
            let inotify = libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK);
            assert!(inotify >= 0, "inotify_init1");
            let watch = libc::inotify_add_watch(inotify, path.as_ptr(), libc::IN_OPEN);
            assert!(watch >= 0, "inotify_add_watch");
            Self(OwnedFd::from_raw_fd(inotify))
        }
    }

    /// How often since the last call.
    pub(crate) fn count(&self) -> usize {
        let mut events = [0u8; 4096];
        // SAFETY: the buffer is writable.
        let read = unsafe { libc::read(self.0.as_raw_fd(), events.as_mut_ptr().cast(), events.len()) };
        // Without a name an event has this size; equal ones are one.
        usize::try_from(read).unwrap_or(0) / size_of::<libc::inotify_event>()
    }
}
