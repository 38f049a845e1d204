//! The operations of the child lane: what the tiny init does, in order, to become the container.
//!
//! The library writes a plan, and the tiny init runs it. Everything an operation needs is in the plan image: a header, an
//! array of [`Op`] and an arena of bytes that operations point into by offset. The image is
//! position-independent and lives in a sealed memory file: the init maps it read-only.
//!
//! An operation is one thought of the launch ("put this mount there"), small enough that its
//! arguments and an errno say all about a failure, and large enough that the sequence reads like
//! the specification. Only `plan::order` decides their sequence.

/// First word of an image; changes with every change of the layout.
pub const MAGIC: u32 = 0x7274_6904;

/// Offset of a NUL-terminated string in the arena; 0 is "none" (and the empty string).
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Str(pub u32);

impl Str {
    /// No string.
    pub const NONE: Str = Str(0);
}

/// Bytes or an array in the arena: offset in bytes and number of elements. Arrays are aligned to 8.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    /// Offset in the arena, in bytes.
    pub offset: u32,
    /// Number of elements (of bytes, for bytes).
    pub len: u32,
}

impl Slice {
    /// No elements.
    pub const EMPTY: Slice = Slice { offset: 0, len: 0 };
}

/// A place of the init's descriptor table.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(pub u16);

impl Slot {
    /// The number of its descriptor at the start of the process, where `base` is that of the first slot.
    pub const fn number(self, base: i32) -> i32 {
        base.saturating_add(self.0 as i32)
    }

    /// The slots from [`TASKS`](Self::TASKS) on.
    pub fn tasks() -> impl Iterator<Item = Slot> {
        (Self::TASKS.0..).take(usize::from(Self::TASKS_COUNT)).map(Slot)
    }

    /// The plan's memory file.
    pub const PLAN: Slot = Slot(0);
    /// The init's socket to the caller; later the connection of `start`.
    pub const SYNC: Slot = Slot(1);
    /// The listening socket of the start gate (absent when the creator starts).
    pub const GATE: Slot = Slot(2);
    /// The init's pidfd of a running container, for exec.
    pub const TARGET: Slot = Slot(3);
    /// The userfaultfd of [`WaitOp::Hold`]: what a `create` does not inherit is free for a number that `start` knows.
    pub const HOLD: Slot = Slot(3);
    /// First of the descriptors of namespaces to join; there are eight types of namespaces.
    pub const JOIN: Slot = Slot(4);
    /// Memory that the caller, stage 0 and the init share: see [`Shared`].
    pub const SHARED: Slot = Slot(12);
    /// Stage 0's socket to the caller; inherited from the clone of the caller.
    pub const CONTROL: Slot = Slot(13);
    /// The memory file of this program; inherited from the clone of the caller.
    pub const IMAGE: Slot = Slot(14);
    /// Directory of the cgroup (v2) that the init is cloned into.
    pub const PLACE: Slot = Slot(15);
    /// The socket between stage 0 and the init; stage 0 makes it.
    pub const LANES: Slot = Slot(16);
    /// What an errand of stage 0 is about.
    pub const GIVEN: Slot = Slot(17);
    /// The memory file of [`ProgramOp::ExecuteHandler`]; an errand executes no program.
    pub const HANDLER: Slot = Slot(17);
    /// First of the files by which the init puts itself into cgroups, by writing "0".
    pub const TASKS: Slot = Slot(18);
    /// Number of slots from [`Slot::TASKS`] on that are for cgroups.
    pub const TASKS_COUNT: u16 = 18;
    /// Number of slots that are filled from outside: descriptors `base..base + INHERITED`.
    pub const INHERITED: usize = 36;

