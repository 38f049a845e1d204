//! Namespaces: which the clone makes, which stage 0 makes, which the init joins or makes, and in which order.

use super::lanes::{Context, Lanes};
use super::rootfs;
use super::{Join, ParentOp};
use crate::cgroup::Mode;
use crate::spec::{Kind, Namespace};
use runtime_init::ops::{Maps, NamespaceOp, Op, Point, Slice, Slot, StageOp};

/// How the namespaces of a container come to be.
#[derive(Debug)]
pub(super) struct Layout {
    /// CLONE_NEW* for clone3.
    pub(super) clone_flags: u64,
    /// CLONE_NEW* that the child makes after it entered its user namespace.
    unshare: u32,
    /// The namespaces to join, in order.
    pub(super) joins: Vec<Join>,
    /// Stage 0 makes the network namespace, beside the init.
    pub(super) stage_makes_network: bool,
    /// The init forks into the joined PID namespace when it has no more than its program: processes of that namespace may
    /// trace it. Until then it is not seen there.
    pub(super) forks_late: bool,
    /// The child makes the user namespace, after it joined others as what it was before.
    own_user_namespace: bool,
}

impl Layout {
    pub(super) fn new(context: Context<'_>) -> Self {
        let namespaces = context.namespaces();
        let joins = joins(context);
        // A namespace belongs to the user namespace that it is made in. So with a joined one, all new
        // ones are made by the child; and who enters a new one loses the right to join others.
        let own_user_namespace = namespaces.makes(Kind::User) && !joins.is_empty();
        let child_makes = own_user_namespace || namespaces.joins(Kind::User);
        // In a user namespace only the init could make one that belongs there. With one CPU two lanes are only slower.
        let stage_makes_network = namespaces.makes(Kind::Network)
            && !namespaces.has(Kind::User)
            && context.host.is_privileged()
            && context.host.cpus() >= 2;
        let new = namespaces
            .iter()
            .filter(|namespace| namespace.path.is_none())
            // These two are made where their state is known: in the final cgroup, with offsets.
            .filter(|namespace| !matches!(namespace.kind, Kind::Cgroup | Kind::Time))
            .filter(|namespace| !(stage_makes_network && namespace.kind == Kind::Network))
            .fold(0, |flags, namespace| flags | namespace.kind.flag());
        Self {
            clone_flags: if child_makes { 0 } else { new.into() },
            unshare: if child_makes { new & !Kind::User.flag() } else { 0 },
            joins,
            stage_makes_network,
            forks_late: forks_late(context),
            own_user_namespace,
        }
    }

    /// The descriptor of the PID namespace that is joined.
    pub(super) fn pid_namespace(&self) -> Option<Slot> {
        self.joins.iter().find(|join| join.kind == Kind::Pid.flag()).map(|join| join.slot)
    }

    /// Who writes the id maps of a user namespace that the clone makes.
    fn maps(&self, context: Context<'_>) -> Maps {
        match (self.clone_flags & u64::from(Kind::User.flag()) != 0, context.host.effective_ids().0) {
            (false, _) => Maps::None,
            (true, 0) => Maps::ByRoot,
            (true, _) => Maps::ByUser,
        }
    }

    /// Stage 0's part: it clones the init, and makes the network namespace.
    pub(super) fn stage(&self, lanes: &mut Lanes, context: Context<'_>, sysfs: bool) {
        let maps = self.maps(context);
        lanes.stage_from(Op::Stage(StageOp::CloneInit { flags: self.clone_flags, maps }), "linux.namespaces");
        if self.stage_makes_network {
            lanes.stage_from(Op::Stage(StageOp::MakeNetwork { sysfs }), "linux.namespaces");
        }
    }

    /// True if the process that goes on is a child of the one that clone3 made.
    pub(super) fn forks(&self) -> bool {
        let pid = Kind::Pid.flag();
        self.unshare & pid != 0 || self.joins.iter().any(|join| join.kind == pid)
    }
}

/// Whether all that the container needs can be made from outside its PID namespace: stage 0 has one procfs of it made, without
/// options, and hooks before `start` would be told of a process that ends with the fork.
fn forks_late(context: Context<'_>) -> bool {
    let hooks = &context.spec.hooks;
    let mut procs = context.spec.mounts.iter().filter(|mount| rootfs::is_proc(mount));
    let plain = procs.next().is_none_or(rootfs::has_no_options) && procs.next().is_none();
    context.namespaces().joins(Kind::Pid)
        && context.namespaces().makes(Kind::Mount)
        && !context.namespaces().has(Kind::User)
        && context.host.is_privileged()
        && plain
        && hooks.prestart.is_empty()
        && hooks.create_runtime.is_empty()
        && hooks.create_container.is_empty()
}

