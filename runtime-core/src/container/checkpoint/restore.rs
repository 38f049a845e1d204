//! restore.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::gettid;

use super::super::unit::{self, Starting};
use super::criu::{self, Criu, Streams};
use super::external::{at_restore, namespace_key};
use super::options::RestoreOptions;
use super::place::{self, Place};
use super::request::{self, Fields, Notification, field, kind};
use super::{DESCRIPTORS, Directories, config_file};
use crate::cgroup::Cgroup;
use crate::cgroup::systemd::Unit;
use crate::container::{Container, CreatePlan};
use crate::error::{Error, ErrorKind, Result};
use crate::launch::{self, Guard, Kept};
use crate::process::Process;
use crate::runtime::Shared;
use crate::spec::Kind;
use crate::state::{Entry, Identity, Record, State, Status};
use crate::stdio::Given;
use crate::sys::process;

/// CRIU's log of a restore.
const LOG: &str = "restore.log";
/// From this version on another security profile than the image's can be restored.
const SETS_LSM: u32 = 31_600;
/// The names of the standard descriptors are never longer.
const DESCRIPTORS_LIMIT: u64 = 64 << 10;

impl CreatePlan {
    /// Makes the container of this plan from an image instead of by executing its program.
    pub(crate) fn restore(
        mut self,
        shared: &Arc<Shared>,
        options: &RestoreOptions,
    ) -> Result<(Container, Process)> {
        let id = self.id.clone();
        let (given, pipes) = std::mem::take(&mut self.descriptors).open(self.terminal())?;
        if !given.passed().is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, format!("restore container {id}")).reason(
                "besides the standard streams, a restored container has the descriptors of its image",
            ));
        }
        if let Some(handler) = self.handler() {
            return Err(Error::new(ErrorKind::Unsupported, format!("restore container {id}"))
                .reason(format!("its program is that of handler {:?}, which no image has", handler.name())));
        }
        let restore = Restore { plan: &self, options, shared, given: &given };
        let (entry, kept) =
            restore.run().map_err(|error| error.context(format_args!("restore container {id}")))?;
        let container = Container::new(shared, id, entry, None);
        let init = Identity::of(kept.pid)?;
        Ok((container, Process::new(kept, Vec::new(), init, shared.exits.clone()).with_pipes(pipes)))
    }
}

struct Restore<'a> {
    plan: &'a CreatePlan,
    options: &'a RestoreOptions,
    shared: &'a Arc<Shared>,
    given: &'a Given,
}

/// What CRIU has told on the way.
#[derive(Default)]
struct Told {
    pid: Option<i32>,
    pidfd: Option<OwnedFd>,
    console: Option<OwnedFd>,
}

