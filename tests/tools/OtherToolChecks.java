import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Kafka's tools that check a broker by themselves (its system tests use them), and those of what Spindle has none of. */
final class OtherToolChecks {
    private static final String RUN = Long.toString(System.nanoTime(), 36);
    private static final ToolChecks.ToolMain VERIFIABLE_PRODUCER = org.apache.kafka.tools.VerifiableProducer::main;
    private static final ToolChecks.ToolMain END_TO_END = org.apache.kafka.tools.EndToEndLatency::main;
    private static final ToolChecks.ToolMain API_VERSIONS = org.apache.kafka.tools.BrokerApiVersionsCommand::main;
    private static final ToolChecks.ToolMain CLUSTER = org.apache.kafka.tools.ClusterTool::main;
    private static final ToolChecks.ToolMain COMPATIBILITY = org.apache.kafka.tools.ClientCompatibilityTest::main;
    private static final ToolChecks.ToolMain COMPACTION = org.apache.kafka.tools.LogCompactionTester::main;
    private static final ToolChecks.ToolMain TRANSACTIONS = org.apache.kafka.tools.TransactionsCommand::main;
    private static final ToolChecks.ToolMain CLIENT_METRICS = org.apache.kafka.tools.ClientMetricsCommand::main;
    private static final ToolChecks.ToolMain STREAMS_RESET = org.apache.kafka.tools.StreamsResetter::main;
    private final String bootstrap;
    private final Checks checks;
    private final ToolChecks tools;

    OtherToolChecks(String bootstrap, Checks checks) {
        this.bootstrap = bootstrap;
        this.checks = checks;
        this.tools = new ToolChecks(bootstrap, checks);
    }

    void run() throws Exception {
        try (Admin admin = Admin.create(properties())) {
            String topic = "other-" + RUN;
            AdminChecks.create(admin, topic, 1, Map.of());
            String node = admin.describeCluster().nodes().get().iterator().next().idString();
            String nodes = Integer.toString(admin.describeCluster().nodes().get().size());
            written(admin, topic);
            cluster(admin, nodes);
            transactions(topic, node);
            metrics();
            streams(topic);
        }
    }

    private void written(Admin admin, String topic) {
        checks.check("VerifiableProducer, each acks", () -> {
            TopicPartition zero = new TopicPartition(topic, 0);
            long end = 0;
            for (String acks : List.of("0", "1", "-1")) {
                tools.good(VERIFIABLE_PRODUCER, "--topic", topic, "--max-messages", "1000", "--acks", acks,
                    "--throughput", "-1");
                end += 1000;
                // Its main ends while the last ones are still on their way: it closes as the JVM ends.
                long expected = end;
                Checks.eventually(() -> Checks.equal(expected, admin.listOffsets(Map.of(zero,
                    org.apache.kafka.clients.admin.OffsetSpec.latest())).partitionResult(zero).get().offset(), "acks " + acks));
            }
        });
        checks.check("ReplicaVerificationTool", () -> replicas(topic));
        checks.check("EndToEndLatency", () -> Checks.contains(tools.good(END_TO_END, "--topic", "latency-" + RUN,
            "--num-records", "500", "--producer-acks", "all", "--record-size", "200"), "Percentiles"));
        checks.check("LogCompactionTester", () -> {
            String text = tools.good(COMPACTION, "--messages", "20000", "--duplicates", "20", "--percent-deletes", "10",
                "--topics", "2", "--compression-type", "lz4");
            Checks.contains(text, "0 mismatches");
            Checks.contains(text, "Data verification is completed");
        });
    }

