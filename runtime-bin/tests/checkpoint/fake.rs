//! A program that speaks CRIU's protocol and does next to nothing.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::socket::{MsgFlags, recv, send};

/// The number of the socket: set only for the program, not for the tests.
const SOCKET: &str = "FAKE_CRIU_SOCKET";
/// The directory in which the program notes what it was asked.
const NOTES: &str = "FAKE_CRIU_NOTES";
/// The request that fails.
const FAILS: &str = "FAKE_CRIU_FAILS";
/// The request that is never answered.
const SILENT: &str = "FAKE_CRIU_SILENT";
/// The version that it claims, as major, minor and sublevel.
const VERSION: &str = "FAKE_CRIU_VERSION";

/// A directory with such a program.
pub(crate) struct Fake {
    directory: tempfile::TempDir,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let own = std::env::current_exe().expect("a path");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = swrk ] || exit 9\n{SOCKET}=$2 {NOTES}={:?} exec {own:?} --exact fake::speaks\n",
            directory.path()
        );
        let path = directory.path().join("criu");
        fs::write(&path, script).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        Self { directory }
    }

    /// Lets a command find this program before the real one.
    pub(crate) fn found_by<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.directory.path().display()))
    }

    pub(crate) fn fails<'a>(&self, command: &'a mut Command, request: &str) -> &'a mut Command {
        self.found_by(command).env(FAILS, request)
    }

    pub(crate) fn is_silent<'a>(&self, command: &'a mut Command, request: &str) -> &'a mut Command {
        self.found_by(command).env(SILENT, request)
    }

    /// The pid of the program that was asked.
    pub(crate) fn pid(&self) -> i32 {
        let text = fs::read_to_string(self.directory.path().join("pid")).expect("a request was made");
        text.parse().expect("a pid")
    }

    pub(crate) fn has_version<'a>(&self, command: &'a mut Command, version: &str) -> &'a mut Command {
        self.found_by(command).env(VERSION, version)
    }

    /// The fields of the options of a request: numbers as text, texts as they are, pairs as `a=b`.
    pub(crate) fn fields(&self, request: &str) -> Vec<(u64, String)> {
        let text = fs::read_to_string(self.directory.path().join(request)).expect("the request was made");
        let field = |line: &str| line.split_once(' ').map(|(number, text)| (number.parse(), text.to_owned()));
        text.lines().filter_map(field).map(|(number, text)| (number.expect("a number"), text)).collect()
    }
}

/// Not a test: the program. As a test it does nothing.
#[test]
fn speaks() {
    let Ok(socket) = std::env::var(SOCKET) else { return };
    let socket = socket.parse().expect("a descriptor");
    let notes = PathBuf::from(std::env::var_os(NOTES).expect("a directory"));
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = recv(socket, &mut buffer, MsgFlags::empty()).expect("a request");
        if length == 0 {
            std::process::exit(0);
        }
        let request = fields(&buffer[..length]);
        answer(socket, &notes, number(&request, 1), bytes(&request, 2), &mut vec![0; 256]);
    }
}

