/**
 * Lake in memory, for simulation: faults are inputs, thrown before or after a step took effect, so that a test can stop
 * the code under test at every step and look at what is left. Published files are also written below `root`, because DuckDB
 * reads files; the map is the truth.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { OperatingError } from '#io/errors.ts'
import type { Lake } from '#io/ports.ts'

/** One call on the lake; `attempt` counts all calls from 0. */
export interface LakeCall {
  readonly operation: 'temporary' | 'publish' | 'create' | 'read' | 'hash' | 'stamp' | 'list' | 'remove'
  readonly path: string
  readonly attempt: number
}

/** What happens at a call: `error` is thrown before anything happened, or after all of it did. */
export interface LakeFault {
  readonly when: 'before' | 'after'
  readonly error: Error
}

/** The lake in memory and its levers. */
export interface MemoryLake extends Lake {
  /** Content by path. */
  readonly files: Map<string, Uint8Array>
  /** Asked once per call; null lets it through. Assign to inject faults. */
  onCall: ((call: LakeCall) => LakeFault | null) | null
  /** Calls so far, and how many faults fired; a fault test asserts on it. */
  readonly calls: number
  readonly fired: number
  /** Puts other bytes under a path, or none (null), as damage at rest does. */
  damage(path: string, content: Uint8Array | null): void
  /** Removes the folder behind `root`. */
  dispose(): void
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** An empty lake. */
export function createMemoryLake(): MemoryLake {
  const root = mkdtempSync(join(tmpdir(), 'lake-'))
  const temporary = mkdtempSync(join(tmpdir(), 'lake-tmp-'))
  const files = new Map<string, Uint8Array>()
  let calls = 0
  let fired = 0
  let made = 0

  async function step<T>(operation: LakeCall['operation'], path: string, work: () => T): Promise<T> {
    // Every call is at least one turn: code that forgets to wait shows.
    await new Promise((resolve) => setImmediate(resolve))
    const attempt = calls++
    const fault = lake.onCall?.({ operation, path, attempt }) ?? null
    if (fault?.when === 'before') {
      fired++
      throw fault.error
    }
    const result = work()
    if (fault?.when === 'after') {
      fired++
      throw fault.error
    }
    return result
  }
  const onDisk = (path: string, content: Uint8Array | null): void => {
    const target = join(root, path)
    rmSync(target, { force: true })
    if (content === null) return
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, content)
  }

  const lake: MemoryLake = {
    root,
    files,
    onCall: null,
    get calls() {
      return calls
    },
    get fired() {
      return fired
    },
    temporaryPath: () => step('temporary', '', () => join(temporary, `file-${++made}`)),
    publishFile: (from, path) =>
      step('publish', path, () => {
        const content = new Uint8Array(readFileSync(from))
        const there = files.get(path)
        if (there !== undefined && sha256(there) !== sha256(content)) {
          throw new OperatingError('LAKE_DAMAGED', `${path} exists with other content`, { path })
        }
        files.set(path, content)
        onDisk(path, content)
        rmSync(from)
        return { sha256: sha256(content), bytes: content.length }
      }),
    createIfAbsent: (path, content) =>
      step('create', path, () => {
        if (files.has(path)) return false
        files.set(path, content.slice())
        return true
      }),
    read: (path) => step('read', path, () => files.get(path)?.slice() ?? null),
    hash: (path) =>
      step('hash', path, () => {
        const content = files.get(path)
        return content === undefined ? null : sha256(content)
      }),
    stamp: (path) =>
      step('stamp', path, () => {
        const content = files.get(path)
        return content === undefined ? null : sha256(content)
      }),
    list: (prefix) =>
      step('list', prefix, () => {
        const folder = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`
        return [...files.keys()].filter((path) => path.startsWith(folder)).sort()
      }),
    remove: (path) =>
      step('remove', path, () => {
        files.delete(path)
        onDisk(path, null)
      }),
    damage(path, content) {
      if (content === null) files.delete(path)
      else files.set(path, content)
      onDisk(path, content)
    },
    dispose() {
      rmSync(root, { recursive: true, force: true })
      rmSync(temporary, { recursive: true, force: true })
    },
  }
  return lake
}
