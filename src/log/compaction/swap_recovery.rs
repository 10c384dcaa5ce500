//! What a start makes of a swap that a crash cut short, ours or Kafka's: `.cleaned` goes, and with
//! it a `.swap` of the same or a later base (a part of a result: the originals are there); any other
//! `.swap` takes the place of what it covers. Each step may itself be cut short and is done again.
//! Invariant: what is covered is gone, durably, before the new file gets its name.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::scan::{BatchScan, Scanned};
use super::super::segment::{FileKind, file_name, parse_file_name};
use super::super::{Result, io_error};
use super::swap::{KINDS, remove, swap_name};
use crate::runtime::disk::DirEntry;
use crate::runtime::{File, OpenMode, disk};
use crate::types::Offset;

/// True when anything was changed: `entries` is then no longer what is there.
pub(in crate::log) async fn settle_swaps(dir: &Path, entries: &[DirEntry]) -> Result<bool> {
    let named = |suffix: &'static str| {
        entries.iter().filter(|e| !e.is_dir).filter_map(move |e| e.name.strip_suffix(suffix))
    };
    let cleaned: Vec<&str> = named(".cleaned").collect();
    let swaps: BTreeSet<(Offset, &str)> =
        named(".swap").filter_map(|name| Some((parse_file_name(name)?.0, name))).collect();
    if cleaned.is_empty() && swaps.is_empty() {
        return Ok(false);
    }
    let part_from = cleaned.iter().filter_map(|name| Some(parse_file_name(name)?.0)).min();
    let is_part = |base: Offset| part_from.is_some_and(|from| base >= from);
    let parts: Vec<&str> = swaps.iter().filter(|s| is_part(s.0)).map(|s| s.1).collect();
    if !parts.is_empty() {
        for name in &parts {
            remove(&dir.join(format!("{name}.swap"))).await?;
        }
        disk::sync_dir(dir).await.map_err(io_error(dir))?;
    }
    for name in cleaned {
        remove(&dir.join(format!("{name}.cleaned"))).await?;
    }
    let bases: BTreeSet<Offset> = swaps.iter().map(|s| s.0).filter(|b| !is_part(*b)).collect();
    for base in bases {
        let has = |name: String| entries.iter().any(|e| e.name == name);
        if has(swap_name(base, FileKind::Log)) {
            remove_covered(dir, base, entries).await?;
        } else if !has(file_name(base, FileKind::Log)) {
            // Indexes of nothing.
            for kind in KINDS {
                remove(&dir.join(swap_name(base, kind))).await?;
            }
            continue;
        }
        for kind in KINDS {
            let from = dir.join(swap_name(base, kind));
            match disk::rename(&from, &dir.join(file_name(base, kind))).await {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                done => done.map_err(io_error(&from))?,
            }
        }
    }
    disk::sync_dir(dir).await.map_err(io_error(dir))?;
    Ok(true)
}

/// Removes the segments that begin inside the one of `base`.
async fn remove_covered(dir: &Path, base: Offset, entries: &[DirEntry]) -> Result<()> {
    let end = end_of(dir, base).await?;
    let mut removed = false;
    for entry in entries {
        let Some((at, kind)) = parse_file_name(&entry.name) else { continue };
        if at > base && at < end && kind != FileKind::Snapshot {
            remove(&dir.join(&entry.name)).await?;
            removed = true;
        }
    }
    if removed {
        disk::sync_dir(dir).await.map_err(io_error(dir))?;
    }
    Ok(())
}

/// Offset after the last batch of `<base>.log.swap`: the cleaner keeps the last batch of what it
/// replaces, so this is how far that went.
async fn end_of(dir: &Path, base: Offset) -> Result<Offset> {
    let path = dir.join(swap_name(base, FileKind::Log));
    let file = File::open(&path, OpenMode::Read).await.map_err(io_error(&path))?;
    let len = file.len().await.map_err(io_error(&path))?;
    let mut scan = BatchScan::new(file.clone(), 0, len);
    let mut end = base;
    loop {
        match scan.next(false).await.map_err(io_error(&path))? {
            Scanned::Batch { header, .. } => end = end.max(header.last_offset() + 1),
            Scanned::End => break,
            Scanned::Bad { position, why } => {
                tracing::warn!("{}: byte {position}: {why}", path.display());
                break;
            }
        }
    }
    drop(scan);
    let _ = file.close().await;
    Ok(end)
}
