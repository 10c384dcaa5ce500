//! A small asynchronous Kafka client on `runtime/`, for the generator, the command line and tests.
//! A connection: requests go out in order and
//! pipelined, answers are matched by correlation id and handed to the one who asked.
//! Lives on the executor that opened it (not Send). A reader and a writer task own the two halves
//! of the socket; they end when the connection is closed or its last handle is dropped.
//! Invariants: answers come in request order (Kafka's rule; anything else closes the connection);
//! every request that was accepted by `send` gets exactly one completion, an error included.
//! Not here: what the requests mean (`admin.rs`), retries, reconnecting.

pub mod admin;
mod transport;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use kafka_protocol::protocol::{Decodable, Request, StrBytes};
use smallvec::SmallVec;

use crate::runtime::mailbox::{OneshotReceiver, oneshot};
use crate::runtime::{Notify, Stream, spawn, timeout};
use crate::wire::{api_versions, frame};
use transport::{read_loop, skip_tagged_fields, write_loop};

/// Longest answer that is believed: beyond this the length is garbage.
const FRAME_BYTES_MAX: usize = 256 << 20;
/// Bytes asked of the socket at once; answers up to this size are copied out of the read buffer.
const READ_BUFFER_BYTES: usize = 64 << 10;
/// Big answers (fetches) are read into buffers that are used again; this many are kept.
const POOLED_BUFFERS: usize = 8;
/// Gathered into one write at most.
const WRITE_BYTES: usize = 1 << 20;
const WRITE_PIECES: usize = 192;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error("no connection to {addr}: {reason}")]
    Connect { addr: String, reason: String },
    #[error("the connection to {addr} ended: {reason}")]
    Closed { addr: SocketAddr, reason: String },
    #[error("{addr} did not answer {what} within {seconds} s")]
    Timeout { addr: SocketAddr, what: String, seconds: u64 },
    #[error("{what}: {}{}", error_name(*.code), detail(*.code, .message))]
    Broker { what: String, code: i16, message: Option<String> },
    #[error("{0}")]
    Protocol(String),
}

fn detail(code: i16, message: &Option<String>) -> String {
    let said = message.as_ref().map(|m| format!(" ({m})")).unwrap_or_default();
    forbidden(code).map_or(said.clone(), |why| format!("{said}: {why}"))
}

/// What to do about an answer that says that we may not.
pub fn forbidden(code: i16) -> Option<&'static str> {
    match code {
        TOPIC_AUTHORIZATION_FAILED => Some(
            "the broker's ACLs do not allow this to the principal of this connection; without TLS and SASL that is User:ANONYMOUS",
        ),
        CLUSTER_AUTHORIZATION_FAILED => Some(
            "the broker's ACLs do not allow this on the cluster to the principal of this connection; without TLS and SASL that is User:ANONYMOUS",
        ),
        _ => None,
    }
}

const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;

/// Kafka's name of an error code, as users know it from logs: `NOT_LEADER_OR_FOLLOWER`.
pub fn error_name(code: i16) -> String {
    use kafka_protocol::error::ResponseError as E;
    let camel = match E::try_from_code(code) {
        None => return "NONE".to_string(),
        Some(E::Unknown(code)) => return format!("error {code}"),
        Some(known) => format!("{known:?}"),
    };
    let mut name = String::with_capacity(camel.len() + 8);
    for (i, c) in camel.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

/// `Produce`, as Kafka names it.
fn api_name(api_key: i16) -> String {
    ApiKey::try_from(api_key).map_or(format!("API key {api_key}"), |known| format!("{known:?}"))
}

/// Who is told how a request ended.
pub enum Completion {
    /// The body of the answer (after the response header).
    Answer(Box<dyn FnOnce(Result<Bytes, ClientError>)>),
    /// Requests without an answer (produce with acks=0): handed to the socket.
    Written(WhenWritten),
}

/// A whole request frame, in pieces that are written one after the other.
pub struct RawRequest {
    pub api_key: i16,
    pub version: i16,
    /// From `Connection::next_correlation_id`, the same as in the frame's header.
    pub correlation_id: i32,
    pub pieces: SmallVec<[Bytes; 3]>,
}

/// Called once the request has left, or could not.
type WhenWritten = Box<dyn FnOnce(Result<(), ClientError>)>;

struct Outgoing {
    pieces: SmallVec<[Bytes; 3]>,
    written: Option<WhenWritten>,
}

struct Pending {
    correlation_id: i32,
    response_header_version: i16,
    done: Box<dyn FnOnce(Result<Bytes, ClientError>)>,
}

struct Shared {
    addr: SocketAddr,
    client_id: String,
    stream: Stream,
    next_correlation_id: Cell<i32>,
    pending: RefCell<VecDeque<Pending>>,
    answers: Cell<u64>,
    outgoing: RefCell<VecDeque<Outgoing>>,
    outgoing_ready: Notify,
    closed: RefCell<Option<ClientError>>,
    versions: RefCell<BTreeMap<i16, (i16, i16)>>,
}

struct Handle(Rc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close("closed on this side");
    }
}

