import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.Future;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The Java producer writes, the Java consumer (assigned, no group) reads back, and every byte is
 * compared, for each acks, codec and timestamp type.
 */
final class RoundTrip extends Suite {
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    static final List<String> ACKS = List.of("0", "1", "all");
    private static final int RECORDS = 500;
    private static final int PARTITIONS = 2;

    RoundTrip(String bootstrap, Checks checks) {
        super(bootstrap, checks);
    }

    @Override
    void run(Admin admin) throws Exception {
        int seed = 0;
        for (TimestampType type : List.of(TimestampType.CREATE_TIME, TimestampType.LOG_APPEND_TIME)) {
            for (String acks : ACKS) {
                for (String codec : CODECS) {
                    int thisSeed = ++seed;
                    checks.check("round trip " + type.name + " acks=" + acks + " " + codec,
                        () -> one(admin, type, acks, codec, thisSeed));
                }
            }
        }
        // The broker recompresses when the topic's codec differs from the producer's.
        for (String codec : CODECS) {
            checks.check("round trip into a topic with compression.type=" + codec.replace("none",
                "uncompressed"), () -> recompressed(admin, codec));
        }
    }

    private void one(Admin admin, TimestampType type, String acks, String codec, int seed)
        throws Exception {
        String topic = "round-trip-" + seed + "-" + RUN;
        AdminChecks.create(admin, topic, PARTITIONS, Map.of("message.timestamp.type", type.name));
        long before = System.currentTimeMillis();
        List<List<ProducerRecord<byte[], byte[]>>> sent = send(topic, acks, codec, seed);
        verify(topic, type, sent, before);
        admin.deleteTopics(List.of(topic)).all().get();
    }

    private void recompressed(Admin admin, String codec) throws Exception {
        String topic = "recompressed-" + codec + "-" + RUN;
        String name = codec.equals("none") ? "uncompressed" : codec;
        AdminChecks.create(admin, topic, PARTITIONS, Map.of("compression.type", name));
        long before = System.currentTimeMillis();
        String other = codec.equals("lz4") ? "zstd" : "lz4";
        verify(topic, TimestampType.CREATE_TIME, send(topic, "all", other, 99), before);
        admin.deleteTopics(List.of(topic)).all().get();
    }

