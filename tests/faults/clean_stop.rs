//! A clean stop, and then the power goes: the files are as the stop left them, so that the mark it
//! leaves is true and the next start scans nothing.

use std::time::Duration;

use spindle::runtime::{sim, sleep};

use super::single::{Broker, MACHINE, batch, connect, create, produce, simulate};

#[test]
fn what_a_clean_stop_wrote_outlives_the_power() {
    for seed in 0..8 {
        simulate(seed, |_| async move {
            let broker = Broker::start(&[]);
            let c = connect().await;
            create(&c, "t", 3).await;
            for n in 0..6 {
                let made = produce(&c, "t", n % 3, &batch(500, n as u8, None)).await;
                assert_eq!(made, Ok(i64::from(n / 3)));
            }
            broker.stop().await;
            let files = || {
                let dirs = ["/data", "/data/t-0", "/data/t-1", "/data/t-2"];
                dirs.map(|dir| sim::list_dir_of(MACHINE, dir.as_ref()).unwrap())
            };
            let before = files();
            let names: Vec<_> = before[1].iter().map(|e| e.name.as_str()).collect();
            for name in ["leader-epoch-checkpoint", "00000000000000000000.index"] {
                assert!(names.contains(&name), "{names:?}");
            }
            sim::power_cut(MACHINE);
            assert_eq!(files(), before);
        });
    }
}

/// What a clean stop left opens at once: a stop meanwhile waits for it, or the start after it would look
/// through files that nobody has touched.
#[test]
fn a_stop_while_logs_open_is_clean_too() {
    for seed in 0..40 {
        simulate(seed, move |lines| async move {
            let broker = Broker::start(&[]);
            let c = connect().await;
            create(&c, "t", 20).await;
            for partition in 0..20 {
                let made = produce(&c, "t", partition, &batch(500, 1, None)).await;
                assert_eq!(made, Ok(0));
            }
            broker.stop().await;
            let broker = Broker::start(&[]);
            sleep(Duration::from_micros(seed * 150)).await;
            broker.stop().await;
            assert_eq!(lines.with("not closed cleanly"), [""; 0]);
            let left = sim::list_dir_of(MACHINE, "/data".as_ref()).unwrap();
            assert!(left.iter().any(|e| e.name == ".kafka_cleanshutdown"), "seed {seed}");
        });
    }
}
