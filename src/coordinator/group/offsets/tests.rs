//! Committed offsets: who may commit, what is shown, transactions, what time and topics take away.

use super::super::answer::{Answer, ListedGroup};
use super::super::input::*;
use super::super::testing::*;
use super::super::*;
use crate::coordinator::group::GroupError::*;
use crate::limits::GROUP_OFFSETS_EXPIRED_AT_ONCE;
use crate::types::TopicId;

fn bench() -> Bench {
    Bench::new(GroupConfig::default())
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[test]
fn a_simple_consumer_commits_and_reads_back_over_a_restart() {
    let mut b = bench();
    assert_eq!(b.fetch("g", false), Ok(-1));
    assert_eq!(b.commit(committing("g", "", -1, 5)), Ok(()));
    assert_eq!(b.commit(committing("g", "", -1, 9)), Ok(()));
    assert_eq!((b.fetch("g", true), b.state("g")), (Ok(9), "Empty"));
    assert!(b.events.is_empty(), "going forward is what a consumer does");
    b.reload();
    assert_eq!((b.fetch("g", true), b.state("g")), (Ok(9), "Empty"));
    assert_eq!(b.commit(committing("g", "", -1, 2)), Ok(()));
    let cause = Cause::OffsetMoved { topic: "t".into(), partition: 0, from: 9, to: 2 };
    assert_eq!(b.causes(EventKind::OffsetsReset), [&cause]);
}

/// It is in the table of offsets alone until a request wants more of it than that: nobody can tell, after a restart
/// either.
#[test]
fn who_has_offsets_and_nothing_else_is_a_group_for_every_request() {
    let ask = |b: &mut Bench, input: &dyn Fn(RequestId) -> Input| {
        let from = b.request(input);
        b.answer(from).expect("it is answered at once")
    };
    for restarts in [false, true] {
        let mut b = bench();
        for group in ["a", "b", "c", "d", "e"] {
            b.commit(committing(group, "", -1, 5)).unwrap();
        }
        b.stable("f", 1);
        b.commit(committing("g", "", -1, 5)).unwrap();
        if restarts {
            b.reload();
        }
        assert_eq!(b.groups.counts(), GroupCounts { classic: 7, consumer: 0, offsets: 6 });
        let list = |from| Input::List { from, request: ListRequest::default() };
        let Answer::List(listed) = ask(&mut b, &list) else { panic!("a list") };
        let shown = |group: &ListedGroup| format!("{} {}", group.group_id, group.state);
        let expected =
            ["a Empty", "b Empty", "c Empty", "d Empty", "e Empty", "f Stable", "g Empty"];
        assert_eq!(listed.iter().map(shown).collect::<Vec<_>>(), expected);
        let describe = |from| Input::Describe { from, group_id: s("a") };
        let Answer::Describe(a) = ask(&mut b, &describe) else { panic!("a description") };
        assert_eq!((a.error, a.state), (None, "Empty"));
        let delete = |from| Input::Delete { from, client: client("x"), group_id: s("b") };
        assert_eq!(ask(&mut b, &delete), Answer::Delete(Ok(())));
        assert_eq!((b.state("b"), b.fetch("b", false)), ("Dead", Ok(-1)));
        // Its last offset is deleted: it is a group until the next round of retention.
        let request = DeleteOffsetsRequest { group_id: s("c"), topics: vec![(s("t"), vec![0])] };
        let delete_offsets = |from| {
            let request = request.clone();
            Input::DeleteOffsets { from, client: client("x"), request }
        };
        assert!(matches!(ask(&mut b, &delete_offsets), Answer::DeleteOffsets(Ok(_))));
        assert_eq!((b.state("c"), b.fetch("c", false)), ("Empty", Ok(-1)));
        // A member comes: it has the offsets.
        let members = b.stable("d", 1);
        assert_eq!(b.fetch("d", false), Ok(5));
        let id = &*members[0].member_id;
        assert_eq!(b.commit(committing("d", id, members[0].generation, 6)), Ok(()));
        assert_eq!(b.commit(committing("d", "", -1, 7)), Err(UnknownMemberId));
        assert_eq!(b.commit(committing("e", "m", 3, 7)), Err(UnknownMemberId));
        assert_eq!(b.commit(committing("e", "", -1, 7)), Ok(()));
        b.reload();
        let both = (b.fetch("d", false), b.fetch("e", false));
        assert_eq!((both, b.state("b"), b.state("e")), ((Ok(6), Ok(7)), "Dead", "Empty"));
        // Nobody comes any more, and all of it goes.
        b.pass(9 * DAY_MS);
        assert_eq!(b.groups.counts(), GroupCounts::default());
        b.reload();
        assert_eq!(b.groups.counts(), GroupCounts::default());
    }
}

#[test]
fn who_may_commit_depends_on_the_group() {
    let mut b = bench();
    assert_eq!(b.commit(committing("g", "m", 3, 5)), Err(IllegalGeneration));
    let new = CommitRequest { knows_member_epochs: true, ..committing("g", "m", 3, 5) };
    assert_eq!(b.commit(new), Err(GroupIdNotFound));
    let members = b.stable("g", 2);
    let id = &*members[1].member_id;
    assert_eq!(b.commit(committing("g", "", -1, 5)), Err(UnknownMemberId));
    assert_eq!(b.commit(committing("g", "x", 1, 5)), Err(UnknownMemberId));
    assert_eq!(b.commit(committing("g", id, 2, 5)), Err(IllegalGeneration));
    assert_eq!(b.commit(committing("g", id, -1, 5)), Err(IllegalGeneration));
    let instance = CommitRequest { instance_id: Some(s("i")), ..committing("g", id, 1, 5) };
    assert_eq!(b.commit(instance), Err(UnknownMemberId));
    assert_eq!(b.commit(committing("g", id, 1, 5)), Ok(()));
    // While others join, what was done before may still be committed; with the new generation under way it may not.
    b.send_join(joining("g", &members[0].member_id));
    assert_eq!(b.commit(committing("g", id, 1, 6)), Ok(()));
    assert_eq!(b.join(joining("g", id)).generation, 2);
    assert_eq!(b.commit(committing("g", id, 1, 7)), Err(IllegalGeneration));
    assert_eq!(b.commit(committing("g", id, 2, 7)), Err(RebalanceInProgress));
    assert_eq!(b.fetch("g", false), Ok(6));
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut b = bench();
    let members = b.stable("g", 1);
    for offset in 0..5 {
        b.pass(9000);
        assert_eq!(b.commit(committing("g", &members[0].member_id, 1, offset)), Ok(()));
    }
    assert_eq!(b.state("g"), "Stable");
}

#[test]
fn metadata_has_a_limit_and_each_partition_its_own_answer() {
    let mut b = Bench::new(GroupConfig { offset_metadata_max_bytes: 4, ..GroupConfig::default() });
    let mut request = committing("g", "", -1, 5);
    let mut long = request.topics[0].partitions[0].clone();
    (long.partition, long.metadata) = (1, Some(s("12345")));
    let mut wide = long.clone();
    (wide.partition, wide.metadata) = (2, Some(s("ééé")));
    request.topics[0].partitions.extend([long, wide]);
    let from = b.request(|from| Input::Commit { from, client: client("c"), request });
    let Some(Answer::Commit(Ok(topics))) = b.answer(from) else { panic!("refused") };
    let expected = [(0, None), (1, Some(OffsetMetadataTooLarge)), (2, None)];
    assert_eq!(topics[0].partitions, expected);
    assert_eq!(b.groups.counts().offsets, 2);
}

#[test]
fn all_of_a_group_by_topic_and_partition_and_none_of_another_topic_of_the_name() {
    let mut b = bench();
    for (topic, partition) in [("u", 3), ("t", 2), ("t", 0), ("t", 10), ("t", 1)] {
        let mut request = committing("g", "", -1, i64::from(partition));
        request.topics[0].name = s(topic);
        request.topics[0].partitions[0].partition = partition;
        b.commit(request).unwrap();
    }
    let all = |b: &mut Bench, group: &str| {
        let request =
            FetchOffsetsRequest { group_id: s(group), member_epoch: -1, ..Default::default() };
        let from = b.request(|from| Input::FetchOffsets { from, request });
        let Some(Answer::FetchOffsets(Ok(topics))) = b.answer(from) else { panic!("refused") };
        let rows = |t: answer::FetchedTopic| {
            let offsets: Vec<_> = t.partitions.iter().map(|p| (p.partition, p.offset)).collect();
            (t.name.to_string(), offsets)
        };
        topics.into_iter().map(rows).collect::<Vec<_>>()
    };
    let expected = [
        ("t".to_string(), vec![(0, 0), (1, 1), (2, 2), (10, 10)]),
        ("u".to_string(), vec![(3, 3)]),
    ];
    assert_eq!(all(&mut b, "g"), expected);
    b.reload();
    assert_eq!(all(&mut b, "g"), expected);
    assert!(all(&mut b, "nothing").is_empty());

    let by_id = |b: &mut Bench, id: u128| {
        let topic =
            FetchOffsetsTopic { name: s("t"), id: TopicId::from_u128(id), partitions: vec![2] };
        let topics = Some(vec![topic]);
        let request = FetchOffsetsRequest {
            group_id: s("g"),
            member_epoch: -1,
            topics,
            ..Default::default()
        };
        let from = b.request(|from| Input::FetchOffsets { from, request });
        let Some(Answer::FetchOffsets(Ok(topics))) = b.answer(from) else { panic!("refused") };
        topics[0].partitions[0].offset
    };
    assert_eq!((by_id(&mut b, 7), by_id(&mut b, 0), by_id(&mut b, 8)), (2, 2, -1));
}

fn in_transaction(b: &mut Bench, producer: Producer, offset: i64) -> Result<(), GroupError> {
    let topics = committing("g", "", -1, offset).topics;
    let request = TxnCommitRequest {
        group_id: s("g"),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        generation_or_epoch: -1,
        topics,
        ..TxnCommitRequest::default()
    };
    let from = b.request(|from| Input::TxnCommit { from, client: client("c"), request });
    match b.answer(from) {
        Some(Answer::TxnCommit(result)) => result.map(|_| ()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_transactions_offsets_count_when_it_commits_and_not_when_it_aborts() {
    for reload in [false, true] {
        let mut b = bench();
        let (one, two) = (Producer { id: 1, epoch: 0 }, Producer { id: 2, epoch: 0 });
        let maybe_reload = |b: &mut Bench| {
            if reload {
                b.reload();
            }
        };
        b.commit(committing("g", "", -1, 1)).unwrap();
        in_transaction(&mut b, one, 10).unwrap();
        in_transaction(&mut b, two, 20).unwrap();
        maybe_reload(&mut b);
        assert_eq!((b.fetch("g", false), b.fetch("g", true)), (Ok(1), Err(UnstableOffsetCommit)));
        b.mark(two, false);
        maybe_reload(&mut b);
        assert_eq!((b.fetch("g", false), b.fetch("g", true)), (Ok(1), Err(UnstableOffsetCommit)));
        b.mark(one, true);
        maybe_reload(&mut b);
        assert_eq!((b.fetch("g", false), b.fetch("g", true)), (Ok(10), Ok(10)));
        // What was committed after the transaction's offset stays.
        in_transaction(&mut b, one, 11).unwrap();
        b.commit(committing("g", "", -1, 30)).unwrap();
        maybe_reload(&mut b);
        b.mark(one, true);
        maybe_reload(&mut b);
        assert_eq!(b.fetch("g", true), Ok(30));
        b.mark(one, true);
        assert_eq!(b.fetch("g", true), Ok(30), "a marker without offsets");
    }
}

#[test]
fn offsets_are_deleted_but_not_those_of_a_topic_that_is_read() {
    let mut b = bench();
    let members = b.stable("g", 1);
    for topic in ["t", "u"] {
        let mut request = committing("g", &members[0].member_id, 1, 5);
        request.topics[0].name = s(topic);
        b.commit(request).unwrap();
    }
    let delete = |b: &mut Bench, group: &str| {
        let topics = vec![(s("t"), vec![0]), (s("u"), vec![0, 1])];
        let request = DeleteOffsetsRequest { group_id: s(group), topics };
        let from = b.request(|from| Input::DeleteOffsets { from, client: client("a"), request });
        match b.answer(from) {
            Some(Answer::DeleteOffsets(result)) => {
                result.map(|topics| topics.into_iter().map(|t| t.partitions).collect::<Vec<_>>())
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(delete(&mut b, "nothing"), Err(GroupIdNotFound));
    let refused = vec![(0, Some(GroupSubscribedToTopic))];
    assert_eq!(delete(&mut b, "g"), Ok(vec![refused, vec![(0, None), (1, None)]]));
    assert_eq!(b.groups.counts().offsets, 1);
    b.leave("g", &[(&members[0].member_id, None)]);
    assert_eq!(delete(&mut b, "g"), Ok(vec![vec![(0, None)], vec![(0, None), (1, None)]]));
    b.reload();
    assert_eq!(b.groups.counts().offsets, 0);

    let other = JoinRequest { protocol_type: s("connect"), ..joining("c", "") };
    let id = b.join(other.clone()).member_id;
    b.send_join(JoinRequest { member_id: id, ..other });
    assert_eq!(delete(&mut b, "c"), Err(NonEmptyGroup));
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    let mut b = bench();
    b.commit(committing("g", "", -1, 5)).unwrap();
    b.step(Input::TopicsDeleted { topics: vec![(s("t"), TopicId::from_u128(8))] });
    assert_eq!(b.fetch("g", false), Ok(5), "another topic of the name");
    in_transaction(&mut b, Producer { id: 1, epoch: 0 }, 6).unwrap();
    b.step(Input::TopicsDeleted { topics: vec![(s("t"), TopicId::from_u128(7))] });
    assert_eq!(b.fetch("g", true), Ok(-1));
    b.mark(Producer { id: 1, epoch: 0 }, true);
    assert_eq!(b.fetch("g", true), Ok(-1));
    b.reload();
    assert_eq!(b.fetch("g", true), Ok(-1));
}

#[test]
fn a_simple_consumers_offsets_expire_after_their_commit_and_the_group_goes() {
    let mut b = bench();
    b.commit(committing("g", "", -1, 5)).unwrap();
    b.pass(6 * DAY_MS);
    let mut other = committing("g", "", -1, 6);
    other.topics[0].partitions[0].partition = 1;
    b.commit(other).unwrap();
    b.pass(DAY_MS + 600_000);
    assert_eq!((b.fetch("g", false), b.groups.counts().offsets), (Ok(-1), 1));
    b.pass(6 * DAY_MS);
    assert_eq!(b.state("g"), "Dead");
    let cause = Cause::Retention { after_ms: 7 * DAY_MS, offsets: 1 };
    assert_eq!(b.causes(EventKind::OffsetsExpired), [&cause, &cause]);
    b.reload();
    assert_eq!((b.state("g"), b.groups.counts().offsets), ("Dead", 0));
}

#[test]
fn a_groups_offsets_expire_after_it_became_empty() {
    let mut b = bench();
    let members = b.stable("g", 1);
    let id = &*members[0].member_id;
    b.commit(committing("g", id, 1, 5)).unwrap();
    let keep_alive = |b: &mut Bench, days: i64| {
        for _ in 0..days * DAY_MS / 9000 {
            b.pass(9000);
            b.heartbeat("g", id, 1).unwrap();
        }
    };
    keep_alive(&mut b, 8);
    assert_eq!(b.fetch("g", false), Ok(5), "the topic is read");
    b.leave("g", &[(id, None)]);
    b.reload();
    b.pass(7 * DAY_MS - 600_000);
    assert_eq!(b.fetch("g", false), Ok(5));
    b.pass(1_200_000);
    assert_eq!((b.fetch("g", false), b.state("g")), (Ok(-1), "Dead"));
}

#[test]
fn offsets_of_topics_that_a_live_group_no_longer_reads_expire() {
    let mut b = bench();
    let members = b.stable("g", 1);
    let id = &*members[0].member_id;
    for topic in ["t", "u"] {
        let mut request = committing("g", id, 1, 5);
        request.topics[0].name = s(topic);
        b.commit(request).unwrap();
    }
    for _ in 0..(7 * DAY_MS + 600_000) / 9000 + 1 {
        b.pass(9000);
        b.heartbeat("g", id, 1).unwrap();
    }
    assert_eq!((b.fetch("g", false), b.groups.counts().offsets), (Ok(5), 1));
}

#[test]
fn an_old_client_says_when_its_offset_expires_and_a_pending_one_keeps_it() {
    let mut b = bench();
    let short = CommitRequest { retention_time_ms: Some(1000), ..committing("g", "", -1, 5) };
    b.commit(short).unwrap();
    b.reload();
    in_transaction(&mut b, Producer { id: 1, epoch: 0 }, 6).unwrap();
    b.pass(600_000);
    assert_eq!(b.fetch("g", false), Ok(5));
    b.mark(Producer { id: 1, epoch: 0 }, false);
    b.pass(600_000);
    assert_eq!((b.fetch("g", false), b.state("g")), (Ok(-1), "Dead"));
}

#[test]
fn a_round_of_retention_takes_as_many_steps_as_it_needs() {
    let mut b = bench();
    for group in 0..30 {
        let mut request = committing(&format!("g{group}"), "", -1, 5);
        let row = request.topics[0].partitions[0].clone();
        request.topics[0].partitions =
            (0..1000).map(|partition| CommitPartition { partition, ..row.clone() }).collect();
        b.commit(request).unwrap();
    }
    b.pass(7 * DAY_MS - 600_000);
    b.events.clear();
    b.pass(1_200_000);
    assert_eq!(b.groups.counts(), GroupCounts::default());
    assert_eq!(b.causes(EventKind::GroupDeleted).len(), 30);
    assert_eq!(b.replayed().counts(), GroupCounts::default());
}

#[test]
fn a_round_of_retention_looks_at_so_many_offsets_a_step() {
    let mut b = bench();
    let groups = 3 * GROUP_OFFSETS_EXPIRED_AT_ONCE / 1000;
    let commit = |b: &mut Bench, group: usize| {
        let mut request = committing(&format!("g{group}"), "", -1, 5);
        let row = request.topics[0].partitions[0].clone();
        request.topics[0].partitions =
            (0..1000).map(|partition| CommitPartition { partition, ..row.clone() }).collect();
        b.commit(request).unwrap();
    };
    (0..groups).for_each(|group| commit(&mut b, group));
    b.pass(7 * DAY_MS - 1000);
    // Until the round that finds them expired, and not a step further.
    let all = b.groups.counts().offsets;
    let mut left = all;
    while left == all {
        let next_ms = b.groups.next_deadline_ms().expect("a round is due");
        b.now.wall_ms += next_ms - b.now.monotonic_ms;
        b.now.monotonic_ms = next_ms;
        b.step(Input::Tick);
        left = b.groups.counts().offsets;
    }
    let (most, at_once) = (all - left, GROUP_OFFSETS_EXPIRED_AT_ONCE + 1000);
    assert!(most <= at_once, "{most} in one step, {at_once} are enough");
    assert_eq!(b.groups.next_deadline_ms(), Some(b.now.monotonic_ms), "the rest is due at once");
    // Others have their turn: what they commit is not of this round, in a group that it has seen or has yet to see,
    // nor does a group that goes meanwhile make it pass over one.
    for group in [0, groups - 1, groups] {
        commit(&mut b, group);
    }
    let client = client("c");
    b.request(|from| Input::Delete { from, client, group_id: s("g1") });
    let mut steps = 0;
    while b.groups.next_deadline_ms() == Some(b.now.monotonic_ms) {
        b.step(Input::Tick);
        steps += 1;
    }
    assert!((2..=4).contains(&steps), "{steps} more steps");
    assert_eq!(b.groups.counts().offsets, 3000);
    assert_eq!(b.replayed().counts(), b.groups.counts());
}

#[test]
fn a_record_that_cannot_be_read_is_reported_and_the_rest_loads() {
    let mut b = bench();
    b.commit(committing("g", "", -1, 5)).unwrap();
    let mut groups = b.replayed();
    let bad = [
        (None, None),
        (Some(&[0_u8, 2, 0][..]), None),
        (Some(&[0, 2, 0, 1, b'g'][..]), Some(&[0_u8, 9][..])),
        (Some(&[0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 0][..]), Some(&[0, 3, 1][..])),
    ];
    for (key, value) in bad {
        let record = LoadedRecord { key, value, transactional: None };
        assert!(groups.replay(&record).is_err());
    }
    assert_eq!(groups.counts(), b.groups.counts());
}

/// Prints how long the replay of a million offsets takes: `cargo test --release --lib million -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_million_offsets_are_loaded() {
    for (groups, partitions) in [(10_000, 100), (100, 10_000), (1_000_000, 1)] {
        let mut log: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(1_000_000);
        for partition in 0..partitions {
            for group in 0..groups {
                let record = Record::Offset {
                    group: format!("consumer-group-{group}").into(),
                    topic: "a.topic.of.some.length".into(),
                    partition,
                    value: Some(records::OffsetValue {
                        offset: 123_456_789,
                        leader_epoch: 4,
                        metadata: "".into(),
                        commit_ms: 1_700_000_000_000,
                        expire_ms: -1,
                        topic_id: crate::types::TopicId::from_u128(77),
                    }),
                };
                let (mut key, mut value) = (Vec::new(), Vec::new());
                record.encode(&mut key, &mut value);
                log.push((key, value));
            }
        }
        let mut loaded = Groups::new(GroupConfig::default(), 1);
        let start = std::time::Instant::now();
        for (key, value) in &log {
            let record = LoadedRecord { key: Some(key), value: Some(value), transactional: None };
            loaded.replay(&record).unwrap();
        }
        let took = start.elapsed();
        assert_eq!(loaded.counts().offsets, 1_000_000);
        println!("{groups} groups of {partitions} offsets: {took:?}");
    }
}
