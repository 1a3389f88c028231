/** Record batches on their way to and from Kafka: claimed for a producer, told apart from others, judged as aborted. */
import { crc32c } from '#format/crc32c.ts'
import { readHeader } from '#format/record-batch.ts'
import type { FetchedPartition } from '#io/kafkajs-requests.ts'
import type { FetchedBatch } from '#io/ports.ts'

const ATTRIBUTES_AT = 21
const PRODUCER_AT = 43
const EPOCH_AT = 51
const SEQUENCE_AT = 53
const CRC_AT = 17
const CONTROL = 32

/** Who sent a batch: no two batches of a partition carry the same claim. */
export interface Claim {
  readonly producerId: bigint
  readonly producerEpoch: number
  /** Sequence number of the first record, int32, per partition and producer. */
  readonly sequence: number
}

function seal(bytes: Buffer): Buffer {
  bytes.writeUInt32BE(crc32c(bytes.subarray(ATTRIBUTES_AT)), CRC_AT)
  return bytes
}

/** A copy of the batch that carries the claim, by which the broker refuses to take it twice. */
export function claimBatch(batch: Uint8Array, claim: Claim): Buffer {
  const bytes = Buffer.from(batch)
  bytes.writeBigInt64BE(claim.producerId, PRODUCER_AT)
  bytes.writeInt16BE(claim.producerEpoch, EPOCH_AT)
  bytes.writeInt32BE(claim.sequence, SEQUENCE_AT)
  return seal(bytes)
}

/** True when the batch carries exactly this claim. */
export function carriesClaim(batch: Buffer, claim: Claim): boolean {
  return (
    batch.readBigInt64BE(PRODUCER_AT) === claim.producerId &&
    batch.readInt16BE(EPOCH_AT) === claim.producerEpoch &&
    batch.readInt32BE(SEQUENCE_AT) === claim.sequence
  )
}

/** A copy marked as control: its offsets count, its records do not. */
function asControl(batch: Buffer): Buffer {
  const bytes = Buffer.from(batch)
  bytes.writeInt16BE(bytes.readInt16BE(ATTRIBUTES_AT) | CONTROL, ATTRIBUTES_AT)
  return seal(bytes)
}

/**
 * The batches of one fetch at or above `position`, with those of aborted transactions made control batches. A transaction
 * is aborted from its listed first offset to its producer's next marker, whatever other transactions lie between;
 * the cluster lists by completion, so the list is sorted first. Source: Kafka's own consumer, CompletedFetch.
 */
export function judgeFetched(fetched: FetchedPartition, position: number): FetchedBatch[] {
  const { partition, batches } = fetched
  const aborted = (fetched.abortedTransactions ?? [])
    .map(({ producerId, firstOffset }) => ({ producerId: Number(producerId), firstOffset: Number(firstOffset) }))
    .toSorted((a, b) => a.firstOffset - b.firstOffset)
  const active = new Set<number>()
  const out: FetchedBatch[] = []
  let next = 0
  for (const batch of batches) {
    const { baseOffset, lastOffset, producerId, control, transactional } = readHeader(batch)
    for (; next < aborted.length && aborted[next]!.firstOffset <= lastOffset; next++)
      active.add(aborted[next]!.producerId)
    const isAborted = transactional && !control && active.has(producerId)
    if (control) active.delete(producerId)
    if (lastOffset < position) continue
    out.push({ partition, baseOffset, lastOffset, bytes: isAborted ? asControl(batch) : batch })
  }
  return out
}
