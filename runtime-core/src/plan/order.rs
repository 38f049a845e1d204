//! The sequence of steps: the only place that knows it.

use super::caps::{self, SYS_ADMIN};
use super::lanes::{Context, Lanes};
use super::namespaces::{self, Layout};
use super::rlimits::{self, By};
use super::rootfs;
use super::{
    CreateOptions, ExecOptions, ExecveFailure, LaunchPlan, ParentOp, devices, hooks, idmap, io, lsm, process,
    scheduler, seccomp, sysctl,
};
use crate::cgroup::Mode;
use crate::error::{Error, Result};
use crate::executor::Handler;
use crate::host::Host;
use crate::seccomp::Filter;
use crate::spec::{CapabilitySets, Kind, ValidProcess, ValidSpec};
use runtime_init::ops::{
    Maps, MountOp, NamespaceOp, Op, Point, ProcessOp, RootSwitch, Slot, StageOp, WaitOp,
};

/// The plan of `create` and `run`.
pub(super) fn create(spec: &ValidSpec, host: &Host, options: &CreateOptions) -> Result<LaunchPlan> {
    let context = Context { spec, host, options };
    let Some(process) = &spec.process else {
        return Err(Error::invalid("process", "is required to start the container"));
    };
    let layout = Layout::new(context);
    let limits_by = limits_by(context, &layout);
    let mut made = Lanes::default();
    let lanes = &mut made;

    layout.stage(lanes, context, rootfs::first_sysfs(&spec.mounts).is_some());
    enter(lanes, context, process, &layout, limits_by);
    make_root(lanes, context, &layout)?;
    limit(lanes, context, process, limits_by, layout.forks());
    if !spec.net_devices.is_empty() {
        lanes.sync(Point::NetworkDevices);
    }
    hooks::runtime_hooks(lanes, context);
    hooks::create_container(lanes, context);
    io::console(lanes, process, spec.namespaces.has(Kind::Mount), !layout.forks_late);
    if spec.bare.is_none() {
        process::make_working_directory(lanes, process);
    }
    rootfs::late_read_only(lanes, context);
    rootfs::late_read_only_paths(lanes, context);
    rootfs::switch_root(lanes, context)?;
    io::own_streams(lanes, process);
    sysctl::names_and_sysctls(lanes, context);
    if limits_by == By::Child {
        rlimits::rlimits(lanes, process, By::Child, layout.forks_late);
    }
    if !options.no_new_keyring {
        lsm::label_keys(lanes, spec, process, host, |lanes| process::keyring(lanes, &options.id));
    }
    let run = Run {
        spec,
        process,
        host,
        enters_user_namespace: context.changes_user_namespace(),
        gate: options.gate,
        forks: layout.forks_late,
        hooks: Some(context),
        listen_fds: options.listen_fds,
        execve_failure: options.execve_failure,
        handler: options.wanted.handler(),
    };
    become_program(lanes, &run)?;

    let id_maps = idmap::id_maps(context)?;
    Ok(LaunchPlan {
        child: made.finish(),
        limits_first: limits_first(context),
        parent: made.parent,
        clone_flags: layout.clone_flags,
        joins: layout.joins,
        id_maps,
        warnings: made.warnings,
        notes: made.notes,
        preserved: options.preserve_fds.saturating_add(options.listen_fds.unwrap_or(0)),
        terminal: process.terminal,
        handler: options.wanted.handler().cloned(),
    })
}

/// The plan of `exec`.
pub(super) fn exec(
    spec: &ValidSpec,
    process: &ValidProcess,
    host: &Host,
    options: &ExecOptions,
) -> Result<LaunchPlan> {
    let mut made = Lanes::default();
    let lanes = &mut made;
    let enters_user_namespace = spec.namespaces.has(Kind::User);
    let by = if enters_user_namespace { By::EarlyChild } else { By::Child };
    let forks = spec.namespaces.has(Kind::Pid);

    scheduler::initial_affinity(lanes, process);
    lanes.stage(Op::Stage(StageOp::CloneInit { flags: 0, maps: Maps::None }));
    lanes.push(Op::Namespace(NamespaceOp::JoinCgroups));
    lanes.push(Op::Namespace(NamespaceOp::OpenProc));
    join_groups(lanes, spec, options.joins_cgroup);
    match (process.affinity_initial.is_empty(), process.affinity_final.is_empty()) {
        (true, true) => scheduler::all_cpus(lanes),
        _ => scheduler::affinity(
            lanes,
            &process.affinity_final,
            format!("{}execCPUAffinity.final", process.origin),
        ),
    }
    rlimits::oom_score_adj(lanes, process, by);
    if by == By::EarlyChild {
        rlimits::rlimits(lanes, process, by, forks);
    }
    join_container(lanes, spec, enters_user_namespace);
    exec_root(lanes, spec, options);
    io::console(lanes, process, false, !forks);
    io::own_streams(lanes, process);
    if by == By::Child {
        rlimits::rlimits(lanes, process, by, forks);
    }
    if !options.no_new_keyring {
        lsm::label_keys(lanes, spec, process, host, |lanes| process::keyring(lanes, &options.id));
    }
    let run = Run {
        spec,
        process,
        host,
        enters_user_namespace,
        gate: false,
        forks,
        hooks: None,
        listen_fds: options.listen_fds,
        execve_failure: options.execve_failure,
        handler: options.wanted.handler(),
    };
    become_program(lanes, &run)?;
    Ok(LaunchPlan {
        child: made.finish(),
        limits_first: false,
        parent: made.parent,
        clone_flags: 0,
        joins: Vec::new(),
        id_maps: None,
        warnings: news(spec, process).chain(made.warnings).collect(),
        notes: made.notes,
        preserved: options.preserve_fds.saturating_add(options.listen_fds.unwrap_or(0)),
        terminal: process.terminal,
        handler: options.wanted.handler().cloned(),
    })
}

