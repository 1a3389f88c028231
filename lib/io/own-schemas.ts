/** Texts of the Avro schemas that Tidemark itself writes (schemas/*.avsc), as they are registered. */
import { readFileSync } from 'node:fs'

/** Schema text by file name. */
export function ownSchema(name: 'barrier' | 'dead-letter'): string {
  return readFileSync(new URL(`../../schemas/${name}.avsc`, import.meta.url), 'utf8')
}
