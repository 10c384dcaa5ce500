//! A stored batch written again with fewer records: what compaction does to a batch (KIP-534).
//! Invariants: base and last offset, leader epoch, producer id, epoch and sequence stay, so that
//! offsets and idempotent producers see no difference; the codec stays; what a record says (its
//! offset, timestamp, key, value, headers) stays. Not here: which records stay (log/compaction).

use super::compression;
use super::record_batch::{
    BatchError, BatchHeader, CODEC_BITS, DELETE_HORIZON, HEADER_BYTES, patch_crc,
};
use super::records::{Body, RecordView, field_len, put_field, put_varlong, varlong_len};
use crate::types::{Compression, TimestampType};

/// The batch with the records for which `kept` holds true (by their place in the batch; at least
/// one). A delete horizon takes the place of the base timestamp.
pub fn with_records(
    header: &BatchHeader,
    body: &Body<'_>,
    kept: &[bool],
    delete_horizon_ms: Option<i64>,
) -> Result<Vec<u8>, BatchError> {
    let log_append_time = header.timestamp_type() == TimestampType::LogAppendTime;
    let timestamp_of = |record: &RecordView<'_>| match log_append_time {
        true => header.max_timestamp,
        false => header.base_timestamp.wrapping_add(record.timestamp_delta),
    };
    let mut base_timestamp = delete_horizon_ms;
    let mut max_timestamp = i64::MIN;
    let (mut encoded, mut index, mut count) = (Vec::new(), 0, 0);
    body.for_each(&mut |record| {
        let keep = kept.get(index).copied().unwrap_or(false);
        index += 1;
        if keep {
            let timestamp = timestamp_of(&record);
            max_timestamp = max_timestamp.max(timestamp);
            let base = *base_timestamp.get_or_insert(timestamp);
            put_record(&mut encoded, &record, timestamp.wrapping_sub(base));
            count += 1;
        }
        true
    })?;
    assert!(count > 0, "a batch without records is written by without_records");
    let mut attributes = header.attributes & !DELETE_HORIZON;
    if delete_horizon_ms.is_some() {
        attributes |= DELETE_HORIZON;
    }
    let fields = BatchHeader {
        attributes,
        base_timestamp: base_timestamp.unwrap_or(-1),
        max_timestamp,
        record_count: count,
        ..*header
    };
    let codec = header.compression().unwrap_or(Compression::None);
    Ok(finish(&fields, codec, &encoded))
}

/// The batch as an empty one: its offsets and its producer's last sequence, and nothing else.
pub fn without_records(header: &BatchHeader) -> Vec<u8> {
    let attributes = header.attributes & !(DELETE_HORIZON | CODEC_BITS);
    let fields = BatchHeader { attributes, base_timestamp: -1, record_count: 0, ..*header };
    finish(&fields, Compression::None, &[])
}

fn put_record(out: &mut Vec<u8>, record: &RecordView<'_>, timestamp_delta: i64) {
    let len = 1
        + varlong_len(timestamp_delta)
        + varlong_len(record.offset_delta.into())
        + field_len(record.key)
        + field_len(record.value)
        + varlong_len(record.header_count.into())
        + record.headers.len();
    put_varlong(out, len as i64);
    out.push(0);
    put_varlong(out, timestamp_delta);
    put_varlong(out, record.offset_delta.into());
    put_field(out, record.key);
    put_field(out, record.value);
    put_varlong(out, record.header_count.into());
    out.extend_from_slice(record.headers);
}

