/**
 * Stock clients against the registry on any log: what they register, look up, encode and decode, and how an incompatible
 * change reaches them. The same suite runs on the embedded log and on Kafka; services/registry is passed in, for the
 * kit knows no service.
 */
import { Agent } from 'node:http'
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
const ADDRESS = {
  type: 'record' as const,
  name: 'Address',
  namespace: 'demo',
  fields: [{ name: 'city', type: 'string' as const }],
}
const CUSTOMER = {
  type: 'record' as const,
  name: 'Customer',
  namespace: 'demo',
  fields: [
    { name: 'name', type: 'string' as const },
    { name: 'address', type: 'demo.Address' },
  ],
}
const customer = { name: 'Zoë', address: { city: 'Ulm' } }

/** The suite. Subjects carry `prefix`, so that one log serves several runs. */
export function stockClientTests(open: () => Promise<RegistryPlace>, prefix = ''): void {
  let place: RegistryPlace
  let url = ''
  beforeAll(async () => {
    place = await open()
    url = place.url
  })
  afterAll(async () => place.close())

  // Connections of its own: the other client leaves on those that both share a listener that ends them after five quiet seconds.
  const agent = new Agent({ keepAlive: true })
  const kafkajs = () => new SchemaRegistry({ host: url, agent })

  it('[R1] @kafkajs/confluent-schema-registry registers, looks up, encodes and decodes', async () => {
    const registry = kafkajs()
    const subject = `${prefix}kafkajs-value`
    const schema = { type: SchemaType.AVRO as const, schema: JSON.stringify(V1) }
    const { id } = await registry.register(schema, { subject, compatibility: COMPATIBILITY.BACKWARD })
    expect(await registry.register(schema, { subject })).toMatchObject({ id })
    expect(await registry.getRegistryId(subject, 1)).toBe(id)
    expect(await registry.getLatestSchemaId(subject)).toBe(id)
    expect(await registry.getRegistryIdBySchema(subject, schema)).toBe(id)
    const frame = await registry.encode(id, value)
    expect([frame[0], frame.readInt32BE(1)]).toEqual([0, id])
    expect({ ...(await kafkajs().decode(frame)) }).toEqual(value)
    const next = await registry.register({ ...schema, schema: JSON.stringify(V2) }, { subject })
    expect(next.id).toBeGreaterThan(id)
  })

  it('[R4] @kafkajs/confluent-schema-registry is refused an incompatible change, with the reason and the path', async () => {
    const registry = kafkajs()
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

  it('[R1] @kafkajs/confluent-schema-registry encodes and decodes a schema that refers to another', async () => {
    const registry = kafkajs()
    const { id: addressId } = await registry.register(
      { type: SchemaType.AVRO, schema: JSON.stringify(ADDRESS) },
      { subject: `${prefix}kafkajs-address` },
    )
    const references = [{ name: 'demo.Address', subject: `${prefix}kafkajs-address`, version: 1 }]
    const { id } = await registry.register(
      { type: SchemaType.AVRO, schema: JSON.stringify(CUSTOMER), references },
      { subject: `${prefix}kafkajs-customer` },
    )
    expect(id).not.toBe(addressId)
    const frame = await registry.encode(id, customer)
    const read = await kafkajs().decode(frame)
    expect({ ...read, address: { ...read.address } }).toEqual(customer)
  })

  it('[R1] @confluentinc/schemaregistry encodes and decodes a schema that refers to another', async () => {
    const topic = `${prefix}confluent-customer`
    const client = confluent()
    const addressId = await client.register(`${prefix}confluent-address`, {
      schemaType: 'AVRO',
      schema: JSON.stringify(ADDRESS),
    })
    const references = [{ name: 'demo.Address', subject: `${prefix}confluent-address`, version: 1 }]
    const id = await client.register(`${topic}-value`, {
      schemaType: 'AVRO',
      schema: JSON.stringify(CUSTOMER),
      references,
    })
    expect(id).not.toBe(addressId)
    expect((await confluent().getBySubjectAndId(`${topic}-value`, id)).references).toEqual(references)
    const serializer = new AvroSerializer(client, SerdeType.VALUE, { useLatestVersion: true })
    const frame = await serializer.serialize(topic, customer)
    const read = await new AvroDeserializer(confluent(), SerdeType.VALUE, {}).deserialize(topic, frame)
    expect({ ...read, address: { ...read.address } }).toEqual(customer)
    await expect(client.deleteSubject(`${prefix}confluent-address`)).rejects.toMatchObject({
      status: 422,
      errorCode: 42206,
    })
  })

  it('[R1] @confluentinc/schemaregistry lists versions, looks under a subject, deletes soft and for good', async () => {
    const subject = `${prefix}confluent-versions`
    const client = confluent()
    const [v1, v2] = [V1, V2].map((schema) => ({ schemaType: 'AVRO', schema: JSON.stringify(schema) }))
    const first = await client.register(subject, v1!)
    const second = await client.register(subject, v2!)
    expect(await client.getAllVersions(subject)).toEqual([1, 2])
    expect(await confluent().getVersion(subject, v1!)).toBe(1)
    expect(await confluent().getVersion(subject, v2!)).toBe(2)
    expect(await confluent().getId(subject, v2!)).toBe(second)
    expect(await client.testCompatibility(subject, 1, v2!)).toBe(true)
    expect(await client.deleteSubjectVersion(subject, 1)).toBe(1)
    await expect(confluent().getVersion(subject, v1!)).rejects.toMatchObject({ status: 404, errorCode: 40403 })
    expect(await confluent().getVersion(subject, v1!, false, true)).toBe(1)
    expect((await confluent().getBySubjectAndId(subject, first)).schema).toBe(v1!.schema)
    expect(await client.deleteSubject(subject)).toEqual([2])
    expect(await client.getAllSubjects()).not.toContain(subject)
    expect(await client.deleteSubject(subject, true)).toEqual([1, 2])
    await expect(confluent().getAllVersions(subject)).rejects.toMatchObject({ status: 404, errorCode: 40401 })
  })

  it('[R1] @confluentinc/schemaregistry reads and changes settings of a subject', async () => {
    const subject = `${prefix}confluent-settings`
    const client = confluent()
    await expect(client.getConfig(subject)).rejects.toMatchObject({ status: 404, errorCode: 40408 })
    expect(await client.updateConfig(subject, { compatibility: Compatibility.FULL, normalize: true })).toMatchObject({
      compatibility: 'FULL',
      normalize: true,
    })
    expect(await client.getConfig(subject)).toMatchObject({ compatibilityLevel: 'FULL', normalize: true })
    expect(await client.getDefaultCompatibility()).toBe('BACKWARD')
    const spelled = (schema: object) => ({ schemaType: 'AVRO', schema: JSON.stringify(schema) })
    const id = await client.register(subject, spelled({ ...V1, 'x-b': 1, 'x-a': 2 }))
    expect(await confluent().register(subject, spelled({ ...V1, 'x-a': 2, 'x-b': 1 }))).toBe(id)
  })

  it('[R6] our own client, and everything again after a restart', async () => {
    const subject = `${prefix}own-value`
    const own = createRegistryClient({ url, timeoutMs: 120_000 })
    const id = await own.register(subject, JSON.stringify(V1))
    expect(await own.schemaById(id)).toBe(JSON.stringify(V1))
    expect(await own.schemaById(2 ** 31 - 1)).toBeNull()
    await expect(own.register(subject, JSON.stringify(BROKEN))).rejects.toMatchObject({ code: 'SCHEMA_INCOMPATIBLE' })
    await expect(own.register(subject, '"strin"')).rejects.toMatchObject({ code: 'SCHEMA_INVALID' })
    const before = url
    url = await place.restart()
    const stopped = createRegistryClient({ url: before, timeoutMs: 1_000 })
    if (before !== url) await expect(stopped.schemaById(id)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
    const again = createRegistryClient({ url, timeoutMs: 120_000 })
    expect(await again.schemaById(id)).toBe(JSON.stringify(V1))
    expect(await again.register(subject, JSON.stringify(V1))).toBe(id)
  })
}
