// sarama against BOOTSTRAP: codecs, groups of each assignor, offsets, the calls of its admin client that one node
// without transactions and security can mean.
package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"

	. "clients/checks"
)

var (
	brokers = []string{Bootstrap}
	topics  = "sarama-" + Run
	admin   sarama.ClusterAdmin
)

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.ClientID = "checks"
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.MaxWaitTime = 100 * time.Millisecond // commits wait behind fetches on one connection
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	c.Consumer.Group.Session.Timeout = 10 * time.Second
	return c
}

func create(topic string, partitions int32, entries map[string]*string) {
	Must(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1,
		ConfigEntries: entries}, false))
	Eventually("leaders of "+topic, func() bool { return leaders(topic) == int(partitions) })
}

func leaders(topic string) (count int) {
	for _, p := range Ok(admin.DescribeTopics([]string{topic}))[0].Partitions {
		if p.Leader >= 0 {
			count++
		}
	}
	return count
}

func produce(topic string, first, count int) {
	producer := Ok(sarama.NewSyncProducer(brokers, config()))
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for i := first; i < first+count; i++ {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Partition: int32(i % Partitions),
			Value: sarama.StringEncoder(fmt.Sprintf("value %d", i))})
	}
	Must(producer.SendMessages(messages))
}

func read(topic string, partition int32, from int64, count int) (got []*sarama.ConsumerMessage) {
	consumer := Ok(sarama.NewConsumer(brokers, config()))
	defer consumer.Close()
	part := Ok(consumer.ConsumePartition(topic, partition, from))
	defer part.Close()
	for len(got) < count {
		select {
		case m := <-part.Messages():
			got = append(got, m)
		case <-time.After(30 * time.Second):
			panic(fmt.Sprintf("%d of %d records", len(got), count))
		}
	}
	return got
}

var old = map[string]*string{"retention.ms": text("-1")} // the timestamps of the records are old

func text(s string) *string { return &s }

func codec(name string, codec sarama.CompressionCodec) {
	topic := topics + "-" + name
	create(topic, 1, old)
	c := config()
	c.Producer.Compression = codec
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Net.MaxOpenRequests = 1
	producer := Ok(sarama.NewSyncProducer(brokers, c))
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for i := range 300 {
		key, value, at := Record(i)
		m := &sarama.ProducerMessage{Topic: topic, Timestamp: at,
			Headers: []sarama.RecordHeader{{Key: []byte("i"), Value: fmt.Append(nil, i)}}}
		if key != nil {
			m.Key = sarama.ByteEncoder(key)
		}
		if value != nil {
			m.Value = sarama.ByteEncoder(value)
		}
		messages = append(messages, m)
	}
	Must(producer.SendMessages(messages))
	for i, m := range messages {
		Equal(int64(i), m.Offset, "offset")
	}
	for i, m := range read(topic, 0, sarama.OffsetOldest, 300) {
		CompareRecord(i, m.Offset, m.Key, m.Value, m.Timestamp, string(m.Headers[0].Value))
	}
}

type handler struct {
	member *Member
	topic  string
}

func (h handler) Setup(s sarama.ConsumerGroupSession) error {
	h.member.Owns(s.Claims()[h.topic], true)
	return nil
}

func (h handler) Cleanup(s sarama.ConsumerGroupSession) error {
	h.member.Owns(s.Claims()[h.topic], false)
	return nil
}

func (h handler) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, more := <-claim.Messages():
			if !more {
				return nil
			}
			s.MarkMessage(m, "")
			if len(claim.Messages()) == 0 {
				s.Commit()
			}
			h.member.Got(m.Partition, m.Value)
		case <-s.Context().Done():
			return nil
		}
	}
}

func group(name string, strategy sarama.BalanceStrategy) {
	topic := topics + "-group-" + name
	create(topic, Partitions, nil)
	c := config()
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	GroupOfTwo(func(m *Member) func() {
		member := Ok(sarama.NewConsumerGroup(brokers, topic, c))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				m.Failed(member.Consume(ctx, []string{topic}, handler{m, topic}))
			}
		}()
		return func() {
			cancel()
			<-done
			Must(member.Close())
		}
	}, func(first, count int) { produce(topic, first, count) })
	kept := Ok(admin.ListConsumerGroupOffsets(topic, map[string][]int32{topic: {0, 1, 2, 3}}))
	for p := range int32(Partitions) {
		Equal(160, kept.GetBlock(topic, p).Offset, "committed offset")
	}
}

