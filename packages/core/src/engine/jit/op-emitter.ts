/**
 * An instruction's meaning inside a compiled region: operands are known, registers are locals, the next instruction is just what is written
 * next. What is not done inline *bails* before it has changed anything: to the label that the region's writer gives for this instruction,
 * where the complete half does it.
 */

import { assert, defined } from '../../base/assert.ts';
import type { FloatBits, FloatFormat, IntegerFormat, LoadKind, StoreBytes, SystemOperation, Value32, Value64 } from '../../isa/emitter.ts';
import { MSTATUS } from '../../isa/csrs.ts';
import type { Body, Label, Local } from '../../wasm/body.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/expression.ts';
import type { FunctionRef } from '../../wasm/module.ts';
import type { RoundingMode } from '../float/formats.ts';
import type { FloatEmitters, FormatEmitters } from '../float/index.ts';
import { type InlineAccess, inlineHost, inlineZeroBlock } from '../inline-memory.ts';
import { TLB_READ, TLB_WRITE } from '../layout.ts';
import { get32, get64 } from '../state.ts';
import { WasmEmitter, loadBytes, loadHost, negateForFma, own32, own64, storeHost } from '../wasm-emitter.ts';
import type { Op } from './region.ts';

/** The rounding mode field that means frm. */
const DYNAMIC = 7;

/** What every instruction may use. */
export interface EmitterParts {
  readonly multiplyHigh: FunctionRef<'i64'>;
  readonly float: FloatEmitters;
  /** With one hart there is nobody to see the order of its accesses. */
  readonly isAlone: boolean;
}

/** The locals that hold guest registers; made when first asked for. */
export interface RegisterLocals {
  x(number: number): Local<'i64'>;
  f(number: number): Local<'f64'>;
}

/** What is known about float state at a place in the code, so that it is checked once. */
export interface FloatKnowledge {
  /** mstatus.FS is Dirty. */
  isDirty: boolean;
  /** frm is round-to-nearest-even. */
  isNearest: boolean;
}

/** Whether the complete half always does this instruction. */
export function isNeverInline({ decoded: { instruction, rm } }: Op): boolean {
  const { extension } = instruction;
  if (extension === 'Zicsr' || extension === 'Zicbom' || extension === 'Zawrs') return true;
  return (extension === 'F' || extension === 'D') && (rm === 5 || rm === 6) && instruction.encoding.fields.has('rm');
}

export class OpEmitter extends WasmEmitter {
  readonly #parts: EmitterParts;
  readonly #registers: RegisterLocals;
  readonly #base: I64;
  readonly #context: I64;
  #op: Op | undefined;
  #bail: Label | undefined;
  #known: FloatKnowledge = { isDirty: false, isNearest: false };
  /** Of a branch: the condition. Of an indirect jump: where it goes. */
  condition: I32 | undefined;
  target: I64 | undefined;

  constructor(body: Body, hart: I32, parts: EmitterParts, registers: RegisterLocals, base: I64, context: I64) {
    super(body, hart, parts.multiplyHigh);
    this.#parts = parts;
    this.#registers = registers;
    this.#base = base;
    this.#context = context;
  }

  /** The next instruction is `op`; `bail` is there when it may leave. `known` is brought up to date. */
  begin(op: Op, bail: Label | undefined, known: FloatKnowledge): void {
    this.#op = op;
    this.#bail = bail;
    this.#known = known;
    this.condition = undefined;
    this.target = undefined;
  }

  get #decoded(): Op['decoded'] {
    return defined(this.#op, 'an instruction').decoded;
  }

  get #access(): InlineAccess {
    return { body: this.body, hart: this.hart, context: this.#context, bail: this.#leave };
  }

  get #leave(): Label {
    return defined(this.#bail, 'an instruction that may leave says so');
  }

  override x(operand: 'rs1' | 'rs2'): I64 {
    const number = this.#decoded[operand];
    return number === 0 ? i64(0) : this.#registers.x(number).value;
  }

