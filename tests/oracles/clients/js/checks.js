// kafkajs against BOOTSTRAP: codecs, groups of two, offsets, every call of its admin client that one node without
// security can mean. A check compares what came back with what was sent, or it fails.
'use strict'
const assert = require('node:assert/strict')
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = require('kafkajs')
const SnappyCodec = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const { ZstdCodec } = require('zstd-codec')

CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: async (buffer) => lz4.decompressFrame(buffer),
})
const zstd = new Promise((resolve) => ZstdCodec.run((z) => resolve(new z.Simple())))
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from((await zstd).decompress(buffer)),
})

const kafka = new Kafka({
  clientId: 'checks', brokers: [process.env.BOOTSTRAP], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 100 },
})
const admin = kafka.admin()
const RUN = `${process.pid}-${Date.now() % 1e9}`
const TOPIC = `kafkajs-${RUN}`
const PARTITIONS = 4
const EVERY = [0, 1, 2, 3]
const OLD = [{ name: 'retention.ms', value: '-1' }]  // the timestamps of the records are old
let passed = 0
let failed = 0

async function check(name, body) {
  const begin = Date.now()
  try {
    let timer
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('not within 100 s')), 100e3) })
    await Promise.race([body(), late])
    clearTimeout(timer)
    passed++
    console.log(`ok      ${name} (${(Date.now() - begin) / 1000} s)`)
  } catch (error) {
    failed++
    console.log(`FAILED  ${name}: ${error.stack}`)
  }
}

async function eventually(condition, what, seconds = 40) {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const got = await condition()
    if (got) return got
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${typeof what === 'function' ? what() : what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function fails(type, call) {
  try {
    await call()
  } catch (error) {
    const text = [error.type, error.message, ...(error.errors || []).map((e) => e.type),
      ...(error.groups || []).map((g) => g.error && g.error.type)].join(' ')
    assert.ok(text.includes(type), `expected ${type}, got ${text}`)
    return
  }
  throw new Error(`expected ${type}, and it did not fail`)
}

async function create(topic, numPartitions = PARTITIONS, configEntries = []) {
  const done = await admin.createTopics({
    waitForLeaders: true, topics: [{ topic, numPartitions, replicationFactor: 1, configEntries }],
  })
  assert.equal(done, true)
}

async function produce(topic, first, count) {
  const producer = kafka.producer()
  await producer.connect()
  const messages = []
  for (let i = first; i < first + count; i++) messages.push({ value: `value ${i}`, partition: i % PARTITIONS })
  await producer.send({ topic, messages })
  await producer.disconnect()
}

// A member of a group: what it has got, and which partitions it owns.
class Member {
  constructor(groupId, topic, more = {}) {
    this.got = []
    this.partitions = []
    this.consumer = kafka.consumer({ groupId, heartbeatInterval: 300, sessionTimeout: 10000, maxWaitTimeInMs: 100, ...more })
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => {
      this.partitions = payload.memberAssignment[topic] || []
      this.payload = payload
    })
    this.topic = topic
  }

  async start() {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [this.topic], fromBeginning: true })
    await this.consumer.run({
      eachBatchAutoResolve: true,
      eachBatch: async ({ batch, resolveOffset, commitOffsetsIfNecessary }) => {
        for (const m of batch.messages) {
          this.got.push({ partition: batch.partition, offset: Number(m.offset), key: m.key, value: m.value, headers: m.headers, timestamp: m.timestamp })
          resolveOffset(m.offset)
        }
        await commitOffsetsIfNecessary()
        await this.consumer.commitOffsets([{ topic: this.topic, partition: batch.partition, offset: String(Number(batch.lastOffset()) + 1) }])
      },
    })
    return this
  }

  async stop() {
    await this.consumer.disconnect()
    this.partitions = []
  }
}

async function read(topic, count) {
  const member = await new Member(`${topic}-${Math.random()}`, topic).start()
  await eventually(() => member.got.length >= count, () => `${member.got.length} of ${count} records`)
  await member.stop()
  assert.equal(member.got.length, count)
  return member.got
}

function record(i) {
  const key = i % 5 === 4 ? null : `key-${i % 7}`
  return {
    key, value: i % 11 === 10 && key ? null : `record ${i}: ${'text to compress '.repeat(8)}`,
    headers: { i: String(i), same: '' }, timestamp: String(1_700_000_000_000 + i), partition: 0,
  }
}

async function codec(name, compression) {
  const topic = `${TOPIC}-${name}`
  await create(topic, 1, OLD)
  const producer = kafka.producer({ idempotent: name === 'none', maxInFlightRequests: name === 'none' ? 1 : null })
  await producer.connect()
  for (let first = 0; first < 300; first += 100) {
    const messages = Array.from({ length: 100 }, (_, i) => record(first + i))
    const [done] = await producer.send({ topic, compression, messages })
    assert.equal(done.baseOffset, String(first))
  }
  await producer.disconnect()
  const rows = await read(topic, 300)
  rows.forEach((row, i) => {
    const want = record(i)
    assert.deepEqual({
      key: row.key && row.key.toString(), value: row.value && row.value.toString(), offset: row.offset, timestamp: row.timestamp,
      headers: { i: row.headers.i.toString(), same: row.headers.same.toString() },
    }, { key: want.key, value: want.value, offset: i, timestamp: want.timestamp, headers: want.headers })
  })
}

