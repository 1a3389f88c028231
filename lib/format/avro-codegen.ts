/**
 * Text of the generated projector (see avro-projector.ts). Nothing of a schema but numbers reaches the text: field names, symbols
 * and defaults are passed as values, so no schema can inject code.
 *
 * Per record: envelope varints, key, value, header block · frame · every writer field in wire order into locals
 * (`v3` number, `f3`/`u3` byte range, `z3` null, `s3` start) · `p === ve` · event time · only then the row is written, so a dead
 * record leaves no trace in the chunk. A test that fails breaks out of `body`, and the slow reader says why.
 *
 * Varints are unrolled: 28 bits in `lo`, 28 in `hi`, the last two bytes in `top`; int32 operations only, doubles where the
 * halves meet. A value is wide beyond ±SAFE_MAX and is then read again, exactly, from `s3`.
 */
import { CHUNK_ROWS, type ColumnSpec, SAFE_MAX } from '#core/columns.ts'
import { EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS } from '#core/time.ts'
import type { Resolution, Source } from './avro-resolution.ts'
import type { FlatField } from './avro-schema.ts'

/** What the text depends on. `wanted` are indices of reader fields, `specs` their columns. */
export interface CodeOptions {
  readonly resolution: Resolution
  readonly writerId: number
  readonly eventTime: { readonly source: Source; readonly unit: 'ms' | 's' | 'us' | 'iso' }
  readonly wanted: readonly number[]
  readonly specs: readonly ColumnSpec[]
  readonly envelope: boolean
}

const BAD = 'break body'

/** Strings longer than this are checked natively: the call costs as much as this many bytes in a loop. */
const NATIVE_UTF8_BYTES = 80

/** Reads a zigzag varint of at most 32 bits into `name` (still zigzag); a longer one is bad. */
function varint32(name: string): string {
  return `
      ${name} = b[p++]
      if (${name} > 127) {
        y = b[p++]; ${name} = (${name} & 127) | (y & 127) << 7
        if (y > 127) { y = b[p++]; ${name} |= (y & 127) << 14
          if (y > 127) { y = b[p++]; ${name} |= (y & 127) << 21
            if (y > 127) { y = b[p++]; if (y > 15) ${BAD}; ${name} |= y << 28 } } }
      }`
}

/** Reads a long into the double `v`: exact within ±SAFE_MAX, somewhere beyond it otherwise. */
function long(v: string): string {
  return `
      lo = b[p++]
      if (lo < 128) ${v} = (lo >>> 1) ^ -(lo & 1)
      else {
        hi = 0; top = 0
        y = b[p++]; lo = (lo & 127) | (y & 127) << 7
        if (y > 127) { y = b[p++]; lo |= (y & 127) << 14
          if (y > 127) { y = b[p++]; lo |= (y & 127) << 21
            if (y > 127) { y = b[p++]; hi = y & 127
              if (y > 127) { y = b[p++]; hi |= (y & 127) << 7
                if (y > 127) { y = b[p++]; hi |= (y & 127) << 14
                  if (y > 127) { y = b[p++]; hi |= (y & 127) << 21
                    if (y > 127) { y = b[p++]; top = y & 127
                      if (y > 127) { y = b[p++]; if (y > 1) ${BAD}; top |= y << 7 } } } } } } } }
        ${v} = (lo >>> 1) + hi * 134217728
        if (top !== 0) ${v} += top * 36028797018963968
        if ((lo & 1) !== 0) ${v} = -1 - ${v}
      }`
}

/** Skips a long, checking that it is one. */
const SKIP_LONG = `
      e = p + 9
      while (b[p] > 127 && p < e) p++
      if (p === e && b[p] > 1) ${BAD}
      p++`

/** Length varint and bounds: leaves the range in [f, u) and p behind it. */
function range(f: string, u: string): string {
  return `${varint32('x')}
      if ((x & 1) !== 0) ${BAD}
      x >>>= 1
      if (x > ve - p) ${BAD}
      ${f} = p; ${u} = p + x | 0`
}

function string(f: string, u: string, text: boolean): string {
  if (!text) return `${range(f, u)}\n      p = ${u}`
  return `${range(f, u)}
      if (x > ${NATIVE_UTF8_BYTES}) { if (!H.isUtf8(b.subarray(${f}, ${u}))) ${BAD} }
      else {
        acc = 0
        while (p < ${u}) acc |= b[p++]
        if (acc > 127 && !H.isUtf8(b.subarray(${f}, ${u}))) ${BAD}
      }
      p = ${u}`
}

