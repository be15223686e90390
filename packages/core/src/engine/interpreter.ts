/**
 * The interpreter: one WebAssembly module, generated at start-up from the ISA entries.
 *
 *     run ─┬─ boundary: interrupts, count against limit, contexts ──────────────────────┐
 *          │     │ pc                                                                    │
 *          │     v                                                                       │
 *          │  enter: fetch TLB ── miss: walk, pre-decoded page made, or trap ────────────┤
 *          │     │ record      ── compiled code begins here: call it ────────────────────┤
 *          │     v                                                                       │
 *          │  again: handler of the record ── next record, near jump: again              │
 *          │     │  │                      ── far jump: enter                            │
 *          │     │  └─ bail: step(record), the complete meaning of one instruction ──────┤
 *          │     └─ leave: somebody wants attention ─────────────────────────────────────┘
 *
 * The loop's state is a handful of locals; registers lie in the hart's state.
 */

import { defined } from '../base/assert.ts';
import type { Body } from '../wasm/body.ts';
import type { I32, I64 } from '../wasm/expression.ts';
import { load16U, load32, load64 } from '../wasm/memory-access.ts';
import { type DeclaredFunction, type FunctionRef, type MemoryImport, ModuleBuilder } from '../wasm/module.ts';
import { type BlockWork, defineBlockWork } from './block-work.ts';
import { defineContexts, tlbEntry } from './contexts.ts';
import { defineCsrAccess, defineReadTime } from './csr-access.ts';
import { AlwaysBails, FastEmitter, type FastParts, type LoopLabels, type LoopLocals } from './fast-emitter.ts';
import { fastFloat } from './float/fast.ts';
import { type FlagSink, defineFloat } from './float/index.ts';
import { exportFloat } from './float/signatures.ts';
import { type Forwards, type Handler, HANDLER_COUNT, ILLEGAL_ENTRY, SPECIAL, entries, handlerOf } from './handlers.ts';
import { importHost } from './imports.ts';
import { FETCH_TLB_ENTRIES, HART, HOT, RECORD, TLB_FETCH } from './layout.ts';
import { defineMmu } from './mmu.ts';
import { definePhysical } from './physical.ts';
import { SlowEmitter, STEP, type SlowParts } from './slow-emitter.ts';
import { CAUSE, get32, get64, put32, put64 } from './state.ts';
import { defineTlbFill, defineTlbFills } from './tlb-fill.ts';
import { defineTraps } from './traps.ts';
import { defineWalk } from './walk.ts';

/** Why `run` came back. */
export const EXIT = {
  /** The limit was reached, or somebody wants attention. */
  BUDGET: 0,
  /** WFI with nothing pending. */
  WAIT: STEP.WAIT,
  /** An ecall from S-mode for our own SBI. */
  SBI: STEP.SBI,
} as const;

/** How the interpreter works together with compiled code. */
export interface CompiledCode {
  /** Times that code is come to before `hot` is called. */
  readonly threshold: number;
}

export interface InterpreterOptions {
  /** There is one hart: nobody waits for its turn, nobody sees the order of its accesses. */
  readonly isAlone: boolean;
  /** Harts are executed by several threads at once. */
  readonly isThreaded: boolean;
  /** Without it code is neither counted nor compiled. */
  readonly compiled?: CompiledCode | undefined;
  /** What `probeFusedMultiplyAdd` says of the host. */
  readonly fusedMultiplyAdd: boolean;
}

/** The signature of a compiled region: (hart, pc, count, depth) -> (count, pc), or (-1, 0) when everything is in the hart's state. */
export const REGION_TYPE = { parameters: ['i32', 'i64', 'i32', 'i32'], results: ['i32', 'i64'] } as const;