    private List<List<ProducerRecord<byte[], byte[]>>> send(String topic, String acks, String codec,
        int seed) throws Exception {
        Properties props = new Properties();
        props.put("bootstrap.servers", bootstrap);
        props.put("acks", acks);
        props.put("compression.type", codec);
        props.put("enable.idempotence", Boolean.toString(acks.equals("all")));
        // Small batches and some waiting: many batches, with more than one record each.
        props.put("batch.size", "6000");
        props.put("linger.ms", "1");
        List<List<ProducerRecord<byte[], byte[]>>> sent = new ArrayList<>();
        for (int p = 0; p < PARTITIONS; p++) {
            sent.add(new ArrayList<>());
        }
        Random random = new Random(seed);
        long now = System.currentTimeMillis();
        List<Future<RecordMetadata>> futures = new ArrayList<>();
        List<Long> expectedOffsets = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(props,
            new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < RECORDS; i++) {
                int partition = random.nextInt(PARTITIONS);
                long timestamp = now - 1000 + i - random.nextInt(100);
                ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, partition, timestamp,
                    bytes(random, 40), bytes(random, random.nextInt(50) == 0 ? 30_000 : 300));
                for (int h = random.nextInt(4); h > 0; h--) {
                    String key = random.nextInt(4) == 0 ? "" : "h\u00e9ader-" + random.nextInt(3);
                    record.headers().add(key, bytes(random, 20));
                }
                expectedOffsets.add((long) sent.get(partition).size());
                sent.get(partition).add(record);
                futures.add(producer.send(record));
                if (i % 97 == 0) {
                    producer.flush();
                }
            }
            producer.flush();
            for (int i = 0; i < RECORDS; i++) {
                RecordMetadata metadata = futures.get(i).get();
                if (!acks.equals("0")) {
                    Checks.equal(expectedOffsets.get(i), metadata.offset(), "acknowledged offset");
                }
            }
        }
        return sent;
    }

    /** Null, empty, repetitive or random. */
    private static byte[] bytes(Random random, int most) {
        int kind = random.nextInt(8);
        if (kind == 0) {
            return null;
        }
        byte[] bytes = new byte[kind == 1 ? 0 : 1 + random.nextInt(most)];
        if (kind < 5) {
            Arrays.fill(bytes, (byte) ('a' + kind));
        } else {
            random.nextBytes(bytes);
        }
        return bytes;
    }

    private void verify(String topic, TimestampType type, List<List<ProducerRecord<byte[], byte[]>>> sent,
        long before) {
        List<TopicPartition> tps = new ArrayList<>();
        Map<TopicPartition, Long> ends = new HashMap<>();
        for (int p = 0; p < PARTITIONS; p++) {
            tps.add(new TopicPartition(topic, p));
            ends.put(tps.get(p), (long) sent.get(p).size());
        }
        Properties props = new Properties();
        props.put("bootstrap.servers", bootstrap);
        // Many fetches rather than one.
        props.put("max.partition.fetch.bytes", "20000");
        props.put("isolation.level", sent.get(0).size() % 2 == 0 ? "read_committed" : "read_uncommitted");
        List<List<ConsumerRecord<byte[], byte[]>>> read = new ArrayList<>();
        tps.forEach(tp -> read.add(new ArrayList<>()));
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(props,
            new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(tps);
            consumer.seekToBeginning(tps);
            int count = 0;
            long deadline = System.nanoTime() + 30_000_000_000L;
            while (count < RECORDS && System.nanoTime() < deadline) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    read.get(record.partition()).add(record);
                    count++;
                }
            }
            long after = System.currentTimeMillis();
            for (int p = 0; p < PARTITIONS; p++) {
                Checks.equal(sent.get(p).size(), read.get(p).size(), "records of partition " + p);
                for (int i = 0; i < sent.get(p).size(); i++) {
                    same(type, sent.get(p).get(i), read.get(p).get(i), i, before, after);
                }
            }
            Checks.equal(ends, consumer.endOffsets(tps), "end offsets");
            consumer.beginningOffsets(tps).forEach((tp, offset) ->
                Checks.equal(0L, offset, "beginning of " + tp));
            byTimestamp(consumer, tps, read);
            middle(consumer, tps.get(0), read.get(0));
        }
    }

    private static void same(TimestampType type, ProducerRecord<byte[], byte[]> sent,
        ConsumerRecord<byte[], byte[]> read, long offset, long before, long after) {
        String at = read.topic() + "-" + read.partition() + "@" + offset;
        Checks.equal(offset, read.offset(), "offset at " + at);
        Checks.that(Arrays.equals(sent.key(), read.key()), "key differs at " + at);
        Checks.that(Arrays.equals(sent.value(), read.value()), "value differs at " + at);
        Header[] wrote = sent.headers().toArray();
        Header[] got = read.headers().toArray();
        Checks.equal(wrote.length, got.length, "headers at " + at);
        for (int h = 0; h < wrote.length; h++) {
            Checks.that(Arrays.equals(wrote[h].key().getBytes(StandardCharsets.UTF_8),
                got[h].key().getBytes(StandardCharsets.UTF_8)), "header key differs at " + at);
            Checks.that(Arrays.equals(wrote[h].value(), got[h].value()), "header differs at " + at);
        }
        Checks.equal(type, read.timestampType(), "timestamp type at " + at);
        if (type == TimestampType.CREATE_TIME) {
            Checks.equal(sent.timestamp(), read.timestamp(), "timestamp at " + at);
        } else {
            Checks.that(before - 5 <= read.timestamp() && read.timestamp() <= after + 5,
                "append time " + read.timestamp() + " not in " + before + ".." + after + " at " + at);
        }
    }

    /** offsetsForTimes must name the first record that is not older. */
    private static void byTimestamp(KafkaConsumer<byte[], byte[]> consumer, List<TopicPartition> tps,
        List<List<ConsumerRecord<byte[], byte[]>>> read) {
        for (TopicPartition tp : tps) {
            List<ConsumerRecord<byte[], byte[]>> records = read.get(tp.partition());
            for (int i = 0; i < records.size(); i += 61) {
                long timestamp = records.get(i).timestamp();
                OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(tp, timestamp)).get(tp);
                Checks.that(found != null, "nothing at " + timestamp + " in " + tp);
                ConsumerRecord<byte[], byte[]> first =
                    records.stream().filter(r -> r.timestamp() >= timestamp).findFirst().get();
                Checks.equal(first.offset(), found.offset(), "offset for timestamp in " + tp);
                Checks.equal(first.timestamp(), found.timestamp(), "timestamp of it in " + tp);
            }
        }
    }

    private static void middle(KafkaConsumer<byte[], byte[]> consumer, TopicPartition tp,
        List<ConsumerRecord<byte[], byte[]>> records) {
        int middle = records.size() / 2;
        consumer.assign(List.of(tp));
        consumer.seek(tp, middle);
        List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
        long deadline = System.nanoTime() + 20_000_000_000L;
        while (seen.isEmpty() && System.nanoTime() < deadline) {
            seen.addAll(consumer.poll(Duration.ofMillis(200)).records(tp));
        }
        Checks.that(!seen.isEmpty(), "nothing read from the middle of " + tp);
        Checks.equal((long) middle, seen.get(0).offset(), "first offset after a seek");
        Checks.that(Arrays.equals(records.get(middle).value(), seen.get(0).value()), "value after a seek");
    }
}
