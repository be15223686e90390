/**
 * Random programs on Ringfence and QEMU, for as long as one likes:
 *
 *     npm run differential -- [--programs 100 | --seconds 60] [--seed 1]
 *
 * Program n has the seed `seed` + n. Ends with status 1 when there was a difference, 2 when it cannot run. Needs Debian's
 * qemu-system-misc.
 */

import { parseArgs } from 'node:util';
import { compareSeed } from './compare.ts';
import { Qemu, whatIsMissing } from './emulators.ts';

function refuse(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(2);
}

function options(): { readonly programs: number; readonly seconds: number; readonly seed: number } {
  try {
    const { values } = parseArgs({
      options: { programs: { type: 'string' }, seconds: { type: 'string' }, seed: { type: 'string', default: '1' } },
    });
    const seconds = values.seconds === undefined ? Infinity : Number(values.seconds);
    const programs = values.programs === undefined ? (seconds === Infinity ? 100 : Infinity) : Number(values.programs);
    const seed = Number(values.seed);
    if (!(programs >= 1)) refuse(`--programs takes a positive number, not "${values.programs}"`);
    if (!(seconds > 0)) refuse(`--seconds takes a positive number, not "${values.seconds}"`);
    if (!Number.isSafeInteger(seed)) refuse(`--seed takes a whole number, not "${values.seed}"`);
    return { programs, seconds, seed };
  } catch (error) {
    return refuse((error as Error).message);
  }
}

const { programs, seconds, seed } = options();
const missing = whatIsMissing();
if (missing !== undefined) refuse(missing);

const qemu = new Qemu();
const start = performance.now();
const elapsed = (): number => (performance.now() - start) / 1000;
let [done, different, instructions] = [0, 0, 0];
try {
  for (; done < programs && elapsed() < seconds; done++) {
    const outcome = await compareSeed(qemu, seed + done);
    instructions += outcome.instructions;
    if (outcome.found.length > 0) {
      different++;
      process.stdout.write(`${outcome.found.join('\n  ')}\n`);
    }
    process.stderr.write(
      `\r${done + 1} programs, ${instructions} instructions, ${elapsed().toFixed(0)} s, ${different} with differences `,
    );
  }
} finally {
  qemu.close();
}
process.stderr.write('\n');
process.stdout.write(
  `${done} programs from seed ${seed}, ${instructions} instructions: ${different === 0 ? 'QEMU agrees with all' : `QEMU DISAGREES with ${different}`}\n`,
);
process.exitCode = different === 0 ? 0 : 1;
