/** The start page: static files of `web/` and the chart library, under a strict content security policy; no build, no inline script. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { HttpApp } from '#io/http.ts'

/** Adds `/` and `/assets/`. */
export async function webRoutes(app: HttpApp): Promise<void> {
  const web = join(import.meta.dirname, 'web')
  const uplot = dirname(createRequire(import.meta.url).resolve('uplot/dist/uPlot.min.css'))
  const common = { index: false as const, wildcard: true, maxAge: '1h', schemaHide: true }
  await app.register(fastifyStatic, { root: web, prefix: '/assets/', ...common })
  await app.register(fastifyStatic, { root: uplot, prefix: '/assets/uplot/', decorateReply: false, ...common })
  app.get('/', { schema: { hide: true } }, (_, reply) =>
    reply.header('cache-control', 'no-cache').sendFile('index.html', { maxAge: 0 }),
  )
}
