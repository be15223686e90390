/**
 * Where QEMU 7.2 and we part: each by name, with the reason. A pair of records that one of these explains counts as equal; everything else
 * must be equal to the bit.
 */

import { decode } from '../../src/isa/decode.ts';
import type { LogRecord } from './log.ts';

export interface KnownDifference {
  readonly reason: string;
  /** `word` is the instruction at the trap's pc, as far as the pc is in the code. */
  readonly explains: (theirs: LogRecord, ours: LogRecord, word: number | undefined) => boolean;
}

export const knownDifferences: readonly KnownDifference[] = [
  {
    reason:
      'an AMO outside RAM: QEMU loads and then stores there, and reports the load; an AMO raises the exceptions of stores (Privileged ISA, table of mcause: "Store/AMO access fault")',
    explains: (theirs, ours, word) =>
      isTrap(theirs) &&
      isTrap(ours) &&
      theirs.cause === 5n &&
      ours.cause === 7n &&
      sameBut(theirs, ours, 'cause') &&
      nameOf(word)?.startsWith('amo') === true,
  },
  {
    reason:
      'ebreak: mtval and stval may hold the address or zero (Privileged ISA, 3.1.16); QEMU 7.2 has zero, we have the address',
    explains: (theirs, ours) =>
      isTrap(theirs) &&
      isTrap(ours) &&
      theirs.cause === 3n &&
      theirs.tval === 0n &&
      ours.tval === ours.epc &&
      sameBut(theirs, ours, 'tval'),
  },
  {
    reason:
      'a misaligned access outside RAM: QEMU cuts it into aligned parts and reports the beginning of one, which may lie before the access; tval holds the address of the part of the access that faults (Privileged ISA, 3.1.16)',
    explains: (theirs, ours) =>
      isTrap(theirs) &&
      isTrap(ours) &&
      (theirs.cause === 5n || theirs.cause === 7n) &&
      sameBut(theirs, ours, 'tval') &&
      theirs.tval - ours.tval < 8n &&
      ours.tval - theirs.tval < 8n,
  },
  {
    reason:
      'an illegal sinval.vma: tval may hold the instruction or zero (Privileged ISA, 3.1.16); QEMU 7.2 leaves there what another had, we have the instruction',
    explains: (theirs, ours, word) =>
      isTrap(theirs) &&
      isTrap(ours) &&
      theirs.cause === 2n &&
      ours.tval === BigInt(word ?? 0) &&
      nameOf(word) === 'sinval.vma' &&
      sameBut(theirs, ours, 'tval'),
  },
];

type Trap = Extract<LogRecord, { cause: bigint }>;

function isTrap(record: LogRecord): record is Trap {
  return record.kind === 'trap' || record.kind === 'supervisorTrap';
}

function sameBut(theirs: Trap, ours: Trap, ...but: (keyof Trap)[]): boolean {
  return (['kind', 'cause', 'epc', 'tval', 'status'] as const).every(
    (key) => but.includes(key) || theirs[key] === ours[key],
  );
}

function nameOf(word: number | undefined): string | undefined {
  return word === undefined ? undefined : decode(word)?.instruction.name;
}
