//! Events for containerd: what has happened to tasks, in order, over its ttrpc socket.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use containerd_shim_protos::protobuf::{self, Message};
use containerd_shim_protos::shim::event::Envelope;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::ttrpc::proto::Request;

use crate::wire::Frame;

/// How many events are kept while containerd is away; each has some hundred bytes.
const KEPT: usize = 4096;
/// How long to wait before containerd is called again, and how often: a restart takes some seconds, an upgrade a minute.
const PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 1200;
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Sends events in the order of their publication. While there are none it has no thread and no connection.
pub(crate) struct Publisher {
    /// The path of containerd's socket.
    socket: String,
    namespace: String,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Vec<u8>>,
    /// Whether a thread is sending.
    sending: bool,
}

impl Publisher {
    pub(crate) fn new(socket: &str, namespace: &str) -> Arc<Self> {
        let socket = socket.strip_prefix("unix://").unwrap_or(socket).to_owned();
        Arc::new(Self { socket, namespace: namespace.to_owned(), queue: Mutex::default() })
    }

    /// Puts an event behind the others and returns at once. `kind` is the message's full name.
    pub(crate) fn publish(self: &Arc<Self>, topic: &str, kind: &str, event: &impl Message) {
        crate::log::debug(&format!("publish {topic}"));
        match self.request(topic, kind, event) {
            Ok(bytes) => self.enqueue(bytes),
            Err(error) => crate::log::error(&format!("encode the event {topic}: {error}")),
        }
    }

    fn request(&self, topic: &str, kind: &str, event: &impl Message) -> protobuf::Result<Vec<u8>> {
        let event = Any { type_url: kind.to_owned(), value: event.write_to_bytes()?, ..Any::default() };
        let envelope = Envelope {
            timestamp: Some(Timestamp::now()).into(),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(event).into(),
            ..Envelope::default()
        };
        let request = Request {
            service: "containerd.services.events.ttrpc.v1.Events".to_owned(),
            method: "Forward".to_owned(),
            payload: ForwardRequest { envelope: Some(envelope).into(), ..ForwardRequest::default() }
                .write_to_bytes()?,
            ..Request::default()
        };
        request.write_to_bytes()
    }

    fn enqueue(self: &Arc<Self>, bytes: Vec<u8>) {
        let mut queue = self.locked();
        if queue.events.len() >= KEPT {
            crate::log::error("containerd takes no events: the oldest is dropped");
            queue.events.pop_front();
        }
        queue.events.push_back(bytes);
        if queue.sending {
            return;
        }
        let publisher = self.clone();
        queue.sending = std::thread::Builder::new().spawn(move || publisher.send_all()).is_ok();
    }

    fn send_all(&self) {
        let mut failures = 0;
        loop {
            let next = {
                let mut queue = self.locked();
                let next = queue.events.front().cloned();
                queue.sending = next.is_some();
                next
            };
            let Some(event) = next else { return };
            match self.send(event) {
                Ok(()) => failures = 0,
                Err(error) if failures < ATTEMPTS => {
                    crate::log::debug(&format!("publish: {error}"));
                    failures += 1;
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(error) => crate::log::error(&format!("an event is lost: {error}")),
            }
            self.locked().events.pop_front();
        }
    }

    fn send(&self, event: Vec<u8>) -> std::io::Result<()> {
        let mut stream = self.connect()?;
        Frame::request(1, event).write(&mut stream)?;
        // A refusal would be the same again, so only the answer's arrival counts.
        Frame::read(&mut stream).map(drop)
    }

    fn connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(stream)
    }

    /// Whether all events have been sent.
    pub(crate) fn is_idle(&self) -> bool {
        !self.locked().sending
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use containerd_shim_protos::events::task::TaskPaused;
    use std::os::unix::net::UnixListener;

    /// Events that are published while nobody listens arrive later, in their order.
    #[test]
    fn in_order_and_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let publisher = Publisher::new(&format!("unix://{}", path.display()), "ns");
        for id in ["a", "b", "c"] {
            let event = TaskPaused { container_id: id.to_owned(), ..TaskPaused::default() };
            publisher.publish("/tasks/paused", "containerd.events.TaskPaused", &event);
        }
        assert!(!publisher.is_idle());
        let listener = UnixListener::bind(&path).unwrap();
        let mut ids = Vec::new();
        while ids.len() < 3 {
            let (mut stream, _) = listener.accept().unwrap();
            let frame = Frame::read(&mut stream).unwrap();
            let request = Request::parse_from_bytes(&frame.payload).unwrap();
            let forwarded = ForwardRequest::parse_from_bytes(&request.payload).unwrap();
            let event = &forwarded.envelope.event;
            assert_eq!(forwarded.envelope.namespace, "ns");
            ids.push(TaskPaused::parse_from_bytes(&event.value).unwrap().container_id);
            Frame::request(frame.stream, Vec::new()).write(&mut stream).unwrap();
        }
        assert_eq!(ids, ["a", "b", "c"]);
    }
}
