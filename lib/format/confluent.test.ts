import { expect, test } from 'vitest'
import { bodyOf, frame, schemaIdOf, serializeKey } from './confluent.ts'

test('a frame is magic 0, the id big-endian, the body', () => {
  const framed = frame(0x01020304, Uint8Array.of(9, 8))
  expect([...framed]).toEqual([0, 1, 2, 3, 4, 9, 8])
  expect(schemaIdOf(framed)).toBe(0x01020304)
  expect([...bodyOf(framed)]).toEqual([9, 8])
  expect(schemaIdOf(frame(2 ** 31, new Uint8Array(0)))).toBe(2 ** 31)
})

test('no frame: empty, short, wrong magic', () => {
  expect(schemaIdOf(new Uint8Array(0))).toBeNull()
  expect(schemaIdOf(Uint8Array.of(0, 0, 0, 1))).toBeNull()
  expect(schemaIdOf(Uint8Array.of(1, 0, 0, 0, 1))).toBeNull()
})

test('[D3] keys are serialised as the JVM does', () => {
  expect([...serializeKey('Zoë', 'string')]).toEqual([90, 111, 0xc3, 0xab])
  expect([...serializeKey(-2, 'int')]).toEqual([255, 255, 255, 254])
  expect([...serializeKey(258n, 'long')]).toEqual([0, 0, 0, 0, 0, 0, 1, 2])
  expect([...serializeKey(-(2n ** 63n), 'long')]).toEqual([128, 0, 0, 0, 0, 0, 0, 0])
  expect(() => serializeKey(2 ** 31, 'int')).toThrow('32 bits')
  expect(() => serializeKey(1.5, 'long')).toThrow('safe integer')
  expect(() => serializeKey(1, 'string')).toThrow('a string key')
})
