"""kafka-python against BOOTSTRAP: codecs, groups of each assignor, offsets, every call of the admin client that one
node without transactions can mean."""

import uuid

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, KafkaAdminClient, MemberToRemove, OffsetSpec, OffsetTimestamp
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.structs import OffsetAndMetadata

from checks import BOOTSTRAP, PARTITIONS, RUN, check, equal, eventually, fails, finish, gather, group_of_two, record

ADMIN = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
TOPIC = f"kafka-python-{RUN}"
OLD = {"retention.ms": "-1"}  # the timestamps of the records are old


def create(topic, partitions=PARTITIONS, configs=None):
    ADMIN.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1, "configs": configs or {}}},
                        wait_for_metadata=True)


def consumer(group=None, **more):
    return KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=group, auto_offset_reset="earliest",
                         enable_auto_commit=False, **more)


def read(partitions, count):
    reader = consumer()
    reader.assign(partitions)
    reader.seek_to_beginning(*partitions)
    got = gather(lambda: [row for rows in reader.poll(200).values() for row in rows], count)
    reader.close()
    return got


def produce(topic, first, count, **more):
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=5, **more)
    sent = [producer.send(topic, f"value {i}".encode(), partition=i % PARTITIONS) for i in range(first, first + count)]
    for future in sent:
        future.get(30)
    producer.close()


def codec(name):
    topic = f"{TOPIC}-{name}"
    create(topic, 1, OLD)
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, compression_type=None if name == "none" else name,
                             linger_ms=20, enable_idempotence=name != "gzip", acks="all")
    sent = []
    for i in range(300):
        key, value, headers, timestamp = record(i)
        sent.append(producer.send(topic, value, key, headers, 0, timestamp))
    equal(list(range(300)), [future.get(30).offset for future in sent], "offsets")
    producer.close()
    for i, m in enumerate(read([TopicPartition(topic, 0)], 300)):
        equal(record(i), (m.key, m.value, list(m.headers), m.timestamp), f"record {i}")
        equal(i, m.offset, "offset")


class Polled:
    def __init__(self, group, topic, **more):
        self.consumer = consumer(group, heartbeat_interval_ms=300, session_timeout_ms=10_000, **more)
        self.consumer.subscribe([topic])

    def poll(self):
        return [(m.partition, m.value) for rows in self.consumer.poll(100).values() for m in rows]

    def assigned(self):
        return {tp.partition for tp in self.consumer.assignment()}

    def commit(self):
        self.consumer.commit()

    def close(self):
        self.consumer.close()


def group(name, assignor):
    topic = f"{TOPIC}-group-{name}"
    create(topic)
    group_of_two(lambda: Polled(topic, topic, partition_assignment_strategy=[assignor]),
                 lambda first, count: produce(topic, first, count))
    offsets = ADMIN.list_group_offsets([topic])[topic]
    equal({TopicPartition(topic, p): 160 for p in range(PARTITIONS)},
          {tp: o.offset for tp, o in offsets.items()}, "committed offsets")


def offsets():
    topic = f"{TOPIC}-offsets"
    create(topic, 1, OLD)
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP)
    for i in range(50):
        producer.send(topic, str(i).encode(), partition=0, timestamp_ms=1_000_000 + i * 1000)
    producer.close()
    tp = TopicPartition(topic, 0)
    reader = consumer(f"{topic}-group")
    reader.assign([tp])
    equal(({tp: 0}, {tp: 50}), (reader.beginning_offsets([tp]), reader.end_offsets([tp])), "ends")
    equal(18, reader.offsets_for_times({tp: 1_000_000 + 17_500})[tp].offset, "offset for a time")
    equal({tp: None}, reader.offsets_for_times({tp: 9_000_000}), "later than all")
    reader.seek(tp, 33)
    first = eventually(lambda: reader.poll(200, max_records=1), "a record after the seek")[tp][0]
    equal((33, b"33"), (first.offset, first.value), "after the seek")
    equal(34, reader.position(tp), "position")
    reader.commit({tp: OffsetAndMetadata(34, "a word", -1)})
    kept = reader.committed(tp, metadata=True)
    equal((34, "a word"), (kept.offset, kept.metadata), "committed")
    reader.close()
    for spec, offset in ((OffsetSpec.EARLIEST, 0), (OffsetSpec.LATEST, 50), (OffsetSpec.MAX_TIMESTAMP, 49),
                         (OffsetTimestamp(1_000_000 + 4_001), 5)):
        equal(offset, ADMIN.list_partition_offsets({tp: spec})[tp].offset, f"list_partition_offsets {spec}")


