//! Each system call of a launch fails with errors that its man page names: the error that comes of it is clear, and nothing is left.
//!
//! A sample: each call fails with one error, another one for each seed. `ERRNO_SEED` is the seed, `ERRNO_STRIDE` tries one
//! in so many calls; with `ERRNO_ALL` each call fails with each of its errors, which takes an hour.

mod support;

use runtime_core::Status;
use serde_json::Value;
use support::leftovers::{adopt_orphans, reap};
use support::scene::{self, Scene};
use support::tracer::{self, Fault};
use support::views::{self, eventually, in_views};
use support::worker::{self, Outcome, Worker};

#[test]
fn worker() {
    worker::main();
}

/// The errors of a call by its man page, those that do not say that it was made or is not needed: an ENOENT of rmdir(2)
/// would say that there is nothing to remove, an ELOOP of open(2) that a file is a link, and an EBADF that somebody else has closed what is open. None for calls whose failure cannot be.
fn errors_of(number: i64) -> &'static [i32] {
    use libc::{EACCES, EAGAIN, EBUSY, EFAULT, EINTR, EINVAL, EIO, ELOOP, EMFILE, ENAMETOOLONG, ENFILE};
    use libc::{ENODEV, ENOENT, ENOMEM, ENOSPC, ENOTDIR, EPERM, EROFS, ETXTBSY, EUSERS, EXDEV};
    match number {
        libc::SYS_openat | libc::SYS_open | libc::SYS_openat2 => {
            &[EACCES, EINTR, EMFILE, ENAMETOOLONG, ENFILE, ENOMEM, EPERM, EXDEV]
        }
        libc::SYS_read | libc::SYS_pread64 => &[EIO, EINTR],
        libc::SYS_write | libc::SYS_pwrite64 => &[EBUSY, EINVAL, EIO, ENOSPC, EPERM, EINTR],
        libc::SYS_clone3 | libc::SYS_clone | libc::SYS_fork | libc::SYS_vfork => {
            &[EAGAIN, EINVAL, ENOMEM, ENOSPC, EPERM, EUSERS]
        }
        libc::SYS_execve | libc::SYS_execveat => {
            &[EACCES, EAGAIN, EIO, ELOOP, ENFILE, ENOENT, ENOMEM, ETXTBSY]
        }
        libc::SYS_mkdir | libc::SYS_mkdirat => &[EACCES, ELOOP, ENOENT, ENOMEM, ENOSPC, EROFS],
        libc::SYS_mount | libc::SYS_move_mount | libc::SYS_open_tree | libc::SYS_mount_setattr => {
            &[EACCES, EBUSY, EINVAL, ELOOP, ENODEV, ENOENT, ENOMEM, EPERM]
        }
        libc::SYS_fsopen | libc::SYS_fsmount | libc::SYS_fsconfig => {
            &[EBUSY, EINVAL, EMFILE, ENODEV, ENOMEM, EPERM]
        }
        libc::SYS_unshare | libc::SYS_setns => &[EINVAL, ENOMEM, ENOSPC, EPERM, EUSERS],
        libc::SYS_socket | libc::SYS_socketpair => &[EACCES, EINVAL, EMFILE, ENFILE, ENOMEM],
        libc::SYS_sendmsg | libc::SYS_recvmsg | libc::SYS_sendto | libc::SYS_recvfrom => &[ENOMEM, EINTR],
        // EINVAL of pidfd_open(2) is for a number that is no process: it has ended.
        libc::SYS_pidfd_open => &[EMFILE, ENFILE, ENOMEM],
        libc::SYS_memfd_create | libc::SYS_epoll_create1 | libc::SYS_pipe2 => {
            &[EINVAL, EMFILE, ENFILE, ENOMEM]
        }
        libc::SYS_dup | libc::SYS_dup2 | libc::SYS_dup3 | libc::SYS_fcntl => &[EINVAL, EMFILE],
        libc::SYS_poll | libc::SYS_ppoll | libc::SYS_epoll_wait => &[EINTR, EINVAL, ENOMEM],
        libc::SYS_fstat | libc::SYS_newfstatat | libc::SYS_statx | libc::SYS_fstatfs | libc::SYS_statfs => {
            &[EACCES, EIO, ELOOP, ENOMEM]
        }
        libc::SYS_rename | libc::SYS_renameat | libc::SYS_renameat2 => {
            &[EACCES, EBUSY, EIO, ENOENT, ENOSPC, EROFS]
        }
        libc::SYS_symlinkat | libc::SYS_mknodat | libc::SYS_linkat => {
            &[EACCES, EIO, ENOENT, ENOMEM, ENOSPC, EROFS]
        }
        libc::SYS_fchown | libc::SYS_fchownat | libc::SYS_fchmod | libc::SYS_fchmodat => {
            &[EACCES, EIO, EPERM, EROFS]
        }
        libc::SYS_chdir | libc::SYS_fchdir | libc::SYS_chroot | libc::SYS_pivot_root => {
            &[EACCES, EBUSY, EIO, ENOENT, ENOTDIR]
        }
        libc::SYS_flock | libc::SYS_ftruncate | libc::SYS_fsync => &[EINTR, EINVAL, EIO],
        libc::SYS_setuid
        | libc::SYS_setgid
        | libc::SYS_setgroups
        | libc::SYS_setresuid
        | libc::SYS_setresgid => &[EAGAIN, EINVAL, ENOMEM, EPERM],
        libc::SYS_capset | libc::SYS_prctl | libc::SYS_seccomp | libc::SYS_prlimit64 | libc::SYS_keyctl => {
            &[EFAULT, EINVAL, ENOMEM, EPERM]
        }
        _ => &[],
    }
}

