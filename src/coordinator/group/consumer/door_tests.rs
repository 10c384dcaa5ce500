//! The consumer protocol through `Groups`: new groups, empty ones, groups that change their protocol, reloads.

use super::member::Member;
use super::testing::{beating, joining};
use crate::coordinator::group::answer::{Answer, ConsumerHeartbeatAnswer};
use crate::coordinator::group::config::MigrationPolicy;
use crate::coordinator::group::input::{ConsumerHeartbeatRequest, JoinRequest};
use crate::coordinator::group::testing::{Bench, client, joining as classic_joining};
use crate::coordinator::group::{EventKind, Group, GroupConfig, GroupError, Input};

fn config() -> GroupConfig {
    let mut config = GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() };
    config.consumer.assignment_interval_ms = 0;
    config
}

fn beat(bench: &mut Bench, request: ConsumerHeartbeatRequest) -> ConsumerHeartbeatAnswer {
    let client = client("c");
    let from = bench.request(|from| Input::ConsumerHeartbeat { from, client, request });
    match bench.answer(from) {
        Some(Answer::ConsumerHeartbeat(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

fn member<'a>(bench: &'a Bench, id: &str) -> Option<&'a Member> {
    match bench.groups.groups.get("g") {
        Some(Group::Consumer(group)) => group.member(id),
        _ => None,
    }
}

/// A classic group of one, stable; its member's id and generation.
fn classic_group(bench: &mut Bench) -> (String, i32) {
    classic_group_of(bench, |_| {})
}

fn classic_group_of(bench: &mut Bench, change: impl Fn(&mut JoinRequest)) -> (String, i32) {
    let id = bench.new_id("g");
    let mut request = classic_joining("g", &id);
    change(&mut request);
    let from = bench.send_join(request);
    // The initial delay is 0: over at once, but a tick all the same.
    bench.pass(0);
    let joined = bench.joined(from);
    assert_eq!(joined.error, None);
    let from = bench.send_sync(&joined, "g", &[(&id, "")]);
    assert_eq!(bench.synced(from).error, None);
    (id, joined.generation)
}

/// With 5000 bytes of user data in its subscription.
fn large(request: &mut JoinRequest) {
    let mut metadata = request.protocols[0].metadata.to_vec();
    let at = metadata.len() - 4;
    metadata.splice(at.., 5000_i32.to_be_bytes().into_iter().chain([7; 5000]));
    request.protocols[0].metadata = metadata.into();
}

#[test]
fn a_group_comes_with_its_first_member_and_is_deleted_when_it_is_empty() {
    let mut bench = Bench::new(config());
    let unknown = beat(&mut bench, beating("a", 1));
    assert_eq!(unknown.error, Some(GroupError::GroupIdNotFound));
    assert_eq!(unknown.message.as_deref(), Some("Consumer group g not found."));
    let old = ConsumerHeartbeatRequest { client_makes_member_id: false, ..joining("", &["t"]) };
    let id = beat(&mut bench, old).member_id.expect("the coordinator made one").to_string();
    assert_eq!(bench.state("g"), "Stable");
    bench.reload();
    assert!(member(&bench, &id).is_some());
    assert_eq!(beat(&mut bench, beating(&id, 2)).error, None);
    assert_eq!(beat(&mut bench, beating(&id, -1)).member_epoch, -1);
    assert_eq!(bench.state("g"), "Empty");
    let client = client("c");
    let group_id = "g".to_string().into();
    let from = bench.request(|from| Input::Delete { from, client, group_id });
    assert_eq!(bench.answer(from), Some(Answer::Delete(Ok(()))));
    assert!(bench.replayed().groups.is_empty(), "nothing of it is left in the log");
}

#[test]
fn silence_ends_a_session_through_one_timer() {
    let mut bench = Bench::new(config());
    beat(&mut bench, joining("a", &["t"]));
    bench.pass(44_000);
    beat(&mut bench, beating("a", 2));
    bench.pass(44_000);
    assert_eq!(bench.state("g"), "Stable");
    bench.pass(1000);
    assert_eq!(bench.state("g"), "Empty");
}

#[test]
fn a_classic_group_is_upgraded_in_place_and_comes_back() {
    let mut bench = Bench::new(config());
    let (old, generation) = classic_group(&mut bench);
    assert_eq!(beat(&mut bench, joining("new", &["t"])).error, None);
    assert!(member(&bench, &old).is_some_and(Member::is_classic));
    assert_eq!(
        bench.heartbeat("g", &old, generation),
        Err(GroupError::RebalanceInProgress),
        "there is a new epoch"
    );
    let joined = bench.join(classic_joining("g", &old));
    assert_eq!((joined.error, joined.generation), (None, generation + 1));
    let from = bench.send_sync(&joined, "g", &[]);
    assert_eq!(bench.synced(from).error, None);
    assert_eq!(bench.heartbeat("g", &old, generation + 1), Ok(()));
    bench.reload();
    assert!(member(&bench, &old).is_some_and(Member::is_classic));
    assert_eq!(beat(&mut bench, beating("new", -1)).error, None);
    assert!(matches!(bench.groups.groups.get("g"), Some(Group::Classic(_))));
    assert_eq!(bench.state("g"), "PreparingRebalance");
    let joined = bench.join(classic_joining("g", &old));
    assert_eq!((joined.error, &*joined.leader), (None, &*old));
    bench.reload();
    assert!(matches!(bench.groups.groups.get("g"), Some(Group::Classic(_))));
    let converted = bench.events.iter().filter(|event| event.kind == EventKind::Converted);
    assert_eq!(converted.count(), 2);
}

#[test]
fn a_classic_member_that_is_silent_after_the_upgrade_goes_with_its_session() {
    let mut bench = Bench::new(config());
    let (old, _) = classic_group(&mut bench);
    assert_eq!(beat(&mut bench, joining("new", &["t"])).error, None);
    bench.pass(9_999);
    assert!(member(&bench, &old).is_some());
    bench.pass(1);
    assert!(member(&bench, &old).is_none(), "its session of ten seconds is over");
    assert!(member(&bench, "new").is_some());
}

#[test]
fn an_upgrade_that_is_refused_leaves_the_classic_group_as_it_was() {
    let mut config = config();
    config.consumer.migration = MigrationPolicy::Disabled;
    let mut bench = Bench::new(config);
    let (old, generation) = classic_group(&mut bench);
    let refused = beat(&mut bench, joining("new", &["t"]));
    assert_eq!(refused.error, Some(GroupError::GroupIdNotFound));
    assert_eq!(bench.heartbeat("g", &old, generation), Ok(()));
}

/// Its records are one batch, as Kafka's are: cut, a crash could leave a group that has forgotten what its members
/// have. One that is larger than a batch is refused as Kafka refuses it.
#[test]
fn an_upgrade_larger_than_a_batch_is_refused() {
    let mut bench = Bench::new(config());
    let (old, generation) = classic_group_of(&mut bench, large);
    bench.groups.set_batch_bytes_max(4000);
    let refused = beat(&mut bench, joining("new", &["t"]));
    assert_eq!(refused.error, Some(GroupError::UnknownServerError));
    assert!(
        refused.message.is_some_and(|why| why.contains("a batch of the log has room for 4000"))
    );
    assert_eq!(bench.heartbeat("g", &old, generation), Ok(()));
    assert_eq!(bench.state("g"), "Stable");
    bench.reload();
    bench.groups.set_batch_bytes_max(1_000_000);
    assert_eq!(beat(&mut bench, joining("new", &["t"])).error, None);
    assert!(member(&bench, &old).is_some_and(Member::is_classic));
}

#[test]
fn an_empty_group_changes_its_protocol_either_way() {
    let mut bench = Bench::new(config());
    let (old, _) = classic_group(&mut bench);
    assert_eq!(bench.leave("g", &[(&old, None)]), [None]);
    assert_eq!(beat(&mut bench, joining("a", &["t"])).error, None);
    bench.reload();
    assert!(member(&bench, "a").is_some());
    beat(&mut bench, beating("a", -1));
    let (again, generation) = classic_group(&mut bench);
    bench.reload();
    assert_eq!(bench.heartbeat("g", &again, generation), Ok(()));
}

/// What all members say is in one record of a classic group: one that no batch of the log takes is never written, and
/// the group goes on as it is.
#[test]
fn a_group_too_large_for_one_record_does_not_go_back() {
    let mut bench = Bench::new(config());
    let (old, _) = classic_group(&mut bench);
    for id in ["new", "newer"] {
        assert_eq!(beat(&mut bench, joining(id, &["t"])).error, None);
    }
    let joined = bench.join(classic_joining("g", &old));
    assert_eq!(joined.error, None);
    let mut request = classic_joining("g", &old);
    large(&mut request);
    assert_eq!(bench.join(request).error, None);
    let is_consumer =
        |bench: &Bench| matches!(bench.groups.groups.get("g"), Some(Group::Consumer(_)));
    bench.groups.set_batch_bytes_max(4000);
    assert_eq!(beat(&mut bench, beating("newer", -1)).error, None);
    assert_eq!(beat(&mut bench, beating("new", -1)).error, None);
    assert!(is_consumer(&bench), "its record of more than 5000 bytes would fail the append");
    assert!(member(&bench, &old).is_some_and(Member::is_classic));
    bench.reload();
    bench.groups.set_batch_bytes_max(4000);
    // It is served, and goes back when the next one leaves and there is room.
    assert_eq!(beat(&mut bench, joining("last", &["t"])).error, None);
    assert_eq!(bench.join(classic_joining("g", &old)).error, None);
    bench.groups.set_batch_bytes_max(1_000_000);
    assert_eq!(beat(&mut bench, beating("last", -1)).error, None);
    assert!(!is_consumer(&bench));
    assert_eq!(bench.join(classic_joining("g", &old)).error, None);
    bench.reload();
    assert!(!is_consumer(&bench));
}
