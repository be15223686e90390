/**
 * The complete meaning of every instruction: one step of one instruction, traps, MMIO, exact floating point and all. The fast half of the
 * interpreter (and the JIT) come here for whatever they do not do themselves, so this is the reference of the engine.
 *
 * The function under construction returns a STEP status. hart.pc is the instruction's address on entry; on return it is where
 * execution goes on.
 */

import type {
  AtomicKind,
  FloatBits,
  FloatFormat,
  IntegerFormat,
  LoadKind,
  StoreBytes,
  SystemOperation,
  Value32,
  Value64,
} from '../isa/emitter.ts';
import { ENVCFG, MSTATUS } from '../isa/csrs.ts';
import type { Body } from '../wasm/body.ts';
import { type I32, type I64, i32, select } from '../wasm/expression.ts';
import { load16U, load32, load8U } from '../wasm/memory-access.ts';
import type { GlobalRef, FunctionRef } from '../wasm/module.ts';
import type { Contexts } from './contexts.ts';
import type { CsrAccess } from './csr-access.ts';
import type { FloatFunctions } from './float/signatures.ts';
import type { importHost } from './imports.ts';
import { PAGE, RECORD } from './layout.ts';
import type { Mmu } from './mmu.ts';
import { RecordEmitter } from './record-emitter.ts';
import { CAUSE, PRIVILEGE, get32, get64, getCsr, put64, yieldTurn } from './state.ts';
import type { Traps } from './traps.ts';
import { CACHE_BLOCK_BYTES, loadBytes, negateForFma, own32, own64 } from './wasm-emitter.ts';

/** How a step ended. */
export const STEP = {
  /** The instruction is done. */
  DONE: 0,
  /** It trapped and did not retire. */
  TRAPPED: 1,
  /** It is done and the hart waits for an interrupt. */
  WAIT: 2,
  /** ecall from S-mode, for our own SBI; hart.pc is still at the ecall. */
  SBI: 3,
} as const;

export interface SlowParts {
  /** There is one hart: it gives its turn to nobody. */
  readonly isAlone: boolean;
  readonly imports: ReturnType<typeof importHost>;
  readonly mmu: Mmu;
  readonly traps: Traps;
  readonly contexts: Contexts;
  readonly csrs: CsrAccess;
  readonly float: FloatFunctions;
  readonly floatFlags: GlobalRef<'i32'>;
  readonly multiplyHigh: FunctionRef<'i64'>;
  /** (hart): illegal instruction at hart.pc, with its bits as tval. */
  readonly illegal: FunctionRef;
}

export class SlowEmitter extends RecordEmitter {
  readonly #parts: SlowParts;
  readonly #pc: I64;
  readonly #nextPc: I64;
  /** Set once this instruction is known to touch float state: FS is checked once. */
  #floatChecked = false;

  constructor(body: Body, hart: I32, record: I32, parts: SlowParts) {
    super(body, hart, record, parts.multiplyHigh);
    this.#parts = parts;
    this.#pc = body.let(get64(hart, 'pc'));
    this.#nextPc = body.let(this.#pc.add(load16U(record, RECORD.ENTRY).shrU(12).toI64U()));
  }

