/** Goal: wrong settings are told all at once, by name and with the remedy. Method: environments and files as a user writes them. */
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadConfig } from './config.ts'
import { OperatingError } from './errors.ts'

describe('settings', () => {
  it('have defaults for a start without any', () => {
    expect(loadConfig({})).toMatchObject({ host: '127.0.0.1', port: 7070, kafkaBrokers: null, feed: 'demo' })
  })

  it('may have other defaults in a process; what is given stands', () => {
    const fallbacks = { DATA_DIR: './data/distributed' }
    expect(loadConfig({}, fallbacks)).toMatchObject({
      dataDir: resolve('data/distributed'),
      lake: resolve('data/distributed/lake'),
    })
    expect(loadConfig({ TIDEMARK_DATA_DIR: '/elsewhere' }, fallbacks).dataDir).toBe('/elsewhere')
  })

  it('are checked all at once, mistyped names too', () => {
    const wrong = { TIDEMARK_PORT: '70700', TIDEMARK_FEED: 'some', TIDEMARK_PROT: '1', TIDEMARK_SHARE: '3/2' }
    expect(() => loadConfig(wrong)).toThrow(OperatingError)
    for (const name of Object.keys(wrong)) expect(() => loadConfig(wrong)).toThrow(new RegExp(name))
  })

  it('[L5] a lake in an object store is refused, not made a folder of that name', () => {
    expect(() => loadConfig({ TIDEMARK_LAKE: 's3://bucket/prefix' })).toThrow(/TIDEMARK_LAKE=s3:\/\/bucket\/prefix/)
    expect(loadConfig({ TIDEMARK_LAKE: 's3/lake' }).lake).toBe(resolve('s3/lake'))
  })

  it('leave alone what the command line reads', () => {
    expect(loadConfig({ TIDEMARK_URL: 'http://127.0.0.1:7070' }).port).toBe(7070)
  })

  it('keep to loopback unless it is said aloud that others may connect', () => {
    expect(() => loadConfig({ TIDEMARK_HOST: '0.0.0.0' })).toThrow(/TIDEMARK_HOST=0\.0\.0\.0/)
    expect(() => loadConfig({ TIDEMARK_HOST: '0.0.0.0', TIDEMARK_ALLOW_REMOTE: 'yes' })).toThrow(/ALLOW_REMOTE/)
    expect(loadConfig({ TIDEMARK_HOST: '0.0.0.0', TIDEMARK_ALLOW_REMOTE: 'true' }).host).toBe('0.0.0.0')
  })
})