/** What the module exports, as JavaScript sees it. */
export interface InterpreterExports extends BlockWork {
  /** Runs a hart until something wants attention; gives an EXIT. */
  run(hart: number): number;
  tlbClear(hart: number): void;
  tlbRenew(hart: number): void;
  contextSelect(hart: number): void;
  fenceVma(hart: number, hasAddress: number, address: bigint, hasAsid: number, asid: number): void;
  /** A CSR of a hart that does not run. */
  csrPeek(hart: number, index: number): bigint;
  csrPoke(hart: number, index: number, value: bigint): void;
  tlbPurge(hart: number, table: number, entries: number, frame: number): void;
  tlbForget(hart: number, offset: number, address: number): void;
  /** Virtual to physical for debuggers and tests; -1n when it faults. */
  translate(hart: number, address: bigint, access: number): bigint;
}

/** The interpreter as WebAssembly bytes. With `compiled` it counts how often code is come to and calls what has been compiled. */
export function buildInterpreter(
  memory: MemoryImport,
  { isAlone, isThreaded, compiled, fusedMultiplyAdd }: InterpreterOptions,
): Uint8Array {
  const module = new ModuleBuilder();
  module.importMemory(memory);
  if (compiled) module.importTable({ module: memory.module, name: 'table', minimum: HOT.FIRST_FUNCTION });
  const regionType = module.type(REGION_TYPE.parameters, REGION_TYPE.results);
  const imports = importHost(module);
  const floatFlags = module.global('i32');
  const sink: FlagSink = {
    raise: (body, flags) => body.setGlobal(floatFlags, body.getGlobal(floatFlags).or(flags)),
    isInexact: (body) => body.getGlobal(floatFlags).and(1),
  };
  const float = defineFloat(module, sink);
  const physical = definePhysical(module, imports);
  const contexts = defineContexts(module);
  const traps = defineTraps(module, contexts);
  const walk = defineWalk(module, physical);
  const mmu = defineMmu(module, imports, physical, walk, contexts, traps, isThreaded);
  const csrs = defineCsrAccess(module, imports, contexts, traps, floatFlags);
  const multiplyHigh = defineMultiplyHigh(module);

  const shared: FastParts = {
    isAlone,
    multiplyHigh,
    float: fastFloat(float, sink, { fusedMultiplyAdd }),
  };

  const illegal = module.function('illegal', ['i32'], [], (b, { value: hart }) => {
    const pc = b.let(get64(hart, 'pc'));
    // mtval holds the instruction's bits, as far as they can be read again.
    const bits = b.local('i32');
    b.set(bits, b.call(mmu.peekHalf, hart, pc));
    b.if(bits.value.eq(-1), () => b.set(bits, 0));
    b.if(bits.value.and(3).eq(3), () => {
      const upper = b.let(b.call(mmu.peekHalf, hart, pc.add(2)));
      b.if(upper.ne(-1), () => b.set(bits, bits.value.or(upper.shl(16))));
    });
    b.do(traps.raise, hart, CAUSE.ILLEGAL, bits.value.toI64U());
  });

  const step = defineStep(module, {
    isAlone,
    imports,
    mmu,
    traps,
    contexts,
    csrs,
    float,
    floatFlags,
    multiplyHigh,
    illegal,
  });

  const straddle = module.function('straddle', ['i32'], ['i32'], (b, { value: hart }) => {
    const pc = b.let(get64(hart, 'pc'));
    const low = b.let(b.call(mmu.fetchHalf, hart, pc));
    b.if(low.eq(-1), () => b.return(STEP.TRAPPED));
    const high = b.let(b.call(mmu.fetchHalf, hart, pc.add(2)));
    b.if(high.eq(-1), () => b.return(STEP.TRAPPED));
    b.do(imports.decodeScratch, hart, low.or(high.shl(16)));
    b.result(b.call(step, hart, hart.add(HART.scratchRecord)));
  });

  const run = module.function('run', ['i32'], ['i32'], (b, { value: hart }) => {
    b.setGlobal(floatFlags, get32(hart, 'fflags'));
    const locals: LoopLocals = {
      record: b.local('i32'),
      delta: b.local('i64'),
      count: b.local('i32'),
      target: b.local('i64'),
      context: b.local('i64'),
      floatState: b.local('i32'),
      nearest: b.local('i32'),
      inexact: b.local('i32'),
    };
    const { record, delta, count, target } = locals;
    const fetchContext = b.local('i64');
    const status = b.local('i32');

    const exit = (code: I32 | number): void => {
      put64(b, hart, 'retired', get64(hart, 'retired').add(count.value.toI64U()));
      put32(b, hart, 'count', 0);
      put32(b, hart, 'fflags', b.getGlobal(floatFlags));
      b.return(code);
    };

    b.loop((boundary) => {
      b.if(load32(hart, HART.lines).or(load32(hart, HART.softPending)), () => {
        put32(b, hart, 'count', count.value);
        b.do(traps.interrupt, hart);
      });
      b.if(count.value.geU(get32(hart, 'limit')), () => exit(EXIT.BUDGET));
      b.set(target, get64(hart, 'pc'));
      b.set(locals.context, get32(hart, 'dataContext').toI64U());
      b.set(fetchContext, get32(hart, 'fetchContext').toI64U());
      setFloatLocals(b, hart, locals, b.getGlobal(floatFlags));

      b.block((bail) => {
        b.block((leave) => {
          b.loop((enter) => {
            const entry = b.let(tlbEntry(hart, target.value, TLB_FETCH, FETCH_TLB_ENTRIES));
            const isHere = load64(entry).eq(target.value.and(-4096n).or(fetchContext.value));
            b.if(isHere.and(count.value.ltU(get32(hart, 'limit'))).eqz(), () => {
              put64(b, hart, 'pc', target.value);
              put32(b, hart, 'count', count.value);
              b.if(count.value.ltU(get32(hart, 'limit')), () => {
                b.if(b.call(mmu.fetch, hart), () => {
                  // A fetch that traps is a try too: a handler that cannot be fetched must not keep `run` for ever.
                  b.set(count, count.value.add(1));
                  unretire(b, hart);
                });
              });
              b.br(boundary);
            });
            if (compiled) {
              const cell = b.let(load32(entry, 12).add(target.value.toI32().and(0xffe)));
              const heat = b.local('i32');
              b.set(heat, load16U(cell));
              b.if(
                heat.value.ltU(compiled.threshold),
                () => {
                  b.store16(cell, heat.value.add(1));
                  put32(b, hart, 'refused', 0);
                },
                () => {
                  b.if(heat.value.eq(compiled.threshold), () => {
                    put64(b, hart, 'pc', target.value);
                    put32(b, hart, 'count', count.value);
                    b.do(imports.hot, hart, cell);
                    b.set(heat, load16U(cell));
                  });
                  const isRefused = b.let(get32(hart, 'refused'));
                  put32(b, hart, 'refused', 0);
                  b.if(heat.value.geU(HOT.FIRST_FUNCTION).and(isRefused.eqz()), () => {
                    const before = b.let(count.value);
                    b.callIndirect(regionType, heat.value, [hart, target.value, count.value, 0], [count, target]);
                    b.if(
                      count.value.ltS(0),
                      () => b.set(count, get32(hart, 'count')),
                      () => put64(b, hart, 'pc', target.value),
                    );
                    const begun = b.let(count.value.sub(before).toI64U());
                    put64(b, hart, 'compiled', get64(hart, 'compiled').add(begun));
                    b.br(boundary);
                  });
                },
              );
            }
            b.set(record, load32(entry, 8).add(target.value.toI32().and(0xffe).shl(3)));
            b.set(delta, target.value.sub(record.value.shrU(3).toI64U()));
            b.loop((again) => {
              b.set(count, count.value.add(1));
              const labels: LoopLabels = { again, enter, leave, bail, ...(compiled ? { backward: enter } : {}) };
              writeDispatch(b, hart, locals, labels, imports, shared, () => {
                // straddle
                put64(b, hart, 'pc', delta.value.add(record.value.shrU(3).toI64U()));
                put32(b, hart, 'count', count.value);
                b.set(status, b.call(straddle, hart));
                b.if(status.value.eq(STEP.TRAPPED), () => unretire(b, hart));
                b.if(status.value.gtU(STEP.TRAPPED), () => exit(status.value));
                b.br(boundary);
              });
            });
          });
        });
        // leave
        put64(b, hart, 'pc', delta.value.add(record.value.shrU(3).toI64U()));
        b.br(boundary);
      });
      // bail
      put64(b, hart, 'pc', delta.value.add(record.value.shrU(3).toI64U()));
      put32(b, hart, 'count', count.value);
      b.set(status, b.call(step, hart, record.value));
      put64(b, hart, 'slowSteps', get64(hart, 'slowSteps').add(1));
      b.if(status.value.ne(STEP.DONE), () => {
        b.if(
          status.value.eq(STEP.TRAPPED),
          () => unretire(b, hart),
          () => exit(status.value),
        );
      });
      b.br(boundary);
    });
    b.unreachable();
  });

  for (const ref of [
    run,
    ...defineBlockWork(module),
    contexts.clear,
    contexts.renew,
    contexts.select,
    contexts.fence,
    contexts.purge,
    contexts.forget,
    contexts.dropBorrowed,
    csrs.peek,
    csrs.poke,
    walk.translate,
  ])
    module.export(ref);
  if (compiled) {
    exportFloat(module, float);
    module.export(multiplyHigh);
    module.exportGlobal(floatFlags, 'floatFlags');
    for (const ref of defineTlbFills(module, defineTlbFill(module, physical, walk, mmu, isThreaded)))
      module.export(ref);
    module.export(defineReadTime(module, imports));
    module.export(
      module.function('moreTime', ['i32', 'i32'], ['i32'], (b, { value: base }, { value: count }) =>
        b.result(b.call(imports.moreTime, base, count)),
      ),
    );
    // Whoever jumps to what is not compiled gets here: the numbers below the first function's are all this one.
    const leave = module.function(
      'leaveCompiled',
      REGION_TYPE.parameters,
      REGION_TYPE.results,
      (b, hart, pc, counted) => {
        put64(b, hart.value, 'pc', pc.value);
        put32(b, hart.value, 'count', counted.value);
        b.return(-1, 0n);
      },
    );
    module.export(leave);
    module.elements(
      0,
      Array.from({ length: HOT.FIRST_FUNCTION }, () => leave),
    );
  }
  return module.build();
}

