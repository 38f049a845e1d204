//! The lanes under construction: the caller's, stage 0's and the init's. A wait of the child and the parent's answer are added together, so
//! their orders cannot differ.

use std::path::Path;

use super::{ChildPlan, MountIdMap, ParentOp};
use crate::host::Host;
use crate::origin::Origin;
use crate::plan::{CreateOptions, IdRange};
use crate::spec::{Kind, Namespaces, ValidSpec};
use runtime_init::ops::{MountOp, NamespaceOp, Op, Point, Slot, StageOp, WaitOp};

/// What every subject of a plan for `create` may look at.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) spec: &'a ValidSpec,
    pub(super) host: &'a Host,
    pub(super) options: &'a CreateOptions,
}

impl Context<'_> {
    pub(super) fn namespaces(&self) -> &Namespaces {
        &self.spec.namespaces
    }

    /// True if the container runs in another user namespace than the caller.
    pub(super) fn changes_user_namespace(&self) -> bool {
        self.namespaces().has(Kind::User)
    }

    /// True if the caller can do what the child, in a user namespace of its own, cannot.
    pub(super) fn parent_is_stronger(&self) -> bool {
        self.changes_user_namespace()
            && self.host.effective_ids().0 == 0
            && !self.options.rootless
            && self.host.owns_mounts()
            && self.host.may_enter_mounts()
    }

    /// True if device nodes cannot be made, only bound.
    pub(super) fn without_mknod(&self) -> bool {
        self.changes_user_namespace() || self.options.rootless || !self.host.is_privileged()
    }

    /// True if the mount namespace of the child is a copy of the host's that belongs to another user
    /// namespace: there the attributes of the host's mounts are locked.
    pub(super) fn child_has_mounts(&self) -> bool {
        self.changes_user_namespace() && self.namespaces().makes(Kind::Mount)
    }

    /// True if the child makes that namespace on its way. Otherwise clone3 makes it, and it is there from
    /// the start.
    pub(super) fn child_makes_mounts(&self) -> bool {
        self.child_has_mounts() && self.namespaces().iter().any(|namespace| namespace.path.is_some())
    }

    /// True if a path of the host is below the container's root by its words.
    pub(super) fn is_in_root(&self, path: &str) -> bool {
        let root = self.host_path(&self.spec.root);
        Path::new(path).starts_with(Path::new(&root))
    }

    /// A path of the host, relative to the bundle.
    pub(super) fn host_path(&self, path: &str) -> String {
        if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", self.options.bundle.trim_end_matches('/'))
        }
    }
}

/// A tree of the host to clone.
pub(super) struct Tree {
    pub(super) path: String,
    pub(super) recursive: bool,
    pub(super) nofollow: bool,
    /// The parent has to wait for the child: it may have mounted the tree, or make its mount namespace
    /// first.
    pub(super) wait: bool,
    /// It is taken from the child's mount namespace, where the attributes of the host's mounts are
    /// locked: a container in a user namespace cannot take them back (mount_namespaces(7)).
    pub(super) by_child: bool,
    pub(super) idmap: Option<MountIdMap>,
    pub(super) origin: Origin,
}

