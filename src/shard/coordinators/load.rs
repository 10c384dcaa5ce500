//! Reads a partition of `__consumer_offsets` from its start to its high watermark and replays it: large reads, batches
//! walked in place, no allocation a record here. A record that can't be read is reported with its partition and
//! offset and skipped. The shard goes on with other work between slices of batches.

use std::rc::Rc;

use crate::coordinator::group::{GroupConfig, Groups, LoadedRecord, Producer};
use crate::partition::{FetchSpec, OffsetQuery, Partition, PartitionError};
use crate::runtime;
use crate::shard::Shard;
use crate::types::Offset;
use crate::wire::record_batch::{self, BatchHeader};
use crate::wire::records;

/// Bad records of one load that are named one by one; the rest is counted.
const BAD_RECORDS_NAMED: usize = 20;

/// Where the log could not be read, and why.
#[derive(Debug, thiserror::Error)]
#[error("at or after offset {offset}: {why}")]
pub(super) struct LoadError {
    offset: Offset,
    why: PartitionError,
}

/// A batch that can't be read ends it: what it had may be the newest commit of any group, and to serve an
/// older one would have consumers read again, or lose, what nobody knows of. (Kafka's loader does the same.)
pub(super) async fn load(
    shard: &Rc<Shard>,
    partition: &Rc<Partition>,
    config: GroupConfig,
) -> Result<Box<Groups>, LoadError> {
    let begun = runtime::now();
    let mut loading = Loading {
        partition,
        groups: Box::new(Groups::new(config, runtime::random_u64())),
        records: 0,
        bad: 0,
    };
    let earliest = partition.list_offset(OffsetQuery::Earliest).await;
    let mut offset = earliest.map_err(|why| LoadError { offset: 0, why })?.offset;
    let end = partition.high_watermark();
    while offset < end && !shard.is_stopping() {
        let spec = FetchSpec {
            topic_partition: partition.topic_partition.clone(),
            offset,
            max_bytes: shard.config.groups.offsets.load_buffer_bytes,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            only_sent: false,
        };
        let fetched = partition.fetch(&spec, spec.max_bytes, true, &shard.read_means).await;
        if let Some(why) = fetched.error {
            return Err(LoadError { offset, why });
        }
        let before = offset;
        for chunk in &fetched.records.chunks {
            for batch in record_batch::split(chunk) {
                let (header, bytes) = batch.map_err(|e| {
                    let why = PartitionError::CorruptMessage(e.to_string());
                    LoadError { offset, why }
                })?;
                loading.batch(&header, bytes, offset);
                offset = header.last_offset() + 1;
                runtime::yield_if_needed().await;
            }
        }
        if offset == before {
            // Nothing but what compaction took away is left.
            break;
        }
    }
    let took_ms = runtime::now().saturating_since(begun).as_millis() as u64;
    if loading.records > 0 || loading.bad > 0 {
        tracing::info!(partition = %partition.topic_partition, records = loading.records,
            bad = loading.bad, took_ms, "groups and offsets are loaded");
    }
    Ok(loading.groups)
}

struct Loading<'a> {
    partition: &'a Partition,
    groups: Box<Groups>,
    records: u64,
    bad: usize,
}

impl Loading<'_> {
    /// `from`: records below it were replayed already.
    fn batch(&mut self, header: &BatchHeader, bytes: &[u8], from: Offset) {
        let producer = Producer { id: header.producer_id, epoch: header.producer_epoch };
        let transactional = header.is_transactional().then_some(producer);
        let walked = records::for_each_record(bytes, &mut |record| {
            let offset = header.base_offset + i64::from(record.offset_delta);
            if offset < from {
                return true;
            }
            if header.is_control() {
                if let Some(committed) = marker(record.key) {
                    self.groups.replay_marker(producer, committed);
                }
                return true;
            }
            self.records += 1;
            let record = LoadedRecord { key: record.key, value: record.value, transactional };
            if let Err(bad) = self.groups.replay(&record) {
                self.skip(offset, &bad.to_string());
            }
            true
        });
        if let Err(e) = walked {
            self.skip(header.base_offset, &e.to_string());
        }
    }

    fn skip(&mut self, offset: Offset, why: &str) {
        self.bad += 1;
        if self.bad <= BAD_RECORDS_NAMED {
            tracing::error!(partition = %self.partition.topic_partition, offset, why,
                "a record of groups or offsets can't be read: skipped");
        }
    }
}

/// Commit or abort, of a control record's key: version and type, two bytes each.
fn marker(key: Option<&[u8]>) -> Option<bool> {
    match key? {
        [_, _, 0, 0, ..] => Some(false),
        [_, _, 0, 1, ..] => Some(true),
        _ => None,
    }
}
