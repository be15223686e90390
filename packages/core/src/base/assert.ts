/**
 * What must hold inside Ringfence itself. A failed assertion is our bug: it ends the VM it happened in, never the daemon.
 * Anything a guest, a file or the network can cause is *not* an assertion but a trap, a device fault or an expected failure.
 */

/** Thrown when Ringfence contradicts itself. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure';
}

/** Ends this VM with `message` unless `condition` holds. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message);
}

/** The value, or a failed assertion when it is absent. */
export function defined<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new AssertionFailure(`${what} is missing`);
  return value;
}
