//! One port, two shards: a fetch for the other shard's partition names ranges of that shard's files, and
//! the connection's own shard sends them out of the page cache. Whatever happens to the files meanwhile
//! (evicted, deleted by DeleteRecords or with their topic), a reader gets the right bytes or none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::{DeleteRecordsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use spindle::client::{ClientError, Connection};
use spindle::runtime::mailbox::oneshot;
use spindle::runtime::{sim, sleep, spawn};
use spindle::wire::record_batch::check_crc;

use super::single::{Broker, batch, batches, connect, create, fetch_all, ms, produce, simulate};

const PARTITIONS: i32 = 4;
const BATCHES: i64 = 60;
const BATCH_BYTES: usize = 20_000;
const FETCH_BYTES: i32 = 300_000;
const OFFSET_OUT_OF_RANGE: i16 = 1;

fn nth(partition: i32, n: i64) -> Bytes {
    batch(BATCH_BYTES, (partition as i64 * BATCHES + n) as u8, None)
}

/// A broker with closed segments in every partition and nothing of them in its memory.
async fn filled() -> Broker {
    let broker = Broker::start(&["shard.count=2"]);
    let c = connect().await;
    create(&c, "t", PARTITIONS).await;
    for n in 0..BATCHES {
        // A new segment now and then.
        sleep(ms(if n % 25 == 24 { 200 } else { 0 })).await;
        for partition in 0..PARTITIONS {
            assert_eq!(produce(&c, "t", partition, &nth(partition, n)).await, Ok(n));
        }
    }
    broker.stop().await;
    Broker::start(&["shard.count=2"])
}

/// One fetch of all partitions; each goes on at `at`, and what was read is what was written. The errors.
async fn read(c: &Connection, at: &mut [(i32, i64)]) -> Result<Vec<i16>, ClientError> {
    let rows = fetch_all(c, "t", at, FETCH_BYTES).await?;
    let mut errors = Vec::new();
    for ((partition, at), (code, _, bytes)) in at.iter_mut().zip(rows) {
        errors.push(code);
        for (base, bytes) in batches(&bytes) {
            assert_eq!(base, *at);
            check_crc(&bytes).unwrap();
            let sent = nth(*partition, base);
            assert!(bytes[bytes.len() - BATCH_BYTES..] == sent[sent.len() - BATCH_BYTES..]);
            *at += 1;
        }
    }
    Ok(errors)
}

fn from_the_start() -> Vec<(i32, i64)> {
    (0..PARTITIONS).map(|partition| (partition, 0)).collect()
}

#[test]
fn closed_segments_of_both_shards_leave_by_sendfile() {
    simulate(1, |_| async move {
        let broker = filled().await;
        broker.started().await;
        let c = connect().await;
        let sent = |broker: &Broker| broker.count(|c| c.bytes_sent_from_cache.get());
        for round in 0..4 {
            let (before, crossed) = (sent(&broker), broker.count(|c| c.data_crossings.get()));
            let mut at = from_the_start();
            while at.iter().any(|(_, at)| *at < BATCHES) {
                assert_eq!(read(&c, &mut at).await.unwrap(), [0; PARTITIONS as usize]);
            }
            let after = sent(&broker);
            let by_shard: Vec<u64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
            let crossings = broker.count(|c| c.data_crossings.get());
            assert!(crossings.iter().sum::<u64>() > crossed.iter().sum(), "half is forwarded");
            match round {
                0 => assert_eq!(by_shard, [0, 0], "read from the device"),
                1 => {}
                // The active segment and the piece before a segment's end are read.
                _ => {
                    let all = PARTITIONS as u64 * BATCHES as u64 * BATCH_BYTES as u64;
                    let (most, least) = (by_shard.iter().max(), by_shard.iter().min());
                    assert!(most > Some(&(all / 10 * 6)), "{by_shard:?} of {all}");
                    assert_eq!(least, Some(&0), "the connection's shard sends it all");
                }
            }
        }
        broker.stop().await;
    });
}

async fn delete_before(c: &Connection, partition: i32, offset: i64) {
    let row = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let topic = DeleteRecordsTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(vec![row]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
    c.call_latest(&request, ms(5000)).await.unwrap();
}

#[test]
fn what_happens_to_the_files_meanwhile_spoils_no_answer() {
    let cut = Arc::new(AtomicUsize::new(0));
    for seed in 0..4 {
        let cut = cut.clone();
        simulate(seed, move |_| async move {
            let broker = filled().await;
            let mut readers = Vec::new();
            for _ in 0..3 {
                let (tell, done) = oneshot();
                readers.push(done);
                let cut = cut.clone();
                spawn(async move {
                    let (mut c, mut at) = (connect().await, from_the_start());
                    loop {
                        match read(&c, &mut at).await {
                            Ok(errors) => {
                                if errors.iter().any(|e| ![0, OFFSET_OUT_OF_RANGE].contains(e)) {
                                    // The topic is gone.
                                    break;
                                }
                                for (error, (_, at)) in errors.into_iter().zip(&mut at) {
                                    match error {
                                        0 if *at >= BATCHES => *at = 0,
                                        0 => {}
                                        _ => *at += 1,
                                    }
                                }
                            }
                            // What was to be sent had gone: asked for again.
                            Err(_) => {
                                cut.fetch_add(1, Ordering::Relaxed);
                                c = connect().await;
                            }
                        }
                    }
                    let _ = tell.send(());
                });
            }
            let c = connect().await;
            for n in 0..200i32 {
                sleep(Duration::from_micros(300 + n as u64 * 997 % 9000)).await;
                sim::empty_page_cache();
                if n % 40 == 39 {
                    delete_before(&c, n / 40 % PARTITIONS, i64::from(n / 5)).await;
                }
            }
            c.delete_topic("t", ms(5000)).await.unwrap();
            for reader in readers {
                reader.await.unwrap();
            }
            broker.stop().await;
        });
    }
    let cut = cut.load(Ordering::Relaxed);
    assert!(cut > 0, "no answer met a file that had left the page cache");
}
