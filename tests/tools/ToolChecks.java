import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Exit;

/**
 * Calls the main methods of Kafka's tools in this one JVM (a JVM each would take a minute) and looks at
 * what they print and how they exit.
 */
final class ToolChecks {
    private static final String RUN = Long.toString(System.nanoTime(), 36);
    private final String bootstrap;
    private final Checks checks;

    ToolChecks(String bootstrap, Checks checks) {
        this.bootstrap = bootstrap;
        this.checks = checks;
    }

    interface ToolMain {
        void main(String[] args) throws Exception;
    }

    record Result(int status, String text) { }

    private static final class ExitCalled extends Error {
        ExitCalled() {
            super("exit", null, false, false);
        }
    }

    /** Status 0 unless the tool exits or throws; text is standard output and error together. */
    Result call(ToolMain tool, String input, String... args) throws Exception {
        PrintStream out = System.out;
        PrintStream err = System.err;
        InputStream in = System.in;
        ByteArrayOutputStream captured = new ByteArrayOutputStream();
        PrintStream sink = new PrintStream(captured, true, StandardCharsets.UTF_8);
        // The first call counts: some tools catch what we throw from it, and call it again.
        int[] status = {-1};
        Thread thread = new Thread(() -> {
            try {
                tool.main(args);
            } catch (Throwable e) {
                if (status[0] < 0) {
                    e.printStackTrace(sink);
                    status[0] = 1;
                }
            }
        });
        thread.setDaemon(true);
        try {
            Exit.Procedure exit = (code, message) -> {
                status[0] = status[0] < 0 ? code : status[0];
                throw new ExitCalled();
            };
            Exit.setExitProcedure(exit);
            Exit.setHaltProcedure(exit);
            System.setOut(sink);
            System.setErr(sink);
            System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
            thread.start();
            thread.join(TimeUnit.SECONDS.toMillis(90));
        } finally {
            System.setOut(out);
            System.setErr(err);
            System.setIn(in);
        }
        String text = captured.toString(StandardCharsets.UTF_8);
        Checks.that(!thread.isAlive(), "still running after 90 s:\n" + text);
        return new Result(Math.max(status[0], 0), text);
    }

    private Result tool(ToolMain main, String... args) throws Exception {
        List<String> all = new ArrayList<>(List.of("--bootstrap-server", bootstrap));
        all.addAll(Arrays.asList(args));
        return call(main, "", all.toArray(new String[0]));
    }

    String good(ToolMain main, String... args) throws Exception {
        Result result = tool(main, args);
        Checks.that(result.status == 0, "status " + result.status + ":\n" + result.text);
        return result.text;
    }

    String bad(ToolMain main, String... args) throws Exception {
        Result result = tool(main, args);
        Checks.that(result.status != 0, "should have failed:\n" + result.text);
        return result.text;
    }

    private static final ToolMain TOPIC = org.apache.kafka.tools.TopicCommand::main;
    private static final ToolMain CONFIG = kafka.admin.ConfigCommand::main;
    private static final ToolMain OFFSETS = org.apache.kafka.tools.GetOffsetShell::main;
    private static final ToolMain DELETE_RECORDS = org.apache.kafka.tools.DeleteRecordsCommand::main;
    private static final ToolMain LOG_DIRS = org.apache.kafka.tools.LogDirsCommand::main;
    private static final ToolMain PERF = org.apache.kafka.tools.ProducerPerformance::main;
    private static final ToolMain CONSOLE = org.apache.kafka.tools.ConsoleProducer::main;

    void run() throws Exception {
        topicCommand();
        producerPerformance();
        consoleProducer();
        getOffsetShell();
        configCommand();
        deleteRecords();
        logDirs();
        new QuotaChecks(bootstrap, checks, this).run();
    }

