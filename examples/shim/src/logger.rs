//! `binary://`: a program of the user's own that takes the output of a container.
//!
//! It gets the output as descriptor 3, the error output as 4, and says by closing 5 that it is ready (containerd's
//! `core/runtime/v2/logging`). Its options are the query of the URI.

use std::io::{PipeReader, Read, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;

use crate::fault::Fault;
use crate::reactor::{Reactor, Source, Token};

/// How long the program may take until it is ready.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// Whose output it is: the program's environment says so.
pub(crate) struct Owner<'a> {
    pub(crate) id: &'a str,
    pub(crate) namespace: &'a str,
}

/// Where the process writes to.
pub(crate) struct Logger {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Starts the program of a URI and waits until it is ready.
pub(crate) fn start(reactor: &Reactor, uri: &str, owner: &Owner<'_>) -> Result<Logger, Fault> {
    let (program, arguments) = parse(uri)?;
    let new = || pipe().map_err(|error| Fault::system("pipe", error));
    let ((out_read, stdout), (err_read, stderr), (ready, ready_write)) = (new()?, new()?, new()?);
    let mapping = |fd: OwnedFd, number| FdMapping { parent_fd: fd, child_fd: number };
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .env("CONTAINER_ID", owner.id)
        .env("CONTAINER_NAMESPACE", owner.namespace)
        .env_remove("GLIBC_TUNABLES")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .fd_mappings(vec![
            mapping(out_read.into(), 3),
            mapping(err_read.into(), 4),
            mapping(ready_write.into(), 5),
        ])
        .map_err(|error| Fault::system(format!("give descriptors to {program:?}"), error))?;
    let child =
        command.spawn().map_err(|error| Fault::system(format!("start the logger {program:?}"), error))?;
    // The command owns the ends that the program has.
    drop(command);
    let pidfd = pidfd(&child)?;
    reactor.add(Arc::new(Ending { child: Mutex::new(child), pidfd }), EpollFlags::EPOLLIN)?;
    await_ready(ready, &program)?;
    Ok(Logger { stdout: stdout.into(), stderr: stderr.into() })
}

fn pidfd(child: &Child) -> Result<OwnedFd, Fault> {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .map_err(|error| Fault::system("pidfd_open of a logger", error))
}

fn await_ready(mut ready: PipeReader, program: &str) -> Result<(), Fault> {
    let limit = PollTimeout::try_from(READY_LIMIT).unwrap_or(PollTimeout::MAX);
    let polled = poll(&mut [PollFd::new(ready.as_fd(), PollFlags::POLLIN)], limit);
    match polled {
        Ok(0) => {
            let seconds = READY_LIMIT.as_secs();
            Err(Fault::system(
                format!("start the logger {program:?}"),
                format!("it was not ready after {seconds} s"),
            ))
        }
        // A byte or the end: both mean that it is ready, or that it has ended, which its container's output does not stop.
        _ => ready.read(&mut [0]).map(drop).map_err(|error| Fault::system("wait for a logger", error)),
    }
}

/// The program's path and its arguments: names and values of the query, one after the other.
fn parse(uri: &str) -> Result<(String, Vec<String>), Fault> {
    let rest = uri.strip_prefix("binary://").unwrap_or(uri);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let wrong = || Fault::invalid(format!("stream {uri:?}: a %-sequence is malformed"));
    let program = decode(path).ok_or_else(wrong)?;
    let mut arguments = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        arguments.push(decode(&name.replace('+', " ")).ok_or_else(wrong)?);
        let value = decode(&value.replace('+', " ")).ok_or_else(wrong)?;
        if !value.is_empty() {
            arguments.push(value);
        }
    }
    Ok((program, arguments))
}

/// RFC 3986, section 2.1.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The program: waited for when it has ended.
struct Ending {
    child: Mutex<Child>,
    pidfd: OwnedFd,
}

impl Source for Ending {
    fn fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn ready(self: Arc<Self>, reactor: &Arc<Reactor>, token: Token) {
        reactor.remove(token);
        match self.child.lock().unwrap_or_else(PoisonError::into_inner).wait() {
            Ok(status) if status.success() => {}
            Ok(status) => crate::log::warn(&format!("a logger ended: {status}")),
            Err(error) => crate::log::warn(&format!("wait for a logger: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn uris() {
        let (program, arguments) = parse("binary:///bin/log%20ger?-f=/a%2Fb&-v=&-n=one+two").unwrap();
        assert_eq!(program, "/bin/log ger");
        assert_eq!(arguments, ["-f", "/a/b", "-v", "-n", "one two"]);
        assert!(parse("binary:///a%zz").is_err());
    }

    /// The program gets both streams and the names, and is reaped at its end.
    #[test]
    fn a_program_takes_both_streams() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let script = format!(
            "binary:///bin/sh?-c=exec+5>%26-;{{+echo+$CONTAINER_ID+$CONTAINER_NAMESPACE;cat+<%263;cat+<%264;+}}+>{}",
            path.display()
        );
        let reactor = Reactor::new().unwrap();
        let logger = start(&reactor, &script, &Owner { id: "one", namespace: "ns" }).unwrap();
        std::fs::File::from(logger.stderr).write_all(b"err\n").unwrap();
        std::fs::File::from(logger.stdout).write_all(b"out\n").unwrap();
        let text = || std::fs::read_to_string(&path).unwrap_or_default();
        for _ in 0..500 {
            if text() == "one ns\nout\nerr\n" {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?}", text());
    }
}
