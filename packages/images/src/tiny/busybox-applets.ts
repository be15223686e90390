/**
 * The commands that a busybox binary has, found without running it (it is a RISC-V program, and the host may be anything). busybox
 * keeps the names of its applets in one array, each ended by a NUL and in the order of their bytes, because it searches them by
 * halving (busybox, include/applet_tables.h as libbb/appletlib.c uses it). So they are the longest such run in the file.
 */

import { indexOfOctets, utf8Octets, utf8Text } from '../archive/octets.ts';
import { ImageError } from '../image-error.ts';

const NAME = /^[A-Za-z0-9_.[-]{1,31}$/;
/** Where to look: a name that every busybox has and that appears elsewhere too, which does no harm. */
const LANDMARK = utf8Octets('\0cat\0');
/** Without these, /init cannot do its work. */
const NEEDED = ['cat', 'cp', 'modprobe', 'mount', 'poweroff', 'setsid', 'sh', 'sleep', 'sync', 'umount'];

/** The names in their order. `what` names the file in errors. */
export function busyboxApplets(binary: Uint8Array, what: string): string[] {
  let best: string[] = [];
  for (let at = indexOfOctets(binary, LANDMARK); at >= 0; at = indexOfOctets(binary, LANDMARK, at + 1)) {
    const run = sortedRunAround(binary, at + 1);
    if (run.length > best.length) best = run;
  }
  const missing = NEEDED.filter((name) => !best.includes(name));
  if (missing.length > 0)
    throw new ImageError('bad-format', `${what} lacks the commands that the image needs: ${missing.join(', ')}.`);
  return best;
}

/** The longest run of ascending names around the one that begins at `start`. */
function sortedRunAround(binary: Uint8Array, start: number): string[] {
  const run = [stringAt(binary, start)];
  for (let at = start + (run[0]?.length ?? 0) + 1; ;) {
    const name = stringAt(binary, at);
    if (!NAME.test(name) || name <= (run.at(-1) ?? '')) break;
    run.push(name);
    at += name.length + 1;
  }
  for (let end = start - 1; end > 0;) {
    const begin = binary.lastIndexOf(0, end - 1) + 1;
    const name = utf8Text(binary.subarray(begin, end));
    if (!NAME.test(name) || name >= (run[0] ?? '')) break;
    run.unshift(name);
    end = begin - 1;
  }
  return run;
}

function stringAt(binary: Uint8Array, at: number): string {
  const end = binary.indexOf(0, at);
  return utf8Text(binary.subarray(at, Math.min(end < 0 ? binary.length : end, at + 64)));
}
