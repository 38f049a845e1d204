//! Operations in the words that people know them by, for errors and for `--dry-run`.

use std::fmt::{self, Display, Write as _};

use super::{ChildPlan, LaunchPlan, MountIdMap, ParentOp, caps};
use crate::child::ops::{Op, Parameter, Point, RootSwitch, Slice, Slot, Str};
use crate::spec::mount_options as attribute;

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
            | Op::KeepCapabilities
            | Op::NoNewPrivileges
            | Op::AwaitStart
            | Op::CloseDescriptors
            | Op::AnnounceListener
            | Op::AwaitHandover => plain(op).to_owned(),
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
            | Op::TakeMount { .. }
            | Op::MountAttributes { .. }
            | Op::MountPropagation { .. }
            | Op::CopyMode { .. }
            | Op::CopyUp { .. }
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
            | Op::Execute { .. } => self.process(op),
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
            Op::Receive { into, count } => format!("receive {count} of {}", slot_text(into)),
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
            Op::TakeMount { slot } => format!("take {}{}", slot_text(slot), self.target(step)),
            Op::MountAttributes { set, clear, recursive } => {
                format!("change {}attributes{}{}", all(recursive), changes(set, clear), self.target(step))
            }
            Op::MountPropagation { flags, recursive } => {
                format!("set {}propagation to {}{}", all(recursive), propagation(flags), self.target(step))
            }
            Op::CopyMode { destination } => format!("copy the mode of {}", self.quote(destination)),
            Op::CopyUp { destination } => format!("copy up the content of {}", self.quote(destination)),
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
            Op::Scheduler { attributes } => {
                let policy = self.slice(attributes).get(4).copied().unwrap_or_default();
                format!("set scheduling policy {policy}")
            }
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
            Op::Execute { args } => format!("execute {}", self.strings_text(args)),
            _ => String::new(),
        }
    }

    /// The program as the configuration names it: a path, or a name that was searched. One directory
    /// in `PATH`, or none, makes no path of a name.
    pub(crate) fn program_name(&self) -> String {
        let args = self.ops().iter().find_map(|op| match op {
            Op::Execute { args } => Some(self.words(*args, 1)),
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

/// Operations without arguments.
fn plain(op: &Op) -> &'static str {
    match op {
        Op::NewSession => "make a session",
        Op::OpenProc => "open procfs",
        Op::BecomeRoot => "become root of the user namespace",
        Op::ForkIntoPidNamespace => "fork into the pid namespace",
        Op::LoopbackUp => "bring the loopback interface up",
        Op::OpenJoinedRoot => "open the root of the container",
        Op::VerifyProc => "verify that the source is a procfs",
        Op::KeepCapabilities => "keep capabilities over the change of user",
        Op::NoNewPrivileges => "set no_new_privs",
        Op::AwaitStart => "wait for start",
        Op::CloseDescriptors => "close other descriptors on exec",
        Op::AnnounceListener => "announce the listener of the seccomp filter",
        Op::AwaitHandover => "wait until the listener is handed over",
        _ => "",
    }
}

fn namespaces(flags: u32) -> String {
    let known = [
        (libc::CLONE_NEWUSER, "user"),
        (libc::CLONE_NEWNS, "mount"),
        (libc::CLONE_NEWNET, "network"),
        (libc::CLONE_NEWIPC, "ipc"),
        (libc::CLONE_NEWUTS, "uts"),
        (libc::CLONE_NEWPID, "pid"),
        (libc::CLONE_NEWCGROUP, "cgroup"),
        (libc::CLONE_NEWTIME, "time"),
    ];
    let names: Vec<&str> =
        known.iter().filter(|(flag, _)| flags & *flag as u32 != 0).map(|(_, name)| *name).collect();
    names.join(", ")
}

fn point_text(point: Point) -> &'static str {
    match point {
        Point::CgroupJoined => "the cgroups",
        Point::RuntimeHooks => "the hooks of the runtime",
        Point::Created => "the runtime, created",
        Point::IdMaps => "the id maps",
        Point::NetworkDevices => "the network devices",
        Point::Mounts => "a clone of what is mounted here",
    }
}

fn slot_text(slot: Slot) -> &'static str {
    match slot {
        Slot::NETWORK => "the network namespace",
        Slot::SYSFS => "the sysfs",
        Slot::STATE => "the state",
        Slot::MOUNT => "the mount",
        _ => "descriptors",
    }
}

fn node_text(mode: u32) -> &'static str {
    match mode & libc::S_IFMT {
        libc::S_IFCHR => "character device",
        libc::S_IFBLK => "block device",
        libc::S_IFIFO => "fifo",
        _ => "file",
    }
}

