//! Between clone3 and execveat stage 0 shares the memory of a caller with many threads (CLONE_VM, CLONE_VFORK: only the
//! calling thread waits, the others go on): it must not allocate, lock or log.
//!
//! The allocator of this program knows its process, and notes when another one comes in. Locks cannot
//! be watched like that, but a child that takes one hangs sooner or later among threads that do
//! nothing else.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use runtime_core::Exit;
use support::scene::{self, LIMIT, Scene};
use support::views::{self, in_views};

/// Threads of the caller that keep its locks and its heap busy.
const BUSY: usize = 32;
/// Threads that make containers.
const MAKERS: usize = 4;
/// Containers of each.
const CONTAINERS: usize = 30;
/// What all of it may take.
const ALL: Duration = Duration::from_secs(300);

/// The process that may allocate; 0 until the test begins.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// Another one did. The memory is shared, so the owner sees it.
static STRANGERS: AtomicUsize = AtomicUsize::new(0);

struct Watched;

impl Watched {
    fn check() {
        let owner = OWNER.load(Ordering::Relaxed);
        // SAFETY: a system call without arguments.
        if owner != 0 && unsafe { libc::syscall(libc::SYS_getpid) } != i64::from(owner) {
            STRANGERS.fetch_add(1, Ordering::Relaxed);
            // SAFETY: ends the stranger at once, before it can harm the heap.
            unsafe { libc::syscall(libc::SYS_exit_group, 99) };
        }
    }
}

// SAFETY: all is the system's allocator; the check before does not touch memory of it.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::check();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::check();
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::check();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// The watch sees a child that shares the memory and allocates: else the test below shows nothing.
#[test]
fn the_watch_works() {
    extern "C" fn allocate(_: *mut libc::c_void) -> i32 {
        drop(std::hint::black_box(Box::new(1u64)));
        0
    }
    let before = OWNER.swap(i32::try_from(std::process::id()).expect("a pid"), Ordering::Relaxed);
    let mut stack = vec![0u128; 4096];
    let mut status = 0;
    // SAFETY: the stack is the child's alone until it has ended, which is waited for.
    unsafe {
        let top = stack.as_mut_ptr().add(stack.len()).cast();
        let child = libc::clone(
            allocate,
            top,
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            std::ptr::null_mut(),
        );
        assert!(child > 0);
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
    }
    OWNER.store(before, Ordering::Relaxed);
    assert_eq!(libc::WEXITSTATUS(status), 99);
    assert_eq!(STRANGERS.swap(0, Ordering::Relaxed), 1);
}

in_views!(busy_threads_do_not_stop_a_launch: hybrid, v2);
fn busy_threads_do_not_stop_a_launch() {
    let scene = Scene::new();
    let config = scene.config(&["true"]);
    let done = AtomicBool::new(false);
    let log = Mutex::new(std::fs::OpenOptions::new().write(true).open("/dev/null").expect("/dev/null"));
    OWNER.store(i32::try_from(std::process::id()).expect("a pid"), Ordering::Relaxed);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..BUSY {
            let (done, log) = (&done, &log);
            scope.spawn(move || {
                let mut turn = number;
                while !done.load(Ordering::Relaxed) {
                    turn += 1;
                    let text = format!("{turn} {:?} {}", std::env::var_os("PATH"), "x".repeat(turn % 5000));
                    writeln!(log.lock().expect("no panic"), "{text}").expect("/dev/null takes all");
                    drop(std::io::stderr().lock());
                }
            });
        }
        let makers: Vec<_> = (0..MAKERS)
            .map(|_| {
                let (scene, config) = (&scene, &config);
                scope.spawn(move || {
                    for _ in 0..CONTAINERS {
                        let (container, init) = scene.run(&scene.id(), config).expect("run");
                        assert_eq!(init.wait_timeout(LIMIT).expect("waited"), Some(Exit::Code(0)));
                        container.delete().expect("deleted");
                        assert!(begin.elapsed() < ALL, "it takes too long");
                    }
                    // With the gate, and a second process.
                    let container = scene.started(&["sleep", "600"]);
                    assert_eq!(
                        scene::exit(&scene::exec(&container, &["true"]).expect("exec")),
                        Exit::Code(0)
                    );
                    scene::end(container);
                })
            })
            .collect();
        let results: Vec<_> = makers.into_iter().map(|maker| maker.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(|result| result.is_ok()), "a maker failed");
    });
    println!("{} containers among {BUSY} threads in {:?}", MAKERS * (CONTAINERS + 1), begin.elapsed());
    assert_eq!(STRANGERS.load(Ordering::Relaxed), 0, "a child came to the allocator");
    OWNER.store(0, Ordering::Relaxed);
    scene.assert_clean("all containers");
}
