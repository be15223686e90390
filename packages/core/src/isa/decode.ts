/**
 * An instruction word to its entry and operands. Made once from the entries, then only looked up:
 *
 *     32 bits: opcode (bits 6:2) and funct3 (bits 14:12) -> a short list of entries, the most specific mask first
 *     16 bits: quadrant (bits 1:0) and funct3 (bits 15:13) -> the same, and the answer is kept in a table of all 65536 words
 *
 * Undefined means illegal: the all-zero word, reserved encodings and what no entry knows. HINTs are their instruction. The rounding
 * modes 5 and 6 are not looked at here: what is wrong with a rounding mode can depend on frm, so the engine traps on all of it.
 */

import { assert, defined } from '../base/assert.ts';
import { type Field, fieldValue } from './encoding.ts';
import { type Decoded, type Instruction, decodeCompressed, immediateOf } from './instruction.ts';
import { instructionNamed, instructions } from './instructions.ts';

/** A full entry with its operands' places looked up. */
interface FullCandidate {
  readonly entry: Instruction;
  readonly mask: number;
  readonly match: number;
  readonly rd: Field | undefined;
  readonly rs1: Field | undefined;
  readonly rs2: Field | undefined;
  readonly rs3: Field | undefined;
  readonly imm: Field | undefined;
  readonly rm: Field | undefined;
}

/** A compressed entry and the full one it stands for. */
interface CompressedCandidate {
  readonly entry: Instruction;
  readonly full: Instruction;
}

const full: FullCandidate[][] = Array.from({ length: 256 }, () => []);
const compressed: CompressedCandidate[][] = Array.from({ length: 32 }, () => []);
/** The answers for 16-bit words; null is a word known to be illegal. */
const known: (Decoded | null | undefined)[] = Array.from({ length: 0x10000 });

for (const entry of instructions.toSorted((a, b) => ones(b.encoding.mask) - ones(a.encoding.mask))) {
  if (entry.encoding.bits === 32) addFull(entry);
  else addCompressed(entry);
}

/**
 * The instruction in `word`, 32 bits unsigned as fetched; when its low two bits are not 11 only the low 16 bits count. Undefined when
 * it is illegal. Answers for 16-bit words are shared between calls: they are read only.
 */
export function decode(word: number): Decoded | undefined {
  if ((word & 3) !== 3) return decode16(word & 0xffff);
  const candidates = full[fullIndex(word)];
  if (candidates === undefined) return undefined;
  for (const candidate of candidates) {
    if ((word & candidate.mask) >>> 0 === candidate.match) return takeApart(candidate, word);
  }
  return undefined;
}

function decode16(word: number): Decoded | undefined {
  let answer = known[word];
  if (answer === undefined) {
    answer = search16(word) ?? null;
    known[word] = answer;
  }
  return answer ?? undefined;
}

function search16(word: number): Decoded | undefined {
  for (const { entry, full: expanded } of compressed[compressedIndex(word)] ?? []) {
    if ((word & entry.encoding.mask) !== entry.encoding.match) continue;
    const decoded = decodeCompressed(entry, expanded, word);
    if (decoded !== undefined) return decoded;
  }
  return undefined;
}

function takeApart({ entry, rd, rs1, rs2, rs3, imm, rm }: FullCandidate, word: number): Decoded {
  return {
    instruction: entry,
    written: entry,
    lengthBytes: 4,
    rd: rd === undefined ? 0 : fieldValue(rd, word),
    rs1: rs1 === undefined ? 0 : fieldValue(rs1, word),
    rs2: rs2 === undefined ? 0 : fieldValue(rs2, word),
    rs3: rs3 === undefined ? 0 : fieldValue(rs3, word),
    imm: imm === undefined ? 0 : fieldValue(imm, word),
    rm: rm === undefined ? 0 : fieldValue(rm, word),
  };
}

/** An entry goes into the list of every index its word can have: into eight when it leaves funct3 open. */
function addFull(entry: Instruction): void {
  const { mask, match, fields } = entry.encoding;
  assert((mask & 0x7f) === 0x7f && (match & 3) === 3, `${entry.name} does not fix its opcode`);
  const candidate: FullCandidate = {
    entry,
    mask,
    match,
    rd: fields.get('rd'),
    rs1: fields.get('rs1') ?? fields.get('zimm'),
    rs2: fields.get('rs2'),
    rs3: fields.get('rs3'),
    imm: immediateOf(entry),
    rm: fields.get('rm'),
  };
  for (let funct3 = 0; funct3 < 8; funct3++) {
    const word = match | (funct3 << 12);
    if (((word ^ match) & mask & 0x7000) === 0) full[fullIndex(word)]?.push(candidate);
  }
}

function addCompressed(entry: Instruction): void {
  const { mask, match } = entry.encoding;
  assert((mask & 0xe003) === 0xe003 && (match & 3) !== 3, `${entry.name} does not fix its quadrant and funct3`);
  const name = defined(entry.expansion, `the expansion of ${entry.name}`).name;
  const expanded = defined(instructionNamed(name), `${entry.name}'s expansion ${name}`);
  compressed[compressedIndex(match)]?.push({ entry, full: expanded });
}

function fullIndex(word: number): number {
  return ((word >>> 2) & 0x1f) | ((word >>> 7) & 0xe0);
}

function compressedIndex(word: number): number {
  return (word & 3) | ((word >>> 11) & 0x1c);
}

function ones(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest = (rest & (rest - 1)) >>> 0) count++;
  return count;
}
