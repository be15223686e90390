/**
 * What an instruction's meaning is written against. The ISA says *what* happens (`e.setX(e.x('rs1').add(e.x('rs2')))`); an engine's
 * binding of this interface says *how*: the interpreter's registers lie in memory at a decoded offset, the JIT's in wasm locals.
 *
 * Rules for whoever writes a meaning:
 * - A value may be used once; what is needed twice goes through `let`. Each call of `x()`, `imm()`, `pc()` gives a fresh value.
 * - Sources are read before the destination is written: `setX`/`setF` come last (rd may be rs1).
 * - Whatever can trap (load, store, csr, rounding, system) happens before anything visible is written, so that traps are precise.
 */

/** An i32 in the making. Comparisons give 0 or 1. Shift amounts are taken modulo 32. */
export interface Value32 {
  eqz(): Value32;
  eq(b: Value32 | number): Value32;
  ne(b: Value32 | number): Value32;
  ltS(b: Value32 | number): Value32;
  ltU(b: Value32 | number): Value32;
  clz(): Value32;
  ctz(): Value32;
  popcnt(): Value32;
  add(b: Value32 | number): Value32;
  sub(b: Value32 | number): Value32;
  mul(b: Value32 | number): Value32;
  divS(b: Value32 | number): Value32;
  divU(b: Value32 | number): Value32;
  remS(b: Value32 | number): Value32;
  remU(b: Value32 | number): Value32;
  and(b: Value32 | number): Value32;
  or(b: Value32 | number): Value32;
  xor(b: Value32 | number): Value32;
  shl(b: Value32 | number): Value32;
  shrS(b: Value32 | number): Value32;
  shrU(b: Value32 | number): Value32;
  rotl(b: Value32 | number): Value32;
  rotr(b: Value32 | number): Value32;
  toI64S(): Value64;
  toI64U(): Value64;
}

/** An i64 in the making. Comparisons give a Value32 of 0 or 1. Shift amounts are taken modulo 64. */
export interface Value64 {
  eqz(): Value32;
  eq(b: Value64 | bigint | number): Value32;
  ne(b: Value64 | bigint | number): Value32;
  ltS(b: Value64 | bigint | number): Value32;
  ltU(b: Value64 | bigint | number): Value32;
  geS(b: Value64 | bigint | number): Value32;
  geU(b: Value64 | bigint | number): Value32;
  clz(): Value64;
  ctz(): Value64;
  popcnt(): Value64;
  add(b: Value64 | bigint | number): Value64;
  sub(b: Value64 | bigint | number): Value64;
  mul(b: Value64 | bigint | number): Value64;
  divS(b: Value64 | bigint | number): Value64;
  divU(b: Value64 | bigint | number): Value64;
  remS(b: Value64 | bigint | number): Value64;
  remU(b: Value64 | bigint | number): Value64;
  and(b: Value64 | bigint | number): Value64;
  or(b: Value64 | bigint | number): Value64;
  xor(b: Value64 | bigint | number): Value64;
  shl(b: Value64 | bigint | number): Value64;
  shrS(b: Value64 | bigint | number): Value64;
  shrU(b: Value64 | bigint | number): Value64;
  rotl(b: Value64 | bigint | number): Value64;
  rotr(b: Value64 | bigint | number): Value64;
  extend8S(): Value64;
  extend16S(): Value64;
  extend32S(): Value64;
  toI32(): Value32;
}

export type LoadKind = 'i8' | 'u8' | 'i16' | 'u16' | 'i32' | 'u32' | 'i64';
export type StoreBytes = 1 | 2 | 4 | 8;
export type AtomicKind = 'swap' | 'add' | 'xor' | 'and' | 'or' | 'min' | 'max' | 'minu' | 'maxu';
/** Single or double precision. A single's bits are a Value32, a double's a Value64. */
export type FloatFormat = 's' | 'd';
export type FloatBits<F extends FloatFormat> = F extends 's' ? Value32 : Value64;
export type IntegerFormat = 'w' | 'wu' | 'l' | 'lu';

/** Operations of the privileged architecture and the memory model that the engine implements whole. */
export type SystemOperation =
  | 'ecall'
  | 'ebreak'
  | 'mret'
  | 'sret'
  | 'wfi'
  | 'sfence.vma'
  | 'sinval.vma'
  | 'sfence.w.inval'
  | 'sfence.inval.ir'
  | 'fence'
  | 'fence.i'
  | 'pause'
  | 'wrs.nto'
  | 'wrs.sto'
  | 'cbo.clean'
  | 'cbo.flush'
  | 'cbo.inval'
  | 'cbo.zero'
  | 'illegal';

