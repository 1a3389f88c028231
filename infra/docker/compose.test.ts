/**
 * The compose file, checked as far as that goes without a container engine: every service is there under its name, is ready when
 * /readyz says so, runs without rights it does not need, and is published on loopback only. Images are not pulled here.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '#io/config.ts'
import { SERVICE_NAMES } from '../../platform/service.ts'

interface Service {
  readonly image: string
  readonly pull_policy?: string
  readonly command?: readonly string[]
  readonly user?: string
  readonly read_only?: boolean
  readonly cap_drop?: readonly string[]
  readonly security_opt?: readonly string[]
  readonly build?: { readonly dockerfile: string }
  readonly environment?: Readonly<Record<string, string | number>>
  readonly volumes?: readonly string[]
  readonly ports?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly healthcheck?: { readonly test: readonly string[] }
}

const ROOT = join(import.meta.dirname, '../..')
const compose = parse(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
  services: Record<string, Service>
  volumes: Record<string, null>
}
const { services } = compose
const own = SERVICE_NAMES.map((name) => [name, services[name]!] as const)

/** The port that a service answers /readyz on, by its settings. */
function healthPortOf(name: string, service: Service): number {
  const env = Object.entries(service.environment!).map(([key, value]) => [key, String(value)] as const)
  const config = loadConfig(Object.fromEntries(env))
  if (name === 'registry') return config.registryPort
  if (name === 'ingest') return config.ingestPort
  return name === 'serve' ? config.port : config.healthPort
}

describe('docker-compose.yml', () => {
  it('[M4] holds every service of the platform, Kafka and Redis, and nothing else', () => {
    expect(Object.keys(services).sort()).toEqual([...SERVICE_NAMES, 'kafka', 'redis'].sort())
  })

  it.each(own)('%s runs its command, with settings that are accepted, and is healthy by /readyz', (name, service) => {
    expect(service.command).toEqual([name])
    const port = healthPortOf(name, service)
    expect(service.healthcheck!.test).toEqual(['CMD', 'node', 'infra/docker/healthy.ts', String(port)])
  })

  it('builds its one image in one place, which every service waits for, and never pulls it', () => {
    // Docker builds services at the same time and refuses the second image of a name.
    expect(own.filter(([, { build }]) => build !== undefined).map(([name]) => name)).toEqual(['registry'])
    expect(existsSync(join(ROOT, services['registry']!.build!.dockerfile))).toBe(true)
    for (const [name, { image, pull_policy }] of own) {
      expect(image).toBe(services['registry']!.image)
      expect(pull_policy).toBe(name === 'registry' ? 'build' : 'never')
      const above = (each: string): string[] => [
        each,
        ...Object.keys(services[each]!.depends_on ?? {}).flatMap((other) => above(other)),
      ]
      expect(above(name)).toContain('registry')
    }
  })

  it.each(Object.entries(services))('%s has no right that it does not need', (name, service) => {
    expect(service.cap_drop).toEqual(['ALL'])
    expect(service.security_opt).toEqual(['no-new-privileges:true'])
    if (name !== 'kafka') expect(service.read_only).toBe(true)
    if (name !== 'kafka') expect(service.user).toMatch(/^(node|valkey)$/)
  })

  it('publishes on loopback only', () => {
    const published = Object.values(services).flatMap(({ ports = [] }) => ports)
    expect(published).not.toEqual([])
    for (const port of published) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/)
  })

  it('depends only on services that are healthy, without a circle', () => {
    const depth = (name: string, above: readonly string[]): number => {
      expect(above).not.toContain(name)
      const below = Object.entries(services[name]!.depends_on ?? {})
      for (const [, { condition }] of below) expect(condition).toBe('service_healthy')
      return 1 + Math.max(0, ...below.map(([other]) => depth(other, [...above, name])))
    }
    expect(depth('feed', [])).toBe(6)
    for (const service of Object.values(services)) expect(service.healthcheck).toBeDefined()
  })

  it('gives every service a volume of its own, and the lake to those that use it', () => {
    const lakes = own.filter(([, { volumes }]) => volumes!.includes('lake:/lake')).map(([name]) => name)
    expect(lakes).toEqual(['archive', 'batch', 'serve'])
    for (const [name, { volumes }] of own) expect(volumes).toContain(`${name}:/data`)
    const named = Object.values(services).flatMap(({ volumes = [] }) => volumes.map((volume) => volume.split(':')[0]))
    expect(new Set(named)).toEqual(new Set(Object.keys(compose.volumes)))
  })

  it('runs the Kafka that the launcher runs', () => {
    const launcher = readFileSync(join(ROOT, 'infra/local/launcher.ts'), 'utf8')
    const version = /KAFKA_VERSION = '([\d.]+)'/.exec(launcher)![1]
    expect(services['kafka']!.image).toBe(`apache/kafka:${version}`)
  })
})

describe('Dockerfile', () => {
  const text = readFileSync(join(ROOT, 'infra/docker/Dockerfile'), 'utf8')

  it('copies only what exists and is not ignored, and runs as a user without rights', () => {
    const ignored = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n')
    const copies = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, paths = '']) => paths.split(' '))
    expect(copies).toContain('platform')
    for (const path of copies) {
      expect(existsSync(join(ROOT, path)), path).toBe(true)
      expect(ignored).toContain(`!${path.split('/')[0]}`)
    }
    expect(text).toMatch(/^USER node$/m)
    expect(text).toMatch(/^ENTRYPOINT \["node", "platform\/service.ts"\]$/m)
  })
})
