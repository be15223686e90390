/**
 * From instruction words to the interpreter's records (layout.ts, RECORD). Runs once for each halfword of code that is executed, a
 * straight run at a time, so that the interpreter seldom has to ask.
 */

import { PAGE_SIZE } from '../base/numbers.ts';
import { csrIndex } from '../isa/csrs.ts';
import { decode } from '../isa/decode.ts';
import type { Decoded } from '../isa/instruction.ts';
import { type Forwards, ILLEGAL_ENTRY, SPECIAL, type Sequence, handlerNumber, sequencesOf } from './handlers.ts';
import { HART, RECORD, RECORDS_PER_PAGE } from './layout.ts';
import { shapeOf } from './shape.ts';

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
  /** The register offsets that each has and sequences may go by, NO_RD and NO_RS where it has none. */
  rd: new Uint16Array(RUN_LIMIT),
  rs1: new Uint16Array(RUN_LIMIT),
  rs2: new Uint16Array(RUN_LIMIT),
  length: 0,
};
const NO_RD = 0xffff;
const NO_RS = 0xfffe;

/**
 * Decodes from halfword `slot` of a page on: `records` is the address of the page's first record, `code` the host address of its frame.
 * Stops behind a jump, at something already decoded, or at the page's end. Gives the slot behind what it decoded.
 */
export function decodeRun(memory: CodeMemory, records: number, code: number, slot: number): number {
  const { u16, i32 } = memory;
  let at = slot;
  run.length = 0;
  for (let n = 0; n < RUN_LIMIT && at < RECORDS_PER_PAGE; n++) {
    const record = records + at * RECORD.BYTES;
    if (u16[record >>> 1] !== SPECIAL.decode) break;
    const low = u16[(code >>> 1) + at] ?? 0;
    if ((low & 3) === 3 && at === RECORDS_PER_PAGE - 1) {
      u16[record >>> 1] = SPECIAL.straddle;
      at++;
      break;
    }
    const word = (low & 3) === 3 ? low | ((u16[(code >>> 1) + at + 1] ?? 0) << 16) : low;
    const known = knownWord(word);
    if (known < 0) {
      writeRecord(memory, record, undefined);
      at += 2;
      break;
    }
    const traits = words.traits[known] ?? 0;
    const pattern = known * RECORD_WORDS;
    let start = words.records[pattern] ?? 0;
    const sources = words.records[pattern + 1] ?? 0;
    let imm = words.records[pattern + 2] ?? 0;
    const rest = words.records[pattern + 3] ?? 0;
    const target = 2 * at + imm;
    if ((traits & TRAIT.RELATIVE) !== 0 && isNear(target)) {
      start = (start & ~0xffff) | nearHandler(rest, imm);
      imm *= NEAR_SCALE;
    }
    i32[(record >>> 2) + 1] = sources;
    i32[(record >>> 2) + 2] = imm;
    i32[(record >>> 2) + 3] = rest;
    // Last, because a record that is not `decode` is taken as whole.
    i32[record >>> 2] = start;
    run.records[run.length] = record;
    run.numbers[run.length] = start;
    run.rd[run.length] = (traits & TRAIT.RD) === 0 ? NO_RD : start >>> 16;
    run.rs1[run.length] = (traits & TRAIT.RS1) === 0 ? NO_RS : sources;
    run.rs2[run.length++] = (traits & TRAIT.RS2) === 0 ? NO_RS : sources >>> 16;
    at += (traits & TRAIT.LONG) === 0 ? 1 : 2;
    if ((traits & TRAIT.ENDS_RUN) !== 0) break;
  }
  for (let first = 0; first < run.length - 1; first++) fuse(u16, first);
  return Math.min(at, RECORDS_PER_PAGE);
}

/** Words that are remembered with their records: a kernel and what runs on it have some 40,000. Another one of the same place drives one out. */
const MOST_WORDS = 0x1_0000;
const RECORD_WORDS = RECORD.BYTES / 4;
/** What is known of a word beside its record. */
const TRAIT = { RELATIVE: 1, ENDS_RUN: 2, RD: 4, RS1: 8, RS2: 16, LONG: 32 } as const;

/**
 * Records as they are wherever the word stands, but for branches within a page. In arrays, because a boot decodes 300,000 instructions: objects for them, and
 * a Map to find them, were a fifth of its time.
 */
const words = {
  /** The word at each place; 0, which is illegal, where there is none. Made with the first one: a start snapshot would hold more than a MiB of zeroes. */
  keys: new Int32Array(0),
  records: new Int32Array(0),
  traits: new Uint8Array(0),
};
const pattern = new ArrayBuffer(RECORD.BYTES);
const patternMemory: CodeMemory = {
  u8: new Uint8Array(pattern),
  u16: new Uint16Array(pattern),
  i32: new Int32Array(pattern),
};

/** The place of the word (its 32 bits, signed) among `words`, -1 where it is illegal. */
function knownWord(word: number): number {
  const place = Math.imul(word, 0x9e3779b1) >>> 16;
  return words.keys[place] === word && word !== 0 ? place : remember(word, place);
}

