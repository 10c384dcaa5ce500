//! Spindle's own broker keys. `shard.N.…` stands for one key a shard (`shard.0.cpu`, `shard.1.cpu`, …).
//! Data only; sorted by name.

use super::Change::Fixed;
use super::ConfigType::{Int as IntType, List, Long, String as Text};
use super::Effect::Used;
use super::Range::{Any, Int, NonEmpty};
use super::{ConfigDef, broker};

#[rustfmt::skip]
pub const OWN_KEYS: &[ConfigDef] = &[
    broker("cluster.id", Text, None, NonEmpty, Fixed, Used,
        "Id of the cluster. When set, a data directory of another cluster is refused."),
    broker("shard.N.cpu", IntType, None, Int(0, 1023), Fixed, Used,
        "CPU of shard N, in place of what shard.cpus says."),
    broker("shard.N.io.depth", IntType, None, Int(1, 4096), Fixed, Used,
        "shard.io.depth of shard N alone."),
    broker("shard.N.memory.bytes", Long, None, Int(16_777_216, 1_099_511_627_776), Fixed, Used,
        "shard.memory.bytes of shard N alone."),
    broker("shard.N.replay.bytes.per.second.min", Long, None, Int(1_048_576, 1_099_511_627_776), Fixed, Used,
        "shard.replay.bytes.per.second.min of shard N alone."),
    broker("shard.N.shares", IntType, None, Int(0, 100), Fixed, Used,
        "Share of the partitions that shard N gets, against the others' 1; 0 for none."),
    broker("shard.N.spin.us", IntType, None, Int(0, 1_000_000), Fixed, Used,
        "shard.spin.us of shard N alone."),
    broker("shard.count", IntType, Some("0"), Int(0, 256), Fixed, Used,
        "Shards, each with a thread of its own; 0 for one a CPU."),
    broker("shard.cpus", List, Some(""), Any, Fixed, Used,
        "CPUs of the shards in their order, as 0,2,4-7; empty for 0, 1, 2 and so on."),
    broker("shard.io.depth", IntType, Some("512"), Int(1, 4096), Fixed, Used,
        "Partitions that each shard writes and syncs at a time; fewer when few files may be open."),
    broker("shard.memory.bytes", Long, Some("134217728"), Int(16_777_216, 1_099_511_627_776), Fixed, Used,
        "Memory of each shard for log tails and requests."),
    broker("shard.replay.bytes.per.second.min", Long, Some("33554432"), Int(1_048_576, 1_099_511_627_776), Fixed, Used,
        "Bytes a second that each shard may always read of old data; beside writes no more when those get slow."),
    broker("shard.spin.us", IntType, Some("0"), Int(0, 1_000_000), Fixed, Used,
        "How long an idle shard looks for work before it sleeps, microseconds."),
];
