/**
 * CSR instructions, generated from the table of `isa/csrs.ts`: rights and guards, the value read, the value a write makes legal (WARL), and
 * what must be recomputed afterwards. (Unprivileged ISA, chapter 6; Privileged ISA, chapter 2.)
 */

import { assert, defined } from '../base/assert.ts';
import { type Csr, csrIsReadOnly, csrPrivilege } from '../isa/csr.ts';
import { MSTATUS, PMP_ENTRIES, PMP_GRAIN_BITS, csrIndex, csrs } from '../isa/csrs.ts';
import type { Body } from '../wasm/body.ts';
import type { FunctionRef, GlobalRef, ModuleBuilder } from '../wasm/module.ts';
import { type I32, type I64, i32, i64, select } from '../wasm/expression.ts';
import { atomicRmw32, load64, load8U } from '../wasm/memory-access.ts';
import type { Contexts } from './contexts.ts';
import type { importHost } from './imports.ts';
import { HART } from './layout.ts';
import { PRIVILEGE, get32, get64, getCsr, put32, put64 } from './state.ts';
import type { Traps } from './traps.ts';

/** mip.STIP. */
const STIP = 1 << 5;
const ALL = 0xffff_ffff_ffff_ffffn;
const GRAIN_ONES = (1n << BigInt(PMP_GRAIN_BITS - 1)) - 1n;
const GRAIN_ZEROS = (1n << BigInt(PMP_GRAIN_BITS)) - 1n;

export interface CsrAccess {
  /** (hart, denseIndex) -> the value, without any check. */
  readonly read: FunctionRef<'i64'>;
  /** (hart, denseIndex, value): a write with its WARL rules and effects, without any check of rights. */
  readonly write: FunctionRef;
  /** The same two for a hart that does not run: its float flags are in its state, and those of another one in the global. */
  readonly peek: FunctionRef<'i64'>;
  readonly poke: FunctionRef;
  /** (hart, denseIndex or -1, operation 0 write 1 set 2 clear, operand, writes) -> 0 with the old value in hart.value, or 1: illegal. */
  readonly instruction: FunctionRef<'i32'>;
}

/** Recipes of the CSRs that are computed. */
interface Computed {
  readonly read: (b: Body, hart: I32) => I64;
  readonly write?: (b: Body, hart: I32, value: I64) => void;
}

