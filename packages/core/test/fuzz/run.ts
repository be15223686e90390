/**
 * Random drivers, images and accesses against everything that a guest can reach, for as long as one likes:
 *
 *     npm run fuzz -- [--seconds 60] [--seed 1] [--device rng|blk|console|net|fs|balloon|memory|qcow2|migration]
 *
 * Each target has its turn for a while, with seeds that count up from `--seed`. What hurt is made smaller before it is shown, with the
 * command that shows it again. Ends with status 1 when something hurt, 2 when it cannot run.
 */

import { parseArgs } from 'node:util';
import * as fc from 'fast-check';
import { TARGETS } from './targets.ts';

/** Cases between two looks at the clock. */
const CASES = 200;
/** The process may not take more memory than this, in MiB. */
const MOST_RESIDENT_MIB = 1024;

function refuse(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(2);
}

function options(): { readonly seconds: number; readonly seed: number; readonly targets: typeof TARGETS } {
  try {
    const { values } = parseArgs({
      options: {
        seconds: { type: 'string', default: '60' },
        seed: { type: 'string', default: '1' },
        device: { type: 'string', multiple: true },
      },
    });
    const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
    if (!(seconds > 0)) refuse(`--seconds takes a positive number, not "${values.seconds}"`);
    if (!Number.isInteger(seed) || seed < 0 || seed > 0x7fff_ffff)
      refuse(`--seed takes a whole number from 0 to 2147483647, not "${values.seed}"`);
    const known = [...new Set(TARGETS.map(({ device }) => device as string))];
    for (const device of values.device ?? [])
      if (!known.includes(device)) refuse(`--device takes ${known.join(', ')}, not "${device}"`);
    return { seconds, seed, targets: TARGETS.filter(({ device }) => values.device?.includes(device) ?? true) };
  } catch (error) {
    return refuse((error as Error).message);
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? (error.stack ?? error.message) : `${error.message}\n${describe(error.cause)}`;
}

const { seconds, seed, targets } = options();
const endMs = performance.now() + seconds * 1000;
let [cases, round, hurt] = [0, 0, 0];
const given = new Set<string>();
while (performance.now() < endMs && given.size < targets.length) {
  for (const target of targets) {
    if (given.has(target.name) || performance.now() >= endMs) continue;
    const at = (seed + round) % 0x8000_0000;
    const outcome = await fc.check(target.property(), { seed: at, numRuns: CASES, endOnFailure: false });
    cases += outcome.numRuns;
    const residentMib = process.memoryUsage.rss() / 1024 ** 2;
    if (!outcome.failed && residentMib < MOST_RESIDENT_MIB) continue;
    hurt++;
    given.add(target.name);
    const what = outcome.failed
      ? `${fc.defaultReportMessage(outcome)}\n${describe(outcome.errorInstance)}`
      : `The process has grown to ${residentMib.toFixed(0)} MiB, more than ${MOST_RESIDENT_MIB}`;
    process.stdout.write(
      `\n${target.name} was hurt; npm run fuzz -- --device ${target.device} --seed ${at}\n${what}\n`,
    );
  }
  round++;
  process.stderr.write(
    `\r${cases} cases, ${hurt} targets hurt, ${(process.memoryUsage.rss() / 1024 ** 2).toFixed(0)} MiB `,
  );
}
process.stderr.write('\n');
process.stdout.write(
  `${cases} cases from seed ${seed}: ${hurt === 0 ? 'nothing was hurt' : `${hurt} targets WERE HURT`}\n`,
);
process.exitCode = hurt === 0 ? 0 : 1;
