"""aiokafka against BOOTSTRAP: codecs, groups of each assignor, offsets, the calls of its admin client."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import InvalidPartitionsError
from aiokafka.structs import OffsetAndMetadata

from checks import BOOTSTRAP, PARTITIONS, RUN, check, equal, eventually, finish, group_of_two, record

TOPIC = f"aiokafka-{RUN}"
OLD = {"retention.ms": "-1"}  # the timestamps of the records are old


def running(body):
    """A check whose body is a coroutine that takes an admin client."""
    async def whole(*args):
        admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
        await admin.start()
        try:
            await asyncio.wait_for(body(admin, *args), 100)
        finally:
            await admin.close()

    return lambda *args: asyncio.run(whole(*args))


async def until(condition, what, seconds=40):
    end = asyncio.get_running_loop().time() + seconds
    while not (got := await condition()):
        assert asyncio.get_running_loop().time() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)
    return got


async def create(admin, topic, partitions=PARTITIONS, configs=None):
    response = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs or {})])
    equal([0], [row[1] for row in response.topic_errors], "creation")

    async def there():
        rows = await admin.describe_topics([topic])
        return len([p for p in rows[0]["partitions"] if p["leader"] >= 0]) == partitions

    await until(there, f"leaders of {topic}")


def consumer(group=None, *topics, **more):
    return AIOKafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP, group_id=group, auto_offset_reset="earliest",
                            enable_auto_commit=False, heartbeat_interval_ms=300, **more)


async def read(partitions, count):
    reader = consumer()
    await reader.start()
    reader.assign(partitions)
    await reader.seek_to_beginning(*partitions)
    got = []

    async def poll():
        for rows in (await reader.getmany(timeout_ms=200)).values():
            got.extend(rows)
        return len(got) >= count

    try:
        await until(poll, f"{count} records")
    finally:
        await reader.stop()
    equal(count, len(got), "records")
    return got


async def send(topic, first, count):
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=5)
    await producer.start()
    sent = [await producer.send(topic, f"value {i}".encode(), partition=i % PARTITIONS)
            for i in range(first, first + count)]
    await asyncio.wait_for(asyncio.gather(*sent), 30)
    await producer.stop()


async def codec(admin, name):
    topic = f"{TOPIC}-{name}"
    await create(admin, topic, 1, OLD)
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, compression_type=None if name == "none" else name,
                                linger_ms=20, enable_idempotence=True)
    await producer.start()
    sent = []
    for i in range(300):
        key, value, headers, timestamp = record(i)
        sent.append(await producer.send(topic, value, key, 0, timestamp, headers))
    offsets = [m.offset for m in await asyncio.wait_for(asyncio.gather(*sent), 30)]
    await producer.stop()
    equal(list(range(300)), offsets, "offsets")
    for i, m in enumerate(await read([TopicPartition(topic, 0)], 300)):
        equal(record(i), (m.key, m.value, list(m.headers), m.timestamp), f"record {i}")
        equal(i, m.offset, "offset")


class Polled:
    """A member on a loop of its own, run on the member's thread only while it is polled or heartbeats between."""

    def __init__(self, group, topic, assignor):
        self.loop = asyncio.new_event_loop()
        self.consumer = self.loop.run_until_complete(self.opened(group, topic, assignor))

    async def opened(self, group, topic, assignor):
        member = consumer(group, topic, partition_assignment_strategy=[assignor])
        await member.start()
        return member

    def poll(self):
        rows = self.loop.run_until_complete(self.consumer.getmany(timeout_ms=100))
        return [(m.partition, m.value) for part in rows.values() for m in part]

    def assigned(self):
        return {tp.partition for tp in self.consumer.assignment()}

    def commit(self):
        self.loop.run_until_complete(self.consumer.commit())

    def close(self):
        self.loop.run_until_complete(self.consumer.stop())
        self.loop.close()


def group(name, assignor):
    topic = f"{TOPIC}-group-{name}"
    running(lambda admin: create(admin, topic))()
    group_of_two(lambda: Polled(topic, topic, assignor), lambda first, count: asyncio.run(send(topic, first, count)))

    async def committed(admin):
        offsets = await admin.list_consumer_group_offsets(topic)
        equal({p: 160 for p in range(PARTITIONS)}, {tp.partition: o.offset for tp, o in offsets.items()}, "committed")

    running(committed)()


