// kafka-go against BOOTSTRAP: codecs, a group of two, Reader in a group, offsets, the calls of its Client that one
// node without transactions and security can mean.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	. "clients/checks"
)

var (
	addr   = kafka.TCP(Bootstrap)
	client = &kafka.Client{Addr: addr, Timeout: 20 * time.Second}
	topics = "kafka-go-" + Run
	ctx    = context.Background()
)

func create(topic string, partitions int, entries ...kafka.ConfigEntry) {
	done := Ok(client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic,
		NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: entries}}}))
	Must(done.Errors[topic])
	Eventually("leaders of "+topic, func() bool { return len(described(topic).Partitions) == partitions })
}

func described(topic string) kafka.Topic {
	return Ok(client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})).Topics[0]
}

func produce(topic string, first, count int) {
	w := &kafka.Writer{Addr: addr, Topic: topic, BatchTimeout: 5 * time.Millisecond, RequiredAcks: kafka.RequireAll,
		Balancer: kafka.BalancerFunc(func(m kafka.Message, all ...int) int { return int(m.Key[0]-'0') % len(all) })}
	defer w.Close()
	var messages []kafka.Message
	for i := first; i < first+count; i++ {
		messages = append(messages, kafka.Message{Key: fmt.Append(nil, i%Partitions), Value: fmt.Appendf(nil, "value %d", i)})
	}
	Must(w.WriteMessages(ctx, messages...))
}

func codec(name string, codec kafka.Compression) {
	topic := topics + "-" + name
	create(topic, 1, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "-1"})
	w := &kafka.Writer{Addr: addr, Topic: topic, Compression: codec, RequiredAcks: kafka.RequireAll,
		BatchTimeout: 20 * time.Millisecond, BatchSize: 100}
	defer w.Close()
	var messages []kafka.Message
	for i := range 300 {
		key, value, at := Record(i)
		messages = append(messages, kafka.Message{Key: key, Value: value, Time: at,
			Headers: []kafka.Header{{Key: "i", Value: fmt.Append(nil, i)}}})
	}
	Must(w.WriteMessages(ctx, messages...))
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{Bootstrap}, Topic: topic, MaxWait: 200 * time.Millisecond})
	defer r.Close()
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for i := range 300 {
		m := Ok(r.ReadMessage(limit))
		CompareRecord(i, m.Offset, m.Key, m.Value, m.Time, string(m.Headers[0].Value))
	}
}

func group(name string, balancer kafka.GroupBalancer) {
	topic := topics + "-group-" + name
	create(topic, Partitions)
	GroupOfTwo(func(m *Member) func() {
		g := Ok(kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{ID: topic, Brokers: []string{Bootstrap},
			Topics: []string{topic}, GroupBalancers: []kafka.GroupBalancer{balancer}, StartOffset: kafka.FirstOffset,
			HeartbeatInterval: 300 * time.Millisecond, SessionTimeout: 10 * time.Second}))
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				generation, err := g.Next(ctx)
				if errors.Is(err, kafka.ErrGroupClosed) {
					return
				}
				if err != nil {
					continue // as its documentation asks: the group joins again
				}
				for _, p := range generation.Assignments[topic] {
					generation.Start(func(ctx context.Context) { consume(ctx, m, generation, topic, p) })
				}
			}
		}()
		return func() {
			Must(g.Close())
			<-done
		}
	}, func(first, count int) { produce(topic, first, count) })
	kept := Ok(client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: topic, Topics: map[string][]int{topic: {0, 1, 2, 3}}}))
	for _, p := range kept.Topics[topic] {
		Equal(160, p.CommittedOffset, "committed offset")
	}
	Equal(4, len(kept.Topics[topic]), "partitions")
}

func consume(ctx context.Context, m *Member, generation *kafka.Generation, topic string, p kafka.PartitionAssignment) {
	owned := []int32{int32(p.ID)}
	m.Owns(owned, true)
	defer m.Owns(owned, false)
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{Bootstrap}, Topic: topic, Partition: p.ID,
		MaxWait: 100 * time.Millisecond})
	defer r.Close()
	Must(r.SetOffset(p.Offset))
	for {
		message, err := r.ReadMessage(ctx)
		if err != nil {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) && !errors.Is(err, kafka.ErrGenerationEnded) {
				m.Failed(err)
			}
			return
		}
		m.Failed(generation.CommitOffsets(map[string]map[int]int64{topic: {p.ID: message.Offset + 1}}))
		m.Got(int32(p.ID), message.Value)
	}
}