    private void topicCommand() {
        String topic = "tools-topic-" + RUN;
        checks.check("TopicCommand create", () -> {
            String text = good(TOPIC, "--create", "--topic", topic, "--partitions", "3",
                "--replication-factor", "1", "--config", "retention.ms=7200000",
                "--config", "max.message.bytes=2000000");
            Checks.contains(text, "Created topic " + topic + ".");
        });
        checks.check("TopicCommand create, with the broker's defaults", () -> {
            Checks.contains(good(TOPIC, "--create", "--topic", topic + "-default"), "Created topic");
            Checks.contains(good(TOPIC, "--delete", "--topic", topic + "-default"), "");
        });
        checks.check("TopicCommand create, twice", () ->
            Checks.contains(bad(TOPIC, "--create", "--topic", topic), "already exists"));
        checks.check("TopicCommand create --if-not-exists", () ->
            good(TOPIC, "--create", "--topic", topic, "--if-not-exists"));
        checks.check("TopicCommand create, bad name", () ->
            bad(TOPIC, "--create", "--topic", "no/slash"));
        checks.check("TopicCommand create, bad config value", () -> Checks.contains(
            bad(TOPIC, "--create", "--topic", topic + "-x", "--config", "retention.ms=soon"),
            "retention.ms"));
        checks.check("TopicCommand create, more replicas than brokers", () -> Checks.contains(
            bad(TOPIC, "--create", "--topic", topic + "-x", "--replication-factor", "30"),
            "eplication factor"));
        checks.check("TopicCommand create, no partitions", () ->
            bad(TOPIC, "--create", "--topic", topic + "-x", "--partitions", "0"));
        checks.check("TopicCommand create --replica-assignment", () -> {
            String id = Integer.toString(anyNode());
            good(TOPIC, "--create", "--topic", topic + "-a", "--replica-assignment",
                id + "," + id);
            Checks.contains(good(TOPIC, "--describe", "--topic", topic + "-a"), "PartitionCount: 2");
            good(TOPIC, "--delete", "--topic", topic + "-a");
        });
        checks.check("TopicCommand list", () ->
            Checks.that(lines(good(TOPIC, "--list")).contains(topic), "not listed"));
        checks.check("TopicCommand describe", () -> {
            String text = good(TOPIC, "--describe", "--topic", topic);
            Checks.contains(text, "PartitionCount: 3");
            Checks.contains(text, "ReplicationFactor: 1");
            Checks.contains(text, "retention.ms=7200000");
            Checks.contains(text, "max.message.bytes=2000000");
            Matcher row = Pattern
                .compile("Partition: (\\d+)\\s+Leader: (\\d+)\\s+Replicas: (\\d+)\\s+Isr: (\\d+)")
                .matcher(text);
            int rows = 0;
            while (row.find()) {
                Checks.equal(String.valueOf(rows++), row.group(1), "partition");
                Checks.equal(row.group(2), row.group(3), "the one replica");
                Checks.equal(row.group(2), row.group(4), "the isr");
            }
            Checks.equal(3, rows, "partitions");
        });
        checks.check("TopicCommand describe, unknown topic", () ->
            Checks.contains(bad(TOPIC, "--describe", "--topic", "no-" + topic), "does not exist"));
        checks.check("TopicCommand describe --under-replicated-partitions", () -> {
            String text = good(TOPIC, "--describe", "--under-replicated-partitions");
            Checks.that(!text.contains(topic), "shown as under-replicated:\n" + text);
        });
        checks.check("TopicCommand alter --partitions", () -> {
            good(TOPIC, "--alter", "--topic", topic, "--partitions", "5");
            Checks.eventually(() -> Checks.contains(
                good(TOPIC, "--describe", "--topic", topic), "PartitionCount: 5"));
        });
        checks.check("TopicCommand alter, to fewer partitions", () ->
            bad(TOPIC, "--alter", "--topic", topic, "--partitions", "2"));
        checks.check("TopicCommand delete", () -> {
            good(TOPIC, "--delete", "--topic", topic);
            Checks.eventually(() -> Checks.that(
                !lines(good(TOPIC, "--list")).contains(topic), "still listed"));
        });
        checks.check("TopicCommand delete, unknown topic", () ->
            Checks.contains(bad(TOPIC, "--delete", "--topic", topic), "does not exist"));
        checks.check("TopicCommand delete --if-exists", () ->
            good(TOPIC, "--delete", "--topic", topic, "--if-exists"));
    }

