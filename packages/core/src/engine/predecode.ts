/**
 * From instruction words to the interpreter's records (layout.ts, RECORD). Runs once for each halfword of code that is executed, a
 * straight run at a time, so that the interpreter seldom has to ask.
 */

import { csrIndex } from '../isa/csrs.ts';
import { decode } from '../isa/decode.ts';
import type { Decoded } from '../isa/instruction.ts';
import { type Forwards, ILLEGAL_ENTRY, SPECIAL, type Sequence, handlerNumber, sequencesOf } from './handlers.ts';
import { HART, RECORD, RECORDS_PER_PAGE } from './layout.ts';
import { type Shape, shapeOf } from './shape.ts';

const x = (register: number): number => HART.x + 8 * register;
const f = (register: number): number => HART.f + 8 * register;

/** Views of the domain's memory that decoding needs. */
export interface CodeMemory {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
}

/** The most instructions one call decodes ahead. */
export const RUN_LIMIT = 64;

/** The run that is being decoded, by instruction: kept, because decoding is frequent and garbage is memory. */
const run = {
  records: new Int32Array(RUN_LIMIT),
  /** Handlers that do the instructions alone. */
  numbers: new Uint16Array(RUN_LIMIT),
  shapes: Array.from<Shape | undefined>({ length: RUN_LIMIT }),
  length: 0,
};

/**
 * Decodes from halfword `slot` of a page on: `records` is the address of the page's first record, `code` the host address of its frame.
 * Stops behind a jump, at something already decoded, or at the page's end.
 */
export function decodeRun(memory: CodeMemory, records: number, code: number, slot: number): void {
  const { u16 } = memory;
  let at = slot;
  run.length = 0;
  for (let n = 0; n < RUN_LIMIT && at < RECORDS_PER_PAGE; n++) {
    const record = records + at * RECORD.BYTES;
    if (u16[record >>> 1] !== SPECIAL.decode) break;
    const low = u16[(code >>> 1) + at] ?? 0;
    if ((low & 3) === 3 && at === RECORDS_PER_PAGE - 1) {
      u16[record >>> 1] = SPECIAL.straddle;
      break;
    }
    const word = (low & 3) === 3 ? (low | ((u16[(code >>> 1) + at + 1] ?? 0) << 16)) >>> 0 : low;
    const decoded = decodedOf(word);
    writeRecord(memory, record, decoded, 2 * at);
    if (decoded === undefined) break;
    const shape = shapeOf(decoded.instruction);
    run.records[run.length] = record;
    run.numbers[run.length] = u16[record >>> 1] ?? 0;
    run.shapes[run.length++] = shape;
    if (shape.endsRun) break;
    at += decoded.lengthBytes / 2;
  }
  for (let first = 0; first < run.length - 1; first++) fuse(memory, first);
}

/** Words that are remembered with what they are. */
const MOST_WORDS = 0x8000;
const words = new Map<number, Decoded | undefined>();

/** `decode`, which is dear, seldom: the same few thousand words are most of all code. */
function decodedOf(word: number): Decoded | undefined {
  if (words.has(word)) return words.get(word);
  if (words.size >= MOST_WORDS) words.clear();
  const decoded = decode(word);
  words.set(word, decoded);
  return decoded;
}

/** Gives the instruction at `first` of the run the handler that does those behind it too, where there is one. */
function fuse({ u16 }: CodeMemory, first: number): void {
  for (const sequence of sequencesOf(run.numbers[first] ?? 0, run.numbers[first + 1] ?? 0)) {
    if (!isThere(u16, first, sequence)) continue;
    u16[(run.records[first] ?? 0) >>> 1] = sequence.number;
    return;
  }
}

function isThere(u16: Uint16Array, first: number, { parts, forwards }: Sequence): boolean {
  if (first + parts.length > run.length) return false;
  for (let at = 2; at < parts.length; at++) if (run.numbers[first + at] !== parts[at]) return false;
  for (let at = 1; at < parts.length; at++) {
    const wanted = forwards[at];
    if (wanted && !isForwarded(u16, first, first + at, wanted)) return false;
  }
  return true;
}

/** Whether the operands that `wanted` names were last written by the part so far before. Others are read from the hart's state. */
function isForwarded(u16: Uint16Array, first: number, at: number, { rs1, rs2 }: Forwards): boolean {
  const half = (run.records[at] ?? 0) >>> 1;
  const shape = run.shapes[at];
  if (
    rs1 !== undefined &&
    !(shape?.hasRs1 === true && writtenBefore(u16, first, at, u16[half + RECORD.RS1 / 2]) === rs1)
  )
    return false;
  return (
    rs2 === undefined || (shape?.hasRs2 === true && writtenBefore(u16, first, at, u16[half + RECORD.RS2 / 2]) === rs2)
  );
}

/** How many parts before `at` the register was last written, from `first` on; 0 if it was not. */
function writtenBefore(u16: Uint16Array, first: number, at: number, register: number | undefined): number {
  for (let before = at - 1; before >= first; before--) {
    if (run.shapes[before]?.hasRd === true && u16[((run.records[before] ?? 0) + RECORD.RD) >>> 1] === register)
      return at - before;
  }
  return 0;
}

/**
 * Writes one record. `offset` is the instruction's offset in its page, by which a branch within the page becomes a near one; without it
 * every branch is far.
 */
export function writeRecord(memory: CodeMemory, record: number, decoded: Decoded | undefined, offset?: number): void {
  const { u8, u16, i32 } = memory;
  const half = record >>> 1;
  if (decoded === undefined) {
    u16[half + RECORD.ENTRY / 2] = ILLEGAL_ENTRY | (4 << 12);
    u16[half] = SPECIAL.slow;
    return;
  }
  const { instruction, lengthBytes } = decoded;
  const shape = shapeOf(instruction);
  let { imm } = decoded;
  let reach: 'far' | 'forward' | 'backward' = 'far';
  if (shape.relative && offset !== undefined) {
    const target = offset + imm;
    if (target >= 0 && target < 4096) {
      reach = imm > 0 ? 'forward' : 'backward';
      imm *= RECORD.BYTES / 2;
    }
  }
  if (shape.csr) imm = csrIndex(imm) ?? -1;
  u16[half + RECORD.RD / 2] = shape.floatRd ? f(decoded.rd) : decoded.rd === 0 ? HART.sink : x(decoded.rd);
  u16[half + RECORD.RS1 / 2] = shape.zimm ? decoded.rs1 : shape.floatRs1 ? f(decoded.rs1) : x(decoded.rs1);
  u16[half + RECORD.RS2 / 2] = shape.floatRs2 ? f(decoded.rs2) : x(decoded.rs2);
  i32[(record + RECORD.IMM) >>> 2] = imm;
  u8[record + RECORD.RS3] = 8 * decoded.rs3;
  u8[record + RECORD.RM] = decoded.rm;
  u16[half + RECORD.ENTRY / 2] = shape.entry | (lengthBytes << 12);
  // Last, because a record that is not `decode` is taken as whole.
  u16[half] = handlerNumber(shape.entry, lengthBytes, reach);
}
