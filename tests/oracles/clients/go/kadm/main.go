// franz-go's kgo and kadm against BOOTSTRAP: codecs, groups of each protocol, every call of kadm that one node without
// transactions and security can mean.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	. "clients/checks"
)

var (
	topics = "kadm-" + Run
	ctx    = context.Background()
	admin  *kadm.Client
)

func client(options ...kgo.Opt) *kgo.Client {
	return Ok(kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(Bootstrap), kgo.ClientID("checks"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.FetchMaxWait(200 * time.Millisecond)}, options...)...))
}

func text(s string) *string { return &s }

func create(topic string, partitions int32, configs map[string]*string) {
	Ok(admin.CreateTopic(ctx, partitions, 1, configs, topic))
	Eventually("leaders of "+topic, func() bool { return leaders(topic) == int(partitions) })
}

func leaders(topic string) (count int) {
	for _, p := range Ok(admin.ListTopics(ctx, topic))[topic].Partitions {
		if p.Leader >= 0 {
			count++
		}
	}
	return count
}

func send(c *kgo.Client, records ...*kgo.Record) { Must(c.ProduceSync(ctx, records...).FirstErr()) }

func produce(topic string, first, count int) {
	c := client()
	defer c.Close()
	var records []*kgo.Record
	for i := first; i < first+count; i++ {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % Partitions), Value: fmt.Appendf(nil, "value %d", i)})
	}
	send(c, records...)
}

func read(topic string, partition int32, from kgo.Offset, count int) (got []*kgo.Record) {
	c := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: from}}))
	defer c.Close()
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for len(got) < count {
		fetches := c.PollFetches(limit)
		Must(fetches.Err())
		got = append(got, fetches.Records()...)
	}
	return got
}

var old = map[string]*string{"retention.ms": text("-1")} // the timestamps of the records are old

func codec(name string, codec kgo.CompressionCodec) {
	topic := topics + "-" + name
	create(topic, 1, old)
	c := client(kgo.ProducerBatchCompression(codec))
	defer c.Close()
	var records []*kgo.Record
	for i := range 300 {
		key, value, at := Record(i)
		records = append(records, &kgo.Record{Topic: topic, Key: key, Value: value, Timestamp: at,
			Headers: []kgo.RecordHeader{{Key: "i", Value: fmt.Append(nil, i)}}})
	}
	send(c, records...)
	for i, r := range read(topic, 0, kgo.NewOffset().AtStart(), 300) {
		CompareRecord(i, r.Offset, r.Key, r.Value, r.Timestamp, string(r.Headers[0].Value))
	}
}

func member(m *Member, group string, options ...kgo.Opt) func() {
	owns := func(own bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			for _, ps := range parts {
				m.Owns(ps, own)
			}
		}
	}
	c := client(append([]kgo.Opt{kgo.ConsumerGroup(group), kgo.DisableAutoCommit(), kgo.HeartbeatInterval(300 * time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(owns(true)), kgo.OnPartitionsRevoked(owns(false)), kgo.OnPartitionsLost(owns(false))}, options...)...)
	stop, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for stop.Err() == nil {
			fetches := c.PollFetches(stop)
			if records := fetches.Records(); len(records) > 0 {
				m.Failed(c.CommitRecords(ctx, records...))
				for _, r := range records {
					m.Got(r.Partition, r.Value)
				}
			}
			c.AllowRebalance()
		}
	}()
	return func() {
		cancel()
		<-done
		c.Close()
	}
}

func group(name string, options ...kgo.Opt) {
	topic := topics + "-group-" + name
	create(topic, Partitions, nil)
	options = append(options, kgo.ConsumeTopics(topic))
	GroupOfTwo(func(m *Member) func() { return member(m, topic, options...) },
		func(first, count int) { produce(topic, first, count) })
	kept := Ok(admin.FetchOffsets(ctx, topic))
	for p := range int32(Partitions) {
		offset, there := kept.Lookup(topic, p)
		That(there && offset.At == 160, "committed: %v", offset)
	}
}