/// The lanes of a plan.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) child: ChildPlan,
    /// Stage 0's operations.
    stage: Vec<(Op, Option<Origin>)>,
    pub(super) parent: Vec<ParentOp>,
    pub(super) warnings: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl Lanes {
    pub(super) fn push(&mut self, op: Op) {
        self.child.push(op);
    }

    pub(super) fn push_from(&mut self, op: Op, origin: impl Into<Origin>) {
        self.child.push_from(op, origin);
    }

    /// The child waits at `point`.
    pub(super) fn sync(&mut self, point: Point) {
        self.child.push(Op::Wait(WaitOp::Sync { point }));
        self.parent.push(ParentOp::Answer(point));
    }

    /// The child waits for the parent's word, for which it has not asked.
    pub(super) fn await_word(&mut self) {
        self.child.push(Op::Wait(WaitOp::AwaitWord));
        self.parent.push(ParentOp::LetRun);
    }

    /// Stage 0 does something.
    pub(super) fn stage(&mut self, op: Op) {
        self.stage.push((op, None));
    }

    /// Stage 0 does something that the field `origin` asked for.
    pub(super) fn stage_from(&mut self, op: Op, origin: impl Into<Origin>) {
        self.stage.push((op, Some(origin.into())));
    }

    /// The operations of stage 0 and of the init in one list.
    pub(super) fn finish(&mut self) -> ChildPlan {
        let mut child = std::mem::take(&mut self.child);
        child.put_stage(std::mem::take(&mut self.stage));
        child
    }

    /// The init waits for a tree that stage 0 clones, in [`Slot::MOUNT`].
    pub(super) fn receive_tree(&mut self, tree: Tree) {
        let Tree { recursive, nofollow, ref origin, .. } = tree;
        // By the time the init asks, its namespaces are made and its ids are mapped.
        if tree.wait || tree.by_child || tree.idmap.is_some() {
            self.child.push_from(Op::Wait(WaitOp::AskStage), origin);
            self.stage_from(Op::Stage(StageOp::AwaitInit), origin);
        }
        let path = self.child.string(&tree.path);
        self.stage_from(
            match tree.by_child {
                true => Op::Stage(StageOp::CloneTreeOfInit { path, recursive, nofollow }),
                false => Op::Mount(MountOp::CloneTree { path, recursive, nofollow }),
            },
            origin,
        );
        if let Some(map) = &tree.idmap {
            self.map_ids(map, origin);
        }
        self.stage_from(Op::Stage(StageOp::HandOver { first: Slot::MOUNT, count: 1 }), origin);
        let receive = Op::Wait(WaitOp::Receive { from: Slot::LANES, into: Slot::MOUNT, count: 1 });
        self.child.push_from(receive, origin);
    }

    /// Stage 0 gives [`Slot::MOUNT`] an id map.
    fn map_ids(&mut self, map: &MountIdMap, origin: &Origin) {
        let (open, recursive) = match map {
            MountIdMap::Container { recursive } => (Op::Stage(StageOp::OpenUserNamespace), *recursive),
            MountIdMap::Own { uid, gid, recursive } => {
                let uid = self.child.bytes(IdRange::lines(uid).as_bytes());
                let gid = self.child.bytes(IdRange::lines(gid).as_bytes());
                (Op::Stage(StageOp::MakeUserNamespace { uid, gid }), *recursive)
            }
        };
        self.stage_from(open, origin);
        self.stage_from(Op::Stage(StageOp::MapIds { recursive }), origin);
    }

    /// The child clones a tree itself, into [`Slot::MOUNT`].
    pub(super) fn clone_tree(&mut self, tree: Tree) {
        let path = self.child.string(&tree.path);
        let op = Op::Mount(MountOp::CloneTree { path, recursive: tree.recursive, nofollow: tree.nofollow });
        self.child.push_from(op, tree.origin);
    }

    /// The init waits for the context of a procfs of the PID namespace in `namespace`, in [`Slot::PROCFS`].
    pub(super) fn receive_proc(&mut self, namespace: Slot, source: &str, origin: &Origin) {
        let source = self.child.string(source);
        self.stage_from(Op::Stage(StageOp::MakeProc { namespace, source }), origin.clone());
        self.stage_from(Op::Stage(StageOp::HandOver { first: Slot::PROCFS, count: 1 }), origin.clone());
        let receive = WaitOp::Receive { from: Slot::LANES, into: Slot::PROCFS, count: 1 };
        self.child.push_from(Op::Wait(receive), origin.clone());
    }

    /// The init waits for the network namespace that stage 0 has made, in [`Slot::NETWORK`], and enters it; with `sysfs`
    /// the context of a sysfs of it is in [`Slot::SYSFS`] then.
    pub(super) fn receive_network(&mut self, sysfs: bool) {
        let count = if sysfs { 2 } else { 1 };
        self.stage(Op::Stage(StageOp::HandOver { first: Slot::NETWORK, count }));
        // The init need not wait for the interface.
        self.stage_from(Op::Namespace(NamespaceOp::LoopbackUp), "linux.namespaces");
        self.child.push(Op::Wait(WaitOp::Receive { from: Slot::LANES, into: Slot::NETWORK, count }));
        self.child.push(Op::Namespace(NamespaceOp::JoinNamespaces {
            slot: Slot::NETWORK,
            flags: Kind::Network.flag(),
        }));
    }
}