export function defineCsrAccess(
  module: ModuleBuilder,
  imports: ReturnType<typeof importHost>,
  contexts: Contexts,
  traps: Traps,
  floatFlags: GlobalRef<'i32'>,
): CsrAccess {
  const recipes = computedCsrs(imports, traps, floatFlags);
  const readOf = (b: Body, hart: I32, csr: Csr): I64 => {
    switch (csr.source.kind) {
      case 'stored':
        return load64(hart, storedOffset(csr));
      case 'constant':
        return i64(csr.source.value);
      case 'view':
        return readOf(b, hart, named(csr.source.of)).and(csr.source.mask);
      case 'computed':
        return recipeOf(recipes, csr).read(b, hart);
    }
  };

  const dispatch = (b: Body, index: I32, each: (csr: Csr) => void): void => {
    const labels = csrs.map(() => b.open()).toReversed();
    const outside = defined(labels.at(-1), 'a CSR');
    b.brTable(index, labels, outside);
    for (const csr of csrs) {
      b.close();
      each(csr);
    }
  };

  const read = module.function('csrRead', ['i32', 'i32'], ['i64'], (b, { value: hart }, { value: index }) => {
    dispatch(b, index, (csr) => b.return(readOf(b, hart, csr)));
    b.unreachable();
  });

  const applyEffects = (b: Body, hart: I32, csr: Csr, old: I64, next: I64): void => {
    const isStatus = csr.name === 'mstatus' || csr.name === 'sstatus';
    for (const effect of csr.effects) {
      if (effect === 'translation' && isStatus) {
        const changed = b.let(old.xor(next));
        b.if(changed.and(MSTATUS.SUM).ne(0).and(next.and(MSTATUS.SUM).eqz()), () => b.do(contexts.dropBorrowed, hart));
        b.if(changed.and(MSTATUS.MXR).ne(0), () => b.do(contexts.flushAll, hart));
        b.if(changed.and(MSTATUS.MPRV | MSTATUS.MPP).ne(0), () => b.do(contexts.select, hart));
      } else if (effect === 'translation') b.if(old.ne(next), () => b.do(contexts.enterSpace, hart));
      else if (effect === 'protection') {
        b.do(contexts.clear, hart);
        b.do(contexts.select, hart);
      } else if (effect === 'timer') b.do(imports.timerChanged, hart);
      else if (effect === 'float') put64(b, hart, 'mstatus', get64(hart, 'mstatus').or(MSTATUS.FS));
    }
    // Sstc: turning STCE off or on changes what drives STIP. What software had written of it is void then.
    if (csr.name === 'menvcfg') {
      b.if(next.ltS(0), () => void b.let(atomicRmw32('and', hart.add(HART.softPending), ~STIP)));
      b.do(imports.timerChanged, hart);
    }
  };

  const writeOf = (b: Body, hart: I32, csr: Csr, value: I64): void => {
    if (csr.source.kind === 'constant' || csrIsReadOnly(csr)) return;
    const target = csr.source.kind === 'view' ? named(csr.source.of) : csr;
    const recipe = target.source.kind === 'computed' ? recipeOf(recipes, target) : undefined;
    const old = b.let(readOf(b, hart, target));
    const next = b.local('i64');
    b.set(next, csr.writable === ALL ? value : old.and(~csr.writable & ALL).or(value.and(csr.writable)));
    for (const field of target.fields) {
      const mask = ((1n << BigInt(field.high - field.low + 1)) - 1n) << BigInt(field.low);
      const chosen = b.let(next.value.and(mask).shrU(field.low));
      const isLegal = field.legal.map((legal) => chosen.eq(legal)).reduce((a, c) => a.or(c));
      b.if(isLegal.eqz(), () =>
        b.set(next, field.elseIgnoreWrite ? old : next.value.and(~mask & ALL).or(old.and(mask))),
      );
    }
    if (recipe) defined(recipe.write, `a write of ${target.name}`)(b, hart, next.value);
    else b.store64(hart, next.value, storedOffset(target));
    applyEffects(b, hart, csr, old, next.value);
  };

  const write = module.function(
    'csrWrite',
    ['i32', 'i32', 'i64'],
    [],
    (b, { value: hart }, { value: index }, { value }) => {
      dispatch(b, index, (csr) => {
        writeOf(b, hart, csr, value);
        b.return();
      });
      b.unreachable();
    },
  );

  const peek = module.function('csrPeek', ['i32', 'i32'], ['i64'], (b, { value: hart }, { value: index }) => {
    b.setGlobal(floatFlags, get32(hart, 'fflags'));
    b.result(b.call(read, hart, index));
  });

  const poke = module.function(
    'csrPoke',
    ['i32', 'i32', 'i64'],
    [],
    (b, { value: hart }, { value: index }, { value }) => {
      b.setGlobal(floatFlags, get32(hart, 'fflags'));
      b.do(write, hart, index, value);
      put32(b, hart, 'fflags', b.getGlobal(floatFlags));
    },
  );

  const instruction = module.function(
    'csrInstruction',
    ['i32', 'i32', 'i32', 'i64', 'i32'],
    ['i32'],
    (b, hartLocal, indexLocal, operation, operand, writes) => {
      const [hart, index] = [hartLocal.value, indexLocal.value];
      // More than half of a kernel's are of this one: each trap saves and restores it, and it switches interrupts and access to user pages.
      const sstatus = named('sstatus');
      b.if(
        index.eq(defined(csrIndex(sstatus.number), sstatus.name)).and(get32(hart, 'privilege').ne(PRIVILEGE.U)),
        () => {
          const old = b.let(readOf(b, hart, sstatus));
          b.if(writes.value, () => {
            const next = b.local('i64');
            b.set(next, operand.value);
            b.if(operation.value.eq(1), () => b.set(next, old.or(operand.value)));
            b.if(operation.value.eq(2), () => b.set(next, old.and(operand.value.xor(-1n))));
            writeOf(b, hart, sstatus, next.value);
          });
          put64(b, hart, 'value', old);
          b.return(0);
        },
      );
      b.if(index.eq(-1), () => b.return(1));
      const rights = rightsOf(b, hart, index, writes.value);
      b.if(rights.eqz(), () => b.return(1));
      const old = b.let(b.call(read, hart, index));
      b.if(writes.value, () => {
        const next = b.local('i64');
        b.set(next, operand.value);
        // sip and mip: a set or clear works on what software wrote, not on the wires (3.1.9).
        const isPending = index.eq(defined(csrIndex(0x144), 'sip')).or(index.eq(defined(csrIndex(0x344), 'mip')));
        b.if(isPending, () => {
          // Other harts and devices set bits at any time: those that this does not mean stay as they are.
          const mask = b.local('i32');
          b.set(mask, writablePending(b, hart));
          b.if(index.eq(defined(csrIndex(0x144), 'sip')), () => b.set(mask, getCsr(hart, 'mideleg').toI32().and(2)));
          const bits = b.let(operand.value.toI32().and(mask.value));
          const cell = b.let(hart.add(HART.softPending));
          b.if(operation.value.ne(1), () => {
            const cleared = b.local('i32');
            b.set(cleared, bits);
            b.if(operation.value.eqz(), () => b.set(cleared, mask.value.and(bits.xor(-1))));
            b.let(atomicRmw32('and', cell, cleared.value.xor(-1)));
          });
          b.if(operation.value.ne(2), () => void b.let(atomicRmw32('or', cell, bits)));
          put64(b, hart, 'value', old);
          b.return(0);
        });
        b.if(operation.value.eq(1), () => b.set(next, old.or(operand.value)));
        b.if(operation.value.eq(2), () => b.set(next, old.and(operand.value.xor(-1n))));
        b.do(write, hart, index, next.value);
      });
      put64(b, hart, 'value', old);
      b.result(0);
    },
  );

  return { read, write, peek, poke, instruction };

  /** 1 when the present privilege, the read-only numbers and the guards allow the access. */
  function rightsOf(b: Body, hart: I32, index: I32, writes: I32): I32 {
    const allowed = b.local('i32');
    const privilege = b.let(get32(hart, 'privilege'));
    b.block((done) => {
      const groups = new Map<string, Csr[]>();
      for (const csr of csrs) {
        const key = `${csrPrivilege(csr)} ${csrIsReadOnly(csr)} ${csr.guard ?? ''} ${csr.guard === 'counter' ? csr.number & 31 : ''}`;
        groups.set(key, [...(groups.get(key) ?? []), csr]);
      }
      const labels = new Map([...groups.keys()].map((key) => [key, b.open()]));
      const keyOf = new Map([...groups].flatMap(([key, members]) => members.map((csr) => [csr, key] as const)));
      const targets = csrs.map((csr) => defined(labels.get(defined(keyOf.get(csr), csr.name)), 'label'));
      b.brTable(index, targets, defined(targets[0], 'a CSR'));
      for (const key of [...groups.keys()].toReversed()) {
        b.close();
        const csr = defined(defined(groups.get(key), key)[0], key);
        const condition = b.local('i32');
        b.set(condition, privilege.geU(csrPrivilege(csr)));
        if (csrIsReadOnly(csr)) b.set(condition, condition.value.and(writes.eqz()));
        const guard = guardOf(hart, privilege, csr);
        if (guard) b.set(condition, condition.value.and(guard));
        b.set(allowed, condition.value);
        b.br(done);
      }
    });
    return allowed.value;
  }
}

