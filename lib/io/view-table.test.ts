import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { layoutOf } from '#core/partial.ts'
import type { ViewEntry } from '#schemas/view.ts'
import { openDuckDb, sqlText } from './duckdb.ts'
import { openLakeFolder } from './lake-folder.ts'
import { loadViewTable } from './view-table.ts'

test('[W11] texts of a view come as they are: empty, null, or with a U+FEFF in front, which is no byte order mark', async () => {
  const root = await mkdtemp(join(tmpdir(), 'tidemark-view-'))
  const duckdb = await openDuckDb({ threads: 1, memoryMb: 64, temporaryDirectory: null })
  onTestFinished(async () => {
    duckdb.close()
    await rm(root, { recursive: true })
  })
  const lake = await openLakeFolder(root)
  const texts = ['a', '\ufeffa', '\ufeff', '=a', '', null]
  const rows = texts.map((text, at) => `(${at}, ${text === null ? 'NULL' : sqlText(text)}, ${at})`).join(', ')
  const temporary = await lake.temporaryPath()
  await duckdb.run(
    `COPY (SELECT * FROM (VALUES ${rows}) AS r(window_from, d_k, late)) TO ${sqlText(temporary)} (FORMAT parquet)`,
  )
  const file = { path: 'views/v.parquet', ...(await lake.publishFile(temporary, 'views/v.parquet')) }
  const entry = { metric: 'm', cut: 1, rows: texts.length, files: [file] } as unknown as ViewEntry
  const table = await loadViewTable({ lake, duckdb }, entry, layoutOf([{ name: 'k', kind: 'string', scale: 0 }], []))
  const { values, index } = table.dimensions[0]!
  expect([...table.windowFrom]).toEqual([0, 1, 2, 3, 4, 5])
  expect([...index].map((id) => values[id])).toEqual(texts)
})