func offsets() {
	topic := topics + "-offsets"
	create(topic, 1, old)
	c := client()
	for i := range 50 {
		send(c, &kgo.Record{Topic: topic, Value: fmt.Append(nil, i), Timestamp: time.UnixMilli(1_000_000 + int64(i)*1000)})
	}
	c.Close()
	one := func(listed kadm.ListedOffsets, err error) int64 {
		Must(err)
		o, there := listed.Lookup(topic, 0)
		That(there, "not listed")
		Must(o.Err)
		return o.Offset
	}
	Equal(0, one(admin.ListStartOffsets(ctx, topic)), "start")
	Equal(50, one(admin.ListEndOffsets(ctx, topic)), "end")
	Equal(50, one(admin.ListCommittedOffsets(ctx, topic)), "committed")
	Equal(49, one(admin.ListMaxTimestampOffsets(ctx, topic)), "newest timestamp")
	Equal(18, one(admin.ListOffsetsAfterMilli(ctx, 1_017_500, topic)), "for a time")
	Equal(50, one(admin.ListOffsetsAfterMilli(ctx, 9_000_000, topic)), "later than all: kadm gives the end")
	Equal("33", string(read(topic, 0, kgo.NewOffset().At(33), 1)[0].Value), "from the middle")
	Equal("40", string(read(topic, 0, kgo.NewOffset().AfterMilli(1_040_000), 1)[0].Value), "from a time")
	var request kadm.OffsetForLeaderEpochRequest
	request.Add(topic, 0, 0)
	epochs := Ok(admin.OffsetForLeaderEpoch(ctx, request))
	Equal(50, epochs[topic][0].EndOffset, "end of epoch 0")
}

func topicsCheck() {
	topic := topics + "-topics"
	create(topic, 2, map[string]*string{"cleanup.policy": text("compact")})
	made := Ok(admin.CreateTopics(ctx, 1, 9, nil, topic, topic+"x"))
	That(errors.Is(made[topic].Err, kerr.TopicAlreadyExists), "%v", made[topic].Err)
	That(errors.Is(made[topic+"x"].Err, kerr.InvalidReplicationFactor), "%v", made[topic+"x"].Err)
	Must(Ok(admin.ValidateCreateTopics(ctx, 1, 1, nil, topic+"x"))[topic+"x"].Err)
	That(!Ok(admin.ListTopics(ctx)).Has(topic+"x"), "validation only made it")
	Must(Ok(admin.UpdatePartitions(ctx, 4, topic))[topic].Err)
	Eventually("four partitions", func() bool { return leaders(topic) == 4 })
	Must(Ok(admin.CreatePartitions(ctx, 1, topic))[topic].Err)
	Eventually("five partitions", func() bool { return leaders(topic) == 5 })
	fewer := Ok(admin.ValidateUpdatePartitions(ctx, 3, topic))[topic].Err
	That(errors.Is(fewer, kerr.InvalidPartitions), "%v", fewer)
	Ok(admin.DeleteTopic(ctx, topic))
	Eventually("deleted", func() bool { return !Ok(admin.ListTopics(ctx)).Has(topic) })
	_, err := admin.DeleteTopic(ctx, topic)
	That(errors.Is(err, kerr.UnknownTopicOrPartition), "%v", err)
}

func configsCheck() {
	topic := topics + "-configs"
	create(topic, 1, map[string]*string{"retention.ms": text("1234567")})
	now := func(key string) string {
		described := Ok(Ok(admin.DescribeTopicConfigs(ctx, topic)).On(topic, nil))
		Must(described.Err)
		i := slices.IndexFunc(described.Configs, func(c kadm.Config) bool { return c.Key == key })
		return described.Configs[i].MaybeValue()
	}
	Equal("1234567", now("retention.ms"), "retention.ms")
	alter := []kadm.AlterConfig{{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: text("compact")},
		{Op: kadm.DeleteConfig, Name: "retention.ms"}}
	Must(Ok(admin.ValidateAlterTopicConfigs(ctx, alter, topic))[0].Err)
	Equal("1234567", now("retention.ms"), "after validation only")
	Must(Ok(admin.AlterTopicConfigs(ctx, alter, topic))[0].Err)
	Eventually("appended", func() bool { return len(now("cleanup.policy")) == len("compact,delete") })
	Equal("604800000", now("retention.ms"), "the default")
	Must(Ok(admin.AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "segment.ms", Value: text("7777777")}}, topic))[0].Err)
	Eventually("altered", func() bool { return now("segment.ms") == "7777777" })
	Equal("delete", now("cleanup.policy"), "what the whole state leaves out goes")
	broker := Ok(admin.ListBrokers(ctx))[0].NodeID
	entries := Ok(admin.DescribeBrokerConfigs(ctx, broker))[0].Configs
	That(slices.ContainsFunc(entries, func(c kadm.Config) bool { return c.Key == "num.partitions" && c.MaybeValue() == "4" }), "%v", entries)
	Must(Ok(admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "log.retention.ms", Value: text("99999999")}}, broker))[0].Err)
	Eventually("a broker's config", func() bool { return now("retention.ms") == "99999999" })
	Must(Ok(admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: "log.retention.ms"}}, broker))[0].Err)
	Eventually("and without", func() bool { return now("retention.ms") == "604800000" })
}

