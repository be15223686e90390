/**
 * A disk as people write it: a file and how to use it, as QEMU's `-drive` has it.
 *
 *     FILE[,format=raw|qcow2][,readonly][,snapshot][,cache=writeback|writethrough|none|unsafe][,bus=pci|mmio]
 *
 * A comma in the file's name is written twice.
 */

import { HostError } from '../failure.ts';

export const CACHE_MODES = ['writeback', 'writethrough', 'none', 'unsafe'] as const;
export type CacheMode = (typeof CACHE_MODES)[number];
const FORMATS = ['raw', 'qcow2'] as const;
const BUSES = ['pci', 'mmio'] as const;

export interface DiskSpec {
  readonly path: string;
  /** Found out from the file when absent. */
  readonly format: (typeof FORMATS)[number] | undefined;
  readonly readOnly: boolean;
  /** What the guest writes is gone afterwards. */
  readonly snapshot: boolean;
  readonly cache: CacheMode;
  readonly bus: (typeof BUSES)[number];
  /** Its file may be gone when the machine is: a snapshot has its own copy of what is in it. */
  readonly isPassing?: boolean;
}

/** Reads one; throws a HostError. `called` is what the user knows it as. */
export function parseDiskSpec(text: string, called = 'Disk'): DiskSpec {
  const wrong = (problem: string): HostError => new HostError('bad-argument', `${called} "${text}": ${problem}`);
  const [path = '', ...settings] = splitAtCommas(text);
  const found = new Map<string, string>();
  for (const setting of settings) {
    const [, name = '', value] = /^([^=]*)(?:=(.*))?$/s.exec(setting) ?? [];
    if (found.has(name)) throw wrong(`"${name}" is there twice`);
    found.set(name, value ?? 'on');
  }
  const take = <T extends string>(name: string, values: readonly T[]): T | undefined => {
    const value = found.get(name);
    found.delete(name);
    if (value === undefined) return undefined;
    const known = values.find((each) => each === value);
    if (known === undefined) throw wrong(`${name} is one of ${values.join(', ')}, not "${value}"`);
    return known;
  };
  const spec = {
    path,
    format: take('format', FORMATS),
    readOnly: take('readonly', ['on', 'off']) === 'on',
    snapshot: take('snapshot', ['on', 'off']) === 'on',
    cache: take('cache', CACHE_MODES) ?? 'writeback',
    bus: take('bus', BUSES) ?? 'pci',
  };
  const [unknown] = found.keys();
  if (unknown !== undefined)
    throw wrong(
      `there is no "${unknown}", only format, readonly, snapshot, cache and bus; a comma in a file's name is written twice`,
    );
  if (path === '') throw wrong('there is no file');
  return spec;
}

/** Two commas are one that does not separate. */
function splitAtCommas(text: string): string[] {
  return (text.match(/(?:[^,]|,,)+|,/g) ?? []).reduce<string[]>(
    (parts, part) => (part === ',' ? [...parts, ''] : [...parts.slice(0, -1), part.replaceAll(',,', ',')]),
    [''],
  );
}
