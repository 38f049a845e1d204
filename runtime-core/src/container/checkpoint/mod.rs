//! checkpoint and restore, through CRIU.
//!
//! CRIU is a program: it is started as `criu swrk FD` and takes one request over a socket, in
//! protocol buffers (`message` has what is needed of them, `request` the numbers of CRIU's fields).
//! `criu` is the conversation, `external` says what belongs to the host and not to the image,
//! `dump` and `restore` are the two verbs, `place` prepares the root file system of a restore.

mod criu;
mod dump;
mod external;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod log;
mod message;
mod options;
mod place;
mod request;
mod restore;

pub use options::{CgroupsMode, CheckpointOptions, CriuOptions, NetworkLock, RestoreOptions};

use std::fs::{DirBuilder, File};
use std::io::ErrorKind as IoKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use request::{Fields, field};

/// What the standard descriptors were at the checkpoint, as runc's images have it.
const DESCRIPTORS: &str = "descriptors.json";

/// The oldest CRIU that can be asked for its version: 3.0.
const MINIMUM_VERSION: u32 = 30_000;

/// Which configuration file CRIU reads (criu.conf(5)); an empty name is none.
const CONFIG_ANNOTATION: &str = "org.criu.config";

/// Where one is looked for without that annotation; the second is where runc has its own.
const CONFIG_FILES: [&str; 2] = ["/etc/criu/runtime.conf", "/etc/criu/runc.conf"];

/// The directories of one request, kept open: CRIU opens them through this process's descriptors.
struct Directories {
    image: OwnedFd,
    work: Option<OwnedFd>,
    /// Where CRIU's log is.
    log: PathBuf,
}

impl Directories {
    /// Opens the directories of `options`, and makes those that are missing if `make_image`; the
    /// work directory always is.
    fn open(options: &CriuOptions, make_image: bool, log: &str) -> Result<Self> {
        let image = &options.image_path;
        if make_image {
            make(image)?;
        }
        let work = options.work_path.as_deref();
        work.map_or(Ok(()), make)?;
        Ok(Self {
            image: open(image)?,
            work: work.map(open).transpose()?,
            log: work.unwrap_or(image).join(log),
        })
    }

    /// The fields that both requests have.
    fn add_fields(&self, fields: &mut Fields, options: &CriuOptions, log: &str, config: Option<&str>) {
        fields.number(field::IMAGES_DIR_FD, self.image.as_raw_fd());
        if let Some(work) = &self.work {
            fields.number(field::WORK_DIR_FD, work.as_raw_fd());
        }
        fields.number(field::LOG_LEVEL, request::LOG_LEVEL);
        fields.text(field::LOG_FILE, log);
        fields.flag(field::NOTIFY_SCRIPTS, true);
        fields.flag(field::MANAGE_CGROUPS, true);
        fields.number(field::MANAGE_CGROUPS_MODE, options.cgroups as i32);
        fields.flag(field::SHELL_JOB, options.shell_job);
        fields.flag(field::TCP_ESTABLISHED, options.tcp_established);
        fields.flag(field::EXT_UNIX_SK, options.external_unix_sockets);
        fields.flag(field::FILE_LOCKS, options.file_locks);
        fields.flag(field::AUTO_DEDUP, options.auto_dedup);
        fields.flag(field::LAZY_PAGES, options.lazy_pages);
        fields.flag(field::ORPHAN_PTS_MASTER, true);
        // The runtime configures no network devices, so there are none to save: the engine's hooks
        // do that, at create and at restore.
        fields.number(field::EMPTY_NS, libc::CLONE_NEWNET);
        if let Some(lock) = options.network_lock {
            fields.number(field::NETWORK_LOCK, lock as i32);
        }
        if let Some(config) = config {
            fields.text(field::CONFIG_FILE, config);
        }
    }
}

/// The configuration file for CRIU that the annotations choose.
fn config_file(annotations: &std::collections::BTreeMap<String, String>) -> Option<&str> {
    match annotations.get(CONFIG_ANNOTATION) {
        Some(file) => Some(file.as_str()).filter(|file| !file.is_empty()),
        None => {
            CONFIG_FILES.into_iter().find(|file| Path::new(file).exists()).or(CONFIG_FILES.last().copied())
        }
    }
}

fn make(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != IoKind::AlreadyExists => {
            Err(Error::io(format!("make the directory {path:?}"), &error))
        }
        _ => Ok(()),
    }
}

fn open(path: &Path) -> Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(path)
        .map(OwnedFd::from)
        .map_err(|error| Error::io(format!("open the directory {path:?}"), &error))
}
