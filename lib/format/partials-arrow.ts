/**
 * Partial tables as Arrow IPC streams: what stands on live.<metric> and sealed.<metric>. One record batch each.
 *
 *   window_from  Timestamp(ms, UTC)
 *   d_<dim>      Dictionary<Int32, Utf8 | Int64 | Decimal128(38, scale) | Float64 | Bool>, null = null group value
 *   <m>_n        Int64          count, or number of values in a sum or average
 *   <m>_s        Decimal128(38, scale)   exact sum
 *   <m>_v        Int64 (unscaled) | Float64, null = no value yet       minimum, maximum
 *   late         Int64
 *
 * Columns are written by makeData over typed arrays, never through JS values per row. Names and meanings are those of the
 * views' Parquet columns, so any Arrow reader can follow the speed layer.
 */
import {
  Bool,
  type Data,
  type DataType,
  Decimal,
  Dictionary,
  Field,
  Float64,
  Int32,
  Int64,
  makeData,
  makeVector,
  RecordBatch,
  RecordBatchReader,
  RecordBatchStreamWriter,
  Schema,
  Struct,
  TimestampMillisecond,
  Utf8,
  vectorFromArray,
} from 'apache-arrow'
import { assert } from '#core/assert.ts'
import type { DictionaryColumn, GroupValue, PartialLayout, PartialTable } from '#core/partial.ts'

const TWO_32 = 4_294_967_296
/** Arrow's own accessor decodes with a decoder that drops a leading U+FEFF, which would make two groups one. */
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })

/** Safe integers of a strided column of doubles as little-endian int64, without a bigint per row. */
function int64Words(cells: Float64Array, count: number, stride: number, slot: number): BigInt64Array {
  const words = new Int32Array(count * 2)
  for (let row = 0, at = slot; row < count; row++, at += stride) {
    const value = cells[at]!
    words[row * 2] = value | 0
    words[row * 2 + 1] = Math.floor(value / TWO_32) | 0
  }
  return new BigInt64Array(words.buffer)
}

/** (hi, lo) pairs as 128-bit little-endian integers. */
function decimalWords(cells: Float64Array, count: number, stride: number, hiAt: number): Uint32Array {
  const words = new Int32Array(count * 4)
  for (let row = 0, at = hiAt; row < count; row++, at += stride) {
    const carry = Math.floor(cells[at + 1]! / TWO_32)
    const hi = cells[at]! + carry
    const upper = Math.floor(hi / TWO_32)
    words[row * 4] = cells[at + 1]! | 0
    words[row * 4 + 1] = hi | 0
    words[row * 4 + 2] = upper | 0
    words[row * 4 + 3] = upper < 0 ? -1 : 0
  }
  return new Uint32Array(words.buffer)
}

/** Bitmap of rows whose value is finite, or null when all are. */
function finiteBitmap(
  cells: Float64Array,
  count: number,
  stride: number,
  slot: number,
): { bitmap: Uint8Array; nulls: number } {
  const bitmap = new Uint8Array((count + 7) >> 3)
  let nulls = 0
  for (let row = 0, at = slot; row < count; row++, at += stride) {
    if (Number.isFinite(cells[at]!)) bitmap[row >> 3]! |= 1 << (row & 7)
    else nulls++
  }
  return { bitmap, nulls }
}

/** The dictionary's vector. The entry that stands for null is an unused placeholder: its rows are null by the index's bitmap. */
function dictionaryVector(kind: PartialLayout['dimensions'][number]['kind'], scale: number, column: DictionaryColumn) {
  if (kind === 'string' && column.utf8 !== undefined) {
    const { bytes, starts } = column.utf8
    return makeVector(makeData({ type: new Utf8(), length: starts.length - 1, valueOffsets: starts, data: bytes }))
  }
  const { values } = column
  switch (kind) {
    case 'string':
      return vectorFromArray(
        values.map((value) => (value ?? '') as string),
        new Utf8(),
      )
    case 'bool':
      return vectorFromArray(
        values.map((value) => value === true),
        new Bool(),
      )
    case 'float64':
      return makeVector(Float64Array.from(values, (value) => (value ?? 0) as number))
    case 'int64':
      return makeVector(BigInt64Array.from(values, (value) => BigInt((value ?? 0) as number | bigint)))
    case 'decimal': {
      const words = new BigInt64Array(values.length * 2)
      values.forEach((value, i) => {
        const exact = BigInt((value ?? 0) as bigint)
        words[i * 2] = BigInt.asIntN(64, exact)
        words[i * 2 + 1] = exact < 0n ? -1n : 0n
      })
      const type = new Decimal(scale, 38, 128)
      return makeVector(makeData({ type, length: values.length, data: new Uint32Array(words.buffer) }))
    }
  }
}