function remember(word: number, place: number): number {
  const decoded = decode(word >>> 0);
  if (decoded === undefined) return -1;
  if (words.keys.length === 0) {
    words.keys = new Int32Array(MOST_WORDS);
    words.records = new Int32Array(MOST_WORDS * RECORD_WORDS);
    words.traits = new Uint8Array(MOST_WORDS);
  }
  const shape = shapeOf(decoded.instruction);
  writeRecord(patternMemory, 0, decoded);
  words.records.set(patternMemory.i32, place * RECORD_WORDS);
  words.traits[place] =
    (shape.relative ? TRAIT.RELATIVE : 0) |
    (shape.endsRun ? TRAIT.ENDS_RUN : 0) |
    (shape.hasRd ? TRAIT.RD : 0) |
    (shape.hasRs1 ? TRAIT.RS1 : 0) |
    (shape.hasRs2 ? TRAIT.RS2 : 0) |
    (decoded.lengthBytes === 4 ? TRAIT.LONG : 0);
  words.keys[place] = word;
  return place;
}

/** Gives the instruction at `first` of the run the handler that does those behind it too, where there is one. */
function fuse(u16: Uint16Array, first: number): void {
  for (const sequence of sequencesOf(run.numbers[first] ?? 0, run.numbers[first + 1] ?? 0)) {
    if (!isThere(first, sequence)) continue;
    u16[(run.records[first] ?? 0) >>> 1] = sequence.number;
    return;
  }
}

function isThere(first: number, { parts, forwards }: Sequence): boolean {
  if (first + parts.length > run.length) return false;
  for (let at = 2; at < parts.length; at++) if (run.numbers[first + at] !== parts[at]) return false;
  for (let at = 1; at < parts.length; at++) {
    const wanted = forwards[at];
    if (wanted && !isForwarded(first, first + at, wanted)) return false;
  }
  return true;
}

/** Whether the operands that `wanted` names were last written by the part so far before. Others are read from the hart's state. */
function isForwarded(first: number, at: number, { rs1, rs2 }: Forwards): boolean {
  return (
    (rs1 === undefined || writtenBefore(first, at, run.rs1[at] ?? NO_RS) === rs1) &&
    (rs2 === undefined || writtenBefore(first, at, run.rs2[at] ?? NO_RS) === rs2)
  );
}

/** How many parts before `at` the register was last written, from `first` on; 0 if it was not. */
function writtenBefore(first: number, at: number, register: number): number {
  for (let before = at - 1; before >= first; before--) if (run.rd[before] === register) return at - before;
  return 0;
}

/** Distances within a page are counted in halves of records. */
const NEAR_SCALE = RECORD.BYTES / 2;

/** Whether the offset in its page that a branch goes to is in that page. */
function isNear(target: number): boolean {
  return target >= 0 && target < PAGE_SIZE;
}

/** The handler for a branch within its page; `rest` is its record's last word. */
function nearHandler(rest: number, distance: number): number {
  const entry = rest >>> (8 * (RECORD.ENTRY - RECORD.RS3));
  return handlerNumber(entry & 0xfff, entry >>> 12 === 2 ? 2 : 4, distance > 0 ? 'forward' : 'backward');
}

/** The same of the instruction `word`, wherever it stands. */
export function writeWord(memory: CodeMemory, record: number, word: number): void {
  const known = knownWord(word);
  if (known < 0) return writeRecord(memory, record, undefined);
  const { records } = words;
  // The handler last, as in decodeRun.
  for (let n = RECORD_WORDS - 1; n >= 0; n--) memory.i32[(record >>> 2) + n] = records[known * RECORD_WORDS + n] ?? 0;
}

/** Writes one record, of an instruction that may stand anywhere: every branch is far. */
export function writeRecord(memory: CodeMemory, record: number, decoded: Decoded | undefined): void {
  const { u8, u16, i32 } = memory;
  const half = record >>> 1;
  if (decoded === undefined) {
    u16[half + RECORD.ENTRY / 2] = ILLEGAL_ENTRY | (4 << 12);
    u16[half] = SPECIAL.slow;
    return;
  }
  const { instruction, lengthBytes } = decoded;
  const shape = shapeOf(instruction);
  const imm = shape.csr ? (csrIndex(decoded.imm) ?? -1) : decoded.imm;
  u16[half + RECORD.RD / 2] = shape.floatRd ? f(decoded.rd) : decoded.rd === 0 ? HART.sink : x(decoded.rd);
  u16[half + RECORD.RS1 / 2] = shape.zimm ? decoded.rs1 : shape.floatRs1 ? f(decoded.rs1) : x(decoded.rs1);
  u16[half + RECORD.RS2 / 2] = shape.floatRs2 ? f(decoded.rs2) : x(decoded.rs2);
  i32[(record + RECORD.IMM) >>> 2] = imm;
  u8[record + RECORD.RS3] = 8 * decoded.rs3;
  u8[record + RECORD.RM] = decoded.rm;
  u16[half + RECORD.ENTRY / 2] = shape.entry | (lengthBytes << 12);
  // Last, because a record that is not `decode` is taken as whole.
  u16[half] = handlerNumber(shape.entry, lengthBytes, 'far');
}