function decimal(field: FlatField, i: number): string {
  const bound = 10 ** field.precision
  // Six bytes hold ±2^47; a bound beyond that needs no test there.
  const test = bound < 2 ** 47 ? `if (v${i} >= ${bound} || v${i} <= -${bound}) ${BAD}` : ''
  const from =
    field.avro === 'fixed'
      ? `if (${field.size} > ve - p) ${BAD}\n      f${i} = p; u${i} = p + ${field.size} | 0`
      : range(`f${i}`, `u${i}`)
  return `${from}
      if (u${i} === p) ${BAD}
      if (u${i} - p <= 6) {
        v${i} = b[p++] << 24 >> 24
        while (p < u${i}) v${i} = v${i} * 256 + b[p++]
        ${test}
      } else {
        v${i} = H.decimalNumber(b, p, u${i} - p, ${field.precision})
        if (v${i} === Infinity) ${BAD}
        p = u${i}
      }`
}

/** Reads field i's value (not its union index). `needed`: somebody wants it, so locals must be left. */
function value(field: FlatField, i: number, text: boolean, needed: boolean): string {
  switch (field.avro) {
    case 'boolean':
      return needed ? `v${i} = b[p++] === 0 ? 0 : 1` : 'p++'
    case 'int':
      return `${varint32('x')}${needed ? `\n      v${i} = (x >>> 1) ^ -(x & 1)` : ''}`
    case 'long':
      return needed ? `s${i} = p${long(`v${i}`)}` : SKIP_LONG
    case 'float':
    case 'double': {
      const [width, get] = field.avro === 'float' ? [4, 'getFloat32'] : [8, 'getFloat64']
      return `if (${width} > ve - p) ${BAD}
      d = view.${get}(p, true); p += ${width}
      if (d - d !== 0) ${BAD}${needed ? `\n      v${i} = d` : ''}`
    }
    case 'enum':
      return `${varint32('x')}
      if ((x & 1) !== 0 || (x >>> 1) >= ${field.symbols.length}) ${BAD}${needed ? `\n      v${i} = x >>> 1` : ''}`
    case 'string':
      return string(`f${i}`, `u${i}`, text)
    case 'bytes':
      return field.kind === 'decimal' ? decimal(field, i) : string(`f${i}`, `u${i}`, text)
    case 'fixed':
      return field.kind === 'decimal'
        ? decimal(field, i)
        : `if (${field.size} > ve - p) ${BAD}\n      f${i} = p; p = u${i} = p + ${field.size} | 0`
  }
}

const ZERO = (field: FlatField, i: number): string =>
  field.avro === 'string' || field.avro === 'bytes' || field.avro === 'fixed'
    ? `f${i} = 0; u${i} = 0; v${i} = 0`
    : `v${i} = 0`

function read(field: FlatField, i: number, text: boolean, needed: boolean): string {
  const body = value(field, i, text, needed)
  if (!field.nullable) return body
  return `x = b[p++]
      if (x === ${2 * field.valueIndex}) { ${needed ? `z${i} = 0` : ''}
      ${body}
      } else if (x === ${2 * field.nullIndex}) { ${needed ? `z${i} = 1; ${ZERO(field, i)}` : ''} }
      else ${BAD}`
}

/** Leaves the record's event time, ms, in `t`. */
function eventTime({ resolution, eventTime: { source, unit } }: CodeOptions): string {
  const bounds = `if (!(t >= ${EVENT_TIME_MIN_MS} && t <= ${EVENT_TIME_MAX_MS})) ${BAD}`
  if (source.field < 0) return `t = TIME\n      ${bounds}`
  const i = source.field
  const field = resolution.writer.fields[i]!
  const missing = field.nullable ? `if (z${i} === 1) ${BAD}\n      ` : ''
  if (unit === 'iso') return `${missing}t = H.parseInstant(b, f${i}, u${i})\n      ${bounds}`
  if (unit === 'ms') return `${missing}t = v${i}\n      ${bounds}`
  if (unit === 's') return `${missing}t = v${i} * 1000\n      ${bounds}`
  // Below 2^53 the quotient is below 2^44, where doubles lie less than 0.002 apart: k - 0.001 never rounds to k. Beyond
  // 2^53 only a bigint can be floored.
  const wide =
    field.avro === 'long'
      ? `if (v${i} > ${SAFE_MAX} || v${i} < -${SAFE_MAX}) t = H.instantOf(H.readLong(b, s${i}), 'us')\n      else `
      : ''
  return `${missing}${wide}t = Math.floor(v${i} / 1000)\n      ${bounds}`
}

