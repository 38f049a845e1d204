//! Id maps of a new user namespace, written by its creator.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use caps::{CapSet, Capability};
use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::plan::{IdMaps, IdRange};

/// How much of what a helper prints goes into an error, in bytes.
const OUTPUT_LIMIT: u64 = 4096;

/// Writes both maps of the process `pid`.
///
/// With privilege in the parent namespace, be that the first or another, the files are written directly. Without it, one extent
/// that maps only the caller's own id is allowed directly too, and everything else goes through
/// newuidmap(1) and newgidmap(1), which check /etc/subuid and /etc/subgid.
pub(crate) fn write(pid: i32, maps: &IdMaps, privileged: bool) -> Result<()> {
    if maps.deny_setgroups {
        write_file(pid, "setgroups", "deny", "linux.gidMappings")?;
    }
    write_map(pid, Kind::Uid, &maps.uid, privileged)?;
    write_map(pid, Kind::Gid, &maps.gid, privileged)
}

#[derive(Clone, Copy)]
enum Kind {
    Uid,
    Gid,
}

impl Kind {
    fn file(self) -> &'static str {
        match self {
            Kind::Uid => "uid_map",
            Kind::Gid => "gid_map",
        }
    }

    fn helper(self) -> &'static str {
        match self {
            Kind::Uid => "newuidmap",
            Kind::Gid => "newgidmap",
        }
    }

    fn origin(self) -> &'static str {
        match self {
            Kind::Uid => "linux.uidMappings",
            Kind::Gid => "linux.gidMappings",
        }
    }

    /// The right to write any map, in the caller's user namespace (user_namespaces(7)).
    fn capability(self) -> Capability {
        match self {
            Kind::Uid => Capability::CAP_SETUID,
            Kind::Gid => Capability::CAP_SETGID,
        }
    }

    fn own(self) -> u32 {
        match self {
            Kind::Uid => nix::unistd::geteuid().as_raw(),
            Kind::Gid => nix::unistd::getegid().as_raw(),
        }
    }
}

fn write_map(pid: i32, kind: Kind, ranges: &[IdRange], privileged: bool) -> Result<()> {
    let own = matches!(ranges, [only] if only.size == 1 && only.host == kind.own());
    // Root of a user namespace has the right there, and nobody gave it subordinate ids.
    let entitled = || caps::has_cap(None, CapSet::Effective, kind.capability()).unwrap_or(false);
    if !privileged && !own && !entitled() {
        return run_helper(pid, kind, ranges);
    }
    let mut text = String::new();
    for range in ranges {
        // Writing to a String does not fail.
        writeln!(text, "{} {} {}", range.container, range.host, range.size).ok();
    }
    write_file(pid, kind.file(), &text, kind.origin())
}

fn write_file(pid: i32, file: &str, text: &str, origin: &'static str) -> Result<()> {
    let path = format!("/proc/{pid}/{file}");
    let failed = |error: std::io::Error| {
        let described = Error::io(format!("write {:?} to {path}", text.trim_end()), &error).origin(origin);
        match described.raw_errno() {
            Some(Errno::EPERM) => described.with_hint(
                "the host ids of each line must be in one line of the map of the runtime's own user namespace, and to \
                 map its id 0 takes CAP_SETFCAP there",
            ),
            _ => described,
        }
    };
    let mut file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
    // The kernel takes a map in one write only.
    let written = file.write(text.as_bytes()).map_err(failed)?;
    match written == text.len() {
        true => Ok(()),
        false => Err(Error::system(format!("write to {path}"), Errno::EINVAL).origin(origin)),
    }
}

fn run_helper(pid: i32, kind: Kind, ranges: &[IdRange]) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::io(kind.helper(), &error)
            .origin(kind.origin())
            .with_hint("unprivileged id maps need newuidmap and newgidmap (package uidmap)")
    };
    let mut command = Command::new(kind.helper());
    command.arg(pid.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for range in ranges {
        command.args([range.container, range.host, range.size].map(|number| number.to_string()));
    }
    let mut helper = command.spawn().map_err(failed)?;
    let mut text = Vec::new();
    if let Some(stderr) = helper.stderr.take() {
        stderr.take(OUTPUT_LIMIT).read_to_end(&mut text).map_err(failed)?;
    }
    match helper.wait() {
        Ok(status) if status.success() => return Ok(()),
        Ok(_) => {}
        // A reaper of the caller's own was first: the map tells.
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) && is_mapped(pid, kind) => return Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {}
        Err(error) => return Err(failed(error)),
    }
    let text = String::from_utf8_lossy(&text).trim().replace('\n', "; ");
    Err(Error::system(kind.helper(), Errno::EPERM)
        .reason(text)
        .origin(kind.origin())
        .with_hint("the ranges must be granted to this user in /etc/subuid and /etc/subgid"))
}

/// Whether the map of a process has been written: before, it is empty.
fn is_mapped(pid: i32, kind: Kind) -> bool {
    std::fs::read(format!("/proc/{pid}/{}", kind.file())).is_ok_and(|map| !map.is_empty())
}