func deleteRecords() {
	topic := topics + "-delete-records"
	create(topic, Partitions, nil)
	produce(topic, 0, 40)
	var to kadm.Offsets
	to.AddOffset(topic, 1, 4, -1)
	to.AddOffset(topic, 2, -1, -1)
	done := Ok(admin.DeleteRecords(ctx, to))
	Equal([]int64{4, 10}, []int64{done[topic][1].LowWatermark, done[topic][2].LowWatermark}, "low watermarks")
	Equal(int64(4), read(topic, 1, kgo.NewOffset().AtStart(), 6)[0].Offset, "what is left")
	var past kadm.Offsets
	past.AddOffset(topic, 0, 99, -1)
	err := Ok(admin.DeleteRecords(ctx, past))[topic][0].Err
	That(errors.Is(err, kerr.OffsetOutOfRange), "%v", err)
}

func groups(kind string, options ...kgo.Opt) {
	topic := topics + "-admin-" + kind
	create(topic, Partitions, nil)
	produce(topic, 0, 40)
	m := &Member{}
	stop := member(m, topic, append(options, kgo.ConsumeTopics(topic), kgo.InstanceID("one"))...)
	Eventually("its group", func() bool {
		listed := Ok(admin.ListGroupsByType(ctx, []string{kind}, "Stable"))
		_, there := listed[topic]
		return there
	})
	for _, other := range []string{"classic", "consumer"} {
		_, there := Ok(admin.ListGroupsByType(ctx, []string{other}))[topic]
		Equal(other == kind, there, "listed as "+other)
	}
	_, there := Ok(admin.ListGroups(ctx, "Empty"))[topic]
	That(!there, "listed as empty")
	if kind == "classic" {
		d := Ok(admin.DescribeGroups(ctx, topic))[topic]
		Must(d.Err)
		Equal([]string{"Stable", "consumer", "range"}, []string{d.State, d.ProtocolType, d.Protocol}, "the group")
		Equal([]string{"one", "checks"}, []string{*d.Members[0].InstanceID, d.Members[0].ClientID}, "the member")
	} else {
		d := Ok(admin.DescribeConsumerGroups(ctx, topic))[topic]
		Must(d.Err)
		Equal([]string{"Stable", "range"}, []string{d.State, d.AssignorName}, "the group")
		Equal([]string{"one", "checks"}, []string{*d.Members[0].InstanceID, d.Members[0].ClientID}, "the member")
		Equal(4, len(d.Members[0].Assignment[topic]), "assigned")
		That(d.Epoch > 0 && d.AssignmentEpoch == d.Epoch, "epochs %d, %d", d.Epoch, d.AssignmentEpoch)
	}
	Eventually("no lag", func() bool {
		lag := Ok(admin.Lag(ctx, topic))[topic]
		if kind == "consumer" { // kadm asks DescribeGroups, which knows groups of the classic protocol only
			return errors.Is(lag.DescribeErr, kerr.GroupIDNotFound)
		}
		return lag.Error() == nil && lag.Lag.Total() == 0 && len(lag.Lag[topic]) == 4
	})
	produce(topic, 40, 4)
	_, err := admin.DeleteGroup(ctx, topic)
	That(errors.Is(err, kerr.NonEmptyGroup), "%v", err)
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	err = Ok(admin.DeleteOffsets(ctx, topic, set))[topic][0]
	That(errors.Is(err, kerr.GroupSubscribedToTopic), "%v", err)
	stop()
	left := Ok(admin.LeaveGroup(ctx, kadm.LeaveGroup(topic).InstanceIDs("one").Reason("to see")))
	for _, row := range left {
		That(row.Err == nil || errors.Is(row.Err, kerr.UnknownMemberID), "%v", row.Err)
	}
	Eventually("empty", func() bool {
		_, there := Ok(admin.ListGroups(ctx, "Empty"))[topic]
		return there
	})
	var to kadm.Offsets
	to.Add(kadm.Offset{Topic: topic, Partition: 0, At: 3, LeaderEpoch: -1, Metadata: "a word"})
	to.Add(kadm.Offset{Topic: topic, Partition: 1, At: 5, LeaderEpoch: -1})
	Must(admin.CommitAllOffsets(ctx, topic, to))
	many := admin.FetchManyOffsets(ctx, topic, "nobody-"+topic)
	Must(many[topic].Err)
	o, _ := many[topic].Fetched.Lookup(topic, 0)
	Equal("3 a word", fmt.Sprint(o.At, " ", o.Metadata), "fetched")
	Equal(0, len(many["nobody-"+topic].Fetched), "offsets of nobody")
	Must(Ok(admin.DeleteOffsets(ctx, topic, set))[topic][0])
	_, there = Ok(admin.FetchOffsets(ctx, topic)).Lookup(topic, 0)
	That(!there, "still there")
	Ok(admin.DeleteGroup(ctx, topic))
	_, err = admin.DeleteGroup(ctx, topic)
	That(errors.Is(err, kerr.GroupIDNotFound), "%v", err)
}

