"""confluent-kafka (librdkafka) against BOOTSTRAP: codecs, groups of both protocols, offsets, the admin client."""

import confluent_kafka as ck
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicCollection
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions
from confluent_kafka.admin import NewTopic, OffsetSpec, ResourceType

from checks import BOOTSTRAP, PARTITIONS, RUN, check, equal, eventually, fails, finish, gather, group_of_two, record

ADMIN = AdminClient({"bootstrap.servers": BOOTSTRAP})
TOPIC = f"confluent-{RUN}"


def create(topic, partitions=PARTITIONS, **config):
    config = {key.replace("_", "."): value for key, value in config.items()}
    ADMIN.create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result(30)
    eventually(lambda: leaders(topic) == partitions, f"leaders of {topic}")


def leaders(topic):
    return sum(1 for p in ADMIN.list_topics(topic, timeout=10).topics[topic].partitions.values() if p.leader >= 0)


def consumer(group, **more):
    config = {"bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest",
              "enable.auto.commit": False}
    return Consumer({**config, **{key.replace("_", "."): value for key, value in more.items()}})


def read(partitions, count):
    reader = consumer("unused-" + RUN)
    reader.assign(partitions)

    def poll():
        messages = reader.consume(500, 0.2)
        equal([], [m.error() for m in messages if m.error() is not None], "errors")
        return messages

    got = gather(poll, count)
    reader.close()
    return got


def produce(topic, first, count, **more):
    refused = []
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5, **more})
    for i in range(first, first + count):
        producer.produce(topic, f"value {i}".encode(), partition=i % PARTITIONS,
                         on_delivery=lambda error, _: error and refused.append(error))
    equal(0, producer.flush(30), "records not sent")
    equal([], refused, "records refused")


def codec(name):
    topic = f"{TOPIC}-{name}"
    create(topic, 1, retention_ms="-1")
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "compression.type": name, "linger.ms": 20,
                         "enable.idempotence": True})
    delivered = []
    for i in range(300):
        key, value, headers, timestamp = record(i)
        producer.produce(topic, value, key, partition=0, headers=headers, timestamp=timestamp,
                         on_delivery=lambda error, m: delivered.append((error, m.offset())))
    equal(0, producer.flush(30), "records not sent")
    equal([(None, i) for i in range(300)], delivered, "deliveries")
    for i, m in enumerate(read([TopicPartition(topic, 0, ck.OFFSET_BEGINNING)], 300)):
        got = (m.key(), m.value(), m.headers(), m.timestamp()[1])
        equal(record(i), got, f"record {i}")
        equal(i, m.offset(), "offset")


class Polled:
    def __init__(self, group, topics, **more):
        self.consumer = consumer(group, **more)
        self.consumer.subscribe(topics)

    def poll(self):
        rows = self.consumer.consume(100, 0.1)
        bad = [m.error() for m in rows if m.error()]
        assert not bad, bad
        return [(m.partition(), m.value()) for m in rows]

    def assigned(self):
        return {tp.partition for tp in self.consumer.assignment()}

    def commit(self):
        self.consumer.commit(asynchronous=False)

    def close(self):
        self.consumer.close()


def group(name, more):
    topic = f"{TOPIC}-group-{name}"
    create(topic)
    group_of_two(lambda: Polled(topic, [topic], **more), lambda first, count: produce(topic, first, count))
    reader = consumer(topic)
    committed = reader.committed([TopicPartition(topic, p) for p in range(PARTITIONS)], timeout=20)
    equal([160] * PARTITIONS, [tp.offset for tp in committed], "committed offsets")
    reader.close()


def regex():
    create(f"{TOPIC}-pattern-a", 2)
    create(f"{TOPIC}-pattern-b", 2)
    for protocol in ("classic", "consumer"):
        member = consumer(f"{TOPIC}-regex-{protocol}", group_protocol=protocol)
        member.subscribe([f"^{TOPIC}-pattern-.*"])
        eventually(lambda: (member.poll(0.1), len(member.assignment()) == 4)[1],
                   lambda: f"{protocol}: {member.assignment()}")
        equal({f"{TOPIC}-pattern-a", f"{TOPIC}-pattern-b"}, {tp.topic for tp in member.assignment()}, "topics")
        member.close()


def static_member():
    topic = f"{TOPIC}-static"
    create(topic)
    for protocol in ("classic", "consumer"):
        name = f"{topic}-{protocol}"
        config = dict(group_protocol=protocol, group_instance_id="one")
        first = consumer(name, **config)
        first.subscribe([topic])
        eventually(lambda: (first.poll(0.1), len(first.assignment()) == PARTITIONS)[1], "assignment")
        described = ADMIN.describe_consumer_groups([name])[name].result(20)
        equal(["one"], [m.group_instance_id for m in described.members], "instance ids")
        # A second of the same name: the classic protocol fences the first, KIP-848 refuses the second.
        second = consumer(name, **config)
        second.subscribe([topic])
        errors = []

        def poll():
            for member in (first, second):
                message = member.poll(0.1)
                if message is not None and message.error():
                    errors.append((member, message.error().name()))
            return errors

        eventually(poll, "one of them is refused")
        loser, error = errors[0]
        if protocol == "classic":
            assert loser is first and error == "_FATAL" or "FENCED" in error, errors
        else:
            assert loser is second and ("UNRELEASED" in error or error == "_FATAL"), errors
        first.close()
        second.close()