fn finish(header: &BatchHeader, codec: Compression, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(&header.base_offset.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&header.partition_leader_epoch.to_be_bytes());
    out.push(header.magic as u8);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&header.attributes.to_be_bytes());
    out.extend_from_slice(&header.last_offset_delta.to_be_bytes());
    out.extend_from_slice(&header.base_timestamp.to_be_bytes());
    out.extend_from_slice(&header.max_timestamp.to_be_bytes());
    out.extend_from_slice(&header.producer_id.to_be_bytes());
    out.extend_from_slice(&header.producer_epoch.to_be_bytes());
    out.extend_from_slice(&header.base_sequence.to_be_bytes());
    out.extend_from_slice(&header.record_count.to_be_bytes());
    if !body.is_empty() {
        compression::compress(codec, body, &mut out);
    }
    let batch_length = (out.len() - 12) as i32;
    out[8..12].copy_from_slice(&batch_length.to_be_bytes());
    patch_crc(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record_batch::{check_crc, patch_offset};
    use crate::wire::records::{BatchBuilder, for_each_record, with_body};

    type Plain = (i32, i64, Option<Vec<u8>>, Option<Vec<u8>>, usize);

    fn records(batch: &[u8]) -> Vec<Plain> {
        let header = check_crc(batch).unwrap();
        assert_eq!(header.size_bytes(), batch.len());
        let mut all = Vec::new();
        for_each_record(batch, &mut |r| {
            let timestamp = header.base_timestamp.wrapping_add(r.timestamp_delta);
            let (key, value) = (r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec));
            all.push((r.offset_delta, timestamp, key, value, r.header_pairs().count()));
            true
        })
        .unwrap();
        assert_eq!(all.len() as i32, header.record_count);
        all
    }

    fn original(codec: Compression) -> Vec<u8> {
        let mut b = BatchBuilder::new(codec);
        b.producer(77, 3, 12);
        for n in 0..6i64 {
            let value = (n != 4).then(|| vec![n as u8; 300]);
            let headers: &[(&str, Option<&[u8]>)] = &[("h", Some(b"v")), ("n", None)];
            let headers = if n % 2 == 0 { headers } else { &[] };
            b.push(1000 - n * 100, Some(&[n as u8]), value.as_deref(), headers);
        }
        let mut batch = b.finish();
        patch_offset(&mut batch, 5000, 9);
        batch
    }

    #[test]
    fn records_that_stay_say_what_they_said_in_every_codec() {
        for codec in [
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let batch = original(codec);
            let before = check_crc(&batch).unwrap();
            let kept = [false, true, false, false, true, true];
            for horizon in [None, Some(1_000_000)] {
                let after =
                    with_body(&batch, |_, body| with_records(&before, &body, &kept, horizon))
                        .unwrap();
                let header = check_crc(&after).unwrap();
                let all = records(&batch);
                assert_eq!(records(&after), [all[1].clone(), all[4].clone(), all[5].clone()]);
                assert_eq!((header.base_offset, header.last_offset()), (5000, 5005));
                assert_eq!((header.base_sequence, header.last_sequence()), (12, 17));
                assert_eq!((header.producer_id, header.producer_epoch), (77, 3));
                assert_eq!(header.partition_leader_epoch, 9);
                assert_eq!(header.compression(), Some(codec));
                assert_eq!(header.max_timestamp, 900);
                assert_eq!(header.base_timestamp, horizon.unwrap_or(900));
                assert_eq!(header.delete_horizon_ms(), horizon);
            }
        }
    }

    #[test]
    fn an_empty_batch_keeps_offsets_and_sequence() {
        let batch = original(Compression::Zstd);
        let after = without_records(&check_crc(&batch).unwrap());
        let header = check_crc(&after).unwrap();
        assert_eq!(after.len(), HEADER_BYTES);
        assert!(records(&after).is_empty());
        assert_eq!((header.base_offset, header.last_offset()), (5000, 5005));
        assert_eq!((header.base_sequence, header.last_sequence()), (12, 17));
        assert_eq!(header.compression(), Some(Compression::None));
        assert_eq!((header.base_timestamp, header.max_timestamp), (-1, 1000));
    }

    #[test]
    fn log_append_time_is_every_records_time() {
        let mut batch = original(Compression::None);
        crate::wire::record_batch::patch_log_append_time(&mut batch, 7777);
        let header = check_crc(&batch).unwrap();
        let kept = [false, true, true, false, false, false];
        let after =
            with_body(&batch, |_, body| with_records(&header, &body, &kept, Some(9999))).unwrap();
        let header = check_crc(&after).unwrap();
        assert_eq!((header.max_timestamp, header.base_timestamp), (7777, 9999));
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert!(records(&after).iter().all(|r| r.1 == 7777));
    }
}
