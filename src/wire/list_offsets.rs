//! ListOffsets v1-v11. v11 (KIP-1023's earliest-pending-upload timestamp) has the bytes of v10,
//! the newest that `kafka-protocol` knows; `frame::encode_response` and `frame::decode_body` do the
//! same by themselves.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use kafka_protocol::protocol::{Decodable, Encodable};

pub const API_KEY: i16 = 2;
pub const VERSION_MIN: i16 = 1;
pub const VERSION_MAX: i16 = 11;
/// The newest version `kafka-protocol` knows.
pub const VERSION_OF_CRATE: i16 = 10;

/// Body only.
pub fn decode_request(version: i16, body: &Bytes) -> Result<ListOffsetsRequest, String> {
    decode(version, body)
}

/// Body only.
pub fn encode_request(version: i16, request: &ListOffsetsRequest) -> Result<Bytes, String> {
    encode(version, request)
}

/// Body only.
pub fn decode_response(version: i16, body: &Bytes) -> Result<ListOffsetsResponse, String> {
    decode(version, body)
}

/// Body only.
pub fn encode_response(version: i16, response: &ListOffsetsResponse) -> Result<Bytes, String> {
    encode(version, response)
}

fn decode<M: Decodable>(version: i16, body: &Bytes) -> Result<M, String> {
    M::decode(&mut body.clone(), version_of_crate(version)).map_err(|e| e.to_string())
}

fn encode<M: Encodable>(version: i16, message: &M) -> Result<Bytes, String> {
    let mut out = BytesMut::new();
    message.encode(&mut out, version_of_crate(version)).map_err(|e| e.to_string())?;
    Ok(out.freeze())
}

fn version_of_crate(version: i16) -> i16 {
    if version == VERSION_MAX { VERSION_OF_CRATE } else { version }
}
