//! Looks at every record that came: is it ours, unaltered, in its place, in order; and when was it due.
//! Records of other runs and other writers are counted and left alone. No I/O, no clock.
//! A record whose stamp says that it is ours and whose checksum does not fit was altered; one whose stamp
//! was hit in the run's tag passes for another writer's here and is missing at the end.

use std::sync::Arc;

use super::super::check::SequenceCheck;
use super::super::control::{ConsumerSeen, Control};
use super::super::stamp::Stamp;
use super::fetcher::{Part, malformed};
use crate::client::ClientError;
use crate::wire::record_batch::BatchHeader;
use crate::wire::records::for_each_record;

pub struct Reader {
    control: Arc<Control>,
    /// Records with this tag are checked for order and completeness.
    checked_run: u32,
    /// Those with this one only for their checksum.
    known_run: u32,
    pub seen: ConsumerSeen,
    /// (intended time, records) of the checked run, of what was read since the last `start`.
    pub runs: Vec<(u64, u32)>,
    pub records: u64,
    /// Of record values.
    pub bytes: u64,
    pub wire_bytes: u64,
}

impl Reader {
    pub fn new(control: Arc<Control>, checked_run: u32, known_run: u32) -> Reader {
        Reader {
            control,
            checked_run,
            known_run,
            seen: ConsumerSeen::default(),
            runs: Vec::new(),
            records: 0,
            bytes: 0,
            wire_bytes: 0,
        }
    }

    /// The sums begin anew.
    pub fn start(&mut self) {
        self.runs.clear();
        (self.records, self.bytes, self.wire_bytes) = (0, 0, 0);
    }

    pub fn read(&mut self, lane: usize, part: &Part) -> Result<(), ClientError> {
        let mut position = part.position;
        let mut rest = &part.records[..];
        self.wire_bytes += rest.len() as u64;
        // The fetcher has walked these headers before: what it left out is a batch that was cut off.
        while let Ok(header) = BatchHeader::parse(rest) {
            if header.size_bytes() > rest.len() {
                break;
            }
            let (batch, after) = rest.split_at(header.size_bytes());
            rest = after;
            if header.last_offset() < position {
                continue;
            }
            if !header.is_control() {
                self.read_batch(lane, position, &header, batch)?;
            }
            position = header.last_offset() + 1;
        }
        Ok(())
    }

    fn read_batch(
        &mut self,
        lane: usize,
        position: i64,
        header: &BatchHeader,
        batch: &[u8],
    ) -> Result<(), ClientError> {
        let (checked_run, known_run) = (self.checked_run, self.known_run);
        let (seen, runs) = (&mut self.seen, &mut self.runs);
        let (mut records, mut bytes) = (0, 0);
        // Taken out of the map while it is used: a batch has one producer, so this is one look-up.
        let mut taken: Option<(u32, SequenceCheck)> = None;
        let walked = for_each_record(batch, &mut |record| {
            if header.base_offset + i64::from(record.offset_delta) < position {
                return true;
            }
            let value = record.value.unwrap_or_default();
            records += 1;
            bytes += value.len() as u64;
            let claims = Stamp::claimed_run(value);
            if claims != Some(checked_run) && claims != Some(known_run) {
                seen.foreign += 1;
                return true;
            }
            let beside = [record.key.unwrap_or_default(), record.headers];
            let Ok(stamp) = Stamp::read(value, beside) else {
                seen.corrupted += 1;
                return true;
            };
            if stamp.partition != lane as u32 {
                seen.misplaced += 1;
            }
            if stamp.run != checked_run {
                return true;
            }
            seen.records += 1;
            match &mut taken {
                Some((producer, check)) if *producer == stamp.producer => {
                    check.observe(stamp.sequence);
                }
                other => {
                    if let Some((producer, check)) = other.take() {
                        seen.checks.insert((producer, lane), check);
                    }
                    let key = (stamp.producer, lane);
                    let mut check = seen.checks.remove(&key).unwrap_or_default();
                    check.observe(stamp.sequence);
                    *other = Some((stamp.producer, check));
                }
            }
            match runs.last_mut() {
                Some((due, records)) if *due == stamp.intended_ns => *records += 1,
                _ => runs.push((stamp.intended_ns, 1)),
            }
            true
        });
        if let Some((producer, check)) = taken {
            seen.checks.insert((producer, lane), check);
        }
        self.records += records;
        self.bytes += bytes;
        walked.map_err(|e| malformed(&self.control, lane, position, e))
    }
}
