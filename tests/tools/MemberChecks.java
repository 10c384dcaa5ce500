import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import java.util.regex.Pattern;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ClassicGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ClassicGroupState;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.InvalidRegularExpression;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.errors.UnreleasedInstanceIdException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Members of groups that come, go, return and are refused: Java's consumer in both protocols. */
final class MemberChecks extends Suite {
    MemberChecks(String bootstrap, Checks checks) {
        super(bootstrap, checks);
    }

    /** All at once: a group mostly waits, for a rebalance to begin or for a heartbeat. */
    @Override
    void run(Admin admin) throws Exception {
        ExecutorService all = Executors.newCachedThreadPool();
        String assignors = "org.apache.kafka.clients.consumer.";
        List<Runnable> bodies = List.of(
            () -> twoMembers(admin, "range", false, Map.of("group.protocol", "classic",
                "partition.assignment.strategy", assignors + "RangeAssignor")),
            () -> twoMembers(admin, "cooperative-sticky", true, Map.of("group.protocol", "classic",
                "partition.assignment.strategy", assignors + "CooperativeStickyAssignor")),
            () -> twoMembers(admin, "KIP-848 uniform", true, Map.of("group.protocol", "consumer")),
            () -> twoMembers(admin, "KIP-848 range", true, Map.of("group.protocol", "consumer",
                "group.remote.assignor", "range")),
            () -> staticMembers(admin, "classic"),
            () -> staticMembers(admin, "consumer"),
            () -> listed(admin),
            () -> patterns(admin),
            () -> online(admin));
        List<Future<?>> running = new ArrayList<>();
        bodies.forEach(body -> running.add(all.submit(body)));
        for (Future<?> one : running) {
            one.get();
        }
    }

    /** Polls on a thread of its own, commits what it has read, and remembers what it was given and what was taken. */
    private final class Member implements AutoCloseable {
        final List<String> values = new ArrayList<>();
        final Set<TopicPartition> assigned = new TreeSet<>(java.util.Comparator.comparing(TopicPartition::toString));
        final Set<TopicPartition> revoked = new HashSet<>();
        int rebalances;
        Throwable failed;
        private boolean stop;
        private final Thread thread;

        Member(String group, Map<String, String> more, Consumer<Member.Subscriber> subscribe) {
            Properties properties = new Properties();
            properties.putAll(Map.of("bootstrap.servers", bootstrap, "group.id", group,
                "auto.offset.reset", "earliest", "enable.auto.commit", "false"));
            if (!more.getOrDefault("group.protocol", "classic").equals("consumer")) {
                properties.putAll(Map.of("heartbeat.interval.ms", "300", "session.timeout.ms", "20000"));
            }
            properties.putAll(more);
            thread = new Thread(() -> {
                try (var consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                    subscribe.accept(new Subscriber(consumer));
                    while (!stopped()) {
                        var records = consumer.poll(Duration.ofMillis(50));
                        if (!records.isEmpty()) {
                            consumer.commitSync();
                        }
                        synchronized (this) {
                            for (ConsumerRecord<byte[], byte[]> record : records) {
                                values.add(new String(record.value(), StandardCharsets.UTF_8));
                            }
                        }
                    }
                } catch (Throwable e) {
                    synchronized (this) {
                        failed = e;
                    }
                }
            });
            thread.setDaemon(true);
            thread.start();
        }

        /** Subscribes in one of the ways that there are. */
        final class Subscriber implements ConsumerRebalanceListener {
            final KafkaConsumer<byte[], byte[]> consumer;

            Subscriber(KafkaConsumer<byte[], byte[]> consumer) {
                this.consumer = consumer;
            }

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                synchronized (Member.this) {
                    rebalances++;
                    assigned.addAll(partitions);
                }
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                synchronized (Member.this) {
                    assigned.removeAll(partitions);
                    revoked.addAll(partitions);
                }
            }
        }

        private synchronized boolean stopped() {
            return stop;
        }

        synchronized int owned() {
            Checks.that(failed == null, "a member failed: " + failed);
            return assigned.size();
        }

        synchronized List<String> got() {
            return new ArrayList<>(values);
        }

        synchronized Throwable error() {
            return failed;
        }

