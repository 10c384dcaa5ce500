//! The classic protocol, one transition a test. Kafka's own GroupMetadataManagerTest asks most of the same.

use super::super::answer::Answer;
use super::super::input::*;
use super::super::testing::*;
use super::super::*;
use crate::coordinator::group::GroupError::*;

fn bench() -> Bench {
    Bench::new(GroupConfig::default())
}

#[test]
fn a_first_join_gets_an_id_then_waits_for_the_initial_delay() {
    let mut b = bench();
    let id = b.new_id("g");
    assert!(id.starts_with("c-"), "{id}");
    assert_eq!(b.state("g"), "Empty");
    assert_eq!(b.log.len(), 1, "an empty group is written");
    let from = b.send_join(joining("g", &id));
    assert_eq!(b.state("g"), "PreparingRebalance");
    b.pass(2999);
    assert_eq!(b.answer(from), None);
    b.pass(1);
    let joined = b.joined(from);
    assert_eq!((joined.error, joined.generation), (None, 1));
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.protocol_name, Some(s("range")));
    assert_eq!(b.state("g"), "CompletingRebalance");
    let sync = b.send_sync(&joined, "g", &[(&id, "all")]);
    assert_eq!(&b.synced(sync).assignment[..], b"all");
    assert_eq!(b.state("g"), "Stable");
    assert_eq!(b.heartbeat("g", &id, 1), Ok(()));
    assert_eq!(b.heartbeat("g", &id, 2), Err(IllegalGeneration));
    assert_eq!(b.heartbeat("g", "x", 1), Err(UnknownMemberId));
    assert_eq!(b.heartbeat("h", &id, 1), Err(UnknownMemberId));
}

#[test]
fn the_initial_delay_grows_with_members_up_to_the_rebalance_timeout() {
    let mut b = bench();
    let first = b.new_id("g");
    let request = |id: &str| JoinRequest { rebalance_timeout_ms: 7000, ..joining("g", id) };
    let from = b.send_join(request(&first));
    for _ in 0..4 {
        b.pass(1000);
        let id = b.new_id("g");
        b.send_join(request(&id));
    }
    assert_eq!(b.answer(from), None, "one delay is over, but somebody came");
    b.pass(2000);
    let id = b.new_id("g");
    b.send_join(request(&id));
    b.pass(999);
    assert_eq!(b.answer(from), None);
    b.pass(1);
    assert_eq!(b.joined(from).generation, 1, "3000 + 3000 + 1000 is all there is");
}

#[test]
fn an_old_client_joins_without_an_id() {
    let mut b = bench();
    let old = JoinRequest { requires_known_member_id: false, ..joining("g", "") };
    let from = b.send_join(old);
    b.pass(3000);
    assert_eq!(b.joined(from).error, None);
}

#[test]
fn what_a_join_is_refused_for() {
    let mut b = bench();
    let refused = |b: &mut Bench, request: JoinRequest| b.join(request).error;
    assert_eq!(refused(&mut b, joining("", "")), Some(InvalidGroupId));
    let session = |ms| JoinRequest { session_timeout_ms: ms, ..joining("g", "") };
    assert_eq!(refused(&mut b, session(5999)), Some(InvalidSessionTimeout));
    assert_eq!(refused(&mut b, session(1_800_001)), Some(InvalidSessionTimeout));
    assert_eq!(refused(&mut b, joining("g", "unheard of")), Some(UnknownMemberId));
    let no_protocols = JoinRequest { protocols: Vec::new(), ..joining("g", "") };
    assert_eq!(refused(&mut b, no_protocols), Some(InconsistentGroupProtocol));
    assert_eq!(b.state("g"), "Dead", "none of this makes a group");
    b.stable("g", 1);
    assert_eq!(refused(&mut b, joining("g", "unheard of")), Some(UnknownMemberId));
    let other_type = JoinRequest { protocol_type: s("connect"), ..joining("g", "") };
    assert_eq!(refused(&mut b, other_type), Some(InconsistentGroupProtocol));
    let other = vec![Protocol { name: s("sticky"), metadata: Default::default() }];
    let other_protocol = JoinRequest { protocols: other, ..joining("g", "") };
    assert_eq!(refused(&mut b, other_protocol), Some(InconsistentGroupProtocol));
    let long = joining("g", &"x".repeat(40_000));
    assert_eq!(refused(&mut b, long), Some(InvalidRequest));
}

