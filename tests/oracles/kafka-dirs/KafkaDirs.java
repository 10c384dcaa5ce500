// A client for directories that change hands between Apache Kafka and Spindle.
//   write BOOTSTRAP          topics of every codec, with keys and headers, of many segments, compacted, transactional
//   append BOOTSTRAP         more records to each of those topics
//   read BOOTSTRAP FILE      every record of every topic but the broker's own, one line each, aborted ones too
// A line: topic, partition, offset, leader epoch, timestamp type, timestamp, key, value, headers (base64).

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class KafkaDirs {
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    static final int PARTITIONS = 3;
    static final Random RANDOM = new Random(7);

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "write" -> write(args[1]);
            case "append" -> append(args[1]);
            case "read" -> read(args[1], Path.of(args[2]));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    static Properties base(String bootstrap) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        return p;
    }

    static KafkaProducer<byte[], byte[]> producer(String bootstrap, String... settings) {
        Properties p = base(bootstrap);
        p.put("acks", "all");
        p.put("linger.ms", "5");
        for (int i = 0; i < settings.length; i += 2) p.put(settings[i], settings[i + 1]);
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static byte[] bytes(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }

    /** Half text that compresses, half noise that does not. */
    static byte[] value(int n, int length) {
        byte[] value = new byte[length];
        RANDOM.nextBytes(value);
        byte[] text = bytes("value " + n + " ");
        for (int i = 0; i < length / 2; i++) value[i] = text[i % text.length];
        return value;
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int n, int length) {
        byte[] key = n % 4 == 0 ? null : bytes("key " + n);
        byte[] value = n % 50 == 7 ? null : value(n, length);
        var record = new ProducerRecord<>(topic, n % PARTITIONS, key, value);
        if (n % 3 == 0) record.headers().add("number", bytes("" + n)).add("null", null);
        return record;
    }

    static void send(KafkaProducer<byte[], byte[]> producer, List<ProducerRecord<byte[], byte[]>> records)
            throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (var record : records) sent.add(producer.send(record));
        producer.flush();
        for (var each : sent) each.get();
    }

    static List<ProducerRecord<byte[], byte[]>> records(String topic, int from, int count, int length) {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int n = from; n < from + count; n++) records.add(record(topic, n, 1 + n % length));
        return records;
    }

    static void write(String bootstrap) throws Exception {
        boolean transactions = !Boolean.getBoolean("no.transactions");
        try (Admin admin = Admin.create(base(bootstrap))) {
            List<NewTopic> topics = new ArrayList<>();
            for (String codec : CODECS) topics.add(topic("codec-" + codec, Map.of()));
            topics.add(topic("segments", Map.of("segment.bytes", "1048576", "index.interval.bytes", "1024")));
            topics.add(topic("plain-producer", Map.of("message.timestamp.type", "LogAppendTime")));
            topics.add(topic("cut-start", Map.of()));
            topics.add(topic("empty", Map.of("retention.ms", "123456789")));
            topics.add(topic("gone", Map.of()));
            topics.add(topic("compacted", Map.of("cleanup.policy", "compact", "segment.bytes", "1048576",
                "min.cleanable.dirty.ratio", "0.01", "segment.index.bytes", "100000")));
            if (transactions) topics.add(topic("transactions", Map.of()));
            admin.createTopics(topics).all().get();
            for (String codec : CODECS) {
                try (var producer = producer(bootstrap, "compression.type", codec)) {
                    for (int n = 0; n < 20; n++) send(producer, records("codec-" + codec, n * 100, 100, 300));
                }
            }
            try (var producer = producer(bootstrap, "batch.size", "20000")) {
                for (int n = 0; n < 10; n++) send(producer, records("segments", n * 500, 500, 4000));
                send(producer, records("cut-start", 0, 300, 100));
                send(producer, records("gone", 0, 30, 100));
            }
            try (var producer = producer(bootstrap, "enable.idempotence", "false", "acks", "1")) {
                send(producer, records("plain-producer", 0, 1000, 200));
            }
            try (var producer = producer(bootstrap, "compression.type", "lz4")) {
                for (int round = 0; round < 40; round++) {
                    List<ProducerRecord<byte[], byte[]>> some = new ArrayList<>();
                    for (int n = 0; n < 300; n++) {
                        byte[] value = n % 17 == 0 ? null : value(n, 1500);
                        some.add(new ProducerRecord<>("compacted", n % PARTITIONS, bytes("key " + n), value));
                    }
                    send(producer, some);
                }
                if (!Boolean.getBoolean("no.compaction")) awaitCompaction(bootstrap);
            }
            if (transactions) {
                for (String id : List.of("a", "b")) {
                    try (var producer = producer(bootstrap, "transactional.id", id)) {
                        producer.initTransactions();
                        for (int n = 0; n < 12; n++) {
                            producer.beginTransaction();
                            send(producer, records("transactions", n * 10, 10, 100));
                            if (n % 3 == 1) producer.abortTransaction();
                            else producer.commitTransaction();
                        }
                    }
                }
            }
            Map<TopicPartition, RecordsToDelete> cut = new HashMap<>();
            for (int p = 0; p < PARTITIONS; p++) {
                cut.put(new TopicPartition("cut-start", p), RecordsToDelete.beforeOffset(40 + p));
            }
            admin.deleteRecords(cut).all().get();
            admin.deleteTopics(List.of("gone")).all().get();
        }
        System.out.println("written");
    }

    /** Until the cleaner has left holes in the offsets of every partition. */
    static void awaitCompaction(String bootstrap) throws Exception {
        Properties p = base(bootstrap);
        p.put("enable.auto.commit", "false");
        p.put("auto.offset.reset", "earliest");
        try (var consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            for (int n = 0; n < PARTITIONS; n++) {
                var tp = new TopicPartition("compacted", n);
                for (int attempt = 0; ; attempt++) {
                    if (attempt == 120) throw new IllegalStateException(tp + " is not compacted");
                    consumer.assign(List.of(tp));
                    consumer.seekToBeginning(List.of(tp));
                    long end = consumer.endOffsets(List.of(tp)).get(tp), count = 0;
                    while (consumer.position(tp) < end) count += consumer.poll(Duration.ofMillis(200)).count();
                    if (count < end) break;
                    Thread.sleep(500);
                }
            }
        }
    }

    static NewTopic topic(String name, Map<String, String> configs) {
        return new NewTopic(name, Optional.of(PARTITIONS), Optional.empty()).configs(configs);
    }

    static void append(String bootstrap) throws Exception {
        int topics = 0;
        try (Admin admin = Admin.create(base(bootstrap));
                var producer = producer(bootstrap, "compression.type", "zstd")) {
            for (String topic : new TreeSet<>(admin.listTopics().names().get())) {
                var records = records(topic, 100000, 90, 200);
                records.removeIf(r -> r.key() == null); // compacted topics want keys
                send(producer, records);
                topics++;
            }
        }
        System.out.println("appended to " + topics + " topics");
    }

    static String base64(byte[] bytes) {
        return bytes == null ? "null" : "'" + Base64.getEncoder().encodeToString(bytes) + "'";
    }

    static void read(String bootstrap, Path file) throws Exception {
        Properties p = base(bootstrap);
        p.put("isolation.level", "read_uncommitted");
        p.put("enable.auto.commit", "false");
        p.put("auto.offset.reset", "none");
        long count = 0;
        try (Admin admin = Admin.create(base(bootstrap));
                PrintWriter out = new PrintWriter(Files.newBufferedWriter(file));
                var consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            TreeMap<String, Integer> topics = new TreeMap<>();
            admin.describeTopics(admin.listTopics().names().get()).allTopicNames().get()
                .forEach((name, d) -> topics.put(name, d.partitions().size()));
            for (var topic : topics.entrySet()) {
                for (int n = 0; n < topic.getValue(); n++) {
                    var tp = new TopicPartition(topic.getKey(), n);
                    var one = List.of(tp);
                    consumer.assign(one);
                    long begin = consumer.beginningOffsets(one).get(tp), end = consumer.endOffsets(one).get(tp);
                    out.println(tp + " from " + begin + " to " + end);
                    consumer.seek(tp, begin);
                    long deadline = System.currentTimeMillis() + 60_000;
                    while (consumer.position(tp) < end) {
                        if (System.currentTimeMillis() > deadline) {
                            throw new IllegalStateException(tp + " stands at " + consumer.position(tp) + " of " + end);
                        }
                        for (var r : consumer.poll(Duration.ofMillis(200))) {
                            out.println(line(r));
                            count++;
                        }
                    }
                }
            }
        }
        System.out.println("read " + count + " records");
    }

    static String line(ConsumerRecord<byte[], byte[]> r) {
        StringBuilder headers = new StringBuilder();
        for (Header h : r.headers()) headers.append(' ').append(h.key()).append('=').append(base64(h.value()));
        return r.topic() + "-" + r.partition() + " " + r.offset() + " epoch " + r.leaderEpoch().orElse(-1) + " "
            + r.timestampType() + " " + r.timestamp() + " " + base64(r.key()) + " " + base64(r.value()) + headers;
    }
}
