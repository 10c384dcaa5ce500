//! Length-prefixed frames and request/response headers, in every header version.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable};

use super::produce::DecodeError;
use super::{describe_log_dirs, list_offsets, primitives, request_shape};

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
    #[error("request of API key {api_key} version {version}: {error}")]
    Malformed { api_key: i16, version: i16, error: DecodeError },
}

const API_VERSIONS: i16 = 18;
const API_VERSIONS_MAX: i16 = 4;

/// The frame without its 4-byte length. The header version depends on (key, version); for a version
/// of ApiVersions that we do not know the header is still read as far as the client id.
/// The body's counts are checked against its bytes, so that decoding it can't reserve memory for
/// elements that are not there.
pub fn decode_request(frame: Bytes) -> Result<Request, FrameError> {
    let fixed = frame.first_chunk::<10>().ok_or(FrameError::TruncatedHeader)?;
    let i16_at = |at: usize| i16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let api_key = i16_at(0);
    let api_version = i16_at(2);
    let correlation_id = i32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    let client_id_len = i16_at(8);
    let (request_header, _) =
        header_versions(api_key, api_version).ok_or(FrameError::UnknownApi(api_key))?;

    let mut body = frame.slice(10..);
    let client_id = match client_id_len {
        -1 => None,
        len if len >= 0 && len as usize <= body.len() => Some(body.split_to(len as usize)),
        _ => return Err(FrameError::TruncatedHeader),
    };
    let known = api_key != API_VERSIONS || (0..=API_VERSIONS_MAX).contains(&api_version);
    if request_header >= 2 && known {
        skip_tags(&mut body).ok_or(FrameError::TruncatedHeader)?;
    }
    if known {
        request_shape::check(api_key, api_version, &body)
            .map_err(|error| FrameError::Malformed { api_key, version: api_version, error })?;
    }
    Ok(Request { api_key, api_version, correlation_id, client_id, body })
}

fn skip_tags(bytes: &mut Bytes) -> Option<()> {
    let count = uvarint(bytes)?;
    for _ in 0..count {
        uvarint(bytes)?;
        let len = uvarint(bytes)? as usize;
        if len > bytes.len() {
            return None;
        }
        let _ = bytes.split_to(len);
    }
    Some(())
}

fn uvarint(bytes: &mut Bytes) -> Option<u32> {
    primitives::uvarint(|| bytes.has_remaining().then(|| bytes.get_u8()))
}

/// Whether (key, version) uses flexible headers: (request header version, response header version).
/// ApiVersions responses always have header v0 (KIP-511).
pub fn header_versions(api_key: i16, api_version: i16) -> Option<(i16, i16)> {
    let key = ApiKey::try_from(api_key).ok()?;
    let response =
        if api_key == API_VERSIONS { 0 } else { key.response_header_version(api_version) };
    Some((key.request_header_version(api_version), response))
}

/// The version that `kafka-protocol` knows a request by: where Kafka added a version whose bytes are
/// those of the one before, that one.
fn request_version(api_key: i16, api_version: i16) -> i16 {
    match (api_key, api_version) {
        (list_offsets::API_KEY, list_offsets::VERSION_MAX) => list_offsets::VERSION_OF_CRATE,
        (describe_log_dirs::API_KEY, describe_log_dirs::VERSION_MAX) => {
            describe_log_dirs::VERSION_OF_CRATE
        }
        _ => api_version,
    }
}

/// As `request_version`. DescribeLogDirs v5 is not among them: its response has a new field.
fn response_version(api_key: i16, api_version: i16) -> i16 {
    match (api_key, api_version) {
        (list_offsets::API_KEY, list_offsets::VERSION_MAX) => list_offsets::VERSION_OF_CRATE,
        _ => api_version,
    }
}

/// The body of a request that `decode_request` gave, in any version we serve.
pub fn decode_body<M: Decodable>(request: &Request) -> Result<M, String> {
    let version = request_version(request.api_key, request.api_version);
    M::decode(&mut request.body.clone(), version).map_err(|e| e.to_string())
}

/// 4-byte length + response header + `body`, as one buffer.
pub fn encode_response<M: Encodable>(
    api_key: i16,
    api_version: i16,
    correlation_id: i32,
    body: &M,
) -> Result<Bytes, String> {
    let (_, header) = versions_or_error(api_key, api_version)?;
    let mut frame = BytesMut::with_capacity(256);
    frame.put_i32(0);
    frame.put_i32(correlation_id);
    if header >= 1 {
        frame.put_u8(0);
    }
    finish(frame, response_version(api_key, api_version), body)
}

/// 4-byte length + request header (right header version) + body: for clients (load generator).
pub fn encode_request<M: Encodable>(
    api_key: i16,
    api_version: i16,
    correlation_id: i32,
    client_id: &str,
    body: &M,
) -> Result<Bytes, String> {
    let (header, _) = versions_or_error(api_key, api_version)?;
    let client_id_len = i16::try_from(client_id.len())
        .map_err(|_| format!("client id of {} bytes, at most 32767 fit", client_id.len()))?;
    let mut frame = BytesMut::with_capacity(256);
    frame.put_i32(0);
    frame.put_i16(api_key);
    frame.put_i16(api_version);
    frame.put_i32(correlation_id);
    frame.put_i16(client_id_len);
    frame.put_slice(client_id.as_bytes());
    if header >= 2 {
        frame.put_u8(0);
    }
    finish(frame, request_version(api_key, api_version), body)
}

fn versions_or_error(api_key: i16, api_version: i16) -> Result<(i16, i16), String> {
    header_versions(api_key, api_version).ok_or_else(|| format!("API key {api_key} is unknown"))
}

fn finish<M: Encodable>(mut frame: BytesMut, version: i16, body: &M) -> Result<Bytes, String> {
    body.encode(&mut frame, version).map_err(|e| e.to_string())?;
    let len = i32::try_from(frame.len() - 4).map_err(|e| e.to_string())?;
    frame[..4].copy_from_slice(&len.to_be_bytes());
    Ok(frame.freeze())
}
