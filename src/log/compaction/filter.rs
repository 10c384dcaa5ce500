//! What a cleaning run makes of one batch: the same bytes, other bytes, or nothing. Pure.
//! The rules are Kafka's (KIP-58, KIP-534, KIP-98): the newest record of a key stays; a tombstone
//! that is the newest stays until its delete horizon, which the first run that meets it sets; the
//! last batch of each active producer stays even when empty. One more than Kafka's: the last batch
//! of every new segment stays, so that the file itself says how far the segments go that it replaces.

use super::LastRecord;
use super::offset_map::OffsetMap;
use super::transactions::{Transactions, marker_of};
use crate::types::Offset;
use crate::wire::record_batch::{BatchError, BatchHeader};
use crate::wire::records::with_body;
use crate::wire::rewrite;

pub(super) struct Rules<'a> {
    pub map: &'a OffsetMap,
    /// First offset that this run does not touch.
    pub upper: Offset,
    pub now_ms: i64,
    pub delete_retention_ms: i64,
    pub last_of_producer: &'a dyn Fn(i64) -> Option<LastRecord>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filtered {
    Same,
    Gone,
    Other(Vec<u8>),
}

impl Rules<'_> {
    /// `is_last`: of the segments that become one.
    pub fn apply(
        &self,
        transactions: &mut Transactions,
        header: &BatchHeader,
        batch: &[u8],
        is_last: bool,
    ) -> Result<Filtered, BatchError> {
        let control = header.is_control();
        // Of an aborted transaction, or a marker that ends nothing any more.
        let discard = match control {
            true => transactions.on_marker(header, marker_of(header, batch)),
            false => transactions.on_batch(header),
        };
        let expired = header.delete_horizon_ms().is_some_and(|horizon| horizon <= self.now_ms);
        let drop_records = discard && (!control || expired);
        let stays_empty = is_last
            || header.last_offset() + 1 == self.upper
            || header.has_producer_id() && self.is_last_of_producer(header);
        with_body(batch, |_, body| {
            let mut kept = Vec::with_capacity(header.record_count.clamp(0, 1 << 16) as usize);
            let mut tombstones = false;
            body.for_each(&mut |record| {
                let offset = header.base_offset + i64::from(record.offset_delta);
                let keep = !drop_records
                    && (control || self.keeps(offset, record.key, record.value, expired));
                tombstones |= keep && record.value.is_none();
                kept.push(keep);
                true
            })?;
            if !kept.contains(&true) {
                return Ok(match stays_empty {
                    true if kept.is_empty() => Filtered::Same,
                    true => Filtered::Other(rewrite::without_records(header)),
                    false => Filtered::Gone,
                });
            }
            let horizon = header.delete_horizon_ms();
            let sets_horizon = horizon.is_none() && (tombstones || discard && control);
            if !sets_horizon && !kept.contains(&false) {
                return Ok(Filtered::Same);
            }
            let horizon = match sets_horizon {
                true => Some(self.now_ms.saturating_add(self.delete_retention_ms)),
                false => horizon,
            };
            rewrite::with_records(header, &body, &kept, horizon).map(Filtered::Other)
        })
    }

    fn keeps(
        &self,
        offset: Offset,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        expired: bool,
    ) -> bool {
        if offset > self.map.latest() {
            return true;
        }
        // Without a key nothing can ever take its place: Kafka drops it.
        let Some(key) = key else { return false };
        self.map.get(key).is_none_or(|newest| offset >= newest) && (value.is_some() || !expired)
    }

    /// It carries the producer's last sequence, or, when it has no data any more, its epoch.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        (self.last_of_producer)(header.producer_id).is_some_and(|last| match last.data_offset {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == last.epoch,
        })
    }
}
