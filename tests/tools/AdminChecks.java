import java.util.ArrayList;
import java.util.Collection;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreatePartitionsOptions;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.StringSerializer;

/** What the tools don't show: validate-only, ids, authorized operations, errors by class. */
final class AdminChecks {
    private static final String RUN = Long.toString(System.nanoTime(), 36);
    private final String bootstrap;
    private final Checks checks;

    AdminChecks(String bootstrap, Checks checks) {
        this.bootstrap = bootstrap;
        this.checks = checks;
    }

    /** Creates a topic and waits until every partition has a leader. */
    static void create(Admin admin, String topic, int partitions, Map<String, String> configs)
        throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
        Checks.eventually(() -> {
            TopicDescription description = describe(admin, topic);
            Checks.equal(partitions, description.partitions().size(), "partitions");
            for (TopicPartitionInfo partition : description.partitions()) {
                Checks.that(partition.leader() != null, "no leader for " + topic);
            }
        });
    }

    private static TopicDescription describe(Admin admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    void run() throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            cluster(admin);
            createTopics(admin);
            describeTopics(admin);
            partitions(admin);
            deleteTopics(admin);
            configs(admin);
            offsets(admin);
            producers(admin);
        }
    }

    private void cluster(Admin admin) {
        checks.check("describeCluster", () -> {
            DescribeClusterResult cluster = admin.describeCluster();
            Checks.that(!cluster.clusterId().get().isEmpty(), "no cluster id");
            Checks.that(cluster.nodes().get().contains(cluster.controller().get()),
                "the controller is not one of the nodes");
            Checks.that(cluster.authorizedOperations().get() == null, "operations not asked for");
        });
        checks.check("describeCluster with authorized operations", () -> {
            DescribeClusterResult cluster = admin.describeCluster(
                new DescribeClusterOptions().includeAuthorizedOperations(true));
            Checks.equal(EnumSet.of(AclOperation.CREATE, AclOperation.ALTER, AclOperation.DESCRIBE,
                AclOperation.CLUSTER_ACTION, AclOperation.DESCRIBE_CONFIGS, AclOperation.ALTER_CONFIGS,
                AclOperation.IDEMPOTENT_WRITE), EnumSet.copyOf(cluster.authorizedOperations().get()),
                "operations");
        });
        checks.check("describeCluster with fenced brokers", () -> Checks.that(!admin.describeCluster(
            new DescribeClusterOptions().includeFencedBrokers(true)).nodes().get().isEmpty(), "none"));
        checks.check("describeFeatures", () -> admin.describeFeatures().featureMetadata().get());
    }

    private void createTopics(Admin admin) {
        String topic = "admin-create-" + RUN;
        checks.check("createTopics answers with id, shape and configs", () -> {
            CreateTopicsResult result = admin.createTopics(List.of(
                new NewTopic(topic, Optional.of(3), Optional.empty()).configs(Map.of("segment.ms", "777777"))));
            Checks.equal(3, result.numPartitions(topic).get(), "partitions");
            Checks.equal(1, result.replicationFactor(topic).get(), "replicas");
            Checks.that(!result.topicId(topic).get().equals(Uuid.ZERO_UUID), "no id");
            Config config = result.config(topic).get();
            Checks.equal("777777", config.get("segment.ms").value(), "segment.ms");
            Checks.equal(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, config.get("segment.ms").source(),
                "source of segment.ms");
            Checks.equal("delete", config.get("cleanup.policy").value(), "cleanup.policy");
            Checks.equal(ConfigEntry.ConfigSource.DEFAULT_CONFIG, config.get("cleanup.policy").source(),
                "source of cleanup.policy");
        });
        checks.check("createTopics, validate only", () -> {
            admin.createTopics(List.of(new NewTopic(topic + "-v", 2, (short) 1)),
                new CreateTopicsOptions().validateOnly(true)).all().get();
            Checks.that(!admin.listTopics().names().get().contains(topic + "-v"), "was created");
            Checks.fails(TopicExistsException.class, () -> admin.createTopics(
                List.of(new NewTopic(topic, 2, (short) 1)),
                new CreateTopicsOptions().validateOnly(true)).all().get());
        });
        failsToCreate(admin, TopicExistsException.class, new NewTopic(topic, 1, (short) 1));
        failsToCreate(admin, InvalidTopicException.class, new NewTopic("a b", 1, (short) 1));
        failsToCreate(admin, InvalidTopicException.class, new NewTopic("x".repeat(250), 1, (short) 1));
        failsToCreate(admin, InvalidPartitionsException.class, new NewTopic(topic + "-x", 0, (short) 1));
        failsToCreate(admin, InvalidReplicationFactorException.class,
            new NewTopic(topic + "-x", 1, (short) 0));
        failsToCreate(admin, InvalidReplicationFactorException.class,
            new NewTopic(topic + "-x", 1, (short) 99));
        failsToCreate(admin, InvalidConfigurationException.class,
            new NewTopic(topic + "-x", 1, (short) 1).configs(Map.of("retention.ms", "soon")));
        failsToCreate(admin, InvalidConfigurationException.class,
            new NewTopic(topic + "-x", 1, (short) 1).configs(Map.of("no.such.key", "1")));
        failsToCreate(admin, InvalidReplicaAssignmentException.class,
            new NewTopic(topic + "-x", Map.of(0, List.of(8_388_000))));
        checks.check("createTopics, one of two is wrong", () -> {
            CreateTopicsResult result = admin.createTopics(List.of(
                new NewTopic(topic + "-ok", 1, (short) 1), new NewTopic("a b", 1, (short) 1)));
            result.values().get(topic + "-ok").get();
            Checks.fails(InvalidTopicException.class, () -> result.values().get("a b").get());
            admin.deleteTopics(List.of(topic + "-ok")).all().get();
        });
        checks.check("a topic is created by producing to it", () -> {
            String auto = topic + "-auto";
            try (KafkaProducer<String, String> producer = producer()) {
                RecordMetadata metadata = producer.send(new ProducerRecord<>(auto, "k", "v")).get();
                Checks.equal(0L, metadata.offset(), "offset");
            }
            admin.deleteTopics(List.of(auto)).all().get();
        });
        checks.check("describing a topic does not create it", () -> Checks.fails(
            UnknownTopicOrPartitionException.class, () -> describe(admin, topic + "-unknown")));
    }

    private void failsToCreate(Admin admin, Class<? extends Throwable> kind, NewTopic topic) {
        String name = topic.name().length() > 40 ? "long name" : topic.toString();
        checks.check("createTopics refuses " + name, () ->
            Checks.fails(kind, () -> admin.createTopics(List.of(topic)).all().get()));
    }

    private void describeTopics(Admin admin) {
        String topic = "admin-create-" + RUN;
        checks.check("describeTopics by name and by id", () -> {
            TopicDescription byName = describe(admin, topic);
            Uuid id = byName.topicId();
            TopicDescription byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(id)))
                .allTopicIds().get().get(id);
            // By name goes through DescribeTopicPartitions, by id through Metadata. Only the first
            // knows of eligible leader replicas.
            Checks.equal(byName.name(), byId.name(), "name");
            Checks.equal(byName.partitions().size(), byId.partitions().size(), "partitions");
            for (int p = 0; p < 3; p++) {
                TopicPartitionInfo one = byName.partitions().get(p);
                TopicPartitionInfo other = byId.partitions().get(p);
                Checks.equal(p, one.partition(), "partition");
                Checks.equal(one.leader(), other.leader(), "leader");
                Checks.equal(one.replicas(), other.replicas(), "replicas");
                Checks.equal(List.of(one.leader()), one.isr(), "isr");
            }
            Checks.that(!byName.isInternal(), "internal");
        });
        checks.check("describeTopics in pages", () -> {
            List<String> names = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                names.add(topic + "-page-" + i);
                create(admin, names.get(i), 3, Map.of());
            }
            Map<String, TopicDescription> all = admin.describeTopics(names,
                new DescribeTopicsOptions().partitionSizeLimitPerResponse(2)).allTopicNames().get();
            for (String name : names) {
                Checks.equal(3, all.get(name).partitions().size(), "partitions of " + name);
            }
            admin.deleteTopics(names).all().get();
        });
        checks.check("describeTopics with authorized operations", () -> {
            TopicDescription description = admin.describeTopics(List.of(topic),
                new DescribeTopicsOptions().includeAuthorizedOperations(true)).allTopicNames().get().get(topic);
            Checks.equal(EnumSet.of(AclOperation.READ, AclOperation.WRITE, AclOperation.CREATE,
                AclOperation.DELETE, AclOperation.ALTER, AclOperation.DESCRIBE,
                AclOperation.DESCRIBE_CONFIGS, AclOperation.ALTER_CONFIGS),
                EnumSet.copyOf(description.authorizedOperations()), "operations");
        });
        checks.check("describeTopics by an unknown id", () -> Checks.fails(UnknownTopicIdException.class,
            () -> admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid())))
                .allTopicIds().get()));
        checks.check("describeTopics with an invalid name", () -> Checks.fails(InvalidTopicException.class,
            () -> describe(admin, "a b")));
    }

    private void partitions(Admin admin) {
        String topic = "admin-partitions-" + RUN;
        checks.check("createPartitions", () -> {
            create(admin, topic, 1, Map.of());
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4)),
                new CreatePartitionsOptions().validateOnly(true)).all().get();
            Checks.equal(1, describe(admin, topic).partitions().size(), "partitions after validation");
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
            Checks.eventually(() -> Checks.equal(3, describe(admin, topic).partitions().size(), "partitions"));
            int node = describe(admin, topic).partitions().get(0).leader().id();
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4, List.of(List.of(node)))))
                .all().get();
            Checks.eventually(() -> Checks.equal(4, describe(admin, topic).partitions().size(), "partitions"));
        });
        checks.check("createPartitions to the same and to a smaller count", () -> {
            Checks.fails(InvalidPartitionsException.class, () -> admin.createPartitions(
                Map.of(topic, NewPartitions.increaseTo(4))).all().get());
            Checks.fails(InvalidPartitionsException.class, () -> admin.createPartitions(
                Map.of(topic, NewPartitions.increaseTo(2))).all().get());
        });
        checks.check("createPartitions with too few assignments", () -> Checks.fails(
            InvalidReplicaAssignmentException.class, () -> admin.createPartitions(Map.of(topic,
                NewPartitions.increaseTo(6, List.of(List.of(8_388_000))))).all().get()));
        checks.check("createPartitions of an unknown topic", () -> Checks.fails(
            UnknownTopicOrPartitionException.class, () -> admin.createPartitions(
                Map.of("no-" + topic, NewPartitions.increaseTo(2))).all().get()));
    }

    private void deleteTopics(Admin admin) {
        String topic = "admin-delete-" + RUN;
        checks.check("deleteTopics by id", () -> {
            create(admin, topic, 1, Map.of());
            Uuid id = describe(admin, topic).topicId();
            admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
            Checks.eventually(() -> Checks.that(
                !admin.listTopics().names().get().contains(topic), "still listed"));
            Checks.fails(UnknownTopicIdException.class,
                () -> admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get());
        });
        checks.check("a topic made again has another id and no records", () -> {
            create(admin, topic, 1, Map.of());
            Uuid first = describe(admin, topic).topicId();
            try (KafkaProducer<String, String> producer = producer()) {
                producer.send(new ProducerRecord<>(topic, "k", "v")).get();
            }
            admin.deleteTopics(List.of(topic)).all().get();
            Checks.eventually(() -> admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get());
            Checks.eventually(() -> {
                Checks.that(!first.equals(describe(admin, topic).topicId()), "same id");
                Checks.equal(0L, offset(admin, new TopicPartition(topic, 0), OffsetSpec.latest()).offset(),
                    "end offset");
            });
            admin.deleteTopics(List.of(topic)).all().get();
        });
        checks.check("deleteTopics of an unknown topic", () -> Checks.fails(
            UnknownTopicOrPartitionException.class,
            () -> admin.deleteTopics(List.of("no-" + topic)).all().get()));
    }

    private void configs(Admin admin) {
        String topic = "admin-configs-" + RUN;
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        checks.check("describeConfigs of a topic: types, synonyms, documentation", () -> {
            create(admin, topic, 1, Map.of("retention.ms", "99999"));
            Config config = admin.describeConfigs(List.of(resource), new DescribeConfigsOptions()
                .includeSynonyms(true).includeDocumentation(true)).all().get().get(resource);
            ConfigEntry retention = config.get("retention.ms");
            Checks.equal("99999", retention.value(), "retention.ms");
            Checks.equal(ConfigEntry.ConfigType.LONG, retention.type(), "type");
            Checks.equal(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, retention.synonyms().get(0).source(),
                "first synonym");
            Checks.that(retention.documentation() != null && !retention.documentation().isEmpty(), "no doc");
            Checks.that(!retention.isReadOnly() && !retention.isSensitive(), "flags");
            ConfigEntry segment = config.get("segment.bytes");
            Checks.equal(ConfigEntry.ConfigType.INT, segment.type(), "type of segment.bytes");
            Checks.equal("log.segment.bytes", segment.synonyms().get(0).name(), "synonym");
            Checks.equal(ConfigEntry.ConfigType.LIST, config.get("cleanup.policy").type(), "cleanup.policy");
            Checks.equal(ConfigEntry.ConfigType.BOOLEAN, config.get("preallocate").type(), "preallocate");
        });
        checks.check("describeConfigs without synonyms and documentation", () -> {
            Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            Checks.that(config.get("retention.ms").synonyms().isEmpty(), "synonyms");
            Checks.that(config.get("retention.ms").documentation() == null, "documentation");
        });
        checks.check("incrementalAlterConfigs: append, subtract, delete, validate only", () -> {
            alter(admin, resource, "cleanup.policy", "compact", OpType.APPEND, false);
            Checks.eventually(() -> Checks.equal(Set.of("compact", "delete"),
                Set.of(value(admin, resource, "cleanup.policy").split(",")), "after append"));
            alter(admin, resource, "cleanup.policy", "delete", OpType.SUBTRACT, false);
            Checks.eventually(() ->
                Checks.equal("compact", value(admin, resource, "cleanup.policy"), "after subtract"));
            alter(admin, resource, "retention.ms", "1", OpType.SET, true);
            Checks.equal("99999", value(admin, resource, "retention.ms"), "after validation");
            alter(admin, resource, "cleanup.policy", "", OpType.DELETE, false);
            Checks.eventually(() ->
                Checks.equal("delete", value(admin, resource, "cleanup.policy"), "after delete"));
        });
        checks.check("incrementalAlterConfigs refuses append to a number", () -> Checks.fails(
            InvalidConfigurationException.class,
            () -> alter(admin, resource, "retention.ms", "1", OpType.APPEND, false)));
        checks.check("incrementalAlterConfigs refuses a wrong value", () -> Checks.fails(
            InvalidConfigurationException.class,
            () -> alter(admin, resource, "segment.bytes", "-5", OpType.SET, true)));
        checks.check("incrementalAlterConfigs of an unknown topic", () -> Checks.fails(
            UnknownTopicOrPartitionException.class, () -> alter(admin,
                new ConfigResource(ConfigResource.Type.TOPIC, "no-" + topic), "retention.ms", "1",
                OpType.SET, false)));
        checks.check("describeConfigs of an unknown topic", () -> Checks.fails(
            UnknownTopicOrPartitionException.class, () -> admin.describeConfigs(List.of(
                new ConfigResource(ConfigResource.Type.TOPIC, "no-" + topic))).all().get()));
        checks.check("describeConfigs of a group without a name", () -> Checks.fails(
            InvalidRequestException.class, () -> admin.describeConfigs(List.of(
                new ConfigResource(ConfigResource.Type.GROUP, ""))).all().get()));
        checks.check("incrementalAlterConfigs of a broker refuses a wrong value", () -> {
            String id = admin.describeCluster().nodes().get().iterator().next().idString();
            Checks.fails(InvalidRequestException.class, () -> alter(admin,
                new ConfigResource(ConfigResource.Type.BROKER, id), "log.retention.ms", "soon",
                OpType.SET, true));
        });
    }

    private static Object alter(Admin admin, ConfigResource resource, String key, String value, OpType op,
        boolean validateOnly) throws Exception {
        Collection<AlterConfigOp> ops = List.of(new AlterConfigOp(new ConfigEntry(key, value), op));
        return admin.incrementalAlterConfigs(Map.of(resource, ops),
            new AlterConfigsOptions().validateOnly(validateOnly)).all().get();
    }

    private static String value(Admin admin, ConfigResource resource, String key) throws Exception {
        return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(key).value();
    }

    private void offsets(Admin admin) {
        String topic = "admin-offsets-" + RUN;
        TopicPartition tp = new TopicPartition(topic, 0);
        checks.check("listOffsets of an empty partition", () -> {
            create(admin, topic, 1, Map.of());
            for (OffsetSpec spec : List.of(OffsetSpec.earliest(), OffsetSpec.latest(),
                OffsetSpec.earliestLocal())) {
                Checks.equal(0L, offset(admin, tp, spec).offset(), spec.getClass().getSimpleName());
            }
            for (OffsetSpec spec : List.of(OffsetSpec.maxTimestamp(), OffsetSpec.latestTiered(),
                OffsetSpec.earliestPendingUpload(), OffsetSpec.forTimestamp(0))) {
                ListOffsetsResultInfo info = offset(admin, tp, spec);
                Checks.equal(-1L, info.offset(), spec.getClass().getSimpleName());
                Checks.equal(-1L, info.timestamp(), spec.getClass().getSimpleName());
            }
        });
        checks.check("listOffsets carries the leader epoch", () -> {
            try (KafkaProducer<String, String> producer = producer()) {
                producer.send(new ProducerRecord<>(topic, 0, 1_000L, "k", "v")).get();
            }
            Checks.equal(Optional.of(0), offset(admin, tp, OffsetSpec.latest()).leaderEpoch(), "latest");
            Checks.equal(Optional.of(0), offset(admin, tp, OffsetSpec.earliest()).leaderEpoch(), "earliest");
            ListOffsetsResultInfo max = offset(admin, tp, OffsetSpec.maxTimestamp());
            Checks.equal(Optional.of(0), max.leaderEpoch(), "max timestamp");
            Checks.equal(1_000L, max.timestamp(), "timestamp");
            Checks.equal(1_000L, offset(admin, tp, OffsetSpec.forTimestamp(7)).timestamp(), "by timestamp");
        });
        checks.check("listOffsets of a partition that is not there", () -> {
            TopicPartition none = new TopicPartition(topic, 7);
            Checks.fails(Exception.class, () -> {
                try (Admin hasty = Admin.create(Map.of("bootstrap.servers", bootstrap,
                    "default.api.timeout.ms", "2000", "request.timeout.ms", "1000"))) {
                    return hasty.listOffsets(Map.of(none, OffsetSpec.latest())).partitionResult(none).get();
                }
            });
        });
    }

    private static ListOffsetsResultInfo offset(Admin admin, TopicPartition tp, OffsetSpec spec)
        throws Exception {
        return admin.listOffsets(Map.of(tp, spec)).partitionResult(tp).get();
    }

    private void producers(Admin admin) {
        String topic = "admin-producers-" + RUN;
        TopicPartition tp = new TopicPartition(topic, 0);
        checks.check("describeProducers", () -> {
            create(admin, topic, 1, Map.of());
            Checks.equal(0, producersOf(admin, tp).size(), "producers of an empty partition");
            try (KafkaProducer<String, String> one = producer(); KafkaProducer<String, String> two = producer()) {
                for (int i = 0; i < 3; i++) {
                    one.send(new ProducerRecord<>(topic, 0, 5_000L + i, "k", "v")).get();
                }
                two.send(new ProducerRecord<>(topic, "k", "v")).get();
            }
            List<ProducerState> producers = new ArrayList<>(producersOf(admin, tp));
            Checks.equal(2, producers.size(), "producers");
            producers.sort((a, b) -> Integer.compare(b.lastSequence(), a.lastSequence()));
            ProducerState first = producers.get(0);
            Checks.equal(2, first.lastSequence(), "last sequence");
            Checks.equal(5_002L, first.lastTimestamp(), "last timestamp");
            Checks.equal(0, first.producerEpoch(), "epoch");
            Checks.that(first.producerId() >= 0 && first.producerId() != producers.get(1).producerId(),
                "producer ids " + producers);
            Checks.that(first.currentTransactionStartOffset().isEmpty(), "a transaction");
            admin.deleteTopics(List.of(topic)).all().get();
        });
    }

    private static List<ProducerState> producersOf(Admin admin, TopicPartition tp) throws Exception {
        return admin.describeProducers(List.of(tp)).partitionResult(tp).get().activeProducers();
    }

    private KafkaProducer<String, String> producer() {
        return new KafkaProducer<>(Map.of("bootstrap.servers", bootstrap), new StringSerializer(),
            new StringSerializer());
    }
}
