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
import { promisify } from 'node:util';
import { openTiny, type TinyImage } from '@ringfence/images';
import { disagreements } from './checks.ts';
import { readEarlier, type Circumstances, type Earlier } from './earlier.ts';
import { builtMachine, MEMORY_MIB, QEMU } from './engines.ts';
import {
  BOOT_GROUP,
  checkedFigures,
  checkedRuns,
  figuresOf,
  resultsOf,
  type Group,
  type SideFigures,
} from './figures.ts';
import { buildForGuest, buildForThisMachine, isMissing, missingProgram, writeInitrd } from './guest-image.ts';
import { measure, type BuiltGroup, type MeasuredSides } from './measure.ts';
import { runNatively } from './native-run.ts';
import { rowsOf, table, verdict, type Row } from './report.ts';
import { HELP, readSettings, type Settings } from './settings.ts';
import { TARGETS, type EngineName } from './targets.ts';

/** What a shell reports for a program that a signal ended, and the signal's number on top. */
const SIGNAL_EXIT_CODE = 128;

const tell = (text: string): void => void process.stderr.write(`${text}\n`);

async function qemuVersion(): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(QEMU, ['--version']);
    return /version (\S+)/.exec(stdout)?.[1] ?? 'of an unknown version';
  } catch (error) {
    throw isMissing(error) ? new Error(missingProgram(QEMU, 'qemu-system-misc'), { cause: error }) : error;
  }
}

/** Each is a process of its own: the boot, the table's programs with those beside them, the wide set. */
function groupsOf({ programs, measuresUserland }: Settings): Group[] {
  const groups = [
    { name: 'programs', programs: programs.filter(({ set }) => set !== 'wide') },
    { name: 'wide programs', programs: programs.filter(({ set }) => set === 'wide') },
  ].filter((group) => group.programs.length > 0);
  return measuresUserland ? [BOOT_GROUP, ...groups] : groups;
}

/** Fresh for every run: two of them do not meet, and nothing of an older one is measured. Gone when this process is. */
function scratchFolder(): string {
  const folder = join('build/bench', String(process.pid));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => process.exit(SIGNAL_EXIT_CODE + constants.signals[signal]));
  }
  return folder;
}

async function build(
  folder: string,
  groups: readonly Group[],
  image: TinyImage,
  commandLine: string,
  ringfenceAlone: boolean,
): Promise<BuiltGroup[]> {
  const tree = join(folder, 'guest');
  await buildForGuest(join(tree, 'bench'));
  const wantsNative = !ringfenceAlone && groups.some(({ programs }) => programs.length > 0);
  const hasNative = wantsNative && (await buildForThisMachine(join(folder, 'native')));
  if (wantsNative && !hasNative) tell('There is no gcc here, so the native column stays empty.');
  const built: BuiltGroup[] = [];
  for (const group of groups) {
    const names = group.programs.map(({ name }) => name);
    const initrdPath = join(folder, `${group.name.replaceAll(' ', '-')}.cpio`);
    await writeInitrd(initrdPath, image.initrdPath, tree, 'suite.sh', names);
    const guest = { kernelPath: image.kernelPath, initrdPath, commandLine };
    const runNative = () => runNatively(join(folder, 'native'), names);
    built.push({ group, guest, ...(hasNative && names.length > 0 ? { runNative } : {}) });
  }
  return built;
}

/** One sentence per disagreement between sides, and per result that an engine did not give. */
function wrongOf({ programs }: Settings, sides: MeasuredSides, earlier: Earlier | undefined): string[] {
  const ours = [...sides.ringfence].flatMap(([engine, runs]) => checkedRuns(`Ringfence's ${engine}`, false, runs));
  const others =
    earlier === undefined
      ? [...checkedRuns('QEMU', false, sides.qemu), ...checkedRuns('this machine itself', true, sides.native)]
      : [
          checkedFigures('QEMU then', false, earlier.qemu),
          checkedFigures('this machine itself then', true, earlier.native),
        ];
  return programs.length === 0 ? [] : disagreements(programs, [...others, ...ours]);
}

/** Everything that was asked for; false when a check was wrong. */
async function bench(settings: Settings): Promise<boolean> {
  const { suite, programs, jsonPath, qemuFrom, runs } = settings;
  const loadAverageBefore = loadavg()[0] ?? 0; // what others do here; the benchmark itself keeps one core busy
  const image = await openTiny({ suite });
  const commandLine = ['console=ttyS0', 'quiet', ...image.kernelParameters].join(' ');
  const processor = cpus()[0]?.model ?? 'unknown';
  const { kernelVersion } = image;
  const circumstances: Circumstances = { processor, kernelVersion, commandLine, memoryMib: MEMORY_MIB };
  const wanted = { userland: settings.measuresUserland, results: resultsOf(programs) };
  const earlier = qemuFrom === undefined ? undefined : await readEarlier(qemuFrom, circumstances, wanted);
  const qemu = earlier?.qemuVersion ?? (await qemuVersion());
  const ringfenceAlone = earlier !== undefined;
  const folder = scratchFolder();
  const machine = await builtMachine(join(folder, 'program'));
  const groups = await build(folder, groupsOf(settings), image, commandLine, ringfenceAlone);

  const measured = await measure({ ...settings, machine, groups, ringfenceAlone, tell });
  const wrong = wrongOf(settings, measured, earlier);
  const native = earlier?.native ?? figuresOf(measured.native);
  const theirs = earlier?.qemu ?? figuresOf(measured.qemu);
  const sides: Record<string, SideFigures> = { native, qemu: theirs };
  const engines: Partial<Record<EngineName, { targets: object; rows: readonly Row[]; verdict: string }>> = {};
  for (const [engine, engineRuns] of measured.ringfence) {
    const ringfence = figuresOf(engineRuns);
    const targets = TARGETS[engine];
    const rows = rowsOf({ native, qemu: theirs, ringfence }, targets);
    sides[engine] = ringfence;
    engines[engine] = { targets, rows, verdict: verdict(engine, rows) };
  }
  const host = { processor, cores: cpus().length, memoryBytes: totalmem(), loadAverageBefore };
  const report = {
    date: new Date().toISOString(),
    host,
    node: process.version,
    qemu,
    qemuFrom,
    image: { suite, kernelVersion, commandLine, memoryMib: MEMORY_MIB },
    runs,
    wrong,
    engines,
    sides,
  };
  await mkdir(dirname(jsonPath), { recursive: true });
  await writeFile(jsonPath, `${JSON.stringify(report, undefined, 2)}\n`);

  console.log(
    `Ringfence (Node ${process.version}) beside QEMU ${qemu}: virt, 1 hart, ${MEMORY_MIB} MB, Linux ${kernelVersion}\n` +
      `${processor}, ${host.cores} cores, load ${loadAverageBefore.toFixed(1)} before; medians of ${runs}` +
      (qemuFrom === undefined ? '' : `; QEMU and native from ${qemuFrom}`),
  );
  for (const [engine, judged] of Object.entries(engines)) {
    console.log(`\n${table(engine, judged.rows)}`);
    if (judged.verdict !== '') console.log(`\n${judged.verdict}`);
  }
  console.log(`\nAll figures: ${jsonPath}`);
  for (const sentence of wrong) console.error(`bench: ${sentence}`);
  return wrong.length === 0;
}

let settings: Settings | undefined;
try {
  settings = readSettings(process.argv.slice(2));
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
