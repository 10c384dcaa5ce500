//! Record batch v2 (KIP-98): header view, validation, patches. The magic byte decides; v0 and v1
//! message sets are refused with the reason (Kafka 4 dropped them, KIP-724).

use crate::types::{Compression, Offset, TimestampType};

/// Bytes of a v2 batch header, including base offset and length.
pub const HEADER_BYTES: usize = 61;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes after this field: the whole batch is `batch_length + 12`.
    pub batch_length: i32,
    pub partition_leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("{have} bytes where a record batch needs {need}")]
    Truncated { have: usize, need: usize },
    #[error("record batch length {0} is out of range")]
    BadLength(i32),
    #[error("magic {0} is not supported: only record format v2 is")]
    BadMagic(i8),
    #[error("CRC-32C is {computed:08x} but the batch says {stored:08x}")]
    BadCrc { stored: u32, computed: u32 },
    #[error("{0}")]
    Invalid(String),
    #[error("records take more than {limit} bytes when decompressed")]
    TooLarge { limit: usize },
}

#[allow(unused_variables)]
impl BatchHeader {
    /// Reads the fields; checks only that the bytes are there, the magic and the length's range.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        todo!()
    }
    /// Whole batch, header included.
    pub fn size_bytes(&self) -> usize {
        self.batch_length as usize + 12
    }
    pub fn last_offset(&self) -> Offset {
        self.base_offset + self.last_offset_delta as i64
    }
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_attributes(self.attributes)
    }
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & 8 != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }
    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }
    pub fn last_sequence(&self) -> i32 {
        todo!("wraps at i32::MAX as Kafka's")
    }
}

/// Everything a broker checks of one batch a producer sent: length, magic, CRC, attributes,
/// counts against last_offset_delta, control bit, and, for uncompressed batches, that the records
/// parse and fill the batch exactly. Compressed ones are decompressed (bounded) and walked the same way
/// only when `deep`. Returns the header.
pub fn validate(batch: &[u8], deep: bool) -> Result<BatchHeader, BatchError> {
    let _ = (batch, deep);
    todo!()
}

/// Splits produce data into batches; every byte must belong to a whole batch.
pub fn split(records: &[u8]) -> impl Iterator<Item = Result<(BatchHeader, &[u8]), BatchError>> {
    let _ = records;
    std::iter::empty()
}

/// Patches base offset and partition leader epoch in place (neither is under the CRC).
pub fn patch_offset(batch: &mut [u8], base_offset: Offset, leader_epoch: i32) {
    let _ = (batch, base_offset, leader_epoch);
    todo!()
}

/// Sets LogAppendTime: attribute bit 3 and max timestamp, and the new CRC.
pub fn patch_log_append_time(batch: &mut [u8], timestamp_ms: i64) {
    let _ = (batch, timestamp_ms);
    todo!()
}
