//! The controller's log on a real disk: what was acknowledged is there after a restart without a close, and what
//! can't be read stops the start.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::image::PartitionChange;
use super::records::Record;
use super::*;
use crate::config::BrokerConfig;
use crate::runtime::executor::{ExecutorSpec, block_on};
use crate::types::Compression;
use crate::wire::record_batch;
use crate::wire::records::BatchBuilder;

fn options(dir: &Path) -> ControllerOptions {
    let endpoint = BrokerEndpoint {
        listener: "PLAINTEXT".to_string(),
        host: "localhost".to_string(),
        ports: vec![9092],
    };
    ControllerOptions {
        dir: dir.to_path_buf(),
        cluster_id: "a-cluster".to_string(),
        config: Arc::new(BrokerConfig::load(None, &[]).unwrap()),
        this_broker: BrokerImage {
            broker_id: 0,
            rack: None,
            endpoints: vec![endpoint],
            shard_count: 1,
        },
    }
}

fn run<F: Future<Output = ()> + 'static>(f: F) {
    let spec = ExecutorSpec { name: "test".to_string(), cpu: None, spin_us: 0 };
    block_on(spec, move || f).unwrap();
}

async fn open(dir: &Path) -> Result<Controller, String> {
    // Each executor's first file must be this one, see runtime.
    crate::runtime::disk::prepare_device(dir).await.unwrap();
    Controller::open(options(dir), Box::new(|_| ())).await
}

fn create(name: &str, partitions: i32) -> Command {
    let (assignments, configs) =
        (BTreeMap::new(), [("retention.ms".to_string(), Some("5".to_string()))].into());
    let name = name.to_string();
    let topics = vec![NewTopic { name, partitions, replication_factor: 1, assignments, configs }];
    Command::CreateTopics { topics, validate_only: false }
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    // Kept when named, to be read by Kafka's DumpLogSegments --cluster-metadata-decoder.
    let dir = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("SPINDLE_KEEP_METADATA");
    let path = kept.map_or(dir.path().to_path_buf(), Into::into);
    run(async move {
        let images: Rc<RefCell<Vec<Arc<Image>>>> = Rc::default();
        let seen = images.clone();
        let on_image = Box::new(move |image| seen.borrow_mut().push(image));
        crate::runtime::disk::prepare_device(&path).await.unwrap();
        let c = Controller::open(options(&path), on_image).await.unwrap();
        assert_eq!(images.borrow().len(), 1);
        assert_eq!(c.image().brokers[&0], options(&path).this_broker);

        // Queued together: one image for both, each reply with the offset that holds it.
        let (a, b) = futures::join!(c.submit(create("a", 3)), c.submit(create("b", 2_000)));
        assert!(matches!(&a.1, Reply::CreateTopics(r) if r[0].is_ok()));
        assert!(matches!(&b.1, Reply::CreateTopics(r) if r[0].is_ok()));
        assert!(a.0 < b.0);
        assert_eq!(images.borrow().last().unwrap().offset, b.0);
        let (_, ids) = c.submit(Command::AllocateProducerIds { count: 1000 }).await;
        assert!(matches!(ids, Reply::ProducerIds(Ok(0))));
        let topics = vec![TopicRef::Name("a".to_string())];
        c.submit(Command::DeleteTopics { topics }).await;
        let before = c.image();
        drop(c); // no close: as after kill -9

        let c = open(&path).await.unwrap();
        let after = c.image();
        assert_eq!(after.offset, before.offset);
        assert_eq!(after.topics, before.topics);
        assert_eq!(after.configs, before.configs);
        assert_eq!((after.topics.len(), after.next_producer_id), (1, 1000));
        let (_, ids) = c.submit(Command::AllocateProducerIds { count: 1 }).await;
        assert!(matches!(ids, Reply::ProducerIds(Ok(1000))));
        c.close().await.unwrap();
        assert_eq!(open(&path).await.unwrap().image().next_producer_id, 1001);
    });
}

#[test]
fn a_record_that_cannot_be_read_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move {
        let c = open(&path).await.unwrap();
        c.submit(create("a", 1)).await;
        let id = c.image().topic("a").unwrap().id;
        c.append_raw(Record::RemoveTopic { id: TopicId::nil() }).await;
        drop(c);
        let why = open(&path).await.err().unwrap();
        assert!(
            why.contains("__cluster_metadata-0: offset 5: removal of an unknown topic"),
            "{why}"
        );
        assert_ne!(id, TopicId::nil());
    });
}

