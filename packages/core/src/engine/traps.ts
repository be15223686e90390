/**
 * Traps: entering and leaving them (Privileged ISA, 3.1.6 to 3.1.15, 3.3.2, 10.1). An exception is raised with hart.pc at the instruction
 * that caused it; afterwards hart.pc is the handler's address. Everything visible happens in the one function `enter`, so every trap is precise.
 */

import type { ModuleBuilder, FunctionRef } from '../wasm/module.ts';
import { type I32, type I64, i64 } from '../wasm/expression.ts';
import { MSTATUS } from '../isa/csrs.ts';
import type { Contexts } from './contexts.ts';
import { PRIVILEGE, count, get32, get64, getCsr, put32, put64, putCsr } from './state.ts';

export interface Traps {
  /** (hart, cause, tval): a synchronous exception at hart.pc. */
  readonly raise: FunctionRef;
  /** (hart) -> 1 when a pending and enabled interrupt was taken, else 0. */
  readonly interrupt: FunctionRef<'i32'>;
  /** (hart) -> mip as software sees it, low 32 bits. */
  readonly pending: FunctionRef<'i32'>;
  /** (hart): back from an M-mode or S-mode trap. Rights are checked by the caller. */
  readonly mret: FunctionRef;
  readonly sret: FunctionRef;
}

/** Interrupts by priority (3.1.9): MEI MSI MTI SEI SSI STI. */
const PRIORITY = [11, 3, 7, 9, 1, 5] as const;

export function defineTraps(module: ModuleBuilder, contexts: Contexts): Traps {
  const enter = module.function(
    'trapEnter',
    ['i32', 'i64', 'i64', 'i32'],
    [],
    (b, hartLocal, cause, tval, toSupervisor) => {
      const hart = hartLocal.value;
      const status = b.let(get64(hart, 'mstatus'));
      const privilege = b.let(get32(hart, 'privilege').toI64U());
      const vector = (tvec: I64): I64 => {
        const base = b.let(tvec);
        // Vectored mode: interrupts go to base + 4 * cause.
        const offset = b.let(base.and(1).and(cause.value.shrU(63)).mul(cause.value.shl(2)));
        return base.and(-4n).add(offset);
      };
      b.if(
        toSupervisor.value,
        () => {
          putCsr(b, hart, 'sepc', get64(hart, 'pc'));
          putCsr(b, hart, 'scause', cause.value);
          putCsr(b, hart, 'stval', tval.value);
          put64(
            b,
            hart,
            'mstatus',
            status
              .and(~(MSTATUS.SPIE | MSTATUS.SPP | MSTATUS.SIE))
              .or(status.and(MSTATUS.SIE).shl(4))
              .or(privilege.shl(8)),
          );
          put32(b, hart, 'privilege', PRIVILEGE.S);
          put64(b, hart, 'pc', vector(getCsr(hart, 'stvec')));
        },
        () => {
          putCsr(b, hart, 'mepc', get64(hart, 'pc'));
          putCsr(b, hart, 'mcause', cause.value);
          putCsr(b, hart, 'mtval', tval.value);
          put64(
            b,
            hart,
            'mstatus',
            status
              .and(~(MSTATUS.MPIE | MSTATUS.MPP | MSTATUS.MIE))
              .or(status.and(MSTATUS.MIE).shl(4))
              .or(privilege.shl(11)),
          );
          put32(b, hart, 'privilege', PRIVILEGE.M);
          put64(b, hart, 'pc', vector(getCsr(hart, 'mtvec')));
        },
      );
      b.do(contexts.select, hart);
    },
  );

  const raise = module.function(
    'trapRaise',
    ['i32', 'i32', 'i64'],
    [],
    (b, { value: hart }, { value: cause }, { value: tval }) => {
      count(b, hart, 'traps');
      const delegated = getCsr(hart, 'medeleg').shrU(cause.toI64U()).toI32().and(1);
      b.do(enter, hart, cause.toI64U(), tval, delegated.and(get32(hart, 'privilege').ne(PRIVILEGE.M)));
    },
  );

  const pending = module.function('interruptsPending', ['i32'], ['i32'], (b, { value: hart }) => {
    b.result(get32(hart, 'lines').or(get32(hart, 'softPending')));
  });

  const interrupt = module.function('interruptTake', ['i32'], ['i32'], (b, { value: hart }) => {
    const ready = b.let(b.call(pending, hart).and(getCsr(hart, 'mie').toI32()));
    b.if(ready.eqz(), () => b.return(0));
    const privilege = b.let(get32(hart, 'privilege'));
    const status = b.let(get64(hart, 'mstatus').toI32());
    const delegated = b.let(getCsr(hart, 'mideleg').toI32());
    const machineEnabled = privilege.ltU(PRIVILEGE.M).or(status.shrU(3).and(1));
    const machine = b.let(ready.and(delegated.xor(-1)).and(i32Mask(machineEnabled)));
    const supervisorEnabled = privilege.ltU(PRIVILEGE.S).or(privilege.eq(PRIVILEGE.S).and(status.shrU(1).and(1)));
    const supervisor = b.let(ready.and(delegated).and(i32Mask(supervisorEnabled)));
    const take = (set: I32, toSupervisor: number): void => {
      for (const number of PRIORITY) {
        b.if(set.and(1 << number), () => {
          count(b, hart, 'interrupts');
          b.do(enter, hart, i64((1n << 63n) | BigInt(number)), 0, toSupervisor);
          b.return(1);
        });
      }
    };
    take(machine, 0);
    take(supervisor, 1);
    b.result(0);
  });

  const mret = module.function('mret', ['i32'], [], (b, { value: hart }) => {
    const status = b.let(get64(hart, 'mstatus'));
    const previous = b.let(status.shrU(11).toI32().and(3));
    const after = b.local('i64');
    b.set(
      after,
      status
        .and(~(MSTATUS.MIE | MSTATUS.MPIE | MSTATUS.MPP))
        .or(status.and(MSTATUS.MPIE).shrU(4))
        .or(MSTATUS.MPIE),
    );
    b.if(previous.ne(PRIVILEGE.M), () => b.set(after, after.value.and(~MSTATUS.MPRV)));
    put64(b, hart, 'mstatus', after.value);
    put32(b, hart, 'privilege', previous);
    put64(b, hart, 'pc', getCsr(hart, 'mepc'));
    b.do(contexts.select, hart);
  });

  const sret = module.function('sret', ['i32'], [], (b, { value: hart }) => {
    const status = b.let(get64(hart, 'mstatus'));
    put64(
      b,
      hart,
      'mstatus',
      status
        .and(~(MSTATUS.SIE | MSTATUS.SPIE | MSTATUS.SPP | MSTATUS.MPRV))
        .or(status.and(MSTATUS.SPIE).shrU(4))
        .or(MSTATUS.SPIE),
    );
    put32(b, hart, 'privilege', status.shrU(8).toI32().and(1));
    put64(b, hart, 'pc', getCsr(hart, 'sepc'));
    b.do(contexts.select, hart);
  });

  return { raise, interrupt, pending, mret, sret };
}

/** All ones when `condition` is 1, 0 when it is 0. */
function i32Mask(condition: I32): I32 {
  return condition.mul(-1);
}
