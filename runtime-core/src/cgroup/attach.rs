//! Putting processes into the cgroup.

use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::directory::{Directory, failed};
use super::hierarchy::own_path;
use super::location::clean;
use super::mountinfo::{own_cgroup, read};
use super::{Cgroup, Location, Member, Version, no_cgroup};
use crate::error::{Call, Error, ErrorKind, Result};

/// While a process is still being made, the kernel answers EINVAL for it.
const ATTEMPTS: u32 = 5;

/// A path of this length in `/proc/PID/cgroup` is the beginning of a longer one (PATH_MAX, without the NUL).
const SHOWN: usize = 4095;

impl Cgroup {
    /// Puts `pid` into the hierarchies that `CLONE_INTO_CGROUP` does not reach: those of v1.
    pub fn join(&self, pid: i32) -> Result<()> {
        self.members.iter().filter(|member| !member.is_unified()).try_for_each(|member| member.join(pid))
    }

    /// Files by which a process enters the hierarchies that `CLONE_INTO_CGROUP` does not reach, those of v1, and with
    /// `unified` that of v2 too: it writes "0", with the rights of who opened them.
    ///
    /// In v1 that is `tasks`, for a process of one thread: unlike `cgroup.procs` it does not wait for all
    /// processors (RCU), which takes 8 to 15 ms on a machine that was idle before.
    pub(crate) fn entrances(&self, unified: bool) -> Result<Vec<OwnedFd>> {
        let wanted = self.members.iter().filter(|member| unified || !member.is_unified());
        wanted
            .map(|member| {
                let name = if member.is_unified() { "cgroup.procs" } else { "tasks" };
                member.directory.open_file(name, OFlag::O_WRONLY).map_err(|errno| {
                    failed(format!("open {:?} for writing", member.directory.path_of(name)), errno)
                })
            })
            .collect()
    }

    /// Names the cgroup in the error of a clone into it, if the cgroup is the reason: the later steps of a
    /// start have other reasons for the same errno.
    pub(crate) fn explain_clone(&self, error: Error) -> Error {
        match (self.unified(), error.raw_errno()) {
            (Some(member), Some(Errno::EACCES | Errno::EBUSY | Errno::ENOENT | Errno::EOPNOTSUPP))
                if error.is_of(Call::Clone) =>
            {
                error.context(format!("put a process into cgroup {:?}", member.directory.text()))
            }
            _ => error,
        }
    }

    /// Puts `pid` into the cgroup in every hierarchy.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the container has sub-cgroups with controllers: the caller takes
    /// [`of_process`](Self::of_process) of the container's init then, or lets
    /// [`attach_beside`](Self::attach_beside) do it.
    pub fn attach(&self, pid: i32) -> Result<()> {
        self.members.iter().try_for_each(|member| member.join(pid))
    }

    /// As [`attach`](Self::attach); if the cgroup itself may hold no processes, because the container
    /// has made sub-cgroups, `pid` goes where the container's `init` is.
    pub fn attach_beside(&self, pid: i32, init: i32) -> Result<()> {
        match self.attach(pid) {
            Err(error) if error.raw_errno() == Some(Errno::EBUSY) => self.of_process(init)?.attach(pid),
            other => other,
        }
    }

    /// The cgroup that `init`, a process of this cgroup, is in: this one or a sub-cgroup of it, in each
    /// hierarchy.
    ///
    /// # Errors
    ///
    /// If `init` has left the cgroup.
    pub fn of_process(&self, init: i32) -> Result<Self> {
        let table = match read(&format!("/proc/{init}/cgroup")) {
            // What some kernels say of a path above one page; a container can nest its cgroups deeper.
            Err(error) if error.raw_errno() == Some(Errno::ENAMETOOLONG) => None,
            other => Some(other?),
        };
        let mut members = Vec::with_capacity(self.members.len());
        for member in &self.members {
            members.extend(match &table {
                Some(table) => member.in_table(table, init)?,
                None => Some(member.that_holds(init)?),
            });
        }
        Ok(Self { mode: self.mode, members })
    }

