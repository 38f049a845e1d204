//! Operations in the words that people know them by, for errors and for `--dry-run`.

mod lanes;
mod text;

use super::{ChildPlan, caps};
use runtime_init::ops::{Op, Parameter, RootSwitch, Slice, Slot, Str};
use text::{
    all, attribute_texts, bits, changes, in_brackets, namespaces, node_text, plain, point_text, propagation,
    rlimit_text, scheduler_text, set_text, slot_text,
};

impl ChildPlan {
    /// Operation `step` with its arguments, such as `mount "proc" on "/proc"`; empty if there is none.
    pub(crate) fn explain(&self, step: usize) -> String {
        match self.ops().get(step) {
            Some(op) => self.explain_op(op, step),
            None => String::new(),
        }
    }

    fn explain_op(&self, op: &Op, step: usize) -> String {
        match *op {
            Op::NewSession
            | Op::OpenProc
            | Op::BecomeRoot
            | Op::ForkIntoPidNamespace
            | Op::LoopbackUp
            | Op::OpenJoinedRoot
            | Op::VerifyProc
            | Op::OwnStreams
            | Op::KeepCapabilities
            | Op::NoNewPrivileges
            | Op::AwaitWord
            | Op::CloseHost
            | Op::AwaitStart
            | Op::PrepareHold
            | Op::Hold
            | Op::CloseDescriptors
            | Op::AnnounceListener
            | Op::AwaitHandover
            | Op::AwaitInit
            | Op::OpenUserNamespace
            | Op::OpenNetlink
            | Op::JoinCgroups
            | Op::TakeTerminal
            | Op::UnmountGiven
            | Op::Tell
            | Op::AskStage => plain(op).to_owned(),
            Op::CloneInit { .. }
            | Op::MakeNetwork { .. }
            | Op::MakeProc { .. }
            | Op::CloneTreeOfInit { .. }
            | Op::MakeUserNamespace { .. }
            | Op::MapIds { .. }
            | Op::CloneLockedTree { .. }
            | Op::OpenInRoot { .. }
            | Op::TakeGiven { .. }
            | Op::HandOver { .. }
            | Op::Deliver { .. } => self.stage(op),
            Op::JoinNamespaces { .. }
            | Op::Unshare { .. }
            | Op::TimeNamespace { .. }
            | Op::HostName { .. }
            | Op::DomainName { .. }
            | Op::Sysctl { .. }
            | Op::Sync { .. }
            | Op::Receive { .. } => self.namespace(op),
            Op::HostPropagation { .. }
            | Op::OpenRoot { .. }
            | Op::NewFilesystem { .. }
            | Op::CloneTree { .. }
            | Op::MountContext { .. }
            | Op::MountAttributes { .. }
            | Op::MountPropagation { .. }
            | Op::CopyMode { .. }
            | Op::CopyUp { .. }
            | Op::LabelMount { .. }
            | Op::Attach { .. }
            | Op::RemountAt { .. }
            | Op::OpenHost { .. }
            | Op::SwitchRoot { .. }
            | Op::RootAttributes { .. }
            | Op::RootPropagation { .. } => self.mount(op, step),
            Op::MakeDirectory { .. }
            | Op::MakeDevice { .. }
            | Op::MakeSymlink { .. }
            | Op::Mask { .. }
            | Op::ReadOnly { .. }
            | Op::Console { .. } => self.file(op),
            Op::Rlimit { .. }
            | Op::OomScoreAdj { .. }
            | Op::Personality { .. }
            | Op::Scheduler { .. }
            | Op::IoPriority { .. }
            | Op::CpuAffinity { .. }
            | Op::MemoryPolicy { .. } => self.limit(op),
            Op::Label { .. }
            | Op::SessionKeyring { .. }
            | Op::MakeWorkingDirectory { .. }
            | Op::ChangeDirectory { .. }
            | Op::Umask { .. }
            | Op::DropBounding { .. }
            | Op::StdioOwner { .. }
            | Op::SetUser { .. }
            | Op::SetCapabilities { .. }
            | Op::SetAmbient { .. }
            | Op::Seccomp { .. }
            | Op::FindProgram { .. }
            | Op::Hook { .. }
            | Op::PrepareProgram { .. }
            | Op::Execute { .. }
            | Op::FindHome { .. } => self.process(op),
        }
    }