fn limits_by(context: Context<'_>, layout: &Layout) -> By {
    match () {
        () if !context.changes_user_namespace() => By::Child,
        () if layout.clone_flags & u64::from(Kind::User.flag()) == 0 => By::EarlyChild,
        () if context.parent_is_stronger() => By::Parent,
        () => By::Child,
    }
}

/// Session, procfs and namespaces.
fn enter(lanes: &mut Lanes, context: Context<'_>, process: &ValidProcess, layout: &Layout, by: By) {
    if !layout.forks() {
        lanes.push(Op::Process(ProcessOp::NewSession));
    }
    lanes.push(Op::Namespace(NamespaceOp::OpenProc));
    if by != By::Parent {
        rlimits::oom_score_adj(lanes, process, by);
    }
    if by == By::EarlyChild {
        rlimits::rlimits(lanes, process, by, false);
    }
    if context.spec.bare.is_none() {
        scheduler::all_cpus(lanes);
    }
    namespaces::enter(lanes, context, layout);
    // A session ends with the process that made it.
    if layout.forks() && !layout.forks_late {
        lanes.push(Op::Process(ProcessOp::NewSession));
    }
}

/// The root file system. mountinfo(5) has the mounts in the order of the configuration, so a sysfs waits at its turn for
/// the network namespace that it shows.
fn make_root(lanes: &mut Lanes, context: Context<'_>, layout: &Layout) -> Result<()> {
    let spec = context.spec;
    let mounts_dev = spec.mounts.iter().any(|mount| mount.destination == "/dev");
    let has_devices = mounts_dev || spec.namespaces.has(Kind::Mount) && spec.bare.is_none();
    let sysfs = rootfs::first_sysfs(&spec.mounts).filter(|_| layout.stage_makes_network);
    // Nodes are made while the network namespace is, if no later mount is among them.
    let early = sysfs.filter(|at| rootfs::devices_fit_before(&spec.mounts, *at));
    rootfs::open_root(lanes, context);
    for (at, mount) in spec.mounts.iter().enumerate() {
        if early == Some(at) && has_devices {
            devices::devices(lanes, context);
        }
        if sysfs == Some(at) {
            lanes.receive_network(true);
        }
        let ready = match layout.pid_namespace() {
            _ if sysfs == Some(at) => Some(Slot::SYSFS),
            Some(namespace) if layout.forks_late && rootfs::is_proc(mount) => {
                lanes.receive_proc(namespace, &mount.source, &mount.origin());
                Some(Slot::PROCFS)
            }
            Some(_) | None => None,
        };
        rootfs::mount(lanes, context, mount, ready)?;
    }
    if spec.namespaces.has(Kind::Mount) {
        io::notify_mount(lanes, context)?;
    }
    if has_devices && early.is_none() {
        devices::devices(lanes, context);
    }
    rootfs::restrict(lanes, context);
    if layout.stage_makes_network && sysfs.is_none() {
        lanes.receive_network(false);
    }
    Ok(())
}

/// What the parent does while the child makes its root.
fn limit(lanes: &mut Lanes, context: Context<'_>, process: &ValidProcess, by: By, forks: bool) {
    // With systemd and v1 they are written before the init joins what systemd does not know.
    if context.host.cgroup_mode() == Mode::Unified {
        lanes.parent.push(ParentOp::ApplyLimits);
    }
    lanes.parent.push(ParentOp::AttachDevices);
    if context.spec.intel_rdt.is_some() && !forks {
        lanes.parent.push(ParentOp::JoinResctrl);
    }
    if by == By::Parent {
        rlimits::oom_score_adj(lanes, process, by);
        rlimits::rlimits(lanes, process, by, false);
    }
}

