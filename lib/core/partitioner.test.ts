/** Goal: a key goes where a JVM producer sends it. Method: the hashes that Kafka publishes with its own tests. */
import { expect, test } from 'vitest'
import { murmur2, partitionOf } from './partitioner.ts'

const bytes = (content: string): Uint8Array => new TextEncoder().encode(content)

/** Source: Apache Kafka, clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java, testMurmur2. */
test.each([
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
])('[D3] murmur2 of %j is the published %i', (key, hash) => {
  expect(murmur2(bytes(key))).toBe(hash)
})

test('[D3] a key goes where a JVM producer sends it', () => {
  expect(partitionOf(bytes('21'), 4)).toBe((-973932308 & 0x7fffffff) % 4)
  expect(partitionOf(bytes('abc'), 7)).toBe(479470107 % 7)
  for (let partitions = 1; partitions < 20; partitions++) {
    const partition = partitionOf(bytes(''), partitions)
    expect(partition >= 0 && partition < partitions).toBe(true)
  }
  expect(() => partitionOf(bytes('a'), 0)).toThrow('at least one partition')
})