    /** It never ends by itself: until it has said, of the topic's records, that none is behind. */
    private void replicas(String topic) throws Exception {
        Process process = new ProcessBuilder("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp",
            System.getProperty("java.class.path"), "org.apache.kafka.tools.ReplicaVerificationTool", "--broker-list", bootstrap,
            "--topics-include", topic, "--time", "-2", "--report-interval-ms", "500").redirectErrorStream(true).start();
        Thread end = new Thread(process::destroyForcibly);
        Runtime.getRuntime().addShutdownHook(end);
        StringBuilder text = new StringBuilder();
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(process.getInputStream(),
                StandardCharsets.UTF_8))) {
            Thread limit = new Thread(() -> {
                try {
                    if (!process.waitFor(60, TimeUnit.SECONDS)) {
                        process.destroyForcibly();
                    }
                } catch (InterruptedException e) {
                    process.destroyForcibly();
                }
            });
            limit.setDaemon(true);
            limit.start();
            Pattern report = Pattern.compile("max lag is 0 for partition " + topic + "-\\d+ at offset (\\d+) among 1 partitions");
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                text.append(line).append('\n');
                Matcher found = report.matcher(line);
                if (found.find() && Long.parseLong(found.group(1)) > 0) {
                    return;
                }
            }
        } finally {
            process.destroyForcibly().waitFor();
            Runtime.getRuntime().removeShutdownHook(end);
        }
        throw new Checks.Failure("no report:\n" + text);
    }

    private void cluster(Admin admin, String nodes) {
        checks.check("BrokerApiVersionsCommand: each API can be used", () -> {
            String text = tools.good(API_VERSIONS);
            Checks.contains(text, "Produce(0): ");
            Checks.contains(text, "ConsumerGroupHeartbeat(68): ");
            // What is there must have a version that this client has too.
            for (String line : text.split("\\R")) {
                Checks.that(!line.contains(": 0 to") || line.contains("[usable: "), line);
            }
            Checks.that(!text.contains("ERROR"), text);
        });
        checks.check("ClusterTool", () -> {
            String id = admin.describeCluster().clusterId().get();
            Checks.contains(tools.call(CLUSTER, "", "cluster-id", "--bootstrap-server", bootstrap).text(), "Cluster ID: " + id);
            String text = tools.call(CLUSTER, "", "list-endpoints", "--bootstrap-server", bootstrap).text();
            Checks.contains(text, bootstrap.substring(bootstrap.lastIndexOf(':') + 1));
        });
        checks.check("ClientCompatibilityTest", () -> Checks.contains(tools.good(COMPATIBILITY,
            "--topic", "compatibility-" + RUN, "--offsets-for-times-supported", "true", "--cluster-id-supported", "true",
            "--expect-record-too-large-exception", "false", "--num-cluster-nodes", nodes, "--create-topics-supported", "true",
            "--describe-acls-supported", "false", "--describe-configs-supported", "true",
            "--idempotent-producer-supported", "true"), "SUCCESS"));
    }

    private void transactions(String topic, String node) {
        checks.check("TransactionsCommand: there are none", () -> {
            Checks.that(tools.good(TRANSACTIONS, "list").lines().filter(l -> !l.isBlank()).count() == 1, "transactions listed");
            Checks.that(tools.good(TRANSACTIONS, "find-hanging", "--broker-id", node).lines().filter(l -> !l.isBlank())
                .count() == 1, "hanging transactions");
            Checks.contains(tools.good(TRANSACTIONS, "describe-producers", "--topic", topic, "--partition", "0"),
                "ProducerId");
        });
    }

    private void metrics() {
        checks.check("ClientMetricsCommand", () -> {
            String name = "metrics-" + RUN;
            tools.good(CLIENT_METRICS, "--alter", "--name", name, "--metrics", "org.apache.kafka.producer.",
                "--interval", "30000", "--match", "client_id=a");
            String text = tools.good(CLIENT_METRICS, "--describe", "--name", name);
            Checks.contains(text, "interval.ms=30000");
            Checks.contains(text, "org.apache.kafka.producer.");
            Checks.contains(tools.good(CLIENT_METRICS, "--list"), name);
            tools.good(CLIENT_METRICS, "--delete", "--name", name);
            Checks.that(!tools.good(CLIENT_METRICS, "--list").contains(name), "still listed");
        });
    }

    private void streams(String topic) {
        checks.check("StreamsResetter", () -> {
            String group = "reset-" + RUN;
            Properties properties = properties();
            properties.put("group.id", group);
            TopicPartition zero = new TopicPartition(topic, 0);
            try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties, new StringDeserializer(),
                    new StringDeserializer())) {
                consumer.assign(List.of(zero));
                consumer.commitSync(Map.of(zero, new org.apache.kafka.clients.consumer.OffsetAndMetadata(7)));
            }
            tools.good(STREAMS_RESET, "--application-id", group, "--input-topics", topic, "--to-offset", "3");
            try (Admin admin = Admin.create(properties())) {
                Checks.equal(3L, admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(zero).offset(),
                    "offset");
            }
        });
    }

    private Properties properties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return properties;
    }
}