/** An instruction that was counted trapped instead: `count` bounds the run, `retired` tells the truth. */
function unretire(b: Body, hart: I32): void {
  put64(b, hart, 'retired', get64(hart, 'retired').sub(1));
}

/** The loop's view of float state: see LoopLocals. */
function setFloatLocals(b: Body, hart: I32, locals: LoopLocals, flags: I32): void {
  b.set(locals.floatState, get64(hart, 'mstatus').shrU(13).toI32().and(3));
  // Field 0 is nearest-even, 7 is frm.
  b.set(locals.nearest, get32(hart, 'frm').eqz().shl(7).or(1).mul(locals.floatState.value.eq(3)));
  b.set(locals.inexact, locals.nearest.value.mul(flags.and(1)));
}

/** The dispatch on the record's handler, and every handler behind it. */
function writeDispatch(
  b: Body,
  hart: I32,
  locals: LoopLocals,
  labels: LoopLabels,
  imports: ReturnType<typeof importHost>,
  shared: FastParts,
  straddle: () => void,
): void {
  const { record, delta, count, target } = locals;
  const numbers = Array.from({ length: HANDLER_COUNT }, (_, number) => number);
  const bails = new Set(numbers.filter((number) => number === SPECIAL.slow || alwaysBails(handlerOf(number), shared)));
  const written = numbers.filter((number) => !bails.has(number));
  const open = new Map(written.toReversed().map((number) => [number, b.open()]));
  b.brTable(
    load16U(record.value, RECORD.HANDLER),
    numbers.map((number) => open.get(number) ?? labels.bail),
    labels.bail,
  );
  for (const number of written) {
    b.close();
    const handler = handlerOf(number);
    if (handler) writeHandler(b, hart, locals, labels, shared, handler);
    else if (number === SPECIAL.decode) {
      b.set(count, count.value.sub(1));
      b.do(imports.decode, record.value);
      b.br(labels.again);
    } else if (number === SPECIAL.nextPage) {
      b.set(count, count.value.sub(1));
      b.set(target, delta.value.add(record.value.shrU(3).toI64U()));
      b.br(labels.enter);
    } else straddle();
  }
}

