//! `process`.

use std::collections::HashMap;

use oci_spec::runtime as oci;
use oci_spec::runtime::{
    Capability, IOPriorityClass, LinuxSchedulerFlag, LinuxSchedulerPolicy, PosixRlimitType,
};

use super::findings::Findings;
use super::linux::bit_mask;
use super::{ValidProcess, non_empty};

/// CPUs that a mask can name.
const CPUS: usize = 8192;

/// The five capability sets as bit masks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CapabilitySets {
    /// `bounding`.
    pub(crate) bounding: u64,
    /// `effective`.
    pub(crate) effective: u64,
    /// `permitted`.
    pub(crate) permitted: u64,
    /// `inheritable`.
    pub(crate) inheritable: u64,
    /// `ambient`.
    pub(crate) ambient: u64,
}

/// A resource limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rlimit {
    /// RLIMIT_*.
    pub(crate) resource: u32,
    /// Soft limit; `u64::MAX` for none.
    pub(crate) soft: u64,
    /// Hard limit.
    pub(crate) hard: u64,
    /// Its place in `process.rlimits`.
    pub(crate) index: usize,
}

/// `process.scheduler` as sched_setattr(2) takes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scheduler {
    /// SCHED_*.
    pub(crate) policy: u32,
    /// SCHED_FLAG_*.
    pub(crate) flags: u64,
    /// Nice value.
    pub(crate) nice: i32,
    /// Priority of real-time policies.
    pub(crate) priority: u32,
    /// Nanoseconds of running time in a period.
    pub(crate) runtime: u64,
    /// Nanoseconds until the deadline.
    pub(crate) deadline: u64,
    /// Nanoseconds of a period.
    pub(crate) period: u64,
}

/// `process.ioPriority`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IoPriority {
    /// IOPRIO_CLASS_*.
    pub(crate) class: u32,
    /// 0 (highest) to 7.
    pub(crate) level: u32,
}

/// Checks a process; `origin` is the JSON path of its fields up to the dot.
pub(super) fn convert(process: &oci::Process, origin: &'static str, findings: &mut Findings) -> ValidProcess {
    let user = process.user();
    if user.uid() == u32::MAX || user.gid() == u32::MAX {
        findings.error(format_args!("{origin}user"), "4294967295 is no id");
    }
    let affinity = process.exec_cpu_affinity().as_ref();
    ValidProcess {
        origin,
        terminal: process.terminal().unwrap_or(false),
        console_size: console_size(process),
        uid: user.uid(),
        gid: user.gid(),
        groups: groups(user, origin, findings),
        umask: umask(user, origin, findings),
        args: args(process, origin, findings),
        env: env(process, origin, findings),
        cwd: cwd(process, origin, findings),
        capabilities: process.capabilities().as_ref().map(capabilities),
        rlimits: rlimits(process, origin, findings),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        apparmor_profile: label("apparmorProfile", process.apparmor_profile(), origin, findings),
        selinux_label: label("selinuxLabel", process.selinux_label(), origin, findings),
        oom_score_adj: oom_score_adj(process, origin, findings),
        scheduler: process.scheduler().as_ref().map(|given| scheduler(given, origin, findings)),
        io_priority: process.io_priority().map(|given| io_priority(&given, origin, findings)),
        affinity_initial: cpus("initial", affinity.and_then(|a| a.initial().as_ref()), origin, findings),
        affinity_final: cpus(
            "final",
            affinity.and_then(|a| a.cpu_affinity_final().as_ref()),
            origin,
            findings,
        ),
        warnings: Vec::new(),
    }
}

/// Rows and columns, or 0 where nothing is asked.
fn console_size(process: &oci::Process) -> (u16, u16) {
    let cells = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
    process.console_size().map_or((0, 0), |size| (cells(size.height()), cells(size.width())))
}

