//! A task: a container, its processes, and what was made for it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime_core::{Container, Runtime};

use crate::fault::Fault;
use crate::oom::Memory;
use crate::options::Options;
use crate::process::Proc;
use crate::reactor::Token;
use crate::streams::Streams;

/// The processes of `exec`, by their ids.
type Execs = HashMap<String, Exec>;

/// A process of `exec` and the JSON that it is started from.
#[derive(Clone)]
pub(crate) struct Exec {
    pub(crate) proc: Arc<Proc>,
    pub(crate) spec: Arc<[u8]>,
}

/// A container that this shim has made.
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) options: Options,
    pub(crate) runtime: Runtime,
    pub(crate) init: Arc<Proc>,
    /// The end of its init is not the end of its other processes.
    pub(crate) kills_others: bool,
    pub(crate) paused: AtomicBool,
    /// Processes whose end is still to be told.
    pub(crate) untold: AtomicUsize,
    /// What a restore takes at the start.
    pub(crate) restore: Mutex<Option<Restore>>,
    execs: Mutex<Execs>,
    /// The watch for lack of memory.
    pub(crate) oom: Mutex<Option<(Token, Arc<Memory>)>>,
}

/// The image of a checkpoint, and the streams of the container that is made from it.
pub(crate) struct Restore {
    pub(crate) image: String,
    pub(crate) streams: Streams,
}

impl Task {
    pub(crate) fn new(
        bundle: &Path,
        options: Options,
        runtime: Runtime,
        init: Arc<Proc>,
        kills_others: bool,
        restore: Option<Restore>,
    ) -> Self {
        Self {
            id: init.task.clone(),
            bundle: bundle.to_owned(),
            options,
            runtime,
            init,
            kills_others,
            paused: AtomicBool::new(false),
            untold: AtomicUsize::new(0),
            restore: Mutex::new(restore),
            execs: Mutex::default(),
            oom: Mutex::new(None),
        }
    }

    /// The library's handle.
    pub(crate) fn container(&self) -> Result<Container, Fault> {
        Ok(self.runtime.container(&self.id)?)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    fn locked(&self) -> MutexGuard<'_, Execs> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a process that is to be started later.
    pub(crate) fn add_exec(&self, exec: Exec) -> Result<(), Fault> {
        let id = exec.proc.exec.clone();
        let mut execs = self.locked();
        if execs.contains_key(&id) {
            return Err(Fault::exists(format!("process {id}")));
        }
        execs.insert(id, exec);
        Ok(())
    }

    pub(crate) fn exec(&self, id: &str) -> Result<Exec, Fault> {
        self.locked().get(id).cloned().ok_or_else(|| Fault::not_found(format!("process {id}")))
    }

    pub(crate) fn remove_exec(&self, id: &str) {
        self.locked().remove(id);
    }

    /// The process that a request names: the init, if it names none.
    pub(crate) fn process(&self, exec: &str) -> Result<Arc<Proc>, Fault> {
        if exec.is_empty() { Ok(self.init.clone()) } else { self.exec(exec).map(|exec| exec.proc) }
    }

    /// All processes of `exec`.
    pub(crate) fn execs(&self) -> Vec<Arc<Proc>> {
        self.locked().values().map(|exec| exec.proc.clone()).collect()
    }
}
