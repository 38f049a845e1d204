//! ttrpc: a header of ten bytes, then a message in protocol buffers.
//!
//! The messages are those of containerd's crates. The transport is written here, since theirs has a pool of threads for
//! each connection and holds one of them for as long as a `Wait` waits; `README.md` has the figures.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use containerd_shim_protos::protobuf::{EnumOrUnknown, Message};
use containerd_shim_protos::ttrpc::proto::{
    Code, MESSAGE_HEADER_LENGTH, MESSAGE_LENGTH_MAX, MESSAGE_TYPE_REQUEST, MESSAGE_TYPE_RESPONSE,
    MessageHeader, Response, Status,
};

use crate::fault::Fault;

/// One message and the number of its conversation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) stream: u32,
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn request(stream: u32, payload: Vec<u8>) -> Self {
        Self { stream, kind: MESSAGE_TYPE_REQUEST, payload }
    }

    fn response(stream: u32, payload: Vec<u8>) -> Self {
        Self { stream, kind: MESSAGE_TYPE_RESPONSE, payload }
    }

    /// Takes the first whole frame out of what has been received.
    pub(crate) fn take(bytes: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let Some(header) = bytes.get(..MESSAGE_HEADER_LENGTH).map(MessageHeader::from) else {
            return Ok(None);
        };
        let length = checked(&header)?;
        let end = MESSAGE_HEADER_LENGTH + length;
        if bytes.len() < end {
            return Ok(None);
        }
        let payload = bytes.drain(..end).skip(MESSAGE_HEADER_LENGTH).collect();
        Ok(Some(Self { stream: header.stream_id, kind: header.type_, payload }))
    }

    /// Reads one frame, and waits for it.
    pub(crate) fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut header = [0; MESSAGE_HEADER_LENGTH];
        stream.read_exact(&mut header)?;
        let header = MessageHeader::from(header);
        let mut payload = vec![0; checked(&header)?];
        stream.read_exact(&mut payload)?;
        Ok(Self { stream: header.stream_id, kind: header.type_, payload })
    }

    /// Header and message in one write.
    pub(crate) fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let length = u32::try_from(self.payload.len()).map_err(io::Error::other)?;
        let header = MessageHeader { length, stream_id: self.stream, type_: self.kind, flags: 0 };
        let mut bytes: Vec<u8> = header.into();
        bytes.extend_from_slice(&self.payload);
        stream.write_all(&bytes)
    }
}

fn checked(header: &MessageHeader) -> io::Result<usize> {
    let length = header.length as usize;
    if length > MESSAGE_LENGTH_MAX {
        return Err(io::Error::other(format!(
            "a message of {length} bytes; {MESSAGE_LENGTH_MAX} are allowed"
        )));
    }
    Ok(length)
}

/// A client's connection, to which several threads write.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    writing: Mutex<()>,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, writing: Mutex::new(()) }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        frame.write(&mut &self.stream)
    }
}

/// The place where the answer of one request goes. It may be kept for as long as a `Wait` waits.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) connection: Arc<Connection>,
    pub(crate) stream: u32,
}

impl Reply {
    /// The same place, for one of two answers.
    pub(crate) fn copy(&self) -> Self {
        Self { connection: self.connection.clone(), stream: self.stream }
    }

    /// Sends the answer. A client that has gone does not get it, and asks again after its restart.
    pub(crate) fn send(self, answer: Result<Vec<u8>, Fault>) {
        let mut response = Response::new();
        let code = match answer {
            Ok(payload) => {
                response.payload = payload;
                (Code::OK, String::new())
            }
            Err(Fault { code, message }) => (code, message),
        };
        let status = Status { code: EnumOrUnknown::new(code.0), message: code.1, ..Status::default() };
        response.status = Some(status).into();
        match response.write_to_bytes() {
            Ok(payload) => drop(self.connection.send(&Frame::response(self.stream, payload))),
            Err(error) => crate::log::error(&format!("encode an answer: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_any_pieces() {
        let mut bytes = Vec::new();
        for (stream, payload) in [(1, b"one".to_vec()), (3, Vec::new())] {
            Frame::request(stream, payload).write(&mut bytes).unwrap();
        }
        assert_eq!(Frame::read(&mut bytes.as_slice()).unwrap(), Frame::request(1, b"one".to_vec()));
        let mut received = Vec::new();
        let mut frames = Vec::new();
        for byte in bytes {
            received.push(byte);
            frames.extend(Frame::take(&mut received).unwrap());
        }
        assert_eq!(frames, [Frame::request(1, b"one".to_vec()), Frame::request(3, Vec::new())]);
        assert!(received.is_empty());
    }

    #[test]
    fn a_message_has_a_largest_size() {
        let mut bytes = vec![0xff; MESSAGE_HEADER_LENGTH];
        assert!(Frame::take(&mut bytes).unwrap_err().to_string().contains("allowed"));
    }
}
