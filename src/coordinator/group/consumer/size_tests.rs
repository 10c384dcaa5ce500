//! Steps and records larger than a batch of the log: what has to be whole is whole or refused, what is cut is mended by
//! the next heartbeat wherever a crash cut it.

use kafka_protocol::protocol::StrBytes;

use super::leave::Leaver;
use super::member::Wait;
use super::requests::After;
use super::testing::{Bench, beating, joining, text};
use crate::coordinator::group::answer::ConsumerHeartbeatAnswer;
use crate::coordinator::group::input::{ConsumerHeartbeatRequest, TopicPartitions};
use crate::coordinator::group::records::Record;
use crate::coordinator::group::{Cause, EventKind, GroupError};

fn count(answer: &ConsumerHeartbeatAnswer) -> usize {
    answer.assignment.iter().flatten().map(|topic| topic.partitions.len()).sum()
}

/// Everybody says what it has and takes what it is given, until nobody has anything to do.
fn converge(bench: &mut Bench) {
    for _ in 0..6 {
        let members: Vec<_> = bench.group().members.keys().cloned().collect();
        for id in members {
            let current = &bench.group().members[&id].current;
            let request = match current.epoch {
                // Its first heartbeat was never answered.
                0 => joining(&id, &["t"]),
                epoch => ConsumerHeartbeatRequest {
                    owned: Some(current.assigned.to_answer()),
                    ..beating(&id, epoch)
                },
            };
            assert_eq!(bench.heartbeat(&request).error, None);
        }
    }
}

fn assigned(bench: &Bench) -> usize {
    bench.group().members.values().map(|member| member.current.assigned.iter().count()).sum()
}

/// One step's records, cut behind each of them: from what is left everything is given to somebody again.
fn every_prefix_is_mended(bench: &mut Bench, from: usize, partitions: usize) {
    let whole = std::mem::take(&mut bench.log);
    for end in from..=whole.len() {
        bench.log = whole[..end].to_vec();
        bench.reload_whatever_was();
        converge(bench);
        assert_eq!(assigned(bench), partitions, "cut after {} of the step's records", end - from);
        assert_eq!(bench.group().state().name(), "Stable");
        bench.reload();
    }
}

/// In Kafka the join is refused as a whole (its records are one batch). Here the member is told the same, and everybody
/// else keeps what they have.
#[test]
fn a_target_larger_than_a_record_is_refused_and_never_written() {
    let mut bench = Bench::new();
    bench.topics.add("t", 100);
    assert_eq!(count(&bench.heartbeat(&joining("a", &["t"]))), 100);
    bench.topics.add("large", 1000);
    bench.config.batch_bytes_max = 4000;
    let before = bench.log.len();
    let refused = bench.heartbeat(&joining("b", &["large"]));
    assert_eq!(refused.error, Some(GroupError::UnknownServerError));
    assert!(refused.message.is_some_and(|why| why.contains("4000")));
    let fits = |record: &Record| {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        record.encode(&mut key, &mut value);
        key.len() + value.len() < 4000
    };
    assert!(bench.log[before..].iter().all(fits), "such a record fails each append");
    assert!(bench.events.iter().any(|e| matches!(e.cause, Cause::RecordTooLarge { .. })));
    bench.reload();
    // It is told so again, and computes nothing for it; the other goes on.
    let again = bench.heartbeat(&joining("b", &["large"]));
    assert_eq!(again.error, Some(GroupError::UnknownServerError));
    let records = bench.log.len();
    for _ in 0..3 {
        assert_eq!(bench.heartbeat(&joining("b", &["large"])).error, again.error);
        let epoch = bench.group().members["a"].current.epoch;
        assert_eq!(bench.heartbeat(&beating("a", epoch)).error, None);
    }
    assert_eq!(bench.log.len(), records, "nothing new, nothing written");
    assert_eq!(assigned(&bench), 100);
    // A second of the kind halves what each would have: that fits no record either. A third makes it fit.
    assert_eq!(bench.heartbeat(&joining("c", &["large"])).error, again.error);
    assert_eq!(bench.heartbeat(&joining("d", &["large"])).error, None);
    converge(&mut bench);
    assert_eq!((assigned(&bench), bench.group().state().name()), (1100, "Stable"));
    bench.reload();
}

