//! Golden bytes: records as Kafka 4.3.1's own classes write them (tests/golden/gen/GroupRecords.java makes them
//! again), read to the values that were given there, and for the versions that Kafka writes, written back to the same
//! bytes. Every cut of every record is an error and never a panic.

use std::collections::BTreeMap;

use super::*;

const GOLDEN: &str = include_str!("../../../../tests/golden/group_records.txt");
const ONE: TopicId = TopicId::from_u128(0x0123456789abcdef_0fedcba987654321);
const TWO: TopicId = TopicId::from_u128(0x1111111111111111_2222222222222222);
const AT_MS: i64 = 1_700_000_000_123;

struct Golden {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn golden() -> BTreeMap<&'static str, Golden> {
    let line = |line: &'static str| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        let (name, key, value) = (word(), word(), word());
        (name, Golden { key: unhex(key), value: (value != "-").then(|| unhex(value)) })
    };
    GOLDEN.lines().map(line).collect()
}

fn name(text: &str) -> Arc<str> {
    text.into()
}

fn offset(leader_epoch: i32, expire_ms: i64, topic_id: TopicId) -> Record {
    let value = OffsetValue {
        offset: 123_456_789_012,
        leader_epoch,
        metadata: name("météo"),
        commit_ms: AT_MS,
        expire_ms,
        topic_id,
    };
    Record::Offset {
        group: name("grupo é"),
        topic: name("orders"),
        partition: 12,
        value: Some(value),
    }
}

fn group(version: i16) -> Record {
    let member = |id, instance: Option<&str>, client, host, timeouts: (i32, i32)| MemberValue {
        member_id: name(id),
        instance_id: instance.filter(|_| version >= 3).map(name),
        client_id: name(client),
        client_host: name(host),
        rebalance_timeout_ms: if version >= 1 { timeouts.0 } else { -1 },
        session_timeout_ms: timeouts.1,
        subscription: Bytes::new(),
        assignment: Bytes::new(),
    };
    let first = MemberValue {
        subscription: Bytes::from_static(&[0, 1, 2]),
        assignment: Bytes::from_static(&[3, 4]),
        ..member("member-1", None, "client", "/127.0.0.1", (300_000, 45_000))
    };
    let second = member("member-2", Some("instance"), "Klient é", "/::1", (60_000, 10_000));
    Record::Group {
        group: name("grupo é"),
        value: Some(GroupValue {
            protocol_type: name("consumer"),
            generation: 7,
            protocol: Some(name("range")),
            leader: Some(name("member-1")),
            state_ms: if version >= 2 { AT_MS } else { -1 },
            members: vec![first, second],
        }),
    }
}