#[test]
fn the_protocol_with_most_votes_among_those_that_all_speak() {
    let mut b = bench();
    let speaking = |id: &str, names: &[&str]| JoinRequest {
        protocols: names
            .iter()
            .map(|n| Protocol { name: s(n), metadata: subscription(&["t"]) })
            .collect(),
        ..joining("g", id)
    };
    let ids: Vec<String> = (0..3).map(|_| b.new_id("g")).collect();
    let protocols: [&[&str]; 3] = [&["x", "a", "b"], &["b", "a"], &["y", "b", "a"]];
    let sent: Vec<_> =
        ids.iter().zip(protocols).map(|(id, names)| b.send_join(speaking(id, names))).collect();
    b.pass(10_000);
    for from in sent {
        assert_eq!(b.joined(from).protocol_name, Some(s("b")));
    }
}

#[test]
fn a_new_member_makes_everybody_join_again_and_who_does_not_is_out() {
    let mut b = bench();
    let old = b.stable("g", 2);
    let id = b.new_id("g");
    let new = b.send_join(joining("g", &id));
    assert_eq!(b.state("g"), "PreparingRebalance");
    assert_eq!(b.heartbeat("g", &old[0].member_id, 1), Err(RebalanceInProgress));
    assert_eq!(b.causes(EventKind::RebalanceStarted).last(), Some(&&Cause::NewMember));
    // The leader does not come back, the follower does; it is kept alive until the time is over.
    let back = b.send_join(joining("g", &old[1].member_id));
    for _ in 0..12 {
        b.pass(5000);
        let _ = b.heartbeat("g", &old[0].member_id, 1);
    }
    let (new, back) = (b.joined(new), b.joined(back));
    assert_eq!((new.generation, back.generation), (2, 2));
    assert_eq!(new.leader, back.leader);
    assert_ne!(new.leader, old[0].member_id);
    assert_eq!(b.heartbeat("g", &old[0].member_id, 1), Err(UnknownMemberId));
    let evicted = b.causes(EventKind::MemberEvicted);
    assert_eq!(evicted, [&Cause::RebalanceTimeout { timeout_ms: 60_000 }]);
}

#[test]
fn a_silent_member_is_out_after_its_session_and_the_others_are_told() {
    let mut b = bench();
    let members = b.stable("g", 2);
    // SyncGroup of a stable group is no sign of life, in Kafka neither.
    for member in &members {
        b.heartbeat("g", &member.member_id, 1).unwrap();
    }
    b.pass(9000);
    assert_eq!(b.heartbeat("g", &members[0].member_id, 1), Ok(()));
    b.pass(1000);
    assert_eq!(b.state("g"), "PreparingRebalance");
    assert_eq!(b.heartbeat("g", &members[0].member_id, 1), Err(RebalanceInProgress));
    assert_eq!(b.heartbeat("g", &members[1].member_id, 1), Err(UnknownMemberId));
    let evicted = b.causes(EventKind::MemberEvicted);
    assert_eq!(evicted, [&Cause::SessionTimeout { timeout_ms: 10_000 }]);
    let alone = b.join(joining("g", &members[0].member_id));
    assert_eq!((alone.generation, alone.members.len()), (2, 1));
}

#[test]
fn an_id_that_is_not_used_in_time_is_forgotten() {
    let mut b = bench();
    let members = b.stable("g", 1);
    let id = b.new_id("g");
    b.pass(5000);
    assert_eq!(b.heartbeat("g", &members[0].member_id, 1), Ok(()));
    b.pass(5000);
    assert_eq!(b.join(joining("g", &id)).error, Some(UnknownMemberId));
    assert_eq!(b.state("g"), "Stable");
}

