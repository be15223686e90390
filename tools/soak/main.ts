/**
 * A soak: `npm run soak -- --minutes 120`. One machine does mixed work for a long time, and its memory is looked at once a minute. Exit code
 * 0 when memory was flat after the warm-up and every round of work came to the same; 1 when not; 2 for wrong arguments. What runs and what
 * is judged is told in docs/benchmarks.md.
 */

import { rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { openTiny } from '@ringfence/images';
import { RINGFENCE_MACHINE } from '../bench/engines.ts';
import { buildForGuest, writeInitrd } from '../bench/guest-image.ts';
import { judge, mebibytes, sentence, type Sample } from './flatness.ts';
import { HELP, readSettings, type Settings } from './settings.ts';
import { soak, type Soaked } from './soak-run.ts';

/** What a shell reports for a program that a signal ended, and the signal's number on top. */
const SIGNAL_EXIT_CODE = 128;
const HEADS = ['minute', 'rounds', 'RSS MiB', 'guest MiB', 'beside MiB', 'heap MiB', 'MIPS'];

const row = (cells: readonly string[]): string =>
  cells.map((cell, column) => cell.padStart(HEADS[column]?.length ?? 0)).join('  ');

function sampleRow(sample: Sample, before: Sample | undefined): string {
  const { minutes, rounds, residentBytes, guestBytes, heapUsedBytes, instructions } = sample;
  const seconds = (minutes - (before?.minutes ?? 0)) * 60;
  const mips = (instructions - (before?.instructions ?? 0)) / seconds / 1e6;
  const bytes = [residentBytes, guestBytes, residentBytes - guestBytes, heapUsedBytes].map(mebibytes);
  return row([minutes.toFixed(1), String(rounds), ...bytes, mips.toFixed(0)]);
}

/** False when memory was not flat. */
async function run(settings: Settings): Promise<boolean> {
  const { minutes, everySeconds, suite, jsonPath } = settings;
  const image = await openTiny({ suite });
  const folder = join('build/soak', String(process.pid));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => process.exit(SIGNAL_EXIT_CODE + constants.signals[signal]));
  }
  const tree = join(folder, 'guest');
  const initrdPath = join(folder, 'soak.cpio');
  await buildForGuest(join(tree, 'bench'));
  await writeInitrd(initrdPath, image.initrdPath, tree, 'soak.sh', []);
  const commandLine = ['console=ttyS0', 'quiet', ...image.kernelParameters].join(' ');
  const guest = { kernelPath: image.kernelPath, initrdPath, commandLine };

  const samples: Sample[] = [];
  console.log(row(HEADS));
  const onSample = (sample: Sample): void => {
    console.log(sampleRow(sample, samples.at(-1)));
    samples.push(sample);
  };
  const write = async (outcome: object): Promise<void> => {
    await mkdir(dirname(jsonPath), { recursive: true });
    const report = { date: new Date().toISOString(), minutes, everySeconds, ...outcome, samples };
    await writeFile(jsonPath, `${JSON.stringify(report, undefined, 2)}\n`);
  };
  let soaked: Soaked;
  try {
    soaked = await soak({ ...settings, machine: RINGFENCE_MACHINE, guest, onSample });
  } catch (error) {
    await write({ problem: error instanceof Error ? error.message : String(error) });
    throw error;
  }
  const { engine, rounds } = soaked;
  const verdicts = judge(samples, minutes);
  await write({ engine, rounds, verdicts });

  console.log(`\n${rounds} rounds on the ${engine}, all of them with the same outcome. After the warm-up`);
  for (const verdict of verdicts) console.log(`  ${sentence(verdict)}`);
  console.log(`All samples: ${jsonPath}`);
  return verdicts.every(({ isFlat }) => isFlat);
}

let settings: Settings | undefined;
try {
  settings = readSettings(process.argv.slice(2));
} catch (error) {
  console.error(`soak: ${error instanceof Error ? error.message : String(error)} Help: npm run soak -- --help`);
  process.exit(2);
}
if (settings === undefined) console.log(HELP);
else {
  try {
    process.exitCode = (await run(settings)) ? 0 : 1;
  } catch (error) {
    console.error(`soak: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