    fn stage(&self, op: &Op) -> String {
        let tree = |path: Str, recursive: bool, nofollow: bool| {
            let call = if recursive { "bind recursively" } else { "bind" };
            let follow = if nofollow { " (not following links)" } else { "" };
            format!("{call} {}{follow}", self.quote(path))
        };
        match *op {
            Op::CloneInit { .. } => "clone3 of the container's init".to_owned(),
            Op::MakeProc { .. } => "make a procfs of the joined pid namespace".to_owned(),
            Op::MakeNetwork { sysfs: false } => "make a network namespace".to_owned(),
            Op::MakeNetwork { sysfs: true } => "make a network namespace and its sysfs".to_owned(),
            Op::CloneTreeOfInit { path, recursive, nofollow } => {
                format!("{} as the init sees it", tree(path, recursive, nofollow))
            }
            Op::CloneLockedTree { path, recursive, nofollow } => {
                format!("{} with its attributes locked", tree(path, recursive, nofollow))
            }
            Op::MakeUserNamespace { uid, gid } => format!(
                "make a user namespace with uids {} and gids {}",
                self.bytes_text(uid),
                self.bytes_text(gid)
            ),
            Op::MapIds { recursive } => {
                format!("give the tree an id map{}", if recursive { ", recursively" } else { "" })
            }
            Op::OpenInRoot { path } => format!("open {} in the container", self.quote(path)),
            Op::TakeGiven { destination } => format!("take the mount for {}", self.quote(destination)),
            Op::HandOver { first, .. } => format!("hand over {}", slot_text(first)),
            Op::Deliver { slot } => format!("deliver {}", slot_text(slot)),
            _ => String::new(),
        }
    }

    fn namespace(&self, op: &Op) -> String {
        match *op {
            Op::JoinNamespaces { slot: Slot::NETWORK, .. } => "join the new network namespace".to_owned(),
            Op::JoinNamespaces { slot: Slot::TARGET, flags } => {
                format!("join the container's namespaces {}", namespaces(flags))
            }
            Op::JoinNamespaces { flags, .. } => format!("join the namespace {}", namespaces(flags)),
            Op::Unshare { flags } => format!("make the namespaces {}", namespaces(flags)),
            Op::TimeNamespace { offsets } => {
                let text = String::from_utf8_lossy(self.slice(offsets)).trim_end().replace('\n', ", ");
                format!("make the time namespace with offsets {text:?}")
            }
            Op::HostName { name } => format!("set host name {}", self.quote(name)),
            Op::DomainName { name } => format!("set domain name {}", self.quote(name)),
            Op::Sysctl { path, value } => {
                format!("set sysctl {} to {}", self.quote(path), self.bytes_text(value))
            }
            Op::Sync { point } => format!("wait for {}", point_text(point)),
            Op::Receive { into, count, .. } => format!("receive {count} of {}", slot_text(into)),
            _ => String::new(),
        }
    }

