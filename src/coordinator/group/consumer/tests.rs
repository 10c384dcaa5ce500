//! The consumer group by subject: joining and epochs, reconciliation, fencing, static members, expressions, timeouts,
//! commits, the way from the classic protocol and back.

use bytes::Bytes;

use super::convert::{ClassicSeat, ClassicView, upgrade};
use super::describe::CommitFrom;
use super::embedded::{EmbeddedAssignment, write_assignment};
use super::member::MemberState;
use super::requests::After;
use super::testing::{Bench, beating, joining, names, text};
use crate::coordinator::group::answer::{Answer, ConsumerHeartbeatAnswer};
use crate::coordinator::group::config::MigrationPolicy;
use crate::coordinator::group::input::{
    ConsumerHeartbeatRequest, HeartbeatRequest, JoinRequest, LeaveRequest, LeavingMember, Protocol,
    SyncRequest, TopicPartitions,
};
use crate::coordinator::group::{Cause, Client, EventKind, GroupError, Record};
use crate::types::TopicId;

fn count(answer: &ConsumerHeartbeatAnswer) -> usize {
    let assigned = answer.assignment.as_ref().expect("it has an assignment");
    assigned.iter().map(|topic| topic.partitions.len()).sum()
}

fn owning(
    member: &str,
    epoch: i32,
    topic: TopicId,
    partitions: &[i32],
) -> ConsumerHeartbeatRequest {
    let owned = TopicPartitions { topic_id: topic, partitions: partitions.to_vec() };
    ConsumerHeartbeatRequest {
        owned: Some(if partitions.is_empty() { Vec::new() } else { vec![owned] }),
        ..beating(member, epoch)
    }
}

fn ok(answer: ConsumerHeartbeatAnswer) -> ConsumerHeartbeatAnswer {
    assert_eq!(answer.error, None, "{:?}", answer.message);
    answer
}

fn one_topic(partitions: i32) -> (Bench, TopicId) {
    let mut bench = Bench::new();
    let id = bench.topics.add("t", partitions);
    (bench, id)
}

#[test]
fn the_first_member_gets_everything_at_epoch_two() {
    let (mut bench, _) = one_topic(6);
    let answer = ok(bench.heartbeat(&joining("a", &["t", "nowhere"])));
    assert_eq!((answer.member_epoch, count(&answer)), (2, 6));
    assert_eq!(answer.heartbeat_interval_ms, 5000);
    assert_eq!(bench.group().state().name(), "Stable");
    let records = bench.log.len();
    let again = ok(bench.heartbeat(&beating("a", 2)));
    assert_eq!(again.assignment, None, "as before");
    assert_eq!(bench.log.len(), records, "nothing new, nothing written");
    bench.reload();
}

#[test]
fn the_second_waits_for_what_the_first_gives_back_and_nobody_else_moves() {
    let (mut bench, t) = one_topic(6);
    ok(bench.heartbeat(&joining("a", &["t"])));
    let b = ok(bench.heartbeat(&joining("b", &["t"])));
    assert_eq!((b.member_epoch, count(&b)), (3, 0), "nothing is free yet");
    assert_eq!(bench.group().state().name(), "Reconciling");
    let a = ok(bench.heartbeat(&owning("a", 2, t, &[0, 1, 2, 3, 4, 5])));
    assert_eq!((a.member_epoch, count(&a)), (2, 3), "it keeps its epoch until it gave back");
    assert_eq!(bench.group().member("a").unwrap().current.state, MemberState::UnrevokedPartitions);
    assert_eq!(ok(bench.heartbeat(&beating("b", 3))).assignment, None);
    let a = ok(bench.heartbeat(&owning("a", 2, t, &[0, 1, 2])));
    assert_eq!(a.member_epoch, 3);
    let b = ok(bench.heartbeat(&beating("b", 3)));
    assert_eq!(count(&b), 3);
    assert_eq!(bench.group().state().name(), "Stable");
    let kinds: Vec<EventKind> = bench.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::RebalanceCompleted).count(), 2);
    bench.reload();
}