        @Override
        public void close() throws Exception {
            synchronized (this) {
                stop = true;
            }
            thread.join(30_000);
            Checks.that(!thread.isAlive(), "a member does not end");
        }
    }

    private Member member(String group, Map<String, String> more, String topic) {
        return new Member(group, more, s -> s.consumer.subscribe(List.of(topic), s));
    }

    /** A KIP-848 member hears of a change with its next heartbeat, 5 s at most; each step may need a few. */
    private static void within(Checks.Body body) throws Exception {
        for (int i = 0; i < 4; i++) {
            try {
                Checks.eventually(body);
                return;
            } catch (Checks.Failure e) {
                if (i == 3) {
                    throw e;
                }
            }
        }
    }

    private void produce(String topic, int first, int count) throws Exception {
        Map<String, Object> properties = Map.of("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = first; i < first + count; i++) {
                producer.send(new ProducerRecord<>(topic, i % 4, null, ("value " + i).getBytes(StandardCharsets.UTF_8)));
            }
        }
    }

    private void twoMembers(Admin admin, String name, boolean incremental, Map<String, String> how) {
        String topic = "members-" + name.replace(' ', '-') + "-" + RUN;
        checks.check("two members, " + name, () -> {
            AdminChecks.create(admin, topic, 4, Map.of());
            List<String> values = new ArrayList<>();
            Member a = member(topic, how, topic);
            within(() -> Checks.equal(4, a.owned(), "partitions of the first"));
            produce(topic, 0, 200);
            within(() -> Checks.equal(200, a.got().size(), "records of the first"));
            Member b = member(topic, how, topic);
            within(() -> Checks.equal(List.of(2, 2), List.of(a.owned(), b.owned()), "partitions"));
            Set<TopicPartition> both = new HashSet<>(a.assigned);
            both.addAll(b.assigned);
            Checks.equal(4, both.size(), "partitions of both");
            // A cooperative member gives up what moves and nothing else.
            Checks.equal(incremental ? 2 : 4, a.revoked.size(), "revoked from the first");
            produce(topic, 200, 200);
            within(() -> Checks.equal(400, a.got().size() + b.got().size(), "records of both"));
            Checks.equal(100, b.got().size(), "records of the second");
            a.close();
            within(() -> Checks.equal(4, b.owned(), "partitions of the one that is left"));
            produce(topic, 400, 200);
            within(() -> Checks.equal(600, a.got().size() + b.got().size(), "records of both"));
            b.close();
            values.addAll(a.got());
            values.addAll(b.got());
            Checks.equal(600, new HashSet<>(values).size(), "values, each once");
            for (OffsetAndMetadata offset : committed(admin, topic).values()) {
                Checks.equal(150L, offset.offset(), "committed");
            }
            Checks.that(a.error() == null && b.error() == null, a.error() + ", " + b.error());
        });
    }

    private static Map<TopicPartition, OffsetAndMetadata> committed(Admin admin, String group) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
    }

    private static ConsumerGroupDescription describe(Admin admin, String group) throws Exception {
        return admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
    }

    private void staticMembers(Admin admin, String protocol) {
        String topic = "static-" + protocol + "-" + RUN;
        Map<String, String> one = Map.of("group.protocol", protocol, "group.instance.id", "one");
        Map<String, String> two = Map.of("group.protocol", protocol, "group.instance.id", "two");
        boolean consumer = protocol.equals("consumer");
        checks.check("static members, " + protocol, () -> {
            AdminChecks.create(admin, topic, 4, Map.of());
            Member a = member(topic, one, topic);
            Member b = member(topic, two, topic);
            within(() -> Checks.equal(List.of(2, 2), List.of(a.owned(), b.owned()), "partitions"));
            within(() -> Checks.equal(GroupState.STABLE, describe(admin, topic).groupState(), "state"));
            Set<TopicPartition> before = new HashSet<>(a.assigned);
            var epoch = describe(admin, topic).groupEpoch();
            int rebalances = b.rebalances;
            // It restarts: the same partitions for it, and its neighbour does not notice.
            a.close();
            Member again = member(topic, one, topic);
            within(() -> Checks.equal(before, new HashSet<>(again.assigned), "partitions after the restart"));
            Checks.equal(rebalances, b.rebalances, "rebalances of the other");
            Checks.equal(epoch, describe(admin, topic).groupEpoch(), "group epoch");
            // Another of the same name: the classic protocol fences the first, KIP-848 refuses the second.
            Member twin = member(topic, one, topic);
            Member loser = consumer ? twin : again;
            Class<?> kind = consumer ? UnreleasedInstanceIdException.class : FencedInstanceIdException.class;
            within(() -> Checks.that(kind.isInstance(loser.error()), "error of the loser: " + loser.error()));
            twin.close();
            again.close();
            b.close();
            if (!consumer) {
                // Static members of the classic protocol stay in the group until they are shown the door.
                Checks.equal(2, describe(admin, topic).members().size(), "members");
                admin.removeMembersFromConsumerGroup(topic, new RemoveMembersFromConsumerGroupOptions(
                    Set.of(new MemberToRemove("one"), new MemberToRemove("two")))).all().get();
                Checks.equal(GroupState.EMPTY, describe(admin, topic).groupState(), "state");
                Checks.fails(UnknownMemberIdException.class, () -> admin.removeMembersFromConsumerGroup(topic,
                    new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("one")))).memberResult(
                    new MemberToRemove("one")).get());
            }
        });
    }

    private static Set<String> names(Collection<GroupListing> groups) {
        Set<String> names = new HashSet<>();
        groups.forEach(g -> names.add(g.groupId()));
        return names;
    }

    private void listed(Admin admin) {
        String topic = "listed-" + RUN;
        String classic = topic + "-classic";
        String consumer = topic + "-consumer";
        String empty = topic + "-empty";
        checks.check("listGroups by state and type, describeClassicGroups, groups of both protocols", () -> {
            AdminChecks.create(admin, topic, 4, Map.of());
            TopicPartition zero = new TopicPartition(topic, 0);
            admin.alterConsumerGroupOffsets(empty, Map.of(zero, new OffsetAndMetadata(1))).all().get();
            try (Member a = member(classic, Map.of("group.protocol", "classic"), topic);
                 Member b = member(consumer, Map.of("group.protocol", "consumer"), topic)) {
                within(() -> Checks.equal(List.of(4, 4), List.of(a.owned(), b.owned()), "partitions"));
                within(() -> Checks.equal(GroupState.STABLE, describe(admin, consumer).groupState(), "state"));
                Object[][] wanted = {
                    {new ListGroupsOptions(), true, true, true},
                    {new ListGroupsOptions().inGroupStates(Set.of(GroupState.STABLE)), true, true, false},
                    {new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY)), false, false, true},
                    {new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY, GroupState.STABLE)), true, true, true},
                    {new ListGroupsOptions().withTypes(Set.of(GroupType.CLASSIC)), true, false, true},
                    {new ListGroupsOptions().withTypes(Set.of(GroupType.CONSUMER)), false, true, false},
                    {new ListGroupsOptions().withTypes(Set.of(GroupType.SHARE)), false, false, false},
                    {ListGroupsOptions.forConsumerGroups(), true, true, true},
                    {new ListGroupsOptions().withProtocolTypes(Set.of("connect")), false, false, false},
                    {new ListGroupsOptions().withTypes(Set.of(GroupType.CLASSIC)).inGroupStates(
                        Set.of(GroupState.STABLE)), true, false, false},
                };
                for (int i = 0; i < wanted.length; i++) {
                    Set<String> names = names(admin.listGroups((ListGroupsOptions) wanted[i][0]).all().get());
                    List<Boolean> got = List.of(names.contains(classic), names.contains(consumer), names.contains(empty));
                    Checks.equal(List.of(wanted[i][1], wanted[i][2], wanted[i][3]), got, "listing " + i);
                }
                ClassicGroupDescription group = admin.describeClassicGroups(List.of(classic)).all().get().get(classic);
                Checks.equal(ClassicGroupState.STABLE, group.state(), "state");
                Checks.equal("consumer", group.protocol(), "protocol type");
                Checks.equal("range", group.protocolData(), "assignor");
                Checks.equal(1, group.members().size(), "members");
                Checks.fails(GroupIdNotFoundException.class,
                    () -> admin.describeClassicGroups(List.of(consumer)).all().get());
                // From outside nobody commits for a group that has members.
                for (String group2 : List.of(classic, consumer)) {
                    Checks.fails(UnknownMemberIdException.class, () -> admin.alterConsumerGroupOffsets(group2,
                        Map.of(zero, new OffsetAndMetadata(1))).all().get());
                }
            }
        });
        checks.check("offsets of many groups at once, and deletion of many", () -> {
            var spec = new org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec();
            var all = admin.listConsumerGroupOffsets(Map.of(classic, spec, consumer, spec, empty, spec)).all().get();
            Checks.equal(1, all.get(empty).size(), "offsets of the third");
            Checks.equal(0, all.get(consumer).size(), "offsets of the second");
            within(() -> admin.deleteConsumerGroups(List.of(empty, classic, consumer)).all().get());
            Checks.that(names(admin.listGroups().all().get()).stream().noneMatch(g -> g.startsWith(topic)), "still listed");
        });
    }

    private void patterns(Admin admin) {
        String prefix = "patterns-" + RUN;
        checks.check("KIP-848 with a regular expression", () -> {
            AdminChecks.create(admin, prefix + "-a", 2, Map.of());
            AdminChecks.create(admin, prefix + "-b", 2, Map.of());
            AdminChecks.create(admin, "no-" + prefix, 2, Map.of());
            var pattern = new SubscriptionPattern(prefix + "-(a|b|later)");
            try (Member a = new Member(prefix, Map.of("group.protocol", "consumer"), s -> s.consumer.subscribe(pattern, s))) {
                within(() -> Checks.equal(4, a.owned(), "partitions"));
                AdminChecks.create(admin, prefix + "-later", 2, Map.of());
                within(() -> Checks.equal(6, a.owned(), "partitions with the topic that came later"));
                Checks.that(a.assigned.stream().noneMatch(p -> p.topic().startsWith("no-")), "one that does not match");
            }
        });
        checks.check("KIP-848 with an expression that is none", () -> {
            try (Member a = new Member(prefix + "-bad", Map.of("group.protocol", "consumer"),
                s -> s.consumer.subscribe(new SubscriptionPattern("(" + prefix), s))) {
                within(() -> Checks.that(a.error() instanceof InvalidRegularExpression, "error: " + a.error()));
            }
        });
        checks.check("the classic protocol with a pattern", () -> {
            try (Member a = new Member(prefix + "-classic", Map.of("group.protocol", "classic"),
                s -> s.consumer.subscribe(Pattern.compile(prefix + "-[ab]"), s))) {
                within(() -> Checks.equal(4, a.owned(), "partitions"));
            }
        });
    }

    /** A group goes from one protocol to the other and back while it has members (KIP-848, migration both ways). */
    private void online(Admin admin) {
        String topic = "online-" + RUN;
        Map<String, String> classic = Map.of("group.protocol", "classic");
        Map<String, String> consumer = Map.of("group.protocol", "consumer");
        checks.check("a group that changes its protocol while it runs", () -> {
            AdminChecks.create(admin, topic, 4, Map.of());
            produce(topic, 0, 200);
            Member a = member(topic, classic, topic);
            within(() -> Checks.equal(4, a.owned(), "partitions"));
            within(() -> Checks.equal(200, a.got().size(), "records"));
            Checks.equal(GroupType.CLASSIC, describe(admin, topic).type(), "type at first");
            Member b = member(topic, consumer, topic);
            within(() -> Checks.equal(List.of(2, 2), List.of(a.owned(), b.owned()), "partitions of both protocols"));
            Checks.equal(GroupType.CONSUMER, describe(admin, topic).type(), "type with both");
            produce(topic, 200, 200);
            within(() -> Checks.equal(400, a.got().size() + b.got().size(), "records of both"));
            a.close();
            within(() -> Checks.equal(4, b.owned(), "partitions of the new protocol alone"));
            Member c = member(topic, classic, topic);
            within(() -> Checks.equal(List.of(2, 2), List.of(b.owned(), c.owned()), "partitions of both again"));
            b.close();
            within(() -> Checks.equal(4, c.owned(), "partitions of the old protocol alone"));
            within(() -> Checks.equal(GroupType.CLASSIC, describe(admin, topic).type(), "type at last"));
            produce(topic, 400, 200);
            within(() -> Checks.equal(600, a.got().size() + b.got().size() + c.got().size(), "records of all"));
            c.close();
            Set<String> values = new HashSet<>(a.got());
            values.addAll(b.got());
            values.addAll(c.got());
            Checks.equal(600, values.size(), "values");
            for (Member member : List.of(a, b, c)) {
                Checks.that(member.error() == null, "error: " + member.error());
            }
        });
    }
}