def offsets():
    topic = f"{TOPIC}-offsets"
    create(topic, 1, retention_ms="-1")
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    for i in range(50):
        producer.produce(topic, str(i), partition=0, timestamp=1_000_000 + i * 1000)
    producer.flush(30)
    tp = TopicPartition(topic, 0)
    reader = consumer(f"{topic}-group")
    equal((0, 50), reader.get_watermark_offsets(tp, timeout=10), "watermarks")
    times = reader.offsets_for_times([TopicPartition(topic, 0, 1_000_000 + 17_500)], timeout=10)
    equal(18, times[0].offset, "offset for a time")
    equal(-1, reader.offsets_for_times([TopicPartition(topic, 0, 9_000_000)], timeout=10)[0].offset, "later than all")
    reader.assign([TopicPartition(topic, 0, 0)])
    eventually(lambda: reader.poll(0.2), "a record")
    reader.seek(TopicPartition(topic, 0, 33))
    message = eventually(lambda: reader.poll(0.2), "a record after the seek")
    equal((33, b"33"), (message.offset(), message.value()), "after the seek")
    reader.commit(offsets=[TopicPartition(topic, 0, 34, "a word")], asynchronous=False)
    committed = reader.committed([tp], timeout=10)[0]
    equal((34, "a word"), (committed.offset, committed.metadata), "committed")
    reader.close()
    for spec, offset in ((OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 50), (OffsetSpec.max_timestamp(), 49),
                         (OffsetSpec.for_timestamp(1_000_000 + 4_001), 5)):
        result = ADMIN.list_offsets({tp: spec})[tp].result(10)
        equal(offset, result.offset, "list_offsets")


def topics():
    topic = f"{TOPIC}-topics"
    create(topic, 2, retention_ms="1234567", cleanup_policy="compact")
    fails("TOPIC_ALREADY_EXISTS", ADMIN.create_topics([NewTopic(topic, 2, 1)])[topic].result)
    fails("INVALID_REPLICATION_FACTOR", ADMIN.create_topics([NewTopic(topic + "x", 1, 9)])[topic + "x"].result)
    fails("TOPIC_EXCEPTION", ADMIN.create_topics([NewTopic("a b", 1, 1)])["a b"].result)
    described = ADMIN.describe_topics(TopicCollection([topic]), include_authorized_operations=True)[topic].result(20)
    equal((topic, 2, False), (described.name, len(described.partitions), described.is_internal), "description")
    equal([[0, 1]], [[p.id for p in described.partitions]], "partitions")
    assert {"READ", "WRITE", "DELETE"} <= {o.name for o in described.authorized_operations}, "operations"
    ADMIN.create_partitions([NewPartitions(topic, 5)])[topic].result(20)
    eventually(lambda: leaders(topic) == 5, "five partitions")
    fails("INVALID_PARTITIONS", ADMIN.create_partitions([NewPartitions(topic, 3)])[topic].result)
    assert topic in ADMIN.list_topics(timeout=10).topics, "not listed"
    ADMIN.delete_topics([topic])[topic].result(20)
    eventually(lambda: topic not in ADMIN.list_topics(timeout=10).topics, "deleted")
    fails("UNKNOWN_TOPIC_OR_PART", ADMIN.delete_topics([topic])[topic].result)


def configs():
    topic = f"{TOPIC}-configs"
    create(topic, 1, retention_ms="1234567")
    resource = ConfigResource(ResourceType.TOPIC, topic)

    def now():
        entries = ADMIN.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])
        return {key: entry.value for key, entry in list(entries.values())[0].result(20).items()}

    equal(("1234567", "delete"), (now()["retention.ms"], now()["cleanup.policy"]), "configs")
    resource.add_incremental_config(
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND))
    resource.add_incremental_config(
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE))
    ADMIN.incremental_alter_configs([resource])[resource].result(20)
    eventually(lambda: now()["cleanup.policy"] in ("compact,delete", "delete,compact"), "appended")
    equal("604800000", now()["retention.ms"], "the default")
    whole = ConfigResource(ResourceType.TOPIC, topic, set_config={"segment.ms": "7777777"})
    ADMIN.alter_configs([whole])[whole].result(20)
    eventually(lambda: now()["segment.ms"] == "7777777", "altered")
    equal("delete", now()["cleanup.policy"], "what alter_configs leaves out goes")
    wrong = ConfigResource(ResourceType.TOPIC, topic, set_config={"segment.ms": "soon"})
    fails("INVALID_CONFIG", ADMIN.alter_configs([wrong])[wrong].result)
    node = next(iter(ADMIN.list_topics(timeout=10).brokers))
    broker = ConfigResource(ResourceType.BROKER, str(node))
    entries = ADMIN.describe_configs([broker])[broker].result(20)
    equal("4", entries["num.partitions"].value, "the broker's num.partitions")