/// Whether the limits are to be there before the init is: v1 denies all devices before it allows some, a cpuset takes no
/// process before it has CPUs, and the cpu controller takes no realtime process without time for it.
fn limits_first(context: Context<'_>) -> bool {
    context.host.cgroup_mode() != Mode::Unified && !context.options.by_systemd
}

/// What a process has to be put into before it forks: its child begins there.
fn join_groups(lanes: &mut Lanes, spec: &ValidSpec, joins_cgroup: bool) {
    if joins_cgroup {
        lanes.parent.push(ParentOp::JoinCgroup);
    }
    if spec.intel_rdt.is_some() {
        lanes.parent.push(ParentOp::JoinResctrl);
    }
    if !lanes.parent.is_empty() {
        lanes.sync(Point::CgroupJoined);
    }
}

/// Joins all namespaces that the container has of its own. This process itself does not enter the PID namespace.
fn join_container(lanes: &mut Lanes, spec: &ValidSpec, enters_user_namespace: bool) {
    let flags = spec.namespaces.iter().fold(0, |flags, namespace| flags | namespace.kind.flag());
    if flags != 0 {
        lanes.push(Op::Namespace(NamespaceOp::JoinNamespaces { slot: Slot::TARGET, flags }));
    }
    if enters_user_namespace {
        lanes.push(Op::Namespace(NamespaceOp::BecomeRoot));
    }
    if !spec.namespaces.has(Kind::Pid) {
        lanes.push(Op::Process(ProcessOp::NewSession));
    }
}

fn exec_root(lanes: &mut Lanes, spec: &ValidSpec, options: &ExecOptions) {
    if spec.namespaces.has(Kind::Mount) {
        lanes.push(Op::Mount(MountOp::OpenJoinedRoot));
        return;
    }
    let path = match spec.root.starts_with('/') {
        true => spec.root.clone(),
        false => format!("{}/{}", options.bundle.trim_end_matches('/'), spec.root),
    };
    let path = lanes.child.string(path);
    lanes.push_from(Op::Mount(MountOp::OpenHost { path, slot: Slot::ROOT }), "root.path");
    lanes.push_from(Op::Mount(MountOp::SwitchRoot { how: RootSwitch::Chroot }), "root.path");
}

/// What the text of the process to add was warned of and that of the container was not: the container's
/// warnings were told when it was created.
fn news<'a>(spec: &'a ValidSpec, process: &'a ValidProcess) -> impl Iterator<Item = String> + 'a {
    let known = spec.warnings().iter().filter_map(|warning| warning.strip_prefix("process."));
    process.warnings().iter().filter(move |warning| !known.clone().any(|known| known == *warning)).cloned()
}

/// What `create` and `exec` end with.
struct Run<'a> {
    spec: &'a ValidSpec,
    process: &'a ValidProcess,
    host: &'a Host,
    enters_user_namespace: bool,
    gate: bool,
    /// The program is run by a process that is forked last, into a joined PID namespace. The container sees that one alone,
    /// and it has nothing more than the program.
    forks: bool,
    /// For `create`: its hooks and its notify socket.
    hooks: Option<Context<'a>>,
    listen_fds: Option<u32>,
    execve_failure: ExecveFailure,
    /// What runs in the place of a program of the container.
    handler: Option<&'a Handler>,
}

impl Run<'_> {
    /// For an exec, the capabilities that the container's own process asked for.
    fn told(&self) -> Option<CapabilitySets> {
        let own = self.spec.process.as_ref().filter(|_| self.hooks.is_none())?;
        Some(own.capabilities.unwrap_or_default())
    }

    fn starts_hooks(&self) -> bool {
        self.hooks.is_some() && !self.spec.hooks.start_container.is_empty()
    }

    fn env(&self) -> Vec<String> {
        let mut env = self.process.env.clone();
        io::listen_variables(&mut env, self.listen_fds);
        if let Some(context) = self.hooks {
            io::notify_variable(&mut env, context);
        }
        env
    }
}

/// What execve(2) and its filter need.
fn prepare(lanes: &mut Lanes, run: &Run<'_>, env: &process::Environment<'_>) {
    let process = run.process;
    lanes.push(Op::Process(ProcessOp::CloseDescriptors));
    process::prepare(lanes, process, env);
    if process.no_new_privileges {
        lanes
            .push_from(Op::Process(ProcessOp::NoNewPrivileges), format!("{}noNewPrivileges", process.origin));
    }
}

