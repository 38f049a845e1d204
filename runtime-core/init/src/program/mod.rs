//! The tiny init: the first process of every container, and stage 0, the process that clones it.
//!
//! It is run from a sealed memory file by execveat(2), with its plan in a second one. As stage 0 it takes the plan from the
//! caller and clones the init; as the init it becomes the container. Both walk operations of the plan: no libc, no
//! allocator, no threads, no strings to parse. The init holds 60 kB of memory while a created container waits for `start`.
//!
//! A failure goes to the parent as `{step, errno, detail}`; the parent owns the plan and says what
//! that means. The init exits if its parent is gone before the container is `created` or, for `exec`, before
//! the word to run has come.

mod capability;
mod console;
mod copyup;
mod device;
mod exec;
mod file;
mod hold;
mod home;
mod hook;
mod mount;
mod namespace;
mod process;
mod procfs;
mod refused;
mod reveal;
mod signals;
mod stage;
#[cfg_attr(not(program), allow(dead_code, reason = "the kernel and the compiler call what is there"))]
mod start;
mod streams;
mod sync;
#[cfg(test)]
mod tests;
mod times;
mod view;

pub(crate) use crate::abi::errno;
use crate::ops::{FileOp, MountOp, NamespaceOp, Op, Point, ProcessOp, ProgramOp, Slot, StageOp, WaitOp};
use crate::report::{Detail, Report, STEP_PRELUDE};
use crate::sys::{self, Fd, Owned, signal};
use times::Shared;
use view::View;

/// Why an operation stopped.
#[derive(Clone, Copy)]
pub(crate) struct Failure {
    errno: i32,
    detail: u32,
}

impl Failure {
    /// What the init itself has decided on.
    pub(crate) const fn new(errno: i32, detail: Detail) -> Self {
        Self { errno, detail: detail as u32 }
    }
}

/// The result of an operation or of a part of one.
pub(crate) type Step<T = ()> = core::result::Result<T, Failure>;

/// Names the part of an operation that a system call is.
pub(crate) trait At<T> {
    /// Turns an errno into a failure of `detail`.
    fn at(self, detail: Detail) -> Step<T>;
}

impl<T> At<T> for core::result::Result<T, i32> {
    fn at(self, detail: Detail) -> Step<T> {
        self.map_err(|errno| Failure::new(errno, detail))
    }
}

/// Whose operations a process walks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Those of stage 0, up to the init's first one.
    Stage,
    /// Those of the init.
    Init,
}

/// The state of the walk.
pub(crate) struct Init {
    plan: View,
    fds: [Option<Owned>; Slot::COUNT],
    lane: Lane,
    step: u32,
    /// The next operation, and the first that is not walked.
    next: usize,
    end: usize,
    /// The pid of the init, in stage 0.
    init_pid: u32,
    /// What stage 0 has not yet told the caller of the init.
    news: Option<stage::News>,
    /// Index into the candidates of `FindProgram`, as an arena offset.
    program: u32,
    /// Arguments and environment of the program.
    vectors: Option<(exec::Pointers, exec::Pointers)>,
    /// The variable HOME, when it has been looked up.
    home: Option<home::Home>,
    /// The umask to restore when the plan sets none.
    umask: u32,
    /// What `CopyMode` found, for the next `NewFilesystem`.
    mode: Option<u32>,
    /// `ReadOnly` named the root itself: it becomes read-only when the root changes.
    read_only_root: bool,
    /// The root that the process began with is not that of its mount namespace.
    in_chroot: bool,
    /// The working directory is the container's.
    in_directory: bool,
    /// The directory that the next node may be in, too.
    directory: Option<device::Directory>,
    /// How often it looks for a message before it waits.
    looks: u32,
    /// It has waited for `start` with [`WaitOp::Hold`].
    held: bool,
    /// Memory that the caller sees too.
    shared: Shared,
}

