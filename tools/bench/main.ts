/**
 * Ringfence beside QEMU on this machine: `npm run bench`. Boots the same image on both, in turn, and prints medians and ratios; what is
 * measured and how is told in docs/benchmarks.md. A missed target is a measurement, and the exit code 0; a wrong check, a guest that
 * fails or a machine that lacks a program ends with 1, wrong arguments with 2.
 */

import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { constants, cpus, loadavg, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { openTiny } from '@ringfence/images';
import { disagreements, type CheckedRun } from './checks.ts';
import { MEMORY_MIB, QEMU, qemuCommand, ringfenceCommand, type Guest } from './engines.ts';
import { buildForGuest, buildForThisMachine, isMissing, missingProgram, writeInitrd } from './guest-image.ts';
import { runGuest, type GuestRun } from './guest-run.ts';
import { runNatively, type NativeResult } from './native-run.ts';
import { choosePrograms, COMPUTE_LOOP, PROGRAMS, type Program } from './programs.ts';
import { rowsOf, table, type Measured, type MeasuredMemory, type MeasuredProgram } from './report.ts';
import { targetsOf } from './targets.ts';

const MOST_RUNS = 99;
const USERLAND = 'userland';
/** What a shell reports for a program that a signal ended, and the signal's number on top. */
const SIGNAL_EXIT_CODE = 128;

const HELP = `npm run bench -- [OPTIONS]: Ringfence beside ${QEMU} on this machine, medians and ratios.

  --runs N         rounds of each measurement, from which the median counts (3)
  --only NAME      only this; may be given more than once. ${USERLAND} is the boot alone, the others are programs:
${PROGRAMS.map(({ name, says, usual }) => `                     ${name.padEnd(10)} ${says}${usual ? '' : ' (only when asked for)'}`).join('\n')}
  --all            every program there is
  --engine NAME    Ringfence's engine (interpreter)
  --suite NAME     Debian's suite that the image is made of (stable)
  --json FILE      where the figures go (bench-results/latest.json)
  --help           this text
`;

interface Settings {
  readonly runs: number;
  readonly engine: string;
  readonly suite: string;
  readonly jsonPath: string;
  readonly programs: readonly Program[];
  readonly measuresUserland: boolean;
}

interface Round {
  readonly qemu: GuestRun;
  readonly ringfence: GuestRun;
  readonly native: ReadonlyMap<string, NativeResult>;
}

const tell = (text: string): void => void process.stderr.write(`${text}\n`);

/** Undefined when only help was asked for. An Error when the arguments are wrong. */
function readSettings(): Settings | undefined {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '3' },
      only: { type: 'string', multiple: true, default: [] },
      all: { type: 'boolean', default: false },
      engine: { type: 'string', default: 'interpreter' },
      suite: { type: 'string', default: 'stable' },
      json: { type: 'string', default: 'bench-results/latest.json' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1 || runs > MOST_RUNS) {
    throw new Error(`--runs takes a number from 1 to ${MOST_RUNS}, not ${values.runs}.`);
  }
  targetsOf(values.engine);
  const names = values.all ? PROGRAMS.map(({ name }) => name) : values.only.filter((name) => name !== USERLAND);
  const onlyUserland = !values.all && names.length === 0 && values.only.length > 0;
  return {
    runs,
    engine: values.engine,
    suite: values.suite,
    jsonPath: values.json,
    programs: onlyUserland ? [] : choosePrograms(names),
    measuresUserland: values.all || values.only.length === 0 || values.only.includes(USERLAND),
  };
}

async function qemuVersion(): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(QEMU, ['--version']);
    return /version (\S+)/.exec(stdout)?.[1] ?? 'of an unknown version';
  } catch (error) {
    throw isMissing(error) ? new Error(missingProgram(QEMU, 'qemu-system-misc'), { cause: error }) : error;
  }
}

/** The two engines in turn, so that whatever else the host does falls on both. */
async function rounds(
  { runs, engine }: Settings,
  what: string,
  guest: Guest,
  runNative?: () => Promise<Map<string, NativeResult>>,
): Promise<Round[]> {
  const found: Round[] = [];
  for (let round = 1; round <= runs; round++) {
    tell(`${what}, round ${round} of ${runs}: QEMU`);
    const qemu = await runGuest(qemuCommand(guest));
    tell(`${what}, round ${round} of ${runs}: Ringfence`);
    const ringfence = await runGuest(ringfenceCommand(engine, guest));
    const native = (await runNative?.()) ?? new Map<string, NativeResult>();
    found.push({ qemu, ringfence, native });
  }
  return found;
}

function measuredProgram(name: string, found: readonly Round[]): MeasuredProgram {
  const of = (side: 'qemu' | 'ringfence') =>
    found.flatMap((round) => round[side].results.filter((result) => result.name === name));
  const present = (value: number | undefined): number[] => (value === undefined ? [] : [value]);
  return {
    name,
    nativeSeconds: found.flatMap(({ native }) => present(native.get(name)?.seconds)),
    seconds: {
      qemu: of('qemu').map(({ seconds }) => seconds),
      ringfence: of('ringfence').map(({ seconds }) => seconds),
    },
    check: of('qemu')[0]?.check ?? '',
    mips: of('ringfence').flatMap(({ mips }) => present(mips)),
    instructions: of('ringfence').flatMap(({ instructions }) => present(instructions)),
  };
}

