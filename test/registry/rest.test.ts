/** The documented behaviours against the registry of REGISTRY_URL, or ours. */
import { registryBehaviour } from './behaviour.ts'
import { givenUrl, openPlace } from './place.ts'

registryBehaviour(openPlace, { shared: givenUrl !== null })
