//! Record values: bytes fixed by the seed, stamped in place again and again. Deterministic; no I/O on
//! the way of a record. Not here: when they are due (`arrivals`), where they go (`producer`).

use super::super::stamp::{self, Stamp};

/// Record values: pseudo-random bytes made once from the seed, stamped in place again and again.
/// Enough different ones that a codec can't find the one before within a batch.
pub struct Payload {
    values: Vec<(Vec<u8>, u32)>,
    next: usize,
}

/// Together they are larger than any codec's usual window on a batch.
const PAYLOAD_POOL_BYTES: usize = 1 << 20;
const PAYLOADS_MAX: usize = 1024;
/// 64 symbols: 6 bits in 8, so that codecs have something to do and no miracle to report.
const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Payload {
    pub fn new(seed: u64, record_bytes: usize) -> Payload {
        let count = (PAYLOAD_POOL_BYTES / record_bytes.max(1)).clamp(1, PAYLOADS_MAX);
        let mut random = fastrand::Rng::with_seed(seed);
        let values = (0..count).map(|_| {
            let value: Vec<u8> =
                (0..record_bytes).map(|_| SYMBOLS[random.usize(..SYMBOLS.len())]).collect();
            let crc = stamp::payload_crc(&value);
            (value, crc)
        });
        Payload { values: values.collect(), next: 0 }
    }

    /// The next record's value.
    pub fn stamped(&mut self, stamp: &Stamp) -> &[u8] {
        self.next = if self.next + 1 < self.values.len() { self.next + 1 } else { 0 };
        let (value, crc) = &mut self.values[self.next];
        stamp.write(value, *crc);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_payloads() {
        let stamp = Stamp { run: 1, producer: 0, partition: 0, sequence: 0, intended_ns: 0 };
        let (mut a, mut b) = (Payload::new(9, 100), Payload::new(9, 100));
        assert_eq!(a.stamped(&stamp), b.stamped(&stamp));
        assert_ne!(a.stamped(&stamp), Payload::new(10, 100).stamped(&stamp));
        assert_eq!(Stamp::read(a.stamped(&stamp)), Ok(stamp));
    }
}
