/**
 * Where binutils 2.40 (DESCRIBED_VERSION) and the manuals (which we follow) part: each by name, with the reason. A text of objdump that
 * one of these explains counts as agreement; everything else must agree to the letter.
 */

import { csrs } from '../csrs.ts';
import { decode } from '../decode.ts';
import { disassemble } from '../disassemble.ts';
import { fieldValue } from '../encoding.ts';

/** The version of binutils whose differences these are: Debian 12's. */
export const DESCRIBED_VERSION = '2.40';

export interface Difference {
  readonly reason: string;
  /** Whether this word's text may differ; `theirs` is objdump's, without its comment. */
  readonly explains: (word: number, ours: string, theirs: string) => boolean;
}

/** Newer versions write `.insn` for what they do not know. */
const isUnknown = (text: string): boolean => /^\.([24]byte|insn)\t/.test(text);
const isIllegal = (text: string): boolean => /^\.(word|half)\t/.test(text);

export const differences: readonly Difference[] = [
  {
    reason: 'Zicond is newer than binutils 2.40',
    explains: (_, ours, theirs) => ours.startsWith('czero.') && isUnknown(theirs),
  },
  {
    reason: 'objdump wants the reserved fields of fence and fence.i to be 0; base implementations shall ignore them',
    explains: (word, ours, theirs) => {
      const reserved = ours === 'fence.i' ? 0xffff_8f80 : 0xf00f_8f80;
      return /^fence(\.i|\.tso)?(\t|$)/.test(ours) && isUnknown(theirs) && (word & reserved) !== 0;
    },
  },
  {
    reason: 'objdump knows conversions that are always exact with the rounding mode 000 only',
    explains: (word, ours, theirs) => /^fcvt\.d\.(w|wu|s)\t/.test(ours) && isUnknown(theirs) && (word & 0x7000) !== 0,
  },
  {
    reason: 'objdump writes the reserved rounding modes 5 and 6 as "unknown"',
    explains: (word, ours, theirs) => {
      const rm = (word >>> 12) & 7;
      return (rm === 5 || rm === 6) && ours === theirs.replace(/unknown$/, String(rm));
    },
  },
  {
    reason: 'objdump writes a fence of no accesses as "unknown"',
    explains: (_, ours, theirs) => ours === theirs.replaceAll('unknown', '0'),
  },
  {
    reason: 'objdump calls the all-zero word, which is illegal, c.unimp',
    explains: (word, _, theirs) => word === 0 && theirs === 'c.unimp',
  },
  {
    reason: 'objdump accepts c.addi16sp by 0, which is reserved',
    explains: (word, _, theirs) => word === 0x6101 && theirs === 'c.addi16sp\tx2,0',
  },
  {
    reason: 'objdump writes c.nop as the c.addi it is encoded as',
    explains: (_, ours, theirs) => ours === 'c.nop' && theirs === 'c.addi\tx0,0',
  },
  {
    reason: 'objdump writes shifts by 0 with their names in RV128, and without the amount',
    explains: (_, ours, theirs) =>
      /^c\.s(ll|rl|ra)i\t.*,0x0$/.test(ours) && ours.replace('i\t', 'i64\t').replace(',0x0', '') === theirs,
  },
  {
    reason: 'objdump has names for CSRs that this machine has not; ours are numbers',
    explains: (word, ours, theirs) => {
      const csr = decode(word)?.instruction.encoding.fields.get('csr');
      if (csr === undefined || csrs.some(({ number }) => number === fieldValue(csr, word))) return false;
      return ours.replace(/,0x[0-9a-f]+,/, ',,') === theirs.replace(/,[a-z]\w*,/, ',,');
    },
  },
  {
    reason: 'this machine has no debug mode, and the manuals have withdrawn uret, hret and sfence.vm',
    explains: (_, ours, theirs) => isIllegal(ours) && /^(dret|uret|hret|sfence\.vm(\t.*)?)$/.test(theirs),
  },
  {
    reason: 'to objdump Svinval includes the instructions of the hypervisor extension',
    explains: (_, ours, theirs) => isIllegal(ours) && /^hinval\.(gvma|vvma)\t/.test(theirs),
  },
];

/** objdump's text in our form: without the comment that guesses an address, and `.word` for what it does not know. */
function inOurForm(theirs: string, word: number): string {
  const text = theirs.replace(/ # 0x[0-9a-f]+$/, '');
  if (!isUnknown(text)) return text;
  return (word & 3) === 3
    ? `.word\t0x${word.toString(16).padStart(8, '0')}`
    : `.half\t0x${(word & 0xffff).toString(16).padStart(4, '0')}`;
}

export type Comparison =
  | { readonly kind: 'same' }
  | { readonly kind: 'explained'; readonly by: Difference }
  | { readonly kind: 'different'; readonly sentence: string };

/** Our text for `word` at `address` against objdump's. */
export function compare(word: number, address: number, theirs: string): Comparison {
  const ours = disassemble(word, BigInt(address));
  if (ours === inOurForm(theirs, word)) return { kind: 'same' };
  const plain = theirs.replace(/ # 0x[0-9a-f]+$/, '');
  const by = differences.find(({ explains }) => explains(word, ours, plain));
  if (by !== undefined) return { kind: 'explained', by };
  return { kind: 'different', sentence: `0x${word.toString(16)}: ours "${ours}", objdump's "${theirs}"` };
}