fn answer(socket: i32, notes: &Path, kind: u64, options: &[u8], buffer: &mut [u8]) {
    let tell = |message: &[u8]| {
        send(socket, message, MsgFlags::empty()).expect("sent");
    };
    let (kind, name) = match kind {
        10 => return tell(&version()),
        9 => return tell(&[response(9, true), message(8, &[1 << 3, 0, 2 << 3, 1])].concat()),
        1 => (1, "DUMP"),
        2 => (2, "RESTORE"),
        4 => (4, "PRE_DUMP"),
        other => panic!("request {other}"),
    };
    note(notes, name, options);
    fs::write(notes.join("pid"), std::process::id().to_string()).expect("noted");
    if std::env::var(SILENT).is_ok_and(|silent| silent == name) {
        // As CRIU does for a process that does not run what it has put into it.
        loop {
            std::thread::park();
        }
    }
    if std::env::var(FAILS).is_ok_and(|fails| fails == name) {
        write_log(options);
        return tell(&[response(kind, false), vec![7 << 3, 22]].concat());
    }
    if name == "DUMP" && number(&fields(options), 3) == 0 {
        // As CRIU does it, unless --leave-running was given.
        let pid = nix::unistd::Pid::from_raw(number(&fields(options), 2) as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
    }
    if name == "RESTORE" {
        let pid = restored();
        for script in ["setup-namespaces", "post-restore"] {
            let told = [message(1, script.as_bytes()), number_field(2, pid)].concat();
            tell(&[response(6, true), message(5, &told)].concat());
            let length = recv(socket, buffer, MsgFlags::empty()).expect("an answer");
            assert_eq!(number(&fields(&buffer[..length]), 3), 1, "{script} is acknowledged");
        }
    }
    tell(&response(kind, true));
}

/// What stands for the restored process; it is in this program's cgroup, the container's.
fn restored() -> u64 {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    u64::from(command.spawn().expect("sleep").id())
}

fn version() -> Vec<u8> {
    let text = std::env::var(VERSION).unwrap_or_else(|_| "3.17.1".to_owned());
    let numbers: Vec<u8> = text.split('.').map(|number| number.parse().expect("a number")).collect();
    let fields = [1 << 3, numbers[0], 2 << 3, numbers[1], 4 << 3, numbers[2]];
    [response(10, true), message(10, &fields)].concat()
}

/// The log where CRIU would have it: in the work directory, or else in the image's.
fn write_log(options: &[u8]) {
    let options = fields(options);
    let directory = match number(&options, 17) {
        0 => number(&options, 1),
        work => work,
    };
    let name = String::from_utf8_lossy(bytes(&options, 10)).into_owned();
    let path = format!("/proc/{}/fd/{directory}/{name}", std::os::unix::process::parent_id());
    fs::write(path, "(00.1) a step\n(00.2) Error (fake.c:1): the reason\n(00.3) the end\n").expect("a log");
}

fn note(notes: &Path, name: &str, options: &[u8]) {
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).open(notes.join(name)).expect("a note");
    for (field, value) in fields(options) {
        let text = match (&value, field) {
            (Field::Number(number), _) => number.to_string(),
            // Pairs of a text and a text or number.
            (Field::Bytes(bytes), 11 | 23 | 25 | 27 | 39) => pair(bytes),
            (Field::Bytes(bytes), _) => String::from_utf8_lossy(bytes).into_owned(),
        };
        writeln!(file, "{field} {text}").expect("noted");
    }
}

fn pair(bytes: &[u8]) -> String {
    let text = |value: &Field<'_>| match value {
        Field::Number(number) => number.to_string(),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    };
    fields(bytes).iter().map(|(_, value)| text(value)).collect::<Vec<_>>().join("=")
}

/// A value of a protocol buffer.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn fields(mut rest: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest);
        let value = match key & 7 {
            0 => Field::Number(varint(&mut rest)),
            2 => {
                let length = varint(&mut rest) as usize;
                let (value, more) = rest.split_at(length);
                rest = more;
                Field::Bytes(value)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

fn varint(rest: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, more) = rest.split_first().expect("a byte");
        *rest = more;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
        shift += 7;
    }
}

fn number(fields: &[(u64, Field<'_>)], wanted: u64) -> u64 {
    let found = fields.iter().find(|(field, _)| *field == wanted);
    found.map_or(0, |(_, value)| if let Field::Number(number) = value { *number } else { 0 })
}

fn bytes<'a>(fields: &[(u64, Field<'a>)], wanted: u64) -> &'a [u8] {
    let found = fields.iter().find(|(field, _)| *field == wanted);
    found.map_or(&[], |(_, value)| if let Field::Bytes(bytes) = value { bytes } else { &[] })
}

fn response(kind: u8, success: bool) -> Vec<u8> {
    vec![1 << 3, kind, 2 << 3, u8::from(success)]
}

fn number_field(field: u8, mut value: u64) -> Vec<u8> {
    let mut bytes = vec![field << 3];
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn message(field: u8, content: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2, u8::try_from(content.len()).expect("short")], content].concat()
}
