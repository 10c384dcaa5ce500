//! Record batch v2 (KIP-98): header view, validation, patches. The magic byte decides; v0 and v1
//! message sets are refused with the reason (Kafka 4 dropped them, KIP-724).

use super::error_code;
use super::record_scan::{self, Keys, Scan};
use super::records;
use crate::types::{Compression, Offset, TimestampType};

/// The attribute bit that says that the base timestamp is a delete horizon (KIP-534).
pub(super) const DELETE_HORIZON: i16 = 0x40;

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

impl BatchHeader {
    /// Reads the fields; checks only that the header's bytes are there, the magic and the length's
    /// range. The records may be missing: see `size_bytes`.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        // The magic stands at the same place in every format, and older ones may be shorter.
        if let Some(&magic) = bytes.get(16)
            && magic != 2
        {
            return Err(BatchError::BadMagic(magic as i8));
        }
        let Some(h) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { have: bytes.len(), need: HEADER_BYTES });
        };
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(field(h, 0)),
            batch_length: i32::from_be_bytes(field(h, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(h, 12)),
            magic: h[16] as i8,
            crc: u32::from_be_bytes(field(h, 17)),
            attributes: i16::from_be_bytes(field(h, 21)),
            last_offset_delta: i32::from_be_bytes(field(h, 23)),
            base_timestamp: i64::from_be_bytes(field(h, 27)),
            max_timestamp: i64::from_be_bytes(field(h, 35)),
            producer_id: i64::from_be_bytes(field(h, 43)),
            producer_epoch: i16::from_be_bytes(field(h, 51)),
            base_sequence: i32::from_be_bytes(field(h, 53)),
            record_count: i32::from_be_bytes(field(h, 57)),
        };
        if header.batch_length < (HEADER_BYTES - 12) as i32 {
            return Err(BatchError::BadLength(header.batch_length));
        }
        Ok(header)
    }
    /// Whole batch, header included.
    pub fn size_bytes(&self) -> usize {
        self.batch_length as usize + 12
    }
    pub fn last_offset(&self) -> Offset {
        self.base_offset.wrapping_add(self.last_offset_delta as i64)
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
    /// Until when the tombstones or the marker of the batch are kept: the base timestamp, once the
    /// cleaner has put it there (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }
    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }
    /// Sequence of the last record; -1 without one. After `i32::MAX` comes 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        ((self.base_sequence as i64 + self.last_offset_delta as i64) & 0x7fff_ffff) as i32
    }
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&header[at..at + N]);
    out
}

/// The attribute bits that name the codec.
pub const CODEC_BITS: i16 = 7;

/// Where the bytes under the CRC begin: after the CRC itself.
const CRC_FROM: usize = 21;

/// That `bytes` is one whole batch with the right CRC, whoever wrote it: what recovery asks of a
/// stored batch. Offsets, counts and records are not looked at.
pub fn check_crc(batch: &[u8]) -> Result<BatchHeader, BatchError> {
    let (header, body) = parse_whole(batch)?;
    check_crc_and(&header, batch, body, &mut |_| {})?;
    Ok(header)
}

/// The header of a batch that is all there, and its records as they are stored.
fn parse_whole(batch: &[u8]) -> Result<(BatchHeader, &[u8]), BatchError> {
    let header = BatchHeader::parse(batch)?;
    let need = header.size_bytes();
    match batch.get(HEADER_BYTES..need) {
        Some(body) => Ok((header, body)),
        None => Err(BatchError::Truncated { have: batch.len(), need }),
    }
}

/// So much of a batch is looked at while it is in the processor's nearer cache from its CRC.
const PIECE_BYTES: usize = 128 * 1024;

/// Also shows the records to `look`, piece by piece: whether they are what the producer wrote is known only
/// at the end.
fn check_crc_and(
    header: &BatchHeader,
    batch: &[u8],
    body: &[u8],
    look: &mut dyn FnMut(&[u8]),
) -> Result<(), BatchError> {
    let mut computed = crc32c::crc32c(&batch[CRC_FROM..HEADER_BYTES]);
    for piece in body.chunks(PIECE_BYTES) {
        computed = crc32c::crc32c_append(computed, piece);
        look(piece);
    }
    match computed == header.crc {
        true => Ok(()),
        false => Err(BatchError::BadCrc { stored: header.crc, computed }),
    }
}

/// Everything a broker checks of one batch a producer sent: length, magic, CRC, attributes,
/// base offset (0), counts against last_offset_delta, control bit, and, for uncompressed batches,
/// that the records parse and fill the batch exactly. Compressed ones are decompressed (bounded)
/// and walked the same way only when `deep`. Returns the header.
pub fn validate(batch: &[u8], deep: bool) -> Result<BatchHeader, BatchError> {
    let (header, seen) = validate_header(batch, Keys::Any)?;
    if header.compression() == Some(Compression::None) || deep {
        validate_records(&header, batch, Keys::Any, seen)?;
    }
    Ok(header)
}

