/** The log of a program as records, and how they read. */

import { hex } from '../../src/base/numbers.ts';
import { LOG, LOG_END, RAM_BASE, RECORD_KINDS } from './places.ts';

export type LogRecord =
  | {
      readonly kind: 'trap' | 'supervisorTrap';
      readonly cause: bigint;
      readonly epc: bigint;
      readonly tval: bigint;
      readonly status: bigint;
    }
  | {
      readonly kind: 'dump';
      readonly epc: bigint;
      readonly x: readonly bigint[];
      readonly f: readonly bigint[];
      readonly fcsr: bigint;
      readonly mip: bigint;
    }
  /** A scene begins; where it is described. */
  | { readonly kind: 'scene'; readonly address: number }
  | { readonly kind: 'ended' };

const kinds: ReadonlyMap<number, keyof typeof RECORD_KINDS> = new Map<number, keyof typeof RECORD_KINDS>(
  Object.entries(RECORD_KINDS).map(([name, number]) => [number, name as keyof typeof RECORD_KINDS]),
);

/** The records in a program's memory, up to the last whole one. */
export function readLog(memory: Uint8Array): LogRecord[] {
  const words = new BigUint64Array(memory.buffer, memory.byteOffset + LOG - RAM_BASE, (LOG_END - LOG) / 8);
  const records: LogRecord[] = [];
  for (let at = 0; at < words.length;) {
    const header = Number(words[at]);
    const kind = kinds.get(header & 0xff);
    const length = header >> 8;
    if (kind === undefined || length === 0) break;
    const word = (index: number): bigint => words[at + index] ?? 0n;
    if (kind === 'trap' || kind === 'supervisorTrap') {
      records.push({ kind, cause: word(1), epc: word(2), tval: word(3), status: word(4) });
    } else if (kind === 'dump') {
      const list = (first: number, count: number): bigint[] =>
        Array.from({ length: count }, (_, index) => word(first + index));
      records.push({ kind, epc: word(1), x: [0n, ...list(2, 31)], f: list(33, 32), fcsr: word(65), mip: word(66) });
    } else if (kind === 'scene') records.push({ kind, address: Number(word(1)) });
    else records.push({ kind });
    at += length;
  }
  return records;
}

/** What differs between two records, in words; empty when nothing does. */
export function recordDifferences(
  [theirName, ourName]: readonly [string, string],
  theirs: LogRecord | undefined,
  ours: LogRecord | undefined,
): string[] {
  const described = [`${theirName}: ${describe(theirs)}`, `${ourName}: ${describe(ours)}`];
  if (theirs === undefined || ours === undefined || theirs.kind !== ours.kind) return described;
  if (theirs.kind === 'dump' && ours.kind === 'dump') {
    const found: string[] = [];
    const compare = (name: string, a: bigint, b: bigint): void => {
      if (a !== b) found.push(`${name}: ${theirName} ${hex(a, 16)}, ${ourName} ${hex(b, 16)}`);
    };
    compare('dumped at', theirs.epc, ours.epc);
    for (let n = 0; n < 32; n++) compare(`x${n}`, theirs.x[n] ?? 0n, ours.x[n] ?? 0n);
    for (let n = 0; n < 32; n++) compare(`f${n}`, theirs.f[n] ?? 0n, ours.f[n] ?? 0n);
    compare('fcsr', theirs.fcsr, ours.fcsr);
    compare('mip', theirs.mip, ours.mip);
    return found;
  }
  return describe(theirs) === describe(ours) ? [] : described;
}

export function describe(record: LogRecord | undefined): string {
  switch (record?.kind) {
    case undefined:
      return 'nothing more';
    case 'trap':
    case 'supervisorTrap':
      return `${record.kind === 'trap' ? 'trap' : 'trap to S-mode'} with cause ${hex(record.cause)} at ${hex(record.epc)}, tval ${hex(record.tval)}, mstatus ${hex(record.status)}`;
    case 'dump':
      return `registers dumped at ${hex(record.epc)}`;
    case 'scene':
      return `scene ${hex(record.address)}`;
    case 'ended':
      return 'the end';
  }
}
