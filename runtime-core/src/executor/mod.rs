//! Programs in the place of a container's own: an engine for WebAssembly modules, or the front end of a virtual machine.
//!
//! The last step of a launch is execve(2) of a program of the container. A [`Handler`] is a program of the caller that is
//! executed instead, from a sealed memory file, with the arguments, the environment, the user, the working directory and the
//! streams that the configuration gives the process. All that confines the container confines the handler: namespaces,
//! cgroup, root file system, capabilities, `no_new_privs`, system call filter, AppArmor and SELinux labels; all hooks run.
//! The image need not contain a program at all.
//!
//! Who chooses:
//!
//! * the caller, for one process: [`CreateOptions::handler`](crate::plan::CreateOptions::handler) and
//!   [`ExecOptions::handler`](crate::plan::ExecOptions::handler);
//! * an [`Executor`] of the runtime ([`RuntimeBuilder::executor`](crate::RuntimeBuilder::executor)), for each process that is
//!   planned: [`Handlers`] chooses by an annotation, a closure by anything else.
//!
//! ```no_run
//! # fn main() -> runtime_core::Result<()> {
//! use runtime_core::executor::{Handler, Handlers};
//!
//! let handler = Handler::open("wasm", "/usr/libexec/engine/wasm-handler")?;
//! // Containers with the annotation `run.oci.handler=wasm` are run by it.
//! let handlers = Handlers::by_annotation("run.oci.handler").with(handler);
//! let runtime = runtime_core::Runtime::builder().executor(handlers).build()?;
//! # drop(runtime);
//! # Ok(())
//! # }
//! ```
//!
//! The project's `examples/executor` is a tutorial with a handler for WebAssembly, from its source to a container.
//!
//! # What a handler has to be
//!
//! A static ELF program for this machine, of at most [`Handler::LIMIT`] bytes. A program that asks for a dynamic loader
//! would get that of the image, so [`Handler::from_bytes`] refuses it. Each launch has a memory file of its own with a copy of
//! the program, which is charged to the cgroup of the caller; it cannot be changed (F_SEAL_WRITE and the other seals of
//! fcntl(2)), and what a container does to its owner or its mode does not reach another container. In the container,
//! `/proc/PID/exe` is `/memfd:runtime-handler (deleted)`: no file of the host. Where vm.memfd_noexec is 2, the file is on a
//! read-only tmpfs that is mounted nowhere, which needs CAP_SYS_ADMIN.
//!
//! # Limits
//!
//! * A static program still opens what it opens, and in the container that is a file of the image. One that is linked with glibc
//!   loads libraries when it calls getpwnam(3), getaddrinfo(3), iconv(3) or another function of nss(5) or gconv: code of the image,
//!   in the handler, with all that the handler may. No header tells that. Link a handler with musl, which loads no library, or
//!   call none of these functions.
//! * The handler is executed by execveat(2). A filter that denies that call, as one that allows execve(2) alone, or that leaves
//!   it to a tracer (`SCMP_ACT_TRACE`) is an error of [`Runtime::plan`](crate::Runtime::plan), not a container that ends without
//!   a word. An agent (`SCMP_ACT_NOTIFY`) may allow it or not.
//! * A container whose handler runs cannot be checkpointed or restored: CRIU finds programs by their paths.
//! * A policy of SELinux or AppArmor has to allow the domain of the container the file of the handler (on tmpfs), as it has to for
//!   a program of the image.

mod elf;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::spec::{ValidProcess, ValidSpec};
use crate::state::Record;

/// A program that is executed in the place of a container's own. It is cheap to clone.
#[derive(Clone)]
pub struct Handler {
    name: Arc<str>,
    bytes: Arc<[u8]>,
}

impl Handler {
    /// The largest program, in bytes: 128 MiB.
    pub const LIMIT: usize = 128 << 20;
    /// The longest name, in bytes.
    const NAME_LIMIT: usize = 64;

