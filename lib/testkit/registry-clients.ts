/**
 * Stock clients against the registry on any log: what they register, look up, encode and decode, and how an incompatible
 * change reaches them. The same suite runs on the embedded log and on Kafka; services/registry is passed in, for the
 * kit knows no service.
 */
import {
  AvroDeserializer,
  AvroSerializer,
  type ClientConfig,
  Compatibility,
  SchemaRegistryClient,
  SerdeType,
} from '@confluentinc/schemaregistry'
import { COMPATIBILITY, SchemaRegistry, SchemaType } from '@kafkajs/confluent-schema-registry'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createRegistryClient } from '#io/registry.ts'

/** What the suite needs of a place: a registry that runs, and the means to start it again on the same log. */
export interface RegistryPlace {
  readonly url: string
  /** Stops the registry and starts another on the same log; its URL. */
  restart(): Promise<string>
  close(): Promise<void>
}

const V1 = {
  type: 'record' as const,
  name: 'Payment',
  namespace: 'demo',
  fields: [
    { name: 'id', type: 'string' as const },
    { name: 'cents', type: 'long' as const },
  ],
}
const V2 = {
  ...V1,
  fields: [...V1.fields, { name: 'country', type: ['null', 'string'] as ['null', 'string'], default: null }],
}
const BROKEN = { ...V1, fields: [...V1.fields, { name: 'country', type: 'string' as const }] }
const value = { id: 'p1', cents: 1_234 }

/** The suite. Subjects carry `prefix`, so that one log serves several runs. */
export function stockClientTests(open: () => Promise<RegistryPlace>, prefix = ''): void {
  let place: RegistryPlace
  let url = ''
  beforeAll(async () => {
    place = await open()
    url = place.url
  })
  afterAll(async () => place.close())

  it('[R1] @kafkajs/confluent-schema-registry registers, looks up, encodes and decodes', async () => {
    const registry = new SchemaRegistry({ host: url })
    const subject = `${prefix}kafkajs-value`
    const schema = { type: SchemaType.AVRO as const, schema: JSON.stringify(V1) }
    const { id } = await registry.register(schema, { subject, compatibility: COMPATIBILITY.BACKWARD })
    expect(await registry.register(schema, { subject })).toEqual({ id })
    expect(await registry.getRegistryId(subject, 1)).toBe(id)
    expect(await registry.getLatestSchemaId(subject)).toBe(id)
    expect(await registry.getRegistryIdBySchema(subject, schema)).toBe(id)
    const frame = await registry.encode(id, value)
    expect([frame[0], frame.readInt32BE(1)]).toEqual([0, id])
    expect({ ...(await new SchemaRegistry({ host: url }).decode(frame)) }).toEqual(value)
    const next = await registry.register({ ...schema, schema: JSON.stringify(V2) }, { subject })
    expect(next.id).toBeGreaterThan(id)
  })

  it('[R4] @kafkajs/confluent-schema-registry is refused an incompatible change, with the reason and the path', async () => {
    const registry = new SchemaRegistry({ host: url })
    const subject = `${prefix}kafkajs-refused`
    const register = (schema: object) =>
      registry.register({ type: SchemaType.AVRO, schema: JSON.stringify(schema) }, { subject })
    await register(V1)
    await expect(register(BROKEN)).rejects.toThrow(
      /incompatible with an earlier schema.*READER_FIELD_MISSING_DEFAULT_VALUE.*\/fields\/2/,
    )
    expect(await registry.getLatestSchemaId(subject)).toBe(await registry.getRegistryId(subject, 1))
  })

  const confluent = () => {
    const config: ClientConfig = { baseURLs: [url], maxRetries: 0 }
    return new SchemaRegistryClient(config)
  }

  it('[R1] @confluentinc/schemaregistry registers, looks up, encodes and decodes', async () => {
    const topic = `${prefix}confluent`
    const subject = `${topic}-value`
    const client = confluent()
    const info = { schemaType: 'AVRO', schema: JSON.stringify(V1) }
    const id = await client.register(subject, info)
    expect(await confluent().getId(subject, info)).toBe(id)
    expect((await client.getBySubjectAndId(subject, id)).schema).toBe(info.schema)
    expect(await client.getLatestSchemaMetadata(subject)).toMatchObject({ id, version: 1, subject })
    expect(await client.getSchemaMetadata(subject, 1)).toMatchObject({ id, schema: info.schema })
    expect(await client.getAllVersions(subject)).toEqual([1])
    expect(await client.getAllSubjects()).toContain(subject)
    const serializer = new AvroSerializer(client, SerdeType.VALUE, { useLatestVersion: true })
    const frame = await serializer.serialize(topic, value)
    expect([frame[0], frame.readInt32BE(1)]).toEqual([0, id])
    const deserializer = new AvroDeserializer(confluent(), SerdeType.VALUE, {})
    expect({ ...(await deserializer.deserialize(topic, frame)) }).toEqual(value)
  })

  it('[R4] @confluentinc/schemaregistry tests, is refused, and changes the level', async () => {
    const subject = `${prefix}a/b c-value`
    const client = confluent()
    const broken = { schemaType: 'AVRO', schema: JSON.stringify(BROKEN) }
    await client.register(subject, { schemaType: 'AVRO', schema: JSON.stringify(V1) })
    expect(await client.testSubjectCompatibility(subject, broken)).toBe(false)
    expect(await client.testSubjectCompatibility(subject, { schemaType: 'AVRO', schema: JSON.stringify(V2) })).toBe(
      true,
    )
    await expect(client.register(subject, broken)).rejects.toMatchObject({ status: 409, errorCode: 409 })
    await client.updateCompatibility(subject, Compatibility.NONE)
    expect(await client.getCompatibility(subject)).toBe('NONE')
    expect(await client.register(subject, broken)).toBeGreaterThan(0)
    expect(await client.deleteSubjectVersion(subject, 2)).toBe(2)
    expect(await client.deleteSubject(subject)).toEqual([1])
  })

  it('[R6] our own client, and everything again after a restart', async () => {
    const subject = `${prefix}own-value`
    const own = createRegistryClient({ url, timeoutMs: 10_000 })
    const id = await own.register(subject, JSON.stringify(V1))
    expect(await own.schemaById(id)).toBe(JSON.stringify(V1))
    expect(await own.schemaById(2 ** 31 - 1)).toBeNull()
    await expect(own.register(subject, JSON.stringify(BROKEN))).rejects.toMatchObject({ code: 'SCHEMA_INCOMPATIBLE' })
    await expect(own.register(subject, '"strin"')).rejects.toMatchObject({ code: 'SCHEMA_INVALID' })
    const before = url
    url = await place.restart()
    const stopped = createRegistryClient({ url: before, timeoutMs: 1_000 })
    if (before !== url) await expect(stopped.schemaById(id)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
    const again = createRegistryClient({ url, timeoutMs: 10_000 })
    expect(await again.schemaById(id)).toBe(JSON.stringify(V1))
    expect(await again.register(subject, JSON.stringify(V1))).toBe(id)
  })
}
