/** Words of Ringfence's own to the user. They go to stderr: stdout belongs to the guest. */

import process from 'node:process';

export function say(text: string): void {
  process.stderr.write(`ringfence: ${text}\n`);
}