function writeHandler(
  b: Body,
  hart: I32,
  locals: LoopLocals,
  labels: LoopLabels,
  shared: FastParts,
  handler: Handler,
): void {
  const written: (I64 | undefined)[] = [];
  for (const [at, part] of [{ ...handler, forwards: {} as Forwards }, ...handler.rest].entries()) {
    const emitter = new FastEmitter(b, hart, locals, labels, shared, part.length, part.reach);
    for (const operand of ['rs1', 'rs2'] as const) {
      const distance = part.forwards[operand];
      if (distance !== undefined) emitter.forward(operand, written[at - distance]);
    }
    defined(part.entry.meaning, part.entry.name)(emitter);
    emitter.finish(at === handler.rest.length);
    written.push(emitter.written);
  }
}

/** Whether the fast half has nothing to do for this handler: found by trying. */
function alwaysBails(handler: Handler | undefined, shared: FastParts): boolean {
  if (!handler) return false;
  const trial = new ModuleBuilder();
  try {
    trial.function('trial', ['i32'], [], (b, { value: hart }) => {
      const local = <T extends 'i32' | 'i64'>(type: T) => b.local(type);
      const locals: LoopLocals = {
        record: local('i32'),
        delta: local('i64'),
        count: local('i32'),
        target: local('i64'),
        context: local('i64'),
        floatState: local('i32'),
        nearest: local('i32'),
        inexact: local('i32'),
      };
      b.block((label) =>
        writeHandler(b, hart, locals, { again: label, enter: label, leave: label, bail: label }, shared, handler),
      );
    });
  } catch (error) {
    if (error instanceof AlwaysBails) return true;
    throw error;
  }
  return false;
}