    /// A handler with the bytes of its program. `name` is for people and for annotations: letters, digits, `.`, `_` and `-`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`]: the name is malformed, or the program is empty, too large, not for this machine, or not
    /// static.
    pub fn from_bytes(name: &str, bytes: impl Into<Arc<[u8]>>) -> Result<Self> {
        let bytes = bytes.into();
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let wrong = |reason: String| Error::invalid(format!("handler {name:?}"), reason);
        if name.is_empty() || name.len() > Self::NAME_LIMIT || !name.bytes().all(known) {
            return Err(wrong(format!(
                "a name has 1 to {} letters, digits, dots, underscores and hyphens",
                Self::NAME_LIMIT
            )));
        }
        if bytes.len() > Self::LIMIT {
            return Err(wrong(format!("its program has {} bytes, more than {}", bytes.len(), Self::LIMIT)));
        }
        elf::check(&bytes).map_err(|refusal| {
            let error = wrong(refusal.reason);
            match refusal.hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        })?;
        Ok(Self { name: name.into(), bytes })
    }

    /// As [`from_bytes`](Self::from_bytes), from a regular file of the host. What happens to the file later does not matter.
    ///
    /// # Errors
    ///
    /// Also [`ErrorKind::System`]: the file cannot be opened or read.
    pub fn open(name: &str, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |error: std::io::Error| Error::io(format!("read the handler {path:?}"), &error);
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(Error::invalid(format!("handler {path:?}"), "is not a regular file"));
        }
        let mut bytes = Vec::new();
        // One more than there may be: from_bytes refuses it.
        file.take((Self::LIMIT as u64).saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        Self::from_bytes(name, bytes)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, bytes } = self;
        f.debug_struct("Handler").field("name", name).field("bytes", &bytes.len()).finish()
    }
}

/// What an [`Executor`] gives: a handler, `None` for the container's own program, or why the process cannot be run.
///
/// An [`Error`] becomes that of the call as it is; [`Error::other`] makes one of any kind. Every other error is that of the call in
/// [`Error::get_ref`], and the kind is [`ErrorKind::Executor`].
pub type Choice = std::result::Result<Option<Handler>, Box<dyn std::error::Error + Send + Sync>>;

/// Chooses who runs a process. Each call of [`Runtime::plan`](crate::Runtime::plan) and
/// [`Container::exec`](crate::Container::exec) asks it, unless the options of the call choose.
///
/// A closure is one: `|request: &Request<'_>| Ok(None)`. So is an [`Arc`] of one, which several runtimes may share.
pub trait Executor: Send + Sync {
    /// The handler of a process, or `None` for a program of the container. An error is that of the call.
    fn choose(&self, request: &Request<'_>) -> Choice;
}

impl<T: Fn(&Request<'_>) -> Choice + Send + Sync> Executor for T {
    fn choose(&self, request: &Request<'_>) -> Choice {
        self(request)
    }
}

impl<E: Executor + ?Sized> Executor for Arc<E> {
    fn choose(&self, request: &Request<'_>) -> Choice {
        (**self).choose(request)
    }
}

/// A process that is being planned.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    id: &'a str,
    bundle: &'a Path,
    root: &'a str,
    annotations: &'a BTreeMap<String, String>,
    process: Option<&'a ValidProcess>,
    exec: bool,
}

impl<'a> Request<'a> {
    /// The first process of a container, which `spec` describes.
    pub(crate) fn first(id: &'a str, bundle: &'a Path, spec: &'a ValidSpec) -> Self {
        let process = spec.process.as_ref();
        Self { id, bundle, root: &spec.root, annotations: &spec.annotations, process, exec: false }
    }

    /// Another process of a container that exists.
    pub(crate) fn exec(id: &'a str, record: &'a Record, root: &'a str, process: &'a ValidProcess) -> Self {
        let (bundle, annotations) = (Path::new(&record.bundle), &record.annotations);
        Self { id, bundle, root, annotations, process: Some(process), exec: true }
    }

