/** A minimised difference as text: what is left of the program, the log up to the difference, and the difference. */

import { hex } from '../../src/base/numbers.ts';
import { disassemble } from '../../src/isa/disassemble.ts';
import type { Item } from './code-builder.ts';
import { describe } from './log.ts';
import type { Minimised } from './minimise.ts';
import { COMPARED_BYTES, RAM_BASE } from './places.ts';
import { type Program, writeImage } from './program.ts';

/** Records of the log shown before the difference. */
const SHOWN_RECORDS = 12;
const SHOWN_ITEMS = 60;

export function report(program: Program, { without, disagreement }: Minimised): string {
  const memory = new Uint8Array(COMPARED_BYTES);
  writeImage(program, memory, without);
  const left = program.items.filter((_, index) => !without.items.has(index));
  const cells = program.cells.filter((_, index) => !without.cells.has(index));
  return [
    `The ${program.kind} program of seed ${program.seed} differs. What is left of it:`,
    ...left.slice(0, SHOWN_ITEMS).map((item) => itemText(program, memory, item)),
    ...(left.length > SHOWN_ITEMS ? [`(and ${left.length - SHOWN_ITEMS} items more)`] : []),
    ...(program.describeCell === undefined ? [] : cells.map((cell) => program.describeCell?.(cell) ?? '')),
    'What happened:',
    ...disagreement.agreed.slice(-SHOWN_RECORDS).map((record) => `  ${describe(record)}`),
    'Then:',
    ...disagreement.lines.map((line) => `  ${line}`),
  ].join('\n');
}

function itemText(program: Program, memory: Uint8Array, item: Item): string {
  const view = new DataView(memory.buffer);
  const half = (at: number): number => view.getUint16((program.physical?.(at) ?? at) - RAM_BASE, true);
  const lines: string[] = [];
  for (const [from, to] of item.ranges) {
    for (let at = from; at < to;) {
      const word = (half(at) | (half(at + 2) << 16)) >>> 0;
      lines.push(`  ${hex(at)}  ${disassemble(word, BigInt(at)).replace('\t', ' ')}`);
      at += (word & 3) === 3 ? 4 : 2;
    }
  }
  return lines.join('\n');
}