/** step(hart, record) -> STEP: the complete meaning of one instruction. hart.pc is its address. */
function defineStep(module: ModuleBuilder, parts: SlowParts): DeclaredFunction<readonly ['i32', 'i32'], 'i32'> {
  return module.function('step', ['i32', 'i32'], ['i32'], (b, { value: hart }, { value: record }) => {
    const emitter = new SlowEmitter(b, hart, record, parts);
    const labels = Array.from({ length: ILLEGAL_ENTRY + 1 }, () => b.open()).toReversed();
    b.brTable(load16U(record, RECORD.ENTRY).and(0xfff), labels, defined(labels.at(-1), 'illegal'));
    for (const entry of entries) {
      b.close();
      emitter.begin();
      defined(entry.meaning, entry.name)(emitter);
      emitter.finish();
    }
    b.close();
    emitter.begin();
    emitter.system('illegal');
    b.unreachable();
  });
}

/** (a, b) -> the upper 64 bits of the unsigned product, by four 32-bit products. */
function defineMultiplyHigh(module: ModuleBuilder): FunctionRef<'i64'> {
  return module.function('multiplyHigh', ['i64', 'i64'], ['i64'], (b, left, right) => {
    const [aLow, aHigh] = [b.let(left.value.and(0xffff_ffffn)), b.let(left.value.shrU(32))];
    const [bLow, bHigh] = [b.let(right.value.and(0xffff_ffffn)), b.let(right.value.shrU(32))];
    const middle = b.let(aHigh.mul(bLow).add(aLow.mul(bLow).shrU(32)));
    const cross = b.let(aLow.mul(bHigh).add(middle.and(0xffff_ffffn)));
    b.result(aHigh.mul(bHigh).add(middle.shrU(32)).add(cross.shrU(32)));
  });
}
