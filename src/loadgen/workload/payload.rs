//! What follows the stamp in a record's value: its size by the size law, its bytes by the payload source, both
//! fixed by the seed. Bytes, sizes and checksums are made once, in a pool that all producers share
//! (immutable); a record picks a piece of it, so it costs neither random numbers for bytes nor a CRC.
//! Sizes: `uniform` has pieces at evenly spaced quantiles of the law, in an order shuffled by the seed, so every
//! round of the pool has the law's distribution; of a histogram each record draws its bar by weight.
//! Not here: when records are due (`arrivals`), where they go (`producer`).

use std::ops::Range;
use std::sync::Arc;

use super::super::stamp::STAMP_BYTES;
use super::{PayloadSource, SizeLaw, Workload, draw_seed};

/// At least so many bytes, and at least a batch, before bytes come again: a codec sees no repetition that
/// isn't the source's own.
const POOL_BYTES: usize = 1 << 20;
/// Pieces of one size.
const PIECES_MAX: usize = 1 << 15;
/// Quantiles of the uniform law: so many, or as many as can be summed in a moment.
const QUANTILES: Range<usize> = 64..8192;
const SUMMED_BYTES: usize = 1 << 30;
const FILE_BYTES_MAX: u64 = 256 << 20;
const LINES_MAX: usize = 4_000_000;
/// The first 64 symbols of an alphabet, so that 6 bits and less are text.
const TEXT: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[derive(Clone, Copy)]
struct Piece {
    at: u32,
    bytes: u32,
    crc: u32,
}

pub struct PayloadPool {
    seed: u64,
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    /// Pieces that are used in turn, and up to which of 0..1 a draw falls to them.
    rings: Vec<(f64, Range<usize>)>,
    pub value_bytes_min: usize,
    pub value_bytes_max: usize,
}

/// Random bytes with exactly so many bits of entropy each: independent, and uniform over 2^n symbols for whole
/// n. Between n and n+1 there are two such alphabets, one taken with probability p where n plus the entropy
/// of that choice is what is wanted.
fn random_bytes(bits: f64, count: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut symbols = TEXT.to_vec();
    symbols.extend((0..=255).filter(|b| !TEXT.contains(b)));
    let whole = bits.floor().clamp(0.0, 8.0);
    let alphabet = 1usize << whole as usize;
    let other = other_alphabet(bits - whole);
    let bytes = (0..count).map(|_| {
        let symbol = random.usize(..alphabet);
        let shift = other > 0.0 && random.f64() < other;
        symbols[symbol + if shift { alphabet } else { 0 }]
    });
    bytes.collect()
}

/// The p in 0 to 1/2 whose binary entropy this is.
fn other_alphabet(bits: f64) -> f64 {
    let entropy = |p: f64| -p * p.log2() - (1.0 - p) * (1.0 - p).log2();
    if bits <= 0.0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 0.5);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if entropy(middle) < bits { low = middle } else { high = middle }
    }
    low
}

/// The lines of a file, without their ends; empty ones are no records.
fn lines(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive(|b| *b == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
        if !bare.is_empty() {
            found.push(at..at + bare.len());
        }
        at += line.len();
    }
    found
}

fn read_file(path: &std::path::Path, batch_bytes_max: usize) -> Result<Vec<u8>, String> {
    let named = |what: String| format!("--payload file:{}: {what}", path.display());
    let about = std::fs::metadata(path).map_err(|e| named(e.to_string()))?;
    if !about.is_file() {
        return Err(named("is no file".to_string()));
    }
    if about.len() > FILE_BYTES_MAX {
        return Err(named(format!(
            "has {} MiB; at most {} are held in memory: give a part of it (head -c)",
            about.len() >> 20,
            FILE_BYTES_MAX >> 20
        )));
    }
    let text = std::fs::read(path).map_err(|e| named(e.to_string()))?;
    let lines = lines(&text);
    let longest = lines.iter().map(Range::len).max().unwrap_or(0);
    if longest == 0 {
        return Err(named("has no line with anything on it".to_string()));
    }
    if lines.len() > LINES_MAX {
        return Err(named(format!("has {} lines; at most {LINES_MAX} are taken", lines.len())));
    }
    if longest + STAMP_BYTES > batch_bytes_max {
        return Err(named(format!("has a line of {longest} bytes: no record can be that long")));
    }
    Ok(text)
}

/// Cuts pieces out of the pool's bytes.
struct Cutter {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    /// Where a piece may begin; none: anywhere.
    starts: Vec<usize>,
    start: usize,
    at: usize,
    random: fastrand::Rng,
}

