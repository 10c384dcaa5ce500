import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Groups, with Kafka's tools and its Java clients, in the classic protocol and in KIP-848's. */
final class GroupChecks {
    private static final String RUN = Long.toString(System.nanoTime(), 36);
    private static final int RECORDS = 300;
    private final String bootstrap;
    private final Checks checks;
    private final ToolChecks tools;

    GroupChecks(String bootstrap, Checks checks) {
        this.bootstrap = bootstrap;
        this.checks = checks;
        this.tools = new ToolChecks(bootstrap, checks);
    }

    private static final ToolChecks.ToolMain GROUP =
        org.apache.kafka.tools.consumer.group.ConsumerGroupCommand::main;
    private static final ToolChecks.ToolMain GROUPS = org.apache.kafka.tools.GroupsCommand::main;
    private static final ToolChecks.ToolMain CONSOLE =
        org.apache.kafka.tools.consumer.ConsoleConsumer::main;
    private static final ToolChecks.ToolMain VERIFIABLE = org.apache.kafka.tools.VerifiableConsumer::main;
    private static final ToolChecks.ToolMain PERF = org.apache.kafka.tools.ConsumerPerformance::main;
    private static final ToolChecks.ToolMain CONFIG = kafka.admin.ConfigCommand::main;
    private static final ToolChecks.ToolMain QUORUM = org.apache.kafka.tools.MetadataQuorumCommand::main;
    private static final ToolChecks.ToolMain ELECTION = org.apache.kafka.tools.LeaderElectionCommand::main;
    private static final ToolChecks.ToolMain REASSIGN =
        org.apache.kafka.tools.reassign.ReassignPartitionsCommand::main;