    /// A verified descriptor of procfs that no container mount can cover.
    pub const PROC: Slot = Slot(36);
    /// The root file system: every path of the container is resolved below it.
    pub const ROOT: Slot = Slot(37);
    /// The read-only tmpfs that covers masked directories.
    pub const EMPTY_DIRECTORY: Slot = Slot(38);
    /// The container's verified /dev/null, for masked files.
    pub const NULL: Slot = Slot(39);
    /// The state of the container as a memory file: standard input of hooks.
    pub const STATE: Slot = Slot(40);
    /// The file for the standard output of hooks.
    pub const HOOK_STDOUT: Slot = Slot(41);
    /// The file for the standard error output of hooks.
    pub const HOOK_STDERR: Slot = Slot(42);
    /// The mount being made.
    pub const MOUNT: Slot = Slot(43);
    /// The new network namespace, from stage 0.
    pub const NETWORK: Slot = Slot(44);
    /// The context of a new sysfs, from stage 0.
    pub const SYSFS: Slot = Slot(45);
    /// The cgroup file system, opened before the root changes.
    pub const CGROUP: Slot = Slot(46);
    /// The user namespace whose id map a mount gets, in stage 0.
    pub const USER: Slot = Slot(47);
    /// The context of a new procfs, from stage 0.
    pub const PROCFS: Slot = Slot(48);
    /// Number of slots.
    pub const COUNT: usize = 52;

    /// The bit of this slot in a set of inherited ones.
    pub const fn bit(self) -> u64 {
        1 << self.0
    }
}

/// Memory that the caller, stage 0 and the init share: words of 8 bytes.
pub struct Shared;

impl Shared {
    /// Pid of the init in the caller's pid namespace, an i32; 0 before it is cloned. Next to it, in the second half of
    /// the word, that of the process that the init has forked.
    ///
    /// The kernel writes both (CLONE_PARENT_SETTID), so they are there even if the writer was killed before it could
    /// tell the caller.
    pub const PIDS: usize = 0;
    /// When the init began, in nanoseconds of CLOCK_MONOTONIC.
    pub const BEGIN: usize = 1;
    /// When operation 0 ended; those of the others follow.
    pub const TIMES: usize = 2;

    /// Size in bytes, for a launch of `ops` operations; without times for 0.
    pub const fn bytes(ops: usize) -> usize {
        Self::TIMES.saturating_add(ops).saturating_mul(8)
    }
}

/// The first argument of the call by which the init waits until its listener is handed over. A
/// number that no program has in a register by chance: sched_yield(2) has no arguments.
pub const HANDOVER: u64 = 0x72_756e_7469_6d65;

/// Begin of an image.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u32,
    /// Number of operations; they follow the header.
    pub ops: u32,
    /// Offset of the arena in the image, in bytes.
    pub arena: u32,
    /// Descriptor number of the first inherited slot; below it is what the container keeps
    /// (standard streams, preserved descriptors).
    pub base: i32,
    /// Index of the init's first operation; those before are stage 0's.
    pub init: u32,
    /// Other than 0 if the times of the operations are wanted.
    pub timed: u32,
    /// Bit n is set if slot n is filled from outside.
    pub inherited: u64,
}

/// One option of a new file system: `key`, or `key=value`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Name.
    pub key: Str,
    /// Value, or [`Str::NONE`] for a flag.
    pub value: Str,
}

/// What has to exist at a destination before something is attached there.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Node {
    /// A directory, made with its parents when missing.
    Directory = 0,
    /// The same kind as the root of the mount: a directory or an (empty) file, made when missing.
    LikeMount = 1,
    /// A directory that is really one: no symbolic link on the way (procfs and sysfs,
    /// CVE-2019-19921).
    RealDirectory = 2,
    /// As [`Node::LikeMount`]; when the root of the mount is a symbolic link, an equal link is made instead of the
    /// mount.
    LinkOrMount = 3,
}

/// Whether a process sets its supplementary groups.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetGroups {
    /// The user namespace denies it.
    Never = 0,
    /// It may be a user namespace of another's making, which may deny it: then no groups are none.
    IfAllowed = 1,
    /// It is allowed.
    Always = 2,
}

/// Who writes the id maps of a user namespace that the init is cloned into.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Maps {
    /// No user namespace is made by the clone.
    None = 0,
    /// Root, who may do it whether the init is dumpable or not.
    ByRoot = 1,
    /// Any other user, who may do it only while the init is dumpable.
    ByUser = 2,
}

/// Where the init leaves the old root.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootSwitch {
    /// pivot_root(2), then the old root is detached.
    Pivot = 0,
    /// MS_MOVE over "/" and chroot: for roots on an initramfs (`--no-pivot`).
    Move = 1,
    /// chroot(2) only: without a mount namespace of its own.
    Chroot = 2,
}

