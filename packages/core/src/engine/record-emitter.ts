/**
 * What both halves of the interpreter share when they write an instruction's meaning: operands come from the instruction's record (at the
 * local `record`), registers lie in the hart's state. The subclasses say how memory, control flow, float and system operations go:
 * `FastEmitter` only as long as nothing special happens, `SlowEmitter` always.
 */

import type { Value64 } from '../isa/emitter.ts';
import type { Body } from '../wasm/body.ts';
import type { I32, I64 } from '../wasm/expression.ts';
import { load16U, load32, load32STo64, load64, load8U } from '../wasm/memory-access.ts';
import type { FunctionRef } from '../wasm/module.ts';
import { HART, RECORD } from './layout.ts';
import { WasmEmitter, own64 } from './wasm-emitter.ts';

export abstract class RecordEmitter extends WasmEmitter {
  protected readonly record: I32;

  constructor(body: Body, hart: I32, record: I32, multiplyHigh: FunctionRef<'i64'>) {
    super(body, hart, multiplyHigh);
    this.record = record;
  }

  override x(operand: 'rs1' | 'rs2'): I64 {
    return load64(this.registerAt(operand), HART.x);
  }

  override setX(value: Value64): void {
    this.body.store64(this.hart.add(load16U(this.record, RECORD.RD)), own64(value), HART.x);
  }

  override imm(): I64 {
    return load32STo64(this.record, RECORD.IMM);
  }

  override imm32(): I32 {
    return load32(this.record, RECORD.IMM);
  }

  protected override floatRegister(operand: 'rs1' | 'rs2' | 'rs3'): I64 {
    // rs3 is only ever a float register, so its byte holds the number times 8 without the base.
    return operand === 'rs3'
      ? load64(this.hart.add(load8U(this.record, RECORD.RS3)), HART.f)
      : load64(this.registerAt(operand), HART.x);
  }

  protected override setFloatRegister(raw: I64): void {
    this.body.store64(this.hart.add(load16U(this.record, RECORD.RD)), raw, HART.x);
  }

  protected registerAt(operand: 'rs1' | 'rs2'): I32 {
    return this.hart.add(load16U(this.record, operand === 'rs1' ? RECORD.RS1 : RECORD.RS2));
  }
}