#[test]
fn a_rebalance_waits_for_ids_that_were_given_out() {
    let mut b = bench();
    let members = b.stable("g", 1);
    let _pending = b.new_id("g");
    let rejoin = b.send_join(joining("g", &members[0].member_id));
    assert_eq!(b.answer(rejoin), None);
    b.pass(10_000);
    assert_eq!(b.joined(rejoin).generation, 2);
}

#[test]
fn who_joins_and_never_syncs_is_out() {
    let mut b = bench();
    let ids = [b.new_id("g"), b.new_id("g")];
    let sent = [b.send_join(joining("g", &ids[0])), b.send_join(joining("g", &ids[1]))];
    b.pass(6000);
    let joined = [b.joined(sent[0]), b.joined(sent[1])];
    let leader = joined.iter().find(|j| j.leader == j.member_id).unwrap().clone();
    let other = joined.iter().find(|j| j.leader != j.member_id).unwrap().clone();
    let sync = b.send_sync(&leader, "g", &[]);
    assert_eq!(b.synced(sync).error, None);
    for _ in 0..12 {
        b.pass(5000);
        for j in &joined {
            let _ = b.heartbeat("g", &j.member_id, 1);
        }
    }
    assert_eq!(b.heartbeat("g", &other.member_id, 1), Err(UnknownMemberId));
    assert_eq!(b.heartbeat("g", &leader.member_id, 1), Err(RebalanceInProgress));
    assert_eq!(b.causes(EventKind::MemberEvicted), [&Cause::SyncTimeout { timeout_ms: 60_000 }]);
}

#[test]
fn a_follower_that_joins_again_is_told_the_generation_a_leader_begins_a_new_one() {
    let mut b = bench();
    let members = b.stable("g", 2);
    let again = b.join(joining("g", &members[1].member_id));
    assert_eq!((again.generation, again.members.len()), (1, 0));
    assert_eq!(b.state("g"), "Stable");
    let other = JoinRequest {
        protocols: vec![Protocol { name: s("range"), metadata: subscription(&["u"]) }],
        ..joining("g", &members[1].member_id)
    };
    let changed = b.send_join(other);
    assert_eq!(b.answer(changed), None);
    assert_eq!(b.causes(EventKind::RebalanceStarted).last(), Some(&&Cause::SubscriptionChanged));
    let leader = b.join(joining("g", &members[0].member_id));
    assert_eq!((leader.generation, leader.members.len()), (2, 2));
    assert_eq!(b.joined(changed).generation, 2);
    let sync = b.send_sync(&leader, "g", &[]);
    assert_eq!(b.synced(sync).error, None);
    b.send_join(joining("g", &members[0].member_id));
    assert_eq!(b.state("g"), "PreparingRebalance");
    assert_eq!(b.causes(EventKind::RebalanceStarted).last(), Some(&&Cause::LeaderRejoined));
}

#[test]
fn syncs_wait_for_the_leader_and_are_told_of_a_new_rebalance() {
    let mut b = bench();
    let members = b.stable("g", 2);
    b.send_join(joining("g", &members[0].member_id));
    let request = b.send_sync(&members[1], "g", &[]);
    assert_eq!(b.synced(request).error, Some(RebalanceInProgress));
    let joined = b.join(joining("g", &members[1].member_id));
    let wrong = [
        (JoinAnswer { generation: 1, ..joined.clone() }, IllegalGeneration),
        (JoinAnswer { member_id: s("x"), ..joined.clone() }, UnknownMemberId),
        (
            JoinAnswer { protocol_name: Some(s("sticky")), ..joined.clone() },
            InconsistentGroupProtocol,
        ),
        (
            JoinAnswer { protocol_type: Some(s("connect")), ..joined.clone() },
            InconsistentGroupProtocol,
        ),
    ];
    for (answer, error) in wrong {
        let from = b.send_sync(&answer, "g", &[]);
        assert_eq!(b.synced(from).error, Some(error));
    }
    let waiting = b.send_sync(&joined, "g", &[]);
    assert_eq!(b.answer(waiting), None);
    let lost = waiting;
    let waiting = b.send_sync(&joined, "g", &[]);
    assert_eq!(b.synced(lost).error, Some(RebalanceInProgress), "the same member's later request");
    let id = b.new_id("g");
    b.send_join(joining("g", &id));
    assert_eq!(b.synced(waiting).error, Some(RebalanceInProgress));
}