/**
 * What compiled code calls for `time`, which guests read all the time: (hart) -> 1 after putting it into hart.time, 0 where its reader must
 * trap instead.
 */
export function defineReadTime(
  module: ModuleBuilder,
  imports: Pick<ReturnType<typeof importHost>, 'readTime'>,
): FunctionRef<'i32'> {
  return module.function('readTime', ['i32'], ['i32'], (b, { value: hart }) => {
    const isAllowed = guardOf(hart, b.let(get32(hart, 'privilege')), named('time'));
    b.if(defined(isAllowed, 'a guard').eqz(), () => b.return(0));
    b.do(imports.readTime, hart);
    b.result(i32(1));
  });
}

/** The guard's condition as 1 or 0; absent when there is none. */
function guardOf(hart: I32, privilege: I32, csr: Csr): I32 | undefined {
  const { guard } = csr;
  if (guard === undefined) return undefined;
  const bit = csr.number & 31;
  switch (guard) {
    case 'float':
      return get64(hart, 'mstatus').and(MSTATUS.FS).ne(0);
    case 'tvm':
      return privilege.ne(PRIVILEGE.S).or(get64(hart, 'mstatus').and(MSTATUS.TVM).eqz());
    case 'counter': {
      const machine = getCsr(hart, 'mcounteren').shrU(bit).toI32().and(1).or(privilege.eq(PRIVILEGE.M));
      const supervisor = getCsr(hart, 'scounteren').shrU(bit).toI32().and(1).or(privilege.ne(PRIVILEGE.U));
      return machine.and(supervisor);
    }
    case 'stce':
      return privilege
        .eq(PRIVILEGE.M)
        .or(getCsr(hart, 'menvcfg').shrU(63).toI32().and(getCsr(hart, 'mcounteren').shrU(1).toI32()).and(1));
  }
}