/// As `validate` with `deep`, and the offset deltas of records without a key when a topic requires
/// keys: what a caller wants to know of the records costs no second decompression.
pub fn validate_produced(
    batch: &[u8],
    keys_required: bool,
) -> Result<(BatchHeader, Vec<i32>), BatchError> {
    let keys = if keys_required { Keys::Required } else { Keys::Any };
    let (header, seen) = validate_header(batch, keys)?;
    let keyless = validate_records(&header, batch, keys, seen)?;
    Ok((header, keyless))
}

/// The records of a whole batch: first the quick look, which nearly every batch passes, then the walk
/// that can say what is wrong. Returns the deltas of those without a key if keys are required.
fn validate_records(
    header: &BatchHeader,
    batch: &[u8],
    keys: Keys,
    seen: Seen,
) -> Result<Vec<i32>, BatchError> {
    let body = &batch[HEADER_BYTES..];
    let well = match seen {
        Seen::Well => true,
        Seen::Doubtful => false,
        Seen::NotYet => {
            record_scan::is_well(header, body, keys, records::decompressed_bytes_max(body.len()))?
        }
    };
    if well {
        return Ok(Vec::new());
    }
    let mut keyless = Vec::new();
    let mut expected = 0;
    records::for_each_record(batch, &mut |record| {
        let right = record.offset_delta == expected;
        expected += i32::from(right);
        if keys == Keys::Required && record.key.is_none() {
            keyless.push(record.offset_delta);
        }
        right
    })?;
    if expected != header.record_count {
        return invalid(format!("record {expected} has another offset delta"));
    }
    Ok(keyless)
}

/// What a look at the records, while their CRC was computed, has shown.
#[derive(Clone, Copy)]
enum Seen {
    Well,
    Doubtful,
    /// They are compressed.
    NotYet,
}

fn validate_header(batch: &[u8], keys: Keys) -> Result<(BatchHeader, Seen), BatchError> {
    let (header, body) = parse_whole(batch)?;
    let mut scan = Scan::new(keys);
    let plain = header.compression() == Some(Compression::None);
    let mut well = plain;
    check_crc_and(&header, batch, body, &mut |piece| well = well && scan.piece(piece))?;
    let seen = match plain {
        true if well && scan.is_all_of(&header) => Seen::Well,
        true => Seen::Doubtful,
        false => Seen::NotYet,
    };
    if batch.len() != header.size_bytes() {
        return invalid(format!(
            "{} bytes after a record batch of {}",
            batch.len() - header.size_bytes(),
            header.size_bytes()
        ));
    }
    if header.compression().is_none() {
        return invalid(format!("compression type {} does not exist", header.attributes & 7));
    }
    if header.base_offset != 0 {
        return invalid(format!(
            "base offset is {} where a producer must send 0",
            header.base_offset
        ));
    }
    if header.is_control() {
        return invalid("control batches are not for clients to write".into());
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return invalid("timestamp type LogAppendTime is not for clients to set".into());
    }
    if header.record_count <= 0 {
        return invalid(format!("record count is {}", header.record_count));
    }
    if header.last_offset_delta as i64 + 1 != header.record_count as i64 {
        return invalid(format!(
            "record count is {} but the last offset delta is {}",
            header.record_count, header.last_offset_delta
        ));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return invalid(format!(
            "base sequence is {} with producer id {}",
            header.base_sequence, header.producer_id
        ));
    }
    Ok((header, seen))
}

fn invalid<T>(message: String) -> Result<T, BatchError> {
    Err(BatchError::Invalid(message))
}

impl BatchError {
    /// Kafka's code for a produced batch with this fault.
    pub fn error_code(&self) -> i16 {
        match self {
            BatchError::Truncated { .. } | BatchError::BadLength(_) | BatchError::BadCrc { .. } => {
                error_code::CORRUPT_MESSAGE
            }
            BatchError::BadMagic(_) | BatchError::Invalid(_) => error_code::INVALID_RECORD,
            BatchError::TooLarge { .. } => error_code::MESSAGE_TOO_LARGE,
        }
    }
}

/// Splits produce data into batches; every byte must belong to a whole batch. Ends after an error.
pub fn split(records: &[u8]) -> impl Iterator<Item = Result<(BatchHeader, &[u8]), BatchError>> {
    let mut rest = records;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut rest);
        let header = match BatchHeader::parse(bytes) {
            Ok(header) => header,
            Err(e) => return Some(Err(e)),
        };
        let need = header.size_bytes();
        if bytes.len() < need {
            return Some(Err(BatchError::Truncated { have: bytes.len(), need }));
        }
        let (batch, after) = bytes.split_at(need);
        rest = after;
        Some(Ok((header, batch)))
    })
}

/// Patches base offset and partition leader epoch in place (neither is under the CRC).
pub fn patch_offset(batch: &mut [u8], base_offset: Offset, leader_epoch: i32) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Sets LogAppendTime: attribute bit 3 and max timestamp, and the new CRC.
pub fn patch_log_append_time(batch: &mut [u8], timestamp_ms: i64) {
    batch[22] |= 8;
    batch[35..43].copy_from_slice(&timestamp_ms.to_be_bytes());
    patch_crc(batch);
}

/// Writes the CRC that the bytes have now. `batch` is one whole batch.
pub fn patch_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}
