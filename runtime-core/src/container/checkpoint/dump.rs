//! checkpoint.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode as FileMode;

use super::criu::{self, Criu, Streams};
use super::external::{at_dump, namespace_key};
use super::options::CheckpointOptions;
use super::request::{self, Feature, Fields, Notification, field, kind};
use super::{DESCRIPTORS, Directories, config_file};
use crate::cgroup::{Cgroup, Location, Mode};
use crate::confinement::Explained;
use crate::container::Container;
use crate::container::pause::FREEZE_LIMIT;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::ValidSpec;
use crate::state::{Record, Status};
use crate::sys::memfd;

/// CRIU's log of a dump.
const LOG: &str = "dump.log";

/// From this version on CRIU tells over the socket that lazy pages are ready.
const TELLS_STATUS: u32 = 31_500;
/// From this version on CRIU knows the freezer of cgroup v2.
const KNOWS_UNIFIED_FREEZER: u32 = 31_400;

impl Container {
    /// Saves the container's processes with CRIU, as an image to restore from. They end with it,
    /// unless the options let them run on; the container itself is then the caller's to delete.
    ///
    /// # Errors
    ///
    /// The container does not run; CRIU is missing or too old; CRIU fails: the error then has the
    /// last lines of its log and says where the log is. The container runs on after an error.
    pub fn checkpoint(&self, options: &CheckpointOptions) -> Result<()> {
        self.dump(options).explained()
    }

    fn dump(&self, options: &CheckpointOptions) -> Result<()> {
        let lock = self.lock()?;
        let record = self.entry.record()?;
        let status = self.status_under(&lock, &record)?;
        // One that was paused before its start has nothing of its program yet.
        let status =
            if self.entry.has_gate()? && status == Status::Paused { Status::Created } else { status };
        if !matches!(status, Status::Running | Status::Paused) {
            let operation = format!("Container cannot be checkpointed in {status} state");
            return Err(self.wrong_state(operation));
        }
        self.refuse_handlers()?;
        self.clear_standstill()?;
        let dump = Dump { options, record: &record, spec: self.spec()? };
        let held = Held { cgroup: self.cgroup(&record)?, paused: status == Status::Paused };
        let saved = held.prepare().and_then(|()| dump.run());
        let runs_on = saved.is_err() || options.leave_running || options.pre_dump;
        let left = if runs_on { held.leave() } else { Ok(()) };
        // Of two errors the first one says what is wrong.
        saved.and(left).map_err(|error| error.context(format_args!("checkpoint container {}", self.id)))
    }
}

impl Container {
    /// CRIU finds a program by its path, and would find none at the restore.
    fn refuse_handlers(&self) -> Result<()> {
        let is_handler = |pid: &i32| {
            std::fs::read_link(format!("/proc/{pid}/exe"))
                .is_ok_and(|program| memfd::is_handler(program.as_os_str().as_bytes()))
        };
        match self.processes()?.into_iter().find(is_handler) {
            None => Ok(()),
            Some(pid) => Err(Error::new(ErrorKind::Unsupported, format!("checkpoint container {}", self.id))
                .reason(format!(
                    "process {pid} is the program of a handler, a memory file that no restore would find"
                ))),
        }
    }
}

/// How the processes were held before, and are held again afterwards, whatever CRIU does.
struct Held {
    cgroup: Cgroup,
    paused: bool,
}

impl Held {
    /// CRIU is told of the freezer of v1 where there is one. A process that v2 holds as well would never run
    /// what CRIU puts into it.
    fn prepare(&self) -> Result<()> {
        if self.paused { self.cgroup.hold_by_v1(FREEZE_LIMIT) } else { Ok(()) }
    }

    /// CRIU may have been killed before it put back what it found.
    fn leave(&self) -> Result<()> {
        match self.paused {
            true => self.cgroup.hold_by_v2(FREEZE_LIMIT),
            false => self.cgroup.thaw(),
        }
    }
}

struct Dump<'a> {
    options: &'a CheckpointOptions,
    record: &'a Record,
    spec: ValidSpec,
}

