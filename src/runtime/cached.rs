//! Files read through the page cache, for what many readers want: the kernel keeps it and sends it
//! without a copy (`Stream::send_file`). Read-only; the same bytes as the O_DIRECT `File` of that
//! path, as long as nobody writes to it any more.
//! Send, unlike `File`: a range of one shard's file leaves by another shard's socket. In the simulator what was
//! read once is resident.

use std::io;

use super::disk::Backend;
use super::{File, ReadBuf, real, sim};

#[derive(Clone)]
pub struct CachedFile(pub(super) Inner);

#[derive(Clone)]
pub(super) enum Inner {
    Real(real::cached::CachedFile),
    Sim(sim::cached::CachedFile),
}

/// Of what was to be sent: whoever asked comes again, and then it is read and checked.
pub(super) fn went_out() -> io::Error {
    io::Error::other("what was to be sent went out of the page cache: the peer has to ask again")
}

impl CachedFile {
    /// Of a file that is open: the same one, wherever its path leads by now.
    pub async fn beside(file: &File) -> io::Result<CachedFile> {
        Ok(CachedFile(match file.backend() {
            Backend::Real(file) => Inner::Real(real::cached::CachedFile::beside(file).await?),
            Backend::Sim(file) => Inner::Sim(sim::cached::CachedFile::beside(file)),
        }))
    }

    /// Whether all of the range is in memory now, so that sending it waits for no device.
    pub fn is_resident(&self, position: u64, length: usize) -> bool {
        match &self.0 {
            Inner::Real(file) => file.is_resident(position, length as u64),
            Inner::Sim(file) => file.now(position, length).is_some(),
        }
    }

    /// Only what is in memory: `None` when the device would have to be waited for.
    pub fn read_now(&self, position: u64, length: usize) -> Option<ReadBuf> {
        match &self.0 {
            Inner::Real(file) => file.read_now(position, length).map(ReadBuf::from),
            Inner::Sim(file) => file.now(position, length).map(ReadBuf::from),
        }
    }

    /// Reads it into the page cache as well. Shorter only at the end of the file.
    pub async fn read_at(&self, position: u64, length: usize) -> io::Result<ReadBuf> {
        match &self.0 {
            Inner::Real(file) => Ok(file.read_at(position, length).await?.into()),
            Inner::Sim(file) => Ok(file.read_at(position, length).await?.into()),
        }
    }
}