impl Init {
    /// The process at its start: `inherited` are the slots that are filled, from descriptor `base` on.
    fn new(base: i32, inherited: u64, lane: Lane) -> Step<Self> {
        let plan = View::map(base)?;
        let shared = Shared::map(inherited_fd(base, Slot::SHARED), &plan)?;
        let mut fds = [const { None }; Slot::COUNT];
        for slot in (0..Slot::INHERITED as u16).map(Slot).filter(|slot| inherited & slot.bit() != 0) {
            // SAFETY: whoever has started this process has filled the slot, at this number; it is taken once.
            let fd = unsafe { Owned::from_number(slot.number(base)) };
            if let Some(place) = fds.get_mut(slot.0 as usize) {
                *place = Some(fd);
            }
        }
        let umask = sys::process::umask(0).at(Detail::Prctl)?;
        let mut init = Self {
            plan,
            fds,
            lane,
            step: STEP_PRELUDE,
            next: 0,
            end: 0,
            init_pid: 0,
            news: None,
            program: 0,
            vectors: None,
            home: None,
            umask,
            mode: None,
            read_only_root: false,
            in_chroot: false,
            in_directory: false,
            directory: None,
            looks: sync::LOOKS,
            held: false,
            shared,
        };
        init.go_on_as(lane);
        Ok(init)
    }

    /// Goes on with the operations of a lane.
    fn go_on_as(&mut self, lane: Lane) {
        self.lane = lane;
        (self.next, self.end) = match lane {
            Lane::Stage => (0, self.plan.first_of_init()),
            Lane::Init => (self.plan.first_of_init(), self.plan.ops().len()),
        };
        if lane == Lane::Init {
            self.shared.note_begin();
        }
    }