impl Cutter {
    /// The next piece of so many bytes, behind the one before it.
    fn cut(&mut self, bytes: usize) {
        if !self.starts.is_empty() {
            self.at = self.starts[self.start % self.starts.len()];
            self.start += 1;
        } else if self.at + bytes > self.bytes.len() {
            // Another round, but not along the same cuts.
            self.at = self.random.usize(..=(self.bytes.len() - bytes).min(bytes));
        }
        self.piece(self.at..self.at + bytes);
        self.at += bytes;
    }

    fn piece(&mut self, place: Range<usize>) {
        let crc = crc32fast::hash(&self.bytes[place.clone()]);
        self.pieces.push(Piece { at: place.start as u32, bytes: place.len() as u32, crc });
    }

    fn ring(&mut self, sizes: impl Iterator<Item = usize>) -> Range<usize> {
        let from = self.pieces.len();
        sizes.for_each(|size| self.cut(size - STAMP_BYTES));
        from..self.pieces.len()
    }
}

impl PayloadPool {
    /// A validated workload's. `Err` is about its file.
    pub fn new(w: &Workload) -> Result<PayloadPool, String> {
        let mut random = fastrand::Rng::with_seed(draw_seed(w.seed, "payload", 0));
        let largest = w.sizes.max() - STAMP_BYTES;
        let round = POOL_BYTES.max(w.batch_bytes);
        let (bytes, starts) = match &w.payload {
            PayloadSource::Entropy(bits) => {
                (random_bytes(*bits, round + largest, &mut random), Vec::new())
            }
            PayloadSource::File(path) => {
                let text = read_file(path, super::BATCH_BYTES_MAX)?;
                let starts: Vec<usize> = lines(&text).iter().map(|line| line.start).collect();
                let mut bytes = text.clone();
                while bytes.len() < text.len() + largest {
                    bytes.extend_from_slice(&text);
                }
                (bytes, starts)
            }
        };
        let order = fastrand::Rng::with_seed(draw_seed(w.seed, "sizes", 0));
        let mut cutter =
            Cutter { bytes, starts, pieces: Vec::new(), start: 0, at: 0, random: order };
        let rings = cutter.rings(&w.sizes, round);
        let sizes = || cutter.pieces.iter().map(|p| p.bytes as usize + STAMP_BYTES);
        Ok(PayloadPool {
            seed: w.seed,
            value_bytes_min: sizes().min().unwrap_or(STAMP_BYTES),
            value_bytes_max: sizes().max().unwrap_or(STAMP_BYTES),
            bytes: cutter.bytes,
            pieces: cutter.pieces,
            rings,
        })
    }
}

impl Cutter {
    fn rings(&mut self, law: &SizeLaw, round: usize) -> Vec<(f64, Range<usize>)> {
        match law {
            SizeLaw::Fixed(size) => {
                let most = (SUMMED_BYTES / size).clamp(1, PIECES_MAX);
                let count = self.starts.len().max(round / size).clamp(1, most);
                vec![(1.0, self.ring(std::iter::repeat_n(*size, count)))]
            }
            SizeLaw::Uniform { min, max } => {
                let mean = (min + max) / 2;
                let count = (SUMMED_BYTES / mean).clamp(QUANTILES.start, QUANTILES.end);
                let sizes = max - min + 1;
                let quantile = |i| min + (2 * i + 1) * sizes / (2 * count);
                let mut sizes: Vec<usize> = (0..count).map(quantile).collect();
                self.random.shuffle(&mut sizes);
                vec![(1.0, self.ring(sizes.into_iter()))]
            }
            SizeLaw::Histogram(bars) => {
                let all: f64 = bars.iter().map(|b| b.1).sum();
                let mut weight = 0.0;
                let rings = bars.iter().map(|(size, bar)| {
                    weight += bar;
                    let count = (round / size).clamp(4, PIECES_MAX / bars.len());
                    (weight / all, self.ring(std::iter::repeat_n(*size, count)))
                });
                rings.collect()
            }
            SizeLaw::File => {
                lines(&self.bytes).into_iter().for_each(|line| self.piece(line));
                vec![(1.0, 0..self.pieces.len())]
            }
        }
    }
}

/// One producer's way through the pool.
pub struct Payload {
    pool: Arc<PayloadPool>,
    /// By ring: its next piece.
    next: Vec<usize>,
    chosen: Piece,
    random: fastrand::Rng,
}

impl Payload {
    /// Producers begin at different pieces.
    pub fn new(pool: Arc<PayloadPool>, producer: u32) -> Payload {
        let mut random = fastrand::Rng::with_seed(draw_seed(pool.seed, "pieces", producer));
        let next = pool.rings.iter().map(|(_, ring)| random.usize(ring.clone())).collect();
        let mut payload = Payload { chosen: pool.pieces[0], pool, next, random };
        payload.advance();
        payload
    }