/// A point where the child lane waits for the parent lane.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// The process is in its final cgroups (needed before a cgroup namespace is made on v1).
    CgroupJoined = 0,
    /// Mounts are made: prestart and createRuntime hooks run now.
    RuntimeHooks = 1,
    /// Everything is made: the container is `created`.
    Created = 2,
    /// The child made its user namespace by unshare(2), because it had to join other namespaces
    /// first: the id maps are written now.
    IdMaps = 3,
    /// The process is in its network namespace: interfaces of the host may be moved there.
    NetworkDevices = 4,
}

/// An operation of stage 0 or of the init; each family has a file that does it, and one that says it in words.
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// What stage 0 does.
    Stage(StageOp),
    /// Namespaces, cgroups, and what a new namespace needs.
    Namespace(NamespaceOp),
    /// Waiting for the other lanes, and for `start`.
    Wait(WaitOp),
    /// Mounts, and the root file system.
    Mount(MountOp),
    /// Files below the root, and the standard streams.
    File(FileOp),
    /// Properties of the process itself.
    Process(ProcessOp),
    /// The program, and the hooks before it.
    Program(ProgramOp),
}

/// What stage 0 does.
#[allow(missing_docs, reason = "the fields are the arguments of the calls")]
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum StageOp {
    /// clone3(2) of the container's init, as a child of the caller, into the namespaces `flags` and the cgroup in
    /// [`Slot::PLACE`]. The init goes on with its own operations, stage 0 with its next one; the caller gets pid and pidfd.
    CloneInit { flags: u64, maps: Maps },
    /// Enters a new network namespace: its descriptor is in [`Slot::NETWORK`] then, and with `sysfs` the configured context
    /// of a sysfs of it in [`Slot::SYSFS`].
    MakeNetwork { sysfs: bool },
    /// Makes the configured context of a procfs of the PID namespace in `namespace`, in [`Slot::PROCFS`], by a process in there
    /// that can do nothing else.
    MakeProc { namespace: Slot, source: Str },
    /// Waits until the init asks for what stage 0 makes next ([`WaitOp::AskStage`]).
    AwaitInit,
    /// open_tree(OPEN_TREE_CLONE) of a path in the mount namespace of the init into [`Slot::MOUNT`].
    CloneTreeOfInit { path: Str, recursive: bool, nofollow: bool },
    /// Opens the user namespace of the init as [`Slot::USER`].
    OpenUserNamespace,
    /// Makes a user namespace with these id maps (texts of uid_map and gid_map), in [`Slot::USER`].
    MakeUserNamespace { uid: Slice, gid: Slice },
    /// mount_setattr(MOUNT_ATTR_IDMAP): gives [`Slot::MOUNT`] the id map of [`Slot::USER`].
    MapIds { recursive: bool },
    /// Copies the mount namespace, with the attributes of all mounts locked, and clones a tree of the copy into
    /// [`Slot::MOUNT`] (mount_namespaces(7)).
    CloneLockedTree { path: Str, recursive: bool, nofollow: bool },
    /// A netlink socket (NETLINK_ROUTE) of the network namespace that stage 0 is in, in [`Slot::NETWORK`].
    OpenNetlink,
    /// Opens what is at `path` below [`Slot::ROOT`] (O_PATH) as [`Slot::MOUNT`].
    OpenInRoot { path: Str },
    /// Puts [`Slot::GIVEN`], a detached mount for `destination` below [`Slot::ROOT`], into [`Slot::MOUNT`]. A link on the way
    /// that leads to nothing is refused.
    TakeGiven { destination: Str },
    /// Enters the mount namespace of the process in [`Slot::TARGET`] and unmounts, detached, what [`Slot::GIVEN`] is on.
    UnmountGiven,
    /// Sends the caller a report.
    Tell,
    /// Sends the init the descriptors of `count` slots from `first` on.
    HandOver { first: Slot, count: u32 },
    /// Sends the caller the descriptor of a slot.
    Deliver { slot: Slot },
}

