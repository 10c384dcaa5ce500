//! Words into a workload: options, scenario files, `--set`, and which of them wins; what is refused and how.

use std::io::Write as _;
use std::time::Duration;

use clap::Parser;

use super::*;
use crate::loadgen::{Acks, ArrivalLaw, KeyLaw, SizeLaw};
use crate::types::Compression;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    bench: BenchArgs,
}

fn task(words: &[&str]) -> Result<Task, StartError> {
    let line = Line::try_parse_from(std::iter::once(&"bench").chain(words))
        .map_err(|e| StartError::config(scenario::sentence(&e)))?;
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    Task::resolve(line.bench, &words)
}

fn workload(words: &[&str]) -> Workload {
    task(words).unwrap_or_else(|e| panic!("{words:?}: {e}")).workload
}

fn refused(words: &[&str]) -> String {
    let error = task(words).err().unwrap_or_else(|| panic!("{words:?} was accepted"));
    assert_eq!(error.exit_code, 2, "{words:?}");
    assert!(!error.message.contains('\n'), "one sentence: {}", error.message);
    error.message
}

/// A file with a title and a question in its first two lines.
fn file(rest: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    write!(file, "title = \"T\"\nquestion = \"Q?\"\n{rest}").unwrap();
    file
}

#[test]
fn clap_finds_no_fault_with_the_options() {
    clap_command().debug_assert();
}

#[test]
fn the_defaults_are_a_workload() {
    let w = workload(&[]);
    assert_eq!(w.acks, Acks::All);
    assert_eq!(w.linger, Duration::from_millis(5));
    assert_eq!(w.rate, 0.0);
    assert!(w.partitions_default >= 4 && w.phases.is_empty());
}

