//! The records inside a batch: a borrowing iterator over (decompressed) bytes, and a builder that
//! makes batches (for the load generator, the metadata log and tests).

use super::record_batch::BatchError;
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

/// Calls `f` for each record of a whole batch (header included), decompressing into a bounded
/// buffer when needed; stops early when `f` returns false.
pub fn for_each_record(
    batch: &[u8],
    f: &mut dyn FnMut(RecordView<'_>) -> bool,
) -> Result<(), BatchError> {
    let _ = (batch, f);
    todo!()
}

/// Builds one batch. Timestamps are absolute milliseconds; the first record sets the base.
pub struct BatchBuilder {}

#[allow(unused_variables)]
impl BatchBuilder {
    pub fn new(compression: Compression) -> BatchBuilder {
        todo!()
    }
    /// producer id, epoch, base sequence; -1, -1, -1 when not idempotent (the default).
    pub fn producer(&mut self, id: i64, epoch: i16, base_sequence: i32) -> &mut Self {
        todo!()
    }
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> &mut Self {
        todo!()
    }
    pub fn record_count(&self) -> usize {
        todo!()
    }
    /// Bytes so far (uncompressed).
    pub fn len(&self) -> usize {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        self.record_count() == 0
    }
    /// The batch with base offset 0, and the builder ready for the next one (buffers are kept).
    pub fn finish(&mut self) -> Vec<u8> {
        todo!()
    }
}
