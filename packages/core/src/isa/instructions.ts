/** Every instruction entry the project knows, in one list. The decoder, assembler, disassembler, engines and reference page start here. */

import { assert } from '../base/assert.ts';
import type { Instruction } from './instruction.ts';
import { rv64i } from './rv64i.ts';

/** All entries, extension by extension, in the order of the manuals' tables. */
export const instructions: readonly Instruction[] = [...rv64i];

const byName = new Map(instructions.map((entry) => [entry.name, entry]));
assert(byName.size === instructions.length, 'two instruction entries have one name');

/** The entry of a mnemonic such as `addi` or `c.lwsp`; undefined when there is none. */
export function instructionNamed(name: string): Instruction | undefined {
  return byName.get(name);
}
