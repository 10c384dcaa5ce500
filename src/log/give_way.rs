//! How fast catch-up reads may go beside writes: a limit that follows what the reads do to the writes.
//! Writes that nobody reads beside say what is usual; the limit comes down (by a part) as soon as more than one
//! in ten is clearly slower than nine in ten of those, and goes up (by a step) while they are fine. That is the law of
//! AIMD, as TCP's, on a latency target, as the kernel's blk-wbt and blk-iolatency; that what is usual is learnt
//! anew in short rests of the reads is BBR's. One in ten and not one in a hundred: the slowest hundredth is
//! mostly the machine's own (other programs, the scheduler), says little within a second, and moves with the tenth.
//! Owned by one shard; pure: no clock, no I/O. Not here: who waits (`catch_up`), bytes in flight (`read_ahead`).

use std::time::Duration;

use crate::runtime::Instant;

/// The limit goes up, or what is usual is worked out, this often.
pub(super) const WINDOW: Duration = Duration::from_millis(100);

/// After the limit came down: what is under way may still be slow.
const DEAF_FOR: Duration = Duration::from_millis(50);

/// Without reads for so long the limit feels its way up again.
const FORGET_AFTER: Duration = Duration::from_secs(10);

/// Where a replay begins beside writes; half as much more each window until writes suffer: 1 GB/s after 0.7 s.
/// Twice as much from twice as much on made the first second of a replay the worst for writes.
const BYTES_PER_S_AT_FIRST: u64 = 64 * 1024 * 1024;

/// More is as good as none, and the arithmetic stays far from its ends.
const BYTES_PER_S_MAX: u64 = 1 << 40;

/// Fewer quiet writes say nothing of the slowest tenth.
const WRITES_TO_KNOW: u32 = 32;

/// Of these the older half counts half.
const WRITES_REMEMBERED: u32 = 4096;

/// Of writes, that may be slower than is usual.
const SLOW_ONE_IN: i32 = 10;

/// The limit comes down when so many more were slow; as many may be saved up.
const SLOW_TOO_MANY: i32 = 6;

/// No need to tell longer ones apart.
const DELAY_US_MAX: u64 = 4_000_000;

/// Below, the clock and the executor are what is measured.
const USUAL_US_MIN: u64 = 100;

const OCTAVES: usize = 20;

/// How many writes took how long; eight classes an octave.
struct Delays {
    classes: [u32; OCTAVES * 8],
    writes: u32,
}

impl Delays {
    fn new() -> Delays {
        Delays { classes: [0; OCTAVES * 8], writes: 0 }
    }

    fn note(&mut self, us: u64) {
        let us = us.clamp(8, DELAY_US_MAX);
        let octave = us.ilog2() as usize - 3;
        self.classes[octave * 8 + (us >> octave) as usize % 8] += 1;
        self.writes += 1;
        if self.writes >= WRITES_REMEMBERED {
            self.classes.iter_mut().for_each(|writes| *writes /= 2);
            self.writes = self.classes.iter().sum();
        }
    }

    /// All but a tenth took no longer, µs.
    fn usual_at_most(&self) -> Option<u64> {
        if self.writes < WRITES_TO_KNOW {
            return None;
        }
        let mut slower = self.writes;
        let class = self.classes.iter().position(|writes| {
            slower -= writes;
            slower * SLOW_ONE_IN as u32 <= self.writes
        })?;
        let (octave, part) = (class / 8, class as u64 % 8);
        Some(((8 + part + 1) << octave).max(USUAL_US_MIN))
    }
}

pub(super) struct GiveWay {
    bytes_per_s_min: u64,
    /// That, or twice what is written: who lags can catch up, however slow writes are.
    least: u64,
    quiet: Delays,
    /// Of the quiet writes, µs.
    usual_us: Option<u64>,
    /// Slow writes beyond one in ten, in tenths.
    debt: i32,
    bytes_per_s: u64,
    /// Writes have not suffered since the reads began.
    unhurt: bool,
    deaf_until: Instant,
    last_read: Instant,
}

