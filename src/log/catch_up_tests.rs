//! Tests of when catch-up reads begin, by the simulator's clock: two shards of one device, of which one writes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::catch_up::CatchUp;
use crate::metrics::ShardCounters;
use crate::runtime::sim::Simulation;
use crate::runtime::{Instant, now, sleep, sleep_until, spawn};

const MIB: usize = 1 << 20;
const FLOOR: u64 = 64 << 20;

fn two_shards() -> (Rc<CatchUp>, Rc<CatchUp>) {
    let counters: Vec<Arc<ShardCounters>> = (0..2).map(|_| Arc::default()).collect();
    let shard = |n| Rc::new(CatchUp::new(n, counters.clone(), FLOOR));
    (shard(0), shard(1))
}

/// To the middle of the time in which reads do not rest.
async fn skip_the_rest() {
    let period = Duration::from_secs(3).as_nanos() as u64;
    sleep_until(Instant((now().0 / period + 1) * period + period / 4)).await;
}

async fn write(shard: &CatchUp, writes: usize, each: Duration) {
    for _ in 0..writes {
        shard.appended();
        let began = now();
        sleep(each).await;
        shard.flushed(began);
    }
}

/// So many reads of a MiB, each of which takes 0.2 ms; how long it took.
async fn read(shard: &CatchUp, reads: usize) -> Duration {
    let began = now();
    for _ in 0..reads {
        let _reading = shard.begin(MIB).await;
        sleep(Duration::from_micros(200)).await;
    }
    now().saturating_since(began)
}

#[test]
fn reads_beside_no_writes_begin_at_once() {
    Simulation::new(1).run(async {
        let (a, b) = two_shards();
        write(&b, 100, Duration::from_micros(500)).await;
        assert!(a.begin(MIB).await.beside_writes, "shards share the device");
        sleep(Duration::from_secs(1)).await;
        assert!(!a.begin(MIB).await.beside_writes);
        for _ in 0..20_000 {
            // Over two rests, and the limit that was.
            let before = now();
            let reading = a.begin(MIB).await;
            assert!(now().saturating_since(before) < Duration::from_micros(10));
            drop(reading);
            sleep(Duration::from_micros(200)).await;
        }
    });
}

#[test]
fn reads_of_a_shard_give_way_to_the_writes_of_another() {
    Simulation::new(2).run(async {
        let (a, b) = two_shards();
        skip_the_rest().await;
        write(&b, 200, Duration::from_micros(500)).await;
        // No slower than usual: reads find their rate.
        let writer = b.clone();
        spawn(async move { write(&writer, 2000, Duration::from_micros(500)).await });
        let took = read(&a, 1000).await;
        assert!(took < Duration::from_millis(1300), "{took:?}");
        sleep(Duration::from_secs(1)).await;
        skip_the_rest().await;
        // Each takes ten times as long: what is left is the least rate, and that is kept.
        let writer = b.clone();
        spawn(async move { write(&writer, 600, Duration::from_millis(5)).await });
        let began = now();
        while now().saturating_since(began) < Duration::from_millis(1700) {
            read(&a, 1).await;
        }
        let took = read(&a, 10).await;
        let least = Duration::from_millis(10 * 1000 / 64);
        assert!(took > least * 9 / 10 && took < least * 11 / 10, "{took:?}");
        // And when the writes are over it is not held to.
        sleep(Duration::from_secs(2)).await;
        let took = read(&a, 100).await;
        assert!(took < Duration::from_millis(25), "{took:?}");
    });
}

#[test]
fn all_shards_reads_rest_at_the_same_time_beside_writes() {
    Simulation::new(3).run(async {
        let (a, b) = two_shards();
        let writer = b.clone();
        spawn(async move { write(&writer, 20_000, Duration::from_micros(500)).await });
        let period = Duration::from_secs(3);
        sleep_until(Instant((now().0 / period.as_nanos() as u64 + 1) * period.as_nanos() as u64))
            .await;
        let began = now();
        for shard in [&a, &b] {
            let _reading = shard.begin(MIB).await;
            let rested = now().saturating_since(began);
            assert!(rested > Duration::from_millis(99), "{rested:?}");
            assert!(rested < Duration::from_millis(102), "{rested:?}");
        }
    });
}
