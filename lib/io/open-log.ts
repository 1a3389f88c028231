/** Opens whichever event log a plain configuration names; the configuration can be sent to worker threads as it is. */
import { openKafkaLog } from '#io/log-kafka.ts'
import { openSqliteLog } from '#io/log-sqlite.ts'
import type { Clock, EventLog } from '#io/ports.ts'

/** Which log, as plain data. */
export type LogConfig =
  | { readonly kind: 'sqlite'; readonly directory: string; readonly durability: 'fsync' | 'os' }
  | { readonly kind: 'kafka'; readonly brokers: readonly string[]; readonly clientId?: string }

/** An open log. The embedded one applies retention when told to (`sweep`); Kafka does so by itself and has no such method. */
export interface OpenLog extends EventLog {
  /** Deletes what is older than its topic's retention; how many batches. */
  readonly sweep?: () => Promise<number>
}

/**
 * Opens the log. `lock` takes the embedded log's process lock: true in the main thread, false in its workers; Kafka ignores it.
 * @throws OperatingError LOG_LOCKED, LOG_UNREACHABLE, DATA_DIR_UNWRITABLE
 */
export async function openLog(config: LogConfig, options: { clock: Clock; lock: boolean }): Promise<OpenLog> {
  const { clock, lock } = options
  if (config.kind === 'kafka') {
    return openKafkaLog({ brokers: config.brokers, clientId: config.clientId ?? 'tidemark', clock })
  }
  return openSqliteLog({ directory: config.directory, durability: config.durability, clock, lock })
}