/// The limit went down after the target was written.
#[test]
fn a_step_towards_a_target_larger_than_a_record_is_refused_too() {
    let mut bench = Bench::new();
    let t = bench.topics.add("t", 1000);
    bench.heartbeat(&joining("a", &["t"]));
    let b = bench.heartbeat(&joining("b", &["t"]));
    assert_eq!((b.error, count(&b)), (None, 0));
    bench.config.batch_bytes_max = 4000;
    let before = bench.log.len();
    let epoch = bench.group().members["a"].current.epoch;
    let keeps: Vec<i32> = bench.group().target["a"].partitions(&t).to_vec();
    let owned = vec![TopicPartitions { topic_id: t, partitions: keeps }];
    let request = ConsumerHeartbeatRequest { owned: Some(owned), ..beating("a", epoch) };
    assert_eq!(bench.heartbeat(&request).error, Some(GroupError::UnknownServerError));
    assert_eq!(bench.log.len(), before);
    bench.config.batch_bytes_max = 1_000_000;
    converge(&mut bench);
    assert_eq!((assigned(&bench), bench.group().state().name()), (1000, "Stable"));
}

#[test]
fn a_join_cut_anywhere_is_mended() {
    let mut bench = Bench::new();
    bench.topics.add("t", 12);
    for id in ["a", "b", "c"] {
        bench.heartbeat(&joining(id, &["t"]));
        converge(&mut bench);
    }
    let from = bench.log.len();
    bench.heartbeat(&joining("d", &["t"]));
    assert!(bench.log.len() > from + 6);
    every_prefix_is_mended(&mut bench, from, 12);
}

#[test]
fn a_leave_of_many_cut_anywhere_is_mended() {
    let mut bench = Bench::new();
    bench.topics.add("t", 12);
    for id in ["a", "b", "c", "d"] {
        bench.heartbeat(&joining(id, &["t"]));
        converge(&mut bench);
    }
    let from = bench.log.len();
    let cause = Cause::RemovedByAdmin { reason: None };
    let leaver =
        |id: &str| Leaver { member: id.into(), kind: EventKind::MemberLeft, cause: cause.clone() };
    let _ = bench.step(|tools, group| {
        let mut work = tools.work(group);
        work.remove(["a", "b", "c"].map(leaver).to_vec());
        work.finish();
        After::Same
    });
    assert_eq!(bench.log.len(), from + 10);
    every_prefix_is_mended(&mut bench, from, 12);
}

/// A member that joins what another has subscribed to already: the group's topics stay the same, and only the epoch
/// says that there is something to do.
#[test]
fn a_member_that_changes_its_mind_cut_anywhere_is_mended() {
    let mut bench = Bench::new();
    bench.topics.add("t", 6);
    bench.topics.add("u", 6);
    bench.heartbeat(&joining("a", &["t", "u"]));
    bench.heartbeat(&joining("b", &["t"]));
    converge(&mut bench);
    let from = bench.log.len();
    let epoch = bench.group().members["b"].current.epoch;
    let names: Vec<StrBytes> = vec![text("t"), text("u")];
    let request =
        ConsumerHeartbeatRequest { subscribed_topic_names: Some(names), ..beating("b", epoch) };
    assert_eq!(bench.heartbeat(&request).error, None);
    every_prefix_is_mended(&mut bench, from, 12);
    let even = bench.group().members.values().map(|m| m.current.assigned.iter().count());
    assert_eq!(even.collect::<Vec<_>>(), [6, 6]);
    assert!(bench.group().members.values().all(|m| m.wait != Some(Wait::Join)));
}