  override setX(value: Value64): void {
    const { rd } = this.#decoded;
    if (rd === 0) this.body.let(own64(value));
    else this.body.set(this.#registers.x(rd), own64(value));
  }

  override imm(): I64 {
    return i64(this.#decoded.imm);
  }

  override imm32(): I32 {
    return i32(this.#decoded.imm);
  }

  override pc(): I64 {
    return this.#base.add(defined(this.#op, 'an instruction').offset);
  }

  override nextPc(): I64 {
    return this.#base.add(defined(this.#op, 'an instruction').offset + this.#decoded.lengthBytes);
  }

  override branchIf(condition: Value32): void {
    this.condition = own32(condition);
  }

  /** Where it goes is the terminator's business. */
  override jumpRelative(): void {}

  override jumpTo(target: Value64): void {
    this.target = own64(target);
  }

  override load(kind: LoadKind, address: Value64): I64 {
    const va = this.body.let(own64(address));
    return loadHost(kind, inlineHost(this.#access, TLB_READ, loadBytes[kind], va));
  }

  override store(bytes: StoreBytes, address: Value64, value: Value64): void {
    const va = this.body.let(own64(address));
    storeHost(this.body, bytes, inlineHost(this.#access, TLB_WRITE, bytes, va), own64(value));
  }

  protected override atomicHost(bytes: 4 | 8, address: I64, forWrite: boolean): I32 {
    const va = this.body.let(address);
    this.body.brIf(this.#leave, va.toI32().and(bytes - 1), false);
    return inlineHost(this.#access, forWrite ? TLB_WRITE : TLB_READ, bytes, va);
  }

  protected override floatRegister(operand: 'rs1' | 'rs2' | 'rs3'): I64 {
    return this.#registers.f(this.#decoded[operand]).value.bits();
  }

  protected override setFloatRegister(raw: I64): void {
    this.body.set(this.#registers.f(this.#decoded.rd), raw.bitsToF64());
  }

  override fRaw(operand: 'rs1' | 'rs2'): I64 {
    this.requireFloat();
    return super.fRaw(operand);
  }

  /** Bails unless float state is Dirty already: the complete half knows what to do while it is not. */
  override requireFloat(): void {
    if (this.#known.isDirty) return;
    this.#known.isDirty = true;
    this.body.brIf(this.#leave, get64(this.hart, 'mstatus').and(MSTATUS.FS).ne(MSTATUS.FS), false);
  }

  override setF<F extends FloatFormat>(format: F, bits: FloatBits<F>): void {
    this.requireFloat();
    super.setF(format, bits);
  }

  override floatArithmetic<F extends FloatFormat>(
    operation: 'add' | 'sub' | 'mul' | 'div',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): FloatBits<F> {
    return this.#of(format)[operation](this.body, raw(a), raw(b), this.#rounding()) as unknown as FloatBits<F>;
  }

  override floatSqrt<F extends FloatFormat>(format: F, a: FloatBits<F>): FloatBits<F> {
    return this.#of(format).sqrt(this.body, raw(a), this.#rounding()) as unknown as FloatBits<F>;
  }

  override floatFma<F extends FloatFormat>(
    format: F,
    negateProduct: boolean,
    negateAddend: boolean,
    a: FloatBits<F>,
    b: FloatBits<F>,
    c: FloatBits<F>,
  ): FloatBits<F> {
    const [x, y, z] = negateForFma(format, negateProduct, negateAddend, a, b, c);
    return this.#of(format).fma(this.body, raw(x), raw(y), raw(z), this.#rounding()) as unknown as FloatBits<F>;
  }

  override floatMinMax<F extends FloatFormat>(
    operation: 'min' | 'max',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): FloatBits<F> {
    return this.#of(format)[operation](this.body, raw(a), raw(b)) as unknown as FloatBits<F>;
  }

  override floatCompare<F extends FloatFormat>(
    operation: 'eq' | 'lt' | 'le',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): I64 {
    return this.#of(format)[operation](this.body, raw(a), raw(b)).toI64U();
  }

  override floatClass<F extends FloatFormat>(format: F, a: FloatBits<F>): I64 {
    return this.#of(format).classify(this.body, raw(a)).toI64U();
  }

  override floatToInteger<F extends FloatFormat>(to: IntegerFormat, format: F, a: FloatBits<F>): I64 {
    const emitters = this.#of(format);
    const rm = this.#rounding();
    switch (to) {
      case 'w':
        return emitters.toI32(this.body, raw(a), rm).toI64S();
      case 'wu':
        return emitters.toU32(this.body, raw(a), rm).toI64S();
      case 'l':
        return emitters.toI64(this.body, raw(a), rm);
      case 'lu':
        return emitters.toU64(this.body, raw(a), rm);
    }
  }

  override integerToFloat<F extends FloatFormat>(format: F, from: IntegerFormat, a: Value64): FloatBits<F> {
    this.requireFloat();
    const emitters = this.#of(format);
    const value = own64(a);
    const rm = this.#rounding();
    const result = {
      w: () => emitters.fromI32(this.body, value.toI32(), rm),
      wu: () => emitters.fromU32(this.body, value.toI32(), rm),
      l: () => emitters.fromI64(this.body, value, rm),
      lu: () => emitters.fromU64(this.body, value, rm),
    }[from]();
    return result as unknown as FloatBits<F>;
  }

  override floatConvert(to: 's', from: 'd', a: Value64): Value32;
  override floatConvert(to: 'd', from: 's', a: Value32): Value64;
  override floatConvert(to: FloatFormat, _from: FloatFormat, a: Value64 | Value32): Value32 | Value64 {
    const { convert } = this.#parts.float;
    return to === 's'
      ? convert.f64ToF32(this.body, own64(a as Value64), this.#rounding())
      : convert.f32ToF64(this.body, own32(a as Value32));
  }

  override csr(): void {
    assert(false, 'the complete half does CSR instructions');
  }

  override system(operation: SystemOperation): void {
    if (operation === 'fence') {
      if (!this.#parts.isAlone) this.body.atomicFence();
    } else if (operation === 'cbo.zero') inlineZeroBlock(this.#access, this.x('rs1'));
    else assert(operation === 'pause', `the complete half does ${operation}`);
  }

  /** The rounding mode as a constant: where it is frm's, the code bails unless that is nearest-even. */
  #rounding(): RoundingMode {
    const { rm } = this.#decoded;
    if (rm !== DYNAMIC) return rm as RoundingMode;
    if (!this.#known.isNearest) {
      this.#known.isNearest = true;
      this.body.brIf(this.#leave, get32(this.hart, 'frm'), false);
    }
    return 0;
  }

  /** The inline forms of a format; their values are this emitter's own. */
  #of(format: FloatFormat): FormatEmitters<I32> {
    const { f32, f64 } = this.#parts.float;
    return (format === 's' ? f32 : f64) as FormatEmitters<I32>;
  }
}

/** The bits of either format, as `FormatEmitters<I32>` takes them. */
function raw(bits: Value32 | Value64): I32 {
  return bits as unknown as I32;
}
