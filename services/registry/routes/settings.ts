/** `/config` and `/mode`, of the registry, of contexts and of subjects. */
import { flag, scopeOf } from '../asked.ts'
import { isValidSubject } from '../naming.ts'
import { LEVELS } from '../records.ts'
import { refusals } from '../refusal.ts'
import { readConfig, readMode } from '../request.ts'
import {
  configFor,
  MODES,
  modeFor,
  ownConfig,
  ownMode,
  removeConfig,
  removeMode,
  setMode,
  updateConfig,
} from '../settings.ts'
import { configUpdateView, configView } from '../views.ts'
import type { Routes } from './mount.ts'

/** @throws RegistryRefusal 42208 */
function requireValid(scope: string | null): void {
  if (scope !== null && !isValidSubject(scope, 'settings')) throw refusals.invalidSubject(scope)
}

/** Mounts them. */
export const settingRoutes: Routes = (route, state) => {
  const { table } = state
  for (const [path, argument] of [
    ['', 'updateTopLevel%.arg1'],
    ['/:subject', '%.arg2'],
  ] as const) {
    const nameOf = (one: string, other: string): string => argument.replace('%', path === '' ? one : other)

    route('GET', `/config${path}`, (request) => {
      const [scope, inherit] = [scopeOf(request), flag(request, 'defaultToGlobal')]
      return state.query(() => {
        const config = inherit ? configFor(table, scope) : ownConfig(table, scope)
        if (config === null) throw refusals.levelNotConfigured(scope ?? '')
        return configView(config)
      })
    })
    route('PUT', `/config${path}`, async (request) => {
      const config = readConfig(request.body, nameOf('Config', 'updateSubjectLevelConfig'))
      const level = config['compatibility']
      if (typeof level === 'string' && !LEVELS.some((known) => known === level.toUpperCase())) {
        throw refusals.invalidLevel()
      }
      const scope = scopeOf(request)
      requireValid(scope)
      return configUpdateView(await state.command(() => updateConfig(table, scope, config)))
    })
    route('DELETE', `/config${path}`, async (request) =>
      configView(await state.command(() => removeConfig(table, scopeOf(request)))),
    )

    route('GET', `/mode${path}`, (request) => {
      const [scope, inherit] = [scopeOf(request), flag(request, 'defaultToGlobal')]
      return state.query(() => {
        const mode = inherit ? modeFor(table, scope) : ownMode(table, scope)
        if (mode === null) throw refusals.modeNotConfigured(scope ?? '')
        return { mode }
      })
    })
    route('PUT', `/mode${path}`, async (request) => {
      const written = readMode(request.body, nameOf('Mode', 'updateMode'))
      const mode = written?.toUpperCase() ?? null
      if (mode !== null && !MODES.some((known) => known === mode)) throw refusals.invalidMode()
      const scope = scopeOf(request)
      requireValid(scope)
      await state.command(() => setMode(table, scope, mode, { force: flag(request, 'force') }))
      return written === null ? {} : { mode: written }
    })
    route('DELETE', `/mode${path}`, async (request) => {
      const options = { recursive: flag(request, 'recursive') }
      const mode = await state.command(() => removeMode(table, scopeOf(request), options))
      return mode === null ? {} : { mode }
    })
  }
}
