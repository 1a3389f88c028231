/** The operating errors every event log throws in the same words, so that callers and tests cannot tell the adapters apart. */

import { LIMITS } from '#core/limits.ts'
import { OperatingError } from '#io/errors.ts'

/** The topic does not exist, or has no such partition. */
export function topicUnknown(topic: string, partition: number | null = null): OperatingError {
  const what = partition === null ? `topic ${topic} does not exist` : `topic ${topic} has no partition ${partition}`
  return new OperatingError('LOG_TOPIC_UNKNOWN', what, { topic, partition })
}

/** A position outside what the log holds: retention passed it, the log was cut, or the topic was created again. */
export function dataLossSuspected(
  topic: string,
  partition: number,
  offset: number,
  from: number,
  until: number,
): OperatingError {
  return new OperatingError(
    'DATA_LOSS_SUSPECTED',
    `position ${offset} of ${topic}/${partition} is outside the log, which holds [${from}, ${until})`,
    { topic, partition, offset, logFrom: from, logUntil: until },
  )
}

/** A record batch above `LIMITS.batchBytes`. */
export function batchTooLarge(topic: string, partition: number, bytes: number): OperatingError {
  return new OperatingError(
    'RECORD_TOO_LARGE',
    `a record batch of ${bytes} bytes is above the limit of ${LIMITS.batchBytes} bytes`,
    { topic, partition, bytes },
  )
}

/** An append whose outcome nobody knows. */
export function appendUnknown(topic: string, partition: number, message: string, cause?: unknown): OperatingError {
  return new OperatingError('LOG_APPEND_UNKNOWN', message, { topic, partition }, { cause })
}
