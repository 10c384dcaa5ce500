// A small application of Kafka Streams, and what drives it.
//   app BOOTSTRAP STATE_DIR          one instance, at-least-once; ends when its standard input does
//   drive BOOTSTRAP COMMAND...       starts instances (COMMAND STATE_DIR), writes, kills one, checks what comes out
// The input is numbers, under keys. The application gathers them by another key (so through a repartition topic), as the
// set of those seen and as counts in windows of a minute, and joins them with a table. A set does not change when a record is seen twice, so it
// must be right after a kill too; the windows must be right as long as nobody was killed.

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.TimeWindows;

public class StreamsCheck {
    static final String ID = "streams-check";
    static final int KEYS = 20, GROUPS = 7, PART = 3000;
    static final long EPOCH = System.currentTimeMillis() / 86_400_000L * 86_400_000L;
    static int passed, failed;

    public static void main(String[] args) throws Exception {
        if (args[0].equals("app")) app(args[1], args[2]);
        else drive(args[1], Arrays.asList(args).subList(2, args.length));
    }

    static void app(String bootstrap, String state) throws IOException {
        Properties p = new Properties();
        p.put("application.id", ID);
        p.put("bootstrap.servers", bootstrap);
        p.put("state.dir", state);
        p.put("num.stream.threads", "2");
        p.put("commit.interval.ms", "500");
        p.put("repartition.purge.interval.ms", "1000");
        // Not the numbers first when there are names too.
        p.put("max.task.idle.ms", "1000");
        p.put("session.timeout.ms", "6000");
        p.put("heartbeat.interval.ms", "1000");
        p.put("auto.offset.reset", "earliest");
        p.put("default.key.serde", Serdes.StringSerde.class.getName());
        p.put("default.value.serde", Serdes.StringSerde.class.getName());
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> numbers = builder.stream("numbers");
        KTable<String, String> names = builder.table("names");
        KGroupedStream<String, String> groups = numbers
            .map((key, n) -> KeyValue.pair("g" + Integer.parseInt(n) % GROUPS, n))
            .groupByKey();
        groups.aggregate(() -> "", (key, n, seen) -> insert(seen, n)).toStream().to("sets");
        groups.windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofDays(1))).count().toStream()
            .map((key, count) -> KeyValue.pair(key.key() + "@" + key.window().start(), "" + count))
            .to("windows");
        numbers.join(names, (n, name) -> name + "/" + n).to("joined");
        KafkaStreams streams = new KafkaStreams(builder.build(), p);
        streams.setStateListener((now, before) -> System.out.println("state " + now));
        streams.start();
        while (System.in.read() >= 0) { }
        boolean closed = streams.close(Duration.ofSeconds(60));
        System.exit(closed ? 0 : 1);
    }

    /** A set of numbers as text. */
    static String insert(String set, String n) {
        TreeSet<Integer> all = numbers(set);
        all.add(Integer.parseInt(n));
        return all.stream().map(String::valueOf).collect(Collectors.joining(","));
    }

    static TreeSet<Integer> numbers(String set) {
        TreeSet<Integer> all = new TreeSet<>();
        if (!set.isEmpty()) for (String each : set.split(",")) all.add(Integer.parseInt(each));
        return all;
    }

    static Properties base(String bootstrap) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        return p;
    }

    static void check(String what, boolean well) {
        if (well) passed++;
        else failed++;
        System.out.println((well ? "ok      " : "FAILED  ") + what);
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    static boolean await(Condition condition, int seconds) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        while (System.nanoTime() < deadline) {
            if (condition.holds()) return true;
            Thread.sleep(200);
        }
        return false;
    }

    record Instance(Process process, Path log) {
        boolean says(String text) throws IOException {
            return Files.readString(log).contains(text);
        }
    }

    static Instance start(List<String> command, Path state) throws IOException {
        List<String> all = new ArrayList<>(command);
        all.add(state.toString());
        Path log = Path.of(state + "." + System.nanoTime() + ".log");
        Process process = new ProcessBuilder(all).redirectErrorStream(true)
            .redirectOutput(log.toFile()).start();
        // Whatever becomes of this driver, what it started goes with it: its standard input ends.
        Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
        return new Instance(process, log);
    }

    /** All records of a topic, by key; later ones last. */
    static Map<String, List<String>> read(String bootstrap, String topic) {
        Properties p = base(bootstrap);
        p.put("enable.auto.commit", "false");
        Map<String, List<String>> all = new HashMap<>();
        try (var consumer = new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                .map(i -> new TopicPartition(topic, i.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(tp -> consumer.position(tp) < ends.get(tp))) {
                for (var r : consumer.poll(Duration.ofMillis(200))) {
                    all.computeIfAbsent(r.key(), k -> new ArrayList<>()).add(r.value());
                }
            }
        }
        return all;
    }

    static boolean setsHold(String bootstrap, int numbers) {
        Map<String, List<String>> sets = read(bootstrap, "sets");
        TreeSet<Integer> all = new TreeSet<>();
        for (List<String> versions : sets.values()) all.addAll(numbers(versions.get(versions.size() - 1)));
        return all.size() == numbers && all.first() == 0 && all.last() == numbers - 1;
    }

    static boolean windowsHold(String bootstrap, int numbers) {
        Map<String, Integer> expected = new HashMap<>();
        for (int n = 0; n < numbers; n++) {
            expected.merge("g" + n % GROUPS + "@" + time(n) / 60_000 * 60_000, 1, Integer::sum);
        }
        Map<String, Integer> found = new HashMap<>();
        read(bootstrap, "windows").forEach((key, counts) ->
            found.put(key, Integer.parseInt(counts.get(counts.size() - 1))));
        return found.equals(expected);
    }

    static boolean joinedHold(String bootstrap, int numbers) {
        Set<String> found = new TreeSet<>();
        read(bootstrap, "joined").values().forEach(found::addAll);
        for (int n = 0; n < numbers; n++) {
            if (!found.contains("name " + n % KEYS + "/" + n)) return false;
        }
        return found.size() == numbers;
    }

    static long time(int n) {
        return EPOCH + n * 100L;
    }

    static void write(KafkaProducer<String, String> producer, int from, int to) throws Exception {
        List<Future<?>> sent = new ArrayList<>();
        for (int n = from; n < to; n++) {
            sent.add(producer.send(new ProducerRecord<>("numbers", null, time(n), "k" + n % KEYS, "" + n)));
        }
        producer.flush();
        for (var each : sent) each.get();
    }

    static void drive(String bootstrap, List<String> command) throws Exception {
        Path work = Files.createTempDirectory("streams-check");
        try (Admin admin = Admin.create(base(bootstrap));
                var producer = new KafkaProducer<>(base(bootstrap), new StringSerializer(), new StringSerializer())) {
            List<NewTopic> topics = new ArrayList<>();
            for (String name : List.of("numbers", "names", "sets", "windows", "joined")) {
                topics.add(new NewTopic(name, 4, (short) 1));
            }
            admin.createTopics(topics).all().get();
            for (int k = 0; k < KEYS; k++) {
                // Before all numbers: the join goes by their time.
                producer.send(new ProducerRecord<>("names", null, EPOCH - 1, "k" + k, "name " + k)).get();
            }
            Instance a = start(command, work.resolve("a")), b = start(command, work.resolve("b"));
            check("two instances run", await(() -> a.says("state RUNNING") && b.says("state RUNNING"), 120));
            check("both have partitions", await(() -> members(admin) == 4, 60));

            write(producer, 0, PART);
            check("sets of the first part", await(() -> setsHold(bootstrap, PART), 120));
            check("windows of the first part, each record once", await(() -> windowsHold(bootstrap, PART), 60));
            check("joined", await(() -> joinedHold(bootstrap, PART), 60));
            check("what was read of the repartition topic is deleted", await(() -> purged(admin), 60));
            check("its changelog is compacted", compacted(admin));

            b.process.destroyForcibly().waitFor();
            write(producer, PART, 2 * PART);
            check("sets after a kill", await(() -> setsHold(bootstrap, 2 * PART), 120));

            delete(work.resolve("b").toFile());
            Instance again = start(command, work.resolve("b"));
            check("an instance without state runs", await(() -> again.says("state RUNNING"), 120));
            write(producer, 2 * PART, 3 * PART);
            check("sets after it came", await(() -> setsHold(bootstrap, 3 * PART), 120));
            check("joined, all", await(() -> joinedHold(bootstrap, 3 * PART), 60));

            check("the older one ends", ends(a));
            write(producer, 3 * PART, 4 * PART);
            check("sets by one that restored all", await(() -> setsHold(bootstrap, 4 * PART), 120));
            check("the last one ends", ends(again));
            if (failed > 0) {
                for (Instance each : List.of(a, b, again)) {
                    System.out.println("--- " + each.log);
                    List<String> lines = Files.readAllLines(each.log);
                    lines.subList(Math.max(0, lines.size() - 30), lines.size()).forEach(System.out::println);
                }
            }
        } finally {
            delete(work.toFile());
        }
        System.out.println("streams: " + passed + " passed, " + failed + " failed");
        System.exit(failed == 0 ? 0 : 1);
    }

    static int members(Admin admin) throws Exception {
        return (int) admin.describeConsumerGroups(List.of(ID)).all().get().get(ID).members().stream()
            .filter(m -> !m.assignment().topicPartitions().isEmpty()).count();
    }

    static boolean ends(Instance instance) throws Exception {
        instance.process.getOutputStream().close();
        return instance.process.waitFor(90, TimeUnit.SECONDS) && instance.process.exitValue() == 0;
    }

    static List<String> internal(Admin admin, String suffix) throws Exception {
        return admin.listTopics().names().get().stream()
            .filter(t -> t.startsWith(ID) && t.endsWith(suffix)).toList();
    }

    static boolean purged(Admin admin) throws Exception {
        Map<TopicPartition, org.apache.kafka.clients.admin.OffsetSpec> asked = new HashMap<>();
        for (String topic : internal(admin, "-repartition")) {
            for (int n = 0; n < 4; n++) {
                asked.put(new TopicPartition(topic, n), org.apache.kafka.clients.admin.OffsetSpec.earliest());
            }
        }
        return !asked.isEmpty() && admin.listOffsets(asked).all().get().values().stream().mapToLong(r -> r.offset()).sum() > 0;
    }

    static boolean compacted(Admin admin) throws Exception {
        Collection<ConfigResource> changelogs = internal(admin, "-changelog").stream()
            .map(t -> new ConfigResource(ConfigResource.Type.TOPIC, t)).toList();
        return !changelogs.isEmpty() && admin.describeConfigs(changelogs).all().get().values().stream()
            .allMatch(c -> c.get("cleanup.policy").value().contains("compact"));
    }

    static void delete(File file) {
        File[] inside = file.listFiles();
        if (inside != null) for (File each : inside) delete(each);
        file.delete();
    }
}
