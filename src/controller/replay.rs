//! From the files of `__cluster_metadata-0` to an image: the newest snapshot, if there is one, then the log
//! after it. Both may be Apache Kafka's: kinds of records that Spindle has no use for are passed over and
//! named in one log line, metadata transactions (KIP-868) count when they end, and partitions that Kafka left
//! without a leader at its stop get this broker. Snapshots are read here, never written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::image::{Image, PartitionChange};
use super::records::Record;
use crate::limits::METADATA_READ_BYTES;
use crate::log::{Log, LogConfig, OpenHints};
use crate::runtime::disk;
use crate::types::Offset;
use crate::wire::record_batch::{self, BatchHeader};
use crate::wire::records::for_each_record;

/// The leader epoch that a new log begins with.
const FIRST_EPOCH: i32 = 1;
/// Level 1 of it lets partitions have eligible leaders outside the ISR (KIP-966).
const ELR_FEATURE: &str = "eligible.leader.replicas.version";
/// Kinds that an operator would miss.
const NOT_ENFORCED: [&str; 3] = ["ACCESS_CONTROL", "SCRAM", "DELEGATION_TOKEN"];

pub(super) struct Replayed {
    pub log: Log,
    pub image: Image,
    /// What the log's next batches are to carry.
    pub epoch: i32,
    /// The last transaction was never ended: what it held is not in the image.
    pub open_transaction: bool,
}

/// An image on its way, and what was met on the way.
struct Replay {
    image: Image,
    /// The image from before the transaction that is open.
    before_transaction: Option<Box<Image>>,
    passed_over: BTreeMap<&'static str, u64>,
}

pub(super) async fn open(dir: &Path, cluster_id: String) -> Result<Replayed, String> {
    let mut replay = Replay {
        image: Image { cluster_id, ..Image::default() },
        before_transaction: None,
        passed_over: BTreeMap::new(),
    };
    let snapshot = newest_snapshot(dir).await?;
    let mut epoch = FIRST_EPOCH;
    if let Some(snapshot) = &snapshot {
        let bytes = disk::read_file(&snapshot.path)
            .await
            .map_err(|e| format!("{}: {e}", snapshot.path.display()))?;
        replay
            .snapshot(&bytes)
            .map_err(|why| format!("{}: not a whole snapshot: {why}", snapshot.path.display()))?;
        replay.image.offset = snapshot.end_offset;
        epoch = epoch.max(snapshot.epoch);
    }
    let log_start_offset = snapshot.map_or(0, |s| s.end_offset);
    // Scanned whole at each start: it is small, and a bad batch must not go unseen.
    let hints = OpenHints { clean: false, recovery_point: 0, log_start_offset };
    let log = Log::open(dir.to_path_buf(), log_config(), hints).await.map_err(|e| e.to_string())?;
    if log.log_start_offset() > log_start_offset {
        return Err(format!(
            "{}: begins with offset {} and has no snapshot of what was before it",
            dir.display(),
            log.log_start_offset()
        ));
    }
    replay.log(&log).await.map_err(|why| format!("{}: {why}", dir.display()))?;
    replay.tell_passed_over();
    let end = replay.image.offset;
    let open_transaction = match replay.before_transaction.take() {
        Some(before) => {
            replay.image = Image { offset: end, ..*before };
            true
        }
        None => false,
    };
    epoch = epoch.max(log.leader_epoch_at(end).unwrap_or(FIRST_EPOCH));
    Ok(Replayed { log, image: replay.image, epoch, open_transaction })
}

/// Partitions of this broker that have another leader or none: it was not this program that stopped.
pub(super) fn elections(image: &Image, broker_id: i32) -> Vec<Record> {
    let clears_elr = image.features.get(ELR_FEATURE).is_some_and(|level| *level > 0);
    let mut records = Vec::new();
    for topic in image.topics.values() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            let led = partition.leader == broker_id && partition.isr.contains(&broker_id);
            if led || !partition.replicas.contains(&broker_id) {
                continue;
            }
            records.push(Record::PartitionChange {
                topic: topic.id,
                partition: index as i32,
                change: PartitionChange {
                    isr: Some(vec![broker_id]),
                    leader: Some(broker_id),
                    replicas: None,
                    clears_elr,
                },
            });
        }
    }
    records
}

struct Snapshot {
    path: PathBuf,
    end_offset: Offset,
    epoch: i32,
}

