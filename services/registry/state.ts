/**
 * The registry over the folded topic: questions are answered from the table (and the log is read once more before one is answered
 * with "not there"), commands decide on the newest table and are acknowledged by the log. What they decide stands in
 * registration.ts and settings.ts. Refuses with Confluent's codes (refusal.ts). Upholds R1 to R4 for Avro.
 */
import type { Clock, EventLog } from '#io/ports.ts'
import { holdersFor } from './reading.ts'
import type { SchemaVersion } from './records.ts'
import { RegistryRefusal, refusals } from './refusal.ts'
import { type Entity, register, registered } from './registration.ts'
import type { SchemaRequest } from './request.ts'
import type { Decision, PassedOver, RegistryLogger } from './store.ts'
import { openStore } from './store.ts'
import type { SchemaTable } from './table.ts'

/** Everything the routes need. Every method may throw RegistryRefusal, and OperatingError when the log fails. */
export interface RegistryState {
  /** What the log says, as far as it was read; only to look at. */
  readonly table: SchemaTable
  /** Answers from the table; that something is not there is said only about the log's present end. */
  query<T>(question: (table: SchemaTable) => T): Promise<T>
  /** Makes a decision on the newest table so. */
  command<T>(decide: (table: SchemaTable) => Decision<T>): Promise<T>
  /** Registers or finds. */
  register(subject: string, request: SchemaRequest, options: { normalize: boolean }): Promise<Entity>
  /** The subjects and versions that hold an id, deleted ones too; at least one. `hint`: see `holdersFor`. */
  holders(id: number, hint?: string | null): Promise<readonly SchemaVersion[]>
  /** Records of the topic that count for nothing. */
  readonly passedOver: Readonly<PassedOver>
  /** Resolves when the log can be read to its end. */
  refresh(): Promise<void>
  close(): Promise<void>
}

/**
 * Opens the registry on a log.
 * @throws OperatingError LOG_UNREACHABLE, DATA_LOSS_SUSPECTED, CONFIG_INVALID
 */
export async function openRegistryState(deps: {
  log: EventLog
  clock: Clock
  logger: RegistryLogger
}): Promise<RegistryState> {
  const store = await openStore(deps)
  const { table } = store

  /** Another process may have restored or migrated schemas, or another registry written. */
  async function query<T>(question: (table: SchemaTable) => T): Promise<T> {
    try {
      return question(table)
    } catch (error) {
      if (!saysAbsent(error)) throw error
    }
    await store.refresh()
    return question(table)
  }

  return {
    table,
    query,
    command: (decide) => store.write(decide),
    async register(subject, request, options) {
      try {
        // What stands is answered without a look at the log: producers ask for it at every start.
        const known = registered(table, subject, request, options)
        if (known !== null) return known
      } catch (error) {
        if (!saysAbsent(error)) throw error
      }
      return store.write(() => register(table, subject, request, options))
    },
    holders: (id, hint = null) =>
      query(() => {
        const holders = holdersFor(table, id, hint)
        if (holders.length === 0) throw refusals.schemaIdNotFound(id)
        return holders
      }),
    passedOver: store.passedOver,
    refresh: () => store.refresh(),
    close: () => store.close(),
  }
}

const saysAbsent = (error: unknown): boolean => error instanceof RegistryRefusal && error.absent
