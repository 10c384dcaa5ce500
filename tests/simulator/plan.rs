//! What one seed decides before the broker starts: its configuration, the topics, who produces how,
//! how healthy the machine is, and the faults with their times.
//! Drawn from a generator of its own, so that a change in the broker does not change the plan of a
//! seed (the history that follows from it does change).

use std::ops::Range;
use std::time::Duration;

use spindle::runtime::sim::Knobs;
use spindle::types::Compression;

#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    pub overrides: Vec<String>,
    pub topics: Vec<TopicPlan>,
    pub lanes: Vec<LanePlan>,
    pub consumers: Vec<ConsumerPlan>,
    pub knobs: Knobs,
    pub faults: Vec<(Duration, Fault)>,
    /// A topic that is created, trimmed and deleted while all this happens.
    pub side_topic: bool,
}

#[derive(Debug)]
pub struct TopicPlan {
    pub name: &'static str,
    pub partitions: i32,
    pub configs: Vec<(&'static str, String)>,
    pub log_append_time: bool,
    /// Only acks=all is used: whatever was served must survive a power cut too.
    pub durable: bool,
}

/// One producer in one partition: a connection of its own, and an order of its own.
#[derive(Clone, Debug)]
pub struct LanePlan {
    pub topic: usize,
    pub partition: i32,
    pub acks: i16,
    pub idempotent: bool,
    /// Sends a batch again until it is acknowledged; otherwise each batch is sent once.
    pub retries: bool,
    pub in_flight: usize,
    pub codec: Compression,
    pub batches: usize,
    pub records: Range<usize>,
    pub value_bytes: Range<usize>,
    pub think: Range<Duration>,
    pub by_topic_id: bool,
}

#[derive(Clone, Debug)]
pub struct ConsumerPlan {
    pub topic: usize,
    pub session: bool,
    pub by_topic_id: bool,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub partition_bytes: i32,
}

#[derive(Clone, Debug)]
pub enum Fault {
    /// kill -9 of the broker; started again after `down`.
    Kill {
        down: Duration,
    },
    PowerCut {
        down: Duration,
    },
    /// A kill, then the power goes before, while or after the broker starts again; mostly while
    /// syncs are slow (for so long before the kill), so that much is written and not synced.
    KillThenPowerCut {
        slow_syncs: Option<Duration>,
        between: Duration,
        restart_first: bool,
        down: Duration,
    },
    /// Power goes again and again while the broker recovers.
    PowerCutsDuringRecovery {
        gaps: Vec<Duration>,
    },
    CleanStop {
        down: Duration,
    },
    CutConnections,
    NetCuts {
        lasts: Duration,
        probability: f64,
    },
    NetStalls {
        lasts: Duration,
        probability: f64,
        stall: Range<Duration>,
    },
    NetLatency {
        lasts: Duration,
        latency: Range<Duration>,
    },
    DiskLatency {
        lasts: Duration,
        latency: Range<Duration>,
        sync: Range<Duration>,
    },
    DiskStalls {
        lasts: Duration,
        probability: f64,
        stall: Range<Duration>,
    },
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}

struct Draw(fastrand::Rng);

impl Draw {
    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.0.usize(..from.len())].clone()
    }
    fn chance(&mut self, percent: u32) -> bool {
        self.0.u32(..100) < percent
    }
    fn ms(&mut self, range: Range<u64>) -> Duration {
        ms(self.0.u64(range))
    }
}

impl Plan {
    pub fn new(seed: u64) -> Plan {
        let mut d =
            Draw(fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x51D));
        let overrides = broker(&mut d);
        let big = d.chance(12);
        let mut topics = vec![topic(&mut d, "durable", true)];
        if d.chance(45) {
            topics.push(topic(&mut d, "mixed", false));
        }
        let lanes = lanes(&mut d, &topics, big);
        let mut consumers = Vec::new();
        for (index, _) in topics.iter().enumerate() {
            for _ in 0..d.0.usize(1..=2) {
                let partition_bytes = d.pick(&[1, 3_000, 100_000, 1_000_000]);
                // One batch at a time, and each after max.wait: that would not come to its end.
                let one = partition_bytes == 1;
                let min_bytes = d.pick(&[0, 1, 1, 5_000]).min(partition_bytes / 2 + 1);
                let max_wait_ms = if one { 10 } else { d.pick(&[0, 20, 100, 500]) };
                consumers.push(ConsumerPlan {
                    topic: index,
                    session: d.chance(50),
                    by_topic_id: d.chance(50),
                    max_wait_ms,
                    min_bytes,
                    partition_bytes,
                });
            }
        }
        let side_topic = d.chance(40);
        Plan {
            seed,
            overrides,
            topics,
            lanes,
            consumers,
            knobs: knobs(&mut d),
            faults: faults(&mut d),
            side_topic,
        }
    }
}

fn broker(d: &mut Draw) -> Vec<String> {
    let shards = d.pick(&[1, 2, 2, 3]);
    let listener = d.pick(&["PLAINTEXT://10.0.0.1:9092", "PLAINTEXT://10.0.0.1:9092-9099"]);
    let mut lines = vec![
        format!("listeners={listener}"),
        "log.dirs=/data".to_string(),
        format!("shard.count={shards}"),
        "auto.create.topics.enable=false".to_string(),
        format!("log.flush.offset.checkpoint.interval.ms={}", d.pick(&[100, 700, 3_000, 60_000])),
        // Kafka's minute would leave every removal to the next start.
        "log.segment.delete.delay.ms=0".to_string(),
        format!("log.retention.check.interval.ms={}", d.pick(&[1_000, 5_000, 300_000])),
    ];
    if d.chance(30) {
        // Tail caches shrink early: reads come from the files.
        lines.push(format!("shard.memory.bytes={}", 16 << 20));
    }
    lines
}

