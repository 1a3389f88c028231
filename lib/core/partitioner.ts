/**
 * Key → partition as JVM producers choose it, so that records of one key stay in one partition whoever produced them (rule K2).
 * Null keys have no partition here: the producer spreads them before it appends.
 * Source: Apache Kafka, org.apache.kafka.common.utils.Utils.murmur2 and BuiltInPartitioner.partitionForKey.
 */
import { assert } from './assert.ts'

const SEED = 0x9747b28c
const M = 0x5bd1e995

/** Murmur2 of the bytes with Kafka's seed, as a signed int32 like the JVM's. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length
  const tail = length & ~3
  let hash = SEED ^ length
  for (let i = 0; i < tail; i += 4) {
    let block = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    block = Math.imul(block, M)
    block ^= block >>> 24
    hash = Math.imul(hash, M) ^ Math.imul(block, M)
  }
  const rest = length & 3
  if (rest === 3) hash ^= bytes[tail + 2]! << 16
  if (rest >= 2) hash ^= bytes[tail + 1]! << 8
  if (rest >= 1) hash = Math.imul(hash ^ bytes[tail]!, M)
  hash ^= hash >>> 13
  hash = Math.imul(hash, M)
  return hash ^ (hash >>> 15)
}

/** Partition, 0-based, of a serialised key among `partitions` (at least 1). */
export function partitionOf(key: Uint8Array, partitions: number): number {
  assert(Number.isInteger(partitions) && partitions > 0, 'a topic has at least one partition')
  return (murmur2(key) & 0x7fffffff) % partitions
}
