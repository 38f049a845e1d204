//! Every command: its positional arguments, its options and its help.

use std::ffi::OsStr;

use super::options::{self as opt, Opt};

/// The shells that completions exist for.
pub(crate) const SHELLS: &[&str] = &["bash", "zsh", "fish"];

/// What a command's first positional argument names, for shell completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Nothing that a shell could know.
    None,
    /// A container that exists.
    Container,
    /// A shell.
    Shell,
    /// One of these words; a container follows.
    Words(&'static [&'static str]),
}

/// Which function runs the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Checkpoint,
    Completion,
    Create,
    Delete,
    Events,
    Exec,
    Features,
    Info,
    Kill,
    List,
    Man,
    Mounts,
    Pause,
    Ps,
    Restore,
    Resume,
    Run,
    Spec,
    Start,
    State,
    Update,
}

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    /// Its name.
    pub(crate) name: &'static str,
    /// Which function runs it.
    pub(crate) verb: Verb,
    /// Its positional arguments as the usage line shows them.
    pub(crate) usage: &'static str,
    /// The least and the greatest number of positional arguments; `None` for no limit.
    pub(crate) positionals: (usize, Option<usize>),
    /// After so many positional arguments the rest belongs to another program.
    pub(crate) options_end_after: Option<usize>,
    /// What its first positional argument names.
    pub(crate) subject: Subject,
    /// What it does, in one line.
    pub(crate) about: &'static str,
    /// What it does, in paragraphs.
    pub(crate) description: &'static str,
    /// Its own options.
    pub(crate) options: &'static [&'static Opt],
}

/// The command of that name.
pub(crate) fn find(name: &OsStr) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| name == command.name)
}

/// A command on one existing container.
const CONTAINER: Command = Command {
    name: "",
    verb: Verb::State,
    usage: "<container-id>",
    positionals: (1, Some(1)),
    options_end_after: None,
    subject: Subject::Container,
    about: "",
    description: "",
    options: &[],
};

/// A command without positional arguments.
const PLAIN: Command = Command { usage: "", positionals: (0, Some(0)), subject: Subject::None, ..CONTAINER };

