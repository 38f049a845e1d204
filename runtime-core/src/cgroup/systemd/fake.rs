//! A service manager for tests: it speaks D-Bus over a Unix socket and answers as it was told.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use super::address::Address;
use super::message::{FIXED_BYTES, length, read_call};
use super::value::{Value, Writer};

/// What the manager got: member and arguments of a call.
pub(super) type Got = (String, Vec<u8>);

/// A socket with somebody behind it.
pub(super) struct Fake {
    directory: tempfile::TempDir,
    pub(super) got: Receiver<Got>,
    thread: Option<JoinHandle<()>>,
}

/// The answers of a well-behaved bus to the authentication.
pub(super) const ACCEPT: &[u8] = b"DATA\r\nOK 0123456789abcdef\r\n";

impl Fake {
    /// Serves one connection: says `welcome`, then for each call what `answer` gives for serial number and
    /// member; `None` ends the connection.
    pub(super) fn serve(
        welcome: &'static [u8],
        mut answer: impl FnMut(u32, &str) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("bus")).unwrap();
        let (tell, got) = channel();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            authenticate(&mut stream);
            stream.write_all(welcome).unwrap();
            while let Some((serial, member, body)) = next_call(&mut stream) {
                let Some(bytes) = answer(serial, &member) else { return };
                tell.send((member, body)).ok();
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        Self { directory, got, thread: Some(thread) }
    }

    pub(super) fn bus(&self) -> Vec<Address> {
        vec![Address::bus(self.directory.path().join("bus"))]
    }

    pub(super) fn private(&self) -> Vec<Address> {
        vec![Address::private(self.directory.path().join("bus"))]
    }

    /// The calls, once the connection has ended.
    pub(super) fn calls(mut self) -> Vec<Got> {
        self.thread.take().unwrap().join().unwrap();
        self.got.try_iter().collect()
    }
}

fn authenticate(stream: &mut UnixStream) {
    let expected = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, expected);
}

fn next_call(stream: &mut UnixStream) -> Option<(u32, String, Vec<u8>)> {
    let mut bytes = vec![0; FIXED_BYTES];
    stream.read_exact(&mut bytes).ok()?;
    let whole = length(bytes.first_chunk()?)?;
    bytes.resize(whole, 0);
    stream.read_exact(bytes.get_mut(FIXED_BYTES..)?).ok()?;
    read_call(&bytes)
}

/// A message to a client.
fn message(kind: u8, fields: &[(u8, Value)], body: &[Value], signature: &str) -> Vec<u8> {
    let mut bytes = Writer::default();
    body.iter().for_each(|value| bytes.value(value));
    let order = if cfg!(target_endian = "big") { b'B' } else { b'l' };
    let mut writer = Writer(vec![order, kind, 1, 1]);
    writer.u32(bytes.0.len() as u32);
    writer.u32(9);
    writer.u32(0);
    for (code, value) in fields {
        writer.align(8);
        writer.0.push(*code);
        writer.signature(&value.signature());
        writer.value(value);
    }
    if !signature.is_empty() {
        writer.align(8);
        writer.0.push(8);
        writer.signature("g");
        writer.signature(signature);
    }
    let length = (writer.0.len() - FIXED_BYTES) as u32;
    writer.0[12..FIXED_BYTES].copy_from_slice(&length.to_ne_bytes());
    writer.align(8);
    writer.0.extend(bytes.0);
    writer.0
}

/// The answer to a call, without values.
pub(super) fn done(serial: u32) -> Vec<u8> {
    message(2, &[(5, Value::Uint32(serial))], &[], "")
}

/// The answer that names a job.
pub(super) fn job(serial: u32, path: &str) -> Vec<u8> {
    message(2, &[(5, Value::Uint32(serial))], &[Value::text(path)], "o")
}

/// The answer that is the value of a property.
pub(super) fn property(serial: u32, value: Value) -> Vec<u8> {
    message(2, &[(5, Value::Uint32(serial))], &[Value::Variant(Box::new(value))], "v")
}

pub(super) fn error(serial: u32, name: &str, text: &str) -> Vec<u8> {
    message(3, &[(5, Value::Uint32(serial)), (4, Value::text(name))], &[Value::text(text)], "s")
}

/// The end of a job.
pub(super) fn job_removed(path: &str, unit: &str, result: &str) -> Vec<u8> {
    let body = [Value::Uint32(1), Value::text(path), Value::text(unit), Value::text(result)];
    message(4, &[(3, Value::text("JobRemoved"))], &body, "uoss")
}