async def offsets(admin):
    topic = f"{TOPIC}-offsets"
    await create(admin, topic, 1, OLD)
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP)
    await producer.start()
    for i in range(50):
        await producer.send_and_wait(topic, str(i).encode(), partition=0, timestamp_ms=1_000_000 + i * 1000)
    await producer.stop()
    tp = TopicPartition(topic, 0)
    reader = consumer(f"{topic}-group")
    await reader.start()
    reader.assign([tp])
    equal(({tp: 0}, {tp: 50}), (await reader.beginning_offsets([tp]), await reader.end_offsets([tp])), "ends")
    equal(18, (await reader.offsets_for_times({tp: 1_000_000 + 17_500}))[tp].offset, "offset for a time")
    equal({tp: None}, await reader.offsets_for_times({tp: 9_000_000}), "later than all")
    reader.seek(tp, 33)
    first = await asyncio.wait_for(reader.getone(), 20)
    equal((33, b"33", 34), (first.offset, first.value, await reader.position(tp)), "after the seek")
    await reader.commit({tp: OffsetAndMetadata(34, "a word")})
    equal(34, await reader.committed(tp), "committed")
    await reader.seek_to_committed(tp)
    equal(34, (await asyncio.wait_for(reader.getone(), 20)).offset, "from what is committed")
    await reader.stop()
    kept = (await admin.list_consumer_group_offsets(f"{topic}-group", partitions=[tp]))[tp]
    equal((34, "a word"), (kept.offset, kept.metadata), "committed, to the admin client")


async def topics(admin):
    topic = f"{TOPIC}-topics"
    await create(admin, topic, 2)
    again = await admin.create_topics([NewTopic(topic, 1, 1), NewTopic("a b", 1, 1), NewTopic(topic + "x", 1, 9)])
    equal({topic: 36, "a b": 17, topic + "x": 38}, {row[0]: row[1] for row in again.topic_errors}, "errors")
    await admin.create_topics([NewTopic(topic + "x", 1, 1)], validate_only=True)
    assert topic in await admin.list_topics() and topic + "x" not in await admin.list_topics(), "list"
    response = await admin.create_partitions({topic: NewPartitions(5)})
    equal([0], [row[1] for row in response.topic_errors], "more partitions")

    async def five():
        return len((await admin.describe_topics([topic]))[0]["partitions"]) == 5

    await until(five, "five partitions")
    try:
        await admin.create_partitions({topic: NewPartitions(3)})
        raise AssertionError("fewer partitions")
    except InvalidPartitionsError:
        pass
    await admin.delete_topics([topic])

    async def gone():
        return topic not in await admin.list_topics()

    await until(gone, "deleted")
    equal([(topic, 3)], [tuple(row[:2]) for row in (await admin.delete_topics([topic])).topic_error_codes], "again")


async def configs(admin):
    topic = f"{TOPIC}-configs"
    await create(admin, topic, 1, {"retention.ms": "1234567"})

    async def now(kind, name):
        for response in await admin.describe_configs([ConfigResource(kind, name)]):
            for row in response.resources:
                equal(0, row[0], f"error {row[1]}")
                return {entry[0]: entry[1] for entry in row[4]}

    kept = await now(ConfigResourceType.TOPIC, topic)
    equal(("1234567", "delete"), (kept["retention.ms"], kept["cleanup.policy"]), "configs")
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"segment.ms": "7777777"})])

    async def altered():
        return (await now(ConfigResourceType.TOPIC, topic))["segment.ms"] == "7777777"

    await until(altered, "altered")
    equal("604800000", (await now(ConfigResourceType.TOPIC, topic))["retention.ms"], "what is left out goes")
    node = (await admin.describe_cluster())["brokers"][0]["node_id"]
    equal("4", (await now(ConfigResourceType.BROKER, str(node)))["num.partitions"], "the broker's num.partitions")


async def delete_records(admin):
    topic = f"{TOPIC}-delete-records"
    await create(admin, topic)
    await send(topic, 0, 40)
    one, two = TopicPartition(topic, 1), TopicPartition(topic, 2)
    equal({one: 4, two: 10}, await admin.delete_records({one: RecordsToDelete(4), two: RecordsToDelete(-1)}), "low")
    got = await read([one, two], 6)
    equal([(1, o) for o in range(4, 10)], [(m.partition, m.offset) for m in got], "what is left")


async def groups(admin):
    topic = f"{TOPIC}-admin"
    await create(admin, topic)
    member = consumer(topic, topic, client_id="me", group_instance_id="one")
    await member.start()

    async def stable():
        response = (await admin.describe_consumer_groups([topic]))[0]
        row = response.groups[0]
        return row if row[2] == "Stable" else None

    row = await until(stable, "a stable group")
    equal((0, topic, "consumer", 1), (row[0], row[1], row[3], len(row[5])), "the group")
    assert "me" in row[5][0], row[5]
    assert topic in [g[0] for g in await admin.list_consumer_groups()], "not listed"
    assert await admin.find_coordinator(topic) >= 0
    await member.stop()


async def cluster(admin):
    described = await admin.describe_cluster()
    assert described["cluster_id"] and described["brokers"], described


for name in ("none", "gzip", "snappy", "lz4", "zstd"):
    check(f"codec {name}", running(codec), name)
check("topics", running(topics))
check("configs", running(configs))
check("delete_records", running(delete_records))
check("offsets, times, seek, commit with metadata", running(offsets))
check("a group of two, range", group, "range", RangePartitionAssignor)
check("a group of two, round robin", group, "roundrobin", RoundRobinPartitionAssignor)
check("a group of two, sticky", group, "sticky", StickyPartitionAssignor)
check("groups through the admin client", running(groups))
check("cluster", running(cluster))
finish("aiokafka")