    /// The socket over which this process tells of itself.
    fn socket(&self) -> Fd<'_> {
        match self.lane {
            Lane::Stage => self.fd(Slot::CONTROL),
            Lane::Init => self.fd(Slot::SYNC),
        }
    }

    /// The descriptor in a slot; [`Fd::NONE`] if it is empty.
    fn fd(&self, slot: Slot) -> Fd<'_> {
        self.fds.get(slot.0 as usize).and_then(Option::as_ref).map_or(Fd::NONE, Owned::fd)
    }

    /// Whether a slot is filled.
    fn has(&self, slot: Slot) -> bool {
        self.fds.get(slot.0 as usize).is_some_and(Option::is_some)
    }

    /// Puts a descriptor into a slot and closes what was there.
    #[inline(never)]
    fn set(&mut self, slot: Slot, fd: Owned) {
        if let Some(place) = self.fds.get_mut(slot.0 as usize) {
            *place = Some(fd);
        }
    }

    /// Closes what is in a slot.
    #[inline(never)]
    fn clear(&mut self, slot: Slot) {
        drop(self.take(slot));
    }

    /// Takes the descriptor out of a slot.
    fn take(&mut self, slot: Slot) -> Option<Owned> {
        self.fds.get_mut(slot.0 as usize).and_then(Option::take)
    }

    fn run(&mut self) -> Step {
        while self.next < self.end {
            let step = self.next;
            self.next = step.saturating_add(1);
            self.step = step as u32;
            let Some(op) = self.plan.ops().get(step).copied() else { break };
            if !matches!(op, Op::File(FileOp::MakeDevice { .. } | FileOp::MakeSymlink { .. })) {
                self.directory = None;
            }
            if !stage::is_quick(self, &op) {
                stage::tell_of_init(self)?;
            }
            self.execute(op)?;
            self.shared.note(step);
        }
        stage::tell_of_init(self)
    }

    /// One operation. The arms only unpack: each subject has a file.
    fn execute(&mut self, op: Op) -> Step {
        match op {
            Op::Stage(op) => self.stage(op),
            Op::Namespace(op) => self.namespace(op),
            Op::Wait(op) => self.wait(op),
            Op::Mount(op) => self.mount(op),
            Op::File(op) => self.file(op),
            Op::Process(op) => self.process(op),
            Op::Program(op) => self.program(op),
        }
    }

    fn stage(&mut self, op: StageOp) -> Step {
        match op {
            StageOp::CloneInit { flags, maps } => stage::clone_init(self, flags, maps),
            StageOp::MakeNetwork { sysfs } => stage::make_network(self, sysfs),
            StageOp::MakeProc { namespace, source } => procfs::make(self, namespace, source),
            StageOp::AwaitInit => stage::await_init(self),
            StageOp::CloneTreeOfInit { path, recursive, nofollow } => {
                stage::clone_tree_of_init(self, path, recursive, nofollow)
            }
            StageOp::OpenUserNamespace => stage::open_user_namespace(self),
            StageOp::MakeUserNamespace { uid, gid } => stage::make_user_namespace(self, uid, gid),
            StageOp::MapIds { recursive } => stage::map_ids(self, recursive),
            StageOp::CloneLockedTree { path, recursive, nofollow } => {
                stage::clone_locked_tree(self, path, recursive, nofollow)
            }
            StageOp::OpenNetlink => stage::open_netlink(self),
            StageOp::OpenInRoot { path } => stage::open_in_root(self, path),
            StageOp::TakeGiven { destination } => stage::take_given(self, destination),
            StageOp::UnmountGiven => stage::unmount_given(self),
            StageOp::Tell => stage::tell(self),
            StageOp::HandOver { first, count } => stage::hand_over(self, first, count),
            StageOp::Deliver { slot } => stage::deliver(self, slot),
        }
    }

    fn namespace(&mut self, op: NamespaceOp) -> Step {
        match op {
            NamespaceOp::OpenProc => namespace::open_host_proc(self),
            NamespaceOp::JoinNamespaces { slot, flags } => namespace::join(self, slot, flags),
            NamespaceOp::BecomeRoot => namespace::become_root(),
            NamespaceOp::Unshare { flags } => sys::process::unshare(u64::from(flags)).at(Detail::Unshare),
            NamespaceOp::TimeNamespace { offsets } => namespace::time(self, offsets),
            NamespaceOp::JoinCgroups => process::join_cgroups(self),
            NamespaceOp::ForkIntoPidNamespace => namespace::fork_into_pid_namespace(self),
            NamespaceOp::LoopbackUp => namespace::loopback_up(),
            NamespaceOp::HostName { name } => namespace::host_name(self, name),
            NamespaceOp::DomainName { name } => namespace::domain_name(self, name),
            NamespaceOp::Sysctl { path, value } => process::sysctl(self, path, value),
        }
    }

    fn wait(&mut self, op: WaitOp) -> Step {
        match op {
            WaitOp::Sync { point: Point::IdMaps } => sync::await_id_maps(self),
            WaitOp::Sync {
                point: Point::CgroupJoined | Point::RuntimeHooks | Point::Created | Point::NetworkDevices,
            } => sync::reach(self),
            WaitOp::AwaitWord => sync::word(self),
            WaitOp::AskStage => sync::ask_stage(self),
            WaitOp::Receive { from, into, count } => sync::receive(self, from, into, count),
            WaitOp::AnnounceListener => sync::announce_listener(self),
            WaitOp::AwaitHandover => {
                process::await_handover();
                Ok(())
            }
            WaitOp::CloseHost => sync::close_host(self),
            WaitOp::AwaitStart => sync::await_start(self),
            WaitOp::PrepareHold => hold::prepare(self),
            WaitOp::Hold => {
                hold::wait(self);
                Ok(())
            }
        }
    }

    fn mount(&mut self, op: MountOp) -> Step {
        match op {
            MountOp::HostPropagation { flags } => mount::host_propagation(self, flags),
            MountOp::OpenRoot { path, slot, private } => mount::open_root(self, path, slot, private),
            MountOp::NewFilesystem { kind, source, parameters, attributes } => {
                mount::new_filesystem(self, kind, source, parameters, attributes)
            }
            MountOp::CloneTree { path, recursive, nofollow } => {
                mount::clone_tree(self, path, recursive, nofollow)
            }
            MountOp::MountContext { slot, attributes } => mount::mount_context(self, slot, attributes),
            MountOp::MountAttributes { set, clear, recursive } => {
                mount::attributes(self.fd(Slot::MOUNT), set, clear, 0, recursive)
            }
            MountOp::MountPropagation { flags, recursive } => {
                mount::attributes(self.fd(Slot::MOUNT), 0, 0, flags, recursive)
            }
            MountOp::CopyMode { destination } => mount::copy_mode(self, destination),
            MountOp::VerifyProc => mount::verify_proc(self),
            MountOp::RemountAt { destination, set, clear } => {
                mount::remount_at(self, destination, set, clear)
            }
            MountOp::CopyUp { destination, owner, mode } => copyup::copy_up(self, destination, owner, mode),
            MountOp::LabelMount { value } => mount::label(self, value),
            MountOp::Attach { destination, node, nofollow } => {
                mount::attach(self, destination, node, nofollow)
            }
            MountOp::OpenHost { path, slot } => mount::open_host(self, path, slot),
            MountOp::Mask { path } => mount::mask(self, path),
            MountOp::ReadOnly { path } => mount::read_only(self, path),
            MountOp::SwitchRoot { how } => mount::switch_root(self, how),
            MountOp::OpenJoinedRoot => mount::open_joined_root(self),
            MountOp::RootAttributes { set } => mount::attributes(self.fd(Slot::ROOT), set, 0, 0, false),
            MountOp::RootPropagation { flags } => mount::propagation(flags),
        }
    }

    fn file(&mut self, op: FileOp) -> Step {
        match op {
            FileOp::MakeDirectory { path, mode } => file::make_directory(self, path, mode),
            FileOp::MakeDevice { path, mode, device, uid, gid, bind } => {
                device::make(self, &device::Node { path, mode, device, uid, gid, bind })
            }
            FileOp::MakeSymlink { path, target, keep } => device::symlink(self, path, target, keep),
            FileOp::Console { rows, columns, uid, mount, control } => {
                console::make(self, console::Size { rows, columns }, uid, mount)?;
                if control { console::take() } else { Ok(()) }
            }
            FileOp::TakeTerminal => console::take(),
            FileOp::StdioOwner { uid } => process::stdio_owner(uid),
            FileOp::OwnStreams => streams::own(self),
            FileOp::MakeWorkingDirectory { path, uid, gid } => {
                file::make_working_directory(self, path, uid, gid)
            }
        }
    }

    fn process(&mut self, op: ProcessOp) -> Step {
        match op {
            ProcessOp::NewSession => sys::process::setsid().at(Detail::Whole),
            ProcessOp::Rlimit { resource, soft, hard } => process::rlimit(resource, soft, hard),
            ProcessOp::OomScoreAdj { value } => process::oom_score_adj(self, value),
            ProcessOp::Personality { persona } => sys::process::personality(persona).at(Detail::Whole),
            ProcessOp::Scheduler { attributes } => process::scheduler(self, attributes),
            ProcessOp::IoPriority { value } => sys::process::set_io_priority(value).at(Detail::Whole),
            ProcessOp::CpuAffinity { mask } => process::affinity(self, mask),
            ProcessOp::MemoryPolicy { mode, nodes, max_node } => {
                process::memory_policy(self, mode, nodes, max_node)
            }
            ProcessOp::Label { file, value } => process::label(self, file, value),
            ProcessOp::SessionKeyring { name, optional } => process::session_keyring(self, name, optional),
            ProcessOp::ChangeDirectory { path, first } => process::change_directory(self, path, first),
            ProcessOp::Umask { mask } => {
                self.umask = mask;
                Ok(())
            }
            ProcessOp::DropBounding { mask } => capability::drop_bounding(mask),
            ProcessOp::KeepCapabilities => sys::process::keep_capabilities().at(Detail::Whole),
            ProcessOp::SetUser { uid, gid, groups, set_groups } => {
                process::set_user(self, uid, gid, groups, set_groups)
            }
            ProcessOp::SetCapabilities { effective, permitted, inheritable } => {
                capability::set(effective, permitted, inheritable)
            }
            ProcessOp::SetAmbient { mask } => capability::set_ambient(mask),
            ProcessOp::NoNewPrivileges => sys::process::no_new_privileges().at(Detail::Whole),
            ProcessOp::Seccomp { flags, program } => process::seccomp(self, flags, program),
            ProcessOp::CloseDescriptors => exec::close_on_exec(self.plan.base),
        }
    }

    fn program(&mut self, op: ProgramOp) -> Step {
        match op {
            ProgramOp::FindProgram { candidates } => exec::find_program(self, candidates),
            ProgramOp::Hook { path, args, env, timeout, home_uid } => {
                hook::run(self, &hook::Hook { path, args, env, home_uid }, timeout)
            }
            ProgramOp::PrepareProgram { args, env, home_uid } => exec::prepare(self, args, env, home_uid),
            ProgramOp::Execute { args: _, exits } => exec::execute(self, exits),
            ProgramOp::ExecuteHandler { name, size: _, args: _, exits } => {
                exec::execute_handler(self, name, exits)
            }
            ProgramOp::FindHome { uid } => {
                self.home = home::Home::of(uid);
                Ok(())
            }
        }
    }
}