function measuredMemory(name: string, found: readonly Round[]): MeasuredMemory[] {
  if (found.length === 0) return [];
  return [
    {
      name,
      peakResidentBytes: {
        qemu: found.map(({ qemu }) => qemu.peakResidentBytes),
        ringfence: found.map(({ ringfence }) => ringfence.peakResidentBytes),
      },
      guestBytes: found.map(({ ringfence }) => ringfence.statistics?.['residentBytes'] ?? 0),
    },
  ];
}

function checkedRuns(found: readonly Round[]): CheckedRun[] {
  return found.flatMap(({ qemu, ringfence, native }, round) => [
    { label: `QEMU (round ${round + 1})`, isNative: false, results: qemu.results },
    { label: `Ringfence (round ${round + 1})`, isNative: false, results: ringfence.results },
    {
      label: `this machine itself (round ${round + 1})`,
      isNative: true,
      results: [...native].map(([name, { check }]) => ({ name, check })),
    },
  ]);
}

/** Everything that was asked for; false when a check was wrong. */
async function bench(settings: Settings): Promise<boolean> {
  const { engine, suite, programs, jsonPath } = settings;
  const loadAverageBefore = loadavg()[0] ?? 0; // what others do here; the benchmark itself keeps one core busy
  const qemu = await qemuVersion();
  const image = await openTiny({ suite });
  const commandLine = ['console=ttyS0', 'quiet', ...image.kernelParameters].join(' ');
  // Fresh for every run: two of them do not meet, and nothing of an older one is measured.
  const folder = join('build/bench', String(process.pid));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => process.exit(SIGNAL_EXIT_CODE + constants.signals[signal]));
  }
  await buildForGuest(join(folder, 'guest/bench'));
  const hasNative = programs.length > 0 && (await buildForThisMachine(join(folder, 'native')));
  if (programs.length > 0 && !hasNative) tell('There is no gcc here, so the native column stays empty.');
  const guest = async (tree: string, names: readonly string[]): Promise<Guest> => {
    const initrdPath = join(folder, `${names.length === 0 ? USERLAND : 'programs'}.cpio`);
    await writeInitrd(initrdPath, image.initrdPath, tree, names);
    return { kernelPath: image.kernelPath, initrdPath, commandLine };
  };

  const guestTree = join(folder, 'guest');
  const names = programs.map(({ name }) => name);
  const boots = settings.measuresUserland ? await rounds(settings, 'boot', await guest(guestTree, [])) : [];
  const computed =
    programs.length === 0
      ? []
      : await rounds(settings, 'programs', await guest(guestTree, names), async () =>
          hasNative ? runNatively(join(folder, 'native'), names) : new Map(),
        );

  const wrong = disagreements(programs, checkedRuns(computed));
  const measured = measuredOf(programs, boots, computed);
  const rows = rowsOf(measured, targetsOf(engine));
  const host = {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    loadAverageBefore,
  };
  const report = {
    date: new Date().toISOString(),
    host,
    node: process.version,
    qemu,
    image: { suite, kernelVersion: image.kernelVersion, commandLine, memoryMib: MEMORY_MIB },
    engine,
    runs: settings.runs,
    targets: targetsOf(engine),
    wrong,
    rows,
    measured,
  };
  await mkdir(dirname(jsonPath), { recursive: true });
  await writeFile(jsonPath, `${JSON.stringify(report, undefined, 2)}\n`);

  console.log(
    `Ringfence (${engine}, Node ${process.version}) beside QEMU ${qemu}: virt, 1 hart, ${MEMORY_MIB} MB, Linux ${image.kernelVersion}\n` +
      `${host.processor}, ${host.cores} cores, load ${loadAverageBefore.toFixed(1)} before; medians of ${settings.runs}\n`,
  );
  console.log(table(engine, rows));
  console.log(`\nAll figures: ${jsonPath}`);
  for (const sentence of wrong) console.error(`bench: ${sentence}`);
  return wrong.length === 0;
}

function measuredOf(programs: readonly Program[], boots: readonly Round[], computed: readonly Round[]): Measured {
  const measured = programs
    .flatMap(({ results }) => results)
    .map((name) => measuredProgram(name, computed))
    // What gave no result on one side is among the disagreements and has no median.
    .filter(({ seconds }) => seconds.qemu.length > 0 && seconds.ringfence.length > 0);
  const loop = PROGRAMS.find(({ name }) => name === COMPUTE_LOOP)?.results[0];
  return {
    userlandSeconds: {
      qemu: boots.map(({ qemu }) => qemu.userlandSeconds),
      ringfence: boots.map(({ ringfence }) => ringfence.userlandSeconds),
    },
    programs: measured,
    memory: [...measuredMemory('booted', boots), ...measuredMemory('programs', computed)],
    mips: measured.find(({ name }) => name === loop)?.mips ?? [],
  };
}

let settings: Settings | undefined;
try {
  settings = readSettings();
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)} Help: npm run bench -- --help`);
  process.exit(2);
}
if (settings === undefined) console.log(HELP);
else {
  try {
    process.exitCode = (await bench(settings)) ? 0 : 1;
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
