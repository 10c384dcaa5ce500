//! The controller's log on a real disk: what was acknowledged is there after a restart without a close, and what
//! can't be read stops the start.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::records::Record;
use super::*;
use crate::config::BrokerConfig;
use crate::runtime::executor::{ExecutorSpec, block_on};

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
