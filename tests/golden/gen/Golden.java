// Writes the golden bytes of tests/golden/ with Kafka's own generated message classes.
//
//   javac -cp "/tmp/kafka/libs/*" -d /tmp/golden tests/golden/gen/Golden.java
//   java -cp "/tmp/kafka/libs/*:/tmp/golden" Golden tests/golden
//
// /tmp/kafka/libs holds the jars of Apache Kafka 4.3.1. The output is the same on every run.
//
// messages.txt: `api version request|response variant hex`, a frame without its length. Variants:
//   full   every field of the version set to something that is not its default
//   null   the same with null in every nullable field
//   plain  Produce and Fetch: only what the hand-written codecs carry (see `DROPPED`)
// batches.txt: `codec hex`, one record batch of four records.

import java.io.PrintWriter;
import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;

public class Golden {
    /** API key, first and last version. */
    static final int[][] APIS = {
        {0, 3, 13}, {1, 4, 18}, {2, 1, 11}, {3, 0, 13}, {8, 2, 10}, {9, 1, 10}, {10, 0, 6}, {11, 0, 9}, {12, 0, 4},
        {13, 0, 5}, {14, 0, 5}, {15, 0, 6}, {16, 0, 5}, {18, 0, 4}, {19, 2, 7}, {20, 1, 6}, {21, 0, 2},
        {22, 0, 5}, {23, 2, 4}, {28, 0, 5}, {32, 1, 4}, {33, 0, 2}, {35, 1, 5}, {37, 0, 3}, {42, 0, 2}, {43, 0, 2},
        {44, 0, 1}, {45, 0, 1}, {46, 0, 0}, {47, 0, 0}, {48, 0, 1}, {49, 0, 1}, {50, 0, 0}, {55, 0, 2}, {57, 0, 2}, {60, 0, 2},
        {61, 0, 0}, {64, 0, 0}, {65, 0, 0}, {66, 0, 2}, {68, 0, 1}, {69, 0, 1}, {74, 0, 1}, {75, 0, 0},
    };

    /** Fields of Produce and Fetch that Spindle's own codecs skip; only `full` sets them. */
    static final Set<String> DROPPED = Set.of(
        "clusterid", "replicaepoch", "replicadirectoryid", "snapshotid", "recorderrors");

    /** Numbers that differ from field to field. */
    int next = 1;
    String variant;
    boolean hotPath;
    boolean single;
    boolean fetchRequest;

    public static void main(String[] args) throws Exception {
        Path dir = Path.of(args[0]);
        try (PrintWriter out = new PrintWriter(dir.resolve("messages.txt").toFile(), StandardCharsets.UTF_8)) {
            out.println("# Made by gen/Golden.java with Kafka's classes: api version direction variant frame");
            for (int[] api : APIS) {
                ApiMessageType type = ApiMessageType.fromApiKey((short) api[0]);
                for (short version = (short) api[1]; version <= api[2]; version++) {
                    for (boolean request : new boolean[] {true, false}) {
                        for (String variant : List.of("full", "null", "plain")) {
                            if (variant.equals("plain") && api[0] > 1) {
                                continue;
                            }
                            String hex = new Golden().frame(type, version, request, variant);
                            out.println(type.name.replaceAll(" ", "") + " " + version + " "
                                + (request ? "request" : "response") + " " + variant + " " + hex);
                        }
                    }
                }
            }
        }
        try (PrintWriter out = new PrintWriter(dir.resolve("batches.txt").toFile(), StandardCharsets.UTF_8)) {
            out.println("# Made by gen/Golden.java with Kafka's MemoryRecords: codec batch");
            for (CompressionType type : CompressionType.values()) {
                MemoryRecords records = records(type);
                out.println(type.name + " " + HexFormat.of().formatHex(bytes(records.buffer())));
            }
        }
    }

    String frame(ApiMessageType type, short version, boolean request, String variant) throws Exception {
        this.variant = variant;
        hotPath = type.apiKey() <= 1;
        single = variant.equals("plain") && request && type.apiKey() == 0;
        fetchRequest = request && type.apiKey() == 1;
        ApiMessage body = request ? type.newRequest() : type.newResponse();
        Schema[] schemas = request ? type.requestSchemas() : type.responseSchemas();
        fill(body, schemas[version]);
        Message header;
        short headerVersion;
        if (request) {
            headerVersion = type.requestHeaderVersion(version);
            header = new RequestHeaderData().setRequestApiKey(type.apiKey()).setRequestApiVersion(version)
                .setCorrelationId(77).setClientId("golden");
        } else {
            headerVersion = type.responseHeaderVersion(version);
            header = new ResponseHeaderData().setCorrelationId(77);
        }
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ObjectSerializationCache headerCache = new ObjectSerializationCache();
        int size = header.size(headerCache, headerVersion) + body.size(cache, version);
        ByteBuffer buffer = ByteBuffer.allocate(size);
        ByteBufferAccessor writable = new ByteBufferAccessor(buffer);
        header.write(writable, headerCache, headerVersion);
        // Records are gathered by SendBuilder in a real broker; ByteBufferAccessor can't write them.
        body.write(new RecordsWritable(writable), cache, version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException("size " + size + " but " + buffer.remaining() + " are left");
        }
        return HexFormat.of().formatHex(buffer.array());
    }

