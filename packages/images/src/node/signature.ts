/**
 * Checks the signature of a suite's `InRelease` as apt does (apt-secure(8)): a cleartext-signed message (RFC 9580, section 7), at least
 * one good signature by a key of the keyring, no bad one by such a key, and no weak digest. Keys that are not in the keyring do not
 * count either way. What is returned is the signed text; nothing else of the file may be used.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Key } from 'openpgp';
import { ImageError } from '../image-error.ts';

const KEYRINGS = ['/usr/share/keyrings/debian-archive-keyring.pgp', '/usr/share/keyrings/debian-archive-keyring.gpg'];
const TRUSTED_FOLDER = '/etc/apt/trusted.gpg.d';
const ARMOUR = /-----BEGIN PGP PUBLIC KEY BLOCK-----[^]*?-----END PGP PUBLIC KEY BLOCK-----/g;
const ADVICE = 'Install the package debian-archive-keyring or name a keyring with --keyring FILE.';

export interface Keyring {
  /** For errors. */
  readonly name: string;
  readonly contents: readonly Uint8Array[];
}

/** The keyring the caller names, the one apt's source names, or Debian's own as its package installs it. */
export function findKeyring(option: string | undefined, signedBy: string | undefined): Keyring {
  if (option !== undefined) return { name: option, contents: [readKeyring(option)] };
  if (signedBy?.startsWith('-----BEGIN PGP') === true)
    return { name: `apt's source`, contents: [Buffer.from(signedBy)] };
  if (signedBy?.startsWith('/') === true) return { name: signedBy, contents: [readKeyring(signedBy)] };
  const installed = KEYRINGS.find((path) => existsSync(path));
  if (installed !== undefined) return { name: installed, contents: [readKeyring(installed)] };
  const trusted = trustedKeyrings();
  if (trusted.length > 0) return { name: TRUSTED_FOLDER, contents: trusted.map(readKeyring) };
  throw new ImageError('no-keyring', `There is no keyring of the Debian archive to check signatures with. ${ADVICE}`);
}

/** The text that is signed. */
export async function verifiedText(inRelease: string, keyring: Keyring, now: Date): Promise<string> {
  const openpgp = await import('openpgp');
  const keys: Key[] = [];
  for (const content of keyring.contents) keys.push(...(await parseKeys(content, keyring.name)));

  let message;
  try {
    message = await openpgp.readCleartextMessage({ cleartextMessage: inRelease });
  } catch (cause) {
    throw new ImageError('bad-signature', 'The index of the mirror is not signed. It is not used.', cause);
  }
  const { hash } = openpgp.enums;
  const { signatures } = await openpgp.verify({
    message,
    verificationKeys: keys,
    date: now,
    config: { rejectMessageHashAlgorithms: new Set([hash.md5, hash.sha1, hash.ripemd]) },
  });
  const failures: unknown[] = [];
  let good = 0;
  let known = 0;
  for (const { keyID, verified } of signatures) {
    const isKnown = keys.some((key) => key.getKeys(keyID).length > 0);
    if (isKnown) known++;
    try {
      await verified;
      good++;
    } catch (error) {
      if (isKnown) failures.push(error);
    }
  }
  if (failures.length > 0) {
    throw new ImageError('bad-signature', "The signature of the mirror's index is wrong. It is not used.", failures[0]);
  }
  if (known === 0 || good === 0) {
    const ids = signatures.map(({ keyID }) => keyID.toHex().toUpperCase()).join(', ');
    throw new ImageError(
      'bad-signature',
      `The mirror's index is signed by nobody in ${keyring.name} (but by ${ids === '' ? 'nobody' : ids}). It is not used. ` +
        'Is the keyring too old for this suite?',
    );
  }
  return message.getText();
}

async function parseKeys(content: Uint8Array, name: string): Promise<Key[]> {
  const openpgp = await import('openpgp');
  try {
    const armoured = Buffer.from(content).toString('latin1').match(ARMOUR);
    if (armoured === null) return await openpgp.readKeys({ binaryKeys: content });
    return (await Promise.all(armoured.map((armoredKeys) => openpgp.readKeys({ armoredKeys })))).flat();
  } catch (cause) {
    throw new ImageError('no-keyring', `The keyring ${name} cannot be read as OpenPGP keys. ${ADVICE}`, cause);
  }
}

function trustedKeyrings(): string[] {
  try {
    return readdirSync(TRUSTED_FOLDER)
      .filter((name) => /^debian-archive-.*\.(asc|gpg)$/.test(name))
      .toSorted()
      .map((name) => join(TRUSTED_FOLDER, name));
  } catch {
    return [];
  }
}

function readKeyring(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new ImageError('no-keyring', `The keyring ${path} cannot be read. ${ADVICE}`, cause);
  }
}
