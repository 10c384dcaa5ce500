//! The formats that are not batches: indexes, transaction index, producer snapshot, checkpoints and
//! property files. Pure: bytes in, items or the first fault out. Fields as Kafka's DumpLogSegments names them.

use std::fmt;

use serde::Serialize;

use super::super::checkpoint;
use crate::types::Offset;

/// Where bytes break a rule, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadBytes {
    pub position: u64,
    pub offset: Option<Offset>,
    pub why: String,
}

fn bad(position: usize, offset: Option<Offset>, why: impl Into<String>) -> BadBytes {
    BadBytes { position: position as u64, offset, why: why.into() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct IndexEntry {
    pub offset: Offset,
    pub position: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct TimeEntry {
    pub timestamp: i64,
    pub offset: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct AbortedTxn {
    pub version: i16,
    pub producer_id: i64,
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub last_stable_offset: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ProducerState {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub coordinator_epoch: i32,
    pub current_txn_first_offset: Option<Offset>,
    pub last_timestamp: i64,
    pub first_sequence: i32,
    pub last_sequence: i32,
    pub last_offset: Offset,
    pub offset_delta: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct EpochEntry {
    pub epoch: i32,
    pub start_offset: Offset,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CheckpointEntry {
    pub topic: String,
    pub partition: i32,
    pub offset: Offset,
}

pub(super) const INDEX_ENTRY_BYTES: usize = 8;
pub(super) const TIME_ENTRY_BYTES: usize = 12;
const TXN_ENTRY_BYTES: usize = 34;
const PRODUCER_BYTES: usize = 46;

/// Items up to the first fault, and that fault.
pub(super) type Parsed<T> = (Vec<T>, Option<BadBytes>);

fn be<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|b| b.try_into().ok()).unwrap_or([0; N])
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(be(bytes, at))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(be(bytes, at))
}

/// Fixed entries; zeros at the end (an index of a broker that runs or was killed) are left out.
fn entries(bytes: &[u8], size: usize) -> (impl Iterator<Item = (usize, &[u8])>, Option<BadBytes>) {
    let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
    let whole = used.div_ceil(size) * size;
    let odd = (!bytes.len().is_multiple_of(size) && whole > bytes.len()).then(|| {
        bad(bytes.len() / size * size, None, format!("an entry is cut: it has {size} bytes"))
    });
    let end = whole.min(bytes.len() / size * size);
    (bytes[..end].chunks_exact(size).enumerate().map(move |(n, e)| (n * size, e)), odd)
}

/// `.index`: offsets and positions grow strictly.
pub(super) fn offset_index(base: Offset, bytes: &[u8]) -> Parsed<IndexEntry> {
    let mut out: Vec<IndexEntry> = Vec::new();
    let (each, odd) = entries(bytes, INDEX_ENTRY_BYTES);
    for (at, entry) in each {
        let (relative, position) = (i32_at(entry, 0), i32_at(entry, 4));
        let offset = base.saturating_add(i64::from(relative));
        let grows = out
            .last()
            .is_none_or(|last| offset > last.offset && position as i64 > last.position.into());
        if relative < 0 || position < 0 || !grows {
            let why =
                format!("index entry {offset} at position {position} does not follow the last");
            return (out, Some(bad(at, Some(offset), why)));
        }
        out.push(IndexEntry { offset, position: position as u32 });
    }
    (out, odd)
}

/// `.timeindex`: timestamps grow strictly, offsets do not fall.
pub(super) fn time_index(base: Offset, bytes: &[u8]) -> Parsed<TimeEntry> {
    let mut out: Vec<TimeEntry> = Vec::new();
    let (each, odd) = entries(bytes, TIME_ENTRY_BYTES);
    for (at, entry) in each {
        let (timestamp, relative) = (i64_at(entry, 0), i32_at(entry, 8));
        let offset = base.saturating_add(i64::from(relative));
        let grows =
            out.last().is_none_or(|last| timestamp > last.timestamp && offset >= last.offset);
        if relative < 0 || !grows {
            let why = format!("time index entry {timestamp} does not follow the last");
            return (out, Some(bad(at, Some(offset), why)));
        }
        out.push(TimeEntry { timestamp, offset });
    }
    (out, odd)
}

/// `.txnindex` (KIP-98): aborted transactions in the order of their markers.
pub(super) fn txn_index(base: Offset, bytes: &[u8]) -> Parsed<AbortedTxn> {
    let mut out: Vec<AbortedTxn> = Vec::new();
    for (n, entry) in bytes.chunks(TXN_ENTRY_BYTES).enumerate() {
        let at = n * TXN_ENTRY_BYTES;
        if entry.len() < TXN_ENTRY_BYTES {
            let why = format!("an entry is cut: it has {TXN_ENTRY_BYTES} bytes");
            return (out, Some(bad(at, None, why)));
        }
        let txn = AbortedTxn {
            version: i16::from_be_bytes(be(entry, 0)),
            producer_id: i64_at(entry, 2),
            first_offset: i64_at(entry, 10),
            last_offset: i64_at(entry, 18),
            last_stable_offset: i64_at(entry, 26),
        };
        let why = if txn.version != 0 {
            Some(format!("version {} of an aborted transaction where 0 is known", txn.version))
        } else if txn.first_offset < 0 || txn.last_offset < txn.first_offset {
            Some(format!("an aborted transaction from {} to {}", txn.first_offset, txn.last_offset))
        } else if txn.last_offset < base {
            Some("an aborted transaction that ended before this segment".to_string())
        } else if out.last().is_some_and(|last| txn.last_offset <= last.last_offset) {
            Some("aborted transactions are not in the order of their ends".to_string())
        } else {
            None
        };
        if let Some(why) = why {
            return (out, Some(bad(at, Some(txn.last_offset), why)));
        }
        out.push(txn);
    }
    (out, None)
}

/// `.snapshot`: version 1, CRC-32C, count, producers.
pub(super) fn producer_snapshot(bytes: &[u8]) -> Parsed<ProducerState> {
    let mut out = Vec::new();
    if bytes.len() < 10 {
        return (out, Some(bad(0, None, format!("{} bytes are no snapshot", bytes.len()))));
    }
    let version = i16::from_be_bytes(be(bytes, 0));
    if version != 1 {
        return (out, Some(bad(0, None, format!("version {version} where 1 is known"))));
    }
    let (stored, computed) = (u32::from_be_bytes(be(bytes, 2)), crc32c::crc32c(&bytes[6..]));
    let crc = (stored != computed)
        .then(|| bad(2, None, format!("CRC-32C is {computed:08x}, the file says {stored:08x}")));
    let count = i32_at(bytes, 6);
    let body = &bytes[10..];
    if usize::try_from(count).ok() != Some(body.len() / PRODUCER_BYTES)
        || !body.len().is_multiple_of(PRODUCER_BYTES)
    {
        let why = format!("{count} producers do not fill {} bytes", body.len());
        return (out, crc.or(Some(bad(6, None, why))));
    }
    for e in body.chunks_exact(PRODUCER_BYTES) {
        let (last_sequence, offset_delta) = (i32_at(e, 10), i32_at(e, 22));
        let first = i64::from(last_sequence) - i64::from(offset_delta);
        let first = if first < 0 && last_sequence >= 0 { first + (1 << 31) } else { first };
        out.push(ProducerState {
            producer_id: i64_at(e, 0),
            producer_epoch: i16::from_be_bytes(be(e, 8)),
            last_sequence,
            first_sequence: i32::try_from(first).unwrap_or(-1),
            last_offset: i64_at(e, 14),
            offset_delta,
            last_timestamp: i64_at(e, 26),
            coordinator_epoch: i32_at(e, 34),
            current_txn_first_offset: Some(i64_at(e, 38)).filter(|o| *o >= 0),
        });
    }
    (out, crc)
}

/// Version 0, count, lines: each line's place and words.
fn lines(bytes: &[u8]) -> Result<Vec<(usize, Vec<&str>)>, BadBytes> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => return Err(bad(e.valid_up_to(), None, "text is not UTF-8")),
    };
    let mut at = 0;
    let mut all = text.split_inclusive('\n').map(|line| {
        let begin = at;
        at += line.len();
        (begin, line.trim())
    });
    match all.next() {
        Some((_, "0")) => {}
        _ => return Err(bad(0, None, "the first line is not the version, 0")),
    }
    let (count_at, count) = all.next().unwrap_or((bytes.len(), ""));
    let wanted: usize =
        count.parse().map_err(|_| bad(count_at, None, format!("{count:?} is not a count")))?;
    let found: Vec<_> = all
        .filter(|(_, line)| !line.is_empty())
        .map(|(at, line)| (at, line.split_whitespace().collect::<Vec<&str>>()))
        .collect();
    if found.len() != wanted {
        let why = format!("{wanted} lines are announced, {} are there", found.len());
        return Err(bad(count_at, None, why));
    }
    Ok(found)
}

/// `leader-epoch-checkpoint`: epochs grow, start offsets do not fall.
pub(super) fn leader_epochs(bytes: &[u8]) -> Parsed<EpochEntry> {
    let mut out: Vec<EpochEntry> = Vec::new();
    let found = match lines(bytes) {
        Ok(found) => found,
        Err(bad) => return (out, Some(bad)),
    };
    for (at, words) in found {
        let [epoch, start] = words[..] else {
            return (out, Some(bad(at, None, "a line is not `epoch offset`")));
        };
        let (Ok(epoch), Ok(start_offset)) = (epoch.parse(), start.parse()) else {
            return (out, Some(bad(at, None, "a line is not two numbers")));
        };
        let entry = EpochEntry { epoch, start_offset };
        if out.last().is_some_and(|l| epoch <= l.epoch || start_offset < l.start_offset) {
            let why = format!("epoch {epoch} does not follow the one before it");
            return (out, Some(bad(at, Some(start_offset), why)));
        }
        out.push(entry);
    }
    (out, None)
}

/// `recovery-point-offset-checkpoint` and its like.
pub(super) fn offset_checkpoint(bytes: &[u8]) -> Parsed<CheckpointEntry> {
    let mut out = Vec::new();
    let found = match lines(bytes) {
        Ok(found) => found,
        Err(bad) => return (out, Some(bad)),
    };
    for (at, words) in found {
        let [topic, partition, offset] = words[..] else {
            return (out, Some(bad(at, None, "a line is not `topic partition offset`")));
        };
        let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) else {
            return (out, Some(bad(at, None, "partition or offset is not a number")));
        };
        out.push(CheckpointEntry { topic: topic.to_string(), partition, offset });
    }
    (out, None)
}

pub(super) fn meta_properties(bytes: &[u8]) -> Parsed<checkpoint::MetaProperties> {
    match checkpoint::parse_meta_properties(bytes) {
        Ok(meta) => (vec![meta], None),
        Err(why) => (Vec::new(), Some(bad(0, None, why))),
    }
}

/// `partition.metadata`: the topic's id, as Kafka writes it.
pub(super) fn partition_metadata(bytes: &[u8]) -> Parsed<checkpoint::PartitionMetadata> {
    match checkpoint::parse_partition_metadata(bytes) {
        Ok(meta) => (vec![meta], None),
        Err(why) => (Vec::new(), Some(bad(0, None, why))),
    }
}

pub(super) fn json(bytes: &[u8]) -> Parsed<serde_json::Value> {
    match serde_json::from_slice(bytes) {
        Ok(value) => (vec![value], None),
        Err(e) => {
            let line_at = |n: usize| {
                let line = bytes.split_inclusive(|b| *b == b'\n').take(n).map(<[u8]>::len);
                line.sum::<usize>()
            };
            let at = line_at(e.line().saturating_sub(1)) + e.column().saturating_sub(1);
            (Vec::new(), Some(bad(at, None, format!("not JSON: {e}"))))
        }
    }
}

impl fmt::Display for IndexEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset: {} position: {}", self.offset, self.position)
    }
}

impl fmt::Display for TimeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timestamp: {} offset: {}", self.timestamp, self.offset)
    }
}

impl fmt::Display for AbortedTxn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "version: {} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            self.version,
            self.producer_id,
            self.first_offset,
            self.last_offset,
            self.last_stable_offset
        )
    }
}

impl fmt::Display for ProducerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} \
             lastTimestamp: {} firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {}",
            self.producer_id,
            self.producer_epoch,
            self.coordinator_epoch,
            self.current_txn_first_offset.map_or("none".to_string(), |o| o.to_string()),
            self.last_timestamp,
            self.first_sequence,
            self.last_sequence,
            self.last_offset,
            self.offset_delta
        )
    }
}

impl fmt::Display for EpochEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch: {} startOffset: {}", self.epoch, self.start_offset)
    }
}

impl fmt::Display for CheckpointEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}: {}", self.topic, self.partition, self.offset)
    }
}
