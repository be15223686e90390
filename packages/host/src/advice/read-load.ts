/**
 * Reads recorded loads: what sar(1) prints, what `sadf -d` (sadf(1)) makes of it, and tables of comma-separated values with a line of heads.
 *
 *     sar -A                 Linux 6.12 (web)  11/26/26  _x86_64_  (4 CPU)        one file, one machine
 *     sadf -d FILE -- -A     # hostname;interval;timestamp;CPU;%user;...          machines by their names
 *     CSV                    time,name,cpu_cores,memory_bytes,disk_operations,disk_bytes,network_bytes     (those that there are)
 *
 * Sections of sar that are not of interest are skipped; lines that cannot be right are refused with their number.
 */

import { HostError } from '../failure.ts';
import type { LoadSample, Quantity, RecordedLoad } from './load.ts';

const DAY_SECONDS = 86_400;
/** No longer than a year of minutes. */
export const MAXIMUM_SAMPLES = 600_000;
const KB = 1024;
/** A block of a block device is a sector (sar(1), -b). */
const BLOCK_BYTES = 512;
/** The loopback carries what never leaves the machine. */
const LOOPBACK = 'lo';

type Mutable = { -readonly [K in keyof LoadSample]: LoadSample[K] };

class Machine {
  readonly name: string;
  cpus: number | undefined;
  readonly #samples = new Map<number, Mutable>();

  constructor(name: string) {
    this.name = name;
  }