    private void producerPerformance() {
        for (String codec : RoundTrip.CODECS) {
            for (String acks : RoundTrip.ACKS) {
                checks.check("ProducerPerformance acks=" + acks + " " + codec, () -> {
                    String topic = "tools-perf-" + codec + "-" + acks + "-" + RUN;
                    create(topic, 2, Map.of());
                    String text = good(PERF, "--topic", topic, "--num-records", "1000",
                        "--record-size", "200", "--throughput", "-1", "--command-property",
                        "acks=" + acks, "compression.type=" + codec, "linger.ms=2",
                        "enable.idempotence=" + acks.equals("all"));
                    Checks.contains(text, "1000 records sent");
                    Checks.eventually(() -> Checks.equal(1000L,
                        offset(topic, 0, OffsetSpec.latest()) + offset(topic, 1, OffsetSpec.latest()),
                        "end offsets"));
                    delete(topic);
                });
            }
        }
    }

    private void consoleProducer() {
        checks.check("ConsoleProducer", () -> {
            String topic = "tools-console-" + RUN;
            create(topic, 1, Map.of());
            String input = "a:1,b:2\tk1\tv1\nNULL\tNULL\tv2\nNULL\t\tNULL\nNULL\t\u00e9\t\u65e5\u672c\n";
            Result result = call(CONSOLE, input, "--bootstrap-server", bootstrap, "--topic", topic,
                "--command-property", "acks=all",
                "--reader-property", "parse.key=true", "--reader-property", "parse.headers=true",
                "--reader-property", "null.marker=NULL");
            Checks.that(result.status == 0, "status " + result.status + ":\n" + result.text);
            List<String> seen = new ArrayList<>();
            for (ConsumerRecord<byte[], byte[]> record : read(topic, 4)) {
                StringBuilder headers = new StringBuilder();
                for (Header header : record.headers()) {
                    headers.append(header.key()).append('=').append(text(header.value())).append(';');
                }
                seen.add(headers + "|" + text(record.key()) + "|" + text(record.value()));
            }
            Checks.equal(List.of("a=1;b=2;|k1|v1", "|null|v2", "||null", "|\u00e9|\u65e5\u672c"), seen,
                "records");
            delete(topic);
        });
        checks.check("ConsoleProducer with each codec", () -> {
            String topic = "tools-console-codecs-" + RUN;
            create(topic, 1, Map.of());
            for (String codec : RoundTrip.CODECS) {
                Result result = call(CONSOLE, codec + "\n", "--bootstrap-server", bootstrap, "--topic",
                    topic, "--compression-codec", codec);
                Checks.that(result.status == 0, result.text);
            }
            List<String> seen = new ArrayList<>();
            read(topic, RoundTrip.CODECS.size()).forEach(r -> seen.add(text(r.value())));
            Checks.equal(RoundTrip.CODECS, seen, "values");
            delete(topic);
        });
    }

