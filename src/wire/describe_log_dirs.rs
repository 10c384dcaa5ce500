//! DescribeLogDirs v1-v5. v5 (KIP-1066) adds one bool to each result of the response: whether the
//! directory is cordoned. `kafka-protocol` knows v4; the request of v5 has its bytes, the response is
//! written here from the same types plus the bools.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::frame;
use super::primitives::{Reader, Writer};
use super::produce::DecodeError;

pub const API_KEY: i16 = 35;
pub const VERSION_MIN: i16 = 1;
pub const VERSION_MAX: i16 = 5;
/// The newest version `kafka-protocol` knows.
pub const VERSION_OF_CRATE: i16 = 4;

/// A response in any version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    pub body: DescribeLogDirsResponse,
    /// By index of `body.results`; what is missing is false.
    pub cordoned: Vec<bool>,
}

impl From<DescribeLogDirsResponse> for Response {
    /// Nothing is cordoned.
    fn from(body: DescribeLogDirsResponse) -> Response {
        Response { body, cordoned: Vec::new() }
    }
}

/// 4-byte length + response header + body, any version.
pub fn encode_response(
    version: i16,
    correlation_id: i32,
    response: &Response,
) -> Result<Bytes, String> {
    if version != VERSION_MAX {
        return frame::encode_response(API_KEY, version, correlation_id, &response.body);
    }
    let mut w = Writer::frame(256, true);
    w.response_header(correlation_id);
    w.i32(response.body.throttle_time_ms);
    w.i16(response.body.error_code);
    w.count(response.body.results.len());
    for (i, result) in response.body.results.iter().enumerate() {
        w.i16(result.error_code);
        w.string(result.log_dir.as_bytes());
        w.count(result.topics.len());
        for topic in &result.topics {
            w.string(topic.name.as_bytes());
            w.count(topic.partitions.len());
            for partition in &topic.partitions {
                w.i32(partition.partition_index);
                w.i64(partition.partition_size);
                w.i64(partition.offset_lag);
                w.i8(i8::from(partition.is_future_key));
                w.no_tags();
            }
            w.no_tags();
        }
        w.i64(result.total_bytes);
        w.i64(result.usable_bytes);
        w.i8(i8::from(response.cordoned.get(i).copied().unwrap_or(false)));
        w.no_tags();
    }
    w.no_tags();
    w.finish_frame(0);
    Ok(Bytes::from(w.buf))
}

/// Body only.
pub fn decode_request(version: i16, body: &Bytes) -> Result<DescribeLogDirsRequest, String> {
    DescribeLogDirsRequest::decode(&mut body.clone(), version_of_crate(version))
        .map_err(|e| e.to_string())
}

/// Body only.
pub fn encode_request(version: i16, request: &DescribeLogDirsRequest) -> Result<Bytes, String> {
    let mut out = BytesMut::new();
    request.encode(&mut out, version_of_crate(version)).map_err(|e| e.to_string())?;
    Ok(out.freeze())
}

/// Client side, body only.
pub fn decode_response(version: i16, body: &Bytes) -> Result<Response, String> {
    if version != VERSION_MAX {
        return match DescribeLogDirsResponse::decode(&mut body.clone(), version) {
            Ok(body) => Ok(Response::from(body)),
            Err(e) => Err(e.to_string()),
        };
    }
    decode_v5(body).map_err(|e| e.to_string())
}

fn version_of_crate(version: i16) -> i16 {
    if version == VERSION_MAX { VERSION_OF_CRATE } else { version }
}

fn decode_v5(body: &Bytes) -> Result<Response, DecodeError> {
    let mut r = Reader::new(body, true);
    let mut body = DescribeLogDirsResponse::default()
        .with_throttle_time_ms(r.i32("throttle time")?)
        .with_error_code(r.i16("error code")?);
    let mut cordoned = Vec::new();
    for _ in 0..r.count(22, "result count")? {
        let mut result = DescribeLogDirsResult::default()
            .with_error_code(r.i16("error code")?)
            .with_log_dir(text(&mut r)?);
        for _ in 0..r.count(3, "topic count")? {
            result.topics.push(decode_topic(&mut r)?);
        }
        result.total_bytes = r.i64("total bytes")?;
        result.usable_bytes = r.i64("usable bytes")?;
        cordoned.push(r.i8("is cordoned")? != 0);
        r.skip_tags()?;
        body.results.push(result);
    }
    r.skip_tags()?;
    Ok(Response { body, cordoned })
}

fn decode_topic(r: &mut Reader<'_>) -> Result<DescribeLogDirsTopic, DecodeError> {
    let mut topic = DescribeLogDirsTopic::default().with_name(TopicName(text(r)?));
    for _ in 0..r.count(22, "partition count")? {
        let partition = DescribeLogDirsPartition::default()
            .with_partition_index(r.i32("partition index")?)
            .with_partition_size(r.i64("partition size")?)
            .with_offset_lag(r.i64("offset lag")?)
            .with_is_future_key(r.i8("is future key")? != 0);
        r.skip_tags()?;
        topic.partitions.push(partition);
    }
    r.skip_tags()?;
    Ok(topic)
}

fn text(r: &mut Reader<'_>) -> Result<StrBytes, DecodeError> {
    let bytes = r.string("string")?;
    StrBytes::from_utf8(bytes).or_else(|_| r.bad("string"))
}
