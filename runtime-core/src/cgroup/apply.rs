//! Writing the limits.

use nix::errno::Errno;

use super::create::is_unprivileged;
use super::directory::failed;
use super::plan::{CgroupPlan, Guard, Missing, Write};
use super::{Cgroup, Member};
use crate::error::{Error, ErrorKind, Result};

impl Cgroup {
    /// Writes the limits of `plan`, for a new cgroup or for `update`. Only what the plan asks for is
    /// touched.
    ///
    /// # Errors
    ///
    /// The first write that fails, with its place in `config.json`; earlier ones stay.
    pub fn apply(&self, plan: &CgroupPlan) -> Result<()> {
        if self.is_none() && plan.writes.is_empty() {
            return Ok(());
        }
        self.enable_for(plan)?;
        self.check_guards(plan)?;
        let mut again = Vec::new();
        for write in &plan.writes {
            match self.write(write)? {
                Outcome::Done => {}
                Outcome::Refused => again.push(write),
            }
        }
        for write in again {
            if let Outcome::Refused = self.write(write)? {
                return Err(refused(self.member_for(write)?, write, Errno::EINVAL));
            }
        }
        self.apply_devices(plan)
    }

    /// Refuses limits below the present usage, where the plan asks for that.
    pub(crate) fn check_guards(&self, plan: &CgroupPlan) -> Result<()> {
        plan.guards.iter().try_for_each(|guard| self.check(guard))
    }

    /// The v1 devices lines. A hierarchy that an unprivileged caller went without has none.
    fn apply_devices(&self, plan: &CgroupPlan) -> Result<()> {
        match self.member("devices") {
            Some(_) => plan.devices.iter().try_for_each(|write| self.write_device(write)),
            None => Ok(()),
        }
    }

    /// The rules of the v1 devices controller as the kernel lists them; `None` without one.
    pub(crate) fn device_list(&self) -> Result<Option<String>> {
        const FILE: &str = "devices.list";
        let Some(member) = self.member("devices") else {
            return Ok(None);
        };
        let text = member.directory.read(FILE);
        text.map(Some).map_err(|errno| failed(format!("read {:?}", member.directory.path_of(FILE)), errno))
    }

    /// Writes lines (file, value) of the v1 devices controller.
    pub(crate) fn write_devices(&self, lines: &[(&'static str, String)]) -> Result<()> {
        lines.iter().try_for_each(|(file, value)| {
            let write = Write {
                controller: "devices".into(),
                file: (*file).into(),
                value: value.clone(),
                origin: "linux.resources.devices".into(),
                missing: Missing::Fails,
                reorder: false,
            };
            self.write_device(&write)
        })
    }

    /// The kernel lets nobody without CAP_SYS_ADMIN of the first user namespace change device rules. There,
    /// as with runc, the container goes without: it can make no device node, and opens those of the host
    /// with the rights of its user.
    fn write_device(&self, write: &Write) -> Result<()> {
        match self.write(write) {
            Ok(Outcome::Done) => Ok(()),
            Ok(Outcome::Refused) => Err(refused(self.member_for(write)?, write, Errno::EINVAL)),
            Err(error)
                if matches!(error.raw_errno(), Some(Errno::EPERM | Errno::EACCES)) && is_unprivileged() =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn member_for(&self, write: &Write) -> Result<&Member> {
        self.member(&write.controller).ok_or_else(|| {
            Error::new(ErrorKind::Cgroup, format!("cannot set {} limit", write.controller))
                .reason("container could not join or create cgroup")
                .origin(write.origin.clone())
        })
    }

    fn write(&self, write: &Write) -> Result<Outcome> {
        let member = self.member_for(write)?;
        let errno = match member.directory.write(&write.file, &write.value) {
            Ok(()) => return Ok(Outcome::Done),
            Err(errno) => errno,
        };
        match (errno, &write.missing) {
            (Errno::ENOENT, Missing::Ignored) => Ok(Outcome::Done),
            (Errno::ENOENT, Missing::Instead(file, value)) => match member.directory.write(file, value) {
                Ok(()) => Ok(Outcome::Done),
                Err(errno) => {
                    let other = Write { file: (*file).into(), value: value.clone(), ..write.clone() };
                    Err(refused(member, &other, errno))
                }
            },
            (Errno::EINVAL, _) if write.reorder => Ok(Outcome::Refused),
            _ => Err(refused(member, write, errno)),
        }
    }

    /// Refuses a limit below the present usage. A kernel without the usage file has nothing to compare.
    fn check(&self, guard: &Guard) -> Result<()> {
        let usage = self.member(guard.controller).and_then(|member| member.number(guard.file));
        match usage {
            Some(usage) if guard.limit <= usage => Err(Error::new(ErrorKind::Cgroup, "update cgroup")
                .reason(format!("rejecting {} limit {} <= usage {usage}", guard.name, guard.limit))
                .origin(guard.origin)),
            _ => Ok(()),
        }
    }
}

enum Outcome {
    Done,
    /// EINVAL where another order may help.
    Refused,
}

fn refused(member: &Member, write: &Write, errno: Errno) -> Error {
    let operation = format!("write {:?} to {:?}", write.value, member.directory.path_of(&write.file));
    let error = failed(operation, errno).origin(write.origin.clone());
    match (errno, write.controller.as_ref()) {
        (Errno::EBUSY, "memory") => {
            let number = |file| member.number(file).map_or("unknown".to_owned(), |value| value.to_string());
            error.with_hint(format!(
                "current usage: {}, peak usage: {}",
                number("memory.usage_in_bytes"),
                number("memory.max_usage_in_bytes")
            ))
        }
        (Errno::EPERM, _) if member.is_unified() => error.with_hint(
            "with the mount option nsdelegate of cgroup2, the limits of the root of a cgroup namespace belong to \
             who made the namespace, not to a runtime inside of it",
        ),
        (Errno::ENOENT, controller) => error.with_hint(format!(
            "the kernel's {controller} controller has no such file, or the controller is not enabled here"
        )),
        _ => error,
    }
}

impl Member {
    /// A control file with one number.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        self.directory.read(file).ok()?.trim().parse().ok()
    }
}
