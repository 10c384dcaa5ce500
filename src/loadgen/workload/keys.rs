//! Keys: which one a record has (uniform or Zipf, fixed by the seed) and which partition it goes to. The key is
//! its number in decimal, zeros in front to the wanted length; number 0 is the most frequent under Zipf.
//! The partition is where Kafka's default partitioner (KIP-480) would put it: murmur2 of the bytes. Pure.

use super::{KeyLaw, Workload, draw_seed};

/// Kafka's variant of MurmurHash2 (32 bits, its own seed, the length in the first state).
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const FACTOR: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        word = (word ^ (word >> 24)).wrapping_mul(FACTOR);
        hash = hash.wrapping_mul(FACTOR) ^ word;
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(FACTOR);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(FACTOR);
    hash ^ (hash >> 15)
}

/// Of `partitions`, as Kafka's producers choose it.
pub fn partition_of(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions.max(1)
}

/// Rank k of 1..=count with probability proportional to k^-exponent: rejection-inversion (Hörmann and
/// Derflinger 1996), which needs no table and a little over one draw a number.
struct Zipf {
    count: f64,
    exponent: f64,
    /// The integral's value where it begins and where it ends.
    from: f64,
    to: f64,
    /// Candidates this close to their rank are taken without a look.
    sure: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Zipf {
        let mut zipf = Zipf { count: count as f64, exponent, from: 0.0, to: 0.0, sure: 0.0 };
        zipf.from = zipf.integral(1.5) - 1.0;
        zipf.to = zipf.integral(zipf.count + 0.5);
        zipf.sure = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    fn weight(&self, x: f64) -> f64 {
        x.powf(-self.exponent)
    }

    /// Of the weight, from 1 to x; in a form that stays exact around exponent 1.
    fn integral(&self, x: f64) -> f64 {
        let (rest, log) = (1.0 - self.exponent, x.ln());
        if (rest * log).abs() < 1e-12 { log } else { (rest * log).exp_m1() / rest }
    }

    fn inverse(&self, y: f64) -> f64 {
        let rest = 1.0 - self.exponent;
        // Below -1 only by rounding.
        let scaled = (rest * y).max(-1.0);
        if scaled.abs() < 1e-12 { y.exp() } else { (scaled.ln_1p() / rest).exp() }
    }

    fn draw(&self, random: &mut fastrand::Rng) -> u64 {
        loop {
            let y = self.to + random.f64() * (self.from - self.to);
            let x = self.inverse(y);
            let rank = x.round().clamp(1.0, self.count);
            if rank - x <= self.sure || y >= self.integral(rank + 0.5) - self.weight(rank) {
                return rank as u64;
            }
        }
    }
}

enum Law {
    Uniform(u64),
    Zipf(Zipf),
}

/// One producer's keys.
pub struct Keys {
    law: Law,
    /// Of the current key.
    digits: Vec<u8>,
    random: fastrand::Rng,
}

impl Keys {
    /// `None`: records have no keys.
    pub fn new(w: &Workload, producer: u32) -> Option<Keys> {
        let law = match w.keys {
            KeyLaw::None => return None,
            KeyLaw::Uniform { count } => Law::Uniform(count),
            KeyLaw::Zipf { count, exponent } => Law::Zipf(Zipf::new(count, exponent)),
        };
        let random = fastrand::Rng::with_seed(draw_seed(w.seed, "keys", producer));
        Some(Keys { law, digits: vec![b'0'; w.key_bytes], random })
    }

    fn draw(&mut self) -> u64 {
        match &self.law {
            Law::Uniform(count) => self.random.u64(..count),
            Law::Zipf(zipf) => zipf.draw(&mut self.random) - 1,
        }
    }

    /// Goes on to the next record's key.
    pub fn advance(&mut self) {
        let mut number = self.draw();
        for digit in self.digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }

    pub fn key(&self) -> &[u8] {
        &self.digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by `Utils.murmur2` and `toPositive(…) % 12` of Kafka 4.3.1.
    #[test]
    fn partitions_are_kafkas() {
        for (key, hash, partition) in [
            ("", 275646681, 9),
            ("a", -1563381124, 4),
            ("21", -973932308, 0),
            ("abc", 479470107, 3),
            ("abcd", -1323649548, 8),
            ("foobar", -790332482, 6),
            ("a-little-bit-long-string", -985981536, 8),
            ("a-little-bit-longer-string", -1486304829, 11),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971, 5),
            ("0000000000000007", 942151079, 11),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
            assert_eq!(partition_of(key.as_bytes(), 12), partition, "{key}");
        }
    }

    fn keys(law: &str, seed: u64, producer: u32) -> Keys {
        let mut w = Workload::default();
        (w.keys, w.seed) = (law.parse().unwrap(), seed);
        Keys::new(&w, producer).unwrap()
    }

    #[test]
    fn zipf_ranks_have_their_frequencies() {
        let draws = 400_000;
        for exponent in [0.5, 0.99, 1.0, 1.000_001, 1.7, 5.0] {
            let mut keys = keys(&format!("zipf:1000:{exponent}"), 7, 0);
            let mut counts = vec![0u64; 1000];
            (0..draws).for_each(|_| counts[keys.draw() as usize] += 1);
            let whole: f64 = (1..=1000).map(|k| f64::from(k).powf(-exponent)).sum();
            // Chi squared over ranks with enough draws; the rest in one cell.
            let (mut chi, mut cells, mut rest) = (0.0f64, 0.0f64, (0.0, 0.0f64));
            for (i, count) in counts.iter().enumerate() {
                let expected = f64::from(draws) * (i as f64 + 1.0).powf(-exponent) / whole;
                if expected >= 20.0 {
                    chi += (*count as f64 - expected).powi(2) / expected;
                    cells += 1.0;
                } else {
                    rest = (rest.0 + *count as f64, rest.1 + expected);
                }
            }
            if rest.1 >= 20.0 {
                chi += (rest.0 - rest.1).powi(2) / rest.1;
                cells += 1.0;
            }
            // Mean of chi squared is the cells less one, its deviation sqrt(2·cells).
            let bound = cells - 1.0 + 4.0 * (2.0 * cells).sqrt();
            assert!(chi < bound, "exponent {exponent}: chi squared {chi} over {cells} cells");
        }
    }

    #[test]
    fn uniform_keys_are_uniform_and_a_huge_range_works() {
        let mut few = keys("uniform:10", 1, 0);
        let mut counts = [0i64; 10];
        (0..100_000).for_each(|_| counts[few.draw() as usize] += 1);
        assert!(counts.iter().all(|c| (c - 10_000).abs() < 400), "{counts:?}");
        let mut many = keys("zipf:1000000000000:1.1", 1, 0);
        assert!((0..10_000).all(|_| many.draw() < 1_000_000_000_000));
        let mut one = keys("zipf:1", 1, 0);
        assert!((0..100).all(|_| one.draw() == 0));
    }

    #[test]
    fn a_seed_fixes_the_keys_and_each_producer_has_its_own() {
        let take = |seed, producer| {
            let mut keys = keys("uniform:1000000", seed, producer);
            let key = |_| {
                keys.advance();
                String::from_utf8(keys.key().to_vec()).unwrap()
            };
            (0..50).map(key).collect::<Vec<_>>()
        };
        assert_eq!(take(1, 0), take(1, 0));
        assert_ne!(take(1, 0), take(2, 0));
        assert_ne!(take(1, 0), take(1, 1));
        assert!(take(1, 0).iter().all(|k| k.len() == 16 && k.starts_with("0000000000")));
        assert!(Keys::new(&Workload::default(), 0).is_none());
    }
}