  at(seconds: number): Mutable {
    let sample = this.#samples.get(seconds);
    if (sample === undefined) {
      sample = { atSeconds: seconds };
      this.#samples.set(seconds, sample);
      if (this.#samples.size > MAXIMUM_SAMPLES)
        throw new HostError('too-many', `"${this.name}" has more than ${MAXIMUM_SAMPLES} samples`);
    }
    return sample;
  }

  add(seconds: number, quantity: Quantity, value: number): void {
    const sample = this.at(seconds);
    sample[quantity] = (sample[quantity] ?? 0) + value;
  }

  get load(): RecordedLoad {
    const samples = [...this.#samples.values()].toSorted((a, b) => a.atSeconds - b.atSeconds);
    return { name: this.name, cpus: this.cpus, samples };
  }
}

/**
 * The loads in a file's text. `file` names it in errors, and names a machine that the text does not name. `cpus` is what a machine has whose
 * record does not say (sadf, and it counts processors only with -P ALL). Throws a HostError with the line that is wrong.
 */
export function readLoads(
  text: string,
  file: string,
  cpus: (name: string) => number | undefined = () => undefined,
): RecordedLoad[] {
  const lines = text.split(/\r?\n/);
  const first = lines.find((line) => line.trim() !== '') ?? '';
  let machines: Machine[];
  if (/^Linux \S+ \(/.test(first)) machines = readSar(lines, file);
  else if (first.startsWith('# hostname;')) machines = readSadf(lines, file);
  else if (first.includes(',')) machines = readTable(lines, file);
  else {
    throw new HostError(
      'bad-argument',
      `${file} is neither the output of sar, nor of "sadf -d", nor a table of comma-separated values with a line of heads`,
    );
  }
  const loads = machines.map((machine) => machine.load).filter(({ samples }) => samples.length > 0);
  if (loads.length === 0) throw new HostError('bad-argument', `${file} holds no samples`);
  return loads.map((load) => inCores(load, load.cpus ?? cpus(load.name), file));
}

/** sar gives a share of all processors, kept as such until here: as a negative number of cores. */
function inCores(load: RecordedLoad, cpus: number | undefined, file: string): RecordedLoad {
  if (!load.samples.some(({ cpuCores = 0 }) => cpuCores < 0)) return { ...load, cpus };
  if (cpus === undefined) {
    throw new HostError(
      'bad-argument',
      `${file} does not say how many processors "${load.name}" has; say it with --cpus ${load.name}=N`,
    );
  }
  const samples = load.samples.map((sample) =>
    sample.cpuCores === undefined ? sample : { ...sample, cpuCores: -sample.cpuCores * cpus },
  );
  return { ...load, cpus, samples };
}

/** Adds the figures of one row of sar, whose cells are named as its columns are. */
function addRow(machine: Machine, seconds: number, cell: (name: string) => number | undefined, instance: string): void {
  const idle = cell('%idle');
  if (idle !== undefined) {
    // Waiting for a disk keeps no processor, and what a hypervisor took was not had.
    const share = Math.max(0, 1 - (idle + (cell('%iowait') ?? 0) + (cell('%steal') ?? 0)) / 100);
    if (instance === 'all' || instance === '-1') machine.at(seconds).cpuCores = -share;
    else if (/^\d+$/.test(instance)) machine.cpus = Math.max(machine.cpus ?? 0, Number(instance) + 1);
    return;
  }
  const [used, usedShare, available] = [cell('kbmemused'), cell('%memused'), cell('kbavail')];
  if (used !== undefined) {
    const total = usedShare !== undefined && usedShare > 0 ? used / (usedShare / 100) : undefined;
    const needed = total !== undefined && available !== undefined ? Math.max(0, total - available) : used;
    machine.at(seconds).memoryBytes = needed * KB;
    return;
  }
  const operations = cell('tps');
  const [read, written] = [cell('bread/s'), cell('bwrtn/s')];
  if (operations !== undefined && read !== undefined && written !== undefined) {
    const sample = machine.at(seconds);
    sample.diskOperations = operations;
    sample.diskBytes = (read + written) * BLOCK_BYTES;
    return;
  }
  const [received, sent] = [cell('rxkB/s'), cell('txkB/s')];
  if (received !== undefined && sent !== undefined && instance !== LOOPBACK)
    machine.add(seconds, 'networkBytes', (received + sent) * KB);
}

/** Times of one record grow; where they do not, a day has passed. */
class Days {
  #day = 0;
  #last = 0;

  seconds(ofDay: number): number {
    if (ofDay < this.#last - DAY_SECONDS / 2) this.#day++;
    this.#last = ofDay;
    return this.#day * DAY_SECONDS + ofDay;
  }
}

const CLOCK = /^(\d{2}):(\d{2}):(\d{2})(?:\s+(AM|PM))?$/;

function secondsOfDay(text: string): number | undefined {
  const [, hour, minute, second, half] = CLOCK.exec(text) ?? [];
  if (hour === undefined) return undefined;
  const hours = half === undefined ? Number(hour) : (Number(hour) % 12) + (half === 'PM' ? 12 : 0);
  return hours * 3600 + Number(minute) * 60 + Number(second);
}

function readSar(lines: readonly string[], file: string): Machine[] {
  let machine = new Machine(file);
  let heads: readonly string[] = [];
  let days = new Days();
  for (const [index, line] of lines.entries()) {
    const [, name, cpus] = /^Linux \S+ \(([^)]*)\).*?(?:\((\d+) CPU\))?\s*$/.exec(line) ?? [];
    if (name !== undefined) {
      machine = new Machine(name || file);
      if (cpus !== undefined) machine.cpus = Number(cpus);
      continue;
    }
    if (line.trim() === '' || line.startsWith('Average:') || line.includes('LINUX RESTART')) continue;
    const [, clock = '', rest = ''] = /^(\d{2}:\d{2}:\d{2}(?:\s+[AP]M)?)\s+(.*)$/.exec(line) ?? [];
    const ofDay = secondsOfDay(clock);
    if (ofDay === undefined) throw wrongLine(file, index, 'does not begin with a time');
    const cells = rest.trim().split(/\s+/);
    if (
      cells.some((cell) => /^[%a-zA-Z]/.test(cell)) &&
      cells.slice(1).every((cell) => !/^-?\d+([.,]\d+)?$/.test(cell))
    ) {
      // A line of heads. The sections of one file begin with the same time.
      if (cells.join() !== heads.join()) days = new Days();
      heads = cells;
      continue;
    }
    if (heads.length === 0) throw wrongLine(file, index, 'comes before any line of heads');
    const cell = cellOf(heads, cells, file, index);
    addRow(machine, days.seconds(ofDay), cell, cells[0] ?? '');
  }
  return [machine];
}

function readSadf(lines: readonly string[], file: string): Machine[] {
  const machines = new Map<string, Machine>();
  let heads: readonly string[] = [];
  let firstDay: number | undefined;
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const cells = line.split(';');
    if (line.startsWith('#')) {
      heads = cells.slice(3);
      continue;
    }
    const [name = '', , time = '', ...values] = cells;
    // A restart has the time and a word (sadf(1)).
    if (values[0]?.startsWith('LINUX-RESTART') === true) continue;
    if (values.length !== heads.length)
      throw wrongLine(file, index, `has ${values.length} values, and ${heads.length} heads stand above it`);
    const [, date, clock = ''] = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2})(?: .*)?$/.exec(time) ?? [];
    const day = date === undefined ? Number.NaN : Date.parse(date) / 1000;
    const ofDay = secondsOfDay(clock);
    if (Number.isNaN(day) || ofDay === undefined) throw wrongLine(file, index, `has "${time}" for a time`);
    firstDay = Math.min(firstDay ?? day, day);
    let machine = machines.get(name);
    if (machine === undefined) machines.set(name, (machine = new Machine(name || file)));
    addRow(machine, day - firstDay + ofDay, cellOf(heads, values, file, index), values[0] ?? '');
  }
  return [...machines.values()];
}