/// `<end offset>-<epoch>.checkpoint` (KIP-630). The one at offset 0 only says who votes.
async fn newest_snapshot(dir: &Path) -> Result<Option<Snapshot>, String> {
    let entries = match disk::list_dir(dir).await {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("{}: {e}", dir.display())),
    };
    let named = entries.iter().filter_map(|entry| {
        let (end_offset, epoch) = entry.name.strip_suffix(".checkpoint")?.split_once('-')?;
        let (end_offset, epoch) = (end_offset.parse().ok()?, epoch.parse().ok()?);
        Some(Snapshot { path: dir.join(&entry.name), end_offset, epoch })
    });
    Ok(named.filter(|s| s.end_offset > 0).max_by_key(|s| (s.end_offset, s.epoch)))
}

impl Replay {
    fn record(&mut self, bytes: &[u8]) -> Result<(), String> {
        let record = Record::decode(bytes)?;
        self.image.apply(&record)?;
        match record {
            Record::BeginTransaction if self.before_transaction.is_some() => {
                return Err("a transaction begins inside another one".to_string());
            }
            Record::BeginTransaction => {
                self.before_transaction = Some(Box::new(self.image.clone()));
            }
            Record::EndTransaction => self.before_transaction = None,
            Record::AbortTransaction => {
                if let Some(before) = self.before_transaction.take() {
                    self.image = Image { offset: self.image.offset, ..*before };
                }
            }
            Record::Unused { kind } => *self.passed_over.entry(kind).or_default() += 1,
            _ => {}
        }
        Ok(())
    }

    /// The records of one whole batch.
    fn batch(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<(), String> {
        if header.is_control() {
            return Ok(());
        }
        let mut failed = None;
        for_each_record(batch, &mut |record| {
            let at = header.base_offset + i64::from(record.offset_delta);
            let done = self.record(record.value.unwrap_or_default());
            failed = done.err().map(|why| format!("offset {at}: {why}"));
            failed.is_none()
        })
        .map_err(|e| format!("offset {}: {e}", header.base_offset))?;
        failed.map_or(Ok(()), Err)
    }

    /// A snapshot ends with a control batch; one that was not finished does not.
    fn snapshot(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut ends_well = false;
        for batch in record_batch::split(bytes) {
            let (header, batch) = batch.map_err(|e| e.to_string())?;
            record_batch::check_crc(batch).map_err(|e| e.to_string())?;
            self.batch(&header, batch)?;
            ends_well = header.is_control();
        }
        if ends_well { Ok(()) } else { Err("its last batch is missing".to_string()) }
    }

    async fn log(&mut self, log: &Log) -> Result<(), String> {
        let end = log.log_end_offset();
        while self.image.offset < end {
            let at = self.image.offset;
            let read =
                log.read(at, end, METADATA_READ_BYTES, true).await.map_err(|e| e.to_string())?;
            let mut bytes = Vec::with_capacity(read.bytes);
            read.chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let next = self.image.offset;
                let header = BatchHeader::parse(rest).map_err(|e| format!("offset {next}: {e}"))?;
                if header.base_offset != next || header.size_bytes() > rest.len() {
                    let found = header.base_offset;
                    return Err(format!(
                        "offset {next}: a batch of offset {found} is there instead"
                    ));
                }
                let (batch, after) = rest.split_at(header.size_bytes());
                rest = after;
                self.batch(&header, batch)?;
                self.image.offset = header.last_offset() + 1;
            }
            if self.image.offset == at {
                return Err(format!("offset {at}: nothing to read below the log's end, {end}"));
            }
        }
        Ok(())
    }

    fn tell_passed_over(&self) {
        for (kind, count) in &self.passed_over {
            if NOT_ENFORCED.iter().any(|word| kind.contains(word)) {
                tracing::warn!("{count} metadata records {kind}: Spindle does not enforce them");
            }
        }
        if !self.passed_over.is_empty() {
            let kinds: Vec<String> =
                self.passed_over.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
            let kinds = kinds.join(", ");
            tracing::info!("metadata records that have no meaning here were passed over: {kinds}");
        }
    }
}

fn log_config() -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 30,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        index_interval_bytes: 4096,
        segment_index_bytes: 10 * 1024 * 1024,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: false,
        file_delete_delay_ms: 60_000,
        preallocate: false,
    }
}