    /// Existing sub-cgroups by the form of `exec --cgroup`: `PATH` for every hierarchy, or
    /// `CONTROLLER[,CONTROLLER]:PATH` for those of v1. Hierarchies that are not named keep this cgroup.
    ///
    /// # Errors
    ///
    /// A path that leaves the cgroup or does not exist; a controller that it is not in.
    pub fn sub(&self, paths: &[&str]) -> Result<Self> {
        if self.is_none() && !paths.is_empty() {
            return Err(no_cgroup("use a sub-cgroup"));
        }
        let mut chosen = vec![String::new(); self.members.len()];
        for text in paths {
            let (names, path) = match text.split_once(':') {
                Some((names, path)) => (Some(names), path),
                None => (None, *text),
            };
            if path.split('/').any(|component| component == "..") || path.contains('\0') {
                return Err(Error::invalid("cgroup", format!("bad sub cgroup path: {path}")));
            }
            let path = clean(path);
            match names {
                None => chosen.fill(path),
                Some(names) => {
                    for name in names.split(',') {
                        let position =
                            self.members.iter().position(|member| member.holds(name) && !member.is_unified());
                        let slot =
                            position.and_then(|position| chosen.get_mut(position)).ok_or_else(|| {
                                Error::invalid("cgroup", format!("unknown controller {name:?} in {text:?}"))
                            })?;
                        slot.clone_from(&path);
                    }
                }
            }
        }
        let members =
            self.members.iter().zip(&chosen).map(|(member, path)| member.sub(path)).collect::<Result<_>>()?;
        Ok(Self { mode: self.mode, members })
    }
}

impl Location {
    /// The cgroup with that of v2 where `init` is now, for a container whose own has been removed.
    ///
    /// # Errors
    ///
    /// If that has been removed as well.
    pub(crate) fn following(&self, init: i32) -> Result<Cgroup> {
        let text = read(&format!("/proc/{init}/cgroup"))?;
        let path = own_path(own_cgroup(&text, "").unwrap_or_default())?.trim_start_matches('/').to_owned();
        let mut location = self.clone();
        for place in location.places.iter_mut().filter(|place| place.version == Version::V2) {
            place.path.clone_from(&path);
        }
        let cgroup = Cgroup::open(&location)?;
        match cgroup.unified() {
            Some(_) => Ok(cgroup),
            None => Err(Error::system(format!("open the cgroup {path:?} of process {init}"), Errno::ENOENT)),
        }
    }
}

impl Member {
    fn join(&self, pid: i32) -> Result<()> {
        let mut attempt = 1;
        loop {
            match self.directory.write("cgroup.procs", &pid.to_string()) {
                Ok(()) => return Ok(()),
                Err(Errno::EINVAL) if attempt < ATTEMPTS => sleep(Duration::from_millis(1 << attempt)),
                Err(errno) => {
                    let file = self.directory.path_of("cgroup.procs");
                    let error = failed(format!("write \"{pid}\" to {file:?}"), errno);
                    return Err(match errno {
                        Errno::EBUSY => error.with_hint("the cgroup has sub-cgroups with controllers"),
                        Errno::EOPNOTSUPP => error.with_hint("the cgroup is below a threaded cgroup"),
                        Errno::ENOENT if self.is_unified() => error.with_hint(
                            "cgroup2 is mounted with nsdelegate, and this is outside of the cgroup namespace \
                             of the process or of the runtime",
                        ),
                        _ => error,
                    });
                }
            }
            attempt = attempt.saturating_add(1);
        }
    }

    /// The same hierarchy's sub-cgroup `path` (empty: this one).
    fn sub(&self, path: &str) -> Result<Self> {
        self.directory
            .open_dir(path)
            .map(|directory| self.below(path, directory))
            .map_err(|errno| failed(format!("open {:?}", self.directory.path_of(path)), errno))
    }