    fn mount(&self, op: &Op, step: usize) -> String {
        match *op {
            Op::HostPropagation { flags } => format!("set propagation of \"/\" to {}", propagation(flags)),
            Op::OpenRoot { path: Str::NONE, .. } => "open the root file system".to_owned(),
            Op::OpenRoot { path, .. } => format!("open the root file system {}", self.quote(path)),
            Op::NewFilesystem { kind, source, parameters, attributes } => {
                let target = self.target(step);
                let options = [attribute_texts(attributes), self.parameter_texts(parameters)].concat();
                let source = if source == kind || source == Str::NONE {
                    String::new()
                } else {
                    format!(" of {}", self.quote(source))
                };
                format!("mount {}{source}{target}{}", self.quote(kind), in_brackets(&options))
            }
            Op::CloneTree { path, recursive, nofollow } => {
                let call = if recursive { "bind recursively" } else { "bind" };
                let follow = if nofollow { " (not following links)" } else { "" };
                format!("{call} {}{}{follow}", self.quote(path), self.target(step))
            }
            Op::MountContext { slot, attributes } => {
                let kind = if slot == Slot::PROCFS { "proc" } else { "sysfs" };
                format!("mount {kind:?}{}{}", self.target(step), in_brackets(&attribute_texts(attributes)))
            }
            Op::MountAttributes { set, clear, recursive } => {
                format!("change {}attributes{}{}", all(recursive), changes(set, clear), self.target(step))
            }
            Op::MountPropagation { flags, recursive } => {
                format!("set {}propagation to {}{}", all(recursive), propagation(flags), self.target(step))
            }
            Op::CopyMode { destination } => format!("copy the mode of {}", self.quote(destination)),
            Op::CopyUp { destination } => format!("copy up the content of {}", self.quote(destination)),
            Op::LabelMount { value } => {
                format!("label the root{} with {}", self.target(step), self.bytes_text(value))
            }
            Op::Attach { destination, .. } => format!("mount on {}", self.quote(destination)),
            Op::RemountAt { destination, set, clear } => {
                format!("remount {}{}", self.quote(destination), changes(set, clear))
            }
            Op::OpenHost { path, .. } => format!("open {}", self.quote(path)),
            Op::SwitchRoot { how: RootSwitch::Pivot } => "pivot_root into the root file system".to_owned(),
            Op::SwitchRoot { how: RootSwitch::Move } => "move the root file system to \"/\"".to_owned(),
            Op::SwitchRoot { how: RootSwitch::Chroot } => "chroot into the root file system".to_owned(),
            Op::RootAttributes { set } => format!("remount \"/\"{}", changes(set, 0)),
            Op::RootPropagation { flags } => format!("set propagation of the root to {}", propagation(flags)),
            _ => String::new(),
        }
    }

    fn file(&self, op: &Op) -> String {
        match *op {
            Op::MakeDirectory { path, mode } => {
                format!("make directory {} with mode {mode:04o}", self.quote(path))
            }
            Op::MakeDevice { path, bind: true, .. } => format!("bind device {}", self.quote(path)),
            Op::MakeDevice { path, mode, device, uid, gid, .. } => format!(
                "make {} {} {}:{} with mode {:04o} for {uid}:{gid}",
                node_text(mode),
                self.quote(path),
                libc::major(device),
                libc::minor(device),
                mode & 0o7777
            ),
            Op::MakeSymlink { path, target, .. } => {
                format!("link {} to {}", self.quote(path), self.quote(target))
            }
            Op::Mask { path } => format!("mask {}", self.quote(path)),
            Op::ReadOnly { path } => format!("make {} read-only", self.quote(path)),
            Op::Console { rows, columns, mount, .. } => {
                let place = if mount { " on \"/dev/console\"" } else { "" };
                format!("make a terminal of {columns}x{rows}{place}")
            }
            _ => String::new(),
        }
    }

    fn limit(&self, op: &Op) -> String {
        match *op {
            Op::Rlimit { resource, soft, hard } => rlimit_text(resource, soft, hard),
            Op::OomScoreAdj { value } => format!("set oom_score_adj to {}", self.bytes_text(value)),
            Op::Personality { persona } => format!("set personality {persona:#x}"),
            Op::Scheduler { attributes } => scheduler_text(self.slice(attributes)),
            Op::IoPriority { value } => {
                format!("set io priority class {} level {}", value >> 13, value & 0x1fff)
            }
            Op::CpuAffinity { mask: Slice { len: 0, .. } } => "set cpu affinity to all CPUs".to_owned(),
            Op::CpuAffinity { mask } => format!("set cpu affinity {}", bits(self.slice(mask))),
            Op::MemoryPolicy { mode, nodes, .. } => {
                format!("set memory policy {mode:#x} for nodes {}", bits(self.slice(nodes)))
            }
            _ => String::new(),
        }
    }