    private void getOffsetShell() throws Exception {
        String topic = "tools-offsets-" + RUN;
        long base = System.currentTimeMillis() - 60_000;
        checks.check("GetOffsetShell, a topic with ten records", () -> {
            create(topic, 2, Map.of());
            // The seventh record is the newest by its timestamp.
            long[] at = {0, 1, 2, 3, 4, 5, 50, 7, 8, 9};
            try (KafkaProducer<String, String> producer = producer()) {
                for (long delta : at) {
                    producer.send(new ProducerRecord<>(topic, 0, base + delta * 1000, null, "v")).get();
                }
            }
        });
        Map<String, String> expected = new HashMap<>();
        expected.put("earliest", "0:0 1:0");
        expected.put("-2", "0:0 1:0");
        expected.put("latest", "0:10 1:0");
        expected.put("-1", "0:10 1:0");
        // The shell leaves out partitions whose answer is "no such offset".
        expected.put("max-timestamp", "0:6");
        expected.put("-3", "0:6");
        expected.put("earliest-local", "0:0 1:0");
        expected.put("-4", "0:0 1:0");
        expected.put("latest-tiered", "");
        expected.put("-5", "");
        expected.put("earliest-pending-upload", "");
        expected.put("-6", "");
        expected.put(Long.toString(base), "0:0");
        expected.put(Long.toString(base + 4500), "0:5");
        expected.put(Long.toString(base + 5001), "0:6");
        expected.put(Long.toString(base + 50001), "");
        expected.forEach((time, answer) -> checks.check("GetOffsetShell --time "
            + (time.length() < 10 || !time.matches("\\d+") ? time : "base+" + (Long.parseLong(time) - base)),
            () -> {
                String text = good(OFFSETS, "--topic", topic, "--time", time);
                List<String> rows = new ArrayList<>();
                for (String line : lines(text)) {
                    if (line.startsWith(topic + ":")) {
                        rows.add(line.substring(topic.length() + 1));
                    }
                }
                rows.sort(null);
                Checks.equal(answer, String.join(" ", rows), "offsets");
            }));
        checks.check("GetOffsetShell --topic-partitions", () ->
            Checks.contains(good(OFFSETS, "--topic-partitions", topic + ":0"), topic + ":0:10"));
    }

    private void configCommand() throws Exception {
        String topic = "tools-config-" + RUN;
        create(topic, 1, Map.of("segment.ms", "86400000"));
        String[] named = {"--entity-type", "topics", "--entity-name", topic};
        checks.check("ConfigCommand describe topic", () ->
            Checks.contains(good(CONFIG, args(named, "--describe")), "segment.ms=86400000"));
        checks.check("ConfigCommand describe topic --all", () -> {
            String text = good(CONFIG, args(named, "--describe", "--all"));
            for (String key : List.of("cleanup.policy=delete", "compression.type=producer",
                "max.message.bytes=1048588", "message.timestamp.type=CreateTime",
                "retention.ms=604800000", "segment.bytes=1073741824", "min.insync.replicas=1",
                "retention.bytes=-1", "index.interval.bytes=4096", "segment.index.bytes=10485760",
                "file.delete.delay.ms=60000", "flush.messages=9223372036854775807")) {
                Checks.contains(text, "  " + key + " sensitive=false");
            }
            Checks.contains(text, "synonyms={DYNAMIC_TOPIC_CONFIG:segment.ms=86400000");
        });
        checks.check("ConfigCommand alter topic --add-config", () -> {
            good(CONFIG, args(named, "--alter", "--add-config",
                "retention.ms=123456,cleanup.policy=[compact,delete]"));
            Checks.eventually(() -> {
                String text = good(CONFIG, args(named, "--describe"));
                Checks.contains(text, "retention.ms=123456");
                Checks.contains(text, "cleanup.policy=compact,delete");
                Checks.contains(text, "segment.ms=86400000");
            });
        });
        checks.check("ConfigCommand alter topic --delete-config", () -> {
            good(CONFIG, args(named, "--alter", "--delete-config", "retention.ms,cleanup.policy"));
            Checks.eventually(() -> {
                String text = good(CONFIG, args(named, "--describe"));
                Checks.that(!text.contains("retention.ms=123456"), "still set:\n" + text);
                Checks.contains(text, "segment.ms=86400000");
            });
        });
        checks.check("ConfigCommand alter topic, wrong value", () ->
            Checks.contains(bad(CONFIG, args(named, "--alter", "--add-config", "retention.ms=soon")),
                "retention.ms"));
        checks.check("ConfigCommand alter topic, unknown key", () ->
            Checks.contains(bad(CONFIG, args(named, "--alter", "--add-config", "retentoin.ms=1")),
                "retentoin.ms"));
        checks.check("ConfigCommand alter, unknown topic", () -> bad(CONFIG, "--entity-type", "topics",
            "--entity-name", "no-" + topic, "--alter", "--add-config", "retention.ms=1"));
        String id = Integer.toString(anyNode());
        String[] broker = {"--entity-type", "brokers", "--entity-name", id};
        String[] brokers = {"--entity-type", "brokers", "--entity-default"};
        checks.check("ConfigCommand describe broker --all", () -> {
            String text = good(CONFIG, args(broker, "--describe", "--all"));
            for (String key : List.of("num.partitions=", "log.retention.hours=", "log.segment.bytes=",
                "message.max.bytes=", "listeners=", "auto.create.topics.enable=")) {
                Checks.contains(text, "  " + key);
            }
        });
        checks.check("ConfigCommand alter broker", () -> {
            good(CONFIG, args(broker, "--alter", "--add-config", "log.retention.ms=7654321"));
            Checks.eventually(() -> Checks.contains(
                good(CONFIG, args(broker, "--describe")), "log.retention.ms=7654321"));
            Checks.eventually(() -> Checks.contains(
                good(CONFIG, args(named, "--describe", "--all")), "retention.ms=7654321"));
            good(CONFIG, args(broker, "--alter", "--delete-config", "log.retention.ms"));
            Checks.eventually(() -> Checks.that(
                !good(CONFIG, args(broker, "--describe")).contains("7654321"), "still set"));
        });
        checks.check("ConfigCommand alter all brokers", () -> {
            good(CONFIG, args(brokers, "--alter", "--add-config", "message.max.bytes=1234567"));
            Checks.eventually(() -> Checks.contains(
                good(CONFIG, args(brokers, "--describe")), "message.max.bytes=1234567"));
            Checks.eventually(() -> Checks.contains(good(CONFIG, args(broker, "--describe", "--all")),
                "DYNAMIC_DEFAULT_BROKER_CONFIG:message.max.bytes=1234567"));
            good(CONFIG, args(brokers, "--alter", "--delete-config", "message.max.bytes"));
            Checks.eventually(() -> Checks.that(
                !good(CONFIG, args(brokers, "--describe")).contains("1234567"), "still set"));
        });
        checks.check("ConfigCommand alter broker, key that needs a restart", () ->
            bad(CONFIG, args(broker, "--alter", "--add-config", "log.dirs=/tmp/elsewhere")));
        checks.check("ConfigCommand alter broker, wrong value", () ->
            bad(CONFIG, args(broker, "--alter", "--add-config", "log.retention.ms=soon")));
        delete(topic);
    }