/// The status of an init that could not become its container.
const EXIT_FAILED: u32 = 1;

/// The descriptor of a slot that is filled from outside.
fn inherited_fd(base: i32, slot: Slot) -> Fd<'static> {
    Fd::numbered(slot.number(base))
}

/// Walks a lane; the descriptors begin at `base`. It comes back only by exit.
fn main(base: i32, lane: Lane, network: bool) -> ! {
    // It is here until the end of the process: its socket is needed for the last report.
    let mut begun = begin(base, lane, network);
    let (step, failure, socket) = match &mut begun {
        Err(failure) => {
            let socket = match lane {
                Lane::Stage => Slot::CONTROL,
                Lane::Init => Slot::SYNC,
            };
            (STEP_PRELUDE, *failure, inherited_fd(base, socket))
        }
        Ok(init) => match init.run() {
            Ok(()) if init.lane == Lane::Stage => exit(0),
            Ok(()) => (init.step, Failure::new(errno::ENOEXEC, Detail::Execve), init.socket()),
            Err(failure) => {
                // The caller ends the init by its pidfd.
                stage::tell_of_init(init).ok();
                (init.step, failure, init.socket())
            }
        },
    };
    // Without a parent there is nobody to tell; its end of the socket closes with this process.
    sync::send(socket, Report { step, errno: failure.errno, detail: failure.detail }, None).ok();
    exit(EXIT_FAILED)
}

