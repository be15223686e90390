/**
 * A hart of the machine: the engine's hart as a HartPort, and what it is doing. Where several threads execute harts each of them has such an
 * object for every hart: what it is doing is in the domain's memory, and what only the thread that has it may do it is asked for.
 */

import { type HartId, hartId } from '../base/numbers.ts';
import { type Saved, SavedReader } from '../base/saved.ts';
import type { Hart as EngineHart } from '../engine/hart.ts';
import { CSR, PRIVILEGE } from '../engine/state.ts';
import { csrIndex } from '../isa/csrs.ts';
import { defined } from '../base/assert.ts';
import type { HartPort, HartRunState } from './hart-port.ts';

const runStates: readonly HartRunState[] = ['stopped', 'running', 'waiting', 'suspended', 'starting'];
const STOPPED = runStates.indexOf('stopped');
const RUNNING = runStates.indexOf('running');
const WAITING = runStates.indexOf('waiting');
const SUSPENDED = runStates.indexOf('suspended');
const STARTING = runStates.indexOf('starting');

/** Milliseconds between two looks whether a fence on another thread is done. */
const FENCE_PATIENCE_MS = 0.2;

/** Where a hart is executed, when several threads execute harts. */
export interface HartPlace {
  /** Whether this thread has it: nobody else touches it. */
  isHere(): boolean;
  /** Whether some thread executes it now. */
  isExecuting(): boolean;
}

export class MachineHart implements HartPort {
  readonly id: HartId;
  readonly engine: EngineHart;
  readonly #wake: () => void;
  readonly #place: HartPlace | undefined;

  /** `wake` is called when a hart that did nothing has something to do; `place` is given where several threads execute harts. */
  constructor(engine: EngineHart, wake: () => void, place?: HartPlace) {
    this.id = hartId(engine.id);
    this.engine = engine;
    this.#wake = wake;
    this.#place = place;
  }

  /** A wait ends as soon as an enabled interrupt is pending. */
  get runState(): HartRunState {
    const state = this.engine.runState;
    if ((state === WAITING || state === SUSPENDED) && this.engine.hasPending) {
      this.engine.changeRunState(state, RUNNING);
      return 'running';
    }
    return defined(runStates[state], 'a run state');
  }

  x(register: number): bigint {
    return this.engine.x(register);
  }

  setX(register: number, value: bigint): void {
    this.engine.setX(register, value);
  }

  setPending(mipBit: number, level: boolean): void {
    this.engine.setPending(mipBit, level);
    if (!level) return;
    const state = this.engine.runState;
    // One that is executed by another thread looks for itself before it waits.
    if (this.#place ? state === WAITING || state === SUSPENDED : state !== STOPPED) this.#wake();
  }

  /** Starts at `pc` with a0 and a1, in M-mode as after reset. */
  startMachine(pc: bigint): void {
    this.engine.pc = pc;
    this.#start();
  }

  claim(): boolean {
    return this.engine.changeRunState(STOPPED, STARTING);
  }

  startSupervisor(address: bigint, opaque: bigint): void {
    const { engine } = this;
    engine.writeCsr(defined(csrIndex(CSR.satp), 'satp'), 0n);
    // sstatus.SIE is bit 1.
    engine.put64('mstatus', engine.get64('mstatus') & ~2n);
    engine.setPrivilege(PRIVILEGE.S);
    engine.setX(10, BigInt(this.id));
    engine.setX(11, opaque);
    engine.pc = address;
    this.#start();
  }

  waitForInterrupt(): void {
    this.engine.runState = WAITING;
  }

  suspend(): void {
    this.engine.runState = SUSPENDED;
    this.engine.requestAttention();
  }

  stop(): void {
    this.engine.runState = STOPPED;
    this.engine.requestAttention();
  }

  fenceVma(start: bigint, size: bigint, asid: number | undefined): void {
    const place = this.#place;
    if (place && !place.isHere()) this.#haveFenced(place, start, size, asid);
    else this.engine.fenceRange(start, size, asid);
  }

  /** What this thread made of code is coherent with what it wrote; what others wrote it hears before it executes more. */
  fenceInstruction(): void {
    const place = this.#place;
    if (place && !place.isHere()) this.#haveFenced(place, 0n, 0n, undefined);
  }

  /** The hart takes its fences before it executes anything: only when it is executing there is something to wait for. */
  #haveFenced(place: HartPlace, start: bigint, size: bigint, asid: number | undefined): void {
    const { engine } = this;
    const number = engine.askFence(start, size, asid);
    while (!engine.isFenced(number) && place.isExecuting()) {
      engine.requestAttention();
      engine.awaitFence(FENCE_PATIENCE_MS);
    }
  }

  setSupervisorTimer(ticks: bigint): void {
    this.engine.writeCsr(defined(csrIndex(CSR.stimecmp), 'stimecmp'), ticks);
  }

  setStealMemory(address: number | undefined): void {
    this.engine.put64('stealAddress', address === undefined ? 0n : BigInt(address) + 1n);
    this.engine.put64('stolen', 0n);
  }

  get stealMemory(): number | undefined {
    const address = this.engine.get64('stealAddress');
    return address === 0n ? undefined : Number(address - 1n);
  }

  /** Counts time that was stolen, and gives all of it. */
  addSteal(ns: number): bigint {
    const stolen = this.engine.get64('stolen') + BigInt(Math.round(ns));
    this.engine.put64('stolen', stolen);
    return stolen;
  }

  save(): Saved {
    return { runState: this.engine.runState, engine: this.engine.save() };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, `hart ${this.id}`);
    const runState = reader.field('runState').integer(0, runStates.length - 1);
    this.engine.restore(reader.field('engine').raw());
    this.engine.runState = runState;
  }

  #start(): void {
    this.engine.runState = RUNNING;
    this.#wake();
  }
}