    /// Of the next record's value, the stamp included.
    pub fn value_bytes(&self) -> usize {
        STAMP_BYTES + self.chosen.bytes as usize
    }

    /// The bytes behind the next record's stamp, and their CRC-32.
    pub fn body(&self) -> (&[u8], u32) {
        let Piece { at, bytes, crc } = self.chosen;
        (&self.pool.bytes[at as usize..][..bytes as usize], crc)
    }

    /// The next record was made: on to the one after it.
    pub fn advance(&mut self) {
        let ring = match &self.pool.rings[..] {
            [_] => 0,
            rings => {
                let draw = self.random.f64();
                rings.partition_point(|(upto, _)| *upto <= draw).min(rings.len() - 1)
            }
        };
        let (_, pieces) = &self.pool.rings[ring];
        let next = &mut self.next[ring];
        self.chosen = self.pool.pieces[*next];
        *next = if *next + 1 < pieces.end { *next + 1 } else { pieces.start };
    }
}

/// Encoded blocks of headers `h0`, `h1` …, used in turn so that neighbours differ.
pub struct Headers {
    pub count: i32,
    blocks: Vec<Vec<u8>>,
    next: usize,
}

const HEADER_BLOCKS: usize = 64;

impl Headers {
    pub fn new(w: &Workload) -> Headers {
        if w.headers == 0 {
            return Headers { count: 0, blocks: vec![Vec::new()], next: 0 };
        }
        let names: Vec<String> = (0..w.headers).map(|i| format!("h{i}")).collect();
        let mut random = fastrand::Rng::with_seed(draw_seed(w.seed, "headers", 0));
        let block_bytes = names.len() * w.header_bytes;
        let blocks = (POOL_BYTES / block_bytes.max(1)).clamp(1, HEADER_BLOCKS);
        let blocks = (0..blocks).map(|_| {
            let values = random_bytes(6.0, block_bytes, &mut random);
            let pairs: Vec<(&str, Option<&[u8]>)> = names
                .iter()
                .enumerate()
                .map(|(i, n)| (&n[..], Some(&values[i * w.header_bytes..][..w.header_bytes])))
                .collect();
            crate::wire::records::encode_headers(&pairs)
        });
        Headers { count: w.headers as i32, blocks: blocks.collect(), next: 0 }
    }

    pub fn block(&self) -> &[u8] {
        &self.blocks[self.next]
    }