async function group() {
  const topic = `${TOPIC}-group`
  await create(topic)
  const a = await new Member(topic, topic).start()
  await eventually(() => a.partitions.length === 4, 'one member')
  await produce(topic, 0, 200)
  await eventually(() => a.got.length >= 200, () => `${a.got.length} of 200 records`)
  const b = await new Member(topic, topic).start()
  await eventually(() => {
    const both = [...a.partitions, ...b.partitions].sort()
    return a.partitions.length === 2 && JSON.stringify(both) === JSON.stringify(EVERY)
  }, () => `two members: ${a.partitions} and ${b.partitions}`)
  const owned = { a: new Set(a.partitions), b: new Set(b.partitions) }
  await produce(topic, 200, 200)
  await eventually(() => a.got.length + b.got.length >= 400, () => `${a.got.length} + ${b.got.length} of 400`)
  assert.deepEqual([a.got.length, b.got.length], [300, 100])
  assert.ok(a.got.slice(200).every((m) => owned.a.has(m.partition)) && b.got.every((m) => owned.b.has(m.partition)))
  await a.stop()
  await eventually(() => b.partitions.length === 4, 'the second alone')
  await produce(topic, 400, 200)
  await eventually(() => a.got.length + b.got.length >= 600, () => `${a.got.length} + ${b.got.length} of 600`)
  await b.stop()
  const values = [...a.got, ...b.got].map((m) => m.value.toString()).sort()
  assert.deepEqual(values, Array.from({ length: 600 }, (_, i) => `value ${i}`).sort())
  await produce(topic, 600, 40)
  const c = await new Member(topic, topic).start()
  await eventually(() => c.got.length >= 40, 'the member that came back')
  await c.stop()
  assert.deepEqual(c.got.map((m) => m.value.toString()).sort(), Array.from({ length: 40 }, (_, i) => `value ${600 + i}`).sort())
  const [{ partitions }] = await admin.fetchOffsets({ groupId: topic, topics: [topic] })
  assert.deepEqual(partitions.map((p) => [p.partition, p.offset]).sort(), EVERY.map((p) => [p, '160']))
}

async function offsets() {
  const topic = `${TOPIC}-offsets`
  await create(topic, 1, OLD)
  const producer = kafka.producer()
  await producer.connect()
  await producer.send({ topic, messages: Array.from({ length: 50 }, (_, i) => ({ value: String(i), timestamp: String(1_000_000 + i * 1000) })) })
  await producer.disconnect()
  assert.deepEqual(await admin.fetchTopicOffsets(topic), [{ partition: 0, offset: '50', high: '50', low: '0' }])
  assert.deepEqual(await admin.fetchTopicOffsetsByTimestamp(topic, 1_000_000 + 17_500), [{ partition: 0, offset: '18' }])
  assert.deepEqual(await admin.fetchTopicOffsetsByTimestamp(topic, 9_000_000), [{ partition: 0, offset: '50' }])
  const member = new Member(`${topic}-group`, topic)
  await member.start()
  await eventually(() => member.got.length >= 50, 'all records')
  member.consumer.seek({ topic, partition: 0, offset: '33' })
  await eventually(() => member.got.length >= 67, 'records after the seek')
  assert.deepEqual(member.got.slice(50).map((m) => [m.offset, m.value.toString()]), Array.from({ length: 17 }, (_, i) => [33 + i, String(33 + i)]))
  await member.stop()
}

async function topics() {
  const topic = `${TOPIC}-topics`
  await create(topic, 2, [{ name: 'cleanup.policy', value: 'compact' }])
  assert.equal(await admin.createTopics({ topics: [{ topic }] }), false)  // it is there
  await fails('INVALID_REPLICATION_FACTOR', () => admin.createTopics({ topics: [{ topic: `${topic}x`, replicationFactor: 9 }] }))
  await admin.createTopics({ validateOnly: true, waitForLeaders: false, topics: [{ topic: `${topic}x` }] })
  const names = await admin.listTopics()
  assert.ok(names.includes(topic) && !names.includes(`${topic}x`))
  await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
  const described = await eventually(async () => {
    const meta = await admin.fetchTopicMetadata({ topics: [topic] })
    return meta.topics[0].partitions.length === 5 && meta.topics[0]
  }, 'five partitions')
  assert.deepEqual(described.partitions.map((p) => p.partitionId).sort(), [0, 1, 2, 3, 4])
  assert.ok(described.partitions.every((p) => p.leader === p.replicas[0] && p.leader === p.isr[0]))
  await fails('INVALID_PARTITIONS', () => admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] }))
  await admin.deleteTopics({ topics: [topic] })
  await eventually(async () => !(await admin.listTopics()).includes(topic), 'deleted')
  await fails('does not host this topic-partition', () => kafka.admin({ retry: { retries: 0 } }).deleteTopics({ topics: [topic] }))
}

