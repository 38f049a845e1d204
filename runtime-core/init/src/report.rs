//! What goes over the socket between the init and its parent.
//!
//! The child sends a [`Report`]; the parent answers with one byte, [`GO`], or closes the socket; where the
//! child only awaits a word, that comes unasked. No strings cross: the parent owns the plan and knows what operation `step` is.

/// The parent's word to go on.
pub const GO: u8 = b'g';

/// The `step` of a failure before the first operation: the call is in `detail`.
pub const STEP_PRELUDE: u32 = u32::MAX;
/// A message of the child: where it is, and whether that failed.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Index of the operation.
    pub step: u32,
    /// 0 for a reached sync point, otherwise the errno of the failure.
    pub errno: i32,
    /// Which part of the operation failed, see [`Detail`]; for hooks the wait status.
    pub detail: u32,
}

/// Size of a [`Report`] on the wire.
pub const REPORT_BYTES: usize = 12;

impl Report {
    /// The bytes on the wire (host byte order: both ends are one machine).
    pub fn to_bytes(self) -> [u8; REPORT_BYTES] {
        let mut bytes = [0; REPORT_BYTES];
        bytes[0..4].copy_from_slice(&self.step.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.errno.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.detail.to_ne_bytes());
        bytes
    }

    /// Reads a report from the wire.
    pub fn from_bytes(bytes: &[u8; REPORT_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
        Self {
            step: u32::from_ne_bytes([a, b, c, d]),
            errno: i32::from_ne_bytes([e, f, g, h]),
            detail: u32::from_ne_bytes([i, j, k, l]),
        }
    }
}

/// Names the parts of operations that can fail, so that the parent can print the call.
macro_rules! details {
    ($($name:ident = $value:literal => $text:literal,)*) => {
        /// The part of an operation that failed.
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Detail { $(#[doc = concat!("The call or check: ", $text)] $name = $value,)* }

        impl Detail {
            /// The call, as people know it; empty for the operation itself.
            pub fn text(detail: u32) -> &'static str {
                match detail { $($value => $text,)* _ => "" }
            }
        }
    };
}

details! {
    Whole = 0 => "",
    Open = 1 => "open",
    OpenTree = 2 => "open_tree",
    MoveMount = 3 => "move_mount",
    MountSetattr = 4 => "mount_setattr",
    Fsopen = 5 => "fsopen",
    Fsconfig = 6 => "fsconfig",
    FsconfigCreate = 7 => "fsconfig create",
    Fsmount = 8 => "fsmount",
    Mount = 9 => "mount",
    Mkdir = 10 => "mkdir",
    Mknod = 11 => "mknod",
    Create = 12 => "create file",
    Symlink = 13 => "symlink",
    Stat = 14 => "stat",
    Chown = 15 => "chown",
    Chmod = 16 => "chmod",
    Read = 17 => "read",
    Write = 18 => "write",
    NotProcfs = 19 => "verify that /proc is a procfs",
    NotTheRequestedNode = 20 => "verify the type of the file",
    NotInRoot = 21 => "verify that it is inside the root file system",
    ReadBack = 22 => "verify the value read back",
    PivotRoot = 23 => "pivot_root",
    Umount = 24 => "umount",
    Chroot = 25 => "chroot",
    Chdir = 26 => "chdir",
    Setgroups = 27 => "setgroups",
    Setgid = 28 => "setresgid",
    Setuid = 29 => "setresuid",
    Ioctl = 30 => "ioctl",
    Fork = 31 => "fork",
    Execve = 32 => "execve",
    HookStatus = 33 => "wait status",
    HookTimeout = 34 => "timeout",
    Receive = 35 => "receive descriptors",
    Send = 36 => "send",
    Accept = 37 => "accept",
    Capset = 38 => "capset",
    Capget = 39 => "capget",
    Prctl = 40 => "prctl",
    Setns = 41 => "setns",
    Unshare = 42 => "unshare",
    Dup = 43 => "dup3",
    Memory = 44 => "mmap",
    Socket = 45 => "socket",
    Wait = 46 => "wait",
    TooLong = 47 => "path too long",
    Fchdir = 48 => "fchdir",
    Getdents = 49 => "getdents64",
    Xattr = 50 => "setxattr",
    LinkToRoot = 52 => "a link of the root file system leads to its root",
    CloseRange = 53 => "close_range",
    Sethostname = 54 => "sethostname",
    Setdomainname = 55 => "setdomainname",
    OpenNetwork = 58 => "open the new network namespace",
    Userfault = 59 => "userfaultfd",
    Seccomp = 60 => "seccomp",
    Getfd = 57 => "pidfd_getfd",
    Clone = 56 => "clone3",
    LinkIntoProc = 51 => "a link of the root file system leads into /proc",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_back_from_its_bytes() {
        let report =
            Report { step: STEP_PRELUDE, errno: 13, detail: Detail::HookStatus as u32 | 0x17f << 16 };
        assert_eq!(Report::from_bytes(&report.to_bytes()), report);
        assert_eq!(report.to_bytes().len(), size_of::<Report>());
    }

    #[test]
    fn an_unknown_detail_has_no_text() {
        assert_eq!(Detail::text(Detail::MoveMount as u32), "move_mount");
        assert_eq!(Detail::text(Detail::Whole as u32), "");
        assert_eq!(Detail::text(u32::MAX), "");
    }
}
