//! The records inside a batch: a borrowing iterator over (decompressed) bytes, and a builder that
//! makes batches (for the load generator, the metadata log and tests).
//! A record costs the builder no allocation, a batch one.

use std::cell::Cell;

use super::compression;
use super::record_batch::{self, BatchError, BatchHeader, HEADER_BYTES};
use crate::limits::{DECOMPRESSED_BATCH_BYTES, DECOMPRESSED_RATIO};
use crate::types::Compression;

/// One record, borrowed from decompressed batch bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    pub offset_delta: i32,
    pub timestamp_delta: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Encoded headers, after their count.
    pub headers: &'a [u8],
    pub header_count: i32,
}

impl<'a> RecordView<'a> {
    /// The headers in order: key and value. They were checked when the record was read.
    pub fn header_pairs(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut cursor = Cursor { bytes: self.headers, at: 0 };
        (0..self.header_count).map_while(move |_| cursor.header().ok())
    }
}

thread_local! {
    /// Decompressed records of the last batch; taken while in use, so a callback may come back here.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Scratch beyond this is given back after use.
const SCRATCH_BYTES_KEPT: usize = 2 * 1024 * 1024;

/// The records of one batch, decompressed: they may be walked more than once.
pub struct Body<'a> {
    bytes: &'a [u8],
    record_count: i32,
}

impl Body<'_> {
    /// Calls `f` for each record; stops early when it returns false.
    pub fn for_each(&self, f: &mut dyn FnMut(RecordView<'_>) -> bool) -> Result<(), BatchError> {
        walk(self.bytes, self.record_count, f)
    }
}

/// What the records of a batch may take when they are decompressed.
pub(super) fn decompressed_bytes_max(body_len: usize) -> usize {
    DECOMPRESSED_BATCH_BYTES.max(body_len.saturating_mul(DECOMPRESSED_RATIO))
}

/// Calls `f` with the header and the records of a whole batch, decompressing into a bounded buffer
/// when needed.
pub fn with_body<T>(
    batch: &[u8],
    f: impl FnOnce(&BatchHeader, Body<'_>) -> Result<T, BatchError>,
) -> Result<T, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let need = header.size_bytes();
    let record_count = header.record_count;
    let Some(body) = batch.get(HEADER_BYTES..need) else {
        return Err(BatchError::Truncated { have: batch.len(), need });
    };
    match header.compression() {
        Some(Compression::None) => f(&header, Body { bytes: body, record_count }),
        Some(codec) => {
            let mut scratch = SCRATCH.take();
            scratch.clear();
            let limit = decompressed_bytes_max(body.len());
            let done = compression::decompress(codec, body, &mut scratch, limit)
                .and_then(|()| f(&header, Body { bytes: &scratch, record_count }));
            if scratch.capacity() <= SCRATCH_BYTES_KEPT {
                SCRATCH.set(scratch);
            }
            done
        }
        None => invalid(format!("compression type {} does not exist", header.attributes & 7)),
    }
}

