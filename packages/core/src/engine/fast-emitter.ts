/**
 * The meaning of instructions inside the interpreter's loop, as long as nothing special happens: TLB hits, RAM, float arithmetic whose
 * flags are set already. Everything else *bails* before it has changed anything: the loop then has the slow half do this one instruction.
 * So the loop makes no calls, and the host compiler keeps its few locals in registers.
 */

import type {
  FloatBits,
  FloatFormat,
  IntegerFormat,
  LoadKind,
  StoreBytes,
  SystemOperation,
  Value32,
  Value64,
} from '../isa/emitter.ts';
import type { Body, Label, Local } from '../wasm/body.ts';
import { type F32, type F64, type I32, type I64, f64 } from '../wasm/expression.ts';
import { load32, load8U } from '../wasm/memory-access.ts';
import type { FunctionRef } from '../wasm/module.ts';
import type { FloatEmitters } from './float/index.ts';
import { type InlineAccess, inlineHost, inlineZeroBlock } from './inline-memory.ts';
import { HART, RECORD, TLB_READ, TLB_WRITE } from './layout.ts';
import { RecordEmitter } from './record-emitter.ts';
import { loadBytes, loadHost, negateForFma, own32, own64, storeHost } from './wasm-emitter.ts';

/** The rounding mode of the inline fused multiply-add, known here. */
const NEAREST_EVEN = 0;

/** The loop's locals. */
export interface LoopLocals {
  /** Address of the record being executed. */
  readonly record: Local<'i32'>;
  /** pc = delta + record / 8 while in this code page. */
  readonly delta: Local<'i64'>;
  /** Instructions begun. */
  readonly count: Local<'i32'>;
  /** Where a jump out of the page goes. */
  readonly target: Local<'i64'>;
  /** The context of data accesses. */
  readonly context: Local<'i64'>;
  /** mstatus.FS: 0 off, 3 dirty. */
  readonly floatState: Local<'i32'>;
  /** Bit rm is set when rounding mode field rm means nearest-even now (and float state is dirty). */
  readonly nearest: Local<'i32'>;
  /** The same, if NX is accrued already. */
  readonly inexact: Local<'i32'>;
}

/** What every handler may use. */
export interface FastParts {
  readonly multiplyHigh: FunctionRef<'i64'>;
  readonly float: FloatEmitters;
}

export interface LoopLabels {
  /** Executes the record at `record`. */
  readonly again: Label;
  /** Jumps to `target`. */
  readonly enter: Label;
  /** Leaves the loop at `record`'s address for the boundary checks. */
  readonly leave: Label;
  /** Has the slow half do the instruction at `record`. */
  readonly bail: Label;
  /** Where a jump back to `target` within the page goes, if not straight on: where compiled code is looked for. */
  readonly backward?: Label;
}

/** Where a branch or jump goes: out of the page, or within it forward, or back (where the loop looks whether it should stop). */
export type Reach = 'far' | 'forward' | 'backward';

/** Thrown while trying an instruction that the fast half never does. */
export class AlwaysBails extends Error {}

/** Records are 16 bytes for each halfword: 8 bytes of record per byte of code. */
const RECORD_BYTES_PER_CODE_BYTE = RECORD.BYTES / 2;

export class FastEmitter extends RecordEmitter {
  readonly #locals: LoopLocals;
  readonly #labels: LoopLabels;
  readonly #length: 2 | 4;
  readonly #reach: Reach;
  readonly #fused: FloatEmitters;
  #ended = false;
  readonly #forwarded: { rs1?: I64; rs2?: I64 } = {};
  #written: I64 | undefined;
  #writes = 0;
  #branches = 0;

  constructor(
    body: Body,
    hart: I32,
    locals: LoopLocals,
    labels: LoopLabels,
    shared: FastParts,
    length: 2 | 4,
    reach: Reach,
  ) {
    super(body, hart, locals.record.value, shared.multiplyHigh);
    this.#fused = shared.float;
    this.#locals = locals;
    this.#labels = labels;
    this.#length = length;
    this.#reach = reach;
  }

