/**
 * Failpoints: named places before and after every durable step at which a test can kill the process for good.
 *
 *   FAIL=archive.renamed:2 node …      SIGKILL at the second time `archive.renamed` is passed
 *
 * A kill is a SIGKILL: no handler runs, nothing is flushed, as when the machine's owner pulls the plug of the process.
 * Without FAIL a failpoint is one comparison.
 */

/** Every place there is; the kill tests run over this list. */
export const FAILPOINTS = [
  'lake.written',
  'lake.synced',
  'lake.published',
  'lake.entry-written',
  'lake.entry-linked',
  'archive.file-finished',
  'archive.dead-letters',
  'archive.file-published',
  'archive.entry',
  'speed.before-live',
  'speed.after-live',
  'speed.before-sealed',
  'speed.sealed-metric',
  'speed.after-sealed',
  'speed.after-checkpoint',
  'batch.view-file',
  'batch.view-entry',
  'batch.drift-report',
  'ingest.before-append',
  'ingest.after-append',
  'barriers.reserved',
  'barriers.appended',
  'barriers.recorded',
  'registry.allotted',
  'registry.appended',
] as const

/** Name of a place. */
export type Failpoint = (typeof FAILPOINTS)[number]

const armed = parse(process.env['FAIL'])
let passed = 0

function parse(text: string | undefined): { name: string; occurrence: number } | null {
  if (text === undefined || text === '') return null
  const [name = '', occurrence = '1'] = text.split(':')
  return { name, occurrence: Number(occurrence) }
}

/** Kills the process when FAIL names this place and it is passed for the stated time. */
export function failpoint(name: Failpoint): void {
  if (armed === null || armed.name !== name) return
  passed++
  if (passed === armed.occurrence) process.kill(process.pid, 'SIGKILL')
}