/// Numbers that a seed gives.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % limit
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// What fails: role, place, call and error.
fn faults(trace: &tracer::Trace) -> Vec<(i64, Fault)> {
    let seed = number("ERRNO_SEED", 1);
    let stride = number("ERRNO_STRIDE", 6) as usize;
    println!("ERRNO_SEED={seed}");
    let mut random = Random(seed | 1);
    let first = random.below(stride);
    let roles = trace.calls.iter().map(|call| call.role).max().expect("calls");
    let places = (0..=roles)
        .flat_map(|role| trace.of(role).into_iter().enumerate().map(move |(at, call)| (role, at, call)));
    let places: Vec<_> = places.filter(|(_, _, call)| !errors_of(*call).is_empty()).collect();
    let all = std::env::var_os("ERRNO_ALL").is_some();
    let mut faults = Vec::new();
    for (role, at, call) in places.into_iter().skip(first).step_by(if all { 1 } else { stride }) {
        let errors = errors_of(call);
        let chosen = if all { errors } else { std::slice::from_ref(&errors[random.below(errors.len())]) };
        faults.extend(chosen.iter().map(|errno| (call, Fault::Errno { role, at, errno: *errno })));
    }
    faults
}

/// Whether what came of a call is an answer: done, or an error that names a step and a reason.
fn is_told(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Done => true,
        Outcome::Failed(error) => error.contains(": "),
        Outcome::Silent => false,
    }
}

/// `work` on a container that `prepare` makes, with each of the faults; what is there afterwards can be deleted.
fn each_error(work: &str, config: &Value, scene: &Scene, prepare: impl Fn(&str)) {
    let run = |fault| {
        let id = scene.id();
        let bundle = scene.bundle(&id, config);
        prepare(&id);
        let mut worker = Worker::start(work, &scene.runtime, &id, &bundle);
        let trace = tracer::trace(&mut worker, fault);
        let outcome = worker.outcome();
        let listed = scene.runtime.list().map(drop).err();
        let deleted = support::leftovers::while_reaping(|| scene.runtime.delete_force(&id)).err();
        let deleted = deleted.filter(|error| error.kind() != runtime_core::ErrorKind::NotFound);
        let clean = eventually(|| {
            reap();
            scene.left().iter().all(|trace| trace.contains(BYSTANDER) || trace.contains("(sleep) "))
        });
        let bad =
            !is_told(&outcome) || trace.hung.is_some() || listed.is_some() || deleted.is_some() || !clean;
        let text = bad.then(|| {
            format!(
                "{outcome:?} {:?} list {listed:?} delete {deleted:?} left {:?} {}",
                trace.hung,
                scene.left(),
                worker.errors()
            )
        });
        std::fs::remove_dir_all(&bundle).expect("the bundle is removed");
        (trace, outcome, text)
    };
    let (trace, outcome, problem) = run(Fault::None);
    assert_eq!((outcome, problem), (Outcome::Done, None), "without a fault");
    let faults = faults(&trace);
    let mut problems = Vec::new();
    let mut failed = 0;
    for (call, fault) in &faults {
        let (_, outcome, problem) = run(*fault);
        failed += usize::from(outcome != Outcome::Done);
        problems.extend(problem.map(|text| format!("{work} call {call} {fault:?}: {text}")));
        // What is left of one is left after the others too.
        if !problems.is_empty() {
            break;
        }
    }
    println!("{work}: {} faults, {failed} of them are errors", faults.len());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert!(failed > 0, "no fault was an error");
}

/// A part of the traces that the container beside leaves while it runs.
const BYSTANDER: &str = "beside";

fn in_a_scene(work: &str, prepare: impl Fn(&Scene, &str, &Value)) {
    if !tracer::KNOWN {
        return views::skip("the tracer does not know this architecture");
    }
    adopt_orphans();
    let scene = Scene::new();
    let config = scene.config(&["busybox", "sleep", "600"]);
    let beside = format!("{}-{BYSTANDER}", scene.id());
    let bystander = scene.create(&beside, &scene.config(&["sleep", "600"])).expect("created");
    bystander.start().expect("started");
    each_error(work, &config, &scene, |id| prepare(&scene, id, &config));
    assert_eq!(bystander.status().expect("a status"), Status::Running);
    scene::exit(&scene::exec(&bystander, &["true"]).expect("an exec in the other container"));
    scene::end(bystander);
    scene.assert_clean(work);
}

fn running(scene: &Scene, id: &str, config: &Value) {
    scene.create(id, config).expect("created").start().expect("started");
}

in_views!(create: hybrid, v2);
fn create() {
    in_a_scene("create", |_, _, _| ());
}

in_views!(start: v2);
fn start() {
    in_a_scene("start", |scene, id, config| drop(scene.create(id, config).expect("created")));
}

in_views!(exec: v2);
fn exec() {
    in_a_scene("exec", running);
}

in_views!(update: v1);
fn update() {
    in_a_scene("update", running);
}

in_views!(pause: v1, v2);
fn pause() {
    in_a_scene("pause", running);
}

in_views!(deletion: hybrid);
fn deletion() {
    in_a_scene("force", running);
}