/** A value by its column's name; undefined when there is no such column, refused when it is no number. */
function cellOf(
  heads: readonly string[],
  cells: readonly string[],
  file: string,
  index: number,
): (name: string) => number | undefined {
  return (name) => {
    const column = heads.indexOf(name);
    if (column < 0) return undefined;
    const value = Number(cells[column]?.replace(',', '.'));
    if (!Number.isFinite(value) || value < 0 || cells[column] === '')
      throw wrongLine(file, index, `has "${cells[column] ?? ''}" for ${name}`);
    return value;
  };
}

/** Heads of a table of our own, and what each of them is. */
const COLUMNS: Readonly<Record<string, Quantity>> = {
  cpu_cores: 'cpuCores',
  memory_bytes: 'memoryBytes',
  disk_operations: 'diskOperations',
  disk_bytes: 'diskBytes',
  network_bytes: 'networkBytes',
};

function readTable(lines: readonly string[], file: string): Machine[] {
  const machines = new Map<string, Machine>();
  let heads: readonly string[] | undefined;
  let start: number | undefined;
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const cells = line.split(',').map((cell) => cell.trim());
    if (heads === undefined) {
      heads = cells.map((head) => head.toLowerCase());
      if (!heads.includes('time') || !heads.some((head) => head in COLUMNS)) {
        const wanted = Object.keys(COLUMNS).join(', ');
        throw wrongLine(file, index, `has to have the head time and one or more of ${wanted}`);
      }
      continue;
    }
    if (cells.length !== heads.length)
      throw wrongLine(file, index, `has ${cells.length} values, and there are ${heads.length} heads`);
    const time = cells[heads.indexOf('time')] ?? '';
    const seconds = /^\d+(\.\d+)?$/.test(time) ? Number(time) : Date.parse(time) / 1000;
    if (!Number.isFinite(seconds))
      throw wrongLine(file, index, `has "${time}" for a time; it is seconds, or a date like 2026-11-26T12:00:00Z`);
    start ??= seconds - (seconds % DAY_SECONDS);
    const name = heads.includes('name') ? (cells[heads.indexOf('name')] ?? file) : file;
    let machine = machines.get(name);
    if (machine === undefined) machines.set(name, (machine = new Machine(name)));
    const cell = cellOf(heads, cells, file, index);
    for (const [head, quantity] of Object.entries(COLUMNS)) {
      if (!heads.includes(head) || cells[heads.indexOf(head)] === '') continue;
      const value = cell(head);
      if (value !== undefined) machine.at(seconds - start)[quantity] = value;
    }
  }
  return [...machines.values()];
}

function wrongLine(file: string, index: number, problem: string): HostError {
  return new HostError('bad-argument', `line ${index + 1} of ${file} ${problem}`);
}