fn groups(user: &oci::User, origin: &str, findings: &mut Findings) -> Vec<u32> {
    let groups = user.additional_gids().clone().unwrap_or_default();
    if groups.contains(&u32::MAX) {
        findings.error(format_args!("{origin}user.additionalGids"), "4294967295 is no id");
    }
    // NGROUPS_MAX of the kernel.
    if groups.len() > 65536 {
        findings.error(format_args!("{origin}user.additionalGids"), "has more than 65536 groups");
    }
    groups
}

fn umask(user: &oci::User, origin: &str, findings: &mut Findings) -> Option<u32> {
    let mask = user.umask()?;
    if mask > 0o777 {
        findings.error(format_args!("{origin}user.umask"), format!("{mask} is more than 511 (octal 0777)"));
    }
    Some(mask)
}

fn args(process: &oci::Process, origin: &str, findings: &mut Findings) -> Vec<String> {
    let args = process.args().clone().unwrap_or_default();
    if args.is_empty() {
        findings.error(format_args!("{origin}args"), "must not be empty");
    }
    for (index, text) in args.iter().enumerate() {
        findings.text(format_args!("{origin}args[{index}]"), text);
        string_limit(format_args!("{origin}args[{index}]"), text, findings);
    }
    args
}

/// Of equal names the last entry stays, at the place of the first. An entry without a name is an error, in
/// runc's words.
fn env(process: &oci::Process, origin: &str, findings: &mut Findings) -> Vec<String> {
    let mut env: Vec<String> = Vec::new();
    // An image may bring a million of them: no search through all for each.
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (index, text) in process.env().iter().flatten().enumerate() {
        let origin = format_args!("{origin}env[{index}]");
        findings.text(origin, text);
        string_limit(origin, text, findings);
        let place = match text.split_once('=') {
            Some(("", _)) => {
                findings.error(origin, format!("environment variable name can't be empty: {text:?}"));
                continue;
            }
            Some((name, _)) => *places.entry(name).or_insert(env.len()),
            None => {
                findings.error(origin, format!("invalid environment variable: {text:?} has no '='"));
                continue;
            }
        };
        match env.get_mut(place) {
            Some(known) => known.clone_from(text),
            None => env.push(text.clone()),
        }
    }
    env
}

/// MAX_ARG_STRLEN: execve(2) takes 32 pages for one string, with its NUL. Where pages have several
/// sizes it is the largest.
const STRING_LIMIT: usize = 32 * if cfg!(target_arch = "x86_64") { 4096 } else { 65536 };

pub(super) fn string_limit(origin: std::fmt::Arguments<'_>, text: &str, findings: &mut Findings) {
    if text.len() >= STRING_LIMIT {
        let reason = format!(
            "has {} bytes, execve takes less than {STRING_LIMIT} (argument list too long)",
            text.len()
        );
        findings.error(origin, reason);
    }
}

/// Adds `NAME=value`, or replaces the value of the name.
pub(crate) fn set_variable(env: &mut Vec<String>, entry: String) {
    let name = |entry: &str| entry.split_once('=').map(|(name, _)| name.to_owned());
    let wanted = name(&entry);
    match env.iter_mut().find(|old| wanted.is_some() && name(old) == wanted) {
        Some(old) => *old = entry,
        None => env.push(entry),
    }
}

fn cwd(process: &oci::Process, origin: &str, findings: &mut Findings) -> String {
    let path = process.cwd().to_string_lossy().into_owned();
    match path.as_str() {
        "" => findings.error(format_args!("{origin}cwd"), "Cwd property must not be empty"),
        path if !path.starts_with('/') => {
            findings.error(format_args!("{origin}cwd"), "Cwd must be an absolute path");
        }
        path => findings.text(format_args!("{origin}cwd"), path),
    }
    path
}

fn label(field: &str, label: &Option<String>, origin: &str, findings: &mut Findings) -> Option<String> {
    let label = non_empty(label.as_ref())?;
    findings.text(format_args!("{origin}{field}"), &label);
    Some(label)
}

