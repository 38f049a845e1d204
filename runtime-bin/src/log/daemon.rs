//! The daemons of the machine that keep logs: journald and syslog. Both take a line as one datagram.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::Level;

use crate::error::{Error, Result};

/// Where journald listens (systemd-journald.socket).
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Where syslog listens (syslog(3)).
const SYSLOG: &str = "/dev/log";
/// The name of the program, where a daemon keeps that.
const PROGRAM: &str = "runtime";
/// LOG_USER of syslog(3), in its place.
const FACILITY_USER: u8 = 1 << 3;

/// A daemon that keeps logs.
#[derive(Debug)]
pub(super) struct Daemon {
    socket: UnixDatagram,
    form: Form,
}

/// How a line is written.
#[derive(Debug)]
enum Form {
    /// journald's native protocol; the text is its field ID.
    Journal(String),
    /// `<priority>tag[pid]: text`; the text is the tag.
    Syslog(String),
}

impl Daemon {
    /// journald; lines get the field ID with the text `id`.
    pub(super) fn journal(id: &str) -> Result<Self> {
        Self::connect(Path::new(JOURNAL), Form::Journal(id.to_owned()))
    }

    /// syslog; lines get the tag, the program's name for an empty one.
    pub(super) fn syslog(tag: &str) -> Result<Self> {
        let tag = if tag.is_empty() { PROGRAM } else { tag };
        Self::connect(Path::new(SYSLOG), Form::Syslog(tag.to_owned()))
    }

    fn connect(path: &Path, form: Form) -> Result<Self> {
        let socket = UnixDatagram::unbound().and_then(|socket| socket.connect(path).map(|()| socket));
        let socket = socket.map_err(|error| {
            Error::io(format!("connect to {path:?}"), &error).origin("--log").hint("does the daemon run?")
        })?;
        Ok(Self { socket, form })
    }

    /// Sends one line.
    pub(super) fn write(&self, level: Level, message: &str) -> std::io::Result<()> {
        self.socket.send(&self.form.datagram(level, message)).map(drop)
    }
}

impl Form {
    fn datagram(&self, level: Level, message: &str) -> Vec<u8> {
        let priority = priority(level);
        match self {
            Form::Journal(id) => {
                let mut datagram = Vec::new();
                for (name, value) in [
                    ("PRIORITY", priority.to_string().as_str()),
                    ("SYSLOG_IDENTIFIER", PROGRAM),
                    ("ID", id),
                    ("MESSAGE", message),
                ] {
                    field(&mut datagram, name, value);
                }
                datagram
            }
            Form::Syslog(tag) => {
                // One datagram is one line, whatever the message holds.
                let message = message.replace(['\n', '\0'], " ");
                let priority = FACILITY_USER | priority;
                format!("<{priority}>{tag}[{}]: {message}", std::process::id()).into_bytes()
            }
        }
    }
}

/// The level of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warning => 4,
        Level::Debug => 7,
    }
}

/// A field of journald's protocol: a value with a newline has its length before it.
fn field(datagram: &mut Vec<u8>, name: &str, value: &str) {
    datagram.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value.as_bytes());
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(form: Form, message: &str) -> Vec<u8> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("socket");
        let listener = UnixDatagram::bind(&path).expect("a socket");
        let daemon = Daemon::connect(&path, form).expect("a connection");
        daemon.write(Level::Error, message).expect("sent");
        let mut bytes = [0; 256];
        let length = listener.recv(&mut bytes).expect("a datagram");
        bytes[..length].to_vec()
    }

    #[test]
    fn journald_gets_fields() {
        let datagram = sent(Form::Journal("web".to_owned()), "no such file");
        let text = String::from_utf8(datagram).expect("text");
        assert_eq!(text, "PRIORITY=3\nSYSLOG_IDENTIFIER=runtime\nID=web\nMESSAGE=no such file\n");
        let datagram = sent(Form::Journal(String::new()), "a\nPRIORITY=0");
        // A message cannot make fields of its own.
        assert!(datagram.ends_with(b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n"), "{datagram:?}");
    }

    #[test]
    fn syslog_gets_one_line() {
        let text = String::from_utf8(sent(Form::Syslog("tag".to_owned()), "a\nb")).expect("text");
        assert_eq!(text, format!("<11>tag[{}]: a b", std::process::id()));
    }

    #[test]
    fn a_missing_daemon_is_named() {
        let error = Daemon::connect(Path::new("/nonexistent/log"), Form::Syslog(String::new()));
        let error = error.expect_err("nobody listens").to_string();
        assert!(error.starts_with("connect to \"/nonexistent/log\": no such file"), "{error}");
    }
}