/// Namespaces, cgroups, and what a new namespace needs.
#[allow(missing_docs, reason = "the fields are the arguments of the calls")]
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum NamespaceOp {
    /// Opens the host's procfs into [`Slot::PROC`] and verifies magic and root inode; makes a
    /// private one when the host's is not clean.
    OpenProc,
    /// setns(2) with the descriptor in `slot`.
    JoinNamespaces { slot: Slot, flags: u32 },
    /// Becomes uid and gid 0 of the user namespace just joined.
    BecomeRoot,
    /// unshare(2).
    Unshare { flags: u32 },
    /// Makes a time namespace with these offsets (text of timens_offsets) and enters it.
    TimeNamespace { offsets: Slice },
    /// Puts this process into the cgroups of [`Slot::TASKS`] and the slots after it.
    JoinCgroups,
    /// Goes on in a child process, so that a joined pid namespace takes effect; the child is a
    /// child of the caller, who learns its pid from the credentials of the next message.
    ForkIntoPidNamespace,
    /// Brings the loopback interface up.
    LoopbackUp,
    /// sethostname(2).
    HostName { name: Str },
    /// setdomainname(2).
    DomainName { name: Str },
    /// Writes `value` to /proc/sys/`path` (with `/` as separator), in a verified procfs.
    Sysctl { path: Str, value: Slice },
}

/// Waiting for the other lanes, and for `start`.
#[allow(missing_docs, reason = "the fields are the arguments of the calls")]
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum WaitOp {
    /// Tells the parent that `point` is reached and waits for its word.
    Sync { point: Point },
    /// Waits for the parent's word, which comes without being asked for, and mostly has come before.
    AwaitWord,
    /// Asks stage 0 for what it makes next.
    AskStage,
    /// Receives one message that carries `count` descriptors, into the slots from `into`, over the socket in `from`: of the
    /// caller ([`Slot::SYNC`]) or of stage 0 ([`Slot::LANES`]).
    Receive { from: Slot, into: Slot, count: u32 },
    /// Reports the number that the listener of the next [`ProcessOp::Seccomp`] will have, as detail: the lowest
    /// free one, since nothing else of this process makes descriptors. Then the parent may take it.
    AnnounceListener,
    /// sched_yield(2) with [`HANDOVER`], which a filter with a listener notifies of: it comes back
    /// when the parent has handed the listener over. It needs nothing that the filter could deny.
    AwaitHandover,
    /// Closes what leads to the host: all slots but those that the end of the lane needs ([`Slot::SYNC`],
    /// [`Slot::GATE`], [`Slot::STATE`], [`Slot::HANDLER`]). From here on, other processes of the container may
    /// join the namespaces of this one.
    CloseHost,
    /// Waits for a connection on [`Slot::GATE`] and its word; the connection becomes
    /// [`Slot::SYNC`].
    AwaitStart,
    /// Prepares the wait of [`WaitOp::Hold`], whose descriptor is [`Slot::HOLD`] then, and closes the slots that only an init
    /// without a filter can use.
    PrepareHold,
    /// Waits for `start` without a system call, behind a filter that has a listener.
    Hold,
}

