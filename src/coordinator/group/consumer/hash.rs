//! The hash of the topics that a group subscribes to, as ConsumerGroupMetadata's record holds it (KIP-1101): when it is
//! another one, there are new partitions, a topic came or went, or replicas have other racks, and the group gets a new
//! epoch. The same numbers as Kafka's, so that a group that Kafka wrote keeps its epoch. Pure.

use twox_hash::XxHash3_64;

use crate::types::TopicId;

const MAGIC: u8 = 0;

/// `racks` of each partition, in any order.
pub fn topic_hash(id: TopicId, name: &str, racks: impl IntoIterator<Item = Vec<String>>) -> i64 {
    let racks: Vec<Vec<String>> = racks.into_iter().collect();
    let mut bytes = Vec::with_capacity(32 + 2 * name.len() + 4 * racks.len());
    bytes.push(MAGIC);
    let (high, low) = id.as_u64_pair();
    bytes.extend_from_slice(&high.to_le_bytes());
    bytes.extend_from_slice(&low.to_le_bytes());
    put_string(&mut bytes, name);
    bytes.extend_from_slice(&(racks.len() as i32).to_le_bytes());
    for (partition, mut racks) in racks.into_iter().enumerate() {
        bytes.extend_from_slice(&(partition as i32).to_le_bytes());
        racks.sort_unstable();
        for rack in racks {
            bytes.extend_from_slice(&(rack.encode_utf16().count() as i32).to_le_bytes());
            put_string(&mut bytes, &rack);
        }
    }
    XxHash3_64::oneshot(&bytes) as i64
}

/// Of the topics that exist, in the order of their names; 0 when there is none.
pub fn group_hash(topics: impl IntoIterator<Item = i64>) -> i64 {
    let mut bytes = Vec::new();
    for topic in topics {
        bytes.extend_from_slice(&topic.to_le_bytes());
    }
    if bytes.is_empty() { 0 } else { XxHash3_64::oneshot(&bytes) as i64 }
}

/// As hash4j's `putString`: the UTF-16 units, then how many.
fn put_string(bytes: &mut Vec<u8>, text: &str) {
    let mut units = 0i32;
    for unit in text.encode_utf16() {
        bytes.extend_from_slice(&unit.to_le_bytes());
        units += 1;
    }
    bytes.extend_from_slice(&units.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from hash4j 0.22 (Kafka 4.3.1's), with the calls that its `Utils.computeTopicHash` makes.
    #[test]
    fn hashes_are_kafkas() {
        let id = TopicId::from_u64_pair(0x0102030405060708, 0x1112131415161718);
        let racks = [vec!["b", "a"], vec!["b"], vec![]];
        let racks = racks.map(|all| all.into_iter().map(String::from).collect());
        let topic = topic_hash(id, "orders", racks);
        assert_eq!(topic, -7309895168684653880);
        assert_eq!(group_hash([topic, 42]), -5594530824577572222);
        let many = topic_hash(TopicId::from_u64_pair(1, 2), "t", vec![Vec::new(); 100]);
        assert_eq!(many, -4253783681318780268);
        assert_eq!(group_hash([]), 0);
    }
}
