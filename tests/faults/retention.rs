//! Retention by age runs every `log.retention.check.interval.ms`, whatever else the shard looks at
//! each second. On one simulated broker of one shard; how much of a log goes is `src/log/`'s.
//! rust-rdkafka's own tests write records of 1970, after they gave the broker Kafka's flushes, and
//! expect to read them.

use std::time::Duration;

use bytes::Bytes;
use spindle::runtime::sleep;
use spindle::types::Compression;
use spindle::wire::records::BatchBuilder;

use crate::single::{Broker, batches, connect, fetch, produce, simulate};

const OFFSET_OUT_OF_RANGE: i16 = 1;

/// One record of 1970.
fn old() -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(1111, None, Some(b"old"), &[]);
    builder.finish().into()
}

#[test]
fn unflushed_records_are_not_deleted_before_retention_is_due() {
    // Group commit, and Kafka's flushes, which are looked at each second while something is not flushed.
    for flush in [None, Some("log.flush.interval.messages=9223372036854775807")] {
        simulate(1, move |_| async move {
            let mut overrides = vec!["log.retention.check.interval.ms=300000"];
            overrides.extend(flush);
            let broker = Broker::start(&overrides);
            let c = connect().await;
            c.create_topic("t", 1, 1, &[], Duration::from_secs(30)).await.unwrap();
            assert_eq!(produce(&c, "t", 0, &old()).await, Ok(0));
            sleep(Duration::from_secs(100)).await;
            let (code, high_watermark, bytes) = fetch(&c, "t", 0, 0).await;
            assert_eq!((code, high_watermark, batches(&bytes).len()), (0, 1, 1), "{flush:?}");
            sleep(Duration::from_secs(300)).await;
            let c = connect().await;
            assert_eq!(fetch(&c, "t", 0, 0).await.0, OFFSET_OUT_OF_RANGE, "{flush:?}");
            broker.stop().await;
        });
    }
}
