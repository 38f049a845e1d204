//! The process: user, directory, program, environment.

use std::collections::HashSet;

use super::ExecveFailure;
use super::caps::Granted;
use super::lanes::Lanes;
use crate::executor::Handler;
use crate::spec::{CapabilitySets, ValidProcess};
use runtime_init::ops::{FileOp, Op, ProcessOp, ProgramOp, SetGroups};

/// NAME_MAX: the longest name in a directory, in bytes.
const NAME_LIMIT: usize = 255;
/// PATH_MAX.
const PATH_LIMIT: usize = 4096;

/// The mask of a container that names none, as runc has it.
const UMASK: u32 = 0o022;

/// umask(2).
pub(super) fn umask(lanes: &mut Lanes, process: &ValidProcess) {
    let mask = process.umask.unwrap_or(UMASK);
    lanes.push_from(Op::Process(ProcessOp::Umask { mask }), format!("{}user.umask", process.origin));
}

/// A session keyring of the container's own.
pub(super) fn keyring(lanes: &mut Lanes, id: &str) {
    let name = lanes.child.string(format!("_ses.{id}"));
    lanes.push(Op::Process(ProcessOp::SessionKeyring { name, optional: true }));
}

/// The working directory, made by root where it is missing.
pub(super) fn make_working_directory(lanes: &mut Lanes, process: &ValidProcess) {
    if process.cwd == "/" {
        return;
    }
    let path = lanes.child.string(&process.cwd);
    let op = Op::File(FileOp::MakeWorkingDirectory { path, uid: 0, gid: 0 });
    lanes.push_from(op, format!("{}cwd", process.origin));
}

/// The caller's streams become those of the user; a terminal is made for it.
pub(super) fn give_streams(lanes: &mut Lanes, process: &ValidProcess) {
    if !process.terminal && process.uid != 0 {
        lanes.push_from(
            Op::File(FileOp::StdioOwner { uid: process.uid }),
            format!("{}user.uid", process.origin),
        );
    }
}

/// Bounding set and user.
pub(super) fn change_user(
    lanes: &mut Lanes,
    process: &ValidProcess,
    granted: &Granted,
    set_groups: SetGroups,
) {
    let origin = process.origin;
    if granted.drop_bounding != 0 {
        let op = Op::Process(ProcessOp::DropBounding { mask: granted.drop_bounding });
        lanes.push_from(op, format!("{origin}capabilities.bounding"));
    }
    lanes.push(Op::Process(ProcessOp::KeepCapabilities));
    let op = Op::Process(ProcessOp::SetUser {
        uid: process.uid,
        gid: process.gid,
        groups: lanes.child.numbers(&process.groups),
        set_groups,
    });
    lanes.push_from(op, format!("{origin}user"));
}

/// chdir(2): `first` as root, who may enter a directory that the user may not, and then as the user,
/// who may be the only one to enter one on NFS or FUSE. Both are what runc's users rely on.
pub(super) fn change_directory(lanes: &mut Lanes, process: &ValidProcess, first: bool) {
    let path = lanes.child.string(&process.cwd);
    lanes
        .push_from(Op::Process(ProcessOp::ChangeDirectory { path, first }), format!("{}cwd", process.origin));
}

/// Permitted, effective and inheritable set; `extra` is kept until execve(2).
pub(super) fn set_capabilities(lanes: &mut Lanes, process: &ValidProcess, sets: &CapabilitySets, extra: u64) {
    let op = Op::Process(ProcessOp::SetCapabilities {
        effective: sets.effective | extra,
        permitted: sets.permitted | extra,
        inheritable: sets.inheritable,
    });
    lanes.push_from(op, format!("{}capabilities", process.origin));
}

/// Ambient set.
pub(super) fn set_ambient(lanes: &mut Lanes, process: &ValidProcess, sets: &CapabilitySets) {
    let op = Op::Process(ProcessOp::SetAmbient { mask: sets.ambient });
    lanes.push_from(op, format!("{}capabilities.ambient", process.origin));
}

/// The program among the directories of the container's own `PATH`.
pub(super) fn find_program(lanes: &mut Lanes, process: &ValidProcess) {
    let candidates = candidates(process);
    let candidates = lanes.child.strings(&candidates);
    lanes.push_from(Op::Program(ProgramOp::FindProgram { candidates }), format!("{}args[0]", process.origin));
}

fn candidates(process: &ValidProcess) -> Vec<String> {
    let program = process.args.first().map_or("", String::as_str);
    if program.is_empty() {
        return Vec::new();
    }
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    if program.len() > NAME_LIMIT {
        // No directory can hold it: the kernel's answer is for this one.
        return vec![format!("./{program}")];
    }
    let path = process.env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    // An image may name the same directory a million times.
    let mut known = HashSet::new();
    path.split(':')
        .filter(|directory| directory.len() < PATH_LIMIT && known.insert(*directory))
        .map(|directory| match directory.trim_end_matches('/') {
            "" if directory.is_empty() => format!("./{program}"),
            directory => format!("{directory}/{program}"),
        })
        .collect()
}

/// What the program gets as its environment.
pub(super) struct Environment<'a> {
    pub(super) variables: Vec<&'a String>,
    /// Whose HOME the child looks up; `u32::MAX` if `variables` has one.
    pub(super) home_uid: u32,
}

/// Without a HOME, the one of the user is looked up.
pub(super) fn environment<'a>(process: &ValidProcess, env: &'a [String]) -> Environment<'a> {
    let has_home = env.iter().any(|entry| entry.strip_prefix("HOME=").is_some_and(|home| !home.is_empty()));
    Environment {
        variables: env.iter().filter(|entry| has_home || !entry.starts_with("HOME=")).collect(),
        home_uid: if has_home { u32::MAX } else { process.uid },
    }
}

/// The home directory, while it is root that looks: /etc/passwd of an image may be for root alone.
pub(super) fn find_home(lanes: &mut Lanes, env: &Environment<'_>) {
    if env.home_uid != u32::MAX {
        lanes.push(Op::Program(ProgramOp::FindHome { uid: env.home_uid }));
    }
}

/// All that comes before execve(2).
pub(super) fn prepare(lanes: &mut Lanes, process: &ValidProcess, env: &Environment<'_>) {
    let op = Op::Program(ProgramOp::PrepareProgram {
        args: lanes.child.strings(&process.args),
        env: lanes.child.strings(&env.variables),
        home_uid: env.home_uid,
    });
    lanes.push_from(op, format!("{}args", process.origin));
}

/// execve(2), or execveat(2) of a handler.
pub(super) fn execute(
    lanes: &mut Lanes,
    process: &ValidProcess,
    failure: ExecveFailure,
    handler: Option<&Handler>,
) {
    let args = lanes.child.strings(&process.args);
    let exits = failure == ExecveFailure::Exit;
    let op = match handler {
        None => ProgramOp::Execute { args, exits },
        Some(handler) => ProgramOp::ExecuteHandler {
            name: lanes.child.string(format!("handler {:?}", handler.name())),
            // No more than Handler::LIMIT.
            size: handler.bytes().len() as u32,
            args,
            exits,
        },
    };
    lanes.push_from(Op::Program(op), format!("{}args", process.origin));
}