impl GiveWay {
    pub fn new(bytes_per_s_min: u64) -> GiveWay {
        GiveWay {
            bytes_per_s_min,
            least: bytes_per_s_min,
            quiet: Delays::new(),
            usual_us: None,
            debt: 0,
            bytes_per_s: bytes_per_s_min.max(BYTES_PER_S_AT_FIRST),
            unhurt: true,
            deaf_until: Instant::default(),
            last_read: Instant::default(),
        }
    }

    /// A write nobody read beside.
    pub fn wrote_in_quiet(&mut self, took: Duration) {
        self.quiet.note(took.as_micros() as u64);
    }

    /// A write beside reads. True: the limit came down.
    pub fn wrote_beside_reads(&mut self, now: Instant, took: Duration) -> bool {
        self.last_read = now;
        let Some(usual_us) = self.usual_us.filter(|_| now >= self.deaf_until) else {
            return false;
        };
        const TOO_MANY: i32 = SLOW_TOO_MANY * SLOW_ONE_IN;
        // Half as much again is still the disk's own mood; the bound that is promised is twice.
        if took.as_micros() as u64 <= usual_us + usual_us / 2 {
            self.debt = (self.debt - 1).max(-TOO_MANY);
            return false;
        }
        self.debt += SLOW_ONE_IN - 1;
        if self.debt < TOO_MANY {
            return false;
        }
        // The first time it may be far too much.
        let left = if self.unhurt { 5 } else { 7 };
        self.bytes_per_s = (self.bytes_per_s / 10 * left).max(self.least);
        (self.debt, self.unhurt, self.deaf_until) = (0, false, now + DEAF_FOR);
        true
    }

    /// A window is over, in which the fastest shard's reads had this rate, and that to which most is written
    /// this one.
    pub fn window_ended(&mut self, now: Instant, reads: u64, writes: u64) {
        self.usual_us = self.quiet.usual_at_most();
        self.least = self.bytes_per_s_min.max(writes.saturating_mul(2));
        if now.saturating_since(self.last_read) > FORGET_AFTER && !self.unhurt {
            self.bytes_per_s = (self.bytes_per_s / 2).max(self.least);
            (self.unhurt, self.debt) = (true, 0);
        }
        // A limit that the reads do not come near says nothing.
        if self.debt > 0 || now < self.deaf_until || reads < self.bytes_per_s / 4 * 3 {
            return;
        }
        let step =
            if self.unhurt { self.bytes_per_s / 2 } else { (self.bytes_per_s / 64).max(1 << 20) };
        self.bytes_per_s = (self.bytes_per_s + step).min(BYTES_PER_S_MAX);
    }