func offsets() {
	topic := topics + "-offsets"
	create(topic, 1, old)
	c := config()
	producer := Ok(sarama.NewSyncProducer(brokers, c))
	for i := range 50 {
		_, offset, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(fmt.Sprint(i)),
			Timestamp: time.UnixMilli(1_000_000 + int64(i)*1000)})
		Must(err)
		Equal(int64(i), offset, "offset")
	}
	Must(producer.Close())
	client := Ok(sarama.NewClient(brokers, c))
	defer client.Close()
	for at, want := range map[int64]int64{sarama.OffsetOldest: 0, sarama.OffsetNewest: 50, 1_017_500: 18, 9_000_000: -1} {
		Equal(want, Ok(client.GetOffset(topic, 0, at)), fmt.Sprintf("offset for %d", at))
		listed := Ok(admin.ListOffsets(map[string]map[int32]int64{topic: {0: at}}, nil))
		Equal(want, listed[topic][0].Offset, fmt.Sprintf("listed offset for %d", at))
	}
	m := read(topic, 0, 33, 1)[0]
	Equal("33", string(m.Value), "from the middle")
}

func topicsCheck() {
	topic := topics + "-topics"
	create(topic, 2, map[string]*string{"cleanup.policy": text("compact")})
	Fails("already exists", admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false))
	Fails("replication", admin.CreateTopic(topic+"x", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 9}, false))
	Must(admin.CreateTopic(topic+"x", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, true))
	listed := Ok(admin.ListTopics())
	Equal(int32(2), listed[topic].NumPartitions, "partitions")
	Equal("compact", *listed[topic].ConfigEntries["cleanup.policy"], "cleanup.policy")
	_, there := listed[topic+"x"]
	That(!there, "validation only made it")
	Must(admin.CreatePartitions(topic, 5, nil, false))
	Eventually("five partitions", func() bool { return leaders(topic) == 5 })
	Fails("partitions", admin.CreatePartitions(topic, 3, nil, false))
	Must(admin.DeleteTopic(topic))
	Eventually("deleted", func() bool {
		_, there := Ok(admin.ListTopics())[topic]
		return !there
	})
	Fails("does not exist", admin.DeleteTopic(topic))
}

func configsCheck() {
	topic := topics + "-configs"
	create(topic, 1, map[string]*string{"retention.ms": text("1234567")})
	value := func(kind sarama.ConfigResourceType, name, key string) string {
		entries := Ok(admin.DescribeConfig(sarama.ConfigResource{Type: kind, Name: name, ConfigNames: []string{key}}))
		Equal(1, len(entries), "entries")
		return entries[0].Value
	}
	now := func(key string) string { return value(sarama.TopicResource, topic, key) }
	Equal("1234567", now("retention.ms"), "retention.ms")
	Must(admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
		"cleanup.policy": {Operation: sarama.IncrementalAlterConfigsOperationAppend, Value: text("compact")},
		"retention.ms":   {Operation: sarama.IncrementalAlterConfigsOperationDelete},
	}, false))
	Eventually("appended", func() bool { return len(now("cleanup.policy")) == len("compact,delete") })
	Equal("604800000", now("retention.ms"), "the default")
	Must(admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"segment.ms": text("7777777")}, false))
	Eventually("altered", func() bool { return now("segment.ms") == "7777777" })
	Equal("delete", now("cleanup.policy"), "what AlterConfig leaves out goes")
	Fails("configuration", admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"segment.ms": text("soon")}, false))
	nodes, _, err := admin.DescribeCluster()
	Must(err)
	Equal("4", value(sarama.BrokerResource, fmt.Sprint(nodes[0].ID()), "num.partitions"), "num.partitions")
}

func deleteRecords() {
	topic := topics + "-delete-records"
	create(topic, Partitions, nil)
	produce(topic, 0, 40)
	Must(admin.DeleteRecords(topic, map[int32]int64{1: 4, 2: -1}))
	listed := Ok(admin.ListOffsets(map[string]map[int32]int64{topic: {
		0: sarama.OffsetOldest, 1: sarama.OffsetOldest, 2: sarama.OffsetOldest}}, nil))[topic]
	Equal([]int64{0, 4, 10}, []int64{listed[0].Offset, listed[1].Offset, listed[2].Offset}, "log starts")
	Equal(int64(4), read(topic, 1, sarama.OffsetOldest, 6)[0].Offset, "what is left")
	Fails("range", admin.DeleteRecords(topic, map[int32]int64{0: 99}))
}