    void run() throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        try (Admin admin = Admin.create(properties)) {
            String topic = "groups-" + RUN;
            AdminChecks.create(admin, topic, 3, Map.of());
            fill(topic);
            for (String protocol : List.of("classic", "consumer")) {
                group(admin, topic, protocol);
            }
            resets(admin, topic);
            tools(topic);
            configs(admin);
            cluster(admin, topic);
        }
    }

    private void fill(String topic) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < RECORDS; i++) {
                producer.send(new ProducerRecord<>(topic, i % 3, null, ("record " + i).getBytes(StandardCharsets.UTF_8)));
            }
        }
    }

    private KafkaConsumer<byte[], byte[]> consumer(String group, String protocol) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("group.id", group);
        properties.put("group.protocol", protocol);
        properties.put("client.id", "checks-" + protocol);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Reads everything, commits, and goes on polling until it is told to stop. */
    private final class Member implements AutoCloseable {
        final AtomicBoolean stop = new AtomicBoolean();
        volatile int got;
        volatile Throwable failed;
        final Thread thread;

        Member(String group, String protocol, String topic) {
            thread = new Thread(() -> {
                try (KafkaConsumer<byte[], byte[]> consumer = consumer(group, protocol)) {
                    consumer.subscribe(List.of(topic));
                    while (!stop.get()) {
                        for (ConsumerRecord<byte[], byte[]> ignored : consumer.poll(Duration.ofMillis(50))) {
                            got++;
                        }
                        consumer.commitSync();
                    }
                } catch (Throwable e) {
                    failed = e;
                }
            });
            thread.setDaemon(true);
            thread.start();
        }

        void waitFor(int records) throws Exception {
            long deadline = System.nanoTime() + 60_000_000_000L;
            while (got < records && failed == null && System.nanoTime() < deadline) {
                Thread.sleep(20);
            }
            Checks.that(failed == null, "the member failed: " + failed);
            Checks.equal(records, got, "records of the member");
        }

        @Override
        public void close() throws Exception {
            stop.set(true);
            thread.join(30_000);
            Checks.that(!thread.isAlive(), "the member does not end");
        }
    }

    private void group(Admin admin, String topic, String protocol) {
        String group = "group-" + protocol + "-" + RUN;
        checks.check("a group of the " + protocol + " protocol", () -> {
            try (Member member = new Member(group, protocol, topic)) {
                member.waitFor(RECORDS);
                whileItRuns(admin, topic, group, protocol);
            }
        });
        checks.check("an empty group of the " + protocol + " protocol", () -> {
            Checks.eventually(() -> Checks.equal(GroupState.EMPTY, describe(admin, group).groupState(), "state"));
            String text = tools.good(GROUP, "--describe", "--group", group);
            Checks.contains(text, "has no active members");
            Checks.contains(tools.good(GROUP, "--describe", "--group", group, "--state"), "Empty");
            text = tools.good(GROUP, "--delete-offsets", "--group", group, "--topic", topic + ":0");
            Checks.contains(text, "Request succeeded for deleting offsets from group");
            Checks.equal(2, committed(admin, group).size(), "offsets that are left");
            Checks.contains(tools.good(GROUP, "--delete", "--group", group), "was successful");
            Checks.fails(GroupIdNotFoundException.class, () -> describe(admin, group));
            tools.good(GROUP, "--list");
        });
    }

    private void whileItRuns(Admin admin, String topic, String group, String protocol) throws Exception {
        boolean consumer = protocol.equals("consumer");
        Checks.eventually(() -> {
            ConsumerGroupDescription description = describe(admin, group);
            Checks.equal(GroupState.STABLE, description.groupState(), "state");
            Checks.equal(1, description.members().size(), "members");
        });
        ConsumerGroupDescription description = describe(admin, group);
        Checks.equal(consumer ? GroupType.CONSUMER : GroupType.CLASSIC, description.type(), "type");
        var member = description.members().iterator().next();
        Checks.equal("checks-" + protocol, member.clientId(), "client id");
        Checks.equal("/127.0.0.1", member.host(), "host");
        Checks.equal(3, member.assignment().topicPartitions().size(), "partitions of the member");
        Checks.contains(tools.good(GROUP, "--list"), group);
        Checks.contains(tools.good(GROUP, "--list", "--state", "stable"), group);
        Checks.contains(tools.good(GROUP, "--list", "--type", protocol), group);
        Checks.that(!tools.good(GROUP, "--list", "--state", "empty").contains(group), "listed as empty");
        String text = tools.good(GROUP, "--describe", "--group", group);
        Checks.contains(text, topic);
        Checks.contains(text, "CURRENT-OFFSET");
        Checks.contains(text, "checks-" + protocol);
        text = tools.good(GROUP, "--describe", "--group", group, "--offsets", "--verbose");
        Checks.contains(text, "LEADER-EPOCH");
        text = tools.good(GROUP, "--describe", "--group", group, "--members", "--verbose");
        Checks.contains(text, topic + ":0,1,2");
        text = tools.good(GROUP, "--describe", "--group", group, "--state");
        Checks.contains(text, "Stable");
        Checks.contains(text, consumer ? "uniform" : "range");
        Checks.contains(tools.good(GROUPS, "--list"), group);
        Checks.contains(tools.good(GROUPS, "--list", "--group-type", protocol), group);
        Collection<GroupListing> listed = admin.listGroups(
            new ListGroupsOptions().withTypes(Set.of(consumer ? GroupType.CONSUMER : GroupType.CLASSIC))).all().get();
        Checks.that(listed.stream().anyMatch(g -> g.groupId().equals(group)), "not listed by its type");
        Map<TopicPartition, OffsetAndMetadata> committed = committed(admin, group);
        Checks.equal(3, committed.size(), "committed partitions");
        for (OffsetAndMetadata offset : committed.values()) {
            Checks.equal((long) RECORDS / 3, offset.offset(), "committed offset");
        }
        // A group that has members keeps them.
        Checks.fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
        Checks.fails(GroupSubscribedToTopicException.class, () -> admin.deleteConsumerGroupOffsets(
            group, Set.of(new TopicPartition(topic, 0))).partitionResult(new TopicPartition(topic, 0)).get());
        Checks.contains(tools.call(GROUP, "", "--bootstrap-server", bootstrap, "--reset-offsets", "--group", group,
            "--topic", topic, "--to-earliest", "--execute").text(), "Assignments can only be reset if the group");
        if (!consumer) {
            // As kafka-consumer-groups does not: an administrator may show a member the door.
            admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all().get();
        }
    }

    private static ConsumerGroupDescription describe(Admin admin, String group) throws Exception {
        return admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
    }

    private static Map<TopicPartition, OffsetAndMetadata> committed(Admin admin, String group) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
    }

    private void resets(Admin admin, String topic) {
        String group = "resets-" + RUN;
        TopicPartition zero = new TopicPartition(topic, 0);
        checks.check("offsets that an administrator sets", () -> {
            admin.alterConsumerGroupOffsets(group, Map.of(zero, new OffsetAndMetadata(42, "why"))).all().get();
            OffsetAndMetadata offset = committed(admin, group).get(zero);
            Checks.equal(42L, offset.offset(), "offset");
            Checks.equal("why", offset.metadata(), "metadata");
        });
        String[][] resets = {
            {"--to-earliest", null, "0"}, {"--to-latest", null, "100"}, {"--to-offset", "60", "60"},
            {"--shift-by", "-10", "50"}, {"--to-current", null, "50"}, {"--by-duration", "PT0S", "100"},
            {"--to-datetime", "2000-01-01T00:00:00.000", "0"},
        };
        for (String[] reset : resets) {
            checks.check("reset-offsets " + reset[0], () -> {
                List<String> args = new java.util.ArrayList<>(List.of("--reset-offsets", "--group", group,
                    "--topic", topic + ":0", reset[0]));
                if (reset[1] != null) {
                    args.add(reset[1]);
                }
                String before = committed(admin, group).get(zero).toString();
                tools.good(GROUP, args.toArray(new String[0]));
                Checks.equal(before, committed(admin, group).get(zero).toString(), "after a dry run");
                args.add("--execute");
                tools.good(GROUP, args.toArray(new String[0]));
                Checks.equal(Long.parseLong(reset[2]), committed(admin, group).get(zero).offset(), "offset");
            });
        }
        checks.check("reset-offsets in the middle: --to-datetime, --by-duration, --shift-by forward", () -> {
            // Records of a day, one an hour.
            String timed = topic + "-timed";
            AdminChecks.create(admin, timed, 1, Map.of());
            long now = System.currentTimeMillis();
            Properties properties = new Properties();
            properties.put("bootstrap.servers", bootstrap);
            try (var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
                for (int i = 0; i < 24; i++) {
                    long at = now - (24 - i) * 3_600_000L;
                    producer.send(new ProducerRecord<>(timed, 0, at, null, "v".getBytes(StandardCharsets.UTF_8))).get();
                }
            }
            TopicPartition part = new TopicPartition(timed, 0);
            String date = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS").withZone(ZoneId.systemDefault())
                .format(Instant.ofEpochMilli(now - 10 * 3_600_000L - 60_000));
            String[][] forms = {
                {"--to-datetime", date, "14"}, {"--by-duration", "PT5H30M", "19"}, {"--shift-by", "3", "22"},
                {"--shift-by", "100", "24"}, {"--to-offset", "7", "7"}, {"--to-offset", "99", "24"},
                {"--to-current", null, "24"}, {"--shift-by", "-100", "0"},
            };
            for (String[] form : forms) {
                List<String> args = new ArrayList<>(List.of("--reset-offsets", "--group", group + "-timed", "--topic",
                    timed, form[0], "--execute"));
                if (form[1] != null) {
                    args.add(form[1]);
                    java.util.Collections.swap(args, 6, 7);
                }
                tools.good(GROUP, args.toArray(new String[0]));
                Checks.equal(Long.parseLong(form[2]), committed(admin, group + "-timed").get(part).offset(),
                    form[0] + " " + form[1]);
            }
        });
        checks.check("reset-offsets --export, and --from-file of what it wrote", () -> {
            Path file = Files.createTempFile("offsets", ".csv");
            Files.writeString(file, topic + ",0,7\n" + topic + ",1,8\n");
            tools.good(GROUP, "--reset-offsets", "--group", group, "--from-file", file.toString(), "--execute");
            Checks.equal(8L, committed(admin, group).get(new TopicPartition(topic, 1)).offset(), "offset");
            String text = tools.good(GROUP, "--reset-offsets", "--group", group, "--topic", topic + ":0,1", "--to-current",
                "--export", "--dry-run");
            List<String> rows = text.lines().filter(l -> l.startsWith("\"" + topic) || l.startsWith(topic)).sorted().toList();
            Checks.equal(2, rows.size(), "rows of\n" + text);
            Checks.contains(rows.get(0).replace("\"", ""), topic + ",0,7");
            tools.good(GROUP, "--reset-offsets", "--group", group, "--topic", topic, "--to-latest", "--execute");
            Checks.equal(100L, committed(admin, group).get(new TopicPartition(topic, 1)).offset(), "to-latest");
            Files.write(file, rows);
            tools.good(GROUP, "--reset-offsets", "--group", group, "--from-file", file.toString(), "--execute");
            Checks.equal(8L, committed(admin, group).get(new TopicPartition(topic, 1)).offset(), "what was exported");
            // With the group's name in each row, for more than one group.
            Files.writeString(file, group + "," + topic + ",0,3\n" + group + "-second," + topic + ",0,4\n");
            tools.good(GROUP, "--reset-offsets", "--group", group, "--group", group + "-second", "--from-file",
                file.toString(), "--execute");
            Checks.equal(3L, committed(admin, group).get(zero).offset(), "of the first group");
            Checks.equal(4L, committed(admin, group + "-second").get(zero).offset(), "of the second group");
            Files.delete(file);
        });
        checks.check("reset-offsets --all-topics, of two groups, --all-groups dry", () -> {
            tools.good(GROUP, "--reset-offsets", "--group", group, "--group", group + "-second", "--all-topics",
                "--to-earliest", "--execute");
            for (String one : List.of(group, group + "-second")) {
                for (OffsetAndMetadata offset : committed(admin, one).values()) {
                    Checks.equal(0L, offset.offset(), "offset");
                }
            }
            String text = tools.good(GROUP, "--reset-offsets", "--all-groups", "--all-topics", "--to-latest", "--dry-run");
            Checks.contains(text, group + "-second");
            Checks.equal(0L, committed(admin, group).get(zero).offset(), "after a dry run");
        });
        checks.check("reset-offsets of a topic that is not there, and with two ways at once", () -> {
            tools.call(GROUP, "", "--bootstrap-server", bootstrap, "--reset-offsets", "--group", group, "--topic",
                "no-" + topic, "--to-earliest", "--execute");
            Checks.that(committed(admin, group).keySet().stream().noneMatch(p -> p.topic().startsWith("no-")), "committed");
            tools.bad(GROUP, "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--to-latest");
        });
        checks.check("delete-offsets of whole topics, and delete of two groups", () -> {
            String text = tools.good(GROUP, "--delete-offsets", "--group", group, "--topic", topic);
            Checks.contains(text, "Successful");
            Checks.equal(0, committed(admin, group).size(), "offsets that are left");
            text = tools.good(GROUP, "--delete", "--group", group + "-timed", "--group", group + "-second");
            Checks.contains(text, "was successful");
            Checks.fails(GroupIdNotFoundException.class, () -> describe(admin, group + "-second"));
            // The tool says so and ends with success, as it does against Kafka.
            Checks.contains(tools.call(GROUP, "", "--bootstrap-server", bootstrap, "--delete", "--group",
                group + "-second").text(), "GroupIdNotFoundException");
        });
        checks.check("ConsumerGroupCommand --validate-regex", () -> {
            Checks.contains(tools.call(GROUP, "", "--validate-regex", "a-(b|c).*").text(), "is valid");
            Checks.contains(tools.call(GROUP, "", "--validate-regex", "a-(b").text(), "is invalid");
        });
        checks.check("a group that is not there", () -> {
            Checks.fails(GroupIdNotFoundException.class,
                () -> admin.deleteConsumerGroups(List.of("nobody-" + RUN)).all().get());
            Checks.fails(GroupIdNotFoundException.class, () -> describe(admin, "nobody-" + RUN));
            Checks.equal(0, committed(admin, "nobody-" + RUN).size(), "offsets of nobody");
        });
    }

    private void tools(String topic) {
        for (String protocol : List.of("classic", "consumer")) {
            checks.check("ConsoleConsumer in a " + protocol + " group", () -> {
                String[] args = {"--topic", topic, "--group", "console-" + protocol + RUN,
                    "--command-property", "auto.offset.reset=earliest", "--command-property", "group.protocol=" + protocol,
                    "--max-messages", "150", "--timeout-ms", "30000"};
                Checks.contains(tools.good(CONSOLE, args), "Processed a total of 150 messages");
                // The rest, and no more: it goes on where it was.
                args[9] = "150";
                Checks.contains(tools.good(CONSOLE, args), "Processed a total of 150 messages");
            });
            checks.check("VerifiableConsumer in a " + protocol + " group", () -> {
                String text = tools.good(VERIFIABLE, "--topic", topic, "--group-id", "verifiable-" + protocol + RUN,
                    "--group-protocol", protocol, "--max-messages", "300", "--reset-policy", "earliest");
                Checks.contains(text, "\"name\":\"offsets_committed\"");
                Checks.contains(text, "shutdown_complete");
            });
        }
        checks.check("ConsumerPerformance", () -> {
            String text = tools.good(PERF, "--topic", topic, "--num-records", "300", "--group", "perf-" + RUN,
                "--timeout", "30000");
            Checks.contains(text, "300");
            text = tools.good(PERF, "--topic", topic, "--num-records", "300", "--group", "perf-848-" + RUN,
                "--command-property", "group.protocol=consumer", "--timeout", "30000");
            Checks.contains(text, "300");
        });
        checks.check("VerifiableConsumer, a static member", () -> {
            String text = tools.good(VERIFIABLE, "--topic", topic, "--group-id", "verifiable-static" + RUN,
                "--group-instance-id", "one", "--max-messages", "300", "--reset-policy", "earliest");
            Checks.contains(text, "\"count\":");
            Checks.contains(text, "shutdown_complete");
        });
        checks.check("GroupsCommand --list --consumer, --describe of ConsumerGroupCommand for all groups", () -> {
            Checks.contains(tools.good(GROUPS, "--list", "--consumer"), "perf-" + RUN);
            Checks.contains(tools.good(GROUP, "--describe", "--all-groups", "--state"), "perf-" + RUN);
            Checks.contains(tools.good(GROUP, "--describe", "--all-groups", "--offsets"), topic);
        });
    }

    private void configs(Admin admin) {
        String group = "configured-" + RUN;
        checks.check("ConfigCommand on a group", () -> {
            tools.good(CONFIG, "--alter", "--entity-type", "groups", "--entity-name", group, "--add-config",
                "consumer.session.timeout.ms=50000,consumer.heartbeat.interval.ms=6000");
            String text = tools.good(CONFIG, "--describe", "--entity-type", "groups", "--entity-name", group);
            Checks.contains(text, "consumer.session.timeout.ms=50000");
            tools.good(CONFIG, "--alter", "--entity-type", "groups", "--entity-name", group, "--delete-config",
                "consumer.session.timeout.ms");
            ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
            Map<ConfigResource, org.apache.kafka.clients.admin.Config> configs =
                admin.describeConfigs(List.of(resource)).all().get();
            Checks.equal("45000", configs.get(resource).get("consumer.session.timeout.ms").value(), "default");
            Checks.equal(ConfigEntry.ConfigSource.DYNAMIC_GROUP_CONFIG,
                configs.get(resource).get("consumer.heartbeat.interval.ms").source(), "source");
            for (String wrong : List.of("consumer.session.timeout.ms=1", "no.such.key=1")) {
                String[] parts = wrong.split("=");
                Checks.fails(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(Map.of(resource,
                    List.of(new AlterConfigOp(new ConfigEntry(parts[0], parts[1]), AlterConfigOp.OpType.SET)))).all().get());
            }
            Checks.that(admin.listConfigResources(Set.of(ConfigResource.Type.GROUP), new
                org.apache.kafka.clients.admin.ListConfigResourcesOptions()).all().get().contains(resource), "not listed");
        });
    }

    private void cluster(Admin admin, String topic) {
        checks.check("MetadataQuorumCommand", () -> {
            Checks.contains(tools.good(QUORUM, "describe", "--status"), "LeaderId:");
            Checks.contains(tools.good(QUORUM, "describe", "--replication"), "Leader");
        });
        checks.check("LeaderElectionCommand", () -> {
            String text = tools.good(ELECTION, "--election-type", "preferred", "--topic", topic, "--partition", "0");
            Checks.contains(text, "Valid replica already elected");
            tools.good(ELECTION, "--election-type", "preferred", "--all-topic-partitions");
            TopicPartition zero = new TopicPartition(topic, 0);
            Checks.that(admin.electLeaders(org.apache.kafka.common.ElectionType.PREFERRED, Set.of(zero)).partitions().get()
                .get(zero).get() instanceof ElectionNotNeededException, "an election was needed");
        });
        checks.check("ReassignPartitionsCommand", () -> {
            Checks.contains(tools.good(REASSIGN, "--list"), "No partition reassignments found");
            Checks.equal(0, admin.listPartitionReassignments().reassignments().get().size(), "reassignments");
        });
        checks.check("transactions: none", () -> {
            Checks.equal(0, admin.listTransactions().all().get().size(), "transactions");
        });
    }
}