    private void deleteRecords() throws Exception {
        String topic = "tools-delete-records-" + RUN;
        create(topic, 1, Map.of());
        String compacted = topic + "-compact";
        create(compacted, 1, Map.of("cleanup.policy", "compact"));
        try (KafkaProducer<String, String> producer = producer()) {
            for (int i = 0; i < 10; i++) {
                producer.send(new ProducerRecord<>(topic, 0, "k", "v")).get();
                producer.send(new ProducerRecord<>(compacted, 0, "k", "v")).get();
            }
        }
        checks.check("DeleteRecordsCommand, some", () -> {
            Checks.contains(deleteTo(topic, 0, 4), "low_watermark: 4");
            Checks.equal(4L, offset(topic, 0, OffsetSpec.earliest()), "earliest");
            Checks.equal(4L, read(topic, 6).get(0).offset(), "first record read");
        });
        checks.check("DeleteRecordsCommand, less than before", () ->
            Checks.contains(deleteTo(topic, 0, 2), "low_watermark: 4"));
        checks.check("DeleteRecordsCommand, beyond the end", () ->
            Checks.contains(deleteTo(topic, 0, 11), "OffsetOutOfRange"));
        checks.check("DeleteRecordsCommand, negative offset", () ->
            Checks.contains(deleteTo(topic, 0, -2), "OffsetOutOfRange"));
        checks.check("DeleteRecordsCommand, all (-1)", () -> {
            Checks.contains(deleteTo(topic, 0, -1), "low_watermark: 10");
            Checks.equal(10L, offset(topic, 0, OffsetSpec.earliest()), "earliest");
            Checks.equal(10L, offset(topic, 0, OffsetSpec.latest()), "latest");
        });
        checks.check("DeleteRecordsCommand, compacted topic", () ->
            Checks.contains(deleteTo(compacted, 0, 4), "PolicyViolation"));
        delete(topic);
        delete(compacted);
    }