    /// Bytes a second that each shard may read; `None`: it is not known what is usual.
    pub fn limit(&self) -> Option<u64> {
        self.usual_us.map(|_| self.bytes_per_s.max(self.least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const FLOOR: u64 = 8 << 20;

    /// A disk whose writes take as long as the rate of the reads says, in `windows` windows of 100 writes.
    fn run(
        give_way: &mut GiveWay,
        now: &mut Instant,
        windows: usize,
        delay: impl Fn(u64) -> Duration,
    ) -> Vec<u64> {
        let mut limits = Vec::new();
        for _ in 0..windows {
            let reads = give_way.limit().unwrap_or(2 << 30);
            for n in 0..100 {
                *now = *now + MS;
                // Every fiftieth is slow by itself.
                let own = if n % 50 == 0 { MS * 2 } else { MS / 2 };
                give_way.wrote_beside_reads(*now, own + delay(reads));
            }
            give_way.window_ended(*now, reads, 0);
            limits.push(give_way.limit().unwrap_or(u64::MAX));
        }
        limits
    }

    fn quiet(give_way: &mut GiveWay, now: Instant) {
        for n in 0..1000 {
            give_way.wrote_in_quiet(if n % 50 == 0 { MS * 2 } else { MS / 2 });
        }
        give_way.window_ended(now, 0, 0);
    }

    #[test]
    fn what_is_usual_is_what_nine_of_ten_take() {
        let mut delays = Delays::new();
        (0..WRITES_TO_KNOW - 1).for_each(|_| delays.note(1000));
        assert_eq!(delays.usual_at_most(), None, "too few");
        (0..1000).for_each(|_| delays.note(1000));
        (0..90).for_each(|_| delays.note(100_000));
        assert_eq!(delays.usual_at_most(), Some(1024), "less than a tenth is slower");
        (0..50).for_each(|_| delays.note(10_000));
        assert_eq!(delays.usual_at_most(), Some(10_240));
        (0..100_000).for_each(|_| delays.note(300));
        assert_eq!(delays.usual_at_most(), Some(320), "what was long ago is forgotten");
        delays.note(0);
        delays.note(u64::MAX);
        assert!(delays.writes < WRITES_REMEMBERED);
    }

    #[test]
    fn reads_settle_where_writes_begin_to_suffer() {
        let (mut give_way, mut now) = (GiveWay::new(FLOOR), Instant(1));
        quiet(&mut give_way, now);
        // From 400 MB/s on each write waits.
        let disk = |reads| if reads > 400_000_000 { MS * 8 } else { Duration::ZERO };
        let limits = run(&mut give_way, &mut now, 600, disk);
        let settled = &limits[20..];
        let over = settled.iter().filter(|l| **l > 400_000_000).count();
        assert!(over * 20 < settled.len(), "{over} windows over");
        let mean = settled.iter().sum::<u64>() / settled.len() as u64;
        assert!(mean > 280_000_000, "{mean} B/s");
        // The disk gets slower, and later faster.
        let slower = |reads| if reads > 100_000_000 { MS * 8 } else { Duration::ZERO };
        let limits = run(&mut give_way, &mut now, 600, slower);
        assert!(limits[20..].iter().all(|l| *l < 110_000_000));
        let limits = run(&mut give_way, &mut now, 600, disk);
        assert!(limits[599] > 250_000_000, "{}", limits[599]);
    }

    #[test]
    fn reads_keep_their_least_rate_whatever_the_writes_do() {
        let (mut give_way, mut now) = (GiveWay::new(FLOOR), Instant(1));
        quiet(&mut give_way, now);
        let limits = run(&mut give_way, &mut now, 100, |_| MS * 30);
        assert_eq!(limits.last(), Some(&FLOOR));
        // Who reads what is being written must be able to catch up with it.
        give_way.window_ended(now, FLOOR, FLOOR * 5);
        assert_eq!(give_way.limit(), Some(FLOOR * 10));
    }

    #[test]
    fn reads_that_do_no_harm_are_not_held_back() {
        let (mut give_way, mut now) = (GiveWay::new(FLOOR), Instant(1));
        assert_eq!(give_way.limit(), None, "nothing is known");
        quiet(&mut give_way, now);
        let limits = run(&mut give_way, &mut now, 20, |_| Duration::ZERO);
        assert!(limits[10] > 2 << 30, "{limits:?}");
        // One stall of the disk, which many writes wait for, is nobody's fault; more are.
        let mut stalls = (0..100).map(|_| give_way.wrote_beside_reads(now, MS * 40));
        assert_eq!(stalls.position(|came_down| came_down), Some(13));
        assert_eq!(give_way.limit(), Some(limits[19] / 10 * 5));
    }

    #[test]
    fn after_a_pause_reads_feel_their_way_up_again() {
        let (mut give_way, mut now) = (GiveWay::new(FLOOR), Instant(1));
        quiet(&mut give_way, now);
        run(&mut give_way, &mut now, 50, |_| MS * 30);
        now = now + FORGET_AFTER + MS;
        quiet(&mut give_way, now);
        let limits = run(&mut give_way, &mut now, 5, |_| Duration::ZERO);
        assert!(limits[4] > FLOOR * 7 && limits[4] < FLOOR * 8, "{limits:?}");
    }
}