/** Encodes a table as one Arrow IPC stream. */
export function encodePartials(table: PartialTable): Uint8Array {
  const { layout, count, cells } = table
  const fields: Field[] = []
  const columns: Data[] = []
  const put = <T extends DataType>(name: string, type: T, data: Data<T>, nullable = false): void => {
    fields.push(new Field(name, type, nullable))
    columns.push(data)
  }
  const timestamp = new TimestampMillisecond('UTC')
  put(
    'window_from',
    timestamp,
    makeData({ type: timestamp, length: count, data: int64Words(table.windowFrom, count, 1, 0) }),
  )
  layout.dimensions.forEach((dimension, d) => {
    const column = table.dimensions[d]!
    const nullAt = column.utf8?.nullId ?? column.values.indexOf(null)
    const indices = column.index.subarray(0, count)
    let bitmap: Uint8Array | null = null
    let nulls = 0
    if (nullAt >= 0) {
      bitmap = new Uint8Array((count + 7) >> 3)
      for (let row = 0; row < count; row++) {
        if (indices[row] === nullAt) nulls++
        else bitmap[row >> 3]! |= 1 << (row & 7)
      }
    }
    const dictionary = dictionaryVector(dimension.kind, dimension.scale, column)
    const type = new Dictionary(dictionary.type as DataType, new Int32(), d)
    put(
      `d_${dimension.name}`,
      type,
      makeData({
        type,
        length: count,
        nullCount: nulls,
        nullBitmap: bitmap,
        data: indices,
        dictionary: dictionary as never,
      }) as never,
      true,
    )
  })
  for (const { name, kind, slot, scale, float } of layout.measures) {
    if (kind === 'count' || kind === 'sum' || kind === 'avg') {
      put(
        `${name}_n`,
        new Int64(),
        makeData({ type: new Int64(), length: count, data: int64Words(cells, count, layout.width, slot) }),
      )
    }
    if (kind === 'sum' || kind === 'avg') {
      const type = new Decimal(scale, 38, 128)
      put(
        `${name}_s`,
        type,
        makeData({ type, length: count, data: decimalWords(cells, count, layout.width, slot + 1) }),
      )
    }
    if (kind === 'min' || kind === 'max') {
      const { bitmap, nulls } = finiteBitmap(cells, count, layout.width, slot)
      if (float) {
        const values = new Float64Array(count)
        for (let row = 0; row < count; row++) values[row] = cells[row * layout.width + slot]!
        put(
          `${name}_v`,
          new Float64(),
          makeData({ type: new Float64(), length: count, nullCount: nulls, nullBitmap: bitmap, data: values }),
          true,
        )
      } else {
        const values = int64Words(cells, count, layout.width, slot)
        for (let row = 0, at = slot; row < count; row++, at += layout.width) {
          // Beyond 2^53 (or no value yet) the words above are not the value; these rows are rare.
          if (!Number.isSafeInteger(cells[at]!))
            values[row] = Number.isFinite(cells[at]!) ? BigInt(cells[at]!) + BigInt(cells[at + 1]!) : 0n
        }
        put(
          `${name}_v`,
          new Int64(),
          makeData({ type: new Int64(), length: count, nullCount: nulls, nullBitmap: bitmap, data: values }),
          true,
        )
      }
    }
  }
  put(
    'late',
    new Int64(),
    makeData({ type: new Int64(), length: count, data: int64Words(cells, count, layout.width, layout.late) }),
  )
  const schema = new Schema(fields)
  const batch = new RecordBatch(schema, makeData({ type: new Struct(fields), length: count, children: columns }))
  return RecordBatchStreamWriter.writeAll([batch]).toUint8Array(true)
}