#[test]
fn requests_are_refused_in_kafkas_words() {
    let (mut bench, _) = one_topic(1);
    let mut refused = |request: ConsumerHeartbeatRequest| {
        let answer = bench.heartbeat(&request);
        (answer.error, answer.message.unwrap_or_default())
    };
    let invalid = |text: &str| (Some(GroupError::InvalidRequest), text.to_string());
    let join = || joining("a", &["t"]);
    assert_eq!(
        refused(ConsumerHeartbeatRequest { member_id: text(""), ..join() }),
        invalid("MemberId can't be empty.")
    );
    assert_eq!(
        refused(ConsumerHeartbeatRequest { rebalance_timeout_ms: -1, ..join() }),
        invalid("RebalanceTimeoutMs must be provided in first request.")
    );
    assert_eq!(
        refused(ConsumerHeartbeatRequest { owned: None, ..join() }),
        invalid("TopicPartitions must be empty when (re-)joining.")
    );
    assert_eq!(
        refused(ConsumerHeartbeatRequest { subscribed_topic_names: None, ..join() }),
        invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
        )
    );
    assert_eq!(refused(beating("a", -2)), invalid("InstanceId can't be null."));
    assert_eq!(refused(beating("a", -3)), invalid("MemberEpoch is invalid."));
    let (error, message) =
        refused(ConsumerHeartbeatRequest { server_assignor: Some(text("x")), ..join() });
    assert_eq!(error, Some(GroupError::UnsupportedAssignor));
    assert_eq!(message, "ServerAssignor x is not supported. Supported assignors: uniform, range.");
    let (error, message) =
        refused(ConsumerHeartbeatRequest { subscribed_topic_regex: Some(text("a(")), ..join() });
    assert_eq!(error, Some(GroupError::InvalidRegularExpression));
    assert_eq!(
        message,
        "SubscribedTopicRegex `a(` is not a valid regular expression: missing closing )."
    );
    assert!(bench.group.is_none() && bench.log.is_empty());
}

#[test]
fn epochs_that_are_not_the_members_are_fenced() {
    let (mut bench, t) = one_topic(2);
    ok(bench.heartbeat(&joining("a", &["t"])));
    assert_eq!(bench.heartbeat(&beating("b", 2)).error, Some(GroupError::UnknownMemberId));
    assert_eq!(bench.heartbeat(&beating("a", 3)).error, Some(GroupError::FencedMemberEpoch));
    assert_eq!(bench.heartbeat(&beating("a", 1)).error, Some(GroupError::FencedMemberEpoch));
    let fenced = bench.events.last().unwrap();
    assert_eq!(fenced.cause, Cause::StaleEpoch { given: 1, current: 2 });
    // Its answer was lost: the epoch before, with no more than it was given.
    bench.topics.grow("t", 1);
    ok(bench.heartbeat(&owning("a", 2, t, &[0, 1])));
    assert_eq!(bench.group().member("a").unwrap().current.epoch, 3);
    ok(bench.heartbeat(&owning("a", 2, t, &[0, 1])));
    assert_eq!(
        bench.heartbeat(&owning("a", 2, t, &[0, 1, 9])).error,
        Some(GroupError::FencedMemberEpoch)
    );
}

#[test]
fn new_partitions_and_topics_that_go_make_an_epoch() {
    let (mut bench, _) = one_topic(2);
    ok(bench.heartbeat(&joining("a", &["t"])));
    bench.topics.grow("t", 2);
    let grown = ok(bench.heartbeat(&beating("a", 2)));
    assert_eq!((grown.member_epoch, count(&grown)), (3, 4));
    bench.topics.add("other", 1);
    assert_eq!(ok(bench.heartbeat(&beating("a", 3))).member_epoch, 3, "not one of its topics");
    bench.topics.remove("t");
    let gone = ok(bench.heartbeat(&owning("a", 3, TopicId::nil(), &[])));
    assert_eq!((gone.member_epoch, count(&gone)), (4, 0));
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let (mut bench, _) = one_topic(4);
    let with =
        |id: &str| ConsumerHeartbeatRequest { instance_id: Some(text("i")), ..joining(id, &["t"]) };
    ok(bench.heartbeat(&with("a")));
    ok(bench.heartbeat(&joining("z", &["t"])));
    assert_eq!(bench.heartbeat(&with("b")).error, Some(GroupError::UnreleasedInstanceId));
    let fenced = ConsumerHeartbeatRequest { instance_id: Some(text("i")), ..beating("b", 2) };
    assert_eq!(bench.heartbeat(&fenced).error, Some(GroupError::FencedInstanceId));
    let epoch = bench.group().epoch();
    let away = ConsumerHeartbeatRequest { instance_id: Some(text("i")), ..beating("a", -2) };
    assert_eq!(ok(bench.heartbeat(&away)).member_epoch, -2);
    bench.reload();
    let back = ok(bench.heartbeat(&with("b")));
    assert_eq!(bench.group().epoch(), epoch, "nobody else is bothered");
    assert_eq!((back.member_epoch, count(&back)), (epoch, 2));
    assert!(bench.group().member("a").is_none());
    bench.reload();
}

