/** A hart of the machine: the engine's hart as a HartPort, and what it is doing. */

import { type HartId, hartId } from '../base/numbers.ts';
import { type Saved, SavedReader } from '../base/saved.ts';
import type { Hart as EngineHart } from '../engine/hart.ts';
import { CSR, PRIVILEGE } from '../engine/state.ts';
import { csrIndex } from '../isa/csrs.ts';
import { defined } from '../base/assert.ts';
import type { HartPort, HartRunState } from './hart-port.ts';

const runStates: readonly HartRunState[] = ['running', 'waiting', 'suspended', 'stopped'];
const PAGE_BYTES = 4096n;
/** Above this many pages a fence of a range flushes the whole address space. */
const MAXIMUM_FENCED_PAGES = 64n;

export class MachineHart implements HartPort {
  readonly id: HartId;
  readonly engine: EngineHart;
  readonly #wake: () => void;
  #runState: HartRunState = 'stopped';

  /** `wake` is called when a hart that did nothing has something to do. */
  constructor(engine: EngineHart, wake: () => void) {
    this.id = hartId(engine.id);
    this.engine = engine;
    this.#wake = wake;
  }

  /** A wait ends as soon as an enabled interrupt is pending. */
  get runState(): HartRunState {
    if ((this.#runState === 'waiting' || this.#runState === 'suspended') && this.engine.hasPending)
      this.#runState = 'running';
    return this.#runState;
  }

  x(register: number): bigint {
    return this.engine.x(register);
  }

  setX(register: number, value: bigint): void {
    this.engine.setX(register, value);
  }

  setPending(mipBit: number, level: boolean): void {
    this.engine.setPending(mipBit, level);
    if (level && this.#runState !== 'stopped') this.#wake();
  }

  /** Starts at `pc` with a0 and a1, in M-mode as after reset. */
  startMachine(pc: bigint): void {
    this.engine.pc = pc;
    this.#start();
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
    this.#runState = 'waiting';
  }

  suspend(): void {
    this.#runState = 'suspended';
    this.engine.requestAttention();
  }

  stop(): void {
    this.#runState = 'stopped';
    this.engine.requestAttention();
  }

  fenceVma(start: bigint, size: bigint, asid: number | undefined): void {
    const first = start & ~(PAGE_BYTES - 1n);
    const pages = (start + size - first + PAGE_BYTES - 1n) / PAGE_BYTES;
    if (pages > MAXIMUM_FENCED_PAGES) this.engine.fenceVma(false, 0n, asid);
    else for (let page = 0n; page < pages; page++) this.engine.fenceVma(true, first + page * PAGE_BYTES, asid);
  }

  fenceInstruction(): void {
    // Pre-decoded code is coherent with memory: there is nothing to drop.
  }

  setSupervisorTimer(ticks: bigint): void {
    this.engine.writeCsr(defined(csrIndex(CSR.stimecmp), 'stimecmp'), ticks);
  }

  save(): Saved {
    return { runState: runStates.indexOf(this.#runState), engine: this.engine.save() };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, `hart ${this.id}`);
    const runState = reader.field('runState').integer(0, runStates.length - 1);
    this.engine.restore(reader.field('engine').raw());
    this.#runState = defined(runStates[runState], 'a run state');
  }

  #start(): void {
    this.#runState = 'running';
    this.#wake();
  }
}
