//! libseccomp by dlopen, driven as runc drives it.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction};
use runtime_core::seccomp::{Architecture, Instruction, ListedArchitecture};

const OPTIMIZE: c_uint = 8;
const ERROR: c_int = -1;

/// The library does not take the profile.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It says so.
    Invalid,
    /// It does not come back, or crashes.
    Lost,
}

/// `struct scmp_arg_cmp`.
#[repr(C)]
struct Comparison {
    argument: c_uint,
    operator: c_uint,
    first: u64,
    second: u64,
}

/// The functions that the test needs.
pub(crate) struct Library {
    init: unsafe extern "C" fn(u32) -> *mut c_void,
    release: unsafe extern "C" fn(*mut c_void),
    arch_add: unsafe extern "C" fn(*mut c_void, u32) -> c_int,
    attr_set: unsafe extern "C" fn(*mut c_void, c_uint, u32) -> c_int,
    resolve: unsafe extern "C" fn(u32, *const c_char) -> c_int,
    name_of: unsafe extern "C" fn(u32, c_int) -> *mut c_char,
    rule_add: unsafe extern "C" fn(*mut c_void, u32, c_int, c_uint, *const Comparison) -> c_int,
    export: unsafe extern "C" fn(*mut c_void, c_int) -> c_int,
}

struct Context<'a>(&'a Library, *mut c_void);

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: the context came from `seccomp_init` and is released once.
        unsafe { (self.0.release)(self.1) }
    }
}

fn token(architecture: Architecture) -> u32 {
    match architecture {
        Architecture::X32 => 0x4000_003e,
        other => other.audit_token(),
    }
}

