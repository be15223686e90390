/** Every instruction entry the project knows, in one list. The decoder, assembler, disassembler, engines and reference page start here. */

import { assert } from '../base/assert.ts';
import type { Instruction } from './instruction.ts';
import { privileged } from './privileged.ts';
import { rv64a } from './rv64a.ts';
import { rv64c } from './rv64c.ts';
import { rv64d } from './rv64d.ts';
import { rv64f } from './rv64f.ts';
import { rv64i } from './rv64i.ts';
import { rv64m } from './rv64m.ts';
import { zba } from './zba.ts';
import { zbb } from './zbb.ts';
import { zbs } from './zbs.ts';
import { zicbo } from './zicbo.ts';
import { zicond } from './zicond.ts';
import { zicsr } from './zicsr.ts';

/** All entries, extension by extension, in the order of the manuals' tables. */
export const instructions: readonly Instruction[] = [
  ...rv64i,
  ...rv64m,
  ...rv64a,
  ...rv64f,
  ...rv64d,
  ...rv64c,
  ...zicsr,
  ...zicond,
  ...zba,
  ...zbb,
  ...zbs,
  ...zicbo,
  ...privileged,
];

const byName = new Map(instructions.map((entry) => [entry.name, entry]));
assert(byName.size === instructions.length, 'two instruction entries have one name');

/** The entry of a mnemonic such as `addi` or `c.lwsp`; undefined when there is none. */
export function instructionNamed(name: string): Instruction | undefined {
  return byName.get(name);
}
