//! The lz4 frame format as Kafka's reader has it (Lz4BlockInputStream): one frame of blocks that do
//! not depend on each other. The descriptor's and the blocks' checksums are checked, the content's is
//! not; dictionaries and linked blocks are refused, and so is a frame without its end mark.
//! Pure, no allocation. Not here: the encoder, and where the blocks go (`compression`).

use std::hash::Hasher;

use lz4_flex::block::DecompressError;
use twox_hash::XxHash32;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const VERSION: u8 = 0b0100_0000;
const VERSION_BITS: u8 = 0b1100_0000;
const INDEPENDENT: u8 = 0b0010_0000;
const BLOCK_CHECKSUM: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
/// A dictionary's id, and what is reserved.
const UNSUPPORTED: u8 = 0b0000_0011;
/// Of a block's length: its bytes are as they were.
const STORED: u32 = 1 << 31;

/// The blocks of a frame that are still to come.
pub(super) struct Blocks<'a> {
    rest: &'a [u8],
    block_checksums: bool,
    /// What a block may hold when it is decompressed.
    pub block_bytes_max: usize,
}

pub(super) enum Block<'a> {
    Stored(&'a [u8]),
    Compressed(&'a [u8]),
}

/// What is tried first for the output of a block: some clients say 4 MiB and send some KB.
const OUTPUT_BYTES_MIN: usize = 64 * 1024;
const RATIO_LIKELY: usize = 8;

impl Block<'_> {
    /// Decompresses into `buffer`, which grows as need be; what it held is no matter.
    pub fn read<'b>(
        &'b self,
        buffer: &'b mut Vec<u8>,
        block_bytes_max: usize,
    ) -> Result<&'b [u8], &'static str> {
        let bytes = match self {
            Block::Stored(bytes) => return Ok(bytes),
            Block::Compressed(bytes) => bytes,
        };
        let likely = (bytes.len() * RATIO_LIKELY).max(OUTPUT_BYTES_MIN);
        let mut size = likely.max(buffer.len()).min(block_bytes_max);
        let len = loop {
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            match lz4_flex::block::decompress_into(bytes, &mut buffer[..size]) {
                Ok(len) => break len,
                Err(DecompressError::OutputTooSmall { .. }) if size < block_bytes_max => {
                    size = (size * 4).min(block_bytes_max);
                }
                Err(_) => return Err("block is damaged or larger than the frame says"),
            }
        };
        Ok(&buffer[..len])
    }
}

/// Reads the head of a frame. An error says what is wrong with it.
pub(super) fn blocks(frame: &[u8]) -> Result<Blocks<'_>, &'static str> {
    let descriptor = frame.strip_prefix(&MAGIC).ok_or("magic is wrong")?;
    let &[flags, sizes, ..] = descriptor else { return Err("frame is cut") };
    if flags & VERSION_BITS != VERSION {
        return Err("version is not 1");
    }
    if flags & INDEPENDENT == 0 {
        return Err("blocks that depend on each other are not supported");
    }
    if flags & UNSUPPORTED != 0 {
        return Err("dictionaries are not supported");
    }
    let block_bytes_max = match sizes >> 4 {
        4 => 64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return Err("block size is out of range"),
    };
    let len = if flags & CONTENT_SIZE != 0 { 10 } else { 2 };
    let Some((checksum, rest)) = descriptor.get(len..).and_then(<[u8]>::split_first) else {
        return Err("frame is cut");
    };
    if (xxhash32(&descriptor[..len]) >> 8) as u8 != *checksum {
        return Err("descriptor fails its checksum");
    }
    Ok(Blocks { rest, block_checksums: flags & BLOCK_CHECKSUM != 0, block_bytes_max })
}

impl<'a> Blocks<'a> {
    /// `None` at the end mark. What follows it is nobody's, as in Kafka.
    pub fn next(&mut self) -> Result<Option<Block<'a>>, &'static str> {
        let Some((&length, rest)) = self.rest.split_first_chunk() else {
            return Err("frame has no end mark");
        };
        let length = u32::from_le_bytes(length);
        let bytes_len = (length & !STORED) as usize;
        if bytes_len == 0 {
            return Ok(None);
        }
        if bytes_len > self.block_bytes_max {
            return Err("block is larger than the frame says");
        }
        let Some((bytes, rest)) = rest.split_at_checked(bytes_len) else {
            return Err("block is cut");
        };
        self.rest = rest;
        if self.block_checksums {
            let Some((&stored, rest)) = self.rest.split_first_chunk() else {
                return Err("block is cut");
            };
            if xxhash32(bytes) != u32::from_le_bytes(stored) {
                return Err("block fails its checksum");
            }
            self.rest = rest;
        }
        let block =
            if length & STORED != 0 { Block::Stored(bytes) } else { Block::Compressed(bytes) };
        Ok(Some(block))
    }
}

fn xxhash32(bytes: &[u8]) -> u32 {
    let mut hasher = XxHash32::with_seed(0);
    hasher.write(bytes);
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

    use super::*;

    fn info() -> FrameInfo {
        FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB)
    }

    fn frame(info: FrameInfo, data: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn read(frame: &[u8]) -> Result<Vec<u8>, &'static str> {
        let (mut out, mut buffer) = (Vec::new(), Vec::new());
        let mut blocks = blocks(frame)?;
        while let Some(block) = blocks.next()? {
            out.extend_from_slice(block.read(&mut buffer, blocks.block_bytes_max)?);
        }
        Ok(out)
    }

    #[test]
    fn what_the_encoder_makes_is_read() {
        let mut random = fastrand::Rng::with_seed(1);
        let text: Vec<u8> = (0..300_000).map(|_| random.u8(b'a'..b'e')).collect();
        let noise: Vec<u8> = (0..100_000).map(|_| random.u8(..)).collect();
        for data in [&text[..], &noise[..], &[0; 5_000_000][..]] {
            for size in
                [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB]
            {
                let info = info().block_size(size);
                assert!(read(&frame(info.clone(), data)).unwrap() == data);
                let info = info.block_checksums(true).content_size(Some(data.len() as u64));
                assert!(read(&frame(info, data)).unwrap() == data);
            }
        }
    }

    /// As Kafka 4.3.1 (its Lz4BlockInputStream and FLG).
    #[test]
    fn what_kafka_refuses_is_refused() {
        let data = [7; 1000];
        let linked = frame(info().block_mode(BlockMode::Linked), &data);
        assert_eq!(read(&linked), Err("blocks that depend on each other are not supported"));
        let good = frame(info().block_checksums(true), &data);
        assert_eq!(read(&good[..good.len() - 4]), Err("frame has no end mark"));
        assert_eq!(read(&good[..good.len() - 5]), Err("block is cut"));
        assert_eq!(read(&good[..3]), Err("magic is wrong"));
        assert_eq!(read(&good[..6]), Err("frame is cut"));
        let changed = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            read(&bytes)
        };
        assert_eq!(changed(6), Err("descriptor fails its checksum"));
        assert_eq!(changed(12), Err("block fails its checksum"));
        // The content's checksum is not looked at, and nothing after it.
        let mut unchecked = frame(info().content_checksum(true), &data);
        *unchecked.last_mut().unwrap() ^= 1;
        unchecked.push(9);
        assert_eq!(read(&unchecked).unwrap(), data);
    }
}