/** Writes column j's cell of row n. */
function commit(options: CodeOptions, j: number): string {
  const { resolution, wanted, specs } = options
  const source = resolution.sources[wanted[j]!]!
  const { kind } = specs[j]!
  const texts = kind === 'string' || kind === 'bytes'
  const setNull = `if (ok${j} === null) ok${j} = H.makeValid(C[${j}], n)
        ok${j}[n] = 0`
  const setValue = `if (ok${j} !== null) ok${j}[n] = 1`
  if (source.field < 0) {
    const { constant } = source
    if (constant === null) return texts ? `${setNull}; cf${j}[n] = 0; cu${j}[n] = 0` : `${setNull}; c${j}[n] = 0`
    if (texts) return `${setValue}; cf${j}[n] = 0; cu${j}[n] = TABLES[${j}].until[0]`
    return `${setValue}; c${j}[n] = K${j}`
  }
  const i = source.field
  const field = resolution.writer.fields[i]!
  const mark = field.nullable ? `if (z${i} === 1) { ${setNull} } else ${setValue}\n      ` : ''
  if (texts) {
    const symbols = field.avro === 'enum'
    const from = symbols ? `sf${j}[v${i}]` : `f${i}`
    const until = symbols ? `su${j}[v${i}]` : `u${i}`
    if (symbols && field.nullable) {
      return `${mark}if (z${i} === 1) { cf${j}[n] = 0; cu${j}[n] = 0 } else { cf${j}[n] = ${from}; cu${j}[n] = ${until} }`
    }
    return `${mark}cf${j}[n] = ${from}; cu${j}[n] = ${until}`
  }
  const single = source.single
  const cell = (text: string): string => (single ? `Math.fround(${text})` : text)
  const exact = field.kind === 'decimal' ? `H.readDecimal(b, f${i}, u${i} - f${i})` : `H.readLong(b, s${i})`
  const mayBeWide = field.avro === 'long' || (field.kind === 'decimal' && 10 ** field.precision > SAFE_MAX)
  if (!mayBeWide) return `${mark}c${j}[n] = ${cell(`v${i}`)}`
  const safe = `v${i} <= ${SAFE_MAX} && v${i} >= -${SAFE_MAX}`
  if (kind === 'float64') return `${mark}c${j}[n] = ${cell(`${safe} ? v${i} : Number(${exact})`)}`
  return `${mark}if (${safe}) { c${j}[n] = v${i}; if (w${j} !== null) w${j}[n] = BigInt(v${i}) }
      else {
        if (w${j} === null) w${j} = H.makeWide(C[${j}], n)
        w${j}[n] = ${exact}; c${j}[n] = Number(w${j}[n])
      }`
}

/** Locals that hold column j while the batch is walked. */
function columnLocals(options: CodeOptions, j: number): string {
  const { resolution, wanted, specs } = options
  const { kind } = specs[j]!
  const source = resolution.sources[wanted[j]!]!
  const table = source.field < 0 || source.symbols !== null
  if (kind === 'string' || kind === 'bytes') {
    const symbols =
      table && source.field >= 0 ? `\n    const sf${j} = TABLES[${j}].from, su${j} = TABLES[${j}].until` : ''
    return `const cf${j} = C[${j}].from, cu${j} = C[${j}].until; let ok${j} = C[${j}].valid
    C[${j}].bytes = TABLES[${j}] === null ? b : TABLES[${j}].bytes${symbols}`
  }
  const constant = source.field < 0 ? `\n    const K${j} = PLAN.sources[${wanted[j]!}].constant` : ''
  return `const c${j} = C[${j}].f64; let ok${j} = C[${j}].valid, w${j} = C[${j}].wide${constant}`
}

