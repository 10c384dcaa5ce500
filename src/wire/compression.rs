//! Kafka's four codecs with an output bound: gzip (flate2), snappy (raw and the xerial framing that
//! Java writes), lz4 frame (`lz4`, its blocks by liblz4), zstd. Whole (`decompress`), or piece by
//! piece in a buffer that stays in the processor's cache (`for_each_piece`).
//! Compressors, decompressors and buffers are kept per thread, so a batch costs no new tables. A bomb
//! costs at most `limit` bytes, and output is allocated only as it really comes.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::lz4;
use super::record_batch::BatchError;
use crate::types::Compression;

/// Magic, version 1, compatible with version 1: the header of xerial's framing.
const XERIAL_HEADER: [u8; 16] =
    [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// Bytes of input per block, as Java's stream cuts them.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// Kafka's default levels.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;
/// Largest window of a zstd frame: what level 22, Kafka's highest, makes.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Appends the decompressed bytes to `out`; stops with `TooLarge` beyond `limit` bytes. After an
/// error `out` is as it was.
pub fn decompress(
    codec: Compression,
    input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), BatchError> {
    let had = out.len();
    let done = decompress_onto(codec, input, out, limit);
    if done.is_err() {
        out.truncate(had);
    }
    done
}

fn decompress_onto(
    codec: Compression,
    input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), BatchError> {
    match codec {
        Compression::None => {
            if input.len() > limit {
                return Err(BatchError::TooLarge { limit });
            }
            out.extend_from_slice(input);
            Ok(())
        }
        Compression::Gzip => {
            read_bounded("gzip", flate2::bufread::MultiGzDecoder::new(input), out, limit)
        }
        Compression::Snappy => snappy_decompress(input, out, limit),
        Compression::Lz4 | Compression::Zstd => {
            let had = out.len();
            let mut too_large = false;
            for_each_piece(codec, input, &mut |piece| {
                too_large = piece.len() > limit - (out.len() - had);
                if !too_large {
                    out.extend_from_slice(piece);
                }
                !too_large
            })?;
            if too_large { Err(BatchError::TooLarge { limit }) } else { Ok(()) }
        }
    }
}

/// A buffer of pieces beyond this is given back after use: the largest block of an lz4 frame.
const PIECE_BYTES_KEPT: usize = 4 * 1024 * 1024;
/// Of the codecs that have no blocks of their own: what zstd likes, and half of a small second-level cache.
const PIECE_BYTES: usize = 128 * 1024;

thread_local! {
    /// Taken while in use, so a callback may come back here.
    static PIECE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static ZSTD_READER: Cell<Option<DCtx<'static>>> = const { Cell::new(None) };
}

/// Shows the decompressed bytes in order, in pieces of whatever size, and keeps none of them; stops early
/// when `f` returns false. Pieces that were shown before an error are as they came.
pub fn for_each_piece(
    codec: Compression,
    input: &[u8],
    f: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), BatchError> {
    let mut buffer = PIECE.take();
    let done = match codec {
        Compression::None => {
            f(input);
            Ok(())
        }
        Compression::Gzip => gzip_pieces(input, &mut buffer, f),
        Compression::Snappy => snappy_pieces(input, &mut buffer, f),
        Compression::Lz4 => lz4_pieces(input, &mut buffer, f).map_err(|e| failed("lz4", e)),
        Compression::Zstd => zstd_pieces(input, &mut buffer, f).map_err(|e| failed("zstd", e)),
    };
    if buffer.capacity() <= PIECE_BYTES_KEPT {
        PIECE.set(buffer);
    }
    done
}

fn gzip_pieces(
    input: &[u8],
    buffer: &mut Vec<u8>,
    f: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), BatchError> {
    buffer.resize(buffer.len().max(PIECE_BYTES), 0);
    let mut reader = flate2::bufread::MultiGzDecoder::new(input);
    loop {
        match reader.read(buffer).map_err(|e| failed("gzip", e))? {
            0 => return Ok(()),
            n if f(&buffer[..n]) => {}
            _ => return Ok(()),
        }
    }
}

fn lz4_pieces(
    input: &[u8],
    buffer: &mut Vec<u8>,
    f: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), &'static str> {
    let mut blocks = lz4::blocks(input)?;
    while let Some(block) = blocks.next()? {
        if !f(block.read(buffer, blocks.block_bytes_max)?) {
            break;
        }
    }
    Ok(())
}

fn zstd_pieces(
    input: &[u8],
    buffer: &mut Vec<u8>,
    f: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), &'static str> {
    let name = zstd::zstd_safe::get_error_name;
    buffer.resize(buffer.len().max(PIECE_BYTES), 0);
    let mut reader = ZSTD_READER.take().unwrap_or_default();
    reader.reset(ResetDirective::SessionAndParameters).map_err(name)?;
    reader.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).map_err(name)?;
    let mut from = InBuffer::around(input);
    // Frames may follow each other; 0 says that one is at its end.
    let mut wanted = 0;
    let mut full = false;
    while from.pos() < input.len() || full && wanted != 0 {
        let mut to = OutBuffer::around(&mut buffer[..]);
        wanted = reader.decompress_stream(&mut to, &mut from).map_err(name)?;
        let len = to.pos();
        full = len == buffer.len();
        if len > 0 && !f(&buffer[..len]) {
            wanted = 0;
            break;
        }
    }
    if reader.sizeof() <= ZSTD_READER_BYTES_KEPT {
        ZSTD_READER.set(Some(reader));
    }
    if wanted == 0 { Ok(()) } else { Err("frame is cut") }
}

