/**
 * Goal: a registry behaves as documented, over plain HTTP, one test per behaviour. Method: the scenarios of behaviour/, each with
 * names of its own, against whichever registry `open` gives; those that change settings of the whole registry, and what ours does of its own, run only when it is ours.
 */
import { afterAll, beforeAll, describe, it } from 'vitest'
import { compatibility } from './behaviour/compatibility.ts'
import { contexts } from './behaviour/contexts.ts'
import { deletion } from './behaviour/deletion.ts'
import { listing } from './behaviour/listing.ts'
import { negotiation } from './behaviour/negotiation.ts'
import { references } from './behaviour/references.ts'
import { refusals } from './behaviour/refusals.ts'
import { registration } from './behaviour/registration.ts'
import { safety } from './behaviour/safety.ts'
import { settings } from './behaviour/settings.ts'
import type { RegistryPlace } from './place.ts'
import { Names, run } from './scenario.ts'

const GROUPS = {
  registration,
  refusals,
  deletion,
  listing,
  references,
  contexts,
  settings,
  compatibility,
  negotiation,
  safety,
}

/** Registers every scenario as a test. `shared`: somebody else uses that registry too. */
export function registryBehaviour(open: () => Promise<RegistryPlace>, options: { readonly shared: boolean }): void {
  let place: RegistryPlace
  beforeAll(async () => {
    place = await open()
  })
  afterAll(async () => place?.close())
  let number = 0
  for (const [name, scenarios] of Object.entries(GROUPS)) {
    describe(name, () => {
      for (const { title, steps, global = false } of scenarios) {
        const names = new Names(number++)
        it.skipIf(options.shared && (global || name === 'safety'))(title, async () => run(place.url, steps(names)))
      }
    })
  }
}
