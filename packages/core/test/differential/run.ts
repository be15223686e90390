/**
 * Random programs on QEMU and on the tiers of our engine, for as long as one likes:
 *
 *     npm run differential -- [--programs 100 | --seconds 60] [--seed 1] [--kind hot] [--tier jit]
 *     npm run differential -- --tiers ...
 *
 * Without `--tiers`, each tier is compared with QEMU (Debian's qemu-system-misc); with it, with the interpreter, and the interpreter with
 * itself interrupted at other moments. Program n has the seed `seed` + n, of each kind in turn. A difference is made small before it is
 * shown. Ends with status 1 when there was one, 2 when it cannot run.
 */

import { parseArgs } from 'node:util';
import { REFERENCE_TIER, TIERS, type Tier } from '../../src/engine/testing/tiers.ts';
import { Comparison } from './compare.ts';
import { minimise } from './minimise.ts';
import type { ProgramKind } from './program.ts';
import { PROGRAM_KINDS, programOf } from './programs.ts';
import { Qemu, whatIsMissing } from './qemu.ts';
import { report } from './report.ts';
import { Ringfence } from './ringfence.ts';
import type { Subject } from './subject.ts';

const DEFAULT_PROGRAMS = 100;

function refuse(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(2);
}

interface Options {
  readonly programs: number;
  readonly seconds: number;
  readonly seed: number;
  readonly kinds: readonly ProgramKind[];
  readonly tiers: readonly Tier[];
  readonly withQemu: boolean;
}

function options(): Options {
  try {
    const { values } = parseArgs({
      options: {
        programs: { type: 'string' },
        seconds: { type: 'string' },
        seed: { type: 'string', default: '1' },
        kind: { type: 'string', multiple: true },
        tier: { type: 'string', multiple: true, default: [...TIERS] },
        tiers: { type: 'boolean', default: false },
      },
    });
    const seconds = values.seconds === undefined ? Infinity : Number(values.seconds);
    const programs =
      values.programs === undefined ? (seconds === Infinity ? DEFAULT_PROGRAMS : Infinity) : Number(values.programs);
    const seed = Number(values.seed);
    if (!(programs >= 1)) refuse(`--programs takes a positive number, not "${values.programs}"`);
    if (!(seconds > 0)) refuse(`--seconds takes a positive number, not "${values.seconds}"`);
    if (!Number.isSafeInteger(seed)) refuse(`--seed takes a whole number, not "${values.seed}"`);
    const tiers = values.tier.map((tier) => oneOf('--tier', TIERS, tier));
    // What is strict only our own tiers keep.
    const kinds = (values.kind ?? PROGRAM_KINDS.filter((kind) => values.tiers || kind !== 'strict')).map((kind) =>
      oneOf('--kind', PROGRAM_KINDS, kind),
    );
    if (!values.tiers && kinds.includes('strict')) refuse('programs of the kind "strict" are for --tiers');
    return { programs, seconds, seed, kinds, tiers, withQemu: !values.tiers };
  } catch (error) {
    return refuse((error as Error).message);
  }
}

function oneOf<T extends string>(option: string, known: readonly T[], given: string): T {
  return known.find((name) => name === given) ?? refuse(`${option} takes ${known.join(' or ')}, not "${given}"`);
}

const { programs, seconds, seed, kinds, tiers, withQemu } = options();
const missing = withQemu ? whatIsMissing() : undefined;
if (missing !== undefined) refuse(missing);

const oracle: Subject = withQemu ? new Qemu() : await Ringfence.create(REFERENCE_TIER);
const subjects = await Promise.all(tiers.map((tier) => Ringfence.create(tier, withQemu ? 0 : 1)));
const start = performance.now();
const elapsed = (): number => (performance.now() - start) / 1000;
let [done, different, instructions] = [0, 0, 0];
try {
  for (; done < programs && elapsed() < seconds; done++) {
    const kind = kinds[done % kinds.length] as ProgramKind;
    const program = programOf[kind](seed + done);
    instructions += program.instructions;
    for (const subject of subjects) {
      const comparison = new Comparison(oracle, subject);
      const found = await comparison.run(program);
      if (found === undefined) continue;
      different++;
      process.stdout.write(`${report(program, await minimise(comparison, program, found))}\n`);
    }
    process.stderr.write(
      `\r${done + 1} programs, ${instructions} random instructions, ${elapsed().toFixed(0)} s, ${different} with differences `,
    );
  }
} finally {
  oracle.close();
}
process.stderr.write('\n');
process.stdout.write(
  `${done} programs from seed ${seed}, ${instructions} random instructions: ${oracle.name} ${different === 0 ? 'agrees with all' : `DISAGREES with ${different}`}\n`,
);
process.exitCode = different === 0 ? 0 : 1;
