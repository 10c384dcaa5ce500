//! A blocking client of the wire protocol for tests: one socket, one request at a time, bytes made by
//! hand where a test wants them wrong. Messages come from the `kafka-protocol` crate; batches are
//! laid out here (KIP-98's format), so that every field can lie.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse, RequestHeader, TopicName, create_topics_request, fetch_request,
    metadata_request, produce_request,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

/// Long enough for a loaded machine; no test waits for it unless something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Wire {
    pub stream: TcpStream,
    next_correlation: i32,
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// Whether somebody there answers ApiVersions.
pub fn answers(address: SocketAddr, timeout: Duration) -> bool {
    let Ok(mut wire) = Wire::connect_within(address, timeout) else { return false };
    let _ = wire.stream.set_read_timeout(Some(timeout));
    wire.api_versions().is_ok_and(|r| r.error_code == 0 && !r.api_keys.is_empty())
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Wire {
        Wire::connect_within(address, PATIENCE).expect("connect to the broker")
    }

    pub fn connect_within(address: SocketAddr, timeout: Duration) -> io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Wire { stream, next_correlation: 1 })
    }

    /// One frame: length, then the bytes.
    pub fn send_frame(&mut self, body: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(4 + body.len());
        frame.extend_from_slice(&(body.len() as i32).to_be_bytes());
        frame.extend_from_slice(body);
        self.stream.write_all(&frame)
    }

    pub fn read_frame(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = i32::from_be_bytes(length);
        if !(4..=256 * 1024 * 1024).contains(&length) {
            return Err(io::Error::other(format!("reply of {length} bytes")));
        }
        let mut body = vec![0; length as usize];
        self.stream.read_exact(&mut body)?;
        Ok(Bytes::from(body))
    }

    /// True when the broker closed this connection (without another reply).
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
            ),
        }
    }

    /// Header and body of a request, without the frame's length.
    pub fn request_bytes<R: Encodable + HeaderVersion>(
        &mut self,
        key: ApiKey,
        version: i16,
        request: &R,
    ) -> Bytes {
        let mut bytes = BytesMut::new();
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.next_correlation)
            .with_client_id(Some(StrBytes::from_static_str("spindle-tests")));
        self.next_correlation += 1;
        header.encode(&mut bytes, R::header_version(version)).expect("encode the header");
        request.encode(&mut bytes, version).expect("encode the request");
        bytes.freeze()
    }

    pub fn call<R, A>(&mut self, key: ApiKey, version: i16, request: &R) -> io::Result<A>
    where
        R: Encodable + HeaderVersion,
        A: Decodable + HeaderVersion,
    {
        let correlation = self.next_correlation;
        let bytes = self.request_bytes(key, version, request);
        self.send_frame(&bytes)?;
        let mut reply = self.read_frame()?;
        let header = kafka_protocol::messages::ResponseHeader::decode(
            &mut reply,
            A::header_version(version),
        )
        .map_err(io::Error::other)?;
        if header.correlation_id != correlation {
            return Err(io::Error::other("reply with another correlation id"));
        }
        A::decode(&mut reply, version).map_err(io::Error::other)
    }

    pub fn api_versions(&mut self) -> io::Result<ApiVersionsResponse> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("spindle-tests"))
            .with_client_software_version(StrBytes::from_static_str("1"));
        self.call(ApiKey::ApiVersions, 3, &request)
    }

    pub fn metadata(&mut self, topic: &str, create: bool) -> io::Result<MetadataResponse> {
        let topic =
            metadata_request::MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![topic]))
            .with_allow_auto_topic_creation(create);
        self.call(ApiKey::Metadata, 9, &request)
    }

    /// Error code and message of a creation.
    pub fn create_topic(&mut self, topic: &str, partitions: i32) -> io::Result<(i16, String)> {
        let topic = create_topics_request::CreatableTopic::default()
            .with_name(topic_name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let response: CreateTopicsResponse = self.call(ApiKey::CreateTopics, 5, &request)?;
        let topic = &response.topics[0];
        Ok((topic.error_code, topic.error_message.as_deref().unwrap_or("").to_owned()))
    }

    /// Waits until every partition of a new topic has a leader.
    pub fn create_topic_and_wait(&mut self, topic: &str, partitions: i32) {
        let (code, message) = self.create_topic(topic, partitions).expect("create the topic");
        assert_eq!(code, 0, "creating {topic}: {message}");
        super::wait_for("leaders of the new topic", PATIENCE, || {
            let metadata = self.metadata(topic, false).expect("metadata");
            let topic = metadata.topics.first()?;
            (topic.error_code == 0
                && topic.partitions.len() == partitions as usize
                && topic.partitions.iter().all(|p| p.error_code == 0 && p.leader_id.0 >= 0))
            .then_some(())
        });
    }

    /// acks=-1 to partition 0: (error code, base offset).
    pub fn produce(&mut self, topic: &str, records: Bytes) -> io::Result<(i16, i64)> {
        self.produce_to(topic, 0, records)
    }

    /// Error code and base offset.
    pub fn produce_to(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
    ) -> io::Result<(i16, i64)> {
        let mut request = Wire::produce_request(topic, records);
        request.topic_data[0].partition_data[0].index = partition;
        let response: ProduceResponse = self.call(ApiKey::Produce, 9, &request)?;
        let partition = &response.responses[0].partition_responses[0];
        Ok((partition.error_code, partition.base_offset))
    }

    pub fn produce_request(topic: &str, records: Bytes) -> ProduceRequest {
        let partition = produce_request::PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(records));
        let topic = produce_request::TopicProduceData::default()
            .with_name(topic_name(topic))
            .with_partition_data(vec![partition]);
        ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic])
    }

    /// Of one partition, without a session; waits half a second for a first byte.
    pub fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
        let partition = fetch_request::FetchPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(1024 * 1024);
        let topic = fetch_request::FetchTopic::default()
            .with_topic(topic_name(topic))
            .with_partitions(vec![partition]);
        FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_max_bytes(50 * 1024 * 1024)
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(vec![topic])
    }

    /// One fetch without a session: (error code, high watermark, bytes).
    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> io::Result<(i16, i64, Bytes)> {
        let request = Wire::fetch_request(topic, partition, offset);
        let response: FetchResponse = self.call(ApiKey::Fetch, 11, &request)?;
        if response.error_code != 0 {
            return Ok((response.error_code, -1, Bytes::new()));
        }
        let partition = &response.responses[0].partitions[0];
        let records = partition.records.clone().unwrap_or_default();
        Ok((partition.error_code, partition.high_watermark, records))
    }
}