impl Dump<'_> {
    fn run(&self) -> Result<()> {
        self.check_mounts()?;
        let program = &self.options.criu.program;
        let version = criu::require_version(program, 0, "checkpoint")?;
        self.check_features(program)?;
        let directories = Directories::open(&self.options.criu, true, LOG)?;
        self.check_parent()?;
        let mut fields = Fields::default();
        directories.add_fields(&mut fields, &self.options.criu, LOG, config_file(&self.spec.annotations));
        let status = self.options.status.as_ref().map(OwnedFd::try_clone).transpose();
        let mut status = status.map_err(|error| Error::io("duplicate the status descriptor", &error))?;
        self.add_fields(&mut fields, version)?;
        if let Some(status) = status.as_ref().filter(|_| version < TELLS_STATUS) {
            fields.number(field::STATUS_FD, status.as_raw_fd());
        }
        let kind = if self.options.pre_dump { kind::PRE_DUMP } else { kind::DUMP };
        let mut listener = |told: &Notification, _| match told.script.as_str() {
            "status-ready" => status.take().map_or(Ok(()), tell_ready),
            _ => Ok(()),
        };
        let criu = Criu::start(program, &[], Streams::Quiet, self.options.criu.limit())?;
        let answer = criu.ask(&request::request(kind, &fields), &mut listener);
        answer.map_err(|error| criu::explain(error, &directories.log))?;
        // After a pre-dump CRIU waits for the dump, which is a call of its own here.
        match criu.finish()? || self.options.pre_dump {
            true => Ok(()),
            false => Err(criu::explain(Error::invalid("criu failed", "exit status"), &directories.log)),
        }
    }

    /// What was added to the running container is not in its configuration, by which a restore makes
    /// its mounts. The memory alone is no matter of mounts.
    fn check_mounts(&self) -> Result<()> {
        match self.record.added_mounts.first() {
            Some(mount) if !self.options.pre_dump => {
                Err(Error::new(ErrorKind::Unsupported, format!("save the mount on {:?}", mount.destination))
                    .reason("it was added to the running container")
                    .with_hint("take it away with Container::remove_mounts first"))
            }
            _ => Ok(()),
        }
    }

    fn check_features(&self, program: &Path) -> Result<()> {
        if self.options.pre_dump {
            criu::require_feature(program, Feature::MemTrack, "CheckpointOptions::pre_dump")?;
        }
        if self.options.criu.lazy_pages {
            criu::require_feature(program, Feature::LazyPages, "CriuOptions::lazy_pages")?;
        }
        Ok(())
    }

    /// CRIU would write a whole image without a word where the parent is not.
    fn check_parent(&self) -> Result<()> {
        let Some(parent) = &self.options.parent_path else { return Ok(()) };
        let refused = |reason: String| Err(Error::invalid("invalid CheckpointOptions::parent_path", reason));
        if parent.is_absolute() {
            return refused("CheckpointOptions::parent_path must be relative".to_owned());
        }
        match std::fs::metadata(self.options.criu.image_path.join(parent)) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => refused(format!("{parent:?} is not a directory")),
            Err(error) => Err(Error::io("invalid CheckpointOptions::parent_path", &error)),
        }
    }

    fn add_fields(&self, fields: &mut Fields, version: u32) -> Result<()> {
        let options = self.options;
        let pid = self.record.init.map_or(0, |init| init.pid);
        fields.number(field::PID, pid);
        fields.text(field::ROOT, &self.record.rootfs);
        fields.flag(field::LEAVE_RUNNING, options.leave_running);
        fields.flag(field::TCP_SKIP_IN_FLIGHT, options.tcp_skip_in_flight);
        fields.flag(field::LINK_REMAP, options.link_remap);
        if let Some((address, port)) = &options.page_server {
            fields.numbered(field::PAGE_SERVER, address, i32::from(*port));
        }
        if let Some(parent) = &options.parent_path {
            fields.text(field::PARENT_IMG, &parent.to_string_lossy());
            fields.flag(field::TRACK_MEM, true);
        }
        if let Some(freezer) = self.record.cgroup.as_ref().and_then(|cgroup| freezer(cgroup, version)) {
            fields.text(field::FREEZE_CGROUP, &freezer);
        }
        self.add_namespaces(fields, pid)?;
        if options.pre_dump { Ok(()) } else { self.add_mounts(fields, pid) }
    }

    /// Joined namespaces stay out of the image.
    fn add_namespaces(&self, fields: &mut Fields, pid: i32) -> Result<()> {
        for namespace in self.spec.namespaces.iter().filter(|namespace| namespace.path.is_some()) {
            let Some((name, key)) = namespace_key(namespace.kind) else { continue };
            let path = format!("/proc/{pid}/ns/{name}");
            let stat = nix::sys::stat::stat(path.as_str())
                .map_err(|errno| Error::system(format!("stat {path:?}"), errno).origin(namespace.origin()))?;
            fields.text(field::EXTERNAL, &format!("{name}[{}]:{key}", stat.st_ino));
        }
        Ok(())
    }

    fn add_mounts(&self, fields: &mut Fields, pid: i32) -> Result<()> {
        let path = format!("/proc/{pid}/root");
        let root =
            open(path.as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, FileMode::empty())
                .map_err(|errno| Error::system(format!("open {path:?}"), errno))?;
        for (place, name) in at_dump(&self.spec, self.record.cgroup.as_ref(), root.as_fd()) {
            fields.pair(field::EXT_MNT, &place, &name);
        }
        let descriptors = [0, 1, 2].map(|number| descriptor(pid, number));
        let failed = |error: std::io::Error| Error::io(format!("write {DESCRIPTORS:?} in the image"), &error);
        let text = serde_json::to_vec(&descriptors).map_err(|error| failed(error.into()))?;
        let file = File::create(self.options.criu.image_path.join(DESCRIPTORS));
        file.and_then(|mut file| file.write_all(&text)).map_err(failed)
    }
}

/// What a standard descriptor of the container leads to: `pipe:[4711]`, or a path.
fn descriptor(pid: i32, number: i32) -> String {
    let target = std::fs::read_link(format!("/proc/{pid}/fd/{number}"));
    target.map(|target| target.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The cgroup that CRIU freezes instead of stopping each process by ptrace(2).
fn freezer(cgroup: &Location, version: u32) -> Option<String> {
    let place = match cgroup.mode {
        Mode::Unified if version < KNOWS_UNIFIED_FREEZER => None,
        Mode::Unified => cgroup.unified(),
        Mode::Hybrid | Mode::Legacy => cgroup.place_of("freezer"),
    };
    place.map(|place| place.absolute())
}

/// One byte, and the end of the stream with the descriptor.
fn tell_ready(status: OwnedFd) -> Result<()> {
    File::from(status).write_all(&[0]).map_err(|error| Error::io("write to the status descriptor", &error))
}