impl Library {
    pub(crate) fn open() -> Option<Self> {
        // SAFETY: libseccomp has no constructors that depend on us.
        let handle = unsafe { libc::dlopen(c"libseccomp.so.2".as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() {
            return None;
        }
        let symbol = |name: &CStr| {
            // SAFETY: the handle is open and never closed.
            let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
            assert!(!symbol.is_null(), "{name:?}");
            symbol
        };
        // SAFETY: the signatures are those of seccomp.h 2.5.
        unsafe {
            Some(Self {
                init: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(u32) -> *mut c_void>(symbol(
                    c"seccomp_init",
                )),
                release: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void)>(symbol(
                    c"seccomp_release",
                )),
                arch_add: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, u32) -> c_int>(
                    symbol(c"seccomp_arch_add"),
                ),
                attr_set: std::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*mut c_void, c_uint, u32) -> c_int,
                >(symbol(c"seccomp_attr_set")),
                resolve: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(u32, *const c_char) -> c_int>(
                    symbol(c"seccomp_syscall_resolve_name_arch"),
                ),
                name_of: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(u32, c_int) -> *mut c_char>(
                    symbol(c"seccomp_syscall_resolve_num_arch"),
                ),
                rule_add: std::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*mut c_void, u32, c_int, c_uint, *const Comparison) -> c_int,
                >(symbol(c"seccomp_rule_add_array")),
                export: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, c_int) -> c_int>(
                    symbol(c"seccomp_export_bpf"),
                ),
            })
        }
    }

    fn resolve(&self, token: u32, name: &str) -> c_int {
        let name = CString::new(name).unwrap();
        // SAFETY: a NUL-terminated string that lives for the call.
        unsafe { (self.resolve)(token, name.as_ptr()) }
    }

    /// Whether the name is in the table of any architecture.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.resolve(Architecture::X86_64.audit_token(), name) != ERROR
    }

    /// The number on an architecture; `None` also for the ones that i386 multiplexes.
    pub(crate) fn number(&self, architecture: Architecture, name: &str) -> Option<u32> {
        u32::try_from(self.resolve(token(architecture), name)).ok()
    }

    /// The number on an architecture, a pseudo number below -100 for what i386 multiplexes, or another
    /// negative one.
    pub(crate) fn number_or_pseudo(&self, architecture: Architecture, name: &str) -> i32 {
        self.resolve(token(architecture), name)
    }

    /// The name of a number (x32 without its bit).
    pub(crate) fn name(&self, architecture: Architecture, number: u32) -> Option<String> {
        let number = if architecture == Architecture::X32 { number | super::super::X32_BIT } else { number };
        // SAFETY: the result is a malloc'ed string or NULL, ours to free.
        unsafe {
            let text = (self.name_of)(token(architecture), number as c_int);
            if text.is_null() {
                return None;
            }
            let name = CStr::from_ptr(text).to_str().unwrap().to_owned();
            libc::free(text.cast());
            Some(name)
        }
    }

    pub(crate) fn compile(&self, profile: &LinuxSeccomp) -> Result<Vec<Instruction>, Refused> {
        self.apart(profile, 1)
    }

    pub(crate) fn compile_tree(&self, profile: &LinuxSeccomp) -> Result<Vec<Instruction>, Refused> {
        self.apart(profile, 2)
    }

    /// Compiles in a process of its own: 2.5.4 loops for ever in its rule tree on some profiles.
    fn apart(&self, profile: &LinuxSeccomp, optimize: u32) -> Result<Vec<Instruction>, Refused> {
        let mut file: File = tempfile::tempfile().unwrap();
        // SAFETY: the child calls libseccomp, writes a file and ends with `_exit`; glibc keeps its allocator
        // usable after a fork of a threaded process.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            // SAFETY: async-signal-safe; SIGALRM ends a process by default.
            unsafe { libc::alarm(20) };
            let done = self.compile_with(profile, optimize, &file).is_ok();
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(if done { 0 } else { 1 }) }
        }
        let mut status = 0;
        // SAFETY: our own child, waited for once.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        if libc::WIFSIGNALED(status) {
            return Err(Refused::Lost);
        }
        if libc::WEXITSTATUS(status) != 0 {
            return Err(Refused::Invalid);
        }
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        Ok(bytes
            .chunks_exact(8)
            .map(|b| Instruction {
                code: u16::from_ne_bytes([b[0], b[1]]),
                jt: b[2],
                jf: b[3],
                k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
            })
            .collect())
    }

    fn compile_with(&self, profile: &LinuxSeccomp, optimize: u32, file: &File) -> Result<(), Refused> {
        let default = action(profile.default_action(), profile.default_errno_ret());
        // SAFETY: any action value is fine; NULL is checked.
        let context = Context(self, unsafe { (self.init)(default) });
        if context.1.is_null() {
            return Err(Refused::Invalid);
        }
        for arch in profile.architectures().iter().flatten() {
            let Some(architecture) = ListedArchitecture::from(*arch).known() else {
                continue;
            };
            // SAFETY: the context is live. -EEXIST for the native one is fine.
            let result = unsafe { (self.arch_add)(context.1, token(architecture)) };
            assert!(result == 0 || result == -libc::EEXIST, "{arch:?}: {result}");
        }
        // SAFETY: the context is live.
        unsafe { (self.attr_set)(context.1, OPTIMIZE, optimize) };
        for syscall in profile.syscalls().iter().flatten() {
            let act = action(syscall.action(), syscall.errno_ret());
            if act == default {
                continue;
            }
            let comparisons: Vec<Comparison> = syscall
                .args()
                .iter()
                .flatten()
                .map(|argument| Comparison {
                    argument: argument.index() as c_uint,
                    // oci-spec's numbers are those of `enum scmp_compare`.
                    operator: argument.op() as c_uint,
                    first: argument.value(),
                    second: argument.value_two().unwrap_or(0),
                })
                .collect();
            let repeated = comparisons
                .iter()
                .enumerate()
                .any(|(i, a)| comparisons[..i].iter().any(|b| a.argument == b.argument));
            for name in syscall.names() {
                let number = self.resolve(Architecture::X86_64.audit_token(), name);
                if number == ERROR {
                    continue;
                }
                let size = if repeated { 1 } else { comparisons.len().max(1) };
                let mut chunks: Vec<&[Comparison]> = comparisons.chunks(size).collect();
                if chunks.is_empty() {
                    chunks.push(&[]);
                }
                for chunk in chunks {
                    // SAFETY: the context is live and the array has as many elements as it says.
                    let result = unsafe {
                        (self.rule_add)(context.1, act, number, chunk.len() as c_uint, chunk.as_ptr())
                    };
                    if result != 0 {
                        return Err(Refused::Invalid);
                    }
                }
            }
        }
        // SAFETY: the context and the descriptor are live.
        if unsafe { (self.export)(context.1, file.as_raw_fd()) } == 0 {
            Ok(())
        } else {
            Err(Refused::Invalid)
        }
    }
}

/// `SCMP_ACT_*`, which are the kernel's values.
pub(crate) fn action(action: LinuxSeccompAction, errno: Option<u32>) -> u32 {
    let data = errno.unwrap_or(1);
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => 0,
        LinuxSeccompAction::ScmpActKillProcess => 0x8000_0000,
        LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
        LinuxSeccompAction::ScmpActErrno => 0x0005_0000 | data,
        LinuxSeccompAction::ScmpActNotify => 0x7fc0_0000,
        LinuxSeccompAction::ScmpActTrace => 0x7ff0_0000 | data,
        LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
        LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
    }
}

/// The architectures of a profile that has `names`.
pub(crate) fn oci(architecture: Architecture) -> Arch {
    match architecture {
        Architecture::X86_64 => Arch::ScmpArchX86_64,
        Architecture::X86 => Arch::ScmpArchX86,
        Architecture::X32 => Arch::ScmpArchX32,
        Architecture::Aarch64 => Arch::ScmpArchAarch64,
        Architecture::Arm => Arch::ScmpArchArm,
        _ => Arch::ScmpArchRiscv64,
    }
}