fn propagation(flags: u64) -> String {
    let kind = match () {
        () if flags & libc::MS_SHARED != 0 => "shared",
        () if flags & libc::MS_SLAVE != 0 => "slave",
        () if flags & libc::MS_PRIVATE != 0 => "private",
        () => "unbindable",
    };
    let all = if flags & libc::MS_REC != 0 { "r" } else { "" };
    format!("{all}{kind}")
}

fn all(recursive: bool) -> &'static str {
    if recursive { "recursive " } else { "" }
}

fn attribute_texts(attributes: u64) -> Vec<String> {
    let known = [
        (attribute::RDONLY, "ro"),
        (attribute::NOSUID, "nosuid"),
        (attribute::NODEV, "nodev"),
        (attribute::NOEXEC, "noexec"),
        (attribute::NOATIME, "noatime"),
        (attribute::STRICTATIME, "strictatime"),
        (attribute::NODIRATIME, "nodiratime"),
        (attribute::NOSYMFOLLOW, "nosymfollow"),
    ];
    let set = known.iter().filter(|(flag, _)| attributes & flag != 0);
    set.map(|(_, name)| (*name).to_owned()).collect()
}

fn changes(set: u64, clear: u64) -> String {
    let mut texts = attribute_texts(set);
    let cleared = attribute_texts(clear & !attribute::ATIME);
    texts.extend(cleared.iter().map(|name| format!("not {name}")));
    if clear & attribute::ATIME != 0 && set & attribute::ATIME == 0 {
        texts.push("relatime".to_owned());
    }
    in_brackets(&texts)
}

fn in_brackets(texts: &[String]) -> String {
    if texts.is_empty() { String::new() } else { format!(" ({})", texts.join(",")) }
}

fn bits(mask: &[u8]) -> String {
    let set = (0..mask.len() * 8).filter(|bit| mask[bit / 8] & 1 << (bit % 8) != 0);
    let texts: Vec<String> = set.map(|bit| bit.to_string()).collect();
    texts.join(",")
}

fn set_text(mask: u64) -> String {
    if mask == 0 { "none".to_owned() } else { caps::names(mask) }
}

fn rlimit_text(resource: u32, soft: u64, hard: u64) -> String {
    let names = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let name = names.get(resource as usize).copied().unwrap_or("?");
    let limit = |value: u64| {
        if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() }
    };
    format!("set RLIMIT_{name} to {}:{}", limit(soft), limit(hard))
}

impl ParentOp {
    /// The operation with its arguments.
    pub(crate) fn explain(&self) -> String {
        match self {
            ParentOp::StartUnit => "start the systemd unit".to_owned(),
            ParentOp::JoinCgroup => "join the cgroups".to_owned(),
            ParentOp::ApplyLimits => "write the limits of the cgroup".to_owned(),
            ParentOp::AttachDevices => "attach the device filter to the cgroup".to_owned(),
            ParentOp::JoinResctrl => "join the class of service of resctrl".to_owned(),
            ParentOp::MakeNetwork { sysfs: None } => "make a network namespace".to_owned(),
            ParentOp::MakeNetwork { sysfs: Some(attributes) } => {
                format!("make a network namespace and its sysfs{}", changes(*attributes, 0))
            }
            ParentOp::SendTree { source, recursive, nofollow, mounted_by_child, idmap, .. } => {
                let call = if *recursive { "bind recursively" } else { "bind" };
                let follow = if *nofollow { " (not following links)" } else { "" };
                let map = match idmap {
                    None => "",
                    Some(MountIdMap::Container { .. }) => " with the container's id map",
                    Some(MountIdMap::Own { .. }) => " with an id map",
                };
                let place = if *mounted_by_child { " as the child sees it" } else { "" };
                format!("{call} {source:?}{place}{map}{follow}")
            }
            ParentOp::Rlimit { resource, soft, hard, .. } => rlimit_text(*resource, *soft, *hard),
            ParentOp::OomScoreAdj { value, .. } => format!("set oom_score_adj to \"{value}\""),
            ParentOp::Answer(point) => format!("let go on from {}", point_text(*point)),
        }
    }
}

impl Display for LaunchPlan {
    /// The plan, one operation a line: first the namespaces, then the parent's lane, then the child's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "clone: {}", namespaces(self.clone_flags as u32))?;
        for join in &self.joins {
            writeln!(f, "open: {} namespace {:?}", namespaces(join.kind), join.path)?;
        }
        if let Some(maps) = &self.id_maps {
            let mut text = String::new();
            for (name, map) in [("uid", &maps.uid), ("gid", &maps.gid)] {
                for range in map {
                    write!(text, " {name} {}={}+{}", range.container, range.host, range.size)?;
                }
            }
            writeln!(f, "map:{text}")?;
        }
        for op in &self.parent {
            writeln!(f, "parent: {}", op.explain())?;
        }
        for step in 0..self.child.ops().len() {
            write!(f, "child: {}", self.child.explain(step))?;
            match self.child.origin(step) {
                Some(origin) => writeln!(f, " ({origin})")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