fn capabilities(sets: &oci::LinuxCapabilities) -> CapabilitySets {
    let mask = |set: &Option<oci::Capabilities>| {
        set.iter().flatten().fold(0, |mask, capability| mask | 1 << number(*capability))
    };
    CapabilitySets {
        bounding: mask(sets.bounding()),
        effective: mask(sets.effective()),
        permitted: mask(sets.permitted()),
        inheritable: mask(sets.inheritable()),
        ambient: mask(sets.ambient()),
    }
}

/// The number of a capability (capability.h).
fn number(capability: Capability) -> u8 {
    use caps::Capability as Kernel;
    let kernel = match capability {
        Capability::AuditControl => Kernel::CAP_AUDIT_CONTROL,
        Capability::AuditRead => Kernel::CAP_AUDIT_READ,
        Capability::AuditWrite => Kernel::CAP_AUDIT_WRITE,
        Capability::BlockSuspend => Kernel::CAP_BLOCK_SUSPEND,
        Capability::Bpf => Kernel::CAP_BPF,
        Capability::CheckpointRestore => Kernel::CAP_CHECKPOINT_RESTORE,
        Capability::Chown => Kernel::CAP_CHOWN,
        Capability::DacOverride => Kernel::CAP_DAC_OVERRIDE,
        Capability::DacReadSearch => Kernel::CAP_DAC_READ_SEARCH,
        Capability::Fowner => Kernel::CAP_FOWNER,
        Capability::Fsetid => Kernel::CAP_FSETID,
        Capability::IpcLock => Kernel::CAP_IPC_LOCK,
        Capability::IpcOwner => Kernel::CAP_IPC_OWNER,
        Capability::Kill => Kernel::CAP_KILL,
        Capability::Lease => Kernel::CAP_LEASE,
        Capability::LinuxImmutable => Kernel::CAP_LINUX_IMMUTABLE,
        Capability::MacAdmin => Kernel::CAP_MAC_ADMIN,
        Capability::MacOverride => Kernel::CAP_MAC_OVERRIDE,
        Capability::Mknod => Kernel::CAP_MKNOD,
        Capability::NetAdmin => Kernel::CAP_NET_ADMIN,
        Capability::NetBindService => Kernel::CAP_NET_BIND_SERVICE,
        Capability::NetBroadcast => Kernel::CAP_NET_BROADCAST,
        Capability::NetRaw => Kernel::CAP_NET_RAW,
        Capability::Perfmon => Kernel::CAP_PERFMON,
        Capability::Setgid => Kernel::CAP_SETGID,
        Capability::Setfcap => Kernel::CAP_SETFCAP,
        Capability::Setpcap => Kernel::CAP_SETPCAP,
        Capability::Setuid => Kernel::CAP_SETUID,
        Capability::SysAdmin => Kernel::CAP_SYS_ADMIN,
        Capability::SysBoot => Kernel::CAP_SYS_BOOT,
        Capability::SysChroot => Kernel::CAP_SYS_CHROOT,
        Capability::SysModule => Kernel::CAP_SYS_MODULE,
        Capability::SysNice => Kernel::CAP_SYS_NICE,
        Capability::SysPacct => Kernel::CAP_SYS_PACCT,
        Capability::SysPtrace => Kernel::CAP_SYS_PTRACE,
        Capability::SysRawio => Kernel::CAP_SYS_RAWIO,
        Capability::SysResource => Kernel::CAP_SYS_RESOURCE,
        Capability::SysTime => Kernel::CAP_SYS_TIME,
        Capability::SysTtyConfig => Kernel::CAP_SYS_TTY_CONFIG,
        Capability::Syslog => Kernel::CAP_SYSLOG,
        Capability::WakeAlarm => Kernel::CAP_WAKE_ALARM,
    };
    kernel.index()
}

