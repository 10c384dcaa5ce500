//! The data directory: lock, identity, checkpoints, the mark of a clean stop, strays.
//! Checks come before changes: a directory of another cluster or broker is left as it was.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::config::BrokerConfig;
use crate::controller::Image;
use crate::error::StartError;
use crate::log::checkpoint::{self, MetaProperties, OffsetCheckpoint};
use crate::runtime::{self, Notify, disk};
use crate::shard::{PartitionCheckpoint, StartHints};
use crate::types::{Offset, TopicPartition};

/// A start with less room than this says that the disk is full: no partition can take a step.
const FREE_BYTES_MIN: u64 = 64 * 1024;

pub(super) struct DataDir {
    path: PathBuf,
    cluster_id: String,
    pub(super) probe: Option<disk::DiskProbe>,
    /// Somebody collects or writes checkpoints.
    checkpointing: Cell<bool>,
    checkpointed: Notify,
    /// What cleaner-offset-checkpoint holds: it is written only when that changes, so that a broker
    /// without compacted topics has no such file.
    cleaner_offsets: RefCell<OffsetCheckpoint>,
    /// The checkpoints can't be written: said once.
    checkpoints_fail: Cell<bool>,
    /// Released when the node ends.
    _lock: disk::DirLock,
}

impl DataDir {
    pub(super) async fn open(
        config: &BrokerConfig,
    ) -> Result<(Rc<DataDir>, StartHints), StartError> {
        let path = config.log_dir.clone();
        let refuse = |what: &str, e: &dyn std::fmt::Display| {
            StartError::environment(format!("log.dirs={}: {what}: {e}", path.display()))
        };
        let existed = disk::list_dir(&path).await;
        match &existed {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {
                disk::create_dir_all(&path).await.map_err(|e| {
                    refuse("can't be created; make it, or set log.dirs to a directory you own", &e)
                })?;
            }
            Err(e) => return Err(refuse("can't be read; check its permissions", e)),
        }
        let lock = disk::lock_dir(&path).await.map_err(|e| match e.kind() {
            ErrorKind::WouldBlock => refuse(
                "another broker has it locked; stop that one, or set log.dirs to another directory",
                &e,
            ),
            _ => refuse("can't be written; check its owner and permissions", &e),
        })?;
        let meta = checkpoint::read_meta_properties(&path)
            .await
            .map_err(|e| refuse("its meta.properties can't be read", &e))?;
        let is_new = meta.is_none();
        let meta = identity(config, &path, meta)?;
        let cluster_id = meta.cluster_id.clone();
        if is_new {
            checkpoint::write_meta_properties(&path, &meta)
                .await
                .map_err(|e| refuse("can't be written", &e))?;
        }
        let has_cleaner_offsets =
            existed.is_ok_and(|all| all.iter().any(|e| e.name == checkpoint::CLEANER_OFFSET_FILE));
        let hints = read_hints(&path, has_cleaner_offsets)
            .await
            .map_err(|e| refuse("its checkpoints are damaged", &e))?;
        disk::prepare_device(&path).await.map_err(|e| refuse("can't be read", &e))?;
        let probe = disk::probe(&path).await.ok();
        if let Ok((total, free)) = disk::disk_space(&path).await
            && free < FREE_BYTES_MIN
        {
            tracing::error!(
                "log.dirs={} is full ({free} of {total} bytes free): what is there is served, \
                 produces are refused, and writing begins by itself when there is room",
                path.display()
            );
        }
        let dir = DataDir {
            path,
            cluster_id,
            probe,
            checkpointing: Cell::new(false),
            checkpointed: Notify::new(),
            cleaner_offsets: RefCell::new(hints.cleaner_offsets.clone().into_iter().collect()),
            checkpoints_fail: Cell::new(false),
            _lock: lock,
        };
        Ok((Rc::new(dir), hints))
    }

