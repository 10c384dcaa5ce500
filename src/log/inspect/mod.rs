//! What is in a data directory, and whether it is whole: `spindle log dump` and `spindle log verify`.
//! For stopped brokers' directories, Kafka's as well as ours; runs on any thread, opens files only to
//! read them, holds one window of a file at a time. Bytes are never trusted: whatever they are, the answer
//! is items, notes and faults. Not here: repair (recovery does it at a start), printing (cli/).

mod batches;
mod dump;
mod items;
mod kind;
mod small;
#[cfg(test)]
mod tests;
mod verify;
mod verify_segment;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::runtime::offline::OfflineFile;
use crate::types::Offset;

pub use dump::{DumpOptions, Out, dump};
pub use items::{FileItem, Item};
pub use verify::{Progress, VerifyOptions, VerifyReport, verify};

/// Indexes and checkpoints are read whole; one that is longer than this is none.
const SMALL_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub file: PathBuf,
    /// Byte in the file.
    pub position: Option<u64>,
    /// Offset of the record or entry there, when it is known.
    pub offset: Option<Offset>,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if let Some(position) = self.position {
            write!(f, "byte {position}")?;
            match self.offset {
                Some(offset) => write!(f, ", offset {offset}: ")?,
                None => write!(f, ": ")?,
            }
        }
        f.write_str(&self.what)
    }
}

impl Fault {
    fn of_io(path: &Path, e: &io::Error) -> Fault {
        let what = format!("can't be read: {e}");
        Fault { file: path.to_path_buf(), position: None, offset: None, what }
    }

    fn of_bytes(path: &Path, bad: small::BadBytes) -> Fault {
        let small::BadBytes { position, offset, why } = bad;
        Fault { file: path.to_path_buf(), position: Some(position), offset, what: why }
    }
}

fn read_small(path: &Path) -> Result<Vec<u8>, Fault> {
    let file = OfflineFile::open(path).map_err(|e| Fault::of_io(path, &e))?;
    if file.len() > SMALL_FILE_BYTES {
        let what = format!("{} bytes are too long for such a file", file.len());
        return Err(Fault { file: path.to_path_buf(), position: Some(0), offset: None, what });
    }
    let mut bytes = vec![0; file.len() as usize];
    let n = file.read_at(0, &mut bytes).map_err(|e| Fault::of_io(path, &e))?;
    bytes.truncate(n);
    Ok(bytes)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
