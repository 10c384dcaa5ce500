//! Client quotas on the wire: what is set survives a kill, and is described by name, default and type. And the SCRAM
//! credentials that the same tools ask for.

use kafka_protocol::messages::alter_client_quotas_request::{
    EntityData as Entity, EntryData, OpData,
};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use crate::common::Broker;
use crate::common::wire::Wire;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

fn alter(
    wire: &mut Wire,
    entity: &[(&str, Option<&str>)],
    key: &str,
    value: Option<f64>,
    validate_only: bool,
) -> i16 {
    let component = |(kind, name): &(&str, Option<&str>)| {
        Entity::default().with_entity_type(text(kind)).with_entity_name(name.map(text))
    };
    let op = OpData::default()
        .with_key(text(key))
        .with_value(value.unwrap_or(0.0))
        .with_remove(value.is_none());
    let entry =
        EntryData::default().with_entity(entity.iter().map(component).collect()).with_ops(vec![op]);
    let request = AlterClientQuotasRequest::default()
        .with_entries(vec![entry])
        .with_validate_only(validate_only);
    let answer: AlterClientQuotasResponse =
        wire.call(ApiKey::AlterClientQuotas, 1, &request).expect("an answer");
    answer.entries[0].error_code
}

/// `type=name key=value`, of what fits one component.
fn described(wire: &mut Wire, component: Option<(&str, i8, Option<&str>)>) -> Vec<String> {
    let components = component.map(|(kind, how, name)| {
        ComponentData::default()
            .with_entity_type(text(kind))
            .with_match_type(how)
            .with_match(name.map(text))
    });
    let request =
        DescribeClientQuotasRequest::default().with_components(components.into_iter().collect());
    let answer: DescribeClientQuotasResponse =
        wire.call(ApiKey::DescribeClientQuotas, 1, &request).expect("an answer");
    assert_eq!(answer.error_code, 0);
    let mut lines = Vec::new();
    for entry in answer.entries.expect("entries") {
        let entity: Vec<String> = entry
            .entity
            .iter()
            .map(|e| format!("{}={}", &*e.entity_type, e.entity_name.as_deref().unwrap_or("*")))
            .collect();
        for value in entry.values {
            lines.push(format!("{} {}={}", entity.join(","), &*value.key, value.value));
        }
    }
    lines
}

#[test]
fn quotas_survive_a_kill() {
    let mut broker = Broker::own(&[]);
    let mut wire = Wire::connect(broker.address());
    let (p, c) = ("producer_byte_rate", "consumer_byte_rate");
    let user = [("user", Some("u"))];
    assert_eq!(alter(&mut wire, &user, p, Some(100.0), false), 0);
    assert_eq!(alter(&mut wire, &user, c, Some(7.0), false), 0);
    assert_eq!(alter(&mut wire, &user, c, None, false), 0);
    assert_eq!(
        alter(&mut wire, &[("user", None), ("client-id", Some("c"))], c, Some(9.0), false),
        0
    );
    assert_eq!(alter(&mut wire, &[("client-id", None)], c, Some(11.0), false), 0);
    assert_eq!(alter(&mut wire, &[("client-id", None)], p, Some(1.0), true), 0, "only validated");
    assert_eq!(alter(&mut wire, &user, "x", Some(1.0), false), 42);

    broker.kill();
    broker.restart();
    let mut wire = Wire::connect(broker.address());
    let pair = "client-id=c,user=* consumer_byte_rate=9";
    let clients = "client-id=* consumer_byte_rate=11";
    let named = "user=u producer_byte_rate=100";
    assert_eq!(described(&mut wire, None), [clients, pair, named]);
    assert_eq!(described(&mut wire, Some(("user", 0, Some("u")))), [named]);
    assert_eq!(described(&mut wire, Some(("user", 1, None))), [pair]);
    assert_eq!(described(&mut wire, Some(("client-id", 2, None))), [clients, pair]);
    assert!(described(&mut wire, Some(("ip", 2, None))).is_empty());
}

/// What Kafka answers where nobody has any (kafka-configs.sh asks for them behind a user's quotas).
#[test]
fn nobody_has_scram_credentials() {
    let broker = Broker::any();
    let mut wire = Wire::connect(broker.address());
    let mut ask = |users: Option<&[&str]>| {
        let users = users
            .map(|all| all.iter().map(|name| UserName::default().with_name(text(name))).collect());
        let request = DescribeUserScramCredentialsRequest::default().with_users(users);
        let answer: DescribeUserScramCredentialsResponse =
            wire.call(ApiKey::DescribeUserScramCredentials, 0, &request).expect("an answer");
        assert_eq!(answer.error_code, 0);
        let mut rows: Vec<(String, i16, String)> = answer
            .results
            .into_iter()
            .map(|row| {
                let why = row.error_message.map(|why| why.to_string()).unwrap_or_default();
                (row.user.to_string(), row.error_code, why)
            })
            .collect();
        rows.sort();
        rows
    };
    assert_eq!((ask(None), ask(Some(&[]))), (vec![], vec![]));
    let (not_found, twice) = (91, 92);
    let row = |user: &str, code: i16, why: &str| (user.to_string(), code, format!("{why}: {user}"));
    assert_eq!(
        ask(Some(&["bob", "alice", "bob"])),
        [
            row("alice", not_found, "Attempt to describe a user credential that does not exist"),
            row(
                "bob",
                twice,
                "Cannot describe SCRAM credentials for the same user twice in a single request"
            ),
        ]
    );
}
