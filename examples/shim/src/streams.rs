//! The standard streams of a process: FIFOs of containerd's client, files, and programs that take logs.

use std::fs::{self, File, OpenOptions};
use std::io::pipe;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, fchown};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use runtime_core::Stdio;

use crate::fault::Fault;
use crate::logger::{self, Logger};
use crate::reactor::Reactor;
use crate::relay::{Flow, Relay};

/// How long to wait for the client to open its end of a FIFO. It does so before or while it asks for the task.
const READER_LIMIT: Duration = Duration::from_secs(10);
const READER_STEP: Duration = Duration::from_millis(1);

/// What a request says about streams: paths or URIs, empty for none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) stdin: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) terminal: bool,
}

/// The streams of one process, open, before it has them.
#[derive(Default)]
pub(crate) struct Streams {
    stdin: Option<OwnedFd>,
    /// The other end of the client's FIFO: the process's input ends when the client has closed its own and asked for the end.
    held: Option<OwnedFd>,
    stdout: Option<Sink>,
    stderr: Option<Sink>,
}

/// Where output goes.
struct Sink {
    fd: OwnedFd,
    /// The reading end of a FIFO, so that a writer survives a restart of the reader.
    kept: Vec<OwnedFd>,
    /// The process gets the descriptor itself.
    direct: bool,
}

impl Streams {
    /// Opens what the names say.
    pub(crate) fn open(reactor: &Reactor, names: &Names, owner: &logger::Owner<'_>) -> Result<Self, Fault> {
        let mut streams = Self::default();
        if !names.stdin.is_empty() {
            let (read, write) = input(&names.stdin)?;
            (streams.stdin, streams.held) = (Some(read), Some(write));
        }
        // A terminal has one stream of output.
        let stderr = if names.terminal { "" } else { names.stderr.as_str() };
        if names.stdout.starts_with("binary://") {
            let Logger { stdout, stderr } = logger::start(reactor, &names.stdout, owner)?;
            let sink = |fd| Sink { fd, kept: Vec::new(), direct: !names.terminal };
            streams.stdout = Some(sink(stdout));
            streams.stderr = (!names.terminal).then(|| sink(stderr));
            return Ok(streams);
        }
        streams.stdout = sink(&names.stdout)?;
        streams.stderr = sink(stderr)?;
        Ok(streams)
    }

    /// Takes the end that keeps the client's FIFO open.
    pub(crate) fn take_held(&mut self) -> Option<OwnedFd> {
        self.held.take()
    }

    /// Makes the pipes of a process without a terminal; they belong to `owner`, if that is not the shim's user.
    pub(crate) fn pipes(
        self,
        reactor: &Reactor,
        owner: (u32, u32),
        flows: &mut Vec<Flow>,
    ) -> Result<[Stdio; 3], Fault> {
        let stdin = match self.stdin {
            None => Stdio::null(),
            Some(from) => {
                let (read, write) = pipe().map_err(|error| Fault::system("pipe", error))?;
                own(&read, owner)?;
                flows.push(Relay::start(reactor, from, write.into(), Vec::new(), None)?.of_input());
                read.into()
            }
        };
        let stdout = output(reactor, self.stdout, owner, flows)?;
        Ok([stdin, stdout, output(reactor, self.stderr, owner, flows)?])
    }

    /// Connects the master of a terminal.
    pub(crate) fn terminal(
        self,
        reactor: &Reactor,
        master: impl AsFd,
        flows: &mut Vec<Flow>,
    ) -> Result<(), Fault> {
        let copy =
            || master.as_fd().try_clone_to_owned().map_err(|error| Fault::system("dup the terminal", error));
        if let Some(stdin) = self.stdin {
            flows.push(Relay::start(reactor, stdin, copy()?, Vec::new(), None)?.of_input());
        }
        if let Some(Sink { fd, kept, direct: _ }) = self.stdout {
            flows.push(Relay::start(reactor, copy()?, fd, kept, None)?);
        }
        Ok(())
    }
}