export interface Emitter {
  /** An integer source register's value; x0 gives 0. */
  x(operand: 'rs1' | 'rs2'): Value64;
  /** Writes rd; a write to x0 is lost. */
  setX(value: Value64): void;
  /** The immediate operand, sign-extended as the encoding says. */
  imm(): Value64;
  /** The immediate as an i32 (for shift amounts of word operations). */
  imm32(): Value32;
  /** This instruction's address. */
  pc(): Value64;
  /** The next instruction's address in memory order (pc + 2 or pc + 4). */
  nextPc(): Value64;

  constant(value: bigint | number): Value64;
  constant32(value: number): Value32;
  /** Computes `value` here and lets it be used many times. */
  let<V extends Value32 | Value64>(value: V): V;
  select<V extends Value32 | Value64>(condition: Value32, whenTrue: V, whenFalse: V): V;
  if(condition: Value32, whenTrue: () => void, whenFalse?: () => void): void;
  /** The upper 64 bits of the 128-bit product; each operand signed or not. */
  multiplyHigh(signs: 'ss' | 'su' | 'uu', a: Value64, b: Value64): Value64;

  /** Goes to pc + imm if `condition` is not zero. */
  branchIf(condition: Value32): void;
  /** Goes to pc + imm. */
  jumpRelative(): void;
  /** Goes to `target` (bit 0 already clear). */
  jumpTo(target: Value64): void;

  load(kind: LoadKind, address: Value64): Value64;
  store(bytes: StoreBytes, address: Value64, value: Value64): void;
  /** Atomic read-modify-write of a naturally aligned word (4) or doubleword (8); gives the old value, sign-extended. */
  atomic(kind: AtomicKind, bytes: 4 | 8, address: Value64, value: Value64): Value64;
  loadReserved(bytes: 4 | 8, address: Value64): Value64;
  /** 0 when stored, 1 when the reservation was lost. */
  storeConditional(bytes: 4 | 8, address: Value64, value: Value64): Value64;

  /** A float source register's bits; a single that is not NaN-boxed reads as the canonical NaN. Traps when mstatus.FS is off. */
  f<F extends FloatFormat>(format: F, operand: 'rs1' | 'rs2' | 'rs3'): FloatBits<F>;
  /** The raw 64 bits of a float register, whatever they hold (fsw, fsd, fmv.x.w). */
  fRaw(operand: 'rs1' | 'rs2'): Value64;
  /** Writes float register rd, NaN-boxing a single; marks mstatus.FS dirty. */
  setF<F extends FloatFormat>(format: F, bits: FloatBits<F>): void;
  /** For instructions that touch float state without reading a float register first (flw, fmv.w.x, fcvt from integer). */
  requireFloat(): void;
  /** Arithmetic with the instruction's rounding mode (rm field, or frm when dynamic; an invalid mode traps), raising flags. */
  floatArithmetic<F extends FloatFormat>(
    operation: 'add' | 'sub' | 'mul' | 'div',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): FloatBits<F>;
  floatSqrt<F extends FloatFormat>(format: F, a: FloatBits<F>): FloatBits<F>;
  /** (a * b) + c with one rounding, after negating the product and/or the addend. */
  floatFma<F extends FloatFormat>(
    format: F,
    negateProduct: boolean,
    negateAddend: boolean,
    a: FloatBits<F>,
    b: FloatBits<F>,
    c: FloatBits<F>,
  ): FloatBits<F>;
  floatMinMax<F extends FloatFormat>(
    operation: 'min' | 'max',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): FloatBits<F>;
  /** 0 or 1. */
  floatCompare<F extends FloatFormat>(
    operation: 'eq' | 'lt' | 'le',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): Value64;
  floatClass<F extends FloatFormat>(format: F, a: FloatBits<F>): Value64;
  /** Float to integer; `w`/`wu` results are sign-extended to 64 bits. */
  floatToInteger<F extends FloatFormat>(to: IntegerFormat, format: F, a: FloatBits<F>): Value64;
  integerToFloat<F extends FloatFormat>(format: F, from: IntegerFormat, a: Value64): FloatBits<F>;
  floatConvert(to: 's', from: 'd', a: Value64): Value32;
  floatConvert(to: 'd', from: 's', a: Value32): Value64;

  /** csrrw, csrrs, csrrc: reads the CSR named by the immediate into rd and writes it from `source`. `writes` is false for csrrs/csrrc with
   *  rs1 = x0 (or a zero immediate): then nothing is written and a read-only CSR does not trap (Unprivileged ISA, 6.1). */
  csr(operation: 'write' | 'set' | 'clear', source: 'register' | 'immediate'): void;
  system(operation: SystemOperation): void;
}