function named(name: string): Csr {
  return defined(
    csrs.find((csr) => csr.name === name),
    name,
  );
}

function storedOffset(csr: Csr): number {
  const index = defined(csrIndex(csr.number), csr.name);
  assert(index < 256, 'the stored CSRs fit the hart’s cells');
  return HART.csr + 8 * index;
}

/** The bits of mip that software writes. With Sstc on, STIP is the comparator's and not writable (Sstc, 2.1). */
function writablePending(b: Body, hart: I32): I32 {
  return b.let(select(getCsr(hart, 'menvcfg').ltS(0), i64(0x202), i64(0x222)).toI32());
}

function recipeOf(recipes: ReadonlyMap<string, Computed>, csr: Csr): Computed {
  return defined(recipes.get(csr.name), `how to compute ${csr.name}`);
}

function computedCsrs(
  imports: ReturnType<typeof importHost>,
  traps: Traps,
  floatFlags: GlobalRef<'i32'>,
): ReadonlyMap<string, Computed> {
  const recipes = new Map<string, Computed>();
  const retired = (hart: I32): I64 => get64(hart, 'retired').add(get32(hart, 'count').toI64U()).sub(1);
  /** From outside no instruction is under way that must not be counted. */
  const counted = (hart: I32): I64 =>
    get64(hart, 'retired').add(get32(hart, 'count').toI64U()).sub(get32(hart, 'count').ne(0).toI64U());
  const counter = (cell: 'mcycleOffset' | 'minstretOffset'): Computed => ({
    read: (_, hart) => counted(hart).add(get64(hart, cell)),
    // The value written is what the next instruction reads.
    write: (b, hart, value) => put64(b, hart, cell, value.sub(retired(hart)).sub(1)),
  });

  recipes.set('mhartid', { read: (_, hart) => get32(hart, 'id').toI64U() });
  recipes.set('mstatus', {
    // SD: some state is dirty; FS is the only state there is.
    read: (b, hart) => {
      const status = b.let(get64(hart, 'mstatus'));
      return select(status.and(MSTATUS.FS).eq(MSTATUS.FS), status.or(MSTATUS.SD), status);
    },
    write: (b, hart, value) => put64(b, hart, 'mstatus', value.and(~MSTATUS.SD & ALL)),
  });
  recipes.set('mip', {
    read: (b, hart) => b.call(traps.pending, hart).toI64U(),
    write: (b, hart, value) => {
      const mask = writablePending(b, hart);
      put32(b, hart, 'softPending', get32(hart, 'softPending').and(mask.xor(-1)).or(value.toI32().and(mask)));
    },
  });
  recipes.set('sie', {
    read: (_, hart) => getCsr(hart, 'mie').and(getCsr(hart, 'mideleg')),
    write: (b, hart, value) => {
      const mask = b.let(getCsr(hart, 'mideleg'));
      b.store64(hart, getCsr(hart, 'mie').and(mask.xor(-1n)).or(value.and(mask)), storedOffset(named('mie')));
    },
  });
  recipes.set('sip', {
    read: (b, hart) => b.call(traps.pending, hart).toI64U().and(getCsr(hart, 'mideleg')),
    // Only SSIP is writable here (10.1.3).
    write: (b, hart, value) => {
      const mask = b.let(getCsr(hart, 'mideleg').toI32().and(2));
      put32(b, hart, 'softPending', get32(hart, 'softPending').and(mask.xor(-1)).or(value.toI32().and(mask)));
    },
  });
  recipes.set('time', {
    read: (b, hart) => {
      b.do(imports.readTime, hart);
      return get64(hart, 'time');
    },
  });
  recipes.set('mcycle', counter('mcycleOffset'));
  recipes.set('minstret', counter('minstretOffset'));
  recipes.set('cycle', counter('mcycleOffset'));
  recipes.set('instret', counter('minstretOffset'));

  recipes.set('fflags', {
    read: (b) => b.getGlobal(floatFlags).toI64U(),
    write: (b, _, value) => b.setGlobal(floatFlags, value.toI32().and(31)),
  });
  recipes.set('frm', {
    read: (_, hart) => get32(hart, 'frm').toI64U(),
    write: (b, hart, value) => put32(b, hart, 'frm', value.toI32().and(7)),
  });
  recipes.set('fcsr', {
    read: (b, hart) => get32(hart, 'frm').shl(5).or(b.getGlobal(floatFlags)).toI64U(),
    write: (b, hart, value) => {
      b.setGlobal(floatFlags, value.toI32().and(31));
      put32(b, hart, 'frm', value.toI32().shrU(5).and(7));
    },
  });

  for (let word = 0; word < PMP_ENTRIES / 8; word++) recipes.set(`pmpcfg${2 * word}`, pmpConfiguration(word));
  for (let entry = 0; entry < PMP_ENTRIES; entry++) recipes.set(`pmpaddr${entry}`, pmpAddress(entry));
  return recipes;
}