fn joins(context: Context<'_>) -> Vec<Join> {
    let mut requests: Vec<&Namespace> =
        context.namespaces().iter().filter(|request| request.path.is_some()).collect();
    // Root can join all from outside, and nothing from the outside once it entered the user
    // namespace; others get their rights by entering it.
    let user_first = context.host.effective_ids().0 != 0;
    requests.sort_by_key(|request| match request.kind {
        Kind::User if user_first => 0,
        Kind::Mount => 2,
        Kind::User => 3,
        _ => 1,
    });
    requests
        .into_iter()
        .zip(Slot::JOIN.0..)
        .map(|(request, slot)| Join {
            slot: Slot(slot),
            kind: request.kind.flag(),
            path: request.path.clone().unwrap_or_default(),
            origin: format!("{}.path", request.origin()),
            held: request.held.clone(),
        })
        .collect()
}

/// Enters and makes the namespaces.
pub(super) fn enter(lanes: &mut Lanes, context: Context<'_>, layout: &Layout) {
    join_cgroup(lanes, context, layout);
    for join in &layout.joins {
        let op = Op::Namespace(NamespaceOp::JoinNamespaces { slot: join.slot, flags: join.kind });
        lanes.push_from(op, &join.origin);
    }
    if layout.own_user_namespace {
        lanes.push_from(Op::Namespace(NamespaceOp::Unshare { flags: Kind::User.flag() }), "linux.namespaces");
        lanes.sync(Point::IdMaps);
    }
    if context.namespaces().has(Kind::User) {
        lanes.push(Op::Namespace(NamespaceOp::BecomeRoot));
    }
    if layout.unshare != 0 {
        lanes.push_from(Op::Namespace(NamespaceOp::Unshare { flags: layout.unshare }), "linux.namespaces");
    }
    cgroup(lanes, context);
    if context.namespaces().makes(Kind::Time) {
        let offsets = time_offsets(lanes, &context.spec.time_offsets);
        lanes.push_from(Op::Namespace(NamespaceOp::TimeNamespace { offsets }), "linux.timeOffsets");
    }
    if layout.forks() && !layout.forks_late {
        lanes.push(Op::Namespace(NamespaceOp::ForkIntoPidNamespace));
    }
    if context.namespaces().makes(Kind::Network) && !layout.stage_makes_network {
        lanes.push(Op::Namespace(NamespaceOp::LoopbackUp));
    }
}

fn time_offsets(lanes: &mut Lanes, text: &str) -> Slice {
    if text.is_empty() { Slice::EMPTY } else { lanes.child.bytes(text.as_bytes()) }
}

/// A cgroup namespace has its root where its maker is. clone3 would take the caller's cgroup for it
/// even with CLONE_INTO_CGROUP, so the child makes it, once it is where it belongs.
fn cgroup(lanes: &mut Lanes, context: Context<'_>) {
    if context.namespaces().makes(Kind::Cgroup) {
        let op = Op::Namespace(NamespaceOp::Unshare { flags: Kind::Cgroup.flag() });
        lanes.push_from(op, "linux.namespaces");
    }
}

/// The clone puts the init into its cgroup of v2, and the init enters those of v1 itself. The caller has to put it into
/// those of a service manager, and into its class of service; what depends on the init's place, its cgroup
/// namespace and its own child, comes after that.
fn join_cgroup(lanes: &mut Lanes, context: Context<'_>, layout: &Layout) {
    lanes.push(Op::Namespace(NamespaceOp::JoinCgroups));
    // What it forks begins in the class that it is in.
    let class = context.spec.intel_rdt.is_some() && layout.forks();
    if context.options.by_systemd {
        lanes.parent.push(ParentOp::StartUnit);
        // v1 denies all devices before it allows some, and a cpuset takes no process before it has CPUs.
        if context.host.cgroup_mode() != Mode::Unified {
            lanes.parent.push(ParentOp::ApplyLimits);
        }
        lanes.parent.push(ParentOp::JoinCgroup);
    }
    if class {
        lanes.parent.push(ParentOp::JoinResctrl);
    }
    if context.options.by_systemd || class {
        lanes.sync(Point::CgroupJoined);
    }
}