/// A cheap handle; clones share the connection.
#[derive(Clone)]
pub struct Connection {
    handle: Rc<Handle>,
}

impl Connection {
    /// Connects, and asks which versions the broker speaks (KIP-35).
    pub async fn connect(
        addr: SocketAddr,
        client_id: &str,
        limit: Duration,
    ) -> Result<Connection, ClientError> {
        let failed = |reason: String| ClientError::Connect { addr: addr.to_string(), reason };
        let stream = match timeout(limit, Stream::connect(addr)).await {
            None => return Err(failed(format!("no answer within {} s", limit.as_secs()))),
            Some(Err(e)) => return Err(failed(e.to_string())),
            Some(Ok(stream)) => stream,
        };
        let shared = Rc::new(Shared {
            addr,
            client_id: client_id.to_string(),
            stream,
            next_correlation_id: Cell::new(1),
            pending: RefCell::default(),
            answers: Cell::new(0),
            outgoing: RefCell::default(),
            outgoing_ready: Notify::new(),
            closed: RefCell::default(),
            versions: RefCell::default(),
        });
        spawn(read_loop(shared.clone()));
        spawn(write_loop(shared.clone()));
        let connection = Connection { handle: Rc::new(Handle(shared)) };
        connection.ask_versions(limit).await?;
        Ok(connection)
    }

    fn shared(&self) -> &Rc<Shared> {
        &self.handle.0
    }

    pub fn addr(&self) -> SocketAddr {
        self.shared().addr
    }

    pub fn client_id(&self) -> &str {
        &self.shared().client_id
    }

    /// Why it is closed, if it is.
    pub fn closed(&self) -> Option<ClientError> {
        self.shared().closed.borrow().clone()
    }

    /// Ends both directions at once; whoever waits for an answer gets `ClientError::Closed`.
    pub fn close(&self, reason: &str) {
        self.shared().close(reason);
    }

    /// The highest version of an API that the broker and `ours` (min, max) share.
    pub fn version(&self, api_key: i16, ours: (i16, i16)) -> Result<i16, ClientError> {
        let theirs = self.shared().versions.borrow().get(&api_key).copied();
        let name = api_name(api_key);
        match theirs {
            None => Err(ClientError::Protocol(format!(
                "the broker at {} does not have {name}, which is needed here",
                self.addr()
            ))),
            Some((min, max)) if min > ours.1 || max < ours.0 => {
                let which = if max < ours.0 { "old" } else { "new" };
                Err(ClientError::Protocol(format!(
                    "the broker at {} is too {which}: it speaks versions {min} to {max} of {name}, this client {} to {}",
                    self.addr(),
                    ours.0,
                    ours.1
                )))
            }
            Some((_, max)) => Ok(max.min(ours.1)),
        }
    }

    /// What the broker said it speaks: (API key, (min, max)), by key.
    pub fn versions(&self) -> Vec<(i16, (i16, i16))> {
        self.shared().versions.borrow().iter().map(|(key, range)| (*key, *range)).collect()
    }

    pub fn next_correlation_id(&self) -> i32 {
        let id = self.shared().next_correlation_id.get();
        self.shared().next_correlation_id.set(if id == i32::MAX { 1 } else { id + 1 });
        id
    }

    /// Queues a frame that the caller has encoded. Never waits; completes from the reader or writer
    /// task, or at once when the connection is closed.
    pub fn send(&self, request: RawRequest, completion: Completion) {
        let shared = self.shared();
        if let Some(why) = shared.closed.borrow().clone() {
            match completion {
                Completion::Answer(done) => done(Err(why)),
                Completion::Written(done) => done(Err(why)),
            }
            return;
        }
        let written = match completion {
            Completion::Written(done) => Some(done),
            Completion::Answer(done) => {
                let versions = frame::header_versions(request.api_key, request.version);
                shared.pending.borrow_mut().push_back(Pending {
                    correlation_id: request.correlation_id,
                    response_header_version: versions.map(|(_, response)| response).unwrap_or(0),
                    done,
                });
                None
            }
        };
        shared.outgoing.borrow_mut().push_back(Outgoing { pieces: request.pieces, written });
        shared.outgoing_ready.notify_waiters();
    }

    /// Sends a frame; its answer can be waited for later.
    pub fn start(&self, request: RawRequest, what: &str) -> Asked {
        let (tell, answer) = oneshot();
        self.send(
            request,
            Completion::Answer(Box::new(move |result| {
                // Nobody listens any more when the caller gave up.
                let _ = tell.send(result);
            })),
        );
        Asked { connection: self.clone(), what: what.to_string(), answer }
    }

    /// Sends a frame and waits for the body of its answer.
    pub async fn exchange(
        &self,
        request: RawRequest,
        what: &str,
        limit: Duration,
    ) -> Result<Bytes, ClientError> {
        self.start(request, what).answer(limit).await
    }

