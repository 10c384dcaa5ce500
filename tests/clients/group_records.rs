//! Records of `__consumer_offsets` that can't be parsed, in the files of a stopped broker: the next start names each and
//! passes over it, and loads the rest. Damage that the CRC shows is another matter (`group_bounds`).

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use crate::common::wait_for;
use crate::common::wire::{PATIENCE, Wire};
use crate::group_bounds::{broker, commit, connect, segment};

/// Base offset and length of a batch, before what the length counts.
const BATCH_PREFIX_BYTES: usize = 12;
const CRC_AT: usize = 17;
const CHECKED_FROM: usize = 21;
const FIRST_RECORD_AT: usize = 61;

/// Nothing while the coordinator loads.
fn committed(wire: &mut Wire, name: &str) -> Option<Option<i64>> {
    let group = GroupId(StrBytes::from_string(name.to_string()));
    let one = OffsetFetchRequestGroup::default().with_group_id(group).with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(vec![one]);
    let answer: OffsetFetchResponse =
        wire.call(ApiKey::OffsetFetch, 8, &request).expect("an answer");
    let group = &answer.groups[0];
    let topic = group.topics.first();
    (group.error_code == 0).then(|| topic.map(|topic| topic.partitions[0].committed_offset))
}

/// Changes the value of the one record of the batch that has `key` in it, and gives the batch its CRC again.
fn change_value(bytes: &mut [u8], key: &[u8], change: impl Fn(&mut [u8])) {
    let mut at = 0;
    while let Some(prefix) = bytes.get(at..at + BATCH_PREFIX_BYTES) {
        let length = i32::from_be_bytes(prefix[8..].try_into().expect("four bytes"));
        if length == 0 {
            break;
        }
        let end = at + BATCH_PREFIX_BYTES + length as usize;
        let batch = &mut bytes[at..end];
        let found = batch.windows(key.len()).position(|window| window == key);
        if let Some(found) = found.filter(|found| *found > FIRST_RECORD_AT) {
            // The value's length is a varint of a byte or two.
            let length_at = found + key.len();
            let value_at = length_at + if batch[length_at] < 0x80 { 1 } else { 2 };
            change(&mut batch[value_at..]);
            let crc = crc32c::crc32c(&batch[CHECKED_FROM..]);
            batch[CRC_AT..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
            return;
        }
        at = end;
    }
    panic!("no batch has {key:?}");
}

/// Of an offset: version 1, group, topic, partition 0.
fn key(group: &str) -> Vec<u8> {
    let mut key = vec![0, 1, 0, group.len() as u8];
    key.extend(group.as_bytes());
    key.extend(b"\0\x01t\0\0\0\0");
    key
}

#[test]
fn a_record_that_cannot_be_parsed_is_named_and_the_rest_loads() {
    let mut broker = broker();
    let mut wire = connect(&broker);
    for name in ["before", "version", "length", "after"] {
        assert_eq!(commit(&mut wire, name, 1), 0);
    }
    // A clean stop: the log is not scanned, and its CRCs are right anyway.
    broker.terminate();
    let mut bytes = std::fs::read(segment(&broker)).expect("read the segment");
    change_value(&mut bytes, &key("version"), |value| value[..2].copy_from_slice(&[0, 99]));
    // The metadata's length, behind version, offset and leader epoch.
    change_value(&mut bytes, &key("length"), |value| value[14] = 0x7f);
    std::fs::write(segment(&broker), bytes).expect("write the segment");

    broker.restart();
    let mut wire = Wire::connect(broker.address());
    let mut fetched =
        |name: &str| wait_for("the coordinator", PATIENCE, || committed(&mut wire, name));
    assert_eq!(fetched("before"), Some(5));
    assert_eq!(fetched("after"), Some(5));
    assert_eq!((fetched("version"), fetched("length")), (None, None));
    let log = broker.log_text();
    let lines: Vec<&str> = log.lines().filter(|l| l.contains("can't be read: skipped")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    for (line, part) in lines.iter().zip(["version 99", "metadata"]) {
        assert!(line.contains("__consumer_offsets-0") && line.contains("offset="), "{line}");
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
    // And the group goes on.
    assert_eq!(commit(&mut wire, "version", 1), 0);
    assert_eq!(committed(&mut wire, "version"), Some(Some(5)));
}