  /** What this instruction wrote, when it writes exactly once and whatever happens: those behind it in a sequence may read it from here. */
  get written(): I64 | undefined {
    return this.#writes === 1 ? this.#written : undefined;
  }

  /** Takes `value` for the operand instead of the register. */
  forward(operand: 'rs1' | 'rs2', value: I64 | undefined): void {
    if (value) this.#forwarded[operand] = value;
  }

  override x(operand: 'rs1' | 'rs2'): I64 {
    return this.#forwarded[operand] ?? super.x(operand);
  }

  protected override floatRegister(operand: 'rs1' | 'rs2' | 'rs3'): I64 {
    return (operand === 'rs3' ? undefined : this.#forwarded[operand]) ?? super.floatRegister(operand);
  }

  override setX(value: Value64): void {
    const kept = this.body.let(own64(value));
    this.#writes += this.#branches === 0 ? 1 : 2;
    this.#written = kept;
    super.setX(kept);
  }

  override if(condition: Value32, whenTrue: () => void, whenFalse?: () => void): void {
    this.#branches++;
    super.if(condition, whenTrue, whenFalse);
    this.#branches--;
  }

  /** Goes on to the next record; `thenDispatch` is false inside a fused sequence. */
  finish(thenDispatch = true): void {
    if (this.#ended) return;
    if (!thenDispatch) this.body.set(this.#locals.count, this.#locals.count.value.add(1));
    this.body.set(this.#locals.record, this.record.add(this.#length * RECORD_BYTES_PER_CODE_BYTE));
    if (thenDispatch) this.body.br(this.#labels.again);
  }

  override pc(): I64 {
    return this.#locals.delta.value.add(this.record.shrU(3).toI64U());
  }

  override nextPc(): I64 {
    return this.pc().add(this.#length);
  }

  override branchIf(condition: Value32): void {
    this.body.if(own32(condition), () => this.#go());
  }

  override jumpRelative(): void {
    this.#go();
    this.#ended = true;
  }

  override jumpTo(target: Value64): void {
    this.body.set(this.#locals.target, own64(target));
    this.body.br(this.#labels.enter);
    this.#ended = true;
  }

  #go(): void {
    const { body } = this;
    if (this.#reach === 'far') {
      body.set(this.#locals.target, this.pc().add(this.imm()));
      body.br(this.#labels.enter);
      return;
    }
    body.set(this.#locals.record, this.record.add(load32(this.record, RECORD.IMM)));
    if (this.#reach === 'backward' && this.#labels.backward) {
      body.set(this.#locals.target, this.pc());
      body.br(this.#labels.backward);
      return;
    }
    if (this.#reach === 'backward')
      body.brIf(this.#labels.leave, this.#locals.count.value.geU(load32(this.hart, HART.limit)));
    body.br(this.#labels.again);
  }

  get #access(): InlineAccess {
    return { body: this.body, hart: this.hart, context: this.#locals.context.value, bail: this.#labels.bail };
  }

  #host(table: number, bytes: number, address: I64): I32 {
    return inlineHost(this.#access, table, bytes, address);
  }

  override load(kind: LoadKind, address: Value64): I64 {
    const va = this.body.let(own64(address));
    return this.body.let(loadHost(kind, this.#host(TLB_READ, loadBytes[kind], va)));
  }

  override store(bytes: StoreBytes, address: Value64, value: Value64): void {
    const va = this.body.let(own64(address));
    storeHost(this.body, bytes, this.#host(TLB_WRITE, bytes, va), own64(value));
  }

  protected override atomicHost(bytes: 4 | 8, address: I64, forWrite: boolean): I32 {
    const va = this.body.let(address);
    this.body.brIf(this.#labels.bail, va.toI32().and(bytes - 1));
    return this.#host(forWrite ? TLB_WRITE : TLB_READ, bytes, va);
  }

  override requireFloat(): void {
    this.body.brIf(this.#labels.bail, this.#locals.floatState.value.eqz());
  }

  /** The first write of a float register makes the state dirty, which is the slow half's business. */
  override setF<F extends FloatFormat>(format: F, bits: FloatBits<F>): void {
    const value = this.body.let(bits as unknown as I64);
    this.body.brIf(this.#labels.bail, this.#locals.floatState.value.ne(3));
    // Only a double is forwarded: a single would have to be boxed first.
    this.#writes += format === 'd' ? 1 : 2;
    this.#written = value;
    super.setF(format, value as unknown as FloatBits<F>);
  }

  override f<F extends FloatFormat>(format: F, operand: 'rs1' | 'rs2' | 'rs3'): FloatBits<F> {
    this.requireFloat();
    const raw = this.floatRegister(operand);
    if (format === 'd') return raw as unknown as FloatBits<F>;
    const boxed = this.body.let(raw);
    this.body.brIf(this.#labels.bail, boxed.ltU(-0x1_0000_0000n));
    return boxed.toI32() as unknown as FloatBits<F>;
  }

  override floatArithmetic<F extends FloatFormat>(
    operation: 'add' | 'sub' | 'mul' | 'div',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): FloatBits<F> {
    this.#onlyIfInexact();
    if (format === 'd') {
      const left = own64(a as Value64).bitsToF64();
      const right = own64(b as Value64).bitsToF64();
      return this.#normal64(left[operation](right)) as unknown as FloatBits<F>;
    }
    const left = own32(a as Value32).bitsToF32();
    const right = own32(b as Value32).bitsToF32();
    return this.#normal32(left[operation](right)) as unknown as FloatBits<F>;
  }

  override floatSqrt<F extends FloatFormat>(format: F, a: FloatBits<F>): FloatBits<F> {
    this.#onlyIfInexact();
    if (format === 'd')
      return this.#normal64(
        own64(a as Value64)
          .bitsToF64()
          .sqrt(),
      ) as unknown as FloatBits<F>;
    return this.#normal32(
      own32(a as Value32)
        .bitsToF32()
        .sqrt(),
    ) as unknown as FloatBits<F>;
  }

  override floatFma<F extends FloatFormat>(
    format: F,
    negateProduct: boolean,
    negateAddend: boolean,
    a: FloatBits<F>,
    b: FloatBits<F>,
    c: FloatBits<F>,
  ): FloatBits<F> {
    this.#onlyIfInexact();
    const values = negateForFma(format, negateProduct, negateAddend, a, b, c);
    const result: unknown =
      format === 'd'
        ? this.#fused.f64.fma(this.body, ...(values as unknown as [I64, I64, I64]), NEAREST_EVEN)
        : this.#fused.f32.fma(this.body, ...(values as unknown as [I32, I32, I32]), NEAREST_EVEN);
    return result as FloatBits<F>;
  }

  override floatMinMax<F extends FloatFormat>(): FloatBits<F> {
    throw new AlwaysBails();
  }

  override floatCompare<F extends FloatFormat>(
    operation: 'eq' | 'lt' | 'le',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): I64 {
    const toFloat = (bits: FloatBits<F>): F64 | F32 =>
      this.body.let(format === 'd' ? own64(bits as Value64).bitsToF64() : own32(bits as Value32).bitsToF32());
    const left = toFloat(a) as F64;
    const right = toFloat(b) as F64;
    // A NaN may raise NV: not here.
    this.body.brIf(this.#labels.bail, left.ne(left).or(right.ne(right)));
    return left[operation](right).toI64U();
  }

  override floatClass<F extends FloatFormat>(_format: F, _a: FloatBits<F>): I64 {
    throw new AlwaysBails();
  }

  /** Rounding towards zero of a value in range, when NX needs no care: what a C cast does. */
  override floatToInteger<F extends FloatFormat>(to: IntegerFormat, format: F, a: FloatBits<F>): I64 {
    this.body.brIf(this.#labels.bail, load8U(this.record, RECORD.RM).ne(1).or(this.#locals.inexact.value.eqz()));
    const wide =
      format === 'd'
        ? own64(a as Value64).bitsToF64()
        : own32(a as Value32)
            .bitsToF32()
            .toF64();
    const value = this.body.let(wide);
    const [low, high] = { w: [-(2 ** 31), 2 ** 31], wu: [0, 2 ** 32], l: [-(2 ** 63), 2 ** 63], lu: [0, 2 ** 64] }[
      to
    ] as [number, number];
    // NaN compares false with everything.
    this.body.brIf(
      this.#labels.bail,
      value
        .ge(f64(low))
        .and(value.lt(f64(high)))
        .eqz(),
    );
    switch (to) {
      case 'w':
        return value.truncSatI32S().toI64S();
      case 'wu':
        return value.truncSatI32U().toI64S();
      case 'l':
        return value.truncSatI64S();
      case 'lu':
        return value.truncSatI64U();
    }
  }

  override integerToFloat<F extends FloatFormat>(format: F, from: IntegerFormat, a: Value64): FloatBits<F> {
    this.requireFloat();
    const value = own64(a);
    const isExact = format === 'd' && (from === 'w' || from === 'wu');
    this.#onlyIf(isExact ? this.#locals.nearest : this.#locals.inexact);
    if (format === 'd') {
      const double = {
        w: () => value.toI32().toF64S(),
        wu: () => value.toI32().toF64U(),
        l: () => value.toF64S(),
        lu: () => value.toF64U(),
      }[from]();
      return this.body.let(double.bits()) as unknown as FloatBits<F>;
    }
    const single = {
      w: () => value.toI32().toF32S(),
      wu: () => value.toI32().toF32U(),
      l: () => value.toF32S(),
      lu: () => value.toF32U(),
    }[from]();
    return this.body.let(single.bits()) as unknown as FloatBits<F>;
  }

  override floatConvert(to: 's', from: 'd', a: Value64): Value32;
  override floatConvert(to: 'd', from: 's', a: Value32): Value64;
  override floatConvert(to: FloatFormat, _from: FloatFormat, a: Value64 | Value32): Value32 | Value64 {
    if (to === 's') {
      this.#onlyIfInexact();
      return this.#normal32(
        own64(a as Value64)
          .bitsToF64()
          .toF32(),
      );
    }
    const single = this.body.let(own32(a as Value32).bitsToF32());
    this.#onlyIf(this.#locals.nearest);
    this.body.brIf(this.#labels.bail, single.ne(single));
    return this.body.let(single.toF64().bits());
  }

  override csr(): void {
    throw new AlwaysBails();
  }

  override system(operation: SystemOperation): void {
    if (operation === 'fence') this.body.atomicFence();
    else if (operation === 'cbo.zero') inlineZeroBlock(this.#access, this.x('rs1'));
    else if (operation !== 'pause') throw new AlwaysBails();
  }

  /** Goes on only if the rounding mode is nearest-even and NX is accrued: then a normal result of wasm's own operation is the answer. */
  #onlyIfInexact(): void {
    this.#onlyIf(this.#locals.inexact);
  }

  #onlyIf(mask: Local<'i32'>): void {
    this.body.brIf(this.#labels.bail, mask.value.shrU(load8U(this.record, RECORD.RM)).and(1).eqz());
  }

  /** Exponents 2 to 2046: neither zero, subnormal, infinite or NaN, nor the least normal, which may have been rounded up from below. */
  #normal64(value: F64): I64 {
    const bits = this.body.let(value.bits());
    this.body.brIf(this.#labels.bail, bits.shrU(52).toI32().and(0x7ff).sub(2).gtU(2044));
    return bits;
  }

  #normal32(value: F32): I32 {
    const bits = this.body.let(value.bits());
    this.body.brIf(this.#labels.bail, bits.shrU(23).and(0xff).sub(2).gtU(252));
    return bits;
  }
}
