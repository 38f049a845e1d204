//! Parts of the program, each by itself: what a race would have to meet is put there first.

use std::ffi::{CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{Failure, Init, Lane, file, namespace};
use crate::abi::errno;
use crate::ops::{Header, MAGIC, Shared, Slot};
use crate::sys::{Fd, Owned};

unsafe extern "C" {
    fn memfd_create(name: *const c_char, flags: c_uint) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn geteuid() -> c_uint;
    fn mkfifo(path: *const c_char, mode: c_uint) -> c_int;
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn umount(target: *const c_char) -> c_int;
    fn unshare(flags: c_int) -> c_int;
}

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("runtime-init-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn text(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// open(2).
const O_RDONLY: u32 = 0;

fn errno_of(result: Result<Owned, Failure>) -> Option<i32> {
    result.err().map(|failure| failure.errno)
}

/// A component of a path is a real directory in its parent: neither a link nor the parent's parent. Control: a real one is
/// opened, and one that is missing is made.
#[test]
fn a_component_is_a_real_directory() {
    let scratch = Scratch::new("component");
    fs::create_dir(scratch.path("real")).unwrap();
    fs::create_dir(scratch.path("real/below")).unwrap();
    symlink("real", scratch.path("link")).unwrap();
    symlink("/", scratch.path("top")).unwrap();
    fs::write(scratch.path("file"), "").unwrap();
    let directory = File::open(&scratch.0).unwrap();
    let parent = Fd::numbered(directory.as_raw_fd());
    let made = |name: &str| errno_of(file::make_component(parent, &CString::new(name).unwrap(), 0o755));
    assert_eq!((made("real"), made("new")), (None, None));
    assert_eq!((made("link"), made("top")), (Some(errno::ELOOP), Some(errno::ELOOP)));
    assert_eq!((made(".."), made("real/../..")), (Some(errno::EXDEV), Some(errno::EXDEV)));
    assert_eq!(made("file"), Some(errno::ENOTDIR));
    assert!(scratch.path("new").is_dir());
}

/// A file that the init makes is a new one: what another process put in its place is neither opened nor followed. Control: where
/// nothing is, it is made.
#[test]
fn a_new_file_is_a_new_file() {
    let scratch = Scratch::new("file");
    let fifo = scratch.path("fifo");
    // SAFETY: a C string.
    assert_eq!(unsafe { mkfifo(text(&fifo).as_ptr(), 0o600) }, 0);
    // So that an open of it would not wait.
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    fs::write(scratch.path("regular"), "").unwrap();
    symlink("missing", scratch.path("dangling")).unwrap();
    symlink("regular", scratch.path("link")).unwrap();
    let directory = File::open(&scratch.0).unwrap();
    let parent = Fd::numbered(directory.as_raw_fd());
    for name in [c"fifo", c"regular", c"dangling", c"link"] {
        assert_eq!(errno_of(file::new_file(parent, name)), Some(errno::EEXIST), "{name:?}");
    }
    assert!(!scratch.path("missing").exists());
    assert_eq!(errno_of(file::new_file(parent, c"new")), None);
    assert!(scratch.path("new").is_file());
}

/// An init with an empty plan, at the descriptors from `base` on.
fn init(base: i32) -> Init {
    let header = Header {
        magic: MAGIC,
        ops: 0,
        arena: size_of::<Header>() as u32,
        base,
        init: 0,
        timed: 0,
        inherited: 0,
    };
    // SAFETY: a header is numbers without padding.
    let plan = unsafe { std::slice::from_raw_parts((&raw const header).cast::<u8>(), size_of::<Header>()) };
    put(plan, base);
    put(&vec![0; Shared::bytes(0)], base + i32::from(Slot::SHARED.0));
    Init::new(base, Slot::PLAN.bit() | Slot::SHARED.bit(), Lane::Init).unwrap_or_else(|_| panic!("no init"))
}

/// Puts a memory file with these bytes to a number.
fn put(bytes: &[u8], number: i32) {
    // SAFETY: a C string and plain numbers; the new descriptor has no other owner, and the number is the test's.
    unsafe {
        let file = memfd_create(c"init-test".as_ptr(), 1);
        let mut file = File::from(OwnedFd::from_raw_fd(file));
        std::io::Write::write_all(&mut file, bytes).unwrap();
        assert_eq!(dup2(file.as_raw_fd(), number), number);
    }
}

/// Gives this thread a mount namespace of its own; false without the right to.
fn own_mounts() -> bool {
    const CLONE_NEWNS: c_int = 0x2_0000;
    const MS_REC_PRIVATE: c_ulong = 0x4000 | 1 << 18;
    // SAFETY: plain numbers and C strings.
    unsafe {
        if geteuid() != 0 {
            println!("skipped: needs root");
            return false;
        }
        assert_eq!(unshare(CLONE_NEWNS), 0);
        let none = std::ptr::null();
        assert_eq!(mount(none, c"/".as_ptr(), none, MS_REC_PRIVATE, none.cast()), 0);
    }
    true
}

fn bind(source: &Path, target: &str) {
    const MS_BIND: c_ulong = 0x1000;
    let (source, target) = (text(source), CString::new(target).unwrap());
    // SAFETY: C strings.
    let bound =
        unsafe { mount(source.as_ptr(), target.as_ptr(), std::ptr::null(), MS_BIND, std::ptr::null()) };
    assert_eq!(bound, 0, "{target:?}");
}

/// What is at /proc where the runtime runs is a procfs, or the init has one of its own. Control: the host's is taken.
#[test]
fn a_false_proc_is_not_taken() {
    if !own_mounts() {
        return;
    }
    let mut init = init(400);
    assert!(namespace::open_host_proc(&mut init).is_ok());
    assert!(namespace::is_proc_root(init.fd(Slot::PROC)));
    let fake = Scratch::new("proc");
    fs::create_dir(fake.path("self")).unwrap();
    for place in [fake.0.as_path(), Path::new("/proc/self"), Path::new("/sys")] {
        let place = fs::canonicalize(place).unwrap();
        bind(&place, "/proc");
        assert!(namespace::open_host_proc(&mut init).is_ok());
        assert!(namespace::is_proc_root(init.fd(Slot::PROC)), "{place:?}");
        let proc = file::open_directory(c"/proc").unwrap_or_else(|_| panic!("no /proc"));
        assert!(!namespace::is_proc_root(proc.fd()), "the control: {place:?}");
        drop(proc);
        // SAFETY: a C string.
        assert_eq!(unsafe { umount(c"/proc".as_ptr()) }, 0);
    }
}

/// A file of the process's own that is covered, as another container can have it, is not what is written. Control: what is not
/// covered is opened, and the covered path does lead to the other file.
#[test]
fn a_covered_file_of_procfs_is_not_opened() {
    if !own_mounts() {
        return;
    }
    let mut init = init(460);
    assert!(namespace::open_host_proc(&mut init).is_ok());
    let scratch = Scratch::new("covered");
    fs::write(scratch.path("fake"), "fake").unwrap();
    assert_eq!(errno_of(namespace::open_own(&mut init, c"oom_score_adj", O_RDONLY)), None);
    let place = format!("/proc/{}/oom_score_adj", std::process::id());
    bind(&scratch.path("fake"), &place);
    assert_eq!(fs::read_to_string(&place).unwrap(), "fake");
    assert_eq!(errno_of(namespace::open_own(&mut init, c"oom_score_adj", O_RDONLY)), Some(errno::EXDEV));
    assert_eq!(errno_of(namespace::open_own(&mut init, c"../oom_score_adj", O_RDONLY)), Some(errno::EXDEV));
    assert_eq!(errno_of(namespace::open_own(&mut init, c"exe", O_RDONLY)), Some(errno::ELOOP));
}
