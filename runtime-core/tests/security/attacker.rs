//! The hostile program inside of the containers: built by the tests, static, and put into the root.

use std::collections::VecDeque;
use std::ffi::{CString, c_char, c_int, c_long, c_uint, c_void};
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn ptrace(request: c_uint, ...) -> c_long;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
}

const PTRACE_SEIZE: c_uint = 0x4206;
const PTRACE_INTERRUPT: c_uint = 0x4207;
const PTRACE_DETACH: c_uint = 17;
const WALL: c_int = 0x4000_0000;
const SYS_RENAMEAT2: c_long = if cfg!(target_arch = "x86_64") { 316 } else { 276 };
const SYS_PIDFD_OPEN: c_long = 434;
const SYS_PIDFD_GETFD: c_long = 438;
const SYS_PROCESS_VM_READV: c_long = if cfg!(target_arch = "x86_64") { 310 } else { 270 };
const AT_FDCWD: c_int = -100;

/// What the caller has in its memory and its environment, backwards: this program's own memory does not have it.
const SECRET_BACKWARDS: &[u8] = b"rellac eht fo terces";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("trace") => trace(),
        Some("overwrite") => overwrite(),
        Some("exchange") => exchange(&args[2], &args[3]),
        _ => std::process::exit(2),
    }
}

/// Appends a line to /out/`name`.
fn tell(name: &str, line: &str) {
    let path = format!("/out/{name}");
    if let Ok(mut file) = fs::OpenOptions::new().create(true).append(true).open(path) {
        writeln!(file, "{line}").ok();
    }
}

/// Every process but this one, again and again.
fn strangers(mut each: impl FnMut(i32)) {
    tell("ready", "1");
    let own = std::process::id() as i32;
    while !fs::exists("/out/stop").unwrap_or(true) {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            match entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                Some(pid) if pid != own && pid != 1 => each(pid),
                _ => {}
            }
        }
    }
    tell("stopped", "1");
}

/// Seizes every new process, looks at what it has, and lets it go.
fn trace() {
    let mut last = 0;
    strangers(|pid| {
        look(pid);
        if pid == last {
            return;
        }
        last = pid;
        // SAFETY: plain calls on a pid.
        unsafe {
            if ptrace(PTRACE_SEIZE, pid, std::ptr::null_mut::<c_void>(), std::ptr::null_mut::<c_void>()) != 0 {
                return;
            }
            tell("seized", &pid.to_string());
            ptrace(PTRACE_INTERRUPT, pid, std::ptr::null_mut::<c_void>(), std::ptr::null_mut::<c_void>());
            let mut status = 0;
            waitpid(pid, &mut status, WALL);
            look(pid);
            ptrace(PTRACE_DETACH, pid, std::ptr::null_mut::<c_void>(), std::ptr::null_mut::<c_void>());
        }
    });
}

/// Names what a process has open, its root, directory, program and capabilities; takes its descriptors.
fn look(pid: i32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    for permitted in status.lines().filter_map(|line| line.strip_prefix("CapPrm:\t")) {
        tell("permitted", permitted);
    }
    for name in ["root", "cwd", "exe"] {
        let path = format!("/proc/{pid}/{name}");
        if let Ok(target) = fs::read_link(&path) {
            tell("links", &format!("{name} {}", target.display()));
        }
    }
    for place in ["root", "cwd"] {
        // A file that only the host has.
        if fs::exists(format!("/proc/{pid}/{place}/usr/lib")).unwrap_or(false) {
            tell("escaped", place);
        }
    }
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        tell("fds", &target.display().to_string());
        if fs::exists(entry.path().join("usr/lib")).unwrap_or(false) {
            tell("escaped", "fd");
        }
    }
    read_memory(pid);
    // SAFETY: plain calls; the descriptors end with the process.
    unsafe {
        let pidfd = syscall(SYS_PIDFD_OPEN, pid as c_long, 0 as c_long) as c_int;
        for number in 0..32 {
            let stolen = syscall(SYS_PIDFD_GETFD, pidfd, number as c_long, 0 as c_long) as c_int;
            if stolen >= 0 {
                let name = fs::read_link(format!("/proc/self/fd/{stolen}")).unwrap_or_default();
                tell("stolen", &name.display().to_string());
                drop(<fs::File as std::os::fd::FromRawFd>::from_raw_fd(stolen));
            }
        }
        if pidfd >= 0 {
            drop(<fs::File as std::os::fd::FromRawFd>::from_raw_fd(pidfd));
        }
    }
}

/// Reads the memory of a process by both ways there are, and looks for the secret of the caller.
fn read_memory(pid: i32) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let areas = maps.lines().filter_map(|line| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
    });
    for (start, end) in areas.filter(|(start, end)| end - start <= 4 << 20) {
        let mut bytes = vec![0u8; end - start];
        let local = [bytes.as_mut_ptr() as usize, bytes.len()];
        let remote = [start, bytes.len()];
        // SAFETY: both vectors are `struct iovec`; the first is of a buffer of this process, which is writable.
        let read = unsafe {
            let (local, remote) = (local.as_ptr(), remote.as_ptr());
            syscall(SYS_PROCESS_VM_READV, pid as c_long, local, 1 as c_long, remote, 1 as c_long, 0 as c_long)
        };
        search("vm", &bytes[..usize::try_from(read).unwrap_or(0)]);
        let opened = fs::File::open(format!("/proc/{pid}/mem"));
        let read = opened.and_then(|file| std::os::unix::fs::FileExt::read_at(&file, &mut bytes, start as u64));
        search("mem", &bytes[..read.unwrap_or(0)]);
    }
}

/// Notes that memory was read, and whether the secret is in it.
fn search(how: &str, bytes: &[u8]) {
    if !bytes.is_empty() {
        tell("memory", how);
    }
    let secret = |window: &[u8]| window.iter().eq(SECRET_BACKWARDS.iter().rev());
    if bytes.windows(SECRET_BACKWARDS.len()).any(secret) {
        tell("escaped", how);
    }
}

/// The name of an open file in procfs.
fn own_path(file: &fs::File) -> String {
    format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file))
}

/// Holds the last programs of other processes open, each once, and writes to them once they have
/// ended.
fn overwrite() {
    let mut held: VecDeque<(String, (u64, u64), fs::File)> = VecDeque::new();
    strangers(|pid| {
        if let Ok(file) = fs::File::open(format!("/proc/{pid}/exe")) {
            let name = fs::read_link(own_path(&file)).unwrap_or_default().display().to_string();
            // The programs that the test needs stay whole.
            let identity = file.metadata().map(|data| (data.dev(), data.ino())).unwrap_or_default();
            let known = held.iter().any(|(_, other, _)| *other == identity);
            if !known && (name.contains("memfd") || name == "/tmp/sleep") {
                tell("opened", &name);
                held.push_back((name, identity, file));
            }
        }
        for (name, _, file) in &held {
            if let Ok(mut file) = fs::OpenOptions::new().write(true).open(own_path(file))
                && file.write_all(b"overwritten").is_ok()
            {
                tell("won", name);
            }
        }
        if held.len() > 16 {
            held.pop_front();
        }
    });
}

/// Exchanges two names for ever.
fn exchange(one: &str, other: &str) {
    const RENAME_EXCHANGE: c_uint = 2;
    let (one, other) = (CString::new(one).unwrap(), CString::new(other).unwrap());
    let (one, other): (*const c_char, *const c_char) = (one.as_ptr(), other.as_ptr());
    loop {
        // SAFETY: both are C strings that outlive the call.
        unsafe { syscall(SYS_RENAMEAT2, AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) };
    }
}
