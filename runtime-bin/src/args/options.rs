//! Every option of every command: its names, its value and its help.

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing, or `=true` and `=false`.
    Flag,
    /// Any text; the name is shown in the help.
    Text(&'static str),
    /// The path of a file or socket.
    File,
    /// The path of a directory.
    Directory,
    /// A decimal integer.
    Number,
    /// One of a few words.
    Choice(&'static [&'static str]),
}

/// One option.
#[derive(Debug)]
pub(crate) struct Opt {
    /// The long name without dashes; also the key of [`super::Values`].
    pub(crate) name: &'static str,
    /// The one-letter name.
    pub(crate) short: Option<char>,
    /// What it takes.
    pub(crate) value: Value,
    /// Whether all values are kept; of other options the last one wins.
    pub(crate) repeat: bool,
    /// Whether the help leaves it out.
    pub(crate) hidden: bool,
    /// The help text.
    pub(crate) help: &'static str,
}

impl Opt {
    const fn new(name: &'static str, value: Value, help: &'static str) -> Self {
        Self { name, short: None, value, repeat: false, hidden: false, help }
    }

    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn repeat(mut self) -> Self {
        self.repeat = true;
        self
    }

    const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// The word that stands for the value in the help; `None` for a flag.
    pub(crate) fn value_name(&self) -> Option<&'static str> {
        match self.value {
            Value::Flag => None,
            Value::Text(name) => Some(name),
            Value::File => Some("PATH"),
            Value::Directory => Some("DIR"),
            Value::Number => Some("N"),
            Value::Choice(_) => Some("WORD"),
        }
    }
}

/// The options before the command; all of them are legal after it, too.
pub(crate) static GLOBAL: &[&Opt] = &[
    &DEBUG,
    &LOG,
    &LOG_FORMAT,
    &LOG_LEVEL,
    &ROOT,
    &ROOTLESS,
    &SYSTEMD_CGROUP,
    &CGROUP_MANAGER,
    &CRIU,
    &TRACE_TIMINGS,
    &HELP,
];

macro_rules! options {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $value:expr, $help:literal $(, .$method:ident($($arg:expr)?))*;)*) => {
        $(pub(crate) static $id: Opt = Opt::new($name, $value, $help)$(.$method($($arg)?))*;)*
    };
}