/// Calls `f` for each record of a whole batch (header included), decompressing into a bounded
/// buffer when needed; stops early when `f` returns false.
pub fn for_each_record(
    batch: &[u8],
    f: &mut dyn FnMut(RecordView<'_>) -> bool,
) -> Result<(), BatchError> {
    with_body(batch, |_, body| body.for_each(f))
}

/// The batch with its records in another codec, at Kafka's default level unless one is given: what a broker
/// stores when the topic's compression.type is not the producer's. The records themselves, and all
/// else that the header says, stay as they are.
pub fn recompress(
    batch: &[u8],
    codec: Compression,
    level: Option<i32>,
) -> Result<Vec<u8>, BatchError> {
    with_body(batch, |header, body| {
        let mut out = Vec::with_capacity(HEADER_BYTES + body.bytes.len());
        out.extend_from_slice(&batch[..HEADER_BYTES]);
        compression::compress_at(codec, level, body.bytes, &mut out);
        let attributes = (header.attributes & !record_batch::CODEC_BITS) | codec as i16;
        out[21..23].copy_from_slice(&attributes.to_be_bytes());
        let batch_length = (out.len() - 12) as i32;
        out[8..12].copy_from_slice(&batch_length.to_be_bytes());
        record_batch::patch_crc(&mut out);
        Ok(out)
    })
}

fn invalid<T>(message: String) -> Result<T, BatchError> {
    Err(BatchError::Invalid(message))
}

fn walk(
    body: &[u8],
    record_count: i32,
    f: &mut dyn FnMut(RecordView<'_>) -> bool,
) -> Result<(), BatchError> {
    let mut cursor = Cursor { bytes: body, at: 0 };
    for index in 0..record_count {
        match cursor.record() {
            Ok(record) => {
                if !f(record) {
                    return Ok(());
                }
            }
            Err(what) => {
                return invalid(format!(
                    "record {index} of {record_count}: bad {what} at byte {} of {}",
                    cursor.at,
                    body.len()
                ));
            }
        }
    }
    if cursor.at != body.len() {
        return invalid(format!(
            "{} bytes remain after {record_count} records",
            body.len() - cursor.at
        ));
    }
    Ok(())
}

/// Reads record fields; an error is the name of the field.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Field<T> = Result<T, &'static str>;

impl<'a> Cursor<'a> {
    fn varlong(&mut self, bits: u32, what: &'static str) -> Field<i64> {
        // One byte is by far the most frequent.
        let mut value = 0u64;
        let mut shift = 0;
        while shift < bits {
            let Some(&byte) = self.bytes.get(self.at) else { return Err(what) };
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
            shift += 7;
        }
        Err(what)
    }

    fn varint(&mut self, what: &'static str) -> Field<i32> {
        i32::try_from(self.varlong(32, what)?).map_err(|_| what)
    }

    fn take(&mut self, len: i32, what: &'static str) -> Field<&'a [u8]> {
        let slice = usize::try_from(len)
            .ok()
            .and_then(|len| self.bytes[self.at..].get(..len))
            .ok_or(what)?;
        self.at += slice.len();
        Ok(slice)
    }

    /// Any negative length is null, as in Kafka.
    fn nullable(&mut self, what: &'static str) -> Field<Option<&'a [u8]>> {
        match self.varint(what)? {
            len if len < 0 => Ok(None),
            len => self.take(len, what).map(Some),
        }
    }

    fn header(&mut self) -> Field<(&'a [u8], Option<&'a [u8]>)> {
        let key_len = self.varint("header key length")?;
        let key = self.take(key_len, "header key")?;
        Ok((key, self.nullable("header value")?))
    }

    fn record(&mut self) -> Field<RecordView<'a>> {
        let len = self.varint("record length")?;
        let record = self.take(len, "record length")?;
        let mut cursor = Cursor { bytes: record, at: 0 };
        let parsed = cursor.fields();
        if parsed.is_err() {
            self.at = self.at - record.len() + cursor.at;
        }
        parsed
    }

    fn fields(&mut self) -> Field<RecordView<'a>> {
        self.take(1, "record attributes")?;
        let timestamp_delta = self.varlong(64, "timestamp delta")?;
        let offset_delta = self.varint("offset delta")?;
        let key = self.nullable("key")?;
        let value = self.nullable("value")?;
        let header_count = self.varint("header count")?;
        if header_count < 0 || header_count as usize > self.bytes.len() - self.at {
            return Err("header count");
        }
        let from = self.at;
        for _ in 0..header_count {
            self.header()?;
        }
        if self.at != self.bytes.len() {
            return Err("record length");
        }
        let headers = &self.bytes[from..];
        Ok(RecordView { offset_delta, timestamp_delta, key, value, headers, header_count })
    }
}

/// Builds one batch. Timestamps are absolute milliseconds; the first record sets the base.
pub struct BatchBuilder {
    compression: Compression,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    attributes: i16,
    /// Room for the header and the records; empty without records.
    batch: Vec<u8>,
    /// What the last batch needed.
    batch_bytes: usize,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    pub fn new(compression: Compression) -> BatchBuilder {
        BatchBuilder {
            compression,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            attributes: compression as i16,
            batch: Vec::new(),
            batch_bytes: 0,
            count: 0,
            base_timestamp: -1,
            max_timestamp: -1,
        }
    }

    /// producer id, epoch, base sequence; -1, -1, -1 when not idempotent (the default).
    pub fn producer(&mut self, id: i64, epoch: i16, base_sequence: i32) -> &mut Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    /// The transactional and control bits (both off by default).
    pub fn kind(&mut self, transactional: bool, control: bool) -> &mut Self {
        self.attributes = self.compression as i16
            | if transactional { 0x10 } else { 0 }
            | if control { 0x20 } else { 0 };
        self
    }

    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> &mut Self {
        let mut len = field_len(key) + field_len(value) + varlong_len(headers.len() as i64);
        for (name, value) in headers {
            len += field_len(Some(name.as_bytes())) + field_len(*value);
        }
        let out = self.begin(timestamp_ms, len);
        put_field(out, key);
        put_field(out, value);
        put_varlong(out, headers.len() as i64);
        put_headers(out, headers);
        self
    }

    /// A record whose value is two slices, one after the other, and whose headers are encoded already
    /// (`encode_headers`): nothing is copied twice.
    pub fn push_parts(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: [&[u8]; 2],
        header_count: i32,
        headers: &[u8],
    ) -> &mut Self {
        let value_len = value[0].len() + value[1].len();
        let len = field_len(key)
            + varlong_len(value_len as i64)
            + value_len
            + varlong_len(header_count.into())
            + headers.len();
        let out = self.begin(timestamp_ms, len);
        put_field(out, key);
        put_varlong(out, value_len as i64);
        out.extend_from_slice(value[0]);
        out.extend_from_slice(value[1]);
        put_varlong(out, header_count.into());
        out.extend_from_slice(headers);
        self
    }

    /// Length, attributes and deltas of the next record, of which `rest_len` bytes follow.
    fn begin(&mut self, timestamp_ms: i64, rest_len: usize) -> &mut Vec<u8> {
        if self.count == 0 {
            self.base_timestamp = timestamp_ms;
            self.max_timestamp = timestamp_ms;
            self.batch.reserve(self.batch_bytes);
            self.batch.resize(HEADER_BYTES, 0);
        }
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        let timestamp_delta = timestamp_ms.wrapping_sub(self.base_timestamp);
        let offset_delta = i64::from(self.count);
        self.count += 1;
        let len = 1 + varlong_len(timestamp_delta) + varlong_len(offset_delta) + rest_len;
        let out = &mut self.batch;
        out.reserve(len + 5);
        put_varlong(out, len as i64);
        out.push(0);
        put_varlong(out, timestamp_delta);
        put_varlong(out, offset_delta);
        out
    }

    pub fn record_count(&self) -> usize {
        self.count as usize
    }

    /// Bytes so far (uncompressed), those of the header included.
    pub fn len(&self) -> usize {
        self.batch.len().max(HEADER_BYTES)
    }

    pub fn is_empty(&self) -> bool {
        self.record_count() == 0
    }

    /// The batch with base offset 0, and the builder ready for the next one (producer and kind are kept).
    /// Empty when there is no record. Without compression it is what was built, not a copy.
    pub fn finish(&mut self) -> Vec<u8> {
        if self.compression != Compression::None {
            let mut out = Vec::with_capacity(self.len());
            self.finish_into(&mut out);
            return out;
        }
        let mut out = std::mem::take(&mut self.batch);
        if self.count > 0 {
            self.batch_bytes = out.len();
            self.write_header(&mut out);
        }
        out
    }

    /// As `finish`, appended to `out`.
    pub fn finish_into(&mut self, out: &mut Vec<u8>) {
        if self.count == 0 {
            return;
        }
        let at = out.len();
        out.extend_from_slice(&self.batch[..HEADER_BYTES]);
        compression::compress(self.compression, &self.batch[HEADER_BYTES..], out);
        self.write_header(&mut out[at..]);
        self.batch.clear();
    }

    /// Into the zeros before the records of a whole batch; ends it.
    fn write_header(&mut self, batch: &mut [u8]) {
        let batch_length = (batch.len() - 12) as i32;
        batch[8..12].copy_from_slice(&batch_length.to_be_bytes());
        batch[12..16].copy_from_slice(&(-1i32).to_be_bytes());
        batch[16] = 2;
        batch[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        batch[23..27].copy_from_slice(&(self.count - 1).to_be_bytes());
        batch[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        batch[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        batch[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        batch[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        batch[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        batch[57..61].copy_from_slice(&self.count.to_be_bytes());
        record_batch::patch_crc(batch);
        self.count = 0;
    }
}

/// Headers as they are in a record, without their count.
pub fn encode_headers(headers: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    let mut out = Vec::new();
    put_headers(&mut out, headers);
    out
}

fn put_headers(out: &mut Vec<u8>, headers: &[(&str, Option<&[u8]>)]) {
    for (name, value) in headers {
        put_field(out, Some(name.as_bytes()));
        put_field(out, *value);
    }
}

pub(super) fn varlong_len(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

pub(super) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

pub(super) fn field_len(field: Option<&[u8]>) -> usize {
    match field {
        None => 1,
        Some(bytes) => varlong_len(bytes.len() as i64) + bytes.len(),
    }
}

pub(super) fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_varlong(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
