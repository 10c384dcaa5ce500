//! Files read through the page cache, for what many readers want: the kernel keeps it and sends it
//! without a copy (`Stream::send_file`). Read-only; the same bytes as the O_DIRECT `File` of that
//! path, as long as nobody writes to it any more.
//! Belongs to the executor that opened it. In the simulator what was read once is resident.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::disk::Backend;
use super::{File, ReadBuf, real, sim};

#[derive(Clone)]
pub struct CachedFile(pub(super) Inner);

#[derive(Clone)]
pub(super) enum Inner {
    Real(real::cached::CachedFile),
    Sim(Simulated),
}

#[derive(Clone)]
pub(super) struct Simulated {
    pub file: sim::disk::File,
    /// What was read: start..end.
    resident: Rc<RefCell<Vec<(u64, u64)>>>,
}

impl CachedFile {
    /// Of a file that is open: the same one, wherever its path leads by now.
    pub async fn beside(file: &File) -> io::Result<CachedFile> {
        Ok(CachedFile(match file.backend() {
            Backend::Real(file) => Inner::Real(real::cached::CachedFile::beside(file).await?),
            Backend::Sim(file) => {
                Inner::Sim(Simulated { file: file.clone(), resident: Rc::default() })
            }
        }))
    }

    /// Whether all of the range is in memory now, so that sending it waits for no device.
    pub fn is_resident(&self, position: u64, length: usize) -> bool {
        let end = position + length as u64;
        match &self.0 {
            Inner::Real(file) => file.is_resident(position, length as u64),
            Inner::Sim(s) => s.resident.borrow().iter().any(|r| r.0 <= position && end <= r.1),
        }
    }

    /// Reads it into the page cache as well. Shorter only at the end of the file.
    pub async fn read_at(&self, position: u64, length: usize) -> io::Result<ReadBuf> {
        match &self.0 {
            Inner::Real(file) => Ok(file.read_at(position, length).await?.into()),
            Inner::Sim(s) => {
                let bytes = s.file.read_at(position, length).await?;
                s.resident.borrow_mut().push((position, position + bytes.len() as u64));
                Ok(bytes.into())
            }
        }
    }
}