use super::super::answer::JoinAnswer;

fn fixed(group: &str, member: &str, instance: &str) -> JoinRequest {
    JoinRequest { instance_id: Some(s(instance)), ..joining(group, member) }
}

/// A stable group of two static members; the leader first.
fn stable_static(b: &mut Bench) -> Vec<(String, JoinAnswer)> {
    let sent = [b.send_join(fixed("g", "", "i1")), b.send_join(fixed("g", "", "i2"))];
    b.pass(6000);
    let mut joined: Vec<(String, JoinAnswer)> =
        vec![("i1".to_string(), b.joined(sent[0])), ("i2".to_string(), b.joined(sent[1]))];
    joined.sort_by_key(|(_, j)| j.leader != j.member_id);
    for (_, j) in &joined {
        let from =
            b.send_sync(j, "g", &[(&joined[0].1.member_id, "a"), (&joined[1].1.member_id, "b")]);
        let _ = from;
    }
    assert_eq!(b.state("g"), "Stable");
    joined
}

#[test]
fn a_static_member_that_restarts_takes_its_place_without_a_rebalance() {
    let mut b = bench();
    let members = stable_static(&mut b);
    let (instance, old) = &members[1];
    let back = b.join(fixed("g", "", instance));
    assert_eq!((back.error, back.generation), (None, 1));
    assert_ne!(back.member_id, old.member_id);
    assert_eq!(b.state("g"), "Stable");
    let from = b.send_sync(&back, "g", &[]);
    assert_eq!(&b.synced(from).assignment[..], b"b");
    assert_eq!(b.causes(EventKind::StaticReplaced).len(), 1);
    // The old one is fenced, and the log knows the new one.
    let request = HeartbeatRequest {
        group_id: s("g"),
        generation: 1,
        member_id: old.member_id.clone(),
        instance_id: Some(s(instance)),
    };
    let from = b.request(|from| Input::Heartbeat { from, client: client("c"), request });
    assert_eq!(b.answer(from), Some(Answer::Heartbeat(Err(FencedInstanceId))));
    assert_eq!(b.join(fixed("g", &old.member_id, instance)).error, Some(FencedInstanceId));
    b.reload();
    assert_eq!(b.heartbeat("g", &back.member_id, 1), Ok(()));
    assert_eq!(b.heartbeat("g", &old.member_id, 1), Err(UnknownMemberId));
}

#[test]
fn a_static_leader_that_restarts_does_not_assign() {
    let mut b = bench();
    let members = stable_static(&mut b);
    let (instance, old) = &members[0];
    let back = b.join(fixed("g", "", instance));
    assert!(back.skip_assignment, "KIP-814");
    assert_eq!((&back.leader, back.members.len()), (&back.member_id, 2));
    let before = JoinRequest { supports_skip_assignment: false, ..fixed("g", "", instance) };
    let again = b.join(before);
    assert!(!again.skip_assignment && again.members.is_empty());
    assert_eq!(again.leader, back.member_id, "its former self: KIP-345");
    assert_ne!(again.leader, again.member_id);
    assert_ne!(old.member_id, again.member_id);
}