    /// Any request of Kafka's, in a version the caller chooses.
    pub async fn call<R: Request>(
        &self,
        version: i16,
        request: &R,
        limit: Duration,
    ) -> Result<R::Response, ClientError> {
        let what = format!("{} v{version}", api_name(R::KEY));
        let mut body = self.call_raw(R::KEY, version, request, &what, limit).await?;
        R::Response::decode(&mut body, version).map_err(|e| {
            ClientError::Protocol(format!(
                "{}: the answer to {what} is malformed: {e}",
                self.addr()
            ))
        })
    }

    /// The same in the highest version that both sides know; says which it was.
    pub async fn call_latest<R: Request>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<(R::Response, i16), ClientError> {
        let version = self.version(R::KEY, (R::VERSIONS.min, R::VERSIONS.max))?;
        Ok((self.call(version, request, limit).await?, version))
    }

    async fn call_raw<R: Request>(
        &self,
        api_key: i16,
        version: i16,
        request: &R,
        what: &str,
        limit: Duration,
    ) -> Result<Bytes, ClientError> {
        let correlation_id = self.next_correlation_id();
        let frame =
            frame::encode_request(api_key, version, correlation_id, self.client_id(), request)
                .map_err(|e| ClientError::Protocol(format!("{what} can't be encoded: {e}")))?;
        let pieces = SmallVec::from_iter([frame]);
        self.exchange(RawRequest { api_key, version, correlation_id, pieces }, what, limit).await
    }

    /// Version 3 first; a broker that does not know it answers in v0 with error 35 (KIP-511).
    async fn ask_versions(&self, limit: Duration) -> Result<(), ClientError> {
        const KEY: i16 = 18;
        const UNSUPPORTED_VERSION: i16 = 35;
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("spindle"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut version = 3;
        let mut body = self.call_raw(KEY, version, &request, "ApiVersions", limit).await?;
        if body.len() >= 2 && (&body[..2]).get_i16() == UNSUPPORTED_VERSION {
            version = 0;
            body = self.call_raw(KEY, version, &request, "ApiVersions", limit).await?;
        }
        let answer = api_versions::decode_response(version, &body).map_err(|e| {
            ClientError::Protocol(format!(
                "what listens at {} does not speak Kafka's protocol: {e}",
                self.addr()
            ))
        })?;
        if answer.error_code != 0 {
            return Err(ClientError::Broker {
                what: "ApiVersions".to_string(),
                code: answer.error_code,
                message: None,
            });
        }
        *self.shared().versions.borrow_mut() =
            answer.apis.into_iter().map(|(key, min, max)| (key, (min, max))).collect();
        Ok(())
    }
}

/// A request whose answer is still to come.
pub struct Asked {
    connection: Connection,
    what: String,
    answer: OneshotReceiver<Result<Bytes, ClientError>>,
}

impl Asked {
    /// The body of the answer.
    pub async fn answer(self, limit: Duration) -> Result<Bytes, ClientError> {
        match timeout(limit, self.answer).await {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(self.connection.shared().closed_error("the request was dropped")),
            None => Err(ClientError::Timeout {
                addr: self.connection.addr(),
                what: self.what,
                seconds: limit.as_secs(),
            }),
        }
    }
}

impl Shared {
    fn closed_error(&self, otherwise: &str) -> ClientError {
        self.closed.borrow().clone().unwrap_or_else(|| ClientError::Closed {
            addr: self.addr,
            reason: otherwise.to_string(),
        })
    }

    fn close(&self, reason: &str) {
        if self.closed.borrow().is_some() {
            return;
        }
        let why = ClientError::Closed { addr: self.addr, reason: reason.to_string() };
        *self.closed.borrow_mut() = Some(why.clone());
        self.stream.shutdown();
        self.outgoing_ready.notify_waiters();
        let outgoing = self.outgoing.take();
        let pending = self.pending.take();
        for written in outgoing.into_iter().filter_map(|o| o.written) {
            written(Err(why.clone()));
        }
        for request in pending {
            (request.done)(Err(why.clone()));
        }
    }

    /// One frame, without its length.
    fn answered(&self, mut frame: Bytes) -> Result<(), String> {
        if frame.len() < 4 {
            return Err("an answer without a header".to_string());
        }
        self.answers.set(self.answers.get() + 1);
        let correlation_id = frame.get_i32();
        let Some(request) = self.pending.borrow_mut().pop_front() else {
            return Err(format!("an answer to nothing (correlation id {correlation_id})"));
        };
        let header = if request.correlation_id != correlation_id {
            Err(format!(
                "answers out of order: correlation id {correlation_id} where {} was due",
                request.correlation_id
            ))
        } else if request.response_header_version >= 1 {
            skip_tagged_fields(&mut frame).ok_or_else(|| "a malformed answer header".to_string())
        } else {
            Ok(())
        };
        match header {
            Ok(()) => {
                (request.done)(Ok(frame));
                Ok(())
            }
            Err(reason) => {
                (request.done)(Err(ClientError::Protocol(format!("{}: {reason}", self.addr))));
                Err(reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_are_kafkas() {
        assert_eq!(error_name(6), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(error_name(-1), "UNKNOWN_SERVER_ERROR");
        assert_eq!(error_name(12345), "error 12345");
    }
}
