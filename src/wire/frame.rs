//! Length-prefixed frames and request/response headers, in every header version.

use bytes::Bytes;

/// A request's header, decoded; `body` is the rest of the frame (zero copy).
#[derive(Clone, Debug)]
pub struct Request {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Bytes>,
    pub body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error(
        "frame length {0} is not in [8, {1}]: raise socket.request.max.bytes if it is a real request"
    )]
    BadLength(i32, usize),
    #[error("truncated request header")]
    TruncatedHeader,
    #[error("API key {0} is unknown")]
    UnknownApi(i16),
}

/// The frame without its 4-byte length. The header version depends on (key, version); for a version
/// of ApiVersions that we do not know the header is still read as far as the client id.
pub fn decode_request(frame: Bytes) -> Result<Request, FrameError> {
    let _ = frame;
    todo!()
}

/// Whether (key, version) uses flexible headers: (request header version, response header version).
/// ApiVersions responses always have header v0 (KIP-511).
pub fn header_versions(api_key: i16, api_version: i16) -> Option<(i16, i16)> {
    let _ = (api_key, api_version);
    todo!()
}

/// 4-byte length + response header + `body`, as one buffer.
pub fn encode_response<M: kafka_protocol::protocol::Encodable>(
    api_key: i16,
    api_version: i16,
    correlation_id: i32,
    body: &M,
) -> Result<Bytes, String> {
    let _ = (api_key, api_version, correlation_id, body);
    todo!()
}

/// 4-byte length + request header (right header version) + body: for clients (load generator).
pub fn encode_request<M: kafka_protocol::protocol::Encodable>(
    api_key: i16,
    api_version: i16,
    correlation_id: i32,
    client_id: &str,
    body: &M,
) -> Result<Bytes, String> {
    let _ = (api_key, api_version, correlation_id, client_id, body);
    todo!()
}