#[test]
fn who_is_silent_is_evicted_and_who_keeps_partitions_too_long_as_well() {
    let (mut bench, t) = one_topic(4);
    ok(bench.heartbeat(&joining("a", &["t"])));
    ok(bench.heartbeat(&joining("b", &["t"])));
    ok(bench.heartbeat(&owning("a", 2, t, &[0, 1, 2, 3])));
    for _ in 0..11 {
        bench.pass(5000);
        ok(bench.heartbeat(&owning("a", 2, t, &[0, 1, 2, 3])));
    }
    assert!(bench.group().member("b").is_none(), "45 s without a heartbeat");
    let evicted = bench.events.iter().find(|event| event.kind == EventKind::MemberEvicted).unwrap();
    assert_eq!(evicted.cause, Cause::SessionTimeout { timeout_ms: 45_000 });
    bench.pass(5000);
    assert!(bench.group().is_empty(), "60 s without giving back");
    let evicted = bench.events.iter().rev().find(|event| event.kind == EventKind::MemberEvicted);
    assert_eq!(evicted.unwrap().cause, Cause::RebalanceTimeout { timeout_ms: 60_000 });
    assert_eq!(bench.heartbeat(&beating("a", 2)).error, Some(GroupError::UnknownMemberId));
    bench.reload();
}

#[test]
fn an_expression_matches_topics_as_they_come() {
    let (mut bench, _) = one_topic(2);
    let request = ConsumerHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(text("t.*")),
        ..joining("a", &[])
    };
    assert_eq!(count(&ok(bench.heartbeat(&request))), 2);
    let epoch = bench.group().epoch();
    bench.topics.add("t2", 3);
    bench.topics.add("xt", 9);
    bench.subscriptions.topics_changed(&bench.topics);
    assert_eq!(ok(bench.heartbeat(&beating("a", epoch))).assignment, None, "not within 10 s");
    bench.pass(11_000);
    assert_eq!(count(&ok(bench.heartbeat(&beating("a", epoch)))), 5);
    bench.reload();
    let none = ConsumerHeartbeatRequest {
        subscribed_topic_names: names(&["xt"]),
        subscribed_topic_regex: Some(text("")),
        owned: Some(Vec::new()),
        ..beating("a", epoch + 1)
    };
    assert_eq!(count(&ok(bench.heartbeat(&none))), 9);
    assert!(bench.group().resolved.is_empty());
    bench.reload();
}

