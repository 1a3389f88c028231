/**
 * What decides how bytes are read and nothing else: the Parsing Canonical Form of a schema, and its fingerprints.
 * Source: Avro specification 1.12, "Parsing Canonical Form for Schemas" (PRIMITIVES, FULLNAMES, STRIP, ORDER, STRINGS,
 * INTEGERS, WHITESPACE) and "Schema Fingerprints" (CRC-64-AVRO, MD5, SHA-256).
 */
import { createHash } from 'node:crypto'
import type { AvroNode } from './avro-node.ts'
import { parseAvro } from './avro-tree.ts'

/** The Parsing Canonical Form of a schema's text. @throws SchemaProblem */
export function parsingCanonicalForm(schema: string, references: readonly string[] = []): string {
  return canonicalForm(parseAvro(schema, references))
}

/** The Parsing Canonical Form of a parsed schema; types of referenced schemas stand in full at their first use. */
export function canonicalForm(node: AvroNode): string {
  return canonical(node, new Set())
}

function canonical(node: AvroNode, defined: Set<string>): string {
  switch (node.kind) {
    case 'union':
      return `[${node.branches.map((branch) => canonical(branch, defined)).join(',')}]`
    case 'array':
      return `{"type":"array","items":${canonical(node.items, defined)}}`
    case 'map':
      return `{"type":"map","values":${canonical(node.items, defined)}}`
    case 'record':
    case 'enum':
    case 'fixed': {
      if (defined.has(node.name)) return `"${node.name}"`
      defined.add(node.name)
      if (node.kind === 'enum') return `{"name":"${node.name}","type":"enum","symbols":${JSON.stringify(node.symbols)}}`
      if (node.kind === 'fixed') return `{"name":"${node.name}","type":"fixed","size":${node.size}}`
      const fields = node.fields.map(({ name, type }) => `{"name":"${name}","type":${canonical(type, defined)}}`)
      return `{"name":"${node.name}","type":"record","fields":[${fields.join(',')}]}`
    }
    default:
      return `"${node.kind}"`
  }
}

/** A digest of a canonical form: hexadecimal, as the specification writes it. */
export function fingerprint(canonicalForm: string, algorithm: 'CRC-64-AVRO' | 'MD5' | 'SHA-256'): string {
  if (algorithm === 'CRC-64-AVRO') return crc64Avro(Buffer.from(canonicalForm)).toString(16).padStart(16, '0')
  return createHash(algorithm === 'MD5' ? 'md5' : 'sha256')
    .update(canonicalForm)
    .digest('hex')
}

/** The polynomial and the fingerprint of nothing, as the specification gives it. */
const EMPTY = 0xc15d213aa4d7a795n

const TABLE = Array.from({ length: 256 }, (_, index) => {
  let value = BigInt(index)
  for (let bit = 0; bit < 8; bit++) value = (value >> 1n) ^ (EMPTY & -(value & 1n))
  return value
})

/** CRC-64-AVRO: the Rabin fingerprint that single-object encoding writes, little end first, before a datum. */
export function crc64Avro(bytes: Uint8Array): bigint {
  let value = EMPTY
  for (const byte of bytes) value = (value >> 8n) ^ TABLE[Number(value & 0xffn) ^ byte]!
  return value
}