async function configs() {
  const topic = `${TOPIC}-configs`
  await create(topic, 1, [{ name: 'retention.ms', value: '1234567' }])
  const now = async (type, name) => {
    const { resources } = await admin.describeConfigs({ includeSynonyms: true, resources: [{ type, name }] })
    assert.equal(resources[0].errorCode, 0)
    return Object.fromEntries(resources[0].configEntries.map((e) => [e.configName, e.configValue]))
  }
  const { TOPIC: ofTopic, BROKER: ofBroker } = ConfigResourceTypes
  assert.equal((await now(ofTopic, topic))['retention.ms'], '1234567')
  await admin.alterConfigs({ validateOnly: false, resources: [{ type: ofTopic, name: topic, configEntries: [{ name: 'segment.ms', value: '7777777' }] }] })
  const kept = await eventually(async () => {
    const rows = await now(ofTopic, topic)
    return rows['segment.ms'] === '7777777' && rows
  }, 'altered')
  assert.equal(kept['retention.ms'], '604800000')
  await fails('INVALID_CONFIG', () => admin.alterConfigs({ validateOnly: true, resources: [{ type: ofTopic, name: topic, configEntries: [{ name: 'segment.ms', value: 'soon' }] }] }))
  const { brokers } = await admin.describeCluster()
  assert.equal((await now(ofBroker, String(brokers[0].nodeId)))['num.partitions'], '4')
}

async function deleteRecords() {
  const topic = `${TOPIC}-delete-records`
  await create(topic)
  await produce(topic, 0, 40)
  await admin.fetchTopicOffsets(topic)  // kafkajs looks for leaders only among topics that it has asked about
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 1, offset: '4' }, { partition: 2, offset: '-1' }] })
  const low = Object.fromEntries((await admin.fetchTopicOffsets(topic)).map((p) => [p.partition, p.low]))
  assert.deepEqual(low, { 0: '0', 1: '4', 2: '10', 3: '0' })
  assert.equal((await read(topic, 26)).length, 26)
}

async function groups() {
  const topic = `${TOPIC}-admin`
  await create(topic)
  await produce(topic, 0, 40)
  const member = await new Member(topic, topic).start()
  await eventually(() => member.got.length >= 40, 'all records')
  const described = await eventually(async () => {
    const { groups: [row] } = await admin.describeGroups([topic])
    return row.state === 'Stable' && row
  }, 'a stable group')
  assert.deepEqual([described.protocolType, described.protocol, described.members.length, described.members[0].clientId], ['consumer', 'RoundRobinAssigner', 1, 'checks'])
  const { groups: listed } = await admin.listGroups()
  assert.ok(listed.some((g) => g.groupId === topic && g.protocolType === 'consumer'))
  await fails('NON_EMPTY_GROUP', () => admin.deleteGroups([topic]))
  await member.stop()
  const offsetsNow = async () => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: topic, topics: [topic] })
    return partitions.sort((x, y) => x.partition - y.partition).map((p) => p.offset)
  }
  await eventually(async () => (await admin.describeGroups([topic])).groups[0].state === 'Empty', 'empty')
  assert.deepEqual(await offsetsNow(), ['10', '10', '10', '10'])
  await admin.setOffsets({ groupId: topic, topic, partitions: [{ partition: 0, offset: '3' }, { partition: 1, offset: '5' }] })
  assert.deepEqual(await offsetsNow(), ['3', '5', '10', '10'])
  await admin.resetOffsets({ groupId: topic, topic, earliest: true })
  const [{ partitions: resolved }] = await admin.fetchOffsets({ groupId: topic, topics: [topic], resolveOffsets: true })
  assert.deepEqual(resolved.map((p) => p.offset), ['0', '0', '0', '0'])
  await eventually(async () => (await admin.describeGroups([topic])).groups[0].state === 'Empty', 'empty again')
  assert.deepEqual((await admin.deleteGroups([topic])).map((g) => [g.groupId, g.errorCode || 0]), [[topic, 0]])
  await fails('GROUP_ID_NOT_FOUND', () => admin.deleteGroups([topic]))
}

async function cluster() {
  const described = await admin.describeCluster()
  assert.ok(described.clusterId && described.brokers.some((b) => b.nodeId === described.controller))
  assert.deepEqual((await admin.listPartitionReassignments({ topics: null })).topics, [])
}

async function main() {
  await admin.connect()
  for (const [name, type] of Object.entries({ none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' })) {
    await check(`codec ${name}`, () => codec(name, CompressionTypes[type]))
  }
  await check('topics', topics)
  await check('configs', configs)
  await check('deleteTopicRecords', deleteRecords)
  await check('offsets, times, seek', offsets)
  await check('a group of two', group)
  await check('groups through the admin client', groups)
  await check('cluster', cluster)
  console.log(`kafkajs: ${passed} passed, ${failed} failed`)
  process.exit(passed > 0 && failed === 0 ? 0 : 1)
}

main().catch((error) => {
  console.log(error.stack)
  console.log('kafkajs: 0 passed, 1 failed')
  process.exit(1)
})
