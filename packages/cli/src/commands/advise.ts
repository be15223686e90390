/** `ringfence advise`: from recorded loads, how large machines have to be and how many fit on a host. */

import { readFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { basename } from 'node:path';
import process from 'node:process';
import { formatSize, parseSize } from '@ringfence/core/sizes';
import {
  type Consolidation,
  consolidate,
  DEFAULT_CPU_FACTOR,
  DEFAULT_LIVE_FACTOR,
  type HostCapacity,
  readLoads,
  type RecordedLoad,
  type Sizing,
  sizeFor,
  sizeForLive,
} from '@ringfence/host/advice';
import { systemReason } from '@ringfence/host/failure';
import { EXIT } from '../exit-codes.ts';
import { CliError, plainText } from '../failure.ts';
import { textTable } from '../text-table.ts';
import { reported } from './daemon/report.ts';
import { watch } from './watch-loads.ts';

export interface AdviseOptions {
  /** NAME=N, as they were typed. */
  readonly cpus: readonly string[];
  readonly hostCpus?: string | undefined;
  readonly hostMemory?: string | undefined;
  /** MB and operations a second of its disks, Mbit a second of its network. */
  readonly hostDisk?: string | undefined;
  readonly hostIops?: string | undefined;
  readonly hostNetwork?: string | undefined;
  readonly cpuFactor?: string | undefined;
  readonly json?: boolean | undefined;
  /** Machines of the daemon are watched, all or those that are named. */
  readonly live?: boolean | undefined;
  readonly every?: string | undefined;
  readonly for?: string | undefined;
  readonly record?: string | undefined;
}

const MiB = 2 ** 20;
/** Bytes of the units in which limits of disks and networks are told. */
const MB = 1e6;
const MBIT = 1e6 / 8;
/** A record is read whole. */
const MOST_BYTES = 256 * MiB;

/** `words` are files, or with `live` names of machines. */
export async function advise(words: readonly string[], options: AdviseOptions): Promise<number> {
  if (options.live === true) return reported(options, () => adviseLive(words, options));
  const [only] = (['every', 'for', 'record'] as const).filter((name) => options[name] !== undefined);
  if (only !== undefined) throw new CliError(`--${only} is for --live, which watches machines that run`, EXIT.USAGE);
  if (words.length === 0)
    throw new CliError('say which records are to be read, or --live to watch the machines that run', EXIT.USAGE);
  return adviseOn(words, options);
}

async function adviseLive(names: readonly string[], options: AdviseOptions): Promise<number> {
  const cpuFactor = numberOf('--cpu-factor', options.cpuFactor) ?? DEFAULT_LIVE_FACTOR;
  const host = hostOf(options);
  const loads = await watch(names, options);
  const sized = loads.map((live) => ({ load: live.load, sizing: sizeForLive(live, cpuFactor) }));
  say(sized, host, cpuFactor, options);
  return EXIT.OK;
}

function hostOf(options: AdviseOptions): HostCapacity {
  const diskOperations = numberOf('--host-iops', options.hostIops);
  const disk = numberOf('--host-disk', options.hostDisk);
  const network = numberOf('--host-network', options.hostNetwork);
  return {
    cpus: numberOf('--host-cpus', options.hostCpus) ?? availableParallelism(),
    memoryBytes: sizeOf('--host-memory', options.hostMemory) ?? totalmem(),
    ...(diskOperations === undefined ? {} : { diskOperations }),
    ...(disk === undefined ? {} : { diskBytes: disk * MB }),
    ...(network === undefined ? {} : { networkBytes: network * MBIT }),
  };
}

/** `a host of 12 processors and 16 GiB, 500 MB/s of disks`. */
function described({ cpus, memoryBytes, diskOperations, diskBytes, networkBytes }: HostCapacity): string {
  const limits = [
    diskBytes === undefined ? undefined : `${diskBytes / MB} MB/s of disks`,
    diskOperations === undefined ? undefined : `${diskOperations} disk operations a second`,
    networkBytes === undefined ? undefined : `${networkBytes / MBIT} Mbit/s of network`,
  ].filter((each) => each !== undefined);
  return [`a host of ${cpus} processors and ${formatSize(memoryBytes)}`, ...limits].join(', ');
}

function say(
  sized: readonly { readonly load: RecordedLoad; readonly sizing: Sizing }[],
  host: HostCapacity,
  cpuFactor: number,
  { json }: AdviseOptions,
): void {
  const advice = consolidate(sized, host, cpuFactor);
  const machines = sized.map(({ sizing }) => sizing);
  const loads = sized.map(({ load }) => load);
  if (json === true) {
    process.stdout.write(`${JSON.stringify({ host, cpuFactor, machines, ...advice }, null, 2)}\n`);
  } else process.stdout.write(report(loads, machines, advice, host, cpuFactor));
}

async function adviseOn(files: readonly string[], options: AdviseOptions): Promise<number> {
  const host = hostOf(options);
  const cpuFactor = numberOf('--cpu-factor', options.cpuFactor) ?? DEFAULT_CPU_FACTOR;
  const loads = merged((await Promise.all(files.map((file) => loadsOf(file, processors(options.cpus))))).flat());
  const sized = loads.map((load) => ({ load, sizing: sizeFor(load, { cpuFactor }) }));
  say(sized, host, cpuFactor, options);
  return EXIT.OK;
}

/** Processors of the machines whose record does not say. */
function processors(words: readonly string[]): ReadonlyMap<string, number> {
  return new Map(
    words.map((word) => {
      const [, name, count] = /^(.+)=(\d{1,4})$/.exec(word) ?? [];
      if (name === undefined || Number(count) < 1)
        throw new CliError(`--cpus "${word}" is not of the form NAME=NUMBER`, EXIT.USAGE);
      return [name, Number(count)];
    }),
  );
}

async function loadsOf(file: string, cpus: ReadonlyMap<string, number>): Promise<RecordedLoad[]> {
  let text: string;
  try {
    const bytes = await readFile(file);
    if (bytes.length > MOST_BYTES)
      throw new CliError(
        `${file} has ${formatSize(bytes.length)}, and ${formatSize(MOST_BYTES)} are read at most`,
        EXIT.FAILED,
      );
    text = bytes.toString('utf8');
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${file} cannot be read: ${systemReason(error)}`, EXIT.FAILED);
  }
  return readLoads(text, basename(file), (name) => cpus.get(name));
}

/** One load of each name: sar writes a file a day, and others one a quantity. */
function merged(loads: readonly RecordedLoad[]): RecordedLoad[] {
  const byName = new Map<string, RecordedLoad[]>();
  for (const load of loads) byName.set(load.name, [...(byName.get(load.name) ?? []), load]);
  return [...byName].map(([name, parts]) => ({
    name,
    cpus: parts.find(({ cpus }) => cpus !== undefined)?.cpus,
    samples: parts.flatMap(({ samples }) => samples).toSorted((a, b) => a.atSeconds - b.atSeconds),
  }));
}

function numberOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0;
  if (value > 0 && Number.isFinite(value)) return value;
  throw new CliError(`${option} "${text}" is no number above 0`, EXIT.USAGE);
}

function sizeOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = parseSize(text);
  if (bytes !== undefined && bytes > 0) return bytes;
  throw new CliError(`${option} "${text}" is no size; write it like 64G`, EXIT.USAGE);
}

function report(
  loads: readonly RecordedLoad[],
  machines: readonly Sizing[],
  advice: Consolidation,
  host: HostCapacity,
  cpuFactor: number,
): string {
  const rows = machines.map((machine, index) => [
    plainText(machine.name),
    String(loads[index]?.samples.length ?? 0),
    machine.busyCores?.toFixed(2) ?? '-',
    String(machine.vcpus ?? '-'),
    machine.peakMemoryBytes === undefined ? '-' : formatSize(Math.round(machine.peakMemoryBytes)),
    machine.memoryBytes === undefined ? '-' : `${machine.memoryBytes / MiB}M`,
    machine.notes.join('; ') || '-',
  ]);
  const names = (list: readonly string[]): string => list.map((name) => plainText(name)).join(', ');
  const { fitting, left, hosts, tooLarge } = advice;
  const on = described(host);
  const lines = [
    fitting.length === 0
      ? `None of them fits on ${on}.`
      : `${fitting.length} of ${machines.length} fit on ${on}: ${names(fitting)}. ` +
        `Together they take ${advice.peakCores.toFixed(1)} processors at the worst time, and ${formatSize(Math.round(advice.memoryBytes))}.`,
    ...left.map(({ name, lacks }) => `Not beside them: ${plainText(name)}, for lack of ${lacks}.`),
    ...tooLarge.map(({ name, lacks }) => `Not even alone: ${plainText(name)}, for lack of ${lacks}.`),
    ...(hosts.length > 1 ? [`${hosts.length} such hosts carry: ${hosts.map((each) => names(each)).join(' | ')}.`] : []),
    `A core there is taken for ${cpuFactor} here (--cpu-factor); "ringfence help advise" says what else is assumed.`,
  ];
  const heads = ['MACHINE', 'SAMPLES', 'BUSY', 'VCPUS', 'USED', 'MEMORY', 'NOTES'];
  return `${textTable(heads, rows)}\n${lines.join('\n')}\n`;
}