impl Restore<'_> {
    /// The sequence of host changes; as with create, each is guarded.
    fn run(&self) -> Result<(Entry, Kept)> {
        self.refuse_parts()?;
        let program = &self.options.criu.program;
        criu::require_version(program, self.least_version(), "restore")?;
        let mut fields = Fields::default();
        self.add_fields(&mut fields)?;
        let namespaces = self.add_namespaces(&mut fields)?;

        let (entry, lock) = self.shared.store.create(&self.plan.id)?;
        let entry = Guard::new(entry, |entry: Entry| {
            // The error that led here is the one to tell; `delete --force` finds what is left.
            entry.remove().ok();
        });
        let mut record = self.plan.record();
        entry.write_config(&self.plan.config)?;
        entry.write_record(&record)?;
        let starting = self.plan.starting()?;
        let mut made_unit = Guard::new(None, unit::undo);
        let mut cgroup = Guard::new(self.plan.make_cgroup()?, |cgroup: Cgroup| {
            cgroup.kill_all().ok();
            cgroup.undo();
        });
        record.cgroup = (!cgroup.is_none()).then(|| cgroup.location());
        entry.write_record(&record)?;

        let (criu, place, directories) = self.start(&namespaces)?;
        if let Some(starting) = starting {
            self.make_unit(starting, criu.pid(), &mut made_unit, &mut cgroup, &mut record, &entry)?;
        }
        let config = config_file(&self.plan.spec.annotations);
        directories.add_fields(&mut fields, &self.options.criu, LOG, config);
        fields.text(field::ROOT, &place.root);
        for (name, path) in at_restore(&self.plan.spec, record.cgroup.as_ref(), place.binds) {
            fields.pair(field::EXT_MNT, &name, &path);
        }
        self.join_cgroup(&criu, &cgroup, &mut fields)?;
        let mut told = Told::default();
        let answer = criu.ask(&request::request(kind::RESTORE, &fields), &mut |notification, descriptors| {
            self.hear(notification, descriptors, &mut told, &mut record, &entry)
        });
        answer.map_err(|error| criu::explain(error, &directories.log))?;
        criu.finish()?;
        let kept = self.keep(told, &record, &entry)?;
        cgroup.keep();
        made_unit.keep();
        drop(lock);
        Ok((entry.keep(), kept))
    }

    /// Makes the unit around CRIU, since systemd makes none without a process. What CRIU restores begins
    /// where it is, and stays there after its end.
    fn make_unit(
        &self,
        mut starting: Starting<'_>,
        pid: i32,
        made: &mut Option<Unit>,
        cgroup: &mut Cgroup,
        record: &mut Record,
        entry: &Entry,
    ) -> Result<()> {
        let Some(plan) = &self.plan.cgroup else { return Ok(()) };
        let location = starting.start(pid, made)?;
        record.cgroup = Some(location.clone());
        entry.write_record(record)?;
        *cgroup = starting.open(&location, plan)?;
        Ok(())
    }

    /// Refuses what a process has to have before it has children: CRIU makes them all at once.
    fn refuse_parts(&self) -> Result<()> {
        let spec = &self.plan.spec;
        // In a namespace that it joins they are there; one that CRIU makes is all its own work.
        let devices = (!spec.net_devices.is_empty() && spec.namespaces.makes(Kind::Network))
            .then_some(("linux.netDevices", "give the devices to its network namespace from outside"));
        let class = spec
            .intel_rdt
            .as_ref()
            .map(|_| ("linux.intelRdt", "put the processes into the class after the restore"));
        match devices.or(class) {
            None => Ok(()),
            Some((origin, hint)) => Err(Error::new(ErrorKind::Unsupported, origin)
                .reason("a restored container cannot have it")
                .with_hint(format!("leave it out, and {hint}"))),
        }
    }

    fn least_version(&self) -> u32 {
        let lsm = self.options.lsm_profile.is_some() || self.options.lsm_mount_context.is_some();
        if lsm { SETS_LSM } else { 0 }
    }

    /// Starts CRIU in a mount namespace of its own. A thread makes that, and takes nothing else with
    /// it: what CRIU restores is a child of the process, not of a thread.
    fn start(&self, namespaces: &[OwnedFd]) -> Result<(Criu, Place, Directories)> {
        let inherit: Vec<BorrowedFd<'_>> = namespaces.iter().map(AsFd::as_fd).collect();
        let rootfs = self.plan.bundle.join(&self.plan.spec.root);
        let work = || {
            let place = place::prepare(&rootfs, &self.plan.bundle, &self.plan.spec.mounts)?;
            // After the change: CRIU makes mounts in its work directory, so that has to be in its namespace.
            let directories = Directories::open(&self.options.criu, false, LOG)?;
            let criu =
                Criu::start(&self.options.criu.program, &inherit, self.streams(), self.options.criu.limit())?;
            Ok((criu, place, directories))
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, work);
            let thread = thread.map_err(|error| Error::io("start a thread", &error))?;
            thread
                .join()
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::System, "prepare the root of a restore")))
        })
    }

    /// CRIU's own streams, which the container gets in the place of the pipes that it had.
    fn streams(&self) -> Streams<'_> {
        if self.plan.terminal() { Streams::Quiet } else { Streams::Of(self.given.stdio()) }
    }

    fn add_fields(&self, fields: &mut Fields) -> Result<()> {
        fields.flag(field::EVASIVE_DEVICES, true);
        fields.flag(field::TCP_CLOSE, self.options.tcp_close);
        // The container's init becomes a child of this process and not of CRIU.
        fields.flag(field::RST_SIBLING, true);
        for (number, text) in [
            (field::LSM_PROFILE, &self.options.lsm_profile),
            (field::LSM_MOUNT_CONTEXT, &self.options.lsm_mount_context),
        ] {
            text.iter().for_each(|text| fields.text(number, text));
        }
        for (number, name) in (0..).zip(descriptors(&self.options.criu.image_path)?) {
            // Pipes are the caller's, or those that it gave; files are opened again, terminals made anew.
            if name.starts_with("pipe:") {
                fields.numbered(field::INHERIT_FD, &name, number);
            }
        }
        Ok(())
    }

    /// Namespaces to join. The result are those that CRIU takes as descriptors.
    fn add_namespaces(&self, fields: &mut Fields) -> Result<Vec<OwnedFd>> {
        let mut inherited = Vec::new();
        for namespace in self.plan.spec.namespaces.iter() {
            let Some(path) = &namespace.path else { continue };
            // CRIU is another process, and restores while this one waits.
            let held =
                namespace.held.as_ref().map(|held| format!("/proc/{}/fd/{}", gettid(), held.as_raw_fd()));
            let path = held.as_ref().unwrap_or(path);
            match namespace_key(namespace.kind) {
                Some((_, key)) => {
                    let file = open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
                    let file = file.map_err(|errno| {
                        Error::system(format!("open namespace {path:?}"), errno).origin(namespace.origin())
                    })?;
                    if namespace.kind == Kind::Network {
                        launch::require_net_devices(file.as_fd(), &self.plan.spec.net_devices)?;
                    }
                    fields.numbered(field::INHERIT_FD, key, file.as_raw_fd());
                    inherited.push(file);
                }
                None if namespace.kind == Kind::Cgroup => {
                    return Err(Error::invalid(namespace.origin(), "CRIU cannot join a cgroup namespace"));
                }
                None => fields.pair(field::JOIN_NS, namespace.kind.file_name(), path),
            }
        }
        Ok(inherited)
    }

    /// CRIU goes into the container's cgroup, so that all it restores begins there, and learns which
    /// one that is.
    fn join_cgroup(&self, criu: &Criu, cgroup: &Cgroup, fields: &mut Fields) -> Result<()> {
        let plan = self.plan;
        plan.cgroup.as_ref().map_or(Ok(()), |plan| cgroup.apply(plan))?;
        cgroup.attach(criu.pid())?;
        if !cgroup.is_none() {
            plan.delegation.make(cgroup)?;
            plan.delegation.enter(cgroup, criu.pid())?;
        }
        plan.attach_devices(cgroup, self.shared.host.is_privileged())?;
        let path = format!("/proc/{}/cgroup", criu.pid());
        let text =
            std::fs::read_to_string(&path).map_err(|error| Error::io(format!("read {path:?}"), &error))?;
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            if let (Some(controllers), Some(path)) = (parts.next(), parts.next()) {
                fields.pair(field::CG_ROOT, controllers, path);
            }
        }
        Ok(())
    }

    fn hear(
        &self,
        notification: &Notification,
        descriptors: Vec<OwnedFd>,
        told: &mut Told,
        record: &mut Record,
        entry: &Entry,
    ) -> Result<()> {
        match notification.script.as_str() {
            // An engine's hooks configure the network here, as at create.
            "setup-namespaces" => {
                record.init = Some(Identity::of(notification.pid)?);
                let state = State::new(record, Status::Creating);
                launch::run_hooks(&self.plan.spec.hooks.prestart, &state, self.shared.exits.as_ref())?;
                launch::run_hooks(&self.plan.spec.hooks.create_runtime, &state, self.shared.exits.as_ref())
            }
            "orphan-pts-master" => {
                told.console = descriptors.into_iter().next();
                Ok(())
            }
            "post-restore" => {
                let pid = notification.pid;
                // Now, while the process waits for this answer: it cannot be another one yet.
                let pidfd = process::pidfd_open(pid);
                told.pidfd =
                    Some(pidfd.map_err(|errno| Error::system(format!("pidfd_open of {pid}"), errno))?);
                told.pid = Some(pid);
                record.init = Some(Identity::of(pid)?);
                entry.write_record(record)
            }
            _ => Ok(()),
        }
    }

    fn keep(&self, told: Told, record: &Record, entry: &Entry) -> Result<Kept> {
        let (Some(pid), Some(pidfd)) = (told.pid, told.pidfd) else {
            return Err(
                Error::new(ErrorKind::System, "criu failed").reason("it did not say what it restored")
            );
        };
        debug_assert_eq!(record.init.map(|init| init.pid), Some(pid));
        if let Some(config) = with_time_namespace(&self.plan.config, pid) {
            entry.write_config(&config)?;
        }
        Ok(Kept { pid, pidfd, console: told.console })
    }
}

