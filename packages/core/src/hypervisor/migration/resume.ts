/**
 * How the pages that are missing follow over another link, when the first one is lost while the machine runs at the target (post-copy):
 *
 *     source                                     target
 *     RESUME {version, proof}         -------> compares; REFUSE otherwise, and waits for another link
 *                                     <------- RESUMED (proof, bitmap): the pages that have not come. Those that have are never written again
 *     PAGES, FETCH, TAKEN, COMPLETE as over the first link, numbered anew
 *
 * Both ends know a secret of this migration, which went with the machine's state: each proves that with another half of it, so that whoever has heard one
 * end cannot speak as the other one, and nobody else can give the machine pages, or be given some.
 */

import {
  type Message,
  MESSAGE,
  type MessageWriter,
  garbled,
  jsonOf,
  MIGRATION_VERSION,
  bitmapOf,
  pagesOf,
} from './messages.ts';
import { MigrationError } from './migration-error.ts';

/** Hexadecimal digits of a migration's secret. */
export const SECRET_DIGITS = 64;
const PROOF_DIGITS = SECRET_DIGITS / 2;
const SECRET = new RegExp(`^[0-9a-f]{${SECRET_DIGITS}}$`);

/** What the source says in STATE; undefined where it says that no other link will come. Throws a MigrationError for what is none. */
export function secretIn(said: unknown): string | undefined {
  if (said === undefined) return undefined;
  if (typeof said !== 'string' || !SECRET.test(said)) throw garbled('has a secret that is none');
  return said;
}

export function resumeOf(secret: string, writer: MessageWriter): Uint8Array {
  return writer.json(MESSAGE.RESUME, { version: MIGRATION_VERSION, proof: secret.slice(0, PROOF_DIGITS) });
}

/** Throws `other-machine` where it is another migration's, or nobody's. */
export function checkResume(message: Message, secret: string): void {
  const { version, proof } = jsonOf(message);
  if (version !== MIGRATION_VERSION)
    throw new MigrationError('version', 'the two ends are of different versions of Ringfence');
  if (!isSame(proof, secret.slice(0, PROOF_DIGITS)))
    throw new MigrationError('other-machine', 'it is not the machine whose pages are missing here');
}

export function resumedOf(
  secret: string,
  missing: readonly number[],
  pages: number,
  writer: MessageWriter,
): Uint8Array {
  const bitmap = bitmapOf(missing, pages);
  const body = new Uint8Array(PROOF_DIGITS + bitmap.length);
  new TextEncoder().encodeInto(secret.slice(PROOF_DIGITS), body);
  body.set(bitmap, PROOF_DIGITS);
  return writer.bytes(MESSAGE.RESUMED, body);
}

/** The pages that have not come there; throws a MigrationError where it is not the machine that left, or says what cannot be. */
export function missingIn(message: Message, secret: string, following: ReadonlySet<number>, pages: number): number[] {
  const { body } = message;
  if (body.length < PROOF_DIGITS) throw garbled('is too short');
  if (!isSame(new TextDecoder().decode(body.subarray(0, PROOF_DIGITS)), secret.slice(PROOF_DIGITS)))
    throw new MigrationError('other-machine', 'the machine there is not the one that left');
  const missing = pagesOf({ ...message, body: body.subarray(PROOF_DIGITS) }, pages);
  if (!missing.every((index) => following.has(index))) throw garbled('asks for a page that did not have to follow');
  return missing;
}

/** In the same time wherever the first difference is. */
function isSame(said: unknown, expected: string): boolean {
  if (typeof said !== 'string' || said.length !== expected.length) return false;
  let difference = 0;
  for (let at = 0; at < expected.length; at++) difference |= said.charCodeAt(at) ^ expected.charCodeAt(at);
  return difference === 0;
}
