//! The lz4 frame format as Kafka has it (Lz4BlockInputStream, Lz4BlockOutputStream): one frame of
//! blocks that do not depend on each other, coded by liblz4. The descriptor's and the blocks' checksums
//! are checked, the content's is not; dictionaries and linked blocks are refused, and so is a frame
//! without its end mark. Pure. Not here: where the blocks go (`compression`).

use std::hash::Hasher;

use lz4::block::{CompressionMode, compress_bound, compress_to_buffer, decompress_to_buffer};
use twox_hash::XxHash32;

/// What is written: version 1, independent blocks of up to 64 KiB, no checksums but the head's (0x82).
const HEAD: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const WRITTEN_BLOCK_BYTES: usize = 64 * 1024;
const END_MARK: [u8; 4] = [0; 4];
/// Kafka's default; it means the fast compressor, every other level the thorough one.
const LEVEL_FAST: i32 = 9;

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
            match decompress_to_buffer(bytes, Some(size as i32), &mut buffer[..size]) {
                Ok(len) => break len,
                // Damaged, or there was too little room: it does not say which.
                Err(_) if size < block_bytes_max => size = (size * 4).min(block_bytes_max),
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

/// Appends a frame. `level`: Kafka's compression.lz4.level, 1 to 17; from 12 on there is no more to gain.
pub(super) fn compress(input: &[u8], level: Option<i32>, out: &mut Vec<u8>) {
    let mode = match level.unwrap_or(LEVEL_FAST) {
        LEVEL_FAST => CompressionMode::FAST(1),
        level => CompressionMode::HIGHCOMPRESSION(level),
    };
    let room = compress_bound(WRITTEN_BLOCK_BYTES).expect("a block's size is in lz4's range");
    out.extend_from_slice(&HEAD);
    for block in input.chunks(WRITTEN_BLOCK_BYTES) {
        let at = out.len() + 4;
        out.resize(at + room, 0);
        let done = compress_to_buffer(block, Some(mode), false, &mut out[at..]);
        let mut length = done.expect("the bound is always enough");
        let mut stored = 0;
        if length >= block.len() {
            (length, stored) = (block.len(), STORED);
            out[at..at + length].copy_from_slice(block);
        }
        out[at - 4..at].copy_from_slice(&(length as u32 | stored).to_le_bytes());
        out.truncate(at + length);
    }
    out.extend_from_slice(&END_MARK);
}

fn xxhash32(bytes: &[u8]) -> u32 {
    let mut hasher = XxHash32::with_seed(0);
    hasher.write(bytes);
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4::liblz4::BlockChecksum;
    use lz4::{BlockMode, BlockSize, ContentChecksum, EncoderBuilder};

    use super::*;

    fn info() -> EncoderBuilder {
        let mut info = EncoderBuilder::new();
        info.block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
        info.checksum(ContentChecksum::NoChecksum).block_checksum(BlockChecksum::NoBlockChecksum);
        info
    }

    fn frame(info: &EncoderBuilder, data: &[u8]) -> Vec<u8> {
        let mut encoder = info.build(Vec::new()).unwrap();
        encoder.write_all(data).unwrap();
        let (frame, done) = encoder.finish();
        done.unwrap();
        frame
    }

    fn read(frame: &[u8]) -> Result<Vec<u8>, &'static str> {
        let (mut out, mut buffer) = (Vec::new(), Vec::new());
        let mut blocks = blocks(frame)?;
        while let Some(block) = blocks.next()? {
            out.extend_from_slice(block.read(&mut buffer, blocks.block_bytes_max)?);
        }
        Ok(out)
    }

    /// Text that compresses, noise that does not, and a run that compresses to next to nothing.
    fn datas() -> [Vec<u8>; 4] {
        let mut random = fastrand::Rng::with_seed(1);
        let text = (0..300_000).map(|_| random.u8(b'a'..b'e')).collect();
        let noise = (0..100_000).map(|_| random.u8(..)).collect();
        [text, noise, vec![0; 5_000_000], Vec::new()]
    }

    #[test]
    fn what_liblz4_makes_is_read() {
        for data in datas() {
            for size in
                [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB]
            {
                let mut info = info();
                info.block_size(size.clone());
                assert!(read(&frame(&info, &data)).unwrap() == data);
                info.block_checksum(BlockChecksum::BlockChecksumEnabled);
                info.content_size(data.len() as u64);
                assert!(read(&frame(&info, &data)).unwrap() == data);
            }
        }
    }

    #[test]
    fn what_is_written_is_a_frame_at_every_level() {
        for data in datas() {
            let lengths = [Some(1), None, Some(9), Some(12), Some(17)].map(|level| {
                let mut frame = vec![1, 2, 3];
                compress(&data, level, &mut frame);
                assert_eq!(frame[..3], [1, 2, 3]);
                assert!(read(&frame[3..]).unwrap() == data);
                let mut whole = Vec::new();
                let mut theirs = lz4::Decoder::new(&frame[3..]).unwrap();
                std::io::Read::read_to_end(&mut theirs, &mut whole).unwrap();
                assert!(whole == data);
                frame.len()
            });
            assert_eq!(lengths[1], lengths[2], "9 is the default");
            assert!(lengths[3] <= lengths[1] && lengths[4] == lengths[3]);
            assert!(lengths[0] <= data.len() + data.len() / 100 + 100);
        }
    }

    /// As Kafka 4.3.1 (its Lz4BlockInputStream and FLG).
    #[test]
    fn what_kafka_refuses_is_refused() {
        let data = [7; 1000];
        let linked = frame(info().block_mode(BlockMode::Linked), &data);
        assert_eq!(read(&linked), Err("blocks that depend on each other are not supported"));
        let good = frame(info().block_checksum(BlockChecksum::BlockChecksumEnabled), &data);
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
        let mut unchecked = frame(info().checksum(ContentChecksum::ChecksumEnabled), &data);
        *unchecked.last_mut().unwrap() ^= 1;
        unchecked.push(9);
        assert_eq!(read(&unchecked).unwrap(), data);
    }
}
