/** What two runs of one program differ in, in words; and which instruction it comes from. */

import { hex } from '../../../src/base/numbers.ts';
import { disassemble } from '../../../src/isa/disassemble.ts';
import { type Qemu, runOwn } from './emulators.ts';
import {
  BODY,
  ITEMS,
  LOG_OFFSET,
  OUTPUT_INSTRUCTIONS_PER_BYTE,
  PASSES,
  type Program,
  SCRATCH_SIZE,
  STATE_NAMES,
  TRAP_BYTES,
  randomProgram,
} from './program.ts';

/** As many differences are told; the rest usually follows from the first. */
const TOLD = 8;

/** One sentence for each difference, the first that happened first. */
export function differences(qemu: Uint8Array, own: Uint8Array, program: Program): string[] {
  const told: string[] = [];
  const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [theirs, ours] = [view(qemu), view(own)];
  const at = (bytes: DataView, offset: number): bigint | undefined =>
    offset + 8 <= bytes.byteLength ? bytes.getBigUint64(offset, true) : undefined;
  const tell = (what: string, offset: number): void => {
    const [wanted, found] = [at(theirs, offset), at(ours, offset)];
    if (wanted !== found && told.length < TOLD) told.push(`${what}: QEMU ${text(wanted)}, Ringfence ${text(found)}`);
  };
  for (
    let offset = LOG_OFFSET;
    offset < Math.max(qemu.length, own.length) && told.length < TOLD;
    offset += TRAP_BYTES
  ) {
    const number = (offset - LOG_OFFSET) / TRAP_BYTES;
    if (isKnown(program, theirs, ours, offset)) continue;
    const epc = at(theirs, offset + 8) ?? at(ours, offset + 8) ?? 0n;
    for (const [index, name] of ['mcause', 'mepc', 'mtval'].entries())
      tell(`${name} of trap ${number} at ${instructionAt(program, Number(epc))}`, offset + 8 * index);
  }
  for (let pass = 0; pass < PASSES; pass++) {
    for (const [index, name] of STATE_NAMES.entries())
      tell(`${name} after pass ${pass}`, SCRATCH_SIZE + 8 * (pass * STATE_NAMES.length + index));
  }
  for (let offset = 0; offset < SCRATCH_SIZE; offset += 8) tell(`scratch memory at ${hex(offset)}`, offset);
  return told;
}

/**
 * Differences in the log of one trap that are right on our side. The handler clears mcause and mtval, so nothing follows from them.
 *
 * - An AMO that is misaligned or where nothing is raises a store/AMO exception, 6 or 7, never one of loads (Privileged ISA, 3.1.15);
 *   QEMU 7.2 raises 4 or 5 where its translation loads first.
 * - ebreak writes mtval with its address or with 0 (Privileged ISA, 3.1.16); QEMU 7.2 chooses 0, Ringfence the address.
 * - Of a misaligned load where nothing is, mtval is the address of the portion that faulted (3.1.16); QEMU 7.2, which loads it in two
 *   aligned steps, gives the aligned address, Ringfence the first byte that was asked for.
 */
function isKnown(program: Program, theirs: DataView, ours: DataView, offset: number): boolean {
  if (offset + TRAP_BYTES > Math.min(theirs.byteLength, ours.byteLength)) return false;
  const fields = (view: DataView): [bigint, bigint, bigint] => [
    view.getBigUint64(offset, true),
    view.getBigUint64(offset + 8, true),
    view.getBigUint64(offset + 16, true),
  ];
  const [[cause, epc, value], [ourCause, ourEpc, ourValue]] = [fields(theirs), fields(ours)];
  if (epc !== ourEpc) return false;
  const isAmo = (half(program, Number(epc)) & 0x7f) === 0x2f;
  if (isAmo && (cause === 4n || cause === 5n || cause === 13n) && ourCause === cause + 2n) return value === ourValue;
  if (cause !== ourCause) return false;
  if (cause === 3n) return value === 0n && ourValue === epc;
  return (cause === 5n || cause === 13n) && value < ourValue && [1n, 3n, 7n].some((low) => (ourValue & ~low) === value);
}

/** Runs the program of `seed` on both; the sentences of `differences` and the first item that makes any. */
export async function compareSeed(
  qemu: Qemu,
  seed: number,
): Promise<{ readonly instructions: number; readonly found: readonly string[] }> {
  const program = randomProgram(seed);
  const own = await runOwn(program.elf);
  const found = differences(qemu.run(program.elf), own.output, program);
  const instructions = own.instructions - own.output.length * OUTPUT_INSTRUCTIONS_PER_BYTE;
  if (found.length === 0) return { instructions, found };
  return { instructions, found: [`seed ${seed}:`, ...found, await firstItem(qemu, seed)] };
}

/** Shortens the body until the difference is gone: the last item that was needed is where it comes from. */
async function firstItem(qemu: Qemu, seed: number): Promise<string> {
  let [low, high] = [0, randomProgram(seed).starts.length - 1];
  while (low + 1 < high) {
    const middle = (low + high) >> 1;
    const program = randomProgram(seed, ITEMS, middle);
    const own = await runOwn(program.elf);
    if (differences(qemu.run(program.elf), own.output, program).length > 0) high = middle;
    else low = middle;
  }
  const program = randomProgram(seed, ITEMS, high);
  const own = await runOwn(program.elf);
  const left = differences(qemu.run(program.elf), own.output, program);
  const lines: string[] = [];
  for (let at = program.starts[high - 1] ?? 0; at < (program.starts[high] ?? 0);) {
    lines.push(instructionAt(program, at));
    at += (half(program, at) & 3) === 3 ? 4 : 2;
  }
  return `it needs the first ${high} items, of which the last is\n    ${lines.join('\n    ')}\n  and then differs in\n    ${left.join('\n    ')}`;
}

function half(program: Program, address: number): number {
  return program.halves[(address - BODY) / 2] ?? 0;
}

function instructionAt(program: Program, address: number): string {
  const word = (half(program, address) | (half(program, address + 2) << 16)) >>> 0;
  return `${hex(address)} "${disassemble(word, BigInt(address)).replace('\t', ' ')}"`;
}

function text(value: bigint | undefined): string {
  return value === undefined ? 'nothing' : hex(value);
}