// Reader with a GroupID: reads half, commits, and a second one has the other half.
func readerInGroup() {
	topic := topics + "-reader"
	create(topic, Partitions)
	produce(topic, 0, 200)
	var values []string
	for range 2 {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{Bootstrap}, Topic: topic, GroupID: topic,
			StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond, HeartbeatInterval: 300 * time.Millisecond})
		limit, cancel := context.WithTimeout(ctx, 40*time.Second)
		for range 100 {
			m := Ok(r.FetchMessage(limit))
			Must(r.CommitMessages(limit, m))
			values = append(values, string(m.Value))
		}
		cancel()
		Must(r.Close())
	}
	slices.Sort(values)
	Equal(200, len(slices.Compact(values)), "values, each once")
}

func offsets() {
	topic := topics + "-offsets"
	create(topic, 1, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "-1"})
	w := &kafka.Writer{Addr: addr, Topic: topic, BatchTimeout: 5 * time.Millisecond, RequiredAcks: kafka.RequireAll}
	var messages []kafka.Message
	for i := range 50 {
		messages = append(messages, kafka.Message{Value: fmt.Append(nil, i), Time: time.UnixMilli(1_000_000 + int64(i)*1000)})
	}
	Must(w.WriteMessages(ctx, messages...))
	Must(w.Close())
	listed := Ok(client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {
		kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0), kafka.TimeOffsetOf(0, time.UnixMilli(1_017_500))}}}))
	part := listed.Topics[topic][0]
	Equal([]int64{0, 50}, []int64{part.FirstOffset, part.LastOffset}, "ends")
	_, there := part.Offsets[18]
	That(there, "offset for a time: %v", part.Offsets)
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{Bootstrap}, Topic: topic, MaxWait: 100 * time.Millisecond})
	defer r.Close()
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	Must(r.SetOffset(33))
	Equal("33", string(Ok(r.ReadMessage(limit)).Value), "after the seek")
	Must(r.SetOffsetAt(limit, time.UnixMilli(1_040_000)))
	Equal("40", string(Ok(r.ReadMessage(limit)).Value), "after the seek to a time")
}

func topicsCheck() {
	topic := topics + "-topics"
	create(topic, 2)
	made := Ok(client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}, {Topic: topic + "x", NumPartitions: 1, ReplicationFactor: 9}}}))
	That(errors.Is(made.Errors[topic], kafka.TopicAlreadyExists), "%v", made.Errors[topic])
	That(errors.Is(made.Errors[topic+"x"], kafka.InvalidReplicationFactor), "%v", made.Errors[topic+"x"])
	more := Ok(client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{
		{Name: topic, Count: 5}}}))
	Must(more.Errors[topic])
	Eventually("five partitions", func() bool { return len(described(topic).Partitions) == 5 })
	fewer := Ok(client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{
		{Name: topic, Count: 3}}}))
	That(errors.Is(fewer.Errors[topic], kafka.InvalidPartitionNumber), "%v", fewer.Errors[topic])
	Must(Ok(client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})).Errors[topic])
	Eventually("deleted", func() bool { return errors.Is(described(topic).Error, kafka.UnknownTopicOrPartition) })
	again := Ok(client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})).Errors[topic]
	That(errors.Is(again, kafka.UnknownTopicOrPartition), "%v", again)
}

func configsCheck() {
	topic := topics + "-configs"
	create(topic, 1, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "1234567"})
	now := func(key string) string {
		r := Ok(client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
			{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{key}}}})).Resources[0]
		Must(r.Error)
		return r.ConfigEntries[0].ConfigValue
	}
	Equal("1234567", now("retention.ms"), "retention.ms")
	done := Ok(client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{
				{Name: "cleanup.policy", Value: "compact", ConfigOperation: kafka.ConfigOperationAppend},
				{Name: "retention.ms", ConfigOperation: kafka.ConfigOperationDelete}}}}}))
	Must(done.Resources[0].Error)
	Eventually("appended", func() bool { return len(now("cleanup.policy")) == len("compact,delete") })
	Equal("604800000", now("retention.ms"), "the default")
	whole := Ok(client.AlterConfigs(ctx, &kafka.AlterConfigsRequest{Resources: []kafka.AlterConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.AlterConfigRequestConfig{{Name: "segment.ms", Value: "7777777"}}}}}))
	for _, err := range whole.Errors {
		Must(err)
	}
	Eventually("altered", func() bool { return now("segment.ms") == "7777777" })
	Equal("delete", now("cleanup.policy"), "what AlterConfigs leaves out goes")
}