options! {
    DEBUG = "debug", Value::Flag, "also log what the program does, step by step";
    LOG = "log", Value::File, "append the log to this file, or send it to journald:ID or syslog:TAG (default: the standard error output)";
    LOG_FORMAT = "log-format", Value::Choice(&["text", "json"]), "the form of a log line: text or json (default: text)";
    LOG_LEVEL = "log-level", Value::Choice(&["error", "warning", "debug"]), "the least level that is logged: error, warning or debug (default: warning)";
    ROOT = "root", Value::Directory, "the directory of the containers' state, best on a tmpfs (default: /run/runtime, or $XDG_RUNTIME_DIR/runtime without root)";
    ROOTLESS = "rootless", Value::Choice(&["true", "false", "auto"]), "whether to go on where cgroups may not be used: true, false or auto (default: auto)";
    SYSTEMD_CGROUP = "systemd-cgroup", Value::Flag, "make cgroups through systemd; cgroupsPath is then slice:prefix:name";
    CGROUP_MANAGER = "cgroup-manager", Value::Choice(&["cgroupfs", "systemd", "disabled"]), "who makes cgroups: cgroupfs, systemd or disabled (default: cgroupfs); wins over --systemd-cgroup";
    CRIU = "criu", Value::File, "ignored; criu is looked for in $PATH", .hidden();
    TRACE_TIMINGS = "trace-timings", Value::Flag, "write to the standard error output at the end how long each step of create, run, start or exec took";
    HELP = "help", Value::Flag, "show this help", .short('h');
    VERSION = "version", Value::Flag, "show the version", .short('v');
    VERSION_CAPITAL = "V", Value::Flag, "the same as -v", .hidden();

    CONFIG = "config", Value::File, "read the configuration from this file, relative to the bundle (default: config.json)", .short('f');
    BUNDLE = "bundle", Value::Directory, "the bundle, a directory with config.json (default: the current directory)", .short('b');
    CONSOLE_SOCKET = "console-socket", Value::File, "the Unix socket to send the terminal's master descriptor to";
    PIDFD_SOCKET = "pidfd-socket", Value::File, "the Unix socket to send the process's pidfd to";
    PID_FILE = "pid-file", Value::File, "write the process id to this file";
    NO_PIVOT = "no-pivot", Value::Flag, "change the root by a moved mount instead of pivot_root, for a rootfs on a ramdisk";
    NO_NEW_KEYRING = "no-new-keyring", Value::Flag, "let the container keep the caller's session keyring";
    PRESERVE_FDS = "preserve-fds", Value::Number, "pass N more descriptors after stdio and those of $LISTEN_FDS (default: 0)";
    DETACH = "detach", Value::Flag, "do not wait for the process", .short('d');
    KEEP = "keep", Value::Flag, "do not delete the container when its process has ended";
    NO_SUBREAPER = "no-subreaper", Value::Flag, "do not adopt and reap the container's orphans";
    CREATE_NO_SUBREAPER = "no-subreaper", Value::Flag, "ignored; create adopts nothing", .hidden();
    DRY_RUN = "dry-run", Value::Flag, "show each step that would be taken and change nothing";

    CWD = "cwd", Value::Text("DIR"), "the working directory in the container";
    ENV = "env", Value::Text("NAME=VALUE"), "add an environment variable", .short('e'), .repeat();
    TTY = "tty", Value::Flag, "give the process a terminal", .short('t');
    USER = "user", Value::Text("UID[:GID]"), "the numeric user and group of the process", .short('u');
    ADDITIONAL_GIDS = "additional-gids", Value::Text("GID"), "add a supplementary group", .short('g'), .repeat();
    PROCESS = "process", Value::File, "read the whole process from this JSON file", .short('p');
    PROCESS_LABEL = "process-label", Value::Text("LABEL"), "the SELinux label of the process";
    APPARMOR = "apparmor", Value::Text("PROFILE"), "the AppArmor profile of the process";
    NO_NEW_PRIVS = "no-new-privs", Value::Flag, "set no_new_privs on the process";
    CAP = "cap", Value::Text("CAPABILITY"), "add a capability", .short('c'), .repeat();
    CGROUP = "cgroup", Value::Text("[CONTROLLER,...:]PATH"), "run in this existing cgroup below the container's", .repeat();
    IGNORE_PAUSED = "ignore-paused", Value::Flag, "also start a process in a paused container; it waits until the container is resumed";

    FORCE = "force", Value::Flag, "kill what still runs; succeed when there is no such container", .short('f');
    REGEX = "regex", Value::Flag, "the id is a regular expression; take each container whose id it matches", .short('r');
    ALL = "all", Value::Flag, "signal every process of the container", .short('a');
    FORMAT = "format", Value::Choice(&["table", "json"]), "table or json (default: table)", .short('f');
    QUIET = "quiet", Value::Flag, "show ids only", .short('q');
    SPEC_FILE = "file", Value::File, "write to this file instead, relative to the bundle (default: config.json)", .short('f');
    SPEC_ROOTLESS = "rootless", Value::Flag, "write a configuration that needs no privileges";

    STATS = "stats", Value::Flag, "show the statistics once and exit";
    INTERVAL = "interval", Value::Text("TIME"), "the time between two statistics, such as 500ms or 5s (default: 5s)";

    RESOURCES = "resources", Value::File, "read linux.resources as JSON from this file, or from the standard input for -; other options are then ignored", .short('r');
    BLKIO_WEIGHT = "blkio-weight", Value::Number, "the weight of block I/O, 10 to 1000";
    CPU_PERIOD = "cpu-period", Value::Text("N"), "the CPU bandwidth period in microseconds; 0 is the system's default";
    CPU_QUOTA = "cpu-quota", Value::Text("N"), "the CPU time in a period in microseconds; -1 for no limit";
    CPU_BURST = "cpu-burst", Value::Text("N"), "the CPU time that a quiet period may leave to a later one, in microseconds";
    CPU_SHARE = "cpu-share", Value::Text("N"), "the relative share of CPU time";
    CPU_RT_PERIOD = "cpu-rt-period", Value::Text("N"), "the period of realtime scheduling in microseconds; 0 is the system's default";
    CPU_RT_RUNTIME = "cpu-rt-runtime", Value::Text("N"), "the realtime CPU time in a period in microseconds";
    CPUSET_CPUS = "cpuset-cpus", Value::Text("LIST"), "the CPUs to use, such as 0-2,7";
    CPUSET_MEMS = "cpuset-mems", Value::Text("LIST"), "the memory nodes to use";
    CPU_IDLE = "cpu-idle", Value::Text("0|1"), "1 runs the container only when a CPU is idle";
    KERNEL_MEMORY = "kernel-memory", Value::Text("BYTES"), "ignored; kernels have no such limit any more", .hidden();
    KERNEL_MEMORY_TCP = "kernel-memory-tcp", Value::Text("BYTES"), "ignored; kernels have no such limit any more", .hidden();
    MEMORY = "memory", Value::Text("BYTES"), "the memory limit, such as 64m; -1 for no limit";
    MEMORY_RESERVATION = "memory-reservation", Value::Text("BYTES"), "the soft memory limit, such as 64m; -1 for no limit";
    MEMORY_SWAP = "memory-swap", Value::Text("BYTES"), "the limit of memory and swap together; -1 for no limit";
    PIDS_LIMIT = "pids-limit", Value::Number, "the limit of processes; -1 for no limit";
    L3_CACHE_SCHEMA = "l3-cache-schema", Value::Text("SCHEMA"), "the Intel RDT schema of the L3 cache; refused: update cannot change it";
    MEM_BW_SCHEMA = "mem-bw-schema", Value::Text("SCHEMA"), "the Intel RDT schema of the memory bandwidth; refused: update cannot change it";

    IMAGE_PATH = "image-path", Value::Directory, "the directory of the checkpoint's image (default: checkpoint)";
    WORK_PATH = "work-path", Value::Directory, "the directory of CRIU's work files and logs";
    PARENT_PATH = "parent-path", Value::Directory, "the image of an earlier --pre-dump, relative to the new one";
    LEAVE_RUNNING = "leave-running", Value::Flag, "let the container run on";
    TCP_ESTABLISHED = "tcp-established", Value::Flag, "allow established TCP connections";
    TCP_SKIP_IN_FLIGHT = "tcp-skip-in-flight", Value::Flag, "leave out TCP connections that are not established yet";
    LINK_REMAP = "link-remap", Value::Flag, "allow open files that have been unlinked";
    EXT_UNIX_SK = "ext-unix-sk", Value::Flag, "allow Unix sockets that lead out of the container";
    SHELL_JOB = "shell-job", Value::Flag, "allow a container that is a job of a shell";
    LAZY_PAGES = "lazy-pages", Value::Flag, "move memory pages on demand through userfaultfd";
    STATUS_FD = "status-fd", Value::Number, "the descriptor on which CRIU says that --lazy-pages is ready (default: -1)";
    PAGE_SERVER = "page-server", Value::Text("ADDRESS:PORT"), "the page server to send memory to";
    FILE_LOCKS = "file-locks", Value::Flag, "allow file locks";
    PRE_DUMP = "pre-dump", Value::Flag, "only write the memory and let the container run on";
    MANAGE_CGROUPS_MODE = "manage-cgroups-mode", Value::Choice(&["soft", "full", "strict", "ignore"]), "how CRIU treats cgroups: soft, full, strict or ignore (default: soft)";
    NETWORK_LOCK = "network-lock", Value::Choice(&["iptables", "nftables", "skip"]), "how CRIU keeps packets away from TCP connections: iptables, nftables or skip";
    TCP_CLOSE = "tcp-close", Value::Flag, "restore established TCP connections as closed ones";
    EMPTY_NS = "empty-ns", Value::Text("NAMESPACE"), "make this namespace, which can be network alone, without its content", .repeat();
    AUTO_DEDUP = "auto-dedup", Value::Flag, "drop pages from the image that a later one holds";
    CRIU_TIMEOUT = "criu-timeout", Value::Text("TIME"), "how long CRIU may take for an answer, such as 90s or 2h; 0 is no limit (default: 30m)";
    LSM_PROFILE = "lsm-profile", Value::Text("TYPE:NAME"), "the security profile to restore with";
    LSM_MOUNT_CONTEXT = "lsm-mount-context", Value::Text("CONTEXT"), "the security context of restored mounts";
}
