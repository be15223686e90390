/** A shared folder as people write it: HOST:GUEST[:ro]. */

import { HostError } from '../failure.ts';

export interface ShareWords {
  /** The folder on the host. */
  readonly host: string;
  /** What it is in the guest: a path, or for `boot` a tag. */
  readonly guest: string;
  readonly readOnly: boolean;
}

/** Folders that one machine can be given: each is a device on its bus. */
export const MAXIMUM_SHARES = 16;
const TAG_BYTES = 36;

/** Shares with the path where each is mounted. A colon belongs to the host's path unless `:/` follows for the last time there. */
export function mountedShares(words: readonly string[], called = 'Share'): ShareWords[] {
  return shares(words, called, /^(.+):(\/[^:]*?)(:ro)?$/s, 'HOST:GUEST[:ro], GUEST being an absolute path', (share) => {
    const parts = share.guest.split('/').filter((part) => part !== '' && part !== '.');
    if (parts.length === 0) return 'cannot be mounted over the whole file system of the guest';
    if (parts.includes('..')) return 'has ".." in the guest\'s path, which is not absolute then';
    return share.guest.includes('\0') ? 'has a NUL byte in it' : undefined;
  });
}

/** Shares with the tag by which the guest finds each. */
export function taggedShares(words: readonly string[], called = 'Share'): ShareWords[] {
  return shares(words, called, /^(.+?):([^:/]+)(:ro)?$/s, 'HOST:TAG[:ro], TAG being a name without "/"', ({ guest }) =>
    Buffer.byteLength(guest) > TAG_BYTES ? `has a tag of more than ${TAG_BYTES} bytes` : undefined,
  );
}

function shares(
  words: readonly string[],
  called: string,
  form: RegExp,
  usage: string,
  problemOf: (share: ShareWords) => string | undefined,
): ShareWords[] {
  if (words.length > MAXIMUM_SHARES)
    throw new HostError('too-many', `${called} is given ${words.length} times; ${MAXIMUM_SHARES} is the most`);
  const seen = new Set<string>();
  return words.map((word) => {
    const [, host, guest, readOnly] = form.exec(word) ?? [];
    if (host === undefined || guest === undefined)
      throw refused(`${called} "${word}" is not understood; write it as ${usage}`);
    const share = { host, guest, readOnly: readOnly !== undefined };
    const problem = seen.has(guest) ? 'is the second one of this name in the guest' : problemOf(share);
    if (problem !== undefined) throw refused(`${called} "${word}" ${problem}`);
    seen.add(guest);
    return share;
  });
}

function refused(sentence: string): HostError {
  return new HostError('bad-argument', sentence);
}