/// Mounts, and the root file system.
#[allow(missing_docs, reason = "the fields are the arguments of the calls")]
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum MountOp {
    /// Sets the propagation (MS_SLAVE, MS_PRIVATE …, with MS_REC) of the mount namespace's root.
    HostPropagation { flags: u64 },
    /// Clones the tree at `path` (or takes the mount in `slot` when `path` is none), attaches it
    /// over itself and opens it as [`Slot::ROOT`]. With `private` (the host's mounts stay shared) it
    /// is attached over a private "/" and its own mount is private too, so that neither the mount nor
    /// pivot_root(2) meets a peer of the host's.
    OpenRoot { path: Str, slot: Slot, private: bool },
    /// fsopen, fsconfig, fsmount: a new detached file system in [`Slot::MOUNT`]. Values that
    /// fsconfig cannot carry take mount(2) in a mount namespace of its own instead.
    NewFilesystem { kind: Str, source: Str, parameters: Slice, attributes: u64 },
    /// open_tree(OPEN_TREE_CLONE) of a path of the host (absolute) into [`Slot::MOUNT`].
    /// `nofollow` does not follow a final symbolic link.
    CloneTree { path: Str, recursive: bool, nofollow: bool },
    /// fsmount(2) of the configured context in `slot` into [`Slot::MOUNT`].
    ///
    /// The kernel lists mounts by when they were made: the context may come early, from stage 0, and the mount is
    /// made at its turn.
    MountContext { slot: Slot, attributes: u64 },
    /// mount_setattr(2) on [`Slot::MOUNT`]: MOUNT_ATTR_* to set and to clear.
    MountAttributes { set: u64, clear: u64, recursive: bool },
    /// Propagation (MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE) of [`Slot::MOUNT`].
    MountPropagation { flags: u64, recursive: bool },
    /// Gives the root directory of [`Slot::MOUNT`] the permission bits of what is at `destination`
    /// in the root; nothing if that is missing (a tmpfs without `mode=`, as runc does).
    CopyMode { destination: Str },
    /// Verifies that [`Slot::MOUNT`] is the root of a procfs, by magic and inode (CVE-2019-16884):
    /// before a bind mount is attached on /proc.
    VerifyProc,
    /// mount_setattr(2), not recursive, on the mount that is at `destination` in the root (which has
    /// to be the root of a mount): MOUNT_ATTR_* to set and to clear.
    RemountAt { destination: Str, set: u64, clear: u64 },
    /// Copies what is at `destination` in the root into [`Slot::MOUNT`] (tmpcopyup): its content, and its own `owner`
    /// and `mode` where the options of the mount say nothing of them.
    CopyUp { destination: Str, owner: bool, mode: bool },
    /// Writes the label of SELinux to the root of [`Slot::MOUNT`] (`security.selinux`, xattr(7)).
    LabelMount { value: Slice },
    /// Opens or makes `destination` below the root, puts [`Slot::MOUNT`] there, closes the slot. `nofollow` mounts
    /// on a final symbolic link itself.
    Attach { destination: Str, node: Node, nofollow: bool },
    /// Opens a path of the host as O_PATH into `slot`, to be cloned after the root has changed.
    OpenHost { path: Str, slot: Slot },
    /// Covers a path with nothing: a file by [`Slot::NULL`], a directory by
    /// [`Slot::EMPTY_DIRECTORY`]. A missing path is ignored; the root cannot be covered.
    Mask { path: Str },
    /// Makes a path read-only, with all below it. A missing path is ignored; the root becomes read-only
    /// with [`MountOp::SwitchRoot`], after all that is written below it.
    ReadOnly { path: Str },
    /// Changes the root to [`Slot::ROOT`].
    SwitchRoot { how: RootSwitch },
    /// After exec joined a mount namespace: opens "/" as [`Slot::ROOT`].
    OpenJoinedRoot,
    /// mount_setattr(2) of MOUNT_ATTR_* on the root.
    RootAttributes { set: u64 },
    /// Propagation of the new root.
    RootPropagation { flags: u64 },
}

/// Files below the root, and the standard streams.
#[allow(missing_docs, reason = "the fields are the arguments of the calls")]
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum FileOp {
    /// Makes a directory and its parents below the root.
    MakeDirectory { path: Str, mode: u32 },
    /// Makes a device node, FIFO or file below the root; `mode` has type and permissions.
    /// An existing node of the same type and number is kept. With `bind`, the host's node of the
    /// same path is bind-mounted instead (no mknod in a user namespace).
    MakeDevice { path: Str, mode: u32, device: u64, uid: u32, gid: u32, bind: bool },
    /// Makes a symbolic link below the root; an existing equal link, or any existing node when
    /// `keep` is set, is left.
    MakeSymlink { path: Str, target: Str, keep: bool },
    /// Allocates the terminal of the container, sends its master to the parent, and makes the
    /// slave the standard streams; `mount` puts it on /dev/console too, `control` makes it the controlling terminal.
    Console { rows: u16, columns: u16, uid: u32, mount: bool, control: bool },
    /// Makes standard input, the terminal, the controlling terminal of the session.
    TakeTerminal,
    /// Gives the standard streams to the user, so that it may reopen them by name (/dev/stdout);
    /// /dev/null and what cannot be given away are left.
    StdioOwner { uid: u32 },
    /// Standard streams that are on a memory device of the host (/dev/null and its kind) are opened anew on
    /// the node of that device below the root, if it has one.
    OwnStreams,
    /// Makes the working directory when missing (as root, below the root), owned by uid and gid.
    MakeWorkingDirectory { path: Str, uid: u32, gid: u32 },
}