#[test]
fn every_option_reaches_the_workload() {
    let w = workload(&[
        "--bootstrap-server=h:1",
        "--broker-name=Kafka",
        "--topics=3",
        "--topic-config=a=1",
        "--topic-config=b=2",
        "--topic-config=a=3",
        "--record-size=uniform:100-200",
        "--keys=zipf:1000",
        "--key-size=8",
        "--payload=entropy:2",
        "--headers=2",
        "--header-size=4",
        "--arrivals=poisson",
        "--phase=name=a,duration=1,rate=100",
        "--phase=name=b,duration=2,rate=100..200",
        "--records=1000",
        "--replay=2",
        "--replay-after=1.5",
        "--prefill=77",
        "--acks=1",
        "--compression=lz4",
        "--linger-ms=0.5",
        "--fetch-min-bytes=2",
        "--fetch-max-wait-ms=100",
        "--fetch-partition-bytes=3000",
        "--fetch-max-bytes=4000",
        "--drain-timeout=3",
    ]);
    assert_eq!((w.bootstrap.as_str(), w.broker_name.as_str(), w.topics), ("h:1", "Kafka", 3));
    assert_eq!(w.topic_configs, [("b", "2"), ("a", "3")].map(|(k, v)| (k.into(), v.into())));
    assert_eq!(w.sizes, SizeLaw::Uniform { min: 100, max: 200 });
    assert!(matches!(w.keys, KeyLaw::Zipf { count: 1000, .. }));
    assert_eq!((w.key_bytes, w.headers, w.header_bytes), (8, 2, 4));
    assert_eq!(w.arrivals, ArrivalLaw::Poisson);
    assert_eq!(w.phases.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((w.records, w.replay_consumers), (Some(1000), 2));
    assert_eq!((w.replay_after, w.prefill), (Duration::from_millis(1500), 77));
    assert_eq!((w.acks, w.compression), (Acks::Leader, Compression::Lz4));
    assert_eq!(w.linger, Duration::from_micros(500));
    assert_eq!((w.fetch_min_bytes, w.fetch_partition_bytes, w.fetch_bytes), (2, 3000, 4000));
    assert_eq!(w.fetch_wait, Duration::from_millis(100));
    assert_eq!(w.drain_timeout, Duration::from_secs(3));
    assert_eq!(workload(&["--find-rate=p99<10ms"]).find.unwrap().quantile, 0.99);
}

#[test]
fn an_option_that_is_given_again_replaces_the_earlier_one() {
    let w = workload(&["--acks", "1", "--idempotence", "--acks=all", "--idempotence=no"]);
    assert_eq!((w.acks, w.idempotence), (Acks::All, false));
    assert!(workload(&["--idempotence"]).idempotence);
}

#[test]
fn wrong_values_are_a_sentence_and_exit_code_2() {
    for (words, part) in [
        (&["--record-size", "31"][..], "stamp of 32 bytes"),
        (&["--record-size", "many"], "many"),
        (&["--acks", "2"], "0, 1 or all"),
        (&["--compression", "brotli"], "none, gzip, snappy, lz4 or zstd"),
        (&["--idempotence", "--acks", "1"], "--acks all"),
        (&["--idempotence", "--max-in-flight", "6"], "1 to 5"),
        (&["--idempotence=perhaps"], "yes or no"),
        (&["--topic", "a b"], "topic name"),
        (&["--producers", "0"], "--producers 0"),
        (&["--duration", "0"], "0.001 seconds"),
        (&["--duration=-1"], "not in 0 to 1000000"),
        (&["--rate=-1"], "not in 0 to 1000000000"),
        (&["--rate", "NaN"], "not in 0 to 1000000000"),
        (&["--topic-config", "x"], "KEY=VALUE"),
        (&["--phase", "name=a"], "duration"),
        (&["--phase", "name=a,duration=1", "--rate", "5"], "cannot be used with"),
        (&["--find-rate", "p99"], "a bound is"),
        (&["--shards", "1", "--bootstrap-server", "h:1"], "cannot be used with"),
        (&["--broker-pid", "1"], "required arguments were not provided"),
        (&["no-such-file.toml"], "scenario no-such-file.toml: No such file"),
        (&["/"], "scenario /: Is a directory"),
    ] {
        let message = refused(words);
        assert!(message.contains(part), "{words:?}: {message}");
    }
}

#[test]
fn file_then_set_then_command_line() {
    let f = file(
        "acks = 1\nlinger-ms = 0.5\nidempotence = false\ntopic-config = [\"a=1\", \"b=2\"]\n\
         record-size = \"uniform:100-200\"\nrate = 1_000\nproducers = 0x10\n",
    );
    let path = f.path().to_str().unwrap();
    let t = task(&[path]).unwrap();
    assert_eq!((t.workload.acks, t.workload.rate, t.workload.producers), (Acks::Leader, 1e3, 16));
    assert_eq!(t.workload.linger, Duration::from_micros(500));
    let info = t.scenario.unwrap();
    assert_eq!((info.name.as_str(), info.question.as_str()), ("T", "Q?"));
    assert_eq!(info.file, path);
    let w = workload(&["--set", "rate=2000", "--set=topic-config=a=3", path, "--acks", "all"]);
    assert_eq!((w.acks, w.rate), (Acks::All, 2000.0));
    assert_eq!(w.topic_configs, [("b", "2"), ("a", "3")].map(|(k, v)| (k.into(), v.into())));
    let w = workload(&[path, "--set", "rate=2000", "--rate", "3000", "--set", "seed=7"]);
    assert_eq!((w.rate, w.seed), (3000.0, 7));
    assert_eq!(workload(&["--set", "rate=5"]).rate, 5.0);
}

#[test]
fn phases_are_tables_and_a_later_layer_replaces_them() {
    let f = file(
        "[[phase]]\nname = \"low\"\nduration = 1\nrate = 100\nmeasure = false\n\
         [[phase]]\nname = \"ramp\"\nduration = 2.5\nrate = \"100..1000\"\n",
    );
    let path = f.path().to_str().unwrap();
    let phases: Vec<String> = workload(&[path]).phases.iter().map(|p| p.to_string()).collect();
    assert_eq!(
        phases,
        ["name=low,duration=1,rate=100,measure=no", "name=ramp,duration=2.5,rate=100..1000"]
    );
    let other = ["--set", "phase=name=x,duration=1,rate=full"];
    assert_eq!(workload(&[path, other[0], other[1]]).phases.len(), 1);
    assert_eq!(workload(&[path, "--phase", "name=x,duration=1"]).phases.len(), 1);
    let message = refused(&[path, "--rate", "7"]);
    assert!(message.contains("cannot be used with") && message.contains(":8: phase"), "{message}");
}

#[test]
fn a_wrong_file_names_file_line_and_the_nearest_key() {
    for (rest, part) in [
        (
            "record_size = 100\n",
            ":3: unknown key record_size; the nearest known one is record-size",
        ),
        ("\nlinger = 1\n", ":4: unknown key linger; the nearest known one is linger-ms"),
        ("quesion = \"x\"\n", "the nearest known one is question"),
        ("set = \"x=y\"\n", ":3: unknown key set"),
        ("acks = 7\n", ":3: acks = 7: 0, 1 or all"),
        ("rate = 1\n\nrecord-size = \"x\"\n", ":5: record-size = x: "),
        ("record-size = 20\n", "stamp of 32 bytes (time, sequence, checksum) ("),
        ("record-size = 20\n", ":3: record-size = 20)"),
        ("rate = 1\nrate = 2\n", ":4: duplicate key"),
        ("rate = \n", ":3: "),
        ("acks = [1]\n", ":3: acks takes one value, not a list"),
        ("acks = 1979-05-27\n", ":3: acks is a datetime"),
        ("[producer]\nacks = 1\n", ":3: unknown key producer; the nearest known one is producers"),
        ("[producers]\na = 1\n", ":3: producers is a table"),
        ("topic-config = [\n \"a=1\",\n \"b\"]\n", ":5: topic-config = b: KEY=VALUE is wanted"),
        ("[[phase]]\nname = \"a\"\nlength = 3\n", ":5: unknown key of a phase length"),
        ("[[phase]]\nname = \"a,b\"\n", ":4: name of a phase is"),
        (
            "[[phase]]\nname = \"a\"\nrate = 5\n",
            ":3: phase = name=a,rate=5: a phase needs duration",
        ),
        ("idempotence = true\nacks = 1\n", ":3: idempotence = true; "),
        ("shards = 99999999999999999999999999\n", ":3: shards = 99999"),
        ("question = \"again\"\n", ":3: duplicate key"),
    ] {
        let f = file(rest);
        let message = refused(&[f.path().to_str().unwrap()]);
        assert!(message.contains(part), "{rest:?}: {message}");
        assert!(message.contains(f.path().to_str().unwrap()), "{rest:?}: {message}");
    }
}

#[test]
fn a_scenario_says_its_question() {
    let keys = Keys::of_options();
    for (text, part) in [
        ("", "x.toml: title is missing"),
        ("title = \"a\"\n", "x.toml: question is missing"),
        ("title = \"a\"\nquestion = 5\n", "x.toml:2: question is a text"),
        ("title = \" \"\nquestion = \"b\"\n", "x.toml:1: title is a text"),
    ] {
        let message = Scenario::parse("x.toml", text, &keys).err().unwrap().message;
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_wrong_set_is_refused_likewise() {
    for (set, part) in [
        ("rate", "--set rate: write it as key=value"),
        ("rat=5", "--set rat=5: unknown key rat; the nearest known one is rate"),
        ("acks=9", "--set: acks = 9: 0, 1 or all"),
        ("title=x", "title is the scenario's own"),
        ("producers=0", "(--set: producers = 0)"),
    ] {
        let message = refused(&["--set", set]);
        assert!(message.contains(part), "{set}: {message}");
    }
}

#[test]
fn what_was_typed_is_not_blamed_on_the_file() {
    let f = file("producers = 3\n");
    let message = refused(&[f.path().to_str().unwrap(), "--producers", "0"]);
    assert!(message.contains("--producers 0") && !message.contains(".toml"), "{message}");
}
