/**
 * An instruction's meaning inside a compiled region: operands are known, registers are locals, the next instruction is just what is written
 * next. What is not done inline *bails* before it has changed anything: to the label that the region's writer gives for this instruction,
 * where the complete half does it.
 */

import { assert, defined } from '../../base/assert.ts';
import { MSTATUS } from '../../isa/csrs.ts';
import type {
  FloatBits,
  FloatFormat,
  IntegerFormat,
  LoadKind,
  StoreBytes,
  SystemOperation,
  Value32,
  Value64,
} from '../../isa/emitter.ts';
import type { Body, Label, Local } from '../../wasm/body.ts';
import { type F64, type I32, I64, f64, i32, i64 } from '../../wasm/expression.ts';
import { load32, load64 } from '../../wasm/memory-access.ts';
import type { FunctionRef, GlobalRef } from '../../wasm/module.ts';
import { emitFusedMultiplyAdd } from '../float/fast-arithmetic.ts';
import type { RoundingMode } from '../float/formats.ts';
import type { FloatEmitters, FormatEmitters } from '../float/index.ts';
import type { FloatFunctions } from '../float/signatures.ts';
import { type InlineAccess, inlineHost, inlineZeroBlock, tlbEntry, tlbTag } from '../inline-memory.ts';
import { TLB_READ, TLB_WRITE, hartBase } from '../layout.ts';
import { shapeOf } from '../shape.ts';
import { get32, get64, getCsr, put64, yieldTurn } from '../state.ts';
import { WasmEmitter, loadBytes, loadHost, negateForFma, own32, own64, storeHost } from '../wasm-emitter.ts';
import type { AccessGroup } from './access-group.ts';
import { inlineCsr } from './inline.ts';
import type { Op } from './region.ts';

/** The exponent field of a double: this for infinities and NaNs; and the least that no tiny result was rounded to. */
const HIGHEST_EXPONENT = 0x7ff;
const NORMAL = 2;
const ALL = 0xffff_ffff_ffff_ffffn;
/** The rounding mode field that means frm. */
const DYNAMIC = 7;

/** What every instruction may use. */
export interface EmitterParts {
  readonly multiplyHigh: FunctionRef<'i64'>;
  readonly float: FloatEmitters;
  readonly functions: FloatFunctions;
  readonly floatFlags: GlobalRef<'i32'>;
  /** Whether `relaxed_madd` rounds once on this host. */
  readonly fusedMultiplyAdd: boolean;
  /** See tlb-fill.ts. */
  fill(table: number, bytes: number): FunctionRef<'i32'>;
  /** See csr-access.ts. */
  readonly readTime: FunctionRef<'i32'>;
  /** See contexts.ts. */
  readonly dropBorrowed: FunctionRef;
  /** With one hart there is nobody to see the order of its accesses. */
  readonly isAlone: boolean;
}

/** The locals that hold guest registers. */
export interface RegisterLocals {
  x(number: number): Local<'i64'>;
  /** The low half of x(number), where `Knowledge` says so, or `isLowHalf`. */
  narrow(number: number): Local<'i32'>;
  f(number: number): Local<'f64'>;
  /** Whether narrow(number) holds the register, of which it is the sign extension, and x(number) nothing of use. */
  isLowHalf(number: number): boolean;
}

/** What is known at a place in the code, while it is written. */
export interface Knowledge {
  /** Registers that are the sign extension of their low half, which has a local of its own. */
  readonly narrow: Set<number>;
}

export const nothingKnown = (): Knowledge => ({ narrow: new Set() });

/** The locals of a region's function that its instructions share. */
export interface RegionLocals {
  readonly registers: RegisterLocals;
  /** Virtual address of the entry's page. */
  readonly base: I64;
  /** The context of data accesses. */
  readonly context: I64;
  /** 0 when NX is surely accrued, else -1. */
  readonly unaccrued: Local<'i32'>;
  /** Whether that is known to be 0 where code is being written. */
  isAccrued(): boolean;
  groupOf(op: Op): AccessGroup | undefined;
  /** Where the access goes, when that is known to be there: in the quick rounds of a loop (even-loop.ts). */
  evenOf(op: Op): { readonly host: I32; readonly offset: number } | undefined;
}