fn topic(d: &mut Draw, name: &'static str, durable: bool) -> TopicPlan {
    let log_append_time = d.chance(30);
    let mut configs = vec![("segment.bytes", d.pick(&["1048576", "1048576", "16777216"]).into())];
    if d.chance(60) {
        configs.push(("segment.ms", d.pick(&["200", "500", "2000"]).to_string()));
    }
    if log_append_time {
        configs.push(("message.timestamp.type", "LogAppendTime".into()));
    }
    if d.chance(50) {
        configs.push(("index.interval.bytes", d.pick(&["0", "500", "4096"]).to_string()));
    }
    let partitions = d.0.i32(1..=if durable { 4 } else { 2 });
    TopicPlan { name, partitions, configs, log_append_time, durable }
}

fn lanes(d: &mut Draw, topics: &[TopicPlan], big: bool) -> Vec<LanePlan> {
    let mut lanes = Vec::new();
    for (index, topic) in topics.iter().enumerate() {
        let producers = d.0.usize(1..=3);
        for _ in 0..producers {
            let acks = if topic.durable || d.chance(30) { -1 } else { 1 };
            let idempotent = acks == -1 && d.chance(60);
            let retries = idempotent || d.chance(60);
            let in_flight = if idempotent { d.pick(&[1, 1, 2, 5]) } else { 1 };
            let codec = d.pick(&[
                Compression::None,
                Compression::None,
                Compression::Gzip,
                Compression::Snappy,
                Compression::Lz4,
                Compression::Zstd,
            ]);
            // Values are random bytes: a batch of `big` is some 200 KB and five fill a segment.
            let (records, value_bytes) = if big {
                (4..8, 20_000..50_000)
            } else {
                d.pick(&[(1..2, 30..200), (1..8, 30..300), (5..30, 30..120), (1..3, 100..6_000)])
            };
            let think = d.pick(&[ms(0)..ms(5), ms(0)..ms(60), ms(20)..ms(400)]);
            let by_topic_id = d.chance(50);
            for partition in 0..topic.partitions {
                if d.chance(25) && partition > 0 {
                    continue;
                }
                lanes.push(LanePlan {
                    topic: index,
                    partition,
                    acks,
                    idempotent,
                    retries,
                    in_flight,
                    codec,
                    batches: 0,
                    records: records.clone(),
                    value_bytes: value_bytes.clone(),
                    think: think.clone(),
                    by_topic_id,
                });
            }
        }
    }
    // The work of a seed is bounded: so many batches in all, shared by the lanes.
    let total = if big { 40 } else { d.0.usize(60..200) };
    let share = (total / lanes.len()).max(3);
    for lane in &mut lanes {
        lane.batches = d.0.usize(share / 2 + 1..=share + share / 2);
    }
    lanes
}

fn knobs(d: &mut Draw) -> Knobs {
    let mut knobs = Knobs { time_limit: Duration::from_secs(20 * 60), ..Knobs::default() };
    if d.chance(30) {
        knobs.net.latency = us(100)..d.ms(2..60);
    }
    knobs.net.chunk_bytes_max = d.pick(&[700, 5_000, 64 * 1024, 64 * 1024]);
    knobs.net.short_read_probability = d.pick(&[0.0, 0.1, 0.3]);
    if d.chance(10) {
        knobs.net.accept_error_probability = 0.1;
    }
    if d.chance(30) {
        knobs.disk.latency = us(10)..d.ms(1..30);
        knobs.disk.sync_latency = us(50)..d.ms(1..60);
    }
    knobs
}

fn faults(d: &mut Draw) -> Vec<(Duration, Fault)> {
    let count = d.0.usize(2..=6);
    // Some seeds have their faults close together, some far apart.
    let gap = d.pick(&[1..80, 1..600, 50..2_500]);
    (0..count)
        .map(|_| {
            let wait = d.ms(gap.clone());
            let down = d.pick(&[ms(0)..ms(3), ms(1)..ms(300), ms(200)..ms(2_000)]);
            let down = Duration::from_nanos(
                d.0.u64(down.start.as_nanos() as u64..down.end.as_nanos() as u64),
            );
            let lasts = d.ms(50..1_500);
            let fault = match d.0.u32(..100) {
                0..15 => Fault::Kill { down },
                15..40 => Fault::PowerCut { down },
                40..52 => Fault::KillThenPowerCut {
                    slow_syncs: d.chance(60).then(|| d.ms(20..200)),
                    between: if d.chance(40) { d.ms(0..40) } else { d.ms(50..1_500) },
                    restart_first: d.chance(80),
                    down,
                },
                52..60 => Fault::PowerCutsDuringRecovery {
                    gaps: (0..d.0.usize(2..5)).map(|_| us(d.0.u64(100..40_000))).collect(),
                },
                60..68 => Fault::CleanStop { down },
                68..76 => Fault::CutConnections,
                76..82 => Fault::NetCuts { lasts, probability: d.pick(&[0.01, 0.05]) },
                82..87 => Fault::NetStalls {
                    lasts,
                    probability: d.pick(&[0.02, 0.1]),
                    stall: ms(100)..ms(4_000),
                },
                87..91 => Fault::NetLatency { lasts, latency: ms(5)..d.ms(20..300) },
                91..95 => Fault::DiskLatency {
                    lasts,
                    latency: ms(1)..d.ms(5..100),
                    sync: ms(2)..d.ms(10..300),
                },
                _ => Fault::DiskStalls {
                    lasts,
                    probability: d.pick(&[0.02, 0.1]),
                    stall: ms(100)..ms(3_000),
                },
            };
            (wait, fault)
        })
        .collect()
}