/// What comes before the first operation. With `network`, stage 0 makes what nearly every plan wants while the caller still
/// works on the plan.
fn begin(base: i32, lane: Lane, network: bool) -> Step<Init> {
    // Slots survive until they are closed, never an exec.
    exec::close_on_exec(base)?;
    sys::process::set_dumpable(false).at(Detail::Prctl)?;
    match lane {
        Lane::Init => {
            signals::unblock()?;
            // What is filled the plan says, which is in one of the slots.
            Init::new(base, View::map(base)?.inherited | Slot::LANES.bit(), lane)
        }
        // Its signals stay blocked, as the caller has left them: one to the whole process group is not for it.
        Lane::Stage => {
            let early = if network { stage::network_early(base) } else { None };
            // They are the init's too, and there is time for them until the plan comes.
            signals::reset()?;
            let slots = stage::receive_slots(inherited_fd(base, Slot::CONTROL), base)?;
            // Without a plan the caller has given up.
            let Some(slots) = slots else { exit(0) };
            let mut init = Init::new(base, slots | Slot::CONTROL.bit() | Slot::IMAGE.bit(), lane)?;
            if let Some((network, sysfs)) = early {
                init.set(Slot::NETWORK, network);
                init.set(Slot::SYSFS, sysfs);
            }
            Ok(init)
        }
    }
}

/// exit_group(2); where a filter denies that, exit(2), which is as good for one thread; and where it denies both, an
/// instruction that the kernel ends a process for, also the first one of a pid namespace.
fn exit(status: u32) -> ! {
    loop {
        signal::exit_group(status);
        signal::exit_thread(status);
        trap();
    }
}

#[cfg(target_arch = "x86_64")]
fn trap() {
    // SAFETY: the instruction raises SIGILL and touches nothing.
    unsafe { core::arch::asm!("ud2", options(nomem, nostack)) };
}

#[cfg(target_arch = "aarch64")]
fn trap() {
    // SAFETY: the instruction raises SIGTRAP and touches nothing.
    unsafe { core::arch::asm!("brk #1", options(nomem, nostack)) };
}