/// A record batch whose every field may be wrong.
#[derive(Clone)]
pub struct Batch {
    pub length_delta: i32,
    pub magic: i8,
    pub crc_xor: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub record_count: i32,
    pub timestamp_ms: i64,
    pub body: Vec<u8>,
}

impl Batch {
    /// An honest batch of records with these values and no keys.
    pub fn of(values: &[&[u8]]) -> Batch {
        let mut body = Vec::new();
        for (i, value) in values.iter().enumerate() {
            put_record(&mut body, i as i32, value.len() as i64, value);
        }
        Batch::with_body(values.len() as i32, 0, body)
    }

    pub fn with_body(record_count: i32, attributes: i16, body: Vec<u8>) -> Batch {
        Batch {
            length_delta: 0,
            magic: 2,
            crc_xor: 0,
            attributes,
            last_offset_delta: record_count - 1,
            record_count,
            timestamp_ms: super::now_ms(),
            body,
        }
    }

    pub fn bytes(&self) -> Bytes {
        let mut tail = BytesMut::new();
        tail.put_i16(self.attributes);
        tail.put_i32(self.last_offset_delta);
        tail.put_i64(self.timestamp_ms);
        tail.put_i64(self.timestamp_ms);
        tail.put_i64(-1);
        tail.put_i16(-1);
        tail.put_i32(-1);
        tail.put_i32(self.record_count);
        tail.put_slice(&self.body);
        let mut bytes = BytesMut::new();
        bytes.put_i64(0);
        bytes.put_i32(9 + tail.len() as i32 + self.length_delta);
        bytes.put_i32(-1);
        bytes.put_i8(self.magic);
        bytes.put_u32(crc32c::crc32c(&tail) ^ self.crc_xor);
        bytes.put_slice(&tail);
        bytes.freeze()
    }
}

/// One record of a batch; `value_length` is what it claims, `value` what it has.
pub fn put_record(body: &mut Vec<u8>, offset_delta: i32, value_length: i64, value: &[u8]) {
    let mut record = vec![0];
    put_varint(&mut record, 0);
    put_varint(&mut record, i64::from(offset_delta));
    put_varint(&mut record, -1);
    put_varint(&mut record, value_length);
    record.extend_from_slice(value);
    put_varint(&mut record, 0);
    put_varint(body, record.len() as i64);
    body.extend_from_slice(&record);
}

pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push((zigzag as u8) | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

/// The attributes of every batch in a fetch's bytes; a batch cut off at the end is left out.
pub fn batch_attributes(mut bytes: &[u8]) -> Vec<i16> {
    let mut attributes = Vec::new();
    while bytes.len() >= 61 {
        let length = i32::from_be_bytes(bytes[8..12].try_into().expect("four bytes"));
        let end = 12 + usize::try_from(length).expect("a length that is not negative");
        if end > bytes.len() {
            break;
        }
        attributes.push(i16::from_be_bytes(bytes[21..23].try_into().expect("two bytes")));
        bytes = &bytes[end..];
    }
    attributes
}