fn output(
    reactor: &Reactor,
    sink: Option<Sink>,
    owner: (u32, u32),
    flows: &mut Vec<Flow>,
) -> Result<Stdio, Fault> {
    match sink {
        None => Ok(Stdio::null()),
        Some(Sink { fd, kept: _, direct: true }) => {
            own(&fd, owner)?;
            Ok(fd.into())
        }
        Some(Sink { fd, kept, direct: false }) => {
            let (read, write) = pipe().map_err(|error| Fault::system("pipe", error))?;
            own(&write, owner)?;
            flows.push(Relay::start(reactor, read.into(), fd, kept, None)?);
            Ok(write.into())
        }
    }
}

/// Another owner of a pipe: a root of a user namespace may then give it to its own users.
fn own(fd: impl AsFd, owner: (u32, u32)) -> Result<(), Fault> {
    if owner == (0, 0) {
        return Ok(());
    }
    fchown(fd, Some(owner.0), Some(owner.1))
        .map_err(|error| Fault::system("give a pipe to options.io_uid and options.io_gid", error))
}

fn opened(path: &str, file: std::io::Result<File>) -> Result<OwnedFd, Fault> {
    file.map(OwnedFd::from).map_err(|error| Fault::system(format!("open {path:?}"), error))
}

/// Both ends of the client's FIFO.
fn input(path: &str) -> Result<(OwnedFd, OwnedFd), Fault> {
    let nonblocking =
        |options: &mut OpenOptions| opened(path, options.custom_flags(libc::O_NONBLOCK).open(path));
    let read = nonblocking(OpenOptions::new().read(true))?;
    let write = nonblocking(OpenOptions::new().write(true))?;
    Ok((read, write))
}

fn sink(name: &str) -> Result<Option<Sink>, Fault> {
    let file = |path: &str| {
        let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
        Ok(Some(Sink { fd: opened(path, file)?, kept: Vec::new(), direct: false }))
    };
    match name.split_once("://") {
        None if name.is_empty() => Ok(None),
        None if is_fifo(name) => fifo(name).map(Some),
        None => file(name),
        Some(("fifo", path)) => fifo(path).map(Some),
        Some(("file", path)) => {
            let path = without_query(path);
            if let Some(parent) = Path::new(path).parent() {
                fs::create_dir_all(parent)
                    .map_err(|error| Fault::system(format!("make {parent:?}"), error))?;
            }
            file(path)
        }
        Some((scheme, _)) => {
            Err(Fault::invalid(format!("stream {name:?}: the scheme {scheme:?} is not known")))
        }
    }
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

fn is_fifo(path: &str) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Opens a FIFO for writing once it has a reader: what is written before would be lost if the writer ended early.
fn fifo(path: &str) -> Result<Sink, Fault> {
    let nonblocking = |options: &mut OpenOptions| options.custom_flags(libc::O_NONBLOCK).open(path);
    let end = Instant::now() + READER_LIMIT;
    let write = loop {
        match nonblocking(OpenOptions::new().write(true)) {
            Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) && Instant::now() < end => {
                std::thread::sleep(READER_STEP);
            }
            other => break opened(path, other)?,
        }
    };
    let read = opened(path, nonblocking(OpenOptions::new().read(true)))?;
    Ok(Sink { fd: write, kept: vec![read], direct: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_unknown_schemes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/log");
        let name = format!("file://{}?a=b", path.display());
        assert!(sink(&name).unwrap().is_some_and(|sink| !sink.direct));
        assert!(path.exists());
        assert!(sink("").unwrap().is_none());
        assert!(sink("http://a").err().unwrap().message.contains("\"http\""));
    }

    #[test]
    fn a_fifo_waits_for_its_reader() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let name = path.to_str().unwrap().to_owned();
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            File::open(path).map(drop).unwrap();
        });
        let begun = Instant::now();
        assert_eq!(sink(&name).unwrap().unwrap().kept.len(), 1);
        assert!(begun.elapsed() >= Duration::from_millis(40));
        reader.join().unwrap();
    }
}
