/**
 * Empties a static program's tables for unwinding. Its first code registers them (libgcc, __register_frame_info), and goes through all their entries for
 * that: 235,000 instructions of a guest for each process of busybox, a quarter of what one takes until it says something. It is C and unwinds nothing. A
 * table whose first entry has the length 0 is at its end (Linux Standard Base, Core, "Exception Frames") and is not registered. Where the first one lies
 * only the linker knew: some files' entries come before what is registered. So all of it is zeroes.
 */

import { ELFCLASS64, isElf, parseElf, SHT_NOBITS } from './elf.ts';

const ET_EXEC = 2;
const TABLES = '.eh_frame';

/** The program with tables that are empty; as it is where it has none, or is loaded by another one, which may look into them. `what` names it in errors. */
export function withoutFrameTables(program: Uint8Array, what: string): Uint8Array {
  if (!isElf(program) || program[4] !== ELFCLASS64) return program;
  const { type, sections } = parseElf(program, what);
  const tables = sections.find(({ name, type: kind }) => name === TABLES && kind !== SHT_NOBITS);
  const isStatic = type === ET_EXEC && !sections.some(({ name }) => name === '.interp');
  if (!isStatic || tables === undefined) return program;
  const changed = new Uint8Array(program);
  const at = tables.content.byteOffset - program.byteOffset;
  changed.fill(0, at, at + tables.content.length);
  return changed;
}