/** Eight configuration bytes. A locked one keeps its value; W without R is reserved and keeps the old byte; NA4 does not exist (3.7.1). */
function pmpConfiguration(word: number): Computed {
  const offset = HART.pmpcfg + 8 * word;
  return {
    read: (_, hart) => load64(hart, offset),
    write: (b, hart, value) => {
      for (let byte = 0; byte < 8; byte++) {
        const config = b.let(
          value
            .shrU(8 * byte)
            .toI32()
            .and(0x9f),
        );
        const isLegal = config.and(3).ne(2).and(config.and(0x18).ne(0x10));
        b.if(
          load8U(hart, offset + byte)
            .shrU(7)
            .eqz()
            .and(isLegal),
          () => b.store8(hart, config, offset + byte),
        );
      }
      // Any entry whose mode is not OFF: bits 4:3 of some byte.
      put32(
        b,
        hart,
        'pmpActive',
        load64(hart, HART.pmpcfg)
          .or(load64(hart, HART.pmpcfg + 8))
          .and(0x1818_1818_1818_1818n)
          .ne(0),
      );
    },
  };
}

function pmpAddress(entry: number): Computed {
  const offset = HART.pmpaddr + 8 * entry;
  const config = (hart: I32, index: number): I32 => load8U(hart, HART.pmpcfg + index);
  return {
    // The grain shows: NAPOT reads ones below it, the other modes zeros.
    read: (_, hart) =>
      select(
        config(hart, entry).and(0x10),
        load64(hart, offset).or(GRAIN_ONES),
        load64(hart, offset).and(~GRAIN_ZEROS & ALL),
      ),
    write: (b, hart, value) => {
      // Locked, or the top of a locked TOR range.
      let locked = config(hart, entry).shrU(7);
      if (entry + 1 < PMP_ENTRIES)
        locked = locked.or(
          config(hart, entry + 1)
            .and(0x98)
            .eq(0x88),
        );
      b.if(locked.eqz(), () => b.store64(hart, value, offset));
    },
  };
}