func cluster() {
	topic := topics + "-cluster"
	create(topic, 1, nil)
	produceOne := client()
	send(produceOne, &kgo.Record{Topic: topic, Value: []byte("a value")})
	produceOne.Close()
	meta := Ok(admin.BrokerMetadata(ctx))
	That(meta.Cluster != "" && meta.Controller == meta.Brokers[0].NodeID, "%+v", meta)
	versions := Ok(admin.ApiVersions(ctx))
	That(versions[meta.Controller].Err == nil, "%v", versions)
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	elected := Ok(admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, set))[topic][0].Err
	That(errors.Is(elected, kerr.ElectionNotNeeded), "%v", elected)
	Equal(0, len(Ok(admin.ListPartitionReassignments(ctx, set))), "reassignments")
	dirs := Ok(admin.DescribeAllLogDirs(ctx, set))
	That(slices.ContainsFunc(meta.Brokers, func(b kadm.BrokerDetail) bool {
		dir, there := dirs[b.NodeID].LookupPartition(topic, 0)
		return there && dir.Size > 60
	}), "%v", dirs)
	producers := Ok(admin.DescribeProducers(ctx, set))[topic].Partitions[0]
	Must(producers.Err)
	Equal(1, len(producers.ActiveProducers), "producers")
	Equal(0, len(Ok(admin.ListTransactions(ctx, nil, nil))), "transactions")
	coordinator := admin.FindGroupCoordinators(ctx, topic)[topic]
	Must(coordinator.Err)
	That(slices.ContainsFunc(meta.Brokers, func(b kadm.BrokerDetail) bool { return b.NodeID == coordinator.NodeID }),
		"the coordinator is none of the brokers: %d", coordinator.NodeID)
	That(len(Ok(admin.ListConfigResources(ctx)).Resources) > 0, "no resources with configs")
}

func main() {
	adminClient := client()
	admin = kadm.NewClient(adminClient)
	for name, c := range map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()} {
		Check("codec "+name, func() { codec(name, c) })
	}
	Check("topics", topicsCheck)
	Check("configs", configsCheck)
	Check("delete records", deleteRecords)
	Check("offsets, times, epochs", offsets)
	Check("a group of two, cooperative-sticky", func() { group("cooperative", kgo.Balancers(kgo.CooperativeStickyBalancer())) })
	Check("a group of two, range", func() { group("range", kgo.Balancers(kgo.RangeBalancer())) })
	Check("a group of two, KIP-848", func() { group("server-side", kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())) })
	Check("kadm on a classic group", func() { groups("classic", kgo.Balancers(kgo.RangeBalancer())) })
	Check("kadm on a KIP-848 group", func() { groups("consumer", kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer())) })
	Check("cluster", cluster)
	Finish("kadm")
}
