//! A run of batch bytes on its way out, without a copy: tail memory, what a read of a file gave, bytes
//! from another shard, or a range of a file that the page cache holds.

use std::rc::Rc;

use crate::runtime::{AlignedBuf, CachedFile, ReadBuf};
use crate::wire::fetch::RecordBytes;

#[derive(Clone)]
pub struct Chunk {
    pub(super) memory: Memory,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone)]
pub(super) enum Memory {
    Tail(Rc<AlignedBuf>),
    Read(ReadBuf),
    Shared(bytes::Bytes),
    /// `start` and `end` count from this position.
    Cached(CachedFile, u64),
}

/// Where the bytes are, for who sends them.
pub enum Place<'a> {
    Memory(&'a [u8]),
    File { file: &'a CachedFile, position: u64 },
}

impl RecordBytes for Chunk {
    fn size_bytes(&self) -> usize {
        self.end - self.start
    }
}

/// Of a chunk that was not read only to be sent: those are never in a file.
impl std::ops::Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Tail(buf) => &buf[self.start..self.end],
            Memory::Read(buf) => &buf[self.start..self.end],
            Memory::Shared(bytes) => &bytes[self.start..self.end],
            Memory::Cached(..) => unreachable!("only `read_to_send` names ranges of files"),
        }
    }
}

impl Chunk {
    pub fn place(&self) -> Place<'_> {
        match &self.memory {
            Memory::Cached(file, position) => {
                Place::File { file, position: position + self.start as u64 }
            }
            _ => Place::Memory(self),
        }
    }

    /// For another shard: bytes are copied once, a range of a file stays one.
    pub fn to_portable(&self) -> PortableChunk {
        match &self.memory {
            Memory::Shared(bytes) => PortableChunk::Bytes(bytes.slice(self.start..self.end)),
            Memory::Cached(file, position) => {
                let position = position + self.start as u64;
                PortableChunk::Cached { file: file.clone(), position, length: self.size_bytes() }
            }
            _ => PortableChunk::Bytes(bytes::Bytes::copy_from_slice(self)),
        }
    }
}

/// A chunk that may cross shards.
pub enum PortableChunk {
    Bytes(bytes::Bytes),
    Cached { file: CachedFile, position: u64, length: usize },
}

impl From<PortableChunk> for Chunk {
    fn from(chunk: PortableChunk) -> Chunk {
        let (memory, end) = match chunk {
            PortableChunk::Bytes(bytes) => {
                let end = bytes.len();
                (Memory::Shared(bytes), end)
            }
            PortableChunk::Cached { file, position, length } => {
                (Memory::Cached(file, position), length)
            }
        };
        Chunk { memory, start: 0, end }
    }
}