    private String deleteTo(String topic, int partition, long offset) throws Exception {
        Path file = Files.createTempFile("offsets", ".json");
        try {
            Files.writeString(file, "{\"partitions\":[{\"topic\":\"" + topic + "\",\"partition\":"
                + partition + ",\"offset\":" + offset + "}],\"version\":1}");
            return good(DELETE_RECORDS, "--offset-json-file", file.toString());
        } finally {
            Files.delete(file);
        }
    }

    private void logDirs() throws Exception {
        String topic = "tools-log-dirs-" + RUN;
        create(topic, 2, Map.of());
        try (KafkaProducer<String, String> producer = producer()) {
            producer.send(new ProducerRecord<>(topic, 1, "k", "v".repeat(1000))).get();
        }
        checks.check("LogDirsCommand of a topic", () -> {
            String text = good(LOG_DIRS, "--describe", "--topic-list", topic);
            Checks.contains(text, "\"partition\":\"" + topic + "-0\"");
            Matcher size = Pattern.compile("\\{[^{}]*\"partition\":\"" + topic + "-1\"[^{}]*\\}")
                .matcher(text);
            Checks.that(size.find(), "no partition 1:\n" + text);
            Matcher bytes = Pattern.compile("\"size\":(\\d+)").matcher(size.group());
            Checks.that(bytes.find() && Long.parseLong(bytes.group(1)) >= 1000, size.group());
            Checks.contains(size.group(), "\"isFuture\":false");
            Checks.contains(text, "\"error\":null");
        });
        checks.check("LogDirsCommand of everything, one broker", () -> Checks.contains(
            good(LOG_DIRS, "--describe", "--broker-list", Integer.toString(anyNode())), topic + "-1"));
        checks.check("LogDirsCommand of an unknown topic", () -> Checks.that(
            !good(LOG_DIRS, "--describe", "--topic-list", "no-" + topic).contains("\"partition\":"),
            "partitions shown"));
        delete(topic);
    }

    // What the checks above stand on: the Java clients.

    private static String[] args(String[] first, String... rest) {
        List<String> all = new ArrayList<>(Arrays.asList(first));
        all.addAll(Arrays.asList(rest));
        return all.toArray(new String[0]);
    }

    private static List<String> lines(String text) {
        return Arrays.asList(text.split("\\R"));
    }

    private static String text(byte[] bytes) {
        return bytes == null ? "null" : new String(bytes, StandardCharsets.UTF_8);
    }

    private Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    private KafkaProducer<String, String> producer() {
        Properties props = new Properties();
        props.put("bootstrap.servers", bootstrap);
        return new KafkaProducer<>(props, new StringSerializer(), new StringSerializer());
    }

    private int anyNode() throws Exception {
        try (Admin admin = admin()) {
            return admin.describeCluster().nodes().get().iterator().next().id();
        }
    }

    private void create(String topic, int partitions, Map<String, String> configs) throws Exception {
        try (Admin admin = admin()) {
            AdminChecks.create(admin, topic, partitions, configs);
        }
    }

    private void delete(String topic) throws Exception {
        try (Admin admin = admin()) {
            admin.deleteTopics(List.of(topic)).all().get();
        }
    }

    private long offset(String topic, int partition, OffsetSpec spec) throws Exception {
        TopicPartition tp = new TopicPartition(topic, partition);
        try (Admin admin = admin()) {
            return admin.listOffsets(Map.of(tp, spec)).partitionResult(tp).get().offset();
        }
    }

    private List<ConsumerRecord<byte[], byte[]>> read(String topic, int count) {
        Properties props = new Properties();
        props.put("bootstrap.servers", bootstrap);
        TopicPartition tp = new TopicPartition(topic, 0);
        List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(props,
            new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(tp));
            consumer.seekToBeginning(List.of(tp));
            long deadline = System.nanoTime() + 20_000_000_000L;
            while (seen.size() < count && System.nanoTime() < deadline) {
                consumer.poll(Duration.ofMillis(200)).forEach(seen::add);
            }
        }
        Checks.equal(count, seen.size(), "records of " + topic);
        return seen;
    }
}