/// What the golden records say, by name.
fn expected() -> Vec<(&'static str, Record)> {
    let (g, m) = (|| name("g"), || name("m"));
    let nil = TopicId::nil();
    let consumer = |metadata_hash| Record::ConsumerGroup {
        group: g(),
        value: Some(ConsumerGroupValue { epoch: 9, metadata_hash }),
    };
    let member =
        |value| Record::ConsumerMember { group: g(), member: m(), value: Some(Box::new(value)) };
    let target = |at_ms| Record::ConsumerTarget {
        group: g(),
        value: Some(ConsumerTargetValue { epoch: 10, at_ms }),
    };
    let assigned = |topic_id, partitions: &[i32], epochs: Option<&[i32]>| AssignedAt {
        topic_id,
        partitions: partitions.to_vec(),
        epochs: epochs.map(<[i32]>::to_vec),
    };
    let plain_member = ConsumerMemberValue {
        client_id: name("c"),
        client_host: name("/h"),
        rebalance_timeout_ms: -1,
        ..ConsumerMemberValue::default()
    };
    let full_member = ConsumerMemberValue {
        instance_id: Some(name("i")),
        rack_id: Some(name("r")),
        subscribed_topic_names: vec![name("a"), name("b")],
        subscribed_topic_regex: Some(name("x.*")),
        rebalance_timeout_ms: 5000,
        server_assignor: Some(name("uniform")),
        classic: Some(ClassicMemberValue {
            session_timeout_ms: 45_000,
            protocols: vec![(name("range"), Bytes::from_static(&[9, 8, 7]))],
        }),
        ..plain_member.clone()
    };
    vec![
        ("read.offset.0", offset(-1, -1, nil)),
        ("read.offset.1", offset(-1, AT_MS + 900_000, nil)),
        ("read.offset.2", offset(-1, -1, nil)),
        ("read.offset.3", offset(5, -1, nil)),
        ("read.offset.4", offset(5, -1, nil)),
        ("read.legacy", offset(-1, -1, nil)),
        ("read.tags", offset(5, -1, ONE)),
        ("written.offset", offset(5, -1, ONE)),
        ("written.offset.expire", offset(-1, AT_MS + 900_000, nil)),
        (
            "written.offset.plain",
            Record::Offset {
                group: g(),
                topic: name("t"),
                partition: 0,
                value: Some(OffsetValue {
                    offset: 0,
                    leader_epoch: -1,
                    metadata: name(""),
                    commit_ms: 0,
                    expire_ms: -1,
                    topic_id: nil,
                }),
            },
        ),
        (
            "written.offset.tombstone",
            Record::Offset {
                group: name("grupo é"),
                topic: name("orders"),
                partition: 12,
                value: None,
            },
        ),
        ("read.group.0", group(0)),
        ("read.group.1", group(1)),
        ("read.group.2", group(2)),
        ("read.group.3", group(3)),
        ("read.group.4", group(4)),
        (
            "read.group.empty",
            Record::Group {
                group: name("grupo é"),
                value: Some(GroupValue {
                    protocol_type: name(""),
                    generation: 8,
                    protocol: None,
                    leader: None,
                    state_ms: 9,
                    members: Vec::new(),
                }),
            },
        ),
        ("written.group.tombstone", Record::Group { group: name("grupo é"), value: None }),
        ("written.consumer", consumer(-2)),
        ("written.consumer.plain", consumer(0)),
        ("written.consumer.tombstone", Record::ConsumerGroup { group: g(), value: None }),
        ("read.partitions", Record::ConsumerPartitions { group: g(), value: Some(()) }),
        ("written.partitions.tombstone", Record::ConsumerPartitions { group: g(), value: None }),
        ("written.member", member(full_member)),
        ("written.member.plain", member(plain_member)),
        (
            "written.member.tombstone",
            Record::ConsumerMember { group: g(), member: m(), value: None },
        ),
        ("written.target", target(AT_MS)),
        ("written.target.plain", target(0)),
        ("written.target.tombstone", Record::ConsumerTarget { group: g(), value: None }),
        (
            "written.target.member",
            Record::ConsumerTargetMember {
                group: g(),
                member: m(),
                value: Some(vec![
                    Assigned { topic_id: ONE, partitions: vec![1, 2, 3] },
                    Assigned { topic_id: TWO, partitions: vec![] },
                ]),
            },
        ),
        (
            "written.target.member.tombstone",
            Record::ConsumerTargetMember { group: g(), member: m(), value: None },
        ),
        (
            "written.current",
            Record::ConsumerCurrent {
                group: g(),
                member: m(),
                value: Some(ConsumerCurrentValue {
                    member_epoch: 11,
                    previous_member_epoch: 10,
                    state: 1,
                    assigned: vec![assigned(ONE, &[1, 2], Some(&[10, 11]))],
                    pending_revocation: vec![assigned(TWO, &[300], None)],
                }),
            },
        ),
        (
            "written.current.tombstone",
            Record::ConsumerCurrent { group: g(), member: m(), value: None },
        ),
        (
            "written.regex",
            Record::ConsumerRegex {
                group: g(),
                regex: name("x.*"),
                value: Some(ConsumerRegexValue {
                    topics: vec![name("xa"), name("xb")],
                    version: 44,
                    at_ms: AT_MS,
                }),
            },
        ),
        (
            "written.regex.tombstone",
            Record::ConsumerRegex { group: g(), regex: name("x.*"), value: None },
        ),
        ("read.unused", Record::Unused { kind: 11 }),
    ]
}

