//! Kafka's four codecs with an output bound: gzip (flate2), snappy (raw and the xerial framing that
//! Java writes), lz4 frame (lz4_flex, content checksums as Kafka has them), zstd.

use super::record_batch::BatchError;
use crate::types::Compression;

/// Appends the decompressed bytes to `out`; stops with `TooLarge` beyond `limit` bytes.
pub fn decompress(
    codec: Compression,
    input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), BatchError> {
    let _ = (codec, input, out, limit);
    todo!()
}

/// Appends the compressed bytes to `out`, in the form that Kafka's own clients read.
pub fn compress(codec: Compression, input: &[u8], out: &mut Vec<u8>) {
    let _ = (codec, input, out);
    todo!()
}