#[test]
fn a_static_member_that_restarts_with_another_protocol_begins_a_rebalance() {
    let mut b = bench();
    let sent = b.send_join(fixed("g", "", "i1"));
    b.pass(6000);
    let joined = b.joined(sent);
    b.send_sync(&joined, "g", &[]);
    let protocols = vec![Protocol { name: s("range"), metadata: subscription(&["u"]) }];
    let same_name = JoinRequest { protocols, ..fixed("g", "", "i1") };
    let same = b.join(same_name);
    assert_eq!((same.error, b.state("g")), (None, "Stable"));
    let both = |names: [&str; 2]| JoinRequest {
        protocols: names.map(|n| Protocol { name: s(n), metadata: subscription(&["t"]) }).to_vec(),
        ..fixed("g", "", "i1")
    };
    let from = b.send_join(both(["sticky", "range"]));
    assert_eq!(b.joined(from).generation, 2);
    assert_eq!(b.state("g"), "CompletingRebalance");
}

#[test]
fn a_static_member_keeps_its_place_until_its_session_ends() {
    let mut b = bench();
    let members = stable_static(&mut b);
    let leader = &members[0].1.member_id;
    b.send_join(fixed("g", leader, &members[0].0));
    b.pass(9_000);
    assert_eq!(b.state("g"), "PreparingRebalance");
    b.pass(1_000);
    assert_eq!(b.state("g"), "CompletingRebalance", "the other's session is over");
}

#[test]
fn who_takes_an_instance_id_answers_the_join_that_waited_with_it() {
    let mut b = bench();
    let first = b.send_join(fixed("g", "", "i"));
    let second = b.send_join(fixed("g", "", "i"));
    assert_eq!(b.joined(first).error, Some(FencedInstanceId));
    b.pass(6000);
    assert_eq!(b.joined(second).error, None);
}

#[test]
fn leaving_one_by_one_several_at_once_and_by_instance() {
    let mut b = bench();
    let members = b.stable("g", 3);
    assert_eq!(b.leave("g", &[("x", None)]), [Some(UnknownMemberId)]);
    assert_eq!(b.leave("nothing", &[("x", None)]), [Some(UnknownMemberId)]);
    assert_eq!(b.state("g"), "Stable");
    assert_eq!(b.leave("g", &[(&members[0].member_id, None)]), [None]);
    assert_eq!(b.state("g"), "PreparingRebalance");
    let reason = Cause::Left { reason: Some("test".into()) };
    assert_eq!(b.causes(EventKind::MemberLeft), [&reason]);
    let rest = [(&*members[1].member_id, None), ("x", None), (&*members[2].member_id, None)];
    assert_eq!(b.leave("g", &rest), [None, Some(UnknownMemberId), None]);
    assert_eq!(b.state("g"), "Empty");
    b.reload();
    assert_eq!(b.state("g"), "Empty");

    let mut b = bench();
    let members = stable_static(&mut b);
    let wrong = [("", Some("nobody")), ("", None), ("x", Some("i1"))];
    let errors = [Some(UnknownMemberId), Some(UnknownMemberId), Some(FencedInstanceId)];
    assert_eq!(b.leave("g", &wrong), errors);
    assert_eq!(b.leave("g", &[("", Some(&members[1].0))]), [None]);
    let admin = Cause::RemovedByAdmin { reason: Some("test".into()) };
    assert_eq!(b.causes(EventKind::MemberLeft), [&admin]);
}

#[test]
fn a_pending_id_that_leaves_disturbs_nobody() {
    let mut b = bench();
    b.stable("g", 1);
    let id = b.new_id("g");
    assert_eq!(b.leave("g", &[(&id, None)]), [None]);
    assert_eq!(b.state("g"), "Stable");
    assert_eq!(b.join(joining("g", &id)).error, Some(UnknownMemberId));
}

#[test]
fn a_full_group_takes_nobody() {
    let mut b = Bench::new(GroupConfig { max_size: 2, ..GroupConfig::default() });
    let members = b.stable("g", 2);
    assert_eq!(b.join(joining("g", "")).error, Some(GroupMaxSizeReached));
    // While they join again, the first two have the places.
    let sent: Vec<_> = (0..3)
        .map(|n| match members.get(n) {
            Some(member) => b.send_join(joining("g", &member.member_id)),
            None => b.send_join(joining("g", "")),
        })
        .collect();
    assert_eq!(b.joined(sent[0]).generation, 2);
    assert_eq!(b.joined(sent[1]).generation, 2);
    assert_eq!(b.joined(sent[2]).error, Some(GroupMaxSizeReached));
}

