//! Filters in the kernel, for calls of x86_64 (`syscall`), i386 (`int 0x80`) and x32 (by number: the kernel
//! asks the filter before it finds that it has no such calls).
//!
//! Before a program is loaded its verdicts get other names: verdict number n becomes errno n + 1. So no call
//! is ever made, and every number and argument can be tried. The child that tries them can make no call
//! either: it answers in shared memory and ends by an illegal instruction.

use runtime_core::seccomp::{Call, Instruction};

const RETURN: u16 = 0x06;
const ERRNO: u32 = 0x0005_0000;
const I386: u32 = 0x4000_0003;

/// The result after the last one.
const DONE: i32 = 1;

/// A program whose verdicts are numbered.
pub(crate) struct Renamed {
    program: Vec<Instruction>,
    verdicts: Vec<u32>,
}

impl Renamed {
    pub(crate) fn new(program: &[Instruction]) -> Self {
        let mut verdicts = Vec::new();
        let mut program = program.to_vec();
        for instruction in program.iter_mut().filter(|instruction| instruction.code == RETURN) {
            let known = verdicts.iter().position(|verdict| *verdict == instruction.k);
            let index = known.unwrap_or_else(|| {
                verdicts.push(instruction.k);
                verdicts.len() - 1
            });
            instruction.k = ERRNO | (index as u32 + 1);
        }
        assert!(verdicts.len() < 4095);
        Self { program, verdicts }
    }

    /// The kernel's verdict on each call. The calls are for x86_64 or i386.
    pub(crate) fn verdicts(&self, calls: &[Call]) -> Vec<u32> {
        let shared = Shared::new(calls.len() + 1);
        let filter = libc::sock_fprog {
            len: self.program.len() as u16,
            filter: self.program.as_ptr().cast_mut().cast(),
        };
        // SAFETY: the child makes system calls and writes to memory that was there before.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
        if child == 0 {
            // SAFETY: see above; `filter`, `calls` and `shared` are the child's copies or shared.
            unsafe { child_main(&filter, calls, shared.0) }
        }
        let mut status = 0;
        // SAFETY: our own child, waited for once.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGILL, "status {status:#x}");
        assert_eq!(shared.results().last(), Some(&DONE), "the child ended before the last call");
        let verdict = |(call, result): (&Call, &i32)| {
            let index = usize::try_from(-result - 1).ok();
            *index.and_then(|index| self.verdicts.get(index)).unwrap_or_else(|| panic!("{call:x?}: {result}"))
        };
        calls.iter().zip(shared.results()).map(verdict).collect()
    }
}

/// Zeroed memory that a child shares with us: a result for each call.
struct Shared(*mut i32, usize);

impl Shared {
    fn new(count: usize) -> Self {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: new memory at an address that the kernel chooses.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), (count * 4).max(1), access, kind, -1, 0) };
        assert!(memory != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        Self(memory.cast(), count)
    }

    fn results(&self) -> &[i32] {
        // SAFETY: the mapping has that many, and the child that wrote to it has ended.
        unsafe { std::slice::from_raw_parts(self.0, self.1) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` and not used any more.
        unsafe { libc::munmap(self.0.cast(), (self.1 * 4).max(1)) };
    }
}

/// Tries every call under the filter. Never returns.
///
/// # Safety
///
/// In a forked child; `results` has room for a result of each call and one more.
unsafe fn child_main(filter: &libc::sock_fprog, calls: &[Call], results: *mut i32) -> ! {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain calls with live arguments.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        let loaded = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const *filter, 0, 0) == 0;
        if !loaded {
            libc::_exit(1);
        }
    }
    for (index, call) in calls.iter().enumerate() {
        // SAFETY: the filter lets no call through.
        let result = unsafe { if call.arch == I386 { int_0x80(call) } else { syscall(call) } };
        // SAFETY: room for each call, says the caller.
        unsafe { results.add(index).write(result) };
    }
    // SAFETY: room for one more, see `verdicts`.
    unsafe { results.add(calls.len()).write(DONE) };
    // SAFETY: SIGILL, whose action is the default, ends the process; nothing else can.
    unsafe { std::arch::asm!("ud2", options(noreturn)) }
}

unsafe fn syscall(call: &Call) -> i32 {
    let [a, b, c, d, e, f] = call.arguments;
    let result: u64;
    // SAFETY: the kernel changes rax, rcx and r11 only.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") u64::from(call.number) => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            out("rcx") _, out("r11") _);
    }
    result as i32
}

unsafe fn int_0x80(call: &Call) -> i32 {
    let [a, b, c, d, e, f] = call.arguments.map(|argument| argument as u32);
    let registers = [call.number, a, b, c, d, e, f];
    let result: u64;
    // SAFETY: rbx and rbp, which the compiler keeps for itself, are restored; the array lives.
    unsafe {
        std::arch::asm!(
            "push rbx", "push rbp",
            "mov eax, [r10]", "mov ebx, [r10 + 4]", "mov ecx, [r10 + 8]", "mov edx, [r10 + 12]",
            "mov esi, [r10 + 16]", "mov edi, [r10 + 20]", "mov ebp, [r10 + 24]",
            "int 0x80",
            "pop rbp", "pop rbx",
            inout("r10") registers.as_ptr() => _, out("rax") result, out("rcx") _, out("rdx") _,
            out("rsi") _, out("rdi") _, out("r8") _, out("r9") _, out("r11") _);
    }
    result as i32
}

/// Whether the kernel takes calls of i386.
pub(crate) fn has_i386() -> bool {
    let getpid = Call { number: 20, arch: I386, arguments: [0; 6] };
    // Without them int 0x80 is a general protection fault: try it in a child.
    // SAFETY: the child makes one harmless call.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: getpid(2) of i386, and the end.
        unsafe { libc::_exit(i32::from(int_0x80(&getpid) <= 0)) }
    }
    let mut status = 0;
    // SAFETY: our own child, waited for once.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}
