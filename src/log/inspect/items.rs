//! What a dump is made of: a file's head, batches, records, entries; their lines as people read them, and
//! by serde as a program does. Names as Kafka's DumpLogSegments has them. Pure.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::dump::DumpOptions;
use crate::types::{Offset, TimestampType};
use crate::wire::record_batch::BatchHeader;
use crate::wire::records::RecordView;

/// Before the items of a file.
#[derive(Clone, Debug, Serialize)]
pub struct FileItem {
    pub file: PathBuf,
    /// log, index, timeindex, txnindex, snapshot, leader-epochs, offset-checkpoint, meta-properties,
    /// partition-metadata, metadata-snapshot, json, leftover or unknown.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub bytes: u64,
}

/// One line of what a file holds.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Item {
    Batch(BatchItem),
    Record(RecordItem),
    OldMessage {
        base_position: u64,
        magic: i8,
        offset: Offset,
        size: u64,
        is_valid: bool,
    },
    /// To the end of the file.
    Zeros {
        zeros_from: u64,
        size: u64,
    },
    /// An entry of a file that is not of batches: its fields, and its line.
    Entry {
        #[serde(flatten)]
        fields: serde_json::Value,
        #[serde(skip)]
        line: String,
    },
}

/// Names as DumpLogSegments has them.
#[derive(Debug, Serialize)]
pub struct BatchItem {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub count: i32,
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub partition_leader_epoch: i32,
    pub is_transactional: bool,
    pub is_control: bool,
    pub timestamp_type: &'static str,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub position: u64,
    pub size: usize,
    pub magic: i8,
    pub compress_type: &'static str,
    pub crc: u32,
    pub is_valid: bool,
}

#[derive(Debug, Serialize)]
pub struct RecordItem {
    pub offset: Offset,
    pub timestamp: i64,
    /// -1: null.
    pub key_size: i64,
    pub value_size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i32>,
    /// Names without --print-data-log, with their values else.
    pub headers: Vec<HeaderItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct HeaderItem {
    pub key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A marker in the log, by its key (KIP-98, KIP-595, KIP-630, KIP-853).
#[derive(Debug, Serialize)]
pub struct ControlItem {
    pub version: i16,
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordinator_epoch: Option<i32>,
}

fn timestamp_word(header: &BatchHeader) -> &'static str {
    match header.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

pub(super) fn batch_item(header: &BatchHeader, position: u64, is_valid: bool) -> BatchItem {
    BatchItem {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        count: header.record_count,
        base_sequence: header.base_sequence,
        last_sequence: header.last_sequence(),
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        partition_leader_epoch: header.partition_leader_epoch,
        is_transactional: header.is_transactional(),
        is_control: header.is_control(),
        timestamp_type: timestamp_word(header),
        base_timestamp: header.base_timestamp,
        max_timestamp: header.max_timestamp,
        position,
        size: header.size_bytes(),
        magic: header.magic,
        compress_type: header.compression().map_or("unknown", |c| c.name()),
        crc: header.crc,
        is_valid,
    }
}

pub(super) fn record_item(
    header: &BatchHeader,
    r: &RecordView<'_>,
    options: DumpOptions,
) -> RecordItem {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let size = |bytes: Option<&[u8]>| bytes.map_or(-1, |b| b.len() as i64);
    let payload = options.print_data_log && !header.is_control();
    let timestamp = match header.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        TimestampType::CreateTime => header.base_timestamp.saturating_add(r.timestamp_delta),
    };
    RecordItem {
        offset: header.base_offset.saturating_add(r.offset_delta.into()),
        timestamp,
        key_size: size(r.key),
        value_size: size(r.value),
        sequence: (header.base_sequence >= 0).then(|| {
            let n = i64::from(header.base_sequence) + i64::from(r.offset_delta);
            (n & 0x7fff_ffff) as i32
        }),
        headers: r
            .header_pairs()
            .map(|(key, value)| HeaderItem {
                key: text(key),
                value: value.filter(|_| payload).map(text),
            })
            .collect(),
        control: header.is_control().then(|| control_item(r)),
        key: r.key.filter(|_| payload).map(text),
        value: r.value.filter(|_| payload).map(text),
    }
}

/// The key is version and type; a transaction's marker has the coordinator's epoch in its value.
fn control_item(r: &RecordView<'_>) -> ControlItem {
    let number = |bytes: Option<&[u8]>, at: usize| {
        let two = bytes.and_then(|b| b.get(at..at + 2)).and_then(|b| b.try_into().ok());
        two.map_or(-1, i16::from_be_bytes)
    };
    let kind = match number(r.key, 2) {
        0 => "ABORT",
        1 => "COMMIT",
        2 => "LEADER_CHANGE",
        3 => "SNAPSHOT_HEADER",
        4 => "SNAPSHOT_FOOTER",
        5 => "KRAFT_VERSION",
        6 => "KRAFT_VOTERS",
        _ => "UNKNOWN",
    };
    let epoch = r.value.and_then(|v| v.get(2..6)).and_then(|b| b.try_into().ok());
    ControlItem {
        version: number(r.key, 0),
        kind,
        coordinator_epoch: epoch
            .map(i32::from_be_bytes)
            .filter(|_| kind == "ABORT" || kind == "COMMIT"),
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Batch(b) => b.fmt(f),
            Item::Record(r) => r.fmt(f),
            Item::OldMessage { base_position, magic, offset, size, is_valid } => write!(
                f,
                "offset: {offset} position: {base_position} size: {size} magic: {magic} \
                 isvalid: {is_valid} (a message format of before Kafka 0.11)"
            ),
            Item::Zeros { zeros_from, size } => {
                write!(f, "zeros from {zeros_from}, {size} bytes: preallocated, not written yet")
            }
            Item::Entry { line, .. } => f.write_str(line),
        }
    }
}

impl fmt::Display for BatchItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} \
             producerId: {} producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} \
             isControl: {} position: {} {}: {} size: {} magic: {} compresscodec: {} crc: {} \
             isvalid: {}",
            self.base_offset,
            self.last_offset,
            self.count,
            self.base_sequence,
            self.last_sequence,
            self.producer_id,
            self.producer_epoch,
            self.partition_leader_epoch,
            self.is_transactional,
            self.is_control,
            self.position,
            self.timestamp_type,
            self.max_timestamp,
            self.size,
            self.magic,
            self.compress_type,
            self.crc,
            self.is_valid
        )
    }
}

impl fmt::Display for RecordItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| offset: {} timestamp: {} keySize: {} valueSize: {}",
            self.offset, self.timestamp, self.key_size, self.value_size
        )?;
        if let Some(sequence) = self.sequence {
            write!(f, " sequence: {sequence}")?;
        }
        let header = |h: &HeaderItem| match &h.value {
            Some(value) => format!("{}={value}", h.key),
            None => h.key.clone(),
        };
        let headers: Vec<String> = self.headers.iter().map(header).collect();
        write!(f, " headerKeys: [{}]", headers.join(","))?;
        if let Some(control) = &self.control {
            write!(f, " control: {}", control.kind)?;
            if let Some(epoch) = control.coordinator_epoch {
                write!(f, " coordinatorEpoch: {epoch}")?;
            }
        }
        if let Some(key) = &self.key {
            write!(f, " key: {}", key.escape_debug())?;
        }
        if let Some(value) = &self.value {
            write!(f, " payload: {}", value.escape_debug())?;
        }
        Ok(())
    }
}