/// The names of the standard descriptors at the checkpoint.
fn descriptors(image: &Path) -> Result<Vec<String>> {
    let path = image.join(DESCRIPTORS);
    let failed = |error: std::io::Error| Error::io(format!("read {path:?}"), &error);
    let mut bytes = Vec::new();
    File::open(&path).and_then(|file| file.take(DESCRIPTORS_LIMIT).read_to_end(&mut bytes)).map_err(
        |error| failed(error).with_hint("CriuOptions::image_path names the directory of a checkpoint"),
    )?;
    let names: Vec<String> = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
    Ok(names.into_iter().take(3).collect())
}

/// The configuration with the time namespace that CRIU has put the processes into, if it has: what
/// `exec` joins comes from there.
fn with_time_namespace(config: &[u8], pid: i32) -> Option<Vec<u8>> {
    let inode = |path: &str| nix::sys::stat::stat(path).map(|stat| stat.st_ino).ok();
    if inode("/proc/self/ns/time")? == inode(&format!("/proc/{pid}/ns/time"))? {
        return None;
    }
    let mut config: serde_json::Value = serde_json::from_slice(config).ok()?;
    let namespaces = config.get_mut("linux")?.get_mut("namespaces")?.as_array_mut()?;
    if namespaces.iter().any(|namespace| namespace["type"] == "time") {
        return None;
    }
    namespaces.push(serde_json::json!({"type": "time"}));
    serde_json::to_vec(&config).ok()
}