    /// The id of the container.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// The directory of the container's bundle, an absolute path.
    pub fn bundle(&self) -> &'a Path {
        self.bundle
    }

    /// The container's root file system (`root.path`), as an absolute path of the host.
    pub fn root(&self) -> PathBuf {
        self.bundle.join(self.root)
    }

    /// The value of an annotation of the container (`annotations` of `config.json`).
    pub fn annotation(&self, key: &str) -> Option<&'a str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// The arguments of the process (`process.args`).
    pub fn args(&self) -> &'a [String] {
        self.process.map_or(&[], |process| &process.args)
    }

    /// The environment of the process (`process.env`), each `NAME=VALUE`.
    pub fn env(&self) -> &'a [String] {
        self.process.map_or(&[], |process| &process.env)
    }

    /// The ids of the process's user and group in the container (`process.user.uid` and `gid`); `None` for a container without a
    /// process.
    pub fn user(&self) -> Option<(u32, u32)> {
        self.process.map(|process| (process.uid, process.gid))
    }

    /// The working directory of the process in the container (`process.cwd`); `None` for a container without a process.
    pub fn cwd(&self) -> Option<&'a str> {
        self.process.map(|process| process.cwd.as_str())
    }

    /// Whether it is another process in a container that exists, not the container's first one.
    pub fn is_exec(&self) -> bool {
        self.exec
    }
}

/// Handlers by the value of an annotation, as crun has it (`run.oci.handler=wasm`). Without the annotation a container runs its
/// own program; a value that is the name of no handler is an error. It holds for the container's first process and for all others in
/// it.
#[derive(Debug, Clone)]
pub struct Handlers {
    annotation: String,
    handlers: BTreeMap<Arc<str>, Handler>,
}

impl Handlers {
    /// No handlers yet, for the values of this annotation.
    pub fn by_annotation(key: impl Into<String>) -> Self {
        Self { annotation: key.into(), handlers: BTreeMap::new() }
    }

    /// Adds a handler, for the value that is its name. Of two with the same name, this one counts.
    #[must_use]
    pub fn with(mut self, handler: Handler) -> Self {
        self.handlers.insert(handler.name.clone(), handler);
        self
    }
}

impl Executor for Handlers {
    fn choose(&self, request: &Request<'_>) -> Choice {
        let Some(value) = request.annotation(&self.annotation) else { return Ok(None) };
        if let Some(handler) = self.handlers.get(value) {
            return Ok(Some(handler.clone()));
        }
        let known: Vec<&str> = self.handlers.keys().map(|name| &**name).collect();
        let operation = format!("choose the handler {value:?}");
        Err(Error::new(ErrorKind::Unsupported, operation)
            .reason("there is none of this name")
            .origin(format!("annotations[{:?}]", self.annotation))
            .with_hint(format!("the handlers of this runtime are {known:?}"))
            .into())
    }
}

/// Who the options of a call want to run its process.
#[derive(Debug, Clone, Default)]
pub(crate) enum Wanted {
    /// Whom the runtime's executor chooses.
    #[default]
    Chosen,
    /// A program of the container.
    Program,
    /// A handler.
    Handler(Handler),
}

impl Wanted {
    /// Asks the executor, if it is its choice.
    pub(crate) fn decide(self, executor: Option<&dyn Executor>, request: &Request<'_>) -> Result<Self> {
        match (self, executor) {
            (Self::Chosen, Some(executor)) => match executor.choose(request) {
                Ok(Some(handler)) => Ok(Self::Handler(handler)),
                Ok(None) => Ok(Self::Program),
                Err(error) => Err(refusal(error, request)),
            },
            (wanted, _) => Ok(wanted),
        }
    }

    /// The handler, if it is one.
    pub(crate) fn handler(&self) -> Option<&Handler> {
        match self {
            Self::Handler(handler) => Some(handler),
            Self::Chosen | Self::Program => None,
        }
    }
}

/// The error of an executor: one of this library stays what it is.
fn refusal(error: Box<dyn std::error::Error + Send + Sync>, request: &Request<'_>) -> Error {
    error.downcast::<Error>().map_or_else(
        |error| {
            let operation = format!("choose the handler of a process of container {}", request.id());
            Error::foreign(ErrorKind::Executor, operation, error)
        },
        |error| *error,
    )
}

#[cfg(test)]
mod tests;
