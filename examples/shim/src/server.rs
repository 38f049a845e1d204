//! The socket: clients, their requests, and the threads that serve what may take a while.

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::proto::{Code, MESSAGE_TYPE_REQUEST, Request};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{MsgFlags, recv};

use crate::fault::Fault;
use crate::reactor::{Reactor, Source, Token};
use crate::service::{self, Method};
use crate::shim::Shim;
use crate::wire::{Connection, Frame, Reply};

/// How long a client may take no bytes of an answer.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Received at once.
const PIECE: usize = 4096;

/// The service by its names: containerd 1 calls version 2, containerd 2 either; the messages are the same.
const SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

/// Serves a socket until the shim is done.
pub(crate) fn serve(shim: &Arc<Shim>, listener: UnixListener) -> Result<(), Fault> {
    listener.set_nonblocking(true).map_err(|error| Fault::system("prepare the socket", error))?;
    let reactor = shim.reactor.clone();
    reactor.add(Arc::new(Listener { shim: shim.clone(), listener }), EpollFlags::EPOLLIN)?;
    reactor.run(|| shim.done.load(Ordering::Acquire))
}

struct Listener {
    shim: Arc<Shim>,
    listener: UnixListener,
}

impl Source for Listener {
    fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    fn ready(self: Arc<Self>, reactor: &Arc<Reactor>, _: Token) {
        let accepted = self.listener.accept().and_then(|(stream, _)| {
            stream.set_write_timeout(Some(WRITE_LIMIT))?;
            Ok(stream)
        });
        let added = match accepted {
            Ok(stream) => {
                let connection = Arc::new(Connection::new(stream));
                let client = Client { shim: self.shim.clone(), connection, received: Mutex::default() };
                reactor.add(Arc::new(client), EpollFlags::EPOLLIN).map(drop)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(Fault::system("accept", error)),
        };
        if let Err(fault) = added {
            crate::log::warn(&fault.message);
        }
    }
}

struct Client {
    shim: Arc<Shim>,
    connection: Arc<Connection>,
    received: Mutex<Vec<u8>>,
}

impl Source for Client {
    fn fd(&self) -> BorrowedFd<'_> {
        self.connection.stream().as_fd()
    }

    fn ready(self: Arc<Self>, reactor: &Arc<Reactor>, token: Token) {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let mut piece = [0; PIECE];
        let count = match recv(self.fd().as_raw_fd(), &mut piece, MsgFlags::MSG_DONTWAIT) {
            Ok(count) if count > 0 => count,
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            Ok(_) | Err(_) => return reactor.remove(token),
        };
        received.extend_from_slice(piece.get(..count).unwrap_or_default());
        loop {
            match Frame::take(&mut received) {
                Ok(Some(frame)) => self.answer(frame),
                Ok(None) => break,
                Err(error) => {
                    crate::log::warn(&format!("a client's message: {error}"));
                    return reactor.remove(token);
                }
            }
        }
        // A large request is rare: an idle connection keeps no room for one.
        if received.is_empty() {
            *received = Vec::new();
        }
    }
}

impl Client {
    fn answer(&self, frame: Frame) {
        if frame.kind != MESSAGE_TYPE_REQUEST {
            return;
        }
        let reply = Reply { connection: self.connection.clone(), stream: frame.stream };
        let request = Request::parse_from_bytes(&frame.payload);
        let found = request.map_err(|error| Fault::invalid(format!("decode a request: {error}"))).and_then(
            |request| {
                let Request { service, method, payload, .. } = request;
                match Method::find(&method).filter(|_| SERVICES.contains(&service.as_str())) {
                    Some(method) => Ok((method, payload)),
                    None => {
                        Err(Fault::new(Code::UNIMPLEMENTED, format!("/{service}/{method} is not supported")))
                    }
                }
            },
        );
        match found {
            Err(fault) => reply.send(Err(fault)),
            Ok((method, payload)) if method.is_quick() => service::serve(&self.shim, method, &payload, reply),
            Ok((method, payload)) => {
                let shim = self.shim.clone();
                let refusal = reply.copy();
                let thread = std::thread::Builder::new();
                let spawned = thread.spawn(move || service::serve(&shim, method, &payload, reply));
                if let Err(error) = spawned {
                    refusal.send(Err(Fault::system("start a thread", error)));
                }
            }
        }
    }
}
