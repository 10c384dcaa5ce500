//! `spindle log dump`: every file below a path as items, handed on one by one as they are read, so that
//! a directory of any size is shown in little memory. A fault ends its file, not the dump.

use std::fmt;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::batches::{Batches, Step};
use super::items::{FileItem, Item, batch_item, record_item};
use super::kind::{Kind, partition_of};
use super::small;
use super::{Fault, file_name, read_small};
use crate::runtime::offline;
use crate::types::Offset;
use crate::wire::records::for_each_record;

#[derive(Clone, Copy, Debug, Default)]
pub struct DumpOptions {
    /// Each record of each batch.
    pub deep_iteration: bool,
    /// Their keys, values and headers too; means `deep_iteration`.
    pub print_data_log: bool,
}

/// Tells `out` of every file below `path` in name order; the faults, in the same order.
pub fn dump(path: &Path, options: DumpOptions, out: &mut dyn Out) -> io::Result<()> {
    let is_dir = match offline::is_dir(path) {
        Ok(is_dir) => is_dir,
        Err(e) => return out.fault(Fault::of_io(path, &e)),
    };
    if !is_dir {
        return dump_file(path, options, out);
    }
    let entries = match offline::list_dir(path) {
        Ok(entries) => entries,
        Err(e) => return out.fault(Fault::of_io(path, &e)),
    };
    for entry in entries {
        let child = path.join(&entry.name);
        if !entry.is_dir {
            dump_file(&child, options, out)?;
        } else if partition_of(&entry.name).is_some() {
            dump(&child, options, out)?;
        }
    }
    Ok(())
}

/// Where a dump goes. An error (a closed pipe) ends it.
pub trait Out {
    fn file(&mut self, file: FileItem) -> io::Result<()>;
    fn item(&mut self, item: Item) -> io::Result<()>;
    fn fault(&mut self, fault: Fault) -> io::Result<()>;
}

fn dump_file(path: &Path, options: DumpOptions, out: &mut dyn Out) -> io::Result<()> {
    let kind = Kind::of(&file_name(path));
    let bytes = match offline::OfflineFile::open(path) {
        Ok(file) => file.len(),
        Err(e) => return out.fault(Fault::of_io(path, &e)),
    };
    out.file(FileItem { file: path.to_path_buf(), kind: kind.word(), bytes })?;
    match kind {
        Kind::Log(_) | Kind::MetadataSnapshot(_) => dump_batches(path, options, out),
        Kind::Leftover | Kind::Other => Ok(()),
        Kind::OffsetIndex(base) => entries(path, out, |b| small::offset_index(base, b)),
        Kind::TimeIndex(base) => entries(path, out, |b| small::time_index(base, b)),
        Kind::TxnIndex(base) => entries(path, out, |b| small::txn_index(base, b)),
        Kind::ProducerSnapshot(_) => entries(path, out, small::producer_snapshot),
        Kind::EpochCheckpoint => entries(path, out, small::leader_epochs),
        Kind::OffsetCheckpoint => entries(path, out, small::offset_checkpoint),
        Kind::MetaProperties => entries(path, out, |b| lines_of_fields(small::meta_properties(b))),
        Kind::PartitionMetadata => {
            entries(path, out, |b| lines_of_fields(small::partition_metadata(b)))
        }
        Kind::Json => entries(path, out, |b| lines_of_fields(small::json(b))),
    }
}

/// An entry that is shown as its own fields.
#[derive(Serialize)]
#[serde(transparent)]
struct Fields(serde_json::Value);

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let serde_json::Value::Object(fields) = &self.0 else { return write!(f, "{}", self.0) };
        for (n, (name, value)) in fields.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            match value.as_str() {
                Some(text) => write!(f, "{space}{name}: {text}")?,
                None => write!(f, "{space}{name}: {value}")?,
            }
        }
        Ok(())
    }
}

fn lines_of_fields<T: Serialize>(parsed: small::Parsed<T>) -> small::Parsed<Fields> {
    let fields = parsed.0.iter().map(|item| match serde_json::to_value(item) {
        Ok(value @ serde_json::Value::Object(_)) => Fields(value),
        Ok(other) => Fields(serde_json::json!({ "value": other })),
        Err(_) => Fields(serde_json::Value::Null),
    });
    (fields.collect(), parsed.1)
}

fn entries<T: Serialize + fmt::Display>(
    path: &Path,
    out: &mut dyn Out,
    parse: impl FnOnce(&[u8]) -> small::Parsed<T>,
) -> io::Result<()> {
    let bytes = match read_small(path) {
        Ok(bytes) => bytes,
        Err(fault) => return out.fault(fault),
    };
    let (items, bad) = parse(&bytes);
    for item in items {
        let line = item.to_string();
        let fields = serde_json::to_value(item).unwrap_or_default();
        out.item(Item::Entry { fields, line })?;
    }
    match bad {
        Some(bad) => out.fault(Fault::of_bytes(path, bad)),
        None => Ok(()),
    }
}

fn dump_batches(path: &Path, options: DumpOptions, out: &mut dyn Out) -> io::Result<()> {
    let mut batches = match Batches::open(path) {
        Ok(batches) => batches,
        Err(e) => return out.fault(Fault::of_io(path, &e)),
    };
    loop {
        let step = match batches.next() {
            Ok(step) => step,
            Err(e) => return out.fault(Fault::of_io(path, &e)),
        };
        match step {
            Step::Batch { position, header, computed_crc } => {
                let is_valid = computed_crc == header.crc;
                out.item(Item::Batch(batch_item(&header, position, is_valid)))?;
                if is_valid && (options.deep_iteration || options.print_data_log) {
                    let bytes = match batches.batch_bytes(position, &header) {
                        Ok(bytes) => bytes,
                        Err(e) => return out.fault(Fault::of_io(path, &e)),
                    };
                    let mut written = Ok(());
                    let walked = for_each_record(bytes, &mut |record| {
                        written = out.item(Item::Record(record_item(&header, &record, options)));
                        written.is_ok()
                    });
                    written?;
                    if let Err(e) = walked {
                        let offset = Some(header.base_offset);
                        out.fault(fault_at(path, position, offset, e.to_string()))?;
                    }
                }
                if !is_valid {
                    let why = crc_sentence(computed_crc, header.crc);
                    out.fault(fault_at(path, position, Some(header.base_offset), why))?;
                }
            }
            Step::Old { position, magic, offset, bytes, crc_matches } => {
                out.item(Item::OldMessage {
                    base_position: position,
                    magic,
                    offset,
                    size: bytes,
                    is_valid: crc_matches,
                })?
            }
            Step::Zeros { position, bytes } => {
                out.item(Item::Zeros { zeros_from: position, size: bytes })?;
            }
            Step::Bad { position, offset, why } => {
                out.fault(fault_at(path, position, offset, why))?;
            }
            Step::End => return Ok(()),
        }
    }
}

pub(super) fn fault_at(path: &Path, position: u64, offset: Option<Offset>, what: String) -> Fault {
    Fault { file: path.to_path_buf(), position: Some(position), offset, what }
}

pub(super) fn crc_sentence(computed: u32, stored: u32) -> String {
    format!("CRC-32C is {computed:08x} but the batch says {stored:08x}")
}
