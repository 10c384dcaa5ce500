//! A start on a disk without room: what is there is served, produces are refused in words, and writing
//! begins by itself when there is room. After a clean stop, a kill and a power cut.

use spindle::config::BrokerConfig;
use spindle::node::Node;
use spindle::runtime::mailbox::oneshot;
use spindle::runtime::{sim, sleep};

use crate::single::{
    Broker, MACHINE, STORAGE_ERROR, batch, batches, connect, create, fetch, ms, produce, simulate,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Clean,
    Kill,
    PowerCut,
}

async fn end(broker: Broker, how: End) {
    match how {
        End::Clean => broker.stop().await,
        End::Kill => sim::kill(broker.pid),
        End::PowerCut => sim::power_cut(MACHINE),
    }
}

#[test]
fn a_start_on_a_full_disk_serves_and_writes_when_there_is_room() {
    for (seed, how) in [(1, End::Clean), (2, End::Kill), (3, End::PowerCut)] {
        simulate(seed, move |lines| async move {
            let broker = Broker::start(&["log.flush.offset.checkpoint.interval.ms=100"]);
            let c = connect().await;
            create(&c, "t", 2).await;
            create(&c, "empty", 1).await;
            create(&c, "gone", 1).await;
            for n in 0..20u8 {
                assert_eq!(produce(&c, "t", 0, &batch(3000, n, None)).await, Ok(i64::from(n)));
            }
            produce(&c, "gone", 0, &batch(3000, 1, None)).await.unwrap();
            // The checkpoint files name it.
            sleep(ms(300)).await;
            let before = fetch(&c, "t", 0, 0).await;
            drop(c);
            end(broker, how).await;

            sim::with_knobs(|k| k.disk.full = true);
            let broker = Broker::start(&["log.flush.offset.checkpoint.interval.ms=100"]);
            let c = connect().await;
            assert_eq!(lines.count("is full"), 1, "{how:?}");
            assert_eq!(fetch(&c, "t", 0, 0).await, before, "{how:?}");
            for topic in ["t", "empty", "gone"] {
                // Some room may be there from before: it is used up first.
                let mut refused = None;
                for _ in 0..40 {
                    match produce(&c, topic, 0, &batch(90_000, 9, None)).await {
                        Ok(_) => {}
                        Err(e) => refused = Some(e),
                    }
                }
                let (code, why) = refused.expect("the disk is full");
                assert_eq!(code, STORAGE_ERROR, "{why}");
            }
            let end_offset = fetch(&c, "t", 0, 0).await.1;
            assert_eq!(batches(&fetch(&c, "t", 0, 0).await.2).len() as i64, end_offset);
            // And once more from here: nothing was made worse.
            drop(c);
            end(broker, how).await;
            let broker = Broker::start(&[]);
            let c = connect().await;
            assert_eq!(fetch(&c, "t", 0, 0).await.1, end_offset, "{how:?}");

            sim::with_knobs(|k| k.disk.full = false);
            sleep(ms(2_500)).await;
            assert_eq!(produce(&c, "t", 0, &batch(90_000, 9, None)).await, Ok(end_offset));
            produce(&c, "t", 1, &batch(90_000, 9, None)).await.unwrap();
            produce(&c, "empty", 0, &batch(90_000, 9, None)).await.unwrap();
            create(&c, "new", 1).await;
            assert_eq!(produce(&c, "new", 0, &batch(90_000, 9, None)).await, Ok(0));
            assert_eq!(lines.count("panicked"), 0);
            broker.stop().await;
        });
    }
}

#[test]
fn what_can_not_start_without_room_says_what_it_needs() {
    simulate(4, |_| async {
        let broker = Broker::start(&[]);
        drop(connect().await);
        broker.stop().await;
        sim::with_knobs(|k| k.disk.full = true);
        let (tell, told) = oneshot();
        sim::spawn_process_on(MACHINE, "broker", async move {
            let lines = ["listeners=PLAINTEXT://10.0.0.1:9099", "log.dirs=/data", "shard.count=1"];
            let config = BrokerConfig::load(None, &lines.map(String::from)).unwrap();
            let why = Node::start_tasks(config).await.err().map(|e| e.to_string());
            tell.send(why).unwrap();
        });
        let why = told.await.unwrap().expect("it has to write its new address");
        assert!(why.contains("listeners, broker.rack or number of shards"), "{why}");
        assert!(why.contains("free 64 KiB"), "{why}");
    });
}