func groups() {
	topic := topics + "-admin"
	create(topic, Partitions, nil)
	produce(topic, 0, 40)
	c := config()
	c.Consumer.Group.InstanceId = "one"
	member := Ok(sarama.NewConsumerGroup(brokers, topic, c))
	m := &Member{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := member.Consume(ctx, []string{topic}, handler{m, topic}); err != nil {
				return // removed
			}
		}
	}()
	describe := func() *sarama.GroupDescription { return Ok(admin.DescribeConsumerGroups([]string{topic}))[0] }
	Eventually("a stable group", func() bool { return describe().State == "Stable" })
	d := describe()
	Equal([]string{"consumer", "range"}, []string{d.ProtocolType, d.Protocol}, "protocol")
	for _, row := range d.Members {
		Equal("checks", row.ClientId, "client id")
		Equal("one", *row.GroupInstanceId, "instance id")
		Equal(4, len(Ok(row.GetMemberAssignment()).Topics[topic]), "assigned")
	}
	Equal(1, len(d.Members), "members")
	Equal("consumer", Ok(admin.ListConsumerGroups())[topic], "listed")
	Fails("not empty", admin.DeleteConsumerGroup(topic))
	Fails("subscribed", admin.DeleteConsumerGroupOffset(topic, topic, 0))
	cancel()
	<-done
	left := Ok(admin.RemoveMemberFromConsumerGroup(topic, []string{"one"}))
	Equal(sarama.ErrNoError, left.Err, "removal")
	_ = member.Close()
	Eventually("empty", func() bool { return describe().State == "Empty" })
	altered := Ok(admin.AlterConsumerGroupOffsets(topic, map[string]map[int32]sarama.OffsetAndMetadata{
		topic: {0: {Offset: 3, Metadata: "a word", LeaderEpoch: -1}, 1: {Offset: 5, LeaderEpoch: -1}}}, nil))
	Equal(map[string]map[int32]sarama.KError{topic: {0: 0, 1: 0}}, altered.Errors, "alteration")
	Must(admin.DeleteConsumerGroupOffset(topic, topic, 1))
	batch := Ok(admin.ListConsumerGroupOffsetsBatch(map[string]map[string][]int32{topic: {topic: {0, 1}}}))[topic]
	Equal([]int64{3, -1}, []int64{batch.Blocks[topic][0].Offset, batch.Blocks[topic][1].Offset}, "offsets")
	Equal("a word", batch.Blocks[topic][0].Metadata, "metadata")
	Must(admin.DeleteConsumerGroup(topic))
	Fails("does not exist", admin.DeleteConsumerGroup(topic))
}

func cluster() {
	topic := topics + "-cluster"
	create(topic, 1, nil)
	nodes, controller, err := admin.DescribeCluster()
	Must(err)
	Equal(nodes[0].ID(), controller, "controller")
	elected := Ok(admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{topic: {0}}))
	Equal(sarama.ErrElectionNotNeeded, elected[topic][0].ErrorCode, "an election")
	reassigned := Ok(admin.ListPartitionReassignments(topic, []int32{0}))
	Equal(0, len(reassigned[topic]), "reassignments")
	dirs := Ok(admin.DescribeLogDirs([]int32{controller}))
	That(slices.ContainsFunc(dirs[controller][0].Topics, func(t sarama.DescribeLogDirsResponseTopic) bool {
		return t.Topic == topic
	}), "the topic is in no log directory")
}

func main() {
	admin = Ok(sarama.NewClusterAdmin(brokers, config()))
	for codecName, c := range map[string]sarama.CompressionCodec{"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD} {
		Check("codec "+codecName, func() { codec(codecName, c) })
	}
	Check("topics", topicsCheck)
	Check("configs", configsCheck)
	Check("delete records", deleteRecords)
	Check("offsets and times", offsets)
	Check("a group of two, range", func() { group("range", sarama.NewBalanceStrategyRange()) })
	Check("a group of two, sticky", func() { group("sticky", sarama.NewBalanceStrategySticky()) })
	Check("groups through the admin client", groups)
	Check("cluster", cluster)
	Finish("sarama")
}
