/** What `npm run bench` was asked for. */

import { parseArgs } from 'node:util';
import { enginesOf, QEMU, type EngineChoice } from './engines.ts';
import { CHOICES, choosePrograms, PROGRAMS, programsOf, type Program } from './programs.ts';

export interface Settings {
  readonly runs: number;
  readonly engines: readonly EngineChoice[];
  readonly suite: string;
  readonly jsonPath: string;
  /** An earlier run's file, whose figures of QEMU and of the machine itself count again. */
  readonly qemuFrom: string | undefined;
  readonly programs: readonly Program[];
  readonly measuresUserland: boolean;
}

const MOST_RUNS = 99;
/** The boot alone, as `--only` calls it. */
export const USERLAND = 'userland';
const LATEST = 'bench-results/latest.json';
/** Apart, so that the figures that are used again are still there the next time. */
const TUNING = 'bench-results/tuning.json';

const list = (set: Program['set']): string =>
  PROGRAMS.filter((program) => program.set === set)
    .map(({ name, says }) => `                     ${name.padEnd(10)} ${says}`)
    .join('\n');

export const HELP = `npm run bench -- [OPTIONS]: Ringfence beside ${QEMU} on this machine, medians and ratios.

  --runs N         rounds of each measurement, from which the median counts (3)
  --engine NAME    Ringfence's engine: interpreter, jit, or both (what Ringfence takes by itself)
  --set NAME       which programs: ${Object.keys(CHOICES).join(', ')} (main)
  --only NAMES     only these, separated by commas; may be given again. ${USERLAND} is the boot alone, the others are programs
  --qemu-from FILE QEMU and the machine itself do not run: their figures are those of an earlier run on this machine
  --suite NAME     Debian's suite that the image is made of (stable)
  --json FILE      where the figures go (${LATEST}; with --qemu-from ${TUNING})
  --help           this text

  set main, with targets:
${list('table')}
  beside them:
${list('beside')}
  set wide, without targets:
${list('wide')}
`;

/** Undefined when only help was asked for. An Error when the words are wrong. */
export function readSettings(words: readonly string[]): Settings | undefined {
  const { values } = parseArgs({
    args: [...words],
    options: {
      runs: { type: 'string', default: '3' },
      only: { type: 'string', multiple: true, default: [] },
      set: { type: 'string', default: 'main' },
      engine: { type: 'string', default: 'default' },
      suite: { type: 'string', default: 'stable' },
      json: { type: 'string' },
      'qemu-from': { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const qemuFrom = values['qemu-from'];
  const jsonPath = values.json ?? (qemuFrom === undefined ? LATEST : TUNING);
  if (jsonPath === qemuFrom) {
    throw new Error(`${jsonPath} cannot be read for QEMU's figures and written too; give another --json.`);
  }
  const names = values.only.flatMap((word) => word.split(',')).filter((name) => name !== '');
  const programNames = names.filter((name) => name !== USERLAND);
  return {
    runs: runsOf(values.runs),
    engines: enginesOf(values.engine),
    suite: values.suite,
    jsonPath,
    qemuFrom,
    programs: names.length === 0 ? programsOf(values.set) : choosePrograms(programNames),
    measuresUserland: names.length === 0 || names.includes(USERLAND),
  };
}

function runsOf(text: string): number {
  const runs = Number(text);
  if (!Number.isInteger(runs) || runs < 1 || runs > MOST_RUNS) {
    throw new Error(`--runs takes a number from 1 to ${MOST_RUNS}, not ${text}.`);
  }
  return runs;
}
