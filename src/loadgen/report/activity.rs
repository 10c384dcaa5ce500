//! Where the shards' time went, in the report: seconds by activity from the ticks that each shard keeps
//! (`runtime/activity`). Ticks have no unit here: those of a stretch of time are the whole stretch, so each activity
//! has its part of it. Pure: works on what it is given.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::super::observe::ShardReading;
use crate::metrics::{ACTIVITIES, Activity};

/// Seconds of one shard's thread in a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardTime {
    pub shard: usize,
    /// How long the stretch was.
    pub seconds: f64,
    /// CPU of the shard's thread, kernel and user.
    pub cpu_s: f64,
    /// Sockets, frames, the connections' tasks; as the next six by the clock, not by CPU: a thread that waits
    /// for its CPU goes on counting.
    pub network_s: f64,
    pub wire_s: f64,
    pub append_s: f64,
    /// Compressed batches looked into; not in `append_s`. Earlier reports do not have it.
    #[serde(default)]
    pub decompression_s: f64,
    pub disk_s: f64,
    pub fetch_s: f64,
    pub coordination_s: f64,
    /// Housekeeping, the cleaner, jobs for other shards.
    pub other_s: f64,
    /// The executor between two tasks, tasks that do not say what they do, and its ring system calls with it: there the kernel is given writes and looks at
    /// sockets. CPU less all of the above.
    pub executor_s: f64,
    /// Without CPU.
    pub idle_s: f64,
}

impl ShardTime {
    /// `None` when the shard keeps no time or none has passed.
    pub fn between(shard: usize, then: &ShardReading, now: &ShardReading) -> Option<ShardTime> {
        let ticks: [u64; ACTIVITIES] =
            std::array::from_fn(|i| now.ticks[i].saturating_sub(then.ticks[i]));
        let all: u64 = ticks.iter().sum();
        let seconds = now.at_s - then.at_s;
        if all == 0 || seconds <= 0.0 {
            return None;
        }
        let of = |activity: Activity| seconds * ticks[activity as usize] as f64 / all as f64;
        let cpu_s = (now.cpu_seconds - then.cpu_seconds).clamp(0.0, seconds);
        let in_tasks = seconds - of(Activity::Between);
        Some(ShardTime {
            shard,
            seconds,
            cpu_s,
            network_s: of(Activity::Network),
            wire_s: of(Activity::Wire),
            append_s: of(Activity::Append),
            decompression_s: of(Activity::Decompression),
            disk_s: of(Activity::Disk),
            fetch_s: of(Activity::Fetch),
            coordination_s: of(Activity::Coordination),
            other_s: of(Activity::Other),
            executor_s: (cpu_s - in_tasks).max(0.0),
            idle_s: (seconds - cpu_s.max(in_tasks)).max(0.0),
        })
    }

    /// In the order in which they are shown.
    pub fn activities(&self) -> [(&'static str, f64); 10] {
        [
            ("network", self.network_s),
            ("wire", self.wire_s),
            ("append", self.append_s),
            ("decompression", self.decompression_s),
            ("disk", self.disk_s),
            ("fetch", self.fetch_s),
            ("coordination", self.coordination_s),
            ("other", self.other_s),
            ("executor", self.executor_s),
            ("idle", self.idle_s),
        ]
    }

    fn add(&mut self, more: &ShardTime) {
        let pairs = [
            (&mut self.seconds, more.seconds),
            (&mut self.cpu_s, more.cpu_s),
            (&mut self.network_s, more.network_s),
            (&mut self.wire_s, more.wire_s),
            (&mut self.append_s, more.append_s),
            (&mut self.decompression_s, more.decompression_s),
            (&mut self.disk_s, more.disk_s),
            (&mut self.fetch_s, more.fetch_s),
            (&mut self.coordination_s, more.coordination_s),
            (&mut self.other_s, more.other_s),
            (&mut self.executor_s, more.executor_s),
            (&mut self.idle_s, more.idle_s),
        ];
        pairs.into_iter().for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// Stretch after stretch.
pub fn add(shards: &mut Vec<ShardTime>, more: &[ShardTime]) {
    for time in more {
        match shards.iter_mut().find(|s| s.shard == time.shard) {
            Some(shard) => shard.add(time),
            None => shards.push(time.clone()),
        }
    }
}

/// A line a shard, in percent of the time.
pub fn text(out: &mut String, shards: &[ShardTime]) {
    let Some(first) = shards.first() else { return };
    let _ = write!(out, "\nwhere the shards' time went, %\n        ");
    for (name, _) in first.activities() {
        let _ = write!(out, " {name:>13}");
    }
    let _ = writeln!(out);
    for shard in shards {
        let _ = write!(out, "  {:<6}", shard.shard);
        for (_, seconds) in shard.activities() {
            let _ =
                write!(out, " {:>13.1}", 100.0 * seconds / shard.seconds.max(f64::MIN_POSITIVE));
        }
        let _ = writeln!(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at_s: f64, cpu_seconds: f64, ticks: [u64; ACTIVITIES]) -> ShardReading {
        ShardReading { at_s, cpu_seconds, ticks, ..ShardReading::default() }
    }

    #[test]
    fn the_parts_are_the_whole_and_what_is_not_in_tasks_is_executor_or_idle() {
        let then = reading(10.0, 1.0, [100; ACTIVITIES]);
        // Of 1000 ticks in 2 s: 500 between tasks, 300 network, 100 append, 100 disk.
        let now = reading(12.0, 2.4, [600, 100, 400, 100, 200, 200, 100, 100, 100]);
        let time = ShardTime::between(3, &then, &now).unwrap();
        let rounded = time.activities().map(|(name, s)| (name, (s * 10.0).round() / 10.0));
        let wanted = [0.6, 0.0, 0.2, 0.0, 0.2, 0.0, 0.0, 0.0, 0.4, 0.6];
        assert_eq!(rounded.map(|(_, s)| s), wanted);
        assert!((time.activities().iter().map(|(_, s)| s).sum::<f64>() - 2.0).abs() < 1e-9);
        let mut twice = vec![time.clone()];
        add(&mut twice, &[time, ShardTime { shard: 4, ..ShardTime::default() }]);
        assert_eq!((twice[0].seconds, twice.len()), (4.0, 2));
        let mut words = String::new();
        text(&mut words, &twice[..1]);
        assert!(words.contains("30.0"), "{words}");
    }

    #[test]
    fn a_thread_that_waited_for_its_cpu_was_neither_idle_nor_in_the_executor_for_less_than_nothing()
    {
        let then = reading(0.0, 0.0, [0; ACTIVITIES]);
        let now = reading(1.0, 0.5, [10, 0, 90, 0, 0, 0, 0, 0, 0]);
        let time = ShardTime::between(0, &then, &now).unwrap();
        assert_eq!(time.executor_s, 0.0);
        assert!((time.idle_s - 0.1).abs() < 1e-9);
        assert_eq!(ShardTime::between(0, &then, &then), None);
    }
}