/// All commands, in the order of the help.
pub(crate) static COMMANDS: &[Command] = &[
    Command {
        name: "checkpoint",
        verb: Verb::Checkpoint,
        about: "save a running container to an image",
        description: "Saves the state of the container's processes with CRIU, so that restore can go on\n\
            from it. The container is stopped unless --leave-running is given.",
        options: &[
            &opt::IMAGE_PATH,
            &opt::WORK_PATH,
            &opt::PARENT_PATH,
            &opt::LEAVE_RUNNING,
            &opt::TCP_ESTABLISHED,
            &opt::TCP_SKIP_IN_FLIGHT,
            &opt::LINK_REMAP,
            &opt::EXT_UNIX_SK,
            &opt::SHELL_JOB,
            &opt::LAZY_PAGES,
            &opt::STATUS_FD,
            &opt::PAGE_SERVER,
            &opt::FILE_LOCKS,
            &opt::PRE_DUMP,
            &opt::MANAGE_CGROUPS_MODE,
            &opt::CRIU_TIMEOUT,
            &opt::NETWORK_LOCK,
            &opt::EMPTY_NS,
            &opt::AUTO_DEDUP,
        ],
        ..CONTAINER
    },
    Command {
        name: "completion",
        verb: Verb::Completion,
        usage: "bash|zsh|fish",
        positionals: (1, Some(1)),
        subject: Subject::Shell,
        about: "write a shell's completion script",
        description: "Writes a script to the standard output that completes commands, options and container\n\
            ids. For bash: runtime completion bash > /etc/bash_completion.d/runtime",
        ..CONTAINER
    },
    Command {
        name: "create",
        verb: Verb::Create,
        subject: Subject::None,
        about: "create a container",
        description: "Makes the container that the bundle's config.json describes and lets its process wait\n\
            until start. The id must be unique among the containers under --root.",
        options: &[
            &opt::BUNDLE,
            &opt::CONFIG,
            &opt::CONSOLE_SOCKET,
            &opt::PIDFD_SOCKET,
            &opt::PID_FILE,
            &opt::CREATE_NO_SUBREAPER,
            &opt::NO_PIVOT,
            &opt::NO_NEW_KEYRING,
            &opt::PRESERVE_FDS,
            &opt::DRY_RUN,
        ],
        ..CONTAINER
    },
    Command {
        name: "delete",
        verb: Verb::Delete,
        about: "remove what a stopped container holds",
        description: "Removes the container's cgroup and state. A container that still runs is refused unless\n\
            --force is given; one that was created, but never started, is killed.",
        options: &[&opt::FORCE, &opt::REGEX],
        ..CONTAINER
    },
    Command {
        name: "events",
        verb: Verb::Events,
        about: "show a container's statistics and out-of-memory events",
        description: "Writes one JSON object a line: the statistics of the container's cgroup each --interval,\n\
            and a line when the kernel killed a process for want of memory.",
        options: &[&opt::INTERVAL, &opt::STATS],
        ..CONTAINER
    },
    Command {
        name: "exec",
        verb: Verb::Exec,
        usage: "<container-id> <command> [argument ...]  |  --process <file> <container-id>",
        positionals: (1, None),
        options_end_after: Some(2),
        about: "run one more process in a container",
        description: "Starts a process in the running container. It gets the settings of the container's own\n\
            process, changed by the options, or all of them from --process. Everything after the\n\
            command belongs to it. The exit code is the process's, or 255 if it could not be started.",
        options: &[
            &opt::CONSOLE_SOCKET,
            &opt::PIDFD_SOCKET,
            &opt::CWD,
            &opt::ENV,
            &opt::TTY,
            &opt::USER,
            &opt::ADDITIONAL_GIDS,
            &opt::PROCESS,
            &opt::DETACH,
            &opt::PID_FILE,
            &opt::PROCESS_LABEL,
            &opt::APPARMOR,
            &opt::NO_NEW_PRIVS,
            &opt::CAP,
            &opt::PRESERVE_FDS,
            &opt::CGROUP,
            &opt::IGNORE_PAUSED,
        ],
        ..CONTAINER
    },
    Command {
        name: "features",
        verb: Verb::Features,
        about: "show what this program supports",
        description: "Writes the features document of the runtime specification as JSON.",
        ..PLAIN
    },
    Command {
        name: "info",
        verb: Verb::Info,
        about: "show what this machine has",
        description: "Writes the version, the kernel, the cgroup hierarchies, the namespaces and the security\n\
            features that the program finds on this machine. What it could do anywhere is in features.",
        options: &[&opt::FORMAT],
        ..PLAIN
    },
    Command {
        name: "kill",
        verb: Verb::Kill,
        usage: "<container-id> [signal]",
        positionals: (1, Some(2)),
        about: "send a signal to a container",
        description: "Sends the signal, SIGTERM if none is given, to the container's first process, or to all\n\
            of its processes with --all. A signal is a number or a name with or without SIG.",
        options: &[&opt::ALL, &opt::REGEX],
        ..CONTAINER
    },
    Command {
        name: "list",
        verb: Verb::List,
        about: "list containers",
        description: "Lists the containers whose state is under --root.",
        options: &[&opt::FORMAT, &opt::QUIET],
        ..PLAIN
    },
    Command {
        name: "man",
        verb: Verb::Man,
        usage: "<directory>",
        positionals: (1, Some(1)),
        about: "write the manual pages",
        description: "Writes a manual page for the program and one for each command into the directory.",
        ..PLAIN
    },
    Command {
        name: "mounts",
        verb: Verb::Mounts,
        usage: "add|remove <container-id> <file>",
        positionals: (3, Some(3)),
        subject: Subject::Words(&["add", "remove"]),
        about: "add mounts to a running container or remove them",
        description: "Reads a JSON array of mounts, in the form of mounts in config.json, from the file, or from\n\
            the standard input for -. Sources are paths of the host. Missing mount points are made. remove takes\n\
            away mounts that add has made; of them only the destinations count.",
        ..CONTAINER
    },
    Command {
        name: "pause",
        verb: Verb::Pause,
        about: "suspend all processes of a container",
        description: "Freezes the container's cgroup until resume.",
        ..CONTAINER
    },
    Command {
        name: "ps",
        verb: Verb::Ps,
        usage: "<container-id> [ps option ...]",
        positionals: (1, None),
        options_end_after: Some(1),
        about: "show the processes of a container",
        description: "Shows the lines of ps(1) that belong to the container, or its process ids as JSON. What\n\
            follows the id is given to ps (default: -ef).",
        options: &[&opt::FORMAT],
        ..CONTAINER
    },
    Command {
        name: "restore",
        verb: Verb::Restore,
        subject: Subject::None,
        about: "go on with a container from a checkpoint",
        description: "Makes a container from the image that checkpoint wrote.",
        options: &[
            &opt::CONSOLE_SOCKET,
            &opt::IMAGE_PATH,
            &opt::WORK_PATH,
            &opt::TCP_ESTABLISHED,
            &opt::EXT_UNIX_SK,
            &opt::SHELL_JOB,
            &opt::FILE_LOCKS,
            &opt::MANAGE_CGROUPS_MODE,
            &opt::CRIU_TIMEOUT,
            &opt::NETWORK_LOCK,
            &opt::TCP_CLOSE,
            &opt::BUNDLE,
            &opt::DETACH,
            &opt::PID_FILE,
            &opt::NO_SUBREAPER,
            &opt::NO_PIVOT,
            &opt::EMPTY_NS,
            &opt::AUTO_DEDUP,
            &opt::LAZY_PAGES,
            &opt::LSM_PROFILE,
            &opt::LSM_MOUNT_CONTEXT,
        ],
        ..CONTAINER
    },
    Command {
        name: "resume",
        verb: Verb::Resume,
        about: "let a paused container run on",
        description: "Thaws the container's cgroup.",
        ..CONTAINER
    },
    Command {
        name: "run",
        verb: Verb::Run,
        subject: Subject::None,
        about: "create and start a container",
        description: "Makes the container that the bundle's config.json describes, starts it, passes signals and\n\
            the terminal on to it, and deletes it when its process has ended. The exit code is the\n\
            process's, or 128 plus the number of the signal that ended it.",
        options: &[
            &opt::BUNDLE,
            &opt::CONFIG,
            &opt::CONSOLE_SOCKET,
            &opt::PIDFD_SOCKET,
            &opt::DETACH,
            &opt::KEEP,
            &opt::PID_FILE,
            &opt::NO_SUBREAPER,
            &opt::NO_PIVOT,
            &opt::NO_NEW_KEYRING,
            &opt::PRESERVE_FDS,
            &opt::DRY_RUN,
        ],
        ..CONTAINER
    },
    Command {
        name: "spec",
        verb: Verb::Spec,
        about: "write a first config.json",
        description: "Writes a config.json to start from: a shell on a terminal in the directory rootfs, with\n\
            few privileges.",
        options: &[&opt::BUNDLE, &opt::SPEC_FILE, &opt::SPEC_ROOTLESS],
        ..PLAIN
    },
    Command {
        name: "start",
        verb: Verb::Start,
        about: "start the process of a created container",
        description: "Lets the process that create prepared execute its program.",
        ..CONTAINER
    },
    Command {
        name: "state",
        verb: Verb::State,
        about: "show the state of a container",
        description: "Writes the state of the runtime specification as JSON.",
        ..CONTAINER
    },
    Command {
        name: "update",
        verb: Verb::Update,
        about: "change the resource limits of a container",
        description: "Changes the limits of the container's cgroup; what is not given stays as it is.",
        options: &[
            &opt::RESOURCES,
            &opt::BLKIO_WEIGHT,
            &opt::CPU_PERIOD,
            &opt::CPU_QUOTA,
            &opt::CPU_BURST,
            &opt::CPU_SHARE,
            &opt::CPU_RT_PERIOD,
            &opt::CPU_RT_RUNTIME,
            &opt::CPUSET_CPUS,
            &opt::CPUSET_MEMS,
            &opt::KERNEL_MEMORY,
            &opt::KERNEL_MEMORY_TCP,
            &opt::MEMORY,
            &opt::CPU_IDLE,
            &opt::MEMORY_RESERVATION,
            &opt::MEMORY_SWAP,
            &opt::PIDS_LIMIT,
            &opt::L3_CACHE_SCHEMA,
            &opt::MEM_BW_SCHEMA,
        ],
        ..CONTAINER
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for command in COMMANDS {
            assert_eq!(COMMANDS.iter().filter(|other| other.name == command.name).count(), 1);
            let options: Vec<_> = command.options.iter().map(|option| option.name).collect();
            let shorts: Vec<_> = command.options.iter().filter_map(|option| option.short).collect();
            for names in [
                options.iter().filter(|n| options.iter().filter(|o| o == n).count() > 1).count(),
                shorts.iter().filter(|n| shorts.iter().filter(|o| o == n).count() > 1).count(),
            ] {
                assert_eq!(names, 0, "{}", command.name);
            }
        }
    }
}
