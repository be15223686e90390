/** What an instruction's operands are, found once from its entry: for the interpreter's records and for the JIT. */

import type { Emitter } from '../isa/emitter.ts';
import type { Instruction } from '../isa/instruction.ts';
import { entryNumber } from './handlers.ts';

/** What the operands of an entry are, found once from its syntax. */
export interface Shape {
  readonly entry: number;
  readonly floatRd: boolean;
  readonly floatRs1: boolean;
  readonly floatRs2: boolean;
  readonly zimm: boolean;
  readonly csr: boolean;
  readonly relative: boolean;
  readonly endsRun: boolean;
  readonly hasRd: boolean;
  readonly hasRs1: boolean;
  readonly hasRs2: boolean;
  readonly hasRs3: boolean;
  /** Whether it may trap, meet a device or need exact float work: whatever may have the complete half do it. */
  readonly mayLeave: boolean;
}

const shapes = new Map<Instruction, Shape>();

export function shapeOf(entry: Instruction): Shape {
  const known = shapes.get(entry);
  if (known) return known;
  const names = entry.syntax.split(/[^a-z0-9']+/);
  const shape: Shape = {
    entry: entryNumber(entry),
    floatRd: names.includes('frd'),
    floatRs1: names.includes('frs1'),
    floatRs2: names.includes('frs2'),
    zimm: entry.encoding.fields.has('zimm'),
    csr: entry.encoding.fields.has('csr'),
    relative: entry.flow === 'branch' || entry.flow === 'jump',
    hasRd: names.includes('rd') || names.includes('frd'),
    hasRs1: names.includes('rs1') || names.includes('frs1'),
    hasRs2: names.includes('rs2') || names.includes('frs2'),
    hasRs3: names.includes('frs3'),
    mayLeave: mayLeave(entry),
    endsRun: entry.flow === 'jump' || entry.flow === 'indirect' || entry.flow === 'system',
  };
  shapes.set(entry, shape);
  return shape;
}

/** Emitter operations that only compute: what an instruction may use and still never leave. */
const PLAIN = new Set(['x', 'setX', 'imm', 'imm32', 'pc', 'nextPc', 'constant', 'constant32', 'let', 'select', 'if']);
const PLAIN_ENDS = new Set(['multiplyHigh', 'branchIf', 'jumpRelative', 'jumpTo']);

/** Found by asking the meaning: an emitter that notes what is used. */
function mayLeave(entry: Instruction): boolean {
  let leaves = false;
  const value: object = new Proxy({}, { get: () => () => value });
  const emitter = new Proxy(
    {},
    {
      get:
        (_, name: string) =>
        (...given: readonly unknown[]) => {
          const isFence = name === 'system' && (given[0] === 'fence' || given[0] === 'pause');
          if (!PLAIN.has(name) && !PLAIN_ENDS.has(name) && !isFence) leaves = true;
          for (const part of given) if (typeof part === 'function') (part as () => void)();
          return value;
        },
    },
  ) as Emitter;
  entry.meaning?.(emitter);
  return leaves;
}