def delete_records():
    topic = f"{TOPIC}-delete-records"
    create(topic)
    produce(topic, 0, 40)
    done = ADMIN.delete_records([TopicPartition(topic, 1, 4), TopicPartition(topic, 2, ck.OFFSET_END)])
    equal([4, 10], sorted(f.result(20).low_watermark for f in done.values()), "low watermarks")
    got = read([TopicPartition(topic, p, ck.OFFSET_BEGINNING) for p in (1, 2)], 6)
    equal([(1, offset) for offset in range(4, 10)], [(m.partition(), m.offset()) for m in got], "what is left")
    past = ADMIN.delete_records([TopicPartition(topic, 0, 99)])
    fails("OFFSET_OUT_OF_RANGE", list(past.values())[0].result)


def groups():
    topic = f"{TOPIC}-admin"
    create(topic)
    produce(topic, 0, 40)
    members = {}
    for protocol in ("classic", "consumer"):
        name = f"{topic}-{protocol}"
        members[protocol] = consumer(name, group_protocol=protocol, client_id=f"me-{protocol}")
        members[protocol].subscribe([topic])
    polls = lambda: [m.poll(0.1) for m in members.values()]
    eventually(lambda: (polls(), all(len(m.assignment()) == PARTITIONS for m in members.values()))[1], "assignments")
    for protocol in list(members):
        name = f"{topic}-{protocol}"
        described = eventually(
            lambda: (polls(), stable(name))[1], f"{protocol}: {ADMIN.describe_consumer_groups([name])[name].result(9)}")
        equal("CONSUMER" if protocol == "consumer" else "CLASSIC", described.type.name, "type")
        equal([f"me-{protocol}"], [m.client_id for m in described.members], "client ids")
        equal(PARTITIONS, len(described.members[0].assignment.topic_partitions), "assigned")
        kinds = {ck.ConsumerGroupType[described.type.name]}
        listed = ADMIN.list_consumer_groups(types=kinds, states={ck.ConsumerGroupState.STABLE}).result(20)
        assert name in [g.group_id for g in listed.valid], f"{name} not in {listed.valid}"
        other = kinds ^ {ck.ConsumerGroupType.CLASSIC, ck.ConsumerGroupType.CONSUMER}
        listed = ADMIN.list_consumer_groups(types=other).result(20)
        assert name not in [g.group_id for g in listed.valid], f"{name} in {listed.valid}"
        fails("NON_EMPTY_GROUP", ADMIN.delete_consumer_groups([name])[name].result)
        members.pop(protocol).close()
        wanted = [TopicPartition(topic, 0, 3), TopicPartition(topic, 1, 5)]
        request = [ConsumerGroupTopicPartitions(name, wanted)]
        eventually(lambda: state(name) == "EMPTY", "an empty group")
        ADMIN.alter_consumer_group_offsets(request)[name].result(20)
        for asked in ([TopicPartition(topic, 0), TopicPartition(topic, 1)], None):
            listed = ADMIN.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name, asked)])[name].result(20)
            got = {(tp.partition, tp.offset) for tp in listed.topic_partitions}
            equal({(0, 3), (1, 5)}, got, "offsets of the group")
        ADMIN.delete_consumer_groups([name])[name].result(20)
        fails("GROUP_ID_NOT_FOUND", ADMIN.delete_consumer_groups([name])[name].result)


def state(name):
    return ADMIN.describe_consumer_groups([name])[name].result(20).state.name


def stable(name):
    described = ADMIN.describe_consumer_groups([name])[name].result(20)
    return described if described.state.name == "STABLE" and len(described.members) == 1 else None


def cluster():
    described = ADMIN.describe_cluster(include_authorized_operations=True).result(20)
    assert described.cluster_id and described.controller.id in [n.id for n in described.nodes], described
    topic = f"{TOPIC}-cluster"
    create(topic, 1)
    done = ADMIN.elect_leaders(ck.ElectionType.PREFERRED, [TopicPartition(topic, 0)]).result(20)
    equal("ELECTION_NOT_NEEDED", list(done.values())[0].name(), "an election")


for name in ("none", "gzip", "snappy", "lz4", "zstd"):
    check(f"codec {name}", codec, name)
check("topics", topics)
check("configs", configs)
check("delete_records", delete_records)
check("offsets, times, seek, commit with metadata", offsets)
check("a classic group of two", group, "classic", {"session_timeout_ms": 10000, "heartbeat_interval_ms": 300})
check("a cooperative group of two", group, "cooperative",
      {"partition_assignment_strategy": "cooperative-sticky", "heartbeat_interval_ms": 300})
check("a KIP-848 group of two", group, "consumer", {"group_protocol": "consumer"})
check("a KIP-848 group of two, range", group, "range",
      {"group_protocol": "consumer", "group_remote_assignor": "range"})
check("regular expressions", regex)
check("static members", static_member)
check("groups through the admin client", groups)
check("cluster", cluster)
finish("confluent-kafka")