def topics():
    topic = f"{TOPIC}-topics"
    create(topic, 2, {"cleanup.policy": "compact"})
    fails("TopicAlreadyExistsError", ADMIN.create_topics, {topic: {"num_partitions": 1, "replication_factor": 1}})
    fails("InvalidReplicationFactorError", ADMIN.create_topics, {topic + "x": {"replication_factor": 9}})
    fails("InvalidTopicError", ADMIN.create_topics, {"a b": {}})
    ADMIN.create_topics({topic + "x": {}}, validate_only=True)
    assert topic in ADMIN.list_topics() and topic + "x" not in ADMIN.list_topics(), "list"
    described = ADMIN.describe_topics([topic])[0]
    equal((topic, 2), (described["name"], len(described["partitions"])), "described")
    pages = ADMIN.describe_topic_partitions([topic], response_partition_limit=1)
    assert len(pages["topics"][0]["partitions"]) == 1 and pages["next_cursor"], pages
    ADMIN.create_partitions({topic: 5})
    eventually(lambda: len(ADMIN.describe_topics([topic])[0]["partitions"]) == 5, "five partitions")
    fails("InvalidPartitionsError", ADMIN.create_partitions, {topic: 3})
    ADMIN.delete_topics([uuid.UUID(described["topic_id"])])
    eventually(lambda: topic not in ADMIN.list_topics(), "deleted")
    fails("UnknownTopicOrPartitionError", ADMIN.delete_topics, [topic])


def configs():
    topic = f"{TOPIC}-configs"
    create(topic, 1, {"retention.ms": "1234567"})

    def now(name=topic, kind="topic"):
        rows = ADMIN.describe_configs([ConfigResource(kind, name)], config_filter="all")[kind][str(name)]
        return {key: row.get("value") for key, row in rows.items()}

    equal(("1234567", "delete"), (now()["retention.ms"], now()["cleanup.policy"]), "configs")
    ADMIN.alter_configs([ConfigResource("topic", topic, {"cleanup.policy": ("APPEND", "compact"),
                                                         "segment.ms": "7777777"})])
    eventually(lambda: set(now()["cleanup.policy"].split(",")) == {"compact", "delete"}, "appended")
    equal(("7777777", "1234567"), (now()["segment.ms"], now()["retention.ms"]), "set, and kept")
    ADMIN.reset_configs([ConfigResource("topic", topic, ["retention.ms"])])
    eventually(lambda: now()["retention.ms"] == "604800000", "reset")
    ADMIN.alter_configs([ConfigResource("topic", topic, {"segment.ms": "1"})], validate_only=True)
    equal("7777777", now()["segment.ms"], "after validation only")
    node = ADMIN.describe_cluster()["brokers"][0]["broker_id"]
    equal("4", now(node, "broker")["num.partitions"], "the broker's num.partitions")
    ADMIN.alter_configs([ConfigResource("group", topic, {"consumer.session.timeout.ms": "50000"})])
    eventually(lambda: now(topic, "group")["consumer.session.timeout.ms"] == "50000", "a group's config")
    assert topic in ADMIN.list_config_resources(["GROUP"])["group"], "the group is not listed"


def delete_records():
    topic = f"{TOPIC}-delete-records"
    create(topic)
    produce(topic, 0, 40)
    one, two = TopicPartition(topic, 1), TopicPartition(topic, 2)
    done = ADMIN.delete_records({one: 4, two: -1})
    equal([4, 10], [done[tp]["low_watermark"] for tp in (one, two)], "low watermarks")
    equal([(1, o) for o in range(4, 10)], [(m.partition, m.offset) for m in read([one, two], 6)], "what is left")
    fails("OffsetOutOfRangeError", ADMIN.delete_records, {one: 99})