#[test]
fn callers_that_go_away_do_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move {
        let c = open(&path).await.unwrap();
        {
            let mut gone = Box::pin(c.submit(create("gone", 1)));
            let polled = Cell::new(false);
            futures::future::poll_fn(|cx| {
                polled.set(gone.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            assert!(polled.get());
        }
        let (_, reply) = c.submit(create("here", 1)).await;
        assert!(matches!(&reply, Reply::CreateTopics(r) if r[0].is_ok()));
        assert!(c.image().topic("gone").is_some(), "it was asked before");
        c.close().await.unwrap();
    });
}

fn topic_of(name: &str) -> [Record; 2] {
    let id = crate::types::TopicId::from_u128(name.len() as u128);
    let (replicas, isr) = (vec![0], vec![0]);
    let state = PartitionImage { replicas, isr, leader: 0, leader_epoch: 3, partition_epoch: 0 };
    let topic = Record::Topic { name: name.to_string(), id };
    [topic, Record::Partition { topic: id, partition: 0, state }]
}

#[test]
fn a_metadata_transaction_counts_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move {
        let c = open(&path).await.unwrap();
        for (name, end) in [("kept", Record::EndTransaction), ("undone", Record::AbortTransaction)]
        {
            c.append_raw(Record::BeginTransaction).await;
            for record in topic_of(name) {
                c.append_raw(record).await;
            }
            c.append_raw(end).await;
        }
        c.append_raw(Record::BeginTransaction).await;
        for record in topic_of("left open") {
            c.append_raw(record).await;
        }
        drop(c);
        // Twice: the first start ends what was left open.
        for _ in 0..2 {
            let c = open(&path).await.unwrap();
            let names: Vec<String> = c.image().topics.keys().map(|n| n.to_string()).collect();
            assert_eq!(names, ["kept"]);
        }
        let c = open(&path).await.unwrap();
        c.submit(create("later", 1)).await;
        drop(c);
        assert!(open(&path).await.unwrap().image().topic("later").is_some());
    });
}

#[test]
fn partitions_without_a_leader_get_this_broker() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move {
        let c = open(&path).await.unwrap();
        let feature = "eligible.leader.replicas.version".to_string();
        c.append_raw(Record::FeatureLevel { name: feature, level: 1 }).await;
        for record in topic_of("orders") {
            c.append_raw(record).await;
        }
        // As Kafka stops: nobody leads, nobody is in sync.
        let change = PartitionChange { isr: Some(vec![]), leader: Some(-1), ..Default::default() };
        let topic = crate::types::TopicId::from_u128("orders".len() as u128);
        c.append_raw(Record::PartitionChange { topic, partition: 0, change }).await;
        drop(c);
        for _ in 0..2 {
            let image = open(&path).await.unwrap().image();
            let p = &image.topic("orders").unwrap().partitions[0];
            // One epoch for having none, one for the new leader; the second start changes nothing.
            assert_eq!(
                (p.leader, &p.isr[..], p.leader_epoch, p.partition_epoch),
                (0, &[0][..], 5, 2)
            );
        }
    });
}

#[test]
fn a_snapshot_stands_for_the_log_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    run(async move {
        let mut records = BatchBuilder::new(Compression::None);
        for record in topic_of("old") {
            records.push(1, None, Some(&record.encode()), &[]);
        }
        let mut bytes = records.finish().to_vec();
        let whole = bytes.len();
        let mut footer = BatchBuilder::new(Compression::None);
        footer.push(1, Some(&[0, 0, 0, 4]), Some(&[0, 0, 0]), &[]);
        let mut footer = footer.finish().to_vec();
        footer[22] |= 0x20;
        record_batch::patch_crc(&mut footer);
        bytes.extend(footer);
        let log = path.join("__cluster_metadata-0");
        std::fs::create_dir(&log).unwrap();
        let snapshot = log.join("00000000000000000100-0000000007.checkpoint");
        std::fs::write(&snapshot, &bytes[..whole]).unwrap();
        let error = open(&path).await.err().unwrap();
        assert!(error.contains("not a whole snapshot: its last batch is missing"), "{error}");
        std::fs::write(&snapshot, &bytes).unwrap();
        for offset in [101, 103] {
            let c = open(&path).await.unwrap();
            assert!(c.image().topic("old").is_some());
            // The broker's own record; at the second start the two below.
            assert_eq!(c.image().offset, offset);
            c.append_raw(Record::NoOp).await;
            c.append_raw(Record::NoOp).await;
        }
        // Without it, nobody knows what was before the log.
        std::fs::remove_file(&snapshot).unwrap();
        let error = open(&path).await.err().unwrap();
        assert!(error.contains("begins with offset 100 and has no snapshot"), "{error}");
    });
}