/// `[ab]*a[ab]{n}`: a program of some n states, and no automaton of fewer than 2^n. Any member may bring it.
#[test]
fn expressions_and_topics_of_any_size_are_matched_in_slices() {
    let mut bench = Bench::new();
    bench.topics.add("ab", 1);
    let request = |member: &str, regex: &str| ConsumerHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(text(regex)),
        ..joining(member, &[])
    };
    // A small one is through within its heartbeat.
    assert_eq!(count(&ok(bench.heartbeat(&request("small", "a[ab]")))), 1);
    assert_eq!((bench.slices, bench.timers.next_ms()), (0, Some(bench.now_ms + 45_000)));
    for n in 0..300 {
        let name = format!("{n:010b}").replace('0', "a").replace('1', "b").repeat(20);
        bench.topics.add(&name, 1);
    }
    let records = bench.log.len();
    let large = ok(bench.heartbeat(&request("large", "[ab]*a[ab]{500}|[ab]{40,}")));
    assert_eq!(count(&large), 0, "it waits");
    assert_eq!(bench.timers.next_ms(), Some(bench.now_ms), "the next slice is due at once");
    assert!(bench.log.len() > records, "it has joined");
    bench.pass(0);
    // Two names a slice, of 200 bytes each, for a program of some hundred KiB.
    assert!((50..=300).contains(&bench.slices), "{} slices", bench.slices);
    let epoch = bench.group().epoch();
    let now = ok(bench.heartbeat(&beating("large", large.member_epoch)));
    assert_eq!((now.member_epoch, count(&now)), (epoch, 300));
    bench.reload();
    assert_eq!(bench.group().resolved.len(), 2);
    // Topics that come while names are matched are matched by the next walk; a coordinator that goes meanwhile begins
    // anew with the next heartbeat.
    let slices = bench.slices;
    bench.topics.add(&"ab".repeat(21), 1);
    bench.subscriptions.topics_changed(&bench.topics);
    bench.pass(11_000);
    bench.subscriptions.topics_changed(&bench.topics);
    ok(bench.heartbeat(&beating("large", epoch)));
    bench.pass(0);
    assert!(bench.slices > slices + 50, "{} slices", bench.slices - slices);
    assert_eq!(count(&ok(bench.heartbeat(&beating("large", epoch)))), 301);
    bench.reload();
}

/// A record of all that it matches would not fit a batch of the log: it is matched again after each load, and nobody
/// notices.
#[test]
fn an_expression_that_matches_more_than_the_log_takes_is_not_in_the_log() {
    let mut bench = Bench::new();
    for n in 0..100 {
        bench.topics.add(&format!("topic-{:n<100}-{n:03}", ""), 1);
    }
    bench.config.batch_bytes_max = 10_000;
    // A program that is large enough to take more than one slice.
    let request = ConsumerHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(text("topic.*|[ab]{900}")),
        ..joining("a", &[])
    };
    let joined = ok(bench.heartbeat(&request));
    bench.pass(0);
    assert!(bench.slices > 0);
    let now = ok(bench.heartbeat(&beating("a", joined.member_epoch)));
    assert_eq!(count(&now), 100);
    let is_large = |record: &Record| matches!(record, Record::ConsumerRegex { value: Some(_), .. });
    assert!(!bench.log.iter().any(is_large), "it would fail the append");
    bench.group = bench.load(false);
    (bench.timers, bench.subscriptions) = Default::default();
    let _ = bench.step(|tools, group| {
        tools.loaded(group);
        After::Same
    });
    assert!(bench.group().resolved.is_empty());
    let again = ok(bench.heartbeat(&ConsumerHeartbeatRequest {
        rebalance_timeout_ms: 60_000,
        owned: now.assignment.clone(),
        member_epoch: now.member_epoch,
        ..request.clone()
    }));
    assert!(bench.group().resolved.is_empty(), "the walk is not through");
    assert_eq!(count(&again), 100, "nothing was taken away");
    bench.pass(0);
    let after = ok(bench.heartbeat(&beating("a", again.member_epoch)));
    assert_eq!((after.assignment, bench.group().state().name()), (None, "Stable"));
    assert!(!bench.log.iter().any(is_large));
    // One that fits is kept.
    bench.config.batch_bytes_max = 1_000_000;
    let second = ConsumerHeartbeatRequest {
        subscribed_topic_regex: Some(text("topic.*0")),
        member_id: text("b"),
        ..request
    };
    ok(bench.heartbeat(&second));
    bench.pass(0);
    assert!(bench.log.iter().any(is_large));
}

#[test]
fn a_full_group_takes_nobody_more() {
    let (mut bench, _) = one_topic(2);
    bench.config.consumer.max_size = 1;
    ok(bench.heartbeat(&joining("a", &["t"])));
    let refused = bench.heartbeat(&joining("b", &["t"]));
    assert_eq!(refused.error, Some(GroupError::GroupMaxSizeReached));
    assert_eq!(
        refused.message.as_deref(),
        Some("The consumer group has reached its maximum capacity of 1 members.")
    );
    ok(bench.heartbeat(&joining("a", &["t"])));
}