    pub(super) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Removes what an interrupted deletion left, and returns the partition directories that exist.
    pub(super) async fn remove_strays(&self, image: &Image) -> Result<HashSet<String>, StartError> {
        let listed = disk::list_dir(&self.path)
            .await
            .map_err(|e| StartError::environment(format!("{}: {e}", self.path.display())))?;
        let mut existing = HashSet::new();
        let names: HashSet<String> = listed.iter().map(|e| e.name.clone()).collect();
        for entry in listed.into_iter().filter(|e| e.is_dir) {
            let dir = self.path.join(&entry.name);
            if entry.name.ends_with("-delete") {
                if let Err(e) = disk::remove_dir_all(&dir).await {
                    tracing::warn!(dir = %dir.display(), error = %e, "can't be removed");
                }
                continue;
            }
            let known = entry.name.rsplit_once('-').and_then(|(topic, index)| {
                let index: usize = index.parse().ok()?;
                Some(index < image.topic(topic)?.partitions.len())
            });
            match known {
                Some(true) => {
                    existing.insert(entry.name);
                }
                // Deleted in the metadata, and the broker died before the directory went.
                _ if entry.name.rsplit_once('-').is_some_and(|(_, i)| i.parse::<u32>().is_ok())
                    && entry.name != "__cluster_metadata-0" =>
                {
                    let mut free = (0u32..)
                        .map(|n| format!("{}.{n}-stray", entry.name))
                        .filter(|n| !names.contains(n));
                    let stray = self.path.join(free.next().unwrap_or_default());
                    tracing::warn!(dir = %dir.display(), to = %stray.display(),
                        "no such partition in the metadata: set aside");
                    // Durable before a topic of this name can be made again: a power cut must not bring
                    // the old records back under the new topic.
                    let moved = disk::rename(&dir, &stray).await;
                    if let Err(e) = async {
                        moved?;
                        disk::sync_dir(&self.path).await
                    }
                    .await
                    {
                        return Err(StartError::environment(format!(
                            "{} is of a deleted topic and can't be set aside ({e}): move it away",
                            dir.display()
                        )));
                    }
                }
                _ => {}
            }
        }
        Ok(existing)
    }

    /// The checkpoints may name partitions that were deleted before the last stop; a topic that is
    /// made again under the same name must not find their offsets, after a crash neither. False: the
    /// disk is full, and the files name them still.
    pub(super) async fn forget_deleted(
        &self,
        hints: &mut StartHints,
        existing: &HashSet<String>,
    ) -> Result<bool, StartError> {
        let mut maps =
            [&mut hints.recovery_points, &mut hints.log_start_offsets, &mut hints.cleaner_offsets];
        let named: usize = maps.iter().map(|map| map.len()).sum();
        maps.iter_mut().for_each(|map| map.retain(|tp, _| existing.contains(&tp.to_string())));
        if maps.iter().map(|map| map.len()).sum::<usize>() == named {
            return Ok(true);
        }
        let points: BTreeSet<TopicPartition> =
            maps.iter().flat_map(|map| map.keys().cloned()).collect();
        let left: Vec<PartitionCheckpoint> = points
            .into_iter()
            .map(|tp| PartitionCheckpoint {
                recovery_point: hints.recovery_points.get(&tp).copied().unwrap_or(0),
                log_start: hints.log_start_offsets.get(&tp).copied().unwrap_or(0),
                cleaned_to: hints.cleaner_offsets.get(&tp).copied(),
                topic_partition: tp,
            })
            .collect();
        match self.write_checkpoints(&left).await {
            Err(e) if e.is_full() => Ok(false),
            Err(e) => Err(StartError::environment(format!(
                "the offset checkpoints can't be written: {e}"
            ))),
            Ok(()) => Ok(true),
        }
    }

    pub(super) async fn take_checkpoint_turn(&self) {
        loop {
            let ended = self.checkpointed.notified();
            if !self.checkpointing.replace(true) {
                return;
            }
            ended.await;
        }
    }

    pub(super) fn end_checkpoint_turn(&self) {
        self.checkpointing.set(false);
        self.checkpointed.notify_waiters();
    }

    /// As `write_checkpoints`; a failure is told once, until one succeeds.
    pub(super) async fn try_checkpoints(&self, checkpoints: &[PartitionCheckpoint]) -> bool {
        let written = self.write_checkpoints(checkpoints).await;
        let failed_before = self.checkpoints_fail.replace(written.is_err());
        match written {
            Err(ref why) if !failed_before => tracing::error!(
                error = %why,
                "the offset checkpoints can't be written: a start after a crash would read more; \
                 check the disk and its room"
            ),
            Ok(()) if failed_before => tracing::info!("the offset checkpoints are written again"),
            _ => {}
        }
        written.is_ok()
    }