export class OpEmitter extends WasmEmitter {
  readonly #parts: EmitterParts;
  readonly #locals: RegionLocals;
  #op: Op | undefined;
  #bail: Label | undefined;
  #known: Knowledge = nothingKnown();
  /** Of a branch: the condition. Of an indirect jump: where it goes. */
  condition: I32 | undefined;
  target: I64 | undefined;

  constructor(body: Body, hart: I32, parts: EmitterParts, locals: RegionLocals) {
    super(body, hart, parts.multiplyHigh);
    this.#parts = parts;
    this.#locals = locals;
  }

  /** The next instruction is `op`; `bail` is there when it may leave. `known` is brought up to date. */
  begin(op: Op, bail: Label | undefined, known: Knowledge): void {
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
    const { body, hart } = this;
    const hartAt = this.#parts.isAlone ? hartBase(0) : undefined;
    return { body, hart, hartAt, context: this.#locals.context, bail: this.#leave };
  }

  get #leave(): Label {
    return defined(this.#bail, 'an instruction that may leave says so');
  }

  override x(operand: 'rs1' | 'rs2'): I64 {
    const number = this.#decoded[operand];
    if (number === 0) return i64(0);
    const { registers } = this.#locals;
    if (registers.isLowHalf(number)) return registers.narrow(number).value.toI64S();
    if (!this.#known.narrow.has(number)) return registers.x(number).value;
    return new I64(registers.x(number).value.take(), true, { narrow: registers.narrow(number).value.take() });
  }

  override setX(value: Value64): void {
    const { rd } = this.#decoded;
    const wide = own64(value);
    const { registers } = this.#locals;
    if (rd === 0) this.body.let(wide);
    else if (registers.isLowHalf(rd)) this.body.set(registers.narrow(rd), wide.toI32());
    else if (wide.forms.narrow) {
      const narrow = registers.narrow(rd);
      this.body.set(narrow, wide.toI32());
      this.body.set(registers.x(rd), narrow.value.toI64S());
      this.#known.narrow.add(rd);
    } else {
      this.body.set(registers.x(rd), wide);
      if (wide.forms.isNarrow === true) {
        this.body.set(registers.narrow(rd), registers.x(rd).value.toI32());
        this.#known.narrow.add(rd);
      } else this.#known.narrow.delete(rd);
    }
  }

  /** Keeps the form that there is. */
  override let<V extends Value32 | Value64>(value: V): V {
    if (!(value instanceof I64)) return super.let(value);
    if (value.isLeaf) return value;
    if (value.forms.narrow) return this.body.let(value.toI32()).toI64S() as unknown as V;
    if (value.forms.float) return this.body.let(value.bitsToF64()).bits() as unknown as V;
    return super.let(value);
  }

  override imm(): I64 {
    return i64(this.#decoded.imm);
  }

  override imm32(): I32 {
    return i32(this.#decoded.imm);
  }

  override pc(): I64 {
    return this.#locals.base.add(defined(this.#op, 'an instruction').offset);
  }

  override nextPc(): I64 {
    return this.#locals.base.add(defined(this.#op, 'an instruction').offset + this.#decoded.lengthBytes);
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
    const even = this.#even;
    if (even) return loadHost(kind, even.host, even.offset);
    const bytes = loadBytes[kind];
    const group = this.#group(TLB_READ);
    const { body } = this;
    const isFloat = kind === 'i64' && shapeOf(this.#decoded.instruction).floatRd;
    const result = isFloat ? body.local('f64') : kind === 'i32' ? body.local('i32') : body.local('i64');
    const set = (value: I64): void => {
      if (result.type === 'f64') body.set(result, value.bitsToF64());
      else if (result.type === 'i32') body.set(result, value.toI32());
      else body.set(result, value);
    };
    this.#accesses(group, TLB_READ, bytes, own64(address), (host, offset) => set(loadHost(kind, host, offset)));
    if (result.type === 'f64') return result.value.bits();
    return result.type === 'i32' ? result.value.toI64S() : result.value;
  }

  override store(bytes: StoreBytes, address: Value64, value: Value64): void {
    const even = this.#even;
    if (even) {
      storeHost(this.body, bytes, even.host, own64(value), even.offset);
      return;
    }
    const kept = own64(this.let(own64(value)));
    this.#accesses(this.#group(TLB_WRITE), TLB_WRITE, bytes, own64(address), (host, offset) =>
      storeHost(this.body, bytes, host, kept, offset),
    );
  }

  /**
   * Writes `access` for each way there is to its host address, each time with another one: the host's compiler then sees where each comes
   * from, and needs nothing to make it one.
   */
  #accesses(
    group: AccessGroup | undefined,
    table: number,
    bytes: number,
    address: I64,
    access: (host: I32, offset: number) => void,
  ): void {
    const { body } = this;
    if (group) {
      body.if(
        group.host.value.eqz(),
        () => access(this.#alone(table, bytes, address), 0),
        () => access(group.host.value, this.#decoded.imm - group.low),
        false,
      );
    } else {
      const around = this.#access;
      const va = body.let(address);
      const { entry, at } = tlbEntry(around, table, va);
      // Used twice, so that the host's compiler does not load it a second time where it compares it.
      const tag = body.let(load64(entry, at));
      body.if(
        tlbTag(around, bytes, va).ne(tag),
        () => access(this.#filled(table, bytes, va, tag), 0),
        () => access(va.toI32().add(load32(entry, at + 8)), 0),
        false,
      );
    }
  }

  /** The host address, when the TLB had to be filled for it. */
  #filled(table: number, bytes: number, address: I64, tag: I64): I32 {
    const { body } = this;
    const host = body.let(body.call(this.#parts.fill(table, bytes), this.hart, address, tag));
    body.brIf(this.#leave, host.eqz(), false);
    return host;
  }

  get #even(): { readonly host: I32; readonly offset: number } | undefined {
    return this.#locals.evenOf(defined(this.#op, 'an instruction'));
  }

  /** The group that this access belongs to. The first of it looks the translation up. */
  #group(table: number): AccessGroup | undefined {
    const op = defined(this.#op, 'an instruction');
    const group = this.#locals.groupOf(op);
    if (group?.first !== op) return group;
    const { body } = this;
    const { host, low, span } = group;
    const va = body.let(this.x('rs1').add(low));
    body.set(host, 0);
    body.block((unknown) => {
      const access = { ...this.#access, bail: unknown };
      body.set(host, inlineHost(access, table, span, va));
    });
    return group;
  }

  /** The host address for one access of a group that is not in one page, or not in the TLB. */
  #alone(table: number, bytes: number, address: I64): I32 {
    return this.#filled(table, bytes, this.body.let(address), i64(0));
  }

  protected override atomicHost(bytes: 4 | 8, address: I64, forWrite: boolean): I32 {
    const va = this.body.let(address);
    this.body.brIf(this.#leave, va.toI32().and(bytes - 1), false);
    return inlineHost(this.#access, forWrite ? TLB_WRITE : TLB_READ, bytes, va);
  }

  protected override floatRegister(operand: 'rs1' | 'rs2' | 'rs3'): I64 {
    return this.#locals.registers.f(this.#decoded[operand]).value.bits();
  }

  protected override setFloatRegister(bits: I64): void {
    this.body.set(this.#locals.registers.f(this.#decoded.rd), bits.bitsToF64());
  }

  /** The region's function would not have begun (`usesFloat`). */
  override requireFloat(): void {}

  override floatArithmetic<F extends FloatFormat>(
    operation: 'add' | 'sub' | 'mul' | 'div',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): FloatBits<F> {
    const rm = this.#rounding();
    if (format === 's' || rm !== 0)
      return this.#of(format)[operation](this.body, raw(a), raw(b), rm) as unknown as FloatBits<F>;
    const { body } = this;
    const [x, y] = [double(body, a), double(body, b)];
    const quick = body.let(x[operation](y));
    const exact = this.#parts.functions.f64[operation];
    if (operation === 'add' || operation === 'sub')
      return this.#checked(quick, 0, undefined, exact, x.bits(), y.bits());
    const whenZero = (): I32 => (operation === 'div' ? x.eq(f64(0)) : x.eq(f64(0)).or(y.eq(f64(0))));
    return this.#checked(quick, NORMAL, whenZero, exact, x.bits(), y.bits());
  }

  override floatSqrt<F extends FloatFormat>(format: F, a: FloatBits<F>): FloatBits<F> {
    const rm = this.#rounding();
    if (format === 's' || rm !== 0) return this.#of(format).sqrt(this.body, raw(a), rm) as unknown as FloatBits<F>;
    const { body } = this;
    const x = double(body, a);
    const quick = body.let(x.sqrt());
    return this.#checked(quick, NORMAL, undefined, this.#parts.functions.f64.sqrt, x.bits());
  }

  override floatFma<F extends FloatFormat>(
    format: F,
    negateProduct: boolean,
    negateAddend: boolean,
    a: FloatBits<F>,
    b: FloatBits<F>,
    c: FloatBits<F>,
  ): FloatBits<F> {
    const rm = this.#rounding();
    if (format === 's' || rm !== 0 || !this.#parts.fusedMultiplyAdd) {
      const [x, y, z] = negateForFma(format, negateProduct, negateAddend, a, b, c);
      return this.#of(format).fma(this.body, raw(x), raw(y), raw(z), rm) as unknown as FloatBits<F>;
    }
    const { body } = this;
    const signed = (value: FloatBits<F>, isNegated: boolean): F64 => {
      const plain = double(body, value);
      return isNegated ? body.let(plain.neg()) : plain;
    };
    const [x, y, z] = [signed(a, negateProduct), double(body, b), signed(c, negateAddend)];
    const quick = body.let(emitFusedMultiplyAdd(x, y, z));
    const whenZero = (): I32 => x.eq(f64(0)).or(y.eq(f64(0)));
    return this.#checked(quick, NORMAL, whenZero, this.#parts.functions.f64.fma, x.bits(), y.bits(), z.bits());
  }

  /**
   * `quick`, rounded to nearest even, where it is surely right: NX is accrued and nothing else can have been raised, because the exponent field
   * is `least` or more and not the highest; or it is a zero that is exact (`whenZero`). Else what the function `exact` gives, with its flags.
   */
  #checked<F extends FloatFormat>(
    quick: F64,
    least: number,
    whenZero: (() => I32) | undefined,
    exact: FunctionRef<'i64'>,
    ...operands: readonly I64[]
  ): FloatBits<F> {
    const { body } = this;
    const { unaccrued } = this.#locals;
    const isAccrued = this.#locals.isAccrued();
    const result = body.local('f64');
    body.set(result, quick);
    const slow = (): void => {
      body.set(result, body.call(exact, ...operands, 0).bitsToF64());
      body.set(unaccrued, body.getGlobal(this.#parts.floatFlags).and(1).sub(1));
    };
    const exponent = quick.bits().shrU(52).and(HIGHEST_EXPONENT).sub(least);
    body.if(
      isAccrued
        ? exponent.geU(HIGHEST_EXPONENT - least)
        : exponent
            .toI32()
            .or(unaccrued.value)
            .geU(HIGHEST_EXPONENT - least),
      () => {
        if (whenZero) body.if(quick.eq(f64(0)).and(whenZero()).eqz(), slow);
        else slow();
      },
      undefined,
      false,
    );
    return result.value.bits() as unknown as FloatBits<F>;
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

  /** What `inlineCsr` finds: everything else is the complete half's. */
  override csr(operation: 'write' | 'set' | 'clear', source: 'register' | 'immediate'): void {
    const { body, hart } = this;
    const kind = defined(inlineCsr(this.#decoded), 'a CSR that is done inline');
    const operand = (): I64 => (source === 'immediate' ? i64(this.#decoded.rs1) : this.x('rs1'));
    const next = (old: I64): I64 => {
      if (operation === 'write') return operand();
      return operation === 'set' ? old.or(operand()) : old.and(operand().xor(-1n));
    };
    const writes = operation === 'write' || this.#decoded.rs1 !== 0;
    if (kind.kind === 'float') {
      const flags = this.#parts.floatFlags;
      // frm is nearest-even here, which is 0.
      const old = body.let(kind.name === 'frm' ? i64(0) : body.getGlobal(flags).toI64U());
      if (writes) {
        body.setGlobal(flags, next(old).toI32().and(31));
        body.set(this.#locals.unaccrued, body.getGlobal(flags).and(1).sub(1));
      }
      this.setX(old);
      return;
    }
    if (kind.kind === 'time') {
      body.brIf(this.#leave, body.call(this.#parts.readTime, hart).eqz(), false);
      this.setX(get64(hart, 'time'));
      return;
    }
    body.brIf(this.#leave, get32(hart, 'privilege').ltU(kind.privilege), false);
    if (kind.kind === 'stored') {
      const old = body.let(load64(hart, kind.offset));
      if (writes) {
        const value = body.let(next(old));
        body.store64(hart, old.and(~kind.writable & ALL).or(value.and(kind.writable)), kind.offset);
      }
      this.setX(old);
      return;
    }
    const status = body.let(get64(hart, 'mstatus'));
    if (writes) {
      // Only SIE and SUM change; and not where an interrupt would be taken at once.
      const allowed = MSTATUS.SIE | MSTATUS.SUM;
      if (source === 'register')
        body.brIf(
          this.#leave,
          this.x('rs1')
            .and(~allowed & ALL)
            .ne(0),
          false,
        );
      if (operation === 'set') {
        const pending = get32(hart, 'lines').or(get32(hart, 'softPending')).and(getCsr(hart, 'mie').toI32());
        body.brIf(this.#leave, pending, false);
      }
      put64(body, hart, 'mstatus', body.let(next(status)));
      // Without SUM the user pages that S-mode came to are out of reach.
      if (operation === 'clear' && source === 'register') {
        const losesPages = this.x('rs1').and(MSTATUS.SUM).ne(0).and(get32(hart, 'borrowed').ne(0));
        body.if(losesPages, () => body.do(this.#parts.dropBorrowed, hart), undefined, false);
      }
    }
    const isDirty = status.and(MSTATUS.FS).eq(MSTATUS.FS);
    this.setX(status.and(kind.mask).or(isDirty.toI64U().shl(63)));
  }

  override system(operation: SystemOperation): void {
    if (operation === 'fence') {
      if (!this.#parts.isAlone) this.body.atomicFence();
    } else if (operation === 'cbo.zero') inlineZeroBlock(this.#access, this.x('rs1'));
    else {
      assert(operation === 'pause', `the complete half does ${operation}`);
      if (!this.#parts.isAlone) yieldTurn(this.body, this.hart);
    }
  }

  /** The rounding mode as a constant: frm is nearest-even here (`usesFloat`). */
  #rounding(): RoundingMode {
    const { rm } = this.#decoded;
    return (rm === DYNAMIC ? 0 : rm) as RoundingMode;
  }

  /** The inline forms of a format; their values are this emitter's own. */
  #of(format: FloatFormat): FormatEmitters<I32> {
    const { f32, f64: doubles } = this.#parts.float;
    return (format === 's' ? f32 : doubles) as FormatEmitters<I32>;
  }
}

/** The bits of either format, as `FormatEmitters<I32>` takes them. */
function raw(bits: Value32 | Value64): I32 {
  return bits as unknown as I32;
}

/** A double's bits as a float that may be used many times. */
function double(body: Body, bits: Value32 | Value64): F64 {
  const float = own64(bits as Value64).bitsToF64();
  return float.isLeaf ? float : body.let(float);
}