#[test]
fn assignments_are_not_computed_more_often_than_the_interval() {
    let (mut bench, _) = one_topic(4);
    bench.config.consumer.assignment_interval_ms = 1000;
    ok(bench.heartbeat(&joining("a", &["t"])));
    let b = ok(bench.heartbeat(&joining("b", &["t"])));
    assert_eq!((b.member_epoch, count(&b)), (2, 0), "the last assignment still stands");
    assert_eq!(bench.group().state().name(), "Assigning");
    bench.pass(1000);
    assert_eq!(ok(bench.heartbeat(&beating("b", 2))).member_epoch, 3);
}

#[test]
fn offsets_are_committed_by_members_for_what_they_have() {
    let (mut bench, t) = one_topic(2);
    ok(bench.heartbeat(&joining("a", &["t"])));
    let commit = |member_id, epoch| CommitFrom {
        member_id,
        epoch,
        has_instance: false,
        transactional: false,
        knows_member_epochs: true,
    };
    let group = bench.group();
    assert!(matches!(group.check_commit(&commit("a", 2)), Ok(None)));
    assert_eq!(group.check_commit(&commit("b", 2)).unwrap_err().0, GroupError::UnknownMemberId);
    assert_eq!(group.check_commit(&commit("a", 3)).unwrap_err().0, GroupError::StaleMemberEpoch);
    assert_eq!(group.check_commit(&commit("", -1)).unwrap_err().0, GroupError::UnknownMemberId);
    let old = CommitFrom { knows_member_epochs: false, ..commit("a", 2) };
    assert_eq!(group.check_commit(&old).unwrap_err().0, GroupError::UnsupportedVersion);
    assert_eq!(group.check_fetch(Some("a"), 1).unwrap_err().0, GroupError::StaleMemberEpoch);
    assert_eq!(group.check_fetch(None, -1), Ok(()));
    bench.topics.grow("t", 1);
    ok(bench.heartbeat(&beating("a", 2)));
    let member = bench.group().check_commit(&commit("a", 2)).unwrap().expect("one epoch behind");
    assert_eq!(member.check_partition(2, &t, 0), Ok(()), "it has it since epoch 2");
    assert_eq!(member.check_partition(2, &t, 2), Err(GroupError::StaleMemberEpoch));
}

fn subscription(topics: &[&str], owned: &[(&str, &[i32])]) -> Bytes {
    let mut out = vec![0, 1];
    out.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        out.extend((topic.len() as i16).to_be_bytes());
        out.extend(topic.as_bytes());
    }
    out.extend([0xff; 4]);
    out.extend((owned.len() as i32).to_be_bytes());
    for (topic, partitions) in owned {
        out.extend((topic.len() as i16).to_be_bytes());
        out.extend(topic.as_bytes());
        out.extend((partitions.len() as i32).to_be_bytes());
        partitions.iter().for_each(|partition| out.extend(partition.to_be_bytes()));
    }
    Bytes::from(out)
}