/// A decompressor with a window beyond level 3's is given back after use.
const ZSTD_READER_BYTES_KEPT: usize = 4 * 1024 * 1024;

fn failed(codec: &str, error: impl std::fmt::Display) -> BatchError {
    BatchError::Invalid(format!("{codec} data does not decompress: {error}"))
}

fn read_bounded(
    codec: &str,
    reader: impl Read,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), BatchError> {
    let had = out.len();
    reader.take((limit as u64).saturating_add(1)).read_to_end(out).map_err(|e| failed(codec, e))?;
    if out.len() - had > limit {
        return Err(BatchError::TooLarge { limit });
    }
    Ok(())
}

fn snappy_decompress(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), BatchError> {
    let had = out.len();
    snappy_blocks(input, &mut |block| {
        let len = snappy_len(block)?;
        let at = out.len();
        if len > limit - (at - had) {
            return Err(BatchError::TooLarge { limit });
        }
        out.resize(at + len, 0);
        let done = snap::raw::Decoder::new().decompress(block, &mut out[at..]);
        out.truncate(at + done.map_err(|e| failed("snappy", e))?);
        Ok(true)
    })
}

fn snappy_pieces(
    input: &[u8],
    buffer: &mut Vec<u8>,
    f: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), BatchError> {
    snappy_blocks(input, &mut |block| {
        let len = snappy_len(block)?;
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let done = snap::raw::Decoder::new().decompress(block, buffer);
        Ok(f(&buffer[..done.map_err(|e| failed("snappy", e))?]))
    })
}

fn snappy_blocks(
    input: &[u8],
    f: &mut dyn FnMut(&[u8]) -> Result<bool, BatchError>,
) -> Result<(), BatchError> {
    if !input.starts_with(&XERIAL_HEADER[..8]) {
        return f(input).map(|_| ());
    }
    let mut rest = input;
    while !rest.is_empty() {
        if rest.starts_with(&XERIAL_HEADER[..8]) {
            // Java's reader takes streams that were joined; so do we.
            rest = rest.get(16..).ok_or_else(|| failed("snappy", "header is cut"))?;
            continue;
        }
        let (len, after) =
            rest.split_first_chunk().ok_or_else(|| failed("snappy", "block length is cut"))?;
        let len = u32::from_be_bytes(*len) as usize;
        if len > after.len() {
            return Err(failed("snappy", format!("block of {len} bytes, {} left", after.len())));
        }
        let (block, after) = after.split_at(len);
        if !f(block)? {
            return Ok(());
        }
        rest = after;
    }
    Ok(())
}

/// What a block says that it decompresses to.
fn snappy_len(block: &[u8]) -> Result<usize, BatchError> {
    let len = snap::raw::decompress_len(block).map_err(|e| failed("snappy", e))?;
    // The densest element makes 64 bytes of 3: a longer claim is a lie, and not worth the memory.
    if len > block.len().saturating_mul(22) {
        return Err(failed("snappy", format!("{} bytes can't hold {len}", block.len())));
    }
    Ok(len)
}

thread_local! {
    static SNAPPY: RefCell<snap::raw::Encoder> = RefCell::new(snap::raw::Encoder::new());
    static ZSTD: RefCell<Option<zstd::bulk::Compressor<'static>>> =
        RefCell::new(zstd::bulk::Compressor::new(ZSTD_LEVEL).ok());
}

/// Appends the compressed bytes to `out`, in the form that Kafka's own clients read, at Kafka's
/// default level.
pub fn compress(codec: Compression, input: &[u8], out: &mut Vec<u8>) {
    compress_at(codec, None, input, out);
}

/// The same at a level of gzip (1 to 9; others mean the default), lz4 (1 to 17) or zstd (beyond its
/// range: the nearest); the other codecs have none.
pub fn compress_at(codec: Compression, level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
    match codec {
        Compression::None => out.extend_from_slice(input),
        Compression::Gzip => {
            let level = level.and_then(|l| u32::try_from(l).ok()).filter(|l| (1..=9).contains(l));
            let level = flate2::Compression::new(level.unwrap_or(GZIP_LEVEL));
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            encoder.write_all(input).expect("a Vec takes every write");
            encoder.finish().expect("a Vec takes every write");
        }
        Compression::Snappy => {
            SNAPPY.with_borrow_mut(|encoder| snappy_compress(encoder, input, out))
        }
        Compression::Lz4 => lz4::compress(input, level, out),
        Compression::Zstd => ZSTD.with_borrow_mut(|compressor| {
            let compressor = compressor.as_mut().expect("level 3 exists");
            let levels = zstd::compression_level_range();
            let level = level.unwrap_or(ZSTD_LEVEL).clamp(*levels.start(), *levels.end());
            compressor.set_compression_level(level).expect("the level is in zstd's own range");
            let at = out.len();
            out.resize(at + zstd::zstd_safe::compress_bound(input.len()), 0);
            let len = compressor
                .compress_to_buffer(input, &mut out[at..])
                .expect("the bound is always enough");
            out.truncate(at + len);
        }),
    }
}

fn snappy_compress(encoder: &mut snap::raw::Encoder, input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&XERIAL_HEADER);
    for block in input.chunks(XERIAL_BLOCK_BYTES) {
        let at = out.len();
        out.resize(at + 4 + snap::raw::max_compress_len(block.len()), 0);
        let len = encoder.compress(block, &mut out[at + 4..]).expect("the bound is always enough");
        out[at..at + 4].copy_from_slice(&(len as u32).to_be_bytes());
        out.truncate(at + 4 + len);
    }
}
