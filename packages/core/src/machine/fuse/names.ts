/** Names and texts as FUSE carries them: bytes with a NUL behind them. From here on a name can only be an entry of a folder. */

import { FileError } from './errno.ts';
import { NAME_BYTES } from './file-tree.ts';

const DOT = 0x2e;
const SLASH = 0x2f;

/** The longest target of a symbolic link: PATH_MAX of Linux, with the NUL. */
export const TARGET_BYTES = 4095;

/** The name, or the error that Linux has for one that is none. */
export function checkedName(name: Uint8Array): Uint8Array {
  if (name.length > NAME_BYTES) throw new FileError('ENAMETOOLONG');
  const dots = name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT));
  if (name.length === 0 || dots || name.includes(SLASH) || name.includes(0)) throw new FileError('EINVAL');
  return name;
}

/** What a symbolic link may hold. It is text to us, and nothing that is ever resolved here. */
export function checkedTarget(target: Uint8Array): Uint8Array {
  if (target.length === 0) throw new FileError('ENOENT');
  if (target.length > TARGET_BYTES) throw new FileError('ENAMETOOLONG');
  return target;
}

/** Bytes as a string of the same length, which compares and hashes as they do. */
export function nameKey(name: Uint8Array): string {
  let key = '';
  for (const letter of name) key += String.fromCharCode(letter);
  return key;
}

export function nameOfKey(key: string): Uint8Array {
  return Uint8Array.from(key, (letter) => letter.charCodeAt(0));
}