    /// The sub-cgroup that a `/proc/PID/cgroup` text says the process is in; `None` if the kernel does not have
    /// this hierarchy.
    fn in_table(&self, table: &[u8], pid: i32) -> Result<Option<Self>> {
        let held = self.place.controllers.iter().map(String::as_str).filter(|_| !self.is_unified());
        let mut names = held.chain(self.is_unified().then_some(""));
        let Some(seen) = names.find_map(|name| own_cgroup(table, name)) else { return Ok(None) };
        if seen.len() >= SHOWN {
            return self.that_holds(pid).map(Some);
        }
        let seen = seen.strip_prefix(b"/").unwrap_or(seen);
        let path = sub_path(seen, self.place.path.as_bytes()).ok_or_else(|| {
            let seen = String::from_utf8_lossy(seen);
            lost(pid).reason(format!("{seen:?} is not below {:?}", self.place.path))
        })?;
        // The path is a container's: any bytes, and as long as it likes.
        let text = String::from_utf8_lossy(path);
        let directory = self
            .directory
            .descendant(path)
            .map_err(|errno| failed(format!("open {:?}", self.directory.path_of(&text)), errno))?;
        Ok(Some(self.below(&text, directory)))
    }

    /// The cgroup, this or one below it, that lists the process.
    fn that_holds(&self, pid: i32) -> Result<Self> {
        let found = self
            .directory_of(pid)?
            .ok_or_else(|| lost(pid).reason(format!("it is not at or below {:?}", self.place.path)))?;
        Ok(self.below("...", found))
    }

    /// The place of a sub-cgroup is text, for messages: what opens it is the descriptor.
    fn below(&self, path: &str, directory: Directory) -> Self {
        let mut place = self.place.clone();
        if !path.is_empty() {
            place.path = format!("{}/{path}", place.path);
        }
        Self { place, root: self.root.clone(), directory, made: Vec::new(), enabled: Vec::new() }
    }
}

fn lost(pid: i32) -> Error {
    Error::new(ErrorKind::Cgroup, format!("find the cgroup of process {pid}"))
}

/// The part of `seen`, a path of `/proc/PID/cgroup`, below the container's cgroup `place`. With a
/// cgroup namespace or a nested mount, `seen` may have more or fewer components before it.
pub(super) fn sub_path<'a>(seen: &'a [u8], place: &[u8]) -> Option<&'a [u8]> {
    if seen.split(|byte| *byte == b'/').any(|name| name == b"..") {
        return None;
    }
    let mut tail = place;
    loop {
        let begins = std::iter::once(0).chain(
            seen.iter()
                .enumerate()
                .filter(|(_, byte)| **byte == b'/')
                .map(|(position, _)| position.saturating_add(1)),
        );
        let mut rests = begins.filter_map(|begin| seen.get(begin..)?.strip_prefix(tail));
        if let Some(rest) = rests.find(|rest| rest.is_empty() || rest.starts_with(b"/")) {
            let name = rest.iter().position(|byte| *byte != b'/').unwrap_or(rest.len());
            return rest.get(name..);
        }
        let cut = tail.iter().position(|byte| *byte == b'/')?;
        tail = tail.get(cut.saturating_add(1)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::sub_path;

    #[test]
    fn the_part_below_the_container() {
        let below = |seen: &'static [u8], place: &str| sub_path(seen, place.as_bytes());
        assert_eq!(below(b"web", "web"), Some(&b""[..]));
        assert_eq!(below(b"docker/web/init.scope", "docker/web"), Some(&b"init.scope"[..]));
        assert_eq!(below(b"outer/docker/web/a/b", "docker/web"), Some(&b"a/b"[..]));
        assert_eq!(below(b"web/a", "docker/web"), Some(&b"a"[..]));
        assert_eq!(below(b"web/\xff/b", "docker/web"), Some(&b"\xff/b"[..]));
        assert_eq!(below(b"webster/a", "web"), None);
        assert_eq!(below(b"../web", "web"), None);
        assert_eq!(below(b"other", "web"), None);
    }
}
