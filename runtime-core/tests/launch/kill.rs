//! kill -9 of stage 0, the process between the caller and the container's init, at any moment.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::runs;
use super::support::leftovers::descendants;
use super::support::scene::{self, Scene, end, exit};
use super::views::{eventually, in_views, skip};

/// Where the kernel lists the children of a thread.
fn children(thread: i32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/task/{thread}/children")).ok()
}

/// Opens stage 0, if there is one that the thread has made.
pub(crate) fn stage_of(thread: i32) -> Option<(i32, OwnedFd)> {
    let children = children(thread)?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find_map(|pid| {
        // First the descriptor: what is read then is of this process, or of none.
        let pidfd = pidfd_open(pid)?;
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let mut words = words.split(|byte| *byte == 0);
        let is_ours =
            words.next() == Some(b"runtime-init".as_slice()) && words.nth(1) == Some(b"s".as_slice());
        // The init has the same words until it is executed anew.
        (is_ours && is_where_its_caller_is(pid, thread)).then_some((pid, pidfd))
    })
}

/// Whether a process is in the cgroups and namespaces of the thread that made it: stage 0 is, the init of a container is not.
fn is_where_its_caller_is(pid: i32, thread: i32) -> bool {
    let cgroups = |process: &str| std::fs::read(format!("/proc/{process}/cgroup")).ok();
    let link = |process: &str, kind: &str| std::fs::read_link(format!("/proc/{process}/ns/{kind}")).ok();
    let (pid, caller) = (pid.to_string(), format!("self/task/{thread}"));
    cgroups(&pid) == cgroups(&caller)
        && ["mnt", "pid"].iter().all(|kind| link(&pid, kind) == link(&caller, kind))
}

fn pidfd_open(pid: i32) -> Option<OwnedFd> {
    // SAFETY: plain numbers; a new descriptor that nobody else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }
}

pub(crate) fn signal(pidfd: &OwnedFd, signal: i32) {
    // SAFETY: plain numbers and a null siginfo. One that has ended cannot be told.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, 0usize, 0) };
}

/// Calls while another thread kills the first stage 0 that it meets, `delay` later; whether there was one.
fn while_killing<T>(delay: Duration, call: impl FnOnce() -> T) -> (T, bool) {
    let thread = nix::unistd::gettid().as_raw();
    let (done, killed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if let Some((_, pidfd)) = stage_of(thread) {
                    let met = Instant::now();
                    while met.elapsed() < delay {}
                    signal(&pidfd, libc::SIGKILL);
                    killed.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    (result, killed.into_inner() > 0)
}

/// From none to more than the life of a stage 0, in steps that no other step of a launch has.
fn delay(round: u32) -> Duration {
    Duration::from_micros(u64::from(round * 61 % 2500))
}

in_views!(a_create_whose_first_stage_is_killed: hybrid, v2);
fn a_create_whose_first_stage_is_killed() {
    each_round(|scene, _, round| {
        let (created, met) =
            while_killing(delay(round), || scene.create(&scene.id(), &scene.config(&["sleep", "600"])));
        let failed = created.is_err();
        match created {
            Ok(container) => end(container),
            Err(error) => assert!(error.to_string().contains(": "), "{error}"),
        }
        (met, failed)
    });
}

in_views!(an_exec_whose_first_stage_is_killed: hybrid, v2);
fn an_exec_whose_first_stage_is_killed() {
    each_round(|_, container, round| {
        let (executed, met) = while_killing(delay(round), || scene::exec(container, &["true"]));
        let failed = executed.is_err();
        match executed {
            Ok(process) => drop(exit(&process)),
            Err(error) => assert!(error.to_string().contains(": "), "{error}"),
        }
        (met, failed)
    });
}

/// Half the rounds for each of the two tests. A round tells whether it has met a stage 0, and whether the call failed.
fn each_round(one: impl Fn(&Scene, &runtime_core::Container, u32) -> (bool, bool)) {
    if children(nix::unistd::gettid().as_raw()).is_none() {
        return skip("this kernel does not list children (CONFIG_PROC_CHILDREN)");
    }
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    let alone = || descendants().len() == 1 && container.processes().is_ok_and(|pids| pids.len() == 1);
    let (mut met, mut failed) = (0, 0);
    for round in 0..runs() * 3 / 4 {
        let outcome = one(&scene, &container, round);
        met += u32::from(outcome.0);
        failed += u32::from(outcome.1);
        assert!(eventually(alone), "round {round}: left: {:?}", descendants());
    }
    println!("{met} met, {failed} failed of {}", runs() * 3 / 4);
    assert!(failed > 0 && failed <= met, "{met} met, {failed} failed");
    end(container);
    scene.assert_clean("killed stages");
}