/// Properties of the process itself.
#[allow(missing_docs, reason = "the fields are the arguments of the calls")]
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum ProcessOp {
    /// setsid(2).
    NewSession,
    /// setrlimit(2).
    Rlimit { resource: u32, soft: u64, hard: u64 },
    /// Writes `value` (decimal text) to oom_score_adj of this process.
    OomScoreAdj { value: Slice },
    /// personality(2).
    Personality { persona: u64 },
    /// sched_setattr(2) with this `struct sched_attr`.
    Scheduler { attributes: Slice },
    /// ioprio_set(2) of this process.
    IoPriority { value: u32 },
    /// sched_setaffinity(2); `mask` is an array of bytes, a multiple of 8. An empty one is all CPUs
    /// that the cgroup allows, and a refusal then leaves the caller's.
    CpuAffinity { mask: Slice },
    /// set_mempolicy(2); `nodes` is an array of bytes, a multiple of 8.
    MemoryPolicy { mode: i32, nodes: Slice, max_node: u64 },
    /// Writes a label to an attribute file of this process (`attr/exec`, `attr/apparmor/exec` …)
    /// and checks that all was taken. An empty one clears the file.
    Label { file: Str, value: Slice },
    /// Joins a new session keyring of this name and lets its owner search it; a kernel without
    /// keyrings is an error unless `optional`.
    SessionKeyring { name: Str, optional: bool },
    /// chdir(2), then verifies that the working directory is inside the root (CVE-2024-21626). With
    /// `first` a directory that may not be entered is left to the second of these operations, which
    /// does nothing when the first has done it.
    ChangeDirectory { path: Str, first: bool },
    /// umask(2).
    Umask { mask: u32 },
    /// prctl(PR_CAPBSET_DROP) for each capability of `mask`.
    DropBounding { mask: u64 },
    /// Keeps permitted capabilities over the change of user.
    KeepCapabilities,
    /// setgroups, setresgid, setresuid; each read back.
    SetUser { uid: u32, gid: u32, groups: Slice, set_groups: SetGroups },
    /// capset(2), and reads back.
    SetCapabilities { effective: u64, permitted: u64, inheritable: u64 },
    /// Clears the ambient set and raises each capability of `mask`.
    SetAmbient { mask: u64 },
    /// prctl(PR_SET_NO_NEW_PRIVS).
    NoNewPrivileges,
    /// seccomp(2) with this program (an array of 8-byte instructions).
    Seccomp { flags: u32, program: Slice },
    /// Makes every descriptor from the header's `base` on close-on-exec.
    CloseDescriptors,
}

/// The program, and the hooks before it.
#[allow(missing_docs, reason = "the fields are the arguments of the calls")]
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum ProgramOp {
    /// Resolves the program against the candidates (absolute or cwd-relative paths, in order of
    /// `$PATH`) as the final user, so that `create` can report a missing one.
    FindProgram { candidates: Slice },
    /// Runs a hook to its end: `args` and `env` are arrays of [`Str`]; `timeout` in milliseconds,
    /// 0 for none; standard input is [`Slot::STATE`]. `home_uid` as with `PrepareProgram`.
    Hook { path: Str, args: Slice, env: Slice, timeout: u32, home_uid: u32 },
    /// Makes all that [`ProgramOp::Execute`] needs: pointers to arguments and environment, the umask. With
    /// `home_uid` other than `u32::MAX`, HOME is added from /etc/passwd, as `FindHome` has found it.
    PrepareProgram { args: Slice, env: Slice, home_uid: u32 },
    /// execve(2) of the program that `FindProgram` found, and no other call: a filter may be loaded.
    /// The arguments are those of `PrepareProgram`. With `exits` a refusal is the process's own: it says why on its
    /// standard error output and exits; otherwise the parent is told.
    Execute { args: Slice, exits: bool },
    /// execveat(2) of the program in [`Slot::HANDLER`] in the place of one of the container, and no other call. `name` is that
    /// program for people, `size` its bytes; otherwise as [`ProgramOp::Execute`].
    ExecuteHandler { name: Str, size: u32, args: Slice, exits: bool },
    /// Looks up the user's home directory in /etc/passwd, which the user may not be able to read.
    FindHome { uid: u32 },
}