fn classic_group(members: &[(&str, &[i32])]) -> ClassicView {
    let seat = |(id, partitions): &(&str, &[i32])| ClassicSeat {
        member_id: (*id).into(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 45_000,
        protocols: vec![("range".into(), subscription(&["t"], &[("t", partitions)]))],
        assignment: write_assignment(1, [("t", *partitions)].into_iter()),
    };
    ClassicView {
        group: "g".into(),
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        generation: 10,
        members: members.iter().map(seat).collect(),
    }
}

fn upgraded(bench: &mut Bench, view: &ClassicView) {
    let (group, records) =
        upgrade(view, &bench.config, &bench.topics, &mut bench.subscriptions).expect("it may");
    bench.log.extend(records);
    bench.group = Some(group);
    let _ = bench.step(|tools, group| {
        tools.arm_upgraded(group);
        After::Same
    });
    // The classic group's own tombstone is none of this group's.
    bench.log.retain(|record| !matches!(record, crate::coordinator::group::Record::Group { .. }));
}

fn join_again(bench: &mut Bench, id: &str, owned: &[i32]) -> i32 {
    let metadata = subscription(&["t"], &[("t", owned)]);
    let request = JoinRequest {
        group_id: text("g"),
        member_id: text(id),
        protocol_type: text("consumer"),
        protocols: vec![Protocol { name: text("range"), metadata }],
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 60_000,
        requires_known_member_id: true,
        ..JoinRequest::default()
    };
    let client = Client { id: text("c"), host: text("/h") };
    let answers =
        bench.step(|tools, group| tools.classic_join(group, 1, &client, &request, &id.into()));
    let Some(Answer::Join(answer)) = answers.into_iter().next() else { panic!("no answer") };
    assert_eq!(answer.error, None);
    answer.generation
}

fn classic_beat(bench: &mut Bench, id: &str, generation: i32) -> Result<(), GroupError> {
    let (group_id, member_id) = (text("g"), text(id));
    let request = HeartbeatRequest { group_id, member_id, generation, instance_id: None };
    let answers = bench.step(|tools, group| {
        tools.classic_heartbeat(group, 1, &request);
        After::Same
    });
    match answers.into_iter().next() {
        Some(Answer::Heartbeat(result)) => result,
        other => panic!("{other:?}"),
    }
}

fn synced(bench: &mut Bench, id: &str, generation: i32) -> Vec<i32> {
    let (group_id, member_id) = (text("g"), text(id));
    let request = SyncRequest { group_id, member_id, generation, ..SyncRequest::default() };
    let answers = bench.step(|tools, group| {
        tools.classic_sync(group, 1, &request);
        After::Same
    });
    let Some(Answer::Sync(answer)) = answers.into_iter().next() else { panic!("no answer") };
    assert_eq!(answer.error, None);
    let read = EmbeddedAssignment::read(&answer.assignment).unwrap();
    read.partitions.into_iter().flat_map(|(_, partitions)| partitions).collect()
}

#[test]
fn a_classic_group_is_upgraded_and_goes_back_when_the_last_new_member_leaves() {
    let (mut bench, t) = one_topic(4);
    upgraded(&mut bench, &classic_group(&[("old", &[0, 1, 2, 3])]));
    assert_eq!(bench.group().epoch(), 10);
    assert_eq!(classic_beat(&mut bench, "old", 10), Ok(()));
    let new = ok(bench.heartbeat(&joining("new", &["t"])));
    assert_eq!((new.member_epoch, count(&new)), (11, 0));
    assert_eq!(classic_beat(&mut bench, "old", 10), Err(GroupError::RebalanceInProgress));
    // It joins with all it has, is told to give two back, joins again without them.
    assert_eq!(join_again(&mut bench, "old", &[0, 1, 2, 3]), 10);
    assert_eq!(synced(&mut bench, "old", 10), [0, 1]);
    assert_eq!(classic_beat(&mut bench, "old", 10), Err(GroupError::RebalanceInProgress));
    assert_eq!(join_again(&mut bench, "old", &[0, 1]), 11);
    assert_eq!(synced(&mut bench, "old", 11), [0, 1]);
    assert_eq!(classic_beat(&mut bench, "old", 11), Ok(()));
    assert_eq!(count(&ok(bench.heartbeat(&owning("new", 11, t, &[])))), 2);
    bench.reload();
    let left = ok(bench.heartbeat(&beating("new", -1)));
    assert_eq!(left.member_epoch, -1);
    let view = bench.downgraded.take().expect("only a classic member is left");
    assert_eq!((view.generation, view.members.len()), (11, 1));
    let assigned = EmbeddedAssignment::read(&view.members[0].assignment).unwrap();
    assert_eq!(assigned.partitions, [("t".into(), vec![0, 1])]);
    assert!(bench.load(false).is_none(), "nothing of it is left in the log");
}

/// Nobody of the consumer protocol is left, whose heartbeat would work out what the others get.
#[test]
fn classic_members_that_may_not_go_back_get_what_the_last_other_had() {
    let (mut bench, t) = one_topic(4);
    upgraded(&mut bench, &classic_group(&[("old", &[0, 1, 2, 3])]));
    bench.config.consumer.migration = MigrationPolicy::Upgrade;
    ok(bench.heartbeat(&joining("new", &["t"])));
    assert_eq!(join_again(&mut bench, "old", &[0, 1, 2, 3]), 10);
    assert_eq!(synced(&mut bench, "old", 10), [0, 1]);
    assert_eq!(join_again(&mut bench, "old", &[0, 1]), 11);
    assert_eq!(synced(&mut bench, "old", 11), [0, 1]);
    assert_eq!(count(&ok(bench.heartbeat(&owning("new", 11, t, &[])))), 2);
    ok(bench.heartbeat(&beating("new", -1)));
    assert!(bench.downgraded.is_none(), "the policy is against it");
    assert_eq!(classic_beat(&mut bench, "old", 11), Err(GroupError::RebalanceInProgress));
    assert_eq!(join_again(&mut bench, "old", &[0, 1]), 12);
    assert_eq!(synced(&mut bench, "old", 12), [0, 1, 2, 3]);
    assert_eq!(classic_beat(&mut bench, "old", 12), Ok(()));
}

/// Should it become a consumer group again before "old" is heard, nobody else may be given what that one still has.
#[test]
fn a_group_that_goes_back_hands_over_what_its_members_have_not_what_they_shall_have() {
    let (mut bench, _) = one_topic(4);
    upgraded(&mut bench, &classic_group(&[("old", &[0, 1, 2, 3])]));
    ok(bench.heartbeat(&joining("new", &["t"])));
    assert_eq!(bench.group().target_of("old").iter().count(), 2);
    ok(bench.heartbeat(&beating("new", -1)));
    let view = bench.downgraded.take().expect("only a classic member is left");
    let assigned = EmbeddedAssignment::read(&view.members[0].assignment).unwrap();
    assert_eq!(assigned.partitions, [("t".into(), vec![0, 1, 2, 3])]);
}

#[test]
fn the_policy_and_the_protocol_decide_on_an_upgrade() {
    let (mut bench, _) = one_topic(4);
    let view = classic_group(&[("old", &[0])]);
    let mut refused = |policy, view: &ClassicView| {
        bench.config.consumer.migration = policy;
        let made = upgrade(view, &bench.config, &bench.topics, &mut bench.subscriptions);
        made.map(|_| ()).map_err(|(error, message)| {
            assert_eq!(error, GroupError::GroupIdNotFound);
            message
        })
    };
    let both = MigrationPolicy::Bidirectional;
    assert_eq!(refused(both, &view), Ok(()));
    for policy in [MigrationPolicy::Disabled, MigrationPolicy::Downgrade] {
        let why = refused(policy, &view).unwrap_err();
        assert_eq!(
            why,
            "Cannot upgrade classic group g to consumer group because online upgrade is disabled."
        );
    }
    let connect = ClassicView { protocol_type: Some("connect".into()), ..view.clone() };
    assert!(refused(both, &connect).unwrap_err().contains("does not use the consumer embedded"));
    let mut broken = view;
    broken.members[0].assignment = Bytes::from_static(&[0]);
    assert!(refused(both, &broken).unwrap_err().contains("malformed"));
}

#[test]
fn leave_group_names_each_member() {
    let (mut bench, _) = one_topic(4);
    upgraded(&mut bench, &classic_group(&[("x", &[0, 1]), ("y", &[2, 3])]));
    ok(bench.heartbeat(&joining("new", &["t"])));
    let leaving = |id: &str| LeavingMember { member_id: text(id), ..LeavingMember::default() };
    let members = vec![leaving("x"), leaving("nobody")];
    let request = LeaveRequest { group_id: text("g"), members };
    let answers = bench.step(|tools, group| tools.classic_leave(group, 1, &request));
    let Some(Answer::Leave(Ok(told))) = answers.into_iter().next() else { panic!("no answer") };
    let errors: Vec<_> = told.iter().map(|member| member.error).collect();
    assert_eq!(errors, [None, Some(GroupError::UnknownMemberId)]);
    assert!(bench.group().member("x").is_none() && bench.group().member("y").is_some());
    bench.reload();
}

#[test]
fn describe_shows_what_members_have_and_shall_have() {
    let (mut bench, t) = one_topic(2);
    ok(bench.heartbeat(&joining("a", &["t"])));
    ok(bench.heartbeat(&joining("b", &["t"])));
    ok(bench.heartbeat(&owning("a", 2, t, &[0, 1])));
    let described = bench.group().describe("uniform", &bench.topics);
    assert_eq!((described.state, described.group_epoch), ("Reconciling", 3));
    assert_eq!(&*described.assignor, "uniform");
    let a = &described.members[0];
    assert_eq!(a.assignment[0].partitions, [0, 1], "what it has yet to give back is shown");
    assert_eq!(a.target_assignment[0].partitions, [0]);
    assert_eq!((a.member_type, &*a.assignment[0].topic_name), (1, "t"));
}
