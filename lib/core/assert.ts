/**
 * Assertions stay on in production: a broken invariant stops the process before it can publish a wrong number.
 */

/** A programmer's error: never caught, the process logs it and exits. */
class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/** Throws {@link AssertionError} unless `condition` holds. The message states the invariant that was broken. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}

/** Marks a branch that the types rule out; reaching it is a programmer's error. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`)
}
