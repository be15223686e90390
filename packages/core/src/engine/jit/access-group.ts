/**
 * Accesses of one block through the same base register: the fields of a structure, registers saved on the stack, an unrolled loop. The
 * translation is looked up once, for the whole span from the lowest to the highest byte; where that is in one page and the TLB knows it, each
 * access is one load or store at a constant distance. Where not, each looks it up by itself.
 */

import { defined } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import type { Body, Local } from '../../wasm/body.ts';
import { TLB_READ, TLB_WRITE } from '../layout.ts';
import { inlineCsr } from './inline.ts';
import { usesOf } from './registers.ts';
import type { Op } from './region.ts';

export interface AccessGroup {
  /** Lowest offset from the base register, and how many bytes there are from it to the end of the highest access. */
  readonly low: number;
  readonly span: number;
  /** The op that comes first: it looks the translation up. */
  readonly first: Op;
  /** Host address of `low`, or 0 where each access looks for itself. */
  readonly host: Local<'i32'>;
}

/** The TLB and the width of a plain load or store. */
export function accessOf({
  instruction,
}: Op['decoded']): { readonly table: number; readonly bytes: number } | undefined {
  const { match } = instruction.encoding;
  // funct3 says the width (Unprivileged ISA, 2.6); bit 2 of a load says that it is unsigned.
  const bytes = 1 << ((match >>> 12) & 3);
  switch (match & 0x7f) {
    case 0x03:
    case 0x07:
      return { table: TLB_READ, bytes };
    case 0x23:
    case 0x27:
      return { table: TLB_WRITE, bytes };
    default:
      return undefined;
  }
}

interface Growing {
  readonly ops: Op[];
  low: number;
  end: number;
}

/** The groups of `ops`, by op. Ops that `isApart` go their own way; what they write counts all the same. */
export function groupAccesses(
  body: Body,
  ops: readonly Op[],
  isApart: (op: Op) => boolean = () => false,
): ReadonlyMap<Op, AccessGroup> {
  const groups = new Map<Op, AccessGroup>();
  const growing = new Map<number, Growing>();
  const close = (key: number): void => {
    const group = growing.get(key);
    growing.delete(key);
    if (!group || group.ops.length < 2) return;
    const { low, end } = group;
    const first = defined(group.ops[0], 'an access');
    const made: AccessGroup = { low, span: end - low, first, host: body.local('i32') };
    for (const op of group.ops) groups.set(op, made);
  };
  for (const op of ops) {
    const access = accessOf(op.decoded);
    if (access && op.decoded.rs1 !== 0 && !isApart(op)) {
      const key = op.decoded.rs1 | (access.table === TLB_WRITE ? 32 : 0);
      const { imm } = op.decoded;
      const known = growing.get(key);
      const low = Math.min(imm, known?.low ?? imm);
      const end = Math.max(imm + access.bytes, known?.end ?? imm);
      if (!known || end - low > PAGE_SIZE / 4) {
        close(key);
        growing.set(key, { ops: [op], low: imm, end: imm + access.bytes });
      } else {
        known.ops.push(op);
        known.low = low;
        known.end = end;
      }
    }
    const { writes } = usesOf(op.decoded);
    // Who clears sstatus.SUM has lost what was looked up before.
    const losesAll = op.decoded.instruction.extension === 'Zicsr' && inlineCsr(op.decoded)?.kind === 'status';
    for (const key of growing.keys()) if (losesAll || (writes.x >>> (key & 31)) & 1) close(key);
  }
  for (const key of growing.keys()) close(key);
  return groups;
}