    fn process(&self, op: &Op) -> String {
        match *op {
            Op::Label { file, value } => format!("write {} to {}", self.bytes_text(value), self.quote(file)),
            Op::SessionKeyring { name, .. } => format!("join session keyring {}", self.quote(name)),
            Op::MakeWorkingDirectory { path, .. } => format!("make working directory {}", self.quote(path)),
            Op::ChangeDirectory { path, .. } => format!("chdir to {}", self.quote(path)),
            Op::Umask { mask } => format!("set umask {mask:04o}"),
            Op::DropBounding { mask } => format!("drop from the bounding set {}", caps::names(mask)),
            Op::StdioOwner { uid } => format!("give the standard streams to user {uid}"),
            Op::SetUser { uid, gid, groups, .. } if groups.len == 0 => format!("set user {uid}:{gid}"),
            Op::SetUser { uid, gid, groups, .. } => {
                format!("set user {uid}:{gid} with groups {}", self.numbers_text(groups))
            }
            Op::SetCapabilities { effective, permitted, inheritable } => format!(
                "set capabilities: effective {}, permitted {}, inheritable {}",
                set_text(effective),
                set_text(permitted),
                set_text(inheritable)
            ),
            Op::SetAmbient { mask } => format!("set ambient capabilities {}", set_text(mask)),
            Op::Seccomp { program, .. } => format!("load a seccomp filter of {} instructions", program.len),
            // runc's words: engines look for them.
            Op::FindProgram { .. } => format!("exec: {:?}", self.program_name()),
            Op::Hook { path, args, timeout, .. } => {
                let limit = if timeout == 0 { String::new() } else { format!(" within {timeout} ms") };
                format!("run hook {} as {}{limit}", self.quote(path), self.strings_text(args))
            }
            Op::PrepareProgram { args, env, home_uid } => {
                let home = if home_uid == u32::MAX {
                    String::new()
                } else {
                    format!(" and HOME of user {home_uid}")
                };
                format!("prepare {} arguments, {} variables{home}", args.len, env.len)
            }
            Op::Execute { args, exits: _ } => format!("execute {}", self.strings_text(args)),
            Op::FindHome { uid } => format!("look up HOME of user {uid}"),
            _ => String::new(),
        }
    }

    /// The program as the configuration names it: a path, or a name that was searched. One directory
    /// in `PATH`, or none, makes no path of a name.
    pub(crate) fn program_name(&self) -> String {
        let args = self.ops().iter().find_map(|op| match op {
            Op::Execute { args, .. } => Some(self.words(*args, 1)),
            _ => None,
        });
        args.iter().flatten().next().map_or_else(String::new, |name| self.text(Str(*name)).into_owned())
    }

    /// Where the mount of operation `step` goes: the next attach says it.
    fn target(&self, step: usize) -> String {
        let ops = self.ops().get(step..).unwrap_or_default();
        let place = ops.iter().find_map(|op| match op {
            Op::Attach { destination, .. } => Some(self.quote(*destination)),
            Op::OpenRoot { .. } => Some("the root".to_owned()),
            _ => None,
        });
        place.map_or_else(String::new, |place| format!(" on {place}"))
    }

    fn quote(&self, text: Str) -> String {
        format!("{:?}", self.text(text))
    }

    fn bytes_text(&self, bytes: Slice) -> String {
        format!("{:?}", String::from_utf8_lossy(self.slice(bytes)))
    }

    fn words(&self, words: Slice, each: u32) -> Vec<u32> {
        let bytes = Slice { len: words.len * each * 4, ..words };
        let bytes = self.slice(bytes).chunks_exact(4);
        bytes.map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]])).collect()
    }

    fn numbers_text(&self, numbers: Slice) -> String {
        let texts: Vec<String> = self.words(numbers, 1).iter().map(u32::to_string).collect();
        texts.join(",")
    }

    pub(super) fn strings_text(&self, strings: Slice) -> String {
        let texts: Vec<String> = self.words(strings, 1).iter().map(|at| self.quote(Str(*at))).collect();
        texts.join(" ")
    }

    fn parameter_texts(&self, parameters: Slice) -> Vec<String> {
        let words = (size_of::<Parameter>() / 4) as u32;
        self.words(parameters, words)
            .chunks_exact(words as usize)
            .map(|pair| match (self.text(Str(pair[0])), Str(pair[1])) {
                (key, Str::NONE) => key.into_owned(),
                (key, value) => format!("{key}={}", self.text(value)),
            })
            .collect()
    }
}