#[test]
fn kafkas_bytes_say_what_was_given_and_are_written_the_same() {
    let golden = golden();
    let expected = expected();
    assert_eq!(golden.len(), expected.len());
    for (name, record) in expected {
        let bytes = &golden[name];
        let read = Record::decode(&bytes.key, bytes.value.as_deref());
        assert_eq!(read.as_ref(), Ok(&record), "{name}");
        let same_bytes =
            name.starts_with("written") || matches!(name, "read.group.3" | "read.group.empty");
        if same_bytes {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            let has_value = record.encode(&mut key, &mut value);
            assert_eq!(key, bytes.key, "{name}");
            assert_eq!(has_value.then_some(value), bytes.value, "{name}");
        }
    }
}

#[test]
fn every_cut_is_an_error_and_what_comes_after_is_passed_over() {
    for (name, bytes) in golden() {
        let Some(value) = &bytes.value else { continue };
        if matches!(name, "read.unused" | "read.partitions") {
            continue;
        }
        for end in 0..value.len() {
            assert!(Record::decode(&bytes.key, Some(&value[..end])).is_err(), "{name} {end}");
        }
        for end in 0..bytes.key.len() {
            assert!(Record::decode(&bytes.key[..end], Some(value)).is_err(), "{name} {end}");
        }
        let mut longer = value.clone();
        longer.push(0);
        assert!(Record::decode(&bytes.key, Some(&longer)).is_ok(), "{name}");
    }
}

#[test]
fn a_version_from_tomorrow_is_an_error_that_names_it() {
    let golden = golden();
    for (name, newest) in [("written.offset", 4), ("read.group.3", 4), ("written.consumer", 0)] {
        let mut value = golden[name].value.clone().unwrap();
        value[..2].copy_from_slice(&(newest + 1_i16).to_be_bytes());
        let error = Record::decode(&golden[name].key, Some(&value)).unwrap_err();
        assert!(error.0.contains(&format!("version {}", newest + 1)), "{error}");
    }
    let kind = |kind: i16| Record::decode(&kind.to_be_bytes(), None);
    assert_eq!(kind(99), Ok(Record::Unused { kind: 99 }));
    assert_eq!(kind(23), Ok(Record::Unused { kind: 23 }));
}

#[test]
fn bytes_with_any_byte_changed_never_panic() {
    for (_, bytes) in golden() {
        let value = bytes.value.unwrap_or_default();
        for at in 0..bytes.key.len() + value.len() {
            for with in [0, 1, 0x7f, 0x80, 0xff] {
                let (mut key, mut value) = (bytes.key.clone(), value.clone());
                match at.checked_sub(key.len()) {
                    None => key[at] = with,
                    Some(at) => value[at] = with,
                }
                let _ = Record::decode(&key, Some(&value));
            }
        }
    }
}

#[test]
fn a_number_has_five_bytes_at_most_and_four_bits_in_the_fifth() {
    let golden = golden();
    let bytes = &golden["written.consumer.plain"];
    let value = bytes.value.clone().expect("a value");
    let (no_tags, before) = value.split_last().expect("a byte");
    assert_eq!(*no_tags, 0);
    let with = |number: &[u8]| Record::decode(&bytes.key, Some(&[before, number].concat()));
    let record = Record::decode(&bytes.key, Some(&value));
    assert_eq!(with(&[0x80, 0x80, 0x80, 0x80, 0]), record, "0 in five bytes");
    // 2^32: it would be read as 0.
    assert!(with(&[0x80, 0x80, 0x80, 0x80, 0x10]).is_err());
    assert!(with(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]).is_err());
}