fn rlimits(process: &oci::Process, origin: &str, findings: &mut Findings) -> Vec<Rlimit> {
    let mut all: Vec<Rlimit> = Vec::new();
    for (index, limit) in process.rlimits().iter().flatten().enumerate() {
        let origin = format!("{origin}rlimits[{index}]");
        let resource = resource(limit.typ());
        if all.iter().any(|known| known.resource == resource) {
            findings.error(&origin, format!("rlimit {} is set twice", limit.typ()));
        }
        if limit.soft() > limit.hard() {
            findings.error(
                &origin,
                format!("soft limit {} is above the hard limit {}", limit.soft(), limit.hard()),
            );
        }
        all.push(Rlimit { resource, soft: limit.soft(), hard: limit.hard(), index });
    }
    all
}

/// The resource's number on the architecture that this is built for.
#[allow(clippy::unnecessary_cast, reason = "glibc and musl have different types for it")]
fn resource(kind: PosixRlimitType) -> u32 {
    (match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    }) as u32
}

fn oom_score_adj(process: &oci::Process, origin: &str, findings: &mut Findings) -> Option<i32> {
    let score = process.oom_score_adj()?;
    if !(-1000..=1000).contains(&score) {
        findings.error(format_args!("{origin}oomScoreAdj"), format!("{score} is not in -1000 to 1000"));
    }
    Some(score)
}

fn scheduler(given: &oci::Scheduler, origin: &str, findings: &mut Findings) -> Scheduler {
    use LinuxSchedulerPolicy as Policy;
    let origin = format!("{origin}scheduler");
    let policy = *given.policy();
    let (nice, priority) = (given.nice().unwrap_or(0), given.priority().unwrap_or(0));
    if matches!(policy, Policy::SchedOther | Policy::SchedBatch) && !(-20..=19).contains(&nice) {
        findings.error(
            format!("{origin}.nice"),
            format!("invalid scheduler.nice: {nice} when scheduler.policy is {policy}"),
        );
    }
    if priority != 0 && !matches!(policy, Policy::SchedFifo | Policy::SchedRr) {
        findings.error(
            format!("{origin}.priority"),
            "scheduler.priority can only be specified for SchedFIFO or SchedRR policy",
        );
    }
    let times = [given.runtime(), given.deadline(), given.period()].map(|time| time.unwrap_or(0));
    if policy != Policy::SchedDeadline && times != [0; 3] {
        findings.error(
            &origin,
            "scheduler runtime/deadline/period can only be specified for SchedDeadline policy",
        );
    }
    let flags = given.flags().iter().flatten().fold(0, |all, flag| all | scheduler_flag(*flag));
    Scheduler {
        policy: scheduler_policy(policy),
        flags,
        nice,
        priority: u32::try_from(priority).unwrap_or_else(|_| {
            findings.error(format!("{origin}.priority"), format!("{priority} is negative"));
            0
        }),
        runtime: times[0],
        deadline: times[1],
        period: times[2],
    }
}

fn scheduler_policy(policy: LinuxSchedulerPolicy) -> u32 {
    match policy {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    }
}

fn scheduler_flag(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

fn io_priority(given: &oci::LinuxIOPriority, origin: &str, findings: &mut Findings) -> IoPriority {
    let class = match given.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = match given.priority() {
        level @ 0..=7 => level as u32,
        other => {
            findings.error(
                format_args!("{origin}ioPriority.priority"),
                format!("invalid ioPriority.Priority: {other}"),
            );
            0
        }
    };
    IoPriority { class, level }
}

fn cpus(field: &str, list: Option<&String>, origin: &str, findings: &mut Findings) -> Vec<u8> {
    bit_mask(list.map_or("", String::as_str), CPUS).unwrap_or_else(|reason| {
        findings.error(format_args!("{origin}execCPUAffinity.{field}"), reason);
        Vec::new()
    })
}