#[test]
fn a_group_that_is_too_large_when_it_is_loaded_joins_again() {
    let mut b = bench();
    b.stable("g", 3);
    b.groups.config.max_size = 2;
    b.reload();
    assert_eq!(b.state("g"), "PreparingRebalance");
}

#[test]
fn a_restart_in_the_middle_of_a_rebalance_goes_back_to_what_was_written() {
    let mut b = bench();
    let members = b.stable("g", 2);
    let id = b.new_id("g");
    b.send_join(joining("g", &id));
    b.reload();
    assert_eq!(b.state("g"), "Stable");
    assert_eq!(b.heartbeat("g", &members[1].member_id, 1), Ok(()));
    assert_eq!(b.join(joining("g", &id)).error, Some(UnknownMemberId));
    // Sessions began with the load.
    b.pass(9_999);
    assert_eq!(b.heartbeat("g", &members[0].member_id, 1), Ok(()));
    b.pass(1);
    assert_eq!(b.heartbeat("g", &members[1].member_id, 1), Err(UnknownMemberId));
}

#[test]
fn describing_listing_deleting() {
    let mut b = bench();
    let members = b.stable("g", 1);
    b.commit(committing("simple", "", -1, 5)).unwrap();
    let describe = |b: &mut Bench, group: &str| {
        let group_id = s(group);
        let from = b.request(|from| Input::Describe { from, group_id });
        match b.answer(from) {
            Some(Answer::Describe(description)) => description,
            other => panic!("{other:?}"),
        }
    };
    let stable = describe(&mut b, "g");
    assert_eq!((stable.state, stable.protocol.as_str()), ("Stable", "range"));
    assert_eq!(stable.members[0].metadata, subscription(&["t"]));
    assert_eq!(
        &stable.members[0].assignment[..],
        format!("of {}", members[0].member_id).as_bytes()
    );
    let dead = describe(&mut b, "nothing");
    assert_eq!((dead.error, dead.state), (Some(GroupIdNotFound), "Dead"));

    let list = |b: &mut Bench, states: &[&str], types: &[&str]| {
        let request = ListRequest {
            states: states.iter().map(|t| s(t)).collect(),
            types: types.iter().map(|t| s(t)).collect(),
        };
        let from = b.request(|from| Input::List { from, request });
        match b.answer(from) {
            Some(Answer::List(listed)) => {
                listed.into_iter().map(|g| g.group_id.to_string()).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(list(&mut b, &[], &[]), ["g", "simple"]);
    assert_eq!(list(&mut b, &["stable"], &[]), ["g"]);
    assert_eq!(list(&mut b, &["Empty", "Dead"], &["CLASSIC"]), ["simple"]);
    assert!(list(&mut b, &[], &["consumer"]).is_empty());

    let delete = |b: &mut Bench, group: &str| {
        let group_id = s(group);
        let from = b.request(|from| Input::Delete { from, client: client("a"), group_id });
        b.answer(from)
    };
    assert_eq!(delete(&mut b, "nothing"), Some(Answer::Delete(Err(GroupIdNotFound))));
    assert_eq!(delete(&mut b, "g"), Some(Answer::Delete(Err(NonEmptyGroup))));
    assert_eq!(delete(&mut b, "simple"), Some(Answer::Delete(Ok(()))));
    assert_eq!(list(&mut b, &[], &[]), ["g"]);
    assert_eq!(b.groups.counts(), GroupCounts { classic: 1, consumer: 0, offsets: 0 });
    b.reload();
    assert_eq!(list(&mut b, &[], &[]), ["g"]);
    assert_eq!(b.groups.counts().offsets, 0);
}