  /** Ends an instruction that was not a jump. */
  finish(): void {
    put64(this.body, this.hart, 'pc', this.#nextPc);
    this.body.return(STEP.DONE);
  }

  /** Forgets what was known of the instruction before. */
  begin(): void {
    this.#floatChecked = false;
  }

  override pc(): I64 {
    return this.#pc;
  }

  override nextPc(): I64 {
    return this.#nextPc;
  }

  override branchIf(condition: Value32): void {
    this.body.if(own32(condition), () => this.jumpRelative());
  }

  override jumpRelative(): void {
    this.jumpTo(this.#pc.add(this.imm()));
  }

  override jumpTo(target: Value64): void {
    put64(this.body, this.hart, 'pc', own64(target));
    this.body.return(STEP.DONE);
  }

  override load(kind: LoadKind, address: Value64): I64 {
    this.#trapIf(this.body.call(this.#parts.mmu.load, this.hart, own64(address), loadBytes[kind]));
    const value = get64(this.hart, 'value');
    switch (kind) {
      case 'i8':
        return this.body.let(value.extend8S());
      case 'i16':
        return this.body.let(value.extend16S());
      case 'i32':
        return this.body.let(value.extend32S());
      default:
        return this.body.let(value);
    }
  }

  override store(bytes: StoreBytes, address: Value64, value: Value64): void {
    const target = this.body.let(own64(address));
    put64(this.body, this.hart, 'value', own64(value));
    this.#trapIf(this.body.call(this.#parts.mmu.store, this.hart, target, bytes));
  }

  protected override atomicHost(bytes: 4 | 8, address: I64, forWrite: boolean): I32 {
    const host = this.body.let(this.body.call(this.#parts.mmu.atomicHost, this.hart, address, bytes, forWrite ? 1 : 0));
    this.#trapIf(host.eqz());
    return host;
  }

  override atomic(kind: AtomicKind, bytes: 4 | 8, address: Value64, value: Value64): Value64 {
    const target = this.body.let(own64(address));
    const old = this.body.let(own64(super.atomic(kind, bytes, target, value)));
    this.#told(target, bytes);
    return old;
  }

  override storeConditional(bytes: 4 | 8, address: Value64, value: Value64): Value64 {
    const target = this.body.let(own64(address));
    const failed = this.body.let(own64(super.storeConditional(bytes, target, value)));
    this.#told(target, bytes);
    return failed;
  }

  /** An atomic access was made that may have changed code. */
  #told(address: I64, bytes: 4 | 8): void {
    const { mmu } = this.#parts;
    const page = this.body.let(this.body.getGlobal(mmu.fill.watched));
    this.body.if(
      page.ne(-1),
      () => this.body.do(mmu.written, this.hart, page, address.toI32().and(PAGE.MASK), bytes),
      undefined,
      false,
    );
  }

  override requireFloat(): void {
    if (this.#floatChecked) return;
    this.#floatChecked = true;
    this.#illegalIf(get64(this.hart, 'mstatus').and(MSTATUS.FS).eqz());
  }

  override setF<F extends FloatFormat>(format: F, bits: FloatBits<F>): void {
    this.requireFloat();
    super.setF(format, bits);
    this.#dirty();
  }

  override fRaw(operand: 'rs1' | 'rs2'): I64 {
    this.requireFloat();
    return super.fRaw(operand);
  }

  override floatArithmetic<F extends FloatFormat>(
    operation: 'add' | 'sub' | 'mul' | 'div',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): FloatBits<F> {
    return this.#float(format, operation, a, b, this.#rounding());
  }

  override floatSqrt<F extends FloatFormat>(format: F, a: FloatBits<F>): FloatBits<F> {
    return this.#float(format, 'sqrt', a, this.#rounding());
  }

  override floatFma<F extends FloatFormat>(
    format: F,
    negateProduct: boolean,
    negateAddend: boolean,
    a: FloatBits<F>,
    b: FloatBits<F>,
    c: FloatBits<F>,
  ): FloatBits<F> {
    return this.#float(format, 'fma', ...negateForFma(format, negateProduct, negateAddend, a, b, c), this.#rounding());
  }

  override floatMinMax<F extends FloatFormat>(
    operation: 'min' | 'max',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): FloatBits<F> {
    return this.#float(format, operation, a, b);
  }

  override floatCompare<F extends FloatFormat>(
    operation: 'eq' | 'lt' | 'le',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): I64 {
    const result = this.body.let(
      this.body.call(this.#functions(format)[operation], a as unknown as I32, b as unknown as I32),
    );
    this.#dirty();
    return result.toI64U();
  }

  override floatClass<F extends FloatFormat>(format: F, a: FloatBits<F>): I64 {
    return this.body.call(this.#functions(format).classify, a as unknown as I32).toI64U();
  }

  override floatToInteger<F extends FloatFormat>(to: IntegerFormat, format: F, a: FloatBits<F>): I64 {
    const functions = this.#functions(format);
    const rm = this.#rounding();
    const bits = a as unknown as I32;
    const result = this.body.let(
      to === 'w'
        ? this.body.call(functions.toI32, bits, rm).toI64S()
        : to === 'wu'
          ? this.body.call(functions.toU32, bits, rm).toI64S()
          : to === 'l'
            ? this.body.call(functions.toI64, bits, rm)
            : this.body.call(functions.toU64, bits, rm),
    );
    this.#dirty();
    return result;
  }

  override integerToFloat<F extends FloatFormat>(format: F, from: IntegerFormat, a: Value64): FloatBits<F> {
    const functions = this.#functions(format);
    const rm = this.#rounding();
    const value = own64(a);
    const operation = ({ w: 'fromI32', wu: 'fromU32', l: 'fromI64', lu: 'fromU64' } as const)[from];
    const result: unknown = this.body.call(
      functions[operation],
      from === 'w' || from === 'wu' ? value.toI32() : value,
      rm,
    );
    return this.body.let(result as I32) as unknown as FloatBits<F>;
  }

  override floatConvert(to: 's', from: 'd', a: Value64): Value32;
  override floatConvert(to: 'd', from: 's', a: Value32): Value64;
  override floatConvert(to: FloatFormat, _from: FloatFormat, a: Value64 | Value32): Value32 | Value64 {
    const rm = this.#rounding();
    const { f64ToF32, f32ToF64 } = this.#parts.float.convert;
    return to === 's'
      ? this.body.let(this.body.call(f64ToF32, a as I64, rm))
      : this.body.let(this.body.call(f32ToF64, a as I32));
  }

  override csr(operation: 'write' | 'set' | 'clear', source: 'register' | 'immediate'): void {
    const { body, hart, record } = this;
    const operand = source === 'register' ? this.x('rs1') : load16U(record, RECORD.RS1).toI64U();
    // rs1 = x0 has offset 0, as a zero immediate is 0.
    const writes = operation === 'write' ? i32(1) : load16U(record, RECORD.RS1).ne(0);
    const code = { write: 0, set: 1, clear: 2 }[operation];
    this.#illegalIf(body.call(this.#parts.csrs.instruction, hart, load32(record, RECORD.IMM), code, operand, writes));
    this.setX(get64(hart, 'value'));
  }

  override system(operation: SystemOperation): void {
    const { body, hart } = this;
    const { traps, contexts, imports } = this.#parts;
    const privilege = (): I32 => get32(hart, 'privilege');
    switch (operation) {
      case 'ecall': {
        body.if(privilege().eq(PRIVILEGE.S).and(get32(hart, 'ownSbi')), () => body.return(STEP.SBI));
        this.#trap(privilege().add(CAUSE.ECALL_U));
        return;
      }
      case 'ebreak':
        body.do(traps.raise, hart, CAUSE.BREAKPOINT, this.#pc);
        body.return(STEP.TRAPPED);
        return;
      case 'mret':
        this.#illegalIf(privilege().ne(PRIVILEGE.M));
        body.do(traps.mret, hart);
        body.return(STEP.DONE);
        return;
      case 'sret':
        this.#illegalIf(
          privilege()
            .ltU(PRIVILEGE.S)
            .or(privilege().eq(PRIVILEGE.S).and(this.#status(MSTATUS.TSR))),
        );
        body.do(traps.sret, hart);
        body.return(STEP.DONE);
        return;
      case 'wfi':
        this.#illegalIf(
          privilege()
            .ltU(PRIVILEGE.S)
            .or(privilege().eq(PRIVILEGE.S).and(this.#status(MSTATUS.TW))),
        );
        body.if(body.call(traps.pending, hart).and(getCsr(hart, 'mie').toI32()).eqz(), () => {
          put64(body, hart, 'pc', this.#nextPc);
          body.return(STEP.WAIT);
        });
        // Firmware that polls for its start this way may keep an interrupt pending all the time (OpenSBI does).
        if (!this.#parts.isAlone) yieldTurn(body, hart);
        return;
      case 'sfence.vma':
      case 'sinval.vma': {
        this.#illegalIf(
          privilege()
            .ltU(PRIVILEGE.S)
            .or(privilege().eq(PRIVILEGE.S).and(this.#status(MSTATUS.TVM))),
        );
        const hasAddress = load16U(this.record, RECORD.RS1).ne(0);
        const hasAsid = load16U(this.record, RECORD.RS2).ne(0);
        body.do(contexts.fence, hart, hasAddress, this.x('rs1'), hasAsid, this.x('rs2').toI32().and(0xffff));
        return;
      }
      case 'sfence.w.inval':
      case 'sfence.inval.ir':
        this.#illegalIf(privilege().ltU(PRIVILEGE.S));
        return;
      case 'fence':
        body.atomicFence();
        return;
      case 'fence.i':
        body.do(imports.codeFence, hart);
        return;
      case 'pause':
      case 'wrs.nto':
      case 'wrs.sto':
        // They may end at any time (Zawrs, 2), and do so at once, or when the other harts had their turn.
        if (!this.#parts.isAlone) yieldTurn(body, hart);
        return;
      case 'cbo.zero':
        this.#cacheBlockAllowed(ENVCFG.CBZE);
        this.#zeroBlock();
        return;
      case 'cbo.clean':
      case 'cbo.flush':
        this.#cacheBlockAllowed(ENVCFG.CBCFE);
        this.#reachBlock();
        return;
      case 'cbo.inval':
        this.#cacheBlockAllowed(ENVCFG.CBIE);
        this.#reachBlock();
        return;
      case 'illegal':
        this.#illegalIf(i32(1));
        return;
    }
  }

  /** cbo.*: the bit (or for cbo.inval, any bit) of menvcfg below M-mode, and of senvcfg too in U-mode (CMO, 2.6). */
  #cacheBlockAllowed(bits: bigint): void {
    const privilege = this.body.let(get32(this.hart, 'privilege'));
    this.#illegalIf(privilege.ne(PRIVILEGE.M).and(getCsr(this.hart, 'menvcfg').and(bits).eqz()));
    this.#illegalIf(privilege.eq(PRIVILEGE.U).and(getCsr(this.hart, 'senvcfg').and(bits).eqz()));
  }

  /** There is no cache to manage, but a block that cannot be reached traps: readable is enough, faults are those of a store (CMO, 2.5.1). */
  #reachBlock(): void {
    this.#trapIf(this.body.call(this.#parts.mmu.reach, this.hart, this.x('rs1')));
  }

  #zeroBlock(): void {
    const block = this.body.let(this.x('rs1').and(-BigInt(CACHE_BLOCK_BYTES)));
    const position = this.body.local('i64');
    this.body.set(position, 0);
    this.body.loop((again) => {
      put64(this.body, this.hart, 'value', 0);
      this.#trapIf(this.body.call(this.#parts.mmu.store, this.hart, block.add(position.value), 8));
      this.body.set(position, position.value.add(8));
      this.body.brIf(again, position.value.ltU(CACHE_BLOCK_BYTES));
    });
  }

  /** The instruction's rounding mode; 5, 6, and a dynamic mode that frm makes invalid are illegal. */
  #rounding(): I32 {
    const field = this.body.let(load8U(this.record, RECORD.RM));
    const mode = this.body.let(select(field.eq(7), get32(this.hart, 'frm'), field));
    this.#illegalIf(mode.gtU(4));
    return mode;
  }

  #functions(format: FloatFormat): FloatFunctions['f32'] {
    return (format === 's' ? this.#parts.float.f32 : this.#parts.float.f64) as FloatFunctions['f32'];
  }

  #float<F extends FloatFormat>(
    format: F,
    operation: 'add' | 'sub' | 'mul' | 'div' | 'sqrt' | 'fma' | 'min' | 'max',
    ...values: (FloatBits<F> | I32)[]
  ): FloatBits<F> {
    const result = this.body.call(this.#functions(format)[operation], ...(values as I32[]));
    return this.body.let(result) as unknown as FloatBits<F>;
  }

  /** Float registers or flags change: mstatus.FS becomes dirty. */
  #dirty(): void {
    put64(this.body, this.hart, 'mstatus', get64(this.hart, 'mstatus').or(MSTATUS.FS));
  }

  #status(bit: bigint): I32 {
    return get64(this.hart, 'mstatus').and(bit).ne(0);
  }

  #trap(cause: I32): void {
    this.body.do(this.#parts.traps.raise, this.hart, cause, 0);
    this.body.return(STEP.TRAPPED);
  }

  /** Returns when a callee has raised a trap already. */
  #trapIf(condition: I32): void {
    this.body.if(condition, () => this.body.return(STEP.TRAPPED));
  }

  #illegalIf(condition: I32): void {
    this.body.if(condition, () => {
      this.body.do(this.#parts.illegal, this.hart);
      this.body.return(STEP.TRAPPED);
    });
  }
}