/** Decodes what {@link encodePartials} wrote for the same layout; canonical sums (0 ≤ lo < 2^32). */
export function decodePartials(bytes: Uint8Array, layout: PartialLayout): PartialTable {
  const batch = [...RecordBatchReader.from(bytes)][0]
  assert(batch !== undefined, 'a record of partials holds one Arrow record batch')
  const count = batch.numRows
  const cells = new Float64Array(count * layout.width)
  const dataOf = (name: string): Data => {
    const column = batch.getChild(name)
    assert(column !== null, `partials have the column ${name}`)
    return column.data[0]!
  }
  const numbers = (name: string, slot: number): void => {
    const words = int32View(dataOf(name).values as BigInt64Array, count)
    for (let row = 0, at = slot; row < count; row++, at += layout.width)
      cells[at] = words[row * 2 + 1]! * TWO_32 + (words[row * 2]! >>> 0)
  }
  const windowFrom = new Float64Array(count)
  const windows = int32View(dataOf('window_from').values as BigInt64Array, count)
  for (let row = 0; row < count; row++) windowFrom[row] = windows[row * 2 + 1]! * TWO_32 + (windows[row * 2]! >>> 0)
  const dimensions = layout.dimensions.map((dimension) => {
    const data = dataOf(`d_${dimension.name}`)
    const index = Int32Array.from(data.values as Int32Array)
    const values: GroupValue[] = []
    const dictionary = data.dictionary!
    const texts = dimension.kind === 'string' ? dictionary.data[0] : undefined
    for (let i = 0; i < dictionary.length; i++) {
      values.push(texts === undefined ? groupValue(dimension, dictionary, i) : textAt(texts as Data<Utf8>, i))
    }
    if (data.nullCount > 0) {
      values.push(null)
      for (let row = 0; row < count; row++) if (!data.getValid(row)) index[row] = values.length - 1
    }
    return { values, index: index.subarray(0, count) }
  })
  for (const { name, kind, slot, float } of layout.measures) {
    if (kind === 'count' || kind === 'sum' || kind === 'avg') numbers(`${name}_n`, slot)
    if (kind === 'sum' || kind === 'avg') {
      const data = dataOf(`${name}_s`).values as Uint32Array
      const words = new Int32Array(data.buffer, data.byteOffset, count * 4)
      for (let row = 0, at = slot + 1; row < count; row++, at += layout.width) {
        cells[at] = words[row * 4 + 2]! * TWO_32 + (words[row * 4 + 1]! >>> 0)
        cells[at + 1] = words[row * 4]! >>> 0
      }
    }
    if (kind === 'min' || kind === 'max') {
      const data = dataOf(`${name}_v`)
      const none = kind === 'min' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY
      for (let row = 0, at = slot; row < count; row++, at += layout.width) {
        if (data.nullCount > 0 && !data.getValid(row)) cells[at] = none
        else if (float) cells[at] = (data.values as Float64Array)[row]!
        else {
          const value = (data.values as BigInt64Array)[row]!
          cells[at] = Number(value)
          cells[at + 1] = Number(value - BigInt(cells[at]!))
        }
      }
    }
  }
  numbers('late', layout.late)
  return { layout, count, windowFrom, dimensions, cells }
}

const int32View = (values: BigInt64Array, count: number): Int32Array =>
  new Int32Array(values.buffer, values.byteOffset, count * 2)

const textAt = ({ values, valueOffsets }: Data<Utf8>, i: number): string =>
  utf8.decode(values.subarray(valueOffsets[i], valueOffsets[i + 1]))

function groupValue(
  dimension: PartialLayout['dimensions'][number],
  dictionary: { get(i: number): unknown },
  i: number,
): GroupValue {
  const value = dictionary.get(i)
  switch (dimension.kind) {
    case 'int64': {
      const exact = value as bigint
      const number = Number(exact)
      return Number.isSafeInteger(number) ? number : exact
    }
    case 'decimal': {
      const words = value as Uint32Array
      return BigInt.asIntN(64, (BigInt(words[1]!) << 32n) | BigInt(words[0]!))
    }
    default:
      return value as GroupValue
  }
}