func groups() {
	topic := topics + "-admin"
	create(topic, Partitions)
	produce(topic, 0, 40)
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{Bootstrap}, Topic: topic, GroupID: topic,
		StartOffset: kafka.FirstOffset, HeartbeatInterval: 300 * time.Millisecond,
		Dialer: &kafka.Dialer{ClientID: "checks", Timeout: 10 * time.Second}})
	describe := func() kafka.DescribeGroupsResponseGroup {
		return Ok(client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{topic}})).Groups[0]
	}
	Eventually("a stable group", func() bool { return describe().GroupState == "Stable" })
	members := describe().Members
	Equal(1, len(members), "members")
	Equal("checks", members[0].ClientID, "client id")
	Equal(4, len(members[0].MemberAssignments.Topics[0].Partitions), "assigned")
	listed := Ok(client.ListGroups(ctx, &kafka.ListGroupsRequest{})).Groups
	That(slices.ContainsFunc(listed, func(g kafka.ListGroupsResponseGroup) bool {
		return g.GroupID == topic && g.ProtocolType == "consumer"
	}), "not listed: %v", listed)
	remove := func() error {
		return Ok(client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{topic}})).Errors[topic]
	}
	That(errors.Is(remove(), kafka.NonEmptyGroup), "%v", remove())
	Must(r.Close())
	Eventually("empty", func() bool { return describe().GroupState == "Empty" })
	set := Ok(client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: topic, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: 3, Metadata: "a word"}, {Partition: 1, Offset: 5}}}}))
	for _, p := range set.Topics[topic] {
		Must(p.Error)
	}
	forgotten := Ok(client.OffsetDelete(ctx, &kafka.OffsetDeleteRequest{GroupID: topic, Topics: map[string][]int{topic: {1}}}))
	Must(forgotten.Error)
	Must(forgotten.Topics[topic][0].Error)
	kept := Ok(client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: topic, Topics: map[string][]int{topic: {0, 1}}})).Topics[topic]
	Equal([]int64{3, -1}, []int64{kept[0].CommittedOffset, kept[1].CommittedOffset}, "offsets")
	Equal("a word", kept[0].Metadata, "metadata")
	Must(remove())
	That(errors.Is(remove(), kafka.GroupIdNotFound), "%v", remove())
}

func cluster() {
	topic := topics + "-cluster"
	create(topic, 1)
	meta := Ok(client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}}))
	That(meta.ClusterID != "" && meta.Controller.ID == meta.Brokers[0].ID, "%+v", meta)
	elected := Ok(client.ElectLeaders(ctx, &kafka.ElectLeadersRequest{Topic: topic, Partitions: []int{0}, Timeout: time.Second}))
	That(errors.Is(elected.PartitionResults[0].Error, kafka.Error(84)), "%v", elected.PartitionResults[0].Error)
	Equal(0, len(Ok(client.ListPartitionReassignments(ctx, &kafka.ListPartitionReassignmentsRequest{
		Topics:  map[string]kafka.ListPartitionReassignmentsRequestTopic{topic: {PartitionIndexes: []int{0}}},
		Timeout: time.Second})).Topics), "reassignments")
}

func main() {
	for name, c := range map[string]kafka.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd} {
		Check("codec "+name, func() { codec(name, c) })
	}
	Check("topics", topicsCheck)
	Check("configs", configsCheck)
	Check("offsets, times, seek", offsets)
	Check("a group of two, range", func() { group("range", kafka.RangeGroupBalancer{}) })
	Check("a group of two, round robin", func() { group("roundrobin", kafka.RoundRobinGroupBalancer{}) })
	Check("Reader in a group", readerInGroup)
	Check("groups through the client", groups)
	Check("cluster", cluster)
	Finish("kafka-go")
}