def groups():
    topic = f"{TOPIC}-admin"
    create(topic)
    produce(topic, 0, 40)
    member = consumer(topic, client_id="me", heartbeat_interval_ms=300, group_instance_id="one")
    member.subscribe([topic])
    eventually(lambda: (member.poll(100), len(member.assignment()) == PARTITIONS)[1], "assignment")
    group = eventually(lambda: (g := ADMIN.describe_groups([topic])[topic])["group_state"] == "Stable" and g, "stable")
    row = group["members"][0]
    equal(("me", "one", "consumer"), (row["client_id"], row["group_instance_id"], group["protocol_type"]), "member")
    listed = ADMIN.list_groups(states_filter=["Stable"], types_filter=["classic"])
    equal([("Stable", "Classic")], [(g["group_state"], g["group_type"]) for g in listed if g["group_id"] == topic], "list")
    for more in ({"states_filter": ["Empty"]}, {"types_filter": ["consumer"]}):
        assert topic not in [g["group_id"] for g in ADMIN.list_groups(**more)], f"listed with {more}"
    equal({topic: "NonEmptyGroupError"}, ADMIN.delete_groups([topic]), "deletion")
    tp = TopicPartition(topic, 0)
    # A commit is of the partitions whose place is known by then.
    places = [member.position(TopicPartition(topic, p)) for p in range(PARTITIONS)]
    assert None not in places, places
    member.commit()
    error = ADMIN.alter_group_offsets(topic, {tp: OffsetAndMetadata(2, "", -1)})[tp]
    equal("UnknownMemberIdError", error.__name__, "a commit from outside")
    equal("GroupSubscribedToTopicError", ADMIN.delete_group_offsets(topic, [tp])[tp].__name__, "deleted offset")
    equal(["NoError"], [e.__name__ for e in ADMIN.remove_group_members(
        topic, [MemberToRemove(group_instance_id="one", reason="to see")]).values()], "removal")
    eventually(lambda: ADMIN.describe_groups([topic])[topic]["group_state"] == "Empty", "empty")
    member.close()
    fresh = topic + "-fresh"
    every = {TopicPartition(topic, p): OffsetAndMetadata(p + 1, f"m{p}", -1) for p in range(PARTITIONS)}
    equal({"NoError"}, {e.__name__ for e in ADMIN.alter_group_offsets(fresh, every).values()}, "alteration")
    got = ADMIN.list_group_offsets({fresh: None, topic: [tp]})
    equal({tp.partition: (o.offset, o.metadata) for tp, o in every.items()},
          {tp.partition: (o.offset, o.metadata) for tp, o in got[fresh].items()}, "offsets of two groups, the first")
    assert list(got[topic]) == [tp] and got[topic][tp].offset >= 0, got
    done = ADMIN.reset_group_offsets(fresh, {tp: OffsetSpec.LATEST, TopicPartition(topic, 1): OffsetSpec.EARLIEST})
    equal([10, 0], [done[TopicPartition(topic, p)]["offset"] for p in (0, 1)], "reset")
    equal("NoError", ADMIN.delete_group_offsets(fresh, [tp])[tp].__name__, "deletion of one")
    equal({1: 0, 2: 3, 3: 4}, {tp.partition: o.offset for tp, o in ADMIN.list_group_offsets([fresh])[fresh].items()},
          "what is left")
    equal({topic: "OK", fresh: "OK"}, ADMIN.delete_groups([topic, fresh]), "deletions")
    equal({fresh: "GroupIdNotFoundError"}, ADMIN.delete_groups([fresh]), "again")


def cluster():
    described = ADMIN.describe_cluster()
    node = described["controller_id"]
    nodes = [broker["broker_id"] for broker in described["brokers"]]  # two with a port for each of two cores
    assert described["cluster_id"] and node in nodes, described
    topic = f"{TOPIC}-cluster"
    create(topic, 1)
    produce_one = KafkaProducer(bootstrap_servers=BOOTSTRAP)
    produce_one.send(topic, b"x" * 1000, partition=0).get(20)
    produce_one.close()
    done = ADMIN.elect_leaders(0, {topic: [0]})
    assert "84" in str(done), done  # ELECTION_NOT_NEEDED
    text = str(ADMIN.describe_log_dirs([topic]))
    assert topic in text, text
    equal({}, ADMIN.list_partition_reassignments(), "reassignments")
    equal({one: [] for one in nodes}, ADMIN.list_transactions(), "transactions")
    assert "producer" in str(ADMIN.describe_producers([TopicPartition(topic, 0)])).lower(), "producers"
    quorum = ADMIN.describe_metadata_quorum()
    assert str(node) in str(quorum), quorum
    assert ADMIN.describe_features(), "features"


for name in ("none", "gzip", "snappy", "lz4", "zstd"):
    check(f"codec {name}", codec, name)
check("topics", topics)
check("configs", configs)
check("delete_records", delete_records)
check("offsets, times, seek, commit with metadata", offsets)
check("a group of two, range", group, "range", RangePartitionAssignor)
check("a group of two, round robin", group, "roundrobin", RoundRobinPartitionAssignor)
check("groups through the admin client", groups)
check("cluster", cluster)
finish("kafka-python")
