// Writes tests/golden/group_records.txt: records of __consumer_offsets, made by Kafka's own classes.
//
//   java -cp "/tmp/kafka/libs/*" tests/golden/gen/GroupRecords.java > tests/golden/group_records.txt
//
// /tmp/kafka/libs holds the jars of Apache Kafka 4.3.1. One record a line: `name key value`, both in hex with their
// two bytes of version; `-` is no value. `written.*` come from GroupCoordinatorRecordHelpers and Kafka's serde, so they
// have the versions that Kafka 4.3.1 writes; `read.*` are the older ones that it reads.

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.OptionalInt;
import java.util.OptionalLong;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordHelpers;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.OffsetAndMetadata;
import org.apache.kafka.coordinator.group.generated.*;
import org.apache.kafka.server.common.ApiMessageAndVersion;

public class GroupRecords {
    static final Uuid ONE = new Uuid(0x0123456789abcdefL, 0x0fedcba987654321L);
    static final Uuid TWO = new Uuid(0x1111111111111111L, 0x2222222222222222L);
    static final GroupCoordinatorRecordSerde SERDE = new GroupCoordinatorRecordSerde();

    static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }

    static void print(String name, CoordinatorRecord record) {
        byte[] value = SERDE.serializeValue(record);
        System.out.println(name + " " + hex(SERDE.serializeKey(record)) + " " + (value == null ? "-" : hex(value)));
    }

    static void print(String name, ApiMessage key, ApiMessage value, int version) {
        print(name, value == null
            ? CoordinatorRecord.tombstone(key)
            : CoordinatorRecord.record(key, new ApiMessageAndVersion(value, (short) version)));
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static ApiMessage unknownTag(ApiMessage message) {
        message.unknownTaggedFields().add(new RawTaggedField(77, bytes("from tomorrow")));
        return message;
    }

    static GroupMetadataValue group() {
        return new GroupMetadataValue().setProtocolType("consumer").setGeneration(7).setProtocol("range")
            .setLeader("member-1").setCurrentStateTimestamp(1700000000123L).setMembers(List.of(
                new GroupMetadataValue.MemberMetadata().setMemberId("member-1").setClientId("client")
                    .setClientHost("/127.0.0.1").setRebalanceTimeout(300000).setSessionTimeout(45000)
                    .setSubscription(new byte[] {0, 1, 2}).setAssignment(new byte[] {3, 4}),
                new GroupMetadataValue.MemberMetadata().setMemberId("member-2").setGroupInstanceId("instance")
                    .setClientId("Klient é").setClientHost("/::1").setRebalanceTimeout(60000)
                    .setSessionTimeout(10000).setSubscription(new byte[0]).setAssignment(new byte[0])));
    }

    public static void main(String[] args) {
        OffsetCommitKey offsetKey = new OffsetCommitKey().setGroup("grupo é").setTopic("orders").setPartition(12);
        OffsetCommitValue offset = new OffsetCommitValue().setOffset(123456789012L).setLeaderEpoch(5)
            .setMetadata("météo").setCommitTimestamp(1700000000123L).setExpireTimestamp(1700000900123L);
        for (int version = 0; version <= 4; version++) {
            OffsetCommitValue value = offset.duplicate();
            if (version != 1) value.setExpireTimestamp(-1);
            if (version < 3) value.setLeaderEpoch(-1);
            print("read.offset." + version, offsetKey, value, version);
        }
        print("read.legacy", new LegacyOffsetCommitKey().setGroup("grupo é").setTopic("orders").setPartition(12),
            new LegacyOffsetCommitValue().setOffset(123456789012L).setMetadata("météo")
                .setCommitTimestamp(1700000000123L), 0);
        print("read.tags", offsetKey,
            unknownTag(offset.duplicate().setExpireTimestamp(-1).setTopicId(ONE)), 4);
        print("written.offset", GroupCoordinatorRecordHelpers.newOffsetCommitRecord("grupo é", "orders", 12,
            new OffsetAndMetadata(123456789012L, OptionalInt.of(5), "météo", 1700000000123L, OptionalLong.empty(), ONE)));
        print("written.offset.expire", GroupCoordinatorRecordHelpers.newOffsetCommitRecord("grupo é", "orders", 12,
            new OffsetAndMetadata(123456789012L, OptionalInt.of(5), "météo", 1700000000123L,
                OptionalLong.of(1700000900123L), ONE)));
        print("written.offset.plain", GroupCoordinatorRecordHelpers.newOffsetCommitRecord("g", "t", 0,
            new OffsetAndMetadata(0, OptionalInt.empty(), "", 0, OptionalLong.empty(), Uuid.ZERO_UUID)));
        print("written.offset.tombstone",
            GroupCoordinatorRecordHelpers.newOffsetCommitTombstoneRecord("grupo é", "orders", 12));

        GroupMetadataKey groupKey = new GroupMetadataKey().setGroup("grupo é");
        for (int version = 0; version <= 4; version++) {
            print("read.group." + version, groupKey, group(), version);
        }
        print("read.group.empty", groupKey,
            new GroupMetadataValue().setProtocolType("").setGeneration(8).setProtocol(null).setLeader(null)
                .setCurrentStateTimestamp(9).setMembers(List.of()), 3);
        print("written.group.tombstone", GroupCoordinatorRecordHelpers.newGroupMetadataTombstoneRecord("grupo é"));

        print("written.consumer", GroupCoordinatorRecordHelpers.newConsumerGroupEpochRecord("g", 9, -2L));
        print("written.consumer.plain", GroupCoordinatorRecordHelpers.newConsumerGroupEpochRecord("g", 9, 0L));
        print("written.consumer.tombstone", GroupCoordinatorRecordHelpers.newConsumerGroupEpochTombstoneRecord("g"));
        print("read.partitions", new ConsumerGroupPartitionMetadataKey().setGroupId("g"),
            new ConsumerGroupPartitionMetadataValue().setTopics(List.of(
                new ConsumerGroupPartitionMetadataValue.TopicMetadata().setTopicId(ONE).setTopicName("t")
                    .setNumPartitions(3))), 0);
        print("written.partitions.tombstone",
            GroupCoordinatorRecordHelpers.newConsumerGroupSubscriptionMetadataTombstoneRecord("g"));

        ConsumerGroupMemberMetadataKey memberKey =
            new ConsumerGroupMemberMetadataKey().setGroupId("g").setMemberId("m");
        print("written.member", memberKey, new ConsumerGroupMemberMetadataValue().setInstanceId("i").setRackId("r")
            .setClientId("c").setClientHost("/h").setSubscribedTopicNames(List.of("a", "b"))
            .setSubscribedTopicRegex("x.*").setRebalanceTimeoutMs(5000).setServerAssignor("uniform")
            .setClassicMemberMetadata(new ConsumerGroupMemberMetadataValue.ClassicMemberMetadata()
                .setSessionTimeoutMs(45000).setSupportedProtocols(List.of(
                    new ConsumerGroupMemberMetadataValue.ClassicProtocol().setName("range")
                        .setMetadata(new byte[] {9, 8, 7})))), 0);
        print("written.member.plain", memberKey, new ConsumerGroupMemberMetadataValue().setClientId("c")
            .setClientHost("/h").setInstanceId(null).setRackId(null).setSubscribedTopicNames(List.of())
            .setSubscribedTopicRegex(null).setRebalanceTimeoutMs(-1).setServerAssignor(null), 0);
        print("written.member.tombstone",
            GroupCoordinatorRecordHelpers.newConsumerGroupMemberSubscriptionTombstoneRecord("g", "m"));

        print("written.target",
            GroupCoordinatorRecordHelpers.newConsumerGroupTargetAssignmentMetadataRecord("g", 10, 1700000000123L));
        print("written.target.plain", new ConsumerGroupTargetAssignmentMetadataKey().setGroupId("g"),
            new ConsumerGroupTargetAssignmentMetadataValue().setAssignmentEpoch(10), 0);
        print("written.target.tombstone",
            GroupCoordinatorRecordHelpers.newConsumerGroupTargetAssignmentMetadataTombstoneRecord("g"));
        print("written.target.member", new ConsumerGroupTargetAssignmentMemberKey().setGroupId("g").setMemberId("m"),
            new ConsumerGroupTargetAssignmentMemberValue().setTopicPartitions(List.of(
                new ConsumerGroupTargetAssignmentMemberValue.TopicPartition().setTopicId(ONE)
                    .setPartitions(List.of(1, 2, 3)),
                new ConsumerGroupTargetAssignmentMemberValue.TopicPartition().setTopicId(TWO)
                    .setPartitions(List.of()))), 0);
        print("written.target.member.tombstone",
            GroupCoordinatorRecordHelpers.newConsumerGroupTargetAssignmentTombstoneRecord("g", "m"));

        print("written.current", new ConsumerGroupCurrentMemberAssignmentKey().setGroupId("g").setMemberId("m"),
            new ConsumerGroupCurrentMemberAssignmentValue().setMemberEpoch(11).setPreviousMemberEpoch(10)
                .setState((byte) 1).setAssignedPartitions(List.of(
                    new ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions().setTopicId(ONE)
                        .setPartitions(List.of(1, 2)).setAssignmentEpochs(List.of(10, 11))))
                .setPartitionsPendingRevocation(List.of(
                    new ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions().setTopicId(TWO)
                        .setPartitions(List.of(300)))), 0);
        print("written.current.tombstone",
            GroupCoordinatorRecordHelpers.newConsumerGroupCurrentAssignmentTombstoneRecord("g", "m"));

        print("written.regex",
            new ConsumerGroupRegularExpressionKey().setGroupId("g").setRegularExpression("x.*"),
            new ConsumerGroupRegularExpressionValue().setTopics(List.of("xa", "xb")).setVersion(44)
                .setTimestamp(1700000000123L), 0);
        print("written.regex.tombstone",
            GroupCoordinatorRecordHelpers.newConsumerGroupRegularExpressionTombstone("g", "x.*"));

        print("read.unused", new ShareGroupMetadataKey().setGroupId("s"),
            new ShareGroupMetadataValue().setEpoch(3), 0);
    }
}