/** Body of a function of (H, PLAN, TABLES, TIME) that returns `project(cursor, chunk, dead)`; TIME is a constant event time or NaN. */
export function generateProjector(options: CodeOptions): string {
  const { resolution, wanted, specs, envelope, writerId } = options
  const { fields } = resolution.writer
  const needed = new Set([options.eventTime.source.field, ...wanted.map((index) => resolution.sources[index]!.field)])
  const locals = fields.map((field, i) => {
    const names = [`v${i} = 0`]
    if (field.avro === 'string' || field.avro === 'bytes' || field.avro === 'fixed')
      names.push(`f${i} = 0`, `u${i} = 0`)
    if (needed.has(i) && field.avro === 'long') names.push(`s${i} = 0`)
    if (needed.has(i) && field.nullable) names.push(`z${i} = 0`)
    return `let ${names.join(', ')}`
  })
  const floats = fields.some(({ avro }) => avro === 'float' || avro === 'double')
  return `return function project(cursor, chunk, dead) {
    const b = cursor.bytes, base = cursor.baseOffset, skip = cursor.skipBelow
    const offsets = chunk.offsets, times = chunk.eventTimes, C = chunk.columns
    let next = cursor.at | 0, remaining = cursor.remaining | 0, n = chunk.count | 0
    let p = 0, x = 0, y = 0, e = 0, lo = 0, hi = 0, top = 0, acc = 0, d = 0.5, t = 0.5, stop = 'end'
    let end = 0, from = 0, key = 0, keyEnd = 0, ve = 0, offset = 0.5
    ${floats ? 'const view = new DataView(b.buffer, b.byteOffset, b.length)' : ''}
    ${specs.map((_, j) => columnLocals(options, j)).join('\n    ')}
    ${envelope ? 'const K = chunk.keys, kf = K.from, ku = K.until, L = chunk.headers, lf = L.from, lu = L.until; let okK = K.valid, okL = L.valid; K.bytes = b; L.bytes = b' : ''}
    ${locals.join('\n    ')}
    while (remaining > 0) {
      if (n === ${CHUNK_ROWS}) { stop = 'full'; break }
      p = next
      body: {
      ${varint32('x')}
      from = p
      end = p + (x >>> 1) | 0
      p++
      while (b[p++] > 127);
      ${varint32('x')}
      offset = base + (x >>> 1)
      if (offset < skip) { next = end; remaining--; continue }
      ${varint32('x')}
      x = (x >>> 1) ^ -(x & 1)
      key = p; keyEnd = -1
      if (x >= 0) { if (x > end - p) ${BAD}; p = keyEnd = p + x | 0 }
      else if (x !== -1) ${BAD}
      ${varint32('x')}
      x = (x >>> 1) ^ -(x & 1)
      if (x > end - p || x < -1) ${BAD}
      ve = x > 0 ? p + x | 0 : p
      if (ve + 1 !== end || b[ve] !== 0) {
        y = H.headerKind(b, ve, end)
        if (y === 2) ${BAD}
        if (y === 1) { stop = 'barrier'; break }
      }
      if (x < 5 || b[p] !== 0) ${BAD}
      x = b[p + 1] << 24 | b[p + 2] << 16 | b[p + 3] << 8 | b[p + 4]
      if (x !== ${writerId | 0}) { cursor.schemaId = x >>> 0; stop = 'schema'; break }
      p = p + 5 | 0
      ${fields.map((field, i) => read(field, i, resolution.text[i]!, needed.has(i))).join('\n      ')}
      if (p !== ve) ${BAD}
      ${eventTime(options)}
      times[n] = t
      offsets[n] = offset
      ${specs.map((_, j) => commit(options, j)).join('\n      ')}
      ${
        envelope
          ? `if (keyEnd < 0) { if (okK === null) okK = H.makeValid(K, n); okK[n] = 0; kf[n] = 0; ku[n] = 0 }
      else { if (okK !== null) okK[n] = 1; kf[n] = key; ku[n] = keyEnd }
      if (ve + 1 === end && b[ve] === 0) { if (okL === null) okL = H.makeValid(L, n); okL[n] = 0; lf[n] = 0; lu[n] = 0 }
      else { if (okL !== null) okL[n] = 1; lf[n] = ve; lu[n] = end }`
          : ''
      }
      n++
      next = end; remaining--
      continue
      }
      dead.push(H.deadRecord(PLAN, b, from, end, base))
      next = end; remaining--
    }
    chunk.count = n
    cursor.at = next
    cursor.remaining = remaining
    return stop
  }`
}