    pub(super) async fn write_checkpoints(
        &self,
        checkpoints: &[PartitionCheckpoint],
    ) -> crate::log::Result<()> {
        let of = |offset: &dyn Fn(&PartitionCheckpoint) -> Option<Offset>| -> OffsetCheckpoint {
            checkpoints
                .iter()
                .filter_map(|c| Some((c.topic_partition.clone(), offset(c)?)))
                .collect()
        };
        let points = of(&|c| Some(c.recovery_point));
        let starts = of(&|c| Some(c.log_start).filter(|start| *start > 0));
        let cleaned = of(&|c| c.cleaned_to);
        let path = |name| self.path.join(name);
        // First: an offset of a deleted topic must not be there when one of its name begins.
        if cleaned != *self.cleaner_offsets.borrow() {
            checkpoint::write_offset_checkpoint(&path(checkpoint::CLEANER_OFFSET_FILE), &cleaned)
                .await?;
            *self.cleaner_offsets.borrow_mut() = cleaned;
        }
        checkpoint::write_offset_checkpoint(&path(checkpoint::RECOVERY_POINT_FILE), &points)
            .await?;
        checkpoint::write_offset_checkpoint(&path(checkpoint::LOG_START_OFFSET_FILE), &starts).await
    }

    /// The last act of a stop: what the closed logs left to be synced, checkpoints, and the mark that the
    /// files can be trusted. Each only after the one before: they speak of it.
    pub(super) async fn finish(&self, checkpoints: &[PartitionCheckpoint], clean: bool) {
        if let Err(e) = disk::sync_file_system(&self.path).await {
            tracing::error!(error = %e, "the stop is not durable: the next start recovers");
            return;
        }
        let written = self.write_checkpoints(checkpoints).await;
        if let Err(e) = &written {
            tracing::error!(error = %e, "the offset checkpoints can't be written");
        }
        if clean
            && written.is_ok()
            && let Err(e) = checkpoint::write_clean_shutdown(&self.path, -1).await
        {
            tracing::error!(error = %e, "the clean stop can't be marked: the next start recovers");
        }
    }
}

/// Who this directory belongs to; a new one gets a new cluster id unless the configuration has one.
fn identity(
    config: &BrokerConfig,
    path: &Path,
    meta: Option<MetaProperties>,
) -> Result<MetaProperties, StartError> {
    let Some(meta) = meta else {
        return Ok(MetaProperties {
            cluster_id: config.cluster_id.clone().unwrap_or_else(random_id),
            node_id: config.broker_id,
            directory_id: Some(random_id()),
        });
    };
    if let Some(wanted) = &config.cluster_id
        && *wanted != meta.cluster_id
    {
        return Err(StartError::environment(format!(
            "log.dirs={} belongs to cluster {}, but cluster.id={wanted}: point log.dirs at another \
             directory or correct cluster.id",
            path.display(),
            meta.cluster_id
        )));
    }
    if meta.node_id != config.broker_id {
        return Err(StartError::environment(format!(
            "log.dirs={} belongs to broker {}, but broker.id={}: point log.dirs at another directory \
             or correct broker.id",
            path.display(),
            meta.node_id,
            config.broker_id
        )));
    }
    Ok(meta)
}

async fn read_hints(path: &Path, cleaner_offsets: bool) -> crate::log::Result<StartHints> {
    let points =
        checkpoint::read_offset_checkpoint(&path.join(checkpoint::RECOVERY_POINT_FILE)).await?;
    let starts =
        checkpoint::read_offset_checkpoint(&path.join(checkpoint::LOG_START_OFFSET_FILE)).await?;
    let cleaned = match cleaner_offsets {
        true => {
            checkpoint::read_offset_checkpoint(&path.join(checkpoint::CLEANER_OFFSET_FILE)).await?
        }
        false => OffsetCheckpoint::new(),
    };
    Ok(StartHints {
        clean: checkpoint::take_clean_shutdown(path).await?,
        recovery_points: points.into_iter().collect(),
        log_start_offsets: starts.into_iter().collect(),
        cleaner_offsets: cleaned.into_iter().collect(),
    })
}

/// 16 random bytes in URL-safe base64 without padding: the form of Kafka's cluster ids.
fn random_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = (u128::from(runtime::random_u64()) << 64) | u128::from(runtime::random_u64());
    let mut id = String::with_capacity(22);
    for _ in 0..22 {
        id.push(ALPHABET[(bits & 63) as usize] as char);
        bits >>= 6;
    }
    // A leading dash would read as an option in Kafka's tools.
    if id.starts_with('-') { id.replacen('-', "A", 1) } else { id }
}