/// Into the PID namespace. What is left for the other side of the fork takes no privilege.
fn fork(lanes: &mut Lanes, process: &ValidProcess) {
    lanes.push(Op::Namespace(NamespaceOp::ForkIntoPidNamespace));
    // A session, and its terminal, are those of the process that made it.
    lanes.push(Op::Process(ProcessOp::NewSession));
    io::take_terminal(lanes, process);
    lanes.parent.push(ParentOp::Follow);
    rlimits::processes_of_forked(lanes, process);
    scheduler::scheduler_of_forked(lanes, process);
}

/// From root of the container to its program.
fn become_program(lanes: &mut Lanes, run: &Run<'_>) -> Result<()> {
    let (spec, process) = (run.spec, run.process);
    let asked = process.capabilities.unwrap_or_default();
    let own = match run.enters_user_namespace {
        true => caps::IN_USER_NAMESPACE,
        false => run.host.capabilities_for(asked.bounding | asked.inheritable),
    };
    let granted = caps::grant(lanes, asked, run.told(), own, process.origin);
    let env = run.env();
    let env = process::environment(process, &env);
    let set_groups = idmap::set_groups(spec, run.host, run.enters_user_namespace);
    idmap::check_user(spec, process, set_groups)?;

    scheduler::scheduler(lanes, process, run.forks);
    if let Some(persona) = spec.personality {
        lanes.push_from(Op::Process(ProcessOp::Personality { persona }), "linux.personality");
    }
    scheduler::memory_policy(lanes, spec.memory_policy.as_ref());
    process::umask(lanes, process);
    // They take effect with the next execve(2); the user's process may not be allowed to write them.
    lsm::labels(lanes, run.spec, process, run.host)?;
    process::change_directory(lanes, process, true);
    process::find_home(lanes, &env);
    if spec.bare.is_none() {
        process::give_streams(lanes, process);
    }
    process::change_user(lanes, process, &granted, set_groups);
    process::change_directory(lanes, process, false);
    let filter = seccomp::filter(lanes, spec)?;
    // Without no_new_privs, loading a filter takes a privilege until the end. It cannot be dropped
    // after that, where the filter may deny the call, and need not be: execve(2) computes the new sets
    // from the inheritable, bounding and ambient ones, which do not have it.
    let late_filter = filter.is_some() && !process.no_new_privileges;
    let extra = if late_filter { SYS_ADMIN & own.permitted } else { 0 };
    process::set_capabilities(lanes, process, &granted.sets, extra);
    process::set_ambient(lanes, process, &granted.sets);
    match (run.handler, &filter) {
        (None, _) => process::find_program(lanes, process),
        (Some(handler), Some(filter)) => seccomp::check_handler(filter, handler)?,
        (Some(_), None) => {}
    }
    lanes.push(Op::Wait(WaitOp::CloseHost));
    let mut filter = filter.as_ref();
    let asks_agent = filter.is_some_and(Filter::needs_listener);
    if run.forks {
        prepare(lanes, run, &env);
        // The process that is seen in the container is to have no privilege for the filter.
        if let Some(early) = filter
            .take_if(|filter| extra != 0 && seccomp::allows_fork(filter, run.gate, run.handler.is_some()))
        {
            seccomp::load(lanes, early)?;
            process::set_capabilities(lanes, process, &granted.sets, 0);
        }
        fork(lanes, process);
    }
    if run.hooks.is_some() {
        lanes.sync(Point::Created);
    }
    if run.starts_hooks() {
        hooks::receive_files(lanes, &spec.annotations);
    }
    // An agent waits for the listener before it lets the engine go on to `start`. Hooks run behind the filter, but not
    // before `start`.
    let holds = run.gate && asks_agent && !run.starts_hooks() && run.host.userfaults();
    match (run.gate, holds) {
        (true, true) => lanes.push(Op::Wait(WaitOp::PrepareHold)),
        (true, false) => lanes.push(Op::Wait(WaitOp::AwaitStart)),
        (false, _) => {}
    }
    if !run.forks {
        prepare(lanes, run, &env);
    }
    if run.hooks.is_none() {
        lanes.await_word();
    }
    // From the filter on, each call may be denied or wait for somebody: nothing but the hooks and
    // execve(2) follows.
    if let Some(filter) = filter {
        seccomp::load(lanes, filter)?;
    }
    if holds {
        lanes.push(Op::Wait(WaitOp::Hold));
    }
    // The hooks have no more rights than the program, and its filter.
    if let Some(context) = run.hooks {
        hooks::start_container(lanes, context, &env);
    }
    process::execute(lanes, process, run.execve_failure, run.handler);
    Ok(())
}
