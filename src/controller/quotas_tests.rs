//! Against Kafka 4.3.1's ClientQuotaControlManager: what it refused, in its words, and the bytes of its records.

use super::*;

fn entity(parts: &[(&str, Option<&str>)]) -> QuotaEntity {
    parts.iter().map(|(kind, name)| (kind.to_string(), name.map(str::to_string))).collect()
}

fn alteration(parts: &[(&str, Option<&str>)], changes: &[(&str, Option<f64>)]) -> AlterQuota {
    let changes = changes.iter().map(|(key, value)| (key.to_string(), *value)).collect();
    AlterQuota { entity: entity(parts), changes }
}

/// Applies what is not refused; the refusals, and the records' bytes.
fn alter_all(image: &mut Image, alterations: &[AlterQuota]) -> (Vec<String>, Vec<String>) {
    let mut records = Vec::new();
    let results = alter(image, alterations, &mut records);
    let refused = results.into_iter().filter_map(|(_, result)| Some(result.err()?.to_string()));
    let refused = refused.collect();
    let hex = |record: &Record| record.encode().iter().map(|b| format!("{b:02x}")).collect();
    let bytes = records.iter().map(hex).collect();
    for record in &records {
        assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(record));
        image.apply(record).expect("a record that was made here");
    }
    (refused, bytes)
}

const P: &str = "producer_byte_rate";
const C: &str = "consumer_byte_rate";
const R: &str = "request_percentage";
const I: &str = "connection_creation_rate";
const U: (&str, Option<&str>) = ("user", Some("u"));
const ADDRESS: (&str, Option<&str>) = ("ip", Some("1.1.1.1"));

#[test]
fn refusals_are_kafkas() {
    let one = |parts: &[_], key, value| alteration(parts, &[(key, Some(value))]);
    let no_host = ("ip", Some("not a host"));
    let cases = [
        (one(&[], C, 1.0), "Invalid empty client quota entity"),
        (one(&[("x", Some("y"))], C, 1.0), "Unhandled client quota entity type: x"),
        (one(&[("user", Some(""))], C, 1.0), "Empty user not supported"),
        (one(&[("ip", Some(""))], I, 1.0), "Empty ip not supported"),
        (
            one(&[U, ADDRESS], C, 1.0),
            "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId",
        ),
        (one(&[no_host], I, 1.0), "not a host is not a valid IP or resolvable host."),
        (one(&[ADDRESS], P, 1.0), "Invalid configuration key producer_byte_rate"),
        (one(&[U], I, 1.0), "Invalid configuration key connection_creation_rate"),
        (one(&[U], "foo", 1.0), "Invalid configuration key foo"),
        (one(&[U], P, 0.0), "Quota producer_byte_rate must be greater than 0"),
        (one(&[U], R, -1.0), "Quota request_percentage must be greater than 0"),
        (one(&[U], P, 1e19), "Proposed value for producer_byte_rate is too large for a LONG."),
        (
            one(&[ADDRESS], I, 2_147_483_648.0),
            "Proposed value for connection_creation_rate is too large for an INT.",
        ),
        (one(&[U], P, 7.00001), "producer_byte_rate cannot be a fractional value."),
        (one(&[("ip", None)], I, 10.5), "connection_creation_rate cannot be a fractional value."),
        (
            alteration(&[U, ("client-id", None)], &[(P, Some(1.0)), (P, None)]),
            "Ignoring duplicate entity ClientQuotaEntity(entries={client-id=null, user=u})",
        ),
        (alteration(&[U], &[(P, Some(5.0)), ("foo", Some(1.0))]), "Invalid configuration key foo"),
    ];
    for (alteration, why) in cases {
        let (refused, made) = alter_all(&mut Image::default(), &[alteration]);
        assert_eq!((refused, made.len()), (vec![why.to_string()], 0));
    }
    for good in ["1.2.3.4", "1.1", "::1", "[::1]", "localhost", "16843009"] {
        let (refused, _) = alter_all(&mut Image::default(), &[one(&[("ip", Some(good))], I, 10.0)]);
        assert!(refused.is_empty(), "{refused:?}");
    }
}

#[test]
fn records_are_kafkas_and_only_of_what_changes() {
    let mut image = Image::default();
    let mut step = |alterations: &[AlterQuota]| alter_all(&mut image, alterations);
    let (_, made) = step(&[alteration(&[U], &[(P, Some(100.0))])]);
    assert_eq!(
        made,
        ["010e000205757365720275001370726f64756365725f627974655f7261746540590000000000000000"]
    );
    let (_, made) = step(&[alteration(&[U], &[(P, Some(100.0)), (C, None)])]);
    assert!(made.is_empty(), "nothing changed");
    let both = [("user", None), ("client-id", Some("c"))];
    let (_, made) = step(&[alteration(&both, &[(R, Some(0.5))])]);
    assert_eq!(
        made,
        [
            "010e00030a636c69656e742d69640263000575736572000013726571756573745f70657263656e746167653fe0\
          0000000000000000"
        ]
    );
    let clients = [("client-id", None)];
    step(&[alteration(&clients, &[(C, Some(1000.0))])]);
    let (_, made) = step(&[alteration(&clients, &[(C, None), (P, None)])]);
    assert_eq!(
        made,
        [
            "010e00020a636c69656e742d6964000013636f6e73756d65725f627974655f7261746500000000000000000100"
        ]
    );
    // The first of two changes of one entity holds, and it is told that the second was ignored.
    let twice = [alteration(&[U], &[(P, Some(1.0))]), alteration(&[U], &[(C, Some(2.0))])];
    let (refused, made) = step(&twice);
    assert_eq!((refused.len(), made.len()), (1, 1));
    assert_eq!(image.quotas.len(), 2);
    assert_eq!(image.quotas[&entity(&[U])], BTreeMap::from([(P.to_string(), Rate(1.0))]));
}

#[test]
fn more_records_than_kafka_takes_are_none() {
    let many: Vec<AlterQuota> = (0..=COMMAND_RECORDS)
        .map(|i| AlterQuota {
            entity: BTreeMap::from([(USER.to_string(), Some(format!("u{i}")))]),
            changes: vec![(P.to_string(), Some(1.0))],
        })
        .collect();
    let mut records = Vec::new();
    let results = alter(&Image::default(), &many, &mut records);
    assert!(records.is_empty());
    assert!(results.iter().all(|(_, r)| matches!(r, Err(ControllerError::PolicyViolation(_)))));
}