    /** Passes everything on, and copies records in. */
    record RecordsWritable(ByteBufferAccessor inner) implements org.apache.kafka.common.protocol.Writable {
        public void writeByte(byte val) { inner.writeByte(val); }
        public void writeShort(short val) { inner.writeShort(val); }
        public void writeInt(int val) { inner.writeInt(val); }
        public void writeLong(long val) { inner.writeLong(val); }
        public void writeDouble(double val) { inner.writeDouble(val); }
        public void writeByteArray(byte[] arr) { inner.writeByteArray(arr); }
        public void writeUnsignedVarint(int i) { inner.writeUnsignedVarint(i); }
        public void writeByteBuffer(ByteBuffer buf) { inner.writeByteBuffer(buf); }
        public void writeVarint(int i) { inner.writeVarint(i); }
        public void writeVarlong(long i) { inner.writeVarlong(i); }
        public void writeRecords(org.apache.kafka.common.record.internal.BaseRecords records) {
            inner.writeByteArray(bytes(((MemoryRecords) records).buffer()));
        }
    }

    static byte[] bytes(ByteBuffer buffer) {
        byte[] out = new byte[buffer.remaining()];
        buffer.duplicate().get(out);
        return out;
    }

    void fill(Object message, Schema schema) throws Exception {
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields tagged) {
                java.lang.reflect.Field map = TaggedFields.class.getDeclaredField("fields");
                map.setAccessible(true);
                for (Object field : ((Map<?, ?>) map.get(tagged)).values()) {
                    set(message, (Field) field);
                }
            } else {
                set(message, bound.def);
            }
        }
    }

    void set(Object message, Field field) throws Exception {
        String name = field.name.replace("_", "");
        boolean dropped = hotPath && (DROPPED.contains(name) || fetchRequest && name.equals("highwatermark"));
        if (dropped && !variant.equals("full")) {
            return;
        }
        Method setter = null;
        for (Method method : message.getClass().getMethods()) {
            if (method.getName().toLowerCase().equals("set" + name)) {
                setter = method;
            }
        }
        boolean isNull = variant.equals("null") && field.type.isNullable() || single && name.equals("transactionalid");
        // The view of Fetch answers null records as empty ones, which is what Kafka's broker sends.
        if (isNull && !(hotPath && name.equals("records"))) {
            setter.invoke(message, new Object[] {null});
            return;
        }
        Type generic = setter.getGenericParameterTypes()[0];
        setter.invoke(message, value(setter.getParameterTypes()[0], generic, field));
    }

    Object value(Class<?> type, Type generic, Field field) throws Exception {
        next++;
        if (type == boolean.class) return true;
        if (type == byte.class || type == Byte.class) return (byte) (next % 100 + 1);
        if (type == short.class || type == Short.class) return (short) (next % 130 + 1);
        if (type == int.class || type == Integer.class) return 1000 + next;
        if (type == long.class || type == Long.class) return 10_000_000_000L + next;
        if (type == double.class || type == Double.class) return next + 0.5;
        if (type == byte[].class) return ("bytes-" + next).getBytes(StandardCharsets.UTF_8);
        if (type == String.class) return "text-" + next + (next % 7 == 0 ? "-é€" : "");
        if (type == Uuid.class) return new Uuid(next, -next);
        if (type.getSimpleName().equals("BaseRecords")) {
            return records(CompressionType.values()[next % CompressionType.values().length]);
        }
        if (Collection.class.isAssignableFrom(type)) {
            return collection(type, generic, field);
        }
        Object struct = type.getConstructor().newInstance();
        fill(struct, (Schema) schemaOf(field.type));
        return struct;
    }

    @SuppressWarnings("unchecked")
    Collection<Object> collection(Class<?> type, Type generic, Field field) throws Exception {
        boolean list = type == List.class;
        Collection<Object> out = list
            ? new ArrayList<>()
            : (Collection<Object>) type.getConstructor().newInstance();
        ParameterizedType parameterized =
            (ParameterizedType) (list ? generic : type.getGenericSuperclass());
        Class<?> element = (Class<?>) parameterized.getActualTypeArguments()[0];
        var elementType = field.type.arrayElementType().get();
        for (int i = 0; i < (single ? 1 : 2); i++) {
            if (elementType instanceof Schema schema) {
                Object struct = element.getConstructor().newInstance();
                fill(struct, schema);
                out.add(struct);
            } else {
                out.add(value(element, element, field));
            }
        }
        return out;
    }

    /** A nullable struct hides its schema in a private field. */
    static Object schemaOf(org.apache.kafka.common.protocol.types.Type type) throws Exception {
        if (type instanceof Schema) {
            return type;
        }
        for (java.lang.reflect.Field f : type.getClass().getDeclaredFields()) {
            f.setAccessible(true);
            if (f.get(type) instanceof Schema schema) {
                return schema;
            }
        }
        throw new IllegalStateException("no schema in " + type.getClass());
    }

    static MemoryRecords records(CompressionType codec) {
        byte[] value = "a value that repeats: abcabcabcabcabcabcabcabcabcabcabcabc".getBytes(StandardCharsets.UTF_8);
        Header[] headers = {
            new RecordHeader("trace", "id-1".getBytes(StandardCharsets.UTF_8)),
            new RecordHeader("null", null),
            new RecordHeader("", new byte[0]),
        };
        return MemoryRecords.withRecords((byte) 2, 0L, Compression.of(codec).build(), TimestampType.CREATE_TIME,
            4000L, (short) 3, 17, -1, false,
            new SimpleRecord(1_700_000_000_000L, "key-0".getBytes(StandardCharsets.UTF_8), value, headers),
            new SimpleRecord(1_700_000_000_500L, null, value),
            new SimpleRecord(1_699_999_999_000L, "key-2".getBytes(StandardCharsets.UTF_8), null),
            new SimpleRecord(1_700_000_100_000L, (byte[]) null, null, headers));
    }
}
