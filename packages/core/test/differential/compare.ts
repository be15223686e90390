/** One program on two subjects: the same result, or where the results first differ. */

import { assert } from '../../src/base/assert.ts';
import { hex } from '../../src/base/numbers.ts';
import { knownDifferences } from './known-differences.ts';
import { type LogRecord, readLog, recordDifferences } from './log.ts';
import { CODE, CODE_END, CONSTANTS, LOG, RAM_BASE, SCENES } from './places.ts';
import type { Program, Without } from './program.ts';
import { type Ending, SWITCHED_OFF, type Subject } from './subject.ts';

export interface Disagreement {
  /** What differs, a line each. */
  readonly lines: readonly string[];
  /** The records that agree, from the first on. */
  readonly agreed: readonly LogRecord[];
}

/** Differences in memory shown at most. */
const SHOWN = 8;

export class Comparison {
  readonly #reference: Subject;
  readonly #subject: Subject;

  constructor(reference: Subject, subject: Subject) {
    this.#reference = reference;
    this.#subject = subject;
  }

  get names(): readonly [string, string] {
    return [this.#reference.name, this.#subject.name];
  }

  /** Undefined when they agree, or when nothing can be said because without those parts the program never ends. */
  async run(program: Program, without?: Without): Promise<Disagreement | undefined> {
    const theirs = await this.#reference.run(program, without);
    if (theirs.how !== SWITCHED_OFF) {
      assert(
        without !== undefined,
        `the ${program.kind} program of seed ${program.seed} ends on ${this.#reference.name}`,
      );
      return undefined;
    }
    return this.#difference(theirs, await this.#subject.run(program, without));
  }

  #difference(theirs: Ending, ours: Ending): Disagreement | undefined {
    const { isForeign } = this.#reference;
    const records = (ending: Ending): LogRecord[] =>
      isForeign ? ordered(readLog(ending.memory)) : readLog(ending.memory);
    const [a, b] = [records(theirs), records(ours)];
    for (let position = 0; position < Math.max(a.length, b.length); position++) {
      const [their, our] = [a[position], b[position]];
      const lines = recordDifferences(this.names, their, our);
      if (lines.length === 0) continue;
      if (isForeign && their !== undefined && our !== undefined) {
        const word = 'epc' in their ? wordAt(theirs.memory, their.epc) : undefined;
        if (knownDifferences.some((known) => known.explains(their, our, word))) continue;
      }
      return { lines, agreed: a.slice(0, position) };
    }
    const [theirName, ourName] = this.names;
    if (theirs.how !== ours.how) return { lines: [`${theirName} ${theirs.how}, ${ourName} ${ours.how}`], agreed: a };
    const lines = this.#memoryDifferences(theirs.memory, ours.memory);
    return lines.length === 0 ? undefined : { lines, agreed: a };
  }

  /** Everything but the log itself and the handler's context. */
  #memoryDifferences(theirs: Uint8Array, ours: Uint8Array): string[] {
    const found: string[] = [];
    const [theirName, ourName] = this.names;
    const [a, b] = [new DataView(theirs.buffer), new DataView(ours.buffer)];
    for (const [from, to] of [
      [CONSTANTS, SCENES],
      [SCENES, LOG],
    ] as const) {
      const [low, high] = [from - RAM_BASE, to - RAM_BASE];
      if (Buffer.compare(theirs.subarray(low, high), ours.subarray(low, high)) === 0) continue;
      for (let offset = low; offset < high; offset += 8) {
        const [x, y] = [a.getBigUint64(offset, true), b.getBigUint64(offset, true)];
        if (x === y) continue;
        found.push(`memory at ${hex(RAM_BASE + offset)}: ${theirName} ${hex(x, 16)}, ${ourName} ${hex(y, 16)}`);
      }
    }
    return found.length <= SHOWN
      ? found
      : [...found.slice(0, SHOWN), `and ${found.length - SHOWN} more doublewords of memory`];
  }
}

/**
 * Interrupts taken one after the other at one instruction, sorted by number. QEMU 7.2 takes the lowest number first and not the order of the
 * manual (Privileged ISA, 3.1.9), which a test beside the engine checks.
 */
function ordered(records: readonly LogRecord[]): LogRecord[] {
  const result = [...records];
  const number = (record: LogRecord | undefined): bigint =>
    record !== undefined && 'cause' in record && record.cause >> 63n === 1n ? record.cause : 0n;
  for (let start = 0; start < result.length; start++) {
    let end = start;
    const epc = (record: LogRecord | undefined): bigint | undefined =>
      record !== undefined && 'epc' in record ? record.epc : undefined;
    while (
      number(result[end]) > 0n &&
      result[end]?.kind === result[start]?.kind &&
      epc(result[end]) === epc(result[start])
    )
      end++;
    if (end - start < 2) continue;
    result.splice(start, end - start, ...result.slice(start, end).toSorted((x, y) => Number(number(x) - number(y))));
    start = end - 1;
  }
  return result;
}

/** The instruction word at an address whose low bits say where in the code it is. */
export function wordAt(memory: Uint8Array, address: bigint): number | undefined {
  const physical = Number(BigInt.asUintN(32, address));
  if (physical < CODE || physical >= CODE_END) return undefined;
  return new DataView(memory.buffer, memory.byteOffset).getUint32(physical - RAM_BASE, true);
}