    pub fn advance(&mut self) {
        self.next = (self.next + 1) % self.blocks.len();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn payload(sizes: &str, source: &str, seed: u64) -> Result<Payload, String> {
        let mut w = Workload::default();
        (w.sizes, w.payload, w.seed) = (sizes.parse()?, source.parse()?, seed);
        w.validate()?;
        Ok(Payload::new(Arc::new(PayloadPool::new(&w)?), 3))
    }

    fn take(payload: &mut Payload, count: usize) -> Vec<Vec<u8>> {
        let values = (0..count).map(|_| {
            let (bytes, crc) = payload.body();
            assert_eq!(crc, crc32fast::hash(bytes));
            assert_eq!(bytes.len() + STAMP_BYTES, payload.value_bytes());
            let bytes = bytes.to_vec();
            payload.advance();
            bytes
        });
        values.collect()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_seed_fixes_the_payloads_and_sizes() {
        for sizes in ["100", "uniform:50-5000", "histogram:100=3,200=1"] {
            let mut a = payload(sizes, "entropy:6", 9).unwrap();
            let first = take(&mut a, 500);
            assert_eq!(first, take(&mut payload(sizes, "entropy:6", 9).unwrap(), 500));
            assert_ne!(first, take(&mut payload(sizes, "entropy:6", 10).unwrap(), 500));
            let mut other = Payload::new(a.pool.clone(), 4);
            assert_ne!(first, take(&mut other, 500), "producers begin at different pieces");
        }
    }

    #[test]
    fn a_byte_has_the_entropy_that_was_asked_for() {
        for bits in [0.0, 0.3, 1.0, 2.5, 4.0, 6.0, 7.2, 8.0] {
            let bytes = random_bytes(bits, 1 << 19, &mut fastrand::Rng::with_seed(4));
            let mut counts = [0u64; 256];
            bytes.iter().for_each(|b| counts[usize::from(*b)] += 1);
            let share = counts.iter().filter(|c| **c > 0).map(|c| *c as f64 / bytes.len() as f64);
            let measured: f64 = share.map(|p| -p * p.log2()).sum();
            assert!((measured - bits).abs() < 0.005, "{bits}: {measured}");
            // What a codec makes of it: never less than the entropy, and not much more (its Huffman
            // code has whole bits, and where they are few it trusts in repetitions too much).
            let packed = zstd::bulk::compress(&bytes, 3).unwrap().len();
            let ratio = packed as f64 * 8.0 / bytes.len() as f64;
            let low = if bits > 1.0 { bits * 0.99 } else { 0.0 };
            assert!(ratio >= low, "{bits}: packed to {ratio}");
            let slack = if bits >= 4.0 { 0.2 } else { 0.75 };
            assert!(ratio <= bits.max(0.01) + slack, "{bits}: packed to {ratio}");
        }
    }

    #[test]
    fn nothing_repeats_within_a_batch() {
        let mut values = payload("1000", "entropy:8", 1).unwrap();
        let batch = take(&mut values, 1000).concat();
        let packed = zstd::bulk::compress(&batch, 19).unwrap().len();
        assert!(packed as f64 > batch.len() as f64 * 0.999, "{packed} of {}", batch.len());
    }

    #[test]
    fn uniform_sizes_are_uniform() {
        let mut values = payload("uniform:100-2000", "entropy:6", 1).unwrap();
        let mut sizes: Vec<usize> =
            take(&mut values, 16_384).iter().map(|v| v.len() + STAMP_BYTES).collect();
        assert!(!sizes.is_sorted(), "the seed shuffles them");
        sizes.sort();
        assert_eq!((sizes[0], sizes[sizes.len() - 1]), (100, 2000));
        for tenth in 1..10 {
            let at = sizes[sizes.len() * tenth / 10];
            assert!(at.abs_diff(100 + 190 * tenth) <= 2, "{tenth}: {at}");
        }
    }

    #[test]
    fn a_histogram_has_its_weights_also_the_rare_ones() {
        let law = "histogram:100=9000,1000=999,10000=1";
        let mut values = payload(law, "entropy:6", 5).unwrap();
        let mut counts = BTreeMap::new();
        let n = 100_000;
        for _ in 0..n {
            *counts.entry(values.value_bytes()).or_insert(0i64) += 1;
            values.advance();
        }
        for (size, weight) in [(100, 0.9), (1000, 0.0999), (10_000, 0.0001)] {
            let (count, mean) = (counts[&size] as f64, weight * n as f64);
            assert!((count - mean).abs() < 4.0 * mean.sqrt(), "{size}: {count} is not {mean}");
        }
        assert_eq!(counts.len(), 3);
    }

    #[test]
    fn the_largest_sizes_fit() {
        for sizes in ["67108864", "uniform:32-20000000", "32"] {
            let mut values = payload(sizes, "entropy:0", 1).unwrap();
            take(&mut values, 3);
        }
    }

    #[test]
    fn a_file_gives_its_lines_or_is_cut() {
        let f = file("first\r\n\nsecond line\nthird");
        let source = format!("file:{}", f.path().display());
        let mut values = payload("file", &source, 1).unwrap();
        let mut seen: Vec<String> =
            take(&mut values, 6).iter().map(|v| String::from_utf8(v.clone()).unwrap()).collect();
        assert_eq!(seen[..3], seen[3..]);
        seen.truncate(3);
        seen.sort();
        assert_eq!(seen, ["first", "second line", "third"]);
        let size = (STAMP_BYTES + 8).to_string();
        let mut values = payload(&size, &source, 1).unwrap();
        let mut seen = take(&mut values, 30);
        seen.sort();
        seen.dedup();
        assert_eq!(seen, [b"first\r\n\n", b"second l", b"thirdfir"]);
    }

    #[test]
    fn files_that_can_t_be_used_are_sentences() {
        for (source, part) in [
            ("file:/no/such/file".to_string(), "No such file"),
            ("file:/tmp".to_string(), "no file"),
            (format!("file:{}", file("\n\r\n").path().display()), "No such file"),
        ] {
            let sentence = payload("file", &source, 1).err().unwrap();
            assert!(sentence.contains(part), "{sentence}");
        }
        let empty = file("\n\r\n");
        let source = format!("file:{}", empty.path().display());
        assert!(payload("file", &source, 1).err().unwrap().contains("no line with anything"));
    }

    #[test]
    fn headers_differ_from_record_to_record() {
        let mut w = Workload::default();
        (w.headers, w.header_bytes) = (3, 20);
        let mut headers = Headers::new(&w);
        let first = headers.block().to_vec();
        headers.advance();
        assert_ne!(first, headers.block());
        assert_eq!(first.len(), 3 * (1 + 2 + 1 + 20));
        w.headers = 0;
        let mut none = Headers::new(&w);
        none.advance();
        assert_eq!((none.count, none.block()), (0, &[][..]));
    }
}
