/**
 * Which registers of a loop are the sign extension of their low half in every round, so that the low half is all that has to be kept: what
 * `int` and `unsigned` of C are (Unprivileged ISA, "RV64I": results of 32-bit instructions are sign-extended).
 */

import type { Decoded } from '../../isa/instruction.ts';
import type { Block } from './region.ts';
import { usesOf } from './registers.ts';

/** Their results are sign extensions whatever their operands hold: results of 32 bits or fewer, and numbers from 0 to 2^31 - 1. */
const ALWAYS = new Set(
  (
    'addw subw sllw srlw sraw addiw slliw srliw sraiw mulw divw divuw remw remuw lui lb lh lw lbu lhu slt slti sltu sltiu ' +
    'rolw rorw roriw clz ctz cpop clzw ctzw cpopw sext.b sext.h zext.h bext bexti ' +
    'feq.s flt.s fle.s fclass.s feq.d flt.d fle.d fclass.d fcvt.w.s fcvt.wu.s fcvt.w.d fcvt.wu.d fmv.x.w'
  ).split(' '),
);
/** Where both operands are. */
const WHERE_BOTH = new Set('and or xor andn orn xnor min max minu maxu'.split(' '));
/** Where rs1 is. */
const WHERE_FIRST = new Set('andi ori xori srai czero.eqz czero.nez'.split(' '));
/** Shifted right so far what is left are fewer than 32 bits. */
const LEAST_SHIFT = 33;

/** Whether what `decoded` writes is surely the sign extension of its low half, given which registers are. x0 is. */
export function isNarrowResult(
  { instruction, rs1, rs2, imm }: Decoded,
  isNarrow: (register: number) => boolean,
): boolean {
  const { name } = instruction;
  if (ALWAYS.has(name)) return true;
  if (WHERE_BOTH.has(name)) return isNarrow(rs1) && isNarrow(rs2);
  if (WHERE_FIRST.has(name)) return isNarrow(rs1) || (name === 'andi' && imm >= 0);
  if (name === 'addi') return rs1 === 0 || (imm === 0 && isNarrow(rs1));
  if (name === 'add') return (rs1 === 0 && isNarrow(rs2)) || (rs2 === 0 && isNarrow(rs1));
  return name === 'srli' && imm >= LEAST_SHIFT;
}

/**
 * The registers (a mask of x1 to x31) that the loop round `path` writes, each time so, once a few rounds of it went by: nothing is presumed
 * of what they hold before.
 */
export function narrowIn(path: readonly Block[]): number {
  const ops = path.flatMap((block) => block.ops);
  for (let atStart = 0; ;) {
    let now = atStart;
    let wide = 0;
    for (const { decoded } of ops) {
      const { x } = usesOf(decoded).writes;
      if (x === 0) continue;
      if (isNarrowResult(decoded, (register) => register === 0 || ((now >>> register) & 1) === 1)) now |= x;
      else {
        now &= ~x;
        wide |= x;
      }
    }
    // Only what the caller looks at before the rounds may be presumed at their start.
    const narrow = now & ~wide;
    if (narrow === atStart) return narrow;
    atStart = narrow;
  }
}
