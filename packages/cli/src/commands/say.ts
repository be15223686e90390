/** Words of Ringfence's own to the user. They go to stderr: stdout belongs to the guest. */

import process from 'node:process';
import { plainText } from '../failure.ts';

export function say(text: string): void {
  process.stderr.write(`ringfence: ${plainText(text)}\n`);
}
